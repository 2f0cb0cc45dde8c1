//! R5: two flows share a link, one of them the kernel's Reno.

use crate::figures::{Figure, Figures, Goal, quantile};
use crate::peers::{Controller, Flow, PeerError, Protocol};
use crate::run::{Path, over_link};

use super::Lab;

/// A link without loss of its own.
pub(super) const STEADY: Path = Path { rate_mbit: 20.0, rtt_ms: 50.0, loss_percent: 0.0, jitter_ms: 0.0 };
/// The same, with as much jitter as a packet takes to leave. Without it, two flows with packets of one size meet the full
/// queue at the same moment within that time again and again, and it is always the same one that finds no room (Floyd
/// and Jacobson, "On Traffic Phase Effects in Packet-Switched Gateways", 1991).
const JITTERED: Path = Path { jitter_ms: 0.6, ..STEADY };
/// Long enough for many sawteeth of both.
const SECS: f64 = 60.0;

/// Ours, and for comparison the others, beside one flow of the kernel's.
pub(super) fn measure(lab: &Lab<'_>, figures: &mut Figures) -> Result<(), PeerError> {
    [STEADY, JITTERED].into_iter().try_for_each(|path| measure_over(lab, path, figures))
}

fn measure_over(lab: &Lab<'_>, path: Path, figures: &mut Figures) -> Result<(), PeerError> {
    let mut all = Vec::new();
    for protocol in lab.protocols() {
        all.push((protocol, beside_kernel(lab, path, protocol, Controller::Reno)?));
    }
    let others = all.iter().filter(|(who, _)| *who != Protocol::Ours);
    let others = others.map(|(who, shares)| format!("{} {:.3}", who.name(), shares.index));
    let others = others.collect::<Vec<_>>().join(", ");
    let ours = all.iter().find(|(who, _)| *who == Protocol::Ours).map(|(_, shares)| shares);
    figures.add(Figure {
        row: "R5",
        what: format!("Jain's index of ours and one kernel Reno: {path}, {} s each", secs(lab)),
        value: ours.map(|shares| shares.index),
        unit: "index",
        goal: Some(Goal::AtLeast(0.95)),
        others: Some(format!("beside one kernel Reno: {others}")),
    });
    figures.add(Figure {
        row: "R5",
        what: "of that link to ours".to_owned(),
        value: ours.map(|shares| shares.own),
        unit: "share",
        goal: None,
        others: None,
    });
    Ok(())
}

/// How two flows shared a link: medians of the seeds.
pub(super) struct Shares {
    /// Jain's index: 1 when both had the same, 0.5 when one had all.
    pub(super) index: f64,
    /// Of what both had together, 0.0..=1.0.
    pub(super) own: f64,
}

/// A flow of this protocol and one of the kernel's, at the same time.
pub(super) fn beside_kernel(
    lab: &Lab<'_>,
    path: Path,
    protocol: Protocol,
    controller: Controller,
) -> Result<Shares, PeerError> {
    let seeds: Vec<u64> = lab.seeds().collect();
    let runs =
        lab.room.map(&seeds, |seed| lab.room.with(path.rate_mbit, || once(lab, path, *seed, protocol, controller)));
    let runs = runs.into_iter().collect::<Result<Vec<_>, _>>()?;
    let median =
        |of: fn(&[f64; 2]) -> f64| quantile(&runs.iter().map(of).collect::<Vec<_>>(), 0.5).ok_or("no run was made");
    Ok(Shares { index: median(jain)?, own: median(|[own, other]| own / (own + other))? })
}

/// The seed says who starts first: each has an odd one and an even one.
fn once(
    lab: &Lab<'_>,
    path: Path,
    seed: u64,
    protocol: Protocol,
    controller: Controller,
) -> Result<[f64; 2], PeerError> {
    let own = Flow { controller, ..Flow::bulk(protocol, secs(lab)) };
    let other = Flow::bulk(Protocol::Kernel, secs(lab));
    let flows = if seed.is_multiple_of(2) { [own, other] } else { [other, own] };
    let run = over_link(path, seed, &flows)?;
    let mut carried = [0, 1].map(|flow: usize| run.outcomes[flow].received.goodput_mbit);
    if !seed.is_multiple_of(2) {
        carried.reverse();
    }
    let [own, other] = carried;
    eprintln!(
        "sharing, seed {seed}: {} ({}) {own:.2} Mbit/s, kernel {other:.2} Mbit/s, index {:.3}",
        protocol.name(),
        controller.name(),
        jain(&carried)
    );
    Ok(carried)
}

fn secs(lab: &Lab<'_>) -> f64 {
    if lab.options.quick { 15.0 } else { SECS }
}

fn jain(shares: &[f64; 2]) -> f64 {
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    sum * sum / (2.0 * squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_shares_have_index_one_and_a_single_winner_has_a_half() {
        assert_eq!((jain(&[5.0, 5.0]), jain(&[7.0, 0.0])), (1.0, 0.5));
    }
}
