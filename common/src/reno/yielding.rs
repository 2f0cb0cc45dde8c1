//! A second limit for a file beside a call: the window that leaves the queue to the media (after RFC 6817).
//!
//! Media measures its own rate and answers to a queue within a round trip or two; Reno fills the queue until it
//! overflows and takes what the media gives up. While a call uses the path, a transfer therefore keeps the standing
//! queue near a target of a few milliseconds. The smaller of the two windows counts, so it never takes more than Reno.

use std::time::{Duration, Instant};

use super::controller::{INITIAL_WINDOW_SEGMENTS, Progress};

/// The standing queue that a transfer may keep. RFC 6817 §2.3 allows 100 ms; a call is disturbed by a fraction of that.
const TARGET: Duration = Duration::from_millis(4);
/// The least window, segments: enough to notice that the path is free again.
const WINDOW_MIN_SEGMENTS: u64 = 2;

/// The window of a transfer that yields.
#[derive(Debug)]
pub(super) struct Yielding {
    cwnd: f64,
    /// Looks for what is free as slow start does, until a queue shows.
    searching: bool,
    /// The window is judged once a round trip: next with a segment from this number on.
    round_end: u64,
    /// The queue that stands even when next to nothing of the file is on the way: the others' doing, or the path's.
    others: Duration,
}

/// More than this is not believed to be the path's own.
const OTHERS_MAX: Duration = Duration::from_millis(30);

impl Yielding {
    /// Takes over from a controller with this window.
    pub(super) fn new(cwnd: u64, smss: u64) -> Self {
        let first = cwnd.min(INITIAL_WINDOW_SEGMENTS * smss);
        Self { cwnd: first as f64, searching: true, round_end: 0, others: Duration::ZERO }
    }

    pub(super) fn cwnd(&self) -> u64 {
        self.cwnd as u64
    }

    /// Segments were acknowledged; `queue` is how long they waited at least.
    pub(super) fn on_acknowledged(&mut self, progress: &Progress, queue: Option<Duration>, smss: u64) {
        let Some(queue) = queue else { return };
        let excess = queue.saturating_sub(self.others).as_secs_f64() / TARGET.as_secs_f64();
        if self.searching && excess < 1.0 && progress.window_was_full {
            self.cwnd += progress.bytes as f64;
        }
        if progress.newest < self.round_end {
            return;
        }
        self.round_end = progress.next_number;
        self.note_others(queue, smss);
        if excess >= 1.0 {
            // At twice the target the window halves; RFC 6817's linear descent would take many round trips.
            self.cwnd *= (1.5 - excess / 2.0).clamp(0.5, 1.0);
            self.searching = false;
        } else if !self.searching && progress.window_was_full {
            // A segment a round trip on an empty queue, as Reno; less and less towards the target.
            self.cwnd += smss as f64 * (2.0 * (1.0 - excess)).min(1.0);
        }
        self.cwnd = self.cwnd.max((WINDOW_MIN_SEGMENTS * smss) as f64);
    }

    fn note_others(&mut self, queue: Duration, smss: u64) {
        if self.cwnd() <= WINDOW_MIN_SEGMENTS * smss {
            self.others = ((self.others * 3 + queue) / 4).min(OTHERS_MAX);
        }
        self.others = self.others.min(queue);
    }

    /// A loss, or a timeout: at most half of what was on the way.
    pub(super) fn on_lost(&mut self, flight_size: u64, smss: u64) {
        self.searching = false;
        self.cwnd = self.cwnd.min(flight_size as f64 / 2.0).max((WINDOW_MIN_SEGMENTS * smss) as f64);
    }
}

/// How long after the last media or message a transfer goes on to yield: pauses between sentences are not its to take.
pub(super) const YIELD_HOLD: Duration = Duration::from_secs(2);

/// Whether a transfer is to yield at `now`, when somebody used the path at `used_at`.
pub(super) fn is_due(now: Instant, used_at: Option<Instant>) -> bool {
    used_at.is_some_and(|at| now.saturating_duration_since(at) < YIELD_HOLD)
}
