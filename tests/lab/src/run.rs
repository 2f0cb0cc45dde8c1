//! One run: a link, the flows over it, and whether it can be believed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::link::{ADDRESSES, Ends, Lateness, LinkReport};
use crate::peers::{Flow, PeerError, Ready};
use crate::priority::Priority;
use crate::process::Process;
use crate::traffic::{Received, Sent};

/// A path as the grid names it, the same each way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Path {
    /// Of whole IP packets.
    pub(crate) rate_mbit: f64,
    /// Without the queue.
    pub(crate) rtt_ms: f64,
    /// Of packets, each way, independently.
    pub(crate) loss_percent: f64,
    /// More or less than half the round trip, each way; packets overtake none.
    pub(crate) jitter_ms: f64,
}

/// The queue of a short path: 20 full packets.
const QUEUE_MIN_BYTES: f64 = 30_000.0;

impl Path {
    /// One bandwidth-delay product.
    fn queue_bytes(&self) -> f64 {
        (self.rate_mbit * 1e6 / 8.0 * self.rtt_ms / 1e3).max(QUEUE_MIN_BYTES)
    }

    fn to_link(self) -> String {
        let Self { rate_mbit, rtt_ms, loss_percent, jitter_ms } = self;
        let (delay, rate) = (rtt_ms / 2.0, rate_mbit * 1e3);
        format!("loss={loss_percent},delay={delay},jitter={jitter_ms},rate={rate},queue={}", self.queue_bytes())
    }

    /// Whether packets were so late that it shows: 99 of 100 by more than a fiftieth of the round trip, or any by more
    /// than a whole one; and more than the pauses that every machine makes.
    fn is_disturbed_by(&self, late: &Lateness) -> bool {
        let rtt_micros = self.rtt_ms * 1e3;
        late.p99_micros as f64 > (rtt_micros / 50.0).max(300.0) || late.longest_micros as f64 > rtt_micros.max(15e3)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Mbit/s, {} ms, {} %", self.rate_mbit, self.rtt_ms, self.loss_percent)?;
        if self.jitter_ms > 0.0 { write!(f, ", {} ms more or less", self.jitter_ms) } else { Ok(()) }
    }
}

/// What came of one flow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) received: Received,
    pub(crate) sent: Sent,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Of each flow.
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) link: LinkReport,
    /// The emulator was too late too often in each of [`ATTEMPTS`]: the figure is of a busy machine.
    pub(crate) disturbed: bool,
}

/// How often a disturbed run is done.
const ATTEMPTS: usize = 4;
/// How long a process may take for what takes no time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends the flows over a path of their own. What was disturbed is discarded and done again; when all attempts were,
/// the least disturbed one is given.
pub(crate) fn over_link(path: Path, seed: u64, flows: &[Flow]) -> Result<Run, PeerError> {
    let mut best = once_over_link(path, seed, flows)?;
    for _ in 1..ATTEMPTS {
        if !best.disturbed {
            break;
        }
        eprintln!("discarded, packets were late ({}): {path}, seed {seed}", best.link.lateness);
        let run = once_over_link(path, seed, flows)?;
        if !run.disturbed || run.link.lateness.p99_micros < best.link.lateness.p99_micros {
            best = run;
        }
    }
    Ok(best)
}

fn once_over_link(path: Path, seed: u64, flows: &[Flow]) -> Result<Run, PeerError> {
    let args = ["link".to_owned(), format!("--each-way={}", path.to_link()), format!("--seed={seed}")];
    let link = Process::start(None, &args)?;
    let ends: Ends = link.hear(PATIENCE)?;
    let [near, far] = ends.namespaces.each_ref().map(|name| Some(name.as_str()));
    let outcomes = carry(flows, [near, far], ADDRESSES[1].parse()?, Priority::Peer)?;
    let link: LinkReport = link.end(PATIENCE)?;
    let disturbed = path.is_disturbed_by(&link.lateness) || link.ring_drops > 0;
    Ok(Run { outcomes, link, disturbed })
}

/// Sends one flow over the loopback of this machine, at no one's cost.
pub(crate) fn over_loopback(flow: Flow) -> Result<Outcome, PeerError> {
    let outcomes = carry(&[flow], [None, None], Ipv4Addr::LOCALHOST.into(), Priority::Normal)?;
    outcomes.into_iter().next().ok_or_else(|| "the flow has no outcome".into())
}

/// Starts all receivers, then all senders, and hears them out.
fn carry(flows: &[Flow], ends: [Option<&str>; 2], to: IpAddr, priority: Priority) -> Result<Vec<Outcome>, PeerError> {
    let start = |end: Option<&str>, command: &str, flow: &Flow, more: &[String]| {
        let mut args = vec![command.to_owned(), format!("--priority={}", priority.name()), format!("--address={to}")];
        args.extend(flow.to_args());
        args.extend_from_slice(more);
        Process::start(end, &args)
    };
    let [near, far] = ends;
    let receivers = flows.iter().map(|flow| start(far, "receive", flow, &[])).collect::<Result<Vec<_>, _>>()?;
    let mut ready = Vec::new();
    for receiver in &receivers {
        ready.push(serde_json::to_string(&receiver.hear::<Ready>(PATIENCE)?)?);
    }
    let senders = flows.iter().zip(ready).map(|(flow, ready)| start(near, "send", flow, &[format!("--ready={ready}")]));
    let senders = senders.collect::<Result<Vec<_>, _>>()?;
    let mut outcomes = Vec::new();
    for ((sender, receiver), flow) in senders.into_iter().zip(receivers).zip(flows) {
        let patience = PATIENCE + Duration::from_secs_f64(flow.secs());
        let received = receiver.end(patience).map_err(|error| format!("receiver of {:?}: {error}", flow.protocol))?;
        let sent = sender.end(patience).map_err(|error| format!("sender of {:?}: {error}", flow.protocol))?;
        outcomes.push(Outcome { received, sent });
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use common::link::LinkConfig;

    use super::*;

    #[test]
    fn a_path_is_a_link_that_the_simulator_knows_with_a_queue_of_one_product() {
        let path = Path { rate_mbit: 20.0, rtt_ms: 50.0, loss_percent: 0.1, jitter_ms: 0.0 };
        let config: LinkConfig = path.to_link().parse().unwrap();
        let expected = LinkConfig {
            delay: Duration::from_millis(25),
            loss: 0.001,
            rate_bps: Some(20_000_000),
            queue_bytes: 125_000,
            ..LinkConfig::default()
        };
        assert_eq!(config, expected);
        let short = Path { rtt_ms: 2.0, ..path };
        assert_eq!(short.queue_bytes(), QUEUE_MIN_BYTES);
    }
}
