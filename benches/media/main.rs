//! What do voice and picture come to on a bad network? Whole calls of the shipped cores over seeded links in virtual
//! time, with the clip and the voices in `assets/`: the same figures on every machine, except where a row says so.
//!
//! `--python PATH` names a Python that has the packages pesq, numpy and imageio-ffmpeg; without it `target/lab` is tried,
//! which `make lab` fills. Rows that need it are not measured where there is none. Arguments that are names of rows
//! (`V1 C3`) leave out the others.

mod desk;
#[path = "../figures/mod.rs"]
mod figures;
mod judge;
mod picture;
mod playout;
mod quality;
mod rate;
mod raw_video;
mod voice;
mod weight;

use std::path::{Path, PathBuf};

use figures::Figures;

fn main() {
    let options = Options::read(std::env::args().skip(1));
    let mut figures = Figures::new("media");
    let groups: [Group; 6] = [
        (&["V1", "V6"], picture::add),
        (&["V2", "V3", "G1"], quality::add),
        (&["C1", "C2", "C3", "C4", "C5", "C6", "C7"], rate::add),
        (&["A1", "A2", "A3", "A7"], voice::add),
        (&["A2", "A6"], playout::add),
        (&["A4"], weight::add),
    ];
    for (_, add) in groups.iter().filter(|(rows, _)| rows.iter().any(|row| options.wants(row))) {
        add(&mut figures, &options);
    }
    figures.finish_beside(&target_dir());
}

/// Rows that are measured together, and by what.
type Group = (&'static [&'static str], fn(&mut Figures, &Options));

/// What was asked for.
#[derive(Debug, Default)]
struct Options {
    /// Rows by name; all of them when empty.
    rows: Vec<String>,
    python: Option<PathBuf>,
    /// Feeds silence and a frozen picture, so that it can be seen that rows notice.
    wrong: bool,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Self {
        let lab = target_dir().join("lab/bin/python");
        let mut options = Self { python: lab.exists().then_some(lab), ..Self::default() };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--python" => options.python = arguments.next().map(PathBuf::from),
                "--wrong" => options.wrong = true,
                // Cargo says this to every bench.
                "--bench" => {}
                _ => options.rows.push(argument),
            }
        }
        options
    }

    fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|name| name == row)
    }
}

fn target_dir() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    target.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from)
}

/// The middle one of some values; `None` of nothing.
fn median(values: &[f64]) -> Option<f64> {
    figures::quantile(values, 0.5)
}
