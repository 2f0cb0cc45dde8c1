//! What is done to a voice between the microphone and the network: echo cancellation, noise suppression and automatic
//! gain, each with a switch.
//!
//! The echo canceller has to hear what the speaker plays, each block before the microphone can hear it. What was chosen
//! is a [`VoiceProcessing`], what does it a [`VoiceProcessor`]; both know blocks and nothing of devices.

mod noise;
mod rumble;

use common::limits::{AUDIO_BLOCK_SAMPLES, AUDIO_CLOCK_RATE_HZ};
use serde::{Deserialize, Serialize};
use sonora::config::{AdaptiveDigital, EchoCanceller, GainController2, MaxProcessingRate, Pipeline};
use sonora::{AudioProcessing, Config, StreamConfig};

use super::{Block, DeviceChoice};
use noise::NoiseStage;
use rumble::HighPass;

/// The switches of a person. Default: all three on, and not the original sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VoiceProcessing {
    /// Takes what the speaker plays out of what the microphone hears.
    pub echo_cancellation: bool,
    /// Makes the steady noise of a room some 12 dB softer.
    pub noise_suppression: bool,
    /// Makes soft voices louder, and never a voice softer.
    pub automatic_gain: bool,
    /// Everything above is off, whatever its switch says, and comes back with this one: for music.
    pub original_sound: bool,
}

impl Default for VoiceProcessing {
    fn default() -> Self {
        Self { echo_cancellation: true, noise_suppression: true, automatic_gain: true, original_sound: false }
    }
}

impl VoiceProcessing {
    /// Blocks pass as they are.
    pub const ORIGINAL: Self =
        Self { echo_cancellation: false, noise_suppression: false, automatic_gain: false, original_sound: true };

    /// Every block passes bit by bit.
    pub fn is_exact(self) -> bool {
        self.original_sound || !(self.echo_cancellation || self.noise_suppression || self.automatic_gain)
    }

    /// What is done with this microphone; see [`VoiceProcessing::applies_to`].
    pub fn of(self, microphone: &DeviceChoice, made_up_too: bool) -> Self {
        if Self::applies_to(microphone, made_up_too) { self } else { Self::ORIGINAL }
    }

    /// Whether the switches mean anything for this microphone. A file and the test tone are no voices in a room: they
    /// pass as they are unless `made_up_too`.
    pub fn applies_to(microphone: &DeviceChoice, made_up_too: bool) -> bool {
        match microphone {
            DeviceChoice::Default | DeviceChoice::Named(_) => true,
            DeviceChoice::File(_) | DeviceChoice::Off | DeviceChoice::Synthetic => made_up_too,
        }
    }
}

/// Gain before the voice was heard, dB. The library's own 15 makes whoever speaks as loud as most do hit the limiter for
/// two seconds; without any, a soft voice takes five seconds to come up.
const GAIN_START_DB: f32 = 5.0;

/// Mono at 48 kHz, whose 10 ms are a [`Block`].
const FORMAT: StreamConfig = StreamConfig::new(AUDIO_CLOCK_RATE_HZ, 1);

/// Does what the switches say to the blocks of one microphone, in three stages: echo, noise, gain.
///
/// It lives where the engine reads the microphone, never in the callback of a device: it allocates.
#[derive(Debug, Default)]
pub struct VoiceProcessor {
    echo: Option<Box<EchoStage>>,
    noise: Option<Box<NoiseStage>>,
    gain: Option<Box<AudioProcessing>>,
}

impl VoiceProcessor {
    /// One that has heard nothing yet. It knows an echo path within a second, and a room's noise within two.
    pub fn new(chosen: VoiceProcessing) -> Self {
        let mut processor = Self::default();
        processor.choose(chosen);
        processor
    }

    /// Changes what is done from the next block on. A stage that stays keeps what it has learnt.
    pub fn choose(&mut self, chosen: VoiceProcessing) {
        let on = !chosen.original_sound;
        set(&mut self.echo, on && chosen.echo_cancellation, EchoStage::new);
        set(&mut self.noise, on && chosen.noise_suppression, NoiseStage::new);
        set(&mut self.gain, on && chosen.automatic_gain, gain_stage);
    }

