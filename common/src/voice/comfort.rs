//! The sound of a room in which nobody speaks, made up from what its quiet blocks were like: noise of their level and
//! colour (the idea of RFC 3389). Digital silence between sentences sounds as if the line were cut.

use crate::limits::AUDIO_CLOCK_RATE_HZ;
use crate::voice::pcm::Block;

/// Noise like that of a speaker's room. The same blocks give the same noise.
#[derive(Clone, Debug)]
pub(super) struct ComfortNoise {
    /// Power of the quietest blocks, followed at once downwards and slowly upwards; a square of samples.
    floor: f32,
    /// Autocorrelation of the quiet blocks for each sample, smoothed.
    correlation: [f32; ORDER + 1],
    /// Makes white noise of power 1 into that of the room.
    filter: [f32; ORDER],
    gain: f32,
    /// What was made up last, newest first.
    past: [f32; ORDER],
    /// Samples since the pause began.
    age: u32,
    random: u32,
}

/// Coefficients of the filter: enough for the slope of a fan or a street.
const ORDER: usize = 12;
/// A louder block, -45 dBov, is never the noise of a room: as in the sender's silence gate.
const FLOOR_MAX: f32 = 33_955.0;
/// Below one step of the converter there is nothing.
const FLOOR_MIN: f32 = 1.0;
/// The floor climbs by 3 dB a second: slower than words follow each other.
const FLOOR_RISE: f32 = 1.007;
/// Share of the way that the floor falls with each block.
const FLOOR_FALL: f32 = 0.5;
/// A block up to 6 dB above the floor is quiet.
const QUIET: f32 = 4.0;
/// Weight of a new block: the last eight or so count, a part of the 300 ms that are sent behind each word.
const SMOOTHING: f32 = 0.125;
/// A little white noise keeps the filter from ringing where the room hums.
const WHITENESS: f32 = 1.001;
/// The noise stays as long as a pause within a conversation may be, ...
const HOLD_SAMPLES: u32 = 5 * AUDIO_CLOCK_RATE_HZ;
/// ... and then fades: whoever is silent for long, or turned the microphone off, is not heard at all.
const FADE_SAMPLES: u32 = 5 * AUDIO_CLOCK_RATE_HZ;
const SEED: u32 = 0x9e37_79b9;

impl Default for ComfortNoise {
    fn default() -> Self {
        Self {
            floor: FLOOR_MAX,
            correlation: [0.0; ORDER + 1],
            filter: [0.0; ORDER],
            gain: 0.0,
            past: [0.0; ORDER],
            age: 0,
            random: SEED,
        }
    }
}

impl ComfortNoise {
    /// Hears a block that arrived.
    pub(super) fn learn(&mut self, block: &Block) {
        let samples = block.map(f32::from);
        let power = correlation(&samples, 0);
        self.follow(power);
        if power > self.floor * QUIET {
            return;
        }
        for (lag, smooth) in self.correlation.iter_mut().enumerate() {
            *smooth += SMOOTHING * (correlation(&samples, lag) - *smooth);
        }
    }

    /// A pause begins: the noise is that of the last quiet blocks.
    pub(super) fn begin(&mut self) {
        self.age = 0;
        (self.filter, self.gain) =
            if self.correlation[0] < FLOOR_MIN { ([0.0; ORDER], 0.0) } else { predictor(&self.correlation) };
    }

    pub(super) fn next_sample(&mut self) -> f32 {
        let left = (HOLD_SAMPLES + FADE_SAMPLES).saturating_sub(self.age);
        if left == 0 || self.gain == 0.0 {
            return 0.0;
        }
        self.age += 1;
        let predicted: f32 = self.filter.iter().zip(&self.past).map(|(weight, past)| weight * past).sum();
        let sample = predicted + self.gain * self.white();
        self.past.copy_within(..ORDER - 1, 1);
        self.past[0] = sample;
        sample * (left as f32 / FADE_SAMPLES as f32).min(1.0)
    }

    fn follow(&mut self, power: f32) {
        let goal = if power < self.floor {
            self.floor + FLOOR_FALL * (power - self.floor)
        } else {
            power.min(self.floor * FLOOR_RISE)
        };
        self.floor = goal.clamp(FLOOR_MIN, FLOOR_MAX);
    }

    /// White noise of power 1, by Marsaglia's xorshift.
    fn white(&mut self) -> f32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        let uniform = self.random as f32 / u32::MAX as f32;
        (2.0 * uniform - 1.0) * 3.0_f32.sqrt()
    }
}

