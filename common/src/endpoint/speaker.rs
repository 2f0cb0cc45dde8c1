//! One other member's voice: how it arrives, and what its packets bring into the playout buffer.

use std::time::Instant;

use crate::ids::Ssrc;
use crate::limits::{AUDIO_BLOCK_SAMPLES, AUDIO_COPY_OFFSET_MAX};
use crate::path::meter::LastSecond;
use crate::path::stream_reception::ReceptionStatistics;
use crate::sequence::{MediaTime, SequenceNumber};
use crate::voice::pack;
use crate::voice::pcm::{Block, SILENT_BLOCK};
use crate::voice::playout::PlayoutBuffer;
use crate::wire::Malformed;
use crate::wire::audio::{AudioCopy, AudioPacket};

#[derive(Debug)]
pub(super) struct Speaker {
    pub(super) reception: ReceptionStatistics,
    pub(super) playout: PlayoutBuffer,
    arrived: Arrived,
    /// Samples of the last second: those made up, and all.
    concealed: LastSecond,
    pulled: LastSecond,
}

impl Speaker {
    pub(super) fn new(ssrc: Ssrc) -> Self {
        Self {
            reception: ReceptionStatistics::new(ssrc),
            playout: PlayoutBuffer::new(),
            arrived: Arrived::default(),
            concealed: LastSecond::default(),
            pulled: LastSecond::default(),
        }
    }

    /// The next block to be heard.
    pub(super) fn pull(&mut self, now: Instant, block: &mut Block) {
        let before = self.playout.statistics();
        self.playout.pull(now, block);
        let after = self.playout.statistics();
        let concealed = after.concealed_samples - before.concealed_samples;
        self.concealed.add(now, concealed);
        self.pulled.add(now, concealed + after.jitter_buffer_emitted_count - before.jitter_buffer_emitted_count);
    }

    /// Share of the last second's sound that was made up.
    pub(super) fn fraction_concealed(&self, now: Instant) -> f32 {
        self.concealed.sum(now) as f32 / self.pulled.sum(now).max(1) as f32
    }

    /// A packet came, in a datagram that weighed `bytes`. A copy that makes no sense takes nothing from the rest of it.
    pub(super) fn handle_packet(
        &mut self,
        now: Instant,
        packet: &AudioPacket<'_>,
        bytes: usize,
    ) -> Result<(), Malformed> {
        let mut block = SILENT_BLOCK;
        pack::unpack(packet.sound, &mut block)?;
        let media = packet.media;
        if packet.again {
            self.reception.handle_again(now, bytes);
        } else {
            self.reception.handle_packet(now, media.sequence, media.timestamp, bytes);
        }
        // The oldest first, as they were said.
        let place = Place { sequence: media.sequence, timestamp: media.timestamp };
        let mut outcome = Ok(());
        for copy in packet.copies.iter().rev().flatten() {
            outcome = self.handle_copy(now, place, copy, packet.again).and(outcome);
        }
        if !packet.again || self.arrived.lacks(place) {
            self.take(now, place, &block, packet.again);
        }
        outcome
    }

    /// An earlier block comes again, with a packet that is at `place`.
    fn handle_copy(&mut self, now: Instant, place: Place, copy: &AudioCopy<'_>, again: bool) -> Result<(), Malformed> {
        let earlier = place.blocks_before(copy.offset);
        if !self.arrived.lacks(earlier) {
            return Ok(());
        }
        let mut block = SILENT_BLOCK;
        pack::unpack_base(copy.base, &mut block)?;
        self.take(now, earlier, &block, again);
        Ok(())
    }

    /// A block came, in a packet that was sent `again` or for the first time.
    fn take(&mut self, now: Instant, place: Place, block: &Block, again: bool) {
        self.arrived.note(place);
        if again {
            self.playout.handle_again(now, place.sequence, place.timestamp, block);
        } else {
            self.playout.handle_block(now, place.sequence, place.timestamp, block);
        }
    }
}

/// Where a block belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    sequence: SequenceNumber,
    timestamp: MediaTime,
}

impl Place {
    fn blocks_before(self, blocks: u8) -> Self {
        let samples = u32::from(blocks) * AUDIO_BLOCK_SAMPLES as u32;
        Self {
            sequence: self.sequence.minus(blocks.into()),
            timestamp: MediaTime(self.timestamp.0.wrapping_sub(samples)),
        }
    }

    /// Whether both can be blocks of one stream: with each packet the media time goes on by a block at least.
    fn agrees_with(self, other: Self) -> bool {
        let packets = i32::from(self.sequence.distance(other.sequence));
        let samples = self.timestamp.distance(other.timestamp);
        let least = packets.abs().saturating_mul(AUDIO_BLOCK_SAMPLES as i32);
        match packets {
            0 => samples == 0,
            1.. => samples >= least,
            _ => samples <= -least,
        }
    }
}

