//! What leaves to one member, sealed in its place in a group of datagrams: media of others, what it lacks of pictures, and
//! what is its own, which are feedback, reports and segments.

use std::time::Instant;

use super::{Member, PassedOver};
use crate::ids::StreamKind;
use crate::limits::{DATAGRAM_HEADER_BYTES, DATAGRAM_TAG_BYTES};
use crate::path::Outgoing;
use crate::path::meter::IP_UDP_HEADER_BYTES;
use crate::relay::group::{Group, Transmit};
use crate::relay::packets::Ring;
use crate::relay::pictures::Pictures;
use crate::seal::Sealer;
use crate::sequence::SendTime;
use crate::wire::audio::{AudioDetail, AudioPacket};
use crate::wire::datagram::Kind;
use crate::wire::feedback::Feedback;
use crate::wire::media::{MediaHeader, VideoHeader};

impl Member {
    /// Media of others, as much as one group takes.
    pub(in crate::relay) fn transmit_media(
        &mut self,
        now: Instant,
        kind: StreamKind,
        source: Source<'_>,
        buffer: &mut [u8],
        shed: &mut u64,
    ) -> Option<Transmit> {
        let to = self.address?;
        let mut group = Group::new(buffer);
        self.fill_media(now, kind, source.ring, source.send_time, &mut group, shed);
        if kind == StreamKind::Video && self.video.queue.is_empty() {
            self.fill_repairs(now, source.pictures, source.send_time, &mut group);
        }
        let transmit = group.finish(to)?;
        if kind == StreamKind::Audio {
            self.audio_sent.add(now, transmit.bytes + transmit.datagrams() * IP_UDP_HEADER_BYTES);
            self.audio_blocks.add(now, transmit.datagrams() as u64);
        }
        self.reno.note_media(now);
        Some(transmit)
    }

    fn fill_media(
        &mut self,
        now: Instant,
        kind: StreamKind,
        ring: &mut Ring,
        send_time: SendTime,
        group: &mut Group<'_>,
        shed: &mut u64,
    ) {
        let queue = match kind {
            StreamKind::Audio => &mut self.audio.queue,
            StreamKind::Video => &mut self.video.queue,
        };
        let thin = (kind == StreamKind::Audio && self.audio_detail < AudioDetail::Exact).then_some(self.audio_detail);
        while let Some((packet, tag)) = queue.front(ring, shed) {
            let thinned = thin.and_then(|detail| Some(AudioPacket::parse(&packet[1..]).ok()?.thinned(detail)));
            let bytes = thinned.map_or(packet.len(), |audio| 1 + audio.bytes());
            let Some(room) = group.room(bytes) else { break };
            let place = &mut room[Sealer::PLAINTEXT_OFFSET..][..bytes];
            match thinned {
                Some(audio) => {
                    place[0] = packet[0];
                    audio.write(&mut place[1..]);
                }
                None => place.copy_from_slice(packet),
            }
            MediaHeader::stamp(&mut place[1..], send_time);
            if kind == StreamKind::Audio && tag == 0 {
                AudioPacket::mark_again(&mut place[1..]);
            }
            if kind == StreamKind::Video && !self.passed_over.is_empty() {
                close_gap(&self.passed_over, &mut place[1..]);
            }
            queue.pop(ring);
            let kind = match kind {
                StreamKind::Audio => Kind::Audio,
                StreamKind::Video => Kind::Video,
            };
            let length = seal(&mut self.sealer, &mut self.outgoing, now, kind, room, bytes, tag);
            group.push(length);
        }
    }

    /// What this member lacks of pictures, as it is by now, as far as its path carries that.
    fn fill_repairs(&mut self, now: Instant, pictures: &Pictures, send_time: SendTime, group: &mut Group<'_>) {
        while let Some(part) = self.repairs.next(now, pictures)
            && let Some(packet) = pictures.packet(now, part)
            && let Some(room) = group.room(packet.len())
        {
            let place = &mut room[Sealer::PLAINTEXT_OFFSET..][..packet.len()];
            place.copy_from_slice(packet);
            VideoHeader::mark_again(&mut place[1..]);
            MediaHeader::stamp(&mut place[1..], send_time);
            let (bytes, tag) = (packet.len(), part.serial.0);
            let length = seal(&mut self.sealer, &mut self.outgoing, now, Kind::Video, room, bytes, tag);
            self.repairs.sent(now, part, length);
            group.push(length);
        }
    }