/// Mean product of each sample with the one `lag` before.
fn correlation(samples: &[f32], lag: usize) -> f32 {
    let sum: f32 = samples.iter().zip(&samples[lag..]).map(|(a, b)| a * b).sum();
    sum / samples.len() as f32
}

/// Weights that predict a sample from those before it, newest first, and the root of the power that is left
/// (Levinson and Durbin).
fn predictor(correlation: &[f32; ORDER + 1]) -> ([f32; ORDER], f32) {
    let at = |lag: usize| f64::from(correlation[lag]);
    let mut weights = [0.0_f64; ORDER];
    let mut error = at(0) * f64::from(WHITENESS);
    for order in 0..ORDER {
        let predicted: f64 = (0..order).map(|i| weights[i] * at(order - i)).sum();
        let reflection = (at(order + 1) - predicted) / error;
        let before = weights;
        for i in 0..order {
            weights[i] -= reflection * before[order - 1 - i];
        }
        weights[order] = reflection;
        error *= 1.0 - reflection * reflection;
    }
    (weights.map(|weight| weight as f32), error.max(0.0).sqrt() as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::AUDIO_BLOCK_SAMPLES;
    use crate::voice::pcm::{self, SILENT_BLOCK};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// A room whose noise is the mean of `width` neighbouring samples of white noise.
    fn room(random: &mut StdRng, amplitude: f32, width: usize) -> Block {
        let white: Vec<f32> =
            (0..AUDIO_BLOCK_SAMPLES + width).map(|_| random.random_range(-amplitude..amplitude)).collect();
        std::array::from_fn(|i| white[i..i + width].iter().sum::<f32>().div_euclid(width as f32) as i16)
    }

    fn pause(noise: &mut ComfortNoise, samples: usize) -> Vec<i16> {
        noise.begin();
        (0..samples).map(|_| noise.next_sample().round() as i16).collect()
    }

    /// Correlation of neighbouring samples, relative to the power.
    fn colour(samples: &[i16]) -> f32 {
        let samples: Vec<f32> = samples.iter().map(|sample| f32::from(*sample)).collect();
        correlation(&samples, 1) / correlation(&samples, 0)
    }

    #[test]
    fn a_pause_sounds_like_the_room() {
        for (amplitude, width) in [(200.0, 1), (300.0, 4), (60.0, 2)] {
            let mut random = StdRng::seed_from_u64(1);
            let mut noise = ComfortNoise::default();
            let mut room_sound = Vec::new();
            for _ in 0..50 {
                let block = room(&mut random, amplitude, width);
                noise.learn(&block);
                room_sound.extend_from_slice(&block);
            }
            let made_up = pause(&mut noise, 24_000);
            let (there, here) = (pcm::level(&room_sound), pcm::level(&made_up));
            assert!(there.abs_diff(here) <= 2, "room -{there}, noise -{here} dBov");
            let (there, here) = (colour(&room_sound), colour(&made_up));
            assert!((there - here).abs() < 0.15, "room {there}, noise {here}");
        }
    }

    #[test]
    fn speech_is_not_taken_for_the_room() {
        let mut random = StdRng::seed_from_u64(2);
        let mut noise = ComfortNoise::default();
        for block in 0..300 {
            let amplitude = if block / 50 % 2 == 0 { 100.0 } else { 8_000.0 };
            noise.learn(&room(&mut random, amplitude, 1));
        }
        let level = pcm::level(&pause(&mut noise, 4_800));
        assert!((53..=57).contains(&level), "{level}");
    }

    #[test]
    fn a_room_without_a_sound_stays_without_one() {
        let mut noise = ComfortNoise::default();
        (0..100).for_each(|_| noise.learn(&SILENT_BLOCK));
        assert!(pause(&mut noise, 4_800).iter().all(|sample| *sample == 0));
    }

    #[test]
    fn who_is_silent_for_long_is_not_heard() {
        let mut random = StdRng::seed_from_u64(3);
        let mut noise = ComfortNoise::default();
        (0..50).for_each(|_| noise.learn(&room(&mut random, 200.0, 1)));
        let made_up = pause(&mut noise, 11 * 48_000);
        assert!(pcm::level(&made_up[4 * 48_000..5 * 48_000]) < 55);
        assert!(made_up[10 * 48_000..].iter().all(|sample| *sample == 0));
    }

    #[test]
    fn a_hum_does_not_make_it_ring_up() {
        let mut noise = ComfortNoise::default();
        let hum: Block = std::array::from_fn(|i| if i / 60 % 2 == 0 { 150 } else { -150 });
        (0..200).for_each(|_| noise.learn(&hum));
        assert!(pause(&mut noise, 240_000).iter().all(|sample| sample.unsigned_abs() < 2_000));
    }
}
