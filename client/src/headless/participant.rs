//! One participant on a terminal: does what the options say, and prints what happens.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::ids::{ChatId, KnockId, MemberId, TransferId};
use common::names::{Meant, who_is};
use common::reno::Traced;
use common::stats::NetworkSnapshot;
use common::text::isolated;
use common::wire::control::{Action, LeaveReason, Reach};
use common::wire::message::{FileOffer, FileState, FileTrouble, Recipients};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::options::{Admit, HostOptions, JoinOptions, ParticipantOptions};
use super::progress::Place;
use super::stats::StatsFile;
use super::terminal::{asked_to_stop, lines, say};
use super::trace::TraceFile;
use super::transfers::Transfers;
use super::words::{self, Words};
use crate::amount::bytes;
use crate::devices::DeviceChoice;
use crate::engine::address::ServerAddress;
use crate::engine::protocol::{ChatFailure, ChatLine, Command, Event, Joined};
use crate::engine::{EngineConfig, EngineHandle, start};
use crate::reach;

/// Opens a meeting and stays in it.
///
/// # Errors
/// The sentence to end with.
pub(super) fn host(options: HostOptions) -> Result<(), String> {
    let HostOptions { server, listen, admit, participant } = options;
    let command = Command::StartMeeting { name: participant.name.clone(), server };
    check_files(&participant.send)?;
    words::check(&participant.say)?;
    attend(participant.engine_config(listen), command, participant, Some(admit))
}

/// Joins a meeting and stays in it.
///
/// # Errors
/// The sentence to end with.
pub(super) fn join(options: JoinOptions) -> Result<(), String> {
    let JoinOptions { code, server, participant } = options;
    let command = Command::Join { server, code, name: participant.name.clone() };
    check_files(&participant.send)?;
    words::check(&participant.say)?;
    attend(participant.engine_config(None), command, participant, None)
}

/// A file that is not there is better told of before the meeting than in it.
fn check_files(paths: &[PathBuf]) -> Result<(), String> {
    for path in paths {
        let file = path.metadata().map_err(|error| format!("{} cannot be sent: {error}.", path.display()))?;
        if !file.is_file() {
            return Err(format!("{} cannot be sent: it is no file.", path.display()));
        }
    }
    Ok(())
}

fn attend(
    config: EngineConfig,
    command: Command,
    options: ParticipantOptions,
    admit: Option<Admit>,
) -> Result<(), String> {
    let stats = options.stats.as_deref().map(StatsFile::create).transpose();
    let stats = stats.map_err(|error| format!("The file for statistics cannot be written: {error}."))?;
    let trace = options.trace.as_deref().map(TraceFile::create).transpose();
    let trace = trace.map_err(|error| format!("The file for the trace cannot be written: {error}."))?;
    let engine = start(config, Arc::new(|| {})).map_err(|error| format!("The program cannot start: {error}."))?;
    // Who we are is known inside.
    let transfers = Transfers::new(MemberId::SERVER, Vec::new(), io::stdout().is_terminal());
    let participant = Participant {
        engine,
        options,
        admit,
        stats,
        trace,
        transfers,
        names: BTreeMap::new(),
        reach: BTreeMap::new(),
        spoken: None,
        words: Words::default(),
        here: BTreeSet::new(),
        leave_at: None,
        found_by: None,
    };
    block_on(participant.run(command))?
}

/// Runs something that waits on this thread.
///
/// # Errors
/// A sentence when the operating system does not let it.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("The program cannot start: {error}."))?;
    Ok(runtime.block_on(future))
}

struct Participant {
    engine: EngineHandle,
    options: ParticipantOptions,
    /// `None` for a guest.
    admit: Option<Admit>,
    stats: Option<StatsFile>,
    trace: Option<TraceFile>,
    transfers: Transfers,
    /// Everybody who was ever in: a line may come from somebody who has left.
    names: BTreeMap<MemberId, String>,
    /// Of those of whom it was told that datagrams do not go both ways, or do again.
    reach: BTreeMap<MemberId, Reach>,
    /// What --say asked for is done, and to whom --send goes.
    spoken: Option<Recipients>,
    words: Words,
    /// Who is in besides us.
    here: BTreeSet<MemberId>,
    leave_at: Option<Instant>,
    /// Until when somebody has to be there for whom --say and --send are.
    found_by: Option<Instant>,
}

/// How long a guest who came for nothing else waits for somebody to say something to.
const FOUND_WITHIN: Duration = Duration::from_secs(30);

