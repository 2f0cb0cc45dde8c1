//! The UDP socket of a media worker: datagrams received in batches, and sent in groups, without allocating.
//!
//! On Linux a batch is one recvmmsg, and a batch of groups one sendmmsg, in which UDP_SEGMENT lets the kernel carry the
//! equal datagrams of a group through its stack as one. Whatever of that the kernel, the network device or a sandbox
//! refuses is not asked for again: first groups become single datagrams, then batches become single calls. Elsewhere
//! it is single calls from the start. docs/decisions/0008-fast-path.md has what each is worth.
//!
//! A datagram is answered from the address of ours that it was sent to, since a firewall on the way lets in no other's
//! answer. Linux tells that address with the datagram, and takes it with the answer (`pktinfo`); where a system does not,
//! there is a socket for each address (`listen`). docs/decisions/0017-own-address.md has why.

#[cfg(target_os = "linux")]
mod batched;
mod outgoing;
#[cfg(target_os = "linux")]
mod pktinfo;
mod readiness;
mod single;

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::task::Poll;

use common::limits::{DATAGRAM_MAX_BYTES, GROUP_MAX_DATAGRAMS};
use common::path::AddressPair;
use common::relay::Transmit;

use crate::statistics::SocketStatistics;
use outgoing::Outgoing;
use readiness::Watched;

/// A socket (or one for each address of ours), room for one batch of datagrams that came, and for one batch of groups to
/// go.
pub(crate) struct DatagramSocket {
    /// The first one takes what no other does.
    sockets: Vec<Bound>,
    /// Which of them is read next.
    reading: usize,
    /// Which of them had no room when last written to.
    full: usize,
    calls: Calls,
    slots: Vec<Slot>,
    filled: usize,
    outgoing: Outgoing,
    /// Datagrams that one group may have.
    group_datagrams: usize,
    statistics: SocketStatistics,
}

/// A socket and the one address it is for, where there are several.
struct Bound {
    socket: Watched,
    address: Option<IpAddr>,
}

/// Where one datagram that came stands.
struct Slot {
    /// One byte more than a datagram has, so that a longer one shows.
    bytes: [u8; DATAGRAM_MAX_BYTES + 1],
    length: usize,
    path: AddressPair,
}

/// Which system calls are used.
enum Calls {
    #[cfg(target_os = "linux")]
    Batched(Box<batched::Batched>),
    Single,
}

impl DatagramSocket {
    /// Takes bound sockets that do not block: one, or one for all addresses and behind it one for each. Must be called
    /// inside the runtime that will drive them, on its thread.
    ///
    /// # Errors
    /// What the system says, also when there is no socket at all.
    pub(crate) fn new(sockets: Vec<UdpSocket>) -> io::Result<Self> {
        let first = sockets.first().ok_or(io::ErrorKind::InvalidInput)?;
        let path = first.local_addr()?.into();
        let slot = || Slot { bytes: [0; DATAGRAM_MAX_BYTES + 1], length: 0, path };
        let calls = Calls::best(first);
        let several = sockets.len() > 1;
        let bind = |socket: UdpSocket| {
            let address = Some(socket.local_addr()?.ip()).filter(|ip| several && !ip.is_unspecified());
            Ok(Bound { socket: Watched::new(socket)?, address })
        };
        Ok(Self {
            sockets: sockets.into_iter().map(bind).collect::<io::Result<_>>()?,
            reading: 0,
            full: 0,
            group_datagrams: calls.group_datagrams(),
            calls,
            slots: std::iter::repeat_with(slot).take(BATCH_DATAGRAMS).collect(),
            filled: 0,
            outgoing: Outgoing::new(),
            statistics: SocketStatistics::default(),
        })
    }

    /// What it did so far.
    pub(crate) fn statistics(&self) -> SocketStatistics {
        self.statistics
    }

    /// Waits until there may be something to receive.
    pub(crate) async fn readable(&self) {
        match &self.sockets[..] {
            [only] => only.socket.readable().await,
            several => any(several.iter().map(|bound| bound.socket.readable())).await,
        }
    }

