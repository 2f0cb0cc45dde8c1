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

use super::Phase;
use crate::wire::segment::SEGMENT_MAX_BYTES;

/// SMSS: bytes of the largest segment.
pub(super) const SMSS: u64 = SEGMENT_MAX_BYTES as u64;
/// IW: the window at the start (RFC 6928 §2; 10 segments of this size are below its 14,600 bytes).
const INITIAL_WINDOW: u64 = 10 * SMSS;
/// LW: the window after a timeout (RFC 5681 §3.1).
const LOSS_WINDOW: u64 = SMSS;
/// The least ssthresh (RFC 5681 §3.1, equation 4).
const SSTHRESH_MIN: u64 = 2 * SMSS;
/// L: the most one acknowledgement adds in slow start (RFC 3465 §2.2), …
const BYTE_COUNTING_LIMIT: u64 = 2 * SMSS;
/// … and after a timeout, when one acknowledgement may cover much that arrived long ago (RFC 3465 §2.3).
const BYTE_COUNTING_LIMIT_AFTER_TIMEOUT: u64 = SMSS;

/// The congestion window of one channel.
#[derive(Debug)]
pub(super) struct Congestion {
    cwnd: u64,
    /// `None` is "arbitrarily high" (RFC 5681 §3.1).
    ssthresh: Option<u64>,
    /// The first segment number sent after the last reduction. Losses before it belong to the same round.
    round_start: u64,
    recovering: bool,
    /// Bytes that were outstanding at a timeout and are still to be made up for.
    timeout_backlog: u64,
    /// Bytes acknowledged towards the next step of congestion avoidance.
    acknowledged: u64,
}

impl Congestion {
    pub(super) fn new() -> Self {
        Self {
            cwnd: INITIAL_WINDOW,
            ssthresh: None,
            round_start: 0,
            recovering: false,
            timeout_backlog: 0,
            acknowledged: 0,
        }
    }

    /// Whether one more segment may be sent (RFC 6675 §5, step C: pipe is at least a segment below cwnd).
    pub(super) fn allows(&self, flight_size: u64) -> bool {
        flight_size + SMSS <= self.cwnd
    }

    /// `bytes` were acknowledged, the newest of them in segment `newest`. `window_was_full` tells whether the window
    /// was what held the sender back when it sent them.
    pub(super) fn on_acknowledged(&mut self, bytes: u64, newest: u64, window_was_full: bool) {
        if newest < self.round_start {
            return; // Fast recovery: what left before the loss does not open the window (RFC 6582 §3.2).
        }
        self.recovering = false;
        let after_timeout = self.timeout_backlog > 0;
        self.timeout_backlog = self.timeout_backlog.saturating_sub(bytes);
        if !window_was_full {
            return; // A window that was not used was not tested either (RFC 7661 §4.3).
        }
        match self.ssthresh {
            Some(ssthresh) if self.cwnd >= ssthresh => self.avoid_congestion(bytes),
            _ => self.start_slowly(bytes, after_timeout),
        }
    }

    /// RFC 5681 §3.1, equation 2, by bytes (RFC 3465 §2.2): the window doubles each round trip.
    fn start_slowly(&mut self, bytes: u64, after_timeout: bool) {
        let limit = if after_timeout { BYTE_COUNTING_LIMIT_AFTER_TIMEOUT } else { BYTE_COUNTING_LIMIT };
        self.cwnd += bytes.min(limit);
    }

    /// RFC 3465 §2.1: a segment more for each window's worth of acknowledged bytes.
    fn avoid_congestion(&mut self, bytes: u64) {
        self.acknowledged += bytes;
        if self.acknowledged >= self.cwnd {
            self.acknowledged -= self.cwnd;
            self.cwnd += SMSS;
        }
    }

    /// Segment `number` was found lost when `flight_size` bytes were on the way and `next_number` was the next to be
    /// sent. Answers whether this began a recovery: one round has one reduction, whatever else of it is lost
    /// (RFC 6582 §3.2 and RFC 6675 §5 remember "recover"; here, as in RFC 9002 §7.3.2, it is a segment number).
    pub(super) fn on_lost(&mut self, number: u64, next_number: u64, flight_size: u64) -> bool {
        if number < self.round_start {
            return false;
        }
        let ssthresh = half_of(flight_size);
        self.ssthresh = Some(ssthresh);
        // RFC 6675 §5, step 4.2. The window is not inflated by duplicates: lost and arrived segments leave the flight.
        self.cwnd = ssthresh;
        self.acknowledged = 0;
        self.recovering = true;
        self.round_start = next_number;
        true
    }

    /// The retransmission timer went off with `flight_size` bytes on the way; `again` when it does so for the
    /// same segments once more, which leaves ssthresh as it is (RFC 5681 §3.1).
    pub(super) fn on_timeout(&mut self, next_number: u64, flight_size: u64, again: bool) {
        if !again {
            self.ssthresh = Some(half_of(flight_size));
            self.timeout_backlog = flight_size;
        }
        self.cwnd = LOSS_WINDOW;
        self.acknowledged = 0;
        self.recovering = false;
        self.round_start = next_number;
    }

