//! The window arithmetic of Reno, and nothing else: what an acknowledgement, a loss, a timeout and idleness do to
//! `cwnd` and `ssthresh`.
//!
//! ```text
//!              cwnd < ssthresh          cwnd >= ssthresh
//!   start ──▶ slow start ───────────▶ congestion avoidance
//!                │  ▲                    │   ▲
//!                │  │ repaired      loss │   │ a segment sent after the loss is acknowledged
//!          loss  │  │                    ▼   │
//!                ├──┼──────────────▶ fast recovery
//!        timeout ▼  │                    │ timeout
//!             timeout recovery ◀─────────┘
//! ```
//! Time, segments on the way and what is lost are the business of others. A window counts bytes of whole segments.

use std::time::{Duration, Instant};

use super::controller::{Controller, INITIAL_WINDOW_SEGMENTS, Loss, Progress, SMSS_BASE, half_of};
use super::hystart::{Advice, HyStart};

/// How long a window counts as tested after it was full for the last time (RFC 7661 §4.2, NVP).
const NON_VALIDATED_PERIOD: Duration = Duration::from_secs(5 * 60);
/// L: the most segments that one acknowledgement adds in slow start after a timeout, when it may cover much that
/// arrived long ago (RFC 3465 §2.3).
const BYTE_COUNTING_LIMIT_AFTER_TIMEOUT: u64 = 1;
/// L otherwise: RFC 9406 §4.2 lifts RFC 3465's limit of 2 to this, because what is sent then is paced.
const BYTE_COUNTING_LIMIT: u64 = 8;

/// TCP Reno: the congestion window of one channel.
#[derive(Debug)]
pub(super) struct Reno {
    /// Bytes of the longest segment.
    smss: u64,
    cwnd: u64,
    /// `None` is "arbitrarily high" (RFC 5681 §3.1).
    ssthresh: Option<u64>,
    /// Bytes acknowledged towards the next step of congestion avoidance.
    acknowledged: u64,
    /// Bytes that were outstanding at a timeout and are still to be made up for.
    timeout_backlog: u64,
    slow_start: HyStart,
    /// When the window was full for the last time, or was shrunk for not being so.
    tested_at: Instant,
    before_loss: Option<Window>,
}

/// What a spurious loss gives back.
#[derive(Clone, Copy, Debug)]
struct Window {
    cwnd: u64,
    ssthresh: Option<u64>,
}

impl Reno {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            smss: SMSS_BASE,
            cwnd: INITIAL_WINDOW_SEGMENTS * SMSS_BASE,
            ssthresh: None,
            acknowledged: 0,
            timeout_backlog: 0,
            slow_start: HyStart::default(),
            tested_at: now,
            before_loss: None,
        }
    }

    /// RFC 5681 §3.1, equation 2, by bytes (RFC 3465 §2.2): the window doubles each round trip, until HyStart++ sees a
    /// queue (RFC 9406 §4.2).
    fn start_slowly(&mut self, progress: &Progress) {
        let after_timeout = self.timeout_backlog > 0;
        let limit = if after_timeout { BYTE_COUNTING_LIMIT_AFTER_TIMEOUT } else { BYTE_COUNTING_LIMIT };
        let bytes = progress.bytes.min(limit * self.smss);
        // Only the first slow start looks for the size of the path; later ones know it by ssthresh (RFC 9406 §4.3).
        let advice = if self.ssthresh.is_none() { self.slow_start.on_acknowledged(progress) } else { Advice::Grow(1) };
        match advice {
            Advice::Grow(divisor) => self.cwnd += bytes / divisor,
            Advice::Leave => self.ssthresh = Some(self.cwnd),
        }
    }

    /// RFC 3465 §2.1: a segment more for each window's worth of acknowledged bytes. What goes out in a round trip are whole
    /// segments, so a part of one at the window's end is not waited for.
    fn avoid_congestion(&mut self, bytes: u64) {
        self.acknowledged += bytes;
        let window = self.cwnd - self.cwnd % self.smss;
        if self.acknowledged >= window {
            self.acknowledged -= window;
            self.cwnd += self.smss;
        }
    }

    /// RFC 5681 §3.1: one segment, whatever the threshold.
    fn loss_window(&self) -> u64 {
        self.smss
    }

    fn remember(&mut self) {
        self.before_loss = Some(Window { cwnd: self.cwnd, ssthresh: self.ssthresh });
    }
}

