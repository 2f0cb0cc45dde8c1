//! What one driver counted, and what the live line is told meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use common::ids::StreamKind;

use super::latency::Latencies;

/// Counts that everybody may look at while the load runs.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) lost: AtomicI64,
}

/// One kind of media.
#[derive(Clone, Debug)]
pub(super) struct KindTally {
    pub(super) sent: u64,
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
    pub(super) latency: Latencies,
}

impl KindTally {
    fn new() -> Self {
        Self { sent: 0, sent_bytes: 0, received_bytes: 0, latency: Latencies::new() }
    }

    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        self.latency.add(&other.latency);
    }
}

/// What was counted while it was measured.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    measures: bool,
    live: Arc<Live>,
    pub(super) audio: KindTally,
    pub(super) video: KindTally,
    pub(super) round_trip: Latencies,
    /// How late datagrams of media were sent.
    pub(super) lateness: Latencies,
    /// How long datagrams waited in their socket.
    pub(super) wait: Latencies,
    /// Blocks and frames that were not sent because that was hopelessly late.
    pub(super) skipped: u64,
    /// Datagrams that the socket had no room for.
    pub(super) unsent: u64,
    /// Datagrams that were nobody's, or did not open.
    pub(super) discarded: u64,
    pub(super) flood_sent: u64,
    pub(super) flood_bytes: u64,
}

impl Tally {
    pub(super) fn new(live: Arc<Live>) -> Self {
        Self {
            measures: false,
            live,
            audio: KindTally::new(),
            video: KindTally::new(),
            round_trip: Latencies::new(),
            lateness: Latencies::new(),
            wait: Latencies::new(),
            skipped: 0,
            unsent: 0,
            discarded: 0,
            flood_sent: 0,
            flood_bytes: 0,
        }
    }

    /// Counts from here on, or up to here.
    pub(super) fn measure(&mut self, measures: bool) {
        self.measures = measures;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.audio.add(&other.audio);
        self.video.add(&other.video);
        self.round_trip.add(&other.round_trip);
        self.lateness.add(&other.lateness);
        self.wait.add(&other.wait);
        self.skipped += other.skipped;
        self.unsent += other.unsent;
        self.discarded += other.discarded;
        self.flood_sent += other.flood_sent;
        self.flood_bytes += other.flood_bytes;
    }

    pub(super) fn kind(&mut self, kind: StreamKind) -> &mut KindTally {
        match kind {
            StreamKind::Audio => &mut self.audio,
            StreamKind::Video => &mut self.video,
        }
    }

    pub(super) fn received(&mut self, kind: StreamKind, bytes: usize, latency: Option<Duration>) {
        self.live.received.fetch_add(1, Ordering::Relaxed);
        if !self.measures {
            return;
        }
        let tally = self.kind(kind);
        tally.received_bytes += bytes as u64;
        if let Some(latency) = latency {
            tally.latency.record(latency);
        }
    }

    /// A datagram was taken from its socket, this long after it came.
    pub(super) fn waited(&mut self, waited: Duration) {
        if self.measures {
            self.wait.record(waited);
        }
    }

    /// A datagram of media was sent, this much after its time.
    pub(super) fn sent(&mut self, kind: StreamKind, bytes: usize, late: Duration, skipped: u64) {
        self.live.sent.fetch_add(1, Ordering::Relaxed);
        if self.measures {
            self.lateness.record(late);
            self.skipped += skipped;
            let tally = self.kind(kind);
            tally.sent += 1;
            tally.sent_bytes += bytes as u64;
        }
    }

    /// A datagram of the flood was sent.
    pub(super) fn flooded(&mut self, bytes: usize) {
        if self.measures {
            self.flood_sent += 1;
            self.flood_bytes += bytes as u64;
        }
    }

    pub(super) fn lost(&self, datagrams: i64) {
        self.live.lost.fetch_add(datagrams, Ordering::Relaxed);
    }

    pub(super) fn round_trip(&mut self, round_trip: Duration) {
        if self.measures {
            self.round_trip.record(round_trip);
        }
    }

    pub(super) fn unsent(&mut self) {
        self.unsent += u64::from(self.measures);
    }
}
