//! Takes away what is below all voices: rumble, hum and a shift of all samples.
//!
//! Without that the echo canceller takes the hum that two recordings have in common for an echo, and never finds out that
//! somebody wears headphones.

use common::limits::AUDIO_CLOCK_RATE_HZ;

use super::Block;

/// A Butterworth high pass of the fourth order, as two sections of the second.
///
/// 80 Hz is the compromise of the measurements in docs/decisions/0015-voice-processing.md: the ground tone of nearly all
/// voices stays.
#[derive(Clone, Debug)]
pub(super) struct HighPass([Section; 2]);

/// Hertz at which half of the power is left.
const CORNER_HZ: f32 = 80.0;

/// Quality of the sections: 1 / (2 cos 22.5°) and 1 / (2 cos 67.5°).
const QUALITIES: [f32; 2] = [0.541_196_1, 1.306_563];

impl HighPass {
    pub(super) fn new() -> Self {
        Self(QUALITIES.map(Section::new))
    }

    pub(super) fn process(&mut self, block: &mut Block) {
        for sample in block {
            let passed = self.0.iter_mut().fold(f32::from(*sample), |value, section| section.next(value));
            // `as` keeps to the ends of the range.
            *sample = passed.round() as i16;
        }
    }
}

/// A biquad high pass by the bilinear transform, in transposed direct form II.
#[derive(Clone, Debug)]
struct Section {
    /// Of the input, at 0, 1 and 2 samples back.
    forward: [f32; 3],
    /// Of the output, at 1 and 2 samples back.
    back: [f32; 2],
    state: [f32; 2],
}

impl Section {
    fn new(quality: f32) -> Self {
        let (sine, cosine) = (std::f32::consts::TAU * CORNER_HZ / AUDIO_CLOCK_RATE_HZ as f32).sin_cos();
        let width = sine / (2.0 * quality);
        let edge = (1.0 + cosine) / 2.0;
        let scale = 1.0 / (1.0 + width);
        Self {
            forward: [edge, -2.0 * edge, edge].map(|value| value * scale),
            back: [-2.0 * cosine, 1.0 - width].map(|value| value * scale),
            state: [0.0; 2],
        }
    }

    fn next(&mut self, value: f32) -> f32 {
        let passed = self.forward[0] * value + self.state[0];
        self.state[0] = self.forward[1] * value - self.back[0] * passed + self.state[1];
        self.state[1] = self.forward[2] * value - self.back[1] * passed;
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::limits::AUDIO_BLOCK_SAMPLES;

    /// What is left of a tone, in dB, after its first second.
    fn left_of(hertz: f32) -> f32 {
        let tone = |at: usize| 10_000.0 * (std::f32::consts::TAU * hertz * at as f32 / 48_000.0).cos();
        let mut filter = HighPass::new();
        let (mut before, mut after) = (0.0, 0.0);
        for block in 0..200 {
            let mut samples: Block = std::array::from_fn(|i| tone(block * AUDIO_BLOCK_SAMPLES + i) as i16);
            let power = |samples: &Block| samples.iter().map(|sample| f32::from(*sample).powi(2)).sum::<f32>();
            before += if block < 100 { 0.0 } else { power(&samples) };
            filter.process(&mut samples);
            after += if block < 100 { 0.0 } else { power(&samples) };
        }
        10.0 * (after / before + 1e-9).log10()
    }

    #[test]
    fn voices_pass_and_rumble_does_not() {
        assert!(left_of(0.0) < -60.0);
        assert!(left_of(20.0) < -40.0);
        assert!((left_of(80.0) + 3.0).abs() < 0.2);
        assert!(left_of(120.0) > -1.0);
        assert!([200.0, 1_000.0, 10_000.0].into_iter().all(|hertz| left_of(hertz).abs() < 0.1));
    }
}
