//! The client's side of the control plane, from saying hello to being in, and what is heard there.
//!
//! ```text
//! Asking ──Knocking──▶ Waiting ──Admitted──▶ Seated ──Ended or left──▶ Over
//!    └────────────────Admitted──────────────▲│   ▲
//!    └──Refused──▶ Over ◀──Refused──┘    lost▼   │Resumed
//!                           Over ◀──too late Away ──connected──▶ Returning ──Refused──▶ Over
//!                                               ◀──────lost──────
//! ```
//!
//! A member whose connection breaks is away, not out: the data plane goes on, the place is kept for
//! [`RECONNECT_GRACE`](crate::limits::RECONNECT_GRACE), and the session asks for new connections until one of them leads back to it. What changed in
//! the room meanwhile comes as ordinary events (`difference`); what a person asked for meanwhile is asked for then
//! (`actions`).

mod actions;
mod difference;
mod returning;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Instant;

use crate::ids::{KnockId, MemberId, RoomCode};
use crate::limits::{
    CONTROL_IDLE_TIMEOUT, CONTROL_PING_INTERVAL, CONTROL_PONG_TIMEOUT, CONTROL_SUSPECT_AFTER, HELLO_TIMEOUT,
};
use crate::picture::ladder::Rung;
use crate::wire::control::{
    Action, Admission, ClientMessage, EndReason, LeaveReason, MediaState, Member, Notice, PROTOCOL_VERSION, Reach,
    Refusal, ServerMessage, Snapshot, View,
};
use crate::wire::ticket::Ticket;

use actions::Actions;
use returning::Returning;

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
    /// Drop the old connection, make a new one to the same server, and tell by [`Session::handle_connected`] or
    /// [`Session::handle_connect_failed`] what came of it.
    Connect,
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
    /// Somebody else's control connection broke. Sound, pictures and chat may go on.
    MemberAway(MemberId),
    /// Somebody else, who was away, is connected again.
    MemberBack(MemberId),
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
    /// A way of a member's data plane, perhaps of our own, broke or came back.
    ReachChanged {
        /// Whose.
        member: MemberId,
        /// As it is now.
        reach: Reach,
    },
    /// We are connected again. What changed meanwhile follows.
    Reconnected,
    /// The control connection broke. The data plane goes on, and we try to come back.
    Reconnecting,
    /// This was asked for while the connection was broken, after too much else: it will not be done.
    Unsent(Action),
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
    /// The connection broke, or the server fell silent, before we were in.
    Lost,
    /// The connection broke, and no other one could be made in time.
    NotRestored,
    /// We did not get in, or not back in.
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
            Self::NotRestored => f.write_str("The connection to the server was lost and could not be restored."),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Violated => f.write_str("The server does not speak this program's protocol."),
        }
    }
}

