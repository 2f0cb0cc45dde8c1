//! The meeting as this window knows it: a fold over [`Event`]s, without anything of a window in it.

use std::collections::{BTreeMap, VecDeque};

use common::ids::{ChatId, KnockId, MemberId, RoomCode};
use common::limits::{CHAT_MAX_BYTES, KNOCKS_PER_ROOM, ROOM_MEMBERS_MAX};
use common::wire::control::{LeaveReason, MediaState, Member, Reach};
use common::wire::message::Recipients;

use super::diagnosis::{self, Diagnosis};
use super::history::History;
use super::transfers::Transfers;
use crate::engine::protocol::{ChatFailure, ChatLine, Command, Event, Joined};
use crate::reach;

/// Lines of chat kept; a long meeting writes a few hundred.
pub const CHAT_LINES_MAX: usize = 1_000;
/// Bytes of chat kept: as many of the longest messages as lines, so that whoever writes much fills nobody's memory.
pub const CHAT_BYTES_MAX: usize = CHAT_LINES_MAX * CHAT_MAX_BYTES;
/// Notices kept until they are shown.
pub const NOTICES_MAX: usize = 32;

/// What this window knows. [`Model::apply`] is the only way it changes.
#[derive(Clone, Debug, Default)]
pub struct Model {
    stage: Stage,
    notices: VecDeque<Notice>,
    notices_given: u64,
    server_key: Option<ServerKey>,
}

/// What the window shows, derived from the [`Model`].
#[derive(Clone, Copy, Debug)]
pub enum Screen<'a> {
    /// Nothing goes on: start or join.
    Home,
    /// On the way to a server.
    Connecting {
        /// As it was given.
        server: &'a str,
    },
    /// At the door, not let in yet.
    Waiting {
        /// Of the meeting.
        code: RoomCode,
    },
    /// In a meeting.
    Meeting(&'a Meeting),
    /// Out again.
    Ended {
        /// Why, as a sentence.
        reason: &'a str,
        /// Nobody did anything wrong.
        expected: bool,
        /// How to get back into a meeting that may go on without us.
        again: Option<&'a Command>,
    },
}

#[derive(Clone, Debug, Default)]
enum Stage {
    #[default]
    Home,
    Connecting(String),
    Waiting(RoomCode),
    Meeting(Box<Meeting>),
    Ended {
        reason: String,
        expected: bool,
        again: Option<Command>,
    },
}

/// Something to be told in passing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Counts the notices of this window from 1.
    pub number: u64,
    /// A sentence.
    pub text: String,
}

/// A server that was seen for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerKey {
    /// As it was given.
    pub server: String,
    /// SHA-256 of its public key, as hexadecimal digits in groups of four.
    pub fingerprint: String,
}

/// A meeting we are in.
#[derive(Clone, Debug)]
pub struct Meeting {
    /// Its six digits.
    pub code: RoomCode,
    /// Our own id.
    pub you: MemberId,
    /// Everybody, ourselves included, in the order they came.
    pub members: BTreeMap<MemberId, Member>,
    /// The door is locked.
    pub locked: bool,
    /// `host:port` that guests use, best guess first.
    pub addresses: Vec<String>,
    /// The server is inside this program: when we leave, the meeting is over for everybody.
    pub server_is_ours: bool,
    /// What the host should know of these addresses, as a sentence.
    pub addresses_note: Option<String>,
    /// Our control connection is broken, and the engine tries to come back.
    pub reconnecting: bool,
    /// Who waits at the door, longest first; only the host hears of them.
    pub knocks: Vec<Knock>,
    /// Who speaks, loudest first.
    pub speaking: Vec<MemberId>,
    /// What was written, oldest first.
    pub chat: VecDeque<Said>,
    /// Lines written by others since we came in, forgotten ones included.
    pub chat_received: u64,
    /// Lines of [`Meeting::chat`] that made room for newer ones.
    pub chat_forgotten: u64,
    chat_bytes: usize,
    /// Files on offer.
    pub transfers: Transfers,
    /// Files offered to us since we came in.
    pub offers_received: u64,
    /// Two minutes of the network.
    pub history: History,
    /// What is to be said about the network.
    pub diagnosis: Diagnosis,
}

/// Somebody at the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knock {
    /// Names the knock in an action.
    pub id: KnockId,
    /// Display name.
    pub name: String,
}

