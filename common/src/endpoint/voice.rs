//! Our own voice: silence left out, the rest packed, and earlier blocks brought again where packets are lost, as copies
//! or as the same packet once more.

use std::collections::VecDeque;
use std::time::Duration;

use crate::endpoint::parts::TAGS_END;
use crate::endpoint::ssrc;
use crate::ids::{MemberId, StreamKind};
use crate::limits::{
    AUDIO_AGAIN_MAX_AGE, AUDIO_BASE_MAX_BYTES, AUDIO_BLOCK, AUDIO_BLOCK_SAMPLES, AUDIO_COPIES_MAX,
    AUDIO_COPY_OFFSET_MAX,
};
use crate::sequence::{MediaTime, SendTime, SequenceNumber};
use crate::voice::pack::{Packed, Packer};
use crate::voice::pcm::{self, Block};
use crate::voice::redundancy::{Bursts, Losses, Redundancy};
use crate::voice::vad::SilenceGate;
use crate::wire::audio::{AudioCopy, AudioDetail, AudioPacket};
use crate::wire::media::MediaHeader;

#[derive(Debug)]
pub(super) struct Voice {
    you: MemberId,
    gate: SilenceGate,
    /// Silence is sent as well.
    ungated: bool,
    packer: Packer,
    detail: AudioDetail,
    queue: VecDeque<Waiting>,
    sequence: SequenceNumber,
    timestamp: MediaTime,
    redundancy: Redundancy,
    /// On the way to the server.
    bursts: Bursts,
    sent: SentBlocks,
    packets: SentPackets,
    /// Of the packet written last.
    tag: u32,
}

/// A block that waits for the socket.
#[derive(Debug)]
struct Waiting {
    timestamp: MediaTime,
    level: u8,
    packed: Packed,
}

/// Blocks of ours that may wait for the socket: 80 ms. Older ones would come too late anyway.
const QUEUE_BLOCKS: usize = 8;

impl Voice {
    pub(super) fn new(you: MemberId) -> Self {
        Self {
            you,
            gate: SilenceGate::default(),
            ungated: false,
            packer: Packer::default(),
            detail: AudioDetail::default(),
            queue: VecDeque::with_capacity(QUEUE_BLOCKS),
            sequence: SequenceNumber::default(),
            timestamp: MediaTime::default(),
            redundancy: Redundancy::default(),
            bursts: Bursts::default(),
            sent: SentBlocks::default(),
            packets: SentPackets::default(),
            tag: 0,
        }
    }

    /// Takes a block of the microphone; answers its level if it is to be sent.
    pub(super) fn push(&mut self, block: &Block) -> Option<u8> {
        let timestamp = self.timestamp;
        self.timestamp = timestamp.plus(AUDIO_BLOCK_SAMPLES as u32);
        self.packer.push(block);
        // The gate listens in any case, so that it knows the room when it is wanted again.
        if !self.gate.speaks(block) && !self.ungated {
            return None;
        }
        if self.queue.len() >= QUEUE_BLOCKS {
            self.queue.pop_front();
        }
        let level = pcm::level(self.packer.block());
        self.queue.push_back(Waiting { timestamp, level, packed: self.packer.pack(self.detail) });
        Some(level)
    }

    /// Writes the packet that is next, if there is one; answers its length.
    pub(super) fn poll(&mut self, send_time: SendTime, body: &mut [u8]) -> Option<usize> {
        let block = self.queue.pop_front()?;
        let media = MediaHeader {
            ssrc: ssrc(self.you, StreamKind::Audio),
            sequence: self.sequence,
            send_time,
            timestamp: block.timestamp,
        };
        let offsets = self.redundancy.offsets();
        let copies = self.sent.copies(media, &offsets[..offsets.len().min(self.detail.copies_max())]);
        let mut packet = AudioPacket { media, level: block.level, again: false, sound: block.packed.sound(), copies };
        while packet.bytes() > AudioPacket::MAX_BYTES
            && let Some(last) = packet.copies.iter_mut().rev().find(|copy| copy.is_some())
        {
            *last = None;
        }
        let length = packet.write(body);
        self.sent.push(media, block.packed.base());
        self.packets.push(self.sequence, &body[..length]);
        self.tag = TAGS_END | u32::from(self.sequence.0);
        self.sequence = self.sequence.next();
        Some(length)
    }

