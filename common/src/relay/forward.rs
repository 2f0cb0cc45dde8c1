//! Media through the relay: from the datagram that brought it into the queues of those who get it, and from there,
//! grouped by receiver, into the socket's buffer.

use std::collections::VecDeque;
use std::time::Instant;

use crate::ids::{MemberId, MemberKey, Ssrc, StreamKind};
use crate::limits::{AUDIO_QUEUE_DATAGRAMS, RELAY_AUDIO_DATAGRAMS, RELAY_VIDEO_DATAGRAMS, VIDEO_QUEUE_DATAGRAMS};
use crate::relay::group::Transmit;
use crate::relay::member::{Member, Source};
use crate::relay::packets::{Place, Ring};
use crate::relay::pictures::{PartId, Pictures};
use crate::relay::{Relay, RelayStatistics};
use crate::sequence::SendTime;
use crate::wire::Malformed;
use crate::wire::audio::AudioPacket;
use crate::wire::feedback::Feedback;
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
            audio: Lane::new(Ring::looking_back(RELAY_AUDIO_DATAGRAMS), AUDIO_QUEUE_DATAGRAMS),
            video: Lane::new(Ring::new(RELAY_VIDEO_DATAGRAMS), VIDEO_QUEUE_DATAGRAMS),
            last_shed: None,
        }
    }
}

impl Lane {
    fn new(ring: Ring, queue_max: usize) -> Self {
        Self { ring, ready: VecDeque::new(), queue_max }
    }

    /// Queues a packet of the ring for a member whose address is known; answers the tag of one that was shed for it.
    fn queue(&mut self, place: Place, key: MemberKey, member: &mut Member, kind: StreamKind) -> Option<u32> {
        member.address?;
        self.wake(key, member, kind);
        member.waiting(kind).queue.push(&mut self.ring, place, self.queue_max)
    }

    /// A member tells what arrived there; what it lost of this kind and the ring has still is queued again.
    pub(super) fn hear_of(
        &mut self,
        now: Instant,
        key: MemberKey,
        member: &mut Member,
        feedback: Feedback<'_>,
        pictures: &Pictures,
    ) {
        member.handle_feedback(now, feedback, pictures, &mut self.ring);
        if !member.waiting(StreamKind::Audio).queue.is_empty() {
            self.wake(key, member, StreamKind::Audio);
        }
    }

    /// Something waits for a member.
    pub(super) fn wake(&mut self, key: MemberKey, member: &mut Member, kind: StreamKind) {
        if !std::mem::replace(&mut member.waiting(kind).ready, true) {
            self.ready.push_back(key);
        }
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
        let AudioPacket { media, level, again, .. } = AudioPacket::parse(&packet.plaintext[KIND_BYTES..])?;
        let room = self.roster.member(from).ok_or(Malformed)?.room;
        let (room, mut members) = self.roster.room(room).ok_or(Malformed)?;
        let sender = members.member(from).ok_or(Malformed)?;
        if !sender.allowances.audio.take(now, 1) {
            self.statistics.datagrams_throttled += 1;
            return Ok(());
        }
        note_sender(&mut self.senders, from, sender);
        let uplink = sender.uplink(StreamKind::Audio);
        if again {
            uplink.handle_again(now, packet.bytes_on_wire);
        } else {
            uplink.handle_packet(now, media.sequence, media.timestamp, packet.bytes_on_wire);
        }
        let heard = if again {
            // It takes nobody's seat, and no number of those that were left out.
            room.speakers.seats(sender.member) && sender.numbering.forwards()
        } else {
            let heard = room.speakers.hears(now, sender.member, &mut sender.loudness, level);
            sender.numbering.leave_out(!heard);
            heard
        };
        if !heard {
            self.statistics.audio_unheard += 1;
            return Ok(());
        }
        let sequence = sender.numbering.number(media.sequence);
        let ssrc = Ssrc::new(sender.member, StreamKind::Audio);
        MediaHeader::rename(&mut packet.plaintext[KIND_BYTES..], ssrc, sequence);
        let lane = &mut self.forwards.audio;
        let place = lane.ring.push(packet.plaintext, lane.ring.next_tag());
        let mut shed = 0;
        for key in room.members.iter().filter(|key| **key != from) {
            let member = members.member(*key);
            shed +=
                u64::from(member.is_some_and(|member| lane.queue(place, *key, member, StreamKind::Audio).is_some()));
        }
        self.count_shed(now, shed, StreamKind::Audio);
        Ok(())
    }

