//! What whoever runs a server may ask of it while it runs, answered by the task that owns the hub.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use common::door::Bans;
use common::hub::{Hub, MemberSummary, RoomSummary};
use common::ids::{MemberId, RoomId};
use tokio::sync::{mpsc, oneshot};

/// Something to be done with the hub by its owner.
pub(crate) type Order = Box<dyn FnOnce(&mut Hub, Instant) + Send>;

/// Orders that wait for the hub; a few people give them, by hand.
const ORDERS_QUEUE: usize = 16;

/// Asks a running server; cheap to clone, and does not keep it running.
#[derive(Clone, Debug)]
pub struct Operator(mpsc::Sender<Order>);

/// The server does not run any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The server stops.")
    }
}

impl Error for Stopped {}

/// Wrong codes, as far as an operator has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guesses {
    /// The sources whose codes are refused.
    pub bans: Bans,
    /// Wrong codes come from many networks at once.
    pub by_many: bool,
}

impl Operator {
    /// An operator, and what it asks for.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Order>) {
        let (sender, orders) = mpsc::channel(ORDERS_QUEUE);
        (Self(sender), orders)
    }

    /// Every room, the oldest first.
    ///
    /// # Errors
    /// [`Stopped`], as all of these.
    pub async fn rooms(&self) -> Result<Vec<RoomSummary>, Stopped> {
        self.ask(|hub, now| hub.rooms(now)).await
    }

    /// Everybody in a room; `None` when there is no such room.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn members(&self, room: RoomId) -> Result<Option<Vec<MemberSummary>>, Stopped> {
        self.ask(move |hub, now| hub.members(now, room)).await
    }

    /// Takes a member out of a room; `false` when there is no such member.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn expel(&self, room: RoomId, member: MemberId) -> Result<bool, Stopped> {
        let expelled = self.ask(move |hub, _| hub.expel(room, member)).await?;
        tracing::info!(room = room.0, member = member.0, expelled, "asked to take a member out");
        Ok(expelled)
    }

    /// Ends a meeting for everybody; `false` when there is no such room.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn end_room(&self, room: RoomId) -> Result<bool, Stopped> {
        let ended = self.ask(move |hub, _| hub.end_room(room)).await?;
        tracing::info!(room = room.0, ended, "asked to end a room");
        Ok(ended)
    }

    /// Forgets the wrong codes of the source of `address`, or of everybody; answers how many sources may try codes again.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn forgive(&self, address: Option<IpAddr>) -> Result<usize, Stopped> {
        let sources = self.ask(move |hub, now| hub.forgive(now, address)).await?;
        tracing::info!(sources, "asked to forget wrong codes");
        Ok(sources)
    }

    /// Who is refused for wrong codes.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn guesses(&self) -> Result<Guesses, Stopped> {
        self.ask(|hub, now| Guesses { bans: hub.bans(now), by_many: hub.guessing(now) }).await
    }

    /// Takes no new rooms and tells everybody; the server ends when the last room is gone, or after `patience`. Asked
    /// again, the newest `patience` counts.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn drain(&self, patience: Duration) -> Result<(), Stopped> {
        tracing::info!(secs = patience.as_secs(), "draining: no new rooms");
        self.ask(move |hub, now| hub.drain(now, patience)).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Hub, Instant) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        let order: Order = Box::new(move |hub, now| {
            // Who does not wait for the answer does not need it.
            let _ = answer.send(question(hub, now));
        });
        self.0.send(order).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }
}
