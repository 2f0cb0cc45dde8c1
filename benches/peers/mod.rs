//! Other people's servers, started, driven and stopped beside ours: same machine, same run, same counting.
//!
//! Each peer is found in `PATH`, gets a configuration and a database in a folder of its own, and listens on a free port
//! of loopback. A figure of it is what receivers' sockets counted, per CPU second of its process.
#![allow(dead_code, reason = "every bench uses a part of this")]

pub(crate) mod mumble;
pub(crate) mod turn;

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What to say where a peer is missing.
pub(crate) const NOT_INSTALLED: &str = "not installed: apt-get install coturn mumble-server";

/// What a peer carried in one run.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// What the peer calls itself.
    pub(crate) version: String,
    /// Datagrams sent to it.
    pub(crate) datagrams_in: u64,
    /// Datagrams it should have sent to receivers.
    pub(crate) expected: u64,
    /// Datagrams that arrived at the receivers' sockets.
    pub(crate) delivered: u64,
    /// From the first sent to the last arrived.
    pub(crate) wall: Duration,
    /// CPU seconds of the peer's process, all threads, in user and kernel mode; `None` where there is no `/proc`.
    pub(crate) cpu_secs: Option<f64>,
    /// Datagrams that were let into the peer before the ones ahead of them had arrived.
    pub(crate) in_flight: u64,
}

impl Measured {
    /// Datagrams delivered per CPU second.
    pub(crate) fn per_cpu_sec(&self) -> Option<f64> {
        self.cpu_secs.filter(|secs| *secs > 0.0).map(|secs| self.delivered as f64 / secs)
    }

    /// Datagrams delivered per second of the wall clock.
    pub(crate) fn per_sec(&self) -> f64 {
        self.delivered as f64 / self.wall.as_secs_f64()
    }

    /// Share of the expected datagrams that never arrived, 0.0..=1.0.
    pub(crate) fn loss(&self) -> f64 {
        1.0 - self.delivered as f64 / self.expected.max(1) as f64
    }

    /// How many cores it kept busy: 1.0 is one.
    pub(crate) fn cores(&self) -> Option<f64> {
        self.cpu_secs.map(|secs| secs / self.wall.as_secs_f64())
    }
}

/// A peer's process and its folder; both go when it is dropped.
struct Daemon {
    child: Child,
    folder: Folder,
}

impl Daemon {
    /// Starts the first of `programs` that is installed with the arguments that `configure` makes for its folder;
    /// `None` when none is installed.
    fn start(programs: &[&str], configure: impl FnOnce(&Path) -> io::Result<Vec<String>>) -> io::Result<Option<Self>> {
        let Some(program) = programs.iter().find_map(|name| installed(name)) else {
            return Ok(None);
        };
        let folder = Folder::new()?;
        let log = File::create(folder.log())?;
        let child = Command::new(program)
            .args(configure(&folder.0)?)
            .current_dir(&folder.0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Some(Self { child, folder }))
    }

    /// Sends `question` until the process answers; that is when it is ready.
    fn ask(&mut self, socket: &UdpSocket, question: &[u8]) -> io::Result<Vec<u8>> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("it ended with {status}: {}", self.folder.log_end())));
            }
            if let Some(answer) = ask_once(socket, question)? {
                return Ok(answer);
            }
            // A closed port is refused at once.
            thread::sleep(ASK_AGAIN);
        }
        Err(io::Error::other(format!("it does not answer: {}", self.folder.log_end())))
    }

    /// CPU seconds so far: fields 14 and 15 of proc_pid_stat(5), after a name that may hold anything.
    fn cpu_secs(&self) -> Option<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        let (_, fields) = text.rsplit_once(") ")?;
        let mut ticks = fields.split(' ').skip(11).map(str::parse::<f64>);
        Some((ticks.next()?.ok()? + ticks.next()?.ok()?) / TICKS_PER_SEC)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The kernel fixes it at 100 for programs (`USER_HZ`).
const TICKS_PER_SEC: f64 = 100.0;
/// Long enough for a busy machine to start a server.
const PATIENCE: Duration = Duration::from_secs(30);
const ASK_AGAIN: Duration = Duration::from_millis(20);

fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Servers stand where the PATH of a user need not lead.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// One question, one answer; `None` when there is none in [`PATIENCE_ONCE`] or nobody listens.
fn ask_once(socket: &UdpSocket, question: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = [0; 2_048];
    socket.set_read_timeout(Some(PATIENCE_ONCE))?;
    Ok(socket.send(question).and_then(|_| socket.recv(&mut buffer)).ok().map(|length| buffer[..length].to_vec()))
}

