//! How long a speaker's blocks should wait: a quantile of how much later than the fastest ones they come.

use std::time::{Duration, Instant};

/// Follows the transit times of one speaker's packets (arrival minus media time, of no known zero).
#[derive(Clone, Debug)]
pub(super) struct DelayEstimator {
    /// Fastest transit of each of the last intervals, the running one included; microseconds.
    fastest: [Option<i64>; INTERVALS],
    /// Index into `fastest` of the running interval.
    running: usize,
    interval_ends: Option<Instant>,
    /// Slowest packet of the running interval, relative to the fastest of all; microseconds.
    slowest: i64,
    /// Transit of the newest packet.
    newest: i64,
    /// Share of intervals whose slowest packet was in each bucket of 5 ms; the sum is 1 after the first of them.
    histogram: [f32; BUCKETS],
    /// Intervals in the histogram, as long as they are few.
    intervals: f32,
    target_micros: i64,
}

/// Delays are told apart by 5 ms.
const BUCKET_MICROS: i64 = 5_000;
/// The longest delay ever aimed at: beyond it people interrupt each other, and losing a block is the lesser evil.
pub(super) const DELAY_MAX_MICROS: i64 = 200_000;
/// The shortest: the unevenness of the two sound cards, of a block each at most.
const DELAY_MIN_MICROS: i64 = 10_000;
/// Before anything is known.
const DELAY_START_MICROS: i64 = 40_000;
const BUCKETS: usize = (DELAY_MAX_MICROS / BUCKET_MICROS) as usize;
/// One entry for the slowest packet of a quarter of a second, so that a burst counts once however many packets it
/// holds up.
const INTERVAL: Duration = Duration::from_millis(250);
/// The fastest packet of two seconds is the zero: routes change, and clocks run apart by 0.4 ms in that time.
const INTERVALS: usize = 8;
/// Share of intervals that must be in time, all packets of them. Where the radio stalls for up to 200 ms once a second,
/// 0.955 makes up 0.3 % and 0.965 waits 181 ms in the mean of ten runs; the goals are 0.25 % and 180 ms.
const QUANTILE: f32 = 0.96;
/// What the past weighs against one more interval: half of it is forgotten in 11 s.
const FORGETTING: f32 = 0.985;
/// Intervals before the delay is let go below where it starts: the zero is known after two seconds.
const START_INTERVALS: f32 = 8.0;
/// A single straggler never reaches the quantile, however few intervals there were; two do.
const STRAGGLERS: f32 = 1.5;

impl DelayEstimator {
    pub(super) fn new() -> Self {
        Self {
            fastest: [None; INTERVALS],
            running: 0,
            interval_ends: None,
            slowest: 0,
            newest: 0,
            histogram: [0.0; BUCKETS],
            intervals: 0.0,
            target_micros: DELAY_START_MICROS,
        }
    }

    /// Begins with another zero; what was learnt of the spread stays.
    pub(super) fn restart(&mut self, now: Instant) {
        self.fastest = [None; INTERVALS];
        self.slowest = 0;
        self.interval_ends = Some(now + INTERVAL);
        self.note(0);
    }

    /// Whether a packet with this transit belongs with the last one.
    pub(super) fn continues(&self, transit: i64, within_micros: i64) -> bool {
        (transit - self.newest).abs() < within_micros
    }

    pub(super) fn handle_arrival(&mut self, now: Instant, transit: i64) {
        if self.interval_ends.is_none_or(|end| end <= now) {
            self.end_intervals(now);
        }
        self.note(transit);
    }

    /// How much longer than the fastest packet one with this transit took.
    pub(super) fn lateness(&self, transit: i64) -> i64 {
        transit - self.fastest()
    }

    /// How long after the fastest packet could have brought it a block is played that is played at `elapsed`.
    pub(super) fn delay_of(&self, elapsed: i64, media_micros: i64) -> i64 {
        elapsed - media_micros - self.fastest()
    }

    pub(super) fn target_micros(&self) -> i64 {
        self.target_micros
    }

    fn note(&mut self, transit: i64) {
        let running = &mut self.fastest[self.running];
        *running = Some(running.map_or(transit, |fastest| fastest.min(transit)));
        self.newest = transit;
        self.slowest = self.slowest.max(transit - self.fastest());
    }

    fn fastest(&self) -> i64 {
        self.fastest.iter().flatten().min().copied().unwrap_or(self.newest)
    }

    /// A pause in the stream leaves intervals without a packet, which say nothing but let the zero grow old.
    fn end_intervals(&mut self, now: Instant) {
        self.learn();
        self.slowest = 0;
        let overdue = self.interval_ends.map_or(Duration::ZERO, |end| now.saturating_duration_since(end));
        let passed = 1 + (overdue.as_micros() / INTERVAL.as_micros()) as usize;
        for _ in 0..passed.min(INTERVALS) {
            self.running = (self.running + 1) % INTERVALS;
            self.fastest[self.running] = None;
        }
        self.interval_ends = Some(now + INTERVAL);
    }

    fn learn(&mut self) {
        let kept = FORGETTING.min(self.intervals / (self.intervals + 1.0));
        self.intervals += 1.0;
        self.histogram.iter_mut().for_each(|share| *share *= kept);
        self.histogram[bucket(self.slowest)] += 1.0 - kept;
        let shortest = if self.intervals < START_INTERVALS { DELAY_START_MICROS } else { DELAY_MIN_MICROS };
        let too_late = (1.0 - QUANTILE).max(STRAGGLERS * (1.0 - kept));
        self.target_micros = self.exceeded_by(too_late).clamp(shortest, DELAY_MAX_MICROS);
    }

    /// The delay that no more than this share of intervals exceeds.
    fn exceeded_by(&self, too_late: f32) -> i64 {
        let mut sum = 0.0;
        let above = |share: &&f32| {
            sum += **share;
            sum <= too_late
        };
        let passed = self.histogram.iter().rev().take_while(above).count();
        (BUCKETS - passed) as i64 * BUCKET_MICROS
    }
}

fn bucket(micros: i64) -> usize {
    ((micros / BUCKET_MICROS).max(0) as usize).min(BUCKETS - 1)
}
