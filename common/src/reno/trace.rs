//! What a sender did and why, event by event, for a file that can be plotted: the recovery events of qlog
//! (draft-ietf-quic-qlog-quic-events §7).

use std::collections::VecDeque;
use std::time::Instant;

use super::RenoStatistics;

/// One event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traced {
    /// When.
    pub at: Instant,
    /// What.
    pub what: Trace,
    /// How the sender stood afterwards.
    pub statistics: RenoStatistics,
}

/// What happened to a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// An acknowledgement moved the window or the round trip (`recovery:metrics_updated`).
    Acknowledged,
    /// Segments were found lost, the window was halved for them (`recovery:packet_lost`).
    Lost {
        /// How many.
        segments: u64,
    },
    /// Later losses of a round that was answered already (`recovery:packet_lost`).
    LostMore {
        /// How many.
        segments: u64,
    },
    /// What was given up arrived after all: the window was given back (`recovery:spurious_loss_detected`).
    Spurious,
    /// The retransmission timer went off (`recovery:loss_timer_updated`, event type `expired`).
    Timeout,
    /// A segment asked what is missing (RFC 8985 §7).
    Probe,
    /// The channel was opened anew after the peer broke the protocol.
    Renewed,
    /// The path carries segments of this many bytes from here on (`connectivity:mtu_updated`).
    SegmentBytes(u64),
}

/// Events that nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Tracer {
    events: Option<VecDeque<Traced>>,
}

/// Events that wait: a quarter of a second of a fast path. Later ones are left out.
const EVENTS_MAX: usize = 4_096;

impl Tracer {
    pub(super) fn start(&mut self) {
        self.events.get_or_insert_default();
    }

    pub(super) fn push(&mut self, at: Instant, what: Trace, statistics: impl FnOnce() -> RenoStatistics) {
        if let Some(events) = self.events.as_mut().filter(|events| events.len() < EVENTS_MAX) {
            events.push_back(Traced { at, what, statistics: statistics() });
        }
    }

    pub(super) fn poll(&mut self) -> Option<Traced> {
        self.events.as_mut()?.pop_front()
    }
}