impl Controller for Reno {
    fn on_acknowledged(&mut self, progress: &Progress) {
        if progress.recovering {
            return; // Fast recovery: what left before the loss does not open the window (RFC 6582 §3.2).
        }
        if !progress.window_was_full {
            return; // A window that was not used was not tested either (RFC 7661 §4.3).
        }
        self.tested_at = progress.now;
        if self.is_in_slow_start() {
            self.start_slowly(progress);
        } else {
            self.avoid_congestion(progress.bytes);
        }
        self.timeout_backlog = self.timeout_backlog.saturating_sub(progress.bytes);
    }

    /// RFC 6675 §5, step 4.2. The window is not inflated by duplicates: lost and arrived segments leave the flight.
    fn on_lost(&mut self, loss: &Loss) {
        self.remember();
        let ssthresh = half_of(loss.flight_size, self.smss);
        self.ssthresh = Some(ssthresh);
        self.cwnd = ssthresh;
        self.acknowledged = 0;
    }

    /// RFC 5681 §3.1: ssthresh stays as it is when the timer goes off for the same segments again.
    fn on_timeout(&mut self, loss: &Loss, again: bool) {
        if !again {
            self.remember();
            self.ssthresh = Some(half_of(loss.flight_size, self.smss));
            self.timeout_backlog = loss.flight_size;
        }
        self.cwnd = self.loss_window();
        self.acknowledged = 0;
    }

    /// RFC 4015 §3.2, and as Linux does: the window is what it was.
    fn on_spurious(&mut self) {
        if let Some(before) = self.before_loss.take() {
            self.cwnd = self.cwnd.max(before.cwnd);
            self.ssthresh = before.ssthresh;
            self.timeout_backlog = 0;
        }
    }

    /// RFC 7661 §4.4.3: a window that was not full for five minutes is not believed any more. Shorter pauses keep it,
    /// because pacing does not let it out at once.
    fn on_restart(&mut self, now: Instant) {
        if now.saturating_duration_since(self.tested_at) < NON_VALIDATED_PERIOD {
            return;
        }
        let initial = INITIAL_WINDOW_SEGMENTS * self.smss;
        self.ssthresh = self.ssthresh.map(|ssthresh| ssthresh.max(self.cwnd * 3 / 4));
        self.cwnd = self.cwnd.min(initial.max(self.cwnd / 2));
        self.tested_at = now;
    }

    fn set_segment_bytes(&mut self, smss: u64) {
        // A window counts segments (RFC 5681 §2 defines it by SMSS): with longer ones it holds more bytes.
        self.cwnd = self.cwnd * smss / self.smss;
        self.smss = smss;
    }

    fn cwnd(&self) -> u64 {
        self.cwnd
    }

