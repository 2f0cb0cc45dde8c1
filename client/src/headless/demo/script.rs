//! What happens in the demo, in order.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::ids::{MemberId, TransferId};
use common::wire::control::Action;
use common::wire::message::{FileState, Recipients};
use tokio::time::sleep;

use super::assets::Assets;
use super::own_folder;
use super::person::{Person, Seen, is_intact};
use super::promises::Promises;
use crate::devices::DeviceChoice;
use crate::engine::EngineConfig;
use crate::engine::protocol::{Command, Joined};
use crate::headless::options::DemoOptions;
use crate::headless::terminal::say;

/// What the table and the figures are made of.
pub(super) struct Played {
    /// Names, ids and everything each engine told: host first.
    pub(super) people: Vec<(&'static str, MemberId, Seen)>,
    /// From the host's click to the first picture of somebody else, for each guest.
    pub(super) join_times: Vec<Duration>,
    /// From writing to reading, for each message and reader.
    pub(super) chat_latencies: Vec<Duration>,
    /// Bytes that were sent as a file to each receiver, with the rate they came at.
    pub(super) transfers: Vec<Transfer>,
}

/// One file at one receiver.
pub(super) struct Transfer {
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) time: Option<Duration>,
    pub(super) intact: bool,
}

/// How long one step may take on a slow machine and a bad network before it counts as failed.
const STEP: Duration = Duration::from_secs(60);

/// Bytes of the file that goes to everyone.
const FILE_BYTES: usize = 1 << 19;

/// Plays the whole meeting.
///
/// # Errors
/// A sentence, when the meeting did not even come about.
pub(super) async fn play(options: &DemoOptions, folder: &Path) -> Result<(Promises, Played), String> {
    let mut promises = Promises::default();
    let stage = Stage::set(options, folder)?;
    let admitted = stage.gather(&mut promises).await?;
    let join_times = stage.wait_for_pictures(&admitted, &mut promises).await;
    let until = Instant::now() + Duration::from_secs(options.secs);
    say(&format!("The meeting runs for {} seconds.", options.secs));
    sleep(Duration::from_secs(1)).await;
    let chat_latencies = stage.chat(&mut promises).await;
    let transfers = stage.send_files(folder, &mut promises).await?;
    sleep(until.saturating_duration_since(Instant::now())).await;
    let people = stage.part(&mut promises).await;
    let played = Played { people, join_times, chat_latencies, transfers };
    promise_media(&played, options, &mut promises);
    Ok((promises, played))
}

/// The three, and the addresses of the meeting.
struct Stage {
    ada: Person,
    bo: Person,
    cy: Person,
}

impl Stage {
    fn set(options: &DemoOptions, folder: &Path) -> Result<Self, String> {
        let assets = Assets::find();
        match &assets.folder {
            Some(folder) => say(&format!("Cameras and microphones play what lies in {}.", folder.display())),
            None => say("The clips of the repository are not here: cameras show a test pattern, microphones a tone."),
        }
        let [voice_a, voice_b] = assets.microphones;
        let config = |name: &str, camera: &DeviceChoice, microphone: &DeviceChoice, guest: bool| EngineConfig {
            download_dir: own_folder(folder, name).join("received"),
            state_dir: own_folder(folder, name),
            camera: camera.clone(),
            microphone: microphone.clone(),
            speaker: DeviceChoice::Synthetic,
            listen: Some(([127, 0, 0, 1], 0).into()),
            impairment: options.impair.filter(|_| guest),
            ..EngineConfig::default()
        };
        Ok(Self {
            ada: Person::start("Ada", config("Ada", &assets.camera, &voice_a, false))?,
            bo: Person::start("Bo", config("Bo", &assets.camera, &voice_b, true))?,
            cy: Person::start("Cy", config("Cy", &DeviceChoice::Synthetic, &voice_a, true))?,
        })
    }

    fn guests(&self) -> [&Person; 2] {
        [&self.bo, &self.cy]
    }

    /// Ada opens the meeting, Bo and Cy knock, Ada lets both in. Answers when she did, for each.
    async fn gather(&self, promises: &mut Promises) -> Result<[Instant; 2], String> {
        self.ada.tell(Command::StartMeeting { name: "Ada".into(), server: None }).await;
        let joined = joined(&self.ada).await?;
        say(&format!("Ada has opened meeting {} at {}.", joined.code, joined.addresses.join(", ")));
        let server = joined.addresses.first().cloned().unwrap_or_default();
        for guest in self.guests() {
            let (server, name) = (server.clone(), guest.name.into());
            guest.tell(Command::Join { server, code: joined.code, name }).await;
        }
        let knocked = self.ada.until(STEP, |seen| seen.knocks.len() == 2).await;
        promises.note("both guests are at the door", knocked);
        // Nothing may come to those who wait: long enough for several frames.
        sleep(Duration::from_millis(500)).await;
        let waiting = self.guests().iter().all(|guest| {
            let seen = guest.seen();
            seen.knocking && seen.joined.is_none() && seen.frames.is_empty() && seen.snapshot.is_none()
        });
        promises.note("guests get nothing before the host lets them in", waiting);
        let mut admitted = [Instant::now(); 2];
        for (guest, at) in self.guests().into_iter().zip(&mut admitted) {
            let knock = self.ada.seen().knocks.iter().find(|(_, name)| name == guest.name).map(|(knock, _)| *knock);
            *at = Instant::now();
            if let Some(knock) = knock {
                self.ada.tell(Command::Act(Action::Admit(knock))).await;
            }
        }
        for guest in self.guests() {
            self::joined(guest).await?;
        }
        say("Ada has let Bo and Cy in.");
        Ok(admitted)
    }

