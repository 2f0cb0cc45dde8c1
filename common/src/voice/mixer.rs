//! Sums the speakers of a meeting into what is heard.

use crate::limits::AUDIO_BLOCK_SAMPLES;
use crate::voice::pcm::Block;

/// Adds one block of each speaker, then gives the sum; the same few operations for each sample, whatever they say.
///
/// One voice passes unchanged. Where several together are louder than a sample can be, all are turned down for the
/// moment, which is far less ugly than cutting the peaks off.
#[derive(Clone, Debug)]
pub struct Mixer {
    sum: [i32; AUDIO_BLOCK_SAMPLES],
    /// At the end of the last block; 1.0 unless something was too loud lately.
    gain: f32,
}

/// The loudest a sum may be.
const PEAK_MAX: f32 = i16::MAX as f32;
/// The gain comes down within the first millisecond of a block that is too loud.
const ATTACK_SAMPLES: usize = 48;
/// And goes back by this share of the way with each block: nearly all of it in 200 ms.
const RELEASE: f32 = 0.1;

impl Default for Mixer {
    fn default() -> Self {
        Self { sum: [0; AUDIO_BLOCK_SAMPLES], gain: 1.0 }
    }
}

impl Mixer {
    /// Adds a speaker's block to the sum.
    pub fn add(&mut self, block: &Block) {
        for (sum, sample) in self.sum.iter_mut().zip(block) {
            *sum = sum.saturating_add(i32::from(*sample));
        }
    }

    /// Writes the sum over `block` and begins the next one at silence.
    pub fn mix(&mut self, block: &mut Block) {
        let goal = self.gain_for_peak();
        let from = self.gain;
        for (i, (sample, sum)) in block.iter_mut().zip(&self.sum).enumerate() {
            let way = ((i + 1) as f32 / ramp_samples(from, goal)).min(1.0);
            // A cast saturates, which catches peaks within the attack.
            *sample = (*sum as f32 * (from + way * (goal - from))).round() as i16;
        }
        self.gain = goal;
        self.sum.fill(0);
    }

    /// Down to where the peak just fits, or part of the way up again.
    fn gain_for_peak(&self) -> f32 {
        let peak = self.sum.iter().map(|sum| sum.unsigned_abs()).max().unwrap_or(0);
        let released = self.gain + RELEASE * (1.0 - self.gain);
        // Close enough to whole that nobody hears the step, and a single voice is exact from then on.
        let released = if released > 0.999 { 1.0 } else { released };
        released.min(PEAK_MAX / (peak as f32).max(PEAK_MAX))
    }
}

fn ramp_samples(from: f32, goal: f32) -> f32 {
    if goal < from { ATTACK_SAMPLES as f32 } else { AUDIO_BLOCK_SAMPLES as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voice::pcm::SILENT_BLOCK;

    fn mixed(mixer: &mut Mixer, blocks: &[Block]) -> Block {
        let mut mixed = [1; AUDIO_BLOCK_SAMPLES];
        blocks.iter().for_each(|block| mixer.add(block));
        mixer.mix(&mut mixed);
        mixed
    }

    fn ramp(scale: i16) -> Block {
        std::array::from_fn(|i| (i as i16 - 240) * scale)
    }

    #[test]
    fn nobody_is_silence() {
        assert_eq!(mixed(&mut Mixer::default(), &[]), SILENT_BLOCK);
    }

    #[test]
    fn one_voice_passes_unchanged_however_loud() {
        let mut mixer = Mixer::default();
        for block in [ramp(1), ramp(136), [i16::MAX; AUDIO_BLOCK_SAMPLES]] {
            assert_eq!(mixed(&mut mixer, &[block]), block);
        }
    }

    #[test]
    fn voices_are_added() {
        let mut mixer = Mixer::default();
        assert_eq!(mixed(&mut mixer, &[ramp(10), ramp(20), ramp(-5)]), ramp(25));
        assert_eq!(mixed(&mut mixer, &[]), SILENT_BLOCK);
    }

    #[test]
    fn loud_voices_are_turned_down_together_and_keep_their_shape() {
        let mut mixer = Mixer::default();
        let voices = [ramp(100), ramp(100), ramp(100)];
        mixed(&mut mixer, &voices);
        let block = mixed(&mut mixer, &voices);
        let expected = ramp(136);
        let off = |(a, b): (&i16, &i16)| (i32::from(*a) - i32::from(*b)).abs();
        assert!(block.iter().zip(&expected).map(off).max().unwrap() < 140);
        assert!(block.iter().filter(|sample| sample.unsigned_abs() >= 32_767).count() <= 1);
    }

    #[test]
    fn after_a_loud_moment_the_voice_comes_back() {
        let mut mixer = Mixer::default();
        mixed(&mut mixer, &[ramp(130); 50]);
        let quiet = mixed(&mut mixer, &[ramp(10)]);
        assert!(quiet[0].abs() < ramp(10)[0].abs());
        (0..100).for_each(|_| assert_ne!(mixed(&mut mixer, &[ramp(10)]), SILENT_BLOCK));
        assert_eq!(mixed(&mut mixer, &[ramp(10)]), ramp(10));
    }

    #[test]
    fn no_number_of_voices_overflows() {
        let mut mixer = Mixer::default();
        let loudest = [[i16::MIN; AUDIO_BLOCK_SAMPLES]; 70];
        assert!(mixed(&mut mixer, &loudest).iter().all(|sample| *sample < -30_000));
    }
}
