//! The sizes, qualities and frame rates of video, and which of them fits a budget.

use std::time::{Duration, Instant};

/// A picture size of the ladder. Widths are multiples of 16; the last row of blocks of 360p is half outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rung {
    /// Position in [`Rung::ALL`], as it stands in the video header.
    pub index: u8,
    /// What people call it, for example `480p`.
    pub name: &'static str,
    /// Pixels across.
    pub width: u16,
    /// Pixels down.
    pub height: u16,
}

impl Rung {
    /// All rungs from the smallest to the largest.
    pub const ALL: [Self; 4] = [
        Self { index: 0, name: "144p", width: 256, height: 144 },
        Self { index: 1, name: "240p", width: 432, height: 240 },
        Self { index: 2, name: "360p", width: 640, height: 360 },
        Self { index: 3, name: "480p", width: 864, height: 480 },
    ];

    /// The rung with this index, as it stands in a header.
    pub fn from_index(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }

    /// 16×16 blocks across.
    pub fn block_columns(self) -> u8 {
        (self.width / 16) as u8
    }

    /// 16×16 blocks down, the last row perhaps only partly inside the picture.
    pub fn block_rows(self) -> u8 {
        self.height.div_ceil(16) as u8
    }
}

/// What the sender's camera and encoder should produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoTarget {
    /// Picture size.
    pub rung: Rung,
    /// JPEG quality, 1..=100.
    pub quality: u8,
    /// Frames a second.
    pub frames_per_second: u8,
}

impl Default for VideoTarget {
    /// Where a meeting starts: 360p at quality 50, 15 frames a second.
    fn default() -> Self {
        Self { rung: Rung::ALL[2], quality: 50, frames_per_second: 15 }
    }
}

/// The steps between which [`Ladder`] moves, along the hull of quality over rate: a larger picture is taken before a
/// quality above 55 of a smaller one, and nothing above quality 70, where bits buy next to nothing. Each with about what it
/// takes for a talking head whose every block is sent, in bits per second.
const STEPS: [(VideoTarget, f64); 23] = [
    step(0, 15, 5, 0.105e6),
    step(0, 15, 9, 0.19e6),
    step(0, 25, 10, 0.3e6),
    step(0, 32, 11, 0.4e6),
    step(0, 40, 12, 0.5e6),
    step(1, 25, 8, 0.53e6),
    step(1, 25, 10, 0.66e6),
    step(1, 25, 12, 0.8e6),
    step(1, 32, 14, 1.03e6),
    step(1, 40, 15, 1.2e6),
    step(1, 47, 15, 1.35e6),
    step(1, 55, 15, 1.5e6),
    step(1, 55, 17, 1.7e6),
    step(2, 40, 15, 2.0e6),
    step(2, 45, 15, 2.2e6),
    step(2, 50, 15, 2.4e6),
    step(2, 50, 17, 2.72e6),
    step(3, 35, 15, 3.1e6),
    step(3, 50, 15, 3.9e6),
    step(3, 55, 17, 4.75e6),
    step(3, 60, 18, 5.5e6),
    step(3, 65, 24, 7.5e6),
    step(3, 70, 30, 10.5e6),
];

const fn step(rung: usize, quality: u8, frames_per_second: u8, rate: f64) -> (VideoTarget, f64) {
    (VideoTarget { rung: Rung::ALL[rung], quality, frames_per_second }, rate)
}

/// Where [`VideoTarget::default`] stands in [`STEPS`].
const FIRST_STEP: usize = 15;

/// Chooses the step whose frames fit the budget.
///
/// What a step takes depends on the scene: somebody who listens takes a third of somebody who waves. So the frames that
/// leave are weighed, and the other steps are taken to differ from theirs as `STEPS` says.
#[derive(Clone, Debug)]
pub struct Ladder {
    /// Index into [`STEPS`].
    step: usize,
    /// The highest step allowed from outside.
    highest: usize,
    /// What frames of late took, as a share of what [`STEPS`] says.
    busyness: f64,
    /// The newest budget, bits per second.
    budget: f64,
    /// The highest step that fitted all the time since then.
    fits: Option<(usize, Instant)>,
    /// Since when the step takes more than the budget.
    over_since: Option<Instant>,
}

