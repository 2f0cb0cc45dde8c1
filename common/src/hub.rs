//! The server's side of the control plane: every connection, every room, and who gets into which.
//!
//! A connection goes `Fresh → Greeted → Knocking → Seated`, or from `Greeted` straight to `Seated` as the host of a
//! new room. Whatever does not fit the state a connection is in closes it. Only that step to `Seated` makes a
//! connection id and, by [`Output::Admit`], keys and a route: before it a guest has nothing but a name at a door.
//! When the connection of a member breaks, the place is kept for a while, and another connection may go from
//! `Greeted` to `Seated` in it (`places`).

mod drain;
mod guessing;
mod knocks;
mod limits;
mod operator;
mod places;
mod shards;
mod statistics;
mod views;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::allowance::Allowance;
use crate::door::{Door, DoorLimits, Source};
use crate::ids::{ConnectionId, ControlId, KnockId, MemberId, RoomCode, RoomId};
use crate::limits::{CONTROL_IDLE_TIMEOUT, CONTROL_MESSAGE_BURST, CONTROL_MESSAGES_PER_SEC, HELLO_TIMEOUT};
use crate::names;
use crate::room::{Room, Seat};
use crate::wire::control::{
    Action, Admission, CipherSuite, ClientMessage, EndReason, LeaveReason, MediaState, PROTOCOL_VERSION, Reach,
    Refusal, ServerMessage,
};
use crate::wire::ticket::ServerRun;

pub use limits::HubLimits;
pub use operator::{MemberSummary, RoomSummary};
use places::{Place, Places};
use shards::Shards;
pub use statistics::{HubStatistics, Refusals};

/// What the shell has to do. The order matters: a member's keys are in place before the member hears of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Give this member a data plane: derive the keys from the TLS session of `control`, tell the relay.
    Admit(Grant),
    /// Write what is still to be written to this connection, then close it. It is forgotten here.
    Close(ControlId),
    /// Take this member's data plane away.
    Revoke(ConnectionId),
    /// Send this message.
    Send(ControlId, ServerMessage),
    /// From here on this member gets the video of these members, in the order of their ids, and of nobody else.
    Watch(ConnectionId, Vec<MemberId>),
}

/// A member's right to send and receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The control connection whose TLS session gives the keys.
    pub control: ControlId,
    /// The room whose members hear each other.
    pub room: RoomId,
    /// The member who sends and receives.
    pub member: MemberId,
    /// Names the data plane in each datagram.
    pub connection_id: ConnectionId,
    /// The cipher both ends use.
    pub suite: CipherSuite,
}

/// Every connection and every room of a server.
#[derive(Debug)]
pub struct Hub {
    rng: StdRng,
    run: ServerRun,
    aes: bool,
    limits: HubLimits,
    door: Door,
    connections: BTreeMap<ControlId, Connection>,
    places: Places,
    rooms: BTreeMap<RoomId, Room>,
    codes: BTreeMap<RoomCode, RoomId>,
    last_room: u32,
    outputs: VecDeque<Output>,
    next_tick: Option<Instant>,
    /// When a server that is to stop stops at the latest.
    drain_until: Option<Instant>,
    shards: Shards,
    statistics: HubStatistics,
}

#[derive(Debug)]
struct Connection {
    source: Source,
    state: State,
    heard: Instant,
    allowance: Allowance,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Fresh { since: Instant },
    Greeted { since: Instant, aes: bool },
    Knocking { room: RoomId, knock: KnockId, aes: bool },
    Seated { room: RoomId, member: MemberId, connection_id: ConnectionId },
}

impl Hub {
    /// A hub without rooms. `seed` must come from the operating system's random source: room codes and connection
    /// ids are drawn from it (ChaCha12). `aes` says whether this processor has AES instructions.
    pub fn new(seed: [u8; 32], aes: bool) -> Self {
        Self::with_limits(seed, aes, HubLimits::default())
    }

