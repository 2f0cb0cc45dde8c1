//! What the bare system carries: loops that receive and send and do nothing else, not even look at what they carry.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::limits::DATAGRAM_MAX_BYTES;
use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};

use super::driver::{Driver, Plan, Run, loopback};
use super::figures::process;

/// Which calls a loop uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    /// recvmmsg, and for each frame one sendmmsg with UDP_SEGMENT to all receivers.
    Segments,
    /// recvmmsg, and for each datagram one sendmmsg to all receivers.
    Batches,
    /// tokio's recv_from, and its send_to for each receiver.
    Tokio,
}

/// Name of the thread whose CPU time counts.
const THREAD: &str = "bare";
/// Datagrams a call receives.
const BATCH: usize = 64;

/// Runs a loop with so many receivers; answers what came of it, and the CPU seconds of its thread.
pub(crate) fn run(calls: Calls, receivers: usize, plan: Plan, datagram_bytes: usize) -> (Run, Option<f64>) {
    let mut driver = Driver::new(receivers);
    let socket = loopback();
    let at = socket.local_addr().expect("it is bound");
    let to = driver.receivers().iter().map(|socket| socket.local_addr().expect("it is bound")).collect();
    let shared = Shared { taken: Arc::default(), stop: Arc::default() };
    let forwarder = Forwarder { socket, to, shared: shared.clone(), frame: plan.frame, datagram_bytes };
    let thread = thread::Builder::new().name(THREAD.to_owned()).spawn(move || {
        match calls {
            Calls::Segments => forwarder.batches(true),
            Calls::Batches => forwarder.batches(false),
            Calls::Tokio => forwarder.tokio(),
        }
        process::thread_cpu_secs(THREAD)
    });
    let fill = |buffer: &mut [u8]| {
        buffer.fill(0x55);
        datagram_bytes
    };
    let run = driver.run(at, plan, fill, || shared.taken.load(Ordering::Relaxed));
    shared.stop.store(true, Ordering::Relaxed);
    // Wakes a loop that waits.
    driver.sender().send_to(&[0; 1], at).expect("loopback takes it");
    let cpu_secs = thread.expect("a thread starts").join().expect("it only forwards");
    (run, cpu_secs)
}

#[derive(Clone)]
struct Shared {
    taken: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

struct Forwarder {
    socket: UdpSocket,
    to: Vec<SocketAddr>,
    shared: Shared,
    frame: usize,
    datagram_bytes: usize,
}

impl Forwarder {
    /// Datagrams stand next to each other as they come, so that a frame is sent without being copied.
    fn batches(self, segments: bool) {
        let mut bytes = vec![0; BATCH * self.datagram_bytes];
        let mut receiving: MultiHeaders<SockaddrStorage> = MultiHeaders::preallocate(BATCH, None);
        let control = segments.then(|| cmsg_space!(u16));
        let mut sending: MultiHeaders<SockaddrStorage> = MultiHeaders::preallocate(self.to.len(), control);
        let to: Vec<_> = self.to.iter().map(|to| Some(SockaddrStorage::from(*to))).collect();
        let patience = Some(Duration::from_millis(50));
        self.socket.set_read_timeout(patience).expect("a timeout above zero is taken");
        while !self.shared.stop.load(Ordering::Relaxed) {
            let got = receive(&self.socket, &mut receiving, &mut bytes, self.datagram_bytes);
            self.shared.taken.fetch_add(got as u64, Ordering::Relaxed);
            let group = if segments { self.frame * self.datagram_bytes } else { self.datagram_bytes };
            for group in bytes[..got * self.datagram_bytes].chunks(group) {
                send(&self.socket, &mut sending, &to, group, segments.then_some(self.datagram_bytes as u16));
            }
        }
    }

    fn tokio(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        runtime.block_on(async {
            self.socket.set_nonblocking(true).expect("every socket can");
            let socket = tokio::net::UdpSocket::from_std(self.socket).expect("a runtime is there");
            let mut bytes = [0; DATAGRAM_MAX_BYTES];
            while !self.shared.stop.load(Ordering::Relaxed) {
                let (got, _) = socket.recv_from(&mut bytes).await.expect("loopback gives it");
                self.shared.taken.fetch_add(1, Ordering::Relaxed);
                for to in &self.to {
                    // What does not arrive is seen at the receivers.
                    let _ = socket.send_to(&bytes[..got], to).await;
                }
            }
        });
    }
}

/// Waits for one datagram and takes all that are there; answers how many.
fn receive(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<SockaddrStorage>,
    bytes: &mut [u8],
    datagram_bytes: usize,
) -> usize {
    let mut chunks = bytes.chunks_mut(datagram_bytes);
    let mut places: [_; BATCH] = std::array::from_fn(|_| [IoSliceMut::new(chunks.next().expect("one for each"))]);
    let messages = recvmmsg(socket.as_raw_fd(), headers, places.iter_mut(), MsgFlags::MSG_WAITFORONE, None);
    messages.map_or(0, |messages| messages.filter(|message| message.bytes == datagram_bytes).count())
}

fn send(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<SockaddrStorage>,
    to: &[Option<SockaddrStorage>],
    group: &[u8],
    segment: Option<u16>,
) {
    let places = [IoSlice::new(group)];
    let places = std::iter::repeat_n(&places, to.len());
    let (descriptor, flags) = (socket.as_raw_fd(), MsgFlags::empty());
    let sent = match &segment {
        Some(segment) => sendmmsg(descriptor, headers, places, to, [ControlMessage::UdpGsoSegments(segment)], flags),
        None => sendmmsg(descriptor, headers, places, to, [], flags),
    };
    assert_eq!(sent.map(Iterator::count), Ok(to.len()), "loopback takes it");
}
