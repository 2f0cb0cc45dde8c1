//! The rows of the table, each by the question it answers.

mod goodput;

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
    /// All paths, or in a hurry the corners and the middle of the grid at 20 Mbit/s.
    fn grid(&self) -> Vec<Path> {
        let LabOptions { rates, rtts, losses, quick, .. } = self.options;
        let mut grid = Vec::new();
        for rate_mbit in rates {
            for rtt_ms in rtts {
                let paths =
                    losses.iter().map(|loss| Path { rate_mbit: *rate_mbit, rtt_ms: *rtt_ms, loss_percent: *loss });
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
    }
    Ok(())
}
