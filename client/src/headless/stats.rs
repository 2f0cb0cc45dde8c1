//! What an engine measures, as JSON: one object for each look, with the names of webrtc-stats in snake case. Times are
//! milliseconds, rates bits a second. What was not measured of late is null, or not in its list.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use common::ids::StreamKind;
use common::picture::ladder::Rung;
use common::reno::{Algorithm, Phase, RenoStatistics};
use common::stats::{HopStatistics, InboundMedia, InboundStream, NetworkSnapshot, OutboundStream, RemoteInbound};
use serde_json::{Value, json};
use server::lines::Lines;

/// A file of statistics, one JSON object a line. What cannot be written is lost, and a line says how much that was.
#[derive(Debug)]
pub(super) struct StatsFile {
    lines: Lines,
    trouble_told: bool,
}

impl StatsFile {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { lines: Lines::start(File::create(path)?, lost), trouble_told: false })
    }

    /// Appends a line, without waiting for the disk.
    pub(super) fn push(&self, snapshot: &NetworkSnapshot) {
        self.lines.push(format!("{}\n", to_json(snapshot)));
    }

    /// What is to be told of the file, once.
    pub(super) fn trouble(&mut self) -> Option<String> {
        trouble(&self.lines, &mut self.trouble_told, "Statistics")
    }

    /// Writes what is still to be written.
    pub(super) fn flush(&self) {
        self.lines.flush();
    }
}

/// The line that stands for lines that were lost.
pub(super) fn lost(lines: u64) -> String {
    format!("{}\n", json!({ "lines_lost": lines }))
}

/// The sentence about `what` that cannot be written, the first time.
pub(super) fn trouble(lines: &Lines, told: &mut bool, what: &str) -> Option<String> {
    let reason = lines.trouble().filter(|_| !*told)?;
    *told = true;
    Some(format!("{what} cannot be written and are lost until they can: {reason}."))
}

fn to_json(snapshot: &NetworkSnapshot) -> Value {
    let target = snapshot.video_target;
    json!({
        "uptime_ms": millis(snapshot.uptime),
        "silent_for_ms": snapshot.silent_for.map(millis),
        "round_trip_time_ms": snapshot.round_trip_time.map(millis),
        "received_bitrate_bps": snapshot.received_bitrate_bps,
        "sent_bitrate_bps": snapshot.sent_bitrate_bps,
        "datagrams_discarded": snapshot.datagrams_discarded,
        "video_target": {
            "rung": target.rung.name,
            "quality": target.quality,
            "frames_per_second": target.frames_per_second,
        },
        "uplink": hop(&snapshot.uplink),
        "downlink": hop(&snapshot.downlink),
        "inbound": snapshot.inbound.iter().map(inbound).collect::<Vec<_>>(),
        "outbound": snapshot.outbound.iter().map(outbound).collect::<Vec<_>>(),
        "reno": reno(&snapshot.reno),
    })
}

fn hop(hop: &HopStatistics) -> Value {
    json!({
        "available_bitrate_bps": hop.available_bitrate_bps,
        "queueing_delay_ms": hop.queueing_delay.map(millis),
        "fraction_lost": hop.fraction_lost,
        "competing": hop.competing,
    })
}

fn inbound(stream: &InboundStream) -> Value {
    let mut value = json!({
        "member": stream.ssrc.member().0,
        "kind": kind(stream.ssrc.kind()),
        "packets_received": stream.packets_received,
        "packets_lost": stream.packets_lost,
        "retransmitted_packets_received": stream.retransmitted_packets_received,
        "fraction_lost": stream.fraction_lost,
        "jitter_ms": stream.jitter.map(millis),
        "bitrate_bps": stream.bitrate_bps,
    });
    let media = match stream.media {
        InboundMedia::Audio { playout, fraction_concealed, playout_delay, mean_opinion_score } => json!({
            "concealed_samples": playout.concealed_samples,
            "silent_concealed_samples": playout.silent_concealed_samples,
            "concealment_events": playout.concealment_events,
            "inserted_samples_for_deceleration": playout.inserted_samples_for_deceleration,
            "removed_samples_for_acceleration": playout.removed_samples_for_acceleration,
            "jitter_buffer_delay_ms": millis(playout.jitter_buffer_delay),
            "jitter_buffer_target_delay_ms": millis(playout.jitter_buffer_target_delay),
            "jitter_buffer_emitted_count": playout.jitter_buffer_emitted_count,
            "packets_discarded": playout.packets_discarded,
            "fraction_concealed": fraction_concealed,
            "playout_delay_ms": millis(playout_delay),
            "mean_opinion_score": mean_opinion_score,
        }),
        InboundMedia::Video { frames, freezes, frames_per_second, rung, quality } => json!({
            "frames_received": frames.frames_received,
            "frames_incomplete": frames.frames_incomplete,
            "frames_dropped": frames.frames_dropped,
            "parts_repaired": frames.parts_repaired,
            "parts_late": frames.parts_late,
            "freeze_count": freezes.freeze_count,
            "total_freezes_duration_ms": millis(freezes.total_freezes_duration),
            "frames_per_second": frames_per_second,
            "rung": Rung::from_index(rung).map(|rung| rung.name),
            "quality": quality,
        }),
    };
    if let (Value::Object(value), Value::Object(media)) = (&mut value, media) {
        value.extend(media);
    }
    value
}

