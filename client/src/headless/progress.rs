//! How far files are: bars on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::ids::{MemberId, TransferId};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::screen::Screen;
use super::terminal::say;
use crate::amount::{bytes, clock, percent, rate};

/// A file at a receiver: who offered it, which, who receives it.
pub(super) type Place = (MemberId, TransferId, MemberId);

/// Everything that is under way.
#[derive(Debug)]
pub(super) struct Progress {
    /// `None` where lines are written.
    bars: Option<MultiProgress>,
    running: BTreeMap<Place, Running>,
}

#[derive(Debug)]
struct Running {
    label: String,
    size: u64,
    began: Instant,
    /// What was there already.
    first: u64,
    /// As of the last line.
    told: (Instant, u64),
    bar: Option<ProgressBar>,
}

/// A line is written when this much more is there,
const LINE_PERCENT: u64 = 10;
/// or when this much time has passed,
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// and never sooner: there would be no rate to tell.
const LINE_INTERVAL_MIN: Duration = Duration::from_millis(500);

impl Progress {
    /// Draws bars if `terminal`.
    pub(super) fn new(terminal: bool) -> Self {
        let bars = (terminal && Screen::draws()).then(|| {
            // As often as indicatif draws by itself.
            let target = ProgressDrawTarget::term_like_with_hz(Box::new(Screen::default()), 20);
            MultiProgress::with_draw_target(target)
        });
        Self { bars, running: BTreeMap::new() }
    }

    /// Prints a line above the bars.
    pub(super) fn say(&self, line: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| say(line)),
            None => say(line),
        }
    }

    /// So many bytes are there.
    pub(super) fn update(&mut self, place: Place, label: &str, size: u64, there: u64, now: Instant) {
        if !self.running.contains_key(&place) {
            self.begin(place, label, size, there, now);
        }
        let Some(running) = self.running.get_mut(&place) else { return };
        if let Some(bar) = &running.bar {
            bar.set_position(there);
        } else if let Some(line) = running.line(there, now) {
            say(&line);
        }
    }

    fn begin(&mut self, place: Place, label: &str, size: u64, there: u64, now: Instant) {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new(size).with_style(style()).with_message(label.to_owned()));
            bar.set_position(there);
            bar.reset_eta();
            bar
        });
        if bar.is_none() {
            let from = if there > 0 { format!(", from {} on", percent(there, size)) } else { String::new() };
            say(&format!("{label}: {}{from}.", bytes(size as f64)));
        }
        let running = Running { label: label.to_owned(), size, began: now, first: there, told: (now, there), bar };
        self.running.insert(place, running);
    }

    /// Nothing more happens to a file there. Answers how long it took, and how many bytes came.
    pub(super) fn end(&mut self, place: Place, now: Instant) -> Option<(Duration, u64)> {
        let running = self.running.remove(&place)?;
        if let Some(bar) = running.bar {
            bar.finish_and_clear();
        }
        let time = now.saturating_duration_since(running.began);
        Some((time, running.size.saturating_sub(running.first)))
    }
}

impl Running {
    /// A line, if it is time for one.
    fn line(&mut self, there: u64, now: Instant) -> Option<String> {
        let (told_at, told) = self.told;
        let more = there.saturating_sub(told);
        let passed = now.saturating_duration_since(told_at);
        let step = u128::from(self.size) * u128::from(LINE_PERCENT) / 100;
        let soon = passed < LINE_INTERVAL_MIN || there >= self.size;
        if more == 0 || soon || (u128::from(more) < step && passed < LINE_INTERVAL) {
            return None;
        }
        self.told = (now, there);
        let seconds_left = self.size.saturating_sub(there) as f64 * passed.as_secs_f64() / more as f64;
        let left = Duration::try_from_secs_f64(seconds_left).unwrap_or(Duration::MAX);
        let done = percent(there, self.size);
        Some(format!("{}: {done}, {}, {} left", self.label, rate(more, passed)?, clock(left)))
    }
}

fn style() -> ProgressStyle {
    let template = "{msg} {wide_bar} {percent} % of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";
    // The template is checked by a test.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_every_tenth_or_every_five_seconds() {
        let start = Instant::now();
        let mut running =
            Running { label: "a".into(), size: 1_000_000, began: start, first: 0, told: (start, 0), bar: None };
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(running.line(500_000, at(3)), None, "3 ms are no rate");
        assert_eq!(running.line(50_000, at(1_000)), None);
        assert_eq!(running.line(100_000, at(1_000)).unwrap(), "a: 10 %, 100.0 kB/s, 10 s left");
        assert_eq!(running.line(110_000, at(5_900)), None);
        assert_eq!(running.line(110_000, at(6_000)).unwrap(), "a: 11 %, 2.0 kB/s, 7 min 25 s left");
        assert_eq!(running.line(110_000, at(60_000)), None, "nothing came");
        assert_eq!(running.line(1_000_000, at(60_000)), None, "that it is complete is told when it is verified");
    }

    #[test]
    fn the_bar_has_a_template_that_is_one() {
        let template = "{msg} {wide_bar} {percent} % of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";
        assert!(ProgressStyle::with_template(template).is_ok());
    }
}
