//! The spool: what the disk is to do, what it answers, and whose bytes go when there is no room.

use std::time::Instant;

use crate::ids::RoomId;
use crate::limits::{SPOOL_CHUNK_BYTES, SPOOL_PATIENCE};
use crate::relay::Relay;
use crate::wire::message::{FileTrouble, Message};

use super::{Reader, ReaderId, Source};

/// Names the bytes of one upload on the disk; a relay uses none twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpoolId(pub u64);

/// What the disk is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolEffect {
    /// Bytes below an offset, a multiple of [`SPOOL_CHUNK_BYTES`], are not needed any more.
    Free {
        /// Of which upload.
        id: SpoolId,
        /// The first byte that stays.
        below: u64,
    },
    /// Fills the buffer with bytes that were written; [`SpoolFact::Read`] answers.
    Read {
        /// Of which upload.
        id: SpoolId,
        /// To be answered as it is.
        reader: u64,
        /// The first byte.
        offset: u64,
        /// As long as bytes are wanted.
        buffer: Vec<u8>,
    },
    /// Nothing of an upload is needed any more.
    Remove {
        /// Which.
        id: SpoolId,
    },
    /// Keeps these bytes; [`SpoolFact::Written`] answers. The first write of an upload makes a place for it.
    Write {
        /// Of which upload.
        id: SpoolId,
        /// Of the first byte.
        offset: u64,
        /// At most [`crate::limits::SPOOL_PIECE_BYTES`].
        bytes: Vec<u8>,
    },
}

/// Why the disk cannot keep or read an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpoolTrouble {
    /// It does not do what it should.
    Broken,
    /// It is full.
    Full,
}

/// What the disk has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolFact {
    /// An upload cannot be kept, or not be read again.
    Failed {
        /// Which.
        id: SpoolId,
        /// Why.
        trouble: SpoolTrouble,
    },
    /// Bytes that were asked for.
    Read {
        /// As asked.
        reader: u64,
        /// As many as asked for.
        bytes: Vec<u8>,
    },
    /// Whether all relays together have more to write than there is room for: the writes wait until something is freed.
    Scarce(bool),
    /// Bytes are kept.
    Written {
        /// Of which upload.
        id: SpoolId,
        /// The same ones, so that their memory can be used again.
        bytes: Vec<u8>,
    },
}

impl Relay {
    /// What the disk is to do next, or `None`. To be asked after datagrams and facts were handled: what came meanwhile
    /// goes to the disk in large pieces.
    pub fn poll_spool(&mut self, now: Instant) -> Option<SpoolEffect> {
        loop {
            if let Some(effect) = self.files.effects.pop_front() {
                return Some(effect);
            }
            if let Some(upload) = self.files.uploads_ready.pop_first() {
                self.fill(now, upload);
            } else {
                let reader = self.files.readers_ready.pop_first()?;
                self.serve(now, reader);
            }
        }
    }

    /// The disk did something.
    pub fn handle_spool(&mut self, now: Instant, fact: SpoolFact) {
        match fact {
            SpoolFact::Failed { id, trouble } => self.fail_upload(id, trouble),
            SpoolFact::Read { reader, bytes } => self.hand_out(now, ReaderId(reader), bytes),
            SpoolFact::Scarce(scarce) => {
                self.files.scarce = scarce;
                self.relieve(now);
            }
            SpoolFact::Written { id, bytes } => {
                if let Some(upload) = self.files.uploads.get_mut(&id) {
                    upload.writes = upload.writes.saturating_sub(1);
                    upload.written += bytes.len() as u64;
                    self.files.uploads_ready.insert(id);
                    self.wake_readers_of(id);
                }
                self.files.give_back(bytes);
            }
        }
    }

    /// Bytes from the disk go to the receiver they were read for. His stream has room for them, or is over.
    fn hand_out(&mut self, now: Instant, id: ReaderId, bytes: Vec<u8>) {
        if let Some(reader) = self.files.readers.get_mut(&id) {
            (reader.reading, reader.progress) = (false, now);
            let stream = reader.stream.zip(self.roster.named(reader.connection));
            let written = stream.map_or(0, |(stream, receiver)| receiver.reno.write(stream, &bytes));
            reader.position += written as u64;
            self.statistics.file_bytes_sent += written as u64;
            let connection = reader.connection;
            self.mark_channel_ready(connection);
            self.files.readers_ready.insert(id);
            self.files.uploads_ready.append(&mut self.files.blocked);
            if self.files.scarce {
                self.relieve(now);
            }
        }
        self.files.give_back(bytes);
    }

