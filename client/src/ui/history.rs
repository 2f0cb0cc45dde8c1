//! The last two minutes of the network as numbers over time, ready to be drawn.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use common::ids::{MemberId, Ssrc};
use common::reno::Phase;
use common::stats::NetworkSnapshot;

/// Points of one line: four a second for 120 seconds.
pub const POINTS_MAX: usize = 480;
/// Lines kept for streams: both streams of 50 members in, and what 50 receivers say of ours.
pub const LINES_MAX: usize = 200;
/// Newest points that are averaged before anything is judged: two seconds, so that one lost packet is no alarm.
const SETTLED_POINTS: usize = 8;

/// A quantity over time: seconds since the endpoint began, and the value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line(VecDeque<[f64; 2]>);

/// Where points are this far apart, nothing was measured between them.
pub const GAP_SECS: f64 = 1.0;

impl Line {
    fn push(&mut self, at_secs: f64, value: f64) {
        if self.0.len() == POINTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back([at_secs, value]);
    }

    /// Nothing is drawn where nothing was measured.
    fn push_if(&mut self, at_secs: f64, value: Option<f64>) {
        value.into_iter().for_each(|value| self.push(at_secs, value));
    }

    /// All points, oldest first.
    pub fn points(&self) -> impl ExactSizeIterator<Item = [f64; 2]> + '_ {
        self.0.iter().copied()
    }

    /// The value at that time, if one was measured then.
    pub fn at(&self, secs: f64) -> Option<f64> {
        self.0.back().filter(|point| secs - point[0] < GAP_SECS).map(|point| point[1])
    }

    fn settled(&self) -> f64 {
        let count = self.0.len().clamp(1, SETTLED_POINTS);
        let newest = self.0.iter().rev().take(count);
        newest.map(|point| point[1]).sum::<f64>() / count as f64
    }

    /// The same of per cents, as a fraction.
    fn settled_fraction(&self) -> f32 {
        (self.settled() / 100.0) as f32
    }
}

/// Whose numbers a stream's lines are: ours for what arrives, a receiver's for what we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The stream arrives here.
    Inbound(Ssrc),
    /// The stream is ours, and this member (or [`MemberId::SERVER`]) says how it arrives there.
    Outbound(Ssrc, MemberId),
}

/// The lines of one stream at one receiver.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamLines {
    /// Share of packets lost, per cent.
    pub loss_percent: Line,
    /// Interarrival jitter, ms.
    pub jitter_ms: Line,
    /// What arrives, Mbit/s.
    pub bitrate_mbps: Line,
}

/// Two minutes of everything that is drawn.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Round trip to the server, ms.
    pub round_trip_ms: Line,
    /// All datagrams sent, Mbit/s.
    pub sent_mbps: Line,
    /// All datagrams received, Mbit/s.
    pub received_mbps: Line,
    /// What the path to the server carries of ours, Mbit/s.
    pub available_mbps: Line,
    /// How long packets wait in the queue to the server, ms.
    pub queue_up_ms: Line,
    /// How long they wait in the queue from the server, ms.
    pub queue_down_ms: Line,
    /// Share of packets lost on the way from the server, per cent.
    pub lost_down_percent: Line,
    /// Congestion window of the reliable channel, kB, with the phase at each point.
    pub cwnd_kb: Line,
    /// Reno's phase at each point of [`History::cwnd_kb`].
    pub phases: VecDeque<Phase>,
    /// Slow start threshold, kB.
    pub ssthresh_kb: Line,
    /// Bytes in flight, kB.
    pub flight_size_kb: Line,
    /// Each stream at each of its receivers.
    pub streams: BTreeMap<Side, StreamLines>,
    /// The newest snapshot as it came.
    pub latest: NetworkSnapshot,
}

impl History {
    /// Appends a snapshot. One that is older than the last begins anew: the endpoint was replaced.
    pub fn push(&mut self, snapshot: NetworkSnapshot) {
        if snapshot.uptime < self.latest.uptime {
            *self = Self::default();
        }
        let at = snapshot.uptime.as_secs_f64();
        self.round_trip_ms.push_if(at, snapshot.round_trip_time.map(millis));
        self.sent_mbps.push(at, mbps(snapshot.sent_bitrate_bps));
        self.received_mbps.push(at, mbps(snapshot.received_bitrate_bps));
        if let Some(available) = snapshot.uplink.available_bitrate_bps {
            self.available_mbps.push(at, mbps(available));
        }
        self.queue_up_ms.push_if(at, snapshot.uplink.queueing_delay.map(millis));
        self.queue_down_ms.push_if(at, snapshot.downlink.queueing_delay.map(millis));
        self.lost_down_percent.push_if(at, snapshot.downlink.fraction_lost.map(percent));
        self.push_reno(at, &snapshot);
        self.push_streams(at, &snapshot);
        self.latest = snapshot;
    }

    fn push_reno(&mut self, at: f64, snapshot: &NetworkSnapshot) {
        let reno = &snapshot.reno;
        self.cwnd_kb.push(at, kilobytes(reno.cwnd_bytes));
        if self.phases.len() == POINTS_MAX {
            self.phases.pop_front();
        }
        self.phases.push_back(reno.phase);
        if let Some(ssthresh) = reno.ssthresh_bytes {
            self.ssthresh_kb.push(at, kilobytes(ssthresh));
        }
        self.flight_size_kb.push(at, kilobytes(reno.flight_size_bytes));
    }

