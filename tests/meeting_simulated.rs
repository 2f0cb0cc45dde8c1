//! A minute of a meeting of eight on a bad network, in virtual time: the promises of the product over its own cores.

use std::collections::BTreeSet;
use std::time::Duration;

use common::ids::{MemberId, Ssrc, StreamKind};
use common::link::LinkConfig;
use common::picture::ladder::Rung;
use common::session::Over;
use common::stats::InboundMedia;
use common::wire::control::{Action, Refusal};
use common::wire::message::{FileState, Recipients};
use sim::meeting::Meeting;
use sim::sources::file;

const FILE_BYTES: usize = 300_000;

fn bad_network() -> LinkConfig {
    LinkConfig {
        delay: Duration::from_millis(40),
        jitter: Duration::from_millis(10),
        loss: 0.03,
        ..LinkConfig::default()
    }
}

/// Eight people on that network, everything being sent, for a minute.
fn minute_of_eight(path: LinkConfig, seed: u64) -> Meeting {
    let mut meeting = Meeting::new(path, seed);
    let (_, code) = meeting.host("Ada");
    for name in ["Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal"] {
        meeting.join(name, code);
    }
    // Eight tiles share a window, so none is shown larger.
    for participant in &mut meeting.participants {
        let endpoint = participant.endpoint.as_mut().expect("all are in");
        endpoint.limit_video(Rung::ALL[1]);
    }
    meeting.run(Duration::from_secs(5));
    let (ada, bo) = (meeting.participants[0].id(), meeting.participants[1].id());
    for round in 0..10 {
        for index in 0..8 {
            meeting.participants[index].say(Recipients::Everyone, &format!("{index} {round}"));
        }
        meeting.participants[1].say(Recipients::Member(ada), &format!("private {round}"));
        meeting.run(Duration::from_secs(1));
    }
    meeting.participants[0].offer(Recipients::Everyone, 5, FILE_BYTES);
    meeting.participants[2].offer(Recipients::Member(bo), 6, FILE_BYTES);
    meeting.run(Duration::from_secs(45));
    meeting
}

fn check_promises(meeting: &Meeting) {
    let ids: BTreeSet<MemberId> = meeting.participants.iter().map(|participant| participant.id()).collect();
    for participant in &meeting.participants {
        let (name, seen) = (&participant.name, &participant.seen);
        let others: BTreeSet<_> = ids.iter().copied().filter(|id| *id != participant.id()).collect();

        assert_eq!(seen.frames.keys().copied().collect::<BTreeSet<_>>(), others, "{name} sees everybody else");
        for (sender, (complete, holes, wrong)) in &seen.frames {
            assert!(complete + holes > 300, "{name} sees {sender} move: {complete} + {holes}");
            assert_eq!(*wrong, 0, "{name} gets the bytes {sender} sent");
        }
        let (sound, blocks) = seen.blocks;
        assert!(blocks > 5_900 && sound * 100 > blocks * 60, "{name} hears voices: {sound} of {blocks}");

        let public: Vec<_> = seen.chat.iter().filter(|line| line.2 == Recipients::Everyone).collect();
        assert_eq!(public.len(), 70, "{name} reads all that is said to all, once");
        for sender in &others {
            let rounds: Vec<_> = public.iter().filter(|line| line.0 == *sender).map(|line| line.3.clone()).collect();
            let index = usize::from(sender.0) - 1;
            assert_eq!(rounds, (0..10).map(|round| format!("{index} {round}")).collect::<Vec<_>>(), "in order");
        }

        let round_trip = seen.snapshot.round_trip_time.expect("pings are answered");
        assert!(round_trip < Duration::from_millis(150), "{name}: {round_trip:?}");
        assert!(seen.snapshot.reno.cwnd_bytes > 0);
    }

    let private = |index: usize| {
        let chat = meeting.participants[index].seen.chat.iter();
        chat.filter(|line| line.2 != Recipients::Everyone).count()
    };
    assert_eq!((0..8).map(private).collect::<Vec<_>>(), [10, 0, 0, 0, 0, 0, 0, 0], "private words reach one");

    let files = |index: usize, seed: u64| {
        let files = meeting.participants[index].seen.files.iter();
        files.filter(|(.., content)| *content == file(seed, FILE_BYTES)).count()
    };
    assert_eq!((0..8).map(|index| files(index, 5)).collect::<Vec<_>>(), [0, 1, 1, 1, 1, 1, 1, 1], "a file for all");
    assert_eq!((0..8).map(|index| files(index, 6)).collect::<Vec<_>>(), [0, 1, 0, 0, 0, 0, 0, 0], "a file for one");
    assert!(meeting.participants[1].seen.files.iter().all(|(_, offer, _)| offer.name == "notes.txt"));
    let verified = meeting.participants[0].seen.file_states.iter().filter(|(.., state)| *state == FileState::Verified);
    assert_eq!(verified.count(), 7, "the sender hears of each receiver");
}

