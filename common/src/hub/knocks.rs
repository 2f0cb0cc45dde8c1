//! Guests at the doors: how they come there, and how they go without having been let in.

use std::time::Instant;

use super::{Hub, State};
use crate::ids::{ControlId, KnockId, RoomCode, RoomId};
use crate::limits::KNOCK_TIMEOUT;
use crate::names;
use crate::room::Knock;
use crate::wire::control::{Refusal, ServerMessage};

impl Hub {
    pub(super) fn knock(&mut self, now: Instant, control: ControlId, code: RoomCode, name: &str, aes: bool) {
        match self.knock_at(now, control, code, name) {
            Ok((room, knock, name)) => {
                self.statistics.knocks += 1;
                self.set_state(control, State::Knocking { room, knock, aes });
                self.send(control, ServerMessage::Knocking);
                self.tell_host(room, ServerMessage::KnockArrived { knock, name });
            }
            Err(refusal) => self.refuse(control, refusal),
        }
    }

    fn knock_at(
        &mut self,
        now: Instant,
        control: ControlId,
        code: RoomCode,
        name: &str,
    ) -> Result<(RoomId, KnockId, String), Refusal> {
        let source = self.connections.get(&control).map(|connection| connection.source).ok_or(Refusal::Denied)?;
        if let Some(wait) = self.door.closed_for(now, source) {
            return Err(Refusal::TryLater { secs: wait.as_secs_f64().ceil() as u32 });
        }
        let Some(id) = self.codes.get(&code).copied() else {
            self.door.wrong_code(now, source, code);
            return Err(Refusal::WrongCode);
        };
        let name = names::clean_name(name).ok_or(Refusal::NameInvalid)?;
        let knock = self.wait_at(id, Knock { control, name: name.clone(), source, since: now })?;
        self.door.right_code(now, source);
        Ok((id, knock, name))
    }

    /// Puts a guest at a door; one of a source that has many there gives way.
    fn wait_at(&mut self, id: RoomId, guest: Knock) -> Result<KnockId, Refusal> {
        let room = self.rooms.get_mut(&id).ok_or(Refusal::RoomEnded)?;
        let outcome = room.knock(guest.clone());
        if outcome != Err(Refusal::TooManyKnocks) {
            return outcome;
        }
        let (displaced, knock) = room.make_way_for(guest.source).ok_or(Refusal::TooManyKnocks)?;
        let outcome = room.knock(guest);
        self.turn_away(id, displaced, knock.control, Refusal::TooManyKnocks);
        outcome
    }

    pub(super) fn turn_away(&mut self, room: RoomId, knock: KnockId, guest: ControlId, refusal: Refusal) -> bool {
        self.refuse(guest, refusal);
        self.tell_host(room, ServerMessage::KnockGone(knock));
        true
    }

    /// A new host has not heard of those who wait.
    pub(super) fn tell_of_knocks(&mut self, room: RoomId) {
        let Some(place) = self.rooms.get(&room) else {
            return;
        };
        let knocks = place
            .knocks()
            .iter()
            .map(|(id, knock)| ServerMessage::KnockArrived { knock: *id, name: knock.name.clone() });
        knocks.collect::<Vec<_>>().into_iter().for_each(|message| self.tell_host(room, message));
    }

    pub(super) fn expire_knocks(&mut self, now: Instant) {
        let expired = |knock: &Knock| now.saturating_duration_since(knock.since) >= KNOCK_TIMEOUT;
        let late: Vec<_> = self
            .rooms
            .iter()
            .flat_map(|(room, place)| place.knocks().iter().map(move |(id, knock)| (*room, *id, knock)))
            .filter(|(_, _, knock)| expired(knock))
            .map(|(room, id, knock)| (room, id, knock.control))
            .collect();
        for (room, knock, control) in late {
            self.rooms.get_mut(&room).and_then(|place| place.forget_knock(knock));
            self.turn_away(room, knock, control, Refusal::NoAnswer);
        }
    }
}
