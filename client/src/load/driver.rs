//! A thread that carries the data planes of many members: their sockets, their timers, and what they send.
//!
//! One loop does everything: wait for a datagram, a command or the next thing to send; take what came; send what is due.
//! The wait of the system has a grain of a millisecond, so that is how late a datagram may leave; how late it was is
//! counted, and every datagram says when it really left.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::ids::{ConnectionId, MemberId, StreamKind};
use common::limits::{DATAGRAM_MAX_BYTES, PING_INTERVAL, REPORT_INTERVAL};
use common::path::meter::IP_UDP_HEADER_BYTES;
use common::wire::datagram::DatagramHeader;
use common::wire::media::{Report, ReportBlock};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};
use tokio::sync::{mpsc, oneshot};

use super::clip::Clip;
use super::member::{Harvest, Member};
use super::socket::{self, Inbox};
use super::source::{AudioSource, Clock, VideoSource};
use super::tally::{Live, Tally};

/// What every member of the load does.
#[derive(Debug)]
pub(super) struct Traffic {
    pub(super) server: SocketAddr,
    pub(super) clock: Clock,
    pub(super) clip: Option<Arc<Clip>>,
    /// Members of each room, the first ones, who send video.
    pub(super) senders: usize,
    /// Members of each room, the first ones, who speak.
    pub(super) speakers: usize,
    pub(super) flood_mbits: u32,
    /// Sockets of one driver; beyond, members share them.
    pub(super) sockets_max: usize,
}

/// What a driver is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Carries this member from here on.
    Add(Box<Member>),
    /// Ends, and gives back what was counted.
    Finish,
    /// Leaves the streams of this member of this room out of what is counted.
    Ignore(usize, MemberId),
    /// From here on is measured.
    Measure,
    /// No media is sent, and nothing but what is on its way is counted any more.
    Silence,
}

/// What a driver has counted.
#[derive(Debug)]
pub(super) struct Yield {
    pub(super) tally: Tally,
    pub(super) members: Vec<Harvest>,
}

/// The run's end of a driver.
#[derive(Debug)]
pub(super) struct Driver {
    commands: mpsc::Sender<Command>,
    waker: Waker,
    done: oneshot::Receiver<Yield>,
}

/// A driver takes commands a thousand times a second, so a few may wait.
const COMMANDS: usize = 64;

impl Driver {
    /// Starts a thread.
    ///
    /// # Errors
    /// What the operating system says.
    pub(super) fn start(traffic: Arc<Traffic>, live: Arc<Live>) -> io::Result<Self> {
        let (commands, received) = mpsc::channel(COMMANDS);
        let (finished, done) = oneshot::channel();
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        thread::Builder::new().name("load".to_owned()).spawn(move || {
            let carrier = Carrier::new(poll, received, traffic, live);
            // Who started it may be gone, and then nobody wants to know.
            let _ = finished.send(carrier.run());
        })?;
        Ok(Self { commands, waker, done })
    }

    /// Tells it something; without effect when its thread broke.
    pub(super) async fn tell(&self, command: Command) {
        let _ = self.commands.send(command).await;
        let _ = self.waker.wake();
    }

    /// Ends it; `None` when its thread broke.
    pub(super) async fn finish(self) -> Option<Yield> {
        self.tell(Command::Finish).await;
        self.done.await.ok()
    }
}

const WAKER: Token = Token(usize::MAX);
/// Readiness taken at once; more stays for the next time.
const EVENTS: usize = 1_024;
/// Datagrams taken before what is due gets its turn: a millisecond or two of opening.
const RECEIVE_BATCH: usize = 512;
/// Datagrams sent before what came gets its turn. More than are taken: a datagram that waits in a socket still says when
/// it came, and one that waits here is late.
const SEND_BATCH: usize = 1_024;
/// How long the loop sleeps when nothing is due.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// What a member does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Audio,
    Ping,
    Report,
    Video,
}

struct Carrier {
    poll: Poll,
    commands: mpsc::Receiver<Command>,
    traffic: Arc<Traffic>,
    sockets: Vec<UdpSocket>,
    /// Sockets that may have more datagrams, each once.
    readable: VecDeque<usize>,
    is_readable: Vec<bool>,
    /// Each with the index of its socket.
    members: Vec<(usize, Member)>,
    by_connection: HashMap<ConnectionId, usize>,
    /// The room of who floods, and its member.
    flooder: Option<(usize, MemberId)>,
    timers: BinaryHeap<Reverse<(Instant, usize, Timer)>>,
    tally: Tally,
    buffer: [u8; DATAGRAM_MAX_BYTES],
    inbox: Inbox,
    blocks: Vec<ReportBlock>,
    finished: bool,
}