    /// Hears the block that goes to the speaker next.
    pub fn played(&mut self, block: &Block) {
        if let Some(echo) = &mut self.echo {
            echo.played(block);
        }
    }

    /// Does its work on the next block of the microphone.
    pub fn process(&mut self, block: &mut Block) {
        let Self { echo, noise, gain } = self;
        if let Some(echo) = echo {
            echo.process(block);
        }
        if let Some(noise) = noise {
            noise.process(block);
        }
        if let Some(gain) = gain {
            capture(gain, block);
        }
    }
}

fn set<T>(stage: &mut Option<Box<T>>, on: bool, new: impl FnOnce() -> T) {
    if !on {
        *stage = None;
    } else if stage.is_none() {
        *stage = Some(Box::new(new()));
    }
}

/// Takes out of the microphone what the speaker plays, both without rumble.
#[derive(Debug)]
struct EchoStage {
    canceller: AudioProcessing,
    far: HighPass,
    near: HighPass,
}

impl EchoStage {
    fn new() -> Self {
        // The library's own high pass takes the ground tone of low voices away; ours leaves it.
        let canceller = EchoCanceller { enforce_high_pass_filtering: false, ..EchoCanceller::default() };
        let canceller = stage(Config { echo_canceller: Some(canceller), ..Config::default() });
        Self { canceller, far: HighPass::new(), near: HighPass::new() }
    }

    fn played(&mut self, block: &Block) {
        let mut far = *block;
        self.far.process(&mut far);
        // Refused is only another format than the one it was built with.
        let _ = self.canceller.process_render_i16(&far, &mut [0; AUDIO_BLOCK_SAMPLES]);
    }

    fn process(&mut self, block: &mut Block) {
        self.near.process(block);
        capture(&mut self.canceller, block);
    }
}

fn capture(stage: &mut AudioProcessing, block: &mut Block) {
    let mut out = [0; AUDIO_BLOCK_SAMPLES];
    if stage.process_capture_i16(block, &mut out).is_ok() {
        *block = out;
    }
}

fn gain_stage() -> AudioProcessing {
    let adaptive = AdaptiveDigital { initial_gain_db: GAIN_START_DB, ..AdaptiveDigital::default() };
    let controller = GainController2 { adaptive_digital: Some(adaptive), ..GainController2::default() };
    stage(Config { gain_controller2: Some(controller), ..Config::default() })
}

