//! A member's place: it is kept for a while when the control connection breaks, and the member comes back to it over
//! another one.
//!
//! The data plane does not know of any of this: keys, connection id and reliable channel stay with the place. A new
//! connection may come before the hub has noticed that the old one is dead; then the new one takes over.

use std::collections::BTreeMap;
use std::time::Instant;

use rand::RngExt;

use super::{Connection, Hub, Output, State};
use crate::allowance::Allowance;
use crate::door::Source;
use crate::ids::{ConnectionId, ControlId, MemberId, RoomId};
use crate::limits::{RECONNECT_GRACE, RESUMPTION_BURST, RESUMPTIONS_PER_SEC};
use crate::wire::control::{Guest, LeaveReason, Refusal, ServerMessage, Snapshot};
use crate::wire::ticket::{ResumptionSecret, Ticket};

/// One member's place.
#[derive(Debug)]
pub(super) struct Place {
    /// Names the data plane.
    pub(super) connection_id: ConnectionId,
    /// Where the member connected from last.
    pub(super) source: Source,
    link: Link,
    secret: ResumptionSecret,
    /// What the member showed last. It stays good until the new connection says something: only then is it sure that
    /// the answer with the next secret did not get lost on a connection that broke again.
    shown: Option<ResumptionSecret>,
    allowance: Allowance,
    /// The host asked for it while the member was away.
    mute_requested: bool,
}

#[derive(Clone, Copy, Debug)]
enum Link {
    Away { since: Instant },
    To(ControlId),
}

impl Place {
    pub(super) fn new(
        now: Instant,
        control: ControlId,
        source: Source,
        connection_id: ConnectionId,
        secret: ResumptionSecret,
    ) -> Self {
        Self {
            connection_id,
            source,
            link: Link::To(control),
            secret,
            shown: None,
            allowance: Allowance::new(now, RESUMPTION_BURST, RESUMPTIONS_PER_SEC),
            mute_requested: false,
        }
    }

    /// The member's control connection, unless the member is away.
    pub(super) fn control(&self) -> Option<ControlId> {
        match self.link {
            Link::Away { .. } => None,
            Link::To(control) => Some(control),
        }
    }

    fn given_up(&self, now: Instant) -> bool {
        match self.link {
            Link::Away { since } => now.saturating_duration_since(since) >= RECONNECT_GRACE,
            Link::To(_) => false,
        }
    }

    fn opens_with(&self, secret: ResumptionSecret) -> bool {
        // Both are compared whatever the first says: how long it takes tells nothing.
        let (new, shown) = (self.secret == secret, self.shown == Some(secret));
        new | shown
    }
}

/// Every place of a server, by member and by data plane.
#[derive(Debug, Default)]
pub(super) struct Places {
    by_member: BTreeMap<(RoomId, MemberId), Place>,
    by_connection: BTreeMap<ConnectionId, (RoomId, MemberId)>,
}

impl Places {
    pub(super) fn insert(&mut self, room: RoomId, member: MemberId, place: Place) {
        self.by_connection.insert(place.connection_id, (room, member));
        self.by_member.insert((room, member), place);
    }

    pub(super) fn of(&self, room: RoomId, member: MemberId) -> Option<&Place> {
        self.by_member.get(&(room, member))
    }

    /// Whose data plane this is.
    pub(super) fn of_connection(&self, connection: ConnectionId) -> Option<(RoomId, MemberId)> {
        self.by_connection.get(&connection).copied()
    }

    fn of_mut(&mut self, room: RoomId, member: MemberId) -> Option<&mut Place> {
        self.by_member.get_mut(&(room, member))
    }

    /// Those of a room, the longest present member's first.
    pub(super) fn of_room(&self, room: RoomId) -> impl Iterator<Item = (MemberId, &Place)> {
        let all = (room, MemberId(0))..=(room, MemberId(u16::MAX));
        self.by_member.range(all).map(|((_, member), place)| (*member, place))
    }

    pub(super) fn remove(&mut self, room: RoomId, member: MemberId) -> Option<Place> {
        let place = self.by_member.remove(&(room, member))?;
        self.by_connection.remove(&place.connection_id);
        Some(place)
    }

    /// Takes all places of a room away.
    pub(super) fn remove_room(&mut self, room: RoomId) -> Vec<Place> {
        let members: Vec<_> = self.of_room(room).map(|(member, _)| member).collect();
        members.into_iter().filter_map(|member| self.remove(room, member)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_member.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.by_member.clear();
        self.by_connection.clear();
    }
}

impl Hub {
    pub(super) fn draw_secret(&mut self) -> ResumptionSecret {
        ResumptionSecret(self.rng.random())
    }