const PATIENCE_ONCE: Duration = Duration::from_millis(200);

/// A folder of its own for each process.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("conclave-peer-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// The last lines of what the process said.
    fn log_end(&self) -> String {
        let log = std::fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn loopback() -> io::Result<UdpSocket> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
}

/// A port that nobody has, in UDP and TCP. It is free again until the peer takes it: a peer cannot be told to take any.
fn free_port() -> io::Result<SocketAddr> {
    let mut last = io::Error::other("no port was tried");
    for _ in 0..PORTS_TRIED {
        let address = loopback()?.local_addr()?;
        match TcpListener::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A port free in UDP is nearly always free in TCP.
const PORTS_TRIED: usize = 16;

/// What goes through a peer, and where it comes out.
struct Load<'a, F> {
    /// Sends one datagram to the peer.
    send: F,
    /// What the peer should make of each.
    copies: u64,
    receivers: &'a [UdpSocket],
    /// Of a datagram that counts, at a receiver.
    length: usize,
}

impl<F: FnMut() -> io::Result<()>> Load<'_, F> {
    /// Finds how much the peer bears in flight, then lets it carry for `duration`.
    fn measure(&mut self, peer: &Daemon, version: &str, duration: Duration) -> io::Result<Measured> {
        for socket in self.receivers {
            socket.set_nonblocking(true)?;
        }
        let mut best: Option<Measured> = None;
        for in_flight in IN_FLIGHT {
            let probe = self.carry(peer, version, in_flight, PROBE_TIME.min(duration))?;
            let better = best.as_ref().is_none_or(|best| probe.per_cpu_sec() > best.per_cpu_sec());
            if better && probe.loss() <= LOSS_MAX {
                best = Some(probe);
            }
        }
        let best = best.ok_or_else(|| io::Error::other("it loses more than a thousandth of whatever it is sent"))?;
        self.carry(peer, version, best.in_flight, duration)
    }

    /// Sends for `duration`, never more than `in_flight` ahead of the receivers, and counts until all have arrived.
    fn carry(&mut self, peer: &Daemon, version: &str, in_flight: u64, duration: Duration) -> io::Result<Measured> {
        let cpu_before = peer.cpu_secs();
        let (began, mut arrived_at) = (Instant::now(), Instant::now());
        let (mut sent, mut delivered, mut written_off) = (0, 0, 0);
        let mut buffer = [0; 2_048];
        loop {
            let sending = began.elapsed() < duration;
            while sending && sent * self.copies < delivered + written_off + in_flight * self.copies {
                (self.send)()?;
                sent += 1;
            }
            let arrived = self.arrivals(&mut buffer);
            if arrived > 0 {
                delivered += arrived;
                arrived_at = Instant::now();
                continue;
            }
            let missing = (sent * self.copies).saturating_sub(delivered + written_off);
            if missing == 0 && !sending {
                break;
            }
            if arrived_at.elapsed() > GIVEN_UP && missing > 0 {
                written_off += missing;
                continue;
            }
            thread::sleep(PAUSE_EACH * missing as u32);
        }
        Ok(Measured {
            version: version.to_owned(),
            datagrams_in: sent,
            expected: sent * self.copies,
            delivered,
            wall: arrived_at - began,
            cpu_secs: peer.cpu_secs().zip(cpu_before).map(|(after, before)| after - before),
            in_flight,
        })
    }

    /// Takes what has arrived and counts it.
    fn arrivals(&self, buffer: &mut [u8]) -> u64 {
        let mut count = 0;
        for socket in self.receivers {
            while let Ok(length) = socket.recv(buffer) {
                count += u64::from(length == self.length);
            }
        }
        count
    }
}

/// Tried in turn: more in flight means larger batches for the peer, until a socket's buffer is full and it loses.
const IN_FLIGHT: [u64; 3] = [16, 32, 64];
const PROBE_TIME: Duration = Duration::from_millis(500);
/// The most a run may lose, as a share.
const LOSS_MAX: f64 = 0.001;
/// What has not arrived after this much silence never will: a busy machine stops nobody for so long.
const GIVEN_UP: Duration = Duration::from_millis(500);
/// For each datagram under way, how long the driver leaves the machine to the peer. A peer takes 6 us or more for one, so
/// it does not run dry meanwhile.
const PAUSE_EACH: Duration = Duration::from_micros(1);
