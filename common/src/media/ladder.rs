//! The sizes, qualities and frame rates of video, and the controller that moves between them.

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
/// quality above 55 of a smaller one, and nothing above quality 70, where bits buy next to nothing. Rates are about
/// those of a talking head whose every block is sent, in Mbit/s:
/// 0.3, 0.5, 0.8, 1.2, 1.5, 2.0, 2.4, 3.1, 3.9, 5.5, 7.5, 10.5.
const STEPS: [VideoTarget; 12] = [
    step(0, 25, 10),
    step(0, 40, 12),
    step(1, 25, 12),
    step(1, 40, 15),
    step(1, 55, 15),
    step(2, 40, 15),
    step(2, 50, 15),
    step(3, 35, 15),
    step(3, 50, 15),
    step(3, 60, 18),
    step(3, 65, 24),
    step(3, 70, 30),
];

const fn step(rung: usize, quality: u8, frames_per_second: u8) -> VideoTarget {
    VideoTarget { rung: Rung::ALL[rung], quality, frames_per_second }
}

/// Where [`VideoTarget::default`] stands in [`STEPS`].
const FIRST_STEP: usize = 6;

/// Moves the camera's target down as soon as the path is overloaded, and up again with care.
///
/// Overload is a queue (the round trip grows) or loss that comes with one. Loss alone, with the round trip at rest, is
/// a bad radio: sending less would not lose less. Only so much loss that nothing can be seen any more counts by itself.
#[derive(Clone, Debug)]
pub struct Ladder {
    /// Index into [`STEPS`].
    step: usize,
    /// The highest step allowed from outside.
    highest: usize,
    loss: RecentLoss,
    round_trip: RecentRoundTrip,
    last_down: Option<Instant>,
    last_up: Option<Instant>,
    /// Since when there has been no sign of overload.
    clean_since: Option<Instant>,
    failed: Option<FailedStep>,
}

/// A step that was too much, and how long it is left alone.
#[derive(Clone, Copy, Debug)]
struct FailedStep {
    step: usize,
    wait: Duration,
}

/// Loss above this, with a queue, is congestion: what the incumbents take for it lies at 5 to 10 %.
const LOSS_WITH_QUEUE: f32 = 0.08;
/// Loss above this is congestion whatever the round trip says: a path with hardly any queue to fill.
const LOSS_ALONE: f32 = 0.20;
/// Loss of a single report far above [`LOSS_ALONE`]: two steps, and three beyond twice that.
const LOSS_SEVERE: f32 = 0.35;
/// A round trip this far above the shortest shows that there is a queue.
const QUEUE: Duration = Duration::from_millis(30);
/// A round trip this far above the shortest is overload by itself.
const INFLATION: Duration = Duration::from_millis(100);
/// Reports have this long to show what the last step down did; a round trip takes part of it.
const DOWN_INTERVAL: Duration = Duration::from_millis(500);
/// The way up waits this long without a sign of overload.
const UP_INTERVAL: Duration = Duration::from_secs(2);
/// A step up that is taken back within this time has failed.
const PROBATION: Duration = Duration::from_secs(5);
/// A failed step is tried again after twice the time of the last attempt, at most after this.
const FAILED_WAIT_MAX: Duration = Duration::from_secs(60);

impl Ladder {
    /// Begins at [`VideoTarget::default`].
    pub fn new(now: Instant) -> Self {
        Self {
            step: FIRST_STEP,
            highest: STEPS.len() - 1,
            loss: RecentLoss::default(),
            round_trip: RecentRoundTrip::default(),
            last_down: None,
            last_up: None,
            clean_since: Some(now),
            failed: None,
        }
    }

    /// What camera and encoder should produce.
    pub fn target(&self) -> VideoTarget {
        STEPS[self.step]
    }

    /// Allows no rung above `max` from here on.
    pub fn limit(&mut self, max: Rung) {
        let allowed = STEPS.iter().take_while(|step| step.rung <= max).count();
        self.highest = allowed.saturating_sub(1);
        self.step = self.step.min(self.highest);
    }

