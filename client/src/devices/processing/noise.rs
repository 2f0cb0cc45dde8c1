//! Noise suppression by itself, without the high pass at 100 Hz that the library's own pipeline puts in front of it.
//!
//! That filter takes the ground tone of a low voice away; without it a clean voice keeps most of its quality, and a noisy
//! one gains more (docs/decisions/0015-voice-processing.md).

use std::fmt;

use sonora::three_band_filter_bank::ThreeBandFilterBank;
use sonora_ns::config::{NsConfig, SuppressionLevel};
use sonora_ns::noise_suppressor::NoiseSuppressor;

use super::Block;

/// Bands of 8 kHz each: up to 8, 16 and 24 kHz.
const BANDS: usize = 3;

/// Makes the steady part of the sound softer, and 7 ms later.
pub(super) struct NoiseStage {
    split: ThreeBandFilterBank,
    suppressor: NoiseSuppressor,
    whole: [f32; BLOCK_SAMPLES],
    bands: [[f32; BLOCK_SAMPLES / BANDS]; BANDS],
}

const BLOCK_SAMPLES: usize = common::limits::AUDIO_BLOCK_SAMPLES;

impl NoiseStage {
    pub(super) fn new() -> Self {
        Self {
            split: ThreeBandFilterBank::new(),
            suppressor: NoiseSuppressor::new_with_bands(NsConfig { target_level: SuppressionLevel::K12dB }, BANDS),
            whole: [0.0; BLOCK_SAMPLES],
            bands: [[0.0; BLOCK_SAMPLES / BANDS]; BANDS],
        }
    }

    pub(super) fn process(&mut self, block: &mut Block) {
        let Self { split, suppressor, whole, bands } = self;
        for (value, sample) in whole.iter_mut().zip(&*block) {
            *value = f32::from(*sample);
        }
        split.analysis(whole, bands);
        let [voice, upper @ ..] = bands;
        suppressor.analyze(voice);
        suppressor.process(voice);
        // Where there are no voices, one gain will do.
        let gain = suppressor.upper_band_gain();
        for (index, band) in upper.iter_mut().enumerate() {
            suppressor.process_upper_band(band, index, gain);
        }
        split.synthesis(bands, whole);
        for (sample, value) in block.iter_mut().zip(&*whole) {
            // `as` keeps to the ends of the range.
            *sample = value.round() as i16;
        }
    }
}

impl fmt::Debug for NoiseStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoiseStage").finish_non_exhaustive()
    }
}
