//! Parts that arrived, into the picture that is shown.

use std::ops::Range;

use common::limits::{BLOCKS_PER_PART_MAX, VIDEO_CLOCK_RATE_HZ};
use common::picture::blocks::{CodedPart, ReceivedFrame};
use common::picture::jpeg;
use common::picture::ladder::Rung;
use common::sequence::{FrameId, MediaTime};
use common::wire::media::BlockRun;
use turbojpeg::Decompressor;

use super::encoder::{BLOCK_BYTES, BLOCK_PIXELS};
use super::packing::blocks;
use super::{JpegError, pixels_mut};
use crate::devices::Picture;
use crate::devices::scale::Scaler;

/// The picture of one stream: each part writes over those of its blocks for which nothing newer was drawn, and what no
/// part names stays as it was.
#[derive(Debug)]
pub struct PartDecoder {
    decompressor: Decompressor,
    scaler: Scaler,
    picture: Picture,
    /// From which frame each block of the picture is; `None` for what was scaled up or down, or is of long ago.
    drawn: Vec<Option<FrameId>>,
    newest: Option<Newest>,
    strip: Picture,
    jpeg: Vec<u8>,
    parts_discarded: u64,
}

/// The newest frame of which something was drawn.
#[derive(Clone, Copy, Debug)]
struct Newest {
    frame: FrameId,
    timestamp: MediaTime,
    rung: Rung,
}

/// After a pause as long as this there is nothing on its way that is older than the frame that ends it, and after a long
/// one frame numbers say nothing.
const PAUSE: i32 = 10 * VIDEO_CLOCK_RATE_HZ as i32;

impl PartDecoder {
    /// A decoder for a new stream, with nothing to show yet.
    ///
    /// # Errors
    /// [`JpegError::Codec`] when there is no memory for one.
    pub fn new() -> Result<Self, JpegError> {
        Ok(Self {
            decompressor: Decompressor::new()?,
            scaler: Scaler::default(),
            picture: Picture::default(),
            drawn: Vec::new(),
            newest: None,
            strip: Picture::default(),
            jpeg: Vec::new(),
            parts_discarded: 0,
        })
    }

    /// Draws what there is of a frame, and what it brings of other frames, over the picture; answers how many parts
    /// were no good and were left out.
    ///
    /// When the frame has another size, the picture so far is scaled to it first. A frame from before such a change is
    /// left out.
    pub fn decode(&mut self, frame: &ReceivedFrame) -> usize {
        if !self.begin(frame) {
            return 0;
        }
        let rung = frame.picture.rung;
        let parts = frame.picture.parts.iter().map(|part| (frame.frame, part));
        let repairs = frame.repairs.iter().map(|repair| (repair.frame, &repair.part));
        let discarded = parts.chain(repairs).filter(|(id, part)| self.draw(*id, part, rung).is_err()).count();
        self.parts_discarded += discarded as u64;
        discarded
    }

    /// The picture as it stands, of the size of the newest frame's rung; empty before the first frame.
    pub fn picture(&self) -> &Picture {
        &self.picture
    }

    /// Parts that were no good, since the stream began.
    pub fn parts_discarded(&self) -> u64 {
        self.parts_discarded
    }

    /// Makes the picture ready for a frame; `false` when it is of an older size.
    fn begin(&mut self, frame: &ReceivedFrame) -> bool {
        let (rung, timestamp) = (frame.picture.rung, frame.picture.timestamp);
        let newest = Newest { frame: frame.frame, timestamp, rung };
        let Some(before) = self.newest else {
            self.resize(rung);
            self.newest = Some(newest);
            return true;
        };
        let (ahead, later) = (newest.frame.distance(before.frame), timestamp.distance(before.timestamp));
        let anew = (ahead < 0 && later > 0) || !(-PAUSE..=PAUSE).contains(&later);
        if anew {
            self.drawn.fill(None);
        } else if ahead < 0 {
            return rung == before.rung;
        }
        self.resize(rung);
        self.newest = Some(newest);
        true
    }

    fn resize(&mut self, rung: Rung) {
        let (width, height) = (usize::from(rung.width), usize::from(rung.height));
        if (self.picture.width, self.picture.height) != (width, height) {
            let before = std::mem::take(&mut self.picture);
            self.scaler.scale(&before, width, height, &mut self.picture);
            self.drawn.clear();
            self.drawn.resize(usize::from(rung.block_columns()) * usize::from(rung.block_rows()), None);
        }
    }

