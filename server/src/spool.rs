//! The disk of the relays: files on their way through the server, written and read by one thread.
//!
//! A media worker never waits for it. Orders go over a bounded channel with `try_send`, answers come back over a bounded
//! channel for each worker. The relays keep few pieces on the way, so neither is ever long.

mod chunks;
mod folder;
mod keeper;

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use common::relay::{Relay, SpoolEffect, SpoolFact, SpoolTrouble};
use tokio::sync::{mpsc, oneshot};

use crate::start_error::StartError;
use folder::Folder;
use keeper::Keeper;

/// What a relay wants done.
struct Order {
    /// The worker that the relay belongs to.
    shard: usize,
    effect: SpoolEffect,
}

/// A worker's end of the spool.
#[derive(Debug)]
pub(crate) struct SpoolLink {
    shard: usize,
    orders: SyncSender<Order>,
    facts: mpsc::Receiver<SpoolFact>,
    /// The disk was too busy to take it.
    waiting: Option<SpoolEffect>,
    /// Came first while the worker waited for anything.
    heard: Option<SpoolFact>,
}

/// Orders that wait for the disk: 32 MiB of pieces at the most.
const ORDERS_QUEUE: usize = 256;
/// Answers that wait for a worker.
const FACTS_QUEUE: usize = 256;
/// When to try again while the disk takes no orders.
pub(crate) const BUSY_RETRY: Duration = Duration::from_millis(2);

/// Where files are spooled, and how much of them.
#[derive(Clone, Debug)]
pub(crate) struct SpoolPlace {
    pub(crate) dir: std::path::PathBuf,
    pub(crate) bytes_max: u64,
}

/// Starts the thread; answers a link for each worker and what says when the thread has ended, its folder with it. It
/// ends when the links are dropped.
pub(crate) fn spawn(place: &SpoolPlace, workers: usize) -> Result<(Vec<SpoolLink>, oneshot::Receiver<()>), StartError> {
    let folder = Folder::create(&place.dir).map_err(|source| StartError::Spool { path: place.dir.clone(), source })?;
    let (orders, received) = sync_channel(ORDERS_QUEUE);
    let (mut links, mut answers) = (Vec::new(), Vec::new());
    for shard in 0..workers {
        let (told, facts) = mpsc::channel(FACTS_QUEUE);
        answers.push(told);
        links.push(SpoolLink { shard, orders: orders.clone(), facts, waiting: None, heard: None });
    }
    let (running, ended) = oneshot::channel();
    let mut keeper = Keeper::new(folder, place.bytes_max, answers);
    let body = move || {
        let _running: oneshot::Sender<()> = running;
        keep(&mut keeper, &received);
        drop(keeper);
    };
    thread::Builder::new().name("spool".into()).spawn(body).map_err(|error| StartError::Unexpected(error.into()))?;
    Ok((links, ended))
}

/// Body of the thread.
fn keep(keeper: &mut Keeper, orders: &Receiver<Order>) {
    while let Ok(Order { shard, effect }) = orders.recv() {
        keeper.obey(shard, effect);
    }
}

impl SpoolLink {
    /// Waits until the disk has said something. Safe to be dropped and called again.
    pub(crate) async fn answered(&mut self) {
        match self.facts.recv().await {
            Some(fact) => self.heard = Some(fact),
            // A disk that is gone says no more.
            None => std::future::pending().await,
        }
    }

    /// Gives the relay what the disk said, and the disk what the relay wants.
    pub(crate) fn carry(&mut self, now: Instant, relay: &mut Relay) {
        while let Some(fact) = self.heard.take().or_else(|| self.facts.try_recv().ok()) {
            relay.handle_spool(now, fact);
        }
        while let Some(effect) = self.waiting.take().or_else(|| relay.poll_spool(now)) {
            match self.orders.try_send(Order { shard: self.shard, effect }) {
                Ok(()) => {}
                Err(TrySendError::Full(order)) => {
                    self.waiting = Some(order.effect);
                    return;
                }
                Err(TrySendError::Disconnected(order)) => refuse(now, relay, order.effect),
            }
        }
    }

    /// Whether orders wait because the disk is busy.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }
}

/// Without a disk thread nothing can be kept.
fn refuse(now: Instant, relay: &mut Relay, effect: SpoolEffect) {
    if let SpoolEffect::Read { id, .. } | SpoolEffect::Write { id, .. } = effect {
        relay.handle_spool(now, SpoolFact::Failed { id, trouble: SpoolTrouble::Broken });
    }
}