fn outbound(stream: &OutboundStream) -> Value {
    json!({
        "kind": kind(stream.ssrc.kind()),
        "packets_sent": stream.packets_sent,
        "bitrate_bps": stream.bitrate_bps,
        "remote": stream.remote.iter().map(remote).collect::<Vec<_>>(),
    })
}

/// Member 0 is the server.
fn remote(remote: &RemoteInbound) -> Value {
    json!({
        "reporter": remote.reporter.0,
        "fraction_lost": remote.fraction_lost,
        "packets_lost": remote.packets_lost,
        "jitter_ms": millis(remote.jitter),
        "bitrate_bps": remote.bitrate_bps,
    })
}

fn reno(reno: &RenoStatistics) -> Value {
    json!({
        "algorithm": algorithm(reno.algorithm),
        "smss_bytes": reno.smss_bytes,
        "cwnd_bytes": reno.cwnd_bytes,
        "ssthresh_bytes": reno.ssthresh_bytes,
        "flight_size_bytes": reno.flight_size_bytes,
        "srtt_ms": reno.srtt.map(millis),
        "rttvar_ms": millis(reno.rttvar),
        "rtt_min_ms": reno.rtt_min.map(millis),
        "rto_ms": millis(reno.rto),
        "pacing_rate_bps": reno.pacing_rate_bps,
        "phase": phase(reno.phase),
        "segments_sent": reno.segments_sent,
        "segments_retransmitted": reno.segments_retransmitted,
        "loss_events": reno.loss_events,
        "spurious_losses": reno.spurious_losses,
        "timeouts": reno.timeouts,
        "bytes_acknowledged": reno.bytes_acknowledged,
    })
}

fn kind(kind: StreamKind) -> &'static str {
    match kind {
        StreamKind::Audio => "audio",
        StreamKind::Video => "video",
    }
}

pub(super) fn algorithm(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Radio => "radio",
        Algorithm::Reno => "reno",
    }
}

pub(super) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::SlowStart => "slow_start",
        Phase::CongestionAvoidance => "congestion_avoidance",
        Phase::FastRecovery => "fast_recovery",
        Phase::TimeoutRecovery => "timeout_recovery",
        Phase::Yielding => "yielding",
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::{MemberId, Ssrc};
    use common::voice::playout::PlayoutStatistics;

    #[test]
    fn a_snapshot_has_the_network_the_streams_and_reno() {
        let snapshot = NetworkSnapshot {
            round_trip_time: Some(Duration::from_micros(1_500)),
            inbound: vec![InboundStream {
                ssrc: Ssrc::new(MemberId(3), StreamKind::Audio),
                packets_received: 5,
                packets_lost: -1,
                retransmitted_packets_received: 0,
                fraction_lost: Some(0.0),
                jitter: Some(Duration::from_millis(2)),
                bitrate_bps: 800_000,
                media: InboundMedia::Audio {
                    playout: PlayoutStatistics { concealed_samples: 480, ..PlayoutStatistics::default() },
                    fraction_concealed: 0.2,
                    playout_delay: Duration::from_millis(30),
                    mean_opinion_score: Some(4.4),
                },
            }],
            ..NetworkSnapshot::default()
        };
        let value = to_json(&snapshot);
        assert_eq!(value["round_trip_time_ms"], 1.5);
        assert_eq!(value["inbound"][0]["member"], 3);
        assert_eq!(value["inbound"][0]["kind"], "audio");
        assert_eq!(value["inbound"][0]["playout_delay_ms"], 30.0);
        assert_eq!(value["inbound"][0]["concealed_samples"], 480);
        assert_eq!(value["uplink"]["queueing_delay_ms"], Value::Null, "nobody measured it");
        assert_eq!(value["reno"]["phase"], "slow_start");
        assert_eq!(value["reno"]["ssthresh_bytes"], Value::Null);
        assert!(!value.to_string().contains('\n'));
    }
}
