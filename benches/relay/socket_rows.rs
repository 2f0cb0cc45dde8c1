//! Rows S1, S2, S3 and S5: datagrams through sockets of loopback, by the shipped server and by bare loops in turn.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::bare::{self, Calls};
use super::driver::Plan;
use super::figures::{Figure, Figures, Goal, quantile};
use super::meeting::{Carried, Meeting};
use super::packets;

const RECEIVERS: usize = 9;
const ROUNDS: usize = 5;
const ROUND_TIME: Duration = Duration::from_secs(2);

/// Rates per CPU second of one contender, a value for each round.
#[derive(Default)]
struct Rates(Vec<f64>);

impl Rates {
    fn add(&mut self, delivered: u64, cpu_secs: Option<f64>) {
        self.0.extend(cpu_secs.filter(|secs| *secs > 0.0).map(|secs| delivered as f64 / secs));
    }

    fn median(&self) -> Option<f64> {
        quantile(&self.0, 0.5)
    }
}

/// Median over the rounds of the ratio within each round.
fn ratio(one: &Rates, other: &Rates) -> Option<f64> {
    let ratios: Vec<f64> = one.0.iter().zip(&other.0).map(|(one, other)| one / other).collect();
    quantile(&ratios, 0.5)
}

fn kilo(rates: &Rates) -> Option<f64> {
    rates.median().map(|rate| rate / 1e3)
}

fn informative(row: &'static str, what: String, value: Option<f64>, unit: &'static str) -> Figure {
    Figure { row, what, value, unit, goal: None, others: None }
}

/// S1 and S5.
pub(crate) fn frames(figures: &mut Figures) {
    const BYTES: usize = 1_200;
    let plan = Plan { time: ROUND_TIME, frame: 8, frames_per_sec: None };
    let mut meeting = Meeting::start(RECEIVERS);
    let packet = packets::video(BYTES);
    let (mut shipped, mut segments, mut tokio) = (Rates::default(), Rates::default(), Rates::default());
    let (mut wall, mut allocations, mut delivered, mut missing) = (Vec::new(), 0, 0, 0);
    for _ in 0..ROUNDS {
        let Carried { run, cpu_secs } = meeting.carry(&packet, plan);
        shipped.add(run.delivered, cpu_secs);
        wall.push(run.delivered as f64 / run.wall.as_secs_f64());
        allocations += run.allocations;
        delivered += run.delivered;
        missing += run.sent * RECEIVERS as u64 - run.delivered;
        let (run, cpu_secs) = bare::run(Calls::Segments, RECEIVERS, plan, BYTES);
        segments.add(run.delivered, cpu_secs);
        let (run, cpu_secs) = bare::run(Calls::Tokio, RECEIVERS, plan, BYTES);
        tokio.add(run.delivered, cpu_secs);
    }
    meeting.stop();
    let what = format!(
        "datagrams of {BYTES} bytes delivered per CPU second of the forwarding thread, 1 to {RECEIVERS}, frames of 8"
    );
    figures.add(Figure {
        others: Some("elsewhere on this kind of machine: str0m 153, coturn 160 (1 to 1), Janus 67 k/s".into()),
        ..informative("S1", format!("shipped server, sealed for each receiver: {what}"), kilo(&shipped), "k/CPU s")
    });
    figures.add(informative("S1", format!("bare UDP_SEGMENT fan-out, not sealed: {what}"), kilo(&segments), "k/CPU s"));
    figures.add(informative("S1", format!("plain tokio recv and send, not sealed: {what}"), kilo(&tokio), "k/CPU s"));
    figures.add(Figure {
        goal: Some(Goal::AtLeast(0.75)),
        ..informative(
            "S1",
            "shipped server to the bare UDP_SEGMENT fan-out".into(),
            ratio(&shipped, &segments),
            "ratio",
        )
    });
    figures.add(Figure {
        goal: Some(Goal::AtLeast(3.0)),
        ..informative("S1", "shipped server to plain tokio recv and send".into(), ratio(&shipped, &tokio), "ratio")
    });
    let wall = quantile(&wall, 0.5).map(|rate| rate / 1e3);
    figures.add(informative(
        "S1",
        "shipped server: delivered per second of wall time, sender and receivers on the other core".into(),
        wall,
        "k/s",
    ));
    let share = missing as f64 / (delivered + missing).max(1) as f64;
    figures.add(informative(
        "S1",
        "shipped server: share of datagrams that did not arrive meanwhile".into(),
        Some(100.0 * share),
        "%",
    ));
    figures.add(Figure {
        goal: Some(Goal::AtMost(0.0)),
        ..informative(
            "S5",
            format!(
                "allocations for each datagram delivered, to a thousandth: {allocations} of the whole process, control plane and bench included, while {delivered} were delivered"
            ),
            Some((1e3 * allocations as f64 / delivered.max(1) as f64).round() / 1e3),
            "allocations",
        )
    });
}

