//! Both ends of the control plane behind the framing, with a peer that says anything in any order.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use common::hub::{Hub, HubLimits, Output};
use common::ids::{ConnectionId, ControlId, KnockId, MemberId, RoomCode};
use common::session::{self, Purpose, Session};
use common::wire::control::{
    self, Action, Admission, CipherSuite, ClientMessage, Framer, Guest, MediaState, Member, PROTOCOL_VERSION, Reach,
    ServerMessage, Snapshot,
};
use common::wire::ticket::{ResumptionSecret, ServerRun, Ticket};

use super::{ENDLESS, Script};

/// The first byte chooses between a hub with hostile clients (even) and a session with a hostile server (odd). Then
/// come instructions.
///
/// # Panics
/// When somebody has a data plane without being in a room or the other way round, when an end says something without
/// end, or when a timer that is due stays due.
pub(super) fn run(bytes: &[u8]) {
    let mut script = Script(bytes);
    if script.byte() % 2 == 0 {
        let mut clients = HostileClients::new();
        while !script.0.is_empty() {
            clients.obey(&mut script);
        }
    } else {
        let mut server = HostileServer::new();
        while !script.0.is_empty() {
            server.obey(&mut script);
        }
    }
}

/// Bytes of a fuzzer as a message, when they are one.
fn message<M: control_message::Message>(script: &mut Script<'_>) -> Option<M> {
    let body = script.bytes(1_024);
    let mut framer = Framer::new();
    framer.push(&(body.len() as u32).to_be_bytes());
    framer.push(body);
    M::read(&mut framer)
}

/// The two directions as one.
mod control_message {
    use super::{ClientMessage, Framer, ServerMessage};

    pub(super) trait Message: Sized {
        fn read(framer: &mut Framer) -> Option<Self>;
    }

    impl Message for ClientMessage {
        fn read(framer: &mut Framer) -> Option<Self> {
            framer.next_message().ok().flatten()
        }
    }

    impl Message for ServerMessage {
        fn read(framer: &mut Framer) -> Option<Self> {
            framer.next_message().ok().flatten()
        }
    }
}

/// A hub and eight clients with a connection each, who remember the newest ticket they were given.
struct HostileClients {
    hub: Hub,
    now: Instant,
    code: RoomCode,
    /// The newest connection of each client.
    controls: [ControlId; 8],
    last_control: u64,
    tickets: BTreeMap<ControlId, Ticket>,
    planes: Vec<ConnectionId>,
}

impl HostileClients {
    fn new() -> Self {
        let limits = HubLimits { rooms: 2, members_per_room: 3, ..HubLimits::default() };
        Self {
            hub: Hub::with_limits([7; 32], true, limits),
            now: Instant::now(),
            code: RoomCode::new(0).expect("it has six digits"),
            controls: std::array::from_fn(|client| ControlId(client as u64)),
            last_control: 7,
            tickets: BTreeMap::new(),
            planes: Vec::new(),
        }
    }

    fn obey(&mut self, script: &mut Script<'_>) {
        let (what, who) = (script.byte(), script.byte());
        let control = self.controls[usize::from(who % 8)];
        match what % 8 {
            0 => self.connect(who % 8),
            1 => self.hub.handle_disconnected(self.now, control),
            2 => self.hub.handle_keyless(control),
            3 => {
                self.now += Duration::from_millis(u64::from(who) * 100);
                self.hub.handle_timeout(self.now);
            }
            4 => {
                let other = self.controls[usize::from(who / 8 % 8)];
                if let Some(ticket) = self.tickets.get(&other).copied() {
                    self.tickets.insert(control, ticket);
                    self.hear(control, ClientMessage::Resume(ticket));
                }
            }
            5 => self.hear(control, self.usual(who / 8)),
            6 => drop(self.hub.expel(common::ids::RoomId(1), MemberId(u16::from(who)))),
            _ => {
                if let Some(message) = message(script) {
                    self.hear(control, message);
                }
            }
        }
        self.drain();
    }

    /// The client gives its connection up for a new one.
    fn connect(&mut self, client: u8) {
        self.last_control += 1;
        let control = ControlId(self.last_control);
        let old = std::mem::replace(&mut self.controls[usize::from(client)], control);
        self.hub.handle_disconnected(self.now, old);
        if let Some(ticket) = self.tickets.remove(&old) {
            self.tickets.insert(control, ticket);
        }
        self.hub.handle_connected(self.now, control, IpAddr::from([10, 0, 0, client]));
        self.hear(control, ClientMessage::Hello { version: PROTOCOL_VERSION, aes: true });
    }

    fn usual(&self, which: u8) -> ClientMessage {
        match which % 6 {
            0 => ClientMessage::Create { name: format!("Host {which}") },
            1 => ClientMessage::Knock { code: self.code, name: format!("Guest {which}") },
            2 => ClientMessage::Act(Action::AdmitAll),
            3 => ClientMessage::Act(Action::End),
            4 => ClientMessage::Leave,
            _ => ClientMessage::Ping,
        }
    }

