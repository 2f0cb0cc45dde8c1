//! Makes up sound where blocks are missing. The last pitch period goes on and fades, as in ITU-T G.711 appendix I, over
//! blocks of 10 ms and without its delay; where what stands behind the hole is known already, its first period leads
//! back into the hole, and the one side passes into the other. What fades passes into the sound of the room.

use crate::limits::AUDIO_BLOCK_SAMPLES;
use crate::voice::comfort::ComfortNoise;
use crate::voice::pcm::Block;
use crate::voice::pitch::{LAG_MAX, LAG_MIN, NEWEST_SAMPLES, newest_period};

/// Goes on with a speaker's sound where a block is missing, and comes back to it without a click.
#[derive(Clone, Debug)]
pub struct Concealer {
    /// What was before the hole goes on, from this position on.
    before: Cycle,
    begin: usize,
    /// What is behind the hole, if it is known.
    bridge: Option<Bridge>,
    /// What is heard where both have faded.
    noise: ComfortNoise,
    /// Samples made up since the last good block.
    made_up: usize,
}

/// What is known of the far side of a hole.
#[derive(Clone, Copy, Debug)]
pub struct FarSide<'a> {
    /// Blocks from the one that is being made up to the far side, it included; from 1 on.
    pub blocks_missing: usize,
    /// What stands there, without a gap; the more of it, up to [`FAR_SIDE_BLOCKS`], the better it is gone on with.
    pub samples: &'a [i16],
}

/// One period of a voice, made to follow itself without a step.
#[derive(Clone, Debug)]
struct Cycle {
    /// The first `lag` count.
    samples: [f32; LAG_MAX],
    lag: usize,
    /// Step from the last good sample to the first of the cycle, to be smoothed away.
    step: f32,
}

/// The far side, going on backwards; positions are samples since the last good block.
#[derive(Clone, Debug)]
struct Bridge {
    behind: Cycle,
    begin: usize,
    end: usize,
}

/// Samples of the past that [`Concealer::conceal`] looks at: the window that is compared and the longest period before
/// it.
pub const PAST_SAMPLES: usize = NEWEST_SAMPLES;
/// Blocks behind a hole that are worth looking at: the window that is compared and the longest period.
pub const FAR_SIDE_BLOCKS: usize = NEWEST_SAMPLES.div_ceil(AUDIO_BLOCK_SAMPLES);
/// Blocks in a row for which something is made up.
pub const CONCEALED_BLOCKS_MAX: usize = 6;
/// The step to the cycle is smoothed over 1 ms.
const STEP_SAMPLES: usize = 48;
/// What was made up gives way to a good block over 5 ms.
const RETURN_SAMPLES: usize = 240;
/// The first 10 ms are as loud as what was before (as G.711 appendix I).
const FADE_BEGINS: usize = AUDIO_BLOCK_SAMPLES;
/// From here on the voice is silent: 60 ms (as G.711 appendix I); a longer vowel would be an invention.
const FADE_ENDS: usize = CONCEALED_BLOCKS_MAX * AUDIO_BLOCK_SAMPLES;

impl Default for Concealer {
    fn default() -> Self {
        Self { before: Cycle::SILENT, begin: 0, bridge: None, noise: ComfortNoise::default(), made_up: 0 }
    }
}

impl Concealer {
    /// Takes a block that is there. The first one behind a hole is changed at its front, so that the made-up sound
    /// passes into it; not where the hole was filled from both sides.
    pub fn good(&mut self, block: &mut Block) {
        self.noise.learn(block);
        let joined = self.bridge.as_ref().is_some_and(|bridge| bridge.end == self.made_up);
        if self.made_up > 0 && !joined {
            for (i, sample) in block[..RETURN_SAMPLES].iter_mut().enumerate() {
                let share = (i + 1) as f32 / RETURN_SAMPLES as f32;
                let made_up = self.next_sample();
                *sample = (share * f32::from(*sample) + (1.0 - share) * made_up).round() as i16;
            }
        }
        self.made_up = 0;
        self.bridge = None;
    }

