//! An application-layer TCP Reno: streams of bytes over datagrams, under one congestion window.

use std::time::Duration;

/// The phases of Reno, as they are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// The window doubles each round trip (RFC 5681 §3.1).
    #[default]
    SlowStart,
    /// The window grows by one segment each round trip (RFC 5681 §3.1).
    CongestionAvoidance,
    /// Between a loss and the acknowledgement of all that was outstanding then (RFC 6582, RFC 6675).
    FastRecovery,
    /// After a retransmission timeout, until what was outstanding then is acknowledged (RFC 5681 §3.1).
    TimeoutRecovery,
}

/// What can be seen of a Reno sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RenoStatistics {
    /// Congestion window, bytes.
    pub cwnd_bytes: u64,
    /// Slow start threshold, bytes; `None` before the first loss ("arbitrarily high", RFC 5681 §3.1).
    pub ssthresh_bytes: Option<u64>,
    /// Sent and neither acknowledged nor found lost, bytes.
    pub flight_size_bytes: u64,
    /// Smoothed round-trip time (RFC 6298), `None` before the first sample.
    pub srtt: Option<Duration>,
    /// Round-trip time variation (RFC 6298).
    pub rttvar: Duration,
    /// Retransmission timeout with its back-off.
    pub rto: Duration,
    /// Where Reno is.
    pub phase: Phase,
    /// Segments with data sent, retransmissions included.
    pub segments_sent: u64,
    /// Segments whose data was sent again.
    pub segments_retransmitted: u64,
    /// Times the window was halved for loss.
    pub loss_events: u64,
    /// Retransmission timeouts.
    pub timeouts: u64,
    /// Bytes of stream data acknowledged by the peer.
    pub bytes_acknowledged: u64,
}