    /// Writes a packet that is to be sent again, if there is one; answers its length.
    pub(super) fn poll_again(&mut self, send_time: SendTime, body: &mut [u8]) -> Option<usize> {
        let packet = self.packets.take_missed()?;
        let body = &mut body[..packet.len()];
        body.copy_from_slice(packet);
        AudioPacket::mark_again(body);
        MediaHeader::stamp(body, send_time);
        // Once is enough: nobody asks what becomes of it.
        self.tag = 0;
        Some(body.len())
    }

    pub(super) fn send_silence(&mut self, on: bool) {
        self.ungated = on;
    }

    pub(super) fn set_detail(&mut self, detail: AudioDetail) {
        self.detail = detail;
    }

    /// The packet written last, as its hop shall name it: from [`TAGS_END`] on, or 0 when it was sent again.
    pub(super) fn tag(&self) -> u32 {
        self.tag
    }

    /// A packet of ours that left so long ago seems to be lost on the way to the server.
    pub(super) fn handle_missing(&mut self, tag: u32, age: Duration) {
        if age <= AUDIO_AGAIN_MAX_AGE {
            self.packets.miss(SequenceNumber(tag as u16));
        }
    }

    /// A packet of ours was lost on the way to the server.
    pub(super) fn handle_lost(&mut self, tag: u32) {
        self.bursts.handle_loss(SequenceNumber(tag as u16));
    }

    /// Somebody reports on our voice that this share of it is lost.
    pub(super) fn handle_losses(&mut self, reporter: MemberId, fraction: f32) {
        let burst = if reporter == MemberId::SERVER { self.bursts.mean() } else { None };
        self.redundancy.handle_losses(reporter, Losses { fraction, burst });
    }

    pub(super) fn remove_receiver(&mut self, member: MemberId) {
        self.redundancy.remove(member);
    }
}

/// The base layers that were sent last, to be brought again.
#[derive(Debug, Default)]
struct SentBlocks {
    blocks: [SentBlock; SENT_BLOCKS],
}

#[derive(Clone, Copy, Debug)]
struct SentBlock {
    sequence: SequenceNumber,
    timestamp: MediaTime,
    base: [u8; AUDIO_BASE_MAX_BYTES],
    /// 0 before anything was sent here.
    base_bytes: usize,
}

const SENT_BLOCKS: usize = AUDIO_COPY_OFFSET_MAX + 1;

impl Default for SentBlock {
    fn default() -> Self {
        Self {
            sequence: SequenceNumber::default(),
            timestamp: MediaTime::default(),
            base: [0; AUDIO_BASE_MAX_BYTES],
            base_bytes: 0,
        }
    }
}

impl SentBlocks {
    fn push(&mut self, media: MediaHeader, base: &[u8]) {
        let block = &mut self.blocks[usize::from(media.sequence.0) % SENT_BLOCKS];
        (block.sequence, block.timestamp, block.base_bytes) = (media.sequence, media.timestamp, base.len());
        block.base[..base.len()].copy_from_slice(base);
    }

    fn copies(&self, media: MediaHeader, offsets: &[u8]) -> [Option<AudioCopy<'_>>; AUDIO_COPIES_MAX] {
        let mut found = offsets.iter().filter_map(|offset| self.copy(media, *offset));
        std::array::from_fn(|_| found.next())
    }

