//! Parts that arrived, into the picture that is shown.

use common::limits::BLOCKS_PER_PART_MAX;
use common::media::blocks::{CodedFrame, CodedPart};
use common::media::jpeg;
use common::media::ladder::Rung;
use turbojpeg::Decompressor;

use super::encoder::{BLOCK_BYTES, BLOCK_PIXELS, blocks};
use super::{JpegError, pixels_mut};
use crate::devices::Picture;
use crate::devices::scale::Scaler;

/// The picture of one stream: each part writes over its own blocks, and what no part names stays as it was.
#[derive(Debug)]
pub struct PartDecoder {
    decompressor: Decompressor,
    scaler: Scaler,
    picture: Picture,
    strip: Picture,
    jpeg: Vec<u8>,
    parts_discarded: u64,
}

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
            strip: Picture::default(),
            jpeg: Vec::new(),
            parts_discarded: 0,
        })
    }

    /// Draws what there is of a frame over the picture; answers how many parts were no good and were left out.
    ///
    /// When the frame has another size, the picture so far is scaled to it first.
    pub fn decode(&mut self, frame: &CodedFrame) -> usize {
        self.resize(frame.rung);
        let discarded = frame.parts.iter().filter(|part| self.draw(part, frame.rung, frame.quality).is_err()).count();
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

    fn resize(&mut self, rung: Rung) {
        let (width, height) = (usize::from(rung.width), usize::from(rung.height));
        if (self.picture.width, self.picture.height) != (width, height) {
            let before = std::mem::take(&mut self.picture);
            self.scaler.scale(&before, width, height, &mut self.picture);
        }
    }

    fn draw(&mut self, part: &CodedPart, rung: Rung, quality: u8) -> Result<(), JpegError> {
        if !fits(part, rung) || !(1..=100).contains(&quality) || !jpeg::is_scan(&part.scan) {
            return Err(JpegError::Malformed);
        }
        let width = blocks(&part.runs) * BLOCK_PIXELS;
        self.jpeg.clear();
        jpeg::assemble(width as u16, BLOCK_PIXELS as u16, quality, &part.scan, &mut self.jpeg);
        // The codec reads the size again from the headers and refuses a picture larger than the strip. Whatever it
        // complains about, a scan that ends early included, leaves the strip unused.
        self.strip.reshape(width, BLOCK_PIXELS);
        self.decompressor.decompress(&self.jpeg, pixels_mut(&mut self.strip))?;
        self.place(part);
        Ok(())
    }

    /// Copies the blocks of the strip to where they belong, without the lines below the picture's edge.
    fn place(&mut self, part: &CodedPart) {
        let (strip_stride, stride) = (self.strip.width * 4, self.picture.width * 4);
        let mut x = 0;
        for run in &part.runs {
            let bytes = usize::from(run.blocks) * BLOCK_BYTES;
            let top = usize::from(run.row) * BLOCK_PIXELS;
            for line in 0..BLOCK_PIXELS.min(self.picture.height - top) {
                let to = (top + line) * stride + usize::from(run.column) * BLOCK_BYTES;
                self.picture.rgba[to..to + bytes].copy_from_slice(&self.strip.rgba[line * strip_stride + x..][..bytes]);
            }
            x += bytes;
        }
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
    use crate::devices::jpeg::tests::{face_frames, psnr};
    use common::media::ladder::VideoTarget;
    use common::sequence::MediaTime;
    use common::wire::media::BlockRun;

    fn encode(picture: &Picture, rung: usize, quality: u8) -> CodedFrame {
        let target = VideoTarget { rung: Rung::ALL[rung], quality, frames_per_second: 30 };
        PartEncoder::new().unwrap().encode(picture, &target, MediaTime(0)).unwrap()
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
        let mut frame = encode(&black, 3, 70);
        frame.parts.retain(|part| part.runs[0].row == 4);
        assert_eq!(decoder.decode(&frame), 0);
        let stride = 864 * 4;
        let (top, bottom) = (64 * stride, 80 * stride);
        let after = &decoder.picture().rgba;
        assert_eq!(after[..top], before.rgba[..top]);
        assert_eq!(after[bottom..], before.rgba[bottom..]);
        assert!(after[top..bottom].as_chunks::<4>().0.iter().all(|pixel| pixel[1] < 3));
    }

    #[test]
    fn another_rung_keeps_the_old_picture_as_its_base() {
        let original = face_frames(1).remove(0);
        let mut decoder = PartDecoder::new().unwrap();
        decoder.decode(&encode(&original, 1, 70));
        let mut frame = encode(&original, 3, 70);
        frame.parts.clear();
        decoder.decode(&frame);
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
            let mut part = frame.parts[round % frame.parts.len()].clone();
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let length = (random >> 8) as usize % part.scan.len() / 2;
            part.scan.truncate(length);
            let cut = CodedFrame { parts: vec![part], ..frame.clone() };
            assert_eq!(decoder.decode(&cut), 1, "{length} bytes");
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
            let mut part = frame.parts[round % frame.parts.len()].clone();
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
            decoder.decode(&CodedFrame { parts: vec![part], ..frame.clone() });
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
            let scan = frame.parts[0].scan.clone();
            let part = CodedPart { runs, scan };
            let frame = CodedFrame { parts: vec![part], ..frame.clone() };
            assert_eq!(decoder.decode(&frame), 1, "{:?}", frame.parts[0].runs);
        }
    }

    #[test]
    fn an_impossible_quality_is_left_out() {
        let mut frame = encode(&face_frames(1)[0], 0, 60);
        let parts = frame.parts.len();
        let mut decoder = PartDecoder::new().unwrap();
        for quality in [0, 101, 255] {
            frame.quality = quality;
            assert_eq!(decoder.decode(&frame), parts);
        }
    }
}
