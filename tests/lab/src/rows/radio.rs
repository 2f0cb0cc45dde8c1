//! R8: the controller for radio links, where packets are lost without a queue; and whether it is fair where one builds.

use crate::figures::{Figure, Figures, Goal, quantile};
use crate::peers::{Controller, Flow, PeerError, Protocol};
use crate::run::{Path, over_link};

use super::Lab;
use super::fairness::{STEADY, beside_kernel};

/// Where Reno takes every loss for a full queue.
const PATH: Path = Path { rate_mbit: 20.0, rtt_ms: 50.0, loss_percent: 1.0, jitter_ms: 0.0 };

/// The radio controller of ours.
pub(super) fn measure(lab: &Lab<'_>, figures: &mut Figures) -> Result<(), PeerError> {
    figures.add(Figure {
        row: "R8",
        what: format!("goodput of the radio controller: {PATH}"),
        value: Some(goodput(lab)?),
        unit: "Mbit/s",
        goal: Some(Goal::AtLeast(12.0)),
        others: Some("elsewhere: Reno 2.7, BBR 18.7 Mbit/s".to_owned()),
    });
    let shares = beside_kernel(lab, STEADY, Protocol::Ours, Controller::Radio)?;
    figures.add(Figure {
        row: "R8",
        what: "Jain's index of the radio controller and one kernel Reno on a clean drop-tail link".to_owned(),
        value: Some(shares.index),
        unit: "index",
        goal: Some(Goal::AtLeast(0.8)),
        others: Some(format!("its share of the link is {:.2}", shares.own)),
    });
    Ok(())
}

fn goodput(lab: &Lab<'_>) -> Result<f64, PeerError> {
    let seeds: Vec<u64> = lab.seeds().collect();
    let flow = Flow { controller: Controller::Radio, ..Flow::bulk(Protocol::Ours, lab.secs()) };
    let runs = lab.room.map(&seeds, |seed| {
        lab.room.with(PATH.rate_mbit, || {
            let run = over_link(PATH, *seed, &[flow])?;
            let outcome = &run.outcomes[0];
            let goodput = outcome.received.goodput_mbit;
            eprintln!("{PATH}, seed {seed}: radio {goodput:.2} Mbit/s; {}", outcome.sent.remarks);
            Ok::<_, PeerError>(goodput)
        })
    });
    let runs = runs.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(quantile(&runs, 0.5).ok_or("no run was made")?)
}
