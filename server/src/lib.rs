//! The server of a Conclave meeting: sockets, tasks and one thread around [`common::hub::Hub`] and
//! [`common::relay::Relay`], which decide everything.
//!
//! ```text
//!  TCP ─▶ control (accept) ─▶ connection (a task each) ─facts─▶ hub_task (owns Hub) ─commands─▶ media (a thread,
//!                                     ▲──────────messages──────────┘                            owns Relay and UDP)
//! ```
//!
//! Every arrow is a bounded channel. The program `conclave-server` is one user of [`Server`], the desktop client,
//! which can hold a meeting on its own machine, is the other.

mod accepting;
pub mod cards;
mod config;
mod connection;
mod control;
mod every_address;
mod fragments;
mod guess_log;
mod hub_task;
mod identity;
pub mod lines;
mod listen;
mod media;
pub mod open_files;
pub mod operation;
mod operator;
mod porter;
mod seats;
mod segments;
mod socket;
mod spool;
mod start_error;
mod statistics;
mod stream;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use common::hub::{Hub, HubLimits};
use common::limits::CONTROL_CONNECTIONS_MAX;
use rand::TryRng;
use rand::rngs::SysRng;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub use crate::config::{DEFAULT_PORT, ServerConfig};
pub use crate::fragments::forbid_fragments;
pub use crate::identity::Fingerprint;
pub use crate::operator::{Guesses, Operator, Stopped};
pub use crate::segments::limit_segments;
pub use crate::start_error::StartError;
pub use crate::statistics::{Health, ServerStatistics, SocketStatistics};

use crate::control::Acceptor;
use crate::hub_task::HubTask;
use crate::identity::Identity;
use crate::listen::Sockets;
use crate::media::MediaWorkers;
use crate::seats::Seats;
use crate::statistics::Board;

/// A running server. Dropping it stops it too, but without waiting until everybody has been told: see
/// [`Server::stop`].
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    fingerprint: Fingerprint,
    board: Arc<Board>,
    /// Dropped to stop the hub, which stops all the others.
    running: oneshot::Sender<()>,
    operator: Operator,
    hub: JoinHandle<()>,
    acceptor: JoinHandle<()>,
    media: MediaWorkers,
    /// Never sent, dropped with the thread.
    spool_ended: oneshot::Receiver<()>,
}

impl Server {
    /// Opens the sockets and serves until [`Server::stop`]. Must be called inside a tokio runtime with I/O and time,
    /// whose tasks then carry the control plane; media has a thread of its own.
    ///
    /// # Errors
    /// [`StartError`], whose `Display` is the sentence to show.
    pub async fn start(config: ServerConfig) -> Result<Self, StartError> {
        let sockets = Sockets::open(config.listen, config.workers)?;
        let state_dir = config.state_dir.clone();
        let identity = tokio::task::spawn_blocking(move || Identity::load_or_create(&state_dir))
            .await
            .map_err(|error| StartError::Unexpected(error.into()))??;
        let fingerprint = identity.fingerprint();
        let tls = TlsAcceptor::from(Arc::new(identity.into_tls_config()?));
        Self::run(sockets, tls, fingerprint, &config).await
    }

    async fn run(
        sockets: Sockets,
        tls: TlsAcceptor,
        fingerprint: Fingerprint,
        config: &ServerConfig,
    ) -> Result<Self, StartError> {
        let shards = sockets.udp.len();
        let hub = Hub::with_limits(seed()?, aes(), HubLimits { shards, ..config.limits });
        let address = sockets.address;
        let board = Arc::new(Board::new(shards));
        let spool = config.spool_place();
        let (spool, spool_ended) = tokio::task::spawn_blocking(move || spool::spawn(&spool, shards))
            .await
            .map_err(|error| StartError::Unexpected(error.into()))??;
        let limits = config.relay_limits(sockets.datagram_max_bytes);
        let (media, link) = MediaWorkers::spawn(sockets.udp, limits, &board, spool).await?;
        let (facts, facts_received) = mpsc::channel(hub_task::FACTS_QUEUE);
        let (operator, orders) = Operator::new();
        let (running, stopped) = oneshot::channel();
        let connections_max = open_files::room_for_connections(open_files::limit(), CONTROL_CONNECTIONS_MAX);
        let seats = Arc::new(Seats::new(connections_max, config.connections_per_source, Arc::clone(&board)));
        let acceptor = Acceptor::new(sockets.tcp, tls, facts, seats, Arc::clone(&board))?;
        let hub_task = HubTask::new(hub, link, Arc::clone(&board));
        tracing::info!(%address, %fingerprint, "listening");
        Ok(Self {
            address,
            fingerprint,
            board,
            running,
            operator,
            hub: tokio::spawn(hub_task.run(facts_received, orders, stopped)),
            acceptor: tokio::spawn(acceptor.run()),
            media,
            spool_ended,
        })
    }

    /// Where it listens, both TCP and UDP, with the real port when port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients remember this server by.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// How busy it is.
    pub fn statistics(&self) -> ServerStatistics {
        self.board.read()
    }

    /// The same for somebody who watches it from elsewhere.
    pub fn monitor(&self) -> Monitor {
        Monitor(Arc::clone(&self.board))
    }

    /// For somebody who runs it: looks at rooms, ends them, drains it.
    pub fn operator(&self) -> Operator {
        self.operator.clone()
    }

    /// Waits until the server ends by itself: after a drain, or because a part of it broke. [`Server::stop`] is to be
    /// called afterwards. Safe to be dropped and called again.
    pub async fn ended(&mut self) -> Ended {
        // The sender knows when the hub, at the other end, is gone.
        self.running.closed().await;
        match self.board.read().health {
            Health::Stopped => Ended::Drained,
            // A hub that panicked left no word.
            Health::Broken | Health::Draining | Health::Serving => Ended::Broke,
        }
    }

    /// Tells everybody that the server stops, waits (for seconds at most) until they have heard it, and frees the
    /// port.
    pub async fn stop(self) {
        drop(self.running);
        for task in [self.hub, self.acceptor] {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the server broke");
            }
        }
        self.media.ended().await;
        // Dropped without a word, which is an error to the channel and what is waited for here.
        let _ = self.spool_ended.await;
        tracing::info!("stopped");
    }
}

/// Why a server ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A part of it broke; the log says which.
    Broke,
    /// [`Operator::drain`] is over.
    Drained,
}

/// Reads the statistics of a running server.
#[derive(Clone, Debug)]
pub struct Monitor(Arc<Board>);

impl Monitor {
    /// How busy the server is.
    pub fn statistics(&self) -> ServerStatistics {
        self.0.read()
    }
}

fn seed() -> Result<[u8; 32], StartError> {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).map_err(|error| StartError::Unexpected(error.into()))?;
    Ok(seed)
}

/// Whether this processor has AES instructions.
fn aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}