/// The rest of S1: what it costs that each answer leaves from the address that was asked. A server at one address has
/// no need to say so.
pub(crate) fn own_address(figures: &mut Figures) {
    const ROUNDS: usize = 9;
    for (what, frame, bytes, frames_per_sec) in
        [("frames of 8, 1,200 bytes", 8, 1_200, None), ("voices, 300 bytes", 1, 300, Some(8_000.0))]
    {
        let plan = Plan { time: ROUND_TIME, frame, frames_per_sec };
        let packet = packets::video(bytes);
        let (mut every, mut one) = (Rates::default(), Rates::default());
        for _ in 0..ROUNDS {
            for (rates, address) in [(&mut every, Ipv4Addr::UNSPECIFIED), (&mut one, Ipv4Addr::LOCALHOST)] {
                let mut meeting = Meeting::start_at(address, RECEIVERS);
                let Carried { run, cpu_secs } = meeting.carry(&packet, plan);
                rates.add(run.delivered, cpu_secs);
                meeting.stop();
            }
        }
        figures.add(Figure {
            goal: Some(Goal::AtLeast(0.98)),
            ..informative(
                "S1",
                format!("a server at every address to the same server at one: {what}"),
                ratio(&every, &one),
                "ratio",
            )
        });
    }
}

/// S2.
pub(crate) fn audio(figures: &mut Figures) {
    const BYTES: usize = 300;
    const PER_SEC: f64 = 8_000.0;
    let plan = Plan { time: ROUND_TIME, frame: 1, frames_per_sec: Some(PER_SEC) };
    let mut meeting = Meeting::start(RECEIVERS);
    let packet = packets::video(BYTES);
    let (mut shipped, mut batches) = (Rates::default(), Rates::default());
    for _ in 0..ROUNDS {
        let Carried { run, cpu_secs } = meeting.carry(&packet, plan);
        shipped.add(run.delivered, cpu_secs);
        let (run, cpu_secs) = bare::run(Calls::Batches, RECEIVERS, plan, BYTES);
        batches.add(run.delivered, cpu_secs);
    }
    meeting.stop();
    let what = format!(
        "datagrams of {BYTES} bytes delivered per CPU second of the forwarding thread, 1 to {RECEIVERS}, one every {:.0} µs",
        1e6 / PER_SEC
    );
    figures.add(informative(
        "S2",
        format!("shipped server, sealed for each receiver: {what}"),
        kilo(&shipped),
        "k/CPU s",
    ));
    figures.add(informative(
        "S2",
        format!("bare recvmmsg and sendmmsg fan-out, not sealed: {what}"),
        kilo(&batches),
        "k/CPU s",
    ));
    figures.add(Figure {
        goal: Some(Goal::AtLeast(0.9)),
        ..informative(
            "S2",
            "shipped server to the bare recvmmsg and sendmmsg fan-out".into(),
            ratio(&shipped, &batches),
            "ratio",
        )
    });
}

/// S3.
pub(crate) fn latency(figures: &mut Figures) {
    const BYTES: usize = 1_200;
    let mut meeting = Meeting::start(RECEIVERS);
    let packet = packets::video(BYTES);
    let full = Plan { time: ROUND_TIME, frame: 8, frames_per_sec: None };
    let carried = meeting.carry(&packet, full);
    let capacity = carried.run.sent as f64 / carried.run.wall.as_secs_f64() / full.frame as f64;
    let half = Plan { frames_per_sec: Some(capacity / 2.0), ..full };
    let (mut p50, mut p99, mut missing) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let Carried { run, .. } = meeting.carry(&packet, half);
        p50.extend(run.latencies.quantile(0.5));
        p99.extend(run.latencies.quantile(0.99));
        missing += run.sent * RECEIVERS as u64 - run.delivered;
    }
    meeting.stop();
    let what = format!(
        "from sending to arrival at the first of {RECEIVERS} receivers at half of capacity ({:.0} frames of 8 a second), {missing} missing",
        capacity / 2.0
    );
    for (name, values, goal) in [("p50", &p50, 150.0), ("p99", &p99, 2_000.0)] {
        figures.add(Figure {
            goal: Some(Goal::AtMost(goal)),
            ..informative("S3", format!("{name}, {what}"), quantile(values, 0.5), "µs")
        });
    }
}