    fn hear(&mut self, control: ControlId, message: ClientMessage) {
        self.hub.handle_message(self.now, control, message);
    }

    fn drain(&mut self) {
        for _ in 0..ENDLESS {
            match self.hub.poll_output() {
                None => return assert_eq!(self.planes.len(), self.hub.occupancy().1, "one data plane a member"),
                Some(Output::Admit(grant)) => self.planes.push(grant.connection_id),
                Some(Output::Revoke(id)) => {
                    let place = self.planes.iter().position(|plane| *plane == id);
                    self.planes.swap_remove(place.expect("only what was given is taken away"));
                }
                Some(Output::Send(control, message)) => self.note(control, message),
                Some(Output::Close(_) | Output::Watch(..)) => {}
            }
        }
        panic!("the hub does not come to an end");
    }

    fn note(&mut self, control: ControlId, message: ServerMessage) {
        assert!(!control::encode(&message).is_empty());
        if let ServerMessage::Admitted(Admission { code, run, connection_id, secret, .. }) = message {
            self.code = code;
            self.tickets.insert(control, Ticket { run, connection_id, secret });
        } else if let ServerMessage::Resumed(Snapshot { secret, .. }) = message {
            let ticket = self.tickets.get_mut(&control).expect("it was shown");
            ticket.secret = secret;
        }
    }
}

/// A session, mostly of a member.
struct HostileServer {
    session: Session,
    now: Instant,
}

impl HostileServer {
    fn new() -> Self {
        let now = Instant::now();
        let code = RoomCode::new(7).expect("it has six digits");
        let mut session = Session::new(now, Purpose::Knock { code, name: "Bo".to_owned() }, true);
        session.handle_message(now, ServerMessage::Admitted(admission(code)));
        Self { session, now }
    }

    fn obey(&mut self, script: &mut Script<'_>) {
        let what = script.byte();
        match what % 9 {
            0 => self.session.handle_disconnected(self.now),
            1 => self.session.handle_connected(self.now),
            2 => self.session.handle_connect_failed(self.now),
            3 => self.wait(),
            4 => self.session.act(action(script.byte())),
            5 => self.session.suspect(self.now),
            8 => self.session.set_hears(script.byte().is_multiple_of(2)),
            6 => self.session.handle_message(self.now, ServerMessage::Resumed(snapshot(script.byte()))),
            _ => {
                if let Some(message) = message(script) {
                    self.session.handle_message(self.now, message);
                }
            }
        }
        let outputs = std::iter::from_fn(|| self.session.poll_output()).take(ENDLESS).count();
        assert!(outputs < ENDLESS, "the session does not come to an end");
    }

    /// Time passes until something is due.
    fn wait(&mut self) {
        let Some(due) = self.session.poll_timeout() else { return };
        self.now = self.now.max(due);
        self.session.handle_timeout(self.now);
        let over = |output| matches!(output, session::Output::Event(session::Event::Over(_)));
        let ended = std::iter::from_fn(|| self.session.poll_output()).any(over);
        let next = self.session.poll_timeout();
        assert!(ended || next.is_some_and(|next| next > self.now), "what was due is still due");
    }
}

fn admission(code: RoomCode) -> Admission {
    Admission {
        code,
        you: MemberId(1),
        connection_id: ConnectionId(5),
        suite: CipherSuite::Aes256Gcm,
        members: vec![member(1, true), member(2, false)],
        locked: false,
        run: ServerRun(1),
        secret: ResumptionSecret([1; ResumptionSecret::BYTES]),
    }
}

fn member(id: u8, host: bool) -> Member {
    let media = MediaState { camera: false, microphone: id.is_multiple_of(2) };
    Member {
        id: MemberId(u16::from(id)),
        name: format!("Member {id}"),
        host,
        media,
        away: id.is_multiple_of(3),
        reach: Reach::WHOLE,
    }
}

/// Rooms in which each bit says whether somebody is there.
fn snapshot(bits: u8) -> Snapshot {
    let set = |shift: u8| bits >> shift & 1 == 1;
    Snapshot {
        secret: ResumptionSecret([bits; ResumptionSecret::BYTES]),
        members: (0..4).filter(|id| set(*id)).map(|id| member(id, set(id + 1))).collect(),
        locked: set(4),
        knocks: (5..8)
            .filter(|id| set(*id))
            .map(|id| Guest { knock: KnockId(u32::from(id)), name: "Eve".into() })
            .collect(),
        wanted: set(5).then_some(bits),
    }
}

fn action(which: u8) -> Action {
    let (knock, member) = (KnockId(u32::from(which / 8)), MemberId(u16::from(which / 8)));
    match which % 7 {
        0 => Action::Admit(knock),
        1 => Action::AdmitAll,
        2 => Action::Deny(knock),
        3 => Action::End,
        4 => Action::Lock(which >= 128),
        5 => Action::Remove(member),
        _ => Action::RequestMute(member),
    }
}
