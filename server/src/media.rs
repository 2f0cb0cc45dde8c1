//! The thread that owns the [`Relay`] and the UDP socket. Media never waits for the control plane, nor for a task.
//!
//! One loop does everything: take a batch of datagrams, obey what the hub says, hand the batch to the relay, send what
//! the relay has. No datagram gets a task, a thread or an allocation of its own.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::hub::Grant;
use common::ids::ConnectionId;
use common::limits::DATAGRAM_MAX_BYTES;
use common::relay::{Relay, Transmit};
use common::seal::Secrets;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use crate::hub_task::wait_until;
use crate::socket::DatagramSocket;
use crate::start_error::StartError;
use crate::statistics::Board;

/// What the hub tells the relay.
pub(crate) enum MediaCommand {
    /// This member may send and receive.
    Admit(Grant, Secrets),
    /// This one may no more.
    Revoke(ConnectionId),
}

/// The running thread.
#[derive(Debug)]
pub(crate) struct MediaThread {
    /// Never sent, dropped with the thread.
    ended: oneshot::Receiver<()>,
}

impl MediaThread {
    /// Starts the thread. It ends when the sender of commands that is answered is dropped.
    pub(crate) async fn spawn(
        socket: std::net::UdpSocket,
        board: Arc<Board>,
    ) -> Result<(Self, mpsc::Sender<MediaCommand>), StartError> {
        let (commands, received) = mpsc::channel(COMMANDS_QUEUE);
        let (ready, started) = oneshot::channel();
        let (running, ended) = oneshot::channel();
        let body = move || {
            let _running: oneshot::Sender<()> = running;
            carry(socket, received, board, ready);
        };
        thread::Builder::new()
            .name("media".to_owned())
            .spawn(body)
            .map_err(|error| StartError::Unexpected(error.into()))?;
        let started = started.await.map_err(io::Error::other).flatten();
        started.map_err(|error| StartError::Unexpected(error.into()))?;
        Ok((Self { ended }, commands))
    }

    /// Waits until the thread is gone, and its socket with it.
    pub(crate) async fn ended(self) {
        // The sender is only ever dropped, which is an error to the channel and what is waited for here.
        let _ = self.ended.await;
    }
}

/// Commands that wait for the relay; it looks before every batch, so a few are many.
const COMMANDS_QUEUE: usize = 256;
/// How long the socket is left alone when the system is not able to receive, instead of asking without end.
const RECEIVE_BACKOFF: Duration = Duration::from_millis(10);

/// Body of the thread: a runtime of its own, for readiness and time.
fn carry(
    socket: std::net::UdpSocket,
    commands: mpsc::Receiver<MediaCommand>,
    board: Arc<Board>,
    ready: oneshot::Sender<io::Result<()>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let prepared = runtime.and_then(|runtime| {
        let _context = runtime.enter();
        DatagramSocket::new(socket).map(|socket| (runtime, socket))
    });
    // A starter that does not wait any more has dropped the sender of commands too.
    match prepared {
        Ok((runtime, socket)) => {
            let _ = ready.send(Ok(()));
            runtime.block_on(Media::new(socket, commands, board).run());
        }
        Err(error) => {
            let _ = ready.send(Err(error));
        }
    }
}

struct Media {
    relay: Relay,
    socket: DatagramSocket,
    commands: mpsc::Receiver<MediaCommand>,
    board: Arc<Board>,
    outgoing: [u8; DATAGRAM_MAX_BYTES],
    /// What `outgoing` holds while the system has no room for it.
    waiting: Option<Transmit>,
}

impl Media {
    fn new(socket: DatagramSocket, commands: mpsc::Receiver<MediaCommand>, board: Arc<Board>) -> Self {
        Self {
            relay: Relay::new(Instant::now()),
            socket,
            commands,
            board,
            outgoing: [0; DATAGRAM_MAX_BYTES],
            waiting: None,
        }
    }

    async fn run(mut self) {
        loop {
            let deadline = self.relay.poll_timeout();
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                () = self.socket.readable() => {}
                () = self.socket.writable(), if self.waiting.is_some() => {}
                () = wait_until(deadline) => {}
            }
            if self.socket.receive().is_err() {
                tokio::time::sleep(RECEIVE_BACKOFF).await;
            }
            // After the receive: a member who was told of his admission has his keys here before what he sent.
            if !self.obey_all() {
                return;
            }
            self.relay_batch();
            self.transmit();
            self.board.set_media(self.relay.statistics(), self.socket.statistics());
            if self.waiting.is_some() {
                // While datagrams keep coming nothing else lets the runtime hear that there is room.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Answers `false` when the server stops.
    fn obey_all(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command),
                Err(error) => return error == TryRecvError::Empty,
            }
        }
    }

    fn obey(&mut self, command: MediaCommand) {
        match command {
            MediaCommand::Admit(grant, secrets) => self.relay.admit(Instant::now(), grant, &secrets),
            MediaCommand::Revoke(connection) => self.relay.revoke(connection),
        }
    }

    fn relay_batch(&mut self) {
        let now = Instant::now();
        for (from, datagram) in self.socket.received() {
            self.relay.handle_datagram(now, from, datagram);
        }
        if self.relay.poll_timeout().is_some_and(|timeout| timeout <= now) {
            self.relay.handle_timeout(now);
        }
    }

    /// Sends all that is due. Where the system has no room, one datagram waits here and the rest in the relay, which
    /// knows what is not worth sending late.
    fn transmit(&mut self) {
        while let Some(transmit) = self.next_transmit() {
            let datagram = &self.outgoing[..transmit.bytes];
            if !self.socket.send(datagram, transmit.to) {
                self.waiting = Some(transmit);
                return;
            }
        }
    }

    /// What is in `outgoing`, to be sent next.
    fn next_transmit(&mut self) -> Option<Transmit> {
        self.waiting.take().or_else(|| self.relay.poll_transmit(Instant::now(), &mut self.outgoing))
    }
}
