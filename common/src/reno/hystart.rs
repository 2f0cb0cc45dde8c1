//! HyStart++ (RFC 9406): leaves slow start when the round trip grows, before the queue overflows.
//!
//! Each round trip in slow start is a round. When the shortest round trip of a round is longer than that of the round
//! before by an eighth, a queue has begun: conservative slow start (CSS) grows a quarter as fast for five rounds. If
//! the round trip falls again meanwhile, it was a false alarm; else slow start ends.

use std::time::Duration;

use super::controller::Progress;

/// RTT samples a round needs before it is judged (RFC 9406 §4.3, N_RTT_SAMPLE).
const SAMPLES_PER_ROUND: u32 = 8;
/// RFC 9406 §4.3, MIN_RTT_THRESH and MAX_RTT_THRESH.
const THRESHOLD_MIN: Duration = Duration::from_millis(4);
const THRESHOLD_MAX: Duration = Duration::from_millis(16);
/// RFC 9406 §4.3, MIN_RTT_DIVISOR.
const THRESHOLD_DIVISOR: u32 = 8;
/// RFC 9406 §4.3, CSS_GROWTH_DIVISOR.
const CSS_GROWTH_DIVISOR: u64 = 4;
/// RFC 9406 §4.3, CSS_ROUNDS.
const CSS_ROUNDS: u32 = 5;

/// What to do with the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Grow by what was acknowledged, divided by this.
    Grow(u64),
    /// The path is full: slow start ends here.
    Leave,
}

/// Watches the rounds of one slow start.
#[derive(Debug, Default)]
pub(super) struct HyStart {
    /// The round ends with the first segment from this number on.
    window_end: u64,
    last_round_min: Option<Duration>,
    round_min: Option<Duration>,
    samples: u32,
    conservative: Option<Conservative>,
}

#[derive(Clone, Copy, Debug)]
struct Conservative {
    baseline: Duration,
    rounds: u32,
}

impl HyStart {
    /// Takes an acknowledgement in slow start.
    pub(super) fn on_acknowledged(&mut self, progress: &Progress) -> Advice {
        if progress.newest >= self.window_end && self.end_round(progress.next_number) {
            return Advice::Leave;
        }
        if let Some(round_trip) = progress.round_trip {
            self.samples += 1;
            self.round_min = Some(self.round_min.map_or(round_trip, |least| least.min(round_trip)));
        }
        self.judge();
        Advice::Grow(if self.conservative.is_some() { CSS_GROWTH_DIVISOR } else { 1 })
    }

    /// Answers whether conservative slow start has lasted long enough.
    fn end_round(&mut self, next_number: u64) -> bool {
        self.window_end = next_number;
        self.last_round_min = self.round_min.take();
        self.samples = 0;
        let Some(conservative) = &mut self.conservative else { return false };
        conservative.rounds += 1;
        conservative.rounds >= CSS_ROUNDS
    }

    fn judge(&mut self) {
        let Some(round) = self.round_min.filter(|_| self.samples >= SAMPLES_PER_ROUND) else { return };
        if let Some(conservative) = self.conservative {
            if round < conservative.baseline {
                self.conservative = None;
            }
        } else if let Some(last) = self.last_round_min {
            let threshold = (last / THRESHOLD_DIVISOR).clamp(THRESHOLD_MIN, THRESHOLD_MAX);
            if round >= last + threshold {
                self.conservative = Some(Conservative { baseline: round, rounds: 0 });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "the test takes any instant as its zero")]
    fn ack(newest: u64, round_trip_ms: u64) -> Progress {
        Progress {
            now: Instant::now(),
            bytes: 1,
            newest,
            next_number: newest + 10,
            window_was_full: true,
            recovering: false,
            round_trip: Some(Duration::from_millis(round_trip_ms)),
        }
    }

    /// One round of ten acknowledgements; the last advice.
    fn round(hystart: &mut HyStart, number: u64, round_trip_ms: u64) -> Advice {
        let mut advice = Advice::Grow(0);
        for index in 0..10 {
            advice = hystart.on_acknowledged(&Progress {
                next_number: (number + 1) * 10,
                ..ack(number * 10 + index, round_trip_ms)
            });
            if advice == Advice::Leave {
                return advice;
            }
        }
        advice
    }

    #[test]
    fn a_steady_round_trip_never_ends_slow_start() {
        let mut hystart = HyStart::default();
        assert!((0..30).all(|number| round(&mut hystart, number, 50) == Advice::Grow(1)));
    }

    #[test]
    fn a_round_trip_that_grows_slows_down_for_five_rounds_and_ends_slow_start() {
        let mut hystart = HyStart::default();
        round(&mut hystart, 0, 50);
        assert_eq!(round(&mut hystart, 1, 60), Advice::Grow(4));
        assert!((2..6).all(|number| round(&mut hystart, number, 61) == Advice::Grow(4)));
        assert_eq!(round(&mut hystart, 6, 61), Advice::Leave);
    }

    #[test]
    fn a_round_trip_that_falls_again_was_a_false_alarm() {
        let mut hystart = HyStart::default();
        round(&mut hystart, 0, 50);
        assert_eq!(round(&mut hystart, 1, 60), Advice::Grow(4));
        assert_eq!(round(&mut hystart, 2, 51), Advice::Grow(1));
        assert_eq!(round(&mut hystart, 3, 51), Advice::Grow(1));
    }
}
