//! The server's cores and all participants, driven from event to event in virtual time.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use common::endpoint::Endpoint;
use common::hub::{self, Hub};
use common::ids::{ConnectionId, ControlId, RoomCode};
use common::limits::DATAGRAM_MAX_BYTES;
use common::link::LinkConfig;
use common::relay::{Relay, RelayLimits};
use common::seal::{Secret, Secrets};
use common::session::{self, Purpose, Session};
use common::wire::control::{self, Action, ClientMessage, Framer, ServerMessage};

use crate::line::{Line, Way};
use crate::participant::Participant;
use crate::spool::Spool;

/// A server and everybody who connected to it.
#[derive(Debug)]
pub struct Meeting {
    /// Virtual now.
    pub now: Instant,
    /// Control plane of the server.
    pub hub: Hub,
    /// Data plane of the server.
    pub relay: Relay,
    /// Disk of the server.
    pub spool: Spool,
    /// Everybody, in the order they connected.
    pub participants: Vec<Participant>,
    /// Time moves by at least this: what happens closer together happens at once.
    pub step: Duration,
    /// A line that some of them share, in place of the paths of their own.
    pub line: Option<Line>,
    path: LinkConfig,
    seed: u64,
    /// Bytes on control connections: when they arrive, in which order they were written, at whom.
    control: BTreeMap<(Instant, u64), Parcel>,
    parcels: u64,
    framers: BTreeMap<ControlId, Framer>,
    codes: BTreeMap<ControlId, RoomCode>,
    /// Control connections and whose they are, the broken ones not.
    owners: BTreeMap<ControlId, usize>,
    last_control: u64,
    /// Whoever dials before this moment gets no connection.
    unreachable: BTreeMap<usize, Instant>,
}

/// How a control connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// Both ends notice at once.
    Both,
    /// The client notices; the server believes in it until it hears nothing for too long.
    Client,
    /// Neither end notices: bytes go nowhere.
    Neither,
    /// The server notices; the client finds out by asking.
    Server,
}

#[derive(Debug)]
enum Parcel {
    ToClient(ControlId, Vec<u8>),
    ToServer(ControlId, Vec<u8>),
}

impl Meeting {
    /// A server without rooms; everybody reaches it by a path like `path`.
    pub fn new(path: LinkConfig, seed: u64) -> Self {
        // Virtual time begins somewhere; only differences matter.
        let now = Instant::now();
        let mut hub_seed = [0; 32];
        hub_seed[..8].copy_from_slice(&seed.to_be_bytes());
        Self {
            now,
            hub: Hub::new(hub_seed, true),
            relay: Relay::new(now),
            spool: Spool::default(),
            participants: Vec::new(),
            step: STEP,
            line: None,
            path,
            seed,
            control: BTreeMap::new(),
            parcels: 0,
            framers: BTreeMap::new(),
            codes: BTreeMap::new(),
            owners: BTreeMap::new(),
            last_control: 0,
            unreachable: BTreeMap::new(),
        }
    }

    /// The code of the first host's room.
    ///
    /// # Panics
    /// When nobody hosts.
    pub fn code(&self) -> RoomCode {
        self.codes.values().next().copied().expect("somebody hosts")
    }

    /// Whether bytes reach the other end of a participant's control connection.
    pub fn connected(&self, index: usize) -> bool {
        self.owners.contains_key(&self.participants[index].control)
    }

    /// Breaks the control connection of a participant, who gets no other one for `time`.
    pub fn cut(&mut self, index: usize, how: Break, time: Duration) {
        self.settle();
        let control = self.participants[index].control;
        self.unreachable.insert(index, self.now + time);
        if self.owners.remove(&control).is_none() {
            return;
        }
        if let Break::Both | Break::Server = how {
            self.hub.handle_disconnected(self.now, control);
            self.drain_hub();
        }
        if let Break::Both | Break::Client = how {
            self.participants[index].session.handle_disconnected(self.now);
        }
    }

    /// A participant dials again.
    fn redial(&mut self, index: usize) {
        self.owners.remove(&self.participants[index].control);
        if self.unreachable.get(&index).is_some_and(|until| self.now < *until) {
            return self.participants[index].session.handle_connect_failed(self.now);
        }
        self.open_control(index);
        self.participants[index].framer = Framer::new();
        self.participants[index].session.handle_connected(self.now);
    }

    fn open_control(&mut self, index: usize) {
        self.last_control += 1;
        let control = ControlId(self.last_control);
        let participant = &mut self.participants[index];
        participant.control = control;
        self.hub.handle_connected(self.now, control, participant.address.ip());
        self.framers.insert(control, Framer::new());
        self.owners.insert(control, index);
    }

    /// A server that spools so many bytes of files for a room; to be called before anybody is in.
    pub fn limit_spool(&mut self, spool_room_bytes: u64) {
        self.relay = Relay::with_limits(self.now, RelayLimits { spool_room_bytes, ..RelayLimits::default() });
    }

