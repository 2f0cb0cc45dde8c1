//! Groups of datagrams on their way to the socket, one behind another in one buffer.

use std::net::{IpAddr, SocketAddr};

use common::limits::{DATAGRAM_MAX_BYTES, GROUP_MAX_DATAGRAMS};
use common::relay::Transmit;

/// What one flush sends.
pub(super) struct Outgoing {
    bytes: Box<[u8]>,
    groups: Vec<Waiting>,
    /// Groups that were sent.
    sent: usize,
    /// Bytes that hold groups.
    filled: usize,
}

/// A group, or what is left of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) to: SocketAddr,
    /// From which address of ours; `None` for whichever the system chooses.
    pub(super) from: Option<IpAddr>,
    start: usize,
    end: usize,
    datagram_bytes: usize,
    /// To be sent datagram by datagram.
    split: bool,
}

/// Groups of one flush: a frame for each member of a full room.
pub(super) const GROUPS_MAX: usize = 64;
/// Bytes of one flush: what stays in the second level of a cache between sealing and sending.
const BYTES_MAX: usize = 3 * GROUP_MAX_DATAGRAMS * DATAGRAM_MAX_BYTES;

impl Waiting {
    #[cfg(target_os = "linux")]
    pub(super) fn bytes<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        &buffer[self.start..self.end]
    }

    /// The first datagram of it.
    pub(super) fn first<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        &buffer[self.start..self.end.min(self.start + self.datagram_bytes)]
    }

    /// The length of each datagram but the last, where there are several to be sent as one.
    pub(super) fn segment(&self) -> Option<u16> {
        let whole = !self.split && self.end - self.start > self.datagram_bytes;
        whole.then_some(self.datagram_bytes as u16)
    }

    #[cfg(target_os = "linux")]
    pub(super) fn is_split(&self) -> bool {
        self.split
    }

    /// Can be sent in one call with the other.
    #[cfg(target_os = "linux")]
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.segment(), self.from, self.split) == (other.segment(), other.from, other.split)
    }

    #[cfg(target_os = "linux")]
    pub(super) fn datagrams(&self) -> usize {
        (self.end - self.start).div_ceil(self.datagram_bytes)
    }
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; BYTES_MAX].into_boxed_slice(),
            groups: Vec::with_capacity(GROUPS_MAX),
            sent: 0,
            filled: 0,
        }
    }

    /// Where the next group goes; `None` when it might not fit whole.
    pub(super) fn room(&mut self) -> Option<&mut [u8]> {
        let fits =
            self.groups.len() < GROUPS_MAX && BYTES_MAX - self.filled >= GROUP_MAX_DATAGRAMS * DATAGRAM_MAX_BYTES;
        fits.then(|| &mut self.bytes[self.filled..])
    }

    pub(super) fn push(&mut self, group: Transmit) {
        let start = self.filled;
        self.filled += group.bytes;
        let Transmit { to, from, datagram_bytes, .. } = group;
        self.groups.push(Waiting { to, from, start, end: self.filled, datagram_bytes, split: false });
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.sent < self.groups.len()
    }

    /// The buffer, and the groups in it that are still to be sent; at least one, or nothing is waiting.
    pub(super) fn waiting(&self) -> (&[u8], &[Waiting]) {
        (&self.bytes, &self.groups[self.sent..])
    }

    /// The first so many groups are sent.
    pub(super) fn sent_groups(&mut self, groups: usize) {
        self.sent += groups;
        if !self.is_waiting() {
            self.groups.clear();
            (self.sent, self.filled) = (0, 0);
        }
    }

    /// The first datagram of the first group is sent, or is given up.
    pub(super) fn drop_first(&mut self) {
        let Some(first) = self.groups.get_mut(self.sent) else { return };
        first.start = (first.start + first.datagram_bytes).min(first.end);
        if first.start == first.end {
            self.sent_groups(1);
        }
    }

    /// From which address of ours the first group is to leave.
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.groups.get(self.sent)?.from
    }

    /// Has the first group leave from whichever address the system chooses; answers `false` when that is what was tried.
    pub(super) fn forgo_source(&mut self) -> bool {
        let Some(first) = self.groups.get_mut(self.sent) else { return false };
        first.split = false;
        first.from.take().is_some()
    }

    /// Has the first group sent datagram by datagram; answers `false` when that is what was tried.
    pub(super) fn split(&mut self) -> bool {
        let Some(first) = self.groups.get_mut(self.sent) else { return false };
        let several = first.segment().is_some();
        first.split = true;
        several
    }
}