/// How the engine ended a meeting.
type Ending = Result<(), String>;

impl Participant {
    async fn run(mut self, command: Command) -> Ending {
        self.tell(command).await;
        let mut typed = if self.admit == Some(Admit::Ask) { Some(lines()) } else { None };
        let ending = loop {
            let deadline = self.deadline().unwrap_or_else(far);
            let event = tokio::select! {
                event = self.engine.events.recv() => event,
                line = next_line(&mut typed) => {
                    self.handle_line(&line).await;
                    continue;
                }
                () = asked_to_stop() => {
                    self.tell(Command::Leave).await;
                    continue;
                }
                () = sleep_until(deadline) => {
                    self.handle_timeout(Instant::now()).await;
                    continue;
                }
            };
            let Some(event) = event else {
                break Err("The program broke.".into());
            };
            if let Some(ending) = self.handle(event).await {
                break ending;
            }
        };
        self.engine.stop();
        self.stats.iter().for_each(StatsFile::flush);
        self.trace.iter().for_each(TraceFile::flush);
        ending
    }

    fn deadline(&self) -> Option<Instant> {
        let waits = self.transfers.deadline().into_iter().chain(self.words.deadline());
        waits.map(Instant::from_std).chain(self.leave_at).chain(self.found_by).min()
    }

    async fn handle_timeout(&mut self, now: Instant) {
        if self.leave_at.is_some_and(|at| now >= at) || self.found_by.is_some_and(|at| now >= at) {
            (self.leave_at, self.found_by) = (None, None);
            return self.tell(Command::Leave).await;
        }
        while let Some((from, transfer)) = self.transfers.next_retry(now.into_std()) {
            self.tell(Command::AcceptFile { from, transfer }).await;
        }
        let names = &self.names;
        let stalled = self.transfers.give_up_stalled(now.into_std(), |member| name_in(names, member));
        if self.words.give_up(now.into_std()) || stalled {
            self.send_on().await;
        }
    }

    async fn tell(&self, command: Command) {
        // An engine that is gone shows itself by its last event.
        let _ = self.engine.commands.send(command).await;
    }

    async fn handle(&mut self, event: Event) -> Option<Ending> {
        match event {
            Event::Chat(line) => self.chat(&line),
            Event::ChatDelivered { id, delivered } => self.delivered(id, delivered).await,
            Event::ChatFailed { id, why } => self.chat_failed(id, why).await,
            Event::ChatMissed { id, member } => self.chat_missed(id, member).await,
            // That it is with the others says more.
            Event::ChatSent(_) => {}
            Event::Connecting { server } => self.say(&format!("Connecting to {server}.")),
            Event::Ended { reason, expected, rejoin: _ } => return Some(self.ended(reason, expected)),
            Event::FileOffered { from, offer } => self.offered(from, offer).await,
            Event::FileChanged { from, transfer, receiver, state, path } => {
                self.file_changed((from, transfer, receiver), state, path.as_deref()).await;
            }
            Event::FileHeld { from, held, .. } => self.file_held(from, held),
            Event::FileWaits { from, transfer, waits } => self.transfers.waits((from, transfer), waits),
            Event::FileWithdrawn { from, transfer, why } => self.file_withdrawn((from, transfer), why).await,
            Event::OfferFailed { path, reason } => self.not_offered(path, reason).await,
            Event::Frame(member) => drop(self.engine.frames.take(member)),
            Event::HostChanged(member) => self.say(&format!("{} is the host.", self.name(member))),
            Event::Joined(joined) => self.joined(joined).await,
            Event::KnockArrived { knock, name } => self.knocked(knock, &name).await,
            // Of those who came in it is told that they did.
            Event::KnockGone(_) => {}
            Event::Knocking { .. } => self.say("Waiting for the host to let us in."),
            Event::Locked(locked) => self.say(if locked { "The meeting is locked." } else { "The meeting is open." }),
            Event::MediaChanged { .. } | Event::Speaking(_) => {}
            Event::MemberAway(member) => self.say(&format!("{} is reconnecting.", self.name(member))),
            Event::MemberBack(member) => self.say(&format!("{} is connected again.", self.name(member))),
            Event::MemberJoined(member) => {
                self.say(&format!("{} came in.", isolated(&member.name)));
                self.here.insert(member.id);
                self.names.insert(member.id, member.name);
                self.speak().await;
            }
            Event::MemberLeft { member, reason } => {
                self.print_left(member, reason);
                self.transfers.left(member, &self.name(member));
                self.words.left(member);
                self.here.remove(&member);
                self.reach.remove(&member);
                self.send_on().await;
            }
            Event::MuteRequested => self.say("The host has muted us."),
            Event::Notice(sentence) => self.say(&sentence),
            Event::ReachChanged { member, reach } => self.reach_changed(member, reach),
            Event::Reconnecting => {
                self.say("Connection to the server is lost; trying again. Sound and chat may still work.");
            }
            Event::Reconnected => self.say("Connected to the server again."),
            Event::ServerRemembered { server, fingerprint } => {
                self.say(&format!("{server} is remembered by its key {fingerprint}."));
            }
            Event::Statistics(snapshot) => self.measure(&snapshot),
            Event::Trace(events) => self.write_trace(&events),
        }
        None
    }

