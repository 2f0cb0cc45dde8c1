//! What a load came to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

pub use super::latency::Percentiles;
pub use super::machine::ProcessUse;

/// What a load came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadReport {
    /// Rooms that were asked for.
    pub rooms: usize,
    /// Members of each room that were asked for.
    pub members: usize,
    /// How long was measured.
    pub measured: Duration,
    /// Who got in.
    pub joins: JoinReport,
    /// Blocks of sound.
    pub audio: MediaReport,
    /// Parts of pictures.
    pub video: MediaReport,
    /// From a ping to its answer.
    pub round_trip: Percentiles,
    /// Streams that somebody should have received and that were not there at the end.
    pub streams_missing: usize,
    /// What the flood came to, where there was one.
    pub flood: Option<FloodReport>,
    /// Whether this program kept its own schedule.
    pub generator: GeneratorReport,
    /// The server, where it is another process of this machine that may be looked at.
    pub server: Option<ProcessUse>,
}

/// Who got in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JoinReport {
    /// Participants, who floods included.
    pub asked: usize,
    /// Got in.
    pub joined: usize,
    /// Were told that they do not.
    pub refused: usize,
    /// Had no connection, or lost it before.
    pub failed: usize,
    /// Got in, and were thrown out or lost before the end.
    pub lost: usize,
    /// What was said to those who did not get in or did not stay, and how often.
    pub reasons: BTreeMap<String, usize>,
    /// From the first packet of a guest's connection to its admission.
    pub to_admitted: Percentiles,
    /// From a guest's admission to the first datagram of somebody's video.
    pub to_first_video: Percentiles,
    /// From a guest's admission to the first picture of which every part is there.
    pub to_first_picture: Percentiles,
}

/// One kind of media while it was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MediaReport {
    /// Datagrams that members sent.
    pub sent: u64,
    /// Datagrams that receivers should have got, by the sequence numbers of each stream they got.
    pub expected: u64,
    /// Datagrams that receivers got.
    pub received: u64,
    /// Datagrams that receivers should have got and did not.
    pub lost: u64,
    /// Streams that arrived, each at each receiver.
    pub streams: usize,
    /// From sending a datagram to its arrival at a receiver's socket.
    pub latency: Percentiles,
    /// What all senders sent together, headers of IP and UDP included.
    pub sent_bps: u64,
    /// What all receivers got together, headers of IP and UDP included.
    pub received_bps: u64,
}

impl MediaReport {
    /// Lost of those expected, percent.
    pub fn loss_percent(&self) -> f64 {
        100.0 * self.lost as f64 / self.expected.max(1) as f64
    }
}

/// The one member who sends too much.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FloodReport {
    /// Datagrams that it sent.
    pub sent: u64,
    /// What it sent, Mbit/s, headers of IP and UDP included.
    pub sent_mbits: f64,
}

/// Whether the generator kept its own schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GeneratorReport {
    /// How much later than planned datagrams of media were sent.
    pub lateness: Percentiles,
    /// How long datagrams waited at the receivers' sockets for this program, where the system tells it (Linux); it is
    /// in no latency then.
    pub wait: Percentiles,
    /// Blocks and frames that were left out because it was far too late for them.
    pub skipped: u64,
    /// Datagrams that the system did not take.
    pub unsent: u64,
    /// Datagrams that came and were nobody's, or did not open.
    pub discarded: u64,
    /// CPU and memory, where the system tells it. With a server in the same process, both together.
    pub process: Option<ProcessUse>,
}

/// Beyond this the generator is late: the wait of the system has a grain of a millisecond, and a frame is sent in parts
/// 1 ms apart.
const LATE: Duration = Duration::from_millis(10);

impl LoadReport {
    /// Whether everybody got in and stayed, no stream was missing, and of neither kind more than this was lost,
    /// percent.
    pub fn passes(&self, max_loss_percent: f64) -> bool {
        let joins = &self.joins;
        let all_in = joins.joined == joins.asked && joins.lost == 0;
        let heard = [self.audio, self.video].iter().all(|media| media.loss_percent() <= max_loss_percent);
        all_in && heard && self.streams_missing == 0
    }

    /// Sentences on what makes these figures other than those of the server; empty when nothing does.
    pub fn doubts(&self) -> Vec<String> {
        let GeneratorReport { lateness, skipped, unsent, process, .. } = self.generator;
        let dropped = process.map_or(0, |process| process.datagrams_dropped);
        let late = lateness.p99 > LATE;
        let doubts = [
            (late, format!("generator was late: 1 % of what it sent left {} or more after its time", ms(lateness.p99))),
            (skipped > 0, format!("generator was late: {skipped} blocks and frames were left out")),
            (unsent > 0, format!("the system did not take {unsent} datagrams of the generator, which count as lost")),
            (
                dropped > 0,
                format!(
                    "{dropped} datagrams were dropped at the generator's own sockets, which count as lost: it does not keep up, or net.core.rmem_max is small"
                ),
            ),
        ];
        doubts.into_iter().filter(|(holds, _)| *holds).map(|(_, sentence)| sentence).collect()
    }

