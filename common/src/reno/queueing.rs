//! How long segments wait in the queues on their way, by the clocks of both ends (RFC 6817 §2.4.2).
//!
//! An acknowledgement tells when, by the receiver's clock, the newest segment arrived. The two clocks have nothing in
//! common, but their difference hardly changes: a segment that took longer than the fastest one of late waited.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::minimum::WindowedMinimum;

/// The queueing delay of one direction.
#[derive(Debug, Default)]
pub(super) struct QueueingDelay {
    /// The first difference of the clocks: the others are counted from it, so that none of them wraps.
    origin: Option<u32>,
    /// The fastest of late: an empty queue.
    base: WindowedMinimum<i64>,
    /// Samples of the last round trip or so, microseconds.
    latest: VecDeque<(Instant, i64)>,
}

/// Samples kept: more of them than a round trip has add nothing.
const SAMPLES_MAX: usize = 32;
/// Samples looked at, if a round trip has fewer: of so many, one is likely to have met none of a radio link's jitter.
const SAMPLES_MIN: usize = 5;

impl QueueingDelay {
    /// A segment left at `sent` by our clock and arrived at `arrived` by the peer's; both microseconds that wrap.
    pub(super) fn sample(&mut self, now: Instant, sent: u32, arrived: u32) {
        let difference = arrived.wrapping_sub(sent);
        let origin = *self.origin.get_or_insert(difference);
        let took = i64::from(difference.wrapping_sub(origin).cast_signed());
        self.base.push(now, took);
        if self.latest.len() >= SAMPLES_MAX {
            self.latest.pop_front();
        }
        self.latest.push_back((now, took));
    }

    /// The standing queue: the least that any segment waited during the last `round_trip`, and at least that any of the
    /// last ten did. `None` before the first sample.
    pub(super) fn standing(&self, now: Instant, round_trip: Duration) -> Option<Duration> {
        let newest_first = self.latest.iter().rev().enumerate();
        let recent = newest_first
            .take_while(|(index, (at, _))| *index < SAMPLES_MIN || now.saturating_duration_since(*at) <= round_trip);
        let least = recent.map(|(_, (_, took))| *took).min()?;
        let waited = least.saturating_sub(self.base.value()?);
        Some(Duration::from_micros(waited.max(0).cast_unsigned()))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test takes any instant as its zero")]
mod tests {
    use super::*;

    #[test]
    fn the_least_wait_of_a_round_trip_is_the_standing_queue_whatever_the_clocks_say() {
        let (zero, mut delay) = (Instant::now(), QueueingDelay::default());
        let skew = u32::MAX - 30_000;
        for (at_ms, waited_ms) in [(0, 0)].into_iter().chain((100..120).map(|at_ms| (at_ms, 12 + at_ms % 7))) {
            let sent = at_ms * 1_000;
            let arrived = skew.wrapping_add(sent + 25_000 + waited_ms * 1_000);
            delay.sample(zero + Duration::from_millis(at_ms.into()), sent, arrived);
        }
        let now = zero + Duration::from_millis(120);
        assert_eq!(delay.standing(now, Duration::from_millis(1)), Some(Duration::from_millis(12)));
        assert_eq!(delay.standing(now, Duration::from_millis(20)), Some(Duration::from_millis(12)));
        assert_eq!(delay.standing(now, Duration::from_millis(200)), Some(Duration::ZERO));
    }
}