    fn chat(&mut self, line: &ChatLine) {
        if line.from == self.transfers.you() {
            self.words.sent(line.id);
        }
        self.print_chat(line);
    }

    async fn delivered(&mut self, id: ChatId, delivered: usize) {
        self.say(&format!("Message {} is with {delivered}.", id.0));
        self.words.delivered(id, delivered);
        self.send_on().await;
    }

    async fn chat_failed(&mut self, id: ChatId, why: ChatFailure) {
        self.say(&unsent(id, why));
        self.words.failed(id, why);
        self.send_on().await;
    }

    async fn chat_missed(&mut self, id: ChatId, member: MemberId) {
        self.say(&format!("Message {} does not reach {}.", id.0, self.name(member)));
        self.words.missed(id, member);
        self.send_on().await;
    }

    async fn file_changed(&mut self, place: Place, state: FileState, path: Option<&Path>) {
        let names = (self.name(place.0), self.name(place.2));
        self.transfers.changed(place, (&names.0, &names.1), state, path, Instant::now().into_std());
        self.send_on().await;
    }

    fn file_held(&self, from: MemberId, held: bool) {
        let what = if held { "holds a file back" } else { "goes on with a file" };
        self.say(&format!("{} {what}.", self.name(from)));
    }

    async fn file_withdrawn(&mut self, file: (MemberId, TransferId), why: Option<FileTrouble>) {
        let names = &self.names;
        self.transfers.withdrawn(file, why, |member| name_in(names, member));
        self.send_on().await;
    }

    async fn not_offered(&mut self, path: PathBuf, reason: String) {
        self.say(&reason);
        self.transfers.not_offered(path, reason);
        self.send_on().await;
    }

    fn ended(&self, reason: String, expected: bool) -> Ending {
        if !expected {
            return Err(reason);
        }
        self.say(&reason);
        self.outcome()
    }

    /// # Errors
    /// What did not reach whom it was for.
    fn outcome(&self) -> Ending {
        let unfound = self.spoken.is_none() && !(self.options.say.is_empty() && self.options.send.is_empty());
        let to = self.options.to.as_deref().unwrap_or("everybody");
        let complaints = unfound.then(|| self.not_found()).into_iter().chain(self.words.complaints(to));
        let complaints: Vec<_> = complaints.chain(self.transfers.outcome().err()).collect();
        if complaints.is_empty() { Ok(()) } else { Err(complaints.join(" ")) }
    }

    /// Who was meant, and who is there.
    fn not_found(&self) -> String {
        let names: Vec<_> = self.here.iter().map(|member| self.name(*member)).collect();
        let here = if names.is_empty() { "nobody else".into() } else { names.join(", ") };
        match (&self.options.to, self.meant()) {
            (None, _) => "Nobody else is in the meeting, so nobody got anything.".into(),
            (Some(to), Meant::Several(several)) => {
                let names: Vec<_> = several.into_iter().map(|member| format!("“{}”", self.name(member))).collect();
                format!("“{to}” may be {}: write the name as it is shown.", names.join(" or "))
            }
            (Some(to), _) => format!("Nobody in the meeting is called “{to}”. Here is {here}."),
        }
    }

    fn meant(&self) -> Meant<MemberId> {
        let Some(name) = &self.options.to else { return Meant::Nobody };
        let names = self.here.iter().filter_map(|member| Some((*member, &**self.names.get(member)?)));
        who_is(name, names)
    }

    /// Prints a line above the bars of files.
    fn say(&self, line: &str) {
        self.transfers.progress.say(line);
    }