/// A line of chat with names that outlive those who left.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Who wrote it.
    pub from: MemberId,
    /// The writer's name.
    pub from_name: String,
    /// Numbers the writer's messages.
    pub id: ChatId,
    /// The one other person who can read it, or `None` when everybody can.
    pub private_to: Option<String>,
    /// What.
    pub text: String,
    /// The server has it, when it is ours.
    pub sent: bool,
    /// Why it does not arrive, when it is ours and does not.
    pub failed: Option<ChatFailure>,
    /// Names of those who do not get it, when it is ours.
    pub missed: Vec<String>,
    /// With how many of [`Said::audience`] it is, when it is ours.
    pub delivered: usize,
    /// For how many it was when it was written.
    pub audience: usize,
}

impl Model {
    /// What to show.
    pub fn screen(&self) -> Screen<'_> {
        match &self.stage {
            Stage::Home => Screen::Home,
            Stage::Connecting(server) => Screen::Connecting { server },
            Stage::Waiting(code) => Screen::Waiting { code: *code },
            Stage::Meeting(meeting) => Screen::Meeting(meeting),
            Stage::Ended { reason, expected, again } => {
                Screen::Ended { reason, expected: *expected, again: again.as_ref() }
            }
        }
    }

    /// The meeting we are in, if we are in one.
    pub fn meeting(&self) -> Option<&Meeting> {
        match &self.stage {
            Stage::Meeting(meeting) => Some(meeting),
            Stage::Home | Stage::Connecting(_) | Stage::Waiting(_) | Stage::Ended { .. } => None,
        }
    }

    /// What is to be told in passing, oldest first; numbers tell which ones are new.
    pub fn notices(&self) -> impl Iterator<Item = &Notice> {
        self.notices.iter()
    }

    /// The server that was remembered in this run, if one was.
    pub fn server_key(&self) -> Option<&ServerKey> {
        self.server_key.as_ref()
    }

    /// Takes in what happened.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Connecting { server } => self.stage = Stage::Connecting(server),
            Event::ServerRemembered { server, fingerprint } => self.remember(server, fingerprint),
            Event::Knocking { code } => self.stage = Stage::Waiting(code),
            Event::Joined(joined) => self.stage = Stage::Meeting(Box::new(Meeting::new(joined))),
            Event::Ended { reason, expected, rejoin } => {
                let again = self.meeting().filter(|_| rejoin).and_then(Meeting::join_again);
                self.stage = Stage::Ended { reason, expected, again };
            }
            Event::Notice(text) | Event::OfferFailed { reason: text, .. } => self.notify(text),
            event @ (Event::KnockArrived { .. }
            | Event::KnockGone(_)
            | Event::MemberAway(_)
            | Event::MemberBack(_)
            | Event::MemberJoined(_)
            | Event::MemberLeft { .. }
            | Event::MediaChanged { .. }
            | Event::ReachChanged { .. }
            | Event::Reconnected
            | Event::Reconnecting
            | Event::HostChanged(_)
            | Event::Locked(_)
            | Event::MuteRequested
            | Event::Speaking(_)
            | Event::Frame(_)
            | Event::Chat(_)
            | Event::ChatDelivered { .. }
            | Event::ChatFailed { .. }
            | Event::ChatMissed { .. }
            | Event::ChatSent(_)
            | Event::FileOffered { .. }
            | Event::FileChanged { .. }
            | Event::FileHeld { .. }
            | Event::FileWaits { .. }
            | Event::FileWithdrawn { .. }
            | Event::Statistics(_)
            | Event::Trace(_)) => self.apply_to_meeting(event),
        }
    }

    fn apply_to_meeting(&mut self, event: Event) {
        let Stage::Meeting(meeting) = &mut self.stage else {
            return;
        };
        if let Some(notice) = meeting.apply(event) {
            self.notify(notice);
        }
    }

    fn remember(&mut self, server: String, fingerprint: String) {
        self.notify(format!("First visit to {server}. Its key is remembered from here on."));
        self.server_key = Some(ServerKey { server, fingerprint });
    }

    fn notify(&mut self, text: String) {
        if self.notices.len() == NOTICES_MAX {
            self.notices.pop_front();
        }
        self.notices_given += 1;
        self.notices.push_back(Notice { number: self.notices_given, text });
    }
}