    /// Everything as JSON: times in milliseconds, memory in bytes.
    pub fn to_json(&self) -> Value {
        let joins = &self.joins;
        json!({
            "rooms": self.rooms,
            "members": self.members,
            "measured_secs": self.measured.as_secs_f64(),
            "joins": {
                "asked": joins.asked,
                "joined": joins.joined,
                "refused": joins.refused,
                "failed": joins.failed,
                "lost": joins.lost,
                "reasons": joins.reasons,
                "to_admitted_ms": percentiles(joins.to_admitted),
                "to_first_video_ms": percentiles(joins.to_first_video),
                "to_first_picture_ms": percentiles(joins.to_first_picture),
            },
            "audio": media(&self.audio),
            "video": media(&self.video),
            "round_trip_ms": percentiles(self.round_trip),
            "streams_missing": self.streams_missing,
            "flood": self.flood.map(|flood| json!({ "sent": flood.sent, "sent_mbits": flood.sent_mbits })),
            "generator": {
                "lateness_ms": percentiles(self.generator.lateness),
                "wait_ms": percentiles(self.generator.wait),
                "skipped": self.generator.skipped,
                "unsent": self.generator.unsent,
                "discarded": self.generator.discarded,
                "process": self.generator.process.as_ref().map(process),
            },
            "server": self.server.as_ref().map(process),
            "doubts": self.doubts(),
        })
    }
}

fn percentiles(of: Percentiles) -> Value {
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    json!({ "count": of.count, "p50": millis(of.p50), "p99": millis(of.p99), "max": millis(of.max) })
}

fn media(of: &MediaReport) -> Value {
    json!({
        "sent": of.sent,
        "expected": of.expected,
        "received": of.received,
        "lost": of.lost,
        "loss_percent": of.loss_percent(),
        "streams": of.streams,
        "latency_ms": percentiles(of.latency),
        "sent_bps": of.sent_bps,
        "received_bps": of.received_bps,
    })
}

fn process(of: &ProcessUse) -> Value {
    json!({
        "pid": of.pid,
        "cpu_cores": of.cpu_cores,
        "join_cpu_secs": of.join_cpu_secs,
        "memory_start_bytes": of.memory_start_bytes,
        "memory_joined_bytes": of.memory_joined_bytes,
        "memory_end_bytes": of.memory_end_bytes,
        "memory_max_bytes": of.memory_max_bytes,
        "datagrams_dropped": of.datagrams_dropped,
    })
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> LoadReport {
        let media = MediaReport { expected: 1_000, received: 990, lost: 10, ..MediaReport::default() };
        let joins = JoinReport { asked: 4, joined: 4, ..JoinReport::default() };
        LoadReport { joins, audio: media, video: media, ..LoadReport::default() }
    }

    #[test]
    fn a_load_passes_when_all_are_in_and_little_is_lost() {
        assert!(good().passes(1.0));
        assert!(!good().passes(0.9));
        let fails: [fn(&mut LoadReport); 4] = [
            |report| report.joins.joined = 3,
            |report| report.joins.lost = 1,
            |report| report.streams_missing = 1,
            |report| report.audio.lost = 11,
        ];
        for spoil in fails {
            let mut report = good();
            spoil(&mut report);
            assert!(!report.passes(1.0), "{report:?}");
        }
    }

    #[test]
    fn nothing_expected_is_nothing_lost() {
        assert_eq!(MediaReport::default().loss_percent(), 0.0);
    }

    #[test]
    fn a_generator_that_was_late_says_so() {
        assert!(good().doubts().is_empty());
        let lateness = Percentiles { p99: Duration::from_millis(11), ..Percentiles::default() };
        let process = Some(ProcessUse { datagrams_dropped: 5, ..ProcessUse::default() });
        let generator = GeneratorReport { lateness, skipped: 3, process, ..GeneratorReport::default() };
        let report = LoadReport { generator, ..good() };
        let doubts = report.doubts();
        assert_eq!(doubts.len(), 3, "{doubts:?}");
        assert!(doubts[0].starts_with("generator was late"));
        assert_eq!(report.to_json()["doubts"][0], doubts[0].as_str());
    }
}
