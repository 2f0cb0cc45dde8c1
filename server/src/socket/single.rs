//! One system call for each datagram, as every platform has it.

use std::io;
use std::net::UdpSocket;

use super::Slot;
use super::outgoing::Outgoing;
use crate::statistics::SocketStatistics;

/// Fills slots with what is there; answers how many.
pub(super) fn receive(socket: &UdpSocket, slots: &mut [Slot], statistics: &mut SocketStatistics) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(slot) = slots.get_mut(filled) {
        match socket.recv_from(&mut slot.bytes) {
            Ok((length, from)) => {
                (slot.length, slot.from) = (length, from);
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
    socket.send_to(first.first(buffer), first.to)?;
    outgoing.drop_first();
    Ok(1)
}

/// Windows tells on the next receive that some peer's machine has nobody at that port (`WSAECONNRESET`) or that a
/// datagram was longer than the slot (`WSAEMSGSIZE`, 10040). Neither says anything of the socket.
fn concerns_one_peer(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionReset || error.raw_os_error() == Some(10_040)
}