    /// The block so many before this one, unless a pause was between them.
    fn copy(&self, media: MediaHeader, offset: u8) -> Option<AudioCopy<'_>> {
        let sequence = media.sequence.minus(offset.into());
        let block = &self.blocks[usize::from(sequence.0) % SENT_BLOCKS];
        let samples = i32::from(offset) * AUDIO_BLOCK_SAMPLES as i32;
        let unbroken = block.sequence == sequence && media.timestamp.distance(block.timestamp) == samples;
        (unbroken && block.base_bytes > 0).then(|| AudioCopy { offset, base: &block.base[..block.base_bytes] })
    }
}

/// The packets that were sent last, to be sent again.
#[derive(Debug)]
struct SentPackets {
    packets: [SentPacket; SENT_PACKETS],
}

#[derive(Debug)]
struct SentPacket {
    sequence: SequenceNumber,
    body: [u8; AudioPacket::MAX_BYTES],
    /// 0 before anything was sent here, and once it was sent again.
    length: usize,
    missed: bool,
}

/// All of them that are young enough, and two that waited for the socket.
const SENT_PACKETS: usize = (AUDIO_AGAIN_MAX_AGE.as_millis() / AUDIO_BLOCK.as_millis()) as usize + 2;

impl Default for SentPackets {
    fn default() -> Self {
        let nothing = |_| SentPacket {
            sequence: SequenceNumber::default(),
            body: [0; AudioPacket::MAX_BYTES],
            length: 0,
            missed: false,
        };
        Self { packets: std::array::from_fn(nothing) }
    }
}

impl SentPackets {
    fn push(&mut self, sequence: SequenceNumber, body: &[u8]) {
        let packet = &mut self.packets[usize::from(sequence.0) % SENT_PACKETS];
        (packet.sequence, packet.length, packet.missed) = (sequence, body.len(), false);
        packet.body[..body.len()].copy_from_slice(body);
    }

    /// Unless it had to make room.
    fn miss(&mut self, sequence: SequenceNumber) {
        let packet = &mut self.packets[usize::from(sequence.0) % SENT_PACKETS];
        packet.missed = packet.length > 0 && packet.sequence == sequence;
    }