impl Carrier {
    fn new(poll: Poll, commands: mpsc::Receiver<Command>, traffic: Arc<Traffic>, live: Arc<Live>) -> Self {
        Self {
            poll,
            commands,
            traffic,
            sockets: Vec::new(),
            readable: VecDeque::new(),
            is_readable: Vec::new(),
            members: Vec::new(),
            by_connection: HashMap::new(),
            flooder: None,
            timers: BinaryHeap::new(),
            tally: Tally::new(live),
            buffer: [0; DATAGRAM_MAX_BYTES],
            inbox: Inbox::new(),
            blocks: Vec::new(),
            finished: false,
        }
    }

    fn run(mut self) -> Yield {
        let mut events = Events::with_capacity(EVENTS);
        while !self.finished {
            // Interrupted by a signal: everything is looked at, and the next turn waits again.
            let _ = self.poll.poll(&mut events, Some(self.wait()));
            for event in events.iter().filter(|event| event.token() != WAKER) {
                self.note_readable(event.token().0);
            }
            self.obey_all();
            self.receive();
            self.send_due();
        }
        let members = self.members.into_iter().map(|(_, member)| member.harvest()).collect();
        Yield { tally: self.tally, members }
    }

    fn wait(&self) -> Duration {
        if !self.readable.is_empty() {
            return Duration::ZERO;
        }
        let due = self.timers.peek().map(|Reverse((due, ..))| due.saturating_duration_since(Instant::now()));
        due.map_or(LONGEST_WAIT, |due| due.min(LONGEST_WAIT))
    }

    fn note_readable(&mut self, socket: usize) {
        if !std::mem::replace(&mut self.is_readable[socket], true) {
            self.readable.push_back(socket);
        }
    }

