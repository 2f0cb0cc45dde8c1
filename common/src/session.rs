//! The client's side of the control plane: one connection, from saying hello to being in, and what is heard there.
//!
//! ```text
//! Asking ──Knocking──▶ Waiting ──Admitted──▶ Seated ──Ended, lost or left──▶ Over
//!    └────────────────Admitted───────────────▲
//!    └──Refused──▶ Over ◀──Refused──┘
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Instant;

use crate::ids::{KnockId, MemberId, RoomCode};
use crate::limits::{CONTROL_IDLE_TIMEOUT, CONTROL_PING_INTERVAL};
use crate::media::ladder::Rung;
use crate::wire::control::{
    Action, Admission, ClientMessage, EndReason, LeaveReason, MediaState, Member, Notice, PROTOCOL_VERSION, Refusal,
    ServerMessage, View,
};

/// What a session is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Opens a room and is its host.
    Create {
        /// Display name.
        name: String,
    },
    /// Asks to be let into a room.
    Knock {
        /// Which room.
        code: RoomCode,
        /// Display name.
        name: String,
    },
}

/// What the shell has to do or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Something happened.
    Event(Event),
    /// Send this to the server.
    Send(ClientMessage),
}

/// What happened in the room, or at its door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// We are in: derive the keys and start the endpoint.
    Admitted(Admission),
    /// The host role passed on.
    HostChanged(MemberId),
    /// To the host: a guest is at the door.
    KnockArrived {
        /// Names the knock.
        knock: KnockId,
        /// Display name.
        name: String,
    },
    /// To the host: a guest no longer waits.
    KnockGone(KnockId),
    /// The knock is at the door.
    Knocking,
    /// The door was locked or opened.
    Locked(bool),
    /// A member's devices were turned on or off.
    MediaChanged {
        /// Whose.
        member: MemberId,
        /// As they are now.
        media: MediaState,
    },
    /// Somebody came in.
    MemberJoined(Member),
    /// Somebody is gone.
    MemberLeft {
        /// Who.
        member: MemberId,
        /// Why.
        reason: LeaveReason,
    },
    /// The host asks us to mute.
    MuteRequested,
    /// The server would not do what we asked for.
    NotAllowed(Action),
    /// Something about the server that concerns everybody on it.
    Notice(Notice),
    /// It is over; close the connection.
    Over(Over),
    /// The largest picture of ours that anybody has use for; `None` when nobody looks.
    VideoWanted(Option<Rung>),
}

/// Why a session is over. `Display` is the sentence a person reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The meeting ended for us.
    Ended(EndReason),
    /// We left.
    Left,
    /// The connection broke, or the server fell silent.
    Lost,
    /// We did not get in.
    Refused(Refusal),
    /// The server said what makes no sense here.
    Violated,
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(reason) => reason.fmt(f),
            Self::Left => f.write_str("You left the meeting."),
            Self::Lost => f.write_str("The connection to the server was lost."),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Violated => f.write_str("The server does not speak this program's protocol."),
        }
    }
}

/// One connection to a server, and the room behind it.
#[derive(Debug)]
pub struct Session {
    state: State,
    members: BTreeMap<MemberId, Member>,
    you: Option<MemberId>,
    heard: Instant,
    next_ping: Instant,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Asking,
    Over,
    Seated,
    Waiting,
}

impl Session {
    /// A session on a connection that was just made. `aes` says whether this processor has AES instructions.
    pub fn new(now: Instant, purpose: Purpose, aes: bool) -> Self {
        let ask = match purpose {
            Purpose::Create { name } => ClientMessage::Create { name },
            Purpose::Knock { code, name } => ClientMessage::Knock { code, name },
        };
        let hello = ClientMessage::Hello { version: PROTOCOL_VERSION, aes };
        Self {
            state: State::Asking,
            members: BTreeMap::new(),
            you: None,
            heard: now,
            next_ping: now + CONTROL_PING_INTERVAL,
            outputs: [hello, ask].map(Output::Send).into(),
        }
    }

