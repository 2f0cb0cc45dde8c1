//! Blocks of a camera's picture on their way: coded parts, into datagrams and back.
//!
//! A picture is synchronised rather than sent: each part is a JPEG of its own with some of the picture's blocks, the ones
//! that changed, and needs no other part to be shown. A frame is the parts that were coded from one picture. Its blocks
//! are shown together as far as they arrived in time; what comes later repairs the picture where nothing newer has been
//! drawn.

mod assembler;
mod packetizer;

pub use assembler::{AssemblerStatistics, FRAME_DEADLINE, FrameAssembler, REPAIR_DELAY};
pub use packetizer::Packetizer;

use std::ops::Range;

use crate::ids::Ssrc;
use crate::picture::ladder::Rung;
use crate::sequence::{FrameId, MediaTime};
use crate::wire::media::BlockRun;

/// A part of a frame as the encoder made it and the decoder takes it: one small JPEG without its headers, 16 pixels
/// high and 16 times as many pixels wide as it has blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodedPart {
    /// JPEG quality, 1..=100; sampling is 4:2:0.
    pub quality: u8,
    /// Where the blocks belong, left to right as they stand in the JPEG; at least one.
    pub runs: Vec<BlockRun>,
    /// Entropy-coded scan, from behind the SOS header up to (without) the EOI marker; at most
    /// [`crate::wire::media::VideoHeader::scan_max_bytes`] of `runs.len()`.
    pub scan: Vec<u8>,
}

/// A frame on its way to the network, or a frame (perhaps with holes) on its way to the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodedFrame {
    /// Picture size.
    pub rung: Rung,
    /// When it was captured, 90 kHz.
    pub timestamp: MediaTime,
    /// What there is of it, no block twice. A place that no part covers keeps what it showed before.
    pub parts: Vec<CodedPart>,
}

/// What is to be drawn at a time: a frame, and parts that came too late for their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedFrame {
    /// The stream it came by.
    pub ssrc: Ssrc,
    /// Its number; of the newest repair when `picture` has no parts.
    pub frame: FrameId,
    /// Every part arrived.
    pub complete: bool,
    /// The picture. Without parts when only repairs came.
    pub picture: CodedFrame,
    /// Parts of other frames of the same size. They are drawn only where nothing newer has been.
    pub repairs: Vec<Repair>,
}

/// A part that is shown with another frame than its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The frame it was coded from.
    pub frame: FrameId,
    /// Its blocks.
    pub part: CodedPart,
}

/// Blocks that were coded and did not arrive, or did not even leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostBlocks {
    /// When their picture was captured.
    pub timestamp: MediaTime,
    /// Its size.
    pub rung: Rung,
    /// Where they are.
    pub runs: Vec<BlockRun>,
}

impl LostBlocks {
    /// The blocks of these parts of a frame, or of as many of them as it has.
    pub fn of(frame: &CodedFrame, parts: Range<usize>) -> Self {
        let parts = frame.parts.iter().take(parts.end).skip(parts.start);
        let runs = parts.flat_map(|part| &part.runs).copied().collect();
        Self { timestamp: frame.timestamp, rung: frame.rung, runs }
    }
}

impl ReceivedFrame {
    /// Takes over what a frame that was given out before this one brings, so that both are drawn at once. What this one
    /// draws over anyway is left out, so that there are never more parts than blocks however many frames are put
    /// together.
    pub fn absorb(&mut self, earlier: Self) {
        let rung = self.picture.rung;
        if earlier.picture.rung != rung {
            return;
        }
        let mut newest = vec![None; usize::from(rung.block_columns()) * usize::from(rung.block_rows())];
        let own = self.picture.parts.iter().map(|part| (self.frame, part));
        for (frame, part) in own.chain(self.repairs.iter().map(|repair| (repair.frame, &repair.part))) {
            cover(&mut newest, rung, frame, part);
        }
        let (frame, parts) = (earlier.frame, earlier.picture.parts);
        let parts = parts.into_iter().map(|part| Repair { frame, part }).chain(earlier.repairs);
        self.repairs.extend(parts.filter(|repair| cover(&mut newest, rung, repair.frame, &repair.part)));
    }
}

/// Notes what a part draws; answers whether that is anything newer than what was noted.
fn cover(newest: &mut [Option<FrameId>], rung: Rung, frame: FrameId, part: &CodedPart) -> bool {
    let mut newer = false;
    for run in part.runs.iter().filter(|run| inside(**run, rung)) {
        let first = usize::from(run.row) * usize::from(rung.block_columns()) + usize::from(run.column);
        for block in &mut newest[first..first + usize::from(run.blocks)] {
            if block.is_none_or(|newest| frame.distance(newest) > 0) {
                (*block, newer) = (Some(frame), true);
            }
        }
    }
    newer
}

fn inside(run: BlockRun, rung: Rung) -> bool {
    let end = u16::from(run.column) + u16::from(run.blocks);
    run.blocks > 0 && run.row < rung.block_rows() && end <= u16::from(rung.block_columns())
}

#[cfg(test)]
mod testing {
    use super::*;
    use crate::ids::{MemberId, StreamKind};
    use crate::sequence::SendTime;

    pub(super) fn ssrc() -> Ssrc {
        Ssrc::new(MemberId(4), StreamKind::Video)
    }

    pub(super) fn frame(number: u32, parts: u8) -> CodedFrame {
        let part = |row| CodedPart {
            quality: 50,
            runs: vec![BlockRun { row, column: 0, blocks: 40 }],
            scan: vec![number as u8 & 0x7f, row, 1, 2],
        };
        let (rung, timestamp) = (Rung::ALL[2], MediaTime(number * 6_000));
        CodedFrame { rung, timestamp, parts: (0..parts).map(part).collect() }
    }

    pub(super) fn packets(packetizer: &mut Packetizer, frame: &CodedFrame) -> Vec<Vec<u8>> {
        let write = |part| {
            let mut buffer = [0; Packetizer::PACKET_MAX_BYTES];
            let length = packetizer.write_part(frame, part, SendTime(7), &mut buffer);
            buffer[..length].to_vec()
        };
        (0..frame.parts.len()).map(write).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{frame, ssrc};
    use super::*;

    fn received(number: u16, parts: u8) -> ReceivedFrame {
        let picture = frame(u32::from(number), parts);
        ReceivedFrame { ssrc: ssrc(), frame: FrameId(number), complete: true, picture, repairs: Vec::new() }
    }

    #[test]
    fn of_frames_put_together_only_what_is_seen_is_kept() {
        let mut all = received(1, 20);
        for number in 2..30 {
            let mut next = received(number, 10);
            next.absorb(all);
            all = next;
        }
        let repairs: Vec<_> = all.repairs.iter().map(|repair| (repair.frame.0, repair.part.runs[0].row)).collect();
        assert_eq!(repairs, (10..20).map(|row| (1, row)).collect::<Vec<_>>());
        let mut larger = received(30, 1);
        larger.picture.rung = Rung::ALL[3];
        larger.absorb(all);
        assert!(larger.repairs.is_empty());
    }
}
