//! The threads that own the relays and the UDP sockets. Media never waits for the control plane, nor for a task.
//!
//! Each worker has a [`Relay`], a socket and some of the rooms, and shares nothing with the others: a datagram comes to
//! the worker of its sender's room by its connection id (`listen`). One loop does everything: take a batch of
//! datagrams, obey what the hub says, hand the batch to the relay, send what the relay has. No datagram gets a task, a
//! thread or an allocation of its own.
//!
//! Receiving goes before sending: where more comes than can be sent, it is the relay that decides what is not, oldest
//! video first, and not the receive buffer of the kernel, which knows no video from audio.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use common::hub::Grant;
use common::ids::{ConnectionId, MemberId};
use common::relay::{Relay, RelayLimits};
use common::seal::Secrets;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use crate::socket::{BATCH_DATAGRAMS, DatagramSocket};
use crate::spool::{BUSY_RETRY, SpoolLink};
use crate::start_error::StartError;
use crate::statistics::Board;

/// What the hub tells a relay.
pub(crate) enum MediaCommand {
    /// This member may send and receive.
    Admit(Grant, Secrets),
    /// This one may no more.
    Revoke(ConnectionId),
    /// This one gets the video of these members, and of nobody else.
    Watch(ConnectionId, Vec<MemberId>),
}

/// What a worker tells the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaEvent {
    /// A worker is gone.
    Ended,
    /// The datagrams of this member come again, or do not any more.
    Heard {
        /// Whose.
        connection: ConnectionId,
        /// Whether they come.
        heard: bool,
    },
    /// This worker's relay had to shed datagrams, or has not for a while.
    Overload {
        /// Which worker.
        shard: usize,
        /// Whether it sheds.
        overloaded: bool,
    },
}

/// The hub's side of the workers. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct MediaLink {
    commands: Vec<mpsc::Sender<MediaCommand>>,
    /// What the workers tell.
    pub(crate) events: mpsc::Receiver<MediaEvent>,
}

impl MediaLink {
    /// A link to workers that listen at these ends.
    pub(crate) fn new(commands: Vec<mpsc::Sender<MediaCommand>>, events: mpsc::Receiver<MediaEvent>) -> Self {
        Self { commands, events }
    }

    /// Tells the worker that has `connection`; waits when it is behind. It never waits for the hub, and one that is
    /// gone says so by an event.
    pub(crate) async fn tell(&self, connection: ConnectionId, command: MediaCommand) {
        let _ = self.commands[connection.shard(self.commands.len())].send(command).await;
    }
}

/// The running threads.
#[derive(Debug)]
pub(crate) struct MediaWorkers {
    /// One for each: never sent, dropped with the thread.
    ended: Vec<oneshot::Receiver<()>>,
}

impl MediaWorkers {
    /// Starts a thread for each worker's sockets, in this order, with its end of the spool. They end when the link that is answered is dropped.
    pub(crate) async fn spawn(
        sockets: Vec<Vec<std::net::UdpSocket>>,
        limits: RelayLimits,
        board: &Arc<Board>,
        spool: Vec<SpoolLink>,
    ) -> Result<(Self, MediaLink), StartError> {
        let (told, events) = mpsc::channel(EVENTS_QUEUE + sockets.len());
        let mut workers = Self { ended: Vec::new() };
        let mut commands = Vec::new();
        for ((shard, sockets), spool) in sockets.into_iter().enumerate().zip(spool) {
            let (worker, received) = mpsc::channel(COMMANDS_QUEUE);
            let place = Place { shard, events: told.clone(), board: Arc::clone(board), limits };
            workers.ended.push(spawn(sockets, received, place, spool).await?);
            commands.push(worker);
        }
        Ok((workers, MediaLink::new(commands, events)))
    }

    /// Waits until all threads are gone, and their sockets with them.
    pub(crate) async fn ended(self) {
        for ended in self.ended {
            // The sender is only ever dropped, which is an error to the channel and what is waited for here.
            let _ = ended.await;
        }
    }
}

