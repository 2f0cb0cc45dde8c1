//! Accepts control connections and gives each a task of its own, so that none waits for another's handshake.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::ids::ControlId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::accepting::{ACCEPT_BACKOFF, FailedAccepts, is_want};
use crate::connection::{Connection, Patience};
use crate::hub_task::Fact;
use crate::porter::Porter;
use crate::seats::Seats;
use crate::start_error::StartError;
use crate::statistics::Board;

/// The accept loop, and all connections.
pub(crate) struct Acceptor {
    listener: TcpListener,
    tls: TlsAcceptor,
    facts: mpsc::Sender<Fact>,
    seats: Arc<Seats>,
    porter: Porter,
    board: Arc<Board>,
    failed: FailedAccepts,
    tasks: Tasks,
    last_control: u64,
}

impl Acceptor {
    /// An acceptor on a listening socket that does not block.
    pub(crate) fn new(
        listener: StdTcpListener,
        tls: TlsAcceptor,
        facts: mpsc::Sender<Fact>,
        seats: Arc<Seats>,
        board: Arc<Board>,
    ) -> Result<Self, StartError> {
        let listener = TcpListener::from_std(listener).map_err(|error| StartError::Unexpected(error.into()))?;
        let (porter, failed) = (Porter::new(tls.clone()), FailedAccepts::default());
        Ok(Self { listener, tls, facts, seats, porter, board, failed, tasks: Tasks::default(), last_control: 0 })
    }

    /// Accepts until the hub is gone, then lets the connections write their last words.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.facts.closed() => break,
                Some(broken) = self.tasks.ended(), if !self.tasks.is_empty() => self.report(broken).await,
                accepted = self.listener.accept() => match accepted {
                    Ok((tcp, address)) => self.admit(tcp, address),
                    Err(error) => self.back_off(&error).await,
                },
            }
        }
        drop(self.listener);
        self.tasks.finish().await;
    }

    fn admit(&mut self, tcp: TcpStream, address: SocketAddr) {
        let seat = match self.seats.take(address.ip()) {
            Ok(seat) => seat,
            Err(refusal) => return self.porter.turn_away(Instant::now(), tcp, address.ip(), refusal),
        };
        self.last_control += 1;
        let control = ControlId(self.last_control);
        let connection = Connection {
            control,
            address: address.ip(),
            facts: self.facts.clone(),
            seat,
            patience: Patience::default(),
        };
        self.tasks.spawn(control, connection.serve(tcp, self.tls.clone()));
    }

    async fn back_off(&mut self, error: &io::Error) {
        if is_want(error) {
            self.board.count_failed_accept();
            if let Some(times) = self.failed.count(Instant::now()) {
                tracing::warn!(%error, times, "cannot accept connections");
            }
            sleep(ACCEPT_BACKOFF).await;
        }
    }

    /// A task that broke could not tell the hub itself.
    async fn report(&self, broken: Broken) {
        if let Broken::Panicked(control) = broken {
            tracing::error!(control = control.0, "a connection panicked and was dropped");
            let _ = self.facts.send(Fact::Disconnected(control)).await;
        }
    }
}

/// Time for all connections to write their last words when the server stops: a little more than they wait for a
/// peer to close.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// How the task of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// As it should.
    Not,
    /// By a panic.
    Panicked(ControlId),
}

/// The tasks of all connections, and which connection each one serves.
#[derive(Debug, Default)]
struct Tasks {
    set: JoinSet<()>,
    controls: HashMap<Id, ControlId>,
}

impl Tasks {
    fn spawn(&mut self, control: ControlId, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.set.spawn(task);
        self.controls.insert(handle.id(), control);
    }

    fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Waits for the next task to end. Nothing is lost when the wait is dropped.
    async fn ended(&mut self) -> Option<Broken> {
        let ended = self.set.join_next_with_id().await?;
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        let control = self.controls.remove(&id);
        let panicked = ended.is_err_and(|error| error.is_panic());
        Some(control.filter(|_| panicked).map_or(Broken::Not, Broken::Panicked))
    }

    async fn finish(mut self) {
        let all = async { while self.set.join_next().await.is_some() {} };
        if timeout(STOP_PATIENCE, all).await.is_err() {
            self.set.shutdown().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_one_connection_is_known_by_its_name_and_others_go_on() {
        let mut tasks = Tasks::default();
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn(ControlId(1), async {
            let _ = released.await;
        });
        tasks.spawn(ControlId(2), async { panic!("on purpose") });
        assert_eq!(tasks.ended().await, Some(Broken::Panicked(ControlId(2))));
        release.send(()).unwrap();
        assert_eq!(tasks.ended().await, Some(Broken::Not));
        assert!(tasks.is_empty() && tasks.controls.is_empty());
    }
}
