//! The server inside this program: who starts a meeting without naming a server has one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use server::{Server, ServerConfig, StartError};

use super::address::ServerAddress;
use super::guests::Directions;
use super::trust::{Fingerprint, Trust};

/// A server of this program.
#[derive(Debug)]
pub(super) struct Embedded(Server);

impl Embedded {
    /// Starts a server at `listen`, or at the default port and, when that is taken, at any.
    ///
    /// # Errors
    /// The sentence of the server.
    pub(super) async fn start(state_dir: &Path, listen: Option<SocketAddr>) -> Result<Self, StartError> {
        // One meeting lives on one worker.
        let config = ServerConfig { state_dir: state_dir.join("server"), workers: 1, ..ServerConfig::default() };
        let Some(listen) = listen else {
            return match Server::start(config.clone()).await {
                Err(StartError::PortInUse { .. }) => {
                    let listen = SocketAddr::new(config.listen.ip(), 0);
                    Server::start(ServerConfig { listen, ..config }).await.map(Self)
                }
                started => started.map(Self),
            };
        };
        Server::start(ServerConfig { listen, ..config }).await.map(Self)
    }

    /// How this program reaches it.
    pub(super) fn own_address(&self) -> ServerAddress {
        let address = self.0.address();
        let ip: IpAddr = match address.ip() {
            // A server of all IPv6 addresses has all IPv4 ones too.
            ip if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, address.port()).into()
    }

    /// How guests reach it.
    pub(super) fn directions(&self) -> Directions {
        Directions::here(self.0.address())
    }

    /// Its own key and no other.
    pub(super) fn trust(&self) -> Trust {
        Trust::Exactly(Fingerprint(self.0.fingerprint().0))
    }

    /// Tells everybody and frees the port.
    pub(super) async fn stop(self) {
        self.0.stop().await;
    }
}
