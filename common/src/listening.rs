//! When silence counts: whoever was kept from listening has heard nothing for that reason.

use std::time::Instant;

use crate::limits::{DATA_SILENCE_AFTER, DATA_SILENCE_LOOK};

/// Since when somebody listens without a break.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listening {
    since: Instant,
    looked: Instant,
}

impl Listening {
    /// From here on.
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, looked: now }
    }

    /// To be called about every [`DATA_SILENCE_LOOK`]. A program that was frozen, or had no time, is late, and what came
    /// meanwhile may still wait for it.
    pub(crate) fn look(&mut self, now: Instant) {
        if now.saturating_duration_since(self.looked) > 2 * DATA_SILENCE_LOOK {
            self.since = now;
        }
        self.looked = now;
    }

    /// Whether nothing came for [`DATA_SILENCE_AFTER`] of listening, from one who was `heard` last then.
    pub(crate) fn silent(&self, now: Instant, heard: Instant) -> bool {
        now.saturating_duration_since(heard.max(self.since)) >= DATA_SILENCE_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time;
    use std::time::Duration;

    #[test]
    fn silence_counts_after_three_seconds_of_listening_and_not_after_a_stall() {
        let start = virtual_time();
        let (mut listening, mut now) = (Listening::new(start), start);
        while now < start + DATA_SILENCE_AFTER {
            assert!(!listening.silent(now, start));
            now += DATA_SILENCE_LOOK;
            listening.look(now);
        }
        assert!(listening.silent(now, start) && !listening.silent(now, now - DATA_SILENCE_LOOK));
        now += Duration::from_secs(20);
        listening.look(now);
        assert!(!listening.silent(now, start), "what came during the stall was not read yet");
    }
}
