//! One system call for each datagram, as every platform has it.

use std::io;
use std::net::UdpSocket;
#[cfg(not(target_os = "linux"))]
use std::net::{IpAddr, SocketAddr};

#[cfg(not(target_os = "linux"))]
use common::path::AddressPair;

use super::Slot;
use super::outgoing::Outgoing;
#[cfg(target_os = "linux")]
use super::pktinfo::{receive_one, send_one};
use crate::statistics::SocketStatistics;

/// Fills slots with what is there; answers how many.
pub(super) fn receive(socket: &UdpSocket, slots: &mut [Slot], statistics: &mut SocketStatistics) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(slot) = slots.get_mut(filled) {
        match receive_one(socket, &mut slot.bytes) {
            Ok((length, path)) => {
                (slot.length, slot.path) = (length, path);
                filled += 1;
            }
            Err(error) if concerns_one_peer(&error) => statistics.receive_errors += 1,
            // Told by the next receive.
            Err(_) if filled > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Sends the first datagram that waits.
pub(super) fn send(socket: &UdpSocket, outgoing: &mut Outgoing) -> io::Result<usize> {
    let (buffer, waiting) = outgoing.waiting();
    let Some(first) = waiting.first() else { return Ok(0) };
    send_one(socket, first.first(buffer), first.to, first.from)?;
    outgoing.drop_first();
    Ok(1)
}

#[cfg(not(target_os = "linux"))]
fn receive_one(socket: &UdpSocket, bytes: &mut [u8]) -> io::Result<(usize, AddressPair)> {
    socket.recv_from(bytes).map(|(length, from)| (length, from.into()))
}

/// The socket that was chosen for the source has it for its own.
#[cfg(not(target_os = "linux"))]
fn send_one(socket: &UdpSocket, bytes: &[u8], to: SocketAddr, _: Option<IpAddr>) -> io::Result<()> {
    socket.send_to(bytes, to).map(drop)
}

/// Windows tells on the next receive that some peer's machine has nobody at that port (`WSAECONNRESET`) or that a
/// datagram was longer than the slot (`WSAEMSGSIZE`, 10040). Neither says anything of the socket.
fn concerns_one_peer(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionReset || error.raw_os_error() == Some(10_040)
}
