//! How long the playout buffer makes a voice wait on networks of several kinds, and how much of it is made up, as it is
//! checked in: a change of the algorithm is a change of `golden/playout_delay.txt`.
//!
//! Virtual time and seeds: the figures are the same everywhere. Who changes them on purpose takes over the table that the
//! failing test prints.

use std::fmt::Write;

use common::voice::pcm::{Block, SILENT_BLOCK};
use sim::lateness::{Goal, Heard, Network, hear, networks};

const GOLDEN: &str = include_str!("golden/playout_delay.txt");
const VOICE: &[u8] = include_bytes!("../assets/voice_a_48k.wav");
const SEEDS: u64 = 10;
const BLOCK_SAMPLES: usize = SILENT_BLOCK.len();

#[test]
fn delay_and_concealment_are_what_is_checked_in() {
    let mut table: String =
        GOLDEN.lines().take_while(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    let mut missed = Vec::new();
    let runs: Vec<Vec<(Network, Heard)>> = (1..=SEEDS).map(run).collect();
    for row in 0..runs[0].len() {
        let network = &runs[0][row].0;
        let heard = Heard::mean(runs.iter().map(|run| &run[row].1));
        writeln!(table, "{}", line(&heard, network)).expect("a string grows");
        if !reaches(&heard, &network.goal) {
            missed.push(network.name);
        }
    }
    assert!(table == GOLDEN, "the table is now\n{table}");
    assert!(missed.is_empty(), "goals missed: {missed:?}");
}

/// Every network, as this seed has it.
fn run(seed: u64) -> Vec<(Network, Heard)> {
    let voice = voice();
    let run = |mut network: Network| {
        let heard = hear(&mut network, &voice);
        (network, heard)
    };
    networks(seed).into_iter().map(run).collect()
}

fn line(heard: &Heard, network: &Network) -> String {
    let Heard { target_ms, buffer_ms, delay_ms, concealed_percent, stretched_percent, spread_ms } = heard;
    let goal = |goal: Option<f64>| goal.map_or("-".into(), |goal| goal.to_string());
    let Goal { delay_ms: delay, concealed_percent: concealed, spread_ms: spread } = network.goal;
    format!(
        "{:<20} {target_ms:6.1} {buffer_ms:6.1} {delay_ms:6.1} {:>5} {concealed_percent:9.3} {:>5} \
             {stretched_percent:9.2} {spread_ms:6.1} {:>5}",
        network.name,
        goal(delay),
        goal(concealed),
        goal(spread),
    )
}

fn reaches(heard: &Heard, goal: &Goal) -> bool {
    let reached = |value: f64, goal: Option<f64>| goal.is_none_or(|goal| value <= goal);
    reached(heard.delay_ms, goal.delay_ms)
        && reached(heard.concealed_percent, goal.concealed_percent)
        && reached(heard.spread_ms, goal.spread_ms)
}

fn voice() -> Vec<Block> {
    let header = VOICE.windows(4).position(|word| word == b"data").expect("a WAV has a chunk of samples") + 8;
    let (bytes, _) = VOICE[header..].as_chunks::<2>();
    let samples: Vec<i16> = bytes.iter().map(|bytes| i16::from_le_bytes(*bytes)).collect();
    samples.as_chunks::<BLOCK_SAMPLES>().0.to_vec()
}
