//! Blocks of PCM: as they stand in a packet, how loud they are, and whether somebody speaks in them.

use crate::limits::AUDIO_BLOCK_SAMPLES;

/// 10 ms of sound: 480 samples, 48 kHz, mono, signed 16 bit.
pub type Block = [i16; AUDIO_BLOCK_SAMPLES];

/// A block without a sound.
pub const SILENT_BLOCK: Block = [0; AUDIO_BLOCK_SAMPLES];
/// Bytes of a block in a packet.
pub const BLOCK_BYTES: usize = 2 * AUDIO_BLOCK_SAMPLES;
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
    let energy: i64 = samples.iter().map(|sample| i64::from(*sample).pow(2)).sum();
    let mean = energy as f32 / samples.len().max(1) as f32;
    let overload = 32_768.0_f32.powi(2);
    // The logarithm of nothing is minus infinity, which the clamp takes care of.
    (10.0 * (mean / overload).log10()).clamp(-f32::from(LEVEL_SILENCE), 0.0)
}

/// Tells speech from the noise of a room, so that silence is not sent.
///
/// The level of the noise is followed: at once downwards, slowly upwards. What stands out of it is speech, and so is
/// everything that is loud; a pause shorter than the hangover is part of the speech around it.
#[derive(Clone, Debug)]
pub struct SilenceGate {
    /// Level of the noise, dBov.
    floor: f32,
    /// Blocks that still count as speech.
    hangover: u32,
}

/// Speech stands this far out of the noise, dB: twice the spread of a 10 ms level of white noise is far less, the
/// softest vowels are above.
const SPEECH_MARGIN: f32 = 9.0;
/// A noise louder than this is not taken for one, dBov: so music and steady tones above -36 dBov always pass.
const FLOOR_MAX: f32 = -45.0;
/// Below this the noise is that of the converter, dBov.
const FLOOR_MIN: f32 = -80.0;
/// Where the noise is assumed before it was heard, dBov: a quiet room; errs towards sending.
const FLOOR_START: f32 = -65.0;
/// The floor climbs by 3 dB a second: slower than words follow each other.
const FLOOR_RISE: f32 = 0.03;
/// Share of the way that the floor falls with each block.
const FLOOR_FALL: f32 = 0.5;
/// 300 ms: the gap between two words.
const HANGOVER_BLOCKS: u32 = 30;

impl Default for SilenceGate {
    fn default() -> Self {
        Self { floor: FLOOR_START, hangover: 0 }
    }
}

impl SilenceGate {
    /// Whether this block, the next one of the microphone, is to be sent.
    pub fn speaks(&mut self, block: &Block) -> bool {
        let level = level_dbov(block);
        let stands_out = level > self.floor + SPEECH_MARGIN;
        self.follow(level);
        let speaks = stands_out || self.hangover > 0;
        self.hangover = if stands_out { HANGOVER_BLOCKS } else { self.hangover.saturating_sub(1) };
        speaks
    }

    fn follow(&mut self, level: f32) {
        self.floor = if level < self.floor {
            self.floor + FLOOR_FALL * (level - self.floor)
        } else {
            self.floor + FLOOR_RISE.min(level - self.floor)
        };
        self.floor = self.floor.clamp(FLOOR_MIN, FLOOR_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    fn square(amplitude: i16) -> Block {
        std::array::from_fn(|i| if i / 24 % 2 == 0 { amplitude } else { -amplitude })
    }

    fn noise(random: &mut StdRng, amplitude: i16) -> Block {
        std::array::from_fn(|_| random.random_range(-amplitude..=amplitude))
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

    #[test]
    fn silence_is_not_sent() {
        let mut gate = SilenceGate::default();
        assert!((0..100).all(|_| !gate.speaks(&SILENT_BLOCK)));
    }

    #[test]
    fn the_noise_of_a_room_stops_being_sent() {
        let mut random = StdRng::seed_from_u64(1);
        let mut gate = SilenceGate::default();
        let sent = (0..1_000).filter(|_| gate.speaks(&noise(&mut random, 150))).count();
        assert!(sent < 400, "{sent}");
        assert!((0..500).all(|_| !gate.speaks(&noise(&mut random, 150))));
    }

    #[test]
    fn speech_passes_at_once_and_300_ms_beyond_its_end() {
        let mut random = StdRng::seed_from_u64(2);
        let mut gate = SilenceGate::default();
        for _ in 0..1_000 {
            gate.speaks(&noise(&mut random, 100));
        }
        assert!((0..50).all(|_| gate.speaks(&noise(&mut random, 2_000))));
        let tail = (0..100).take_while(|_| gate.speaks(&noise(&mut random, 100))).count();
        assert_eq!(tail, 30);
    }

    #[test]
    fn a_steady_tone_is_never_taken_for_noise() {
        let mut gate = SilenceGate::default();
        assert!((0..60_000).all(|_| gate.speaks(&square(1_000))));
    }
}
