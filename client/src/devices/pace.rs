//! When the next frame or block of a device is due, and when the engine looks at its devices: plain functions of the time
//! they are given.

use std::time::{Duration, Instant};

use common::limits::{AUDIO_BLOCK, AUDIO_BLOCK_SAMPLES};

/// Deadlines of frames at a steady rate; after a stall the missed ones are skipped, not hurried through.
#[derive(Clone, Copy, Debug)]
pub struct FramePace {
    period: Duration,
    origin: Option<Instant>,
    next: u32,
}

impl FramePace {
    /// A pace of this many frames a second, at least one. It starts with the first call of [`FramePace::next`].
    pub fn new(frames_per_second: u32) -> Self {
        Self { period: Duration::from_secs(1) / frames_per_second.max(1), origin: None, next: 0 }
    }

    /// The number of the next frame, and when it is to be shown: `now`, or less than a period from now.
    pub fn next(&mut self, now: Instant) -> (u32, Instant) {
        let origin = *self.origin.get_or_insert(now);
        let elapsed = now.saturating_duration_since(origin);
        let current = (elapsed.as_nanos() / self.period.as_nanos().max(1)) as u32;
        let index = self.next.max(current);
        self.next = index.saturating_add(1);
        (index, (origin + self.period * index).max(now))
    }
}

/// Blocks of audio at 100 a second: the quartz of a sound card that is not there.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlockPace {
    next_due: Option<Instant>,
}

/// Blocks that may be taken at once after a stall. What was missed before them is gone, as on a sound card.
pub const CATCH_UP_BLOCKS: u32 = 3;

impl BlockPace {
    /// How many blocks are due and were not taken yet, at most [`CATCH_UP_BLOCKS`], and how many were missed since the
    /// last call. The first block is due at the first call.
    pub fn due(&mut self, now: Instant) -> (u32, u64) {
        let next_due = *self.next_due.get_or_insert(now);
        let Some(late) = now.checked_duration_since(next_due) else {
            return (0, 0);
        };
        let due = (late.as_nanos() / AUDIO_BLOCK.as_nanos()) as u64 + 1;
        let missed = due.saturating_sub(u64::from(CATCH_UP_BLOCKS));
        self.next_due = Some(next_due + blocks(missed));
        ((due - missed) as u32, missed)
    }

    /// When the next block is due; `None` before the first call of the others.
    pub fn next_due(&self) -> Option<Instant> {
        self.next_due
    }

    /// Takes one block that is due; `false` when none is.
    pub fn take(&mut self, now: Instant) -> bool {
        let due = self.due(now).0 > 0;
        if due {
            self.next_due = self.next_due.map(|at| at + AUDIO_BLOCK);
        }
        due
    }
}

/// A callback of a sound card, as the engine learns of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Callback {
    /// Counts callbacks, and begins again after the largest number.
    pub number: usize,
    /// When it came.
    pub at: Instant,
    /// Samples at 48 kHz that it gave or took.
    pub samples: usize,
}

impl Callback {
    /// When a microphone that called back like this has the next block, with `waiting` samples of it there; `None` when it
    /// does not call back as it should.
    pub fn next_block(self, now: Instant, waiting: usize) -> Option<Instant> {
        let period = self.samples.max(1);
        let callbacks = AUDIO_BLOCK_SAMPLES.saturating_sub(waiting).div_ceil(period);
        let overdue_at = self.at + time_of((callbacks + 1) * period);
        (now < overdue_at).then(|| self.at + time_of(callbacks * period))
    }
}

/// How long so many samples at 48 kHz take.
pub(super) fn time_of(samples: usize) -> Duration {
    AUDIO_BLOCK.mul_f64(samples as f64 / AUDIO_BLOCK_SAMPLES as f64)
}

/// When the engine looks at its sound devices after a look at `now`: when the first of them is due, which `None` leaves
/// open.
pub fn next_look(now: Instant, dues: impl Iterator<Item = Option<Instant>>) -> Instant {
    let first = dues.map(|due| due.unwrap_or(now + LOOK_BLINDLY)).min();
    first.map_or(now + LOOK_MAX, |first| first.clamp(now + LOOK_MIN, now + LOOK_MAX))
}