    async fn joined(&mut self, joined: Joined) {
        self.transfers = Transfers::new(joined.you, self.options.send.clone(), io::stdout().is_terminal());
        self.leave_at = self.options.secs.map(|secs| Instant::now() + Duration::from_secs(secs));
        self.names = joined.members.iter().map(|member| (member.id, member.name.clone())).collect();
        self.here = self.names.keys().copied().filter(|member| *member != joined.you).collect();
        match self.admit {
            Some(_) => print_invitation(&joined),
            None => self.say("We are in."),
        }
        for member in joined.members.iter().filter(|member| member.reach != Reach::WHOLE) {
            self.reach_changed(member.id, member.reach);
        }
        self.speak().await;
        if self.spoken.is_none() && !(self.options.say.is_empty() && self.options.send.is_empty()) {
            self.say(&format!("{} Waiting.", self.not_found()));
            self.found_by = self.leaves_when_done().then(|| Instant::now() + FOUND_WITHIN);
        }
    }

    async fn knocked(&self, knock: KnockId, name: &str) {
        match self.admit {
            Some(Admit::All) => self.tell(Command::Act(Action::Admit(knock))).await,
            Some(Admit::Ask) | None => {
                let (number, name) = (knock.0, isolated(name));
                self.say(&format!(
                    "{name} is at the door. Type “a {number}” to let in, “d {number}” to turn away, “all” for all."
                ));
            }
        }
    }

    async fn handle_line(&self, line: &str) {
        match parse_answer(line) {
            Some(action) => self.tell(Command::Act(action)).await,
            None => self.say("Type “a NUMBER”, “d NUMBER” or “all”."),
        }
    }

    /// Does what --say and --send ask for, once there is somebody it is for.
    async fn speak(&mut self) {
        if self.spoken.is_some() {
            return;
        }
        let to = match (&self.options.to, self.meant()) {
            (None, _) => self.here.first().map(|_| Recipients::Everyone),
            (Some(_), Meant::One(member)) => Some(Recipients::Member(member)),
            (Some(_), Meant::Nobody | Meant::Several(_)) => None,
        };
        let Some(to) = to else { return };
        (self.spoken, self.found_by) = (Some(to), None);
        let meant = match to {
            Recipients::Everyone => self.here.clone(),
            Recipients::Member(member) => BTreeSet::from([member]),
        };
        for text in self.options.say.clone() {
            self.words.said(text.clone(), meant.clone(), Instant::now().into_std());
            self.tell(Command::SendChat { to, text }).await;
        }
        self.send_on().await;
    }

    /// Offers what is still to be offered; a guest who came for nothing else leaves when all have everything.
    async fn send_on(&mut self) {
        let Some(to) = self.spoken else { return };
        while let Some(path) = self.transfers.next_to_send() {
            self.tell(Command::OfferFile { to, path }).await;
        }
        let asked = !(self.options.say.is_empty() && self.options.send.is_empty());
        let done = (self.options.send.is_empty() || self.transfers.all_sent()) && self.words.is_settled();
        if asked && done && self.leaves_when_done() && self.leave_at.is_none() {
            self.leave_at = Some(Instant::now());
        }
    }

    /// What was asked for besides --say and --send has no end of its own.
    fn leaves_when_done(&self) -> bool {
        let ParticipantOptions { secs, receive, record, stats, camera, microphone, speaker, .. } = &self.options;
        let keeps = receive.is_some() || record.is_some() || stats.is_some();
        let attends = [camera, microphone].iter().any(|device| **device != DeviceChoice::Off);
        let listens = ![DeviceChoice::Off, DeviceChoice::Synthetic].contains(speaker);
        self.admit.is_none() && secs.is_none() && !keeps && !attends && !listens
    }

    async fn offered(&mut self, from: MemberId, offer: FileOffer) {
        let (name, size) = (isolated(&offer.name), offer.size);
        self.say(&format!("{} offers {name} ({}).", self.name(from), bytes(size as f64)));
        if self.options.receive.is_some() && from != self.transfers.you() {
            self.transfers.accepted(&offer);
            self.tell(Command::AcceptFile { from, transfer: offer.transfer }).await;
        }
        self.transfers.offered(from, offer, self.here.iter().copied());
    }

    fn print_chat(&self, line: &ChatLine) {
        let to = match line.to {
            Recipients::Everyone => String::new(),
            Recipients::Member(member) => format!(" to {}", self.name(member)),
        };
        self.say(&format!("{}{to}: {}", self.name(line.from), quoted(&line.text)));
    }

    fn reach_changed(&mut self, member: MemberId, reach: Reach) {
        let now = Instant::now().into_std();
        self.transfers.reached(member, reach == Reach::WHOLE, now);
        self.words.set_outage(self.transfers.any_out(), now);
        self.say_reach(member, reach);
    }

