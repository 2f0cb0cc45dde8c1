//! A2 and A6: the playout buffer alone, behind networks that are late in ways of their own, as `tests/playout_delay.rs`
//! has them.

use common::voice::pcm::Block;
use sim::lateness::{Heard, Network, hear, networks};

use crate::Options;
use crate::desk::voice;
use crate::figures::{Figure, Figures, Goal};

const SEEDS: u64 = 5;

pub(crate) fn add(figures: &mut Figures, options: &Options) {
    if options.wants("A2") {
        let clean = heard("clean");
        add_one(
            figures,
            "A2",
            "clean network: from arriving to being played",
            clean.buffer_ms,
            ("ms", 30.0, Some("NetEq's rules 29.5")),
        );
        let bad = heard("bad-wifi-stalls");
        let what = "bad Wi-Fi (once a second nothing for 40 to 200 ms)";
        add_one(
            figures,
            "A2",
            &format!("{what}: concealed"),
            bad.concealed_percent,
            ("%", 0.25, Some("NetEq's rules 0.06 at 195 ms")),
        );
        add_one(figures, "A2", &format!("{what}: behind the fastest packet"), bad.delay_ms, ("ms", 180.0, None));
    }
    if options.wants("A6") {
        for (network, clock) in [("drift-slow", "slow"), ("drift-fast", "fast")] {
            let heard = heard(network);
            let what = format!("ten minutes, the card's clock 200 ppm {clock}");
            add_one(figures, "A6", &format!("{what}: concealed"), heard.concealed_percent, ("%", 0.0, None));
            let wander = heard.spread_ms / 2.0;
            add_one(
                figures,
                "A6",
                &format!("{what}: the mean of a second from the middle, at most"),
                wander,
                ("ms", 10.0, None),
            );
        }
    }
}

fn add_one(
    figures: &mut Figures,
    row: &'static str,
    what: &str,
    value: f64,
    (unit, goal, others): (&'static str, f64, Option<&str>),
) {
    figures.add(Figure {
        row,
        what: format!("{what}; {SEEDS} seeds"),
        value: Some(value),
        unit,
        goal: Some(Goal::AtMost(goal)),
        others: others.map(str::to_owned),
    });
}

/// Behind the network of that name.
fn heard(name: &str) -> Heard {
    let voice: Vec<Block> = voice("voice_a").as_chunks().0.to_vec();
    let of_seed = |seed| {
        let mut found: Vec<Network> = networks(seed);
        found.retain(|network| network.name == name);
        let network = found.first_mut().expect("the simulator has it");
        hear(network, &voice)
    };
    let runs: Vec<Heard> = (1..=SEEDS).map(of_seed).collect();
    Heard::mean(runs.iter())
}
