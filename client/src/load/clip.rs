//! A second of pictures, coded once and sent by everybody.

use std::time::Duration;

use common::media::blocks::CodedFrame;
use common::media::ladder::{Rung, VideoTarget};
use common::sequence::MediaTime;

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

impl Clip {
    /// Paints and codes the test pattern. Takes a second of computing in an unoptimised program.
    ///
    /// # Errors
    /// What the codec says.
    pub(super) fn make(rung: Rung) -> Result<Self, JpegError> {
        let (quality, frames_per_second) = TARGETS[usize::from(rung.index)];
        let target = VideoTarget { rung, quality, frames_per_second };
        let (mut encoder, mut picture) = (PartEncoder::new()?, Picture::default());
        // The encoder learns from a frame how to cut the next one: the first is for that only.
        let frames: Result<Vec<_>, _> = (0..=u32::from(frames_per_second))
            .map(|index| {
                paint(&mut picture, index, u64::from(index) * 0x0123_4567_89ab);
                encoder.encode(&picture, &target, MediaTime(0))
            })
            .collect();
        let mut frames = frames?;
        frames.remove(0);
        Ok(Self { frames, interval: Duration::from_secs(1) / u32::from(frames_per_second) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
