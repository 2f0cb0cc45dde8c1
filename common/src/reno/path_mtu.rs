//! How long a segment the path carries: packetization-layer path MTU discovery (RFC 8899), for the one path there is.
//!
//! Every path carries [`SEGMENT_BASE_BYTES`]. While much is sent, one padded segment asks for a longer one; when it
//! arrives, segments are so long from then on. A probe that is lost says nothing about congestion. When long segments
//! do not arrive any more (the path changed, and nobody knows), timeouts bring the length back to the base.

use std::time::{Duration, Instant};

use crate::limits::{DATAGRAM_BASE_BYTES, DATAGRAM_MAX_BYTES, PLAINTEXT_MAX_BYTES};
use crate::wire::segment::{SEGMENT_BASE_BYTES, SEGMENT_MAX_BYTES};

/// UDP payloads worth asking for, longest first: Ethernet over IPv4, Ethernet over IPv6 and PPPoE, WireGuard over
/// Ethernet, mobile networks.
const DATAGRAM_BYTES: [usize; 5] = [DATAGRAM_MAX_BYTES, 1_452, 1_392, 1_352, 1_252];
/// A length is given up when so many probes of it are lost (RFC 8899 §5.1.2, MAX_PROBES).
const PROBES_MAX: u32 = 3;
/// How long a length that was found to be too much is not asked for again (RFC 8899 §5.1.1, PMTU_RAISE_TIMER).
const RAISE_AFTER: Duration = Duration::from_secs(600);
/// Timeouts in a row after which the path is thought not to carry long segments (RFC 8899 §4.3).
const TIMEOUTS_MAX: u32 = 2;

/// What is known of a path.
#[derive(Debug)]
pub(super) struct PathMtu {
    segment_bytes: usize,
    /// The most to ask for, set by who knows the socket.
    most: usize,
    /// Index of the length asked for.
    candidate: usize,
    /// The number of the probe that is on the way.
    on_the_way: Option<u64>,
    lost: u32,
    /// When to begin again with the longest.
    raise_at: Option<Instant>,
}

impl PathMtu {
    /// A path to which datagrams of up to `datagram_bytes` may be sent as they are, not cut by IP.
    pub(super) fn new(datagram_bytes: usize) -> Self {
        Self {
            segment_bytes: SEGMENT_BASE_BYTES,
            most: datagram_bytes,
            candidate: 0,
            on_the_way: None,
            lost: 0,
            raise_at: None,
        }
    }

    /// How long segments may be.
    pub(super) fn segment_bytes(&self) -> usize {
        self.segment_bytes
    }

    /// How long a probe is to be sent now, if one is; only while there is much to send.
    pub(super) fn probe_bytes(&mut self, now: Instant) -> Option<usize> {
        if self.raise_at.is_some_and(|at| at <= now) {
            (self.candidate, self.lost, self.raise_at) = (0, 0, None);
        }
        while DATAGRAM_BYTES.get(self.candidate).is_some_and(|bytes| *bytes > self.most) {
            self.candidate += 1;
        }
        let wanted = segment_of(*DATAGRAM_BYTES.get(self.candidate)?);
        (self.on_the_way.is_none() && wanted > self.segment_bytes).then_some(wanted)
    }

    /// The probe left in segment `number`.
    pub(super) fn on_probe(&mut self, number: u64) {
        self.on_the_way = Some(number);
    }

    /// The number of the probe that is on the way.
    pub(super) fn probe(&self) -> Option<u64> {
        self.on_the_way
    }

    /// The probe arrived. Answers how long segments may be now.
    pub(super) fn on_arrived(&mut self, now: Instant) -> usize {
        self.on_the_way = None;
        if let Some(bytes) = DATAGRAM_BYTES.get(self.candidate) {
            self.segment_bytes = segment_of(*bytes);
        }
        self.raise_at = (self.candidate > 0).then(|| now + RAISE_AFTER);
        (self.candidate, self.lost) = (DATAGRAM_BYTES.len(), 0);
        self.segment_bytes
    }

    /// The probe was lost.
    pub(super) fn on_lost(&mut self, now: Instant) {
        self.on_the_way = None;
        self.lost += 1;
        if self.lost >= PROBES_MAX {
            (self.candidate, self.lost) = (self.candidate + 1, 0);
            self.raise_at = Some(now + RAISE_AFTER);
        }
    }

