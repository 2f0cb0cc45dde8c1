//! Where bytes of strangers come in, as functions that take any bytes and panic only when a promise is broken.
//!
//! The fuzz targets call them with what a fuzzer finds, `tests/hostile_input.rs` with the seeds and with what chance
//! makes of them.

#[path = "control_plane.rs"]
mod control_plane;

use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::endpoint::{self, Endpoint};
use common::hub::Grant;
use common::ids::{ConnectionId, ControlId, MemberId, RoomId, Ssrc, StreamKind};
use common::limits::{
    AUDIO_BLOCK_SAMPLES, CHAT_MAX_BYTES, CONTROL_MESSAGE_MAX_BYTES, DATAGRAM_MAX_BYTES, FILE_NAME_MAX_BYTES,
    MESSAGE_MAX_BYTES, NAME_MAX_BYTES, NAME_MAX_CHARS, PLAINTEXT_MAX_BYTES, STREAM_RECEIVE_WINDOW_MIN_BYTES,
};
use common::names;
use common::picture::jpeg;
use common::relay::{Relay, SpoolEffect, SpoolFact};
use common::reno::{Connection, SEGMENT_MAX_BYTES, StreamId};
use common::seal::{Sealer, Secret, Secrets};
use common::sequence::{SendTime, SequenceNumber};
use common::text;
use common::voice::pack;
use common::wire::audio::{AudioDetail, AudioPacket, Sound};
use common::wire::control::{self, CipherSuite, ClientMessage, Framer, ServerMessage};
use common::wire::datagram::{DatagramHeader, Kind};
use common::wire::feedback::Feedback;
use common::wire::media::{BlockRun, MediaHeader, Report, ReportBlock, VideoHeader};
use common::wire::message::{self, Delivery, Message, MessageFramer};

/// What a stream was cut into, and whether it ended in an error.
type Cut<M> = (Vec<M>, bool);

/// A function that cuts a stream into messages, given in pieces of the lengths that its second argument answers.
macro_rules! cutter {
    ($framer:ty, $message:ty) => {
        |stream: &[u8], piece: &mut dyn FnMut() -> usize| -> Cut<$message> {
            let (mut framer, mut rest, mut messages) = (<$framer>::new(), stream, Vec::new());
            loop {
                match framer.next_message() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) if rest.is_empty() => return (messages, false),
                    Ok(None) => {
                        let wanted = piece().min(rest.len());
                        let taken = framer.push(&rest[..wanted]);
                        assert!(taken > 0, "there is room for a whole message");
                        rest = &rest[taken..];
                    }
                    Err(_) => return (messages, true),
                }
            }
        }
    };
}