#[test]
fn eight_people_meet_for_a_minute_on_a_clean_network() {
    let meeting = minute_of_eight(LinkConfig { delay: Duration::from_millis(1), ..LinkConfig::default() }, 1);
    check_promises(&meeting);
    for participant in &meeting.participants {
        for stream in &participant.seen.snapshot.inbound {
            assert_eq!(stream.packets_lost, 0, "{stream:?}");
            if let InboundMedia::Video { frames, .. } = stream.media {
                // A frame may be under way at the moment of admission.
                assert!(frames.frames_incomplete <= 1, "{stream:?}");
            }
        }
    }
}

#[test]
fn eight_people_meet_for_a_minute_at_3_percent_loss_and_40_ms_each_way() {
    let meeting = minute_of_eight(bad_network(), 2);
    check_promises(&meeting);
    for participant in &meeting.participants {
        for stream in &participant.seen.snapshot.inbound {
            // Two links of 3 % each: 5.9 % end to end.
            let share = stream.packets_lost as f64 / (stream.packets_lost as f64 + stream.packets_received as f64);
            assert!((0.03..0.09).contains(&share), "measured loss {share} of {stream:?}");
            if let InboundMedia::Audio { playout, .. } = stream.media {
                let concealed = playout.concealed_share();
                assert!(concealed < 0.01, "{concealed} of {stream:?}");
            }
        }
    }
}

