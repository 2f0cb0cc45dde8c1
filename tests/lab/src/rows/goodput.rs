//! R1, goodput over the grid beside the kernel's; R2, beside the simulator's.

use crate::figures::{Figure, Figures, Goal, quantile};
use crate::peers::{Flow, PeerError, Protocol};
use crate::run::{Path, over_link};

use super::Lab;

/// A path of the grid, and what everybody carried over it.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) path: Path,
    /// Who, and the median of the seeds in Mbit/s.
    goodput: Vec<(Protocol, f64)>,
    /// Runs that stayed disturbed.
    disturbed: usize,
}

impl Cell {
    pub(super) fn of(&self, protocol: Protocol) -> Option<f64> {
        self.goodput.iter().find(|(who, _)| *who == protocol).map(|(_, goodput)| *goodput)
    }

    /// Whether it is this path.
    pub(super) fn is_over(&self, rate_mbit: f64, rtt_ms: f64, loss_percent: f64) -> bool {
        self.path == Path { rate_mbit, rtt_ms, loss_percent, jitter_ms: 0.0 }
    }

    fn ratio(&self) -> Option<f64> {
        Some(self.of(Protocol::Ours)? / self.of(Protocol::Kernel)?)
    }
}

/// Runs everybody over every path with every seed.
pub(super) fn measure(lab: &Lab<'_>) -> Result<Vec<Cell>, PeerError> {
    let jobs: Vec<(Path, u64)> =
        lab.grid().into_iter().flat_map(|path| lab.seeds().map(move |seed| (path, seed))).collect();
    let done = lab.room.map(&jobs, |(path, seed)| lab.room.with(path.rate_mbit, || everybody(lab, *path, *seed)));
    let mut runs = Vec::new();
    for (job, done) in jobs.iter().zip(done) {
        runs.push((job.0, done?));
    }
    Ok(lab.grid().into_iter().map(|path| cell(path, &runs)).collect())
}

/// Goodput of each in Mbit/s, and whether the run stayed disturbed.
type Carried = Vec<(Protocol, f64, bool)>;

fn everybody(lab: &Lab<'_>, path: Path, seed: u64) -> Result<Carried, PeerError> {
    let mut carried = Vec::new();
    for protocol in lab.protocols() {
        let flow = Flow { controller: lab.options.controller, ..Flow::bulk(protocol, lab.secs()) };
        let run = over_link(path, seed, &[flow])?;
        let goodput = run.outcomes[0].received.goodput_mbit;
        eprintln!(
            "{path}, seed {seed}: {} {goodput:.2} Mbit/s; late {}; lost {:?} of {:?}, queue {:?}; {}",
            protocol.name(),
            run.link.lateness,
            run.link.lost,
            run.link.offered,
            run.link.queue_drops,
            run.outcomes[0].sent.remarks
        );
        carried.push((protocol, goodput, run.disturbed));
    }
    Ok(carried)
}

fn cell(path: Path, runs: &[(Path, Carried)]) -> Cell {
    let here: Vec<_> = runs.iter().filter(|(of, _)| *of == path).flat_map(|(_, carried)| carried).collect();
    let median = |protocol| {
        let all: Vec<f64> = here.iter().filter(|(who, ..)| *who == protocol).map(|(_, goodput, _)| *goodput).collect();
        quantile(&all, 0.5).map(|median| (protocol, median))
    };
    let goodput = [Protocol::Kernel, Protocol::Ours, Protocol::Quinn].into_iter().filter_map(median).collect();
    Cell { path, goodput, disturbed: here.iter().filter(|(.., disturbed)| *disturbed).count() }
}

/// R1: a figure for each cell, and the two of the whole grid.
pub(super) fn ratios(cells: &[Cell], figures: &mut Figures) {
    for cell in cells {
        let others = cell.goodput.iter().map(|(who, goodput)| format!("{} {goodput:.2} Mbit/s", who.name()));
        figures.add(Figure {
            row: "R1",
            what: format!("goodput to kernel Reno's: {}{}", cell.path, disturbed(cell)),
            value: cell.ratio(),
            unit: "ratio",
            goal: None,
            others: Some(others.collect::<Vec<_>>().join(", ")),
        });
    }
    let ratios: Vec<f64> = cells.iter().filter_map(Cell::ratio).collect();
    for (what, share, goal) in [("lowest", 0.0, 0.95), ("median", 0.5, 1.0)] {
        figures.add(Figure {
            row: "R1",
            what: format!("goodput to kernel Reno's: {what} of {} paths", cells.len()),
            value: quantile(&ratios, share),
            unit: "ratio",
            goal: Some(Goal::AtLeast(goal)),
            others: None,
        });
    }
}

fn disturbed(cell: &Cell) -> String {
    match cell.disturbed {
        0 => String::new(),
        runs => format!(" (the machine was busy in {runs} of its runs)"),
    }
}
