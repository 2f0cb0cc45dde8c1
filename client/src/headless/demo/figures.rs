//! Join time and chat latency as figures, in the form of the benches.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::script::Played;
use super::table::median;

/// From the host's click to the first picture: what a person takes for “at once” (Nielsen's one second).
const JOIN_TIME_GOAL_MS: f64 = 1_000.0;

/// From writing to reading, on one machine: a tenth of a second is felt as immediate.
const CHAT_LATENCY_GOAL_MS: f64 = 100.0;

pub(super) fn write(path: &Path, played: &Played) -> std::io::Result<()> {
    let figures = Value::Array(vec![
        figure(
            "Join time",
            "admitted to first picture decoded, worst guest",
            played.join_times.iter().max().copied(),
            JOIN_TIME_GOAL_MS,
        ),
        figure("Chat latency", "written to read, median", median(&played.chat_latencies), CHAT_LATENCY_GOAL_MS),
    ]);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, format!("{figures:#}\n"))
}

fn figure(row: &str, what: &str, time: Option<Duration>, goal: f64) -> Value {
    let value = time.map(|time| time.as_secs_f64() * 1e3);
    json!({
        "row": row,
        "what": what,
        "value": value,
        "unit": "ms",
        "goal": format!("<= {goal}"),
        "others": null,
        "ok": value.is_some_and(|value| value <= goal),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_ok_when_its_value_is_within_the_goal() {
        let ok = |millis| figure("row", "what", Some(Duration::from_millis(millis)), 100.0)["ok"].clone();
        assert_eq!((ok(100), ok(101)), (Value::Bool(true), Value::Bool(false)));
        assert_eq!(figure("row", "what", None, 100.0)["ok"], false);
    }
}
