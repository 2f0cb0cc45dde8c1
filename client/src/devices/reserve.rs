//! How early the speaker's ring holds what the device takes next: the reserve against an engine and a device that are
//! not punctual. A plain function of the times it is given.
//!
//! A device takes a *period* at a time, at moments that can be foreseen. What it takes is put into the ring the *lead*
//! before that moment and not earlier, so that the ring is as good as empty behind a callback, however long the period
//! is. The lead follows what was seen: how late the engine was to look, and how early the device came. It grows at once,
//! and at every callback that found too little; it shrinks after a time in which less would have done, which doubles
//! each time that turned out to be wrong. A shorter lead leaves out nothing and puts in nothing: blocks are asked for
//! a little later, and it is the playout buffer that takes a period of the voice out of what waits there.

use std::time::{Duration, Instant};

use common::limits::AUDIO_BLOCK_SAMPLES;

use super::pace::{Callback, time_of};

/// The reserve of one speaker.
#[derive(Clone, Debug)]
pub struct Reserve {
    lead: Duration,
    last: Option<Callback>,
    /// The next callback, as the punctual ones have it.
    expected: Option<Instant>,
    /// Most samples that a callback of this window took, at least those of the last one.
    period: usize,
    /// When the engine is to look next, as it was told.
    promised: Option<Instant>,
    /// Callbacks that find too little before this are the device's beginning.
    settled_at: Option<Instant>,
    window: Window,
}

/// What has been seen since the lead was looked at last.
#[derive(Clone, Copy, Debug)]
struct Window {
    ends: Option<Instant>,
    length: Duration,
    /// How late the engine was at worst.
    late: Duration,
    /// How early the device was at worst.
    early: Duration,
}

/// Before anything is known: a look that is forgotten by a scheduler for some milliseconds, twice.
pub const LEAD_START: Duration = Duration::from_millis(10);
/// The shortest lead: the timers that wake the engine count milliseconds, and a block takes a part of one to be mixed.
pub const LEAD_MIN: Duration = Duration::from_millis(3);
/// The longest: above it people interrupt each other, and a machine that is late by more is late for pictures, too.
pub const LEAD_MAX: Duration = Duration::from_millis(40);
/// Kept above the worst that was seen, since the next may be a little worse.
const MARGIN: Duration = Duration::from_millis(2);
/// What a callback that found too little adds at least.
const GROWTH_MIN: Duration = Duration::from_millis(2);
/// What is taken away at a time, at most: the playout buffer leaves out 10 ms of voice in a quarter of a second.
const SHRINKAGE_MAX: Duration = Duration::from_millis(10);
/// Who is later than this was suspended or stuck, and no reserve would have helped.
const STALL: Duration = Duration::from_millis(60);
/// In the beginning a device fills its own buffer, and takes several periods at once.
const SETTLING: Duration = Duration::from_secs(1);
/// Without a dry callback for so long, the lead may shrink to what was needed meanwhile.
const WINDOW_MIN: Duration = Duration::from_secs(10);
/// The longest such time: what comes every five minutes is not waited for all the time.
const WINDOW_MAX: Duration = Duration::from_secs(160);
/// A callback that is late moves the next expected one by this part of it, and an early one by all of it: the buffer of
/// the device makes up for a thread that was scheduled late, and a slow quartz is followed.
const LATE_SHARE: u32 = 16;

impl Default for Reserve {
    fn default() -> Self {
        Self::new()
    }
}

impl Reserve {
    /// A device that has not called back yet.
    pub fn new() -> Self {
        Self {
            lead: LEAD_START,
            last: None,
            expected: None,
            period: AUDIO_BLOCK_SAMPLES,
            promised: None,
            settled_at: None,
            window: Window { ends: None, length: WINDOW_MIN, late: Duration::ZERO, early: Duration::ZERO },
        }
    }

    /// How long before a callback the ring is to hold what it takes, [`LEAD_MIN`]`..=`[`LEAD_MAX`].
    pub fn lead(&self) -> Duration {
        self.lead
    }

