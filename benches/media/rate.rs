//! C1 to C7: a call over a narrow line, each way: the client's rate control on the way up, the relay's on the way down.
//!
//! The camera gives a picture of which every block changes, as large as the target asks for, so the rate is what rate
//! control makes of it and nothing else holds it down.

use std::time::Duration;

use common::link::LinkConfig;
use sim::line::Way;
use sim::rate::{NarrowCall, QUEUE, narrow};

use crate::figures::{Figure, Figures, Goal, quantile};
use crate::{Options, median};

const SECOND: Duration = Duration::from_secs(1);
const SEEDS: [u64; 3] = [1, 2, 3];
/// 80 % of 3 Mbit/s.
const MOST_BPS: f64 = 2.4e6;
/// At 0.5 Mbit/s it holds 1.8 s.
const DEEP_QUEUE_BYTES: usize = 112_500;

pub(crate) fn add(figures: &mut Figures, options: &Options) {
    let wants = |rows: &[&str]| rows.iter().any(|row| options.wants(row));
    for (way, hop) in [(Way::Up, "member to server"), (Way::Down, "server to member")] {
        if wants(&["C1", "C2", "C3"]) {
            steps(figures, way, hop);
        }
        if wants(&["C4", "C5"]) {
            steady(figures, way, hop);
        }
        if wants(&["C6", "C7"]) {
            shared(figures, way, hop);
        }
    }
}

