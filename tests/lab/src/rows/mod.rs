//! The rows of the table, each by the question it answers.

mod ceiling;
mod fairness;
mod goodput;
mod messages;
mod radio;
mod simulated;

use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path as FilePath;

use nix::unistd::geteuid;

use crate::figures::Figures;
use crate::options::LabOptions;
use crate::peers::{PeerError, Protocol};
use crate::run::Path;
use crate::schedule::Room;

/// What every row needs.
pub(crate) struct Lab<'a> {
    options: &'a LabOptions,
    room: Room,
}

impl Lab<'_> {
    /// All paths, or in a hurry the two middle round trips at the lower rate.
    fn grid(&self) -> Vec<Path> {
        let LabOptions { rates, rtts, losses, quick, .. } = self.options;
        let mut grid = Vec::new();
        for rate_mbit in rates {
            for rtt_ms in rtts {
                let paths = losses.iter().map(|loss| Path {
                    rate_mbit: *rate_mbit,
                    rtt_ms: *rtt_ms,
                    loss_percent: *loss,
                    jitter_ms: 0.0,
                });
                grid.extend(paths);
            }
        }
        if *quick {
            grid.retain(|path| path.rate_mbit < 50.0 && (path.rtt_ms == 20.0 || path.rtt_ms == 50.0));
        }
        grid
    }

    fn seeds(&self) -> std::ops::RangeInclusive<u64> {
        1..=if self.options.quick { self.options.seeds.min(2) } else { self.options.seeds }
    }

    /// Seconds of bulk over the grid.
    fn secs(&self) -> f64 {
        if self.options.quick { self.options.secs.min(5.0) } else { self.options.secs }
    }

    fn protocols(&self) -> Vec<Protocol> {
        let mut all = vec![Protocol::Kernel, Protocol::Ours, Protocol::Quinn];
        all.retain(|protocol| *protocol != Protocol::Quinn || !self.options.without_quinn);
        all
    }
}

/// Measures what was asked for, prints the table and writes the file.
pub(crate) fn measure(options: &LabOptions) -> Result<(), PeerError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let lab = Lab { options, room: Room::new(options.links.unwrap_or(2 * cores)) };
    let asked = |row: &str| options.rows.is_empty() || options.rows.iter().any(|asked| asked == row);
    let mut figures = Figures::new("reno");
    if asked("R1") || asked("R2") {
        let cells = goodput::measure(&lab)?;
        goodput::ratios(&cells, &mut figures);
        simulated::compare(&options.simulated, &cells, lab.secs(), &mut figures)?;
    }
    if asked("R3") {
        messages::measure(&lab, &mut figures)?;
    }
    if asked("R5") {
        fairness::measure(&lab, &mut figures)?;
    }
    if asked("R7") {
        ceiling::measure(&lab, &mut figures)?;
    }
    if asked("R8") {
        radio::measure(&lab, &mut figures)?;
    }
    finish(figures, &options.target)
}

/// Writes the file. Root gives it to whom the folder around belongs: a bench of a person who is not root writes there,
/// too.
fn finish(figures: Figures, target: &FilePath) -> Result<(), PeerError> {
    std::fs::create_dir_all(target).map_err(|error| format!("{}: {error}", target.display()))?;
    let around = std::fs::metadata(target.canonicalize()?.join(".."))?;
    figures.finish_beside(target);
    if !geteuid().is_root() {
        return Ok(());
    }
    for path in [target.to_owned(), target.join("figures"), target.join("figures/reno.json")] {
        chown(path, Some(around.uid()), Some(around.gid()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::figures::Figure;

    fn figures(row: &'static str, value: f64) -> Figures {
        let mut figures = Figures::new("reno");
        figures.add(Figure { row, what: String::new(), value: Some(value), unit: "", goal: None, others: None });
        figures
    }

    #[test]
    fn rows_of_the_bench_stay_in_the_file_and_own_rows_are_replaced() {
        let target = std::env::temp_dir().join(format!("conclave-lab-test-{}", std::process::id()));
        for (row, value) in [("R1", 1.0), ("R4", 4.0), ("R1", 2.0)] {
            finish(figures(row, value), &target).unwrap();
        }
        let text = std::fs::read_to_string(target.join("figures/reno.json")).unwrap();
        std::fs::remove_dir_all(&target).unwrap();
        let list: Vec<Value> = serde_json::from_str(&text).unwrap();
        let rows: Vec<_> = list.iter().map(|entry| (entry["row"].as_str(), entry["value"].as_f64())).collect();
        assert_eq!(rows, [(Some("R4"), Some(4.0)), (Some("R1"), Some(2.0))]);
    }
}
