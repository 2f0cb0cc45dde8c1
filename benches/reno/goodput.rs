//! Rows of bulk: the grid of the table in virtual time.

use std::time::Duration;

use common::reno::Algorithm;
use sim::channel::{Channels, path};

use crate::figures::{Figure, Figures, Goal, quantile};

/// As long as the runs of the kernel that are told beside.
const BULK: Duration = Duration::from_secs(12);
const SEEDS: u64 = 9;
const LOSS_PERCENT: [f64; 4] = [0.0, 0.1, 1.0, 3.0];

/// Mbit/s, round trip in ms, and what the kernel's Reno carried there at each loss, over an emulated link with a queue of
/// one bandwidth-delay product (median of three runs, November 2026, Linux 6.18).
const KERNEL_RENO: [(u64, u64, [f64; 4]); 8] = [
    (20, 2, [19.3, 19.3, 18.9, 15.3]),
    (20, 20, [19.2, 16.4, 6.9, 3.4]),
    (20, 50, [19.0, 9.7, 2.7, 1.5]),
    (20, 100, [18.5, 4.7, 1.4, 0.9]),
    (100, 2, [90.5, 84.5, 47.9, 22.8]),
    (100, 20, [94.5, 20.7, 7.4, 3.7]),
    (100, 50, [90.7, 9.8, 2.8, 1.5]),
    (100, 100, [84.1, 4.8, 1.4, 0.9]),
];

pub(crate) fn add(figures: &mut Figures) {
    let mut ratios = Vec::new();
    for (rate, round_trip, kernel) in KERNEL_RENO {
        for (loss, kernel) in LOSS_PERCENT.into_iter().zip(kernel) {
            let runs: Vec<f64> =
                (1..=SEEDS).map(|seed| goodput(rate, round_trip, loss, seed, Algorithm::Reno)).collect();
            let median = quantile(&runs, 0.5);
            ratios.extend(median.map(|median| median / kernel));
            figures.add(Figure {
                row: "R1 virtual",
                what: format!("goodput at {rate} Mbit/s, RTT {round_trip} ms, {loss} % loss each way; {} s, median of {SEEDS} seeds", BULK.as_secs()),
                value: median,
                unit: "Mbit/s",
                goal: None,
                others: Some(format!("kernel Reno {kernel}, measured elsewhere")),
            });
        }
    }
    for (what, share, goal) in [("least", 0.0, 0.95), ("median", 0.5, 1.0)] {
        figures.add(Figure {
            row: "R1 virtual",
            what: format!("{what} of the ratios to the kernel's Reno, which was measured elsewhere"),
            value: quantile(&ratios, share),
            unit: "ratio",
            goal: Some(Goal::AtLeast(goal)),
            others: None,
        });
    }
    radio(figures);
}

fn radio(figures: &mut Figures) {
    let runs: Vec<f64> = (1..=SEEDS).map(|seed| goodput(20, 50, 1.0, seed, Algorithm::Radio)).collect();
    figures.add(Figure {
        row: "R8 virtual",
        what: "radio mode: goodput at 20 Mbit/s, RTT 50 ms, 1 % random loss".into(),
        value: quantile(&runs, 0.5),
        unit: "Mbit/s",
        goal: Some(Goal::AtLeast(12.0)),
        others: Some("Reno 2.7, BBR 18.7, measured elsewhere".into()),
    });
}

fn goodput(rate_mbit: u64, round_trip_ms: u64, loss_percent: f64, seed: u64, algorithm: Algorithm) -> f64 {
    let path = path(rate_mbit * 1_000_000, Duration::from_millis(round_trip_ms), loss_percent / 100.0);
    let mut channels = Channels::new(path, &[algorithm], seed);
    channels.send_file(0);
    channels.run(BULK);
    channels.goodput_mbit(0, BULK)
}
