//! A picture into parts, each a small JPEG without headers that fits one datagram.

use common::limits::{BLOCKS_PER_PART_MAX, FRAME_MAX_BYTES, FRAME_PARTS_MAX};
use common::picture::blocks::{CodedFrame, CodedPart};
use common::picture::changes::{ChangeDetector, STILL_QUALITY, Selection};
use common::picture::jpeg;
use common::picture::ladder::{Rung, VideoTarget};
use common::sequence::MediaTime;
use common::wire::media::{BlockRun, VideoHeader};
use turbojpeg::{Compressor, Subsamp};

use super::packing::{Packing, blocks, halves};
use super::{JpegError, pixels};
use crate::devices::Picture;
use crate::devices::scale::Scaler;

/// Scales pictures to a rung of the ladder and codes the blocks that changed as parts that need nothing from each other.
#[derive(Debug)]
pub struct PartEncoder {
    compressor: Compressor,
    scaler: Scaler,
    /// The picture at the rung's width, and at its height filled up to whole blocks.
    canvas: Vec<u8>,
    rung: Rung,
    changes: ChangeDetector,
    moving: Packing,
    still: Packing,
    strip: Vec<u8>,
    jpeg: Vec<u8>,
}

impl PartEncoder {
    /// An encoder.
    ///
    /// # Errors
    /// [`JpegError::Codec`] when there is no memory for one.
    pub fn new() -> Result<Self, JpegError> {
        let mut compressor = Compressor::new()?;
        compressor.set_subsamp(Subsamp::Sub2x2)?;
        let strip_width = BLOCKS_PER_PART_MAX * BLOCK_PIXELS;
        let jpeg_bytes = turbojpeg::compressed_buf_len(strip_width, BLOCK_PIXELS, Subsamp::Sub2x2)?;
        Ok(Self {
            compressor,
            scaler: Scaler::default(),
            canvas: Vec::new(),
            rung: Rung::ALL[0],
            changes: ChangeDetector::new(),
            moving: Packing::default(),
            still: Packing::default(),
            strip: vec![0; strip_width * BLOCK_PIXELS * 4],
            jpeg: vec![0; jpeg_bytes],
        })
    }

    /// Codes what changed from the pictures before to `picture`, captured at `timestamp`, as `target` asks; `None` when
    /// nothing is to be sent. All of it is coded at first and whenever the rung is another.
    ///
    /// The quality is lower than asked when the picture has more detail than [`FRAME_PARTS_MAX`] datagrams carry, as pure
    /// noise has.
    ///
    /// # Errors
    /// [`JpegError::Empty`] when the picture is not whole, [`JpegError::Codec`] when the codec refuses it.
    pub fn encode(
        &mut self,
        picture: &Picture,
        target: &VideoTarget,
        timestamp: MediaTime,
    ) -> Result<Option<CodedFrame>, JpegError> {
        self.prepare(picture, target.rung)?;
        let selection = self.changes.select(timestamp, target, &self.canvas).clone();
        if selection.is_empty() {
            return Ok(None);
        }
        let mut quality = target.quality.clamp(1, 100);
        loop {
            if let Some(parts) = self.encode_parts(&selection, quality, target.quality)? {
                parts.iter().for_each(|part| self.changes.note_part(&part.runs));
                return Ok(Some(CodedFrame { rung: target.rung, timestamp, parts }));
            }
            if quality == 1 {
                return Err(JpegError::TooLarge);
            }
            quality = (quality - quality / 4 - 1).max(1);
        }
    }

    /// Some of the blocks coded at `timestamp` did not arrive: they are coded again with the next picture.
    pub fn mark_lost(&mut self, timestamp: MediaTime, rung: Rung, runs: &[BlockRun]) {
        self.changes.mark_lost(timestamp, rung, runs);
    }

    /// Differences that count as change, in units of luma ([`ChangeDetector::threshold`]).
    pub fn threshold(&self) -> f32 {
        self.changes.threshold()
    }

    /// All of the next picture is coded.
    pub fn forget(&mut self) {
        self.changes.forget();
    }

