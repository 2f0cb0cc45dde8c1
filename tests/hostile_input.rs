//! Nothing that a stranger, a member or a server can send makes the other end panic, hang, or grow.
//!
//! The same entry points that `tests/fuzz` gives to a fuzzer, fed with its seeds and with 20,000 spoiled copies of
//! them; which ones is decided by a seed, so a failure comes again.

#[path = "fuzz/entry_points.rs"]
pub mod entry_points;

use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const MUTATIONS: usize = 20_000;
const RANDOM_SEED: u64 = 20_261_121;

/// Resident memory that may come and go; a leak of 2 kB at each of [`MUTATIONS`] would show.
const GROWTH_MAX_BYTES: usize = 40_000_000;

type EntryPoint = fn(&[u8]);

/// Every fuzz target, with its share of [`MUTATIONS`]: those behind which most of the code lies get most.
const TARGETS: [(&str, EntryPoint, usize); 9] = [
    ("audio_layers", entry_points::audio_layers, 2_000),
    ("control_frame", entry_points::control_frame, 2_000),
    ("control_plane", entry_points::control_plane, 2_000),
    ("datagram", entry_points::datagram, 4_000),
    ("framing", entry_points::framing, 2_000),
    ("jpeg_scan", entry_points::jpeg_scan, 2_000),
    ("media_header", entry_points::media_header, 2_000),
    ("names", entry_points::names, 1_000),
    ("segment", entry_points::segment, 3_000),
];

#[test]
fn every_seed_of_every_fuzz_target_is_taken() {
    for (target, run, _) in TARGETS {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{target} has seeds");
        seeds.iter().for_each(|seed| run(seed));
    }
}

#[test]
fn every_shorter_prefix_of_every_seed_is_taken() {
    for (target, run, _) in TARGETS {
        for seed in seeds(target) {
            // The short ones end inside headers; of the rest, every 13th.
            let lengths = (0..seed.len()).filter(|length| *length < 64 || length % 13 == 0);
            lengths.for_each(|length| run(&seed[..length]));
        }
    }
}

#[test]
fn twenty_thousand_spoiled_messages_neither_panic_nor_grow() {
    assert_eq!(TARGETS.iter().map(|(_, _, share)| share).sum::<usize>(), MUTATIONS);
    let mut random = StdRng::seed_from_u64(RANDOM_SEED);
    for (target, run, count) in TARGETS {
        let seeds = seeds(target);
        let mut after_a_tenth = None;
        for round in 0..count {
            if round == count / 10 {
                after_a_tenth = resident_bytes();
            }
            let bytes = spoiled(&seeds, &mut random);
            // What was fed when it panics is named by the target and the round.
            let _named = Named(target, round);
            run(&bytes);
        }
        if let (Some(before), Some(after)) = (after_a_tenth, resident_bytes()) {
            let grown = after.saturating_sub(before);
            assert!(grown < GROWTH_MAX_BYTES, "{target} grew by {grown} bytes");
        }
    }
}

/// Says on the way of a panic what was being fed.
struct Named(&'static str, usize);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: spoiled message {} of seed {RANDOM_SEED}", self.0, self.1);
        }
    }
}

/// The files of `tests/fuzz/seeds`, in the order of their names.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let files = std::fs::read_dir(&folder).expect("a folder of seeds for each target");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a folder that can be read").path()).collect();
    paths.sort();
    let read = |path| std::fs::read(path).expect("a file that can be read");
    paths.iter().map(read).collect()
}

/// A seed with one to eight things wrong.
fn spoiled(seeds: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = seeds[random.random_range(0..seeds.len())].clone();
    for _ in 0..random.random_range(1..=8) {
        spoil(&mut bytes, seeds, random);
    }
    bytes
}

fn spoil(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut StdRng) {
    let at = random.random_range(0..=bytes.len());
    match random.random_range(0..6) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, random.random()),
        2 => {
            let other = &seeds[random.random_range(0..seeds.len())];
            let from = random.random_range(0..=other.len());
            bytes.splice(at.., other[from..].iter().copied());
        }
        3 => {
            // Lengths and counts at the ends of their range.
            let extreme = [0, 1, 0x7f, 0x80, 0xfe, 0xff][random.random_range(0..6)];
            bytes.iter_mut().skip(at).take(2).for_each(|b| *b = extreme);
        }
        4 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.random_range(0..8);
            }
        }
        _ => {
            let again = bytes[at..].to_vec();
            bytes.extend_from_slice(&again);
        }
    }
    bytes.truncate(SPOILED_MAX_BYTES);
}

/// Copies behind copies would grow without end.
const SPOILED_MAX_BYTES: usize = 8_192;

/// Pages in memory (proc_pid_statm(5)); `None` where there is no such file.
fn resident_bytes() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4_096)
}
