//! A1, A3 and A7, and A2 at 5 % loss: a voice from a file through whole calls, and what the other one hears.

mod ear;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use common::ids::StreamKind;
use common::limits::AUDIO_CLOCK_RATE_HZ;
use common::link::LinkConfig;
use common::stats::InboundMedia;
use sim::meeting::Meeting;

use crate::desk::{Desk, Notes, voice};
use crate::figures::{Figure, Figures, Goal};
use crate::judge::Judge;
use crate::picture::path;
use crate::{Options, median};

const SEEDS: [u64; 3] = [1, 2, 3];
const VOICES: [&str; 2] = ["voice_a", "voice_b"];
/// Before anything is judged, the playout buffer and the copies have found out what the path is like.
const WARM_UP: Duration = Duration::from_secs(10);
const JUDGED: Duration = Duration::from_secs(24);
/// Passes of the voice that are judged in each call.
const PASSES: usize = 2;

pub(crate) fn add(figures: &mut Figures, options: &Options) {
    let judge = Judge::new(options.python.as_deref(), "voice");
    if options.wants("A1") || options.wants("A2") {
        losses(figures, options, judge.as_ref());
    }
    if options.wants("A3") {
        ear::add(figures);
    }
    if options.wants("A7") {
        narrow(figures, options, judge.as_ref());
    }
}

/// Ada speaks, Bo hears.
struct Call {
    meeting: Meeting,
    said: Rc<RefCell<Notes>>,
    heard: Rc<RefCell<Notes>>,
    voice: Vec<i16>,
}

impl Call {
    fn new(path: LinkConfig, name: &str, seed: u64, silent: bool, seen: bool) -> Self {
        let mut meeting = Meeting::new(path, seed);
        let (_, code) = meeting.host("Ada");
        meeting.join("Bo", code);
        let voice = voice(name);
        let ((ada, said), (bo, heard)) = (Desk::new(), Desk::new());
        let ada = if silent { ada } else { ada.speaking(&voice) };
        let (ada, bo) = if seen { (ada.filmed(), bo.looking(false)) } else { (ada, bo) };
        meeting.participants[0].studio = Some(Box::new(ada));
        meeting.participants[1].studio = Some(Box::new(bo));
        Self { meeting, said, heard, voice }
    }

    /// Pairs of the voice and what was heard of it, pass by pass, from the warm-up on.
    fn passes(&self) -> Vec<Vec<i16>> {
        let length = self.voice.len() / BLOCK_SAMPLES * BLOCK_SAMPLES;
        let first = samples(WARM_UP).div_ceil(length);
        let pass = |number: usize| {
            let lag = self.lag(number * length, length)?;
            let heard = self.heard.borrow();
            heard.heard.1.get(lag..lag + length).map(<[i16]>::to_vec)
        };
        (first..first + PASSES).filter_map(pass).collect()
    }

    /// Where in what was heard the part of the voice is that was said from this sample on: where the two are most alike.
    /// Where nothing is alike, where it would be without any delay of ours.
    fn lag(&self, from: usize, length: usize) -> Option<usize> {
        let (said, heard) = (self.said.borrow(), self.heard.borrow());
        let earlier = said.said.0?.saturating_duration_since(heard.heard.0?);
        let later = heard.heard.0?.saturating_duration_since(said.said.0?);
        let start = (from + samples(earlier)).checked_sub(samples(later))?;
        let length = length.min(samples(Duration::from_secs(2)));
        // What is looked for is the middle of the voice, by the loudest that can be found without the silence at its
        // beginning.
        let pattern: Vec<f32> = self.pattern(from, length)?;
        let best = (0..LAG_MAX_SAMPLES)
            .step_by(LAG_STEP)
            .map(|lag| (lag, alike(&pattern, heard.heard.1.get(start + lag..).unwrap_or(&[]))));
        let (best, _) = best.max_by(|one, other| one.1.total_cmp(&other.1))?;
        Some(start + best)
    }