    fn obey_all(&mut self) {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command),
                Err(mpsc::error::TryRecvError::Empty) => return,
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    self.finished = true;
                    return;
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Add(member) => self.add(*member),
            Command::Finish => self.finished = true,
            Command::Ignore(room, flooder) => {
                self.flooder = Some((room, flooder));
                let room = self.members.iter_mut().filter(|(_, member)| member.place.room == room);
                room.for_each(|(_, member)| member.ignore(flooder));
            }
            Command::Measure => {
                self.members.iter_mut().for_each(|(_, member)| member.begin_measurement());
                self.tally.measure(true);
                self.begin_flood();
            }
            Command::Silence => {
                self.members.iter_mut().for_each(|(_, member)| member.fall_silent());
                self.tally.measure(false);
            }
        }
    }

    fn add(&mut self, mut member: Member) {
        let number = self.members.len();
        let Some(socket) = self.socket() else {
            // Without a socket it is deaf, which shows as streams that are missing.
            return;
        };
        let start = Instant::now();
        self.equip(start, &mut member);
        if let Some((_, flooder)) = self.flooder.filter(|(room, _)| *room == member.place.room) {
            member.ignore(flooder);
        }
        let reports = start + spread(number, REPORT_INTERVAL);
        self.timers.push(Reverse((start, number, Timer::Ping)));
        self.timers.push(Reverse((reports, number, Timer::Report)));
        let sources = [
            (member.audio.as_ref().map(|source| source.due), Timer::Audio),
            (member.video.as_ref().map(|source| source.due), Timer::Video),
        ];
        for (due, timer) in sources {
            self.timers.extend(due.map(|due| Reverse((due, number, timer))));
        }
        self.by_connection.insert(member.connection, number);
        self.members.push((socket, member));
    }

    /// Gives a member camera and microphone, if it is to have them.
    fn equip(&self, start: Instant, member: &mut Member) {
        let Traffic { clip, senders, speakers, .. } = &*self.traffic;
        let (place, you) = (member.place, member.you);
        let number = place.room + 7 * place.index;
        if place.index < *speakers {
            let start = start + spread(number, common::limits::AUDIO_BLOCK);
            member.audio = Some(AudioSource::new(start, you, place.index));
        }
        if place.index < *senders {
            member.video = clip.clone().map(|clip| {
                let start = start + spread(number, clip.interval);
                VideoSource::camera(start, you, clip)
            });
        }
    }

    /// The flood begins with the measurement, so that it does not keep anybody out.
    fn begin_flood(&mut self) {
        let Traffic { clip, flood_mbits, .. } = &*self.traffic;
        let flooder = self.members.iter_mut().enumerate().find(|(_, (_, member))| member.place.floods);
        if let (Some((number, (_, member))), Some(clip)) = (flooder, clip) {
            let start = Instant::now();
            member.video = Some(VideoSource::flood(start, member.you, Arc::clone(clip), *flood_mbits));
            self.timers.push(Reverse((start, number, Timer::Video)));
        }
    }

    /// A socket of its own for each member, until there are as many as there may be.
    fn socket(&mut self) -> Option<usize> {
        if self.sockets.len() < self.traffic.sockets_max
            && let Ok(mut socket) = socket::open(self.traffic.server)
        {
            let index = self.sockets.len();
            self.poll.registry().register(&mut socket, Token(index), Interest::READABLE).ok()?;
            self.sockets.push(socket);
            self.is_readable.push(false);
            return Some(index);
        }
        self.members.len().checked_rem(self.sockets.len())
    }

    /// Takes a batch from the sockets that have something.
    fn receive(&mut self) {
        let mut taken = 0;
        while taken < RECEIVE_BATCH {
            let Some(socket) = self.readable.pop_front() else { return };
            let (count, more) = self.receive_from(socket);
            // A look that finds nothing takes its time too.
            taken += count.max(1);
            if more {
                self.readable.push_back(socket);
            } else {
                self.is_readable[socket] = false;
            }
        }
    }

    /// Answers how many there were, and whether there may be more.
    fn receive_from(&mut self, socket: usize) -> (usize, bool) {
        let Self { inbox, sockets, members, by_connection, tally, traffic, .. } = self;
        let more = inbox.fill(&sockets[socket]);
        let mut count = 0;
        for (came, waited, datagram) in inbox.datagrams() {
            count += 1;
            tally.waited(waited);
            let header = DatagramHeader::parse(datagram).ok();
            let owner = header.and_then(|header| Some((header, *by_connection.get(&header.connection_id)?)));
            let opened = owner.map(|(header, number)| {
                members[number].1.handle_datagram(came, traffic.clock, header, datagram, tally)
            });
            if !matches!(opened, Some(Ok(()))) {
                tally.discarded += 1;
            }
        }
        (count, more)
    }

    fn send_due(&mut self) {
        for _ in 0..SEND_BATCH {
            let now = Instant::now();
            let due = self.timers.peek().filter(|Reverse((due, ..))| *due <= now).copied();
            let Some(Reverse((due, number, timer))) = due else { return };
            self.timers.pop();
            if let Some(next) = self.act(now, due, number, timer) {
                self.timers.push(Reverse((next, number, timer)));
            }
        }
    }

    /// Does what is due; answers when it is due again.
    fn act(&mut self, now: Instant, due: Instant, number: usize, timer: Timer) -> Option<Instant> {
        let clock = self.traffic.clock;
        let late = now.saturating_duration_since(due);
        match timer {
            Timer::Ping => {
                let bytes = self.members[number].1.ping(now, clock, &mut self.buffer);
                self.send(number, bytes);
                Some(now.max(due + PING_INTERVAL))
            }
            Timer::Report => {
                self.report(now, number);
                Some(now.max(due + REPORT_INTERVAL))
            }
            Timer::Audio => {
                self.members[number].1.audio.as_ref()?;
                let (bytes, skipped) = self.members[number].1.speak(now, clock, &mut self.buffer);
                self.send(number, bytes);
                self.tally.sent(StreamKind::Audio, bytes + IP_UDP_HEADER_BYTES, late, skipped);
                self.members[number].1.audio.as_ref().map(|source| source.due)
            }
            Timer::Video => {
                self.members[number].1.video.as_ref()?;
                let (bytes, skipped) = self.members[number].1.show(now, clock, &mut self.buffer);
                self.send(number, bytes);
                if self.members[number].1.place.floods {
                    self.tally.flooded(bytes + IP_UDP_HEADER_BYTES);
                } else {
                    self.tally.sent(StreamKind::Video, bytes + IP_UDP_HEADER_BYTES, late, skipped);
                }
                self.members[number].1.video.as_ref().map(|source| source.due)
            }
        }
    }

    fn report(&mut self, now: Instant, number: usize) {
        let mut blocks = std::mem::take(&mut self.blocks);
        let member = &mut self.members[number].1;
        member.reports(now, &mut blocks);
        self.tally.lost(member.newly_lost());
        for blocks in blocks.chunks(Report::BLOCKS_MAX) {
            let bytes = self.members[number].1.report(blocks, &mut self.buffer);
            self.send(number, bytes);
        }
        self.blocks = blocks;
    }

    fn send(&mut self, number: usize, bytes: usize) {
        let socket = &self.sockets[self.members[number].0];
        if socket.send_to(&self.buffer[..bytes], self.traffic.server).is_err() {
            self.tally.unsent();
        }
    }
}

/// A part of `interval`, so that not everybody does the same at the same moment.
fn spread(number: usize, interval: Duration) -> Duration {
    // 0.618 of a round further each time: as even as it gets, whatever the count.
    interval * ((number * 618 % 1_000) as u32) / 1_000
}
