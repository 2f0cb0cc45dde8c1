//! Makes up sound where a block is missing: the last pitch period goes on and fades, as in ITU-T G.711 appendix I,
//! over blocks of 10 ms and without its delay.

use std::ops::RangeInclusive;

use crate::limits::AUDIO_BLOCK_SAMPLES;
use crate::media::pcm::{Block, SILENT_BLOCK};

/// Goes on with a speaker's sound where a block is missing, and comes back to it without a click.
#[derive(Clone, Debug)]
pub struct Concealer {
    /// What was played last, made up or not, newest at the end.
    history: [f32; HISTORY],
    /// One period of the voice, made to follow itself without a step; the first `lag` samples count.
    cycle: [f32; LAG_MAX],
    /// Length of the period, samples.
    lag: usize,
    /// Where in the cycle the next made-up sample is.
    phase: usize,
    /// Step from the last good sample to the first of the cycle, to be smoothed away.
    step: f32,
    /// Samples made up since the last good block.
    made_up: usize,
}

/// Shortest pitch period looked for: 2.5 ms, a child's voice at 400 Hz.
const LAG_MIN: usize = 120;
/// Longest pitch period looked for: 15 ms, a man's voice at 66 Hz (as G.711 appendix I).
const LAG_MAX: usize = 720;
/// Samples that are compared to find the period: 20 ms (as G.711 appendix I).
const WINDOW: usize = 960;
/// What is remembered: the window, and the longest period before it. Whole blocks.
const HISTORY: usize = 4 * AUDIO_BLOCK_SAMPLES;
/// The search first looks at sums of four samples, and each fourth lag: a voice has little above 6 kHz.
const COARSE: usize = 4;
/// The step to the cycle is smoothed over 1 ms.
const STEP_SAMPLES: usize = 48;
/// What was made up gives way to a good block over 5 ms.
const RETURN_SAMPLES: usize = 240;
/// The first 10 ms are as loud as what was before (as G.711 appendix I).
const FADE_BEGINS: usize = AUDIO_BLOCK_SAMPLES;
/// From here on there is silence: 60 ms (as G.711 appendix I); a longer vowel would be an invention.
const FADE_ENDS: usize = CONCEALED_BLOCKS_MAX * AUDIO_BLOCK_SAMPLES;
/// Blocks in a row for which something is made up.
pub const CONCEALED_BLOCKS_MAX: usize = 6;

const _: () = assert!(HISTORY >= WINDOW + LAG_MAX && (WINDOW / COARSE).is_multiple_of(8));

impl Default for Concealer {
    fn default() -> Self {
        Self { history: [0.0; HISTORY], cycle: [0.0; LAG_MAX], lag: LAG_MIN, phase: 0, step: 0.0, made_up: 0 }
    }
}

impl Concealer {
    /// Takes a block that is there. The first one behind a hole is changed at its front, so that the made-up sound
    /// passes into it.
    pub fn good(&mut self, block: &mut Block) {
        if self.made_up > 0 {
            for (i, sample) in block[..RETURN_SAMPLES].iter_mut().enumerate() {
                let share = (i + 1) as f32 / RETURN_SAMPLES as f32;
                let made_up = self.next_sample();
                *sample = (share * f32::from(*sample) + (1.0 - share) * made_up).round() as i16;
            }
            self.made_up = 0;
        }
        self.remember(block);
    }

    /// Writes a made-up block; after [`CONCEALED_BLOCKS_MAX`] in a row, silence.
    pub fn conceal(&mut self, block: &mut Block) {
        if self.made_up >= FADE_ENDS {
            *block = SILENT_BLOCK;
        } else {
            if self.made_up == 0 {
                self.begin();
            }
            block.fill_with(|| self.next_sample().round() as i16);
        }
        self.remember(block);
    }

    fn begin(&mut self) {
        self.lag = pitch_lag(&self.history);
        self.phase = 0;
        let (before, period) = self.history.split_at(HISTORY - self.lag);
        self.cycle[..self.lag].copy_from_slice(period);
        self.step = period[self.lag - 1] - before[before.len() - 1];
        // The last quarter passes into what stood before the period, so that its end meets its beginning.
        let quarter = self.lag / 4;
        for i in 0..quarter {
            let share = (i + 1) as f32 / quarter as f32;
            let sample = &mut self.cycle[self.lag - quarter + i];
            *sample += share * (before[before.len() - quarter + i] - *sample);
        }
    }

    fn next_sample(&mut self) -> f32 {
        let smoothing = STEP_SAMPLES.saturating_sub(self.made_up) as f32 / STEP_SAMPLES as f32;
        let sample = self.cycle[self.phase] + self.step * smoothing;
        self.phase = (self.phase + 1) % self.lag;
        let gain = gain(self.made_up);
        self.made_up = (self.made_up + 1).min(FADE_ENDS);
        (gain * sample).clamp(f32::from(i16::MIN), f32::from(i16::MAX))
    }

    fn remember(&mut self, block: &Block) {
        self.history.copy_within(AUDIO_BLOCK_SAMPLES.., 0);
        let newest = &mut self.history[HISTORY - AUDIO_BLOCK_SAMPLES..];
        for (place, sample) in newest.iter_mut().zip(block) {
            *place = f32::from(*sample);
        }
    }
}

fn gain(made_up: usize) -> f32 {
    let left = FADE_ENDS.saturating_sub(made_up) as f32;
    (left / (FADE_ENDS - FADE_BEGINS) as f32).min(1.0)
}