fn stage(config: Config) -> AudioProcessing {
    // The default stops at 32 kHz and would take the upper third of the sound away.
    let maximum_internal_processing_rate = MaxProcessingRate::Rate48kHz;
    let pipeline = Pipeline { maximum_internal_processing_rate, ..Pipeline::default() };
    AudioProcessing::builder()
        .config(Config { pipeline, ..config })
        .capture_config(FORMAT)
        .render_config(FORMAT)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    const FAR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/voice_a_48k.wav");
    const NEAR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/voice_b_48k.wav");
    const SECOND: usize = AUDIO_CLOCK_RATE_HZ as usize;
    const NOTHING: VoiceProcessing = VoiceProcessing {
        echo_cancellation: false,
        noise_suppression: false,
        automatic_gain: false,
        original_sound: false,
    };
    const ECHO: VoiceProcessing = VoiceProcessing { echo_cancellation: true, ..NOTHING };
    const NOISE: VoiceProcessing = VoiceProcessing { noise_suppression: true, ..NOTHING };
    const GAIN: VoiceProcessing = VoiceProcessing { automatic_gain: true, ..NOTHING };

    /// This many seconds of a voice that says its sentence again and again, at this level.
    fn voice(path: &str, secs: usize, level_dbfs: f64) -> Vec<i16> {
        let once: Vec<i16> = hound::WavReader::open(path).unwrap().into_samples().map(Result::unwrap).collect();
        let gain = level_dbfs - level(&once);
        scaled(&once, gain).into_iter().cycle().take(secs * SECOND).collect()
    }

    /// White noise, evenly distributed.
    fn noise(samples: usize, level_dbfs: f64) -> Vec<i16> {
        let mut random = StdRng::seed_from_u64(15);
        let peak = 32_768.0 * 10_f64.powf(level_dbfs / 20.0) * 3_f64.sqrt();
        (0..samples).map(|_| random.random_range(-peak..=peak).round() as i16).collect()
    }

    fn level(samples: &[i16]) -> f64 {
        let energy: f64 = samples.iter().map(|sample| (f64::from(*sample) / 32_768.0).powi(2)).sum();
        10.0 * (energy / samples.len() as f64 + 1e-12).log10()
    }

    fn scaled(samples: &[i16], db: f64) -> Vec<i16> {
        let factor = 10_f64.powf(db / 20.0);
        samples.iter().map(|sample| (f64::from(*sample) * factor).round() as i16).collect()
    }

    fn mixed(one: &[i16], other: &[i16]) -> Vec<i16> {
        one.iter().zip(other).map(|(one, other)| one.saturating_add(*other)).collect()
    }

    fn silence(samples: usize) -> Vec<i16> {
        vec![0; samples]
    }

    /// What the microphone hears of the speaker: 60 ms later and 10 dB softer.
    fn echo_of(far: &[i16]) -> Vec<i16> {
        let late = scaled(far, -10.0);
        [&silence(60 * SECOND / 1_000), &late[..far.len() - 60 * SECOND / 1_000]].concat()
    }

    fn processed(chosen: VoiceProcessing, far: &[i16], microphone: &[i16]) -> Vec<i16> {
        run(&mut VoiceProcessor::new(chosen), far, microphone)
    }

    fn run(processor: &mut VoiceProcessor, far: &[i16], microphone: &[i16]) -> Vec<i16> {
        let blocks = far.as_chunks().0.iter().zip(microphone.as_chunks().0);
        let processed = blocks.flat_map(|(played, heard)| {
            processor.played(played);
            let mut block: Block = *heard;
            processor.process(&mut block);
            block
        });
        processed.collect()
    }

    /// Greatest correlation of two sounds over all delays of the second of up to 20 ms, and that delay in samples.
    fn alike(before: &[i16], after: &[i16]) -> (f64, usize) {
        let span = before.len() - SECOND / 50;
        let power = |samples: &[i16]| samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
        let at = |delay: usize| {
            let after = &after[delay..delay + span];
            let product: f64 = before.iter().zip(after).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            (product / (power(&before[..span]) * power(after)).sqrt(), delay)
        };
        (0..SECOND / 50).map(at).max_by(|one, other| one.0.total_cmp(&other.0)).unwrap()
    }

    /// The changes of the changes: what is high in a sound, whose phase the high pass leaves alone.
    fn edges(samples: &[i16]) -> Vec<i16> {
        let bent = samples.windows(3).map(|at| i32::from(at[0]) - 2 * i32::from(at[1]) + i32::from(at[2]));
        bent.map(|value| value.clamp(-32_768, 32_767) as i16).collect()
    }

    #[test]
    fn original_sound_is_exact_and_so_is_everything_switched_off() {
        let near = voice(NEAR, 3, -20.0);
        let original = VoiceProcessing { original_sound: true, ..VoiceProcessing::default() };
        for chosen in [original, NOTHING, VoiceProcessing::ORIGINAL] {
            assert_eq!(processed(chosen, &voice(FAR, 3, -20.0), &near), near, "{chosen:?}");
        }
    }

    #[test]
    fn an_echo_is_gone_after_three_seconds() {
        let far = voice(FAR, 10, -20.0);
        let heard = mixed(&echo_of(&far), &noise(far.len(), -75.0));
        for chosen in [ECHO, VoiceProcessing::default()] {
            let out = processed(chosen, &far, &heard);
            let less = level(&heard[3 * SECOND..]) - level(&out[3 * SECOND..]);
            assert!(less > 30.0, "{less} dB {chosen:?}");
        }
    }

    #[test]
    fn who_speaks_while_others_do_is_heard() {
        let far = voice(FAR, 12, -20.0);
        let near = [silence(4 * SECOND), voice(NEAR, 8, -25.0)].concat();
        let alone = processed(ECHO, &silence(far.len()), &near);
        let out = processed(ECHO, &far, &mixed(&near, &echo_of(&far)));
        let (kept, _) = alike(&alone[4 * SECOND..], &out[4 * SECOND..]);
        let difference = level(&out[4 * SECOND..]) - level(&alone[4 * SECOND..]);
        assert!(kept > 0.85 && difference.abs() < 2.0, "{kept} {difference} dB");
    }

    #[test]
    fn with_headphones_nothing_is_lost() {
        let near = voice(NEAR, 16, -25.0);
        let alone = processed(ECHO, &silence(near.len()), &near);
        let out = processed(ECHO, &voice(FAR, 16, -20.0), &near);
        // Six seconds in which both speak all the time are enough to find out that there is no echo.
        let (kept, _) = alike(&alone[6 * SECOND..], &out[6 * SECOND..]);
        let difference = level(&out[6 * SECOND..]) - level(&alone[6 * SECOND..]);
        assert!(kept > 0.98 && difference.abs() < 0.5, "{kept} {difference} dB");
    }

    #[test]
    fn the_noise_of_a_room_falls_in_pauses_and_the_voice_does_not() {
        let speech = [silence(2 * SECOND), voice(NEAR, 6, -25.0), silence(3 * SECOND)].concat();
        let heard = mixed(&speech, &noise(speech.len(), -45.0));
        let out = processed(NOISE, &silence(heard.len()), &heard);
        for pause in [SECOND..2 * SECOND, 9 * SECOND..11 * SECOND] {
            let less = level(&heard[pause.clone()]) - level(&out[pause.clone()]);
            assert!(less > 10.0, "{less} dB in {pause:?}");
        }
        let spoken = 3 * SECOND..8 * SECOND;
        let less = level(&heard[spoken.clone()]) - level(&out[spoken]);
        assert!(less < 1.0, "{less} dB of the voice");
    }

    #[test]
    fn a_soft_voice_comes_up_within_three_seconds() {
        let soft = voice(NEAR, 9, -35.0);
        let out = processed(GAIN, &silence(soft.len()), &soft);
        let more = level(&out[3 * SECOND..6 * SECOND]) - level(&soft[3 * SECOND..6 * SECOND]);
        assert!(more > 6.0, "{more} dB");
    }

    #[test]
    fn a_loud_voice_stays_as_it_is() {
        let loud = voice(NEAR, 12, -20.0);
        let out = processed(GAIN, &silence(loud.len()), &loud);
        let difference = level(&out[6 * SECOND..]) - level(&loud[6 * SECOND..]);
        assert!(difference.abs() < 2.5, "{difference} dB");
    }

    #[test]
    fn a_clean_voice_stays_what_it_was_and_comes_16_ms_later() {
        let near = voice(NEAR, 6, -25.0);
        for (chosen, samples) in [(GAIN, 0), (ECHO, 430), (NOISE, 334), (VoiceProcessing::default(), 764)] {
            let out = processed(chosen, &silence(near.len()), &near);
            let (kept, delay) = alike(&edges(&near[3 * SECOND..]), &edges(&out[3 * SECOND..]));
            assert!(kept > 0.9 && delay.abs_diff(samples) <= 2, "{kept} {delay} {chosen:?}");
        }
    }

    #[test]
    fn a_stage_that_stays_keeps_what_it_has_learnt() {
        let far = voice(FAR, 5, -20.0);
        let heard = echo_of(&far);
        let mut processor = VoiceProcessor::new(ECHO);
        run(&mut processor, &far, &heard);
        processor.choose(VoiceProcessing { noise_suppression: true, ..ECHO });
        let out = run(&mut processor, &far, &heard);
        let less = level(&heard[..SECOND]) - level(&out[..SECOND]);
        assert!(less > 30.0, "{less} dB");
        processor.choose(VoiceProcessing { original_sound: true, ..ECHO });
        assert_eq!(run(&mut processor, &far, &heard), heard);
    }

    #[test]
    fn a_file_and_a_tone_pass_as_they_are_unless_asked_for() {
        let chosen = VoiceProcessing::default();
        for made_up in [DeviceChoice::File("voice.wav".into()), DeviceChoice::Synthetic] {
            assert!(chosen.of(&made_up, false).is_exact());
            assert_eq!(chosen.of(&made_up, true), chosen);
        }
        assert_eq!(chosen.of(&DeviceChoice::Default, false), chosen);
        assert_eq!(chosen.of(&DeviceChoice::Named("Headset".into()), false), chosen);
    }
}
