//! What a bench found: a table on the screen and a file in `target/figures`.
#![allow(dead_code, reason = "every bench uses a part of this")]
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// What a value has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(goal) => value >= goal,
            Self::AtMost(goal) => value <= goal,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(goal) => format!(">= {}", number(goal)),
            Self::AtMost(goal) => format!("<= {}", number(goal)),
        }
    }
}

/// One figure: a row of the table, an entry of the file.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// The row's name.
    pub(crate) row: &'static str,
    /// What exactly was measured, and how.
    pub(crate) what: String,
    /// The figure, or `None` where this machine cannot tell.
    pub(crate) value: Option<f64>,
    /// Of the value.
    pub(crate) unit: &'static str,
    /// What it has to be, or `None` for a figure that only explains another.
    pub(crate) goal: Option<Goal>,
    /// What others reach, and where that was measured.
    pub(crate) others: Option<String>,
}

impl Figure {
    /// Whether the goal is met; `None` without a goal. A goal without a value is not met.
    fn ok(&self) -> Option<bool> {
        let goal = self.goal?;
        Some(self.value.is_some_and(|value| goal.is_met(value)))
    }

    fn to_json(&self) -> Value {
        json!({
            "row": self.row,
            "what": self.what,
            "value": self.value.map(rounded),
            "unit": self.unit,
            "goal": self.goal.map(Goal::text),
            "others": self.others,
            "ok": self.ok(),
        })
    }

    fn print(&self) {
        let value = self.value.map_or_else(|| "not measured".into(), number);
        let goal = self.goal.map(Goal::text).unwrap_or_default();
        let verdict = match self.ok() {
            Some(true) => "ok",
            Some(false) => "MISSED",
            None => "",
        };
        let unit = self.unit;
        println!("{:<14} {value:>12} {unit:<12} {goal:<12} {verdict:<7} {}", self.row, self.what);
        if let Some(others) = &self.others {
            println!("{:61}others: {others}", "");
        }
    }
}

/// The figures of one bench, printed as they come.
#[derive(Debug)]
pub(crate) struct Figures {
    bench: &'static str,
    figures: Vec<Figure>,
}

impl Figures {
    /// Prints the head of the table.
    pub(crate) fn new(bench: &'static str) -> Self {
        println!("{:<14} {:>12} {:<12} {:<12} {:<7} what", bench, "value", "unit", "goal", "");
        Self { bench, figures: Vec::new() }
    }

    /// Prints a row and keeps it for the file.
    pub(crate) fn add(&mut self, figure: Figure) {
        figure.print();
        self.figures.push(figure);
    }

    /// Writes the file and says where.
    ///
    /// # Panics
    /// When the folder of the build cannot be written to.
    pub(crate) fn finish(self) {
        self.write(&target_dir(), Vec::new());
    }

    /// As [`Self::finish`], into `target`, for a file that several programs write: what it holds of rows that this one
    /// did not measure stays in it.
    ///
    /// # Panics
    /// When the folder of the build cannot be written to.
    pub(crate) fn finish_beside(self, target: &Path) {
        let path = self.path(target);
        let others = others(std::fs::read_to_string(path).ok(), &self.figures);
        self.write(target, others);
    }

    fn write(&self, target: &Path, mut list: Vec<Value>) {
        let path = self.path(target);
        list.extend(self.figures.iter().map(Figure::to_json));
        std::fs::create_dir_all(target.join("figures")).expect("the target folder can be written to");
        std::fs::write(&path, format!("{:#}\n", Value::Array(list))).expect("the target folder can be written to");
        println!("figures: {}", path.display());
    }

    fn path(&self, target: &Path) -> PathBuf {
        target.join("figures").join(format!("{}.json", self.bench))
    }
}

/// The entries of a file whose rows are not among these; nothing of a file that is not one of ours.
fn others(text: Option<String>, figures: &[Figure]) -> Vec<Value> {
    let mut list: Vec<Value> = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    list.retain(|entry| figures.iter().all(|figure| entry["row"] != figure.row));
    list
}

fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from)
}

/// Three digits that count; whole numbers stay whole.
fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if magnitude >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// To a thousandth: more digits are noise.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// The value below which this share (0.0..=1.0) of `values` lies, `None` of nothing.
pub(crate) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    Some(sorted[(share * last as f64).round() as usize])
}

/// What Linux tells of a process or thread; `None` everywhere else.
pub(crate) mod process {
    use std::path::Path;

    /// Clock ticks a second in `/proc/*/stat`; the kernel fixes it at 100 for programs (`USER_HZ`).
    const TICKS_PER_SEC: f64 = 100.0;

    /// CPU seconds this process has used, all threads, in user and kernel mode.
    pub(crate) fn cpu_secs() -> Option<f64> {
        cpu_secs_of(Path::new("/proc/self/stat"))
    }

    /// CPU seconds that the threads with this name have used.
    pub(crate) fn thread_cpu_secs(name: &str) -> Option<f64> {
        let tasks = std::fs::read_dir("/proc/self/task").ok()?;
        let named = tasks
            .flatten()
            .map(|task| task.path())
            .filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name));
        let secs: Vec<f64> = named.filter_map(|task| cpu_secs_of(&task.join("stat"))).collect();
        (!secs.is_empty()).then(|| secs.iter().sum())
    }

    /// Fields 14 and 15 of proc_pid_stat(5); the name before them stands in parentheses and may hold anything.
    fn cpu_secs_of(stat: &Path) -> Option<f64> {
        let text = std::fs::read_to_string(stat).ok()?;
        let (_, fields) = text.rsplit_once(") ")?;
        let mut ticks = fields.split(' ').skip(11).map(str::parse::<f64>);
        Some((ticks.next()?.ok()? + ticks.next()?.ok()?) / TICKS_PER_SEC)
    }

    /// Resident memory right now, MB.
    pub(crate) fn resident_mb() -> Option<f64> {
        status_mb("VmRSS:")
    }

    /// The most resident memory since the start or [`forget_peak`], MB.
    pub(crate) fn peak_resident_mb() -> Option<f64> {
        status_mb("VmHWM:")
    }

    /// Lets the peak begin anew at what is resident right now; answers whether the system does that.
    pub(crate) fn forget_peak() -> bool {
        std::fs::write("/proc/self/clear_refs", "5").is_ok()
    }

    fn status_mb(field: &str) -> Option<f64> {
        let text = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(field))?;
        let kb: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some(kb * 1024.0 / 1e6)
    }
}
