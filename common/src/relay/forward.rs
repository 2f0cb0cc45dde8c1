//! Media through the relay: from the datagram that brought it into the queues of those who get it, and from there,
//! grouped by receiver, into the socket's buffer.

use std::collections::VecDeque;
use std::time::Instant;

use crate::ids::{Ssrc, StreamKind};
use crate::limits::{AUDIO_QUEUE_DATAGRAMS, RELAY_AUDIO_DATAGRAMS, RELAY_VIDEO_DATAGRAMS, VIDEO_QUEUE_DATAGRAMS};
use crate::relay::group::Transmit;
use crate::relay::member::Member;
use crate::relay::packets::{Place, Ring};
use crate::relay::roster::{MemberKey, Members};
use crate::relay::{Relay, RelayStatistics};
use crate::sequence::SendTime;
use crate::wire::Malformed;
use crate::wire::media::{AudioHeader, MediaHeader, VideoHeader};

/// What waits to be forwarded, of all rooms.
#[derive(Debug)]
pub(super) struct Forwards {
    pub(super) audio: Ring,
    pub(super) video: Ring,
    /// Members with audio waiting, each once: they go before everything else.
    audio_ready: VecDeque<MemberKey>,
    /// When something was shed last.
    pub(super) last_shed: Option<Instant>,
}

impl Default for Forwards {
    fn default() -> Self {
        Self {
            audio: Ring::new(RELAY_AUDIO_DATAGRAMS),
            video: Ring::new(RELAY_VIDEO_DATAGRAMS),
            audio_ready: VecDeque::new(),
            last_shed: None,
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
        let (header, _) = AudioHeader::parse(&packet.plaintext[KIND_BYTES..])?;
        let room = self.roster.member(from).ok_or(Malformed)?.room;
        let (room, mut members) = self.roster.room(room).ok_or(Malformed)?;
        let sender = members.member(from).ok_or(Malformed)?;
        if !sender.allowances.audio.take(now, 1) {
            self.statistics.datagrams_throttled += 1;
            return Ok(());
        }
        let media = header.media;
        note_sender(&mut self.senders, from, sender);
        let uplink = sender.uplink(StreamKind::Audio);
        uplink.handle_packet(now, media.sequence, media.timestamp, packet.bytes_on_wire);
        if !room.speakers.hears(now, sender.member, &mut sender.loudness, header.level) {
            sender.numbering.leave_out();
            self.statistics.audio_unheard += 1;
            return Ok(());
        }
        let sequence = sender.numbering.number(media.sequence);
        let ssrc = Ssrc::new(sender.member, StreamKind::Audio);
        MediaHeader::rename(&mut packet.plaintext[KIND_BYTES..], ssrc, sequence);
        let place = self.forwards.audio.push(packet.plaintext);
        let receivers = room.members.iter().filter(|key| **key != from);
        let shed = queue_audio(&mut self.forwards, place, receivers, members);
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
        let place = self.forwards.video.push(packet.plaintext);
        let mut shed = 0;
        for key in &watchers {
            shed += self.queue_video(*key, place);
        }
        if let Some(sender) = self.roster.member(from) {
            sender.watchers = watchers;
        }
        self.count_shed(now, shed, StreamKind::Video);
        Ok(())
    }

    fn queue_video(&mut self, key: MemberKey, place: Place) -> u64 {
        let Some(receiver) = self.roster.member(key).filter(|receiver| receiver.address.is_some()) else {
            return 0;
        };
        if !std::mem::replace(&mut receiver.ready, true) {
            self.ready.push_back(key);
        }
        receiver.video.push(&mut self.forwards.video, place, VIDEO_QUEUE_DATAGRAMS)
    }

    /// The next group of audio, of whoever waits longest.
    pub(super) fn poll_audio(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Transmit> {
        let send_time = self.send_time(now);
        while let Some(key) = self.forwards.audio_ready.pop_front() {
            let Some(member) = self.roster.member(key) else { continue };
            let mut shed = 0;
            let transmit = member.transmit_audio(&mut self.forwards.audio, send_time, buffer, &mut shed);
            if member.audio.is_empty() {
                member.audio_ready = false;
            } else {
                self.forwards.audio_ready.push_back(key);
            }
            self.count_shed(now, shed, StreamKind::Audio);
            if transmit.is_some() {
                return transmit;
            }
        }
        None
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

fn queue_audio<'a>(
    forwards: &mut Forwards,
    place: Place,
    receivers: impl Iterator<Item = &'a MemberKey>,
    mut members: Members<'_>,
) -> u64 {
    let mut shed = 0;
    for key in receivers {
        if let Some(receiver) = members.member(*key).filter(|receiver| receiver.address.is_some()) {
            shed += receiver.audio.push(&mut forwards.audio, place, AUDIO_QUEUE_DATAGRAMS);
            if !std::mem::replace(&mut receiver.audio_ready, true) {
                forwards.audio_ready.push_back(*key);
            }
        }
    }
    shed
}
