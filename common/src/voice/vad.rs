//! Tells speech from the noise of a room, so that silence is not sent.
//!
//! The noise is learnt from the softest blocks of the last three seconds: how loud it is and how much that varies. What
//! stands out of it is speech. That is asked of the whole sound and once more of the band in which voices are: a soft
//! vowel stands out of a hiss there, and the rumble of a fan or a street, whose level jumps from block to block, is not
//! in it.

use crate::limits::AUDIO_CLOCK_RATE_HZ;
use crate::voice::pcm::{Block, decibels, mean_square};

/// Decides for one microphone which blocks are sent.
///
/// A noise louder than -45 dBov or so is not taken for one, so music and steady tones always pass. A pause shorter than
/// the hangover is part of the speech around it.
#[derive(Clone, Debug)]
pub struct SilenceGate {
    whole: Noise,
    voice: Noise,
    band: VoiceBand,
    /// Blocks heard, modulo the window.
    at: usize,
    /// Blocks that still count as speech.
    hangover: u32,
}

/// 500 ms: the gap between two words, or the soft end of one.
const HANGOVER_BLOCKS: u32 = 50;

impl Default for SilenceGate {
    fn default() -> Self {
        Self {
            whole: Noise::new(WHOLE_MARGIN_MAX),
            voice: Noise::new(VOICE_MARGIN_MAX),
            band: VoiceBand::default(),
            at: 0,
            hangover: 0,
        }
    }
}

impl SilenceGate {
    /// Whether this block, the next one of the microphone, is to be sent.
    pub fn speaks(&mut self, block: &Block) -> bool {
        let whole = self.whole.stands_out(self.at, decibels(mean_square(block)));
        let voice = self.voice.stands_out(self.at, decibels(self.band.mean_square(block)));
        self.at = (self.at + 1) % WINDOW_BLOCKS;
        let stands_out = whole || voice;
        let speaks = stands_out || self.hangover > 0;
        self.hangover = if stands_out { HANGOVER_BLOCKS } else { self.hangover.saturating_sub(1) };
        speaks
    }
}

/// Blocks from which the noise is learnt, 3 s: nobody speaks as long as that without the gaps that [`SOFTEST`] asks for.
const WINDOW_BLOCKS: usize = 300;
/// Blocks between two looks at the window.
const LOOK_BLOCKS: usize = 10;
/// Places among the blocks of the window, sorted by level, that are noise even while somebody speaks: 5 and 20 %.
const SOFTEST: (usize, usize) = (WINDOW_BLOCKS / 20, WINDOW_BLOCKS / 5);
/// Where 5 and 20 % of a normal distribution lie, in standard deviations below its mean.
const SOFTEST_DEVIATIONS: (f32, f32) = (1.64, 0.84);
/// Speech stands at least this far out of the mean of the noise, dB.
const MARGIN_MIN: f32 = 3.0;
/// And as many standard deviations: a false alarm costs a hangover, so one in 10,000 blocks is too many.
const MARGIN_DEVIATIONS: f32 = 5.0;
/// It never has to stand further than this out of the softest blocks, dB, or those who speak without a pause would be
/// taken for a very uneven noise.
const VOICE_MARGIN_MAX: f32 = 9.0;
/// The same of the whole sound, in which rumble is a very uneven noise.
const WHOLE_MARGIN_MAX: f32 = 15.0;
/// What is louder is sent whatever the noise is, dBov.
const THRESHOLD_MAX: f32 = -36.0;
/// What is softer is the noise of a converter, dBov.
const THRESHOLD_MIN: f32 = -75.0;
/// Where the noise is assumed before it was heard, dBov: a very quiet room; errs towards sending.
const NOISE_START: f32 = -70.0;

/// The noise in one band.
#[derive(Clone, Debug)]
struct Noise {
    /// Of the last three seconds, dBov, in no order that matters.
    levels: [f32; WINDOW_BLOCKS],
    margin_max: f32,
    /// What is louder is speech, dBov.
    threshold: f32,
}

impl Noise {
    fn new(margin_max: f32) -> Self {
        Self { levels: [NOISE_START; WINDOW_BLOCKS], margin_max, threshold: NOISE_START + MARGIN_MIN }
    }

