//! The network, drawn: two minutes of round trip, loss, jitter, bitrate and Reno, and one sentence about them.

use common::ids::{MemberId, Ssrc, StreamKind};
use common::picture::ladder::Rung;
use common::reno::{Phase, RenoStatistics};
use common::stats::InboundMedia;
use eframe::egui::{Align2, Color32, FontId, Grid, Label, RichText, ScrollArea, Sense, Ui, vec2};
use egui_plot::{GridMark, HoverPosition, Line as PlotLine, LineStyle, Plot, PlotPoints, VLine};

use super::history::{GAP_SECS, History, Line, Side, StreamLines};
use super::model::Meeting;
use super::theme;

/// Seconds that are drawn.
const WINDOW_SECS: f64 = 120.0;
/// Points of height of one plot.
const HEIGHT: f32 = 108.0;
/// Points that the label of the last mark reaches beyond its plot.
const LAST_LABEL: f32 = 14.0;
/// Points of width for the name of a stream.
const NAME_WIDTH: f32 = 124.0;
/// Streams drawn in one plot: as many as there are colours; the worst ones.
const STREAMS_DRAWN: usize = 8;

/// A line of a plot with its place in the legend.
struct Curve {
    name: String,
    color: Color32,
    style: LineStyle,
    // Runs of points: a line with a phase is cut where the phase changes.
    runs: Vec<(Color32, Vec<[f64; 2]>)>,
    latest: Option<f64>,
}

/// What one plot is about.
struct Subject {
    title: &'static str,
    unit: &'static str,
    // The vertical axis goes at least this far, so that noise on a quiet line is not blown up.
    at_least: f64,
    decimals: usize,
}

/// Draws everything that is known about the network.
pub fn analytics_ui(ui: &mut Ui, meeting: &Meeting) {
    verdict_ui(ui, meeting);
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 5.0;
        ui.spacing_mut().interact_size.y = 17.0;
        let history = &meeting.history;
        let now = history.latest.uptime.as_secs_f64();
        round_trip_ui(ui, history, now);
        queue_ui(ui, history, now);
        streams_ui(ui, meeting, now, LOSS, |lines| &lines.loss_percent);
        streams_ui(ui, meeting, now, JITTER, |lines| &lines.jitter_ms);
        bitrate_ui(ui, history, now);
        reno_ui(ui, history, now);
        table_ui(ui, meeting);
    });
}

const ROUND_TRIP: Subject = Subject { title: "Round trip to the server", unit: "ms", at_least: 50.0, decimals: 0 };
const QUEUE: Subject = Subject { title: "Waiting in the queue", unit: "ms", at_least: 50.0, decimals: 0 };
const LOSS: Subject = Subject { title: "Packets lost", unit: "%", at_least: 5.0, decimals: 1 };
const JITTER: Subject = Subject { title: "Jitter", unit: "ms", at_least: 20.0, decimals: 1 };
const BITRATE: Subject = Subject { title: "Bitrate", unit: "Mbit/s", at_least: 1.0, decimals: 2 };
const RENO: Subject = Subject { title: "Chat and files: Reno", unit: "kB", at_least: 20.0, decimals: 0 };

fn verdict_ui(ui: &mut Ui, meeting: &Meeting) {
    let color = theme::of(ui).quality(meeting.diagnosis.quality);
    theme::card(ui).show(ui, |ui| {
        ui.set_width(ui.available_width());
        ui.horizontal(|ui| {
            let (rect, _) = ui.allocate_exact_size(vec2(12.0, 12.0), Sense::hover());
            ui.painter().circle_filled(rect.center(), 5.5, color);
            let sentence = RichText::new(&meeting.diagnosis.sentence).strong();
            ui.add(Label::new(sentence).wrap());
        });
    });
}

fn round_trip_ui(ui: &mut Ui, history: &History, now: f64) {
    let color = theme::of(ui).series[0];
    let curve = curve("round trip", color, &history.round_trip_ms, now);
    plot_ui(ui, &ROUND_TRIP, &[curve], now);
}