    /// Writes made-up sound behind `past`, whose newest samples are at its end; [`PAST_SAMPLES`] of it are looked at.
    /// After [`CONCEALED_BLOCKS_MAX`] there is the sound of the room, until the far side is that near.
    pub fn conceal(&mut self, past: &[i16], far_side: Option<FarSide<'_>>, made_up: &mut [i16]) {
        if self.made_up == 0 {
            self.noise.begin();
            self.go_on(past);
        }
        self.build_bridge(past, far_side);
        made_up.fill_with(|| self.next_sample().round() as i16);
    }

    /// Whether the last sample was made up.
    pub fn concealing(&self) -> bool {
        self.made_up > 0
    }

    /// Whether nothing is left of the voice, so that silence or the sound of the room is made up.
    pub fn faded(&self) -> bool {
        self.made_up >= FADE_ENDS && self.bridge.is_none()
    }

    fn go_on(&mut self, past: &[i16]) {
        self.before = Cycle::following(past.iter().copied(), None).unwrap_or(Cycle::SILENT);
        self.begin = self.made_up;
        self.bridge = None;
    }

    fn build_bridge(&mut self, past: &[i16], far_side: Option<FarSide<'_>>) {
        let Some(far_side) = far_side.filter(|side| side.blocks_missing <= CONCEALED_BLOCKS_MAX) else {
            return;
        };
        let (begin, end) = (self.made_up, self.made_up + far_side.blocks_missing * AUDIO_BLOCK_SAMPLES);
        match &self.bridge {
            Some(bridge) if bridge.end == end => return,
            // A part of the hole was filled: what is made up of two sides already goes on from here.
            Some(_) => self.go_on(past),
            None => {}
        }
        let behind = Cycle::following(far_side.samples.iter().rev().copied(), Some(self.before.lag));
        self.bridge = behind.map(|behind| Bridge { behind, begin, end });
    }

    fn next_sample(&mut self) -> f32 {
        let mut gain = fade(self.made_up);
        let mut sample = if gain > 0.0 { gain * self.before.at(self.made_up - self.begin) } else { 0.0 };
        if let Some(bridge) = self.bridge.as_ref().filter(|bridge| self.made_up < bridge.end) {
            let left = bridge.end - 1 - self.made_up;
            let share = bridge.share(self.made_up);
            sample += share * (fade(left) * bridge.behind.at(left) - sample);
            gain += share * (fade(left) - gain);
        }
        self.made_up = self.made_up.saturating_add(1);
        if gain < 1.0 {
            sample += (1.0 - gain) * self.noise.next_sample();
        }
        sample.clamp(f32::from(i16::MIN), f32::from(i16::MAX))
    }
}

impl Cycle {
    const SILENT: Self = Self { samples: [0.0; LAG_MAX], lag: LAG_MIN, step: 0.0 };

    /// Goes on behind `past`. Where it is too short to tell, the period is `otherwise`; none if that is too long.
    fn following(past: impl DoubleEndedIterator<Item = i16>, otherwise: Option<usize>) -> Option<Self> {
        let mut newest = [0.0; NEWEST_SAMPLES];
        let mut length = 0;
        for (place, sample) in newest.iter_mut().rev().zip(past.rev()) {
            *place = f32::from(sample);
            length += 1;
        }
        let newest = &newest[NEWEST_SAMPLES - length..];
        let found = newest_period(newest).map(|period| period.lag);
        let lag = otherwise.filter(|lag| *lag > length / 2).or(found)?;
        (lag <= length).then(|| Self::repeating(newest, lag))
    }

    fn repeating(past: &[f32], lag: usize) -> Self {
        let (before, period) = past.split_at(past.len() - lag);
        let mut cycle = Self { lag, ..Self::SILENT };
        cycle.samples[..lag].copy_from_slice(period);
        cycle.step = before.last().map_or(0.0, |last| period[lag - 1] - last);
        // The last quarter passes into what stood before the period, so that its end meets its beginning.
        let quarter = (lag / 4).min(before.len());
        for i in 0..quarter {
            let share = (i + 1) as f32 / quarter as f32;
            let sample = &mut cycle.samples[lag - quarter + i];
            *sample += share * (before[before.len() - quarter + i] - *sample);
        }
        cycle
    }

