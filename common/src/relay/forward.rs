//! Media through the relay: from the datagram that brought it into the queues of those who get it, and from there,
//! grouped by receiver, into the socket's buffer.

use std::collections::VecDeque;
use std::time::Instant;

use crate::ids::{Ssrc, StreamKind};
use crate::limits::{AUDIO_QUEUE_DATAGRAMS, RELAY_AUDIO_DATAGRAMS, RELAY_VIDEO_DATAGRAMS, VIDEO_QUEUE_DATAGRAMS};
use crate::relay::group::Transmit;
use crate::relay::member::Member;
use crate::relay::packets::{Place, Ring};
use crate::relay::roster::MemberKey;
use crate::relay::{Relay, RelayStatistics};
use crate::sequence::SendTime;
use crate::wire::Malformed;
use crate::wire::audio::AudioPacket;
use crate::wire::media::{MediaHeader, VideoHeader};

/// What waits to be forwarded, of all rooms.
#[derive(Debug)]
pub(super) struct Forwards {
    pub(super) audio: Lane,
    pub(super) video: Lane,
    /// When something was shed last.
    pub(super) last_shed: Option<Instant>,
}

/// Media of one kind.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) ring: Ring,
    /// Members for whom something waits, each once, in the order in which they get it.
    ready: VecDeque<MemberKey>,
    /// Packets that may wait for one receiver.
    queue_max: usize,
}

impl Default for Forwards {
    fn default() -> Self {
        Self {
            audio: Lane::new(RELAY_AUDIO_DATAGRAMS, AUDIO_QUEUE_DATAGRAMS),
            video: Lane::new(RELAY_VIDEO_DATAGRAMS, VIDEO_QUEUE_DATAGRAMS),
            last_shed: None,
        }
    }
}

impl Lane {
    fn new(slots: usize, queue_max: usize) -> Self {
        Self { ring: Ring::new(slots), ready: VecDeque::new(), queue_max }
    }

    /// Queues a packet of the ring for a member whose address is known; answers how many were shed for it.
    fn queue(&mut self, place: Place, key: MemberKey, member: &mut Member, kind: StreamKind) -> u64 {
        if member.address.is_none() {
            return 0;
        }
        let waiting = member.waiting(kind);
        if !std::mem::replace(&mut waiting.ready, true) {
            self.ready.push_back(key);
        }
        waiting.queue.push(&mut self.ring, place, self.queue_max)
    }
}

/// A media packet that opened: its kind and body, and what its datagram weighed.
pub(super) struct Packet<'a> {
    pub(super) plaintext: &'a mut [u8],
    pub(super) bytes_on_wire: usize,
}

/// Bytes of the kind in front of a media header.
const KIND_BYTES: usize = 1;

impl Relay {
    /// Queues a block of audio for everybody else in the room, if its sender is among those who are heard.
    pub(super) fn forward_audio(&mut self, now: Instant, from: MemberKey, packet: Packet<'_>) -> Result<(), Malformed> {
        let AudioPacket { media, level, .. } = AudioPacket::parse(&packet.plaintext[KIND_BYTES..])?;
        let room = self.roster.member(from).ok_or(Malformed)?.room;
        let (room, mut members) = self.roster.room(room).ok_or(Malformed)?;
        let sender = members.member(from).ok_or(Malformed)?;
        if !sender.allowances.audio.take(now, 1) {
            self.statistics.datagrams_throttled += 1;
            return Ok(());
        }
        note_sender(&mut self.senders, from, sender);
        let uplink = sender.uplink(StreamKind::Audio);
        uplink.handle_packet(now, media.sequence, media.timestamp, packet.bytes_on_wire);
        if !room.speakers.hears(now, sender.member, &mut sender.loudness, level) {
            sender.numbering.leave_out();
            self.statistics.audio_unheard += 1;
            return Ok(());
        }
        let sequence = sender.numbering.number(media.sequence);
        let ssrc = Ssrc::new(sender.member, StreamKind::Audio);
        MediaHeader::rename(&mut packet.plaintext[KIND_BYTES..], ssrc, sequence);
        let lane = &mut self.forwards.audio;
        let place = lane.ring.push(packet.plaintext);
        let mut shed = 0;
        for key in room.members.iter().filter(|key| **key != from) {
            shed += members.member(*key).map_or(0, |member| lane.queue(place, *key, member, StreamKind::Audio));
        }
        self.count_shed(now, shed, StreamKind::Audio);
        Ok(())
    }