/// The body of a control message or of a message on the reliable channel: what decodes is written, and read again
/// the same.
///
/// # Panics
/// When it is not.
pub fn control_frame(bytes: &[u8]) {
    if bytes.len() <= CONTROL_MESSAGE_MAX_BYTES {
        let framed = [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
        reads_again(&framed, cutter!(Framer, ClientMessage), control::encode);
        reads_again(&framed, cutter!(Framer, ServerMessage), control::encode);
    }
    if bytes.len() <= MESSAGE_MAX_BYTES {
        let framed = [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
        reads_again(&framed, cutter!(MessageFramer, Message), message::encode);
        reads_again(&framed, cutter!(MessageFramer, Delivery), message::encode);
    }
}

fn reads_again<M: PartialEq + Debug>(
    framed: &[u8],
    cut: impl Fn(&[u8], &mut dyn FnMut() -> usize) -> Cut<M>,
    encode: impl Fn(&M) -> Vec<u8>,
) {
    let (messages, malformed) = cut(framed, &mut || usize::MAX);
    assert_eq!(messages.len() + usize::from(malformed), 1);
    let Some(message) = messages.first() else {
        return;
    };
    let written = encode(message);
    assert!(written.len() <= framed.len(), "no encoding is shorter");
    let (again, _) = cut(&written, &mut || usize::MAX);
    assert_eq!(&again[..], &messages[..]);
}

/// A hub with hostile clients, or a session with a hostile server: members come, break off, come back and leave.
///
/// # Panics
/// As [`control_plane::run`] says.
pub fn control_plane(bytes: &[u8]) {
    control_plane::run(bytes);
}

/// Bytes of a connection, cut at places that the first eight bytes choose: the messages are those of the uncut bytes.
///
/// # Panics
/// When they are not, or a message finds no room.
pub fn framing(bytes: &[u8]) {
    let Some((seed, stream)) = bytes.split_first_chunk() else {
        return;
    };
    let seed = u64::from_be_bytes(*seed);
    cut_alike(seed, stream, cutter!(Framer, ClientMessage));
    cut_alike(seed, stream, cutter!(Framer, ServerMessage));
    cut_alike(seed, stream, cutter!(MessageFramer, Message));
    cut_alike(seed, stream, cutter!(MessageFramer, Delivery));
}

fn cut_alike<M: PartialEq + Debug>(seed: u64, stream: &[u8], cut: impl Fn(&[u8], &mut dyn FnMut() -> usize) -> Cut<M>) {
    let mut state = seed;
    let mut piece = || {
        // Knuth's MMIX constants.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        1 + (state >> 33) as usize % 37
    };
    assert_eq!(cut(stream, &mut || usize::MAX), cut(stream, &mut piece));
}

/// The body of a media packet or a report, and the outside of a datagram: what is read is written again as it was.
///
/// # Panics
/// When it is not.
pub fn media_header(bytes: &[u8]) {
    let mut written = vec![0; bytes.len().max(DATAGRAM_MAX_BYTES)];
    if let Ok(packet) = AudioPacket::parse(bytes) {
        assert_eq!(packet.bytes(), bytes.len());
        assert_eq!(packet.write(&mut written), bytes.len());
        assert_eq!(&written[..bytes.len()], bytes);
        for detail in [AudioDetail::Bare, AudioDetail::Base, AudioDetail::Exact] {
            let length = packet.thinned(detail).write(&mut written);
            assert_eq!(AudioPacket::parse(&written[..length]), Ok(packet.thinned(detail)));
        }
    }
    if let Ok((header, runs, scan)) = VideoHeader::parse(bytes) {
        let runs: Vec<BlockRun> = runs.iter().collect();
        let length = header.write(&runs, &mut written);
        assert_eq!([&written[..length], scan].concat(), bytes);
    }
    if let Ok(feedback) = Feedback::parse(bytes) {
        assert_eq!(feedback.packets().next().map(|(number, _)| number), Some(feedback.oldest()));
        assert_eq!(feedback.packets().last().map(|(number, _)| number), Some(feedback.newest));
    }
    if let Ok(report) = Report::parse(bytes) {
        let blocks: Vec<ReportBlock> = report.blocks().collect();
        let length = Report::write(report.reporter, &blocks, &mut written);
        assert_eq!(&written[..length], bytes);
    }
    if let Ok(header) = DatagramHeader::parse(bytes) {
        assert_eq!(DatagramHeader::parse(bytes), Ok(header));
        let again = header.to_bytes();
        // The four low bits of the first byte are not used.
        assert_eq!((again[0], &again[1..]), (bytes[0] & 0xf0, &bytes[1..again.len()]));
    }
    if MediaHeader::parse(bytes).is_ok() {
        let mut stamped = bytes.to_vec();
        let ssrc = Ssrc::new(MemberId(7), StreamKind::Video);
        MediaHeader::rename(&mut stamped, ssrc, SequenceNumber(7));
        MediaHeader::stamp(&mut stamped, SendTime(9));
        let read = MediaHeader::parse(&stamped).expect("a stamp leaves a header");
        assert_eq!((read.ssrc, read.sequence, read.send_time), (ssrc, SequenceNumber(7), SendTime(9)));
    }
}

/// Reads a fuzzer's bytes as instructions. What is missing at the end reads as zero, or as no bytes.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// A length of two bytes, then that many bytes, or those that are left.
    fn bytes(&mut self, max: usize) -> &'a [u8] {
        let length = usize::from(u16::from_be_bytes([self.byte(), self.byte()]));
        let (bytes, rest) = self.0.split_at(length.min(max).min(self.0.len()));
        self.0 = rest;
        bytes
    }
}

/// Datagrams at both ends of the data plane, behind authentication too: the first byte chooses between a relay with
/// a hostile member and strangers around it (even), and an endpoint with a hostile server (odd). Then come
/// instructions.
///
/// # Panics
/// When forged bytes are believed, when something goes to an address that nobody has, or when it does not end.
pub fn datagram(bytes: &[u8]) {
    let mut script = Script(bytes);
    if script.byte() % 2 == 0 {
        let mut meeting = HostileMember::new();
        while !script.0.is_empty() {
            meeting.obey(&mut script);
        }
    } else {
        let mut meeting = HostileServer::new();
        while !script.0.is_empty() {
            meeting.obey(&mut script);
        }
    }
}

