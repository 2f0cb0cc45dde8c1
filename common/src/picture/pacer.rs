//! Spreads the datagrams of a frame over time, so that a picture does not fill the queue that sound goes through.
//!
//! Sound never goes through here. A frame that has not left when the next one comes is out of date: its rest is
//! dropped, and the blocks it covered come with the next.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::PACER_QUEUE_DATAGRAMS;
use crate::picture::blocks::{CodedFrame, LostBlocks};

/// Sends one frame at a time, part after part.
#[derive(Clone, Debug)]
pub struct Pacer {
    /// What the path carries.
    path_bps: u64,
    /// What of the path is left beside sound.
    free_bps: u64,
    leaving: Option<Leaving>,
    /// What was dropped, until somebody asks; at most [`UNSENT_MAX`] frames.
    unsent: VecDeque<LostBlocks>,
    statistics: PacerStatistics,
}

/// A frame of which some parts have left.
#[derive(Clone, Debug)]
struct Leaving {
    frame: CodedFrame,
    next_part: usize,
    /// When the next part may leave.
    due: Instant,
    /// Time on the line of one byte.
    nanos_per_byte: f64,
}

/// A part whose time has come.
#[derive(Clone, Copy, Debug)]
pub struct PacedPart<'a> {
    /// The frame it belongs to.
    pub frame: &'a CodedFrame,
    /// Index into the frame's parts; 0 begins a frame.
    pub index: usize,
}

/// What became of the frames given to a pacer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacerStatistics {
    /// Frames that left whole.
    pub frames_sent: u64,
    /// Frames of which at least one part did not leave.
    pub frames_dropped: u64,
    /// Parts that did not leave.
    pub parts_dropped: u64,
}

/// What a datagram weighs beyond its scan: IP, UDP, our headers, a run and the tag, near enough for pacing.
pub const PART_OVERHEAD_BYTES: usize = 85;
/// What a path is taken to carry as long as nobody says better.
const PATH_START_BPS: u64 = 3_640_000;
/// Where sound takes all there is, a frame leaves as if so much were free: the smallest ones are over in 50 ms.
const FREE_MIN_BPS: u64 = 250_000;
/// At a slower pace the packets of a frame would not be recognised as one train ([`crate::path::TRAIN_GAP`]).
const RATE_MIN_BPS: u64 = 1_000_000;
/// A frame leaves at so many times the rate of the path, so that the narrow place spreads it and shows its rate. More would
/// only make the queue longer that a frame is to those that follow it.
const PACE_FACTOR: f64 = 2.2;
/// A frame leaves within this part of its interval at the latest, so that the next one finds the line free.
const INTERVAL_SHARE: u32 = 2;
/// A frame leaves no sooner than that its queue stays as short as this: a whole picture over a slow path is half a second of
/// it. What has not left when the next frame comes goes with that.
const QUEUE_MAX: Duration = Duration::from_millis(32);
/// With its sound, a frame leaves so many times faster than the path is taken to carry even if its queue becomes longer,
/// or nobody would see that the path carries more by now; …
const PROBE_FACTOR: f64 = 1.6;
/// … but not longer than this.
const QUEUE_PROBE_MAX: Duration = Duration::from_millis(48);
/// Dropped frames that are remembered: a push drops one, and who asks asks each time.
const UNSENT_MAX: usize = 4;

impl Default for Pacer {
    fn default() -> Self {
        Self::new()
    }
}

impl Pacer {
    /// A pacer with nothing to send.
    pub fn new() -> Self {
        Self {
            path_bps: PATH_START_BPS,
            free_bps: PATH_START_BPS,
            leaving: None,
            unsent: VecDeque::new(),
            statistics: PacerStatistics::default(),
        }
    }

    /// Sets the pace, some two times what the path carries, and how much of the path is free for frames; both in bits
    /// per second.
    pub fn set_path(&mut self, path_bps: u64, free_bps: u64) {
        self.path_bps = path_bps;
        self.free_bps = free_bps.max(FREE_MIN_BPS);
    }

