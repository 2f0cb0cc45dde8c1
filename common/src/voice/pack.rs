//! Blocks of sound packed in two layers, each block by itself: any packet may be lost, and its neighbours lose nothing.
//!
//! The *base layer* is the block at 16 kHz and 12 bits, or fewer where it is loud: good speech for a tenth of the bits.
//! The *enhancement* is all that is missing to the 480 samples of 16 bits, bit by bit: the difference between the block
//! and what the base layer, upsampled, says of it. Both are written as Rice codes of the differences to fixed
//! predictors. All arithmetic is in integers and the same on every machine. Whoever wants a block small drops the
//! enhancement, and need not look into it.
//!
//! A base layer reaches a few samples beyond both ends of its block, so that a block made of it alone fits between its
//! neighbours without a seam. Looking that far ahead costs the sender [`LOOK_AHEAD_SAMPLES`] of delay, 0.9 ms.

mod bits;
mod choice;
mod filter;
mod layers;
mod predict;
mod rice;

use crate::limits::{AUDIO_BASE_MAX_BYTES, AUDIO_BLOCK_SAMPLES};
use crate::voice::pcm::{self, Block};
use crate::wire::Malformed;
use crate::wire::audio::{AudioDetail, BLOCK_BYTES, Sound};

pub use choice::DetailChoice;
use filter::{BASE_SAMPLES, MARGIN, WINDOW};

/// Samples by which what is packed is behind what was pushed.
pub const LOOK_AHEAD_SAMPLES: usize = MARGIN;

/// Packs the blocks of one microphone.
#[derive(Clone, Debug)]
pub struct Packer {
    window: [i16; WINDOW],
    rounding: Rounding,
}

/// How coarse base layers are. It stays as it is for long, as noise that comes and goes is heard more than steady noise.
/// But a loud voice takes more bits than a quiet one that is no better to hear.
#[derive(Clone, Copy, Debug)]
struct Rounding {
    /// Samples have this many bits less than 16.
    shift: u32,
    /// Mean bytes of a base layer over the last `blocks`.
    mean_bytes: f32,
    blocks: f32,
}

/// At first there are 12 bits.
const SHIFT_START: u32 = 4;
/// Samples of 3 bits fit whatever the sound is.
const SHIFT_MAX: u32 = 13;
/// Ten seconds of speech.
const MEAN_BLOCKS: f32 = 1_000.0;
/// The mean that is assumed at first counts as half a second.
const ASSUMED_BLOCKS: f32 = 50.0;
const ASSUMED_BYTES: f32 = 94.0;
/// Coarser when base layers are longer than this on average: 90 kbit/s.
const MEAN_MAX_BYTES: f32 = 112.0;
/// Finer when they are shorter, 67 kbit/s; with one bit more of each sample they are still below the other limit.
const MEAN_MIN_BYTES: f32 = 84.0;
/// A bit of each sample.
const SHIFT_BYTES: f32 = BASE_SAMPLES as f32 / 8.0;

impl Default for Packer {
    fn default() -> Self {
        Self { window: [0; WINDOW], rounding: Rounding::default() }
    }
}

impl Packer {
    /// Takes the next block of the microphone.
    pub fn push(&mut self, block: &Block) {
        self.window.copy_within(AUDIO_BLOCK_SAMPLES.., 0);
        self.window[WINDOW - AUDIO_BLOCK_SAMPLES..].copy_from_slice(block);
    }

    /// The sound that is packed: a block that ends [`LOOK_AHEAD_SAMPLES`] before the end of the one pushed last.
    pub fn block(&self) -> &Block {
        self.window[MARGIN..].first_chunk().expect("the window is a block between two margins")
    }

    /// Packs [`Packer::block`].
    pub fn pack(&mut self, detail: AudioDetail) -> Packed {
        let mut packed = Packed::default();
        let filtered = filter::downsample(&self.window);
        let base = (self.rounding.shift..=SHIFT_MAX).find_map(|shift| packed.write_base(&filtered, shift));
        self.rounding.follow(packed.base_bytes);
        match (base, detail) {
            (Some(_), AudioDetail::Bare | AudioDetail::Base) => {}
            (Some(base), AudioDetail::Exact) => packed.write_enhancement(self.block(), &base),
            (None, _) => packed.write_raw(self.block()),
        }
        packed
    }
}

