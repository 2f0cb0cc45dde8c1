//! Row S4: other people's relays, each beside the shipped server with the same packets and the same fan-out.

use std::io;
use std::time::Duration;

use super::driver::Plan;
use super::figures::{Figure, Figures, Goal};
use super::meeting::Meeting;
use super::packets;
use super::peers::{self, Measured};

const TIME: Duration = Duration::from_secs(5);

/// S4. With one receiver there is no fan-out, which is what this relay is for, and nothing to group: that row has no
/// goal. With nine, coturn is sent nine copies, for it has no fan-out either.
pub(crate) fn rows(figures: &mut Figures) {
    for (receivers, frame, goal) in [(1, 1, None), (9, 8, Some(Goal::AtLeast(3.0)))] {
        let load = Load { receivers, bytes: 1_200, frame, goal, settings: peers::turn::SETTINGS };
        against(figures, load, || peers::turn::measure(receivers as u16, TIME));
    }
    for receivers in [9, 49] {
        let goal = Some(Goal::AtLeast(3.0));
        let load = Load { receivers, bytes: 300, frame: 1, goal, settings: peers::mumble::SETTINGS };
        against(figures, load, || peers::mumble::measure(receivers, 300, TIME));
    }
}

#[derive(Clone, Copy)]
struct Load {
    receivers: usize,
    bytes: usize,
    /// Datagrams that come to our relay at once.
    frame: usize,
    goal: Option<Goal>,
    settings: &'static str,
}

fn against(figures: &mut Figures, load: Load, measure: impl Fn() -> io::Result<Option<Measured>>) {
    let Load { receivers, bytes, frame, goal, settings } = load;
    let what =
        format!("datagrams of {bytes} bytes delivered per CPU second, 1 to {receivers}, as fast as it takes them");
    let informative =
        |what: String, value: Option<f64>, unit| Figure { row: "S4", what, value, unit, goal: None, others: None };
    let peer = match measure() {
        Ok(Some(peer)) => peer,
        Ok(None) => {
            return figures.add(informative(format!("{what}: a peer is {}", peers::NOT_INSTALLED), None, "k/CPU s"));
        }
        Err(error) => {
            return figures.add(informative(format!("{what}: a peer did not work: {error}"), None, "k/CPU s"));
        }
    };
    let mut meeting = Meeting::start(receivers);
    let plan = Plan { time: TIME, frame, frames_per_sec: None };
    let carried = meeting.carry(&packets::video(bytes), plan);
    meeting.stop();
    let shipped = carried.cpu_secs.filter(|secs| *secs > 0.0).map(|secs| carried.run.delivered as f64 / secs);
    let theirs = peer.per_cpu_sec();
    figures.add(informative(
        format!("{} ({settings}): {what}; {:.2} % lost", peer.version, 100.0 * peer.loss()),
        theirs.map(|rate| rate / 1e3),
        "k/CPU s",
    ));
    figures.add(informative(
        format!("shipped server, sealed for each receiver, sent in frames of {frame}: {what}"),
        shipped.map(|rate| rate / 1e3),
        "k/CPU s",
    ));
    figures.add(Figure {
        goal,
        ..informative(
            format!("shipped server to {}, 1 to {receivers}", peer.version),
            shipped.zip(theirs).map(|(ours, theirs)| ours / theirs),
            "ratio",
        )
    });
}
