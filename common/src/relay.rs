//! The server's side of the data plane: opens each datagram once, stamps who sent it, and hands it to the members of
//! the sender's room, sealed for each of them.
//!
//! The relay knows exactly those whom [`Relay::admit`] named, and nobody before: a datagram of an unknown connection
//! id, one that does not open, or one that was seen is dropped and counted, and nothing is ever answered to it. An
//! address is learned only from a datagram that opened, so media reaches nobody who was not admitted.
//!
//! Per datagram nothing is allocated: plaintexts wait in slots that are used again (`forward`), and are sealed
//! straight into the buffer of [`Relay::poll_transmit`]. What rides on the reliable channel is in `channel`.

mod channel;
mod forward;
mod member;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use crate::hub::Grant;
use crate::ids::{ConnectionId, MemberId, RoomId, Ssrc, StreamKind};
use crate::limits::REPORT_INTERVAL;
use crate::media::bandwidth::IP_UDP_HEADER_BYTES;
use crate::seal::{Sealer, Secrets};
use crate::sequence::SendTime;
use crate::wire::Malformed;
use crate::wire::datagram::{DatagramHeader, Kind};
use crate::wire::media::{AudioHeader, MediaHeader, Report, ReportBlock, VideoHeader};

use channel::Pipes;
use forward::{Forwards, Slot};
use member::{Member, ShortPlaintext};

/// A datagram to be sent: the first `bytes` of the buffer, to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// Length of the datagram.
    pub bytes: usize,
}

/// What the relay did since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayStatistics {
    /// Members with a data plane right now.
    pub members: u64,
    /// Datagrams that came in, the discarded ones included.
    pub datagrams_received: u64,
    /// Datagrams given to the socket.
    pub datagrams_sent: u64,
    /// Datagrams dropped because their connection id is unknown, they did not open, were seen before, or were
    /// malformed.
    pub datagrams_discarded: u64,
    /// Media packets that could not wait any longer for the socket.
    pub datagrams_shed: u64,
    /// Messages of the reliable channel handed on.
    pub messages_relayed: u64,
    /// Messages that went to nobody: not addressed to a member, above a limit, or to a member who does not read.
    pub messages_dropped: u64,
}

/// Every member's data plane.
#[derive(Debug)]
pub struct Relay {
    began: Instant,
    members: BTreeMap<ConnectionId, Member>,
    rooms: BTreeMap<RoomId, Vec<ConnectionId>>,
    forwards: Forwards,
    pipes: Pipes,
    /// Members who may have a plaintext or a segment to send, each once.
    ready: VecDeque<ConnectionId>,
    next_report: Instant,
    /// No later than the first timeout of a reliable channel.
    next_channel_timeout: Option<Instant>,
    statistics: RelayStatistics,
}

impl Relay {
    /// A relay that knows nobody.
    pub fn new(now: Instant) -> Self {
        Self {
            began: now,
            members: BTreeMap::new(),
            rooms: BTreeMap::new(),
            forwards: Forwards::default(),
            pipes: Pipes::default(),
            ready: VecDeque::new(),
            next_report: now + REPORT_INTERVAL,
            next_channel_timeout: None,
            statistics: RelayStatistics::default(),
        }
    }

    /// Gives a member a data plane. The member's address is not known before the first datagram that opens.
    pub fn admit(&mut self, now: Instant, grant: Grant, secrets: &Secrets) {
        self.members.insert(grant.connection_id, Member::new(now, grant, secrets));
        self.rooms.entry(grant.room).or_default().push(grant.connection_id);
    }

    /// Takes a member's data plane away: from here on the member neither sends nor receives a datagram.
    pub fn revoke(&mut self, connection: ConnectionId) {
        let Some(member) = self.members.remove(&connection) else {
            return;
        };
        if let Some(room) = self.rooms.get_mut(&member.room) {
            room.retain(|id| *id != connection);
            if room.is_empty() {
                self.rooms.remove(&member.room);
            }
        }
        self.cut_pipes_of(connection);
    }

