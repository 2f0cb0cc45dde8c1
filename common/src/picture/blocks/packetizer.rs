//! Coded parts of a frame into packets.

use crate::ids::Ssrc;
use crate::limits::{BLOCKS_PER_PART_MAX, FRAME_PARTS_MAX, PLAINTEXT_BASE_BYTES};
use crate::picture::blocks::{CodedFrame, CodedPart, inside};
use crate::picture::ladder::Rung;
use crate::sequence::{FrameId, SendTime, SequenceNumber};
use crate::wire::media::{MediaHeader, VideoHeader};

/// Sender's side of one stream: numbers frames and packets, and writes them.
#[derive(Clone, Debug)]
pub struct Packetizer {
    ssrc: Ssrc,
    next_sequence: SequenceNumber,
    /// Of the frame whose parts are being written.
    frame: FrameId,
    parts_dropped: u64,
}

impl Packetizer {
    /// Bytes a packet may have, and so the buffer [`Self::write_part`] needs: a plaintext without its kind.
    pub const PACKET_MAX_BYTES: usize = PLAINTEXT_BASE_BYTES - 1;

    /// A stream that begins with packet 0 of frame 1.
    pub fn new(ssrc: Ssrc) -> Self {
        Self { ssrc, next_sequence: SequenceNumber(0), frame: FrameId(0), parts_dropped: 0 }
    }

    /// Writes the packet (what follows [`crate::wire::datagram::Kind::Video`]) for one part to the front of `buffer`,
    /// at least [`Self::PACKET_MAX_BYTES`] long; answers its length.
    ///
    /// Part 0 begins a frame: the parts of a frame are written in order, and the rest of it may be left out. A part
    /// that no packet can carry is dropped and counted; the length is then 0.
    pub fn write_part(
        &mut self,
        frame: &CodedFrame,
        part_index: usize,
        send_time: SendTime,
        buffer: &mut [u8],
    ) -> usize {
        if part_index == 0 {
            self.frame = self.frame.next();
        }
        let part = frame.parts.get(part_index);
        let Some(part) = part.filter(|part| part_index < FRAME_PARTS_MAX && fits(part, frame.rung)) else {
            self.parts_dropped += 1;
            return 0;
        };
        let header = self.header(frame, part, part_index, send_time);
        self.next_sequence = self.next_sequence.next();
        let front = header.write(&part.runs, buffer);
        let length = front + part.scan.len();
        buffer[front..length].copy_from_slice(&part.scan);
        length
    }

    /// Parts that were too large for a packet, or no part of a frame, since the stream began.
    pub fn parts_dropped(&self) -> u64 {
        self.parts_dropped
    }

    /// Packets written since the stream began, modulo 2^16: the number of the next one.
    pub fn next_sequence(&self) -> SequenceNumber {
        self.next_sequence
    }

    fn header(&self, frame: &CodedFrame, part: &CodedPart, part_index: usize, send_time: SendTime) -> VideoHeader {
        VideoHeader {
            media: MediaHeader { ssrc: self.ssrc, sequence: self.next_sequence, send_time, timestamp: frame.timestamp },
            frame: self.frame,
            part: part_index as u8,
            parts: frame.parts.len().min(FRAME_PARTS_MAX) as u8,
            rung: frame.rung.index,
            quality: part.quality,
        }
    }
}

/// A receiver would accept this part. The count of runs comes first: the rest relies on it being small.
fn fits(part: &CodedPart, rung: Rung) -> bool {
    let blocks = part.runs.iter().map(|run| usize::from(run.blocks)).sum();
    part.runs.len() <= BLOCKS_PER_PART_MAX
        && (1..=BLOCKS_PER_PART_MAX).contains(&blocks)
        && part.runs.iter().all(|run| inside(*run, rung))
        && (1..=VideoHeader::scan_max_bytes(part.runs.len())).contains(&part.scan.len())
        && (1..=100).contains(&part.quality)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{frame, packets, ssrc};
    use super::*;
    use crate::wire::media::BlockRun;

    #[test]
    fn packets_and_frames_are_numbered_in_order() {
        let mut packetizer = Packetizer::new(ssrc());
        let sent = [1, 2].map(|number| packets(&mut packetizer, &frame(number, 3)));
        let numbers = |packet: &Vec<u8>| {
            let (header, ..) = VideoHeader::parse(packet).unwrap();
            (header.media.sequence.0, header.frame.0, header.part, header.parts)
        };
        let numbers: Vec<_> = sent.iter().flatten().map(numbers).collect();
        let expected = [(0, 1, 0, 3), (1, 1, 1, 3), (2, 1, 2, 3), (3, 2, 0, 3), (4, 2, 1, 3), (5, 2, 2, 3)];
        assert_eq!(numbers, expected);
    }

    #[test]
    fn a_part_that_no_packet_can_carry_is_dropped_and_counted() {
        let run = BlockRun { row: 0, column: 0, blocks: 1 };
        let most = VideoHeader::scan_max_bytes(1);
        let wrong = [
            CodedPart { quality: 50, runs: vec![run], scan: vec![1; most + 1] },
            CodedPart { quality: 50, runs: vec![run], scan: vec![] },
            CodedPart { quality: 50, runs: vec![], scan: vec![1] },
            CodedPart { quality: 50, runs: vec![run; 2_000], scan: vec![1] },
            CodedPart { quality: 50, runs: vec![BlockRun { blocks: 41, ..run }], scan: vec![1] },
            CodedPart { quality: 50, runs: vec![BlockRun { row: 23, ..run }], scan: vec![1] },
            CodedPart { quality: 0, runs: vec![run], scan: vec![1] },
            CodedPart { quality: 101, runs: vec![run], scan: vec![1] },
        ];
        let mut packetizer = Packetizer::new(ssrc());
        let mut buffer = [0; Packetizer::PACKET_MAX_BYTES];
        let good = CodedPart { quality: 50, runs: vec![run], scan: vec![1; most] };
        let with = |part: &CodedPart| CodedFrame { parts: vec![part.clone()], ..frame(1, 0) };
        for part in &wrong {
            assert_eq!(packetizer.write_part(&with(part), 0, SendTime(0), &mut buffer), 0);
        }
        assert_eq!(packetizer.write_part(&with(&good), 1, SendTime(0), &mut buffer), 0);
        assert_eq!(packetizer.parts_dropped(), 9);
        let length = packetizer.write_part(&with(&good), 0, SendTime(0), &mut buffer);
        assert_eq!(length, Packetizer::PACKET_MAX_BYTES);
    }
}
