//! What the sender of the reliable channel does, as a file of JSON lines that qlog's tools and `docs/plot_reno.py` read:
//! a header, then an event a line, its names those of draft-ietf-quic-qlog-quic-events §7. Times are milliseconds since
//! the first event.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use common::reno::{Trace, Traced};
use serde_json::{Value, json};
use server::lines::Lines;

use super::stats::{algorithm, lost, phase, trouble};

/// A file that is being written. What cannot be written is lost, and a line says how much that was.
#[derive(Debug)]
pub(super) struct TraceFile {
    lines: Lines,
    began: Option<Instant>,
    trouble_told: bool,
}

impl TraceFile {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let lines = Lines::start(File::create(path)?, lost);
        lines.push(format!("{}\n", header()));
        Ok(Self { lines, began: None, trouble_told: false })
    }

    /// Appends events, without waiting for the disk.
    pub(super) fn push(&mut self, events: &[Traced]) {
        for event in events {
            let began = *self.began.get_or_insert(event.at);
            self.lines.push(format!("{}\n", to_json(event.at.saturating_duration_since(began), event)));
        }
    }

    /// What is to be told of the file, once.
    pub(super) fn trouble(&mut self) -> Option<String> {
        trouble(&self.lines, &mut self.trouble_told, "Events of the trace")
    }

    /// Writes what is still to be written.
    pub(super) fn flush(&self) {
        self.lines.flush();
    }
}

fn header() -> Value {
    json!({
        "file_schema": "urn:ietf:params:qlog:file:sequential",
        "serialization_format": "application/x-ndjson",
        "title": "conclave reliable channel",
        "trace": { "vantage_point": { "type": "client" }, "common_fields": { "time_format": "relative_to_epoch" } },
    })
}

fn to_json(time: Duration, event: &Traced) -> Value {
    let reno = &event.statistics;
    let (name, detail) = name(event.what);
    let mut data = json!({
        "algorithm": algorithm(reno.algorithm),
        "congestion_window": reno.cwnd_bytes,
        "ssthresh": reno.ssthresh_bytes,
        "bytes_in_flight": reno.flight_size_bytes,
        "smoothed_rtt": reno.srtt.map(millis),
        "rtt_variance": millis(reno.rttvar),
        "min_rtt": reno.rtt_min.map(millis),
        "retransmission_timeout": millis(reno.rto),
        "pacing_rate": reno.pacing_rate_bps,
        "phase": phase(reno.phase),
        "segments_sent": reno.segments_sent,
        "segments_retransmitted": reno.segments_retransmitted,
        "bytes_acknowledged": reno.bytes_acknowledged,
    });
    if let (Value::Object(data), Value::Object(detail)) = (&mut data, detail) {
        data.extend(detail);
    }
    json!({ "time": millis(time), "name": name, "data": data })
}

fn name(what: Trace) -> (&'static str, Value) {
    match what {
        Trace::Acknowledged => ("recovery:metrics_updated", Value::Null),
        Trace::Lost { segments } => ("recovery:packet_lost", json!({ "packets": segments, "window_reduced": true })),
        Trace::LostMore { segments } => {
            ("recovery:packet_lost", json!({ "packets": segments, "window_reduced": false }))
        }
        Trace::Probe => ("recovery:loss_timer_updated", json!({ "timer_type": "tlp", "event_type": "expired" })),
        Trace::Renewed => ("connectivity:connection_state_updated", json!({ "new": "opened_anew" })),
        Trace::SegmentBytes(bytes) => ("connectivity:mtu_updated", json!({ "new": bytes })),
        Trace::Spurious => ("recovery:spurious_loss_detected", Value::Null),
        Trace::Timeout => ("recovery:loss_timer_updated", json!({ "timer_type": "rto", "event_type": "expired" })),
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::reno::RenoStatistics;

    #[test]
    fn an_event_has_its_time_its_name_and_how_the_sender_stood() {
        let statistics =
            RenoStatistics { cwnd_bytes: 14_400, ssthresh_bytes: Some(7_200), ..RenoStatistics::default() };
        let event = Traced { at: Instant::now(), what: Trace::Lost { segments: 3 }, statistics };
        let value = to_json(Duration::from_micros(1_500), &event);
        assert_eq!((&value["time"], &value["name"]), (&json!(1.5), &json!("recovery:packet_lost")));
        assert_eq!((&value["data"]["packets"], &value["data"]["congestion_window"]), (&json!(3), &json!(14_400)));
        assert_eq!(value["data"]["phase"], "slow_start");
    }
}