    fn prepare(&mut self, picture: &Picture, rung: Rung) -> Result<(), JpegError> {
        if !picture.is_whole() {
            return Err(JpegError::Empty);
        }
        self.rung = rung;
        let (width, height) = (usize::from(rung.width), usize::from(rung.height));
        let padded = usize::from(rung.block_rows()) * BLOCK_PIXELS;
        self.canvas.resize(width * padded * 4, 255);
        self.scaler.scale_into(picture, width, height, &mut self.canvas);
        // Repeating the last row costs the fewest bits for pixels that nobody sees.
        let last = (height - 1) * width * 4..height * width * 4;
        for row in height..padded {
            self.canvas.copy_within(last.clone(), row * width * 4);
        }
        Ok(())
    }

    /// The chosen blocks as parts, or `None` when they are too many or too large at this quality.
    fn encode_parts(
        &mut self,
        selection: &Selection,
        quality: u8,
        wanted_quality: u8,
    ) -> Result<Option<Vec<CodedPart>>, JpegError> {
        // Where not everything fits, nothing gets more than the rest.
        let still_quality = if quality < wanted_quality { quality } else { quality.max(STILL_QUALITY) };
        let mut parts = Vec::new();
        let mut fits = true;
        for (class, runs, quality) in
            [(Class::Moving, &selection.moving, quality), (Class::Still, &selection.still, still_quality)]
        {
            self.compressor.set_quality(i32::from(quality))?;
            let rung = self.rung;
            for runs in self.packing(class).plan(rung, quality, runs) {
                fits = fits && self.encode_part(class, quality, runs, &mut parts)?;
            }
        }
        let bytes: usize = parts.iter().map(|part| part.scan.len()).sum();
        Ok((fits && bytes <= FRAME_MAX_BYTES).then_some(parts))
    }

    fn packing(&mut self, class: Class) -> &mut Packing {
        match class {
            Class::Moving => &mut self.moving,
            Class::Still => &mut self.still,
        }
    }

    /// Codes these blocks as one part, or as several when one would not fit a datagram; `false` when they do not fit a
    /// frame.
    fn encode_part(
        &mut self,
        class: Class,
        quality: u8,
        runs: Vec<BlockRun>,
        parts: &mut Vec<CodedPart>,
    ) -> Result<bool, JpegError> {
        let limit = VideoHeader::scan_max_bytes(runs.len());
        let length = self.compress(&runs)?;
        let scan = jpeg::scan(&self.jpeg[..length]).ok_or(JpegError::Malformed)?;
        if scan.len() <= limit {
            let scan = scan.to_vec();
            self.packing(class).learn(&runs, scan.len());
            parts.push(CodedPart { quality, runs, scan });
            return Ok(parts.len() <= FRAME_PARTS_MAX);
        }
        if blocks(&runs) == 1 {
            return Ok(false);
        }
        let [first, second] = halves(&runs);
        Ok(self.encode_part(class, quality, first, parts)? && self.encode_part(class, quality, second, parts)?)
    }

    /// Puts these blocks side by side into a JPEG 16 pixels high; answers its length in `self.jpeg`.
    fn compress(&mut self, runs: &[BlockRun]) -> Result<usize, JpegError> {
        let width = blocks(runs) * BLOCK_PIXELS;
        let stride = usize::from(self.rung.width) * 4;
        let mut x = 0;
        for run in runs {
            let bytes = usize::from(run.blocks) * BLOCK_BYTES;
            let from = usize::from(run.row) * BLOCK_PIXELS * stride + usize::from(run.column) * BLOCK_BYTES;
            for line in 0..BLOCK_PIXELS {
                self.strip[line * width * 4 + x..][..bytes]
                    .copy_from_slice(&self.canvas[from + line * stride..][..bytes]);
            }
            x += bytes;
        }
        let strip = pixels(&self.strip, width, BLOCK_PIXELS);
        Ok(self.compressor.compress_to_slice(strip, &mut self.jpeg)?)
    }
}

/// Blocks of one quality, which have their own experience of what they take.
#[derive(Clone, Copy, Debug)]
enum Class {
    Moving,
    Still,
}