/// The places of the last blocks that arrived, themselves or as a copy.
#[derive(Debug, Default)]
struct Arrived {
    places: [Option<Place>; ARRIVED_BLOCKS],
}

/// Whatever a copy may be of, or may be sent again, is remembered.
const ARRIVED_BLOCKS: usize = AUDIO_COPY_OFFSET_MAX + 1;

impl Arrived {
    fn note(&mut self, place: Place) {
        self.places[usize::from(place.sequence.0) % ARRIVED_BLOCKS] = Some(place);
    }

    /// Whether this block did not arrive. A relay that left out packets numbers on without them, so a copy of one of
    /// those, or one of them that is sent again, may bear the number of another block: it is none that is missing.
    fn lacks(&self, place: Place) -> bool {
        self.places.iter().flatten().all(|other| *other != place && place.agrees_with(*other))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::{MemberId, StreamKind};
    use crate::limits::AUDIO_BLOCK;
    use crate::sequence::SendTime;
    use crate::virtual_time;
    use crate::voice::pack::Packer;
    use crate::wire::audio::AudioDetail;
    use crate::wire::media::MediaHeader;

    fn place(sequence: u16, blocks: u32) -> Place {
        let timestamp = MediaTime(blocks.wrapping_mul(AUDIO_BLOCK_SAMPLES as u32));
        Place { sequence: SequenceNumber(sequence), timestamp }
    }

    fn arrived(places: &[Place]) -> Arrived {
        let mut arrived = Arrived::default();
        places.iter().for_each(|place| arrived.note(*place));
        arrived
    }

    #[test]
    fn what_did_not_arrive_is_lacking() {
        let hole = arrived(&[place(1, 1), place(2, 2), place(4, 4)]);
        assert!(hole.lacks(place(3, 3)) && hole.lacks(place(5, 5)));
        assert!(!hole.lacks(place(2, 2)) && !hole.lacks(place(4, 4)));
        assert!(arrived(&[]).lacks(place(u16::MAX, 7)));
    }

    #[test]
    fn the_numbers_wrap() {
        let hole = arrived(&[place(u16::MAX, 10), place(1, 12)]);
        assert!(hole.lacks(place(0, 11)));
    }

    #[test]
    fn a_block_behind_a_pause_may_be_lacking() {
        assert!(arrived(&[place(9, 9), place(11, 70)]).lacks(place(10, 69)));
    }

    #[test]
    fn a_copy_of_what_the_relay_left_out_is_not() {
        // The relay forwarded the blocks 1 to 9, left out 10 to 49, and numbers block 50 as 10.
        let before: Vec<_> = (1..10).filter(|number| *number != 8).map(|number| place(number, number.into())).collect();
        let arrived = arrived(&before);
        assert!(!arrived.lacks(place(9, 49)), "its number is taken");
        assert!(!arrived.lacks(place(8, 48)), "its number is free, but 9 came before it was said");
        assert!(arrived.lacks(place(8, 8)));
    }

    #[test]
    fn what_is_long_gone_is_not_compared() {
        let mut arrived = Arrived::default();
        (0..100).for_each(|number| arrived.note(place(number, number.into())));
        assert!(!arrived.lacks(place(99, 99)) && !arrived.lacks(place(84, 84)));
    }

    /// A tone through a path that loses the packets `lost` says, with copies at these offsets; what playout concealed.
    fn concealed(lost: impl Fn(usize) -> bool, offsets: [u8; 2]) -> u64 {
        let ssrc = Ssrc::new(MemberId(3), StreamKind::Audio);
        let (mut speaker, mut packer) = (Speaker::new(ssrc), Packer::default());
        let (start, mut bases) = (virtual_time(), Vec::new());
        for number in 0..300 {
            let now = start + number as u32 * AUDIO_BLOCK;
            packer.push(&std::array::from_fn(|i| {
                ((i + number * AUDIO_BLOCK_SAMPLES) as f32 * 0.03).sin() as i16 * 5_000
            }));
            let packed = packer.pack(AudioDetail::Exact);
            bases.push(packed.base().to_vec());
            let copies = offsets.map(|offset| {
                let base = bases.get(number.checked_sub(offset.into())?)?;
                (offset > 0).then_some(AudioCopy { offset, base })
            });
            let timestamp = MediaTime((number * AUDIO_BLOCK_SAMPLES) as u32);
            let media =
                MediaHeader { ssrc, sequence: SequenceNumber(number as u16), send_time: SendTime(0), timestamp };
            if !lost(number) {
                let packet = AudioPacket { media, level: 20, again: false, sound: packed.sound(), copies };
                speaker.handle_packet(now, &packet, 300).unwrap();
            }
            speaker.pull(now + AUDIO_BLOCK / 2, &mut SILENT_BLOCK.clone());
        }
        speaker.playout.statistics().concealed_samples / AUDIO_BLOCK_SAMPLES as u64
    }

    #[test]
    fn copies_fill_what_was_lost_in_time() {
        let single = |number: usize| number % 20 == 19;
        let three = |number: usize| number % 30 > 26;
        assert!(concealed(single, [0, 0]) >= 14);
        assert_eq!(concealed(single, [1, 0]), 0);
        assert_eq!(concealed(three, [1, 3]), 0);
    }

    /// A stream of which every twentieth packet comes again, so late, and some others as well although they were there.
    fn again(late: Duration) -> Speaker {
        let ssrc = Ssrc::new(MemberId(3), StreamKind::Audio);
        let (mut speaker, mut packer) = (Speaker::new(ssrc), Packer::default());
        let start = virtual_time();
        let mut arrivals = Vec::new();
        for number in 0..1_000_u16 {
            let at = start + u32::from(number) * AUDIO_BLOCK;
            match number % 20 {
                9 => arrivals.push((at + late, number, true)),
                10 => arrivals.extend([(at, number, false), (at + late, number, true)]),
                _ => arrivals.push((at, number, false)),
            }
        }
        arrivals.sort();
        let mut arrivals = arrivals.into_iter().peekable();
        packer.push(&[1_000; AUDIO_BLOCK_SAMPLES]);
        let packed = packer.pack(AudioDetail::Exact);
        for step in 0..1_000 {
            let now = start + step * AUDIO_BLOCK + AUDIO_BLOCK / 2;
            while let Some((at, number, again)) = arrivals.next_if(|(at, ..)| *at <= now) {
                let timestamp = MediaTime(u32::from(number) * AUDIO_BLOCK_SAMPLES as u32);
                let media = MediaHeader { ssrc, sequence: SequenceNumber(number), send_time: SendTime(0), timestamp };
                let packet = AudioPacket { media, level: 20, again, sound: packed.sound(), copies: [None; 2] };
                speaker.handle_packet(at, &packet, 300).unwrap();
            }
            speaker.pull(now, &mut SILENT_BLOCK.clone());
        }
        speaker
    }

    #[test]
    fn what_comes_again_in_time_is_heard_and_was_lost_all_the_same() {
        let speaker = again(Duration::from_millis(14));
        let (reception, playout) = (&speaker.reception, speaker.playout.statistics());
        assert_eq!((reception.packets_received(), reception.packets_lost(), reception.packets_again()), (950, 50, 100));
        assert!(reception.jitter() < Duration::from_millis(1), "{:?}", reception.jitter());
        assert!(playout.concealed_samples <= 3 * AUDIO_BLOCK_SAMPLES as u64, "{playout:?}");
        assert_eq!(speaker.playout.target_delay(), Duration::from_millis(15));
    }

    #[test]
    fn what_comes_again_too_late_makes_nobody_wait() {
        let speaker = again(Duration::from_millis(45));
        let playout = speaker.playout.statistics();
        assert_eq!(speaker.playout.target_delay(), Duration::from_millis(10));
        let concealed = playout.concealed_samples / AUDIO_BLOCK_SAMPLES as u64;
        assert!((35..=50).contains(&concealed), "the first ones found a longer buffer: {concealed}");
    }

    #[test]
    fn a_copy_that_makes_no_sense_takes_nothing_from_the_rest() {
        let ssrc = Ssrc::new(MemberId(3), StreamKind::Audio);
        let media = MediaHeader {
            ssrc,
            sequence: SequenceNumber(5),
            send_time: SendTime(0),
            timestamp: MediaTime(5 * AUDIO_BLOCK_SAMPLES as u32),
        };
        let packed = Packer::default().pack(AudioDetail::Exact);
        let copies = [Some(AudioCopy { offset: 2, base: &[0xff; 9] }), None];
        let packet = AudioPacket { media, level: 20, again: false, sound: packed.sound(), copies };
        let mut speaker = Speaker::new(ssrc);
        assert_eq!(speaker.handle_packet(virtual_time(), &packet, 300), Err(Malformed));
        assert_eq!(speaker.reception.packets_received(), 1);
        assert!(!speaker.arrived.lacks(place(5, 5)) && speaker.arrived.lacks(place(3, 3)));
    }
}