#[test]
fn video_goes_to_those_who_watch_and_a_camera_nobody_watches_rests() {
    let mut meeting = Meeting::new(LinkConfig { delay: Duration::from_millis(5), ..LinkConfig::default() }, 4);
    let (_, code) = meeting.host("Ada");
    for name in ["Bo", "Cy"] {
        meeting.join(name, code);
    }
    meeting.run(Duration::from_secs(2));
    let ids: Vec<MemberId> = meeting.participants.iter().map(|participant| participant.id()).collect();
    meeting.participants[0].watch(&[], 0);
    meeting.participants[1].watch(&[ids[0]], 0);
    meeting.participants[2].watch(&[], 0);
    meeting.run(Duration::from_secs(1));
    let frames = |meeting: &Meeting, viewer: usize, sender: usize| {
        let frames = meeting.participants[viewer].seen.frames.get(&ids[sender]).copied().unwrap_or_default();
        frames.0 + frames.1
    };
    let sent = |meeting: &Meeting, index: usize| {
        let video = Ssrc::new(ids[index], StreamKind::Video);
        let streams = &meeting.participants[index].seen.snapshot.outbound;
        streams.iter().find(|stream| stream.ssrc == video).map_or(0, |stream| stream.packets_sent)
    };
    let pairs = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];
    let before = pairs.map(|(viewer, sender)| frames(&meeting, viewer, sender));
    let sent_before = [0, 1, 2].map(|index| sent(&meeting, index));
    meeting.run(Duration::from_secs(3));
    let grew: Vec<_> =
        pairs.iter().zip(before).map(|(pair, before)| frames(&meeting, pair.0, pair.1) > before).collect();
    assert_eq!(grew, [false, false, true, false, false, false], "only Bo looks, and only at Ada");
    let sends: Vec<_> = (0..3).map(|index| sent(&meeting, index) > sent_before[index]).collect();
    assert_eq!(sends, [true, false, false]);
    assert_eq!(meeting.participants[0].seen.snapshot.video_target.rung, Rung::ALL[0], "no larger than the only tile");

    meeting.participants[2].watch(&[ids[0], ids[1]], 3);
    meeting.run(Duration::from_secs(3));
    assert!(frames(&meeting, 2, 1) > before[5] && frames(&meeting, 2, 0) > before[4]);
    for stream in &meeting.participants[2].seen.snapshot.inbound {
        assert_eq!(stream.packets_lost, 0, "what was not asked for was not lost: {stream:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_meeting() {
    let run = || {
        let mut meeting = Meeting::new(bad_network(), 9);
        let (_, code) = meeting.host("Ada");
        meeting.join("Bo", code);
        meeting.run(Duration::from_secs(5));
        let seen = &meeting.participants[1].seen;
        (code, seen.datagrams, seen.frames.clone(), seen.blocks)
    };
    assert_eq!(run(), run());
}

#[test]
fn a_guest_sees_the_host_within_a_round_trip_and_200_ms_of_admission() {
    let path = LinkConfig { delay: Duration::from_millis(25), ..LinkConfig::default() };
    let mut meeting = Meeting::new(path, 3);
    let (_, code) = meeting.host("Ada");
    meeting.run(Duration::from_secs(3));
    let bo = meeting.join("Bo", code);
    meeting.run(Duration::from_secs(2));
    let seen = &meeting.participants[bo].seen;
    let waited = seen.first_frame_at.unwrap() - seen.admitted_at.unwrap();
    assert!(waited <= Duration::from_millis(250), "{waited:?}");
}

#[test]
fn a_waiting_guest_gets_nothing_however_long_the_wait() {
    let mut meeting = Meeting::new(LinkConfig::default(), 4);
    let (_, code) = meeting.host("Ada");
    meeting.join("Bo", code);
    let eve = meeting.knock("Eve", code);
    for _ in 0..60 {
        meeting.participants[0].say(Recipients::Everyone, "not for Eve");
        meeting.run(Duration::from_secs(1));
    }
    let eve = &meeting.participants[eve];
    assert_eq!((eve.seen.datagrams, eve.seen.chat.len(), eve.session.members().len()), (0, 0, 0));
    assert!(eve.endpoint.is_none() && eve.session.you().is_none());
    assert_eq!(meeting.participants[1].seen.chat.len(), 60);
}

#[test]
fn a_removed_member_gets_nothing_from_then_on() {
    let mut meeting = Meeting::new(LinkConfig::default(), 5);
    let (_, code) = meeting.host("Ada");
    let bo = meeting.join("Bo", code);
    meeting.join("Cy", code);
    meeting.run(Duration::from_secs(2));
    let id = meeting.participants[bo].id();
    meeting.participants[0].session.act(Action::Remove(id));
    meeting.run(Duration::from_millis(100));
    let before = meeting.participants[bo].seen.datagrams;
    meeting.run(Duration::from_secs(5));
    assert_eq!(meeting.participants[bo].seen.datagrams, before);
    assert!(matches!(meeting.participants[bo].seen.over, Some(Over::Ended(_))));
    let frames = &meeting.participants[2].seen.frames;
    assert!(frames[&id].0 < frames[&meeting.participants[0].id()].0);
}

#[test]
fn a_denied_guest_and_a_wrong_code_are_told_at_once() {
    let mut meeting = Meeting::new(LinkConfig { delay: Duration::from_millis(20), ..LinkConfig::default() }, 6);
    let (_, code) = meeting.host("Ada");
    let wrong = common::ids::RoomCode::new(if code.to_string() == "000000" { 1 } else { 0 }).unwrap();
    let eve = meeting.knock("Eve", wrong);
    meeting.run(Duration::from_millis(41));
    assert_eq!(meeting.participants[eve].seen.over, Some(Over::Refused(Refusal::WrongCode)));

    let bo = meeting.knock("Bo", code);
    meeting.run(Duration::from_secs(1));
    let knock = meeting.participants[0].seen.knocks[0].0;
    meeting.participants[0].session.act(Action::Deny(knock));
    meeting.run(Duration::from_millis(41));
    assert_eq!(meeting.participants[bo].seen.over, Some(Over::Refused(Refusal::Denied)));
}

#[test]
fn a_file_larger_than_all_windows_arrives_over_a_slow_downlink() {
    let mut meeting = Meeting::new(LinkConfig { delay: Duration::from_millis(5), ..LinkConfig::default() }, 8);
    let (ada, code) = meeting.host("Ada");
    let bo = meeting.join("Bo", code);
    meeting.participants.iter_mut().for_each(|participant| participant.media = false);
    let slow = LinkConfig { rate_bps: Some(8_000_000), queue_bytes: 60_000, ..LinkConfig::default() };
    meeting.participants[bo].down.configure(slow);
    meeting.participants[ada].offer(Recipients::Everyone, 9, 6_000_000);
    let arrived = meeting.run_until(Duration::from_secs(30), |meeting| !meeting.participants[bo].seen.files.is_empty());
    assert!(arrived, "six megabytes at eight megabit a second take some seven seconds");
    assert!(meeting.participants[bo].seen.files[0].2 == file(9, 6_000_000));
}

#[test]
fn a_narrow_link_brings_the_ladder_down_and_a_wide_one_up() {
    let narrow = LinkConfig { delay: Duration::from_millis(20), rate_bps: Some(1_500_000), ..LinkConfig::default() };
    let mut meeting = Meeting::new(LinkConfig::default(), 7);
    let (ada, code) = meeting.host("Ada");
    meeting.join("Bo", code);
    meeting.run(Duration::from_secs(20));
    let wide_target = meeting.participants[ada].seen.snapshot.video_target;
    meeting.participants[ada].up.configure(narrow);
    meeting.run(Duration::from_secs(20));
    let narrow_target = meeting.participants[ada].seen.snapshot.video_target;
    let size = |target: common::picture::ladder::VideoTarget| (target.rung.index, target.quality);
    assert!(size(narrow_target) < size(wide_target), "{wide_target:?} to {narrow_target:?}");
    meeting.participants[ada].up.configure(LinkConfig::default());
    meeting.run(Duration::from_secs(40));
    let again = meeting.participants[ada].seen.snapshot.video_target;
    assert!(size(again) > size(narrow_target), "{narrow_target:?} to {again:?}");
}
