//! The UDP socket of the media thread: datagrams received in batches and sent one by one, without allocating.

use std::io;
use std::net::SocketAddr;

use common::limits::DATAGRAM_MAX_BYTES;
use tokio::net::UdpSocket;

use crate::statistics::SocketStatistics;

/// A socket, and room for one batch of datagrams.
pub(crate) struct DatagramSocket {
    socket: UdpSocket,
    slots: Vec<Slot>,
    filled: usize,
    statistics: SocketStatistics,
}

struct Slot {
    /// One byte more than a datagram has, so that a longer one shows.
    bytes: [u8; DATAGRAM_MAX_BYTES + 1],
    length: usize,
    from: SocketAddr,
}

impl DatagramSocket {
    /// Takes a bound socket that does not block. Must be called inside the runtime that will drive it.
    pub(crate) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let from = socket.local_addr()?;
        let slot = || Slot { bytes: [0; DATAGRAM_MAX_BYTES + 1], length: 0, from };
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
            slots: std::iter::repeat_with(slot).take(BATCH_DATAGRAMS).collect(),
            filled: 0,
            statistics: SocketStatistics::default(),
        })
    }

    /// What it did so far.
    pub(crate) fn statistics(&self) -> SocketStatistics {
        self.statistics
    }

    /// Waits until there may be something to receive.
    pub(crate) async fn readable(&self) {
        // An error shows again, and is counted, in the receive that follows.
        let _ = self.socket.readable().await;
    }

    /// Fills the batch with what is there, without waiting.
    ///
    /// # Errors
    /// What the system says when it is not able to receive: try again a little later.
    pub(crate) fn receive(&mut self) -> io::Result<()> {
        self.filled = 0;
        for _ in 0..BATCH_DATAGRAMS {
            let slot = &mut self.slots[self.filled];
            match self.socket.try_recv_from(&mut slot.bytes) {
                Ok((length, from)) => {
                    self.statistics.datagrams_received += 1;
                    if length > DATAGRAM_MAX_BYTES {
                        self.statistics.oversized += 1;
                        continue;
                    }
                    (slot.length, slot.from) = (length, from);
                    self.filled += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    self.statistics.receive_errors += 1;
                    if !concerns_one_peer(&error) {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// The datagrams of the batch, and where each came from.
    pub(crate) fn received(&mut self) -> impl Iterator<Item = (SocketAddr, &mut [u8])> {
        self.slots[..self.filled].iter_mut().map(|slot| (slot.from, &mut slot.bytes[..slot.length]))
    }

    /// Sends a datagram. Answers `false` when the system has no room: keep it until [`DatagramSocket::writable`].
    pub(crate) fn send(&mut self, datagram: &[u8], to: SocketAddr) -> bool {
        match self.socket.try_send_to(datagram, to) {
            Ok(_) => self.statistics.datagrams_sent += 1,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.statistics.send_waits += 1;
                return false;
            }
            // It has no way to go: the network is as good as lossy there.
            Err(_) => self.statistics.send_dropped += 1,
        }
        true
    }

    /// Waits until there may be room to send.
    pub(crate) async fn writable(&self) {
        // An error shows again, and is counted, in the send that follows.
        let _ = self.socket.writable().await;
    }
}

/// Datagrams received before the relay is asked what to send: bounds how long a sender waits for its turn.
pub(crate) const BATCH_DATAGRAMS: usize = 64;

/// Windows tells on the next receive that some peer's machine has nobody at that port (`WSAECONNRESET`) or that a
/// datagram was longer than the slot (`WSAEMSGSIZE`, 10040). Neither says anything of the socket.
fn concerns_one_peer(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionReset || error.raw_os_error() == Some(10_040)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    async fn pair() -> (DatagramSocket, UdpSocket) {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        peer.connect(socket.local_addr().unwrap()).await.unwrap();
        (DatagramSocket::new(socket).unwrap(), peer)
    }

    #[tokio::test]
    async fn datagrams_come_in_batches_and_one_that_is_too_long_is_dropped() {
        let (mut socket, peer) = pair().await;
        for length in [1, DATAGRAM_MAX_BYTES + 1, DATAGRAM_MAX_BYTES, 0, 4_000] {
            peer.send(&vec![7; length]).await.unwrap();
        }
        let mut lengths = Vec::new();
        while socket.statistics().datagrams_received < 5 {
            socket.readable().await;
            socket.receive().unwrap();
            lengths.extend(socket.received().map(|(_, datagram)| datagram.len()));
        }
        assert_eq!(lengths, [1, DATAGRAM_MAX_BYTES, 0]);
        assert_eq!(socket.statistics().oversized, 2);
    }

    #[tokio::test]
    async fn what_has_no_way_to_go_is_counted_and_nothing_else() {
        let (mut socket, peer) = pair().await;
        let to = peer.local_addr().unwrap();
        socket.writable().await;
        assert!(socket.send(b"hello", to));
        // An IPv4 socket has no way to an IPv6 address.
        assert!(socket.send(b"hello", "[::1]:9".parse().unwrap()));
        let statistics = socket.statistics();
        assert_eq!((statistics.datagrams_sent, statistics.send_dropped), (1, 1));
    }
}