    fn draw(&mut self, frame: FrameId, part: &CodedPart, rung: Rung) -> Result<(), JpegError> {
        if !fits(part, rung) || !(1..=100).contains(&part.quality) || !jpeg::is_scan(&part.scan) {
            return Err(JpegError::Malformed);
        }
        if !part.runs.iter().any(|run| self.places(*run).any(|place| self.is_newer(frame, place))) {
            return Ok(());
        }
        let width = blocks(&part.runs) * BLOCK_PIXELS;
        self.jpeg.clear();
        jpeg::assemble(width as u16, BLOCK_PIXELS as u16, part.quality, &part.scan, &mut self.jpeg);
        // The codec reads the size again from the headers and refuses a picture larger than the strip. Whatever it
        // complains about, a scan that ends early included, leaves the strip unused.
        self.strip.reshape(width, BLOCK_PIXELS);
        self.decompressor.decompress(&self.jpeg, pixels_mut(&mut self.strip))?;
        let mut x = 0;
        for run in &part.runs {
            self.place(frame, *run, x);
            x += usize::from(run.blocks) * BLOCK_BYTES;
        }
        Ok(())
    }

    /// Copies the blocks of a run, which stand `x` bytes from the left in the strip, to where they belong.
    fn place(&mut self, frame: FrameId, run: BlockRun, x: usize) {
        let mut first = 0;
        let places = self.places(run);
        // Mostly all of a run is newer, and is copied as one.
        for (block, place) in places.clone().enumerate() {
            if self.is_newer(frame, place) {
                self.drawn[place] = Some(frame);
            } else {
                self.copy(run, first..block, x);
                first = block + 1;
            }
        }
        self.copy(run, first..places.len(), x);
    }

    /// Copies some blocks of a run, without the lines below the picture's edge.
    fn copy(&mut self, run: BlockRun, these: Range<usize>, x: usize) {
        let (strip_stride, stride) = (self.strip.width * 4, self.picture.width * 4);
        let (bytes, skipped) = (these.len() * BLOCK_BYTES, these.start * BLOCK_BYTES);
        let top = usize::from(run.row) * BLOCK_PIXELS;
        for line in 0..BLOCK_PIXELS.min(self.picture.height - top) {
            let to = (top + line) * stride + usize::from(run.column) * BLOCK_BYTES + skipped;
            let from = line * strip_stride + x + skipped;
            self.picture.rgba[to..to + bytes].copy_from_slice(&self.strip.rgba[from..from + bytes]);
        }
    }

    fn is_newer(&self, frame: FrameId, place: usize) -> bool {
        self.drawn[place].is_none_or(|drawn| frame.distance(drawn) > 0)
    }

    /// Where the blocks of a run are in `drawn`.
    fn places(&self, run: BlockRun) -> Range<usize> {
        let first = usize::from(run.row) * (self.picture.width / BLOCK_PIXELS) + usize::from(run.column);
        first..first + usize::from(run.blocks)
    }
}

