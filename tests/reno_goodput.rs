//! What our Reno carries over a grid of paths, as it is checked in: a change of the algorithm is a change of
//! `golden/reno_goodput.txt`.
//!
//! Virtual time and seeds: the figures are the same everywhere. Who changes them on purpose takes over the table that the
//! failing test prints. The lab compares them with an emulated link (`make lab-reno`).

use std::fmt::Write;
use std::time::Duration;

use sim::channel::{Channels, path};

const GOLDEN: &str = include_str!("golden/reno_goodput.txt");
const TIME: Duration = Duration::from_secs(12);
const SEEDS: u64 = 3;

#[test]
fn goodput_is_what_is_checked_in() {
    let mut table = String::new();
    for line in GOLDEN.lines() {
        let cell: Vec<f64> = line.split(' ').map_while(|word| word.parse().ok()).collect();
        match cell[..] {
            [rate, round_trip, loss, _] => {
                let goodput = median(rate as u64, round_trip as u64, loss);
                writeln!(table, "{rate} {round_trip} {loss} {goodput:.2}").expect("a string grows");
            }
            _ => writeln!(table, "{line}").expect("a string grows"),
        }
    }
    assert!(table == GOLDEN, "the table is now\n{table}");
}

fn median(rate_mbit: u64, round_trip_ms: u64, loss_percent: f64) -> f64 {
    let path = path(rate_mbit * 1_000_000, Duration::from_millis(round_trip_ms), loss_percent / 100.0);
    let mut runs: Vec<f64> = (1..=SEEDS)
        .map(|seed| {
            let mut channels = Channels::reno(path, seed);
            channels.send_file(0);
            channels.run(TIME);
            channels.goodput_mbit(0, TIME)
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}
