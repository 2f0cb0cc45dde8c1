//! A line to the server that several participants share, perhaps with a foreign transfer beside them.

use std::time::{Duration, Instant};

use common::link::{Link, LinkConfig, OVERHEAD_BYTES};
use common::reno::{Connection, SEGMENT_MAX_BYTES, StreamId};

/// One household: whoever lives there sends and receives through the same two links.
#[derive(Debug)]
pub struct Line {
    /// Who lives there, by their places among the participants.
    pub members: Vec<usize>,
    /// Each way.
    links: [Link; 2],
    /// Bytes of each member that arrived, each way, with IP and UDP.
    pub arrived: Vec<[u64; 2]>,
    /// A transfer that knows nothing of meetings.
    pub foreign: Option<Foreign>,
}

/// To the server or from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the server.
    Down,
    /// To the server.
    Up,
}

/// Stands in front of each datagram and says whose it is; it takes nothing of the link's rate.
const MARK_BYTES: usize = 1;
const FOREIGN: u8 = u8::MAX;

impl Line {
    /// A line with nobody behind it yet.
    pub fn new(up: LinkConfig, down: LinkConfig, seed: u64) -> Self {
        let links = [Link::new(marked(down), 2 * seed), Link::new(marked(up), 2 * seed + 1)];
        Self { members: Vec::new(), links, arrived: Vec::new(), foreign: None }
    }

    /// One more lives here.
    pub fn move_in(&mut self, member: usize) {
        self.members.push(member);
        self.arrived.push([0; 2]);
    }

    /// Changes one way from here on.
    pub fn configure(&mut self, way: Way, config: LinkConfig) {
        self.links[way as usize].configure(marked(config));
    }

    /// How long a datagram that is sent right now would wait for those before it.
    pub fn waiting(&self, way: Way, now: Instant) -> Duration {
        self.links[way as usize].waiting(now)
    }

    /// A transfer without an end begins, whose feedback takes `back` to return.
    pub fn begin_foreign(&mut self, now: Instant, way: Way, back: LinkConfig) {
        let mut sender = Connection::new(now);
        let stream = sender.open().expect("the first stream");
        let back = Link::new(back, 3);
        self.foreign = Some(Foreign { way, sender, receiver: Connection::new(now), stream, back, received: 0 });
    }

    /// Puts a datagram of a member on its way.
    pub(crate) fn send(&mut self, now: Instant, way: Way, member: usize, datagram: &[u8]) {
        let mark = member as u8;
        self.links[way as usize].send(now, [&[mark], datagram].concat());
    }

    /// The next datagram that arrived, and whose it is.
    pub(crate) fn poll(&mut self, now: Instant, way: Way) -> Option<(usize, Vec<u8>)> {
        while let Some(mut datagram) = self.links[way as usize].poll(now) {
            let mark = datagram.remove(0);
            let place = self.members.iter().position(|member| *member == usize::from(mark));
            if let Some(place) = place {
                self.arrived[place][way as usize] += (datagram.len() + OVERHEAD_BYTES) as u64;
                return Some((usize::from(mark), datagram));
            }
            self.foreign.iter_mut().for_each(|foreign| foreign.receive(now, &datagram));
        }
        None
    }

    /// What the foreign transfer has to do.
    pub(crate) fn advance(&mut self, now: Instant) {
        if let Some(foreign) = &mut self.foreign {
            foreign.advance(now, &mut self.links[foreign.way as usize]);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let links = self.links.iter().filter_map(Link::poll_timeout);
        links.chain(self.foreign.iter().filter_map(Foreign::poll_timeout)).min()
    }
}

fn marked(config: LinkConfig) -> LinkConfig {
    LinkConfig { overhead_bytes: OVERHEAD_BYTES - MARK_BYTES, ..config }
}

/// A TCP with Reno that fills whatever there is. Ours stands in for the kernel's, beside which it was measured.
#[derive(Debug)]
pub struct Foreign {
    way: Way,
    sender: Connection,
    receiver: Connection,
    stream: StreamId,
    back: Link,
    /// Bytes read at the other end.
    pub received: u64,
}

static PIECE: [u8; 64 * 1024] = [7; 64 * 1024];

impl Foreign {
    fn advance(&mut self, now: Instant, path: &mut Link) {
        let mut buffer = [0; SEGMENT_MAX_BYTES];
        while let Some(segment) = self.back.poll(now) {
            self.sender.handle_segment(now, &segment).expect("the peer is honest");
        }
        self.sender.write(self.stream, &PIECE);
        self.sender.handle_timeout(now);
        self.receiver.handle_timeout(now);
        while let Some(length) = self.sender.poll_transmit(now, &mut buffer) {
            path.send(now, [&[FOREIGN], &buffer[..length]].concat());
        }
        while let Some(length) = self.receiver.poll_transmit(now, &mut buffer) {
            self.back.send(now, buffer[..length].to_vec());
        }
        while self.sender.poll_event().is_some() {}
    }

    fn receive(&mut self, now: Instant, segment: &[u8]) {
        self.receiver.handle_segment(now, segment).expect("the peer is honest");
        while self.receiver.poll_event().is_some() {}
        let mut buffer = [0; 16 * 1024];
        while let bytes @ 1.. = self.receiver.read(self.stream, &mut buffer).bytes {
            self.received += bytes as u64;
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.sender.poll_timeout(), self.receiver.poll_timeout(), self.back.poll_timeout()].into_iter().flatten().min()
    }
}
