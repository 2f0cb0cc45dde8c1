//! How much of a voice is made up over two lossy hops, and how long it waits, by loss and round trip, as it is checked in: a
//! change is a change of `golden/voice_again.txt`.
//!
//! Virtual time and seeds: the figures are the same everywhere. Who changes them on purpose takes over the table that the
//! failing test prints.

use std::fmt::Write;
use std::time::Duration;

use common::ids::MemberId;
use common::limits::AUDIO_BLOCK;
use common::link::LinkConfig;
use common::stats::{InboundMedia, InboundStream};
use common::voice::playout::PlayoutStatistics;
use sim::meeting::Meeting;

const GOLDEN: &str = include_str!("golden/voice_again.txt");
/// Of each hop.
const ROUND_TRIPS_MS: [u64; 3] = [2, 10, 30];
const LOSSES_PERCENT: [f64; 3] = [0.3, 1.0, 5.0];
/// Each with another beat between the microphone and the card.
const SEEDS: std::ops::Range<u64> = 1..4;
/// Before this, playout still learns what the network is like.
const LEARNING: Duration = Duration::from_secs(10);
const TIME: Duration = Duration::from_secs(20);

#[test]
fn what_is_made_up_and_how_long_it_waits_is_what_is_checked_in() {
    let mut table: String =
        GOLDEN.lines().take_while(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    for round_trip_ms in ROUND_TRIPS_MS {
        for percent in LOSSES_PERCENT {
            let [without, with] =
                [Copies::None, Copies::AsMeasured].map(|copies| heard(round_trip_ms, percent, copies));
            writeln!(
                table,
                "{round_trip_ms:9} {percent:6.1} {:10.3} {:6.1} {:10.3} {:6.1}",
                without.concealed_percent, without.delay_ms, with.concealed_percent, with.delay_ms
            )
            .expect("a string grows");
        }
    }
    assert!(table == GOLDEN, "the table is now\n{table}");
}

#[test]
fn what_is_lost_on_a_short_hop_comes_again_in_time_without_copies() {
    for percent in [1.0, 2.0] {
        let heard = heard(4, percent, Copies::None);
        let lost = 2.0 * percent;
        assert!((0.7 * lost..1.3 * lost).contains(&heard.lost_percent), "what is repaired was lost: {heard:?}");
        assert!(heard.concealed_percent < lost / 10.0, "{heard:?}");
        assert!(heard.delay_ms <= 32.0, "{heard:?}");
    }
    let clean = heard(4, 0.0, Copies::None);
    assert!((clean.concealed_percent, clean.again) == (0.0, 0) && clean.delay_ms < 22.0, "{clean:?}");
}

#[test]
fn nothing_is_sent_again_over_a_long_hop() {
    let heard = heard(100, 2.0, Copies::None);
    assert_eq!(heard.again, 0);
}

/// Whether there are copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copies {
    AsMeasured,
    None,
}

/// What the listener got, once the buffer knew the network.
#[derive(Debug, Default)]
struct Heard {
    concealed_percent: f64,
    lost_percent: f64,
    /// From arriving to being played.
    delay_ms: f64,
    again: u64,
}

/// The mean of all seeds.
fn heard(round_trip_ms: u64, percent: f64, copies: Copies) -> Heard {
    let mut mean = Heard::default();
    let runs = SEEDS.count() as f64;
    for seed in SEEDS {
        let run = hear(round_trip_ms, percent, copies, seed);
        mean.concealed_percent += run.concealed_percent / runs;
        mean.lost_percent += run.lost_percent / runs;
        mean.delay_ms += run.delay_ms / runs;
        mean.again += run.again;
    }
    mean
}

/// Ada talks without a pause, Bo listens; both over paths of this kind.
fn hear(round_trip_ms: u64, percent: f64, copies: Copies, seed: u64) -> Heard {
    let delay = Duration::from_millis(round_trip_ms) / 2;
    let path = LinkConfig { delay, loss: percent / 100.0, ..LinkConfig::default() };
    let mut meeting = Meeting::new(path, seed);
    let (ada, code) = meeting.host("Ada");
    meeting.run(Duration::from_millis(2 * seed));
    let bo = meeting.join("Bo", code);
    meeting.participants[bo].muted = true;
    meeting.participants.iter_mut().for_each(|participant| participant.watch(&[], 0));
    meeting.participants[ada].endpoint.as_mut().expect("in").send_silence(true);
    let reporters = [MemberId::SERVER, meeting.participants[bo].id()];
    let mut run = |time: Duration| {
        let end = meeting.now + time;
        while meeting.now < end {
            meeting.run(AUDIO_BLOCK);
            if copies == Copies::None {
                // Nobody's reports are kept.
                let endpoint = meeting.participants[ada].endpoint.as_mut().expect("in");
                reporters.iter().for_each(|reporter| endpoint.remove_member(*reporter));
            }
        }
        stream(&mut meeting, bo)
    };
    let (before, after) = (run(LEARNING), run(TIME));
    let (playout_before, playout_after) = (playout(&before), playout(&after));
    let concealed = (playout_after.concealed_samples - playout_before.concealed_samples) as f64;
    let played = (playout_after.jitter_buffer_emitted_count - playout_before.jitter_buffer_emitted_count) as f64;
    let waited = (playout_after.jitter_buffer_delay - playout_before.jitter_buffer_delay).as_secs_f64();
    let lost = (after.packets_lost - before.packets_lost) as f64;
    let received = (after.packets_received - before.packets_received) as f64;
    Heard {
        concealed_percent: 100.0 * concealed / (concealed + played),
        lost_percent: 100.0 * lost / (lost + received),
        delay_ms: 1_000.0 * waited / played,
        again: after.retransmitted_packets_received,
    }
}

fn stream(meeting: &mut Meeting, listener: usize) -> InboundStream {
    let now = meeting.now;
    let endpoint = meeting.participants[listener].endpoint.as_mut().expect("in");
    let inbound = endpoint.snapshot(now).inbound;
    let audio = |stream: &InboundStream| matches!(stream.media, InboundMedia::Audio { .. });
    inbound.into_iter().find(audio).expect("a voice comes")
}

fn playout(stream: &InboundStream) -> PlayoutStatistics {
    let InboundMedia::Audio { playout, .. } = stream.media else { panic!("a voice") };
    playout
}
