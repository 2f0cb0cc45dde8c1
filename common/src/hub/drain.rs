//! The end of a server that is announced: running meetings go on for a while, new ones are refused.
//!
//! Guests may still come to a running meeting. Whoever stops a server wants its meetings to end well, and a meeting
//! whose guests are locked out ends badly.

use std::time::{Duration, Instant};

use super::{Hub, State};
use crate::ids::ControlId;
use crate::wire::control::{Notice, ServerMessage};

impl Hub {
    /// Takes no new rooms from here on, and tells everybody in a room that the server stops within `patience`. Asked
    /// again, the newest `patience` counts and is told. [`Hub::drained`] says when it is over.
    pub fn drain(&mut self, now: Instant, patience: Duration) {
        let deadline = now + patience;
        self.drain_until = Some(deadline);
        let seated = self.connections.iter().filter(|(_, connection)| matches!(connection.state, State::Seated { .. }));
        let members: Vec<_> = seated.map(|(control, _)| *control).collect();
        members.into_iter().for_each(|control| self.tell_of_drain(now, control));
    }

    /// Whether [`Hub::drain`] was asked for.
    pub fn draining(&self) -> bool {
        self.drain_until.is_some()
    }

    /// Whether a drain is over: no room is left, or its time is up. Then [`Hub::stop`] is due.
    pub fn drained(&self, now: Instant) -> bool {
        self.drain_until.is_some_and(|until| self.rooms.is_empty() || now >= until)
    }

    /// To a member who is in, or just came in: how long the server will still be there. Nothing when it stays.
    pub(super) fn tell_of_drain(&mut self, now: Instant, control: ControlId) {
        let Some(until) = self.drain_until else {
            return;
        };
        let left = until.saturating_duration_since(now).as_secs_f64().ceil();
        self.send(control, ServerMessage::Notice(Notice::Draining { secs: left as u32 }));
    }
}
