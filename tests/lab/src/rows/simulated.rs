//! R2: does the simulator say the same as the emulated link?

use std::path::Path as FilePath;

use crate::figures::{Figure, Figures, Goal, quantile};
use crate::peers::{PeerError, Protocol};

use super::goodput::Cell;

/// One line of the simulator's table: rate in Mbit/s, round trip in ms, loss in percent, goodput in Mbit/s.
type Line = [f64; 4];

/// Length of the simulator's runs; a shorter one is slow start for a larger part.
const SECS: f64 = 12.0;

/// Adds the comparison of each cell that both have; says so where there is nothing to compare.
pub(super) fn compare(table: &FilePath, cells: &[Cell], secs: f64, figures: &mut Figures) -> Result<(), PeerError> {
    if secs != SECS {
        eprintln!("R2 is not measured: the simulator's runs are of {SECS} s, these of {secs} s");
        return Ok(());
    }
    let lines = match std::fs::read_to_string(table) {
        Ok(text) => parse(&text).map_err(|line| format!("{}: '{line}' is not four numbers", table.display()))?,
        Err(error) => {
            eprintln!("R2 is not measured: {}: {error}", table.display());
            return Ok(());
        }
    };
    let mut distances = Vec::new();
    for cell in cells {
        let simulated = lines.iter().find(|[rate, rtt, loss, _]| cell.is_over(*rate, *rtt, *loss)).map(|line| line[3]);
        let Some((simulated, emulated)) = simulated.zip(cell.of(Protocol::Ours)) else { continue };
        let ratio = simulated / emulated;
        distances.push((ratio - 1.0).abs());
        figures.add(Figure {
            row: "R2",
            what: format!("goodput of the simulator to that of the emulated link: {}", cell.path),
            value: Some(ratio),
            unit: "ratio",
            goal: None,
            others: Some(format!("simulated {simulated:.2}, emulated {emulated:.2} Mbit/s")),
        });
    }
    figures.add(Figure {
        row: "R2",
        what: format!("largest distance of the simulator from the emulated link, {} paths", distances.len()),
        value: quantile(&distances, 1.0),
        unit: "share",
        goal: Some(Goal::AtMost(0.10)),
        others: None,
    });
    Ok(())
}

/// Lines that begin with # are words; answers the line that is neither words nor numbers.
fn parse(text: &str) -> Result<Vec<Line>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let numbers: Vec<f64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
            numbers.try_into().map_err(|_| line.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_four_numbers_a_line() {
        assert_eq!(parse("# rate rtt loss goodput\n\n20 50 0.1 9.5\n"), Ok(vec![[20.0, 50.0, 0.1, 9.5]]));
        assert_eq!(parse("20 50 0.1\n"), Err("20 50 0.1".to_owned()));
        assert_eq!(parse("rate 20 50 0.1\n"), Err("rate 20 50 0.1".to_owned()));
    }
}
