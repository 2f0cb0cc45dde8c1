//! One participant on a terminal: does what the options say, and prints what happens.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use common::ids::{ChatId, KnockId, MemberId, RoomCode};
use common::reno::Traced;
use common::stats::NetworkSnapshot;
use common::wire::control::{Action, LeaveReason};
use common::wire::message::{FileOffer, FileState, Recipients};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::options::{Admit, HostOptions, JoinOptions, ParticipantOptions};
use super::stats::StatsFile;
use super::terminal::{asked_to_stop, lines, say};
use super::trace::TraceFile;
use crate::engine::address::ServerAddress;
use crate::engine::protocol::{ChatFailure, ChatLine, Command, Event, Joined};
use crate::engine::{EngineConfig, EngineHandle, start};

/// Opens a meeting and stays in it.
///
/// # Errors
/// The sentence to end with.
pub(super) fn host(options: HostOptions) -> Result<(), String> {
    let HostOptions { server, listen, admit, participant } = options;
    let command = Command::StartMeeting { name: participant.name.clone(), server };
    attend(participant.engine_config(listen), command, participant, Some(admit))
}

/// Joins a meeting and stays in it.
///
/// # Errors
/// The sentence to end with.
pub(super) fn join(options: JoinOptions) -> Result<(), String> {
    let JoinOptions { code, server, participant } = options;
    let command = Command::Join { server, code, name: participant.name.clone() };
    attend(participant.engine_config(None), command, participant, None)
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
    let participant = Participant {
        engine,
        options,
        admit,
        stats,
        trace,
        you: None,
        names: BTreeMap::new(),
        spoken: false,
        leave_at: None,
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
    you: Option<MemberId>,
    /// Everybody who was ever in: a line may come from somebody who has left.
    names: BTreeMap<MemberId, String>,
    /// What --say and --send asked for is done.
    spoken: bool,
    leave_at: Option<Instant>,
}

/// How the engine ended a meeting.
type Ending = Result<(), String>;

impl Participant {
    async fn run(mut self, command: Command) -> Ending {
        self.tell(command).await;
        let mut typed = if self.admit == Some(Admit::Ask) { Some(lines()) } else { None };
        let ending = loop {
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
                () = sleep_until(self.leave_at.unwrap_or_else(far)), if self.leave_at.is_some() => {
                    self.leave_at = None;
                    self.tell(Command::Leave).await;
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
        ending
    }

    async fn tell(&self, command: Command) {
        // An engine that is gone shows itself by its last event.
        let _ = self.engine.commands.send(command).await;
    }

    async fn handle(&mut self, event: Event) -> Option<Ending> {
        match event {
            Event::Chat(line) => self.print_chat(&line),
            Event::ChatFailed { id, why } => say(&unsent(id, why)),
            // That it is with the others says more.
            Event::ChatSent(_) => {}
            Event::ChatDelivered { id, delivered } => say(&format!("Message {} is with {delivered}.", id.0)),
            Event::Connecting { server } => say(&format!("Connecting to {server}.")),
            Event::Ended { reason, expected, rejoin: _ } => return Some(self.ended(reason, expected)),
            Event::FileChanged { from, transfer: _, receiver, state, path } => {
                self.print_file(from, receiver, state, path.as_deref());
            }
            Event::FileOffered { from, offer } => self.offered(from, &offer).await,
            Event::FileWithdrawn { from, .. } => say(&format!("{} took a file back.", self.name(from))),
            Event::Frame(member) => drop(self.engine.frames.take(member)),
            Event::HostChanged(member) => say(&format!("{} is the host.", self.name(member))),
            Event::Joined(joined) => self.joined(joined).await,
            Event::KnockArrived { knock, name } => self.knocked(knock, &name).await,
            // Of those who came in it is told that they did.
            Event::KnockGone(_) => {}
            Event::Knocking { .. } => say("Waiting for the host to let us in."),
            Event::Locked(locked) => say(if locked { "The meeting is locked." } else { "The meeting is open." }),
            Event::MediaChanged { .. } | Event::Speaking(_) => {}
            Event::MemberAway(member) => say(&format!("{} is reconnecting.", self.name(member))),
            Event::MemberBack(member) => say(&format!("{} is connected again.", self.name(member))),
            Event::MemberJoined(member) => {
                say(&format!("{} came in.", member.name));
                self.names.insert(member.id, member.name);
                self.speak().await;
            }
            Event::MemberLeft { member, reason } => self.print_left(member, reason),
            Event::MuteRequested => say("The host has muted us."),
            Event::Notice(sentence) => say(&sentence),
            Event::Reconnecting => {
                say("Connection to the server is lost; trying again. Sound and chat may still work.");
            }
            Event::Reconnected => say("Connected to the server again."),
            Event::ServerRemembered { server, fingerprint } => {
                say(&format!("{server} is remembered by its key {fingerprint}."));
            }
            Event::Statistics(snapshot) => self.measure(&snapshot),
            Event::Trace(events) => self.write_trace(&events),
        }
        None
    }

    fn ended(&self, reason: String, expected: bool) -> Ending {
        if expected {
            say(&reason);
            Ok(())
        } else {
            Err(reason)
        }
    }

    async fn joined(&mut self, joined: Joined) {
        self.you = Some(joined.you);
        self.leave_at = self.options.secs.map(|secs| Instant::now() + Duration::from_secs(secs));
        self.names = joined.members.iter().map(|member| (member.id, member.name.clone())).collect();
        match self.admit {
            Some(_) => print_invitation(joined.code, &joined.addresses),
            None => say("We are in."),
        }
        self.speak().await;
    }

    async fn knocked(&self, knock: KnockId, name: &str) {
        match self.admit {
            Some(Admit::All) => self.tell(Command::Act(Action::Admit(knock))).await,
            Some(Admit::Ask) | None => {
                let number = knock.0;
                say(&format!(
                    "{name} is at the door. Type “a {number}” to let in, “d {number}” to turn away, “all” for all."
                ));
            }
        }
    }

    async fn handle_line(&self, line: &str) {
        match parse_answer(line) {
            Some(action) => self.tell(Command::Act(action)).await,
            None => say("Type “a NUMBER”, “d NUMBER” or “all”."),
        }
    }

    /// Does what --say and --send ask for, once there is somebody it is for.
    async fn speak(&mut self) {
        let mut others = self.names.iter().filter(|(member, _)| Some(**member) != self.you);
        let to = match &self.options.to {
            None => others.next().map(|_| Recipients::Everyone),
            Some(name) => others.find(|(_, other)| *other == name).map(|(member, _)| Recipients::Member(*member)),
        };
        let Some(to) = to.filter(|_| !self.spoken) else {
            return;
        };
        self.spoken = true;
        for text in self.options.say.clone() {
            self.tell(Command::SendChat { to, text }).await;
        }
        for path in self.options.send.clone() {
            self.tell(Command::OfferFile { to, path }).await;
        }
    }

    async fn offered(&self, from: MemberId, offer: &FileOffer) {
        let (name, size) = (&offer.name, offer.size);
        say(&format!("{} offers {name} ({size} bytes).", self.name(from)));
        if self.options.receive.is_some() && Some(from) != self.you {
            self.tell(Command::AcceptFile { from, transfer: offer.transfer }).await;
        }
    }

    fn print_file(&self, from: MemberId, receiver: MemberId, state: FileState, path: Option<&std::path::Path>) {
        let (sender, receiver) = (self.name(from), self.name(receiver));
        match (state, path) {
            (FileState::Cancelled, _) => say(&format!("{receiver} stopped a file of {sender}.")),
            (FileState::Corrupt, _) => say(&format!("A file of {sender} came damaged to {receiver} and was not kept.")),
            (FileState::Declined, _) => say(&format!("{receiver} does not want a file of {sender}.")),
            (FileState::Receiving(bytes), _) => say(&format!("{receiver} has {bytes} bytes of a file of {sender}.")),
            (FileState::Verified, Some(path)) => say(&format!("Received {} from {sender}, verified.", path.display())),
            (FileState::Verified, None) => say(&format!("{receiver} has a file of {sender}, verified.")),
        }
    }

    fn print_chat(&self, line: &ChatLine) {
        let to = match line.to {
            Recipients::Everyone => String::new(),
            Recipients::Member(member) => format!(" to {}", self.name(member)),
        };
        say(&format!("{}{to}: {}", self.name(line.from), line.text));
    }

    fn print_left(&self, member: MemberId, reason: LeaveReason) {
        let what = match reason {
            LeaveReason::Left => "left",
            LeaveReason::Lost => "was lost",
            LeaveReason::Removed => "was removed",
        };
        say(&format!("{} {what}.", self.name(member)));
    }

    fn measure(&mut self, snapshot: &NetworkSnapshot) {
        let written = self.stats.as_mut().map_or(Ok(()), |stats| stats.push(snapshot));
        if let Err(error) = written {
            self.stats = None;
            say(&disk_sentence(&error));
        }
    }

    fn write_trace(&mut self, events: &[Traced]) {
        let written = self.trace.as_mut().map_or(Ok(()), |trace| trace.push(events));
        if let Err(error) = written {
            self.trace = None;
            say(&disk_sentence(&error));
        }
    }

    fn name(&self, member: MemberId) -> String {
        self.names.get(&member).cloned().unwrap_or_else(|| member.to_string())
    }
}

fn unsent(id: ChatId, why: ChatFailure) -> String {
    match why {
        ChatFailure::ChannelBroken => format!("Message {} was not sent: the connection for chat is broken.", id.0),
        ChatFailure::RecipientLeft => format!("Message {} did not arrive: the person it was for has left.", id.0),
    }
}

fn disk_sentence(error: &io::Error) -> String {
    format!("Statistics are not written any more: {error}.")
}

/// Prints the code of a meeting of ours, and the line that guests type.
pub(super) fn print_invitation(code: RoomCode, addresses: &[String]) {
    let digits = code.to_string();
    let (front, back) = digits.split_at(3);
    say(&format!("Meeting code: {front} {back}"));
    for address in addresses {
        let server = address.parse::<ServerAddress>().map_or_else(|_| address.clone(), |server| server.to_string());
        say(&format!("conclave join {digits} --server {server}"));
    }
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
    fn answers_at_the_door_are_understood() {
        assert_eq!(parse_answer(" a 3 "), Some(Action::Admit(KnockId(3))));
        assert_eq!(parse_answer("d 12"), Some(Action::Deny(KnockId(12))));
        assert_eq!(parse_answer("all"), Some(Action::AdmitAll));
        for line in ["", "a", "a x", "a 3 4", "all 3", "x 3", "a -1"] {
            assert_eq!(parse_answer(line), None, "{line}");
        }
    }
}
