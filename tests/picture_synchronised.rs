//! A picture is the same on both sides, soon, whatever the network does: blocks over the shipped endpoints and relay, in
//! virtual time.

use std::time::Duration;

use common::ids::MemberId;
use common::link::LinkConfig;
use common::picture::ladder::Rung;
use sim::meeting::Meeting;
use sim::picture::{Freshness, Talker};

const MILLI: Duration = Duration::from_millis(1);

/// 25 ms and this loss each way on both hops: a round trip of 100 ms from member to member and back.
fn path(loss: f64) -> LinkConfig {
    LinkConfig { delay: 25 * MILLI, loss, ..LinkConfig::default() }
}

/// A meeting of talkers, after a few seconds in which the ladder found its place.
fn talkers(path: LinkConfig, names: &[&str], seed: u64) -> Meeting {
    let mut meeting = Meeting::new(path, seed);
    let (_, code) = meeting.host("Ada");
    for name in names {
        meeting.join(name, code);
    }
    for participant in &mut meeting.participants {
        participant.talker = Some(Talker::default());
    }
    meeting.run(Duration::from_secs(10));
    meeting
}

fn freshness(meeting: &mut Meeting, from: usize, to: usize, time: Duration) -> Freshness {
    let start = meeting.now;
    meeting.run(time + Duration::from_secs(2));
    let (sender, receiver) = (&meeting.participants[from], &meeting.participants[to]);
    let talker = sender.talker.as_ref().expect("all are talkers");
    let screen = &receiver.seen.screens[&sender.id()];
    Freshness::measure(talker, screen, start..start + time, 50 * MILLI, 100 * MILLI)
}

#[test]
fn at_5_percent_loss_frames_are_fresh_within_100_ms_and_no_block_is_stale_for_long() {
    let of_seeds = [1, 2, 3].map(|seed| {
        // Half of it on each hop.
        let mut meeting = talkers(path(0.0253), &["Bo"], seed);
        let fresh = freshness(&mut meeting, 0, 1, Duration::from_secs(30));
        assert!(fresh.frames >= 300 && fresh.stale_p99 <= 250 * MILLI, "{fresh:?}");
        fresh.frames_fresh
    });
    let mean = of_seeds.iter().sum::<f64>() / 3.0;
    assert!(mean >= 0.99, "{of_seeds:?}");
}

#[test]
fn at_10_percent_loss_most_frames_are() {
    let mut meeting = talkers(path(0.0513), &["Bo"], 4);
    let fresh = freshness(&mut meeting, 0, 1, Duration::from_secs(30));
    assert!(fresh.frames_fresh >= 0.95, "{fresh:?}");
    assert!(fresh.stale_p99 <= 350 * MILLI, "{fresh:?}");
}

#[test]
fn without_loss_every_frame_is_fresh() {
    let mut meeting = talkers(path(0.0), &["Bo"], 5);
    let fresh = freshness(&mut meeting, 0, 1, Duration::from_secs(20));
    assert!(fresh.frames_fresh >= 0.999 && fresh.stale_p99 <= 60 * MILLI, "{fresh:?}");
}

#[test]
fn who_is_admitted_sees_everybody_whole_within_a_round_trip_and_200_ms_at_3_mbit() {
    let mut meeting = talkers(path(0.0), &["Bo"], 6);
    // One speaks, and three tiles share a window.
    meeting.participants[1].muted = true;
    for participant in &mut meeting.participants {
        participant.endpoint.as_mut().expect("is in").limit_video(Rung::ALL[2]);
    }
    meeting.run(Duration::from_secs(8));
    let code = meeting.code();
    let cy = meeting.knock("Cy", code);
    meeting.participants[cy].talker = Some(Talker::default());
    meeting.participants[cy].down.configure(LinkConfig { rate_bps: Some(3_000_000), ..path(0.0) });
    assert!(meeting.run_until(Duration::from_secs(5), |meeting| !meeting.participants[0].seen.knocks.is_empty()));
    meeting.participants[0].session.act(common::wire::control::Action::AdmitAll);
    meeting.run(Duration::from_secs(3));
    let seen = &meeting.participants[cy].seen;
    let admitted = seen.admitted_at.expect("is admitted");
    let others: Vec<MemberId> = seen.screens.keys().copied().collect();
    assert_eq!(others.len(), 2);
    for screen in seen.screens.values() {
        let waited = screen.whole_at.expect("is whole") - admitted;
        assert!(waited <= 250 * MILLI, "{waited:?}");
    }
}

#[test]
fn a_picture_of_another_size_is_whole_at_once() {
    let mut meeting = talkers(path(0.02), &["Bo"], 7);
    for rung in [Rung::ALL[0], Rung::ALL[2], Rung::ALL[1]] {
        meeting.participants[0].endpoint.as_mut().expect("is in").limit_video(rung);
        meeting.run(Duration::from_secs(4));
        let fresh = freshness(&mut meeting, 0, 1, Duration::from_secs(10));
        assert!(fresh.frames_fresh >= 0.98, "{}: {fresh:?}", rung.name);
    }
}
