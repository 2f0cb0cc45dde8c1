//! The loop that carries packets between two devices, each way through a link of its own.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use common::link::Link;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use tun_rs::SyncDevice;

use super::LinkReport;
use super::lateness::LatenessCounts;
use crate::peers::PeerError;

/// The longest wait: how far back a pause of this process can be seen.
const TICK: Duration = Duration::from_millis(1);
/// Packets taken from one device before the other one has its turn.
const BATCH_PACKETS: usize = 64;
/// Bytes of the longest packet, and one more.
const PACKET_BYTES: usize = 1_501;

/// Both ways, and how late they were.
pub(super) struct Carrier<'a> {
    devices: &'a [SyncDevice; 2],
    /// Out of each device.
    links: [Link; 2],
    late: LatenessCounts,
}

impl<'a> Carrier<'a> {
    pub(super) fn new(devices: &'a [SyncDevice; 2], links: [Link; 2]) -> Self {
        Self { devices, links, late: LatenessCounts::default() }
    }

    /// Carries until the input of this process ends or one of the signals comes.
    pub(super) fn carry(&mut self, signals: &SigSet) -> Result<(), PeerError> {
        let signals = SignalFd::with_flags(signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let input = io::stdin();
        let mut paused = Duration::ZERO;
        loop {
            for end in 0..2 {
                self.take_in(end, paused)?;
                self.hand_over(end);
            }
            let wait = self.wait_time();
            let asked = Instant::now();
            if self.wait(wait, [input.as_fd(), signals.as_fd()])? {
                return Ok(());
            }
            // What came while this process did not run when it wanted to may have come at any time of that pause.
            paused = asked.elapsed().saturating_sub(wait);
        }
    }

    /// What happened.
    pub(super) fn into_report(self) -> LinkReport {
        LinkReport {
            offered: self.links.each_ref().map(|link| link.counts().0),
            lost: self.links.each_ref().map(|link| link.counts().1),
            queue_drops: self.links.each_ref().map(Link::queue_drops),
            ring_drops: 0,
            lateness: self.late.summary(),
        }
    }

    /// Puts what came out of a device on its link.
    fn take_in(&mut self, end: usize, paused: Duration) -> io::Result<()> {
        let mut packet = [0; PACKET_BYTES];
        for _ in 0..BATCH_PACKETS {
            match self.devices[end].recv(&mut packet) {
                Ok(bytes) => {
                    self.late.add(paused);
                    self.links[end].send(Instant::now(), packet[..bytes].to_vec());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Hands over what is through the link out of `end`.
    fn hand_over(&mut self, end: usize) {
        while let Some(due) = self.links[end].poll_timeout() {
            let now = Instant::now();
            let Some(packet) = self.links[end].poll(now) else { return };
            // A device that takes no packet is one whose namespace is about to go.
            self.devices[1 - end].send(&packet).ok();
            self.late.add(now.saturating_duration_since(due));
        }
    }

    fn wait_time(&self) -> Duration {
        let due = self.links.iter().filter_map(Link::poll_timeout).min();
        due.map_or(TICK, |due| due.saturating_duration_since(Instant::now()).min(TICK))
    }

    /// Answers whether it is time to end.
    fn wait(&self, time: Duration, ends: [BorrowedFd<'_>; 2]) -> Result<bool, PeerError> {
        let [input, signals] = ends;
        let mut watched = [
            PollFd::new(self.devices[0].as_fd(), PollFlags::POLLIN),
            PollFd::new(self.devices[1].as_fd(), PollFlags::POLLIN),
            PollFd::new(input, PollFlags::POLLIN),
            PollFd::new(signals, PollFlags::POLLIN),
        ];
        match ppoll(&mut watched, Some(TimeSpec::from_duration(time)), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [.., input, signals] = watched;
        Ok([input, signals].iter().any(|fd| fd.any().unwrap_or(true)))
    }
}
