//! How long a segment may be overtaken before it is lost: RACK (RFC 8985 §6), by time and not by count.
//!
//! Segment numbers are never used twice, so "sent later" is a higher number, and a segment that arrives after it was
//! given up shows without DSACK that it was given up too soon.

use std::time::{Duration, Instant};

use super::rtt::RttEstimator;

/// DupThresh: so many later arrivals tell a loss from reordering as long as none was seen (RFC 8985 §6.2 step 4).
const REORDERING_THRESHOLD: u64 = 3;
/// A window that was widened stays so for this many recoveries (RFC 8985 §6.2 step 4, RACK.reo_wnd_persist).
const PERSISTS: u32 = 16;

/// What the newest arrivals say about those before.
#[derive(Debug)]
pub(super) struct Rack {
    /// The highest number that arrived, when it was sent and how long it and its acknowledgement took.
    newest: Option<Newest>,
    reordering_seen: bool,
    /// Quarters of the least round trip that a segment may be late.
    quarters: u32,
    persists: u32,
    /// The window is widened once a round trip: not again before a segment from this number on.
    widened_until: u64,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    number: u64,
    round_trip: Duration,
}

impl Rack {
    pub(super) fn new() -> Self {
        Self { newest: None, reordering_seen: false, quarters: 1, persists: 0, widened_until: 0 }
    }

    /// RFC 8985 §6.2 steps 1 and 2: segment `number`, sent at `sent_at`, arrived.
    pub(super) fn on_arrived(&mut self, now: Instant, number: u64, sent_at: Instant) {
        if self.newest.is_none_or(|newest| newest.number < number) {
            self.newest = Some(Newest { number, round_trip: now.saturating_duration_since(sent_at) });
        }
    }

    /// RFC 8985 §6.2 step 3: a segment arrived behind one that was sent later.
    pub(super) fn on_reordering(&mut self) {
        self.reordering_seen = true;
    }

    /// Segment `number` arrived after it was given up; the next one sent will be `next_number`.
    pub(super) fn on_spurious(&mut self, number: u64, next_number: u64) {
        self.reordering_seen = true;
        self.persists = PERSISTS;
        if number >= self.widened_until {
            self.quarters = self.quarters.saturating_add(1);
            self.widened_until = next_number;
        }
    }

    /// A recovery is over.
    pub(super) fn on_recovered(&mut self) {
        self.persists = self.persists.saturating_sub(1);
        if self.persists == 0 {
            self.quarters = 1;
        }
    }

    /// The number below which segments are overtaken.
    pub(super) fn overtaken_below(&self) -> u64 {
        self.newest.map_or(0, |newest| newest.number)
    }

    /// How long after it was sent an overtaken segment is lost. The oldest of them has number `oldest`.
    pub(super) fn patience(&self, rtt: &RttEstimator, recovering: bool, oldest: u64) -> Duration {
        let Some(newest) = self.newest else { return Duration::MAX };
        newest.round_trip + self.reordering_window(rtt, recovering, newest.number.saturating_sub(oldest))
    }

    /// RFC 8985 §6.2 step 4, RACK_update_reo_wnd.
    fn reordering_window(&self, rtt: &RttEstimator, recovering: bool, overtaken_by: u64) -> Duration {
        if !self.reordering_seen && (recovering || overtaken_by >= REORDERING_THRESHOLD) {
            return Duration::ZERO;
        }
        let quarter = rtt.minimum().unwrap_or_default() / 4;
        quarter.saturating_mul(self.quarters).min(rtt.smoothed().unwrap_or_default())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests take any instant as their zero")]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn rack() -> (Rack, RttEstimator) {
        let (mut rack, mut rtt, zero) = (Rack::new(), RttEstimator::default(), Instant::now());
        rtt.sample(zero, ms(100), ms(0));
        rack.on_arrived(zero + ms(100), 10, zero);
        (rack, rtt)
    }

    #[test]
    fn a_segment_overtaken_by_three_is_lost_at_once() {
        let (rack, rtt) = rack();
        assert_eq!(rack.patience(&rtt, false, 7), ms(100));
        assert_eq!(rack.patience(&rtt, false, 8), ms(125));
        assert_eq!(rack.patience(&rtt, true, 8), ms(100));
    }

    #[test]
    fn on_a_path_that_reorders_a_quarter_of_a_round_trip_is_waited() {
        let (mut rack, rtt) = rack();
        rack.on_reordering();
        assert_eq!(rack.patience(&rtt, true, 1), ms(125));
    }

    #[test]
    fn each_segment_given_up_too_soon_widens_the_window_up_to_a_round_trip() {
        let (mut rack, rtt) = rack();
        for round in 1..=6_u64 {
            rack.on_spurious(10 * round, 10 * round + 5);
            rack.on_spurious(10 * round + 1, 10 * round + 6);
            assert_eq!(rack.patience(&rtt, false, 1), ms(100 + (25 * (round + 1)).min(100)));
        }
        for _ in 0..PERSISTS {
            rack.on_recovered();
        }
        assert_eq!(rack.patience(&rtt, false, 1), ms(125));
    }
}