    fn ssthresh(&self) -> Option<u64> {
        self.ssthresh
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests take any instant as their zero")]
mod tests {
    use super::*;

    const SMSS: u64 = SMSS_BASE;
    const INITIAL_WINDOW: u64 = INITIAL_WINDOW_SEGMENTS * SMSS;

    fn acknowledge(reno: &mut Reno, bytes: u64) {
        let now = reno.tested_at;
        reno.on_acknowledged(&Progress {
            now,
            bytes,
            newest: 0,
            next_number: 1,
            window_was_full: true,
            recovering: false,
            round_trip: None,
        });
    }

    fn loss(flight_size: u64) -> Loss {
        Loss { flight_size, queue: None, round_trip_min: None }
    }

    fn lose(reno: &mut Reno, flight_size: u64) {
        reno.on_lost(&loss(flight_size));
    }

    fn time_out(reno: &mut Reno, flight_size: u64, again: bool) {
        reno.on_timeout(&loss(flight_size), again);
    }

    fn reno() -> Reno {
        Reno::new(Instant::now())
    }

    /// One round trip: a full window, acknowledged two segments at a time.
    fn round_trip(reno: &mut Reno) {
        for _ in 0..reno.cwnd() / (2 * SMSS) {
            acknowledge(reno, 2 * SMSS);
        }
    }

    #[test]
    fn slow_start_doubles_the_window_each_round_trip() {
        let mut reno = reno();
        for rounds in 1..=5 {
            round_trip(&mut reno);
            assert_eq!(reno.cwnd(), INITIAL_WINDOW << rounds);
        }
        assert!(reno.is_in_slow_start());
    }

    #[test]
    fn one_acknowledgement_of_many_segments_adds_eight() {
        let mut reno = reno();
        acknowledge(&mut reno, 20 * SMSS);
        assert_eq!(reno.cwnd(), INITIAL_WINDOW + 8 * SMSS);
    }

    #[test]
    fn congestion_avoidance_adds_a_segment_each_round_trip() {
        let mut reno = reno();
        lose(&mut reno, 40 * SMSS);
        for rounds in 1..=6 {
            round_trip(&mut reno);
            assert!(!reno.is_in_slow_start() && reno.cwnd() <= (20 + rounds) * SMSS);
        }
        assert!(reno.cwnd() >= 25 * SMSS);
    }

    #[test]
    fn a_loss_halves_what_was_on_the_way() {
        let mut reno = reno();
        lose(&mut reno, 32 * SMSS);
        assert_eq!((reno.cwnd(), reno.ssthresh()), (16 * SMSS, Some(16 * SMSS)));
        lose(&mut reno, SMSS);
        assert_eq!((reno.cwnd(), reno.ssthresh()), (2 * SMSS, Some(2 * SMSS)));
    }

    #[test]
    fn a_timeout_begins_again_with_one_segment() {
        let mut reno = reno();
        time_out(&mut reno, 20 * SMSS, false);
        assert_eq!(reno.cwnd(), SMSS);
        time_out(&mut reno, SMSS, true);
        assert_eq!(reno.ssthresh(), Some(10 * SMSS));
        acknowledge(&mut reno, SMSS);
        assert_eq!(reno.cwnd(), 2 * SMSS);
        acknowledge(&mut reno, 2 * SMSS);
        assert_eq!(reno.cwnd(), 3 * SMSS); // L = 1
        for _ in 0..26 {
            acknowledge(&mut reno, SMSS);
        }
        assert!(!reno.is_in_slow_start());
    }

    #[test]
    fn a_loss_that_was_none_gives_the_window_back() {
        let mut reno = reno();
        round_trip(&mut reno);
        lose(&mut reno, 20 * SMSS);
        acknowledge(&mut reno, SMSS);
        reno.on_spurious();
        assert_eq!((reno.cwnd(), reno.ssthresh()), (20 * SMSS, None));
        reno.on_spurious();
        assert_eq!(reno.cwnd(), 20 * SMSS);
    }

    #[test]
    fn a_window_that_was_not_full_does_not_grow_and_is_halved_after_five_minutes() {
        let mut reno = reno();
        for _ in 0..3 {
            round_trip(&mut reno);
        }
        let (full, began) = (reno.cwnd(), reno.tested_at);
        reno.on_restart(began + NON_VALIDATED_PERIOD / 2);
        assert_eq!(reno.cwnd(), full);
        reno.on_restart(began + NON_VALIDATED_PERIOD);
        reno.on_restart(began + NON_VALIDATED_PERIOD);
        assert_eq!(reno.cwnd(), full / 2);
    }
}
