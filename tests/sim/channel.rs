//! Reliable channels without a meeting: any number of them, and media beside them, over one path in virtual time.

use std::time::{Duration, Instant};

use common::limits::{DATAGRAM_HEADER_BYTES, DATAGRAM_MAX_BYTES, DATAGRAM_TAG_BYTES};
use common::link::{Link, LinkConfig};
use common::reno::{Algorithm, Config, Connection, RenoStatistics, SEGMENT_MAX_BYTES, StreamId};

/// Connections with one path under them. Of each, side 0 sends files and side 1 receives them.
#[derive(Debug)]
pub struct Channels {
    /// Virtual now.
    pub now: Instant,
    /// Every connection: what sends and what receives.
    pub flows: Vec<Flow>,
    /// Media beside them, in the direction of the files.
    pub media: Option<Media>,
    /// The way of the files, and the way back.
    pub links: [Link; 2],
}

/// One connection.
#[derive(Debug)]
pub struct Flow {
    /// Its two ends.
    pub sides: [Connection; 2],
    /// The stream of its file, which has no end.
    file: Option<StreamId>,
    /// Bytes of the file that were read.
    pub received: u64,
    /// How long each message took from its writing to its reading.
    pub message_delays: Vec<Duration>,
    /// When messages that were not read yet were written.
    written: std::collections::VecDeque<Instant>,
    unread: usize,
}

/// Datagrams of a call: sent at their times whatever the path does.
#[derive(Debug)]
pub struct Media {
    /// Bytes of a datagram of audio, every 10 ms.
    pub audio_bytes: usize,
    /// Bytes of a video frame, 30 a second; sent in datagrams spread over half of the time to the next frame.
    pub frame_bytes: usize,
    /// How long each datagram of audio took.
    pub audio_delays: Vec<Duration>,
    /// How long each datagram of video took.
    pub video_delays: Vec<Duration>,
    /// Datagrams of audio sent.
    pub audio_sent: u64,
    /// Bytes that arrived, with IP and UDP.
    pub received: u64,
    next_audio: Instant,
    next_video: Instant,
    /// Bytes of the frame that is being sent, and how many datagrams of it were.
    left: usize,
}

/// What sealing puts around a segment: header, kind and tag; the link adds IP and UDP itself.
const SEALING_BYTES: usize = DATAGRAM_HEADER_BYTES + 1 + DATAGRAM_TAG_BYTES;
/// The first byte of a datagram of media; connections have their index there.
const AUDIO: u8 = 0xfe;
const VIDEO: u8 = 0xff;
/// The step of the virtual clock: far below what any figure shows.
const TICK: Duration = Duration::from_micros(10);
const VIDEO_INTERVAL: Duration = Duration::from_micros(33_333);
const AUDIO_INTERVAL: Duration = Duration::from_millis(10);
const VIDEO_DATAGRAM_BYTES: usize = 1_200;

/// Bytes of a message in the rows that measure them.
pub const MESSAGE_BYTES: usize = 200;

/// A path of so many bits a second and such a round trip, with a queue of one bandwidth-delay product and at least
/// 30 kB, that loses this share of packets each way.
pub fn path(rate_bps: u64, round_trip: Duration, loss: f64) -> LinkConfig {
    let product = rate_bps as f64 / 8.0 * round_trip.as_secs_f64();
    LinkConfig {
        delay: round_trip / 2,
        rate_bps: Some(rate_bps),
        queue_bytes: (product as usize).max(30_000),
        loss,
        ..LinkConfig::default()
    }
}

impl Channels {
    /// Connections of these algorithms over a path that is the same each way.
    pub fn new(path: LinkConfig, algorithms: &[Algorithm], seed: u64) -> Self {
        let now = Instant::now();
        let flow = |algorithm: &Algorithm| {
            let side = || Connection::with_config(now, Config { algorithm: *algorithm, ..Config::default() });
            Flow {
                sides: [side(), side()],
                file: None,
                received: 0,
                message_delays: Vec::new(),
                written: std::collections::VecDeque::new(),
                unread: 0,
            }
        };
        Self {
            now,
            flows: algorithms.iter().map(flow).collect(),
            media: None,
            links: [Link::new(path, 2 * seed), Link::new(path, 2 * seed + 1)],
        }
    }

    /// One connection with Reno.
    pub fn reno(path: LinkConfig, seed: u64) -> Self {
        Self::new(path, &[Algorithm::Reno], seed)
    }

    /// The connection begins to send a file that has no end.
    ///
    /// # Panics
    /// When it sends one already.
    pub fn send_file(&mut self, flow: usize) {
        let flow = &mut self.flows[flow];
        assert!(flow.file.is_none());
        flow.file = flow.sides[0].open();
    }

    /// A call begins beside the files.
    pub fn call(&mut self, audio_bytes: usize, frame_bytes: usize) {
        self.media = Some(Media {
            audio_bytes,
            frame_bytes,
            audio_delays: Vec::new(),
            video_delays: Vec::new(),
            audio_sent: 0,
            received: 0,
            next_audio: self.now,
            next_video: self.now,
            left: 0,
        });
    }