    /// The connection of a member is gone, the member perhaps not.
    pub(super) fn keep_place(&mut self, now: Instant, control: ControlId) {
        let Some(Connection { state: State::Seated { room, member, .. }, .. }) = self.connections.remove(&control)
        else {
            return;
        };
        if let Some(place) = self.places.of_mut(room, member) {
            place.link = Link::Away { since: now };
        }
        self.statistics.connections_lost += 1;
        if let Some(place) = self.rooms.get_mut(&room) {
            place.set_away(member, true);
        }
        self.tell_others(room, member, &ServerMessage::MemberAway(member));
    }

    /// Somebody says to have a place here.
    pub(super) fn resume(&mut self, now: Instant, control: ControlId, ticket: &Ticket) {
        let found = match self.claim(now, control, ticket) {
            Ok(found) => found,
            Err(refusal) => return self.refuse(control, refusal),
        };
        let (room, member) = found;
        let allowed = self.places.of_mut(room, member).is_some_and(|place| place.allowance.take(now, 1));
        if !allowed {
            // Whoever flaps like this tells everybody in the room twice each time. The next attempt comes later.
            return self.drop_connection(control);
        }
        self.reseat(now, control, room, member);
    }

    /// Whose place the ticket opens.
    ///
    /// A wrong secret costs its source like a wrong code, and nobody else: it cannot be guessed, so there is nothing from
    /// which others would have to be kept. A place that nobody has any more does not: a class whose network was
    /// gone for too long comes back from one address, and has to be able to knock. That this can be told apart by
    /// counting is no loss, since whoever names a living place has seen its datagrams.
    fn claim(&mut self, now: Instant, control: ControlId, ticket: &Ticket) -> Result<(RoomId, MemberId), Refusal> {
        if ticket.run != self.run {
            return Err(Refusal::ServerRestarted);
        }
        let found = self.places.by_connection.get(&ticket.connection_id).copied().ok_or(Refusal::PlaceGone)?;
        let opens = self.places.of(found.0, found.1).is_some_and(|place| place.opens_with(ticket.secret));
        if !opens {
            if let Some(connection) = self.connections.get(&control) {
                self.door.wrong_secret(now, connection.source);
            }
            return Err(Refusal::PlaceGone);
        }
        Ok(found)
    }

    /// Puts a member back into its place, by a connection that showed the right secret.
    fn reseat(&mut self, now: Instant, control: ControlId, room: RoomId, member: MemberId) {
        let secret = self.draw_secret();
        let source = self.connections.get(&control).map(|connection| connection.source);
        let Some(place) = self.places.of_mut(room, member) else { return };
        let before = std::mem::replace(&mut place.link, Link::To(control));
        place.shown = Some(std::mem::replace(&mut place.secret, secret));
        place.source = source.unwrap_or(place.source);
        let mute = std::mem::take(&mut place.mute_requested);
        let connection_id = place.connection_id;
        self.set_state(control, State::Seated { room, member, connection_id });
        self.statistics.resumptions += 1;
        match before {
            Link::Away { .. } => {
                if let Some(room) = self.rooms.get_mut(&room) {
                    room.set_away(member, false);
                }
                self.tell_others(room, member, &ServerMessage::MemberBack(member));
            }
            Link::To(old) => {
                self.statistics.connections_lost += 1;
                self.connections.remove(&old);
                self.outputs.push_back(Output::Close(old));
            }
        }
        self.tell_how_it_is(room, member, control, secret);
        if mute {
            self.send(control, ServerMessage::MuteRequested);
        }
        self.tell_of_drain(now, control);
    }

    fn tell_how_it_is(&mut self, room: RoomId, member: MemberId, control: ControlId, secret: ResumptionSecret) {
        let Some(place) = self.rooms.get_mut(&room) else { return };
        let guest = |(id, knock): (&_, &crate::room::Knock)| Guest { knock: *id, name: knock.name.clone() };
        let knocks = if place.host() == member { place.knocks().iter().map(guest).collect() } else { Vec::new() };
        let wanted = place.views().told(member);
        let snapshot = Snapshot { secret, members: place.roster(), locked: place.locked(), knocks, wanted };
        self.send(control, ServerMessage::Resumed(snapshot));
    }

    /// A member said something on its connection, and so knows its newest secret.
    pub(super) fn confirm(&mut self, room: RoomId, member: MemberId) {
        if let Some(place) = self.places.of_mut(room, member) {
            place.shown = None;
        }
    }

    /// Asks a member to mute, now or on its return. Answers `false` when there is no such member.
    pub(super) fn request_mute(&mut self, room: RoomId, member: MemberId) -> bool {
        let Some(place) = self.places.of_mut(room, member) else { return false };
        match place.control() {
            Some(control) => self.send(control, ServerMessage::MuteRequested),
            None => place.mute_requested = true,
        }
        true
    }

    /// Gives up the places of those who did not come back in time.
    pub(super) fn expire_places(&mut self, now: Instant) {
        let all = self.places.by_member.iter();
        let late: Vec<_> = all.filter(|(_, place)| place.given_up(now)).map(|(member, _)| *member).collect();
        late.into_iter().for_each(|(room, member)| {
            self.unseat(room, member, LeaveReason::Lost);
        });
    }
}