/// Pixels of a block in either direction.
pub(super) const BLOCK_PIXELS: usize = 16;
/// Bytes of one line of a block.
pub(super) const BLOCK_BYTES: usize = BLOCK_PIXELS * 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::jpeg::tests::face_frames;

    fn target(rung: usize, quality: u8) -> VideoTarget {
        VideoTarget { rung: Rung::ALL[rung], quality, frames_per_second: 30 }
    }

    fn noise() -> Picture {
        let mut picture = Picture::default();
        picture.reshape(864, 480);
        let mut state = 1_u32;
        for value in &mut picture.rgba {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *value = (state >> 24) as u8;
        }
        picture
    }

    /// How often each block of the rung is in the frame.
    fn coverage(frame: &CodedFrame) -> Vec<usize> {
        let columns = usize::from(frame.rung.block_columns());
        let mut covered = vec![0; columns * usize::from(frame.rung.block_rows())];
        for run in frame.parts.iter().flat_map(|part| &part.runs) {
            let first = usize::from(run.row) * columns + usize::from(run.column);
            for block in &mut covered[first..first + usize::from(run.blocks)] {
                *block += 1;
            }
        }
        covered
    }

    fn check(frame: &CodedFrame) {
        assert!(coverage(frame).iter().all(|count| *count <= 1));
        assert!((1..=FRAME_PARTS_MAX).contains(&frame.parts.len()));
        for part in &frame.parts {
            assert!(part.scan.len() <= VideoHeader::scan_max_bytes(part.runs.len()));
            assert!((1..=BLOCKS_PER_PART_MAX).contains(&blocks(&part.runs)));
        }
    }

    fn at(frame: usize) -> MediaTime {
        MediaTime(frame as u32 * 6_000)
    }

    #[test]
    fn parts_fit_a_datagram_and_name_no_block_twice() {
        let frames = face_frames(4);
        let mut encoder = PartEncoder::new().unwrap();
        for rung in 0..Rung::ALL.len() {
            for quality in [1, 25, 50, 90, 100] {
                for (number, picture) in frames.iter().enumerate() {
                    let frame = encoder.encode(picture, &target(rung, quality), at(number)).unwrap();
                    let Some(frame) = frame else { continue };
                    assert_eq!(frame.timestamp, at(number));
                    assert!(quality == 100 || frame.parts.iter().all(|part| [quality, 75].contains(&part.quality)));
                    check(&frame);
                }
            }
        }
    }

    #[test]
    fn the_first_picture_is_coded_whole_and_one_that_stands_still_is_not_sent() {
        let picture = face_frames(1).remove(0);
        let mut encoder = PartEncoder::new().unwrap();
        for rung in [0, 3, 0] {
            let first = encoder.encode(&picture, &target(rung, 50), at(0)).unwrap().unwrap();
            check(&first);
            assert!(coverage(&first).iter().all(|count| *count == 1));
            assert_eq!(encoder.encode(&picture, &target(rung, 50), at(1)).unwrap(), None);
        }
    }

    #[test]
    fn lost_blocks_are_coded_with_the_next_picture() {
        let picture = face_frames(1).remove(0);
        let mut encoder = PartEncoder::new().unwrap();
        let first = encoder.encode(&picture, &target(3, 50), at(0)).unwrap().unwrap();
        let lost = &first.parts[5];
        encoder.mark_lost(at(0), Rung::ALL[3], &lost.runs);
        let again = encoder.encode(&picture, &target(3, 50), at(1)).unwrap().unwrap();
        assert_eq!((again.parts.len(), &again.parts[0].runs), (1, &lost.runs));
    }

    #[test]
    fn noise_lowers_the_quality_until_it_fits() {
        let frame = PartEncoder::new().unwrap().encode(&noise(), &target(3, 100), at(0)).unwrap().unwrap();
        assert!(frame.parts.iter().all(|part| part.quality < 100));
        check(&frame);
    }

    #[test]
    fn most_parts_are_nearly_full_and_alike() {
        let mut encoder = PartEncoder::new().unwrap();
        let (mut parts, mut full) = (0, 0);
        for (number, picture) in face_frames(60).iter().step_by(2).enumerate() {
            let Some(frame) = encoder.encode(picture, &target(3, 50), at(number)).unwrap() else { continue };
            check(&frame);
            if number >= 10 {
                let moving = frame.parts.iter().filter(|part| part.quality == 50).count();
                let filled = frame.parts.iter().filter(|part| part.scan.len() + 3 * part.runs.len() > 850);
                (parts, full) = (parts + moving, full + filled.count());
            }
        }
        assert!(parts >= 100 && full * 10 >= parts * 8, "{full} of {parts}");
    }

    #[test]
    fn a_picture_that_is_not_whole_is_an_error() {
        let mut encoder = PartEncoder::new().unwrap();
        let result = encoder.encode(&Picture::default(), &target(3, 50), MediaTime(0));
        assert!(matches!(result, Err(JpegError::Empty)));
    }
}