/// Between two looks at least: what the timers of the runtime count in. A device that is a little late is looked at again
/// after that.
pub const LOOK_MIN: Duration = Duration::from_millis(1);
/// Between two looks at most: a block, since a device may call back when nobody expects it.
pub const LOOK_MAX: Duration = AUDIO_BLOCK;
/// Between two looks at a device of which nothing is known: a block of it waits 5 ms at most.
const LOOK_BLINDLY: Duration = Duration::from_millis(5);

fn blocks(count: u64) -> Duration {
    Duration::from_nanos(count.saturating_mul(AUDIO_BLOCK.as_nanos() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn frames_come_at_their_rate() {
        let start = Instant::now();
        let mut pace = FramePace::new(25);
        assert_eq!(pace.next(start), (0, start));
        assert_eq!(pace.next(start + ms(5)), (1, start + ms(40)));
        assert_eq!(pace.next(start + ms(41)), (2, start + ms(80)));
        assert_eq!(pace.next(start + ms(80)), (3, start + ms(120)));
    }

    #[test]
    fn a_stalled_camera_skips_what_it_missed() {
        let start = Instant::now();
        let mut pace = FramePace::new(25);
        pace.next(start);
        assert_eq!(pace.next(start + ms(205)), (5, start + ms(205)));
        assert_eq!(pace.next(start + ms(206)), (6, start + ms(240)));
    }

    #[test]
    fn a_hundred_blocks_a_second_are_due() {
        let start = Instant::now();
        let mut pace = BlockPace::default();
        let taken = (0..1_000).filter(|millis| pace.take(start + ms(*millis))).count();
        assert_eq!(taken, 100);
    }

    #[test]
    fn after_a_stall_a_few_blocks_come_at_once_and_the_rest_is_missed() {
        let start = Instant::now();
        let mut pace = BlockPace::default();
        assert!(pace.take(start));
        assert!(!pace.take(start + ms(9)));
        assert_eq!(pace.due(start + ms(500)), (3, 47));
        assert_eq!(pace.due(start + ms(500)), (3, 0));
        let burst = (0..10).filter(|_| pace.take(start + ms(500))).count();
        assert_eq!(burst, 3);
        assert!(pace.take(start + ms(510)));
    }

    #[test]
    fn a_microphone_has_a_block_after_as_many_callbacks_as_it_takes() {
        let at = Instant::now();
        let of = |samples| Callback { number: 1, at, samples };
        assert_eq!(of(480).next_block(at, 0), Some(at + ms(10)));
        assert_eq!(of(960).next_block(at, 0), Some(at + ms(20)));
        assert_eq!(of(120).next_block(at, 200), Some(at + Duration::from_micros(7_500)));
        assert_eq!(of(480).next_block(at, 480), Some(at));
        // A device that stands still is not waited for.
        assert_eq!(of(480).next_block(at + ms(20), 0), None);
        assert_eq!(of(0).next_block(at + ms(60_000), 0), None);
    }

    #[test]
    fn the_engine_looks_when_the_first_device_is_due() {
        let now = Instant::now();
        let look = |dues: [Option<Instant>; 2]| next_look(now, dues.into_iter()) - now;
        assert_eq!(look([Some(now + ms(7)), Some(now + ms(3))]), ms(3));
        assert_eq!(look([Some(now + ms(7)), None]), LOOK_BLINDLY);
        assert_eq!(look([Some(now), None]), LOOK_MIN);
        assert_eq!(look([Some(now + ms(40)), Some(now + ms(50))]), LOOK_MAX);
        assert_eq!(next_look(now, std::iter::empty()), now + LOOK_MAX);
    }

    #[test]
    fn a_clock_that_stands_still_gives_nothing() {
        let now = Instant::now();
        let mut pace = BlockPace::default();
        assert!(pace.take(now));
        assert!(!pace.take(now));
    }
}