    /// The next reports and answers to this member, or else segments.
    pub(in crate::relay) fn transmit_own(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Transmit> {
        let to = self.address?;
        let mut group = Group::new(buffer);
        self.fill_feedback(now, &mut group);
        self.fill_signals(now, &mut group);
        if group.is_empty() {
            self.fill_segments(now, &mut group);
        }
        group.finish(to)
    }

    /// What arrived from this member, if it is time to tell.
    fn fill_feedback(&mut self, now: Instant, group: &mut Group<'_>) {
        let mut body = [0; Feedback::MAX_BYTES];
        if let Some(bytes) = self.arrivals.poll_feedback(now, self.video_wanted, &mut body)
            && let Some(room) = group.room(1 + bytes)
        {
            let plaintext = &mut room[Sealer::PLAINTEXT_OFFSET..];
            plaintext[0] = Kind::Feedback as u8;
            plaintext[1..=bytes].copy_from_slice(&body[..bytes]);
            let length = seal(&mut self.sealer, &mut self.outgoing, now, Kind::Feedback, room, 1 + bytes, 0);
            group.push(length);
        }
    }

    fn fill_signals(&mut self, now: Instant, group: &mut Group<'_>) {
        while let Some(short) = self.plaintexts.front()
            && let Some(room) = group.room(short.length)
        {
            short.write(&mut room[Sealer::PLAINTEXT_OFFSET..]);
            let bytes = short.length;
            self.plaintexts.pop_front();
            let length = seal(&mut self.sealer, &mut self.outgoing, now, Kind::Report, room, bytes, 0);
            group.push(length);
        }
    }

    /// Segments of full length make a group; any other one is the last of it.
    fn fill_segments(&mut self, now: Instant, group: &mut Group<'_>) {
        while let Some(room) = group.room_for_segment() {
            let plaintext_bytes = room.len() - DATAGRAM_HEADER_BYTES - DATAGRAM_TAG_BYTES;
            let plaintext = &mut room[Sealer::PLAINTEXT_OFFSET..][..plaintext_bytes];
            plaintext[0] = Kind::Segment as u8;
            let Some(bytes) = self.reno.poll_transmit(now, &mut plaintext[1..]) else { break };
            let length = seal(&mut self.sealer, &mut self.outgoing, now, Kind::Segment, room, 1 + bytes, 0);
            group.push(length);
        }
    }
}

/// Numbers a packet as if those that were passed over had never been.
fn close_gap(passed_over: &[PassedOver], body: &mut [u8]) {
    let Ok(media) = MediaHeader::parse(body) else { return };
    if let Some(passed_over) = passed_over.iter().find(|passed_over| passed_over.sender == media.ssrc.member()) {
        MediaHeader::rename(body, media.ssrc, media.sequence.minus(passed_over.packets));
    }
}

/// Where the media comes from that a member is sent.
pub(in crate::relay) struct Source<'a> {
    pub(in crate::relay) ring: &'a mut Ring,
    pub(in crate::relay) pictures: &'a Pictures,
    pub(in crate::relay) send_time: SendTime,
}

/// Seals a plaintext in its room and takes down that it leaves; answers the length of the datagram, 0 when it could not be
/// sealed.
fn seal(
    sealer: &mut Sealer,
    outgoing: &mut Outgoing,
    now: Instant,
    kind: Kind,
    room: &mut [u8],
    plaintext_bytes: usize,
    tag: u32,
) -> usize {
    let number = sealer.next_packet_number();
    let length = sealer.seal(room, plaintext_bytes).unwrap_or_default();
    if length > 0 {
        outgoing.on_sent(now, number, kind, length, tag);
    }
    length
}
