//! What rate control takes a path to carry, second by second, as it is checked in: a change of the algorithm is a change
//! of `golden/rate_control.txt`.
//!
//! Virtual time and seeds: the figures are the same everywhere. Who changes them on purpose takes over the table that the
//! failing test prints.

use std::fmt::Write;
use std::time::Duration;

use common::ids::StreamKind;
use common::link::LinkConfig;
use sim::line::Way;
use sim::meeting::Meeting;
use sim::rate::{NarrowCall, QUEUE, narrow};

const GOLDEN: &str = include_str!("golden/rate_control.txt");
const SECOND: Duration = Duration::from_secs(1);
const SEED: u64 = 1;
/// Between two rows of the table.
const EVERY: u64 = 2;
const LENGTH: u64 = 60;

#[test]
fn the_target_follows_the_path_as_it_is_checked_in() {
    let columns = [
        steps(Way::Up, narrow),
        steps(Way::Down, narrow),
        steps(Way::Up, deep),
        steps(Way::Down, deep),
        steady(Way::Up, LinkConfig { loss: 0.05, ..narrow(3.0, QUEUE) }),
        steady(Way::Up, LinkConfig { jitter: Duration::from_millis(5), ..narrow(1.0, QUEUE) }),
        beside_reno(Way::Up),
        beside_reno(Way::Down),
    ];
    let mut table: String =
        GOLDEN.lines().take_while(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    for second in (EVERY..=LENGTH).step_by(EVERY as usize) {
        write!(table, "{second:>4}").expect("a string grows");
        columns.iter().for_each(|call| write!(table, "  {}", cell(call, second)).expect("a string grows"));
        table.push('\n');
    }
    assert!(table == GOLDEN, "the table is now\n{table}");
}

#[test]
fn a_queue_of_our_own_on_a_path_for_little_more_than_a_voice_is_gone_for_good() {
    for (way, seed) in [(Way::Up, 1), (Way::Up, 2), (Way::Down, 1), (Way::Down, 2)] {
        let mut call = NarrowCall::new(way, deep(3.0, QUEUE), seed);
        call.run(10 * SECOND);
        call.configure(deep(0.3, QUEUE));
        call.run(40 * SECOND);
        let mut waiting: Vec<_> = call.between(25, 50).iter().map(|look| look.waiting).collect();
        waiting.sort_unstable();
        let p95 = waiting[waiting.len() * 95 / 100];
        assert!(p95 <= Duration::from_millis(100), "{p95:?} {way:?} {seed}");
    }
}

#[test]
fn a_voice_alone_is_exact_again_when_its_path_carries_that_again() {
    for way in [Way::Up, Way::Down] {
        let mut meeting = Meeting::new(narrow(10.0, QUEUE), SEED);
        let (ada, code) = meeting.host("Ada");
        let bo = meeting.join("Bo", code);
        meeting.participants[bo].muted = true;
        meeting.participants.iter_mut().for_each(|participant| participant.watch(&[], 0));
        meeting.participants[ada].endpoint.as_mut().expect("in").send_silence(true);
        let [exact, thin, again] = [(10.0, 5), (0.15, 10), (10.0, 15)].map(|(mbps, secs)| {
            match way {
                Way::Up => meeting.participants[ada].up.configure(narrow(mbps, QUEUE)),
                Way::Down => meeting.participants[bo].down.configure(narrow(mbps, QUEUE)),
            }
            meeting.run(secs * SECOND);
            let inbound = &meeting.participants[bo].seen.snapshot.inbound;
            inbound.iter().find(|stream| stream.ssrc.kind() == StreamKind::Audio).map_or(0, |stream| stream.bitrate_bps)
        });
        assert!(2 * thin < exact, "{thin} of {exact}, {way:?}");
        assert!(10 * again > 9 * exact, "{again} of {exact}, {way:?}");
    }
}

/// The mean target of the seconds since the last row, and the longest queue in them.
fn cell(call: &NarrowCall, second: u64) -> String {
    let looks = call.between(second - EVERY, second);
    let target = looks.iter().map(|look| look.targets_bps[0] as f64).sum::<f64>() / looks.len() as f64;
    let queue = looks.iter().map(|look| look.waiting).max().unwrap_or_default();
    format!("{:5.2} {:4}", target / 1e6, queue.as_millis())
}

fn deep(mbps: f64, _: Duration) -> LinkConfig {
    LinkConfig { queue_bytes: 112_500, ..narrow(mbps, QUEUE) }
}

/// 3 Mbit/s, from the 20th second on a sixth of it, and from the 40th as before.
fn steps(way: Way, path: fn(f64, Duration) -> LinkConfig) -> NarrowCall {
    let mut call = NarrowCall::new(way, path(3.0, QUEUE), SEED);
    for mbps in [3.0, 0.5, 3.0] {
        call.configure(path(mbps, QUEUE));
        call.run(20 * SECOND);
    }
    call
}

fn steady(way: Way, path: LinkConfig) -> NarrowCall {
    let mut call = NarrowCall::new(way, path, SEED);
    call.run(60 * SECOND);
    call
}

/// 2 Mbit/s, shared with a transfer from the 20th second on.
fn beside_reno(way: Way) -> NarrowCall {
    let mut call = NarrowCall::new(way, narrow(2.0, QUEUE), SEED);
    call.run(20 * SECOND);
    call.begin_foreign();
    call.run(40 * SECOND);
    call
}