impl Default for Rounding {
    fn default() -> Self {
        Self { shift: SHIFT_START, mean_bytes: ASSUMED_BYTES, blocks: ASSUMED_BLOCKS }
    }
}

impl Rounding {
    /// A base layer became this long.
    fn follow(&mut self, bytes: usize) {
        self.blocks = (self.blocks + 1.0).min(MEAN_BLOCKS);
        self.mean_bytes += (bytes as f32 - self.mean_bytes) / self.blocks;
        if self.mean_bytes > MEAN_MAX_BYTES && self.shift < SHIFT_MAX {
            self.shift += 1;
            self.mean_bytes -= SHIFT_BYTES;
        } else if self.mean_bytes < MEAN_MIN_BYTES && self.shift > 0 {
            self.shift -= 1;
            self.mean_bytes += SHIFT_BYTES;
        }
    }
}

/// A block of sound, packed.
#[derive(Clone, Debug)]
pub struct Packed {
    base: [u8; AUDIO_BASE_MAX_BYTES],
    base_bytes: usize,
    rest: [u8; BLOCK_BYTES],
    rest_bytes: usize,
    raw: bool,
}

impl Default for Packed {
    fn default() -> Self {
        Self { base: [0; AUDIO_BASE_MAX_BYTES], base_bytes: 0, rest: [0; BLOCK_BYTES], rest_bytes: 0, raw: false }
    }
}

impl Packed {
    /// The base layer, at most [`AUDIO_BASE_MAX_BYTES`].
    pub fn base(&self) -> &[u8] {
        &self.base[..self.base_bytes]
    }

    /// As it stands in a packet.
    pub fn sound(&self) -> Sound<'_> {
        let rest = &self.rest[..self.rest_bytes];
        if self.raw { Sound::L16(rest) } else { Sound::Packed { base: self.base(), enhancement: rest } }
    }

    /// What its reader will have, if it fits.
    fn write_base(&mut self, filtered: &[i32; BASE_SAMPLES], shift: u32) -> Option<[i16; BASE_SAMPLES]> {
        let (bytes, base) = layers::write_base(filtered, shift, &mut self.base);
        self.base_bytes = bytes;
        (bytes <= self.base.len()).then_some(base)
    }

    /// Noise is not shorter in two layers.
    fn write_enhancement(&mut self, block: &Block, base: &[i16; BASE_SAMPLES]) {
        let room = &mut self.rest[..BLOCK_BYTES - self.base_bytes];
        let bytes = layers::write_enhancement(block, &filter::upsample(base), room);
        if bytes <= room.len() {
            self.rest_bytes = bytes;
        } else {
            self.write_raw(block);
        }
    }

    fn write_raw(&mut self, block: &Block) {
        self.raw = true;
        self.rest_bytes = pcm::encode(block, &mut self.rest);
    }
}

/// Writes over `block` what a packet says of it: the very samples that were packed, or those of the base layer where
/// the enhancement was cut off.
///
/// # Errors
/// [`Malformed`] when nobody can have packed it.
pub fn unpack(sound: Sound<'_>, block: &mut Block) -> Result<(), Malformed> {
    match sound {
        Sound::L16(samples) => pcm::decode(samples, block),
        Sound::Packed { base, enhancement: [] } => unpack_base(base, block)?,
        Sound::Packed { base, enhancement } => {
            let guess = filter::upsample(&layers::read_base(base)?);
            layers::read_enhancement(enhancement, &guess, block)?;
        }
    }
    Ok(())
}

/// Writes over `block` what a base layer alone says of it.
///
/// # Errors
/// [`Malformed`] when nobody can have packed it.
pub fn unpack_base(base: &[u8], block: &mut Block) -> Result<(), Malformed> {
    let guess = filter::upsample(&layers::read_base(base)?);
    for (sample, guess) in block.iter_mut().zip(guess) {
        *sample = guess.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
