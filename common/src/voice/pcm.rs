//! Blocks of PCM: as they stand in a packet, and how loud they are.

use crate::limits::AUDIO_BLOCK_SAMPLES;
use crate::wire::audio::BLOCK_BYTES;

/// 10 ms of sound: 480 samples, 48 kHz, mono, signed 16 bit.
pub type Block = [i16; AUDIO_BLOCK_SAMPLES];

/// A block without a sound.
pub const SILENT_BLOCK: Block = [0; AUDIO_BLOCK_SAMPLES];
/// What [`level`] says of silence (RFC 6464 §3).
pub const LEVEL_SILENCE: u8 = 127;

/// Writes a block as L16 (big-endian, RFC 3551 §4.5.11) to the front of `bytes`; answers [`BLOCK_BYTES`].
///
/// Samples for which `bytes` has no room are left out.
pub fn encode(block: &Block, bytes: &mut [u8]) -> usize {
    let (pairs, _) = bytes.as_chunks_mut();
    for (pair, sample) in pairs.iter_mut().zip(block) {
        *pair = sample.to_be_bytes();
    }
    BLOCK_BYTES
}

/// Reads a block written as L16; samples that `bytes` does not have are silent.
pub fn decode(bytes: &[u8], block: &mut Block) {
    let (pairs, _) = bytes.as_chunks();
    block.fill(0);
    for (sample, pair) in block.iter_mut().zip(pairs) {
        *sample = i16::from_be_bytes(*pair);
    }
}

/// Loudness in -dBov, 0 (a square wave at full scale) to 127 (silence), by the root of the mean square
/// (RFC 6464 §3, RFC 6465 appendix A.1).
pub fn level(samples: &[i16]) -> u8 {
    (-level_dbov(samples)).round().clamp(0.0, f32::from(LEVEL_SILENCE)) as u8
}

/// Loudness in dBov, from -127 to 0.
fn level_dbov(samples: &[i16]) -> f32 {
    decibels(mean_square(samples))
}

/// Mean square of some samples, 0 to 2^30; of none, 0.
pub(crate) fn mean_square(samples: &[i16]) -> f32 {
    let energy: i64 = samples.iter().map(|sample| i64::from(*sample).pow(2)).sum();
    energy as f32 / samples.len().max(1) as f32
}

/// A mean square of samples in dBov, from -127 to 0.
pub(crate) fn decibels(mean_square: f32) -> f32 {
    let overload = 32_768.0_f32.powi(2);
    // The logarithm of nothing is minus infinity, which the clamp takes care of.
    (10.0 * (mean_square / overload).log10()).clamp(-f32::from(LEVEL_SILENCE), 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(amplitude: i16) -> Block {
        std::array::from_fn(|i| if i / 24 % 2 == 0 { amplitude } else { -amplitude })
    }

    #[test]
    fn a_block_reads_as_it_was_written_in_network_order() {
        let block: Block = std::array::from_fn(|i| (i as i16).wrapping_mul(257) ^ i16::MIN);
        let mut bytes = [0; BLOCK_BYTES];
        assert_eq!(encode(&block, &mut bytes), BLOCK_BYTES);
        assert_eq!(bytes[..6], [0x80, 0x00, 0x81, 0x01, 0x82, 0x02]);
        let mut read = [7; AUDIO_BLOCK_SAMPLES];
        decode(&bytes, &mut read);
        assert_eq!(read, block);
    }

    #[test]
    fn a_short_packet_ends_in_silence() {
        let mut block = [7; AUDIO_BLOCK_SAMPLES];
        decode(&[1, 2, 3], &mut block);
        assert_eq!(block[..3], [0x0102, 0, 0]);
        encode(&block, &mut [0; 3]);
    }

    #[test]
    fn the_level_is_the_distance_to_full_scale() {
        assert_eq!(level(&square(i16::MAX)), 0);
        assert_eq!(level(&[i16::MIN; 480]), 0);
        assert_eq!(level(&square(3_277)), 20);
        assert_eq!(level(&square(33)), 60);
        assert_eq!(level(&SILENT_BLOCK), 127);
        assert_eq!(level(&[]), 127);
    }
}