    /// Keeps a part of a picture, and queues it for those who watch its sender.
    pub(super) fn forward_video(&mut self, now: Instant, from: MemberKey, packet: Packet<'_>) -> Result<(), Malformed> {
        let body = &mut packet.plaintext[KIND_BYTES..];
        let media = MediaHeader::parse(body)?;
        let sender = self.roster.member(from).ok_or(Malformed)?;
        if !sender.allowances.video_bytes.take(now, packet.bytes_on_wire as u32) {
            self.statistics.datagrams_throttled += 1;
            return Ok(());
        }
        MediaHeader::rename(body, Ssrc::new(sender.member, StreamKind::Video), media.sequence);
        let (header, runs, _) = VideoHeader::parse(&packet.plaintext[KIND_BYTES..])?;
        note_sender(&mut self.senders, from, sender);
        let uplink = sender.uplink(StreamKind::Video);
        uplink.handle_packet(now, media.sequence, media.timestamp, packet.bytes_on_wire);
        let picture = *sender.picture.get_or_insert_with(|| self.pictures.begin());
        let part = self.pictures.insert(now, picture, packet.plaintext, &header, runs);
        let watchers = std::mem::take(&mut sender.watchers);
        self.show(now, &watchers, (header.media, part), packet.plaintext);
        if let Some(sender) = self.roster.member(from) {
            sender.watchers = watchers;
        }
        Ok(())
    }

    /// Queues a part for everybody whose path carries it now. The others lack it until there is room.
    fn show(&mut self, now: Instant, watchers: &[MemberKey], (media, part): (MediaHeader, PartId), plaintext: &[u8]) {
        let (lane, sender) = (&mut self.forwards.video, media.ssrc.member());
        let place = lane.ring.push(plaintext, part.serial.0);
        let mut shed = 0;
        for key in watchers {
            let Some(member) = self.roster.member(*key) else { continue };
            if !member.repairs.passes(now, part.picture, plaintext.len()) {
                member.repairs.add(now, part, &self.pictures);
                member.pass_over(sender, media.sequence);
                lane.wake(*key, member, StreamKind::Video);
                continue;
            }
            member.pass_on(sender, media.sequence);
            if let Some(tag) = lane.queue(place, *key, member, StreamKind::Video) {
                shed += 1;
                member.miss(now, tag, &self.pictures);
            }
        }
        self.count_shed(now, shed, StreamKind::Video);
    }

    /// A member is to get all there is of these members' pictures, as far as it watches them.
    pub(super) fn catch_up(&mut self, now: Instant, key: MemberKey, senders: impl Fn(MemberId) -> bool) {
        let Some(room) = self.roster.member(key).map(|member| member.room) else { return };
        let Some((room, mut members)) = self.roster.room(room) else { return };
        for sender in room.members.iter().filter(|sender| **sender != key) {
            let picture = members.member(*sender).filter(|sender| senders(sender.member));
            let Some((id, picture)) = picture.and_then(|sender| Some((sender.member, sender.picture?))) else {
                continue;
            };
            let wants = |member: &&mut Member| member.address.is_some() && member.watches(id);
            let Some(member) = members.member(key).filter(wants) else { continue };
            member.repairs.catch_up(now, picture, &self.pictures);
            self.forwards.video.wake(key, member, StreamKind::Video);
        }
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
            let source = Source { ring: &mut lane.ring, pictures: &self.pictures, send_time };
            let transmit = member.transmit_media(now, kind, source, buffer, &mut shed);
            // To the back, so that members take turns.
            let repairs = kind == StreamKind::Video && member.repairs.ready(now);
            let waiting = member.waiting(kind);
            waiting.ready = repairs || !waiting.queue.is_empty();
            let more = waiting.ready;
            lane.ready.extend(more.then_some(key));
            let waits = member.alarm.is_none() || (kind == StreamKind::Video && !more && !member.repairs.is_empty());
            self.count_shed(now, shed, kind);
            if waits {
                self.set_alarm(key);
            }
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