    /// Takes the share of our video packets that a report of the next hop misses, 0.0..=1.0.
    ///
    /// Only while video is being sent: a camera that is off loses nothing, and would climb to the top unseen.
    pub fn handle_report(&mut self, now: Instant, fraction_lost: f32) {
        self.loss.push(fraction_lost.clamp(0.0, 1.0));
        let queue = self.round_trip.inflation() > QUEUE;
        let threshold = if queue { LOSS_WITH_QUEUE } else { LOSS_ALONE };
        if self.loss.sustained_above(threshold) {
            self.go_down(now, steps_for_loss(self.loss.newest()));
        } else if self.loss.newest() > threshold || self.round_trip.inflation() > INFLATION {
            self.clean_since = None;
        } else {
            self.go_up(now);
        }
    }

    /// Takes a measured round trip to the next hop.
    pub fn handle_round_trip(&mut self, now: Instant, round_trip: Duration) {
        self.round_trip.push(now, round_trip);
        let inflation = self.round_trip.inflation();
        if inflation > INFLATION {
            self.clean_since = None;
        }
        if inflation > INFLATION && !self.round_trip.falling() {
            self.go_down(now, steps_for_inflation(inflation));
        }
    }

    fn go_down(&mut self, now: Instant, steps: usize) {
        self.clean_since = None;
        if self.last_down.is_some_and(|at| elapsed(at, now) < DOWN_INTERVAL) {
            return;
        }
        self.note_failure(now);
        self.last_down = Some(now);
        self.last_up = None;
        self.step = self.step.saturating_sub(steps);
        self.loss = RecentLoss::default();
    }

    fn note_failure(&mut self, now: Instant) {
        if self.last_up.is_none_or(|at| elapsed(at, now) > PROBATION) {
            return;
        }
        let again = self.failed.filter(|failed| failed.step == self.step);
        let wait = again.map_or(UP_INTERVAL, |failed| failed.wait) * 2;
        self.failed = Some(FailedStep { step: self.step, wait: wait.min(FAILED_WAIT_MAX) });
    }

    fn go_up(&mut self, now: Instant) {
        if self.last_up.is_some_and(|at| elapsed(at, now) > PROBATION) {
            self.forgive();
        }
        let clean = elapsed(*self.clean_since.get_or_insert(now), now);
        if self.step < self.highest && clean >= self.wait_before(self.step + 1) {
            self.step += 1;
            self.last_up = Some(now);
            self.clean_since = Some(now);
        }
    }

    /// A step that held is not a failed one.
    fn forgive(&mut self) {
        self.failed = self.failed.filter(|failed| failed.step > self.step);
    }

    fn wait_before(&self, step: usize) -> Duration {
        let failed = self.failed.filter(|failed| failed.step <= step);
        failed.map_or(UP_INTERVAL, |failed| failed.wait)
    }
}

fn steps_for_loss(fraction_lost: f32) -> usize {
    1 + usize::from(fraction_lost > LOSS_SEVERE) + usize::from(fraction_lost > 2.0 * LOSS_SEVERE)
}

fn steps_for_inflation(inflation: Duration) -> usize {
    1 + usize::from(inflation > 2 * INFLATION) + usize::from(inflation > 4 * INFLATION)
}

fn elapsed(earlier: Instant, later: Instant) -> Duration {
    later.saturating_duration_since(earlier)
}

/// The last three reports, newest last.
#[derive(Clone, Copy, Debug, Default)]
struct RecentLoss([f32; 3]);

impl RecentLoss {
    fn push(&mut self, fraction_lost: f32) {
        let [_, second, third] = self.0;
        self.0 = [second, third, fraction_lost];
    }

    fn newest(self) -> f32 {
        self.0[2]
    }

    /// Two of the three, and their mean: a report of few packets says little.
    fn sustained_above(self, threshold: f32) -> bool {
        let above = self.0.iter().filter(|loss| **loss > threshold).count();
        above >= 2 && self.0.iter().sum::<f32>() > 3.0 * threshold
    }
}

/// The last two round trips, and the shortest of the last half to whole minute.
#[derive(Clone, Copy, Debug, Default)]
struct RecentRoundTrip {
    newest: Option<Duration>,
    before: Option<Duration>,
    /// Of the half minute before, and of the running one.
    shortest: [Option<Duration>; 2],
    window_ends: Option<Instant>,
}

/// Long enough that a meeting's own queue does not become the norm, short enough to follow a change of network.
const SHORTEST_WINDOW: Duration = Duration::from_secs(30);