    /// The next thing to do or to know, or `None` when there is nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Session::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let lost = self.heard + CONTROL_IDLE_TIMEOUT;
        (self.state != State::Over).then(|| lost.min(self.next_ping))
    }

    /// Everybody in the room, ourselves included; empty before admission.
    pub fn members(&self) -> &BTreeMap<MemberId, Member> {
        &self.members
    }

    /// Our own id, once we are in.
    pub fn you(&self) -> Option<MemberId> {
        self.you
    }

    /// Says that we are there, and notices when the server is not.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.state == State::Over {
            return;
        }
        if now >= self.heard + CONTROL_IDLE_TIMEOUT {
            return self.finish(Over::Lost);
        }
        if now >= self.next_ping {
            self.next_ping = now + CONTROL_PING_INTERVAL;
            // Before the server knows what we want there is no one to be alive for.
            if self.state != State::Asking {
                self.send(ClientMessage::Ping);
            }
        }
    }

    /// The connection broke.
    pub fn handle_disconnected(&mut self) {
        self.finish(Over::Lost);
    }

    /// The server did not keep to the protocol.
    pub fn handle_malformed(&mut self) {
        self.finish(Over::Violated);
    }

    /// Asks for something to be done; the server decides. Without effect before we are in.
    pub fn act(&mut self, action: Action) {
        if self.state == State::Seated {
            self.send(ClientMessage::Act(action));
        }
    }

    /// Tells the others which of our devices are on. Without effect before we are in.
    pub fn set_media(&mut self, media: MediaState) {
        if self.state != State::Seated {
            return;
        }
        self.send(ClientMessage::SetMedia(media));
        if let Some(you) = self.you {
            self.media_changed(you, media);
        }
    }

    /// Says whom we want to see from here on. Without effect before we are in.
    pub fn watch(&mut self, views: Vec<View>) {
        if self.state == State::Seated {
            self.send(ClientMessage::Watch(views));
        }
    }

    /// Leaves the room, or its door.
    pub fn leave(&mut self) {
        if self.state != State::Over {
            self.send(ClientMessage::Leave);
            self.finish(Over::Left);
        }
    }

    /// The server sent a message.
    pub fn handle_message(&mut self, now: Instant, message: ServerMessage) {
        if self.state == State::Over {
            return;
        }
        self.heard = now;
        match (self.state, message) {
            (_, ServerMessage::Pong) => {}
            (_, ServerMessage::Refused(refusal)) => self.finish(Over::Refused(refusal)),
            (_, ServerMessage::Ended(reason)) => self.finish(Over::Ended(reason)),
            (State::Asking, ServerMessage::Knocking) => {
                self.state = State::Waiting;
                self.event(Event::Knocking);
            }
            (State::Asking | State::Waiting, ServerMessage::Admitted(admission)) => self.admitted(admission),
            (State::Seated, message) => self.handle_room_message(message),
            _ => self.finish(Over::Violated),
        }
    }

    fn handle_room_message(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::KnockArrived { knock, name } => self.event(Event::KnockArrived { knock, name }),
            ServerMessage::KnockGone(knock) => self.event(Event::KnockGone(knock)),
            ServerMessage::MemberJoined(member) => {
                self.members.insert(member.id, member.clone());
                self.event(Event::MemberJoined(member));
            }
            ServerMessage::MemberLeft { member, reason } => {
                self.members.remove(&member);
                self.event(Event::MemberLeft { member, reason });
            }
            ServerMessage::MediaChanged { member, media } => self.media_changed(member, media),
            ServerMessage::HostChanged(host) => {
                self.members.values_mut().for_each(|member| member.host = member.id == host);
                self.event(Event::HostChanged(host));
            }
            ServerMessage::Locked(locked) => self.event(Event::Locked(locked)),
            ServerMessage::MuteRequested => self.event(Event::MuteRequested),
            ServerMessage::NotAllowed(action) => self.event(Event::NotAllowed(action)),
            ServerMessage::Notice(notice) => self.event(Event::Notice(notice)),
            ServerMessage::VideoWanted(rung) => {
                // A size this version does not know is larger than any it knows.
                let known = |rung: u8| Rung::ALL[usize::from(rung).min(Rung::ALL.len() - 1)];
                self.event(Event::VideoWanted(rung.map(known)));
            }
            ServerMessage::Admitted(_)
            | ServerMessage::Ended(_)
            | ServerMessage::Knocking
            | ServerMessage::Pong
            | ServerMessage::Refused(_) => self.finish(Over::Violated),
        }
    }

    fn admitted(&mut self, admission: Admission) {
        self.state = State::Seated;
        self.you = Some(admission.you);
        self.members = admission.members.iter().map(|member| (member.id, member.clone())).collect();
        self.event(Event::Admitted(admission));
    }

    fn media_changed(&mut self, id: MemberId, media: MediaState) {
        if let Some(member) = self.members.get_mut(&id) {
            member.media = media;
            self.event(Event::MediaChanged { member: id, media });
        }
    }

    fn finish(&mut self, over: Over) {
        if self.state != State::Over {
            self.state = State::Over;
            self.members.clear();
            self.event(Event::Over(over));
        }
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn send(&mut self, message: ClientMessage) {
        self.outputs.push_back(Output::Send(message));
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
mod tests {
    use super::*;
    use crate::ids::ConnectionId;
    use crate::wire::control::CipherSuite;

    fn knocking(now: Instant) -> Session {
        let code = RoomCode::new(7).unwrap();
        Session::new(now, Purpose::Knock { code, name: "Bo".into() }, true)
    }

    fn member(id: u16, host: bool) -> Member {
        Member { id: MemberId(id), name: format!("Member {id}"), host, media: MediaState::default() }
    }

    fn admission() -> Admission {
        Admission {
            code: RoomCode::new(7).unwrap(),
            you: MemberId(2),
            connection_id: ConnectionId(5),
            suite: CipherSuite::Aes256Gcm,
            members: vec![member(1, true), member(2, false)],
            locked: false,
        }
    }

    fn outputs(session: &mut Session) -> Vec<Output> {
        std::iter::from_fn(|| session.poll_output()).collect()
    }

    fn seated(now: Instant) -> Session {
        let mut session = knocking(now);
        session.handle_message(now, ServerMessage::Knocking);
        session.handle_message(now, ServerMessage::Admitted(admission()));
        outputs(&mut session);
        session
    }

    #[test]
    fn a_session_says_hello_and_what_it_wants() {
        let sent = outputs(&mut knocking(Instant::now()));
        assert!(matches!(sent[0], Output::Send(ClientMessage::Hello { version: PROTOCOL_VERSION, aes: true })));
        assert!(matches!(&sent[1], Output::Send(ClientMessage::Knock { name, .. }) if name == "Bo"));
    }

    #[test]
    fn the_roster_follows_what_is_heard() {
        let now = Instant::now();
        let mut session = seated(now);
        session.handle_message(now, ServerMessage::MemberJoined(member(3, false)));
        session.handle_message(now, ServerMessage::HostChanged(MemberId(3)));
        session.handle_message(now, ServerMessage::MemberLeft { member: MemberId(1), reason: LeaveReason::Left });
        let roster: Vec<_> = session.members().values().map(|member| (member.id.0, member.host)).collect();
        assert_eq!(roster, [(2, false), (3, true)]);
    }

    #[test]
    fn pings_go_out_and_silence_ends_the_session() {
        let now = Instant::now();
        let mut session = seated(now);
        session.handle_timeout(now + CONTROL_PING_INTERVAL);
        assert_eq!(outputs(&mut session), [Output::Send(ClientMessage::Ping)]);
        session.handle_timeout(now + CONTROL_IDLE_TIMEOUT);
        assert_eq!(outputs(&mut session), [Output::Event(Event::Over(Over::Lost))]);
        assert_eq!(session.poll_timeout(), None);
    }

    #[test]
    fn what_makes_no_sense_ends_the_session() {
        let now = Instant::now();
        let mut session = knocking(now);
        outputs(&mut session);
        session.handle_message(now, ServerMessage::MemberJoined(member(3, false)));
        assert_eq!(outputs(&mut session), [Output::Event(Event::Over(Over::Violated))]);
    }

    #[test]
    fn a_notice_of_the_server_is_handed_out_and_the_session_goes_on() {
        let now = Instant::now();
        let mut session = seated(now);
        let notice = Notice::Draining { secs: 90 };
        session.handle_message(now, ServerMessage::Notice(notice));
        assert_eq!(outputs(&mut session), [Output::Event(Event::Notice(notice))]);
        assert_eq!(notice.to_string(), "This server stops in 2 minutes, and this meeting with it.");
        assert_eq!(session.members().len(), 2);
    }

    #[test]
    fn a_refusal_is_a_sentence() {
        let now = Instant::now();
        let mut session = knocking(now);
        outputs(&mut session);
        session.handle_message(now, ServerMessage::Refused(Refusal::WrongCode));
        assert_eq!(outputs(&mut session), [Output::Event(Event::Over(Over::Refused(Refusal::WrongCode)))]);
        assert_eq!(
            Over::Refused(Refusal::WrongCode).to_string(),
            "No meeting has this code. Please check the six digits."
        );
    }
}