    /// Fills the batch with what is there, without waiting. Answers whether there may be more.
    ///
    /// # Errors
    /// What the system says when it is not able to receive: try again a little later.
    pub(crate) fn receive(&mut self) -> io::Result<bool> {
        self.filled = 0;
        let Bound { socket, address } = &self.sockets[self.reading];
        let received = socket.read(|socket| {
            self.filled = match &mut self.calls {
                #[cfg(target_os = "linux")]
                Calls::Batched(calls) => calls.receive(socket, &mut self.slots)?,
                Calls::Single => single::receive(socket, &mut self.slots, &mut self.statistics)?,
            };
            // A batch that is not full was all there is; saying so here spares the call that would find nothing.
            if self.filled == BATCH_DATAGRAMS { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        if let Some(address) = address {
            self.slots[..self.filled].iter_mut().for_each(|slot| slot.path.local = Some(*address));
        }
        self.count_received();
        match received {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(self.read_next()),
            Err(error) => self.receive_refused(error),
        }
    }

    /// This socket has no more: the next one's turn. Answers `false` when that was the last of a round.
    fn read_next(&mut self) -> bool {
        self.reading = (self.reading + 1) % self.sockets.len();
        self.reading > 0
    }

    fn receive_refused(&mut self, error: io::Error) -> io::Result<bool> {
        if self.calls.give_up_batches(&error) {
            return self.receive();
        }
        self.statistics.receive_errors += 1;
        Err(error)
    }

    fn count_received(&mut self) {
        let oversized = self.slots[..self.filled].iter().filter(|slot| slot.length > DATAGRAM_MAX_BYTES).count();
        self.statistics.receive_calls += u64::from(self.filled > 0);
        self.statistics.datagrams_received += self.filled as u64;
        self.statistics.oversized += oversized as u64;
    }

    /// The datagrams of the batch, and the path that each came over; those that are longer than any of ours are left out.
    pub(crate) fn received(&mut self) -> impl Iterator<Item = (AddressPair, &mut [u8])> {
        let ours = self.slots[..self.filled].iter_mut().filter(|slot| slot.length <= DATAGRAM_MAX_BYTES);
        ours.map(|slot| (slot.path, &mut slot.bytes[..slot.length]))
    }

    /// Room for the next group, or `None` when [`DatagramSocket::flush`] is due. It holds one datagram or more, and no
    /// more than one system call may carry.
    pub(crate) fn room(&mut self) -> Option<&mut [u8]> {
        let most = self.group_datagrams * DATAGRAM_MAX_BYTES;
        self.outgoing.room().map(|room| {
            let length = room.len().min(most);
            &mut room[..length]
        })
    }

    /// The room that was given holds this group now.
    pub(crate) fn push(&mut self, transmit: Transmit) {
        self.outgoing.push(transmit);
    }

    /// Sends all groups that were pushed. Answers `false` when the system has no room for the rest: try again after
    /// [`DatagramSocket::writable`].
    pub(crate) fn flush(&mut self) -> bool {
        while self.outgoing.is_waiting() {
            let at = self.leaving_from();
            let sent = self.sockets[at].socket.write(|socket| match &mut self.calls {
                #[cfg(target_os = "linux")]
                Calls::Batched(calls) => calls.send(socket, &mut self.outgoing),
                Calls::Single => single::send(socket, &mut self.outgoing),
            });
            match sent {
                Ok(datagrams) => {
                    self.statistics.send_calls += 1;
                    self.statistics.datagrams_sent += datagrams as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.statistics.send_waits += 1;
                    self.full = at;
                    return false;
                }
                Err(error) => self.send_refused(&error),
            }
        }
        true
    }

    /// The socket from which the first group that waits is to leave.
    fn leaving_from(&self) -> usize {
        let from = self.outgoing.source().filter(|_| self.sockets.len() > 1);
        from.and_then(|from| self.sockets.iter().position(|bound| bound.address == Some(from))).unwrap_or(0)
    }

    /// The first of what waits was not taken: it goes another way, or, where there is no way, not at all.
    fn send_refused(&mut self, error: &io::Error) {
        if self.calls.give_up_batches(error) {
            self.group_datagrams = self.calls.group_datagrams();
        } else if self.outgoing.split() {
            if divides_nothing(error) {
                self.group_datagrams = 1;
            }
        } else if !(concerns_source(error) && self.outgoing.forgo_source()) {
            self.outgoing.drop_first();
            self.statistics.send_dropped += 1;
        }
    }

    /// Waits until there may be room to send.
    pub(crate) async fn writable(&self) {
        self.sockets[self.full].socket.writable().await;
    }
}

impl Calls {
    fn best(socket: &UdpSocket) -> Self {
        #[cfg(target_os = "linux")]
        return Self::Batched(Box::new(batched::Batched::new(socket)));
        #[cfg(not(target_os = "linux"))]
        {
            let _ = socket;
            Self::Single
        }
    }

    fn group_datagrams(&self) -> usize {
        match self {
            #[cfg(target_os = "linux")]
            Self::Batched(_) => GROUP_MAX_DATAGRAMS,
            Self::Single => 1,
        }
    }

    /// Answers whether the error means that there are no calls for batches here, and others are used from now on.
    fn give_up_batches(&mut self, error: &io::Error) -> bool {
        let single = matches!(self, Self::Single);
        if single || error.kind() != io::ErrorKind::Unsupported {
            return false;
        }
        tracing::info!("this system has no calls for batches of datagrams: going on one by one");
        *self = Self::Single;
        true
    }
}

/// EIO says that the kernel divides no groups of this socket (`udp_send_skb` of Linux: a policy of IPsec is in the way,
/// or checksums are off). Any other error may concern one address.
fn divides_nothing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(5)
}

/// May say that the address to leave from is not ours any more, or has no way to the peer. The system's own choice has.
fn concerns_source(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::AddrNotAvailable, io::ErrorKind::InvalidInput, io::ErrorKind::NetworkUnreachable];
    kinds.contains(&error.kind())
}

/// Waits for the first of these.
async fn any<F: Future<Output = ()>>(waits: impl Iterator<Item = F>) {
    let mut waits: Vec<_> = waits.map(Box::pin).collect();
    poll_fn(|context| {
        let ready = waits.iter_mut().any(|wait| wait.as_mut().poll(context).is_ready());
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Datagrams received before the relay is asked what to send: bounds how long a sender waits for its turn.
pub(crate) const BATCH_DATAGRAMS: usize = 64;

#[cfg(test)]
mod tests;
