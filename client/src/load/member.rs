//! The data plane of one member, without what a person would need: datagrams are opened, counted and forgotten.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::ids::{ConnectionId, MemberId, Ssrc};
use common::limits::{DATAGRAM_MAX_BYTES, PLAINTEXT_BASE_BYTES};
use common::path::meter::IP_UDP_HEADER_BYTES;
use common::path::stream_reception::ReceptionStatistics;
use common::seal::{Opener, Sealer, Secrets};
use common::sequence::FrameId;
use common::wire::Malformed;
use common::wire::audio::{AudioPacket, Sound};
use common::wire::control::Admission;
use common::wire::datagram::{DatagramHeader, Kind};
use common::wire::media::{MediaHeader, Report, ReportBlock, VideoHeader};

use super::source::{AudioSource, Clock, VideoSource};
use super::tally::Tally;

/// Which member of which room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// From 0.
    pub(super) room: usize,
    /// From 0, the host; who floods comes after all others.
    pub(super) index: usize,
    /// Sends more than anybody should, and is left out of the figures.
    pub(super) floods: bool,
}

/// One member's data plane.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) place: Place,
    pub(super) you: MemberId,
    pub(super) connection: ConnectionId,
    admitted: Instant,
    sealer: Sealer,
    opener: Opener,
    pub(super) audio: Option<AudioSource>,
    pub(super) video: Option<VideoSource>,
    streams: BTreeMap<Ssrc, Stream>,
    /// The streams of this member do not count.
    flooder: Option<MemberId>,
    first_video: Option<Duration>,
    first_picture: Option<Duration>,
}

/// A stream that arrives.
#[derive(Debug)]
struct Stream {
    statistics: ReceptionStatistics,
    /// When its newest datagram came.
    newest: Instant,
    /// Received and lost when the measurement began.
    before: (u64, i64),
    /// Lost when the live line was told last.
    told: i64,
    /// The frame whose parts are being counted, and how many came; until a picture was whole.
    frame: (FrameId, u8),
}

impl Stream {
    fn new(now: Instant, ssrc: Ssrc) -> Self {
        let statistics = ReceptionStatistics::new(ssrc);
        Self { statistics, newest: now, before: (0, 0), told: 0, frame: (FrameId(0), 0) }
    }

    /// Whether this part makes its frame whole.
    fn completes(&mut self, header: &VideoHeader) -> bool {
        if self.frame.0 != header.frame {
            self.frame = (header.frame, 0);
        }
        self.frame.1 = self.frame.1.saturating_add(1);
        self.frame.1 == header.parts
    }

    fn lost(&self) -> i64 {
        self.statistics.packets_lost()
    }

    fn newly_lost(&mut self) -> i64 {
        let lost = self.lost();
        lost - std::mem::replace(&mut self.told, lost)
    }
}

/// What a member had of it all.
#[derive(Debug)]
pub(super) struct Harvest {
    pub(super) place: Place,
    pub(super) you: MemberId,
    /// From admission to the first datagram of somebody's video, and to the first whole picture.
    pub(super) first_video: Option<Duration>,
    pub(super) first_picture: Option<Duration>,
    pub(super) streams: Vec<Reception>,
}

/// How a stream arrived while it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reception {
    pub(super) ssrc: Ssrc,
    pub(super) received: u64,
    pub(super) lost: i64,
    /// When its newest datagram came.
    pub(super) newest: Instant,
}

impl Member {
    pub(super) fn new(place: Place, admitted: Instant, admission: &Admission, secrets: &Secrets) -> Self {
        let Admission { connection_id: connection, suite, .. } = *admission;
        Self {
            place,
            you: admission.you,
            connection,
            admitted,
            sealer: Sealer::new(suite, &secrets.up, connection),
            opener: Opener::new(suite, &secrets.down),
            audio: None,
            video: None,
            streams: BTreeMap::new(),
            flooder: None,
            first_video: None,
            first_picture: None,
        }
    }

    /// Leaves the streams of `member` out of what is counted.
    pub(super) fn ignore(&mut self, member: MemberId) {
        self.flooder = Some(member);
    }

    /// From here on is measured.
    pub(super) fn begin_measurement(&mut self) {
        for stream in self.streams.values_mut() {
            stream.before = (stream.statistics.packets_received(), stream.lost());
        }
    }

    /// Sends no media any more.
    pub(super) fn fall_silent(&mut self) {
        self.audio = None;
        self.video = None;
    }