    /// Queues a part of a frame for those who watch its sender.
    pub(super) fn forward_video(&mut self, now: Instant, from: MemberKey, packet: Packet<'_>) -> Result<(), Malformed> {
        let (header, ..) = VideoHeader::parse(&packet.plaintext[KIND_BYTES..])?;
        let sender = self.roster.member(from).ok_or(Malformed)?;
        if !sender.allowances.video_bytes.take(now, packet.bytes_on_wire as u32) {
            self.statistics.datagrams_throttled += 1;
            return Ok(());
        }
        let media = header.media;
        note_sender(&mut self.senders, from, sender);
        let uplink = sender.uplink(StreamKind::Video);
        uplink.handle_packet(now, media.sequence, media.timestamp, packet.bytes_on_wire);
        let ssrc = Ssrc::new(sender.member, StreamKind::Video);
        MediaHeader::rename(&mut packet.plaintext[KIND_BYTES..], ssrc, media.sequence);
        let watchers = std::mem::take(&mut sender.watchers);
        let lane = &mut self.forwards.video;
        let place = lane.ring.push(packet.plaintext);
        let mut shed = 0;
        for key in &watchers {
            shed += self.roster.member(*key).map_or(0, |member| lane.queue(place, *key, member, StreamKind::Video));
        }
        if let Some(sender) = self.roster.member(from) {
            sender.watchers = watchers;
        }
        self.count_shed(now, shed, StreamKind::Video);
        Ok(())
    }

    /// The next group of media of this kind, for whoever waits longest.
    pub(super) fn poll_media(&mut self, now: Instant, kind: StreamKind, buffer: &mut [u8]) -> Option<Transmit> {
        let send_time = self.send_time(now);
        loop {
            let lane = match kind {
                StreamKind::Audio => &mut self.forwards.audio,
                StreamKind::Video => &mut self.forwards.video,
            };
            let key = lane.ready.pop_front()?;
            let Some(member) = self.roster.member(key) else { continue };
            let mut shed = 0;
            let transmit = member.transmit_media(now, kind, &mut lane.ring, send_time, buffer, &mut shed);
            // To the back, so that members take turns.
            let waiting = member.waiting(kind);
            waiting.ready = !waiting.queue.is_empty();
            let more = waiting.ready;
            lane.ready.extend(more.then_some(key));
            if member.alarm.is_none() {
                self.set_alarm(key);
            }
            self.count_shed(now, shed, kind);
            // Nothing although something waits: the buffer is too small for it.
            if transmit.is_some() || more {
                return transmit;
            }
        }
    }

    pub(super) fn count_shed(&mut self, now: Instant, shed: u64, kind: StreamKind) {
        if shed > 0 {
            self.forwards.last_shed = Some(now);
            let RelayStatistics { audio_shed, video_shed, .. } = &mut self.statistics;
            *match kind {
                StreamKind::Audio => audio_shed,
                StreamKind::Video => video_shed,
            } += shed;
        }
    }

    pub(super) fn send_time(&self, now: Instant) -> SendTime {
        SendTime(now.saturating_duration_since(self.began).as_micros() as u32)
    }
}

/// A member who sends media is reported to from then on.
fn note_sender(senders: &mut Vec<MemberKey>, key: MemberKey, sender: &mut Member) {
    if !std::mem::replace(&mut sender.sends, true) {
        senders.push(key);
    }
}
