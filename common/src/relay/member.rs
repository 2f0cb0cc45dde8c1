//! One admitted member's data plane, as the relay keeps it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use crate::allowance::Allowance;
use crate::hub::Grant;
use crate::ids::{ConnectionId, MemberId, RoomId, Ssrc, StreamKind};
use crate::media::jitter::ReceptionStatistics;
use crate::relay::{Transmit, report_plaintext};
use crate::reno::connection::Connection;
use crate::seal::{Opener, Sealer, Secrets};
use crate::wire::Malformed;
use crate::wire::datagram::Kind;
use crate::wire::message::MessageFramer;

/// Keys, address and channel of one member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) connection: ConnectionId,
    pub(super) room: RoomId,
    pub(super) member: MemberId,
    pub(super) opener: Opener,
    sealer: Sealer,
    /// Where the newest datagram that opened came from.
    pub(super) address: Option<SocketAddr>,
    pub(super) reno: Connection,
    pub(super) framer: MessageFramer,
    pub(super) messages: Allowance,
    /// Wrote more messages than allowed; read on at the next tick.
    pub(super) throttled: bool,
    /// Stands in the relay's list of members with something to send.
    pub(super) ready: bool,
    audio: Option<ReceptionStatistics>,
    video: Option<ReceptionStatistics>,
    plaintexts: VecDeque<ShortPlaintext>,
}

/// Messages a member may write at once on the reliable channel, and per second in the long run; more waits.
const MESSAGE_BURST: u32 = 200;
const MESSAGES_PER_SEC: u32 = 50;
/// Reports and answers waiting for one member; a full room reports twice on each of two streams.
const SHORT_PLAINTEXTS_MAX: usize = 4 * crate::limits::ROOM_MEMBERS_MAX;

impl Member {
    pub(super) fn new(now: Instant, grant: Grant, secrets: &Secrets) -> Self {
        Self {
            connection: grant.connection_id,
            room: grant.room,
            member: grant.member,
            opener: Opener::new(grant.suite, &secrets.up),
            sealer: Sealer::new(grant.suite, &secrets.down, grant.connection_id),
            address: None,
            reno: Connection::new(now),
            framer: MessageFramer::new(),
            messages: Allowance::new(now, MESSAGE_BURST, MESSAGES_PER_SEC),
            throttled: false,
            ready: false,
            audio: None,
            video: None,
            plaintexts: VecDeque::new(),
        }
    }

    /// How this member's stream of that kind arrives here.
    pub(super) fn uplink(&mut self, kind: StreamKind) -> &mut ReceptionStatistics {
        let statistics = match kind {
            StreamKind::Audio => &mut self.audio,
            StreamKind::Video => &mut self.video,
        };
        statistics.get_or_insert_with(|| ReceptionStatistics::new(Ssrc::new(self.member, kind)))
    }

    /// A report on the streams this member has sent, or `None` before the first packet.
    pub(super) fn uplink_report(&mut self, now: Instant) -> Option<ShortPlaintext> {
        let audio = self.audio.as_mut().map(|statistics| statistics.report(now));
        let video = self.video.as_mut().map(|statistics| statistics.report(now));
        match (audio, video) {
            (Some(audio), Some(video)) => Some(report_plaintext(MemberId::SERVER, &[audio, video])),
            (one, other) => Some(report_plaintext(MemberId::SERVER, &[one.or(other)?])),
        }
    }

    /// Queues a short plaintext; the oldest makes room.
    pub(super) fn queue(&mut self, plaintext: ShortPlaintext) {
        if self.plaintexts.len() >= SHORT_PLAINTEXTS_MAX {
            self.plaintexts.pop_front();
        }
        self.plaintexts.push_back(plaintext);
    }

    /// Answers a ping: the same eight bytes come back.
    pub(super) fn answer(&mut self, kind: Kind, body: &[u8]) -> Result<(), Malformed> {
        if body.len() != PING_BYTES {
            return Err(Malformed);
        }
        self.queue(ShortPlaintext::new(kind, body));
        Ok(())
    }

    /// The next report, answer or segment to this member.
    pub(super) fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Transmit> {
        self.address?;
        let plaintext = &mut buffer[Sealer::PLAINTEXT_OFFSET..][..crate::limits::PLAINTEXT_MAX_BYTES];
        let length = match self.plaintexts.pop_front() {
            Some(short) => short.write(plaintext),
            None => {
                plaintext[0] = Kind::Segment as u8;
                1 + self.reno.poll_transmit(now, &mut plaintext[1..])?
            }
        };
        self.seal(buffer, length)
    }

    /// Seals a plaintext that stands in its place in `buffer`.
    pub(super) fn seal(&mut self, buffer: &mut [u8], plaintext_bytes: usize) -> Option<Transmit> {
        let to = self.address?;
        let bytes = self.sealer.seal(buffer, plaintext_bytes)?;
        Some(Transmit { to, bytes })
    }
}

/// Bytes of a ping, chosen by who asks.
pub(crate) const PING_BYTES: usize = 8;

/// A plaintext of a few bytes, kept without allocating.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShortPlaintext {
    bytes: [u8; Self::MAX_BYTES],
    length: usize,
}

impl ShortPlaintext {
    /// Kind, and a report of two blocks.
    const MAX_BYTES: usize = 48;

    /// # Panics
    /// When `body` is longer than a report of two blocks.
    pub(super) fn new(kind: Kind, body: &[u8]) -> Self {
        let mut bytes = [0; Self::MAX_BYTES];
        bytes[0] = kind as u8;
        bytes[1..=body.len()].copy_from_slice(body);
        Self { bytes, length: 1 + body.len() }
    }

    fn write(self, plaintext: &mut [u8]) -> usize {
        plaintext[..self.length].copy_from_slice(&self.bytes[..self.length]);
        self.length
    }
}
