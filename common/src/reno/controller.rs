//! What every congestion controller can do: Reno, and those that may take its place.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use crate::wire::segment::SEGMENT_BASE_BYTES;

/// How a window follows what the network does. It counts bytes of whole segments; which segments are on the way, which
/// are lost and when is the business of others.
pub(super) trait Controller: Debug + Send {
    /// Segments were acknowledged.
    fn on_acknowledged(&mut self, progress: &Progress);

    /// A round of losses begins: the first segment of it was found lost.
    fn on_lost(&mut self, loss: &Loss);

    /// The retransmission timer went off; `again` when it does so for the same segments once more.
    fn on_timeout(&mut self, loss: &Loss, again: bool);

    /// Nothing that the last [`Self::on_lost`] or [`Self::on_timeout`] was about is lost after all.
    fn on_spurious(&mut self);

    /// Nothing else was on the way for a while, and a segment is about to be sent.
    fn on_restart(&mut self, now: Instant);

    /// A path was found to carry segments of so many bytes, or not to carry longer ones any more.
    fn set_segment_bytes(&mut self, smss: u64);

    /// The congestion window, bytes.
    fn cwnd(&self) -> u64;

    /// The slow start threshold, bytes; `None` is "arbitrarily high" (RFC 5681 §3.1).
    fn ssthresh(&self) -> Option<u64>;

    /// Whether the window still looks for the size of the path.
    fn is_in_slow_start(&self) -> bool {
        self.ssthresh().is_none_or(|ssthresh| self.cwnd() < ssthresh)
    }
}

/// What an acknowledgement means to a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    pub(super) now: Instant,
    /// Bytes that were on the way, and arrived.
    pub(super) bytes: u64,
    /// The highest segment number that was on the way and arrived.
    pub(super) newest: u64,
    /// The number that the next segment gets.
    pub(super) next_number: u64,
    /// Whether the window was what held the sender back when these segments were sent.
    pub(super) window_was_full: bool,
    /// Losses that were found before these segments were sent are not repaired yet.
    pub(super) recovering: bool,
    /// The round trip that this acknowledgement measured.
    pub(super) round_trip: Option<Duration>,
}

/// What a loss means to a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss {
    /// Bytes on the way when it was found, the lost ones included.
    pub(super) flight_size: u64,
    /// How long the segments of the last round trip waited in queues, at least; as far as it is known.
    pub(super) queue: Option<Duration>,
    /// The shortest round trip of late.
    pub(super) round_trip_min: Option<Duration>,
}

/// SMSS before the path was asked for more.
pub(super) const SMSS_BASE: u64 = SEGMENT_BASE_BYTES as u64;
/// IW in segments (RFC 6928 §2; 10 of our longest ones are below its 14,600 bytes).
pub(super) const INITIAL_WINDOW_SEGMENTS: u64 = 10;

/// The most that FlightSize is ever halved to (RFC 5681 §3.1, equation 4): never below two segments.
pub(super) fn half_of(flight_size: u64, smss: u64) -> u64 {
    (flight_size / 2).max(2 * smss)
}
