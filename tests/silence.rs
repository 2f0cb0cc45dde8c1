//! Datagrams that do not get through while the control plane works: everybody is told within five seconds, each time, and
//! of the end of it; and nobody is shown a figure that was true once.

use std::time::{Duration, Instant};

use common::ids::MemberId;
use common::link::LinkConfig;
use common::wire::control::Reach;
use common::wire::message::Recipients;
use sim::meeting::{Break, Meeting};

const ADA: MemberId = MemberId(1);
const BO: MemberId = MemberId(2);

/// How long anybody may be left in the dark.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

fn two(seed: u64) -> Meeting {
    let path = LinkConfig { delay: Duration::from_millis(20), ..LinkConfig::default() };
    let mut meeting = Meeting::new(path, seed);
    let (_, code) = meeting.host("Ada");
    meeting.join("Bo", code);
    meeting.run(Duration::from_secs(2));
    meeting
}

/// What `index` knows of the ways of Bo.
fn known(meeting: &Meeting, index: usize) -> Reach {
    meeting.participants[index].session.members()[&BO].reach
}

fn silence(meeting: &mut Meeting, ways: Reach) -> Instant {
    meeting.participants[1].ways = ways;
    meeting.now
}

#[test]
fn both_are_told_of_silence_and_of_its_end_each_time_and_each_way() {
    let mut meeting = two(1);
    assert!(meeting.participants.iter().all(|participant| participant.seen.reaches.is_empty()));
    let ways = [(false, false), (true, false), (false, true), (false, false)];
    for ways in ways.map(|(heard, hears)| Reach { heard, hears }) {
        silence(&mut meeting, ways);
        let told = |meeting: &Meeting| (0..2).all(|index| known(meeting, index) == ways);
        assert!(meeting.run_until(TOLD_WITHIN, told), "{ways:?}");
        meeting.run(Duration::from_secs(7));
        assert!(told(&meeting), "{ways:?}");
        silence(&mut meeting, Reach::WHOLE);
        let back = |meeting: &Meeting| (0..2).all(|index| known(meeting, index) == Reach::WHOLE);
        assert!(meeting.run_until(Duration::from_secs(1), back), "back from {ways:?}");
        meeting.run(Duration::from_secs(3));
        assert!(back(&meeting));
    }
    let of_ada = meeting.participants.iter().flat_map(|participant| &participant.seen.reaches);
    assert_eq!(of_ada.filter(|(_, member, _)| *member == ADA).count(), 0, "nothing was wrong with Ada");
}

#[test]
fn a_member_who_was_never_heard_counts_too_and_who_comes_later_knows_it() {
    let path = LinkConfig { delay: Duration::from_millis(20), ..LinkConfig::default() };
    let mut meeting = Meeting::new(path, 2);
    let (_, code) = meeting.host("Ada");
    let bo = meeting.knock("Bo", code);
    meeting.participants[bo].ways = Reach { heard: false, hears: false };
    meeting.run(Duration::from_millis(200));
    meeting.participants[0].session.act(common::wire::control::Action::AdmitAll);
    let told = |meeting: &Meeting| {
        (0..2).all(|index| {
            let members = meeting.participants[index].session.members();
            members.get(&BO).is_some_and(|bo| bo.reach == Reach { heard: false, hears: false })
        })
    };
    assert!(meeting.run_until(TOLD_WITHIN, told));
    let cy = meeting.join("Cy", code);
    assert!(!known(&meeting, cy).heard, "the roster has it");
}

#[test]
fn loss_and_a_stall_of_the_server_are_no_silence() {
    let path = LinkConfig { delay: Duration::from_millis(50), loss: 0.4, ..LinkConfig::default() };
    let mut meeting = Meeting::new(path, 3);
    let (_, code) = meeting.host("Ada");
    meeting.join("Bo", code);
    meeting.participants.iter_mut().for_each(|participant| participant.media = false);
    meeting.run(Duration::from_secs(60));
    // Everything stands still for twenty seconds: what came meanwhile is not read yet.
    meeting.now += Duration::from_secs(20);
    meeting.run(Duration::from_secs(5));
    for participant in &meeting.participants {
        assert_eq!(participant.seen.reaches, [], "{}", participant.name);
    }
}

#[test]
fn nothing_that_was_measured_before_the_silence_is_shown_as_if_it_were_so() {
    let mut meeting = two(4);
    meeting.run(Duration::from_secs(3));
    let snapshot = |meeting: &mut Meeting| {
        let now = meeting.now;
        meeting.participants[1].endpoint.as_mut().expect("admitted").snapshot(now)
    };
    let before = snapshot(&mut meeting);
    assert!(before.round_trip_time.is_some() && before.silent_for.is_none());
    assert!(before.uplink.available_bitrate_bps.is_some() && before.downlink.fraction_lost.is_some());
    assert!(before.inbound.iter().all(|stream| stream.jitter.is_some() && stream.bitrate_bps > 0));
    assert!(before.outbound.iter().all(|stream| !stream.remote.is_empty()));
    silence(&mut meeting, Reach { heard: false, hears: false });
    meeting.run(Duration::from_secs(4));
    let during = snapshot(&mut meeting);
    assert!(during.silent_for.is_some_and(|silent| silent >= Duration::from_millis(3_500)));
    assert_eq!(during.round_trip_time, None);
    let unknown = (during.uplink.available_bitrate_bps, during.uplink.fraction_lost, during.downlink.fraction_lost);
    assert_eq!(unknown, (None, None, None));
    assert_eq!((during.uplink.queueing_delay, during.downlink.queueing_delay), (None, None));
    for stream in &during.inbound {
        assert_eq!((stream.fraction_lost, stream.jitter, stream.bitrate_bps), (None, None, 0));
    }
    assert!(during.outbound.iter().all(|stream| stream.remote.is_empty()));
    silence(&mut meeting, Reach::WHOLE);
    meeting.run(Duration::from_secs(1));
    let after = snapshot(&mut meeting);
    assert!(after.round_trip_time.is_some() && after.silent_for.is_none());
}

#[test]
fn silence_that_outlives_a_broken_control_connection_is_told_on_the_new_one() {
    let mut meeting = two(5);
    silence(&mut meeting, Reach { heard: false, hears: false });
    meeting.cut(1, Break::Both, Duration::from_secs(6));
    let told = |meeting: &Meeting| (0..2).all(|index| known(meeting, index) == Reach { heard: false, hears: false });
    assert!(meeting.run_until(Duration::from_secs(12), |meeting| meeting.connected(1) && told(meeting)));
    silence(&mut meeting, Reach::WHOLE);
    let back = |meeting: &Meeting| (0..2).all(|index| known(meeting, index) == Reach::WHOLE);
    assert!(meeting.run_until(Duration::from_secs(2), back));
    meeting.participants[1].say(Recipients::Everyone, "here again");
    assert!(meeting.run_until(Duration::from_secs(30), |meeting| !meeting.participants[0].seen.chat.is_empty()));
}
