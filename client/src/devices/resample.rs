//! Sound from one sample rate to another, one sample at a time and without memory of its own.

/// Samples of audio a second inside the program.
pub const RATE_HZ: u32 = common::limits::AUDIO_CLOCK_RATE_HZ;

/// Converts a stream of mono samples (`f32`, full scale 1.0) between two rates.
///
/// A cubic through four neighbours (Catmull-Rom), which is plenty for speech between 44.1 and 48 kHz. When the source
/// has a multiple of the target's rate, that many samples are averaged first. There is no steep low-pass: sound close
/// to half the lower rate leaves aliases, which speech does not have much of.
///
/// Allocates nothing, so that it can run inside an audio callback.
#[derive(Clone, Debug)]
pub struct Resampler {
    /// Source samples, after averaging, for each target sample.
    step: f32,
    /// How many samples are averaged into one.
    averaged: u32,
    sum: f32,
    summed: u32,
    /// Where between the two middle samples of `window` the next target sample lies; 1.0 and more: beyond them.
    position: f32,
    window: [f32; 4],
}

impl Resampler {
    /// From `source_hz` to `target_hz`; a rate of 0 counts as 1.
    pub fn new(source_hz: u32, target_hz: u32) -> Self {
        let (source_hz, target_hz) = (source_hz.max(1), target_hz.max(1));
        let averaged = (source_hz / target_hz).max(1);
        Self {
            step: source_hz as f32 / averaged as f32 / target_hz as f32,
            averaged,
            sum: 0.0,
            summed: 0,
            position: 1.0,
            window: [0.0; 4],
        }
    }

    /// Takes a source sample; gives each target sample that it completes to `emit`.
    pub fn push(&mut self, sample: f32, mut emit: impl FnMut(f32)) {
        if !self.shift(sample) {
            return;
        }
        while self.position < 1.0 {
            emit(self.interpolate());
            self.position += self.step;
        }
    }

    /// Gives the next target sample, taking from `source` the samples it needs.
    pub fn pull(&mut self, mut source: impl FnMut() -> f32) -> f32 {
        while self.position >= 1.0 {
            self.shift(source());
        }
        let sample = self.interpolate();
        self.position += self.step;
        sample
    }

    /// Puts a sample behind the others, once it is an average of as many as it should be; whether it is.
    fn shift(&mut self, sample: f32) -> bool {
        self.sum += sample;
        self.summed += 1;
        if self.summed < self.averaged {
            return false;
        }
        let [_, b, c, d] = self.window;
        self.window = [b, c, d, self.sum / self.averaged as f32];
        (self.sum, self.summed) = (0.0, 0);
        self.position -= 1.0;
        true
    }

    fn interpolate(&self) -> f32 {
        let [a, b, c, d] = self.window;
        let x = self.position;
        if x == 0.0 {
            return b;
        }
        let cubic = (b - c) * 1.5 + (d - a) * 0.5;
        let square = a - b * 2.5 + c * 2.0 - d * 0.5;
        ((cubic * x + square) * x + (c - a) * 0.5) * x + b
    }
}

/// A sample of full scale 1.0 as 16 bits; what is louder is clipped.
pub fn to_i16(sample: f32) -> i16 {
    // The conversion saturates, and makes 0 of NaN.
    (sample * 32_768.0).round() as i16
}

/// A sample of 16 bits at full scale 1.0.
pub fn from_i16(sample: i16) -> f32 {
    f32::from(sample) / 32_768.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(hz: f32, rate_hz: u32, index: usize) -> f32 {
        (std::f32::consts::TAU * hz * index as f32 / rate_hz as f32).sin()
    }

    fn pushed(source_hz: u32, target_hz: u32, seconds: usize) -> Vec<f32> {
        let mut resampler = Resampler::new(source_hz, target_hz);
        let mut out = Vec::new();
        for index in 0..source_hz as usize * seconds {
            resampler.push(sine(440.0, source_hz, index), |sample| out.push(sample));
        }
        out
    }

    #[test]
    fn the_same_rate_changes_nothing() {
        let out = pushed(48_000, 48_000, 1);
        for (index, sample) in out.iter().enumerate().skip(3) {
            assert_eq!(*sample, sine(440.0, 48_000, index - 2), "{index}");
        }
        for value in [i16::MIN, -1, 0, 1, i16::MAX] {
            assert_eq!(to_i16(from_i16(value)), value);
        }
    }

    #[test]
    fn as_many_samples_come_out_as_the_rates_say() {
        for source_hz in [8_000, 16_000, 22_050, 44_100, 88_200, 96_000, 192_000] {
            let count = pushed(source_hz, 48_000, 2).len() as i64;
            assert!((count - 96_000).abs() < 32, "{source_hz} Hz: {count}");
        }
    }

    #[test]
    fn a_tone_stays_a_tone() {
        for source_hz in [16_000, 44_100, 96_000] {
            let out = pushed(source_hz, 48_000, 1);
            // Compare with the best-fitting 440 Hz sine: what is left is the error of the conversion.
            let body = &out[480..480 + 4_800];
            let (mut sines, mut cosines) = (0.0, 0.0);
            for (index, sample) in body.iter().enumerate() {
                sines += sample * sine(440.0, 48_000, index);
                cosines += sample * sine(440.0, 48_000, index + 27).mul_add(1.0, 0.0);
            }
            let power: f32 = body.iter().map(|sample| sample * sample).sum();
            assert!(power > 2_350.0 && power < 2_450.0, "{source_hz} Hz: power {power}");
            assert!(sines.hypot(cosines) > 2_350.0, "{source_hz} Hz: {sines} {cosines}");
        }
    }

    #[test]
    fn pulling_gives_what_pushing_gives() {
        let pushed = pushed(44_100, 48_000, 1);
        let mut resampler = Resampler::new(44_100, 48_000);
        let mut index = 0;
        for sample in &pushed[..40_000] {
            let pulled = resampler.pull(|| {
                index += 1;
                sine(440.0, 44_100, index - 1)
            });
            assert_eq!(pulled, *sample);
        }
    }

    #[test]
    fn loud_and_broken_samples_are_clipped() {
        assert_eq!((to_i16(2.0), to_i16(-2.0), to_i16(f32::NAN)), (i16::MAX, i16::MIN, 0));
    }
}
