//! From 48 kHz to 16 kHz and back, in integers, so that both ends of a call compute the same.
//!
//! The sample of the base layer with number `i` stands at the place `3 (i - REACH) + 1` of its block: one in the middle
//! of every three, and [`REACH`] more on each side, so that a block is made from its own base layer alone and yet has no
//! edges: the neighbour's base layer has the same samples there.

use crate::limits::AUDIO_BLOCK_SAMPLES;

/// Samples of the base layer on each side of a place between two of them that have a say in it.
pub(super) const REACH: usize = 6;
/// Samples of the base layer of a block: one for every three, and those beyond its two ends.
pub(super) const BASE_SAMPLES: usize = AUDIO_BLOCK_SAMPLES / RATIO + 2 * REACH;
/// Samples at 48 kHz on each side that have a say in one of the base layer.
const SPAN: usize = 23;
/// What is needed of the sound on each side of a block to make its base layer.
pub(super) const MARGIN: usize = RATIO * REACH + SPAN;
/// A block and the sound around it.
pub(super) const WINDOW: usize = AUDIO_BLOCK_SAMPLES + 2 * MARGIN;
const RATIO: usize = 3;

/// Weights of the sound around a sample of the base layer; they sum to 2^[`DOWN_BITS`]. Only the
/// sender needs them. The zero in front makes whole vectors of them.
const DOWN: [i16; 2 * SPAN + 2] = [
    0, -24, -7, 41, 75, 30, -87, -169, -87, 147, 326, 203, -218, -577, -424, 290, 988, 856, -352, -1790, -1903, 394,
    4633, 8783, 10_512, 8783, 4633, 394, -1903, -1790, -352, 856, 988, 290, -424, -577, -218, 203, 326, 147, -87, -169,
    -87, 30, 75, 41, -7, -24,
];
const DOWN_BITS: u32 = 15;

/// Weights of the samples of the base layer for the place one third of the way from the one in the middle to the next.
/// For two thirds they stand the other way around.
const UP: [i16; 2 * REACH] = [-87, 273, -645, 1366, -3034, 13_473, 6598, -2277, 1068, -493, 195, -53];
const UP_BITS: u32 = 14;
const UP_BACKWARDS: [i16; 2 * REACH] = backwards(UP);

const fn backwards(weights: [i16; 2 * REACH]) -> [i16; 2 * REACH] {
    let mut backwards = weights;
    let mut i = 0;
    while i < weights.len() {
        backwards[i] = weights[weights.len() - 1 - i];
        i += 1;
    }
    backwards
}

/// A base layer before it is rounded, in units of 2^-[`DOWN_BITS`].
pub(super) fn downsample(sound: &[i16; WINDOW]) -> [i32; BASE_SAMPLES] {
    std::array::from_fn(|i| weigh(&DOWN, &sound[RATIO * i..]))
}

/// One of those samples, rounded to whole steps of 2^`shift`, and those that no sample could be left at the nearest.
pub(super) fn round(sample: i32, shift: u32) -> i16 {
    let bits = DOWN_BITS + shift;
    let rounded = sample.saturating_add(1 << (bits - 1)) >> bits;
    rounded.clamp(i32::from(i16::MIN >> shift), i32::from(i16::MAX >> shift)) as i16
}

/// The block that a base layer stands for; a sample between two loud ones may be more than an `i16` holds.
pub(super) fn upsample(base: &[i16; BASE_SAMPLES]) -> [i32; AUDIO_BLOCK_SAMPLES] {
    let mut block = [0; AUDIO_BLOCK_SAMPLES];
    let (threes, _) = block.as_chunks_mut::<RATIO>();
    for (i, three) in threes.iter_mut().enumerate() {
        let before = weigh(&UP_BACKWARDS, &base[i..]);
        let behind = weigh(&UP, &base[i + 1..]);
        let round = |sum: i32| (sum + (1 << (UP_BITS - 1))) >> UP_BITS;
        *three = [round(before), i32::from(base[i + REACH]), round(behind)];
    }
    block
}

/// The first samples, as many as there are weights. Fits 32 bits for weights whose sizes sum to less than 2^16.
fn weigh<const N: usize>(weights: &[i16; N], samples: &[i16]) -> i32 {
    let samples: &[i16; N] = samples.first_chunk().expect("the windows are as long as their last sample needs");
    weights.iter().zip(samples).map(|(weight, sample)| i32::from(*weight) * i32::from(*sample)).sum()
}

// The windows of the last samples.
const _: () = assert!(RATIO * (BASE_SAMPLES - 1) + DOWN.len() <= WINDOW);
const _: () = assert!(AUDIO_BLOCK_SAMPLES / RATIO + UP.len() <= BASE_SAMPLES);