    async fn wait_for_pictures(&self, admitted: &[Instant; 2], promises: &mut Promises) -> Vec<Duration> {
        let everybody = [&self.ada, &self.bo, &self.cy];
        for person in everybody {
            let others: Vec<_> =
                everybody.iter().map(|other| other.you()).filter(|other| *other != person.you()).collect();
            let all = person.until(STEP, |seen| others.iter().all(|other| seen.frames.contains_key(other))).await;
            promises.note(format!("{} sees both others", person.name), all);
        }
        let first = |guest: &Person| {
            let you = guest.you();
            let seen = guest.seen();
            let remote = seen.frames.iter().filter(|(member, _)| **member != you);
            remote.filter_map(|(_, frames)| frames.first).min()
        };
        let times = self.guests().into_iter().zip(admitted);
        times.filter_map(|(guest, at)| first(guest).map(|first| first.saturating_duration_since(*at))).collect()
    }

    /// Everybody writes to everybody three times, and Bo writes to Cy alone.
    async fn chat(&self, promises: &mut Promises) -> Vec<Duration> {
        let people = [&self.ada, &self.bo, &self.cy];
        let mut latencies = Vec::new();
        for round in 1..=3 {
            for writer in people {
                let text = format!("{} to all, {round}", writer.name);
                let readers: Vec<_> = people.into_iter().filter(|reader| reader.name != writer.name).collect();
                let sent = say_in_chat(writer, Recipients::Everyone, &text).await;
                for reader in &readers {
                    let read = read_in_chat(reader, writer.you(), &text).await;
                    promises.note(format!("{} reads “{text}”", reader.name), read.is_some());
                    latencies.extend(read.map(|at| at.saturating_duration_since(sent)));
                }
            }
        }
        self.whisper(promises).await;
        latencies
    }

    async fn whisper(&self, promises: &mut Promises) {
        let text = "Bo to Cy alone";
        say_in_chat(&self.bo, Recipients::Member(self.cy.you()), text).await;
        let read = read_in_chat(&self.cy, self.bo.you(), text).await.is_some();
        promises.note("Cy reads what Bo wrote to Cy alone", read);
        let confirmed = self.bo.until(STEP, |seen| seen.delivered >= 7).await;
        promises.note("Bo is told that all he wrote was delivered", confirmed);
        let leaked = self.ada.seen().chats.iter().any(|(_, line)| line.text == text);
        promises.note("Ada does not read what Bo wrote to Cy alone", !leaked);
    }

    /// Ada sends a file to everyone, Bo another one to Cy.
    async fn send_files(&self, folder: &Path, promises: &mut Promises) -> Result<Vec<Transfer>, String> {
        let large = write_file(folder, "minutes.bin", FILE_BYTES, 1)?;
        let small = write_file(folder, "letter.bin", FILE_BYTES / 4, 2)?;
        self.ada.tell(Command::OfferFile { to: Recipients::Everyone, path: large }).await;
        self.bo.tell(Command::OfferFile { to: Recipients::Member(self.cy.you()), path: small }).await;
        let (bo, ada, cy) = (&self.bo, &self.ada, &self.cy);
        let mut transfers = Vec::new();
        for (from, to) in [(ada, bo), (ada, cy), (bo, cy)] {
            accept(from, to, promises).await;
        }
        for (from, to) in [(ada, bo), (ada, cy), (bo, cy)] {
            transfers.extend(receive(from, to, promises).await);
        }
        let leaked = ada.seen().offers.iter().any(|(from, _)| *from == bo.you());
        promises.note("Ada is not offered what Bo sends to Cy alone", !leaked);
        Ok(transfers)
    }

    /// Bo leaves, then Ada ends the meeting by leaving.
    async fn part(self, promises: &mut Promises) -> Vec<(&'static str, MemberId, Seen)> {
        let Self { ada, bo, cy } = self;
        let [ada_id, bo_id, cy_id] = [&ada, &bo, &cy].map(Person::you);
        // What was seen up to here: streams of members who left are gone from later statistics.
        let people = vec![
            ("Ada", ada_id, ada.seen().clone()),
            ("Bo", bo_id, bo.seen().clone()),
            ("Cy", cy_id, cy.seen().clone()),
        ];
        bo.tell(Command::Leave).await;
        let gone = ada.until(STEP, |seen| !seen.members.contains_key(&bo_id)).await;
        promises.note("Ada sees that Bo has left", gone);
        ada.tell(Command::Leave).await;
        let told = cy.until(STEP, |seen| seen.ended.is_some()).await;
        let expected = cy.seen().ended.as_ref().is_some_and(|(_, expected)| *expected);
        promises.note("Cy is told that the host ended the meeting", told && expected);
        let stopped = [cy.stop().await, bo.stop().await, ada.stop().await];
        let left = stopped.iter().all(|seen| seen.ended.as_ref().is_some_and(|(_, expected)| *expected));
        promises.note("everybody left in peace", left);
        people
    }
}