const SUITE: CipherSuite = CipherSuite::Aes256Gcm;
/// Nothing here has a reason to send this much at one instant.
const ENDLESS: usize = 100_000;

fn secrets(index: usize) -> Secrets {
    Secrets { up: Secret([index as u8; Secret::BYTES]), down: Secret([index as u8 | 0x80; Secret::BYTES]) }
}

fn connection(index: usize) -> ConnectionId {
    ConnectionId(100 + index as u64)
}

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1 + index as u8], 4_000))
}

fn grant(index: usize) -> Grant {
    Grant {
        control: ControlId(index as u64),
        room: RoomId(1),
        member: MemberId(1 + index as u16),
        connection_id: connection(index),
        suite: SUITE,
    }
}

fn honest(now: Instant, index: usize) -> Endpoint {
    let grant = grant(index);
    let (member, connection) = (grant.member, grant.connection_id);
    Endpoint::new(now, member, connection, grant.suite, &secrets(index))
}

/// Seals a plaintext of at least one byte into `buffer`; answers the datagram.
fn seal<'a>(sealer: &mut Sealer, plaintext: &[u8], buffer: &'a mut [u8]) -> Option<&'a mut [u8]> {
    let plaintext = &plaintext[..plaintext.len().min(PLAINTEXT_MAX_BYTES)];
    buffer[Sealer::PLAINTEXT_OFFSET..][..plaintext.len()].copy_from_slice(plaintext);
    let length = sealer.seal(buffer, plaintext.len())?;
    Some(&mut buffer[..length])
}

/// A relay with two honest members (0 and 1) and one who holds a key and says anything (2).
struct HostileMember {
    now: Instant,
    relay: Relay,
    honest: [Endpoint; 2],
    sealer: Sealer,
}

impl HostileMember {
    fn new() -> Self {
        let now = Instant::now();
        let mut relay = Relay::new(now);
        (0..3).for_each(|index| relay.admit(now, grant(index), &secrets(index)));
        let mut meeting = Self {
            now,
            relay,
            honest: [honest(now, 0), honest(now, 1)],
            sealer: Sealer::new(SUITE, &secrets(2).up, connection(2)),
        };
        meeting.say(&PING);
        meeting.exchange();
        meeting
    }

    fn obey(&mut self, script: &mut Script<'_>) {
        match script.byte() % 8 {
            0 => self.forge(script.bytes(DATAGRAM_MAX_BYTES + 1)),
            1 => self.now += Duration::from_millis(4) * u32::from(script.byte()),
            2 => self.honest[0].push_audio(self.now, &[1_000; AUDIO_BLOCK_SAMPLES]),
            3 => self.honest[1].pull_audio(self.now, &mut [0; AUDIO_BLOCK_SAMPLES]),
            _ => self.say(script.bytes(PLAINTEXT_MAX_BYTES)),
        }
        self.exchange();
    }

    /// Bytes of somebody without a key.
    fn forge(&mut self, bytes: &[u8]) {
        let before = self.relay.statistics().datagrams_discarded;
        self.relay.handle_datagram(self.now, address(9), &mut bytes.to_vec());
        let discarded = self.relay.statistics().datagrams_discarded - before;
        assert_eq!(discarded, 1, "nobody believes what no key sealed");
    }

    fn say(&mut self, plaintext: &[u8]) {
        let mut buffer = [0; DATAGRAM_MAX_BYTES];
        if let Some(datagram) = seal(&mut self.sealer, plaintext, &mut buffer) {
            self.relay.handle_datagram(self.now, address(2), datagram);
        }
    }

    /// A disk that remembers how much it has, and no bytes.
    fn serve_spool(&mut self) {
        while let Some(effect) = self.relay.poll_spool(self.now) {
            let fact = match effect {
                SpoolEffect::Write { id, bytes, .. } => SpoolFact::Written { id, bytes },
                SpoolEffect::Read { reader, buffer, .. } => SpoolFact::Read { reader, bytes: buffer },
                SpoolEffect::Free { .. } | SpoolEffect::Remove { .. } => continue,
            };
            self.relay.handle_spool(self.now, fact);
        }
    }

