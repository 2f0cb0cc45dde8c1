//! What whoever runs a server may see and do: rooms by number, never by code, and no word of what is said there.

use std::time::{Duration, Instant};

use super::Hub;
use crate::ids::{MemberId, RoomId};
use crate::wire::control::{EndReason, MediaState, Reach};

/// A room in a list of rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomSummary {
    /// Which.
    pub room: RoomId,
    /// How many are in.
    pub members: usize,
    /// How many wait at the door.
    pub knocking: usize,
    /// Since it was opened.
    pub age: Duration,
    /// The door is closed to new knocks.
    pub locked: bool,
}

/// A member in a list of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSummary {
    /// Who.
    pub member: MemberId,
    /// Display name.
    pub name: String,
    /// Has the host role.
    pub host: bool,
    /// Which devices are on.
    pub media: MediaState,
    /// Since the member came in.
    pub age: Duration,
    /// The control connection is broken, and the place is kept.
    pub away: bool,
    /// Which ways of the data plane work.
    pub reach: Reach,
}

impl Hub {
    /// Every room, the oldest first.
    pub fn rooms(&self, now: Instant) -> Vec<RoomSummary> {
        let summary = |(id, room): (&RoomId, &crate::room::Room)| RoomSummary {
            room: *id,
            members: room.members().len(),
            knocking: room.knocks().len(),
            age: now.saturating_duration_since(room.since()),
            locked: room.locked(),
        };
        self.rooms.iter().map(summary).collect()
    }

    /// Everybody in a room, the longest present first; `None` when there is no such room.
    pub fn members(&self, now: Instant, room: RoomId) -> Option<Vec<MemberSummary>> {
        let room = self.rooms.get(&room)?;
        let members = room.members().iter().map(|(id, seat)| MemberSummary {
            member: *id,
            name: seat.name.clone(),
            host: *id == room.host(),
            media: seat.media,
            age: now.saturating_duration_since(seat.since),
            away: seat.away,
            reach: seat.reach,
        });
        Some(members.collect())
    }

    /// Takes a member out of a room, the host too. Answers `false` when there is no such member.
    pub fn expel(&mut self, room: RoomId, member: MemberId) -> bool {
        self.remove(room, member, EndReason::RemovedByOperator)
    }

    /// Ends a meeting for everybody. Answers `false` when there is no such room.
    pub fn end_room(&mut self, room: RoomId) -> bool {
        let there = self.rooms.contains_key(&room);
        self.end(room, EndReason::EndedByOperator);
        there
    }
}
