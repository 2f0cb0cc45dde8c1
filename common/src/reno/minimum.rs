//! The least of what was measured of late.

use std::time::{Duration, Instant};

/// The minimum of the samples of the last 15 to 30 seconds: long enough to see an empty queue now and then, short
/// enough to believe in a new path.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowedMinimum<T> {
    older: Option<T>,
    newer: Option<T>,
    turns_at: Option<Instant>,
}

const HALF_WINDOW: Duration = Duration::from_secs(15);

impl<T> Default for WindowedMinimum<T> {
    fn default() -> Self {
        Self { older: None, newer: None, turns_at: None }
    }
}

impl<T: Copy + Ord> WindowedMinimum<T> {
    pub(super) fn push(&mut self, now: Instant, sample: T) {
        if self.turns_at.is_none_or(|at| at <= now) {
            self.older = self.newer.take();
            self.turns_at = Some(now + HALF_WINDOW);
        }
        self.newer = Some(self.newer.map_or(sample, |least| least.min(sample)));
    }

    pub(super) fn value(&self) -> Option<T> {
        self.older.into_iter().chain(self.newer).min()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test takes any instant as its zero")]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_late_is_kept_and_an_old_one_forgotten() {
        let (zero, mut minimum) = (Instant::now(), WindowedMinimum::default());
        assert_eq!(minimum.value(), None);
        for (second, sample, least) in [(0, 5, 5), (10, 7, 5), (16, 9, 5), (29, 8, 5), (31, 9, 8), (47, 9, 9)] {
            minimum.push(zero + Duration::from_secs(second), sample);
            assert_eq!(minimum.value(), Some(least), "at {second} s");
        }
    }
}