    /// Nothing was sent for longer than the RTO: the path is not known any more (RFC 5681 §4.1).
    pub(super) fn on_idle(&mut self) {
        self.cwnd = self.cwnd.min(INITIAL_WINDOW);
    }

    pub(super) fn cwnd(&self) -> u64 {
        self.cwnd
    }

    pub(super) fn ssthresh(&self) -> Option<u64> {
        self.ssthresh
    }

    pub(super) fn phase(&self) -> Phase {
        if self.recovering {
            Phase::FastRecovery
        } else if self.timeout_backlog > 0 {
            Phase::TimeoutRecovery
        } else if self.ssthresh.is_some_and(|ssthresh| self.cwnd >= ssthresh) {
            Phase::CongestionAvoidance
        } else {
            Phase::SlowStart
        }
    }
}

/// RFC 5681 §3.1, equation 4.
fn half_of(flight_size: u64) -> u64 {
    (flight_size / 2).max(SSTHRESH_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One round trip: a full window, acknowledged two segments at a time.
    fn round_trip(congestion: &mut Congestion, newest: u64) {
        for _ in 0..congestion.cwnd() / (2 * SMSS) {
            congestion.on_acknowledged(2 * SMSS, newest, true);
        }
    }

    #[test]
    fn slow_start_doubles_the_window_each_round_trip() {
        let mut congestion = Congestion::new();
        for rounds in 1..=5 {
            round_trip(&mut congestion, 0);
            assert_eq!(congestion.cwnd(), INITIAL_WINDOW << rounds);
        }
        assert_eq!(congestion.phase(), Phase::SlowStart);
    }

    #[test]
    fn one_acknowledgement_of_many_segments_adds_two() {
        let mut congestion = Congestion::new();
        congestion.on_acknowledged(8 * SMSS, 7, true);
        assert_eq!(congestion.cwnd(), INITIAL_WINDOW + 2 * SMSS);
    }

    #[test]
    fn congestion_avoidance_adds_a_segment_each_round_trip() {
        let mut congestion = Congestion::new();
        congestion.on_lost(0, 100, 40 * SMSS);
        for rounds in 1..=6 {
            round_trip(&mut congestion, 100);
            assert_eq!(congestion.phase(), Phase::CongestionAvoidance);
            assert!(congestion.cwnd() <= (20 + rounds) * SMSS);
        }
        assert!(congestion.cwnd() >= 25 * SMSS);
    }

    #[test]
    fn a_round_with_many_losses_halves_once() {
        let mut congestion = Congestion::new();
        assert!(congestion.on_lost(3, 40, 32 * SMSS));
        assert!(!congestion.on_lost(4, 41, 30 * SMSS));
        assert!(!congestion.on_lost(39, 45, 20 * SMSS));
        assert_eq!(congestion.cwnd(), 16 * SMSS);
        assert_eq!(congestion.phase(), Phase::FastRecovery);
        congestion.on_acknowledged(2 * SMSS, 39, true);
        assert_eq!(congestion.phase(), Phase::FastRecovery);
        congestion.on_acknowledged(2 * SMSS, 40, true);
        assert_eq!(congestion.phase(), Phase::CongestionAvoidance);
        assert!(congestion.on_lost(41, 60, 16 * SMSS));
        assert_eq!(congestion.cwnd(), 8 * SMSS);
    }

    #[test]
    fn the_threshold_is_never_below_two_segments() {
        let mut congestion = Congestion::new();
        congestion.on_lost(0, 1, SMSS);
        assert_eq!(congestion.ssthresh(), Some(2 * SMSS));
        assert!(congestion.allows(0));
    }

    #[test]
    fn a_timeout_begins_again_with_one_segment() {
        let mut congestion = Congestion::new();
        congestion.on_timeout(30, 20 * SMSS, false);
        assert_eq!(congestion.cwnd(), SMSS);
        assert_eq!(congestion.phase(), Phase::TimeoutRecovery);
        congestion.on_timeout(31, SMSS, true);
        assert_eq!(congestion.ssthresh(), Some(10 * SMSS));
        congestion.on_acknowledged(SMSS, 31, true);
        assert_eq!(congestion.cwnd(), 2 * SMSS);
        congestion.on_acknowledged(2 * SMSS, 33, true);
        assert_eq!(congestion.cwnd(), 3 * SMSS); // L = 1
        for newest in 34..60 {
            congestion.on_acknowledged(SMSS, newest, true);
        }
        assert_eq!(congestion.phase(), Phase::CongestionAvoidance);
    }

    #[test]
    fn a_window_that_was_not_full_does_not_grow() {
        let mut congestion = Congestion::new();
        congestion.on_acknowledged(2 * SMSS, 1, false);
        assert_eq!(congestion.cwnd(), INITIAL_WINDOW);
    }

    #[test]
    fn idleness_takes_the_window_back_to_the_first_one() {
        let mut congestion = Congestion::new();
        round_trip(&mut congestion, 0);
        congestion.on_idle();
        assert_eq!(congestion.cwnd(), INITIAL_WINDOW);
        congestion.on_timeout(1, SMSS, false);
        congestion.on_idle();
        assert_eq!(congestion.cwnd(), LOSS_WINDOW);
    }
}
