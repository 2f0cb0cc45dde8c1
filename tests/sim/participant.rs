//! One simulated client: the shipped session and endpoint, made-up devices, and notes of all that arrived.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::endpoint::{Endpoint, Event, StreamId};
use common::ids::{ChatId, ConnectionId, ControlId, KnockId, MemberId, TransferId};
use common::limits::{AUDIO_BLOCK, AUDIO_BLOCK_SAMPLES};
use common::link::{Link, LinkConfig};
use common::sequence::MediaTime;
use common::session::{self, Over, Session};
use common::stats::NetworkSnapshot;
use common::wire::control::{Framer, MediaState, Reach, View};
use common::wire::message::{FileOffer, FileState, Message, Recipients};

use crate::picture::{Screen, Talker};
use crate::sources::{Camera, Voice, file, is_intact, loudness};
use crate::studio::Studio;

/// A client of the meeting.
#[derive(Debug)]
pub struct Participant {
    /// Display name.
    pub name: String,
    /// The newest control connection.
    pub control: ControlId,
    /// By which the relay knows us, once admitted.
    pub connection: Option<ConnectionId>,
    /// The control plane.
    pub session: Session,
    /// What the server sends on the control plane, put together from bytes.
    pub framer: Framer,
    /// The data plane, once admitted.
    pub endpoint: Option<Endpoint>,
    /// Where the client's datagrams come from.
    pub address: SocketAddr,
    /// To the server.
    pub up: Link,
    /// From the server.
    pub down: Link,
    /// Which ways let datagrams through at all.
    pub ways: Reach,
    /// Camera and microphone are used.
    pub media: bool,
    /// The microphone is not used.
    pub muted: bool,
    /// Somebody looks at our picture.
    pub video_wanted: bool,
    /// All that arrived.
    pub seen: Seen,
    /// When the next block of audio is captured and played.
    pub next_block: Instant,
    next_frame: Instant,
    began: Instant,
    voice: Voice,
    camera: Camera,
    /// In place of the camera: a picture that is sent block by block. What comes from the others is taken for such.
    pub talker: Option<Talker>,
    /// In place of all devices.
    pub studio: Option<Box<dyn Studio>>,
    /// Files that are offered are taken at once.
    pub accepts: bool,
    /// Files that arrive are read from their streams.
    pub reads: bool,
    uploads: Vec<Upload>,
    offers: BTreeMap<TransferId, (Vec<u8>, FileOffer)>,
    downloads: BTreeMap<StreamId, Key>,
    accepted: BTreeMap<Key, FileOffer>,
    /// What is here of files that are not complete.
    pub parts: BTreeMap<Key, Vec<u8>>,
    last_chat: u32,
    last_transfer: u32,
}

type Key = (MemberId, TransferId);

/// A file being written to the server.
#[derive(Debug)]
struct Upload {
    stream: StreamId,
    transfer: TransferId,
    written: usize,
}

/// What a participant noted.
#[derive(Debug, Default)]
pub struct Seen {
    /// When the admission was heard.
    pub admitted_at: Option<Instant>,
    /// What was told of data planes: when, whose, how they are.
    pub reaches: Vec<(Instant, MemberId, Reach)>,
    /// When the first frame of somebody else was complete.
    pub first_frame_at: Option<Instant>,
    /// Guests at the door, as the host hears of them.
    pub knocks: Vec<(KnockId, String)>,
    /// Frames by sender: complete, with holes, with a wrong byte.
    pub frames: BTreeMap<MemberId, (u64, u64, u64)>,
    /// What is seen of talkers.
    pub screens: BTreeMap<MemberId, Screen>,
    /// Chat: sender, its number, to whom, text, when.
    pub chat: Vec<(MemberId, ChatId, Recipients, String, Instant)>,
    /// Messages of ours that somebody has.
    pub delivered: Vec<(MemberId, ChatId)>,
    /// Messages of ours that somebody does not get.
    pub missed: Vec<(MemberId, ChatId)>,
    /// Files that arrived whole, by sender.
    pub files: Vec<(MemberId, FileOffer, Vec<u8>)>,
    /// Uploads that the server asked for, by the offset they began at.
    pub wanted: Vec<(TransferId, u64)>,
    /// Files of which nothing more came though they were not whole.
    pub broken: Vec<(MemberId, TransferId)>,
    /// What receivers say of our files.
    pub file_states: Vec<(MemberId, TransferId, FileState)>,
    /// Blocks played that had sound in them, and all blocks played.
    pub blocks: (u64, u64),
    /// Datagrams that came from the server.
    pub datagrams: u64,
    /// Who spoke at any time.
    pub speakers: Vec<MemberId>,
    /// How often we came back over a new control connection.
    pub returns: usize,
    /// Why it is over.
    pub over: Option<Over>,
    /// The newest statistics.
    pub snapshot: NetworkSnapshot,
}