    /// Carries datagrams between the relay and the honest until nobody has one more to send at this instant.
    fn exchange(&mut self) {
        let mut buffer = [0; DATAGRAM_MAX_BYTES];
        if self.relay.poll_timeout().is_some_and(|at| at <= self.now) {
            self.relay.handle_timeout(self.now);
        }
        for endpoint in &mut self.honest {
            endpoint.handle_timeout(self.now);
        }
        for _ in 0..ENDLESS {
            let mut moved = false;
            for (index, endpoint) in self.honest.iter_mut().enumerate() {
                while let Some(length) = endpoint.poll_transmit(self.now, &mut buffer) {
                    let datagram = &mut buffer[..length];
                    self.relay.handle_datagram(self.now, address(index), datagram);
                    moved = true;
                }
                take_events(endpoint);
            }
            self.serve_spool();
            while let Some(transmit) = self.relay.poll_transmit(self.now, &mut buffer) {
                moved = true;
                let receiver = (0..3).find(|index| address(*index) == transmit.to);
                let receiver = receiver.expect("the relay sends to members only");
                if let Some(endpoint) = self.honest.get_mut(receiver) {
                    endpoint.handle_datagram(self.now, &mut buffer[..transmit.bytes]);
                }
            }
            if !moved {
                return;
            }
        }
        panic!("it does not end");
    }
}

const PING: [u8; 9] = [Kind::Ping as u8, 0, 0, 0, 0, 0, 0, 0, 1];

/// Takes what happened, as an engine does: reads messages and turns unknown files down.
fn take_events(endpoint: &mut Endpoint) {
    while let Some(event) = endpoint.poll_event() {
        match event {
            endpoint::Event::FileOpened { stream, .. } if stream.0 % 2 == 0 => {
                endpoint.stop_file(stream);
            }
            endpoint::Event::FileReadable(stream) => {
                endpoint.read_file(stream, &mut [0; 4_096]);
            }
            endpoint::Event::Message(delivery) => {
                if let Message::Chat { text, .. } = delivery.message {
                    assert!(text.len() <= CHAT_MAX_BYTES);
                }
            }
            endpoint::Event::BlocksLost(_)
            | endpoint::Event::ChannelFailed
            | endpoint::Event::FileAcknowledged(_)
            | endpoint::Event::FileOpened { .. }
            | endpoint::Event::FileReset(_)
            | endpoint::Event::FileStopped(_)
            | endpoint::Event::FileWritable(_)
            | endpoint::Event::Frame(_)
            | endpoint::Event::Hears(_)
            | endpoint::Event::Speaking(_)
            | endpoint::Event::WayChanged(_) => {}
        }
    }
}

/// An honest endpoint whose server holds the right key and says anything.
struct HostileServer {
    now: Instant,
    endpoint: Endpoint,
    sealer: Sealer,
}

impl HostileServer {
    fn new() -> Self {
        let now = Instant::now();
        Self { now, endpoint: honest(now, 0), sealer: Sealer::new(SUITE, &secrets(0).down, connection(0)) }
    }

    fn obey(&mut self, script: &mut Script<'_>) {
        match script.byte() % 8 {
            0 => {
                let mut bytes = script.bytes(DATAGRAM_MAX_BYTES + 1).to_vec();
                self.endpoint.handle_datagram(self.now, &mut bytes);
            }
            1 => self.now += Duration::from_millis(4) * u32::from(script.byte()),
            2 => self.endpoint.push_audio(self.now, &[1_000; AUDIO_BLOCK_SAMPLES]),
            3 => {
                for _ in 0..=script.byte() % 16 {
                    self.endpoint.pull_audio(self.now, &mut [0; AUDIO_BLOCK_SAMPLES]);
                    self.now += Duration::from_millis(10);
                }
            }
            _ => {
                let mut buffer = [0; DATAGRAM_MAX_BYTES];
                let plaintext = script.bytes(PLAINTEXT_MAX_BYTES);
                if let Some(datagram) = seal(&mut self.sealer, plaintext, &mut buffer) {
                    self.endpoint.handle_datagram(self.now, datagram);
                }
            }
        }
        self.settle();
    }

