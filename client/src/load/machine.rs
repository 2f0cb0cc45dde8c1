//! What the machine says: open files, CPU and memory of processes, datagrams that sockets had no room for.
//!
//! Only Linux tells the latter three, and only of processes of the same person; elsewhere they are missing from the
//! report.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::config::LoadError;

/// Makes sure that so many files may be open.
///
/// # Errors
/// [`LoadError::Descriptors`] when they may not.
#[cfg(unix)]
pub(super) fn allow_descriptors(needed: u64) -> Result<(), LoadError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(allowed) = current.filter(|allowed| *allowed < needed) else {
        return Ok(());
    };
    let raised = maximum.is_none_or(|maximum| maximum >= needed)
        && setrlimit(Resource::Nofile, Rlimit { current: maximum.or(Some(needed)), maximum }).is_ok();
    if raised { Ok(()) } else { Err(LoadError::Descriptors { needed, allowed: maximum.unwrap_or(allowed) }) }
}

/// Other systems have no such limit, or tell it when it is hit.
#[cfg(not(unix))]
pub(super) fn allow_descriptors(_needed: u64) -> Result<(), LoadError> {
    Ok(())
}

/// Whether `server` is an address of this machine: one that can be bound to.
pub(super) fn is_here(server: SocketAddr) -> bool {
    UdpSocket::bind((server.ip(), 0)).is_ok()
}

/// Whether every address of 127.0.0.0/8 is this machine, as on Linux and Windows.
pub(super) fn has_many_loopbacks() -> bool {
    UdpSocket::bind(("127.1.0.1", 0)).is_ok()
}

/// A look at a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// CPU time since it began.
    pub(super) cpu: Duration,
    /// Resident memory.
    pub(super) memory_bytes: u64,
}