    /// Takes the level of a block in the place of the one of three seconds ago; answers whether it is speech.
    fn stands_out(&mut self, at: usize, level: f32) -> bool {
        self.levels[at] = level;
        if at.is_multiple_of(LOOK_BLOCKS) {
            self.threshold = self.look();
        }
        level > self.threshold
    }

    fn look(&self) -> f32 {
        let mut levels = self.levels;
        levels.sort_unstable_by(f32::total_cmp);
        let (softest, softer) = (levels[SOFTEST.0], levels[SOFTEST.1]);
        let deviation = (softer - softest) / (SOFTEST_DEVIATIONS.0 - SOFTEST_DEVIATIONS.1);
        let mean = softest + SOFTEST_DEVIATIONS.0 * deviation;
        let threshold = mean + MARGIN_MIN.max(MARGIN_DEVIATIONS * deviation);
        threshold.min(softest + self.margin_max).clamp(THRESHOLD_MIN, THRESHOLD_MAX)
    }
}

/// Lets 300 to 4,000 Hz pass, by a pole at each end.
#[derive(Clone, Debug, Default)]
struct VoiceBand {
    below: f32,
    passed: f32,
}

/// Share of the way that a low pass of one pole goes towards each sample: 1 - exp(-2π f / rate), for small f.
const fn pole(hertz: f32) -> f32 {
    let turn = std::f32::consts::TAU * hertz / AUDIO_CLOCK_RATE_HZ as f32;
    turn - turn * turn / 2.0 + turn * turn * turn / 6.0
}

const BELOW_VOICES: f32 = pole(300.0);
const UP_TO_VOICES: f32 = pole(4_000.0);