/// Every block of the part lies inside the picture, and there are not more than a part may have.
fn fits(part: &CodedPart, rung: Rung) -> bool {
    let inside = part.runs.iter().all(|run| {
        run.row < rung.block_rows()
            && usize::from(run.column) + usize::from(run.blocks) <= usize::from(rung.block_columns())
    });
    inside && (1..=BLOCKS_PER_PART_MAX).contains(&blocks(&part.runs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::jpeg::PartEncoder;
    use crate::devices::jpeg::tests::{face_frames, psnr, received};
    use common::picture::blocks::{CodedFrame, Repair};
    use common::picture::ladder::VideoTarget;

    /// All of a picture, as frame 1.
    fn encode(picture: &Picture, rung: usize, quality: u8) -> ReceivedFrame {
        let target = VideoTarget { rung: Rung::ALL[rung], quality, frames_per_second: 30 };
        received(1, PartEncoder::new().unwrap().encode(picture, &target, MediaTime(0)).unwrap().unwrap())
    }

    /// The frame with these parts, under another number.
    fn with_parts(frame: &ReceivedFrame, number: u16, parts: Vec<CodedPart>) -> ReceivedFrame {
        received(number, CodedFrame { parts, ..frame.picture.clone() })
    }

    fn scaled(picture: &Picture, rung: Rung) -> Picture {
        let mut target = Picture::default();
        Scaler::default().scale(picture, usize::from(rung.width), usize::from(rung.height), &mut target);
        target
    }

    #[test]
    fn the_picture_looks_like_what_was_captured_at_every_rung() {
        let original = face_frames(1).remove(0);
        for (index, rung) in Rung::ALL.into_iter().enumerate() {
            let mut decoder = PartDecoder::new().unwrap();
            assert_eq!(decoder.decode(&encode(&original, index, 70)), 0);
            let ratio = psnr(&scaled(&original, rung), decoder.picture());
            assert!(ratio > 30.0, "{}: {ratio} dB", rung.name);
        }
    }

    #[test]
    fn a_place_without_a_part_keeps_what_it_showed() {
        let original = face_frames(1).remove(0);
        let mut decoder = PartDecoder::new().unwrap();
        decoder.decode(&encode(&original, 3, 70));
        let before = decoder.picture().clone();
        let mut black = Picture::default();
        black.reshape(864, 480);
        let mut frame = ReceivedFrame { frame: FrameId(2), ..encode(&black, 3, 70) };
        frame.picture.parts.retain(|part| part.runs[0].row == 4);
        let blocks: usize = frame.picture.parts.iter().map(|part| blocks(&part.runs)).sum();
        assert!(blocks > 0 && frame.picture.parts.iter().flat_map(|part| &part.runs).all(|run| run.row <= 5));
        assert_eq!(decoder.decode(&frame), 0);
        let stride = 864 * 4;
        let (top, bottom) = (64 * stride, 96 * stride);
        let after = &decoder.picture().rgba;
        assert_eq!(after[..top], before.rgba[..top]);
        assert_eq!(after[bottom..], before.rgba[bottom..]);
        let dark = after[top..bottom].as_chunks::<4>().0.iter().filter(|pixel| pixel[1] < 3).count();
        assert!(dark >= blocks * 256, "{dark} pixels of {blocks} blocks");
    }

    #[test]
    fn another_rung_keeps_the_old_picture_as_its_base() {
        let original = face_frames(1).remove(0);
        let mut decoder = PartDecoder::new().unwrap();
        decoder.decode(&encode(&original, 1, 70));
        let frame = encode(&original, 3, 70);
        decoder.decode(&with_parts(&frame, 2, Vec::new()));
        let ratio = psnr(&scaled(&original, Rung::ALL[3]), decoder.picture());
        assert!(ratio > 25.0, "{ratio} dB");
    }

    #[test]
    fn a_broken_scan_is_left_out_and_counted() {
        let frame = encode(&face_frames(1)[0], 2, 60);
        let mut decoder = PartDecoder::new().unwrap();
        decoder.decode(&frame);
        let before = decoder.picture().clone();
        let mut random = 1_u32;
        for round in 0..1_000 {
            let mut part = frame.picture.parts[round % frame.picture.parts.len()].clone();
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let length = (random >> 8) as usize % part.scan.len() / 2;
            part.scan.truncate(length);
            assert_eq!(decoder.decode(&with_parts(&frame, 2, vec![part])), 1, "{length} bytes");
        }
        assert_eq!(decoder.picture(), &before);
        assert_eq!(decoder.parts_discarded(), 1_000);
    }

    #[test]
    fn random_scans_do_no_harm() {
        let frame = encode(&face_frames(1)[0], 0, 60);
        let mut decoder = PartDecoder::new().unwrap();
        let mut random = 1_u32;
        let mut next = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 24) as u8
        };
        for round in 0..4_000 {
            let mut part = frame.picture.parts[round % frame.picture.parts.len()].clone();
            let length = part.scan.len();
            let from = usize::from(next()) * length / 256;
            match round % 4 {
                0 => part.scan[from] ^= next(),
                1 => part.scan[from..].fill_with(&mut next),
                2 => part.scan.fill(next()),
                // A marker in the middle: end, start of another scan, another frame, a table, a restart.
                _ => part.scan[from..length.min(from + 2)]
                    .copy_from_slice(&[0xff, 0xc0 | next() & 0x3f][..length.min(from + 2) - from]),
            }
            decoder.decode(&with_parts(&frame, round as u16 + 2, vec![part]));
            assert!(decoder.picture().is_whole());
        }
        assert!(decoder.parts_discarded() > 0);
    }

    #[test]
    fn a_part_outside_the_picture_is_left_out() {
        let original = face_frames(1).remove(0);
        let frame = encode(&original, 0, 60);
        let run = |row, column, blocks| BlockRun { row, column, blocks };
        let wrong = [
            vec![],
            vec![run(9, 0, 1)],
            vec![run(0, 16, 1)],
            vec![run(0, 1, 16)],
            vec![run(255, 255, 255)],
            vec![run(0, 0, 0)],
            vec![run(0, 0, 16); 5],
        ];
        let mut decoder = PartDecoder::new().unwrap();
        for runs in wrong {
            let scan = frame.picture.parts[0].scan.clone();
            let wrong = with_parts(&frame, 2, vec![CodedPart { quality: 60, runs, scan }]);
            assert_eq!(decoder.decode(&wrong), 1, "{wrong:?}");
        }
    }

    #[test]
    fn an_impossible_quality_is_left_out() {
        let frame = encode(&face_frames(1)[0], 0, 60);
        let mut decoder = PartDecoder::new().unwrap();
        for quality in [0, 101, 255] {
            let mut wrong = frame.clone();
            wrong.picture.parts.iter_mut().for_each(|part| part.quality = quality);
            assert_eq!(decoder.decode(&wrong), frame.picture.parts.len());
        }
    }

    /// Frames of pictures that are grey all over, each a little lighter.
    fn greys(count: u8) -> Vec<ReceivedFrame> {
        let grey = |number| {
            let mut picture = Picture::default();
            picture.reshape(864, 480);
            picture.rgba.fill(20 * number);
            let frame = encode(&picture, 0, 75);
            let picture = CodedFrame { timestamp: MediaTime(u32::from(number) * 6_000), ..frame.picture };
            received(u16::from(number), picture)
        };
        (1..=count).map(grey).collect()
    }

    /// Which grey each row of blocks shows.
    fn shown(decoder: &PartDecoder) -> Vec<u8> {
        let picture = decoder.picture();
        (0..9).map(|row| (picture.rgba[(16 * row + 8) * 4 * picture.width + 40] + 10) / 20).collect()
    }

    /// The part of a frame with this row of blocks.
    fn row(frame: &ReceivedFrame, row: u8) -> CodedPart {
        frame.picture.parts.iter().find(|part| part.runs.iter().any(|run| run.row == row)).cloned().unwrap()
    }

    #[test]
    fn a_repair_is_drawn_where_nothing_newer_was() {
        let frames = greys(4);
        let mut decoder = PartDecoder::new().unwrap();
        decoder.decode(&frames[0]);
        decoder.decode(&with_parts(&frames[3], 4, vec![row(&frames[3], 0)]));
        let fresh = shown(&decoder);
        assert!(fresh[0] == 4 && fresh[8] == 1);
        let repair = |frame: usize, part| Repair { frame: frames[frame].frame, part };
        let mut late = with_parts(&frames[1], 2, Vec::new());
        late.repairs = frames[1].picture.parts.iter().map(|part| repair(1, part.clone())).collect();
        decoder.decode(&late);
        let repaired: Vec<_> = fresh.iter().map(|grey| (*grey).max(2)).collect();
        assert_eq!(shown(&decoder), repaired);
        late.repairs = vec![repair(0, row(&frames[0], 8)), repair(2, row(&frames[2], 8))];
        decoder.decode(&late);
        assert_eq!((shown(&decoder)[0], shown(&decoder)[8]), (4, 3));
    }

    #[test]
    fn in_whatever_order_parts_come_the_newest_of_each_block_is_shown() {
        let frames = greys(12);
        let mut parts: Vec<(usize, CodedPart)> = Vec::new();
        for (number, frame) in frames.iter().enumerate() {
            parts.extend(frame.picture.parts.iter().map(|part| (number, part.clone())));
        }
        let mut random = 7_u32;
        for _ in 0..20 {
            for index in (1..parts.len()).rev() {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                parts.swap(index, (random >> 8) as usize % (index + 1));
            }
            let mut decoder = PartDecoder::new().unwrap();
            let mut newest = 0;
            for (number, part) in &parts {
                newest = newest.max(*number);
                let mut frame = with_parts(&frames[newest], newest as u16 + 1, Vec::new());
                frame.repairs.push(Repair { frame: frames[*number].frame, part: part.clone() });
                decoder.decode(&frame);
            }
            assert_eq!(shown(&decoder), [12; 9]);
        }
    }

    #[test]
    fn a_frame_of_an_older_size_does_not_bring_that_size_back() {
        let original = face_frames(1).remove(0);
        let mut decoder = PartDecoder::new().unwrap();
        decoder.decode(&ReceivedFrame { frame: FrameId(5), ..encode(&original, 2, 60) });
        let before = decoder.picture().clone();
        assert_eq!(decoder.decode(&ReceivedFrame { frame: FrameId(4), ..encode(&original, 1, 60) }), 0);
        assert_eq!(decoder.picture(), &before);
    }

    #[test]
    fn a_sender_that_counts_anew_or_was_away_for_long_is_drawn() {
        let frames = greys(3);
        let mut decoder = PartDecoder::new().unwrap();
        let moved = |grey: usize, number, timestamp| {
            let picture = CodedFrame { timestamp: MediaTime(timestamp), ..frames[grey].picture.clone() };
            received(number, picture)
        };
        decoder.decode(&moved(0, 1_000, 90_000));
        decoder.decode(&moved(1, 1, 96_000));
        assert_eq!(shown(&decoder), [2; 9], "captured later");
        decoder.decode(&moved(2, 40_000, 96_000 + 90_000 * 1_000));
        assert_eq!(shown(&decoder), [3; 9], "its number is behind, half way round");
    }
}