/// Frames of late whose weight counts, as the weight of one.
const FRAME_WEIGHT: f64 = 0.15;
/// A frame that is larger than expected counts at once for this much.
const LARGE_FRAME_WEIGHT: f64 = 0.4;
/// A scene never counts for less: the first movement in a still picture must not find a step ten times too high.
const BUSYNESS_MIN: f64 = 0.2;
/// Nor for more than a picture full of detail takes.
const BUSYNESS_MAX: f64 = 3.0;
/// A step has to fit with so much to spare before it is taken, …
const SPARE: f64 = 0.9;
/// … and for so long.
const UP_AFTER: Duration = Duration::from_millis(250);
/// The step is left when it takes more than this much of the budget.
const OVER: f64 = 1.1;
/// A size that takes more than this much of the budget is left at once, …
const OVER_FAR: f64 = 1.3;
/// … and otherwise after this: what is a little too much for so long, the pacer and the path's queue bear.
const SMALLER_AFTER: Duration = Duration::from_millis(500);

impl Ladder {
    /// Begins at [`VideoTarget::default`].
    pub fn new() -> Self {
        Self {
            step: FIRST_STEP,
            highest: STEPS.len() - 1,
            busyness: 0.6,
            budget: STEPS[FIRST_STEP].1,
            fits: None,
            over_since: None,
        }
    }

    /// What camera and encoder should produce.
    pub fn target(&self) -> VideoTarget {
        STEPS[self.step].0
    }

    /// Allows no rung above `max` from here on.
    pub fn limit(&mut self, max: Rung) {
        let allowed = STEPS.iter().take_while(|(step, _)| step.rung <= max).count();
        self.highest = allowed.saturating_sub(1);
        self.step = self.step.min(self.highest);
    }

    /// A frame of this many bytes, all headers included, was coded.
    pub fn handle_frame(&mut self, rung: Rung, quality: u8, bytes: usize) {
        let of_frame = |step: &VideoTarget| step.rung == rung && step.quality == quality;
        let Some((step, expected)) = STEPS.iter().find(|(step, _)| of_frame(step)) else { return };
        let rate = bytes as f64 * 8.0 * f64::from(step.frames_per_second);
        let busyness = (rate / expected).clamp(BUSYNESS_MIN, BUSYNESS_MAX);
        let weight = if busyness > self.busyness { LARGE_FRAME_WEIGHT } else { FRAME_WEIGHT };
        self.busyness += weight * (busyness - self.busyness);
    }

    /// What video may take from here on, bits per second.
    pub fn handle_budget(&mut self, now: Instant, budget_bps: f64) {
        self.budget = budget_bps;
        if self.rate(self.step) > OVER * budget_bps {
            self.fits = None;
            return self.step_down(now, budget_bps);
        }
        self.over_since = None;
        let fits = self.highest_within(SPARE * budget_bps);
        if fits <= self.step {
            self.fits = None;
            return;
        }
        let (before, since) = self.fits.unwrap_or((fits, now));
        let fits = fits.min(before);
        self.fits = Some((fits, since));
        if now.saturating_duration_since(since) >= UP_AFTER {
            self.step = fits;
            self.fits = None;
        }
    }

    /// A smaller picture is all new, so before that one of the same size is tried for a while, unless it is far too much.
    fn step_down(&mut self, now: Instant, budget: f64) {
        let since = *self.over_since.get_or_insert(now);
        let fits = self.highest_within(budget).min(self.step);
        let rung = STEPS[self.step].0.rung;
        let first = STEPS.iter().position(|(step, _)| step.rung == rung).unwrap_or_default();
        let bearable = self.rate(first) <= OVER_FAR * budget;
        let waits = bearable && now.saturating_duration_since(since) < SMALLER_AFTER;
        self.step = if waits { fits.max(first) } else { fits };
    }

    /// Bits per second that a step takes with the scene of late.
    fn rate(&self, step: usize) -> f64 {
        STEPS[step].1 * self.busyness
    }

    fn highest_within(&self, budget: f64) -> usize {
        (0..=self.highest).rev().find(|step| self.rate(*step) <= budget).unwrap_or(0)
    }
}

