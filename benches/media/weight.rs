//! A4: what a voice weighs in packets, and what packing it costs: the shipped packer on the voices in `assets/`, as they are
//! and with the noise of a room, beside a coder of the same kind in one layer. The times are those of this machine.

use std::hint::black_box;
use std::time::Instant;

use common::limits::AUDIO_BLOCK_SAMPLES;
use common::voice::pack::{self, LOOK_AHEAD_SAMPLES, Packed, Packer};
use common::voice::pcm::{Block, SILENT_BLOCK};
use common::wire::audio::{AudioDetail, BLOCK_BYTES, Sound};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::Options;
use crate::desk::voice;
use crate::figures::{Figure, Figures, Goal, quantile};
use crate::judge::Judge;

pub(crate) fn add(figures: &mut Figures, options: &Options) {
    let judge = Judge::new(options.python.as_deref(), "weight");
    for name in ["voice_a", "voice_b"] {
        let clean = voice(name);
        weigh(figures, name, &clean, Some(Goal::AtMost(45.0)));
        weigh(figures, &format!("{name} and noise of -60 dBFS"), &with_noise(&clean, -60.0), None);
        weigh(figures, &format!("{name} and noise of -50 dBFS"), &with_noise(&clean, -50.0), None);
        reduce(figures, name, &clean, judge.as_ref());
    }
    time(figures, &voice("voice_a"));
}

/// The bit rate of the samples as they are, kbit/s.
const RAW_KBPS: f64 = 768.0;
const BLOCKS_PER_SEC: f64 = 100.0;

/// White noise of that level; a level in dBFS is that of its root mean square under a full-scale sample.
fn with_noise(sound: &[i16], level_dbfs: f64) -> Vec<i16> {
    let mut random = StdRng::seed_from_u64(1);
    // Even between -1 and 1 has a root mean square of the third's root.
    let amplitude = 32_768.0 * 10_f64.powf(level_dbfs / 20.0) * 3_f64.sqrt();
    let mut noise = || amplitude * random.random_range(-1.0..1.0);
    sound.iter().map(|sample| (f64::from(*sample) + noise()).round() as i16).collect()
}

fn packed(sound: &[i16], detail: AudioDetail) -> Vec<(Block, Packed)> {
    let mut packer = Packer::default();
    let (blocks, _) = sound.as_chunks();
    let pack = |block| {
        packer.push(block);
        (*packer.block(), packer.pack(detail))
    };
    blocks.iter().map(pack).collect()
}

/// The exact form, in shares of the samples; every block is unpacked and compared.
fn weigh(figures: &mut Figures, name: &str, sound: &[i16], goal: Option<Goal>) {
    let blocks = packed(sound, AudioDetail::Exact);
    let exact = blocks.iter().all(|(block, packed)| {
        let mut unpacked = SILENT_BLOCK;
        pack::unpack(packed.sound(), &mut unpacked).is_ok() && unpacked == *block
    });
    let percent = |bytes: usize| 100.0 * bytes as f64 / (blocks.len() * BLOCK_BYTES) as f64;
    let both = percent(blocks.iter().map(|(_, packed)| bytes(packed.sound())).sum());
    let base = percent(blocks.iter().map(|(_, packed)| packed.base().len()).sum());
    let single = percent(blocks.iter().map(|(block, _)| single_layer_bytes(block)).sum());
    figures.add(Figure {
        row: "A4",
        what: format!("{name}, exact: both layers, of {RAW_KBPS} kbit/s; the base alone has {base:.1} %"),
        value: exact.then_some(both),
        unit: "% of raw",
        goal,
        others: Some(format!("one layer, best fixed predictor and Rice parameter for each eighth: {single:.1} %")),
    });
}

fn bytes(sound: Sound<'_>) -> usize {
    match sound {
        Sound::L16(samples) => samples.len(),
        Sound::Packed { base, enhancement } => base.len() + enhancement.len(),
    }
}