    fn pattern(&self, from: usize, length: usize) -> Option<Vec<f32>> {
        let at = from % (self.voice.len() / BLOCK_SAMPLES * BLOCK_SAMPLES);
        let part = self.voice.get(at..(at + length).min(self.voice.len()))?;
        Some(part.iter().map(|sample| f32::from(*sample)).collect())
    }

    /// Of all that Bo should have heard so far.
    fn concealed_percent(&self) -> f64 {
        let snapshot = &self.meeting.participants[1].seen.snapshot;
        let shares = snapshot.inbound.iter().filter_map(|stream| match stream.media {
            InboundMedia::Audio { playout, .. } => Some(100.0 * playout.concealed_share()),
            InboundMedia::Video { .. } => None,
        });
        shares.fold(0.0, f64::max)
    }
}

const BLOCK_SAMPLES: usize = common::limits::AUDIO_BLOCK_SAMPLES;
/// Nothing is later than this.
const LAG_MAX_SAMPLES: usize = 24_000;
/// A quarter of a millisecond: PESQ finds the rest by itself.
const LAG_STEP: usize = 12;

fn samples(time: Duration) -> usize {
    (time.as_secs_f64() * f64::from(AUDIO_CLOCK_RATE_HZ)).round() as usize
}

/// How alike two sounds are; every fourth sample is enough.
fn alike(pattern: &[f32], heard: &[i16]) -> f32 {
    let (mut both, mut energy) = (0.0, 1.0);
    for (a, b) in pattern.iter().zip(heard).step_by(4) {
        both += a * f32::from(*b);
        energy += f32::from(*b).powi(2);
    }
    both / energy.sqrt()
}

/// Loss on the way there, the mean length of its bursts, and what is to be reached.
const LOSSES: [(f64, f64, f64, &str); 5] = [
    (0.0, 1.0, 4.5, "4.5"),
    (0.05, 1.0, 4.0, "2.2"),
    (0.1, 1.0, 3.8, "1.6"),
    (0.2, 1.0, 3.4, "1.3"),
    (0.1, 3.0, 3.2, "2.0 to 2.5 with pitch concealment"),
];

/// The loss at which A2 asks how much is made up.
const CONCEALED_AT: f64 = 0.05;

fn losses(figures: &mut Figures, options: &Options, judge: Option<&Judge<'_>>) {
    for (loss, loss_burst, goal, silence) in LOSSES {
        let path = LinkConfig { loss_burst, ..path(loss) };
        // Without a judge, only the row that needs none is worth the calls.
        let heard = judge.is_some() || loss == CONCEALED_AT;
        let call = |name, seed| {
            let mut call = Call::new(path, name, seed, options.wrong, false);
            call.meeting.run(WARM_UP + JUDGED);
            call
        };
        let voices = VOICES.iter().filter(|_| heard);
        let calls: Vec<Vec<Call>> = voices.map(|name| SEEDS.map(|seed| call(name, seed)).into()).collect();
        let burst = if loss_burst > 1.0 { " in bursts of 3" } else { "" };
        if options.wants("A1") {
            let scores = judge.and_then(|judge| scores(judge, &calls));
            let of = scores.map_or(String::new(), |of| format!(" (a {:.2}, b {:.2})", of[0], of[1]));
            figures.add(Figure {
                row: "A1",
                what: format!(
                    "{:.0} % loss{burst}, half on each hop: median of both voices and three seeds{of}",
                    100.0 * loss
                ),
                value: scores.map(|of| of[2]),
                unit: "PESQ-WB",
                goal: Some(Goal::AtLeast(goal)),
                others: Some(format!("silence for what is lost: {silence}")),
            });
        }
        if options.wants("A2") && loss == CONCEALED_AT {
            let shares: Vec<f64> = calls.iter().flatten().map(Call::concealed_percent).collect();
            figures.add(Figure {
                row: "A2",
                what: "5 % loss, half on each hop, from the first block on: concealed; median of both voices and three seeds".into(),
                value: median(&shares),
                unit: "%",
                goal: Some(Goal::AtMost(0.5)),
                others: None,
            });
        }
    }
}