impl Participant {
    /// Somebody with a connection to the server and a path of its own.
    pub fn new(now: Instant, number: u64, name: &str, session: Session, path: LinkConfig, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            control: ControlId(number),
            connection: None,
            session,
            framer: Framer::new(),
            endpoint: None,
            address: SocketAddr::from(([10, 0, 0, number as u8], 40_000)),
            up: Link::new(path, seed ^ (2 * number)),
            down: Link::new(path, seed ^ (2 * number + 1)),
            ways: Reach::WHOLE,
            media: true,
            muted: false,
            video_wanted: true,
            seen: Seen::default(),
            next_block: now,
            next_frame: now,
            began: now,
            voice: Voice::new(seed ^ number),
            camera: Camera::new(seed ^ number),
            talker: None,
            studio: None,
            accepts: true,
            reads: true,
            uploads: Vec::new(),
            offers: BTreeMap::new(),
            downloads: BTreeMap::new(),
            accepted: BTreeMap::new(),
            parts: BTreeMap::new(),
            last_chat: 0,
            last_transfer: 0,
        }
    }

    /// Our own id.
    ///
    /// # Panics
    /// Before admission.
    pub fn id(&self) -> MemberId {
        self.session.you().expect("admitted")
    }

    /// Writes to all or to one.
    pub fn say(&mut self, to: Recipients, text: &str) {
        self.last_chat += 1;
        let chat = Message::Chat { id: ChatId(self.last_chat), to, text: text.to_owned() };
        self.send(&chat);
    }

    /// Offers a file of `bytes` made from `seed`.
    pub fn offer(&mut self, to: Recipients, seed: u64, bytes: usize) -> TransferId {
        self.last_transfer += 1;
        let transfer = TransferId(self.last_transfer);
        let content = file(seed, bytes);
        let offer = FileOffer { transfer, to, name: "../notes.txt".into(), size: bytes as u64, hash: [0; 32] };
        self.offers.insert(transfer, (content, offer));
        self.offer_again(transfer);
        transfer
    }

    /// Offers a file again, for those who came since.
    pub fn offer_again(&mut self, transfer: TransferId) {
        let (_, offer) = self.offers[&transfer].clone();
        self.send(&Message::FileOffer(offer));
    }

    /// Takes a file that was offered, from where it broke off.
    ///
    /// # Panics
    /// When nobody offered it.
    pub fn accept(&mut self, from: MemberId, transfer: TransferId) {
        let offset = self.parts.entry((from, transfer)).or_default().len() as u64;
        self.send(&Message::FileAccept { to: from, transfer, offset });
    }

    /// Stops a file for a while.
    ///
    /// # Panics
    /// When it does not arrive.
    pub fn pause(&mut self, from: MemberId, transfer: TransferId) {
        let stream = self.downloads.iter().find(|(_, key)| **key == (from, transfer)).map(|(stream, _)| *stream);
        let stream = stream.expect("it arrives");
        self.downloads.remove(&stream);
        self.endpoint.as_mut().expect("admitted").stop_file(stream);
        let there = self.parts[&(from, transfer)].len() as u64;
        self.send(&Message::FileProgress { to: from, transfer, state: FileState::Paused(there) });
    }

    /// Reads again what arrives.
    pub fn read_on(&mut self) {
        self.reads = true;
        if let Some(mut endpoint) = self.endpoint.take() {
            for stream in self.downloads.keys().copied().collect::<Vec<_>>() {
                self.read_file(&mut endpoint, stream);
            }
            self.endpoint = Some(endpoint);
        }
    }

    /// Shows these members, each in a picture of this size, and nobody else.
    pub fn watch(&mut self, members: &[MemberId], rung: u8) {
        let endpoint = self.endpoint.as_mut().expect("admitted");
        endpoint.watch(members.iter().copied());
        self.session.watch(members.iter().map(|member| View { member: *member, rung }).collect());
    }

    fn send(&mut self, message: &Message) {
        let endpoint = self.endpoint.as_mut().expect("admitted");
        endpoint.send_message(message).expect("the channel has room");
    }

    /// What happened on the control plane.
    pub fn handle_session_event(&mut self, now: Instant, event: session::Event) {
        match event {
            session::Event::KnockArrived { knock, name } => self.seen.knocks.push((knock, name)),
            session::Event::KnockGone(knock) => self.seen.knocks.retain(|(id, _)| *id != knock),
            session::Event::MemberLeft { member, .. } => {
                if let Some(endpoint) = &mut self.endpoint {
                    endpoint.remove_member(member);
                }
            }
            session::Event::Over(over) => {
                self.seen.over = Some(over);
                self.endpoint = None;
            }
            session::Event::Admitted(_) => {
                self.seen.admitted_at = Some(now);
                self.session.set_media(MediaState { camera: true, microphone: true });
            }
            session::Event::ReachChanged { member, reach } => self.seen.reaches.push((now, member, reach)),
            session::Event::Reconnected => self.seen.returns += 1,
            session::Event::HostChanged(_)
            | session::Event::Knocking
            | session::Event::Locked(_)
            | session::Event::MediaChanged { .. }
            | session::Event::MemberAway(_)
            | session::Event::MemberBack(_)
            | session::Event::MemberJoined(_)
            | session::Event::MuteRequested
            | session::Event::NotAllowed(_)
            | session::Event::Notice(_)
            | session::Event::Reconnecting
            | session::Event::Unsent(_) => {}
            session::Event::VideoWanted(rung) => {
                self.video_wanted = rung.is_some();
                if let (Some(endpoint), Some(rung)) = (&mut self.endpoint, rung) {
                    endpoint.limit_video(rung);
                }
            }
        }
    }

    /// When the devices want something next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let endpoint = self.endpoint.as_ref()?;
        let devices = self.next_block.min(self.next_frame);
        Some(endpoint.poll_timeout().map_or(devices, |timeout| timeout.min(devices)))
    }

    /// Devices, timers and everything that arrived.
    pub fn advance(&mut self, now: Instant) {
        let Some(mut endpoint) = self.endpoint.take() else {
            (self.next_block, self.next_frame) = (now, now);
            return;
        };
        self.run_devices(now, &mut endpoint);
        if endpoint.poll_timeout().is_some_and(|timeout| now >= timeout) {
            endpoint.handle_timeout(now);
        }
        while let Some(event) = endpoint.poll_event() {
            self.handle_event(now, &mut endpoint, event);
        }
        self.endpoint = Some(endpoint);
    }

    fn run_devices(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while now >= self.next_block {
            if let Some(next) = self.studio.as_mut().and_then(|studio| studio.move_sound(now, endpoint)) {
                self.next_block = next;
                continue;
            }
            self.next_block += AUDIO_BLOCK;
            let voice = match &mut self.studio {
                None => self.voice.next_block(),
                Some(studio) => studio.say(now),
            };
            if self.media && !self.muted {
                endpoint.push_audio(now, &voice);
            }
            let mut heard = [0; AUDIO_BLOCK_SAMPLES];
            endpoint.pull_audio(now, &mut heard);
            self.studio.iter_mut().for_each(|studio| studio.hear(now, &heard));
            self.seen.blocks.0 += u64::from(loudness(&heard) > 300.0);
            self.seen.blocks.1 += 1;
        }
        while now >= self.next_frame {
            let target = endpoint.video_target();
            self.next_frame += Duration::from_secs(1) / u32::from(target.frames_per_second);
            let since = self.next_frame.saturating_duration_since(self.began);
            let timestamp = MediaTime((since.as_micros() * 9 / 100) as u32);
            if self.media && self.video_wanted {
                let frame = match (&mut self.studio, &mut self.talker) {
                    (Some(studio), _) => studio.film(now, target, timestamp),
                    (None, Some(talker)) => talker.next_frame(now, target, timestamp),
                    (None, None) => Some(self.camera.next_frame(target, timestamp)),
                };
                frame.into_iter().for_each(|frame| endpoint.push_video(now, frame));
            }
            self.seen.snapshot = endpoint.snapshot(now);
        }
    }

    fn handle_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::BlocksLost(lost) => {
                self.talker.iter_mut().for_each(|talker| talker.mark_lost(&lost));
                self.studio.iter_mut().for_each(|studio| studio.mark_lost(&lost));
            }
            Event::Frame(frame) if self.studio.is_some() => {
                self.studio.iter_mut().for_each(|studio| studio.show(now, &frame));
            }
            Event::Frame(frame) if self.talker.is_some() => {
                self.seen.screens.entry(frame.ssrc.member()).or_default().draw(now, &frame);
            }
            // Repairs alone are no frame, and a camera's frames need none.
            Event::Frame(frame) if frame.picture.parts.is_empty() => {}
            Event::Frame(frame) => {
                let counts = self.seen.frames.entry(frame.ssrc.member()).or_default();
                counts.0 += u64::from(frame.complete);
                counts.1 += u64::from(!frame.complete);
                counts.2 += u64::from(!is_intact(&frame.picture));
                if frame.complete {
                    self.seen.first_frame_at.get_or_insert(now);
                }
            }
            Event::Speaking(members) => {
                let new = members.iter().filter(|member| !self.seen.speakers.contains(member)).copied();
                self.seen.speakers.extend(new.collect::<Vec<_>>());
            }
            Event::Message(delivery) => self.handle_message(now, endpoint, delivery.from, delivery.message),
            Event::FileOpened { stream, from, transfer, offset } => {
                let there = self.parts.get(&(from, transfer)).map(|part| part.len() as u64);
                if there == Some(offset) {
                    self.downloads.insert(stream, (from, transfer));
                } else {
                    endpoint.stop_file(stream);
                }
            }
            Event::FileReset(stream) => self.seen.broken.extend(self.downloads.remove(&stream)),
            Event::FileReadable(stream) => self.read_file(endpoint, stream),
            Event::FileWritable(_) => self.write_files(endpoint),
            Event::Hears(hears) => self.session.set_hears(hears),
            Event::WayChanged(_) => {}
            Event::ChannelFailed => panic!("{}'s reliable channel failed", self.name),
            Event::FileAcknowledged(stream) | Event::FileStopped(stream) => {
                self.uploads.retain(|upload| upload.stream != stream);
            }
        }
    }

    fn handle_message(&mut self, now: Instant, endpoint: &mut Endpoint, from: MemberId, message: Message) {
        match message {
            Message::Chat { id, to, text } => {
                self.seen.chat.push((from, id, to, text, now));
                let _ = endpoint.send_message(&Message::ChatDelivered { to: from, id });
            }
            Message::ChatDelivered { id, .. } => self.seen.delivered.push((from, id)),
            Message::FileOffer(offer) => {
                let (key, transfer) = ((from, offer.transfer), offer.transfer);
                let new = self.accepted.insert(key, offer).is_none();
                if self.accepts && new {
                    self.parts.insert(key, Vec::new());
                    let accept = Message::FileAccept { to: from, transfer, offset: 0 };
                    endpoint.send_message(&accept).expect("the channel has room");
                }
            }
            Message::FileWanted { transfer, offset } => {
                self.seen.wanted.push((transfer, offset));
                let stream = endpoint.open_file(transfer, offset).expect("few files are under way");
                self.uploads.push(Upload { stream, transfer, written: offset as usize });
                self.write_files(endpoint);
            }
            Message::FileProgress { transfer, state, .. } => self.seen.file_states.push((from, transfer, state)),
            Message::ChatMissed { id, member } => self.seen.missed.push((member, id)),
            Message::FileAccept { .. }
            | Message::FileFailed { .. }
            | Message::FilePause { .. }
            | Message::FileWaits { .. }
            | Message::FileWithdraw { .. } => {}
        }
    }

    fn write_files(&mut self, endpoint: &mut Endpoint) {
        for upload in &mut self.uploads {
            let (content, _) = &self.offers[&upload.transfer];
            if upload.written < content.len() {
                upload.written += endpoint.write_file(upload.stream, &content[upload.written..]);
                if upload.written == content.len() {
                    endpoint.finish_file(upload.stream);
                }
            }
        }
    }

    fn read_file(&mut self, endpoint: &mut Endpoint, stream: StreamId) {
        let Some(key) = self.downloads.get(&stream).copied().filter(|_| self.reads) else {
            return;
        };
        let content = self.parts.entry(key).or_default();
        let mut buffer = [0; 4_096];
        loop {
            let read = endpoint.read_file(stream, &mut buffer);
            content.extend_from_slice(&buffer[..read.bytes]);
            if read.finished {
                let offer = self.accepted.get(&key).expect("only offered files are downloaded").clone();
                self.downloads.remove(&stream);
                let content = self.parts.remove(&key).expect("found above");
                self.seen.files.push((key.0, offer, content));
                let done = Message::FileProgress { to: key.0, transfer: key.1, state: FileState::Verified };
                endpoint.send_message(&done).expect("the channel has room");
                return;
            }
            if read.bytes == 0 {
                return;
            }
        }
    }
}