impl Default for Ladder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time;

    const MILLI: Duration = Duration::from_millis(1);

    /// A camera whose frames take `busyness` of what the table says, over a path with this budget for so long.
    fn run(ladder: &mut Ladder, from: Instant, budget_mbps: f64, busyness: f64, millis: u32) -> Vec<usize> {
        let mut next_frame = 0;
        let mut steps = Vec::new();
        for at in (0..millis).step_by(25) {
            let target = ladder.target();
            if at >= next_frame {
                next_frame += 1_000 / u32::from(target.frames_per_second);
                let rate = STEPS[ladder.step].1 * busyness / f64::from(target.frames_per_second);
                ladder.handle_frame(target.rung, target.quality, (rate / 8.0) as usize);
            }
            ladder.handle_budget(from + at * MILLI, budget_mbps * 1e6);
            steps.push(ladder.step);
        }
        steps
    }

    #[test]
    fn it_begins_where_a_meeting_begins() {
        assert_eq!(Ladder::new().target(), VideoTarget::default());
    }

    #[test]
    fn a_step_up_never_asks_for_less() {
        for pair in STEPS.windows(2) {
            let [(low, low_rate), (high, high_rate)] = pair else { unreachable!() };
            // A larger picture may come less often.
            assert!(low.rung < high.rung || low.rung == high.rung && low.frames_per_second <= high.frames_per_second);
            let order = |target: &VideoTarget| (target.rung, target.quality, target.frames_per_second);
            assert!(order(low) < order(high) && low_rate < high_rate);
            assert!(high.quality <= 70);
        }
    }

    #[test]
    fn a_budget_that_falls_is_followed_at_once_and_one_that_grows_within_a_second() {
        let (mut ladder, now) = (Ladder::new(), virtual_time());
        run(&mut ladder, now, 20.0, 1.0, 2_000);
        assert_eq!(ladder.step, STEPS.len() - 1);
        ladder.handle_budget(now + 2_000 * MILLI, 0.9e6);
        assert_eq!(ladder.target().rung, Rung::ALL[1]);
        let steps = run(&mut ladder, now + 2_025 * MILLI, 5.0, 1.0, 1_000);
        assert_eq!(
            steps.last().map(|step| STEPS[*step].0),
            Some(VideoTarget { rung: Rung::ALL[3], quality: 50, frames_per_second: 15 })
        );
    }

    #[test]
    fn a_size_that_takes_a_little_too_much_is_kept_for_half_a_second_and_one_that_takes_far_too_much_is_not() {
        for (budget, kept) in [(1.7, 500), (1.4, 0)] {
            let (mut ladder, now) = (Ladder::new(), virtual_time());
            run(&mut ladder, now, 2.4, 1.0, 2_000);
            assert_eq!(ladder.target().rung.name, "360p");
            let steps = run(&mut ladder, now + 2_000 * MILLI, budget, 1.0, 1_000);
            let smaller = steps.iter().position(|step| STEPS[*step].0.rung.name == "240p").expect("is left");
            assert_eq!(smaller * 25, kept);
            let (kept, _) = STEPS[steps[0]];
            assert!(smaller == 0 || kept.quality == 40, "the least quality of its size, and not {}", kept.quality);
        }
    }

    #[test]
    fn a_size_is_kept_as_long_as_what_is_too_much_passes() {
        let (mut ladder, now) = (Ladder::new(), virtual_time());
        run(&mut ladder, now, 2.4, 1.0, 2_000);
        for second in 2..10 {
            let at = |millis: u32| now + (1_000 * second + millis) * MILLI;
            run(&mut ladder, at(0), 1.7, 1.0, 400);
            run(&mut ladder, at(400), 2.4, 1.0, 600);
            assert_eq!(ladder.target().rung.name, "360p");
        }
    }

    #[test]
    fn a_quiet_scene_is_shown_larger_and_a_busy_one_smaller() {
        let at = |busyness| {
            let mut ladder = Ladder::new();
            run(&mut ladder, virtual_time(), 2.0, busyness, 5_000);
            ladder.target().rung.name
        };
        assert_eq!([0.4, 1.0, 2.0].map(at), ["480p", "360p", "240p"]);
        let (mut ladder, now) = (Ladder::new(), virtual_time());
        run(&mut ladder, now, 2.0, 0.2, 3_000);
        let still = ladder.step;
        run(&mut ladder, now + 3_000 * MILLI, 2.0, 1.5, 300);
        assert!(ladder.step < still, "movement is answered within a few frames");
    }

    #[test]
    fn a_budget_on_the_edge_does_not_make_it_go_back_and_forth() {
        let (mut ladder, now) = (Ladder::new(), virtual_time());
        run(&mut ladder, now, 3.1, 1.0, 5_000);
        let mut moves = 0;
        for second in 0..30 {
            let budget = 3.1 + 0.15 * f64::from(second % 3 - 1);
            let steps = run(&mut ladder, now + (5_000 + 1_000 * second as u32) * MILLI, budget, 1.0, 1_000);
            moves += steps.windows(2).filter(|pair| pair[0] != pair[1]).count();
        }
        assert!(moves <= 2, "{moves}");
    }

    #[test]
    fn no_step_goes_beyond_what_is_looked_at() {
        let (mut ladder, now) = (Ladder::new(), virtual_time());
        ladder.limit(Rung::ALL[1]);
        run(&mut ladder, now, 20.0, 0.3, 3_000);
        assert_eq!(ladder.target().rung, Rung::ALL[1]);
        ladder.limit(Rung::ALL[3]);
        run(&mut ladder, now + 3_000 * MILLI, 20.0, 0.3, 1_000);
        assert_eq!(ladder.target().rung, Rung::ALL[3]);
    }
}
