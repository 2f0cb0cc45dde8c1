//! Who is in which room, found by connection id, by place, and by who watches whom.

use std::collections::BTreeMap;

use crate::ids::{ConnectionId, MemberId, MemberKey, RoomId};
use crate::relay::member::Member;
use crate::relay::speakers::Speakers;

/// Every member and every room.
#[derive(Debug, Default)]
pub(super) struct Roster {
    members: Vec<Option<Box<Member>>>,
    free: Vec<MemberKey>,
    by_connection: BTreeMap<ConnectionId, MemberKey>,
    rooms: BTreeMap<RoomId, Room>,
}

/// Members of one room.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) members: Vec<MemberKey>,
    by_id: BTreeMap<MemberId, MemberKey>,
    pub(super) speakers: Speakers,
}

impl Roster {
    pub(super) fn insert(&mut self, member: Member) -> MemberKey {
        let (connection, room, id) = (member.connection, member.room, member.member);
        let key = self.free.pop().unwrap_or_else(|| {
            self.members.push(None);
            MemberKey(self.members.len() as u32 - 1)
        });
        self.members[key.0 as usize] = Some(Box::new(member));
        self.by_connection.insert(connection, key);
        let place = self.rooms.entry(room).or_default();
        place.members.push(key);
        place.by_id.insert(id, key);
        self.route(room);
        key
    }

    pub(super) fn remove(&mut self, connection: ConnectionId) -> Option<(MemberKey, Box<Member>)> {
        let key = self.by_connection.remove(&connection)?;
        let member = self.members[key.0 as usize].take()?;
        self.free.push(key);
        if let Some(room) = self.rooms.get_mut(&member.room) {
            room.members.retain(|other| *other != key);
            room.by_id.remove(&member.member);
            room.speakers.remove(member.member);
            if room.members.is_empty() {
                self.rooms.remove(&member.room);
            }
        }
        self.route(member.room);
        Some((key, member))
    }

    /// Finds anew who gets whose video in a room. Rare, so that forwarding a packet has nothing to look up.
    pub(super) fn route(&mut self, room: RoomId) {
        let Some(room) = self.rooms.get(&room) else { return };
        for sender in &room.members {
            let Some((id, mut watchers)) = member(&mut self.members, *sender).map(Member::take_watchers) else {
                continue;
            };
            watchers.clear();
            let watches = |key: &&MemberKey| {
                let receiver = self.members[key.0 as usize].as_ref();
                **key != *sender && receiver.is_some_and(|receiver| receiver.watches(id))
            };
            watchers.extend(room.members.iter().filter(watches));
            if let Some(sender) = member(&mut self.members, *sender) {
                sender.watchers = watchers;
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_connection.len()
    }

    pub(super) fn key(&self, connection: ConnectionId) -> Option<MemberKey> {
        self.by_connection.get(&connection).copied()
    }

    pub(super) fn member(&mut self, key: MemberKey) -> Option<&mut Member> {
        member(&mut self.members, key)
    }

    /// Everybody.
    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.iter_mut().flatten().map(Box::as_mut)
    }

    /// The member behind a connection id.
    pub(super) fn named(&mut self, connection: ConnectionId) -> Option<&mut Member> {
        let key = self.key(connection)?;
        self.member(key)
    }

    /// The room of that number, and all members to look its own up in.
    pub(super) fn room(&mut self, room: RoomId) -> Option<(&mut Room, Members<'_>)> {
        Some((self.rooms.get_mut(&room)?, Members(&mut self.members)))
    }

    /// The ids of all members of a room.
    pub(super) fn ids_in(&self, room: RoomId) -> impl Iterator<Item = MemberId> {
        self.rooms.get(&room).into_iter().flat_map(|room| room.by_id.keys().copied())
    }

    /// The member of a room who has this id.
    pub(super) fn in_room(&self, room: RoomId, id: MemberId) -> Option<MemberKey> {
        self.rooms.get(&room)?.by_id.get(&id).copied()
    }
}

/// Members by place, while a room is looked at.
pub(super) struct Members<'a>(&'a mut [Option<Box<Member>>]);

impl Members<'_> {
    pub(super) fn member(&mut self, key: MemberKey) -> Option<&mut Member> {
        member(self.0, key)
    }
}

fn member(members: &mut [Option<Box<Member>>], key: MemberKey) -> Option<&mut Member> {
    members.get_mut(key.0 as usize)?.as_deref_mut()
}
