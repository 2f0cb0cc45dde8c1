//! The other end of a forwarder: one thread that sends frames to it and receives what comes of them.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use common::limits::DATAGRAM_MAX_BYTES;
use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};

/// A socket of loopback with buffers as large as the server's.
pub(crate) fn loopback() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let reference = socket2::SockRef::from(&socket);
    reference.set_recv_buffer_size(BUFFER_BYTES).expect("a buffer can be asked for");
    reference.set_send_buffer_size(BUFFER_BYTES).expect("a buffer can be asked for");
    socket
}

const BUFFER_BYTES: usize = 4 << 20;
/// Datagrams a call receives.
const BATCH: usize = 64;
/// Datagrams that may be on their way to the forwarder: what its receive buffer holds in any case.
const IN_FLIGHT: u64 = 64;

/// What came out of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// Datagrams sent to the forwarder.
    pub(crate) sent: u64,
    /// Datagrams that the receivers got.
    pub(crate) delivered: u64,
    /// How long it took.
    pub(crate) wall: Duration,
    /// Allocations of the whole process meanwhile.
    pub(crate) allocations: usize,
    /// Datagrams that the first receiver got.
    first_delivered: u64,
    /// From sending to arrival at the first receiver.
    pub(crate) latencies: Latencies,
}

/// Latencies by microsecond; the last slot has all that are longer.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Vec<u32>);

impl Default for Latencies {
    fn default() -> Self {
        Self(vec![0; Self::SLOTS])
    }
}

impl Latencies {
    const SLOTS: usize = 20_000;

    fn add(&mut self, latency: Duration) {
        self.0[(latency.as_micros() as usize).min(Self::SLOTS - 1)] += 1;
    }

    /// The latency below which this share lies, in microseconds; `None` of nothing.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let total: u32 = self.0.iter().sum();
        let wanted = (f64::from(total) * share) as u32;
        let mut below = 0;
        (0..Self::SLOTS)
            .find(|slot| {
                below += self.0[*slot];
                below > wanted
            })
            .map(|slot| slot as f64)
    }
}

/// Sends frames and receives copies of them.
pub(crate) struct Driver {
    sender: UdpSocket,
    receivers: Vec<UdpSocket>,
    sending: MultiHeaders<SockaddrStorage>,
    receiving: MultiHeaders<SockaddrStorage>,
    bytes: Vec<u8>,
    /// When the newest frames were sent, by their number modulo its length.
    sent_at: Vec<Instant>,
}

/// What to send, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How long.
    pub(crate) time: Duration,
    /// Datagrams of one frame.
    pub(crate) frame: usize,
    /// Frames a second, evenly; `None` for as many as the forwarder takes.
    pub(crate) frames_per_sec: Option<f64>,
}

/// Decides when the next frame is sent.
struct Schedule {
    plan: Plan,
    next: Instant,
}

/// A thread that was kept from running for longer does not send in one burst what it has missed.
const CATCH_UP_MAX: Duration = Duration::from_millis(1);

impl Schedule {
    fn due(&mut self, now: Instant, frames: u64, taken: impl Fn() -> u64) -> bool {
        let Some(rate) = self.plan.frames_per_sec else {
            return frames * (self.plan.frame as u64) < taken() + IN_FLIGHT;
        };
        let due = now >= self.next;
        if due {
            self.next = (self.next + Duration::from_secs_f64(1.0 / rate)).max(now - CATCH_UP_MAX);
        }
        due
    }
}

impl Driver {
    /// One sender and so many receivers.
    pub(crate) fn new(receivers: usize) -> Self {
        Self {
            sender: loopback(),
            receivers: (0..receivers).map(|_| loopback()).collect(),
            sending: MultiHeaders::preallocate(1, Some(cmsg_space!(u16))),
            receiving: MultiHeaders::preallocate(BATCH, None),
            bytes: vec![0; BATCH * DATAGRAM_MAX_BYTES],
            sent_at: vec![Instant::now(); 4_096],
        }
    }

    /// Where copies go to.
    pub(crate) fn receivers(&self) -> &[UdpSocket] {
        &self.receivers
    }

    /// Where frames come from.
    pub(crate) fn sender(&self) -> &UdpSocket {
        &self.sender
    }

    /// Sends frames to `to` as told. `next` writes the datagrams of a frame one behind another, each of equal length,
    /// and answers the length of one; `taken` is how many datagrams the forwarder has received since the beginning.
    pub(crate) fn run(
        &mut self,
        to: SocketAddr,
        plan: Plan,
        mut next: impl FnMut(&mut [u8]) -> usize,
        taken: impl Fn() -> u64,
    ) -> Run {
        let mut buffer = vec![0; plan.frame * DATAGRAM_MAX_BYTES];
        let mut run = Run::default();
        let region = stats_alloc::Region::new(super::ALLOCATIONS);
        let (mut frames, began) = (0, Instant::now());
        let mut schedule = Schedule { plan, next: began };
        while began.elapsed() < plan.time {
            if schedule.due(Instant::now(), frames, &taken) {
                let length = next(&mut buffer);
                let slot = frames as usize % self.sent_at.len();
                self.sent_at[slot] = Instant::now();
                self.send(to, &buffer[..plan.frame * length], length as u16);
                frames += 1;
            }
            self.receive(&mut run, plan.frame);
        }
        run.allocations = region.change().allocations;
        run.sent = frames * plan.frame as u64;
        run.wall = began.elapsed();
        let patience = Instant::now() + LAST_ARRIVALS;
        while Instant::now() < patience {
            self.receive(&mut run, plan.frame);
        }
        run
    }

    fn send(&mut self, to: SocketAddr, frame: &[u8], datagram_bytes: u16) {
        let address = [Some(SockaddrStorage::from(to))];
        let bytes = [[IoSlice::new(frame)]];
        let control = [ControlMessage::UdpGsoSegments(&datagram_bytes)];
        let (descriptor, headers) = (self.sender.as_raw_fd(), &mut self.sending);
        sendmmsg(descriptor, headers, &bytes, address, control, MsgFlags::empty()).expect("loopback takes it");
    }

    /// Takes what arrived, and notes how long it was on its way to the first receiver: nothing overtakes on loopback.
    fn receive(&mut self, run: &mut Run, frame: usize) {
        for (index, receiver) in self.receivers.iter().enumerate() {
            let mut chunks = self.bytes.chunks_mut(DATAGRAM_MAX_BYTES);
            let mut places: [_; BATCH] =
                std::array::from_fn(|_| [IoSliceMut::new(chunks.next().expect("one for each"))]);
            let (descriptor, flags) = (receiver.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
            let Ok(messages) = recvmmsg(descriptor, &mut self.receiving, places.iter_mut(), flags, None) else {
                continue;
            };
            let got = messages.filter(|message| message.bytes > SHORTEST_BYTES).count() as u64;
            run.delivered += got;
            if index == 0 {
                let now = Instant::now();
                for number in run.first_delivered..run.first_delivered + got {
                    let sent_at = self.sent_at[number as usize / frame % self.sent_at.len()];
                    run.latencies.add(now.saturating_duration_since(sent_at));
                }
                run.first_delivered += got;
            }
        }
    }
}

/// Answers and reports are shorter; copies of what was sent are longer.
const SHORTEST_BYTES: usize = 150;
/// How long the last datagrams are waited for.
const LAST_ARRIVALS: Duration = Duration::from_millis(100);