    /// A datagram for this member; opened in place.
    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        clock: Clock,
        header: DatagramHeader,
        datagram: &mut [u8],
        tally: &mut Tally,
    ) -> Result<(), Malformed> {
        let bytes = datagram.len() + IP_UDP_HEADER_BYTES;
        let (plaintext, _) = self.opener.open(header, datagram).map_err(|_| Malformed)?;
        let (kind, body) = Kind::split(plaintext)?;
        match kind {
            Kind::Audio => {
                let packet = AudioPacket::parse(body)?;
                // A stranger's packed voice says nothing of when it was sent.
                let (Sound::L16(payload) | Sound::Packed { base: payload, .. }) = packet.sound;
                self.count(now, clock, packet.media, bytes, payload, tally);
            }
            Kind::Video => {
                let (header, _, scan) = VideoHeader::parse(body)?;
                // What is sent again says nothing about the way of the first time.
                if !header.again() {
                    self.count(now, clock, header.media, bytes, scan, tally);
                    self.note_picture(now, &header);
                }
            }
            Kind::Pong => {
                if let Some(round_trip) = clock.round_trip(body, now) {
                    tally.round_trip(round_trip);
                }
            }
            Kind::Feedback | Kind::Ping | Kind::Report | Kind::Segment => {}
        }
        Ok(())
    }

    fn count(
        &mut self,
        now: Instant,
        clock: Clock,
        media: MediaHeader,
        bytes: usize,
        payload: &[u8],
        tally: &mut Tally,
    ) {
        let stream = self.streams.entry(media.ssrc).or_insert_with(|| Stream::new(now, media.ssrc));
        stream.statistics.handle_packet(now, media.sequence, media.timestamp, bytes);
        stream.newest = now;
        let kind = media.ssrc.kind();
        let counts = !self.place.floods && self.flooder != Some(media.ssrc.member());
        if counts {
            tally.received(kind, bytes, clock.latency(kind, payload, now));
        }
    }

    fn note_picture(&mut self, now: Instant, header: &VideoHeader) {
        if self.first_picture.is_some() {
            return;
        }
        let passed = now.saturating_duration_since(self.admitted);
        self.first_video.get_or_insert(passed);
        let stream = self.streams.get_mut(&header.media.ssrc);
        if stream.is_some_and(|stream| stream.completes(header)) {
            self.first_picture = Some(passed);
        }
    }

    /// Writes a datagram into `buffer`: `write` puts its plaintext and answers the length.
    fn seal(
        &mut self,
        buffer: &mut [u8; DATAGRAM_MAX_BYTES],
        write: impl FnOnce(&mut Self, &mut [u8]) -> usize,
    ) -> usize {
        let length = write(self, &mut buffer[Sealer::PLAINTEXT_OFFSET..][..PLAINTEXT_BASE_BYTES]);
        // An hour of the fastest flood uses less than two keys; then there is silence, which is counted.
        self.sealer.seal(buffer, length).unwrap_or(0)
    }

    /// Asks for an answer, to measure the round trip and to show the address.
    pub(super) fn ping(&mut self, now: Instant, clock: Clock, buffer: &mut [u8; DATAGRAM_MAX_BYTES]) -> usize {
        self.seal(buffer, |_, plaintext| {
            plaintext[0] = Kind::Ping as u8;
            plaintext[1..9].copy_from_slice(&clock.ping(now));
            9
        })
    }

    /// The next block of sound; also answers how many were left out.
    pub(super) fn speak(&mut self, now: Instant, clock: Clock, buffer: &mut [u8; DATAGRAM_MAX_BYTES]) -> (usize, u64) {
        let mut skipped = 0;
        let length = self.seal(buffer, |member, plaintext| {
            let written = member.audio.as_mut().map(|source| source.write(now, clock, plaintext));
            let (length, left_out) = written.unwrap_or_default();
            skipped = left_out;
            length
        });
        (length, skipped)
    }

    /// The next part of a picture; also answers how many frames were left out.
    pub(super) fn show(&mut self, now: Instant, clock: Clock, buffer: &mut [u8; DATAGRAM_MAX_BYTES]) -> (usize, u64) {
        let mut skipped = 0;
        let length = self.seal(buffer, |member, plaintext| {
            let written = member.video.as_mut().map(|source| source.write(now, clock, plaintext));
            let (length, left_out) = written.unwrap_or_default();
            skipped = left_out;
            length
        });
        (length, skipped)
    }

    /// How every stream arrives, to be told in datagrams of [`Report::BLOCKS_MAX`] blocks.
    pub(super) fn reports(&mut self, now: Instant, blocks: &mut Vec<ReportBlock>) {
        blocks.clear();
        blocks.extend(self.streams.values_mut().map(|stream| stream.statistics.report(now)));
    }

    /// A report of these blocks, at most [`Report::BLOCKS_MAX`].
    pub(super) fn report(&mut self, blocks: &[ReportBlock], buffer: &mut [u8; DATAGRAM_MAX_BYTES]) -> usize {
        self.seal(buffer, |_, plaintext| {
            plaintext[0] = Kind::Report as u8;
            1 + Report::write(MemberId::SERVER, blocks, &mut plaintext[1..])
        })
    }

    /// Datagrams that were lost since this was asked last.
    pub(super) fn newly_lost(&mut self) -> i64 {
        let flooder = self.flooder;
        let counted = self.streams.iter_mut().filter(|(ssrc, _)| flooder != Some(ssrc.member()));
        counted.map(|(_, stream)| stream.newly_lost()).sum()
    }

    pub(super) fn harvest(self) -> Harvest {
        let streams = self.streams.iter().map(|(ssrc, stream)| Reception {
            ssrc: *ssrc,
            received: stream.statistics.packets_received() - stream.before.0,
            lost: stream.lost() - stream.before.1,
            newest: stream.newest,
        });
        Harvest {
            place: self.place,
            you: self.you,
            first_video: self.first_video,
            first_picture: self.first_picture,
            streams: streams.collect(),
        }
    }
}
