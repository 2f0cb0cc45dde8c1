//! A second of pictures, coded once and sent by everybody.

use std::time::Duration;

use common::picture::blocks::CodedFrame;
use common::picture::ladder::{Rung, VideoTarget};
use common::sequence::MediaTime;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::devices::Picture;
use crate::devices::jpeg::{JpegError, PartEncoder};
use crate::devices::synthetic::paint;

/// What a camera gives at one rung.
#[derive(Debug)]
pub(super) struct Clip {
    /// Frames that are sent one after the other, and then again.
    pub(super) frames: Vec<CodedFrame>,
    /// From one frame to the next.
    pub(super) interval: Duration,
}

/// Every size at what the ladder takes for it on a good path: its quality, and frames a second.
const TARGETS: [(u8, u8); 4] = [(40, 12), (40, 15), (50, 15), (50, 15)];

/// How grainy the picture of each rung is: the painted pattern alone takes half the bits of a face. With these it takes
/// what the ladder reckons with: 0.5, 1.2, 2.4 and 3.9 Mbit/s.
const GRAIN: [i16; 4] = [110, 50, 24, 14];

impl Clip {
    /// Paints and codes the test pattern. Takes a second of computing in an unoptimised program.
    ///
    /// # Errors
    /// What the codec says.
    pub(super) fn make(rung: Rung) -> Result<Self, JpegError> {
        let (quality, frames_per_second) = TARGETS[usize::from(rung.index)];
        let target = VideoTarget { rung, quality, frames_per_second };
        let (mut encoder, mut picture) = (PartEncoder::new()?, Picture::default());
        let mut random = StdRng::seed_from_u64(1);
        let mut frames = Vec::with_capacity(usize::from(frames_per_second) + 1);
        for index in 0..=u32::from(frames_per_second) {
            paint(&mut picture, index, u64::from(index) * 0x0123_4567_89ab);
            add_grain(&mut picture, &mut random, GRAIN[usize::from(rung.index)]);
            // Nobody stands still: a load is what the ladder reckons with at most.
            encoder.forget();
            frames.extend(encoder.encode(&picture, &target, MediaTime(0))?);
        }
        // The encoder learns from a frame how to cut the next one: the first is for that only.
        frames.remove(0);
        Ok(Self { frames, interval: Duration::from_secs(1) / u32::from(frames_per_second) })
    }
}

/// Makes each pixel darker or lighter, as a cheap camera in a dim room does.
fn add_grain(picture: &mut Picture, random: &mut StdRng, grain: i16) {
    for pixel in picture.rgba.chunks_exact_mut(4) {
        let step = random.random_range(-grain..=grain);
        pixel[..3].iter_mut().for_each(|value| *value = (i16::from(*value) + step).clamp(0, 255) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_takes_the_bits_of_a_face() {
        for (rung, mbits) in Rung::ALL.into_iter().zip([0.5, 1.2, 2.4, 3.9]) {
            let clip = Clip::make(rung).unwrap();
            let parts = clip.frames.iter().flat_map(|frame| &frame.parts);
            let measured = parts.map(|part| part.scan.len() + 85).sum::<usize>() as f64 * 8e-6;
            assert!((0.8..1.2).contains(&(measured / mbits)), "{}: {measured} Mbit/s", rung.name);
        }
    }

    #[test]
    fn a_larger_picture_takes_more_datagrams() {
        let parts = |rung| {
            let clip = Clip::make(rung).unwrap();
            clip.frames.iter().map(|frame| frame.parts.len()).sum::<usize>() / clip.frames.len()
        };
        let (small, large) = (parts(Rung::ALL[0]), parts(Rung::ALL[3]));
        assert!(small < large, "{small} {large}");
        assert!((8..=60).contains(&large), "{large} datagrams a frame");
    }
}
