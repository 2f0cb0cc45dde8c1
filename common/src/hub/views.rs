//! What members look at: told to the relay, which sends them no other video, and to those who are looked at, whose
//! cameras need make no larger picture than the largest tile.

use super::{Hub, Output};
use crate::ids::{ConnectionId, MemberId, RoomId};
use crate::limits::ROOM_MEMBERS_MAX;
use crate::wire::control::{ServerMessage, View};

impl Hub {
    /// A member said whom it wants to see. Beyond a full room's worth the rest of a list means nothing.
    pub(super) fn set_views(&mut self, room: RoomId, member: MemberId, connection: ConnectionId, views: &[View]) {
        let Some(place) = self.rooms.get_mut(&room) else { return };
        place.views().set(member, &views[..views.len().min(ROOM_MEMBERS_MAX)]);
        let seen = place.views().of(member);
        self.outputs.push_back(Output::Watch(connection, seen));
        self.tell_wanted(room);
    }

    /// Tells those whose picture is wanted in another size than before.
    pub(super) fn tell_wanted(&mut self, room: RoomId) {
        let Some(place) = self.rooms.get_mut(&room) else { return };
        let members: Vec<_> = place.members().keys().copied().collect();
        for (member, rung) in place.views().changes(&members) {
            if let Some(control) = self.control_of(room, member) {
                self.send(control, ServerMessage::VideoWanted(rung));
            }
        }
    }
}