/// A queue by name, the line that has it at so many Mbit/s, and the seconds after which it is to be gone.
type Queue = (&'static str, fn(f64) -> LinkConfig, f64);

/// 0.3 Mbit/s, then 3, then 0.5, then 3 again.
fn steps(figures: &mut Figures, way: Way, hop: &str) {
    let deep = |mbps| LinkConfig { queue_bytes: DEEP_QUEUE_BYTES, ..narrow(mbps, QUEUE) };
    let shallow = |mbps| narrow(mbps, QUEUE);
    let queues: [Queue; 2] = [("queue of 300 ms", shallow, 1.0), ("queue of 112 kB", deep, 1.5)];
    for (queue, path, settled) in queues {
        let calls = SEEDS.map(|seed| {
            let mut call = NarrowCall::new(way, path(0.3), seed);
            for mbps in [0.3, 3.0, 0.5, 3.0] {
                call.configure(path(mbps));
                call.run(20 * SECOND);
            }
            call
        });
        let figure = |row, what: &str, values: [f64; 3], goal, others: &str| Figure {
            row,
            what: format!("{hop}, {queue}: {what}; worst of three seeds"),
            value: quantile(&values, 1.0).filter(|value| value.is_finite()),
            unit: "s",
            goal: Some(Goal::AtMost(goal)),
            others: Some(others.to_owned()),
        };
        let settles = calls.each_ref().map(|call| call.settles_after(40, 60));
        let back = calls.each_ref().map(|call| call.reaches_after(60, 80, MOST_BPS));
        let starts = calls.each_ref().map(|call| call.reaches_after(20, 40, MOST_BPS));
        figures.add(figure("C1", "3 to 0.5 Mbit/s, below 60 ms for good", settles, settled, "GCC 1.8 to 8"));
        figures.add(figure(
            "C2",
            "0.5 to 3 Mbit/s, estimate at 80 %",
            back,
            2.5,
            "GCC 8 to 27; Zoom, Meet, Teams up to 50",
        ));
        figures.add(figure("C3", "0.3 to 3 Mbit/s, estimate at 80 %", starts, 2.5, "GCC 8 to 27"));
    }
    let begins = SEEDS.map(|seed| {
        let mut call = NarrowCall::new(way, shallow(3.0), seed);
        call.run(10 * SECOND);
        call.reaches_after(0, 10, MOST_BPS)
    });
    figures.add(Figure {
        row: "C3",
        what: format!("{hop}: a call begins on 3 Mbit/s, admitted to estimate at 80 %; worst of three seeds"),
        value: quantile(&begins, 1.0).filter(|value| value.is_finite()),
        unit: "s",
        goal: None,
        others: None,
    });
}

/// A minute on paths that stay as they are.
fn steady(figures: &mut Figures, way: Way, hop: &str) {
    for (row, mbps, loss) in [("C4", 1.0, 0.0), ("C4", 3.0, 0.0), ("C5", 3.0, 0.05)] {
        let path = LinkConfig { loss, ..narrow(mbps, QUEUE) };
        let calls = SEEDS.map(|seed| minute(way, path, seed, false));
        let used = calls.each_ref().map(|call| call.rates_bps(15, 60)[0] / (mbps * 1e6));
        let estimates = calls.each_ref().map(|call| mean_target(call, 15, 60) / (mbps * 1e6));
        let queues = calls.each_ref().map(queue_p95_ms);
        let path_name = format!("{hop}, {mbps} Mbit/s, {:.0} % loss", 100.0 * loss);
        let figure = |what: &str, values: &[f64], unit, goal| Figure {
            row,
            what: format!("{path_name}: {what}; median of three seeds"),
            value: median(values),
            unit,
            goal,
            others: None,
        };
        let (share, others) = if row == "C4" { (0.85, None) } else { (0.75, Some("SCReAM and NADA 0.04".to_owned())) };
        figures
            .add(Figure { others, ..figure("share of it that arrived", &used, "of it", Some(Goal::AtLeast(share))) });
        figures.add(figure("share that the estimate takes", &estimates, "of it", None));
        if row == "C4" {
            let silent = SEEDS.map(|seed| minute(way, path, seed, true).rates_bps(15, 60)[0] / (mbps * 1e6));
            figures.add(figure("share of it that arrived, without the voice", &silent, "of it", None));
            figures.add(figure("queue, p95 of every 10 ms", &queues, "ms", Some(Goal::AtMost(30.0))));
        }
    }
}

fn minute(way: Way, path: LinkConfig, seed: u64, muted: bool) -> NarrowCall {
    let mut call = NarrowCall::new(way, path, seed);
    call.meeting.participants.iter_mut().for_each(|participant| participant.muted = muted);
    call.run(60 * SECOND);
    call
}

fn queue_p95_ms(call: &NarrowCall) -> f64 {
    let waits: Vec<f64> = call.between(15, 60).iter().map(|look| look.waiting.as_secs_f64() * 1e3).collect();
    quantile(&waits, 0.95).unwrap_or(f64::INFINITY)
}

fn mean_target(call: &NarrowCall, from: u64, to: u64) -> f64 {
    let looks = call.between(from, to);
    looks.iter().map(|look| look.targets_bps[0] as f64).sum::<f64>() / looks.len().max(1) as f64
}

/// Others on the same line.
fn shared(figures: &mut Figures, way: Way, hop: &str) {
    let ratios = SEEDS.map(|seed| {
        let mut call = NarrowCall::new(way, narrow(3.0, QUEUE), seed);
        for name in ["Cy", "Di"] {
            call.run(20 * SECOND);
            call.join(name);
        }
        call.run(80 * SECOND);
        let rates = call.rates_bps(80, 120);
        rates.iter().copied().fold(0.0, f64::max) / rates.iter().copied().fold(f64::INFINITY, f64::min)
    });
    figures.add(Figure {
        row: "C6",
        what: format!("{hop}: three of us join a line of 3 Mbit/s 20 s apart, most to least; median of three seeds"),
        value: median(&ratios),
        unit: "times",
        goal: Some(Goal::AtMost(2.0)),
        others: None,
    });
    let shares = SEEDS.map(|seed| {
        let mut call = NarrowCall::new(way, narrow(2.0, QUEUE), seed);
        call.run(20 * SECOND);
        call.begin_foreign();
        call.run(100 * SECOND);
        call.rates_bps(50, 120)[0] / call.foreign_bps(50, 120)
    });
    let share = median(&shares);
    for goal in [Goal::AtLeast(1.0 / 3.0), Goal::AtMost(3.0)] {
        figures.add(Figure {
            row: "C7",
            what: format!("{hop}: we to a TCP Reno that knows nothing of us, on 2 Mbit/s; median of three seeds"),
            value: share,
            unit: "times",
            goal: Some(goal),
            others: Some("delay-based schemes fall to their floor, 0.09 to 0.18".to_owned()),
        });
    }
}
