//! V1 and V6: is the picture there, and is it fresh?
//!
//! The picture is a [`Talker`], of whom a third changes in each frame; everything but the JPEGs is shipped code.

use std::time::Duration;

use common::link::LinkConfig;
use common::picture::ladder::Rung;
use common::wire::control::Action;
use sim::meeting::Meeting;
use sim::picture::{Freshness, Talker};

use crate::figures::{Figure, Figures, Goal, quantile};
use crate::{Options, median};

const MILLI: Duration = Duration::from_millis(1);
const SEEDS: [u64; 3] = [1, 2, 3];

pub(crate) fn add(figures: &mut Figures, options: &Options) {
    if options.wants("V1") {
        fresh(figures);
    }
    if options.wants("V6") {
        whole(figures);
    }
}

/// A round trip of 100 ms from member to member and back, which loses this share on the way there, half of it on each
/// hop.
pub(crate) fn path(loss: f64) -> LinkConfig {
    LinkConfig { delay: 25 * MILLI, loss: 1.0 - (1.0 - loss).sqrt(), ..LinkConfig::default() }
}

fn talkers(path: LinkConfig, seed: u64) -> Meeting {
    let mut meeting = Meeting::new(path, seed);
    let (_, code) = meeting.host("Ada");
    meeting.join("Bo", code);
    for participant in &mut meeting.participants {
        participant.talker = Some(Talker::default());
    }
    meeting.run(Duration::from_secs(10));
    meeting
}

fn fresh(figures: &mut Figures) {
    let measured = SEEDS.map(|seed| {
        let mut meeting = talkers(path(0.05), seed);
        let (start, time) = (meeting.now, Duration::from_secs(30));
        meeting.run(time + Duration::from_secs(2));
        let [sender, receiver] = &meeting.participants[..] else { panic!("two are in") };
        let talker = sender.talker.as_ref().expect("all are talkers");
        let screen = &receiver.seen.screens[&sender.id()];
        Freshness::measure(talker, screen, start..start + time, 50 * MILLI, 100 * MILLI)
    });
    let frames: usize = measured.iter().map(|fresh| fresh.frames).sum();
    figures.add(Figure {
        row: "V1",
        what: format!("5 % loss: of {frames} frames, shown in time (50 + 100 ms) with 9 of 10 changed blocks fresh; mean of three seeds"),
        value: Some(measured.iter().map(|fresh| 100.0 * fresh.frames_fresh).sum::<f64>() / SEEDS.len() as f64),
        unit: "%",
        goal: Some(Goal::AtLeast(99.0)),
        others: Some("whole frames: 25 to 42".to_owned()),
    });
    figures.add(Figure {
        row: "V1",
        what: "5 % loss: how old a stale block is beyond the way there, p99; worst of three seeds".to_owned(),
        value: quantile(&measured.map(|fresh| fresh.stale_p99.as_secs_f64() * 1e3), 1.0),
        unit: "ms",
        goal: Some(Goal::AtMost(250.0)),
        others: None,
    });
}

/// A guest with 3 Mbit/s comes to a meeting of two, one of whom speaks; two tiles share the window.
fn whole(figures: &mut Figures) {
    let waits: Vec<f64> = SEEDS.iter().flat_map(|seed| whole_after(*seed)).collect();
    let goal = Some(Goal::AtMost(300.0));
    for (which, value, goal) in [("median", median(&waits), None), ("slowest", quantile(&waits, 1.0), goal)] {
        figures.add(Figure {
            row: "V6",
            what: format!("admitted to the whole picture of another at 3 Mbit/s, {which} of {} pictures", waits.len()),
            value,
            unit: "ms",
            goal,
            others: Some("others wait for a key frame".to_owned()),
        });
    }
}

fn whole_after(seed: u64) -> Vec<f64> {
    let mut meeting = talkers(path(0.0), seed);
    meeting.participants[1].muted = true;
    for participant in &mut meeting.participants {
        participant.endpoint.as_mut().expect("is in").limit_video(Rung::ALL[2]);
    }
    meeting.run(Duration::from_secs(8));
    let code = meeting.code();
    let guest = meeting.knock("Cy", code);
    meeting.participants[guest].talker = Some(Talker::default());
    meeting.participants[guest].down.configure(LinkConfig { rate_bps: Some(3_000_000), ..path(0.0) });
    assert!(meeting.run_until(Duration::from_secs(5), |meeting| !meeting.participants[0].seen.knocks.is_empty()));
    meeting.participants[0].session.act(Action::AdmitAll);
    meeting.run(Duration::from_secs(3));
    let seen = &meeting.participants[guest].seen;
    let admitted = seen.admitted_at.expect("is admitted");
    let wait = |whole| whole_millis(admitted, whole);
    seen.screens.values().map(|screen| screen.whole_at.map_or(f64::INFINITY, wait)).collect()
}

fn whole_millis(admitted: std::time::Instant, whole: std::time::Instant) -> f64 {
    whole.saturating_duration_since(admitted).as_secs_f64() * 1e3
}