fn bitrate_ui(ui: &mut Ui, history: &History, now: f64) {
    let series = &theme::of(ui).series;
    let mut available = curve("the path takes", series[1], &history.available_mbps, now);
    available.style = LineStyle::dashed_dense();
    let curves = [
        curve("received", series[0], &history.received_mbps, now),
        curve("sent", series[1], &history.sent_mbps, now),
        available,
    ];
    plot_ui(ui, &BITRATE, &curves, now);
}

fn queue_ui(ui: &mut Ui, history: &History, now: f64) {
    let series = &theme::of(ui).series;
    let curves = [
        curve("to here", series[0], &history.queue_down_ms, now),
        curve("to the server", series[1], &history.queue_up_ms, now),
    ];
    plot_ui(ui, &QUEUE, &curves, now);
}

/// Draws one quantity of every stream, solid for what arrives here, dashed for what we send.
fn streams_ui(ui: &mut Ui, meeting: &Meeting, now: f64, subject: Subject, quantity: impl Fn(&StreamLines) -> &Line) {
    let streams = &meeting.history.streams;
    let mut shown: Vec<_> = streams.iter().map(|(side, lines)| (*side, quantity(lines))).collect();
    if shown.len() > STREAMS_DRAWN {
        let sum = |line: &Line| line.points().map(|point| point[1]).sum::<f64>();
        shown.sort_by(|a, b| sum(b.1).total_cmp(&sum(a.1)));
        shown.truncate(STREAMS_DRAWN);
        shown.sort_by_key(|(side, _)| *side);
    }
    let series = &theme::of(ui).series;
    let curves: Vec<_> = shown
        .into_iter()
        .zip(series)
        .map(|((side, line), color)| {
            let mut curve = curve(&side_name(meeting, side), *color, line, now);
            if let Side::Outbound(..) = side {
                curve.style = LineStyle::dashed_dense();
            }
            curve
        })
        .collect();
    plot_ui(ui, &subject, &curves, now);
    let hidden = streams.len().saturating_sub(STREAMS_DRAWN);
    if hidden > 0 {
        theme::weak(ui, format!("and {hidden} streams that are better"));
    }
}

fn reno_ui(ui: &mut Ui, history: &History, now: f64) {
    let palette = theme::of(ui);
    let cwnd = Curve {
        runs: phase_runs(history, now, |phase| palette.phase(phase)),
        ..curve("cwnd", palette.phase(history.latest.reno.phase), &history.cwnd_kb, now)
    };
    let mut ssthresh = curve("ssthresh", palette.series[3], &history.ssthresh_kb, now);
    ssthresh.style = LineStyle::dashed_dense();
    let flight = curve("in flight", palette.series[7], &history.flight_size_kb, now);
    plot_ui(ui, &RENO, &[flight, ssthresh, cwnd], now);
    ui.horizontal_wrapped(|ui| {
        for (phase, name) in PHASES {
            chip_ui(ui, palette.phase(phase), name);
        }
    });
    reno_numbers_ui(ui, &history.latest.reno);
}

/// The phases as they are called in RFC 5681 and 6582, and the one of a file beside a call.
const PHASES: [(Phase, &str); 5] = [
    (Phase::SlowStart, "slow start"),
    (Phase::CongestionAvoidance, "congestion avoidance"),
    (Phase::FastRecovery, "fast recovery"),
    (Phase::TimeoutRecovery, "timeout"),
    (Phase::Yielding, "yields to the call"),
];

/// The window, cut where the phase changes; each run begins with the last point of the one before.
fn phase_runs(history: &History, now: f64, color: impl Fn(Phase) -> Color32) -> Vec<(Color32, Vec<[f64; 2]>)> {
    let mut runs: Vec<(Color32, Vec<[f64; 2]>)> = Vec::new();
    for (point, phase) in history.cwnd_kb.points().zip(&history.phases) {
        let (point, color) = ([point[0] - now, point[1]], color(*phase));
        let last = runs.last().and_then(|run| run.1.last().copied());
        match runs.last_mut() {
            Some(run) if run.0 == color => run.1.push(point),
            _ => runs.push((color, last.into_iter().chain([point]).collect())),
        }
    }
    runs
}

