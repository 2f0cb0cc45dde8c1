//! When to act without having heard anything: the tail-loss probe, the retransmission timeout, the window probe and
//! the end of patience.

use std::time::Instant;

use super::rtt::RttEstimator;
use crate::limits::CHANNEL_STALL_TIMEOUT;

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
    /// Since when the peer owes an acknowledgement.
    waiting_since: Option<Instant>,
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
            waiting_since: None,
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
        self.waiting_since.get_or_insert(now);
        self.window_probe_at = None;
    }

    /// Something was acknowledged that was not before; `outstanding` when something else is on the way.
    pub(super) fn on_progress(&mut self, now: Instant, outstanding: bool) {
        self.timeout_from = now;
        self.probe_from = now;
        self.probed = false;
        self.timeouts = 0;
        self.waiting_since = outstanding.then_some(now);
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
        let timeout = self.timeout_from + rtt.rto(self.timeouts);
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
    }

    /// How often the timeout passed since the last progress.
    pub(super) fn timeouts(&self) -> u32 {
        self.timeouts
    }

    /// The retransmission timeout with its back-off.
    pub(super) fn rto(&self, rtt: &RttEstimator) -> std::time::Duration {
        rtt.rto(self.timeouts)
    }

    /// Nothing is on the way and nothing can be sent, or only a little later if it is `paced`; `blocked` when the peer's windows are the reason, which are
    /// then asked for, less and less often (RFC 9293 §3.8.6.1).
    pub(super) fn on_quiet(&mut self, now: Instant, rtt: &RttEstimator, blocked: bool, paced: bool) {
        self.waiting_since = None;
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

    /// When the channel is given up.
    pub(super) fn stall_at(&self) -> Option<Instant> {
        self.waiting_since.map(|since| since + CHANNEL_STALL_TIMEOUT)
    }
}