    /// The sample that comes `index` samples later than the first one.
    fn at(&self, index: usize) -> f32 {
        let smoothing = STEP_SAMPLES.saturating_sub(index) as f32 / STEP_SAMPLES as f32;
        self.samples[index % self.lag] + self.step * smoothing
    }
}

impl Bridge {
    /// How much of the far side there is in a sample: a smooth step from one side to the other.
    fn share(&self, position: usize) -> f32 {
        let way = (position + 1 - self.begin) as f32 / (self.end + 1 - self.begin) as f32;
        way * way * (3.0 - 2.0 * way)
    }
}

/// How loud a voice is that goes on for so many samples, 0.0..=1.0.
fn fade(made_up: usize) -> f32 {
    let left = FADE_ENDS.saturating_sub(made_up) as f32;
    (left / (FADE_ENDS - FADE_BEGINS) as f32).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voice::pcm::{self, SILENT_BLOCK};
    use std::f32::consts::TAU;

    /// A voice: harmonics of `pitch_hz`.
    fn voice(block: usize, pitch_hz: f32) -> Block {
        std::array::from_fn(|i| {
            let turn = TAU * pitch_hz * (block * AUDIO_BLOCK_SAMPLES + i) as f32 / 48_000.0;
            (4_000.0 * (turn.sin() + 0.6 * (2.0 * turn).sin() + 0.3 * (5.0 * turn).sin())) as i16
        })
    }

    fn voices(blocks: std::ops::Range<usize>, pitch_hz: f32) -> Vec<i16> {
        blocks.flat_map(|block| voice(block, pitch_hz)).collect()
    }

    /// Fills a hole of `missing` blocks behind ten good ones, of which `known` blocks of the far side are known.
    fn filled(missing: usize, known: usize, pitch_hz: f32) -> Vec<i16> {
        let mut concealer = Concealer::default();
        let mut played = voices(0..10, pitch_hz);
        let far_side = voices(10 + missing..10 + missing + known, pitch_hz);
        let mut block = SILENT_BLOCK;
        for blocks_missing in (1..=missing).rev() {
            let side = FarSide { blocks_missing, samples: &far_side };
            concealer.conceal(&played, (known > 0).then_some(side), &mut block);
            played.extend_from_slice(&block);
        }
        let mut good = voice(10 + missing, pitch_hz);
        concealer.good(&mut good);
        played.extend_from_slice(&good);
        played
    }

    fn level_of_error(played: &[i16], pitch_hz: f32, blocks: std::ops::Range<usize>) -> u8 {
        let there = voices(blocks.clone(), pitch_hz);
        let played = &played[blocks.start * AUDIO_BLOCK_SAMPLES..];
        let error: Vec<i16> = there.iter().zip(played).map(|(a, b)| a.saturating_sub(*b)).collect();
        pcm::level(&error)
    }

    fn largest_step(samples: &[i16]) -> i32 {
        let step = |pair: &[i16]| (i32::from(pair[1]) - i32::from(pair[0])).abs();
        samples.windows(2).map(step).max().unwrap()
    }

    #[test]
    fn a_steady_voice_goes_on_as_it_was() {
        for pitch_hz in [100.0, 137.0, 220.0, 350.0] {
            let error = level_of_error(&filled(1, 0, pitch_hz), pitch_hz, 10..11);
            let signal = pcm::level(&voice(10, pitch_hz));
            assert!(error >= signal + 10, "{pitch_hz} Hz: error -{error}, signal -{signal}");
        }
    }

    #[test]
    fn both_sides_fill_a_hole_better_than_one() {
        for pitch_hz in [137.0, 220.0, 350.0] {
            let one = level_of_error(&filled(4, 0, pitch_hz), pitch_hz, 10..14);
            let two = level_of_error(&filled(4, 4, pitch_hz), pitch_hz, 10..14);
            assert!(two >= one + 4, "{pitch_hz} Hz: one side -{one}, two sides -{two}");
        }
    }

    #[test]
    fn a_good_block_behind_a_bridge_is_left_alone() {
        let played = filled(2, 3, 220.0);
        assert_eq!(played[12 * AUDIO_BLOCK_SAMPLES..], voice(12, 220.0));
    }

    #[test]
    fn nothing_clicks_on_the_way_into_a_hole_and_out_of_it() {
        for known in 0..=4 {
            for missing in 1..=4 {
                let played = filled(missing, known, 137.0);
                let natural = largest_step(&voice(9, 137.0));
                let step = largest_step(&played);
                assert!(step < natural * 3 / 2, "{missing} missing, {known} known: {step}");
            }
        }
    }

    #[test]
    fn a_far_side_that_comes_nearer_does_not_click() {
        let mut concealer = Concealer::default();
        let mut played = voices(0..10, 220.0);
        let mut block = SILENT_BLOCK;
        for (blocks_missing, far) in [(4, 14), (1, 12)] {
            let samples = &voices(far..far + 3, 220.0);
            concealer.conceal(&played, Some(FarSide { blocks_missing, samples }), &mut block);
            played.extend_from_slice(&block);
        }
        let mut good = voice(12, 220.0);
        concealer.good(&mut good);
        played.extend_from_slice(&good);
        assert!(largest_step(&played) < largest_step(&voice(9, 220.0)) * 3 / 2);
    }

    #[test]
    fn what_is_made_up_fades_to_silence_in_60_ms() {
        let mut concealer = Concealer::default();
        let past = voices(0..10, 137.0);
        let mut block = SILENT_BLOCK;
        let mut last_level = 0;
        for _ in 0..CONCEALED_BLOCKS_MAX {
            concealer.conceal(&past, None, &mut block);
            let level = pcm::level(&block);
            assert!(level >= last_level && level < 60, "{level}");
            last_level = level;
        }
        concealer.conceal(&past, None, &mut block);
        assert_eq!(block, SILENT_BLOCK);
    }

    #[test]
    fn a_long_hole_sounds_like_the_room() {
        let mut concealer = Concealer::default();
        let mut random = 1_u32;
        let mut room = || -> Block {
            std::array::from_fn(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 24) as i16 - 128
            })
        };
        (0..40).for_each(|_| concealer.good(&mut room()));
        let mut past: Vec<i16> = (0..4).flat_map(|_| room()).collect();
        let mut made_up = SILENT_BLOCK;
        for _ in 0..50 {
            concealer.conceal(&past, None, &mut made_up);
            past.extend_from_slice(&made_up);
        }
        let (there, here) = (pcm::level(&room()), pcm::level(&made_up));
        assert!(there.abs_diff(here) <= 3, "room -{there}, made up -{here}");
    }

    #[test]
    fn a_block_without_a_hole_before_it_is_left_alone() {
        let mut concealer = Concealer::default();
        let mut block = voice(3, 200.0);
        concealer.good(&mut block);
        assert_eq!(block, voice(3, 200.0));
    }

    #[test]
    fn the_end_of_a_good_block_behind_a_hole_is_left_alone() {
        let mut concealer = Concealer::default();
        concealer.conceal(&[], None, &mut SILENT_BLOCK.clone());
        let mut block = voice(3, 200.0);
        concealer.good(&mut block);
        assert_eq!(block[RETURN_SAMPLES..], voice(3, 200.0)[RETURN_SAMPLES..]);
    }

    #[test]
    fn the_loudest_sounds_do_not_overflow() {
        let mut concealer = Concealer::default();
        let square = |i: usize| if (i / 100).is_multiple_of(2) { i16::MIN } else { i16::MAX };
        let past: Vec<i16> = (0..PAST_SAMPLES).map(square).collect();
        for known in [0, 1, 100, 480, 960, 3_000] {
            let mut block: Block = std::array::from_fn(square);
            let far_side: Vec<i16> = (0..known).map(square).collect();
            concealer.conceal(&past, Some(FarSide { blocks_missing: 1, samples: &far_side }), &mut block);
            concealer.good(&mut block);
        }
    }
}