fn reno_numbers_ui(ui: &mut Ui, reno: &RenoStatistics) {
    let srtt = reno.srtt.map_or("-".into(), |srtt| format!("{:.1} ms", srtt.as_secs_f64() * 1e3));
    let numbers = [
        ("SRTT", srtt),
        ("RTTVAR", format!("{:.1} ms", reno.rttvar.as_secs_f64() * 1e3)),
        ("RTO", format!("{} ms", reno.rto.as_millis())),
        ("segments", reno.segments_sent.to_string()),
        ("sent again", reno.segments_retransmitted.to_string()),
        ("losses", reno.loss_events.to_string()),
        ("timeouts", reno.timeouts.to_string()),
    ];
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 5.0;
        for (name, value) in numbers {
            theme::weak(ui, name);
            ui.label(RichText::new(value).monospace().size(12.5));
            ui.add_space(6.0);
        }
    });
}

fn curve(name: &str, color: Color32, line: &Line, now: f64) -> Curve {
    let runs = measured_runs(line, now).into_iter().map(|run| (color, run)).collect();
    Curve { name: name.to_owned(), color, style: LineStyle::Solid, runs, latest: line.at(now) }
}

/// The points of a line in the window, cut where nothing was measured.
fn measured_runs(line: &Line, now: f64) -> Vec<Vec<[f64; 2]>> {
    let mut runs: Vec<Vec<[f64; 2]>> = Vec::new();
    for point in line.points().map(|point| [point[0] - now, point[1]]) {
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|last| point[0] - last[0] < GAP_SECS) => run.push(point),
            _ => runs.push(vec![point]),
        }
    }
    runs
}

fn side_name(meeting: &Meeting, side: Side) -> String {
    match side {
        Side::Inbound(ssrc) => format!("{} {}", meeting.name(ssrc.member()), kind(ssrc)),
        Side::Outbound(ssrc, MemberId::SERVER) => format!("your {} at server", kind(ssrc)),
        Side::Outbound(ssrc, member) => format!("your {} at {}", kind(ssrc), meeting.name(member)),
    }
}

fn kind(ssrc: Ssrc) -> &'static str {
    match ssrc.kind() {
        StreamKind::Audio => "audio",
        StreamKind::Video => "video",
    }
}

/// Title, legend with the newest values, and the plot itself.
fn plot_ui(ui: &mut Ui, subject: &Subject, curves: &[Curve], now: f64) {
    ui.add_space(5.0);
    ui.horizontal(|ui| {
        ui.label(RichText::new(subject.title).strong());
        theme::weak(ui, subject.unit);
    });
    ui.horizontal_wrapped(|ui| {
        for curve in curves {
            let text = match curve.latest {
                Some(value) => format!("{} {value:.*}", curve.name, subject.decimals),
                None => format!("{} -", curve.name),
            };
            chip_ui(ui, curve.color, &text);
        }
    });
    let unit = subject.unit;
    let decimals = subject.decimals;
    let line_color = theme::of(ui).weak;
    Plot::new(subject.title)
        .height(HEIGHT)
        .width(ui.available_width() - LAST_LABEL)
        .allow_drag(false)
        .allow_zoom(false)
        .allow_scroll(false)
        .allow_boxed_zoom(false)
        .allow_double_click_reset(false)
        .include_x(-WINDOW_SECS)
        .include_x(0.0)
        .include_y(0.0)
        .include_y(subject.at_least)
        .set_margin_fraction(vec2(0.0, 0.06))
        .y_axis_min_width(34.0)
        .grid_color(theme::of(ui).line)
        .x_grid_spacer(|_| seconds_grid())
        .y_grid_spacer(|input| value_grid(input.bounds.1))
        .x_axis_formatter(|mark, _| match mark.value {
            0.0 => "now".into(),
            secs => format!("{secs:.0} s"),
        })
        .label_formatter(move |hovered| hovered_text(hovered, unit, decimals))
        .show(ui, |plot| {
            for curve in curves {
                for (color, points) in &curve.runs {
                    let points = PlotPoints::new(points.clone());
                    let line = PlotLine::new(curve.name.clone(), points);
                    plot.line(line.color(*color).width(1.8).style(curve.style));
                }
            }
            if now < WINDOW_SECS {
                let start = VLine::new("start", -now).color(line_color);
                plot.vline(start.width(1.0).style(LineStyle::dotted_dense()).allow_hover(false));
            }
        });
}

