//! V2, V3 and G1: the clip of a face through whole calls and the shipped codec, picture by picture beside what was filmed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use client::devices::Picture;
use common::ids::StreamKind;
use common::link::LinkConfig;
use sim::meeting::Meeting;

use crate::desk::{CLIP_RATE, Clip, Desk, Filmed, Notes, Shown, voice};
use crate::figures::{Figure, Figures, Goal, quantile};
use crate::judge::Judge;
use crate::picture::path;
use crate::raw_video::Planes;
use crate::{Options, median};

/// Rate control climbs to what the path carries.
const WARM_UP: Duration = Duration::from_secs(20);
/// All of the clip.
const JUDGED: Duration = Duration::from_secs(6);
const ONE_WAY: Duration = Duration::from_millis(50);

pub(crate) fn add(figures: &mut Figures, options: &Options) {
    let judge = Judge::new(options.python.as_deref(), "picture");
    if options.wants("V2") {
        losses(figures, options, judge.as_ref());
    }
    if options.wants("V3") {
        rate(figures, judge.as_ref());
    }
    if options.wants("G1") {
        glass_to_glass(figures);
    }
}

/// Ada is filmed while she speaks, Bo looks.
struct Call {
    filmed: Vec<Filmed>,
    notes: Rc<RefCell<Notes>>,
    /// Bits per second of the picture, all headers included, second by second.
    rates: Vec<f64>,
}

impl Call {
    fn new(path: LinkConfig, frozen: bool, keeps_pixels: bool) -> Self {
        let mut meeting = Meeting::new(path, 1);
        let (_, code) = meeting.host("Ada");
        meeting.join("Bo", code);
        let ((ada, filmed), (bo, notes)) = (Desk::new(), Desk::new());
        meeting.participants[0].studio = Some(Box::new(ada.speaking(&voice("voice_a")).filmed()));
        meeting.participants[1].studio = Some(Box::new(bo.looking(frozen)));
        meeting.participants[1].media = false;
        meeting.run(WARM_UP);
        let start = meeting.now;
        notes.borrow_mut().keeps_pixels = keeps_pixels;
        let rates = (0..JUDGED.as_secs()).map(|_| {
            meeting.run(Duration::from_secs(1));
            sent_bps(&meeting)
        });
        let rates = rates.collect();
        meeting.run(Duration::from_secs(1));
        let judged = |frame: &&Filmed| (start..start + JUDGED).contains(&frame.at);
        let filmed = filmed.borrow().filmed.iter().filter(judged).copied().collect();
        Self { filmed, notes, rates }
    }

    /// VMAF of what stood on the screen when each picture was due, beside what was filmed.
    fn vmaf(&self, judge: &Judge<'_>) -> Option<f64> {
        let (mut clip, mut picture) = (Clip::open(), Picture::default());
        let filmed: Vec<Planes> = self
            .filmed
            .iter()
            .map(|frame| {
                clip.decode(frame.index, &mut picture);
                Planes::of(&picture)
            })
            .collect();
        let notes = self.notes.borrow();
        let with_pixels = notes.shown.iter().filter_map(|shown| Some((shown.timestamp.0, shown.pixels.as_ref()?)));
        let by_time: BTreeMap<u32, &Planes> = with_pixels.rev().collect();
        let mut screen = *by_time.values().next()?;
        let shown: Vec<&Planes> = self
            .filmed
            .iter()
            .map(|frame| {
                // What did not come leaves the picture as it was.
                screen = by_time.get(&frame.timestamp.0).copied().unwrap_or(screen);
                screen
            })
            .collect();
        judge.vmaf(CLIP_RATE, filmed.iter(), shown.into_iter())
    }

    /// What was sent most of the time.
    fn target(&self) -> String {
        let middle = self.filmed.get(self.filmed.len() / 2).map(|frame| frame.target);
        middle.map_or(String::new(), |target| {
            format!("{} q{} at {} fps", target.rung.name, target.quality, target.frames_per_second)
        })
    }
}

fn sent_bps(meeting: &Meeting) -> f64 {
    let outbound = &meeting.participants[0].seen.snapshot.outbound;
    outbound
        .iter()
        .filter(|stream| stream.ssrc.kind() == StreamKind::Video)
        .map(|stream| stream.bitrate_bps as f64)
        .sum()
}

fn losses(figures: &mut Figures, options: &Options, judge: Option<&Judge<'_>>) {
    let scored = |loss| {
        let judge = judge?;
        let call = Call::new(path(loss), options.wrong && loss > 0.0, true);
        Some((call.vmaf(judge)?, call.target()))
    };
    let clean = scored(0.0);
    for (loss, goal, others) in [(0.05, 1.5, 18.5), (0.1, 3.0, 28.6)] {
        let lossy = clean.as_ref().and_then(|_| scored(loss));
        let both = clean.as_ref().zip(lossy.as_ref());
        let of = both.map_or(String::new(), |((clean, how), (lossy, lossy_how))| {
            format!(": {clean:.1} ({how}) less {lossy:.1} ({lossy_how})")
        });
        figures.add(Figure {
            row: "V2",
            what: format!("VMAF lost to {:.0} % loss, half on each hop, no other limit{of}", 100.0 * loss),
            value: both.map(|((clean, _), (lossy, _))| clean - lossy),
            unit: "VMAF",
            goal: Some(Goal::AtMost(goal)),
            others: Some(format!("frame or nothing {others}")),
        });
    }
}

