//! When to act without having heard anything: the tail-loss probe, the retransmission timeout and the window probe.
//!
//! There is no end of patience (RFC 9293 §3.8.3 lets R2 be infinite): who is gone is found out elsewhere, and a channel that
//! waits holds no more than its buffers.

use std::time::{Duration, Instant};

use super::rtt::RttEstimator;
use crate::limits::PATH_SILENCE;

/// The clocks of one sender.
#[derive(Debug)]
pub(super) struct Timer {
    /// The retransmission timeout counts from here: the last progress, or the first segment after there was none
    /// on the way (RFC 6298 §5.1 and §5.3).
    timeout_from: Instant,
    /// The probe counts from here: the last progress or the last segment (RFC 8985 §7.2).
    probe_from: Instant,
    /// A second copy of a small segment was sent since the last segment that was none.
    copied: bool,
    /// A probe was sent since the last progress. The next alarm is the timeout (RFC 8985 §7.3).
    probed: bool,
    /// Timeouts since the last progress.
    timeouts: u32,
    /// How often the timeout was doubled since the last progress or return of the path.
    doublings: u32,
    /// When the path came back for the last time while something waited for a timeout.
    returned_at: Option<Instant>,
    /// Nothing was sent again since.
    retry_due: bool,
    window_probe_at: Option<Instant>,
    /// Window probes since a window opened.
    window_probes: u32,
}

/// What to do when the retransmission timer goes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// Send a small segment once more, before it can be known whether it arrived.
    Copy,
    /// Send one segment that makes the peer tell what is missing.
    Probe,
    /// Count all as lost.
    Timeout,
}

impl Timer {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            timeout_from: now,
            probe_from: now,
            copied: false,
            probed: false,
            timeouts: 0,
            doublings: 0,
            returned_at: None,
            retry_due: false,
            window_probe_at: None,
            window_probes: 0,
        }
    }

    /// A segment was sent; `alone` when it is the only one on the way, `copy` when it says what another one said.
    pub(super) fn on_sent(&mut self, now: Instant, alone: bool, copy: bool) {
        if alone {
            self.timeout_from = now;
        }
        self.probe_from = now;
        self.copied &= copy;
        self.window_probe_at = None;
    }

    /// Something was acknowledged that was not before.
    pub(super) fn on_progress(&mut self, now: Instant) {
        self.timeout_from = now;
        self.probe_from = now;
        self.probed = false;
        (self.timeouts, self.doublings, self.retry_due) = (0, 0, false);
    }

    /// The path came back after a silence, or the peer shows that it can hear us again. The back-off answered a path that
    /// did not deliver, and says nothing of the one that does (RFC 6298 §5.7 collapses it when the round trip is measured
    /// anew, RFC 9002 §6.2.1 when the peer is heard): what waits is sent again at once, and the timeout counts from its
    /// first value. Not more often than once in [`PATH_SILENCE`], whatever the peer does. Answers whether anything waits.
    pub(super) fn on_return(&mut self, now: Instant) -> bool {
        let lately = self.returned_at.is_some_and(|at| now.saturating_duration_since(at) < PATH_SILENCE);
        let waits = self.timeouts > 0 && !lately;
        if waits {
            (self.doublings, self.returned_at, self.retry_due) = (0, Some(now), true);
        }
        waits
    }

    /// When the retransmission timer goes off with so many segments on the way, and for what. `copies` when they are
    /// few and small, and the path loses.
    pub(super) fn alarm(&self, rtt: &RttEstimator, outstanding: usize, copies: bool) -> Option<(Instant, Alarm)> {
        if outstanding == 0 {
            return None;
        }
        if let Some(copy) = rtt.copy_timeout().filter(|_| copies && !self.copied && !self.probed && self.timeouts == 0)
        {
            return Some((self.probe_from + copy, Alarm::Copy));
        }
        if self.retry_due {
            // What left just now may still be answered.
            return Some((self.probe_from + rtt.retry_timeout(), Alarm::Timeout));
        }
        let timeout = self.timeout_from + rtt.rto(self.doublings);
        if self.probed || self.timeouts > 0 {
            return Some((timeout, Alarm::Timeout));
        }
        let probe = self.probe_from + rtt.probe_timeout(outstanding == 1);
        Some((probe.min(timeout), Alarm::Probe))
    }

    /// A second copy is about to be sent.
    pub(super) fn on_copy(&mut self) {
        self.copied = true;
    }

    /// A probe is about to be sent; the timeout counts anew from it (RFC 8985 §7.3).
    pub(super) fn on_probe(&mut self, now: Instant) {
        self.probed = true;
        self.timeout_from = now;
    }

    /// The timeout passed: the next one is twice as long (RFC 6298 §5.5).
    pub(super) fn on_timeout(&mut self) {
        self.timeouts = self.timeouts.saturating_add(1);
        // The first one after a return is not a sign that the path carries less.
        self.doublings += u32::from(!self.retry_due);
        self.retry_due = false;
    }

    /// How often the timeout passed since the last progress.
    pub(super) fn timeouts(&self) -> u32 {
        self.timeouts
    }

    /// The retransmission timeout with its back-off.
    pub(super) fn rto(&self, rtt: &RttEstimator) -> Duration {
        rtt.rto(self.doublings)
    }

    /// Nothing is on the way and nothing can be sent, or only a little later if it is `paced`; `blocked` when the peer's windows are the reason, which are
    /// then asked for, less and less often (RFC 9293 §3.8.6.1).
    pub(super) fn on_quiet(&mut self, now: Instant, rtt: &RttEstimator, blocked: bool, paced: bool) {
        if paced {
            return;
        }
        if !blocked {
            self.window_probe_at = None;
        } else if self.window_probe_at.is_none() {
            self.window_probe_at = Some(now + rtt.rto(self.window_probes));
        }
    }

    /// The peer opened a window.
    pub(super) fn on_window(&mut self) {
        self.window_probe_at = None;
        self.window_probes = 0;
    }

    /// Whether it is time to ask for the windows; the question counts as asked.
    pub(super) fn take_window_probe(&mut self, now: Instant) -> bool {
        let due = self.window_probe_at.is_some_and(|at| at <= now);
        if due {
            self.window_probe_at = None;
            self.window_probes = self.window_probes.saturating_add(1);
        }
        due
    }

    pub(super) fn window_probe_at(&self) -> Option<Instant> {
        self.window_probe_at
    }
}