    /// The newest callback, each time the engine looks; one that is known already changes nothing.
    pub fn handle_callback(&mut self, callback: Callback) {
        let passed = self.last.map_or(0, |last| callback.number.wrapping_sub(last.number));
        let came_at = match self.expected {
            Some(_) if passed == 0 => return,
            Some(next) => self.judge(next + time_of(callback.samples) * (passed - 1) as u32, callback.at),
            None => {
                self.settled_at = Some(callback.at + SETTLING);
                callback.at
            }
        };
        self.expected = Some(came_at + time_of(callback.samples));
        self.period = if self.last.is_none() { callback.samples } else { self.period.max(callback.samples) }.max(1);
        self.last = Some(callback);
    }

    /// When a callback would have come if devices were punctual.
    fn judge(&mut self, expected: Instant, at: Instant) -> Instant {
        let (early, late) = (expected.saturating_duration_since(at), at.saturating_duration_since(expected));
        if early.max(late) > STALL {
            return at;
        }
        if self.settled(at) {
            self.window.early = self.window.early.max(early);
        }
        if early.is_zero() { expected + late / LATE_SHARE } else { at }
    }

    /// How many blocks are to be put into the ring, in which `waiting` samples wait. `missing` samples were not there for
    /// the callbacks since the last look.
    pub fn wanted(&mut self, now: Instant, waiting: usize, missing: usize) -> usize {
        self.learn(now, missing > 0);
        let needed = self.needed(now);
        let blocks = needed.saturating_sub(waiting).div_ceil(AUDIO_BLOCK_SAMPLES);
        self.promised = self.due(now, waiting + blocks * AUDIO_BLOCK_SAMPLES).map(|due| due.max(now));
        blocks
    }

    /// When [`Reserve::wanted`] is to be asked again, unless the device calls back before; `None` when it does not call
    /// back as it should.
    pub fn due(&self, now: Instant, waiting: usize) -> Option<Instant> {
        let (expected, last) = (self.expected?, self.last?);
        let too_late = expected + 2 * time_of(last.samples);
        let served = time_of(waiting / self.period * last.samples);
        let dry_at = expected + served;
        (now < too_late).then(|| dry_at.checked_sub(self.lead).unwrap_or(now))
    }

    /// What the device takes within the lead, as far as can be foreseen; one period beside it where it is overdue.
    fn needed(&self, now: Instant) -> usize {
        let (Some(expected), Some(last)) = (self.expected, self.last) else {
            return self.period + samples_of(self.lead);
        };
        let Some(time) = (now + self.lead).checked_duration_since(expected) else {
            return 0;
        };
        let period = time_of(last.samples.max(1)).as_nanos();
        let callbacks = (time.as_nanos() / period).min(self.lead.as_nanos() / period + 1) as usize + 1;
        callbacks * self.period
    }

    fn settled(&self, now: Instant) -> bool {
        self.settled_at.is_some_and(|settled_at| now >= settled_at)
    }

    /// Longer at once when it has to be, shorter at the end of a window.
    fn learn(&mut self, now: Instant, dry: bool) {
        let late = self.promised.map_or(Duration::ZERO, |promised| now.saturating_duration_since(promised));
        if !self.settled(now) || late > STALL {
            return;
        }
        self.window.late = self.window.late.max(late);
        let enough = (self.window.late + self.window.early + MARGIN).clamp(LEAD_MIN, LEAD_MAX);
        if dry {
            self.lead = (self.lead + GROWTH_MIN).max(enough).min(LEAD_MAX);
            self.window.length = (2 * self.window.length).min(WINDOW_MAX);
            self.begin_window(now);
        } else if enough > self.lead {
            self.lead = enough;
        } else if self.window.ends.is_none_or(|end| now >= end) {
            if self.window.ends.is_some() {
                self.lead = enough.max(self.lead.saturating_sub(SHRINKAGE_MAX));
            }
            self.begin_window(now);
        }
    }

    fn begin_window(&mut self, now: Instant) {
        let length = self.window.length;
        self.window = Window { ends: Some(now + length), length, late: Duration::ZERO, early: Duration::ZERO };
        self.period = self.last.map_or(AUDIO_BLOCK_SAMPLES, |last| last.samples.max(1));
    }
}