/// A process of this machine that can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watched {
    pub(super) pid: i32,
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeSet;
    use std::fs;

    use procfs::WithCurrentSystemInfo;
    use procfs::process::{FDTarget, Process, all_processes};

    use super::{Duration, Look, SocketAddr, Watched};

    impl Watched {
        /// This process.
        pub(in crate::load) fn own() -> Option<Self> {
            Some(Self { pid: Process::myself().ok()?.pid() })
        }

        /// The process that listens at the TCP port of `server`, if it is another one.
        pub(in crate::load) fn listening_at(server: SocketAddr) -> Option<Self> {
            let listens = |entry: &procfs::net::TcpNetEntry| {
                entry.state == procfs::net::TcpState::Listen
                    && entry.local_address.port() == server.port()
                    && (entry.local_address.ip().is_unspecified()
                        || entry.local_address.ip().to_canonical() == server.ip().to_canonical())
            };
            let (v4, v6) = (procfs::net::tcp().unwrap_or_default(), procfs::net::tcp6().unwrap_or_default());
            let inode = v4.into_iter().chain(v6).find(listens)?.inode;
            let holds = |process: &Process| sockets(process).contains(&inode);
            let pid = all_processes().ok()?.flatten().find(holds)?.pid();
            Some(Self { pid }).filter(|found| Self::own() != Some(*found))
        }

        /// How it is right now.
        pub(in crate::load) fn look(self) -> Option<Look> {
            let process = Process::new(self.pid).ok()?;
            let stat = process.stat().ok()?;
            let ticks = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
            let memory_bytes = stat.rss_bytes().get();
            Some(Look { cpu: Duration::from_secs_f64(ticks), memory_bytes })
        }

        /// Datagrams that its sockets had no room for, since they were opened. Looks at every open file.
        pub(in crate::load) fn dropped(self) -> u64 {
            Process::new(self.pid).map_or(0, |process| dropped(&sockets(&process)))
        }
    }

    /// The sockets that a process holds; none when it is somebody else's.
    fn sockets(process: &Process) -> BTreeSet<u64> {
        let inode = |target| if let FDTarget::Socket(inode) = target { Some(inode) } else { None };
        process.fd().map_or_else(|_| BTreeSet::new(), |fds| fds.flatten().filter_map(|fd| inode(fd.target)).collect())
    }

    /// Datagrams that these sockets had no room for.
    fn dropped(sockets: &BTreeSet<u64>) -> u64 {
        let tables = ["/proc/net/udp", "/proc/net/udp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
        tables.iter().flat_map(|table| table.lines()).filter_map(|line| parse_drops(line, sockets)).sum()
    }

    /// The last column of a line of `/proc/net/udp`, if its tenth, the inode, is among `sockets`.
    fn parse_drops(line: &str, sockets: &BTreeSet<u64>) -> Option<u64> {
        let mut columns = line.split_whitespace();
        let inode = columns.nth(9)?.parse().ok()?;
        if sockets.contains(&inode) { columns.last()?.parse().ok() } else { None }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_line_of_the_table_tells_the_drops_of_its_socket() {
            let line = "  431: 00000000:1EC6 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 91155 2 0000000000000000 17";
            assert_eq!(parse_drops(line, &BTreeSet::from([91_155])), Some(17));
            assert_eq!(parse_drops(line, &BTreeSet::from([1])), None);
            assert_eq!(parse_drops("  sl  local_address rem_address", &BTreeSet::from([1])), None);
        }

        #[test]
        fn this_process_can_be_looked_at() {
            let look = Watched::own().and_then(Watched::look).unwrap();
            assert!(look.memory_bytes > 1_000_000, "{look:?}");
        }

        #[test]
        fn a_server_inside_this_process_is_not_another_one() {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            assert_eq!(Watched::listening_at(listener.local_addr().unwrap()), None);
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Watched {
    /// This process, of which nothing is known here.
    pub(super) fn own() -> Option<Self> {
        None
    }

    /// The server, of which nothing is known here.
    pub(super) fn listening_at(_server: SocketAddr) -> Option<Self> {
        None
    }

    /// Nothing.
    pub(super) fn look(self) -> Option<Look> {
        None
    }

    /// Nothing.
    pub(super) fn dropped(self) -> u64 {
        0
    }
}

/// What a process did between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessUse {
    /// Its id.
    pub pid: u32,
    /// Cores it used while it was measured, 1.0 is one whole.
    pub cpu_cores: f64,
    /// CPU it used until everybody was in, seconds.
    pub join_cpu_secs: f64,
    /// Resident memory before the first one joined, bytes.
    pub memory_start_bytes: u64,
    /// When the measurement began, with everybody in, bytes.
    pub memory_joined_bytes: u64,
    /// When the measurement ended, bytes.
    pub memory_end_bytes: u64,
    /// The most that was seen, four times a second, bytes.
    pub memory_max_bytes: u64,
    /// Datagrams that its sockets had no room for while it was measured.
    pub datagrams_dropped: u64,
}

/// Watches a process through a run.
#[derive(Debug)]
pub(super) struct Watch {
    watched: Watched,
    start: Look,
    joined: Look,
    end: Look,
    memory_max_bytes: u64,
    /// When the measurement began, and since.
    dropped: (u64, u64),
}

impl Watch {
    /// Begins to watch; `None` when there is nothing to see.
    pub(super) fn begin(watched: Option<Watched>) -> Option<Self> {
        let watched = watched?;
        let start = watched.look()?;
        Some(Self { watched, start, joined: start, end: start, memory_max_bytes: start.memory_bytes, dropped: (0, 0) })
    }

    /// Looks again.
    pub(super) fn look(&mut self) {
        // A process that ended keeps what was seen last.
        if let Some(look) = self.watched.look() {
            self.end = look;
            self.memory_max_bytes = self.memory_max_bytes.max(look.memory_bytes);
        }
    }

    /// The measurement begins.
    pub(super) fn joined(&mut self) {
        self.look();
        self.joined = self.end;
        self.dropped = (self.watched.dropped(), 0);
    }

    /// The measurement ends.
    pub(super) fn ended(&mut self) {
        self.look();
        self.dropped.1 = self.watched.dropped().saturating_sub(self.dropped.0);
    }

    /// What was seen, with `measured` between [`Watch::joined`] and the last look.
    pub(super) fn summary(&self, measured: Duration) -> ProcessUse {
        let cpu = self.end.cpu.saturating_sub(self.joined.cpu);
        ProcessUse {
            pid: self.watched.pid.unsigned_abs(),
            cpu_cores: cpu.as_secs_f64() / measured.as_secs_f64().max(f64::EPSILON),
            join_cpu_secs: self.joined.cpu.saturating_sub(self.start.cpu).as_secs_f64(),
            memory_start_bytes: self.start.memory_bytes,
            memory_joined_bytes: self.joined.memory_bytes,
            memory_end_bytes: self.end.memory_bytes,
            memory_max_bytes: self.memory_max_bytes,
            datagrams_dropped: self.dropped.1,
        }
    }
}
