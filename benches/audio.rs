//! What does a voice weigh in packets, and what does packing it cost? The shipped packer on the voices in `assets/`,
//! as they are and with the noise of a room, beside a coder of the same kind in one layer.
//!
//! `--pesq PYTHON` names a Python that has the packages pesq and numpy, and the reduced form is listened to as well.

mod figures;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use common::limits::AUDIO_BLOCK_SAMPLES;
use common::media::pack::{self, AudioDetail, LOOK_AHEAD_SAMPLES, Packed, Packer};
use common::media::pcm::{BLOCK_BYTES, Block, SILENT_BLOCK};
use common::wire::audio::Sound;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use figures::{Figure, Figures, Goal, quantile};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let python = arguments.iter().position(|argument| argument == "--pesq").map(|at| PathBuf::from(&arguments[at + 1]));
    let mut figures = Figures::new("audio");
    for name in ["voice_a", "voice_b"] {
        let clean = voice(name);
        weigh(&mut figures, name, &clean, Some(Goal::AtMost(45.0)));
        weigh(&mut figures, &format!("{name} and noise of -60 dBFS"), &with_noise(&clean, -60.0), None);
        weigh(&mut figures, &format!("{name} and noise of -50 dBFS"), &with_noise(&clean, -50.0), None);
        reduce(&mut figures, name, &clean, python.as_deref());
    }
    time(&mut figures, &voice("voice_a"));
    figures.finish();
}

/// The bit rate of the samples as they are, kbit/s.
const RAW_KBPS: f64 = 768.0;
const BLOCKS_PER_SEC: f64 = 100.0;

fn voice(name: &str) -> Vec<i16> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(format!("{name}_48k.wav"));
    let wav = std::fs::read(path).expect("the asset is there");
    let data = wav.windows(4).position(|name| name == b"data").expect("a WAV has data");
    let (samples, _) = wav[data + 8..].as_chunks();
    samples.iter().map(|sample| i16::from_le_bytes(*sample)).collect()
}

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
        row: "exact",
        what: format!("{name}: both layers, of {RAW_KBPS} kbit/s; the base alone has {base:.1} %"),
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
fn reduce(figures: &mut Figures, name: &str, sound: &[i16], python: Option<&Path>) {
    let blocks = packed(sound, AudioDetail::Base);
    let bytes: usize = blocks.iter().map(|(_, packed)| packed.base().len()).sum();
    figures.add(Figure {
        row: "reduced",
        what: format!("{name}: the base layer alone"),
        value: Some(bytes as f64 * 8.0 * BLOCKS_PER_SEC / blocks.len() as f64 / 1e3),
        unit: "kbit/s",
        goal: Some(Goal::AtMost(90.0)),
        others: None,
    });
    let heard: Vec<i16> = blocks.iter().flat_map(|(_, packed)| alone(packed)).collect();
    figures.add(Figure {
        row: "reduced sound",
        what: format!("{name}: the base layer alone (--pesq PYTHON)"),
        value: python.and_then(|python| pesq(python, sound, &heard[LOOK_AHEAD_SAMPLES..])),
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

/// Both at 48 kHz.
fn pesq(python: &Path, sound: &[i16], heard: &[i16]) -> Option<f64> {
    let folder = std::env::temp_dir();
    let raw = |name: &str, samples: &[i16]| {
        let path = folder.join(format!("conclave-bench-{}-{name}.s16", std::process::id()));
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        std::fs::write(&path, bytes).expect("the folder for temporary files can be written to");
        path
    };
    let files = [raw("said", sound), raw("heard", heard)];
    let output = Command::new(python).args(["-c", SCORE]).args(&files).output();
    files.iter().for_each(|file| drop(std::fs::remove_file(file)));
    String::from_utf8(output.ok()?.stdout).ok()?.trim().parse().ok()
}

/// Down to 16 kHz, which is what PESQ-WB (ITU-T P.862.2) hears.
const SCORE: &str = "
import sys, numpy, pesq
taps = numpy.sinc(numpy.arange(-120, 121) / 3) * numpy.kaiser(241, 8)
def load(path):
    samples = numpy.fromfile(path, '<i2').astype(float)
    return numpy.convolve(samples, taps / taps.sum(), 'same')[::3]
said, heard = (load(path) for path in sys.argv[1:])
length = min(len(said), len(heard))
print(pesq.pesq(16000, said[:length] / 32768, heard[:length] / 32768, 'wb'))
";

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
        for (row, times) in [("pack", packing), ("unpack", unpacking)] {
            figures.add(Figure {
                row,
                what: format!("a block of 10 ms, {name}, voice_a, median"),
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