/// Median of the first voice, of the second, and of both.
fn scores(judge: &Judge<'_>, calls: &[Vec<Call>]) -> Option<[f64; 3]> {
    let passes = |calls: &[Call]| -> Vec<(Vec<i16>, Vec<i16>)> {
        calls.iter().flat_map(|call| call.passes().into_iter().map(|heard| (call.voice.clone(), heard))).collect()
    };
    let pairs: Vec<Vec<_>> = calls.iter().map(|calls| passes(calls)).collect();
    let all: Vec<(&[i16], Vec<i16>)> = pairs.iter().flatten().map(|(said, heard)| (&said[..], heard.clone())).collect();
    let scores = judge.pesq(&all)?;
    let (first, second) = scores.split_at(pairs[0].len());
    Some([median(first)?, median(second)?, median(&scores)?])
}

/// Half a megabit for a voice and its picture, on each hop.
fn narrow(figures: &mut Figures, options: &Options, judge: Option<&Judge<'_>>) {
    let line = LinkConfig { rate_bps: Some(500_000), queue_bytes: 500_000 / 8 * 3 / 10, ..path(0.02) };
    let mut sent = Vec::new();
    let calls = SEEDS.map(|seed| {
        let mut call = Call::new(line, "voice_a", seed, options.wrong, true);
        call.meeting.run(WARM_UP);
        for _ in 0..JUDGED.as_secs() {
            call.meeting.run(Duration::from_secs(1));
            sent.push(sent_kbps(&call.meeting));
        }
        call
    });
    let passes: Vec<_> = calls.iter().flat_map(Call::passes).collect();
    let pairs: Vec<_> = passes.into_iter().map(|heard| (&calls[0].voice[..], heard)).collect();
    let scores = judge.and_then(|judge| judge.pesq(&pairs));
    let frames = |lines| calls.each_ref().map(|call| frames_per_sec(&call.said.borrow(), &call.heard.borrow(), lines));
    let of_kind = |kind: usize| sent.iter().map(|kinds| kinds[kind]).collect::<Vec<f64>>();
    let rows: [(&str, Option<f64>, &'static str, Option<Goal>); 6] = [
        ("voice_a", scores.as_deref().and_then(median), "PESQ-WB", Some(Goal::AtLeast(4.0))),
        ("frames of 240p or more that were shown", median(&frames(240)), "a second", Some(Goal::AtLeast(8.0))),
        ("frames of any size that were shown", median(&frames(0)), "a second", None),
        ("concealed", median(&calls.each_ref().map(Call::concealed_percent)), "%", None),
        ("the voice takes with all headers", median(&of_kind(0)), "kbit/s", None),
        ("the picture takes with all headers", median(&of_kind(1)), "kbit/s", None),
    ];
    for (what, value, unit, goal) in rows {
        let what = format!("0.5 Mbit/s on each hop, 2 % loss, half on each: {what}; median of three seeds");
        let others = (unit == "PESQ-WB").then(|| "raw PCM alone takes 0.80 Mbit/s".into());
        figures.add(Figure { row: "A7", what, value, unit, goal, others });
    }
}

/// What voice and picture of the speaker took within the last second.
fn sent_kbps(meeting: &Meeting) -> [f64; 2] {
    let outbound = &meeting.participants[0].seen.snapshot.outbound;
    [StreamKind::Audio, StreamKind::Video].map(|kind| {
        let of_kind = outbound.iter().filter(|stream| stream.ssrc.kind() == kind);
        of_kind.map(|stream| stream.bitrate_bps as f64 / 1e3).sum()
    })
}

/// Frames of so many lines or more that came to the screen after the warm-up.
fn frames_per_sec(filmed: &Notes, shown: &Notes, lines: u16) -> f64 {
    let Some(first) = filmed.filmed.first() else { return 0.0 };
    let judged =
        filmed.filmed.iter().filter(|frame| frame.at >= first.at + WARM_UP && frame.target.rung.height >= lines);
    let seen = judged.filter(|frame| shown.shown.iter().any(|shown| shown.timestamp == frame.timestamp)).count();
    seen as f64 / JUDGED.as_secs_f64()
}
