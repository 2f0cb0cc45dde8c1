//! A participant of the demo: an engine, and everything it has told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::ids::{KnockId, MemberId, TransferId};
use common::stats::NetworkSnapshot;
use common::wire::control::Member;
use common::wire::message::{FileOffer, FileState};
use tokio::sync::mpsc;

use crate::engine::protocol::{ChatLine, Command, Event, FrameSlots, Joined};
use crate::engine::{EngineConfig, EngineHandle, start};

/// One of the three.
pub(super) struct Person {
    pub(super) name: &'static str,
    commands: mpsc::Sender<Command>,
    seen: Arc<Mutex<Seen>>,
    thread: JoinHandle<()>,
    /// Ends when all that the engine told was seen.
    listening: tokio::task::JoinHandle<()>,
}

/// What an engine told.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) joined: Option<Joined>,
    pub(super) ended: Option<(String, bool)>,
    pub(super) members: BTreeMap<MemberId, Member>,
    pub(super) knocks: Vec<(KnockId, String)>,
    pub(super) knocking: bool,
    pub(super) chats: Vec<(Instant, ChatLine)>,
    pub(super) delivered: usize,
    pub(super) offers: Vec<(MemberId, FileOffer)>,
    pub(super) files: BTreeMap<(MemberId, TransferId, MemberId), FileNews>,
    pub(super) frames: BTreeMap<MemberId, Frames>,
    pub(super) notices: Vec<String>,
    pub(super) snapshot: Option<Box<NetworkSnapshot>>,
    pub(super) round_trips: Vec<Duration>,
}

/// How far a file is, and since when.
#[derive(Clone, Debug)]
pub(super) struct FileNews {
    pub(super) began: Instant,
    pub(super) changed: Instant,
    pub(super) state: FileState,
    pub(super) path: Option<PathBuf>,
}

/// Pictures that were decoded and taken out of the slots.
#[derive(Clone, Debug, Default)]
pub(super) struct Frames {
    pub(super) first: Option<Instant>,
    pub(super) last: Option<Instant>,
    /// By height in pixels.
    pub(super) by_height: BTreeMap<usize, u64>,
    /// Pictures that were not the one before.
    pub(super) different: u64,
    digest: u64,
}

impl Frames {
    pub(super) fn total(&self) -> u64 {
        self.by_height.values().sum()
    }
}

impl Person {
    /// Starts an engine and listens to it.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn start(name: &'static str, config: EngineConfig) -> Result<Self, String> {
        let engine =
            start(config, Arc::new(|| {})).map_err(|error| format!("The engine of {name} cannot start: {error}."))?;
        let EngineHandle { commands, events, frames, thread } = engine;
        let seen = Arc::<Mutex<Seen>>::default();
        let listening = tokio::spawn(listen(events, frames, Arc::clone(&seen)));
        Ok(Self { name, commands, seen, thread, listening })
    }

    pub(super) async fn tell(&self, command: Command) {
        // An engine that is gone breaks the promises that follow.
        let _ = self.commands.send(command).await;
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The own id; before admission an id that no member has.
    pub(super) fn you(&self) -> MemberId {
        self.seen().joined.as_ref().map_or(MemberId::SERVER, |joined| joined.you)
    }

    /// Waits until what was seen fulfils a condition; `false` when it does not in time.
    pub(super) async fn until(&self, time: Duration, condition: impl Fn(&Seen) -> bool) -> bool {
        let give_up = Instant::now() + time;
        loop {
            if condition(&self.seen()) {
                return true;
            }
            if Instant::now() >= give_up {
                return false;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Drops the engine and waits for its thread, and until its last events were seen.
    pub(super) async fn stop(self) -> Seen {
        drop(self.commands);
        let thread = self.thread;
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        let _ = tokio::time::timeout(LAST_WORDS, self.listening).await;
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }
}

/// An engine that has ended has said all it had to say, and reading it takes no time.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// How often a condition is looked at. Times that are reported are those of the events, not of the looks.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

async fn listen(mut events: mpsc::Receiver<Event>, frames: FrameSlots, seen: Arc<Mutex<Seen>>) {
    while let Some(event) = events.recv().await {
        let now = Instant::now();
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Event::Frame(member) = event {
            seen.look(now, member, &frames);
        } else {
            seen.hear(now, event);
        }
    }
}

impl Seen {
    fn look(&mut self, now: Instant, member: MemberId, slots: &FrameSlots) {
        let Some(picture) = slots.take(member).filter(crate::devices::Picture::is_whole) else {
            return;
        };
        let frames = self.frames.entry(member).or_default();
        frames.first.get_or_insert(now);
        frames.last = Some(now);
        *frames.by_height.entry(picture.height).or_default() += 1;
        let digest = digest(&picture.rgba);
        frames.different += u64::from(frames.digest != digest);
        frames.digest = digest;
        slots.give_back(picture);
    }

    fn hear(&mut self, now: Instant, event: Event) {
        match event {
            Event::Chat(line) => self.chats.push((now, line)),
            Event::ChatDelivered { .. } => self.delivered += 1,
            Event::Ended { reason, expected, rejoin: _ } => self.ended = Some((reason, expected)),
            Event::FileChanged { from, transfer, receiver, state, path } => {
                let news = FileNews { began: now, changed: now, state, path };
                let entry = self.files.entry((from, transfer, receiver)).or_insert_with(|| news.clone());
                *entry = FileNews { began: entry.began, ..news };
            }
            Event::FileOffered { from, offer } => self.offers.push((from, offer)),
            Event::Joined(joined) => {
                self.members = joined.members.iter().map(|member| (member.id, member.clone())).collect();
                self.joined = Some(joined);
            }
            Event::KnockArrived { knock, name } => self.knocks.push((knock, name)),
            Event::Knocking { .. } => self.knocking = true,
            Event::MemberJoined(member) => drop(self.members.insert(member.id, member)),
            Event::MemberLeft { member, .. } => drop(self.members.remove(&member)),
            Event::Notice(sentence) => self.notices.push(sentence),
            Event::Statistics(snapshot) => {
                self.round_trips.extend(snapshot.round_trip_time);
                self.snapshot = Some(snapshot);
            }
            Event::OfferFailed { reason, .. } => self.notices.push(reason),
            Event::ChatFailed { .. }
            | Event::ChatMissed { .. }
            | Event::ChatSent(_)
            | Event::Connecting { .. }
            | Event::FileHeld { .. }
            | Event::FileWaits { .. }
            | Event::FileWithdrawn { .. }
            | Event::Frame(_)
            | Event::HostChanged(_)
            | Event::KnockGone(_)
            | Event::Locked(_)
            | Event::MediaChanged { .. }
            | Event::MemberAway(_)
            | Event::MemberBack(_)
            | Event::MuteRequested
            | Event::Reconnected
            | Event::ReachChanged { .. }
            | Event::Reconnecting
            | Event::ServerRemembered { .. }
            | Event::Speaking(_)
            | Event::Trace(_) => {}
        }
    }
}

/// Tells a picture from the one before: FNV-1a over every 101st byte.
fn digest(rgba: &[u8]) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    rgba.iter().step_by(101).fold(0xcbf2_9ce4_8422_2325, fnv)
}

/// Whether the bytes on the disk are the offered ones.
pub(super) fn is_intact(path: &Path, offer: &FileOffer) -> bool {
    std::fs::read(path)
        .is_ok_and(|bytes| bytes.len() as u64 == offer.size && *blake3::hash(&bytes).as_bytes() == offer.hash)
}