impl Meeting {
    fn new(joined: Joined) -> Self {
        let members = joined.members.into_iter().map(|member| (member.id, member));
        Self {
            code: joined.code,
            you: joined.you,
            members: members.collect(),
            locked: joined.locked,
            addresses: joined.addresses,
            server_is_ours: joined.server_is_ours,
            addresses_note: joined.addresses_note,
            reconnecting: false,
            knocks: Vec::new(),
            speaking: Vec::new(),
            chat: VecDeque::new(),
            chat_received: 0,
            chat_forgotten: 0,
            chat_bytes: 0,
            transfers: Transfers::default(),
            offers_received: 0,
            history: History::default(),
            diagnosis: Diagnosis::default(),
        }
    }

    /// We have the host role.
    pub fn hosting(&self) -> bool {
        self.members.get(&self.you).is_some_and(|you| you.host)
    }

    /// Our own devices.
    pub fn media(&self) -> MediaState {
        self.members.get(&self.you).map_or_else(MediaState::default, |you| you.media)
    }

    /// Everybody but ourselves, in the order they came.
    pub fn others(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.id != self.you)
    }

    /// A member's name; one who is not there has a number.
    pub fn name(&self, member: MemberId) -> String {
        self.members.get(&member).map_or_else(|| format!("Somebody ({member})"), |known| known.name.clone())
    }

    /// Takes in what happened; gives back what is to be told in passing.
    fn apply(&mut self, event: Event) -> Option<String> {
        match event {
            Event::Reconnecting => self.reconnecting = true,
            Event::Reconnected => {
                self.reconnecting = false;
                return Some("You are connected to the server again.".into());
            }
            Event::MemberAway(member) => self.set_away(member, true),
            Event::MemberBack(member) => self.set_away(member, false),
            Event::ReachChanged { member, reach } => return self.reach_changed(member, reach),
            Event::MemberJoined(member) => return self.member_joined(member),
            Event::MemberLeft { member, reason } => return self.member_left(member, reason),
            Event::HostChanged(member) => return self.host_changed(member),
            Event::MuteRequested => {
                return Some("The host asked you to mute. Your microphone is off.".into());
            }
            Event::FileOffered { from, offer } => {
                self.offers_received += u64::from(from != self.you);
                self.transfers.offered(from, self.name(from), offer);
            }
            Event::FileChanged { from, transfer, receiver, state, path } => {
                let receiver = (receiver, self.name(receiver));
                self.transfers.changed((from, transfer), receiver, state, path);
            }
            Event::FileHeld { from, transfer, held } => self.transfers.held(from, transfer, held),
            Event::FileWaits { from, transfer, waits } => self.transfers.waits(from, transfer, waits),
            Event::FileWithdrawn { from, transfer, why } => self.transfers.withdrawn(from, transfer, why),
            Event::Chat(line) => return self.said(line),
            Event::ChatDelivered { id, delivered } => self.note(id, |said| said.delivered = delivered),
            Event::ChatMissed { id, member } => {
                let name = self.name(member);
                self.note(id, |said| said.missed.push(name));
            }
            Event::ChatFailed { id, why } => self.note(id, |said| said.failed = Some(why)),
            Event::ChatSent(id) => self.note(id, |said| said.sent = true),
            Event::KnockArrived { knock, name } => self.knocked(knock, name),
            Event::KnockGone(knock) => self.knocks.retain(|known| known.id != knock),
            Event::Locked(locked) => self.locked = locked,
            Event::MediaChanged { member, media } => {
                if let Some(member) = self.members.get_mut(&member) {
                    member.media = media;
                }
            }
            Event::Speaking(speaking) => self.speaking = speaking,
            Event::Statistics(snapshot) => {
                self.transfers.measure(snapshot.uptime);
                self.history.push(*snapshot);
                self.diagnosis = diagnosis::examine(&self.history.settled(), &self.names());
            }
            // Pictures are in the frame slots, the rest is no matter of a meeting.
            Event::Frame(_)
            | Event::Connecting { .. }
            | Event::ServerRemembered { .. }
            | Event::Knocking { .. }
            | Event::Joined(_)
            | Event::Ended { .. }
            | Event::Notice(_)
            | Event::OfferFailed { .. }
            | Event::Trace(_) => {}
        }
        None
    }

    fn names(&self) -> BTreeMap<MemberId, String> {
        let named = |member: &Member| (member.id, member.name.clone());
        self.members.values().map(named).collect()
    }

    fn member_joined(&mut self, member: Member) -> Option<String> {
        let known = self.members.contains_key(&member.id);
        if !known && self.members.len() >= ROOM_MEMBERS_MAX {
            return None;
        }
        let notice = (!known).then(|| format!("{} joined.", member.name));
        self.members.insert(member.id, member);
        notice
    }

    fn member_left(&mut self, member: MemberId, reason: LeaveReason) -> Option<String> {
        let name = self.members.remove(&member)?.name;
        self.speaking.retain(|speaker| *speaker != member);
        Some(match reason {
            LeaveReason::Left => format!("{name} left."),
            LeaveReason::Lost => format!("{name}'s connection was lost."),
            LeaveReason::Removed => format!("{name} was removed."),
        })
    }

    fn host_changed(&mut self, host: MemberId) -> Option<String> {
        for member in self.members.values_mut() {
            member.host = member.id == host;
        }
        if host == self.you {
            return Some("You are the host now.".into());
        }
        self.knocks.clear();
        Some(format!("{} is the host now.", self.name(host)))
    }

    fn knocked(&mut self, id: KnockId, name: String) {
        let known = self.knocks.iter().any(|knock| knock.id == id);
        if !known && self.knocks.len() < KNOCKS_PER_ROOM {
            self.knocks.push(Knock { id, name });
        }
    }

    fn said(&mut self, line: ChatLine) -> Option<String> {
        self.chat_received += u64::from(line.from != self.you);
        let (private_to, audience) = match line.to {
            Recipients::Everyone => (None, self.others().count()),
            Recipients::Member(member) => (Some(self.name(member)), 1),
        };
        self.chat_bytes += line.text.len();
        self.chat.push_back(Said {
            from: line.from,
            from_name: self.name(line.from),
            id: line.id,
            private_to,
            text: line.text,
            sent: false,
            failed: None,
            missed: Vec::new(),
            delivered: 0,
            audience,
        });
        self.bound_chat()
    }

    /// The oldest lines make room, which is told the first time.
    fn bound_chat(&mut self) -> Option<String> {
        let forgotten = self.chat_forgotten;
        while self.chat.len() > CHAT_LINES_MAX || self.chat_bytes > CHAT_BYTES_MAX {
            let Some(oldest) = self.chat.pop_front() else { break };
            self.chat_bytes -= oldest.text.len();
            self.chat_forgotten += 1;
        }
        let first = forgotten == 0 && self.chat_forgotten > 0;
        first.then(|| "So much was written that the oldest lines of the chat are let go from here on.".into())
    }

    /// What is written down about a line of ours.
    fn note(&mut self, id: ChatId, write: impl FnOnce(&mut Said)) {
        let you = self.you;
        let ours = |said: &&mut Said| said.from == you && said.id == id;
        if let Some(said) = self.chat.iter_mut().rev().find(ours) {
            write(said);
        }
    }

    fn set_away(&mut self, member: MemberId, away: bool) {
        if let Some(member) = self.members.get_mut(&member) {
            member.away = away;
        }
    }

    /// What is told of ourselves comes from the engine, which knows more.
    fn reach_changed(&mut self, id: MemberId, reach: Reach) -> Option<String> {
        let member = self.members.get_mut(&id)?;
        let before = std::mem::replace(&mut member.reach, reach);
        (id != self.you).then(|| reach::sentence(&member.name, before, reach)).flatten()
    }

    /// Which ways of our own data plane work.
    pub fn reach(&self) -> Reach {
        self.members.get(&self.you).map_or(Reach::WHOLE, |you| you.reach)
    }

    /// The way back into this meeting; none when it was held by this program.
    fn join_again(&self) -> Option<Command> {
        let server = self.addresses.first().filter(|_| !self.server_is_ours)?.clone();
        let name = self.members.get(&self.you)?.name.clone();
        Some(Command::Join { server, code: self.code, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::samples::{self, ANA, BO, CLEO};
    use common::ids::TransferId;
    use common::wire::message::FileState;

    fn told(model: &Model) -> Vec<&str> {
        model.notices().map(|notice| notice.text.as_str()).collect()
    }

    fn seen(model: &Model) -> &Meeting {
        model.meeting().expect("the model is in a meeting")
    }

    fn after(you: MemberId, events: impl IntoIterator<Item = Event>) -> Model {
        let mut model = samples::meeting(you);
        events.into_iter().for_each(|event| model.apply(event));
        model
    }

    #[test]
    fn the_screen_follows_the_way_into_a_meeting() {
        let mut model = Model::default();
        assert!(matches!(model.screen(), Screen::Home));
        let server = "192.0.2.7".to_owned();
        model.apply(Event::Connecting { server });
        assert!(matches!(model.screen(), Screen::Connecting { server: "192.0.2.7" }));
        let code = RoomCode::new(7).unwrap();
        model.apply(Event::Knocking { code });
        assert!(matches!(model.screen(), Screen::Waiting { code: shown } if shown == code));
    }

    #[test]
    fn the_end_is_kept_with_its_reason() {
        let reason = "The host ended the meeting.".to_owned();
        let ended = Event::Ended { reason, expected: true, rejoin: false };
        let model = after(ANA, [ended]);
        let Screen::Ended { reason, expected, again: None } = model.screen() else {
            panic!("{:?}", model.screen());
        };
        assert_eq!((reason, expected), ("The host ended the meeting.", true));
        assert!(model.meeting().is_none());
    }

    #[test]
    fn events_of_a_meeting_mean_nothing_outside_of_one() {
        let mut model = Model::default();
        model.apply(Event::MemberJoined(samples::member(BO, "Bo", false)));
        model.apply(Event::MuteRequested);
        assert!(matches!(model.screen(), Screen::Home));
        assert_eq!(told(&model), [""; 0]);
    }

    #[test]
    fn a_remembered_server_is_told_and_kept() {
        let mut model = Model::default();
        model.apply(Event::ServerRemembered { server: "meet".into(), fingerprint: "ab12".into() });
        assert_eq!(model.server_key().unwrap().fingerprint, "ab12");
        assert_eq!(told(&model).len(), 1);
    }

    #[test]
    fn members_come_and_go_with_a_word() {
        let dan = samples::member(MemberId(4), "Dan", false);
        let left = |member, reason| Event::MemberLeft { member, reason };
        let model = after(
            ANA,
            [
                Event::MemberJoined(dan),
                Event::Speaking(vec![CLEO, BO]),
                left(BO, LeaveReason::Left),
                left(CLEO, LeaveReason::Lost),
                left(MemberId(4), LeaveReason::Removed),
                left(MemberId(9), LeaveReason::Left),
            ],
        );
        assert_eq!(seen(&model).members.len(), 1);
        assert_eq!(seen(&model).speaking, []);
        let wanted = ["Dan joined.", "Bo left.", "Cleo's connection was lost.", "Dan was removed."];
        assert_eq!(told(&model), wanted);
    }

    #[test]
    fn knocks_are_listed_once_and_go_when_they_are_answered() {
        let knock = |id, name: &str| Event::KnockArrived { knock: KnockId(id), name: name.into() };
        let model = after(ANA, [knock(1, "Dan"), knock(1, "Dan"), knock(2, "Eve"), Event::KnockGone(KnockId(1))]);
        let names: Vec<_> = seen(&model).knocks.iter().map(|knock| &knock.name).collect();
        assert_eq!(names, ["Eve"]);
    }

    #[test]
    fn devices_lock_and_host_follow() {
        let media = MediaState::default();
        let model = after(
            BO,
            [
                Event::MediaChanged { member: BO, media },
                Event::Locked(true),
                Event::HostChanged(BO),
                Event::MuteRequested,
                Event::Notice("No camera was found.".into()),
            ],
        );
        let meeting = seen(&model);
        assert_eq!(meeting.media(), media);
        assert!(meeting.locked && meeting.hosting());
        assert!(!meeting.members[&ANA].host);
        let wanted =
            ["You are the host now.", "The host asked you to mute. Your microphone is off.", "No camera was found."];
        assert_eq!(told(&model), wanted);
    }

    #[test]
    fn a_lost_meeting_leads_back_and_others_who_are_away_are_marked() {
        let mut model = after(BO, [Event::Reconnecting, Event::MemberAway(CLEO)]);
        assert!(seen(&model).reconnecting && seen(&model).members[&CLEO].away);
        model.apply(Event::Reconnected);
        model.apply(Event::MemberBack(CLEO));
        assert!(!seen(&model).reconnecting && !seen(&model).members[&CLEO].away);
        model.apply(Event::Ended { reason: "It was lost.".into(), expected: false, rejoin: true });
        let Screen::Ended { again: Some(again), .. } = model.screen() else { panic!("{:?}", model.screen()) };
        let code = RoomCode::new(42_917).unwrap();
        assert_eq!(again, &Command::Join { server: "192.0.2.7:7600".into(), code, name: "Bo".into() });
    }

    fn said(from: MemberId, id: u32, to: Recipients) -> Event {
        Event::Chat(ChatLine { from, id: ChatId(id), to, text: "words".into() })
    }

    #[test]
    fn chat_is_kept_with_names_that_outlive_their_people() {
        let model = after(
            ANA,
            [
                said(BO, 1, Recipients::Member(ANA)),
                said(ANA, 1, Recipients::Everyone),
                Event::ChatDelivered { id: ChatId(1), delivered: 2 },
                Event::MemberLeft { member: BO, reason: LeaveReason::Left },
            ],
        );
        let chat = &seen(&model).chat;
        assert_eq!(chat[0].from_name, "Bo");
        assert_eq!(chat[0].private_to.as_deref(), Some("Ana"));
        assert_eq!((chat[1].delivered, chat[1].audience), (2, 2));
        assert_eq!(chat[0].delivered, 0);
        assert_eq!(seen(&model).chat_received, 1);
    }

    #[test]
    fn a_long_chat_forgets_its_beginning() {
        let lines = (0..CHAT_LINES_MAX as u32 + 5).map(|id| said(BO, id, Recipients::Everyone));
        let model = after(ANA, lines);
        assert_eq!(seen(&model).chat.len(), CHAT_LINES_MAX);
        assert_eq!(seen(&model).chat[0].id, ChatId(5));
        assert_eq!(seen(&model).chat_forgotten, 5);
        assert_eq!(told(&model).len(), 1, "it is said once");
    }

    #[test]
    fn nobody_fills_the_memory_of_others_with_long_lines() {
        let long = "x".repeat(10 * CHAT_MAX_BYTES);
        let line = |id| ChatLine { from: BO, id: ChatId(id), to: Recipients::Everyone, text: long.clone() };
        let model = after(ANA, (0..150).map(|id| Event::Chat(line(id))));
        let kept: usize = seen(&model).chat.iter().map(|said| said.text.len()).sum();
        assert!(kept <= CHAT_BYTES_MAX && kept > CHAT_BYTES_MAX - long.len(), "{kept}");
        assert_eq!(seen(&model).chat_forgotten, 50);
        assert_eq!(told(&model).len(), 1, "it is said once");
    }

    #[test]
    fn files_are_offered_received_and_withdrawn() {
        let transfer = TransferId(1);
        let model = after(
            ANA,
            [
                Event::FileOffered { from: BO, offer: samples::offer(1, 100) },
                Event::FileChanged { from: BO, transfer, receiver: ANA, state: FileState::Receiving(50), path: None },
                Event::FileWithdrawn { from: BO, transfer, why: None },
            ],
        );
        let file = seen(&model).transfers.iter().next().unwrap();
        assert!(file.withdrawn.is_some());
        assert_eq!(file.receipts[&ANA].state, FileState::Receiving(50));
        assert_eq!(seen(&model).offers_received, 1);
    }

    #[test]
    fn statistics_become_history_and_a_verdict() {
        let statistics = |quarter| Event::Statistics(Box::new(samples::snapshot(quarter)));
        let model = after(ANA, (0..8).map(statistics).chain([Event::Frame(BO)]));
        assert_eq!(seen(&model).history.cwnd_kb.points().len(), 8);
        assert_eq!(seen(&model).diagnosis.sentence, "All good.");
    }

    #[test]
    fn notices_are_bounded() {
        let notice = |number: usize| Event::Notice(number.to_string());
        let model = after(ANA, (0..NOTICES_MAX + 8).map(notice));
        assert_eq!(told(&model).len(), NOTICES_MAX);
        assert_eq!(model.notices().next().unwrap().number, 9);
    }
}