    /// The same with limits of its own.
    pub fn with_limits(seed: [u8; 32], aes: bool, limits: HubLimits) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let limits = limits.within_bounds();
        let (wrong_codes, wait) = (limits.wrong_codes_per_source as u32, limits.wrong_code_wait);
        Self {
            run: ServerRun(rng.random()),
            rng,
            aes,
            limits,
            door: Door::new(DoorLimits { wrong_codes, wait }),
            connections: BTreeMap::new(),
            places: Places::default(),
            rooms: BTreeMap::new(),
            codes: BTreeMap::new(),
            last_room: 0,
            outputs: VecDeque::new(),
            next_tick: None,
            drain_until: None,
            shards: Shards::new(limits.shards),
            statistics: HubStatistics::default(),
        }
    }

    /// The next thing to do, or `None` when all is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Hub::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let idle = self.connections.is_empty() && self.places.is_empty();
        self.next_tick.filter(|_| !idle).into_iter().chain(self.drain_until).min()
    }

    /// How many rooms there are, and how many members in all of them.
    pub fn occupancy(&self) -> (usize, usize) {
        (self.rooms.len(), self.rooms.values().map(|room| room.members().len()).sum())
    }

    /// What was counted since the hub began.
    pub fn statistics(&self) -> HubStatistics {
        HubStatistics { door: self.door.statistics(), ..self.statistics }
    }

    /// A connection finished its TLS handshake.
    pub fn handle_connected(&mut self, now: Instant, control: ControlId, address: IpAddr) {
        let connection = Connection {
            source: address.into(),
            state: State::Fresh { since: now },
            heard: now,
            allowance: Allowance::new(now, CONTROL_MESSAGE_BURST, CONTROL_MESSAGES_PER_SEC),
        };
        self.connections.insert(control, connection);
        self.next_tick.get_or_insert(now + TICK);
    }

    /// A connection is gone, or did not keep to the protocol. A member's place is kept for [`RECONNECT_GRACE`].
    ///
    /// [`RECONNECT_GRACE`]: crate::limits::RECONNECT_GRACE
    pub fn handle_disconnected(&mut self, now: Instant, control: ControlId) {
        match self.connections.get(&control).map(|connection| connection.state) {
            Some(State::Seated { .. }) => self.keep_place(now, control),
            Some(State::Fresh { .. } | State::Greeted { .. } | State::Knocking { .. }) | None => {
                self.depart(control, LeaveReason::Lost);
            }
        }
    }

    /// What [`Output::Admit`] asked for cannot be done: the member is out again.
    pub fn handle_keyless(&mut self, control: ControlId) {
        self.depart(control, LeaveReason::Lost);
    }

    /// A connection sent a message.
    pub fn handle_message(&mut self, now: Instant, control: ControlId, message: ClientMessage) {
        let Some(connection) = self.connections.get_mut(&control) else {
            return;
        };
        connection.heard = now;
        if !connection.allowance.take(now, 1) {
            return self.drop_connection(control);
        }
        let state = connection.state;
        if let State::Seated { room, member, .. } = state {
            self.confirm(room, member);
        }
        match (state, message) {
            (State::Fresh { since }, ClientMessage::Hello { version, aes }) => {
                self.greet(control, since, version, aes);
            }
            (State::Greeted { aes, .. }, ClientMessage::Create { name }) => self.create(now, control, &name, aes),
            (State::Greeted { aes, .. }, ClientMessage::Knock { code, name }) => {
                self.knock(now, control, code, &name, aes);
            }
            (State::Greeted { .. }, ClientMessage::Resume(ticket)) => self.resume(now, control, &ticket),
            (State::Seated { room, member, .. }, ClientMessage::Act(action)) => {
                self.act(now, control, room, member, action);
            }
            (State::Seated { room, member, .. }, ClientMessage::SetMedia(media)) => {
                self.set_media(room, member, media);
            }
            (State::Seated { room, member, connection_id }, ClientMessage::Watch(views)) => {
                self.set_views(room, member, connection_id, &views);
            }
            (State::Seated { room, member, .. }, ClientMessage::SetHears(hears)) => {
                self.change_reach(room, member, |reach| reach.hears = hears);
            }
            (State::Knocking { .. } | State::Seated { .. }, ClientMessage::Ping) => {
                self.send(control, ServerMessage::Pong);
            }
            (State::Knocking { .. } | State::Seated { .. }, ClientMessage::Leave) => self.leave(control),
            _ => self.drop_connection(control),
        }
    }

    /// Looks for what took too long; to be called when [`Hub::poll_timeout`] says so.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next_tick.is_none_or(|tick| now < tick) {
            return;
        }
        self.next_tick = Some(now + TICK);
        let late = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        let overdue: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| match connection.state {
                State::Fresh { since } | State::Greeted { since, .. } => late(since, HELLO_TIMEOUT),
                State::Knocking { .. } | State::Seated { .. } => late(connection.heard, CONTROL_IDLE_TIMEOUT),
            })
            .map(|(control, _)| *control)
            .collect();
        for control in overdue {
            self.outputs.push_back(Output::Close(control));
            self.handle_disconnected(now, control);
        }
        self.expire_knocks(now);
        self.expire_places(now);
    }

    /// Tells everybody that the server stops, and closes all connections.
    pub fn stop(&mut self) {
        for (control, connection) in std::mem::take(&mut self.connections) {
            if let State::Seated { .. } | State::Knocking { .. } = connection.state {
                self.send(control, ServerMessage::Ended(EndReason::ServerStopped));
            }
            self.outputs.push_back(Output::Close(control));
        }
        self.places.clear();
        self.rooms.clear();
        self.codes.clear();
        self.shards.clear();
    }

    fn greet(&mut self, control: ControlId, since: Instant, version: u16, aes: bool) {
        if version == PROTOCOL_VERSION {
            self.set_state(control, State::Greeted { since, aes });
        } else {
            self.refuse(control, Refusal::VersionMismatch { server: PROTOCOL_VERSION });
        }
    }

    fn create(&mut self, now: Instant, control: ControlId, name: &str, aes: bool) {
        match self.open_room(now, control, name) {
            Ok(room) => self.seat(now, control, room, MemberId(1), aes),
            Err(refusal) => self.refuse(control, refusal),
        }
    }

    fn open_room(&mut self, now: Instant, control: ControlId, name: &str) -> Result<RoomId, Refusal> {
        if self.draining() {
            return Err(Refusal::Draining);
        }
        let name = names::clean_name(name).filter(|name| !names::is_reserved(name)).ok_or(Refusal::NameInvalid)?;
        if self.rooms_of_source(control) >= self.limits.rooms_per_source {
            return Err(Refusal::TooManyRooms);
        }
        if self.rooms.len() >= self.limits.rooms {
            return Err(Refusal::ServerFull);
        }
        let code = self.draw_code();
        self.last_room += 1;
        let id = RoomId(self.last_room);
        let shard = self.shards.choose().ok_or(Refusal::ServerFull)?;
        let host = Seat { name, media: MediaState::default(), since: now, away: false, reach: Reach::WHOLE };
        self.rooms.insert(id, Room::new(code, host, self.limits.members_per_room));
        self.codes.insert(code, id);
        self.shards.open(shard, id);
        self.statistics.rooms_opened += 1;
        Ok(id)
    }

    /// Rooms whose host connects, or connected last, from where `control` does.
    fn rooms_of_source(&self, control: ControlId) -> usize {
        let own = self.connections.get(&control).map(|connection| connection.source);
        let host = |(id, room): (&RoomId, &Room)| self.places.of(*id, room.host()).map(|place| place.source);
        self.rooms.iter().filter(|room| host(*room) == own).count()
    }

    /// A code no room has. At most [`crate::limits::ROOMS_MAX`] of a million are taken, so this ends soon.
    fn draw_code(&mut self) -> RoomCode {
        loop {
            let code = RoomCode::new(self.rng.random_range(0..RoomCode::COUNT)).expect("the range is that of codes");
            if !self.codes.contains_key(&code) {
                return code;
            }
        }
    }

    /// Gives a member who is in the room's list everything that goes with it, and tells everybody.
    fn seat(&mut self, now: Instant, control: ControlId, room: RoomId, member: MemberId, aes: bool) {
        let suite = if aes && self.aes { CipherSuite::Aes256Gcm } else { CipherSuite::ChaCha20Poly1305 };
        let connection_id = self.draw_connection_id(room);
        let secret = self.draw_secret();
        let Some(source) = self.connections.get(&control).map(|connection| connection.source) else { return };
        self.places.insert(room, member, Place::new(now, control, source, connection_id, secret));
        self.set_state(control, State::Seated { room, member, connection_id });
        self.outputs.push_back(Output::Admit(Grant { control, room, member, connection_id, suite }));
        let Some((admission, newcomer)) = self.rooms.get(&room).and_then(|place| {
            let (code, locked, members, run) = (place.code(), place.locked(), place.roster(), self.run);
            let admission = Admission { code, you: member, connection_id, suite, members, locked, run, secret };
            Some((admission, place.member(member)?))
        }) else {
            return;
        };
        self.send(control, ServerMessage::Admitted(admission));
        self.tell_of_drain(now, control);
        self.tell_others(room, member, &ServerMessage::MemberJoined(newcomer));
        self.tell_wanted(room);
    }

    fn act(&mut self, now: Instant, control: ControlId, room: RoomId, actor: MemberId, action: Action) {
        let allowed = self.rooms.get(&room).is_some_and(|place| place.may(actor, action));
        if !allowed || !self.perform(now, room, action) {
            self.send(control, ServerMessage::NotAllowed(action));
        }
    }

    /// Does what [`Room::may`] allowed; answers `false` when what it names is not there.
    fn perform(&mut self, now: Instant, room: RoomId, action: Action) -> bool {
        match action {
            Action::Admit(knock) => self.admit(now, room, knock),
            Action::AdmitAll => {
                let waiting: Vec<_> =
                    self.rooms.get(&room).map(|place| place.knocks().keys().copied().collect()).unwrap_or_default();
                waiting.into_iter().for_each(|knock| {
                    self.admit(now, room, knock);
                });
                true
            }
            Action::Deny(knock) => {
                let denied = self.rooms.get_mut(&room).and_then(|place| place.deny(now, knock));
                denied.is_some_and(|denied| self.turn_away(room, knock, denied.control, Refusal::Denied))
            }
            Action::End => {
                self.end(room, EndReason::EndedByHost);
                true
            }
            Action::Lock(locked) => {
                if let Some(place) = self.rooms.get_mut(&room) {
                    place.set_locked(locked);
                }
                self.tell_all(room, &ServerMessage::Locked(locked));
                true
            }
            Action::Remove(member) => self.remove(room, member, EndReason::Removed),
            Action::RequestMute(member) => self.request_mute(room, member),
        }
    }

    fn admit(&mut self, now: Instant, room: RoomId, knock: KnockId) -> bool {
        if let Some(away) = self.rooms.get(&room).and_then(|place| place.returns_as(knock)) {
            self.unseat(room, away, LeaveReason::Lost);
        }
        let Some(place) = self.rooms.get_mut(&room) else {
            return false;
        };
        let control = place.knocks().get(&knock).map(|knock| knock.control);
        match place.admit(now, knock) {
            None => return false,
            Some(Err((guest, refusal))) => {
                return self.turn_away(room, knock, guest.control, refusal);
            }
            Some(Ok(member)) => {
                self.statistics.admissions += 1;
                if let Some(control) = control {
                    let aes = matches!(
                        self.connections.get(&control),
                        Some(Connection { state: State::Knocking { aes: true, .. }, .. })
                    );
                    self.seat(now, control, room, member, aes);
                }
            }
        }
        self.tell_host(room, ServerMessage::KnockGone(knock));
        true
    }

    fn remove(&mut self, room: RoomId, member: MemberId, reason: EndReason) -> bool {
        if let Some(control) = self.control_of(room, member) {
            self.send(control, ServerMessage::Ended(reason));
            self.outputs.push_back(Output::Close(control));
            self.connections.remove(&control);
        }
        self.unseat(room, member, LeaveReason::Removed)
    }

    fn leave(&mut self, control: ControlId) {
        self.outputs.push_back(Output::Close(control));
        self.depart(control, LeaveReason::Left);
    }

    fn drop_connection(&mut self, control: ControlId) {
        self.outputs.push_back(Output::Close(control));
        self.depart(control, LeaveReason::Lost);
    }

    /// Forgets a connection and everything that hung on it.
    fn depart(&mut self, control: ControlId, reason: LeaveReason) {
        let Some(connection) = self.connections.remove(&control) else {
            return;
        };
        match connection.state {
            State::Fresh { .. } | State::Greeted { .. } => {}
            State::Knocking { room, knock, .. } => {
                if let Some(place) = self.rooms.get_mut(&room) {
                    place.forget_knock(knock);
                }
                self.tell_host(room, ServerMessage::KnockGone(knock));
            }
            State::Seated { room, member, .. } => {
                self.unseat(room, member, reason);
            }
        }
    }

    /// Takes a member's place away; answers `false` when there is no such member.
    fn unseat(&mut self, room: RoomId, member: MemberId, reason: LeaveReason) -> bool {
        let Some(place) = self.places.remove(room, member) else {
            return false;
        };
        self.outputs.push_back(Output::Revoke(place.connection_id));
        self.vacate(room, member, reason);
        true
    }

    fn vacate(&mut self, room: RoomId, member: MemberId, reason: LeaveReason) {
        let Some(place) = self.rooms.get_mut(&room) else {
            return;
        };
        let successor = place.remove(member);
        if place.members().is_empty() {
            return self.end(room, EndReason::EndedByHost);
        }
        self.tell_all(room, &ServerMessage::MemberLeft { member, reason });
        self.tell_wanted(room);
        if let Some(host) = successor {
            self.tell_all(room, &ServerMessage::HostChanged(host));
            self.tell_of_knocks(room);
        }
    }

    fn end(&mut self, room: RoomId, reason: EndReason) {
        let Some(place) = self.rooms.remove(&room) else {
            return;
        };
        self.codes.remove(&place.code());
        self.shards.close(room);
        for knock in place.knocks().values() {
            self.refuse(knock.control, Refusal::RoomEnded);
        }
        for place in self.places.remove_room(room) {
            if let Some(control) = place.control() {
                self.send(control, ServerMessage::Ended(reason));
                self.outputs.push_back(Output::Close(control));
                self.connections.remove(&control);
            }
            self.outputs.push_back(Output::Revoke(place.connection_id));
        }
    }

    fn set_media(&mut self, room: RoomId, member: MemberId, media: MediaState) {
        if let Some(place) = self.rooms.get_mut(&room) {
            place.set_media(member, media);
        }
        self.tell_others(room, member, &ServerMessage::MediaChanged { member, media });
    }

    /// The relay hears this member's datagrams from here on, or does not.
    pub fn handle_heard(&mut self, connection: ConnectionId, heard: bool) {
        if let Some((room, member)) = self.places.of_connection(connection) {
            self.change_reach(room, member, |reach| reach.heard = heard);
        }
    }

    /// Tells everybody, the member too: it does not know by itself whether the server hears it.
    fn change_reach(&mut self, room: RoomId, member: MemberId, change: impl FnOnce(&mut Reach)) {
        let changed = self.rooms.get_mut(&room).and_then(|place| place.change_reach(member, change));
        if let Some(reach) = changed {
            self.tell_all(room, &ServerMessage::ReachChanged { member, reach });
        }
    }

    fn set_state(&mut self, control: ControlId, state: State) {
        if let Some(connection) = self.connections.get_mut(&control) {
            connection.state = state;
        }
    }

    /// The connection of a member who is in and not away.
    fn control_of(&self, room: RoomId, member: MemberId) -> Option<ControlId> {
        self.places.of(room, member)?.control()
    }

    fn refuse(&mut self, control: ControlId, refusal: Refusal) {
        self.statistics.refusals.count(refusal);
        self.connections.remove(&control);
        self.send(control, ServerMessage::Refused(refusal));
        self.outputs.push_back(Output::Close(control));
    }

    fn send(&mut self, control: ControlId, message: ServerMessage) {
        self.outputs.push_back(Output::Send(control, message));
    }

    fn tell_host(&mut self, room: RoomId, message: ServerMessage) {
        let host = self.rooms.get(&room).map(Room::host);
        if let Some(control) = host.and_then(|host| self.control_of(room, host)) {
            self.send(control, message);
        }
    }

    fn tell_all(&mut self, room: RoomId, message: &ServerMessage) {
        self.tell_others(room, MemberId::SERVER, message);
    }

    fn tell_others(&mut self, room: RoomId, except: MemberId, message: &ServerMessage) {
        let others = self.places.of_room(room).filter(|(id, _)| *id != except);
        let controls = others.filter_map(|(_, place)| place.control());
        self.outputs.extend(controls.map(|control| Output::Send(control, message.clone())));
    }
}

/// How often overdue connections and knocks are looked for; a deadline is kept to within this.
const TICK: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests;