fn samples_of(time: Duration) -> usize {
    (time.as_micros() as usize) * AUDIO_BLOCK_SAMPLES / 10_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);
    const MILLI: Duration = Duration::from_millis(1);

    /// Numbers that look like chance (xorshift, Marsaglia 2003).
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, end: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % end
        }
    }

    /// A device and an engine, neither of them punctual.
    struct Desk {
        chance: Chance,
        period: usize,
        /// Callbacks are late by up to this, and the device's own buffer makes up for it.
        unpunctual: Duration,
        /// Looks are late by up to this.
        late: Duration,
        /// From time to time a look is later.
        stalls: Option<(Duration, Duration)>,
        /// The device takes several periods at once, as many times less often.
        at_once: usize,
        reserve: Reserve,
        waiting: usize,
        /// Callbacks that found too little, after the first second.
        dry: Vec<Duration>,
        /// Most that waited behind a callback in the last run.
        left_max: usize,
        elapsed: Duration,
        calls: usize,
        missing: usize,
        last: Option<Callback>,
        next_call: Duration,
        next_look: Duration,
        next_stall: Duration,
        start: Instant,
    }

    impl Desk {
        fn new(period: usize) -> Self {
            Self {
                chance: Chance(0x1234_5678_9abc_def1),
                period,
                unpunctual: Duration::ZERO,
                late: 3 * MILLI,
                stalls: None,
                at_once: 1,
                reserve: Reserve::new(),
                waiting: 0,
                dry: Vec::new(),
                left_max: 0,
                elapsed: Duration::ZERO,
                calls: 0,
                missing: 0,
                last: None,
                next_call: 5 * MILLI,
                next_look: Duration::ZERO,
                next_stall: 3 * Duration::from_secs(1),
                start: Instant::now(),
            }
        }

        fn up_to(&mut self, time: Duration) -> Duration {
            MICRO * self.chance.below(time.as_micros() as u64 + 1) as u32
        }

        fn run(&mut self, time: Duration) {
            let end = self.elapsed + time;
            self.left_max = 0;
            while self.elapsed < end {
                self.elapsed = self.next_call.min(self.next_look);
                if self.elapsed == self.next_call {
                    self.call();
                } else {
                    self.look();
                }
            }
        }

        fn call(&mut self) {
            for _ in 0..self.at_once {
                self.calls += 1;
                let taken = self.waiting.min(self.period);
                self.waiting -= taken;
                self.missing += self.period - taken;
                if taken < self.period && self.elapsed > SETTLING + 5 * MILLI {
                    self.dry.push(self.elapsed);
                }
                let at = self.start + self.elapsed;
                self.last = Some(Callback { number: self.calls, at, samples: self.period });
            }
            self.left_max = self.left_max.max(self.waiting);
            let punctual = 5 * MILLI + time_of(self.calls * self.period);
            self.next_call = punctual + self.up_to(self.unpunctual);
        }

        fn look(&mut self) {
            let now = self.start + self.elapsed;
            self.last.into_iter().for_each(|callback| self.reserve.handle_callback(callback));
            let blocks = self.reserve.wanted(now, self.waiting, std::mem::take(&mut self.missing));
            self.waiting += blocks * AUDIO_BLOCK_SAMPLES;
            let due = self.reserve.due(now, self.waiting);
            let due = super::super::pace::next_look(now, [due].into_iter());
            self.next_look = due - self.start + self.up_to(self.late);
            if let Some((every, late)) = self.stalls.filter(|_| self.elapsed >= self.next_stall) {
                self.next_stall += every;
                self.next_look += late;
            }
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn with_a_punctual_device_the_lead_is_what_the_engine_needs() {
        let mut desk = Desk::new(480);
        desk.run(MINUTE);
        assert!(desk.dry.is_empty(), "{:?}", desk.dry);
        let lead = desk.reserve.lead();
        assert!((LEAD_MIN..=6 * MILLI).contains(&lead), "{lead:?}");
        desk.run(MINUTE);
        assert_eq!((desk.left_max, desk.dry.len()), (0, 0));
    }

    #[test]
    fn the_lead_grows_at_once_when_a_callback_finds_too_little() {
        let mut desk = Desk::new(480);
        desk.run(MINUTE);
        let before = desk.reserve.lead();
        desk.stalls = Some((10 * MINUTE, 15 * MILLI));
        desk.next_stall = desk.elapsed;
        desk.run(MILLI * 200);
        assert!((1..=2).contains(&desk.dry.len()), "{:?}", desk.dry);
        let lead = desk.reserve.lead();
        assert!(lead >= before + 8 * MILLI, "{before:?} {lead:?}");
        // The next one that is no worse is survived, and forgotten in the end.
        desk.dry.clear();
        desk.stalls = Some((10 * MINUTE, 12 * MILLI));
        desk.next_stall = desk.elapsed;
        desk.run(MILLI * 200);
        assert!(desk.dry.is_empty(), "{:?}", desk.dry);
        desk.run(MINUTE);
        assert!(desk.reserve.lead() <= 7 * MILLI);
    }

    #[test]
    fn what_comes_again_and_again_is_heard_a_few_times_in_ten_minutes() {
        for every in [1, 4, 9, 13, 30, 45, 70] {
            let mut desk = Desk::new(480);
            desk.stalls = Some((Duration::from_secs(every), 15 * MILLI));
            desk.run(10 * MINUTE);
            assert!(desk.dry.len() <= 5, "every {every} s: {:?}", desk.dry);
        }
    }

    #[test]
    fn a_device_that_takes_a_lot_at_once_is_served_whole() {
        for period in [64, 120, 441, 512, 960, 1_024, 1_920, 9_600] {
            let mut desk = Desk::new(period);
            desk.unpunctual = 2 * MILLI;
            desk.run(10 * MINUTE);
            assert!(desk.dry.len() <= 1, "{period}: {:?}", desk.dry);
            desk.run(MINUTE);
            // The rest of a block, and what is needed of the lead beyond a period.
            let left_max = AUDIO_BLOCK_SAMPLES + samples_of(desk.reserve.lead());
            assert!(desk.left_max <= left_max, "{period}: {}", desk.left_max);
        }
    }

    #[test]
    fn a_device_that_takes_two_periods_at_once_soon_gets_them() {
        let mut desk = Desk::new(480);
        desk.at_once = 2;
        desk.run(10 * MINUTE);
        assert!(desk.dry.len() <= 6, "{:?}", desk.dry);
    }

    #[test]
    fn a_device_that_is_as_uneven_as_a_period_settles() {
        let mut desk = Desk::new(480);
        desk.unpunctual = 9 * MILLI;
        desk.run(10 * MINUTE);
        assert!(desk.dry.len() <= 3, "{:?}", desk.dry);
        assert!(desk.reserve.lead() <= 20 * MILLI, "{:?}", desk.reserve.lead());
    }

    #[test]
    fn a_machine_that_slept_is_no_reason_for_a_longer_lead() {
        let mut desk = Desk::new(480);
        desk.run(MINUTE);
        let before = desk.reserve.lead();
        desk.next_look += Duration::from_secs(2);
        desk.run(Duration::from_secs(3));
        assert!(desk.reserve.lead() <= before, "{before:?} {:?}", desk.reserve.lead());
    }

    #[test]
    fn the_lead_stays_within_its_bounds() {
        let mut desk = Desk::new(480);
        desk.late = 59 * MILLI;
        desk.run(MINUTE);
        assert_eq!(desk.reserve.lead(), LEAD_MAX);
        desk.late = Duration::ZERO;
        desk.run(20 * MINUTE);
        assert_eq!(desk.reserve.lead(), LEAD_MIN);
    }

    #[test]
    fn a_device_that_stands_still_gets_no_more_than_it_may_take() {
        let mut desk = Desk::new(960);
        desk.run(MINUTE);
        desk.next_call += MINUTE;
        desk.run(MINUTE / 2);
        assert!(desk.waiting <= 3 * 960 + AUDIO_BLOCK_SAMPLES, "{}", desk.waiting);
    }
}