    /// Segments go another way from here on, of which nothing is known: begins anew. Answers whether segments become shorter.
    pub(super) fn on_path_changed(&mut self) -> bool {
        let shorter = self.segment_bytes > SEGMENT_BASE_BYTES;
        *self = Self {
            segment_bytes: SEGMENT_BASE_BYTES,
            candidate: 0,
            on_the_way: None,
            lost: 0,
            raise_at: None,
            ..*self
        };
        shorter
    }

    /// The retransmission timer went off, for the `timeouts`th time in a row. Answers whether long segments are given
    /// up.
    pub(super) fn on_timeout(&mut self, now: Instant, timeouts: u32) -> bool {
        self.on_the_way = None;
        if timeouts < TIMEOUTS_MAX || self.segment_bytes == SEGMENT_BASE_BYTES {
            return false;
        }
        self.segment_bytes = SEGMENT_BASE_BYTES;
        (self.candidate, self.lost) = (DATAGRAM_BYTES.len(), 0);
        self.raise_at = Some(now + RAISE_AFTER);
        true
    }
}

fn segment_of(datagram_bytes: usize) -> usize {
    const { assert!(DATAGRAM_BASE_BYTES < DATAGRAM_BYTES[4] && PLAINTEXT_MAX_BYTES == SEGMENT_MAX_BYTES + 1) };
    datagram_bytes - (DATAGRAM_MAX_BYTES - SEGMENT_MAX_BYTES)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests take any instant as their zero")]
mod tests {
    use super::*;

    /// How long segments become on a path that carries datagrams up to `carries`, and how many probes that takes.
    fn found(carries: usize) -> (usize, u64) {
        let (now, mut mtu, mut number) = (Instant::now(), PathMtu::new(DATAGRAM_MAX_BYTES), 0);
        while let Some(bytes) = mtu.probe_bytes(now) {
            mtu.on_probe(number);
            assert!(mtu.probe() == Some(number) && mtu.probe_bytes(now).is_none());
            number += 1;
            if bytes <= segment_of(carries) {
                mtu.on_arrived(now);
            } else {
                mtu.on_lost(now);
            }
        }
        (mtu.segment_bytes() + DATAGRAM_MAX_BYTES - SEGMENT_MAX_BYTES, number)
    }

    #[test]
    fn the_longest_segment_that_arrives_is_found() {
        assert_eq!(found(DATAGRAM_MAX_BYTES), (1_472, 1));
        assert_eq!(found(1_452), (1_452, 4));
        assert_eq!(found(1_300), (1_252, 13));
        assert_eq!(found(1_200), (1_200, 15));
    }

    #[test]
    fn timeouts_bring_the_base_back_and_time_begins_anew() {
        let (now, mut mtu) = (Instant::now(), PathMtu::new(DATAGRAM_MAX_BYTES));
        mtu.on_probe(0);
        assert_eq!(mtu.on_arrived(now), SEGMENT_MAX_BYTES);
        assert!(!mtu.on_timeout(now, 1));
        assert!(mtu.on_timeout(now, 2));
        assert_eq!((mtu.segment_bytes(), mtu.probe_bytes(now)), (SEGMENT_BASE_BYTES, None));
        assert_eq!(mtu.probe_bytes(now + RAISE_AFTER), Some(SEGMENT_MAX_BYTES));
    }

    #[test]
    fn another_path_is_searched_from_the_base_on() {
        let (now, mut mtu) = (Instant::now(), PathMtu::new(DATAGRAM_MAX_BYTES));
        mtu.on_probe(0);
        mtu.on_arrived(now);
        assert!(mtu.on_path_changed());
        assert_eq!((mtu.segment_bytes(), mtu.probe_bytes(now)), (SEGMENT_BASE_BYTES, Some(SEGMENT_MAX_BYTES)));
        assert!(!mtu.on_path_changed());
    }

    #[test]
    fn a_socket_that_may_cut_datagrams_is_not_asked_for_longer_ones() {
        assert_eq!(PathMtu::new(DATAGRAM_BASE_BYTES).probe_bytes(Instant::now()), None);
    }
}
