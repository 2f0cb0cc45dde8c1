//! Whose path carries less gets less, and nobody else does: voices first, then as many pictures as there is room for.

use std::time::Duration;

use common::ids::{MemberId, StreamKind};
use common::link::LinkConfig;
use common::stats::InboundMedia;
use sim::meeting::Meeting;
use sim::picture::Talker;

const DELAY: Duration = Duration::from_millis(25);

fn narrow(rate_bps: u64) -> LinkConfig {
    // A queue of 300 ms.
    let queue_bytes = rate_bps as usize * 3 / 80;
    LinkConfig { delay: DELAY, rate_bps: Some(rate_bps), queue_bytes, ..LinkConfig::default() }
}

/// A meeting of people who talk and move; the last of them has this downlink, after ten seconds with a wide one.
fn meeting(names: &[&str], last_downlink: LinkConfig, seed: u64) -> Meeting {
    let mut meeting = Meeting::new(LinkConfig { delay: DELAY, ..LinkConfig::default() }, seed);
    let (_, code) = meeting.host("Ada");
    for name in names {
        meeting.join(name, code);
    }
    for participant in &mut meeting.participants {
        participant.talker = Some(Talker::default());
    }
    meeting.run(Duration::from_secs(10));
    meeting.participants[names.len()].down.configure(last_downlink);
    meeting
}

/// What somebody got of somebody else so far.
#[derive(Clone, Copy, Debug, Default)]
struct Got {
    /// Samples.
    played: u64,
    concealed: u64,
    frames: u64,
    /// Packets of video.
    lost: i64,
}

fn got(meeting: &Meeting, by: usize, of: usize) -> Got {
    let of: MemberId = meeting.participants[of].id();
    let participant = &meeting.participants[by];
    let mut got = Got::default();
    for stream in participant.seen.snapshot.inbound.iter().filter(|stream| stream.ssrc.member() == of) {
        match (&stream.media, stream.ssrc.kind()) {
            (InboundMedia::Audio { playout, .. }, StreamKind::Audio) => {
                (got.played, got.concealed) = (playout.jitter_buffer_emitted_count, playout.concealed_samples);
            }
            (InboundMedia::Video { frames, .. }, StreamKind::Video) => {
                (got.frames, got.lost) = (frames.frames_received, stream.packets_lost);
            }
            _ => panic!("a stream of one kind has numbers of another"),
        }
    }
    got
}

/// What somebody got of somebody else in so many seconds: the share of the voice that was concealed, and frames a second.
fn quality(meeting: &mut Meeting, secs: u64, by: usize, of: usize) -> (f64, f64) {
    let before = got(meeting, by, of);
    meeting.run(Duration::from_secs(secs));
    let after = got(meeting, by, of);
    let concealed = after.concealed - before.concealed;
    let samples = concealed + after.played - before.played;
    (concealed as f64 / samples.max(1) as f64, (after.frames - before.frames) as f64 / secs as f64)
}

#[test]
fn two_follow_the_narrower_of_their_paths() {
    for rate in [500_000, 1_000_000, 2_000_000] {
        let mut meeting = meeting(&["Bo"], narrow(rate), 1);
        meeting.run(Duration::from_secs(3));
        let (concealed, frames_per_second) = quality(&mut meeting, 20, 1, 0);
        assert!(concealed <= 0.02 && frames_per_second >= 7.0, "{rate}: {concealed}, {frames_per_second}");
        let sent: u64 = meeting.participants[0].seen.snapshot.outbound.iter().map(|stream| stream.bitrate_bps).sum();
        assert!(sent <= rate * 12 / 10, "{rate}: nobody else is there, but {sent} is sent");
    }
}

#[test]
fn one_of_three_who_has_less_takes_nothing_from_the_others() {
    for rate in [500_000, 2_000_000] {
        let mut meeting = meeting(&["Bo", "Cy"], narrow(rate), 1);
        meeting.run(Duration::from_secs(3));
        let lost = got(&meeting, 2, 0).lost;
        let (concealed, frames_per_second) = quality(&mut meeting, 20, 2, 0);
        assert!(concealed <= 0.02 && frames_per_second >= 8.0, "{rate}: {concealed}, {frames_per_second}");
        let lost = got(&meeting, 2, 0).lost - lost;
        assert!(lost <= 50, "{rate}: what is left out on purpose is not lost, but {lost} are");
        let (concealed, frames_per_second) = quality(&mut meeting, 10, 1, 0);
        assert!(concealed <= 0.001 && frames_per_second >= 28.0, "{rate}: {concealed}, {frames_per_second}");
        assert_eq!(meeting.participants[0].seen.snapshot.video_target.rung.name, "480p");
    }
}