    /// A datagram came from the socket; it is opened in place.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        self.statistics.datagrams_received += 1;
        if self.handle_opened(now, from, datagram).is_err() {
            self.statistics.datagrams_discarded += 1;
        }
    }

    fn handle_opened(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) -> Result<(), Malformed> {
        let bytes = datagram.len() + IP_UDP_HEADER_BYTES;
        let header = DatagramHeader::parse(datagram)?;
        let member = self.members.get_mut(&header.connection_id).ok_or(Malformed)?;
        let (plaintext, newest) = member.opener.open(header, datagram).map_err(|_| Malformed)?;
        if newest {
            member.address = Some(from);
        }
        let (kind, body) = Kind::split(plaintext)?;
        let sender = member_id(member);
        match kind {
            Kind::Audio => {
                let (header, _) = AudioHeader::parse(body)?;
                self.forward(now, sender, header.media, StreamKind::Audio, plaintext, bytes)
            }
            Kind::Video => {
                let (header, ..) = VideoHeader::parse(body)?;
                self.forward(now, sender, header.media, StreamKind::Video, plaintext, bytes)
            }
            Kind::Segment => self.handle_segment(now, header.connection_id, body),
            Kind::Report => {
                let report = Report::parse(body)?;
                let (room, reporter) = (member.room, member.member);
                self.hand_on_report(room, reporter, report);
                Ok(())
            }
            Kind::Ping => {
                member.answer(Kind::Pong, body)?;
                self.mark_ready(header.connection_id);
                Ok(())
            }
            Kind::Pong => Ok(()),
        }
    }

    /// Queues a media packet for the others in its sender's room.
    fn forward(
        &mut self,
        now: Instant,
        sender: (ConnectionId, MemberId),
        media: MediaHeader,
        kind: StreamKind,
        plaintext: &[u8],
        datagram_bytes: usize,
    ) -> Result<(), Malformed> {
        let (connection, id) = sender;
        let member = self.members.get_mut(&connection).ok_or(Malformed)?;
        member.uplink(kind).handle_packet(now, media.sequence, media.timestamp, datagram_bytes);
        let shed = self.forwards.push(kind, connection, member.room, Ssrc::new(id, kind), plaintext);
        self.statistics.datagrams_shed += shed;
        Ok(())
    }

    /// Tells each sender how its streams arrive at `reporter`.
    fn hand_on_report(&mut self, room: RoomId, reporter: MemberId, report: Report<'_>) {
        let Some(room) = self.rooms.get(&room) else {
            return;
        };
        for block in report.blocks() {
            let owner = block.ssrc.member();
            let owner = room.iter().find(|id| self.members.get(id).is_some_and(|member| member.member == owner));
            if let Some((id, member)) = owner.and_then(|id| Some((*id, self.members.get_mut(id)?)))
                && member.member != reporter
            {
                member.queue(report_plaintext(reporter, &[block]));
                if !std::mem::replace(&mut member.ready, true) {
                    self.ready.push_back(id);
                }
            }
        }
    }

    /// Writes the next datagram to the front of `buffer` ([`crate::limits::DATAGRAM_MAX_BYTES`] long), audio first,
    /// then video, then reports and segments. Call until it answers `None`.
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Transmit> {
        let transmit = self.poll_forward(now, buffer).or_else(|| self.poll_ready(now, buffer))?;
        self.statistics.datagrams_sent += 1;
        Some(transmit)
    }

    fn poll_forward(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Transmit> {
        let send_time = SendTime(now.saturating_duration_since(self.began).as_micros() as u32);
        while let Some(slot) = self.forwards.front() {
            let receiver = next_receiver(slot, &self.rooms, &mut self.members);
            let Some(receiver) = receiver else {
                self.forwards.pop();
                continue;
            };
            let (ssrc, plaintext) = (slot.ssrc, slot.plaintext());
            let place = &mut buffer[Sealer::PLAINTEXT_OFFSET..][..plaintext.len()];
            place.copy_from_slice(plaintext);
            MediaHeader::stamp(&mut place[1..], ssrc, send_time);
            let length = plaintext.len();
            if let Some(transmit) = receiver.seal(buffer, length) {
                return Some(transmit);
            }
        }
        None
    }

    fn poll_ready(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Transmit> {
        while let Some(connection) = self.ready.pop_front() {
            let Some(member) = self.members.get_mut(&connection) else {
                continue;
            };
            match member.poll_transmit(now, buffer) {
                Some(transmit) => {
                    // To the back, so that members take turns.
                    self.ready.push_back(connection);
                    return Some(transmit);
                }
                None => {
                    member.ready = false;
                    let timeout = member.reno.poll_timeout();
                    self.note_channel_timeout(timeout);
                }
            }
        }
        None
    }

    /// When to call [`Relay::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.members.is_empty() {
            return None;
        }
        Some(self.next_channel_timeout.map_or(self.next_report, |timeout| timeout.min(self.next_report)))
    }

    /// Sends what is due: reports to senders, retransmissions of reliable channels.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now >= self.next_report {
            self.next_report = now + REPORT_INTERVAL;
            self.report_uplinks(now);
            self.resume_throttled(now);
        }
        if self.next_channel_timeout.is_some_and(|timeout| now >= timeout) {
            self.next_channel_timeout = None;
            self.handle_channel_timeouts(now);
        }
    }

    /// Tells each member how its own streams arrive here.
    fn report_uplinks(&mut self, now: Instant) {
        for (id, member) in &mut self.members {
            let plaintext = member.uplink_report(now);
            if let Some(plaintext) = plaintext {
                member.queue(plaintext);
                if !std::mem::replace(&mut member.ready, true) {
                    self.ready.push_back(*id);
                }
            }
        }
    }

    fn mark_ready(&mut self, connection: ConnectionId) {
        if let Some(member) = self.members.get_mut(&connection)
            && !std::mem::replace(&mut member.ready, true)
        {
            self.ready.push_back(connection);
        }
    }

    fn note_channel_timeout(&mut self, timeout: Option<Instant>) {
        self.next_channel_timeout = match (self.next_channel_timeout, timeout) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    /// What was done since the start.
    pub fn statistics(&self) -> RelayStatistics {
        RelayStatistics { members: self.members.len() as u64, ..self.statistics }
    }
}

fn member_id(member: &Member) -> (ConnectionId, MemberId) {
    (member.connection, member.member)
}

/// The next member of the slot's room who is to get it: not its sender, and of known address.
fn next_receiver<'a>(
    slot: &mut Slot,
    rooms: &BTreeMap<RoomId, Vec<ConnectionId>>,
    members: &'a mut BTreeMap<ConnectionId, Member>,
) -> Option<&'a mut Member> {
    let room = rooms.get(&slot.room)?;
    let sender = slot.sender;
    let (skipped, id) = room
        .iter()
        .enumerate()
        .skip(slot.next)
        .find(|(_, id)| **id != sender && members.get(id).is_some_and(|member| member.address.is_some()))?;
    slot.next = skipped + 1;
    members.get_mut(id)
}

/// The plaintext of a report of at most two blocks.
fn report_plaintext(reporter: MemberId, blocks: &[ReportBlock]) -> ShortPlaintext {
    let mut body = [0; Report::HEADER_BYTES + 2 * Report::BLOCK_BYTES];
    let length = Report::write(reporter, blocks, &mut body);
    ShortPlaintext::new(Kind::Report, &body[..length])
}

#[cfg(test)]
mod tests;