    /// The disk has lost an upload: its sender and its readers are told why, and these get no more.
    fn fail_upload(&mut self, id: SpoolId, trouble: SpoolTrouble) {
        let Some(upload) = self.files.uploads.get_mut(&id) else { return };
        upload.broken = true;
        let (_, from, transfer) = upload.offer;
        let trouble = match trouble {
            SpoolTrouble::Broken => FileTrouble::ServerDisk,
            SpoolTrouble::Full => FileTrouble::ServerFull,
        };
        let message = Message::FileFailed { from, transfer, trouble };
        self.tell_sender_of(id, message.clone());
        for reader in self.files.readers_of(id).map(|(reader, _)| reader).collect::<Vec<_>>() {
            self.tell_reader(reader, message.clone());
            self.release(reader, true);
        }
        self.remove_upload(id);
    }

    /// What waits for something is tried again.
    pub(in crate::relay) fn retry_files(&mut self, now: Instant) {
        if self.files.scarce {
            self.relieve(now);
        }
        self.tell_of_waiting(now);
        self.files.readers_ready.append(&mut self.files.waiting);
        self.files.uploads_ready.append(&mut self.files.blocked);
    }

    /// Makes room in the spool of a room for that many bytes of an upload, if that is possible.
    pub(super) fn make_room(&mut self, now: Instant, id: SpoolId, bytes: u64) -> bool {
        let Some(room) = self.files.uploads.get(&id).map(|upload| upload.offer.0) else { return false };
        let limit = self.limits.spool_room_bytes;
        let fits = |relay: &Self| relay.files.spooled.get(&room).copied().unwrap_or_default() + bytes <= limit;
        if fits(self) {
            return true;
        }
        self.reclaim(now, room, Some(id), fits);
        fits(self)
    }

    /// Frees what can be freed of all rooms.
    fn relieve(&mut self, now: Instant) {
        for room in self.files.spooled.keys().copied().collect::<Vec<_>>() {
            self.reclaim(now, room, None, |_| false);
        }
    }

    /// Frees in a room, until there is enough: what nobody reads, oldest first; what everybody who reads has passed; and
    /// what is kept for those alone who have stopped reading. `wanting` is for whom.
    fn reclaim(&mut self, now: Instant, room: RoomId, wanting: Option<SpoolId>, enough: impl Fn(&Self) -> bool) {
        let mut uploads: Vec<_> = self.files.offers_in(room).flat_map(|(_, offer)| &offer.uploads).copied().collect();
        uploads.sort_unstable();
        for id in &uploads {
            let over = self.files.uploads.get(id).is_some_and(|upload| upload.source == Source::Over);
            if over && self.files.readers_of(*id).next().is_none() {
                self.remove_upload(*id);
            }
            if enough(self) {
                return;
            }
        }
        uploads.iter().for_each(|id| self.free_passed(*id));
        if enough(self) {
            return;
        }
        for id in uploads {
            self.turn_out_stalled(now, id, wanting);
            self.free_passed(id);
        }
    }

    fn free_passed(&mut self, id: SpoolId) {
        let Some(passed) = self.files.readers_of(id).map(|(_, reader)| reader.position).min() else { return };
        let Some(upload) = self.files.uploads.get_mut(&id) else { return };
        let below = passed.min(upload.written) / SPOOL_CHUNK_BYTES * SPOOL_CHUNK_BYTES;
        if below > upload.first {
            let freed = below - upload.first;
            upload.first = below;
            let room = upload.offer.0;
            self.files.effects.push_back(SpoolEffect::Free { id, below });
            self.give_room_back(room, freed);
        }
    }

    /// Readers that take nothing lose their place, unless an upload waits for nobody else than them. They find another
    /// place when they read again.
    fn turn_out_stalled(&mut self, now: Instant, id: SpoolId, wanting: Option<SpoolId>) {
        let written = self.files.uploads.get(&id).map_or(0, |upload| upload.written);
        let stalled = |reader: &Reader| {
            let quiet = now.saturating_duration_since(reader.progress) >= SPOOL_PATIENCE;
            quiet && !reader.reading && reader.position < written
        };
        let (stalled, others): (Vec<_>, Vec<_>) = self.files.readers_of(id).partition(|(_, reader)| stalled(reader));
        if others.is_empty() && wanting == Some(id) {
            return;
        }
        for reader in stalled.into_iter().map(|(reader, _)| reader).collect::<Vec<_>>() {
            self.leave_upload(reader);
        }
    }

    /// Room in the spool is free again; those that wait for it look.
    pub(super) fn give_room_back(&mut self, room: RoomId, bytes: u64) {
        if let Some(spooled) = self.files.spooled.get_mut(&room) {
            *spooled -= bytes.min(*spooled);
            if *spooled == 0 {
                self.files.spooled.remove(&room);
            }
        }
        self.files.uploads_ready.append(&mut self.files.blocked);
    }
}