impl RecentRoundTrip {
    fn push(&mut self, now: Instant, round_trip: Duration) {
        if *self.window_ends.get_or_insert(now + SHORTEST_WINDOW) <= now {
            self.window_ends = Some(now + SHORTEST_WINDOW);
            self.shortest = [self.shortest[1], None];
        }
        let running = &mut self.shortest[1];
        *running = Some(running.map_or(round_trip, |shortest| shortest.min(round_trip)));
        self.before = self.newest.replace(round_trip);
    }

    /// How far the smaller of the last two stands above the shortest: a single straggler is no queue.
    fn inflation(&self) -> Duration {
        let recent = self.newest.min(self.before).unwrap_or_default();
        let shortest = self.shortest.iter().flatten().min();
        shortest.map_or(Duration::ZERO, |shortest| recent.saturating_sub(*shortest))
    }

    /// The queue is draining: what was done is working.
    fn falling(&self) -> bool {
        self.newest < self.before.map(|before| before - before / 8)
    }
}

#[cfg(test)]
mod tests {
    use super::super::virtual_time;
    use super::*;
    use crate::limits::{PING_INTERVAL, REPORT_INTERVAL};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// A ladder on a path that carries `capacity_mbps` through a drop-tail queue of `queue_ms`.
    struct Path {
        now: Instant,
        ladder: Ladder,
        random: StdRng,
        capacity_mbps: f64,
        queue_ms: f64,
        queued_ms: f64,
        random_loss: f64,
        steps: Vec<usize>,
    }

    /// As the doc of [`STEPS`] has them.
    const RATES_MBPS: [f64; 12] = [0.3, 0.5, 0.8, 1.2, 1.5, 2.0, 2.4, 3.1, 3.9, 5.5, 7.5, 10.5];

    impl Path {
        fn new(capacity_mbps: f64, queue_ms: f64) -> Self {
            let now = virtual_time();
            Self {
                now,
                ladder: Ladder::new(now),
                random: StdRng::seed_from_u64(1),
                capacity_mbps,
                queue_ms,
                queued_ms: 0.0,
                random_loss: 0.0,
                steps: Vec::new(),
            }
        }

        fn run(&mut self, duration: Duration) -> &mut Self {
            let reports = (duration.as_millis() / REPORT_INTERVAL.as_millis()) as usize;
            (0..reports).for_each(|_| self.report());
            self
        }

        /// A quarter of a second of video, a report on it, and every other time a round trip.
        fn report(&mut self) {
            self.now += REPORT_INTERVAL;
            let rate = RATES_MBPS[self.ladder.step];
            let grown = self.queued_ms + 250.0 * (rate / self.capacity_mbps - 1.0);
            let overflow = (grown - self.queue_ms).max(0.0) * self.capacity_mbps / rate / 250.0;
            self.queued_ms = grown.clamp(0.0, self.queue_ms);
            let packets = (rate * 250_000.0 / 8.0 / 1_100.0) as u32;
            let chance = overflow + (1.0 - overflow) * self.random_loss;
            let lost = (0..packets).filter(|_| self.random.random_bool(chance)).count();
            self.ladder.handle_report(self.now, lost as f32 / packets as f32);
            let reports_per_ping = PING_INTERVAL.div_duration_f32(REPORT_INTERVAL) as usize;
            if self.steps.len().is_multiple_of(reports_per_ping) {
                let jitter = self.random.random_range(0.0..10.0);
                let round_trip = (50.0 + jitter + self.queued_ms) / 1_000.0;
                self.ladder.handle_round_trip(self.now, Duration::from_secs_f64(round_trip));
            }
            self.steps.push(self.ladder.step);
        }

        fn rate(&self) -> f64 {
            RATES_MBPS[self.ladder.step]
        }