/// The shift at which the newest 20 ms are most like what was before: roughly first, then to the sample.
fn pitch_lag(history: &[f32; HISTORY]) -> usize {
    let (groups, _) = history.as_chunks::<COARSE>();
    let mut coarse = [0.0; HISTORY / COARSE];
    for (sample, group) in coarse.iter_mut().zip(groups) {
        *sample = group.iter().sum();
    }
    let rough = COARSE * most_alike(&coarse, LAG_MIN / COARSE..=LAG_MAX / COARSE, WINDOW / COARSE);
    let near = (rough - COARSE).max(LAG_MIN)..=(rough + COARSE).min(LAG_MAX);
    most_alike(history, near, WINDOW)
}

fn most_alike(samples: &[f32], lags: RangeInclusive<usize>, window: usize) -> usize {
    let mut best = (f32::MIN, *lags.start());
    for lag in lags {
        let likeness = likeness(samples, lag, window);
        // A multiple of the period is as alike as the period: the first one stays unless a later is truly better.
        if likeness > best.0 + LIKENESS_MARGIN {
            best = (likeness, lag);
        }
    }
    best.1
}

/// How much better a longer period must be: keeps the search from multiples of the true one.
const LIKENESS_MARGIN: f32 = 0.005;

/// Correlation of the newest `window` with the one `lag` before, relative to their energies; -1.0..=1.0.
fn likeness(samples: &[f32], lag: usize, window: usize) -> f32 {
    let end = samples.len();
    let newest = &samples[end - window..];
    let before = &samples[end - window - lag..end - lag];
    // One more keeps silence from dividing by nothing.
    product(newest, before) / (product(newest, newest) * product(before, before) + 1.0).sqrt()
}

/// The sum of the products, in eight sums side by side: the compiler may not reorder floats by itself.
fn product(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::pcm;
    use std::f32::consts::TAU;

    /// A voice: harmonics of `pitch_hz`.
    fn voice(block: usize, pitch_hz: f32) -> Block {
        std::array::from_fn(|i| {
            let turn = TAU * pitch_hz * (block * AUDIO_BLOCK_SAMPLES + i) as f32 / 48_000.0;
            (4_000.0 * (turn.sin() + 0.6 * (2.0 * turn).sin() + 0.3 * (5.0 * turn).sin())) as i16
        })
    }

    fn after_voice(blocks: usize, pitch_hz: f32) -> Concealer {
        let mut concealer = Concealer::default();
        (0..blocks).for_each(|i| concealer.good(&mut voice(i, pitch_hz)));
        concealer
    }

    fn largest_step(samples: &[i16]) -> i32 {
        let step = |pair: &[i16]| (i32::from(pair[1]) - i32::from(pair[0])).abs();
        samples.windows(2).map(step).max().unwrap()
    }

    #[test]
    fn a_steady_voice_goes_on_as_it_was() {
        for pitch_hz in [100.0, 137.0, 220.0, 350.0] {
            let mut concealer = after_voice(10, pitch_hz);
            let mut made_up = SILENT_BLOCK;
            concealer.conceal(&mut made_up);
            let missing = voice(10, pitch_hz);
            let error: Block = std::array::from_fn(|i| made_up[i] - missing[i]);
            let (error, signal) = (pcm::level(&error), pcm::level(&missing));
            assert!(error >= signal + 10, "{pitch_hz} Hz: error -{error}, signal -{signal}");
        }
    }

    #[test]
    fn nothing_clicks_on_the_way_into_a_hole_and_out_of_it() {
        let mut concealer = after_voice(10, 137.0);
        let mut played = voice(9, 137.0).to_vec();
        let mut block = SILENT_BLOCK;
        for _ in 0..2 {
            concealer.conceal(&mut block);
            played.extend_from_slice(&block);
        }
        let mut good = voice(12, 137.0);
        concealer.good(&mut good);
        played.extend_from_slice(&good);
        let natural = largest_step(&voice(9, 137.0));
        assert!(largest_step(&played) < natural * 3 / 2);
    }

    #[test]
    fn what_is_made_up_fades_to_silence_in_60_ms() {
        let mut concealer = after_voice(10, 137.0);
        let mut block = SILENT_BLOCK;
        let mut last_level = 0;
        for _ in 0..CONCEALED_BLOCKS_MAX {
            concealer.conceal(&mut block);
            let level = pcm::level(&block);
            assert!(level >= last_level && level < 60, "{level}");
            last_level = level;
        }
        concealer.conceal(&mut block);
        assert_eq!(block, SILENT_BLOCK);
    }

    #[test]
    fn a_block_without_a_hole_before_it_is_left_alone() {
        let mut concealer = after_voice(3, 200.0);
        let mut block = voice(3, 200.0);
        concealer.good(&mut block);
        assert_eq!(block, voice(3, 200.0));
    }

    #[test]
    fn the_end_of_a_good_block_behind_a_hole_is_left_alone() {
        let mut concealer = Concealer::default();
        concealer.conceal(&mut SILENT_BLOCK.clone());
        let mut block = voice(3, 200.0);
        concealer.good(&mut block);
        assert_eq!(block[RETURN_SAMPLES..], voice(3, 200.0)[RETURN_SAMPLES..]);
    }

    #[test]
    fn the_loudest_sounds_do_not_overflow() {
        let mut concealer = Concealer::default();
        for i in 0..20_i16 {
            let mut block = [if i % 2 == 0 { i16::MIN } else { i16::MAX }; AUDIO_BLOCK_SAMPLES];
            concealer.good(&mut block);
            concealer.conceal(&mut block);
        }
    }
}
