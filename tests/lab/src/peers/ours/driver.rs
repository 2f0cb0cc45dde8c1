//! One connection, its socket and its keys, until the flow is over.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::limits::{DATAGRAM_HEADER_BYTES, DATAGRAM_TAG_BYTES, GROUP_MAX_DATAGRAMS};
use common::reno::{Connection, Event, SEGMENT_MAX_BYTES, StreamId};
use common::seal::{Opener, Sealer};
use common::wire::datagram::{DatagramHeader, Kind};

use super::super::PeerError;
use super::socket::{Inbox, Socket};
use crate::traffic::{Received, Sink, Source, Traffic};

/// How long a turn may wait before the time of the run is looked at again.
const WAIT: Duration = Duration::from_millis(20);
/// Bytes of a datagram with the longest segment in it.
const DATAGRAM_BYTES: usize = DATAGRAM_HEADER_BYTES + 1 + SEGMENT_MAX_BYTES + DATAGRAM_TAG_BYTES;
/// Datagrams in a group: as many as the kernel divides, within the 65,507 bytes of UDP that it takes.
const GROUP_DATAGRAMS: usize =
    if GROUP_MAX_DATAGRAMS * DATAGRAM_BYTES <= 65_507 { GROUP_MAX_DATAGRAMS } else { 65_507 / DATAGRAM_BYTES };
/// Groups sent before what came is looked at again.
const TURN_GROUPS: usize = 4;
/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;

/// The loop around a connection.
pub(super) struct Driver<'a> {
    socket: &'a Socket,
    /// The receiver learns it from the first datagram that opens.
    peer: Option<SocketAddr>,
    connection: Connection,
    sealer: Sealer,
    opener: Opener,
    inbox: Inbox,
    outgoing: Vec<u8>,
    /// Bytes of the datagram at the front of `outgoing` that did not go with the group before.
    left_bytes: usize,
}

