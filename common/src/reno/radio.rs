//! Reno for a radio link, where packets are lost without a queue: off unless it is asked for.
//!
//! As TCP Veno does, it tells the two kinds of loss apart by the queue. A loss while segments waited in none is not
//! answered; with a queue the window is halved, as by Reno. Growth is Reno's. So where a queue builds this is never more
//! aggressive than Reno, and where none does, losses do not keep it from filling the path.

use std::time::{Duration, Instant};

use super::congestion::Reno;
use super::controller::{Controller, Loss, Progress};

/// A queue this long is no noise (RFC 9406 §4.3 takes no less for one) …
const QUEUE_MIN: Duration = Duration::from_millis(4);
/// … if it is this part of the shortest round trip, too.
const QUEUE_PART: u32 = 8;

/// The window of a radio link.
#[derive(Debug)]
pub(super) struct Radio {
    reno: Reno,
    /// The losses of the round that is being repaired were no sign of congestion.
    ignored: bool,
}

impl Radio {
    pub(super) fn new(now: Instant) -> Self {
        Self { reno: Reno::new(now), ignored: false }
    }
}

/// Whether segments waited in a queue. A path of which too little is known is taken to have one.
fn has_queue(loss: &Loss) -> bool {
    let (Some(queue), Some(least)) = (loss.queue, loss.round_trip_min) else { return true };
    queue > QUEUE_MIN.max(least / QUEUE_PART)
}

impl Controller for Radio {
    fn on_acknowledged(&mut self, progress: &Progress) {
        let recovering = progress.recovering && !self.ignored;
        self.reno.on_acknowledged(&Progress { recovering, ..*progress });
    }

    fn on_lost(&mut self, loss: &Loss) {
        self.ignored = !has_queue(loss);
        if !self.ignored {
            self.reno.on_lost(loss);
        }
    }

    fn on_timeout(&mut self, loss: &Loss, again: bool) {
        self.ignored = false;
        self.reno.on_timeout(loss, again);
    }

    fn on_spurious(&mut self) {
        if !std::mem::take(&mut self.ignored) {
            self.reno.on_spurious();
        }
    }

    fn on_restart(&mut self, now: Instant) {
        self.reno.on_restart(now);
    }

    fn set_segment_bytes(&mut self, smss: u64) {
        self.reno.set_segment_bytes(smss);
    }

    fn cwnd(&self) -> u64 {
        self.reno.cwnd()
    }

    fn ssthresh(&self) -> Option<u64> {
        self.reno.ssthresh()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test takes any instant as its zero")]
mod tests {
    use super::*;

    #[test]
    fn a_loss_without_a_queue_is_not_answered_and_one_with_a_queue_is() {
        let now = Instant::now();
        let mut radio = Radio::new(now);
        let cwnd = radio.cwnd();
        let loss = |queue_ms| Loss {
            flight_size: cwnd,
            queue: Some(Duration::from_millis(queue_ms)),
            round_trip_min: Some(Duration::from_millis(80)),
        };
        radio.on_lost(&loss(10));
        assert_eq!(radio.cwnd(), cwnd);
        radio.on_lost(&loss(11));
        assert_eq!(radio.cwnd(), cwnd / 2);
    }

    #[test]
    fn an_unknown_path_is_taken_to_have_a_queue() {
        let now = Instant::now();
        let mut radio = Radio::new(now);
        let cwnd = radio.cwnd();
        radio.on_lost(&Loss { flight_size: cwnd, queue: None, round_trip_min: None });
        assert_eq!(radio.cwnd(), cwnd / 2);
    }
}
