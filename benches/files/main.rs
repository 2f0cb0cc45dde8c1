//! A file from program to program, through a server, by the shipped programs: what each of them takes of memory, and
//! whether a kill at any point leaves the file whole, or absent, and to be gone on with.
//!
//! `make lab-files` builds the programs and runs this with a file of 2 GiB and 20 kills, `--full`. Without that it is a
//! file of 256 MiB and 4 kills, and no figures are written.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

#[path = "../figures/mod.rs"]
mod figures;
mod programs;

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use figures::{Figure, Figures, Goal};
use programs::{Place, World};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// How much is done.
#[derive(Clone, Copy)]
struct Scale {
    file_bytes: u64,
    kills: usize,
}

const FULL: Scale = Scale { file_bytes: 2 << 30, kills: 20 };
const QUICK: Scale = Scale { file_bytes: 256 << 20, kills: 4 };

/// How long one transfer may take.
const PATIENCE: Duration = Duration::from_secs(600);

fn main() {
    let full = std::env::args().any(|argument| argument == "--full");
    let scale = if full { FULL } else { QUICK };
    let Some(place) = Place::find() else {
        return println!("files: not run. The programs are not built: make lab-files builds them.");
    };
    let source = place.folder.join("large.bin");
    write_file(&source, scale.file_bytes).expect("the target folder has room for the file");
    let mut figures = Figures::new("reno");
    let took = measure(&place, &source, scale, &mut figures);
    kill(&place, &source, scale, took, &mut figures);
    if full {
        figures.finish_beside(&place.target);
    }
    let _ = fs::remove_dir_all(&place.folder);
}

/// One file, nobody killed: memory and rate.
fn measure(place: &Place, source: &Path, scale: Scale, figures: &mut Figures) -> Duration {
    let folder = fresh(place, "whole");
    let world = World::start(place, source, &folder);
    let began = Instant::now();
    world.receiver.wait_for("complete", PATIENCE);
    let took = began.elapsed();
    let cpu = world.cpu_secs();
    assert!(same(source, &folder.join("large.bin")), "the file arrived");
    let grown = world.memory_growth_mb();
    let most = grown.iter().map(|(_, grown)| *grown).fold(0.0, f64::max);
    figures.add(Figure {
        row: "R9",
        what: format!("most memory growth of {} during a file of {} MiB", names(&grown), scale.file_bytes >> 20),
        value: Some(most),
        unit: "MB",
        goal: Some(Goal::AtMost(20.0)),
        others: None,
    });
    figures.add(Figure {
        row: "R9 rate",
        what: format!("the same file, offered to verified, over loopback; processor seconds: {}", names(&cpu)),
        value: Some(scale.file_bytes as f64 / 1e6 / took.as_secs_f64()),
        unit: "MB/s",
        goal: None,
        others: None,
    });
    took
}

fn names(grown: &[(&'static str, f64)]) -> String {
    let each = grown.iter().map(|(name, grown)| format!("{name} {grown:.1}"));
    each.collect::<Vec<_>>().join(", ")
}

/// Kills one of the three programs somewhere in the middle, and goes on with new ones.
fn kill(place: &Place, source: &Path, scale: Scale, took: Duration, figures: &mut Figures) {
    let mut rng = StdRng::seed_from_u64(9);
    let (mut good, mut resumed) = (0, 0);
    for round in 0..scale.kills {
        let folder = fresh(place, "killed");
        let arrived = folder.join("large.bin");
        let after = took.mul_f64(rng.random_range(0.02..1.0));
        let mut world = World::start(place, source, &folder);
        std::thread::sleep(after);
        let victim = world.kill(round);
        drop(world);
        let absent = !arrived.exists();
        let clean = absent || same(source, &arrived);
        let mut at = None;
        if absent {
            let world = World::start(place, source, &folder);
            at = world.receiver.wait_for("complete", PATIENCE).into_iter().find_map(resumed_at);
        }
        let whole = same(source, &arrived);
        println!("kill {round:>2}: {victim} after {after:.1?}, absent {absent}, went on at {at:?}, whole {whole}");
        good += usize::from(clean && whole);
        resumed += usize::from(at.is_some());
    }
    figures.add(Figure {
        row: "R9",
        what: format!(
            "of {} kills at random points (receiver, sender, server in turn) the file was absent or whole, and whole in \
             the end; {resumed} went on beyond 0 %",
            scale.kills
        ),
        value: Some(good as f64),
        unit: "kills",
        goal: Some(Goal::AtLeast(scale.kills as f64)),
        others: None,
    });
}

/// “NAME from Sender: 268.4 MB, from 61 % on.”
fn resumed_at(line: String) -> Option<String> {
    let (_, rest) = line.split_once(", from ")?;
    rest.split_once(" on.").map(|(percent, _)| percent.to_owned())
}

fn fresh(place: &Place, name: &str) -> PathBuf {
    let folder = place.folder.join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the target folder can be written to");
    folder
}

/// Bytes that no disk makes smaller.
fn write_file(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut rng = StdRng::seed_from_u64(1);
    let mut block = vec![0; 1 << 20];
    for _ in 0..bytes >> 20 {
        rng.fill_bytes(&mut block);
        file.write_all(&block)?;
    }
    file.flush()
}

fn same(one: &Path, two: &Path) -> bool {
    let equal = || -> io::Result<bool> {
        let (mut one, mut two) = (File::open(one)?, File::open(two)?);
        if one.metadata()?.len() != two.metadata()?.len() {
            return Ok(false);
        }
        let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
        loop {
            let read = one.read(&mut a)?;
            if read == 0 {
                return Ok(true);
            }
            two.read_exact(&mut b[..read])?;
            if a[..read] != b[..read] {
                return Ok(false);
            }
        }
    };
    equal().unwrap_or(false)
}