fn rate(figures: &mut Figures, judge: Option<&Judge<'_>>) {
    for mbps in LINES {
        let line =
            LinkConfig { rate_bps: Some((mbps * 1e6) as u64), queue_bytes: (mbps * 37_500.0) as usize, ..path(0.0) };
        let call = Call::new(line, false, judge.is_some());
        let how = call.target();
        let chosen = mbps == LINE;
        figures.add(Figure {
            row: "V3",
            what: format!("the clip over {mbps} Mbit/s with a voice beside it ({how})"),
            value: judge.and_then(|judge| call.vmaf(judge)),
            unit: "VMAF",
            goal: chosen.then_some(Goal::AtLeast(93.0)),
            others: Some("VP8 in real time has 94.7 at 0.6 Mbit/s".into()),
        });
        figures.add(Figure {
            row: "V3",
            what: format!("what its picture takes with all headers, over {mbps} Mbit/s"),
            value: median(&call.rates).map(|bps| bps / 1e6),
            unit: "Mbit/s",
            goal: chosen.then_some(Goal::AtMost(1.9)),
            others: Some("JPEGs of whole frames 3.1 and more".into()),
        });
    }
}

/// Lines on which the ladder finds its step, and the one that the goal is for.
const LINES: [f64; 3] = [2.85, 3.0, 3.4];
const LINE: f64 = 2.85;

/// What happens before a camera of 30 frames a second, at any time, is seen in a window of 60 Hz.
fn glass_to_glass(figures: &mut Figures) {
    let call = Call::new(path(0.0), false, false);
    let notes = call.notes.borrow();
    let delays = delays_ms(&call.filmed, &notes.shown);
    let codec = codec_ms();
    for (which, share, goal) in [("p50", 0.5, 45.0), ("p95", 0.95, 80.0)] {
        figures.add(Figure {
            row: "G1",
            what: format!("clean path, glass to glass less the network, {which} ({}): until the next frame, pacing, assembly and the next refresh in virtual time, and {codec:.1} ms of coding and decoding by this machine's clock", call.target()),
            value: quantile(&delays, share).map(|delay| delay + codec),
            unit: "ms",
            goal: Some(Goal::AtMost(goal)),
            others: None,
        });
    }
}

/// Of something that happens every millisecond: to the first picture filmed after it that is shown, at the next refresh.
fn delays_ms(filmed: &[Filmed], shown: &[Shown]) -> Vec<f64> {
    let shown_at: BTreeMap<u32, Instant> = shown.iter().rev().map(|shown| (shown.timestamp.0, shown.at)).collect();
    let (Some(first), Some(last)) = (filmed.first(), filmed.last()) else { return Vec::new() };
    let refreshed = |at: Instant| {
        let refreshes = ((at - first.at).as_secs_f64() * 60.0).ceil();
        first.at + Duration::from_secs_f64(refreshes / 60.0)
    };
    let of_event = |millis: u64| {
        let event = first.at + Duration::from_millis(millis);
        let seen = filmed.iter().filter(|frame| frame.at >= event).find_map(|frame| shown_at.get(&frame.timestamp.0));
        Some((refreshed(*seen?) - event).saturating_sub(ONE_WAY).as_secs_f64() * 1e3)
    };
    (0..(last.at - first.at).as_millis() as u64).filter_map(of_event).collect()
}

/// Coding a frame of the clip and drawing it, mean.
fn codec_ms() -> f64 {
    use client::devices::jpeg::{PartDecoder, PartEncoder};
    use common::ids::{MemberId, Ssrc};
    use common::picture::blocks::ReceivedFrame;
    use common::picture::ladder::{Rung, VideoTarget};
    use common::sequence::{FrameId, MediaTime};

    let mut encoder = PartEncoder::new().expect("there is memory for an encoder");
    let mut decoder = PartDecoder::new().expect("there is memory for a decoder");
    let (mut clip, mut picture) = (Clip::open(), Picture::default());
    let target = VideoTarget { rung: Rung::ALL[3], quality: 70, frames_per_second: CLIP_RATE as u8 };
    let times: Vec<f64> = (0..60_u16)
        .filter_map(|number| {
            clip.decode(number.into(), &mut picture);
            let start = Instant::now();
            let coded = encoder
                .encode(&picture, &target, MediaTime(u32::from(number) * 3_000))
                .expect("the clip can be coded")?;
            let ssrc = Ssrc::new(MemberId(1), StreamKind::Video);
            decoder.decode(&ReceivedFrame {
                ssrc,
                frame: FrameId(number),
                complete: true,
                picture: coded,
                repairs: Vec::new(),
            });
            Some(start.elapsed().as_secs_f64() * 1e3)
        })
        .collect();
    median(&times).unwrap_or(f64::INFINITY)
}
