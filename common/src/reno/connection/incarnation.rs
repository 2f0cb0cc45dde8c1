//! A channel that failed, opened anew: its segments are numbered from 0 again, its streams go on.
//!
//! A peer that breaks the protocol is a peer with a fault, or one that we misunderstood; what the two ends think of each
//! other's segments is worth nothing then. What they hold of the streams is: bytes have their place in a stream, so what
//! is sent twice is taken once, and nothing that was accepted is lost. So both ends forget the numbers, count everything
//! that is not acknowledged as lost, and go on under the next [`Incarnation`]. The first one to do so says it with its
//! first segment, and a segment of an older incarnation is never taken for one of the newer.

use std::time::Instant;

use super::{Connection, Event, repeat};
use crate::limits::CHANNEL_RENEWAL_INTERVAL;
use crate::reno::acknowledger::Acknowledger;
use crate::reno::scoreboard::Scoreboard;
use crate::reno::trace::Trace;
use crate::wire::segment::Incarnation;

/// How often a channel was opened anew, and when it may be again.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    pub(super) incarnation: Incarnation,
    renewed_at: Option<Instant>,
    /// The channel failed, and is opened anew then.
    pub(super) due: Option<Instant>,
}

impl Renewal {
    /// A peer that breaks the protocol without an end is not followed faster than this.
    fn allowed_at(&self, now: Instant) -> Instant {
        self.renewed_at.map_or(now, |at| (at + CHANNEL_RENEWAL_INTERVAL).max(now))
    }

    /// The peer broke the protocol: nothing more of this incarnation is sent or taken.
    pub(super) fn fail(&mut self, now: Instant) {
        self.due = Some(self.allowed_at(now));
    }

    /// Whether segments of the open incarnation are taken.
    pub(super) fn is_open(&self) -> bool {
        self.due.is_none()
    }

    /// Whether a segment of this incarnation shows that the peer has opened the channel anew, and it may.
    pub(super) fn follows(&self, now: Instant, incarnation: Incarnation) -> bool {
        incarnation.follows(self.incarnation) && self.allowed_at(now) <= now
    }

    /// Under what to open a failed channel anew, if it is time.
    pub(super) fn next(&self, now: Instant) -> Option<Incarnation> {
        self.due.filter(|due| *due <= now).map(|_| self.incarnation.next())
    }

    /// The channel is opened anew under this.
    pub(super) fn begin(&mut self, now: Instant, incarnation: Incarnation) {
        *self = Self { incarnation, renewed_at: Some(now), due: None };
    }
}

impl Connection {
    /// Whether a segment is one of the open incarnation. A newer one shows that the peer has opened the channel anew.
    pub(super) fn admits(&mut self, now: Instant, incarnation: Incarnation) -> bool {
        if incarnation == self.renewal.incarnation {
            return self.renewal.is_open();
        }
        let renews = self.renewal.follows(now, incarnation);
        if renews {
            self.renew(now, incarnation);
        }
        renews
    }

    /// Opens a failed channel anew (`incarnation`): numbers begin again, streams go on.
    pub(super) fn renew(&mut self, now: Instant, incarnation: Incarnation) {
        self.renewal.begin(now, incarnation);
        let Self { outbox, inbox, .. } = self;
        self.scoreboard.lose_all(|frame| repeat(outbox, inbox, frame));
        (self.scoreboard, self.acknowledger) = (Scoreboard::default(), Acknowledger::default());
        self.sender = self.sender.renewed(now);
        self.paced_until = None;
        // Asks for an acknowledgement, so it is repeated until the peer knows.
        self.inbox.greet();
        self.events.push_back(Event::Renewed);
        self.note_trace(now, Trace::Renewed);
    }
}