/// A mark every half minute.
fn seconds_grid() -> Vec<GridMark> {
    let mark = |step: i32| GridMark { value: f64::from(step) * 30.0, step_size: 30.0 };
    (-4..=0).map(mark).collect()
}

/// Three to six marks from nothing to `top`, at 1, 2 or 5 times a power of ten.
fn value_grid(top: f64) -> Vec<GridMark> {
    let rough = (top / 2.2).max(1e-3);
    let power = 10.0_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|digit| digit * power);
    let step_size = steps.into_iter().rev().find(|step| *step <= rough);
    let step_size = step_size.unwrap_or(power);
    let marks = (top / step_size).floor().clamp(0.0, 8.0) as u32;
    let mark = |step: u32| GridMark { value: f64::from(step) * step_size, step_size };
    (0..=marks).map(mark).collect()
}

fn hovered_text(hovered: &HoverPosition<'_>, unit: &str, decimals: usize) -> Option<String> {
    match hovered {
        HoverPosition::NearDataPoint { plot_name, position, .. } => {
            let (secs, value) = (position.x, position.y);
            Some(format!("{plot_name}\n{value:.decimals$} {unit}, {secs:.0} s"))
        }
        HoverPosition::Elsewhere { .. } => None,
    }
}

/// A coloured dot with its meaning.
fn chip_ui(ui: &mut Ui, color: Color32, text: &str) {
    let weak = theme::of(ui).weak;
    let font = FontId::proportional(12.5);
    let galley = ui.painter().layout_no_wrap(text.to_owned(), font, weak);
    let size = vec2(galley.size().x + 16.0, galley.size().y.max(16.0));
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let dot = rect.left_center() + vec2(5.0, 0.0);
    ui.painter().circle_filled(dot, 4.0, color);
    let at = Align2::LEFT_CENTER.anchor_size(rect.left_center() + vec2(14.0, 0.0), galley.size());
    ui.painter().galley(at.min, galley, weak);
    let role = eframe::egui::Role::Label;
    response.widget_info(|| eframe::egui::WidgetInfo::labeled(role, true, text));
}

/// Every stream as it is right now.
fn table_ui(ui: &mut Ui, meeting: &Meeting) {
    let now = meeting.history.latest.uptime.as_secs_f64();
    ui.add_space(8.0);
    ui.label(RichText::new("Streams").strong());
    Grid::new("streams").num_columns(5).striped(true).spacing([12.0, 4.0]).show(ui, |ui| {
        for title in ["", "lost", "jitter", "Mbit/s", ""] {
            theme::weak(ui, title);
        }
        ui.end_row();
        for (side, lines) in &meeting.history.streams {
            ui.scope(|ui| {
                ui.set_max_width(NAME_WIDTH);
                ui.add(Label::new(RichText::new(side_name(meeting, *side)).size(12.5)).truncate());
            });
            number(ui, lines.loss_percent.at(now), 1, " %");
            number(ui, lines.jitter_ms.at(now), 1, " ms");
            number(ui, lines.bitrate_mbps.at(now), 2, "");
            if let Some((text, meaning)) = media_text(meeting, *side) {
                ui.label(RichText::new(text).size(12.5)).on_hover_text(meaning);
            }
            ui.end_row();
        }
    });
    let target = meeting.history.latest.video_target;
    let discarded = meeting.history.latest.datagrams_discarded;
    let asked = format!(
        "Your camera is asked for {} at quality {}, {} frames a second. Datagrams discarded: {discarded}.",
        target.rung.name, target.quality, target.frames_per_second
    );
    let asked = RichText::new(asked).small().color(theme::of(ui).weak);
    ui.add(Label::new(asked).wrap());
}

/// A number, or that it is unknown.
fn number(ui: &mut Ui, value: Option<f64>, decimals: usize, unit: &str) {
    let text = value.map_or_else(|| "-".into(), |value| format!("{value:.decimals$}{unit}"));
    ui.label(RichText::new(text).monospace().size(12.0));
}