        /// Steps up or down in the last `reports`.
        fn moves(&self, reports: usize) -> usize {
            let recent = &self.steps[self.steps.len() - reports..];
            recent.windows(2).filter(|pair| pair[0] != pair[1]).count()
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_begins_where_a_meeting_begins() {
        assert_eq!(Ladder::new(virtual_time()).target(), VideoTarget::default());
    }

    #[test]
    fn a_step_up_never_asks_for_less() {
        for pair in STEPS.windows(2) {
            let [low, high] = pair else { unreachable!() };
            assert!(low.rung <= high.rung && low.frames_per_second <= high.frames_per_second);
            assert!(low.rung < high.rung || low.quality < high.quality);
            assert!(high.quality <= 70);
        }
    }

    #[test]
    fn a_clean_path_reaches_the_top() {
        let mut path = Path::new(50.0, 300.0);
        path.run(15 * SECOND);
        assert_eq!(path.ladder.step, STEPS.len() - 1);
    }

    #[test]
    fn a_drop_of_the_rate_is_answered_within_a_second_and_followed_down() {
        for queue_ms in [10.0, 70.0, 300.0, 1_500.0] {
            let mut path = Path::new(5.0, queue_ms);
            path.run(20 * SECOND);
            let before = path.ladder.step;
            path.capacity_mbps = 1.0;
            path.run(SECOND);
            assert!(path.ladder.step < before, "queue {queue_ms} ms");
            path.run(4 * SECOND);
            assert!(path.rate() <= 1.2, "queue {queue_ms} ms: {}", path.rate());
        }
    }

    #[test]
    fn it_comes_back_when_the_path_does() {
        let mut path = Path::new(0.6, 300.0);
        path.run(20 * SECOND);
        assert!(path.rate() <= 0.8);
        path.capacity_mbps = 20.0;
        path.run(40 * SECOND);
        assert!(path.rate() >= 5.5, "{}", path.rate());
    }

    #[test]
    fn it_does_not_flap_at_the_limit_of_the_path() {
        for capacity_mbps in [0.6, 1.0, 1.7, 2.7, 5.0] {
            let mut path = Path::new(capacity_mbps, 300.0);
            path.run(180 * SECOND);
            assert!(path.moves(240) <= 6, "{capacity_mbps}: {:?}", &path.steps[480..]);
            assert!(path.rate() > 0.45 * capacity_mbps, "{capacity_mbps}: {}", path.rate());
        }
    }

    #[test]
    fn random_loss_without_a_queue_does_not_bring_it_down() {
        for (seed, loss) in [(1, 0.02), (2, 0.05), (3, 0.05), (4, 0.05)] {
            let mut path = Path::new(50.0, 300.0);
            path.random = StdRng::seed_from_u64(seed);
            path.random_loss = loss;
            path.run(120 * SECOND);
            assert!(path.steps.is_sorted(), "{:?}", path.steps);
            assert_eq!(path.ladder.step, STEPS.len() - 1);
        }
    }

    #[test]
    fn random_loss_of_few_packets_does_not_shake_it() {
        for rung in &Rung::ALL[..2] {
            let mut path = Path::new(50.0, 300.0);
            path.random_loss = 0.05;
            path.ladder.limit(*rung);
            path.run(600 * SECOND);
            let down = |pair: &&[usize]| pair[1] < pair[0];
            let downs = path.steps.windows(2).filter(down).count();
            assert!(downs <= 2, "{}: {downs} steps down", rung.name);
        }
    }

    #[test]
    fn a_single_slow_round_trip_changes_nothing() {
        let start = virtual_time();
        let mut ladder = Ladder::new(start);
        for (i, millis) in [50, 52, 400, 51, 50].into_iter().enumerate() {
            ladder.handle_round_trip(start + i as u32 * SECOND, Duration::from_millis(millis));
        }
        assert_eq!(ladder.target(), VideoTarget::default());
    }

    #[test]
    fn a_limit_holds_at_once_and_on_the_way_up() {
        let mut path = Path::new(50.0, 300.0);
        path.ladder.limit(Rung::ALL[1]);
        assert_eq!(path.ladder.target().rung, Rung::ALL[1]);
        path.run(30 * SECOND);
        assert_eq!(path.ladder.target().rung, Rung::ALL[1]);
        path.ladder.limit(Rung::ALL[3]);
        path.run(30 * SECOND);
        assert_eq!(path.ladder.target().rung, Rung::ALL[3]);
    }

    #[test]
    fn senseless_reports_do_no_harm() {
        let start = virtual_time();
        let mut ladder = Ladder::new(start);
        for (i, loss) in [f32::NAN, -1.0, 7.0, f32::INFINITY].into_iter().cycle().take(40).enumerate() {
            ladder.handle_report(start + i as u32 * SECOND, loss);
            ladder.handle_round_trip(start, Duration::MAX);
        }
        assert!(STEPS.contains(&ladder.target()));
    }
}