    /// Of the others; what is to be said of ourselves comes as a sentence.
    fn say_reach(&mut self, member: MemberId, reach: Reach) {
        if member != self.transfers.you() {
            let before = self.reach.insert(member, reach).unwrap_or(Reach::WHOLE);
            let sentence = reach::sentence(&self.name(member), before, reach);
            sentence.into_iter().for_each(|sentence| self.say(&sentence));
        }
    }

    fn print_left(&self, member: MemberId, reason: LeaveReason) {
        let what = match reason {
            LeaveReason::Left => "left",
            LeaveReason::Lost => "was lost",
            LeaveReason::Removed => "was removed",
        };
        self.say(&format!("{} {what}.", self.name(member)));
    }

    fn measure(&mut self, snapshot: &NetworkSnapshot) {
        let Some(stats) = &mut self.stats else { return };
        stats.push(snapshot);
        if let Some(sentence) = stats.trouble() {
            self.say(&sentence);
        }
    }

    fn write_trace(&mut self, events: &[Traced]) {
        let Some(trace) = &mut self.trace else { return };
        trace.push(events);
        if let Some(sentence) = trace.trouble() {
            self.say(&sentence);
        }
    }

    /// As it stands in a line of ours.
    fn name(&self, member: MemberId) -> String {
        name_in(&self.names, member)
    }
}

/// As it stands in a line of ours.
fn name_in(names: &BTreeMap<MemberId, String>, member: MemberId) -> String {
    names.get(&member).map_or_else(|| member.to_string(), |name| isolated(name).into_owned())
}

fn unsent(id: ChatId, why: ChatFailure) -> String {
    match why {
        ChatFailure::ChannelBroken => format!("Message {} was not sent: the connection for chat is broken.", id.0),
        ChatFailure::RecipientLeft => format!("Message {} did not arrive: the person it was for has left.", id.0),
        ChatFailure::RecipientUnreachable => {
            format!("Message {} did not arrive: nothing gets through to the person it was for.", id.0)
        }
    }
}

/// What somebody wrote, behind a name: its further lines are indented, so that none of them passes for one of ours.
fn quoted(text: &str) -> String {
    isolated(text).replace('\n', "\n    ")
}

/// Prints the code of a meeting of ours, and the lines that guests type.
pub(super) fn print_invitation(joined: &Joined) {
    let digits = joined.code.to_string();
    let (front, back) = digits.split_at(3);
    say(&format!("Meeting code: {front} {back}"));
    if joined.addresses.len() > 1 {
        say("Guests type one of these, of which the first is the likeliest to work:");
    }
    for address in &joined.addresses {
        let server = address.parse::<ServerAddress>().map_or_else(|_| address.clone(), |server| server.to_string());
        say(&format!("conclave join {digits} --server {server}"));
    }
    joined.addresses_note.iter().for_each(|note| say(note));
}

fn parse_answer(line: &str) -> Option<Action> {
    let mut words = line.split_whitespace();
    let action = match (words.next()?, words.next()) {
        ("all", None) => Action::AdmitAll,
        ("a", Some(number)) => Action::Admit(KnockId(number.parse().ok()?)),
        ("d", Some(number)) => Action::Deny(KnockId(number.parse().ok()?)),
        _ => return None,
    };
    words.next().is_none().then_some(action)
}

/// The next line that is typed; never, when nobody types (any more).
async fn next_line(lines: &mut Option<mpsc::Receiver<String>>) -> String {
    if let Some(open) = lines {
        if let Some(line) = open.recv().await {
            return line;
        }
        *lines = None;
    }
    std::future::pending().await
}

/// A time that does not come while anybody waits for it.
fn far() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_within_a_message_passes_for_no_line_of_ours() {
        assert_eq!(quoted("hi\nAda: yes\nBo left."), "hi\n    Ada: yes\n    Bo left.");
    }

    #[test]
    fn answers_at_the_door_are_understood() {
        assert_eq!(parse_answer(" a 3 "), Some(Action::Admit(KnockId(3))));
        assert_eq!(parse_answer("d 12"), Some(Action::Deny(KnockId(12))));
        assert_eq!(parse_answer("all"), Some(Action::AdmitAll));
        for line in ["", "a", "a x", "a 3 4", "all 3", "x 3", "a -1"] {
            assert_eq!(parse_answer(line), None, "{line}");
        }
    }
}
