//! The client's side of the data plane: what a member sends and receives once admitted.
//!
//! Out go audio at once, video paced, then reports and pings, then segments of the reliable channel; in come the
//! other members' streams, each into a buffer of its own (`receiving`), and messages and files (`channel`).

mod channel;
mod parts;
mod receiving;
mod sending;
mod speaker;
mod voice;
mod way;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::ids::{ConnectionId, MemberId, Ssrc, StreamKind, TransferId};
use crate::limits::{
    AUDIO_BLOCK, DATA_SILENCE_LOOK, DATAGRAM_MAX_BYTES, PLAINTEXT_MAX_BYTES, REPORT_INTERVAL, STREAMS_MAX,
};
use crate::listening::Listening;
use crate::path::bandwidth::{Bandwidth, Range};
use crate::path::meter::{BitrateMeter, IP_UDP_HEADER_BYTES};
use crate::path::{Arrivals, Outgoing, Reception, fresh};
use crate::picture::blocks::{CodedFrame, LostBlocks, ReceivedFrame};
use crate::picture::ladder::{Rung, VideoTarget};
use crate::reno::{self, Traced};
use crate::seal::{Opener, Sealer, Secrets};
use crate::sequence::SendTime;
use crate::stats::{HopStatistics, NetworkSnapshot};
use crate::voice::pcm::Block;
use crate::wire::Malformed;
use crate::wire::control::CipherSuite;
use crate::wire::datagram::{DatagramHeader, Kind};
use crate::wire::feedback::{Feedback, VIDEO_UNLIMITED};
use crate::wire::media::{MediaHeader, Report, ReportBlock};
use crate::wire::message::{Delivery, Message};

use channel::Channel;
pub use channel::ChannelFull;
use receiving::Receiving;
use sending::Sending;
use way::Way;

pub use crate::reno::StreamId;
pub use crate::reno::connection::Read;

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Blocks of our picture did not reach the server: they are to be coded again with the next frame.
    BlocksLost(LostBlocks),
    /// The reliable channel is dead: what the server sends is no message.
    ChannelFailed,
    /// A file of ours, with its end, is with the server.
    FileAcknowledged(StreamId),
    /// A file begins to arrive. Stop it if nobody asked for it.
    FileOpened {
        /// Its stream.
        stream: StreamId,
        /// Who sends it.
        from: MemberId,
        /// Which of the sender's files.
        transfer: TransferId,
        /// The first byte that comes.
        offset: u64,
    },
    /// Bytes of a file, or its end, can be read.
    FileReadable(StreamId),
    /// Nothing more comes of this file: its sender gave it up or is gone, or the server cannot keep it.
    FileReset(StreamId),
    /// The server wants no more of this file of ours: nobody takes it any more, or it has the rest.
    FileStopped(StreamId),
    /// After a write was cut short there is room again.
    FileWritable(StreamId),
    /// A picture to be decoded and shown.
    Frame(ReceivedFrame),
    /// A message from a member, its texts cleaned.
    Message(Delivery),
    /// Whether anything comes from the server; given when it changes, and true at first.
    Hears(bool),
    /// Who is speaking, loudest first; given when it changes.
    Speaking(Vec<MemberId>),
    /// The server answers at this address, and not any more at the one before.
    WayChanged(SocketAddr),
}

/// One member's data plane.
#[derive(Debug)]
pub struct Endpoint {
    began: Instant,
    sealer: Sealer,
    opener: Opener,
    channel: Channel,
    sending: Sending,
    receiving: Receiving,
    way: Way,
    listening: Listening,
    hears: bool,
    /// What we sent to the server, and what came from it.
    outgoing: Outgoing,
    /// When the server told last what arrived.
    told: Option<Instant>,
    arrivals: Arrivals,
    reception: Reception,
    /// Blocks of the report being sent, and how many of them were.
    report: Vec<ReportBlock>,
    next_report: Instant,
    events: VecDeque<Event>,
    received: BitrateMeter,
    sent: BitrateMeter,
    discarded: u64,
}

