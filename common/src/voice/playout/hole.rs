//! What is known of the time for which no block was there.

use crate::limits::{AUDIO_BLOCK_SAMPLES, PLAYOUT_MAX_BLOCKS};

/// What is known of the places that have no block.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hole {
    /// Number of the last packet that has been accounted for.
    pub(super) number: i64,
    /// Samples made up while nothing was there: lost, late, or never sent. The next packet tells. Of these, silent ones.
    unexplained: u64,
    unexplained_silent: u64,
    /// Blocks made up while nothing was there and time stood still.
    pub(super) made_up: i64,
    /// Its concealment was counted.
    pub(super) open: bool,
    /// Blocks in a row that came too late.
    pub(super) late: u32,
}

/// What a hole turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Explained {
    /// Samples made up for what was lost or late.
    pub(super) concealed: u64,
    /// Of these, silent ones.
    pub(super) silent: u64,
}

/// A second of samples at most: longer is an absence, not a loss.
const UNEXPLAINED_MAX: u64 = (PLAYOUT_MAX_BLOCKS * AUDIO_BLOCK_SAMPLES) as u64;

impl Hole {
    /// The packet with this number is played: there is no hole any more.
    pub(super) fn closed(self, number: i64) -> Self {
        Self { number, late: self.late, ..Self::default() }
    }

    pub(super) fn note_unexplained(&mut self, samples: usize, silent: bool) {
        let samples = (samples as u64).min(UNEXPLAINED_MAX - self.unexplained);
        self.unexplained += samples;
        self.unexplained_silent += if silent { samples } else { 0 };
    }

    /// A packet with this number came, `gap` places behind the next one: packets between were lost, and all that was
    /// made up was for them or for this one. Unless places remain that no packet had: there the sender paused.
    pub(super) fn explain(&mut self, gap: i64, number: i64) -> Explained {
        let lost = (number - self.number - 1).max(0);
        let most = if lost >= gap { u64::MAX } else { lost as u64 * AUDIO_BLOCK_SAMPLES as u64 };
        let concealed = self.unexplained.min(most);
        // Silence comes last.
        let audible = self.unexplained - self.unexplained_silent;
        let silent = concealed.saturating_sub(audible);
        self.open |= concealed > 0;
        (self.unexplained, self.unexplained_silent) = (0, 0);
        Explained { concealed, silent }
    }

    /// Time goes on behind what was made up, but not beyond the first block there is; answers by how many places.
    pub(super) fn pass_made_up(&mut self, gap: i64, number: i64) -> i64 {
        let lost = (number - self.number - 1).max(0);
        let passed = self.made_up.min(gap).min(lost);
        self.number += passed;
        self.made_up = 0;
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = AUDIO_BLOCK_SAMPLES as u64;

    fn hole(made_up: i64, silent: usize) -> Hole {
        let mut hole = Hole { number: 10, made_up, ..Hole::default() };
        (0..made_up).for_each(|_| hole.note_unexplained(AUDIO_BLOCK_SAMPLES, false));
        (0..silent).for_each(|_| hole.note_unexplained(AUDIO_BLOCK_SAMPLES, true));
        hole
    }

    #[test]
    fn what_comes_late_was_concealed_all_along() {
        let explained = hole(6, 2).explain(0, 11);
        assert_eq!(explained, Explained { concealed: 8 * BLOCK, silent: 2 * BLOCK });
    }

    #[test]
    fn a_pause_was_not_concealed() {
        assert_eq!(hole(6, 50).explain(56, 11), Explained { concealed: 0, silent: 0 });
    }

    #[test]
    fn of_a_pause_and_a_loss_only_the_loss_was_concealed() {
        assert_eq!(hole(6, 50).explain(56, 13), Explained { concealed: 2 * BLOCK, silent: 0 });
    }

    #[test]
    fn time_goes_on_behind_what_was_lost_and_not_behind_what_was_late() {
        assert_eq!(hole(2, 0).pass_made_up(1, 12), 1);
        assert_eq!(hole(2, 0).pass_made_up(3, 14), 2);
        assert_eq!(hole(2, 0).pass_made_up(0, 11), 0);
    }

    #[test]
    fn an_absence_counts_for_a_second() {
        let mut hole = hole(6, 500);
        assert_eq!(hole.explain(0, 11).concealed, UNEXPLAINED_MAX);
        assert_eq!(hole.explain(0, 11).concealed, 0);
    }
}