async fn joined(person: &Person) -> Result<Joined, String> {
    let in_or_over = person.until(STEP, |seen| seen.joined.is_some() || seen.ended.is_some()).await;
    let seen = person.seen();
    match (&seen.joined, &seen.ended) {
        (Some(joined), _) => Ok(joined.clone()),
        (None, Some((reason, _))) => Err(format!("{} did not get in: {reason}", person.name)),
        (None, None) => {
            Err(format!("{} did not get in within {} seconds ({in_or_over}).", person.name, STEP.as_secs()))
        }
    }
}

async fn say_in_chat(writer: &Person, to: Recipients, text: &str) -> Instant {
    let sent = Instant::now();
    writer.tell(Command::SendChat { to, text: text.into() }).await;
    sent
}

/// Waits until a message is read, once and not more; answers when.
async fn read_in_chat(reader: &Person, writer: MemberId, text: &str) -> Option<Instant> {
    let is_it = |line: &crate::engine::protocol::ChatLine| line.from == writer && line.text == text;
    reader.until(STEP, |seen| seen.chats.iter().any(|(_, line)| is_it(line))).await;
    let seen = reader.seen();
    let mut found = seen.chats.iter().filter(|(_, line)| is_it(line));
    let first = found.next().map(|(at, _)| *at);
    first.filter(|_| found.next().is_none())
}

fn write_file(folder: &Path, name: &str, bytes: usize, seed: u64) -> Result<PathBuf, String> {
    let path = folder.join(name);
    // SplitMix64: the same file each time, and nothing that a compressor could make smaller.
    let mut state = seed;
    let content: Vec<u8> = (0..bytes.div_ceil(8))
        .flat_map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ mixed >> 31).to_le_bytes()
        })
        .take(bytes)
        .collect();
    std::fs::write(&path, content).map_err(|error| format!("The demo cannot write {}: {error}.", path.display()))?;
    Ok(path)
}

fn offer_of(to: &Seen, from: MemberId) -> Option<common::wire::message::FileOffer> {
    to.offers.iter().find(|(sender, _)| *sender == from).map(|(_, offer)| offer.clone())
}

async fn accept(from: &Person, to: &Person, promises: &mut Promises) {
    let sender = from.you();
    let offered = to.until(STEP, |seen| offer_of(seen, sender).is_some()).await;
    promises.note(format!("{} is offered a file by {}", to.name, from.name), offered);
    let offer = offer_of(&to.seen(), sender);
    if let Some(offer) = offer {
        to.tell(Command::AcceptFile { from: sender, transfer: offer.transfer }).await;
    }
}

async fn receive(from: &Person, to: &Person, promises: &mut Promises) -> Option<Transfer> {
    let (sender, receiver) = (from.you(), to.you());
    let offer = offer_of(&to.seen(), sender)?;
    let key: (MemberId, TransferId, MemberId) = (sender, offer.transfer, receiver);
    let verified = |seen: &Seen| seen.files.get(&key).is_some_and(|file| file.state == FileState::Verified);
    to.until(STEP * 2, verified).await;
    from.until(STEP, verified).await;
    let file = to.seen().files.get(&key).cloned();
    let intact = file.as_ref().and_then(|file| file.path.as_deref()).is_some_and(|path| is_intact(path, &offer));
    promises.note(format!("the file of {} is on the disk of {} as it was sent", from.name, to.name), intact);
    let told = verified(&from.seen());
    promises.note(format!("{} is told that {} has the file", from.name, to.name), told);
    let time = file.map(|file| file.changed.saturating_duration_since(file.began));
    Some(Transfer { from: from.name, to: to.name, name: offer.name, bytes: offer.size, time, intact })
}

/// Pictures and sound kept coming to the end.
fn promise_media(played: &Played, options: &DemoOptions, promises: &mut Promises) {
    use common::stats::InboundMedia;
    // Half of what the smallest rung gives, and on a network that was made bad, anything at all.
    let frames = if options.impair.is_some() { options.secs } else { options.secs * 4 };
    for (name, you, seen) in &played.people {
        for (other, id, _) in played.people.iter().filter(|(_, id, _)| id != you) {
            let different = seen.frames.get(id).map_or(0, |frames| frames.different);
            promises.note(
                format!("{name} sees {other} move: {different} pictures, at least {frames}"),
                different >= frames,
            );
            let played = seen.snapshot.iter().flat_map(|snapshot| &snapshot.inbound).any(|stream| {
                stream.ssrc.member() == *id
                    && matches!(stream.media, InboundMedia::Audio { playout, .. } if playout.jitter_buffer_emitted_count > 0)
            });
            promises.note(format!("{name} hears {other}"), played);
        }
    }
}