/// What only audio or only video has, in a few words and in sentences.
fn media_text(meeting: &Meeting, side: Side) -> Option<(String, String)> {
    let Side::Inbound(ssrc) = side else { return None };
    let stream = meeting.history.latest.inbound.iter().find(|stream| stream.ssrc == ssrc)?;
    Some(match &stream.media {
        InboundMedia::Audio { playout_delay, fraction_concealed, mean_opinion_score, .. } => {
            let score = mean_opinion_score.map_or("-".into(), |score| format!("{score:.1}"));
            let (waits, concealed) = (playout_delay.as_millis(), 100.0 * fraction_concealed);
            let meaning = format!(
                "Mean opinion score by the E-model (ITU-T G.107): 1 is bad, 4.4 the best of a telephone. {concealed:.1} % of \
                 the sound was missing and made up. Sound waits {waits} ms before it is played."
            );
            (format!("MOS {score}, {concealed:.1} % made up"), meaning)
        }
        InboundMedia::Video { frames_per_second, rung, quality, freezes, .. } => {
            let rung = Rung::from_index(*rung).map_or("?", |rung| rung.name);
            let times = freezes.freeze_count;
            let seconds = freezes.total_freezes_duration.as_secs_f64();
            let meaning = format!(
                "JPEG quality {quality}, {frames_per_second:.0} frames a second. The picture stood still {times} times, \
                 {seconds:.1} s together."
            );
            (format!("{rung} q{quality} {frames_per_second:.0} fps, froze {times}×"), meaning)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::protocol::Event;
    use crate::ui::history::POINTS_MAX;
    use crate::ui::model::Model;
    use crate::ui::samples::{self, ANA};
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    fn measured(quarters: u64) -> Model {
        let mut model = samples::meeting(ANA);
        for quarter in 0..quarters {
            let mut snapshot = samples::snapshot(quarter);
            if quarter % 40 == 39 {
                snapshot.reno.phase = Phase::FastRecovery;
            }
            model.apply(Event::Statistics(Box::new(snapshot)));
        }
        model
    }

    #[test]
    fn two_minutes_are_drawn_with_their_units_and_a_verdict() {
        let model = measured(600);
        let points = model.meeting().unwrap().history.cwnd_kb.points().len();
        assert_eq!(points, POINTS_MAX);
        let show = move |ui: &mut Ui| analytics_ui(ui, model.meeting().expect("applied"));
        let harness = Harness::builder().with_size([460.0, 1400.0]).build_ui(show);
        harness.get_by_label("All good.");
        assert!(harness.query_all_by_label("Mbit/s").next().is_some());
        harness.get_by_label("round trip 12");
        harness.get_by_label("your audio at server 0.0");
    }

    #[test]
    fn the_table_of_streams_is_no_wider_than_its_panel() {
        let model = measured(40);
        let show = move |ui: &mut Ui| analytics_ui(ui, model.meeting().expect("applied"));
        let harness = Harness::builder().with_size([440.0, 1400.0]).build_ui(show);
        let texts: Vec<_> = harness.query_all_by_label_contains("made up").collect();
        assert!(!texts.is_empty());
        assert!(texts.iter().all(|text| text.rect().right() <= 440.0));
    }

    #[test]
    fn an_empty_history_draws_too() {
        let model = samples::meeting(ANA);
        let show = move |ui: &mut Ui| analytics_ui(ui, model.meeting().expect("applied"));
        let harness = Harness::builder().with_size([460.0, 1400.0]).build_ui(show);
        harness.get_by_label("Measuring the network.");
    }

    #[test]
    fn marks_are_round_numbers_and_few() {
        for (top, step, count) in [(50.0, 20.0, 3), (6.3, 2.0, 4), (21.0, 5.0, 5), (0.0, 0.0, 1)] {
            let marks = value_grid(top);
            assert_eq!(marks.len(), count, "{top}");
            assert!(marks.get(1).is_none_or(|mark| mark.value == step), "{top}");
        }
    }

    #[test]
    fn the_window_changes_its_colour_with_the_phase_and_stays_one_line() {
        let model = measured(80);
        let history = &model.meeting().unwrap().history;
        let color = |phase: Phase| match phase {
            Phase::FastRecovery => Color32::RED,
            Phase::CongestionAvoidance | Phase::SlowStart | Phase::TimeoutRecovery | Phase::Yielding => Color32::GREEN,
        };
        let runs = phase_runs(history, 0.0, color);
        assert_eq!(runs.len(), 4);
        for pair in runs.windows(2) {
            assert_eq!(pair[0].1.last(), pair[1].1.first());
        }
    }
}