/// The way to a server, and the room behind it.
#[derive(Debug)]
pub struct Session {
    state: State,
    aes: bool,
    members: BTreeMap<MemberId, Member>,
    you: Option<MemberId>,
    locked: bool,
    /// Guests at the door, as far as we heard of them.
    knocks: BTreeMap<KnockId, String>,
    video_wanted: Option<Rung>,
    /// Whom we want to see, once we said it.
    views: Option<Vec<View>>,
    ticket: Option<Ticket>,
    returning: Option<Returning>,
    actions: Actions,
    heard: Instant,
    /// When the oldest ping that was not answered was sent.
    pinged: Instant,
    next_ping: Instant,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Asking,
    /// Was in, and has no connection.
    Away,
    Over,
    /// Was in, has a new connection, and has shown its ticket there.
    Returning,
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
            aes,
            members: BTreeMap::new(),
            you: None,
            locked: false,
            knocks: BTreeMap::new(),
            video_wanted: Some(LARGEST),
            views: None,
            ticket: None,
            returning: None,
            actions: Actions::default(),
            heard: now,
            pinged: now,
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
        let returning = || self.returning.as_ref().map(|returning| returning.until);
        match self.state {
            State::Asking | State::Waiting | State::Seated => Some(self.lost_at().min(self.next_ping)),
            State::Away => {
                let next = self.returning.as_ref().and_then(|returning| returning.next);
                next.into_iter().chain(returning()).min()
            }
            State::Returning => Some(self.lost_at()).into_iter().chain(returning()).min(),
            State::Over => None,
        }
    }

    /// When the connection counts as lost if nothing more is heard.
    fn lost_at(&self) -> Instant {
        match self.state {
            State::Returning => self.heard + HELLO_TIMEOUT,
            State::Seated if self.actions.unanswered() => self.pinged.max(self.heard) + CONTROL_PONG_TIMEOUT,
            State::Asking | State::Away | State::Over | State::Seated | State::Waiting => {
                self.heard + CONTROL_IDLE_TIMEOUT
            }
        }
    }

    /// Everybody in the room, ourselves included; empty before admission.
    pub fn members(&self) -> &BTreeMap<MemberId, Member> {
        &self.members
    }

    /// Our own id, once we are in.
    pub fn you(&self) -> Option<MemberId> {
        self.you
    }

    /// Says that we are there, notices when the server is not, and tries to come back.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Over => {}
            State::Asking | State::Waiting | State::Seated if now >= self.lost_at() => self.lose(now),
            State::Waiting | State::Seated if now >= self.next_ping => self.ping(now),
            // Before the server knows what we want there is no one to be alive for.
            State::Asking if now >= self.next_ping => self.next_ping = now + CONTROL_PING_INTERVAL,
            State::Asking | State::Waiting | State::Seated => {}
            State::Away | State::Returning => self.try_again(now),
        }
    }

    fn ping(&mut self, now: Instant) {
        self.next_ping = now + CONTROL_PING_INTERVAL;
        if !self.actions.unanswered() {
            self.pinged = now;
        }
        self.actions.ping();
        self.send(ClientMessage::Ping);
    }

    /// Nothing has come over the data plane for [`CONTROL_SUSPECT_AFTER`]: asks at once whether the control connection
    /// is alive, unless something came there meanwhile.
    pub fn suspect(&mut self, now: Instant) {
        let quiet = now.saturating_duration_since(self.heard) >= CONTROL_SUSPECT_AFTER;
        if self.state == State::Seated && quiet && !self.actions.unanswered() {
            self.ping(now);
        }
    }

    fn try_again(&mut self, now: Instant) {
        let lost_at = self.lost_at();
        let Some(returning) = &mut self.returning else { return };
        if now >= returning.until {
            return self.finish(Over::NotRestored);
        }
        if self.state == State::Returning && now >= lost_at {
            self.state = State::Away;
            returning.schedule(now);
        }
        if self.state == State::Away && returning.next.is_some_and(|next| now >= next) {
            returning.next = None;
            self.outputs.push_back(Output::Connect);
        }
    }

    /// The connection broke.
    pub fn handle_disconnected(&mut self, now: Instant) {
        self.lose(now);
    }

    /// The connection that [`Output::Connect`] asked for was made.
    pub fn handle_connected(&mut self, now: Instant) {
        let (State::Away, Some(ticket)) = (self.state, self.ticket) else {
            return;
        };
        self.state = State::Returning;
        self.heard = now;
        self.send(ClientMessage::Hello { version: PROTOCOL_VERSION, aes: self.aes });
        self.send(ClientMessage::Resume(ticket));
    }

    /// The connection that [`Output::Connect`] asked for could not be made.
    pub fn handle_connect_failed(&mut self, now: Instant) {
        if let (State::Away, Some(returning)) = (self.state, &mut self.returning) {
            returning.schedule(now);
        }
    }

    fn lose(&mut self, now: Instant) {
        match (self.state, self.ticket) {
            (State::Seated, Some(ticket)) => {
                self.state = State::Away;
                self.returning = Some(Returning::new(now, ticket.connection_id));
                self.event(Event::Reconnecting);
            }
            (State::Returning, _) => {
                self.state = State::Away;
                self.handle_connect_failed(now);
            }
            (State::Away | State::Over, _) => {}
            (State::Asking | State::Seated | State::Waiting, _) => self.finish(Over::Lost),
        }
    }

    /// The server did not keep to the protocol.
    pub fn handle_malformed(&mut self) {
        self.finish(Over::Violated);
    }

    /// Asks for something to be done; the server decides. Without effect before we are in. While the connection is
    /// broken it is kept until there is another one, and then asked for if it is still to be done; all who wait are
    /// then those of whom we know now.
    pub fn act(&mut self, action: Action) {
        let away = match self.state {
            State::Seated => false,
            State::Away | State::Returning => true,
            State::Asking | State::Over | State::Waiting => return,
        };
        if !away {
            self.send(ClientMessage::Act(action));
        }
        let each: Vec<_> = if action == Action::AdmitAll {
            // Whoever comes to the door after this was clicked is not meant.
            self.knocks.keys().copied().map(Action::Admit).collect()
        } else {
            vec![action]
        };
        for action in each {
            if !self.actions.keep(action) && away {
                self.event(Event::Unsent(action));
            }
        }
    }

    /// Tells the others which of our devices are on. Without effect before we are in.
    pub fn set_media(&mut self, media: MediaState) {
        let Some(you) = self.you else { return };
        if self.state == State::Seated {
            self.send(ClientMessage::SetMedia(media));
        }
        self.media_changed(you, media);
    }

    /// Whether anything of the data plane comes from the server. Without effect before we are in.
    pub fn set_hears(&mut self, hears: bool) {
        let Some(you) = self.you.and_then(|you| self.members.get(&you)) else { return };
        let (member, reach) = (you.id, Reach { hears, ..you.reach });
        if self.state == State::Seated && reach != you.reach {
            self.send(ClientMessage::SetHears(hears));
        }
        self.reach_changed(member, reach);
    }

    /// When the server was heard last on the control plane.
    pub fn heard(&self) -> Instant {
        self.heard
    }

    /// Whether there is a control connection, and we are in.
    pub fn seated(&self) -> bool {
        self.state == State::Seated
    }

    /// Says whom we want to see from here on. Without effect before we are in.
    pub fn watch(&mut self, views: Vec<View>) {
        if self.you.is_none() {
            return;
        }
        if self.state == State::Seated {
            self.send(ClientMessage::Watch(views.clone()));
        }
        self.views = Some(views);
    }

    /// Leaves the room, or its door.
    pub fn leave(&mut self) {
        match self.state {
            State::Over => return,
            State::Asking | State::Seated | State::Waiting => self.send(ClientMessage::Leave),
            // There is nobody to tell. The server finds out.
            State::Away | State::Returning => {}
        }
        self.finish(Over::Left);
    }

    /// The server sent a message.
    pub fn handle_message(&mut self, now: Instant, message: ServerMessage) {
        if let State::Over | State::Away = self.state {
            return;
        }
        self.heard = now;
        match (self.state, message) {
            (_, ServerMessage::Pong) => self.actions.pong(),
            // Old connections from the same address may still count. The place is there, so the next attempt follows.
            (State::Returning, ServerMessage::Refused(refusal)) if refusal.concerns_the_connection() => self.lose(now),
            (_, ServerMessage::Refused(refusal)) => self.finish(Over::Refused(refusal)),
            (_, ServerMessage::Ended(reason)) => self.finish(Over::Ended(reason)),
            (State::Asking, ServerMessage::Knocking) => {
                self.state = State::Waiting;
                self.event(Event::Knocking);
            }
            (State::Asking | State::Waiting, ServerMessage::Admitted(admission)) => self.admitted(admission),
            (State::Returning, ServerMessage::Resumed(snapshot)) => self.resumed(now, snapshot),
            (State::Seated, message) => self.handle_room_message(message),
            _ => self.finish(Over::Violated),
        }
    }

    fn handle_room_message(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::KnockArrived { knock, name } => {
                self.knocks.insert(knock, name.clone());
                self.event(Event::KnockArrived { knock, name });
            }
            ServerMessage::KnockGone(knock) => {
                self.knocks.remove(&knock);
                self.event(Event::KnockGone(knock));
            }
            ServerMessage::MemberAway(member) => self.set_away(member, true, Event::MemberAway),
            ServerMessage::MemberBack(member) => self.set_away(member, false, Event::MemberBack),
            ServerMessage::ReachChanged { member, reach } => self.reach_told(member, reach),
            ServerMessage::MemberJoined(member) => {
                self.members.insert(member.id, member.clone());
                self.event(Event::MemberJoined(member));
            }
            ServerMessage::MemberLeft { member, reason } => {
                self.members.remove(&member);
                self.event(Event::MemberLeft { member, reason });
            }
            ServerMessage::MediaChanged { member, media } => self.media_changed(member, media),
            ServerMessage::HostChanged(host) => self.host_changed(host),
            ServerMessage::Locked(locked) => {
                self.locked = locked;
                self.event(Event::Locked(locked));
            }
            ServerMessage::MuteRequested => self.event(Event::MuteRequested),
            ServerMessage::NotAllowed(action) => self.event(Event::NotAllowed(action)),
            ServerMessage::Notice(notice) => self.event(Event::Notice(notice)),
            ServerMessage::VideoWanted(rung) => self.want_video(rung.map(known_rung)),
            ServerMessage::Admitted(_)
            | ServerMessage::Ended(_)
            | ServerMessage::Knocking
            | ServerMessage::Pong
            | ServerMessage::Refused(_)
            | ServerMessage::Resumed(_) => self.finish(Over::Violated),
        }
    }

    fn admitted(&mut self, admission: Admission) {
        self.state = State::Seated;
        self.you = Some(admission.you);
        self.members = admission.members.iter().map(|member| (member.id, member.clone())).collect();
        self.locked = admission.locked;
        let Admission { run, connection_id, secret, .. } = admission;
        self.ticket = Some(Ticket { run, connection_id, secret });
        self.event(Event::Admitted(admission));
    }

    fn resumed(&mut self, now: Instant, snapshot: Snapshot) {
        self.state = State::Seated;
        self.returning = None;
        self.event(Event::Reconnected);
        let actions = self.actions.restart();
        // The server keeps the old secret until it hears something.
        self.ping(now);
        self.compare(snapshot);
        if let Some(views) = self.views.clone() {
            self.send(ClientMessage::Watch(views));
        }
        for action in actions {
            if self.still_due(action) {
                self.act(action);
            }
        }
    }

    fn set_away(&mut self, id: MemberId, away: bool, event: impl FnOnce(MemberId) -> Event) {
        if let Some(member) = self.members.get_mut(&id) {
            member.away = away;
            self.event(event(id));
        }
    }

    fn host_changed(&mut self, host: MemberId) {
        self.members.values_mut().for_each(|member| member.host = member.id == host);
        if Some(host) != self.you {
            self.knocks.clear();
        }
        self.event(Event::HostChanged(host));
    }

    fn media_changed(&mut self, id: MemberId, media: MediaState) {
        if let Some(member) = self.members.get_mut(&id) {
            member.media = media;
            self.event(Event::MediaChanged { member: id, media });
        }
    }

    /// Of what we hear we know better than the server, which may not have heard it yet.
    fn reach_told(&mut self, id: MemberId, reach: Reach) {
        let ours = self.members.get(&id).filter(|_| self.you == Some(id));
        let hears = ours.map_or(reach.hears, |ours| ours.reach.hears);
        self.reach_changed(id, Reach { hears, ..reach });
    }

    fn reach_changed(&mut self, id: MemberId, reach: Reach) {
        if let Some(member) = self.members.get_mut(&id)
            && std::mem::replace(&mut member.reach, reach) != reach
        {
            self.event(Event::ReachChanged { member: id, reach });
        }
    }

    fn want_video(&mut self, rung: Option<Rung>) {
        if std::mem::replace(&mut self.video_wanted, rung) != rung {
            self.event(Event::VideoWanted(rung));
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

/// What a camera sends before anybody said anything.
const LARGEST: Rung = Rung::ALL[Rung::ALL.len() - 1];

/// A size this version does not know is larger than any it knows.
fn known_rung(rung: u8) -> Rung {
    Rung::ALL[usize::from(rung).min(Rung::ALL.len() - 1)]
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
mod tests {
    use super::*;
    use crate::ids::ConnectionId;
    use crate::limits::{RECONNECT_DELAY_MIN, RECONNECT_GRACE};
    use crate::wire::control::{CipherSuite, Guest};
    use crate::wire::ticket::{ResumptionSecret, ServerRun};
    use std::time::Duration;

    const FIRST: ResumptionSecret = ResumptionSecret([1; ResumptionSecret::BYTES]);
    const SECOND: ResumptionSecret = ResumptionSecret([2; ResumptionSecret::BYTES]);

    fn knocking(now: Instant) -> Session {
        let code = RoomCode::new(7).unwrap();
        Session::new(now, Purpose::Knock { code, name: "Bo".into() }, true)
    }

    fn member(id: u16, host: bool) -> Member {
        Member {
            id: MemberId(id),
            name: format!("Member {id}"),
            host,
            media: MediaState::default(),
            away: false,
            reach: Reach::WHOLE,
        }
    }

    fn admission() -> Admission {
        Admission {
            code: RoomCode::new(7).unwrap(),
            you: MemberId(2),
            connection_id: ConnectionId(5),
            suite: CipherSuite::Aes256Gcm,
            members: vec![member(1, true), member(2, false)],
            locked: false,
            run: ServerRun(3),
            secret: FIRST,
        }
    }

    fn snapshot() -> Snapshot {
        let members = admission().members;
        Snapshot { secret: SECOND, members, locked: false, knocks: Vec::new(), wanted: Some(3) }
    }

    fn events(session: &mut Session) -> Vec<Event> {
        let event = |output| if let Output::Event(event) = output { Some(event) } else { None };
        outputs(session).into_iter().filter_map(event).collect()
    }

    /// Breaks the connection and makes another one; answers when.
    fn reconnect(session: &mut Session, now: Instant) -> Instant {
        session.handle_disconnected(now);
        let now = now + RECONNECT_DELAY_MIN;
        session.handle_timeout(now);
        assert_eq!(outputs(session), [Output::Event(Event::Reconnecting), Output::Connect]);
        session.handle_connected(now);
        now
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
    fn pings_go_out_and_silence_at_the_door_ends_the_session() {
        let now = Instant::now();
        let mut session = knocking(now);
        session.handle_message(now, ServerMessage::Knocking);
        outputs(&mut session);
        session.handle_timeout(now + CONTROL_PING_INTERVAL);
        assert_eq!(outputs(&mut session), [Output::Send(ClientMessage::Ping)]);
        session.handle_timeout(now + CONTROL_IDLE_TIMEOUT);
        assert_eq!(outputs(&mut session), [Output::Event(Event::Over(Over::Lost))]);
        assert_eq!(session.poll_timeout(), None);
    }

    #[test]
    fn a_ping_without_an_answer_is_a_broken_connection_and_a_pong_is_not() {
        let now = Instant::now();
        let mut session = seated(now);
        session.handle_timeout(now + CONTROL_PING_INTERVAL);
        session.handle_message(now + CONTROL_PING_INTERVAL, ServerMessage::Pong);
        session.handle_timeout(now + CONTROL_PING_INTERVAL + CONTROL_PONG_TIMEOUT);
        assert_eq!(outputs(&mut session), [Output::Send(ClientMessage::Ping), Output::Send(ClientMessage::Ping)]);
        let asked = now + CONTROL_PING_INTERVAL + CONTROL_PONG_TIMEOUT;
        session.handle_timeout(asked + CONTROL_PONG_TIMEOUT);
        assert_eq!(events(&mut session), [Event::Reconnecting]);
    }

    #[test]
    fn silence_of_the_data_plane_asks_the_control_plane_once() {
        let now = Instant::now();
        let mut session = seated(now);
        session.suspect(now);
        assert_eq!(outputs(&mut session), [], "it spoke just now");
        let now = now + CONTROL_SUSPECT_AFTER;
        session.suspect(now);
        session.suspect(now + Duration::from_secs(1));
        assert_eq!(outputs(&mut session), [Output::Send(ClientMessage::Ping)]);
        session.handle_timeout(now + CONTROL_PONG_TIMEOUT);
        assert_eq!(events(&mut session), [Event::Reconnecting]);
    }

    #[test]
    fn a_member_comes_back_with_its_ticket_and_the_next_time_with_the_next_secret() {
        let now = Instant::now();
        let mut session = seated(now);
        let mut now = now;
        for secret in [FIRST, SECOND] {
            now = reconnect(&mut session, now);
            let ticket = Ticket { run: ServerRun(3), connection_id: ConnectionId(5), secret };
            let hello = ClientMessage::Hello { version: PROTOCOL_VERSION, aes: true };
            let sent = [hello, ClientMessage::Resume(ticket)].map(Output::Send);
            assert_eq!(outputs(&mut session), sent);
            session.handle_message(now, ServerMessage::Resumed(snapshot()));
            // What did not change is not told; the ping confirms the secret.
            assert_eq!(outputs(&mut session), [Output::Event(Event::Reconnected), Output::Send(ClientMessage::Ping)]);
        }
    }

    #[test]
    fn what_changed_meanwhile_comes_as_ordinary_events_once() {
        let now = Instant::now();
        let mut session = seated(now);
        session.handle_message(now, ServerMessage::MemberJoined(member(3, false)));
        session.handle_message(now, ServerMessage::MemberJoined(member(4, false)));
        session.handle_message(now, ServerMessage::MemberAway(MemberId(4)));
        outputs(&mut session);
        let now = reconnect(&mut session, now);
        let camera = MediaState { camera: true, microphone: false };
        let knocks = vec![Guest { knock: KnockId(8), name: "Eve".into() }];
        let members = vec![
            member(2, true),
            Member { media: camera, away: true, ..member(3, false) },
            member(4, false),
            member(5, false),
        ];
        let room = Snapshot { members, locked: true, knocks, wanted: None, ..snapshot() };
        session.handle_message(now, ServerMessage::Resumed(room));
        let expected = [
            Event::Reconnected,
            Event::MemberJoined(member(5, false)),
            Event::MemberLeft { member: MemberId(1), reason: LeaveReason::Left },
            Event::HostChanged(MemberId(2)),
            Event::MediaChanged { member: MemberId(3), media: camera },
            Event::MemberAway(MemberId(3)),
            Event::MemberBack(MemberId(4)),
            Event::Locked(true),
            Event::KnockArrived { knock: KnockId(8), name: "Eve".into() },
            Event::VideoWanted(None),
        ];
        assert_eq!(events(&mut session), expected);
        assert_eq!(session.members().keys().map(|id| id.0).collect::<Vec<_>>(), [2, 3, 4, 5]);
    }

    #[test]
    fn what_was_asked_for_meanwhile_is_asked_for_then_unless_the_room_shows_it() {
        let now = Instant::now();
        let mut session = seated(now);
        for knock in [1, 2] {
            session.handle_message(now, ServerMessage::KnockArrived { knock: KnockId(knock), name: "Eve".into() });
        }
        // Perhaps done, perhaps lost with the connection.
        session.act(Action::Lock(true));
        session.act(Action::Remove(MemberId(9)));
        outputs(&mut session);
        let now = reconnect(&mut session, now);
        session.act(Action::AdmitAll);
        let microphone = MediaState { camera: false, microphone: true };
        session.set_media(microphone);
        session.watch(Vec::new());
        outputs(&mut session);
        let guest = |knock| Guest { knock: KnockId(knock), name: "Eve".into() };
        let room = Snapshot { knocks: vec![guest(2), guest(3)], locked: true, ..snapshot() };
        session.handle_message(now, ServerMessage::Resumed(room));
        let sent: Vec<_> =
            outputs(&mut session).into_iter().filter(|output| matches!(output, Output::Send(_))).collect();
        // Knock 3 came after the click: it is not admitted. Knock 1 is gone.
        let wanted = [
            ClientMessage::Ping,
            ClientMessage::SetMedia(microphone),
            ClientMessage::Watch(Vec::new()),
            ClientMessage::Act(Action::Admit(KnockId(2))),
        ];
        assert_eq!(sent, wanted.map(Output::Send));
    }

    #[test]
    fn attempts_go_on_until_the_place_is_given_up() {
        let now = Instant::now();
        let mut session = seated(now);
        session.handle_disconnected(now);
        let mut attempts = 0;
        let (over, last) = loop {
            let last = session.poll_timeout().expect("it is not over");
            session.handle_timeout(last);
            match outputs(&mut session).pop() {
                // Some servers are not there, others do not answer.
                Some(Output::Connect) if attempts % 2 == 0 => session.handle_connect_failed(last),
                Some(Output::Connect) => session.handle_connected(last),
                Some(Output::Event(Event::Over(over))) => break (over, last),
                _ => continue,
            }
            attempts += 1;
        };
        assert_eq!((over, last), (Over::NotRestored, now + RECONNECT_GRACE));
        assert!(attempts > 4, "{attempts} attempts");
    }

    #[test]
    fn a_server_that_was_restarted_is_a_sentence_and_no_reason_to_try_on() {
        let now = Instant::now();
        let mut session = seated(now);
        let now = reconnect(&mut session, now);
        outputs(&mut session);
        session.handle_message(now, ServerMessage::Refused(Refusal::ServerRestarted));
        let over = Over::Refused(Refusal::ServerRestarted);
        assert_eq!(events(&mut session), [Event::Over(over)]);
        assert_eq!(over.to_string(), "The meeting is over: the server was restarted.");
        assert_eq!(session.poll_timeout(), None);
    }

    #[test]
    fn a_server_that_has_no_room_for_the_connection_is_tried_again() {
        let now = Instant::now();
        for refusal in [Refusal::TooManyConnections { max: 128 }, Refusal::ServerBusy] {
            let mut session = seated(now);
            let now = reconnect(&mut session, now);
            outputs(&mut session);
            session.handle_message(now, ServerMessage::Refused(refusal));
            session.handle_disconnected(now);
            let next = session.poll_timeout().expect("it goes on");
            session.handle_timeout(next);
            assert_eq!(outputs(&mut session), [Output::Connect], "{refusal:?}");
        }
    }

    #[test]
    fn who_leaves_while_the_connection_is_broken_is_out_at_once() {
        let now = Instant::now();
        let mut session = seated(now);
        session.handle_disconnected(now);
        session.leave();
        assert_eq!(events(&mut session), [Event::Reconnecting, Event::Over(Over::Left)]);
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
        for (refusal, sentence) in [
            (Refusal::WrongCode, "No meeting has this code. Please check the six digits."),
            (
                Refusal::TryLater { secs: 840 },
                "Too many wrong codes came from your network. Codes are taken again in 14 minutes.",
            ),
            (
                Refusal::KnockLater { secs: 40 },
                "The host turned several people from your network away. You can knock again in 40 seconds.",
            ),
            (
                Refusal::DeniedBefore,
                "The host turned you away from this meeting more than once, and is not asked again.",
            ),
            (
                Refusal::TooManyConnections { max: 128 },
                "Your network has 128 connections to this server, as many as it takes from one. Please try again in a \
                 minute; whoever runs it can allow more.",
            ),
        ] {
            assert_eq!(Over::Refused(refusal).to_string(), sentence);
        }
    }
}