    fn settle(&mut self) {
        if self.endpoint.poll_timeout().is_some_and(|at| at <= self.now) {
            self.endpoint.handle_timeout(self.now);
        }
        let mut buffer = [0; DATAGRAM_MAX_BYTES];
        for _ in 0..ENDLESS {
            take_events(&mut self.endpoint);
            if self.endpoint.poll_transmit(self.now, &mut buffer).is_none() {
                self.endpoint.snapshot(self.now);
                return;
            }
        }
        panic!("it does not end");
    }
}

/// Segments into a reliable channel that has data on its way, between what its owner does.
///
/// # Panics
/// When more is kept than the window, or it does not end.
pub fn segment(bytes: &[u8]) {
    let mut script = Script(bytes);
    let mut now = Instant::now();
    let mut side = Connection::new(now);
    let file = side.open().expect("no stream is open yet");
    side.write(StreamId::MESSAGES, &[1; 5_000]);
    side.write(file, &[2; 50_000]);
    drain(&mut side, now);
    while !script.0.is_empty() {
        match script.byte() % 16 {
            0 => {
                now += Duration::from_millis(8) * u32::from(script.byte());
                side.note_heard(now);
            }
            1 => drop(side.write(file, &[3; 20_000])),
            2 => drop(side.write(StreamId::MESSAGES, &[4; 700])),
            3 => side.finish(file),
            4 => side.reset(file),
            5 => side.stop(StreamId(u32::from(script.byte() % 32))),
            6..=8 => {
                let stream = StreamId(u32::from(script.byte() % 32));
                side.read(stream, &mut [0; 4_096]);
            }
            _ => drop(side.handle_segment(now, script.bytes(SEGMENT_MAX_BYTES))),
        }
        if side.poll_timeout().is_some_and(|at| at <= now) {
            side.handle_timeout(now);
        }
        drain(&mut side, now);
        for stream in 0..32 {
            assert!(side.readable(StreamId(stream)) <= STREAM_RECEIVE_WINDOW_MIN_BYTES);
        }
    }
}

fn drain(side: &mut Connection, now: Instant) {
    let mut buffer = [0; SEGMENT_MAX_BYTES];
    for _ in 0..ENDLESS {
        while side.poll_event().is_some() {}
        if side.poll_transmit(now, &mut buffer).is_none() {
            side.statistics();
            return;
        }
    }
    panic!("it does not end");
}

/// Names and texts that people type: once clean they stay as they are, within their limits; the name of a file is one
/// component of a path.
///
/// # Panics
/// When that does not hold.
pub fn names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(name) = names::clean_name(&text) {
        assert!(!name.is_empty() && name.len() <= NAME_MAX_BYTES);
        assert!(name.chars().count() <= NAME_MAX_CHARS && !name.contains(char::is_control));
        assert_eq!(names::clean_name(&name).as_ref(), Some(&name));
        assert!(names::look_alike(&name, &name));
        names::is_reserved(&name);
    }
    let file = names::safe_file_name(&text);
    assert!(!file.is_empty() && file.len() <= FILE_NAME_MAX_BYTES);
    assert!(file != "." && file != ".." && !file.contains(['/', '\\', ':', '\0']));
    assert_eq!(names::safe_file_name(&file), file);
    let clean = text::clean_text(&text);
    assert_eq!(text::clean_text(&clean), clean);
}

/// The length of a base layer, the layer, and an enhancement: a block that comes of both comes of the first alone.
///
/// # Panics
/// When it does not.
pub fn audio_layers(bytes: &[u8]) {
    let Some((base_bytes, layers)) = bytes.split_first() else { return };
    let (base, enhancement) = layers.split_at(layers.len().min(usize::from(*base_bytes)));
    let (mut exact, mut near) = ([0; AUDIO_BLOCK_SAMPLES], [0; AUDIO_BLOCK_SAMPLES]);
    let both = pack::unpack(Sound::Packed { base, enhancement }, &mut exact);
    assert!(both.is_err() || pack::unpack_base(base, &mut near).is_ok());
}

/// A picture of an encoder, or any bytes instead: a scan that is found can be put together again.
///
/// # Panics
/// When it cannot.
pub fn jpeg_scan(bytes: &[u8]) {
    jpeg::is_scan(bytes);
    let Some(scan) = jpeg::scan(bytes) else {
        return;
    };
    assert!(jpeg::is_scan(scan));
    let mut again = Vec::new();
    jpeg::assemble(64, 16, 75, scan, &mut again);
    assert_eq!(jpeg::scan(&again), Some(scan));
}
