//! TCP as the kernel has it, with its Reno.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol as Transport, Socket, Type};

use super::{Flow, PeerError, Ready, address, in_threads, tell, together};
use crate::traffic::{Received, Sink, Source};

/// How long a call may wait before the time of the run is looked at again.
const WAIT: Duration = Duration::from_millis(50);

/// Takes as many connections as the flow has, each in a thread.
pub(super) fn receive(flow: &Flow, on: IpAddr) -> Result<Received, PeerError> {
    let listener = TcpListener::bind((on, 0))?;
    tell(&Ready { ports: vec![listener.local_addr()?.port()], certificate: String::new() })?;
    let listener = &listener;
    let received = in_threads(flow.connections, |_| {
        let (stream, _) = listener.accept()?;
        receive_one(stream, Sink::new(flow.traffic()))
    })?;
    Ok(together(received))
}

fn receive_one(mut stream: TcpStream, mut sink: Sink) -> Result<Received, PeerError> {
    stream.set_read_timeout(Some(WAIT))?;
    let mut buffer = vec![0; 256 * 1024];
    while !sink.is_over() {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => sink.take(&buffer[..bytes]),
            Err(error) if is_wait(error.kind()) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(sink.into_received())
}

/// Opens the connections and sends over each in a thread.
pub(super) fn send(flow: &Flow, to: IpAddr, ready: &Ready) -> Result<String, PeerError> {
    in_threads(flow.connections, |index| {
        let mut stream = connect(address(to, ready, index)?)?;
        send_one(&mut stream, Source::new(flow.traffic(), index, flow.connections))
    })?;
    Ok(String::new())
}

fn connect(to: SocketAddr) -> Result<TcpStream, PeerError> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Transport::TCP))?;
    socket.set_tcp_congestion(b"reno").map_err(|error| format!("this kernel gives no Reno: {error}"))?;
    socket.set_tcp_nodelay(true)?;
    socket.connect(&to.into())?;
    socket.set_write_timeout(Some(WAIT))?;
    Ok(socket.into())
}

fn send_one(stream: &mut TcpStream, mut source: Source) -> Result<(), PeerError> {
    while let Some(wait) = source.wait() {
        std::thread::sleep(wait);
        match stream.write(source.pending()) {
            Ok(bytes) => source.wrote(bytes),
            Err(error) if is_wait(error.kind()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    // The receiver closes when it has all.
    stream.shutdown(Shutdown::Write).ok();
    stream.set_read_timeout(Some(WAIT))?;
    while !source.is_over(false) {
        match stream.read(&mut [0; 1]) {
            Err(error) if is_wait(error.kind()) => {}
            Ok(_) | Err(_) => return Ok(()),
        }
    }
    Ok(())
}

fn is_wait(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