/// Commands that wait for a relay; it looks before every batch, so a few are many.
const COMMANDS_QUEUE: usize = 256;
/// Events that wait for the hub: changes of load, told at most twice in [`common::limits::OVERLOAD_HOLD`] by each, and
/// members who are heard again or not any more. What finds no room is told later.
const EVENTS_QUEUE: usize = 64;
/// How long the socket is left alone when the system is not able to receive, instead of asking without end.
const RECEIVE_BACKOFF: Duration = Duration::from_millis(10);
/// Batches received before something is sent: what one receiver's queue holds, so that a thread that was kept from
/// running catches up without shedding.
const BATCHES_PER_TURN: usize = common::limits::VIDEO_QUEUE_DATAGRAMS / BATCH_DATAGRAMS;
/// Batches received when all of the last turn was not enough to send what there was. Now it is for the relay to choose
/// what is not sent, and no longer for a receive buffer that overflows.
const BATCHES_BEHIND: usize = 16;
/// How long is sent before the socket is looked at again: what a batch for each of a full room takes.
const SEND_TURN: Duration = Duration::from_millis(10);

/// Which worker this is, and whom it tells.
struct Place {
    shard: usize,
    events: mpsc::Sender<MediaEvent>,
    board: Arc<Board>,
    limits: RelayLimits,
}

impl Drop for Place {
    fn drop(&mut self) {
        // A hub that is gone as well needs no telling.
        let _ = self.events.try_send(MediaEvent::Ended);
    }
}

async fn spawn(
    sockets: Vec<std::net::UdpSocket>,
    commands: mpsc::Receiver<MediaCommand>,
    place: Place,
    spool: SpoolLink,
) -> Result<oneshot::Receiver<()>, StartError> {
    let (ready, started) = oneshot::channel();
    let (running, ended) = oneshot::channel();
    let name = format!("media-{}", place.shard);
    let body = move || {
        let _running: oneshot::Sender<()> = running;
        carry(sockets, commands, place, spool, ready);
    };
    thread::Builder::new().name(name).spawn(body).map_err(|error| StartError::Unexpected(error.into()))?;
    let started = started.await.map_err(io::Error::other).flatten();
    started.map_err(|error| StartError::Unexpected(error.into()))?;
    Ok(ended)
}