    /// Takes the next frame and drops what has not left of the one before. Frames come `interval` apart; this one
    /// leaves at the pace, or faster if that would take more than half the interval, as far as the queue stays short.
    ///
    /// A frame of more than [`PACER_QUEUE_DATAGRAMS`] parts is dropped and counted.
    pub fn push(&mut self, now: Instant, frame: CodedFrame, interval: Duration) {
        self.retire();
        if frame.parts.len() > PACER_QUEUE_DATAGRAMS {
            self.count_dropped(frame.parts.len());
            return;
        }
        let bytes = frame.parts.iter().map(|part| bytes_on_line(part.scan.len())).sum();
        self.leaving =
            Some(Leaving { nanos_per_byte: self.nanos_per_byte(bytes, interval), frame, next_part: 0, due: now });
    }

    /// The next part whose time has come; asked until it answers `None`.
    pub fn poll(&mut self, now: Instant) -> Option<PacedPart<'_>> {
        let leaving = self.leaving.as_mut().filter(|leaving| leaving.due <= now)?;
        let index = leaving.next_part;
        let bytes = bytes_on_line(leaving.frame.parts.get(index)?.scan.len());
        leaving.next_part += 1;
        leaving.due += Duration::from_nanos((bytes as f64 * leaving.nanos_per_byte) as u64);
        Some(PacedPart { frame: &leaving.frame, index })
    }

    /// When [`Self::poll`] has something to give.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let leaving = self.leaving.as_ref();
        leaving.filter(|leaving| leaving.parts_left() > 0).map(|leaving| leaving.due)
    }

    /// Datagrams that wait.
    pub fn queued(&self) -> usize {
        self.leaving.as_ref().map_or(0, Leaving::parts_left)
    }

    /// What became of the frames so far; the one that is leaving is not counted yet.
    pub fn statistics(&self) -> PacerStatistics {
        self.statistics
    }

    /// Drops what waits: the camera was turned off.
    pub fn clear(&mut self) {
        self.retire();
    }

    /// Blocks of frames that were dropped before they left; asked after [`Self::push`] and [`Self::clear`] until it answers
    /// `None`.
    pub fn poll_unsent(&mut self) -> Option<LostBlocks> {
        self.unsent.pop_front()
    }

    fn retire(&mut self) {
        let Some(leaving) = self.leaving.take() else { return };
        if leaving.parts_left() == 0 {
            self.statistics.frames_sent += 1;
            return;
        }
        self.count_dropped(leaving.parts_left());
        if self.unsent.len() >= UNSENT_MAX {
            self.unsent.pop_front();
        }
        self.unsent.push_back(LostBlocks::of(&leaving.frame, leaving.next_part..leaving.frame.parts.len()));
    }

    fn count_dropped(&mut self, parts: usize) {
        self.statistics.frames_dropped += 1;
        self.statistics.parts_dropped += parts as u64;
    }

    /// Between two bytes of a frame of so many on the line, which leaves an interval before the next one.
    pub(crate) fn nanos_per_byte(&self, bytes: usize, interval: Duration) -> f64 {
        let nanos_at = |bps: f64| 8e9 / bps;
        let (path, free) = (self.path_bps as f64, self.free_bps as f64);
        let at_pace = nanos_at((PACE_FACTOR * path).max(RATE_MIN_BPS as f64));
        let at_latest = (interval / INTERVAL_SHARE).as_nanos() as f64 / bytes.max(1) as f64;
        // The narrow place needs this for a byte and the sound that comes with it, and what it has not passed yet stands in
        // front of the voice.
        let leaving_behind = |queue: Duration| nanos_at(free) - queue.as_nanos() as f64 / bytes.max(1) as f64;
        let as_probe = nanos_at((PROBE_FACTOR - 1.0) * path + free);
        let at_soonest = leaving_behind(QUEUE_MAX).min(as_probe).max(leaving_behind(QUEUE_PROBE_MAX));
        at_pace.min(at_latest).max(at_soonest)
    }
}

impl Leaving {
    fn parts_left(&self) -> usize {
        self.frame.parts.len() - self.next_part
    }
}

