//! R3: how late is a small message when packets are lost?

use crate::figures::{Figure, Figures, Goal, quantile};
use crate::peers::{Flow, PeerError, Protocol};
use crate::run::{Path, over_link};

use super::Lab;

/// Connections of one run at a time; they are too thin to feel each other.
const CONNECTIONS: usize = 10;
/// Messages of each connection in one run: 20 s, so that its first ones, which know no round trip yet, count little.
const MESSAGES: usize = 200;
/// Loss each way in percent, and the goal for ours.
const LOSSES: [(f64, f64); 2] = [(1.0, 50.0), (3.0, 105.0)];

/// Sends the same messages by everybody.
pub(super) fn measure(lab: &Lab<'_>, figures: &mut Figures) -> Result<(), PeerError> {
    for (loss_percent, goal) in LOSSES {
        let path = Path { rate_mbit: 20.0, rtt_ms: 50.0, loss_percent, jitter_ms: 0.0 };
        let jobs: Vec<(Protocol, u64)> =
            lab.protocols().into_iter().flat_map(|protocol| lab.seeds().map(move |seed| (protocol, seed))).collect();
        let done = lab
            .room
            .map(&jobs, |(protocol, seed)| lab.room.with(path.rate_mbit, || delays(lab, path, *protocol, *seed)));
        let mut all: Vec<(Protocol, Vec<f64>)> = Vec::new();
        for ((protocol, _), delays) in jobs.iter().zip(done) {
            match all.iter_mut().find(|(who, _)| who == protocol) {
                Some((_, known)) => known.extend(delays?),
                None => all.push((*protocol, delays?)),
            }
        }
        add(&all, path, goal, figures);
    }
    Ok(())
}

fn delays(lab: &Lab<'_>, path: Path, protocol: Protocol, seed: u64) -> Result<Vec<f64>, PeerError> {
    let controller = lab.options.controller;
    let flow = Flow { controller, connections: CONNECTIONS, bulk_secs: None, messages: MESSAGES, protocol };
    let run = over_link(path, seed, &[flow])?;
    let received = &run.outcomes[0].received;
    let quantile = |share| quantile(&received.delays_ms, share).unwrap_or(f64::NAN);
    eprintln!(
        "messages over {path}, seed {seed}: {} p50 {:.1} p99 {:.1} p99.9 {:.1} ms, {} missing; late {}",
        protocol.name(),
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        received.missing,
        run.link.lateness
    );
    // One that never came is later than any that did.
    let missing = std::iter::repeat_n(f64::INFINITY, received.missing);
    Ok(received.delays_ms.iter().copied().chain(missing).collect())
}

fn add(all: &[(Protocol, Vec<f64>)], path: Path, goal: f64, figures: &mut Figures) {
    let of = |wanted: Protocol, share| {
        let delays = all.iter().find(|(who, _)| *who == wanted).map(|(_, delays)| delays)?;
        quantile(delays, share)
    };
    for (name, share, goal) in [("p50", 0.5, None), ("p99", 0.99, Some(goal)), ("p99.9", 0.999, None)] {
        let peers = [Protocol::Kernel, Protocol::Quinn].into_iter();
        let others = peers.filter_map(|who| Some(format!("{} {:.1} ms", who.name(), of(who, share)?)));
        let count = all.iter().find(|(who, _)| *who == Protocol::Ours).map_or(0, |(_, delays)| delays.len());
        figures.add(Figure {
            row: "R3",
            what: format!("{name} one way of {count} messages of 200 bytes, 10 a second: {path}"),
            value: of(Protocol::Ours, share),
            unit: "ms",
            goal: goal.map(Goal::AtMost),
            others: Some(others.collect::<Vec<_>>().join(", ")),
        });
    }
}
