//! Files on their way through the relay: one upload each, spooled, and from the spool to every receiver at its own pace.
//!
//! ```text
//!  sender's stream ─▶ upload ─Write▶ disk ─Read▶ reader ─▶ receiver's stream
//!                     (uploads)    (spool)       (readers) one for each receiver
//! ```
//! The relay remembers what was offered to whom ([`offers`]). When the first receiver accepts, it asks the sender for the
//! bytes ([`Message::FileWanted`](crate::wire::message::Message::FileWanted)). A receiver who accepts later is served from
//! the spool as long as that has the bytes, and by another upload otherwise. An upload is read from its stream only as
//! fast as the disk writes and as the quota of the room allows: the window of the stream closes meanwhile. The spool is
//! never the only place of a byte: the sender keeps the file until its receivers have verified it.

mod offers;
mod readers;
mod spool;
#[cfg(test)]
mod tests;
mod uploads;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use crate::ids::{ConnectionId, MemberId, RoomId, TransferId};
use crate::limits::SPOOL_PIECE_BYTES;
use crate::reno::StreamId;
use crate::wire::message::FileOffer;

pub use spool::{SpoolEffect, SpoolFact, SpoolId, SpoolTrouble};

/// Names an offer: the room, who made it, and its number there.
type OfferKey = (RoomId, MemberId, TransferId);

/// One end of a stream: whose channel, and which of its streams.
pub(super) type End = (ConnectionId, StreamId);

/// Names a reader; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ReaderId(u64);

/// Everything that is on offer, and everything under way.
#[derive(Debug, Default)]
pub(super) struct Files {
    offers: BTreeMap<OfferKey, Offer>,
    uploads: BTreeMap<SpoolId, Upload>,
    readers: BTreeMap<ReaderId, Reader>,
    /// Streams from senders; `None` before the header of the stream is read.
    sources: BTreeMap<End, Option<SpoolId>>,
    /// Streams to receivers.
    sinks: BTreeMap<End, ReaderId>,
    /// Bytes in the spool for each room.
    spooled: BTreeMap<RoomId, u64>,
    /// For the disk, oldest first.
    effects: VecDeque<SpoolEffect>,
    /// Uploads that may have something to write.
    uploads_ready: BTreeSet<SpoolId>,
    /// Readers that may have something to read.
    readers_ready: BTreeSet<ReaderId>,
    /// Uploads that wait for room in the spool.
    blocked: BTreeSet<SpoolId>,
    /// Readers that wait for a stream or for an upload.
    waiting: BTreeSet<ReaderId>,
    /// Buffers that came back from the disk.
    spare: Vec<Vec<u8>>,
    last_id: u64,
    /// The disk wants room.
    scarce: bool,
}

/// A file on offer.
#[derive(Debug)]
struct Offer {
    sender: ConnectionId,
    /// The sender can be asked for bytes.
    sender_here: bool,
    offer: FileOffer,
    /// Who was told of it, and nobody else may have it.
    told: BTreeSet<MemberId>,
    /// Somebody has said that he is done with it.
    answered: bool,
    readers: BTreeSet<ReaderId>,
    uploads: BTreeSet<SpoolId>,
}

/// Bytes of a file as they come from its sender.
#[derive(Debug)]
struct Upload {
    offer: OfferKey,
    source: Source,
    /// The spool has the bytes from here on.
    first: u64,
    /// Bytes below are on the disk.
    written: u64,
    /// Bytes below were given to the disk.
    taken: u64,
    /// Pieces on their way to the disk.
    writes: usize,
    /// Nothing follows what was taken, though the file goes on.
    broken: bool,
    wait: Wait,
}

/// Whether an upload waits for room in the spool, so that nothing of it moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Wait {
    /// It moves, or waits for its sender or for a receiver.
    #[default]
    No,
    /// For a moment, since then.
    Since(Instant),
    /// For so long that its sender has been told.
    Told,
}

/// Where an upload comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The sender was asked for it.
    Asked,
    /// It comes on this stream.
    Open(End),
    /// No more comes.
    Over,
}

/// A receiver of a file.
#[derive(Debug)]
struct Reader {
    offer: OfferKey,
    connection: ConnectionId,
    /// `None` while the receiver has as many streams as it may.
    stream: Option<StreamId>,
    /// The upload it reads, if one has what it needs.
    upload: Option<SpoolId>,
    /// The first byte that was not handed to the stream.
    position: u64,
    /// A piece is on its way from the disk.
    reading: bool,
    /// When it took something for the last time.
    progress: Instant,
    /// Its receiver knows that the file waits for room in the spool.
    told_to_wait: bool,
}

/// Buffers kept for the next pieces: 2 MiB.
const SPARE_MAX: usize = 16;

impl Files {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// A buffer of `length` bytes, of any content.
    fn buffer(&mut self, length: usize) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(SPOOL_PIECE_BYTES));
        buffer.resize(length, 0);
        buffer
    }

    fn give_back(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < SPARE_MAX && buffer.capacity() >= SPOOL_PIECE_BYTES {
            self.spare.push(buffer);
        }
    }

    /// Offers of one member of a room.
    fn offers_of(&self, room: RoomId, member: MemberId) -> impl Iterator<Item = (&OfferKey, &Offer)> {
        self.offers.range((room, member, TransferId(0))..=(room, member, TransferId(u32::MAX)))
    }

    /// Offers of a room.
    fn offers_in(&self, room: RoomId) -> impl Iterator<Item = (&OfferKey, &Offer)> {
        let (first, last) = (MemberId(0), MemberId(u16::MAX));
        self.offers.range((room, first, TransferId(0))..=(room, last, TransferId(u32::MAX)))
    }

    /// Those who read an upload.
    fn readers_of(&self, upload: SpoolId) -> impl Iterator<Item = (ReaderId, &Reader)> {
        let offer = self.uploads.get(&upload).and_then(|upload| self.offers.get(&upload.offer));
        let ids = offer.into_iter().flat_map(|offer| offer.readers.iter().copied());
        let readers = ids.filter_map(|id| Some((id, self.readers.get(&id)?)));
        readers.filter(move |(_, reader)| reader.upload == Some(upload))
    }

    /// Whether something is to be tried again at the next tick.
    pub(super) fn wants_tick(&self) -> bool {
        self.scarce || !self.blocked.is_empty() || !self.waiting.is_empty() || self.somebody_waits()
    }

    /// Bytes in the spool.
    pub(super) fn spool_bytes(&self) -> u64 {
        self.spooled.values().sum()
    }
}

impl Upload {
    /// Bytes it keeps on the disk.
    fn held(&self) -> u64 {
        self.taken - self.first
    }

    /// Whether a reader at `position` gets something from it: what it has, or what comes next.
    fn serves(&self, position: u64) -> bool {
        let comes = self.source != Source::Over && position == self.taken;
        (self.first..self.taken).contains(&position) || comes
    }

    /// Whether it comes to `position` soon enough to wait for it.
    fn nears(&self, position: u64, patience: u64) -> bool {
        self.source != Source::Over && self.taken < position && position - self.taken <= patience
    }
}
