//! Rows of sharing: files beside each other, and a file beside a call.

use std::time::Duration;

use common::link::LinkConfig;
use common::reno::Algorithm;
use sim::channel::{Channels, path};

use crate::figures::{Figure, Figures, Goal, quantile};

const ROUND_TRIP: Duration = Duration::from_millis(50);

pub(crate) fn add(figures: &mut Figures) {
    for (row, what, algorithms, goal) in [
        ("R5 virtual", "two files by Reno", [Algorithm::Reno, Algorithm::Reno], 0.95),
        ("R8 virtual", "a file in radio mode beside one by Reno", [Algorithm::Radio, Algorithm::Reno], 0.8),
    ] {
        figures.add(Figure {
            row,
            what: format!("Jain's index of {what}, 20 Mbit/s, RTT 50 ms, 60 s, median of 5 seeds"),
            value: fairness(algorithms),
            unit: "index",
            goal: Some(Goal::AtLeast(goal)),
            others: None,
        });
    }
    add_call(figures);
}

/// Jain's index of two files of which the second begins two seconds later.
fn fairness(algorithms: [Algorithm; 2]) -> Option<f64> {
    let runs = (1..=5).map(|seed| {
        let mut channels = Channels::new(path(20_000_000, ROUND_TRIP, 0.0), &algorithms, seed);
        channels.send_file(0);
        channels.run(Duration::from_millis(1_700 + 100 * seed));
        channels.send_file(1);
        let before = channels.flows[0].received;
        channels.run(Duration::from_secs(60));
        let shares = [channels.flows[0].received - before, channels.flows[1].received].map(|bytes| bytes as f64);
        shares.iter().sum::<f64>().powi(2) / (2.0 * shares.iter().map(|share| share * share).sum::<f64>())
    });
    quantile(&runs.collect::<Vec<_>>(), 0.5)
}

/// Bytes of a datagram of audio: a block of raw PCM with its headers.
const AUDIO_BYTES: usize = 1_010;
/// Bytes of a frame of video: 0.58 Mbit/s at 30 frames a second.
const FRAME_BYTES: usize = 2_400;
const CALL: Duration = Duration::from_secs(60);
const CALL_RATE_BPS: u64 = 2_000_000;

fn call_path() -> LinkConfig {
    path(CALL_RATE_BPS, ROUND_TRIP, 0.0)
}

fn add_call(figures: &mut Figures) {
    let alone = call(None);
    let beside = call(Some(false));
    let hurried = call(Some(true));
    let media_bps = alone.media_bps;
    // What is left, of which headers take their part: 1,418 of 1,500 bytes of a packet are the file's.
    let leftover = (CALL_RATE_BPS as f64 - media_bps) * 1_418.0 / 1_500.0;
    let added = |call: &Call| call.delay_p95_ms - alone.delay_p95_ms;
    let what =
        "file beside a call (audio 0.83, video 0.58 Mbit/s) on 2 Mbit/s, RTT 50 ms, queue 30 kB; 60 s of virtual time";
    let rows = [
        (
            "queueing delay added to media, p95",
            added(&beside),
            "ms",
            Goal::AtMost(30.0),
            format!("hurried, plain Reno: {:.0} ms", added(&hurried)),
        ),
        (
            "audio lost",
            beside.audio_lost * 100.0,
            "%",
            Goal::AtMost(1.0),
            format!("hurried, plain Reno: {:.1} %", hurried.audio_lost * 100.0),
        ),
        (
            "file to what the call leaves",
            beside.file_bps / leftover,
            "ratio",
            Goal::AtLeast(0.8),
            format!("hurried, plain Reno: {:.2}", hurried.file_bps / leftover),
        ),
    ];
    for (name, value, unit, goal, others) in rows {
        figures.add(Figure {
            row: "R6",
            what: format!("{name}; {what}"),
            value: Some(value),
            unit,
            goal: Some(goal),
            others: Some(others),
        });
    }
}

struct Call {
    media_bps: f64,
    delay_p95_ms: f64,
    audio_lost: f64,
    file_bps: f64,
}

/// A call with a file beside it, which is hurried or not, or without one.
fn call(file: Option<bool>) -> Call {
    let mut channels = Channels::reno(call_path(), 1);
    channels.call(AUDIO_BYTES, FRAME_BYTES);
    channels.run(Duration::from_secs(2));
    if let Some(hurry) = file {
        channels.flows[0].sides[0].hurry(hurry);
        channels.send_file(0);
    }
    channels.run(CALL);
    let media = channels.media.as_ref().expect("it was begun");
    let delays: Vec<f64> =
        media.audio_delays.iter().chain(&media.video_delays).map(|delay| delay.as_secs_f64() * 1e3).collect();
    let secs = (CALL + Duration::from_secs(2)).as_secs_f64();
    Call {
        media_bps: media.received as f64 * 8.0 / secs,
        delay_p95_ms: quantile(&delays, 0.95).unwrap_or_default(),
        audio_lost: 1.0 - media.audio_delays.len() as f64 / media.audio_sent as f64,
        file_bps: channels.flows[0].received as f64 * 8.0 / CALL.as_secs_f64(),
    }
}
