//! R7: how much goes through when no link is in the way, and what it costs.

use crate::figures::{Figure, Figures, Goal, quantile};
use crate::peers::{Flow, PeerError, Protocol};
use crate::run::{Outcome, over_loopback};

use super::Lab;

/// Rounds; in each everybody has a turn.
const ROUNDS: usize = 5;
/// Of each turn.
const SECS: f64 = 5.0;

/// Alone on the machine: nothing else of the lab runs at that time.
pub(super) fn measure(lab: &Lab<'_>, figures: &mut Figures) -> Result<(), PeerError> {
    let (rounds, secs) = if lab.options.quick { (2, 2.0) } else { (ROUNDS, SECS) };
    let mut ratios = (Vec::new(), Vec::new());
    let mut all: Vec<(Protocol, Turn)> = Vec::new();
    for round in 1..=rounds {
        let mut turns = Vec::new();
        for protocol in [Protocol::Quinn, Protocol::Ours, Protocol::Kernel] {
            let flow = Flow { controller: lab.options.controller, ..Flow::bulk(protocol, secs) };
            let outcome = over_loopback(flow)?;
            let turn = Turn::of(&outcome);
            eprintln!(
                "loopback, round {round}: {} {:.0} Mbit/s, {:.2} CPU s/GB ({:.2} to send, {:.2} to receive, in {secs} s); {}",
                protocol.name(),
                turn.goodput_mbit,
                turn.cpu_secs_per_gb,
                outcome.sent.cpu_secs,
                outcome.received.cpu_secs,
                outcome.sent.remarks
            );
            turns.push(turn);
            all.push((protocol, turn));
        }
        ratios.0.push(turns[1].goodput_mbit / turns[0].goodput_mbit);
        ratios.1.push(turns[1].cpu_secs_per_gb / turns[0].cpu_secs_per_gb);
    }
    for protocol in [Protocol::Quinn, Protocol::Ours, Protocol::Kernel] {
        let turns: Vec<Turn> = all.iter().filter(|(who, _)| *who == protocol).map(|(_, turn)| *turn).collect();
        add_absolute(protocol, &turns, figures);
    }
    let means = [("goodput", ratios.0, Goal::AtLeast(1.5)), ("CPU time for each GB", ratios.1, Goal::AtMost(0.7))];
    for (what, ratios, goal) in means {
        figures.add(Figure {
            row: "R7",
            what: format!("{what} over loopback, sealed, to quinn's; median of {rounds} rounds"),
            value: quantile(&ratios, 0.5),
            unit: "ratio",
            goal: Some(goal),
            others: None,
        });
    }
    Ok(())
}

fn add_absolute(protocol: Protocol, turns: &[Turn], figures: &mut Figures) {
    let sealed = if protocol == Protocol::Kernel { ", not sealed" } else { "" };
    let goodput: Vec<f64> = turns.iter().map(|turn| turn.goodput_mbit).collect();
    let cpu: Vec<f64> = turns.iter().map(|turn| turn.cpu_secs_per_gb).collect();
    let figure = |what: &str, values: &[f64], unit| Figure {
        row: "R7",
        what: format!("{}{sealed}: {what} over loopback", protocol.name()),
        value: quantile(values, 0.5),
        unit,
        goal: None,
        others: None,
    };
    figures.add(figure("goodput", &goodput, "Mbit/s"));
    figures.add(figure("CPU time of both ends", &cpu, "s/GB"));
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    goodput_mbit: f64,
    /// Of both processes, user and system.
    cpu_secs_per_gb: f64,
}

impl Turn {
    fn of(outcome: &Outcome) -> Self {
        let Outcome { received, sent } = outcome;
        let gigabytes = received.bytes as f64 / 1e9;
        Self { goodput_mbit: received.goodput_mbit, cpu_secs_per_gb: (received.cpu_secs + sent.cpu_secs) / gigabytes }
    }
}