impl VoiceBand {
    fn mean_square(&mut self, block: &Block) -> f32 {
        let mut sum = 0.0;
        for sample in block {
            let sample = f32::from(*sample);
            self.below += BELOW_VOICES * (sample - self.below);
            self.passed += UP_TO_VOICES * (sample - self.below - self.passed);
            sum += self.passed * self.passed;
        }
        sum / block.len() as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voice::pcm::SILENT_BLOCK;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    const VOICES: [&[u8]; 2] =
        [include_bytes!("../../../assets/voice_a_48k.wav"), include_bytes!("../../../assets/voice_b_48k.wav")];
    /// Bytes in front of the samples of these files.
    const WAV_HEADER: usize = 44;

    fn square(amplitude: i16) -> Block {
        std::array::from_fn(|i| if i / 24 % 2 == 0 { amplitude } else { -amplitude })
    }

    fn noise(random: &mut StdRng, amplitude: i16) -> Block {
        std::array::from_fn(|_| random.random_range(-amplitude..=amplitude))
    }

    fn level(samples: &[i16]) -> f32 {
        decibels(mean_square(samples))
    }

    fn at_level(samples: &[f32], dbov: f32) -> Vec<i16> {
        let mean = samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32;
        let gain = 10_f32.powf((dbov - decibels(mean)) / 20.0);
        samples.iter().map(|sample| (sample * gain).round() as i16).collect()
    }

    fn voice(wav: &[u8], dbov: f32) -> Vec<i16> {
        let pairs = wav[WAV_HEADER..].as_chunks().0.iter();
        at_level(&pairs.map(|pair| f32::from(i16::from_le_bytes(*pair))).collect::<Vec<_>>(), dbov)
    }

    /// White noise, or what a low pass at `up_to_hz` leaves of it.
    fn room(samples: usize, up_to_hz: Option<f32>, dbov: f32) -> Vec<i16> {
        let mut random = StdRng::seed_from_u64(9);
        let step = up_to_hz.map_or(1.0, pole);
        let mut passed = 0.0;
        let heard = (0..samples).map(|_| {
            passed += step * (random.random_range(-10_000.0..10_000.0) - passed);
            passed
        });
        at_level(&heard.collect::<Vec<_>>(), dbov)
    }

    /// Ten seconds without a word, the voice twice, ten seconds, the voice, ten seconds: what is said, and what is heard.
    fn scene(wav: &[u8], dbov: f32, hum: Option<f32>, noise_dbov: f32) -> (Vec<Block>, Vec<Block>) {
        let (said, pause) = (voice(wav, dbov), vec![0; 10 * AUDIO_CLOCK_RATE_HZ as usize]);
        let said = [&pause[..], &said, &said, &pause, &said, &pause].concat();
        let room = room(said.len(), hum, noise_dbov);
        let heard: Vec<i16> = said.iter().zip(&room).map(|(said, room)| said.saturating_add(*room)).collect();
        (said.as_chunks().0.to_vec(), heard.as_chunks().0.to_vec())
    }

    /// Shares of the voiced blocks, within 20 dB of the voice's level, and of the seconds of mere noise that are sent.
    fn sent(wav: &[u8], dbov: f32, hum: Option<f32>, noise_dbov: f32) -> (f32, f32) {
        let (said, heard) = scene(wav, dbov, hum, noise_dbov);
        let mut gate = SilenceGate::default();
        let passed: Vec<bool> = heard.iter().map(|block| gate.speaks(block)).collect();
        let voiced = said.iter().zip(&passed).filter(|(said, _)| level(*said) > dbov - 20.0);
        let (voiced, kept) = voiced.fold((0, 0), |(all, kept), (_, passed)| (all + 1, kept + u32::from(*passed)));
        // The first four seconds are for learning, and the second after each word for the hangover.
        let silent =
            |second: &usize| said[second.saturating_sub(1) * 100..(second + 1) * 100].concat().iter().all(|s| *s == 0);
        let quiet: Vec<usize> = (4..said.len() / 100).filter(silent).collect();
        let let_through = quiet.iter().filter(|second| passed[**second * 100..][..100].contains(&true)).count();
        (kept as f32 / voiced as f32, let_through as f32 / quiet.len() as f32)
    }

    #[test]
    fn voices_are_sent_and_the_noise_of_a_room_is_not() {
        for wav in VOICES {
            for (dbov, noise_dbov) in [(-20.0, -60.0), (-20.0, -50.0), (-35.0, -60.0), (-35.0, -50.0)] {
                let (voiced, noise) = sent(wav, dbov, None, noise_dbov);
                assert!(voiced >= 0.99 && noise <= 0.05, "{voiced} {noise} at {dbov} in {noise_dbov}");
            }
        }
    }

    #[test]
    fn the_rumble_of_a_street_is_not_sent_either() {
        for wav in VOICES {
            for hum in [60.0, 200.0, 1_000.0] {
                for (dbov, noise_dbov) in [(-20.0, -60.0), (-20.0, -50.0), (-35.0, -60.0), (-35.0, -50.0)] {
                    let (voiced, noise) = sent(wav, dbov, Some(hum), noise_dbov);
                    assert!(voiced >= 0.95 && noise <= 0.05, "{voiced} {noise} {hum} Hz at {dbov} in {noise_dbov}");
                }
            }
        }
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
    fn speech_passes_at_once_and_half_a_second_beyond_its_end() {
        let mut random = StdRng::seed_from_u64(2);
        let mut gate = SilenceGate::default();
        for _ in 0..1_000 {
            gate.speaks(&noise(&mut random, 100));
        }
        assert!((0..50).all(|_| gate.speaks(&noise(&mut random, 2_000))));
        let tail = (0..100).take_while(|_| gate.speaks(&noise(&mut random, 100))).count();
        // What the filter of the voice band holds of the last word may count for one more.
        assert!((50..=51).contains(&tail), "{tail}");
    }

    #[test]
    fn a_steady_tone_is_never_taken_for_noise() {
        let mut gate = SilenceGate::default();
        assert!((0..60_000).all(|_| gate.speaks(&square(1_000))));
    }

    #[test]
    fn a_shift_of_all_samples_is_not_a_sound() {
        let mut random = StdRng::seed_from_u64(3);
        let mut gate = SilenceGate::default();
        let shifted = |random: &mut StdRng| noise(random, 20).map(|sample| sample + 100);
        for _ in 0..400 {
            gate.speaks(&shifted(&mut random));
        }
        assert!((0..500).all(|_| !gate.speaks(&shifted(&mut random))));
    }
}