    /// Writes a message, and measures how long it takes.
    pub fn write_message(&mut self, flow: usize) {
        let flow = &mut self.flows[flow];
        flow.sides[0].write(StreamId::MESSAGES, &[7; MESSAGE_BYTES]);
        flow.written.push_back(self.now);
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.step(until);
        }
    }

    /// To the next thing that happens, but not beyond `until`.
    pub fn step(&mut self, until: Instant) {
        self.send();
        let arrivals = self.links.iter().filter_map(Link::poll_timeout);
        let timers = self.flows.iter().flat_map(|flow| flow.sides.iter().filter_map(Connection::poll_timeout));
        let media = self.media.iter().map(|media| media.next_audio.min(media.next_video));
        let next = arrivals.chain(timers).chain(media).fold(until, Instant::min);
        // A timer that was due already has nothing more to do at this instant.
        self.now = next.max(self.now + TICK).min(until.max(self.now));
        for side in 0..2 {
            while let Some(datagram) = self.links[1 - side].poll(self.now) {
                self.receive(side, &datagram);
            }
        }
        for flow in &mut self.flows {
            flow.advance(self.now);
        }
        self.send();
    }

    /// Bits of files that were read, a second, since the connections began.
    pub fn goodput_mbit(&self, flow: usize, time: Duration) -> f64 {
        self.flows[flow].received as f64 * 8.0 / time.as_secs_f64() / 1e6
    }

    /// How the sender of a connection stands.
    pub fn statistics(&self, flow: usize) -> RenoStatistics {
        self.flows[flow].sides[0].statistics()
    }

    fn send(&mut self) {
        let mut buffer = [0; DATAGRAM_MAX_BYTES];
        if let Some(media) = &mut self.media {
            let used = media.send(self.now, &mut self.links[0]);
            self.flows.iter_mut().filter(|_| used).for_each(|flow| flow.sides[0].note_media(self.now));
        }
        for (index, flow) in self.flows.iter_mut().enumerate() {
            flow.write();
            for (side, link) in self.links.iter_mut().enumerate() {
                let segment = SEALING_BYTES..SEALING_BYTES + SEGMENT_MAX_BYTES;
                while let Some(length) = flow.sides[side].poll_transmit(self.now, &mut buffer[segment.clone()]) {
                    buffer[0] = index as u8;
                    link.send(self.now, buffer[..SEALING_BYTES + length].to_vec());
                }
            }
        }
    }

    fn receive(&mut self, side: usize, datagram: &[u8]) {
        match (datagram[0], &mut self.media) {
            (kind @ (AUDIO | VIDEO), Some(media)) => media.receive(self.now, kind, datagram),
            (index, _) => {
                let connection = &mut self.flows[usize::from(index)].sides[side];
                connection.handle_segment(self.now, &datagram[SEALING_BYTES..]).expect("the peer is honest");
            }
        }
    }
}

impl Flow {
    fn write(&mut self) {
        if let Some(file) = self.file {
            while self.sides[0].write(file, &PIECE) == PIECE.len() {}
        }
    }

    fn advance(&mut self, now: Instant) {
        for side in &mut self.sides {
            side.handle_timeout(now);
            while side.poll_event().is_some() {}
        }
        let mut sink = [0; 64 * 1024];
        if let Some(file) = self.file {
            while let bytes @ 1.. = self.sides[1].read(file, &mut sink).bytes {
                self.received += bytes as u64;
            }
        }
        self.unread += self.sides[1].read(StreamId::MESSAGES, &mut sink).bytes;
        while self.unread >= MESSAGE_BYTES {
            self.unread -= MESSAGE_BYTES;
            let written = self.written.pop_front().expect("no more is read than was written");
            self.message_delays.push(now - written);
        }
    }
}

static PIECE: [u8; 64 * 1024] = [7; 64 * 1024];

impl Media {
    /// Sends what is due; answers whether anything was.
    fn send(&mut self, now: Instant, link: &mut Link) -> bool {
        let mut used = false;
        while self.next_audio <= now {
            self.next_audio += AUDIO_INTERVAL;
            self.audio_sent += 1;
            self.put(now, link, AUDIO, self.audio_bytes);
            used = true;
        }
        while self.next_video <= now && self.frame_bytes > 0 {
            if self.left == 0 {
                self.left = self.frame_bytes;
            }
            let bytes = self.left.min(VIDEO_DATAGRAM_BYTES);
            self.left -= bytes;
            self.put(now, link, VIDEO, bytes);
            let datagrams = self.frame_bytes.div_ceil(VIDEO_DATAGRAM_BYTES) as u32;
            let pause = VIDEO_INTERVAL / 2 / datagrams;
            self.next_video += if self.left > 0 { pause } else { VIDEO_INTERVAL - pause * (datagrams - 1) };
            used = true;
        }
        if self.frame_bytes == 0 {
            self.next_video = self.next_audio;
        }
        used
    }

    fn put(&self, now: Instant, link: &mut Link, kind: u8, bytes: usize) {
        let mut datagram = vec![0; bytes];
        datagram[0] = kind;
        // The sender's clock, so that the delay can be told at the other end.
        datagram[1..9].copy_from_slice(&(now - self.origin()).as_nanos().to_be_bytes()[8..]);
        link.send(now, datagram);
    }

    /// Any instant before the first datagram.
    fn origin(&self) -> Instant {
        self.next_audio - AUDIO_INTERVAL * u32::try_from(self.audio_sent).unwrap_or(u32::MAX)
    }

    fn receive(&mut self, now: Instant, kind: u8, datagram: &[u8]) {
        let nanos = datagram[1..9].try_into().map(u64::from_be_bytes).expect("eight bytes");
        let delay = (now - self.origin()).saturating_sub(Duration::from_nanos(nanos));
        self.received += (datagram.len() + common::link::OVERHEAD_BYTES) as u64;
        if kind == AUDIO { &mut self.audio_delays } else { &mut self.video_delays }.push(delay);
    }
}