/// A block in one layer as FLAC's subset of fixed predictors writes it, without headers of a frame.
fn single_layer_bytes(block: &Block) -> usize {
    let mut differences = block.map(i32::from);
    let mut best = usize::MAX;
    for order in 0..4 {
        if order > 0 {
            (order..block.len()).rev().for_each(|i| differences[i] -= differences[i - 1]);
        }
        let rice = |part: &[i32]| {
            let folded = part.iter().map(|value| (value << 1 ^ value >> 31) as u32);
            (0..16).map(|k| folded.clone().map(|value| (value >> k) as usize + 1 + k).sum::<usize>()).min()
        };
        let parts = differences[order..].chunks(AUDIO_BLOCK_SAMPLES / 8);
        best = best.min(8 + 16 * order + parts.map(|part| 4 + rice(part).unwrap_or(0)).sum::<usize>());
    }
    best.div_ceil(8)
}

/// The reduced form: what it takes, and how it sounds.
fn reduce(figures: &mut Figures, name: &str, sound: &[i16], judge: Option<&Judge<'_>>) {
    let blocks = packed(sound, AudioDetail::Base);
    let bytes: usize = blocks.iter().map(|(_, packed)| packed.base().len()).sum();
    figures.add(Figure {
        row: "A4",
        what: format!("{name}: the base layer alone"),
        value: Some(bytes as f64 * 8.0 * BLOCKS_PER_SEC / blocks.len() as f64 / 1e3),
        unit: "kbit/s",
        goal: Some(Goal::AtMost(90.0)),
        others: None,
    });
    let heard: Vec<i16> = blocks.iter().flat_map(|(_, packed)| alone(packed)).collect();
    figures.add(Figure {
        row: "A4",
        what: format!("{name}: the base layer alone, 16 kHz and 12 bit"),
        value: judge.and_then(|judge| judge.pesq(&[(sound, heard[LOOK_AHEAD_SAMPLES..].to_vec())])?.first().copied()),
        unit: "PESQ-WB",
        goal: Some(Goal::AtLeast(4.3)),
        others: Some("G.711: 3.1 to 3.75 at 64 kbit/s".into()),
    });
}

fn alone(packed: &Packed) -> Block {
    let mut block = SILENT_BLOCK;
    pack::unpack_base(packed.base(), &mut block).expect("it was packed");
    block
}

/// CPU time of one block each way.
fn time(figures: &mut Figures, sound: &[i16]) {
    for (name, detail) in [("exact", AudioDetail::Exact), ("base", AudioDetail::Base)] {
        let mut packer = Packer::default();
        let (blocks, _) = sound.as_chunks::<AUDIO_BLOCK_SAMPLES>();
        let packing: Vec<f64> = rounds(blocks, |block| {
            packer.push(block);
            black_box(packer.pack(detail));
        });
        let packed: Vec<Packed> = packed(sound, detail).into_iter().map(|(_, packed)| packed).collect();
        let unpacking = rounds(&packed, |packed| {
            let mut block = SILENT_BLOCK;
            pack::unpack(black_box(packed).sound(), &mut block).expect("it was packed");
            black_box(block);
        });
        for (work, times) in [("packed", packing), ("unpacked", unpacking)] {
            figures.add(Figure {
                row: "A4",
                what: format!("a block of 10 ms is {work}, {name}, voice_a, median; by this machine's clock"),
                value: quantile(&times, 0.5),
                unit: "µs",
                goal: Some(Goal::AtMost(10.0)),
                others: None,
            });
        }
    }
}

const ROUNDS: usize = 20;

/// Microseconds of each call.
fn rounds<T>(items: &[T], mut work: impl FnMut(&T)) -> Vec<f64> {
    let mut timed = |item| {
        let start = Instant::now();
        work(item);
        start.elapsed().as_secs_f64() * 1e6
    };
    (0..ROUNDS).flat_map(|_| items.iter().map(&mut timed).collect::<Vec<_>>()).collect()
}