    /// Somebody starts a meeting; answers where in the list of participants and the room's code.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn host(&mut self, name: &str) -> (usize, RoomCode) {
        let index = self.connect(name, Purpose::Create { name: name.to_owned() });
        assert!(self.run_until(Duration::from_secs(5), |meeting| { meeting.participants[index].endpoint.is_some() }));
        let code = self.hub_code(index);
        (index, code)
    }

    fn hub_code(&self, index: usize) -> RoomCode {
        self.codes.get(&self.participants[index].control).copied().expect("a host is told the code")
    }

    /// Somebody knocks.
    pub fn knock(&mut self, name: &str, code: RoomCode) -> usize {
        self.connect(name, Purpose::Knock { code, name: name.to_owned() })
    }

    /// Somebody knocks and is let in by participant 0.
    ///
    /// # Panics
    /// When that does not happen within five seconds.
    pub fn join(&mut self, name: &str, code: RoomCode) -> usize {
        let index = self.knock(name, code);
        assert!(self.run_until(Duration::from_secs(5), |meeting| { !meeting.participants[0].seen.knocks.is_empty() }));
        self.participants[0].session.act(Action::AdmitAll);
        assert!(self.run_until(Duration::from_secs(5), |meeting| { meeting.participants[index].endpoint.is_some() }));
        index
    }

    fn connect(&mut self, name: &str, purpose: Purpose) -> usize {
        let number = self.participants.len() as u64 + 1;
        let session = Session::new(self.now, purpose, true);
        let participant = Participant::new(self.now, number, name, session, self.path, self.seed);
        self.participants.push(participant);
        let index = self.participants.len() - 1;
        self.open_control(index);
        index
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Lets time pass until something is so; answers whether it came to be within `longest`.
    pub fn run_until(&mut self, longest: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + longest;
        loop {
            self.settle();
            if done(self) {
                return true;
            }
            match self.next_event() {
                Some(next) if next <= end => self.now = next.max(self.now + self.step),
                _ => {
                    self.now = end;
                    return false;
                }
            }
        }
    }

    fn next_event(&self) -> Option<Instant> {
        let participants = self.participants.iter().flat_map(|participant| {
            [
                participant.poll_timeout(),
                participant.session.poll_timeout(),
                participant.up.poll_timeout(),
                participant.down.poll_timeout(),
            ]
        });
        let server = [self.hub.poll_timeout(), self.relay.poll_timeout()];
        let control = self.control.first_key_value().map(|((at, _), _)| *at);
        let line = self.line.as_ref().and_then(Line::poll_timeout);
        participants.chain(server).flatten().chain(control).chain(line).min()
    }

    /// A participant vanishes for good: the server finds out on the control plane, and keeps the place for a while.
    pub fn kill(&mut self, index: usize) {
        self.cut(index, Break::Server, NEVER);
        self.participants[index].endpoint = None;
    }

    /// Everything that happens at this instant.
    fn settle(&mut self) {
        self.deliver_control();
        self.hub.handle_timeout(self.now);
        self.drain_hub();
        self.deliver_line();
        for index in 0..self.participants.len() {
            self.advance(index);
        }
        self.relay.handle_timeout(self.now);
        while let Some((connection, heard)) = self.relay.poll_hearing() {
            self.hub.handle_heard(connection, heard);
        }
        self.drain_hub();
        self.spool.serve(self.now, &mut self.relay);
        self.drain_relay();
    }

    fn deliver_control(&mut self) {
        while let Some(entry) = self.control.first_entry().filter(|entry| entry.key().0 <= self.now) {
            match entry.remove() {
                Parcel::ToServer(control, bytes) => self.handle_client_bytes(control, &bytes),
                Parcel::ToClient(control, bytes) => self.handle_server_bytes(control, &bytes),
            }
        }
    }

    fn handle_client_bytes(&mut self, control: ControlId, bytes: &[u8]) {
        if !self.owners.contains_key(&control) {
            return;
        }
        let framer = self.framers.get_mut(&control).expect("every connection has a framer");
        framer.push(bytes);
        while let Some(message) = framer.next_message::<ClientMessage>().expect("the client speaks the protocol") {
            self.hub.handle_message(self.now, control, message);
        }
        self.drain_hub();
    }

    fn handle_server_bytes(&mut self, control: ControlId, bytes: &[u8]) {
        let now = self.now;
        let Some(index) = self.owners.get(&control).copied() else {
            return;
        };
        let participant = &mut self.participants[index];
        participant.framer.push(bytes);
        while let Some(message) =
            participant.framer.next_message::<ServerMessage>().expect("the server speaks the protocol")
        {
            participant.session.handle_message(now, message);
        }
    }

    fn drain_hub(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            match output {
                hub::Output::Admit(grant) => {
                    self.relay.admit(self.now, grant, &secrets(grant.connection_id));
                }
                hub::Output::Revoke(connection) => self.relay.revoke(connection),
                hub::Output::Watch(connection, members) => self.relay.watch(self.now, connection, members),
                hub::Output::Send(control, message) => {
                    if let ServerMessage::Admitted(admission) = &message {
                        self.codes.insert(control, admission.code);
                    }
                    self.post(Parcel::ToClient(control, control::encode(&message)));
                }
                // Who was told the end closes; who was taken over from finds out.
                hub::Output::Close(_) => {}
            }
        }
    }

    /// A control connection takes the path's delay and loses nothing.
    fn post(&mut self, parcel: Parcel) {
        self.parcels += 1;
        self.control.insert((self.now + self.path.delay, self.parcels), parcel);
    }

    fn advance(&mut self, index: usize) {
        let now = self.now;
        let participant = &mut self.participants[index];
        if participant.session.poll_timeout().is_some_and(|timeout| now >= timeout) {
            participant.session.handle_timeout(now);
        }
        while let Some(mut datagram) = participant.down.poll(now) {
            if !participant.ways.hears {
                continue;
            }
            participant.seen.datagrams += 1;
            if let Some(endpoint) = &mut participant.endpoint {
                endpoint.handle_datagram(now, &mut datagram);
            }
        }
        participant.advance(now);
        self.drain_session(index);
        self.transmit(index);
    }

    /// What came over the shared line, both ways.
    fn deliver_line(&mut self) {
        let Some(line) = &mut self.line else { return };
        line.advance(self.now);
        while let Some((member, mut datagram)) = line.poll(self.now, Way::Up) {
            self.relay.handle_datagram(self.now, self.participants[member].address, &mut datagram);
        }
        while let Some((member, mut datagram)) = line.poll(self.now, Way::Down) {
            let endpoint = self.participants[member].endpoint.as_mut();
            endpoint.into_iter().for_each(|endpoint| endpoint.handle_datagram(self.now, &mut datagram));
        }
    }

    fn shared_line(&mut self, index: usize) -> Option<&mut Line> {
        self.line.as_mut().filter(|line| line.members.contains(&index))
    }

    fn drain_session(&mut self, index: usize) {
        while let Some(output) = self.participants[index].session.poll_output() {
            let participant = &mut self.participants[index];
            match output {
                session::Output::Connect => self.redial(index),
                session::Output::Send(message) => {
                    let parcel = Parcel::ToServer(participant.control, control::encode(&message));
                    self.post(parcel);
                }
                session::Output::Event(event) => {
                    if let session::Event::Admitted(admission) = &event {
                        let (id, suite) = (admission.connection_id, admission.suite);
                        participant.connection = Some(id);
                        participant.endpoint = Some(Endpoint::new(self.now, admission.you, id, suite, &secrets(id)));
                    }
                    participant.handle_session_event(self.now, event);
                }
            }
        }
    }

    /// What a client sends goes onto its path, and what arrived from there to the relay.
    fn transmit(&mut self, index: usize) {
        let now = self.now;
        let participant = &mut self.participants[index];
        let mut buffer = [0; DATAGRAM_MAX_BYTES];
        let mut endpoint = participant.endpoint.take();
        while let Some(bytes) = endpoint.as_mut().and_then(|endpoint| endpoint.poll_transmit(now, &mut buffer)) {
            match self.shared_line(index) {
                None => self.participants[index].up.send(now, buffer[..bytes].to_vec()),
                Some(line) => line.send(now, Way::Up, index, &buffer[..bytes]),
            }
        }
        let participant = &mut self.participants[index];
        participant.endpoint = endpoint;
        while let Some(mut datagram) = participant.up.poll(now) {
            if !participant.ways.heard {
                continue;
            }
            self.relay.handle_datagram(now, participant.address, &mut datagram);
        }
    }

    fn drain_relay(&mut self) {
        let mut buffer = [0; DATAGRAM_MAX_BYTES];
        while let Some(transmit) = self.relay.poll_transmit(self.now, &mut buffer) {
            if let Some(participant) = self.at(transmit.to) {
                let now = self.now;
                let datagram = &buffer[..transmit.bytes];
                match self.shared_line(participant) {
                    None => self.participants[participant].down.send(now, datagram.to_vec()),
                    Some(line) => line.send(now, Way::Down, participant, datagram),
                }
            }
        }
    }

    fn at(&self, address: SocketAddr) -> Option<usize> {
        let IpAddr::V4(ip) = address.ip() else {
            return None;
        };
        let index = usize::from(ip.octets()[3]).checked_sub(1)?;
        self.participants.get(index).is_some_and(|participant| participant.address == address).then_some(index)
    }
}

/// Longer than any meeting of a test.
const NEVER: Duration = Duration::from_secs(86_400);

/// What [`Meeting::step`] is unless told otherwise. A datagram of 1,200 bytes takes as
/// long at 10 Mbit/s.
const STEP: Duration = Duration::from_millis(1);

/// Stands in for the TLS exporter: both ends get the same bytes, each connection others.
pub fn secrets(connection: ConnectionId) -> Secrets {
    let export = |context: &[u8]| {
        let mut bytes = [0; Secret::BYTES];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = context[index % context.len()] ^ index as u8;
        }
        Ok::<_, std::convert::Infallible>(bytes)
    };
    let Ok(secrets) = Secrets::derive(connection, export);
    secrets
}
