//! When the delay may be corrected, and how much: rarely enough that nobody hears it.

/// Keeps corrections apart, and tells what they may use up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// Shortest slack of the window before and of the running one, microseconds; a device that takes several blocks
    /// at once must find the last of them as well.
    shortest: [Option<i64>; 2],
    steps: u32,
    /// Samples that may be left out or put in, from time to time negative.
    allowance: i64,
    /// Steps for which a correction was wanted and the sound did not allow one.
    waited: u32,
}

/// Steps of a window of `shortest`.
const WINDOW_STEPS: u32 = 25;
/// Samples a step adds to the allowance: 6 % of it.
const ALLOWANCE_STEP: i64 = 29;
/// A correction where it is quiet counts for a quarter.
const QUIET_PRICE: i64 = 4;
/// What may be saved up: about one period.
const ALLOWANCE_MAX: i64 = 480;
/// How alike the two sides of a cut must be (NetEq: 14,746 of 16,384).
const LIKENESS: f32 = 0.9;
/// A sound without a period, as of music or rain, is cut where it is least unlike itself after a while: each step lowers
/// the bar by a tenth in a second.
const LIKENESS_STEP: f32 = 0.001;
/// The bar never comes lower.
const LIKENESS_MIN: f32 = 0.3;

impl Pace {
    /// A step of the speaker's clock, and how long before it the fastest packets brought the block that it needs.
    pub(super) fn step(&mut self, slack: i64) {
        self.allowance = (self.allowance + ALLOWANCE_STEP).min(ALLOWANCE_MAX);
        self.steps += 1;
        if self.steps >= WINDOW_STEPS {
            self.steps = 0;
            self.shortest = [self.shortest[1], None];
        }
        let running = &mut self.shortest[1];
        *running = Some(running.map_or(slack, |shortest| shortest.min(slack)));
    }

    /// The shortest slack of late.
    pub(super) fn shortest(&self) -> Option<i64> {
        self.shortest.iter().flatten().min().copied()
    }

    /// The shortest slack of at least one whole window: there is no excess before there was one.
    pub(super) fn shortest_for_sure(&self) -> Option<i64> {
        self.shortest[0].and(self.shortest())
    }

    /// Slack became longer, or shorter, by the clock's own doing.
    pub(super) fn moved(&mut self, micros: i64) {
        self.shortest = self.shortest.map(|shortest| shortest.map(|shortest| shortest + micros));
    }

    /// Whether a correction may be made at all in this step.
    pub(super) fn allows(&self) -> bool {
        self.allowance > 0
    }

    /// Whether it may be made in a sound that is so much alike on both sides.
    pub(super) fn accepts(&mut self, likeness: f32) -> bool {
        let accepted = likeness >= (LIKENESS - LIKENESS_STEP * self.waited as f32).max(LIKENESS_MIN);
        self.waited = if accepted { 0 } else { self.waited.saturating_add(1) };
        accepted
    }

    pub(super) fn corrected(&mut self, samples: usize, quiet: bool) {
        self.allowance -= samples as i64 / if quiet { QUIET_PRICE } else { 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrections_stay_below_six_percent() {
        let mut pace = Pace::default();
        let mut cut = 0;
        for _ in 0..6_000 {
            pace.step(0);
            if pace.allows() {
                pace.corrected(400, false);
                cut += 400;
            }
        }
        let share = f64::from(cut) / (6_000.0 * 480.0);
        assert!((0.055..0.062).contains(&share), "{share}");
    }

    #[test]
    fn the_shortest_slack_is_that_of_two_windows() {
        let mut pace = Pace::default();
        (0..24).for_each(|_| pace.step(20_000));
        assert_eq!((pace.shortest(), pace.shortest_for_sure()), (Some(20_000), None));
        pace.step(5_000);
        (0..25).for_each(|_| pace.step(20_000));
        assert_eq!(pace.shortest_for_sure(), Some(5_000));
        pace.moved(10_000);
        assert_eq!(pace.shortest(), Some(15_000));
        (0..50).for_each(|_| pace.step(20_000));
        assert_eq!(pace.shortest_for_sure(), Some(20_000));
    }

    #[test]
    fn a_sound_without_a_period_is_cut_in_the_end() {
        let mut pace = Pace::default();
        assert!(pace.accepts(0.95));
        let steps = (0..10_000).take_while(|_| !pace.accepts(0.4)).count();
        assert!((450..=550).contains(&steps), "{steps}");
        assert!(!pace.accepts(0.4));
    }
}