/// Body of a thread: a runtime of its own, for readiness and time.
fn carry(
    sockets: Vec<std::net::UdpSocket>,
    commands: mpsc::Receiver<MediaCommand>,
    place: Place,
    spool: SpoolLink,
    ready: oneshot::Sender<io::Result<()>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let prepared = runtime.and_then(|runtime| {
        let _context = runtime.enter();
        DatagramSocket::new(sockets).map(|socket| (runtime, socket))
    });
    // A starter that does not wait any more has dropped the sender of commands too.
    match prepared {
        Ok((runtime, socket)) => {
            let _ = ready.send(Ok(()));
            runtime.block_on(Media::new(socket, commands, place, spool).run());
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
    place: Place,
    spool: SpoolLink,
    overloaded: bool,
}

/// A moment to be woken at. Setting it to the moment it has costs nothing, which most turns do.
#[derive(Default)]
struct Alarm(Option<(Instant, Pin<Box<tokio::time::Sleep>>)>);

impl Alarm {
    fn set(mut self: Pin<&mut Self>, deadline: Option<Instant>) {
        match (&mut self.0, deadline) {
            (Some((at, _)), Some(deadline)) if *at == deadline => {}
            (Some((at, sleep)), Some(deadline)) => {
                *at = deadline;
                sleep.as_mut().reset(deadline.into());
            }
            (place @ None, Some(deadline)) => {
                *place = Some((deadline, Box::pin(tokio::time::sleep_until(deadline.into()))));
            }
            (place, None) => *place = None,
        }
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some((_, sleep)) => sleep.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

/// How a turn left the outgoing side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// Everything is with the system.
    Done,
    /// There is more, and the system would take it.
    More,
    /// The system has no room.
    Waiting,
}

impl Media {
    fn new(socket: DatagramSocket, commands: mpsc::Receiver<MediaCommand>, place: Place, spool: SpoolLink) -> Self {
        let relay = Relay::with_limits(Instant::now(), place.limits);
        Self { relay, socket, commands, place, spool, overloaded: false }
    }

    async fn run(mut self) {
        let mut sending = Sending::Done;
        let mut alarm = pin!(Alarm::default());
        loop {
            let moments = [self.relay.poll_timeout(), self.overload_ends(), self.spool_retry()];
            alarm.as_mut().set(moments.into_iter().flatten().min());
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                () = self.socket.readable() => {}
                () = self.socket.writable(), if sending != Sending::Done => {}
                () = self.spool.answered() => {}
                () = alarm.as_mut() => {}
            }
            let batches = if sending == Sending::More { BATCHES_BEHIND } else { BATCHES_PER_TURN };
            let Ok(still_serving) = self.receive_turn(batches) else {
                tokio::time::sleep(RECEIVE_BACKOFF).await;
                continue;
            };
            if !still_serving {
                return;
            }
            self.spool.carry(Instant::now(), &mut self.relay);
            sending = self.send_turn();
            self.tell();
            if sending != Sending::Done {
                // While datagrams keep coming nothing else lets the runtime hear that there is room.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Takes what came, as far as a turn goes. Answers `false` when the server stops.
    fn receive_turn(&mut self, batches: usize) -> io::Result<bool> {
        for _ in 0..batches {
            let more = self.socket.receive()?;
            // After the receive: a member who was told of his admission has his keys here before what he sent.
            if !self.obey_all() {
                return Ok(false);
            }
            self.relay_batch();
            if !more {
                break;
            }
        }
        Ok(true)
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
            MediaCommand::Watch(connection, members) => self.relay.watch(Instant::now(), connection, members),
        }
    }

    fn relay_batch(&mut self) {
        let now = Instant::now();
        for (path, datagram) in self.socket.received() {
            self.relay.handle_datagram(now, path, datagram);
        }
        if self.relay.poll_timeout().is_some_and(|timeout| timeout <= now) {
            self.relay.handle_timeout(now);
        }
    }

    /// Sends what is due, as far as a turn goes. Where the system has no room, a few groups wait here and the rest in
    /// the relay, which knows what is not worth sending late.
    fn send_turn(&mut self) -> Sending {
        let began = Instant::now();
        let mut now = began;
        while now < began + SEND_TURN {
            let all = self.fill(now);
            if !self.socket.flush() {
                return Sending::Waiting;
            }
            if all {
                return Sending::Done;
            }
            now = Instant::now();
        }
        Sending::More
    }

    /// Moves what is due from the relay to the socket; answers whether that was all.
    fn fill(&mut self, now: Instant) -> bool {
        while let Some(room) = self.socket.room() {
            match self.relay.poll_transmit(now, room) {
                Some(transmit) => self.socket.push(transmit),
                None => return true,
            }
        }
        false
    }

    /// Tells the board what was done, and the hub when the load passes a bound.
    fn tell(&mut self) {
        self.place.board.set_media(self.place.shard, self.relay.statistics(), self.socket.statistics());
        let overloaded = self.relay.overloaded(Instant::now());
        let event = MediaEvent::Overload { shard: self.place.shard, overloaded };
        // Told again at the next turn when the hub has no time.
        if overloaded != self.overloaded && self.place.events.try_send(event).is_ok() {
            self.overloaded = overloaded;
        }
        while self.relay.hearing_changed()
            && let Ok(room) = self.place.events.try_reserve()
            && let Some((connection, heard)) = self.relay.poll_hearing()
        {
            room.send(MediaEvent::Heard { connection, heard });
        }
    }

    /// When to give the disk orders that it had no time for, should nothing else happen until then.
    fn spool_retry(&self) -> Option<Instant> {
        self.spool.is_waiting().then(|| Instant::now() + BUSY_RETRY)
    }

    /// When to look whether an overload is over, should nothing else happen until then.
    fn overload_ends(&self) -> Option<Instant> {
        self.overloaded.then(|| Instant::now() + common::limits::OVERLOAD_HOLD)
    }
}