/// What [`Driver::group`] put together.
struct Group {
    bytes: usize,
    /// Of each datagram but the last.
    datagram_bytes: usize,
    /// Of a datagram behind the group that is not part of it.
    left_bytes: usize,
    /// Reno has nothing more to send now.
    is_all: bool,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        socket: &'a Socket,
        peer: Option<SocketAddr>,
        connection: Connection,
        (sealer, opener): (Sealer, Opener),
    ) -> Self {
        let outgoing = vec![0; GROUP_DATAGRAMS * DATAGRAM_BYTES];
        Self { socket, peer, connection, sealer, opener, inbox: Inbox::new(), outgoing, left_bytes: 0 }
    }

    /// Sends all the source has; answers what Reno says of it.
    pub(super) fn send(&mut self, mut source: Source) -> Result<String, PeerError> {
        let stream = match source.traffic() {
            Traffic::Bulk { .. } => self.connection.open().ok_or("no stream can be opened")?,
            Traffic::Messages { .. } => StreamId::MESSAGES,
        };
        while !source.is_over(self.connection.statistics().bytes_acknowledged >= source.written()) {
            self.receive_and_time()?;
            while let Some(event) = self.connection.poll_event() {
                check(event)?;
            }
            self.write(stream, &mut source);
            let more = self.transmit()?;
            if !more {
                self.wait(source.wait().filter(|_| matches!(source.traffic(), Traffic::Messages { .. })))?;
            }
        }
        let statistics = self.connection.statistics();
        Ok(format!(
            "{} of {} segments of {} bytes sent again, {} loss events, {} of them spurious, {} timeouts",
            statistics.segments_retransmitted,
            statistics.segments_sent,
            statistics.smss_bytes,
            statistics.loss_events,
            statistics.spurious_losses,
            statistics.timeouts
        ))
    }

    fn write(&mut self, stream: StreamId, source: &mut Source) {
        while self.connection.writable(stream) > 0 {
            let taken = self.connection.write(stream, source.pending());
            if taken == 0 {
                return;
            }
            source.wrote(taken);
        }
    }

    /// Receives until the sink has enough.
    pub(super) fn receive(&mut self, mut sink: Sink) -> Result<Received, PeerError> {
        let mut buffer = vec![0; READ_BYTES];
        while !sink.is_over() {
            self.receive_and_time()?;
            while let Some(event) = self.connection.poll_event() {
                check(event)?;
                if let Event::Readable(stream) = event {
                    self.read(stream, &mut buffer, &mut sink);
                }
            }
            if !self.transmit()? {
                self.wait(None)?;
            }
        }
        Ok(sink.into_received())
    }

    fn read(&mut self, stream: StreamId, buffer: &mut [u8], sink: &mut Sink) {
        loop {
            let bytes = self.connection.read(stream, buffer).bytes;
            if bytes == 0 {
                return;
            }
            sink.take(&buffer[..bytes]);
        }
    }

    /// Takes a batch from the socket, and does what is due.
    fn receive_and_time(&mut self) -> Result<(), PeerError> {
        let Self { inbox, opener, connection, peer, .. } = self;
        inbox.receive(self.socket)?;
        let now = Instant::now();
        for (from, datagram) in inbox.datagrams() {
            let Ok(header) = DatagramHeader::parse(datagram) else { continue };
            let Ok((plaintext, _)) = opener.open(header, datagram) else { continue };
            *peer = from.or(*peer);
            if let Ok((Kind::Segment, segment)) = Kind::split(plaintext) {
                connection.handle_segment(now, segment).map_err(|_| "our own peer sent what is no segment")?;
            }
        }
        if connection.poll_timeout().is_some_and(|at| at <= now) {
            connection.handle_timeout(now);
        }
        Ok(())
    }

    /// Sends what may be sent, in groups of equal datagrams. Answers whether there may be more.
    fn transmit(&mut self) -> Result<bool, PeerError> {
        let Some(to) = self.peer else { return Ok(false) };
        for _ in 0..TURN_GROUPS {
            let group = self.group();
            if group.bytes > 0 {
                self.socket.send(to, &self.outgoing[..group.bytes], group.datagram_bytes)?;
            }
            self.outgoing.copy_within(group.bytes..group.bytes + group.left_bytes, 0);
            self.left_bytes = group.left_bytes;
            if group.is_all {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Seals datagrams one behind another until one is not as long as the first, or there are as many as go in a group.
    /// A shorter one may end a group, a longer one begins the next.
    fn group(&mut self) -> Group {
        let first = std::mem::take(&mut self.left_bytes);
        let mut group = Group { bytes: first, datagram_bytes: first, left_bytes: 0, is_all: false };
        while group.bytes + DATAGRAM_BYTES <= self.outgoing.len() {
            let Some(bytes) = self.datagram(group.bytes) else {
                group.is_all = true;
                break;
            };
            if group.bytes == 0 {
                group.datagram_bytes = bytes;
            }
            if bytes > group.datagram_bytes {
                group.left_bytes = bytes;
                break;
            }
            group.bytes += bytes;
            if bytes < group.datagram_bytes {
                break;
            }
        }
        group
    }

    /// Seals the next datagram at this place.
    fn datagram(&mut self, at: usize) -> Option<usize> {
        let place = &mut self.outgoing[at..at + DATAGRAM_BYTES];
        let plaintext = &mut place[Sealer::PLAINTEXT_OFFSET..];
        let length = self.connection.poll_transmit(Instant::now(), &mut plaintext[1..=SEGMENT_MAX_BYTES])?;
        plaintext[0] = Kind::Segment as u8;
        self.sealer.seal(place, length + 1)
    }

    fn wait(&self, source: Option<Duration>) -> Result<(), PeerError> {
        let timer = self.connection.poll_timeout().map(|at| at.saturating_duration_since(Instant::now()));
        Ok(self.socket.wait([source, timer].into_iter().flatten().fold(WAIT, Duration::min))?)
    }
}

fn check(event: Event) -> Result<(), PeerError> {
    if event == Event::Renewed { Err("the channel failed".into()) } else { Ok(()) }
}
