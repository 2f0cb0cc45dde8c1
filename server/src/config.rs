//! What a server can be told.

use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::thread;

use common::hub::HubLimits;
use common::limits::{CONTROL_CONNECTIONS_PER_SOURCE, VIDEO_BYTES_PER_SEC};
use common::relay::RelayLimits;
use common::reno;
use directories::ProjectDirs;

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
            channel: reno::Config { datagram_max_bytes, ..reno::Config::default() },
        }
    }
}

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
