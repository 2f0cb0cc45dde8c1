//! When a picture stood still that should have moved, by the rule of libwebrtc and the names of webrtc-stats.

use std::time::{Duration, Instant};

use crate::limits::VIDEO_CLOCK_RATE_HZ;
use crate::sequence::{FrameId, MediaTime};

/// Follows the frames that are shown of one stream.
///
/// A frame that comes later than three times the usual, or 150 ms later than usual, ends a freeze. A sender whose picture
/// does not change sends none: time that passed at the camera between a frame and the next one is not counted.
#[derive(Clone, Debug, Default)]
pub struct Freezes {
    last: Option<(Instant, FrameId, MediaTime)>,
    /// From frame to frame, the last [`INTERVALS`] of them.
    intervals: [Duration; INTERVALS],
    /// How many there were.
    count: usize,
    statistics: FreezeStatistics,
}

/// What stood still since the stream began (webrtc-stats `RTCInboundRtpStreamStats`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreezeStatistics {
    /// How often.
    pub freeze_count: u64,
    /// For how long in all.
    pub total_freezes_duration: Duration,
}

/// Frames over which the usual interval is (libwebrtc, `VideoQualityObserver`).
const INTERVALS: usize = 30;
/// Fewer tell nothing.
const INTERVALS_MIN: usize = 5;
/// So much more than usual is a freeze.
const FREEZE_BEYOND: Duration = Duration::from_millis(150);

impl Freezes {
    /// This frame is shown, which was captured at `timestamp`.
    pub fn handle_frame(&mut self, now: Instant, frame: FrameId, timestamp: MediaTime) {
        let Some((shown, before, captured)) = self.last.replace((now, frame, timestamp)) else { return };
        let interval = now.saturating_duration_since(shown);
        let at_camera = if frame.distance(before) == 1 { timestamp.distance(captured).max(0) } else { 0 };
        let at_camera = Duration::from_secs_f64(f64::from(at_camera) / f64::from(VIDEO_CLOCK_RATE_HZ));
        if let Some(usual) = self.usual() {
            let rested = at_camera.saturating_sub(usual);
            if interval.saturating_sub(rested) >= (3 * usual).max(usual + FREEZE_BEYOND) {
                self.statistics.freeze_count += 1;
                self.statistics.total_freezes_duration += interval.saturating_sub(rested);
            }
        }
        self.intervals[self.count % INTERVALS] = interval;
        self.count += 1;
    }

    /// What stood still so far.
    pub fn statistics(&self) -> FreezeStatistics {
        self.statistics
    }

    fn usual(&self) -> Option<Duration> {
        let known = self.count.min(INTERVALS);
        let sum: Duration = self.intervals[..known].iter().sum();
        (known >= INTERVALS_MIN).then(|| sum / known as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time;

    /// Shows frames, each captured at the second and shown at the third of its numbers, in milliseconds.
    fn after(frames: impl Iterator<Item = (u16, u32, u32)>) -> FreezeStatistics {
        let (start, mut freezes) = (virtual_time(), Freezes::default());
        for (frame, captured, shown) in frames {
            freezes.handle_frame(start + Duration::from_millis(shown.into()), FrameId(frame), MediaTime(captured * 90));
        }
        freezes.statistics()
    }

    fn frames(shown_later: impl Fn(u16) -> u32) -> impl Iterator<Item = (u16, u32, u32)> {
        (0..100).map(move |frame| (frame, u32::from(frame) * 66, u32::from(frame) * 66 + shown_later(frame)))
    }

    #[test]
    fn frames_that_come_evenly_or_a_little_late_are_no_freeze() {
        assert_eq!(after(frames(|frame| 20 + u32::from(frame) % 7 * 10)), FreezeStatistics::default());
    }

    #[test]
    fn a_frame_that_comes_much_later_than_usual_ends_a_freeze() {
        let statistics = after(frames(|frame| if frame < 50 { 0 } else { 400 }));
        assert_eq!((statistics.freeze_count, statistics.total_freezes_duration), (1, Duration::from_millis(466)));
    }

    #[test]
    fn frames_that_were_lost_are_a_freeze() {
        let statistics = after(frames(|_| 0).filter(|(frame, ..)| !(50..58).contains(frame)));
        assert_eq!((statistics.freeze_count, statistics.total_freezes_duration), (1, Duration::from_millis(594)));
    }

    #[test]
    fn a_picture_that_does_not_change_is_no_freeze() {
        let rested = frames(|_| 0).map(|(frame, at, _)| (frame, if frame < 50 { at } else { at + 5_000 }));
        assert_eq!(after(rested.map(|(frame, at)| (frame, at, at))), FreezeStatistics::default());
    }
}
