//! What a server can be told.

use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::thread;

use common::hub::HubLimits;
use common::limits::{CONTROL_CONNECTIONS_PER_SOURCE, SPOOL_ROOM_BYTES, VIDEO_BYTES_PER_SEC};
use common::relay::RelayLimits;
use common::reno;
use directories::ProjectDirs;

use crate::spool::SpoolPlace;

/// The port of a server that was told none, TCP and UDP.
pub const DEFAULT_PORT: u16 = 7878;

/// The knobs of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where to listen, TCP and UDP at the same port number; port 0 lets the system choose one that is free for
    /// both. Default `[::]:7878`: every address of this machine, IPv6 and IPv4; where IPv6 is off, `0.0.0.0:7878`.
    pub listen: SocketAddr,
    /// The directory that keeps the server's identity over restarts; made when missing. Default: where the
    /// operating system keeps the state of programs, for example `~/.local/state/conclave`.
    pub state_dir: PathBuf,
    /// Threads that carry media, at least 1 and at most [`common::limits::SHARDS_MAX`]; only Linux has more than one.
    /// Default: one for each core of this machine.
    pub workers: usize,
    /// Kilobits of video a member may send per second. Default 16,000, which no picture takes.
    pub video_kbps_max: usize,
    /// The directory for files on their way, in a directory of this process alone that is removed at the end. Default:
    /// `None`, which is `spool` in [`ServerConfig::state_dir`].
    pub spool_dir: Option<PathBuf>,
    /// MiB of files that are kept there at a time; beyond, uploads wait. Default 8,192.
    pub spool_mib_max: usize,
    /// MiB of them that are kept for one room. Default 2,048.
    pub spool_room_mib_max: usize,
    /// How many rooms and members it takes on.
    pub limits: HubLimits,
    /// Control connections one source address may have open. Default [`CONTROL_CONNECTIONS_PER_SOURCE`]; more for a
    /// school behind one address, or for a load test.
    pub connections_per_source: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT)),
            state_dir: default_state_dir(),
            workers: thread::available_parallelism().map_or(1, NonZero::get),
            video_kbps_max: VIDEO_BYTES_PER_SEC as usize / BYTES_PER_KILOBIT,
            spool_dir: None,
            spool_mib_max: SPOOL_MIB_MAX,
            spool_room_mib_max: (SPOOL_ROOM_BYTES / BYTES_PER_MIB) as usize,
            limits: HubLimits::default(),
            connections_per_source: CONTROL_CONNECTIONS_PER_SOURCE,
        }
    }
}

impl ServerConfig {
    /// For sockets that carry datagrams of so many bytes uncut.
    pub(crate) fn relay_limits(&self, datagram_max_bytes: usize) -> RelayLimits {
        let bytes = self.video_kbps_max.saturating_mul(BYTES_PER_KILOBIT);
        RelayLimits {
            video_bytes_per_sec: u32::try_from(bytes).unwrap_or(u32::MAX),
            spool_room_bytes: self.spool_room_mib_max as u64 * BYTES_PER_MIB,
            channel: reno::Config { datagram_max_bytes, ..reno::Config::default() },
        }
    }

    /// The directory for files on their way: the one that was chosen, or else the default.
    pub fn spool_dir(&self) -> PathBuf {
        self.spool_dir.clone().unwrap_or_else(|| self.state_dir.join("spool"))
    }

    pub(crate) fn spool_place(&self) -> SpoolPlace {
        SpoolPlace { dir: self.spool_dir(), bytes_max: self.spool_mib_max as u64 * BYTES_PER_MIB }
    }
}

const BYTES_PER_MIB: u64 = 1 << 20;
/// Four rooms at their own limit; a small machine has as much disk to spare.
const SPOOL_MIB_MAX: usize = 8_192;
const BYTES_PER_KILOBIT: usize = 125;

/// Only Linux has a place for state; elsewhere it goes with the program's local data. Without a home directory it
/// is kept where the program was started.
fn default_state_dir() -> PathBuf {
    let state_dir = |dirs: ProjectDirs| dirs.state_dir().unwrap_or(dirs.data_local_dir()).to_owned();
    ProjectDirs::from("", "", "conclave").map_or_else(|| PathBuf::from("conclave-state"), state_dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_it_listens_everywhere_at_port_7878() {
        let config = ServerConfig::default();
        assert_eq!(config.listen.to_string(), "[::]:7878");
        assert!(config.state_dir.ends_with("conclave") || config.state_dir.ends_with("conclave-state"));
    }
}