    fn take_missed(&mut self) -> Option<&[u8]> {
        let packet = self.packets.iter_mut().find(|packet| packet.missed)?;
        packet.missed = false;
        Some(&packet.body[..std::mem::take(&mut packet.length)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voice::pcm::SILENT_BLOCK;
    use crate::wire::audio::Sound;

    fn block(number: usize) -> Block {
        let sample = |i: usize| ((i + number * AUDIO_BLOCK_SAMPLES) as f32 * 0.03).sin();
        std::array::from_fn(|i| (8_000.0 * sample(i)) as i16)
    }

    fn sent(voice: &mut Voice) -> Vec<u8> {
        let mut body = vec![0; AudioPacket::MAX_BYTES];
        let length = voice.poll(SendTime(0), &mut body).unwrap();
        body.truncate(length);
        body
    }

    fn lossy() -> Voice {
        let mut voice = Voice::new(MemberId(1));
        (0..20).for_each(|_| voice.handle_losses(MemberId(2), 0.1));
        voice
    }

    /// The base layer of a packet, and the offsets and base layers of its copies.
    fn layers(body: &[u8]) -> (Vec<u8>, Vec<(u8, Vec<u8>)>) {
        let packet = AudioPacket::parse(body).unwrap();
        let Sound::Packed { base, .. } = packet.sound else { panic!("a tone packs well") };
        let copies = packet.copies.iter().flatten().map(|copy| (copy.offset, copy.base.to_vec()));
        (base.to_vec(), copies.collect())
    }

    #[test]
    fn a_packet_brings_the_blocks_before_it_again() {
        let mut voice = lossy();
        let mut bases = Vec::new();
        for number in 0..5 {
            voice.push(&block(number));
            let (base, copies) = layers(&sent(&mut voice));
            let earlier = |offset: usize| Some((offset as u8, bases.get(number.checked_sub(offset)?).cloned()?));
            assert_eq!(copies, [1, 3].into_iter().filter_map(earlier).collect::<Vec<_>>());
            bases.push(base);
        }
    }

    #[test]
    fn nothing_is_brought_again_while_nothing_is_lost() {
        let mut voice = Voice::new(MemberId(1));
        for number in 0..5 {
            voice.push(&block(number));
            assert!(layers(&sent(&mut voice)).1.is_empty());
        }
    }

    #[test]
    fn nothing_is_brought_again_across_a_pause() {
        let mut voice = lossy();
        (0..3).for_each(|number| {
            voice.push(&block(number));
            sent(&mut voice);
        });
        // Until the gate closes.
        while voice.push(&SILENT_BLOCK).is_some() {
            sent(&mut voice);
        }
        for (number, copies) in [(3, 0), (4, 1), (5, 1), (6, 2)] {
            voice.push(&block(number));
            assert_eq!(layers(&sent(&mut voice)).1.len(), copies);
        }
    }

    #[test]
    fn what_is_missing_is_sent_once_more_as_it_was() {
        let mut voice = Voice::new(MemberId(1));
        let sent: Vec<_> = (0..5)
            .map(|number| {
                voice.push(&block(number));
                (sent(&mut voice), voice.tag())
            })
            .collect();
        let mut body = [0; AudioPacket::MAX_BYTES];
        assert_eq!(voice.poll_again(SendTime(7), &mut body), None);
        let (first, tag) = &sent[2];
        voice.handle_missing(*tag, AUDIO_AGAIN_MAX_AGE);
        let length = voice.poll_again(SendTime(7), &mut body).unwrap();
        let (before, again) = (AudioPacket::parse(first).unwrap(), AudioPacket::parse(&body[..length]).unwrap());
        let media = MediaHeader { send_time: SendTime(7), ..before.media };
        assert_eq!(again, AudioPacket { media, again: true, ..before });
        assert_eq!(voice.tag(), 0, "nobody asks for it");
        voice.handle_missing(*tag, Duration::ZERO);
        assert_eq!(voice.poll_again(SendTime(7), &mut body), None, "once");
        voice.handle_missing(sent[3].1, AUDIO_AGAIN_MAX_AGE + Duration::from_millis(1));
        assert_eq!(voice.poll_again(SendTime(7), &mut body), None, "too old");
    }

    #[test]
    fn what_made_room_is_not_sent_again() {
        let mut voice = Voice::new(MemberId(1));
        let tags: Vec<_> = (0..=SENT_PACKETS)
            .map(|number| {
                voice.push(&block(number));
                sent(&mut voice);
                voice.tag()
            })
            .collect();
        let mut body = [0; AudioPacket::MAX_BYTES];
        voice.handle_missing(tags[0], Duration::ZERO);
        assert_eq!(voice.poll_again(SendTime(0), &mut body), None);
        voice.handle_missing(tags[1], Duration::ZERO);
        assert!(voice.poll_again(SendTime(0), &mut body).is_some());
    }

    #[test]
    fn music_may_be_silent() {
        let mut voice = Voice::new(MemberId(1));
        assert_eq!(voice.push(&SILENT_BLOCK), None);
        voice.send_silence(true);
        assert!((0..100).all(|_| voice.push(&SILENT_BLOCK).is_some()));
        voice.send_silence(false);
        assert_eq!(voice.push(&SILENT_BLOCK), None);
    }

    #[test]
    fn copies_that_do_not_fit_stay_out() {
        let mut voice = lossy();
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as i16
        };
        for _ in 0..6 {
            voice.push(&std::array::from_fn(|_| noise()));
            assert!(AudioPacket::parse(&sent(&mut voice)).is_ok());
        }
    }

    #[test]
    fn the_base_layer_alone_is_sent_where_no_more_is_wanted() {
        let mut voice = Voice::new(MemberId(1));
        voice.set_detail(AudioDetail::Base);
        voice.push(&block(0));
        voice.push(&block(1));
        sent(&mut voice);
        let body = sent(&mut voice);
        let packet = AudioPacket::parse(&body).unwrap();
        assert_eq!(packet.thinned(AudioDetail::Base), packet);
        assert!(body.len() < 200);
    }
}
