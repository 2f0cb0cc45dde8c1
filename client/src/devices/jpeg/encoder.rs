//! A picture into parts, each a small JPEG without headers that fits one datagram.

use common::limits::{BLOCKS_PER_PART_MAX, FRAME_MAX_BYTES, FRAME_PARTS_MAX};
use common::media::blocks::{CodedFrame, CodedPart};
use common::media::jpeg;
use common::media::ladder::{Rung, VideoTarget};
use common::sequence::MediaTime;
use common::wire::media::{BlockRun, VideoHeader};
use turbojpeg::{Compressor, Subsamp};

use super::{JpegError, pixels};
use crate::devices::Picture;
use crate::devices::scale::Scaler;

/// Scales pictures to a rung of the ladder and codes them as parts that need nothing from each other.
///
/// Small rungs put several rows of blocks into a part, large ones cut a row into several; where to cut is guessed from
/// the frame before, so that a block is seldom coded twice.
#[derive(Debug)]
pub struct PartEncoder {
    compressor: Compressor,
    scaler: Scaler,
    /// The picture at the rung's width, and at its height filled up to whole blocks.
    canvas: Vec<u8>,
    rung: Rung,
    quality: u8,
    /// Bytes that each row of blocks took in the last frame at this rung and quality; 0 when not known.
    row_bytes: Vec<usize>,
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
            quality: 0,
            row_bytes: Vec::new(),
            strip: vec![0; strip_width * BLOCK_PIXELS * 4],
            jpeg: vec![0; jpeg_bytes],
        })
    }

    /// Codes `picture` as `target` asks, to be shown at `timestamp`.
    ///
    /// The quality of the frame is lower than asked when the picture has more detail than
    /// [`FRAME_PARTS_MAX`] datagrams carry, as pure noise has.
    ///
    /// # Errors
    /// [`JpegError::Empty`] when the picture is not whole, [`JpegError::Codec`] when the codec refuses it.
    pub fn encode(
        &mut self,
        picture: &Picture,
        target: &VideoTarget,
        timestamp: MediaTime,
    ) -> Result<CodedFrame, JpegError> {
        self.prepare(picture, target.rung)?;
        let mut quality = target.quality.clamp(1, 100);
        loop {
            if let Some(parts) = self.encode_parts(quality)? {
                return Ok(CodedFrame { rung: target.rung, quality, timestamp, parts });
            }
            if quality == 1 {
                return Err(JpegError::TooLarge);
            }
            quality = (quality - quality / 4 - 1).max(1);
        }
    }

    fn prepare(&mut self, picture: &Picture, rung: Rung) -> Result<(), JpegError> {
        if !picture.is_whole() {
            return Err(JpegError::Empty);
        }
        if self.rung != rung {
            self.rung = rung;
            self.quality = 0;
        }
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

    /// All blocks of the canvas as parts, or `None` when they are too many or too large at this quality.
    fn encode_parts(&mut self, quality: u8) -> Result<Option<Vec<CodedPart>>, JpegError> {
        self.compressor.set_quality(i32::from(quality))?;
        if self.quality != quality {
            self.quality = quality;
            self.row_bytes.clear();
            self.row_bytes.resize(usize::from(self.rung.block_rows()), 0);
        }
        let mut parts = Vec::with_capacity(self.row_bytes.len());
        let mut row = 0;
        while row < self.row_bytes.len() {
            let (rows, pieces) = plan(&self.row_bytes[row..], self.rung.block_columns());
            let runs: Vec<_> = (row..row + rows).map(|row| whole_row(self.rung, row)).collect();
            if !self.encode_pieces(&runs, pieces, &mut parts)? {
                return Ok(None);
            }
            row += rows;
        }
        self.remember(&parts);
        let bytes: usize = parts.iter().map(|part| part.scan.len()).sum();
        Ok((bytes <= FRAME_MAX_BYTES).then_some(parts))
    }

    /// Codes these blocks as about `pieces` parts; `false` when they do not fit a frame.
    fn encode_pieces(
        &mut self,
        runs: &[BlockRun],
        pieces: usize,
        parts: &mut Vec<CodedPart>,
    ) -> Result<bool, JpegError> {
        let mut rest = runs.to_vec();
        for piece in 0..pieces {
            let share = blocks(&rest).div_ceil(pieces - piece);
            let (these, others) = cut(&rest, share);
            rest = others;
            if !these.is_empty() && !self.encode_part(these, parts)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Codes these blocks as one part, or as several when one would not fit a datagram.
    fn encode_part(&mut self, runs: Vec<BlockRun>, parts: &mut Vec<CodedPart>) -> Result<bool, JpegError> {
        let limit = VideoHeader::scan_max_bytes(runs.len());
        let length = self.compress(&runs)?;
        let scan = jpeg::scan(&self.jpeg[..length]).ok_or(JpegError::Malformed)?;
        if scan.len() <= limit {
            let scan = scan.to_vec();
            parts.push(CodedPart { runs, scan });
            return Ok(parts.len() <= FRAME_PARTS_MAX);
        }
        let pieces = scan.len().div_ceil(limit);
        if blocks(&runs) == 1 {
            return Ok(false);
        }
        self.encode_pieces(&runs, pieces, parts)
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

    fn remember(&mut self, parts: &[CodedPart]) {
        self.row_bytes.fill(0);
        for part in parts {
            let all = blocks(&part.runs);
            for run in &part.runs {
                self.row_bytes[usize::from(run.row)] += part.scan.len() * usize::from(run.blocks) / all;
            }
        }
    }
}

/// Pixels of a block in either direction.
pub(super) const BLOCK_PIXELS: usize = 16;
/// Bytes of one line of a block.
pub(super) const BLOCK_BYTES: usize = BLOCK_PIXELS * 4;

/// How many of the next rows to put together, and into how many parts to cut them, judging by what they took last time.
fn plan(row_bytes: &[usize], columns: u8) -> (usize, usize) {
    let rows_max = (BLOCKS_PER_PART_MAX / usize::from(columns)).clamp(1, row_bytes.len());
    // One part in eight is left free, because the next frame is seldom quite the same.
    let expected = |rows: usize| row_bytes[..rows].iter().sum::<usize>() * 9 / 8;
    let known = |rows: usize| row_bytes[..rows].iter().all(|bytes| *bytes > 0);
    let rows = (2..=rows_max)
        .take_while(|&rows| known(rows) && expected(rows) <= VideoHeader::scan_max_bytes(rows))
        .last()
        .unwrap_or(1);
    let pieces = expected(rows).div_ceil(VideoHeader::scan_max_bytes(rows));
    (rows, pieces.clamp(1, usize::from(columns)))
}

fn whole_row(rung: Rung, row: usize) -> BlockRun {
    BlockRun { row: row as u8, column: 0, blocks: rung.block_columns() }
}

/// How many blocks these runs have together.
pub(super) fn blocks(runs: &[BlockRun]) -> usize {
    runs.iter().map(|run| usize::from(run.blocks)).sum()
}

/// The first `count` blocks of these runs, and the others.
fn cut(runs: &[BlockRun], count: usize) -> (Vec<BlockRun>, Vec<BlockRun>) {
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    let mut wanted = count;
    for &run in runs {
        let taken = usize::from(run.blocks).min(wanted) as u8;
        wanted -= usize::from(taken);
        if taken > 0 {
            first.push(BlockRun { blocks: taken, ..run });
        }
        if taken < run.blocks {
            rest.push(BlockRun { row: run.row, column: run.column + taken, blocks: run.blocks - taken });
        }
    }
    (first, rest)
}

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
        assert!(coverage(frame).iter().all(|count| *count == 1));
        assert!(frame.parts.len() <= FRAME_PARTS_MAX);
        for part in &frame.parts {
            assert!(part.scan.len() <= VideoHeader::scan_max_bytes(part.runs.len()));
            assert!((1..=BLOCKS_PER_PART_MAX).contains(&blocks(&part.runs)));
        }
    }

    #[test]
    fn parts_fit_a_datagram_and_cover_the_picture_once() {
        let frames = face_frames(2);
        let mut encoder = PartEncoder::new().unwrap();
        for rung in 0..Rung::ALL.len() {
            for quality in [1, 25, 50, 90, 100] {
                for picture in &frames {
                    let frame = encoder.encode(picture, &target(rung, quality), MediaTime(7)).unwrap();
                    assert!(frame.quality == quality || quality == 100);
                    assert_eq!(frame.timestamp, MediaTime(7));
                    check(&frame);
                }
            }
        }
    }

    #[test]
    fn noise_lowers_the_quality_until_it_fits() {
        let frame = PartEncoder::new().unwrap().encode(&noise(), &target(3, 100), MediaTime(0)).unwrap();
        assert!(frame.quality < 100);
        check(&frame);
    }

    #[test]
    fn a_small_picture_takes_fewer_parts_than_it_has_rows() {
        let frames = face_frames(2);
        let mut encoder = PartEncoder::new().unwrap();
        let counts =
            frames.iter().map(|picture| encoder.encode(picture, &target(0, 50), MediaTime(0)).unwrap().parts.len());
        let counts: Vec<_> = counts.collect();
        assert!(counts[1] < usize::from(Rung::ALL[0].block_rows()), "{counts:?}");
    }

    #[test]
    fn a_picture_that_is_not_whole_is_an_error() {
        let mut encoder = PartEncoder::new().unwrap();
        let result = encoder.encode(&Picture::default(), &target(3, 50), MediaTime(0));
        assert!(matches!(result, Err(JpegError::Empty)));
    }

    #[test]
    fn runs_are_cut_at_any_block() {
        let run = |row, column, blocks| BlockRun { row, column, blocks };
        assert_eq!(cut(&[run(3, 0, 16), run(4, 0, 16)], 20), (vec![run(3, 0, 16), run(4, 0, 4)], vec![run(4, 4, 12)]));
        assert_eq!(cut(&[run(0, 0, 5)], 9), (vec![run(0, 0, 5)], vec![]));
    }
}