    fn push_streams(&mut self, at: f64, snapshot: &NetworkSnapshot) {
        for stream in &snapshot.inbound {
            let numbers = (stream.fraction_lost, stream.jitter, stream.bitrate_bps);
            self.push_stream(at, Side::Inbound(stream.ssrc), numbers);
        }
        for stream in &snapshot.outbound {
            for remote in &stream.remote {
                let numbers = (Some(remote.fraction_lost), Some(remote.jitter), remote.bitrate_bps);
                self.push_stream(at, Side::Outbound(stream.ssrc, remote.reporter), numbers);
            }
        }
        let oldest = at - POINTS_MAX as f64 / 4.0;
        let fresh = |line: &Line| line.0.back().is_some_and(|point| point[0] > oldest);
        self.streams.retain(|_, lines| fresh(&lines.bitrate_mbps));
    }

    fn push_stream(&mut self, at: f64, side: Side, (fraction_lost, jitter, bitrate_bps): Numbers) {
        if self.streams.len() >= LINES_MAX && !self.streams.contains_key(&side) {
            return;
        }
        let lines = self.streams.entry(side).or_default();
        lines.loss_percent.push_if(at, fraction_lost.map(percent));
        lines.jitter_ms.push_if(at, jitter.map(millis));
        lines.bitrate_mbps.push(at, mbps(bitrate_bps));
    }

    /// The newest snapshot with loss, jitter and round trip averaged over two seconds: what a verdict is built on.
    pub fn settled(&self) -> NetworkSnapshot {
        let mut snapshot = self.latest.clone();
        let NetworkSnapshot { round_trip_time, uplink, downlink, .. } = &mut snapshot;
        let of_line = |line: &Line| from_millis(line.settled());
        *round_trip_time = round_trip_time.map(|_| of_line(&self.round_trip_ms));
        uplink.queueing_delay = uplink.queueing_delay.map(|_| of_line(&self.queue_up_ms));
        downlink.queueing_delay = downlink.queueing_delay.map(|_| of_line(&self.queue_down_ms));
        downlink.fraction_lost = downlink.fraction_lost.map(|_| self.lost_down_percent.settled_fraction());
        for stream in &mut snapshot.inbound {
            if let Some(lines) = self.streams.get(&Side::Inbound(stream.ssrc)) {
                stream.fraction_lost = stream.fraction_lost.map(|_| lines.loss_percent.settled_fraction());
                stream.jitter = stream.jitter.map(|_| of_line(&lines.jitter_ms));
            }
        }
        for stream in &mut snapshot.outbound {
            for remote in &mut stream.remote {
                let side = Side::Outbound(stream.ssrc, remote.reporter);
                if let Some(lines) = self.streams.get(&side) {
                    remote.fraction_lost = lines.loss_percent.settled_fraction();
                    remote.jitter = of_line(&lines.jitter_ms);
                }
            }
        }
        snapshot
    }
}

/// Loss, jitter and bits a second of a stream; `None` where nothing was measured.
type Numbers = (Option<f32>, Option<Duration>, u64);

fn percent(fraction: f32) -> f64 {
    100.0 * f64::from(fraction)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn from_millis(millis: f64) -> Duration {
    Duration::try_from_secs_f64(millis / 1_000.0).unwrap_or_default()
}

fn mbps(bitrate_bps: u64) -> f64 {
    bitrate_bps as f64 / 1e6
}

fn kilobytes(bytes: u64) -> f64 {
    bytes as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::samples;

    #[test]
    fn a_line_keeps_two_minutes() {
        let mut history = History::default();
        for quarter in 0..600 {
            history.push(samples::snapshot(quarter));
        }
        assert_eq!(history.round_trip_ms.points().len(), POINTS_MAX);
        assert_eq!(history.phases.len(), POINTS_MAX);
        let first = history.round_trip_ms.points().next().unwrap();
        assert!((first[0] - 30.0).abs() < 1e-9, "{first:?}");
    }

    #[test]
    fn an_endpoint_that_starts_again_starts_the_lines_again() {
        let mut history = History::default();
        for quarter in (0..100).chain(0..3) {
            history.push(samples::snapshot(quarter));
        }
        assert_eq!(history.sent_mbps.points().len(), 3);
    }

    #[test]
    fn streams_nobody_reports_on_are_forgotten_after_two_minutes() {
        let mut history = History::default();
        history.push(samples::snapshot(0));
        assert!(!history.streams.is_empty());
        for quarter in 1..=480 {
            let mut snapshot = samples::snapshot(quarter);
            snapshot.inbound.clear();
            snapshot.outbound.clear();
            history.push(snapshot);
        }
        assert!(history.streams.is_empty());
    }

    #[test]
    fn one_lossy_report_is_averaged_over_two_seconds() {
        let mut history = History::default();
        for quarter in 0..16 {
            let mut snapshot = samples::snapshot(quarter);
            snapshot.inbound[0].fraction_lost = Some(if quarter == 15 { 0.16 } else { 0.0 });
            history.push(snapshot);
        }
        let settled = history.settled().inbound[0].fraction_lost.unwrap();
        assert!((settled - 0.02).abs() < 1e-6, "{settled}");
    }
}