impl Endpoint {
    /// The data plane of member `you`, as the admission and the TLS exporter gave it.
    pub fn new(now: Instant, you: MemberId, connection: ConnectionId, suite: CipherSuite, secrets: &Secrets) -> Self {
        Self {
            began: now,
            sealer: Sealer::new(suite, &secrets.up, connection),
            opener: Opener::new(suite, &secrets.down),
            channel: Channel::new(now, reno::Config::default()),
            sending: Sending::new(now, you),
            receiving: Receiving::new(you),
            way: Way::new(now),
            listening: Listening::new(now),
            hears: true,
            outgoing: Outgoing::new(now, Bandwidth::new(now, Range::default())),
            told: None,
            arrivals: Arrivals::new(now),
            reception: Reception::default(),
            report: Vec::with_capacity(STREAMS_MAX),
            next_report: now + REPORT_INTERVAL,
            events: VecDeque::new(),
            received: BitrateMeter::default(),
            sent: BitrateMeter::default(),
            discarded: 0,
        }
    }

    /// The same with a reliable channel of this kind; to be called before anything was sent.
    #[must_use]
    pub fn with_channel(mut self, now: Instant, config: reno::Config) -> Self {
        self.channel = Channel::new(now, config);
        self
    }

    /// A datagram came from the server; it is opened in place.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &mut [u8]) {
        let bytes = datagram.len() + IP_UDP_HEADER_BYTES;
        match self.handle_opened(now, datagram) {
            Ok(()) => {
                self.way.handle_heard(now);
                self.set_hears(true);
                self.received.add(now, bytes);
            }
            Err(Malformed) => self.discarded += 1,
        }
    }

    fn handle_opened(&mut self, now: Instant, datagram: &mut [u8]) -> Result<(), Malformed> {
        let bytes = datagram.len() + IP_UDP_HEADER_BYTES;
        let header = DatagramHeader::parse(datagram)?;
        let (plaintext, _) = self.opener.open(header, datagram).map_err(|_| Malformed)?;
        self.channel.reno().note_heard(now);
        let (kind, body) = Kind::split(plaintext)?;
        self.arrivals.note(now, header.packet_number, kind);
        let (round_trip, receiving) = (self.round_trip(now), &self.receiving);
        self.arrivals.hurry(now, || AUDIO_BLOCK + round_trip <= receiving.audio_patience());
        self.reception.handle_packet(now, header.packet_number);
        if let (Kind::Audio | Kind::Video, Ok(media)) = (kind, MediaHeader::parse(body)) {
            self.reception.handle_send_time(now, media.send_time);
        }
        match kind {
            Kind::Feedback => self.handle_feedback(now, Feedback::parse(body)?),
            Kind::Audio => self.receiving.handle_audio(now, body, bytes)?,
            Kind::Video => self.receiving.handle_video(now, body, bytes)?,
            Kind::Segment => self.channel.handle_segment(now, body)?,
            Kind::Report => self.sending.handle_report(now, Report::parse(body)?),
            Kind::Pong => self.handle_pong(now, body)?,
            Kind::Ping => {}
        }
        self.collect_events(now);
        Ok(())
    }

    /// The shorter of what pings and feedbacks say; zero before they say anything.
    fn round_trip(&self, now: Instant) -> Duration {
        let heard = Some(self.outgoing.bandwidth().round_trip()).filter(|round_trip| !round_trip.is_zero());
        [self.way.round_trip(now), heard].into_iter().flatten().min().unwrap_or_default()
    }

    fn handle_feedback(&mut self, now: Instant, feedback: Feedback<'_>) {
        self.told = Some(now);
        let sending = &mut self.sending;
        self.outgoing.handle_feedback(now, feedback, |departure, fate| sending.settle(departure.tag, fate));
        self.sending.handle_bandwidth(now, self.outgoing.bandwidth(), feedback.video_wanted);
    }

    fn handle_pong(&mut self, now: Instant, body: &[u8]) -> Result<(), Malformed> {
        let sent_micros = u64::from_be_bytes(body.try_into().map_err(|_| Malformed)?);
        let began = self.began;
        self.way.handle_answer(now, |sent| micros_between(began, sent) == sent_micros);
        if self.way.take_moved() {
            // The other way may carry less, or more (RFC 8899 §3, RFC 9000 §14.3).
            self.channel.reno().handle_path_changed();
            self.events.extend(self.way.to().map(Event::WayChanged));
        }
        Ok(())
    }

    fn collect_events(&mut self, now: Instant) {
        while let Some(event) = self.channel.poll_event() {
            self.events.push_back(event);
        }
        while let Some(event) = self.receiving.poll_event(now) {
            self.events.push_back(event);
        }
    }

    /// The next thing that happened, or `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        let lost = || self.sending.poll_lost().map(Event::BlocksLost);
        self.events.pop_front().or_else(lost)
    }

    /// Writes the next datagram to send to the front of `buffer`, [`DATAGRAM_MAX_BYTES`] long, and answers its length.
    /// Call until it answers `None`.
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<usize> {
        let plaintext = &mut buffer[Sealer::PLAINTEXT_OFFSET..][..PLAINTEXT_MAX_BYTES];
        let send_time = SendTime(now.saturating_duration_since(self.began).as_micros() as u32);
        let length = self
            .poll_media(now, plaintext, |sending, plaintext| sending.poll_audio(now, send_time, plaintext))
            .or_else(|| self.poll_feedback(now, plaintext))
            .or_else(|| self.poll_ping(now, plaintext))
            .or_else(|| self.poll_report(plaintext))
            .or_else(|| {
                self.poll_media(now, plaintext, |sending, plaintext| sending.poll_video(now, send_time, plaintext))
            })
            .or_else(|| self.channel.poll_transmit(now, plaintext))?;
        let (kind, _) = Kind::split(&plaintext[..length]).ok()?;
        let number = self.sealer.next_packet_number();
        let bytes = self.sealer.seal(buffer, length)?;
        debug_assert!(bytes <= DATAGRAM_MAX_BYTES);
        self.outgoing.on_sent(now, number, kind, bytes, self.sending.tag(kind));
        self.sent.add(now, bytes + IP_UDP_HEADER_BYTES);
        Some(bytes)
    }

    /// Media goes out, and files yield to it.
    fn poll_media(
        &mut self,
        now: Instant,
        plaintext: &mut [u8],
        poll: impl FnOnce(&mut Sending, &mut [u8]) -> Option<usize>,
    ) -> Option<usize> {
        let length = poll(&mut self.sending, plaintext)?;
        self.channel.reno().note_media(now);
        Some(length)
    }

    fn poll_feedback(&mut self, now: Instant, plaintext: &mut [u8]) -> Option<usize> {
        let bytes = self.arrivals.poll_feedback(now, VIDEO_UNLIMITED, &mut plaintext[1..])?;
        plaintext[0] = Kind::Feedback as u8;
        Some(1 + bytes)
    }

    fn poll_ping(&mut self, now: Instant, plaintext: &mut [u8]) -> Option<usize> {
        if !self.way.take_ping(now) {
            return None;
        }
        plaintext[0] = Kind::Ping as u8;
        plaintext[1..9].copy_from_slice(&micros_between(self.began, now).to_be_bytes());
        Some(9)
    }

    fn poll_report(&mut self, plaintext: &mut [u8]) -> Option<usize> {
        if self.report.is_empty() {
            return None;
        }
        let first = self.report.len().saturating_sub(Report::BLOCKS_MAX);
        plaintext[0] = Kind::Report as u8;
        // The relay writes over the reporter.
        let length = Report::write(MemberId::SERVER, &self.report[first..], &mut plaintext[1..]);
        self.report.truncate(first);
        Some(1 + length)
    }

    /// When to call [`Endpoint::handle_timeout`], or, when that has nothing to do, [`Endpoint::poll_transmit`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let media = [self.sending.poll_timeout(), self.receiving.poll_timeout()];
        let path = [self.arrivals.poll_timeout(), self.outgoing.poll_timeout()];
        let timers = [self.channel.poll_timeout()].into_iter().chain(media).chain(path);
        let first = self.next_report.min(self.way.poll_timeout());
        Some(timers.flatten().fold(first, Instant::min))
    }

    /// Does what is due: pings, reports, retransmissions, frames that waited long enough.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now >= self.way.poll_timeout() {
            self.way.handle_timeout(now);
        }
        if now >= self.next_report {
            self.next_report = now + REPORT_INTERVAL;
            self.listen(now);
            self.receiving.report(now, &mut self.report);
        }
        if self.outgoing.poll_timeout().is_some_and(|due| due <= now) {
            self.outgoing.handle_timeout(now);
            self.sending.handle_bandwidth(now, self.outgoing.bandwidth(), VIDEO_UNLIMITED);
        }
        self.channel.handle_timeout(now);
        self.collect_events(now);
    }

    /// Notices when nothing comes any more, and when something does.
    fn listen(&mut self, now: Instant) {
        self.listening.look(now);
        // The server notices first, so that others are told the worse thing at once.
        let hears = !self.listening.silent(now, self.way.heard() + DATA_SILENCE_LOOK);
        self.set_hears(hears);
    }

    fn set_hears(&mut self, hears: bool) {
        if std::mem::replace(&mut self.hears, hears) != hears {
            self.events.push_back(Event::Hears(hears));
        }
    }

    /// The server has these addresses, the likeliest first. The one in use stays as long as it answers.
    pub fn set_addresses(&mut self, now: Instant, addresses: impl IntoIterator<Item = SocketAddr>) {
        self.way.set_addresses(now, addresses);
    }

    /// Where datagrams go, if [`Endpoint::set_addresses`] said anything.
    pub fn address(&self) -> Option<SocketAddr> {
        self.way.to()
    }

    /// Sends a block of the microphone that was captured just now, unless it is silence.
    pub fn push_audio(&mut self, now: Instant, block: &Block) {
        let level = self.sending.push_audio(block);
        self.receiving.hear_ourselves(now, level);
        self.collect_events(now);
    }

    /// Writes the next block for the speaker over `block`: all other members, mixed. To be called once for every 10 ms
    /// the speaker plays.
    pub fn pull_audio(&mut self, now: Instant, block: &mut Block) {
        self.receiving.pull_audio(now, block);
    }

    /// Sends a frame of the camera that was captured just now; what is left of the one before is dropped.
    pub fn push_video(&mut self, now: Instant, frame: CodedFrame) {
        self.sending.push_video(now, frame);
    }

    /// What the path to the server is taken to carry right now, bits per second with IP and UDP headers.
    pub fn path_bps(&self) -> u64 {
        self.outgoing.bandwidth().target_bps()
    }

    /// What the camera and the encoder should produce right now.
    pub fn video_target(&self) -> VideoTarget {
        self.sending.video_target()
    }

    /// Whether blocks in which nobody speaks are sent as well, as music wants it. At first they are not.
    pub fn send_silence(&mut self, on: bool) {
        self.sending.send_silence(on);
    }

    /// Never asks the camera for a larger picture than this.
    pub fn limit_video(&mut self, largest: Rung) {
        self.sending.limit_video(largest);
    }

    /// From here on the server sends the video of these members alone. Streams begin anew: what was not sent meanwhile
    /// was not lost.
    pub fn watch(&mut self, members: impl Iterator<Item = MemberId>) {
        self.receiving.watch(members);
    }

    /// Sends a message to other members.
    ///
    /// # Errors
    /// [`ChannelFull`] when the reliable channel holds as much as it may; try again when something was acknowledged.
    pub fn send_message(&mut self, message: &Message) -> Result<(), ChannelFull> {
        self.channel.send_message(message)
    }

    /// Bytes of all messages sent so far.
    pub fn messages_written(&self) -> u64 {
        self.channel.messages_written()
    }

    /// Bytes of those messages that the server has, from the first one on.
    pub fn messages_acknowledged(&self) -> u64 {
        self.channel.messages_acknowledged()
    }

    /// When the newest datagram came that opened, or when it all began.
    pub fn heard(&self) -> Instant {
        self.way.heard()
    }

    /// Opens a stream for the bytes of our file `transfer`, from the offset on that [`Message::FileWanted`] names. `None`
    /// when [`crate::limits::STREAMS_PER_CHANNEL`] are open.
    pub fn open_file(&mut self, transfer: TransferId, offset: u64) -> Option<StreamId> {
        self.channel.open_file(transfer, offset)
    }

    /// Takes bytes of a file and answers how many: 0 when the send buffer is full, until [`Event::FileWritable`].
    pub fn write_file(&mut self, stream: StreamId, bytes: &[u8]) -> usize {
        self.channel.reno().write(stream, bytes)
    }

    /// That was all of the file.
    pub fn finish_file(&mut self, stream: StreamId) {
        self.channel.reno().finish(stream);
    }

    /// Gives up a file of ours.
    pub fn reset_file(&mut self, stream: StreamId) {
        self.channel.reno().reset(stream);
    }

    /// Reads bytes of an arriving file. Reading opens its window again, so read no faster than the disk writes.
    pub fn read_file(&mut self, stream: StreamId, buffer: &mut [u8]) -> Read {
        self.channel.read_file(stream, buffer)
    }

    /// Wants no more of an arriving file.
    pub fn stop_file(&mut self, stream: StreamId) {
        self.channel.stop_file(stream);
    }

    /// Whether files of ours shall not yield to the meeting.
    pub fn hurry_files(&mut self, hurry: bool) {
        self.channel.reno().hurry(hurry);
    }

    /// From here on, [`Endpoint::poll_trace`] tells what the sender of our reliable channel does.
    pub fn trace(&mut self) {
        self.channel.reno().trace();
    }

    /// The next event of the trace, until `None`; at most some thousands of them are kept.
    pub fn poll_trace(&mut self) -> Option<Traced> {
        self.channel.reno().poll_trace()
    }

    /// Forgets the streams of a member who is gone.
    pub fn remove_member(&mut self, member: MemberId) {
        self.receiving.remove_member(member);
        self.sending.remove_receiver(member);
    }

    /// Everything that is measured, as of now.
    pub fn snapshot(&mut self, now: Instant) -> NetworkSnapshot {
        NetworkSnapshot {
            uptime: now.saturating_duration_since(self.began),
            silent_for: (!self.hears).then(|| now.saturating_duration_since(self.way.heard())),
            round_trip_time: self.way.round_trip(now),
            uplink: self.uplink(now),
            downlink: HopStatistics {
                queueing_delay: self.reception.queueing_delay(now),
                fraction_lost: self.reception.fraction_lost(now),
                ..HopStatistics::default()
            },
            inbound: self.receiving.statistics(now, self.way.round_trip(now)),
            outbound: self.sending.statistics(now),
            reno: self.channel.reno().statistics(),
            video_target: self.sending.video_target(),
            received_bitrate_bps: self.received.bits_per_second(now),
            sent_bitrate_bps: self.sent.bits_per_second(now),
            datagrams_discarded: self.discarded,
        }
    }

    /// As the server told it of late.
    fn uplink(&self, now: Instant) -> HopStatistics {
        if fresh(now, self.told).is_none() {
            return HopStatistics::default();
        }
        let bandwidth = self.outgoing.bandwidth();
        HopStatistics {
            available_bitrate_bps: (!bandwidth.round_trip().is_zero()).then(|| bandwidth.target_bps()),
            queueing_delay: Some(bandwidth.queueing_delay()),
            fraction_lost: Some(bandwidth.fraction_lost() as f32),
            competing: bandwidth.competes(),
        }
    }
}

fn micros_between(earlier: Instant, later: Instant) -> u64 {
    later.saturating_duration_since(earlier).as_micros() as u64
}

/// The stream of that kind which `member` sends.
fn ssrc(member: MemberId, kind: StreamKind) -> Ssrc {
    Ssrc::new(member, kind)
}
