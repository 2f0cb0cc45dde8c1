//! The control connection of a meeting, and the way to the next one when it breaks.

use std::future::pending;
use std::net::SocketAddr;

use common::wire::control::ClientMessage;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::address::ServerAddress;
use super::control::{Connected, Control, Incoming, connect};
use super::dial::CONNECT_TIMEOUT;
use super::obstacle::ConnectError;
use super::trust::Trust;

/// The control connection of a meeting, if there is one.
#[derive(Debug)]
pub(super) struct Line {
    server: ServerAddress,
    trust: Trust,
    /// Where it was, the address that answered last first.
    addresses: Vec<SocketAddr>,
    control: Option<Control>,
    dialing: Option<JoinHandle<Result<Connected, ConnectError>>>,
}

/// What happened on the line.
#[derive(Debug)]
pub(super) enum News {
    /// The server said something, or the connection broke.
    Heard(Option<Incoming>),
    /// An attempt to connect came to an end.
    Dialed(Result<Connected, ConnectError>),
}

impl Line {
    /// The line to `server`, with a connection. `trust` and `addresses`, the one that answered first, are for the next
    /// ones.
    pub(super) fn new(server: ServerAddress, trust: Trust, addresses: Vec<SocketAddr>, control: Control) -> Self {
        Self { server, trust, addresses, control: Some(control), dialing: None }
    }

    /// Waits for the next thing. Nothing is lost when the wait is dropped.
    pub(super) async fn news(&mut self) -> News {
        let heard = async {
            match &mut self.control {
                Some(control) => control.incoming.recv().await,
                None => pending().await,
            }
        };
        let dialed = async {
            match &mut self.dialing {
                Some(dialing) => dialing.await,
                None => pending().await,
            }
        };
        tokio::select! {
            heard = heard => News::Heard(heard),
            dialed = dialed => {
                self.dialing = None;
                News::Dialed(dialed.unwrap_or_else(|_| Err(ConnectError::broken(&self.server))))
            }
        }
    }

    /// Sends a message, if there is a connection.
    pub(super) fn send(&self, message: ClientMessage) {
        if let Some(control) = &self.control {
            control.send(message);
        }
    }

    /// Drops the connection without a farewell: nobody hears it.
    pub(super) fn hang_up(&mut self) {
        if let Some(control) = self.control.take() {
            control.abort();
        }
        if let Some(dialing) = self.dialing.take() {
            dialing.abort();
        }
    }

    /// Begins to connect anew.
    pub(super) fn dial(&mut self) {
        self.hang_up();
        let (server, trust, known) = (self.server.clone(), self.trust.clone(), self.addresses.clone());
        self.dialing = Some(tokio::spawn(async move {
            // All addresses have begun by half of this; the next attempt looks the name up anew.
            let connected = timeout(2 * CONNECT_TIMEOUT, connect(&server, &trust, known)).await;
            connected.unwrap_or_else(|_| Err(ConnectError::silent(&server)))
        }));
    }

    /// Takes over a new connection.
    pub(super) fn connected(&mut self, control: Control, addresses: Vec<SocketAddr>) {
        self.hang_up();
        self.addresses = addresses;
        self.control = Some(control);
    }

    /// Lets what was sent go out, and closes.
    pub(super) async fn close(mut self) {
        if let Some(dialing) = self.dialing.take() {
            dialing.abort();
        }
        if let Some(control) = self.control.take() {
            control.close().await;
        }
    }
}