fn bytes_on_line(scan_bytes: usize) -> usize {
    scan_bytes + PART_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::blocks::CodedPart;
    use crate::picture::ladder::Rung;
    use crate::sequence::MediaTime;
    use crate::virtual_time;

    const INTERVAL: Duration = Duration::from_millis(66);
    const MILLI: Duration = Duration::from_millis(1);

    fn frame(parts: usize) -> CodedFrame {
        let part = CodedPart { quality: 50, runs: Vec::new(), scan: vec![1; 915] };
        CodedFrame { rung: Rung::ALL[2], timestamp: MediaTime(0), parts: vec![part; parts] }
    }

    /// When each part leaves if the pacer is woken exactly when it asks for it.
    fn departures(pacer: &mut Pacer, start: Instant) -> Vec<Duration> {
        let mut departures = Vec::new();
        while let Some(now) = pacer.poll_timeout() {
            while let Some(part) = pacer.poll(now) {
                assert_eq!(part.index, departures.len());
                departures.push(now - start);
            }
        }
        departures
    }

    #[test]
    fn a_small_frame_leaves_at_the_pace() {
        let start = virtual_time();
        let mut pacer = Pacer::new();
        pacer.set_path(4_000_000, 4_000_000);
        pacer.push(start, frame(5), INTERVAL);
        // 1,000 bytes at 8.8 Mbit/s.
        let each = Duration::from_nanos(909_090);
        let expected: Vec<_> = (0..5).map(|part| part * each).collect();
        assert_eq!(departures(&mut pacer, start), expected);
    }

    #[test]
    fn a_large_frame_leaves_within_half_its_interval_and_evenly() {
        let start = virtual_time();
        let mut pacer = Pacer::new();
        pacer.set_path(10_000_000, 10_000_000);
        let interval = 33 * MILLI;
        pacer.push(start, frame(54), interval);
        let departures = departures(&mut pacer, start);
        assert_eq!(departures.len(), 54);
        let step = interval / 2 / 54;
        for pair in departures.windows(2) {
            assert!((pair[1] - pair[0]).abs_diff(step) < Duration::from_micros(1));
        }
        assert!(departures[53] < interval / 2);
    }

    #[test]
    fn a_frame_that_is_much_for_its_path_leaves_so_that_its_queue_is_short() {
        let start = virtual_time();
        let mut pacer = Pacer::new();
        // A path of a megabit a second, and 40,000 bytes.
        pacer.set_path(1_200_000, 1_000_000);
        pacer.push(start, frame(40), INTERVAL);
        let last = departures(&mut pacer, start)[39];
        assert!((260 * MILLI..=275 * MILLI).contains(&last), "{last:?} of 320 ms on the line");
    }

    #[test]
    fn nothing_leaves_before_its_time() {
        let start = virtual_time();
        let mut pacer = Pacer::new();
        assert_eq!(pacer.poll_timeout(), None);
        pacer.push(start, frame(2), INTERVAL);
        assert!(pacer.poll(start).is_some());
        assert!(pacer.poll(start).is_none());
        assert_eq!(pacer.queued(), 1);
        assert!(pacer.poll(start + MILLI).is_some());
        assert!(pacer.poll(start + 100 * MILLI).is_none());
        assert_eq!((pacer.queued(), pacer.poll_timeout()), (0, None));
    }

    #[test]
    fn what_has_not_left_is_dropped_when_the_next_frame_comes() {
        let start = virtual_time();
        let mut pacer = Pacer::new();
        pacer.push(start, frame(5), INTERVAL);
        assert!(pacer.poll(start).is_some());
        pacer.push(start + MILLI, frame(3), INTERVAL);
        let dropped = PacerStatistics { frames_dropped: 1, parts_dropped: 4, ..PacerStatistics::default() };
        assert_eq!(pacer.statistics(), dropped);
        assert_eq!(departures(&mut pacer, start).len(), 3);
        pacer.clear();
        assert_eq!(pacer.statistics().frames_sent, 1);
    }

    #[test]
    fn a_caller_who_wakes_late_catches_up() {
        let start = virtual_time();
        let mut pacer = Pacer::new();
        pacer.push(start, frame(20), INTERVAL);
        let late = start + 7 * MILLI;
        let mut left = 0;
        while pacer.poll(late).is_some() {
            left += 1;
        }
        assert_eq!(left, 8);
    }

    #[test]
    fn an_impossible_frame_or_pace_does_no_harm() {
        let start = virtual_time();
        let mut pacer = Pacer::new();
        pacer.set_path(0, 0);
        pacer.push(start, frame(PACER_QUEUE_DATAGRAMS + 1), INTERVAL);
        assert_eq!((pacer.queued(), pacer.statistics().frames_dropped), (0, 1));
        pacer.push(start, frame(0), INTERVAL);
        assert!(pacer.poll(start).is_none());
        pacer.push(start, frame(4), Duration::ZERO);
        assert!(departures(&mut pacer, start)[3] < 300 * MILLI);
    }
}
