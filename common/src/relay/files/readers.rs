//! From the spool to the receivers' streams.

use std::time::Instant;

use crate::limits::{SPOOL_PIECE_BYTES, UPLOAD_AWAITED_BYTES, UPLOADS_PER_OFFER};
use crate::relay::Relay;
use crate::wire::message::DownloadHeader;

use super::{End, ReaderId, Source, SpoolEffect, SpoolId, Upload, Wait};

/// A smaller piece is read only where it is the last one there is.
const WORTH_READING_BYTES: usize = SPOOL_PIECE_BYTES / 4;

impl Relay {
    pub(in crate::relay) fn sink_writable(&mut self, sink: End) {
        if let Some(reader) = self.files.sinks.get(&sink) {
            self.files.readers_ready.insert(*reader);
        }
    }

    /// All of a file is with its receiver.
    pub(in crate::relay) fn sink_acknowledged(&mut self, sink: End) {
        if let Some(reader) = self.files.sinks.get(&sink).copied() {
            self.release(reader, false);
        }
    }

    pub(in crate::relay) fn sink_gave_up(&mut self, sink: End) {
        self.sink_acknowledged(sink);
    }

    /// Has the disk read what a receiver takes next.
    pub(super) fn serve(&mut self, now: Instant, id: ReaderId) {
        let Some(reader) = self.files.readers.get(&id).filter(|reader| !reader.reading) else { return };
        let (position, connection) = (reader.position, reader.connection);
        let Some(offer) = self.files.offers.get(&reader.offer) else { return };
        let size = offer.offer.size;
        let Some(stream) = reader.stream.or_else(|| self.open_sink(id)) else {
            self.files.waiting.insert(id);
            return;
        };
        if position == size {
            if let Some(receiver) = self.roster.named(connection) {
                receiver.reno.finish(stream);
                self.mark_channel_ready(connection);
            }
            return self.leave_upload(id);
        }
        let Some((upload, written)) = self.place(id) else { return };
        let available = usize::try_from(written.saturating_sub(position)).unwrap_or(usize::MAX).min(SPOOL_PIECE_BYTES);
        let Some(receiver) = self.roster.named(connection) else { return };
        let room = receiver.reno.writable(stream);
        // What there is no room for in the stream would have to be kept here.
        if room < available.min(WORTH_READING_BYTES) {
            return receiver.reno.await_room(stream);
        }
        if available == 0 {
            return; // The next piece that is written wakes it.
        }
        let buffer = self.files.buffer(available.min(room));
        if let Some(reader) = self.files.readers.get_mut(&id) {
            (reader.reading, reader.progress) = (true, now);
        }
        self.files.effects.push_back(SpoolEffect::Read { id: upload, reader: id.0, offset: position, buffer });
    }

    fn open_sink(&mut self, id: ReaderId) -> Option<crate::reno::StreamId> {
        let reader = self.files.readers.get_mut(&id)?;
        let receiver = self.roster.named(reader.connection)?;
        let stream = receiver.reno.open()?;
        let (_, from, transfer) = reader.offer;
        let header = DownloadHeader { from, transfer, offset: reader.position };
        receiver.reno.write(stream, &header.to_bytes());
        reader.stream = Some(stream);
        self.files.sinks.insert((reader.connection, stream), id);
        self.files.waiting.remove(&id);
        Some(stream)
    }

    /// Finds the upload that a reader gets its next bytes from, and how far that is on the disk. Without one the sender
    /// is asked, and when that is no use, the reader gets no more.
    fn place(&mut self, id: ReaderId) -> Option<(SpoolId, u64)> {
        let reader = self.files.readers.get(&id)?;
        let (position, before, key) = (reader.position, reader.upload, reader.offer);
        if let Some(found) = self.find_upload(id) {
            if before != Some(found) {
                self.leave_upload(id);
                self.files.readers.get_mut(&id)?.upload = Some(found);
            }
            self.files.waiting.remove(&id);
            return Some((found, self.files.uploads.get(&found)?.written));
        }
        let offer = self.files.offers.get(&key)?;
        let broken = before.and_then(|before| self.files.uploads.get(&before)).is_some_and(|upload| upload.broken);
        if broken || !offer.sender_here {
            self.release(id, true);
            return None;
        }
        let (sender, transfer) = (offer.sender, key.2);
        self.leave_upload(id);
        if !(self.has_room_for_upload(id) && self.ask_for(sender, transfer, position)) {
            self.files.waiting.insert(id);
            return None;
        }
        let upload = SpoolId(self.files.next_id());
        let (first, written, taken) = (position, position, position);
        let (source, wait) = (Source::Asked, Wait::No);
        self.files
            .uploads
            .insert(upload, Upload { offer: key, source, first, written, taken, writes: 0, broken: false, wait });
        self.files.offers.get_mut(&key)?.uploads.insert(upload);
        self.files.readers.get_mut(&id)?.upload = Some(upload);
        self.files.waiting.remove(&id);
        Some((upload, position))
    }

    /// The upload that has what a reader needs next, else one that will have it soon.
    fn find_upload(&self, id: ReaderId) -> Option<SpoolId> {
        let reader = self.files.readers.get(&id)?;
        let offer = self.files.offers.get(&reader.offer)?;
        let uploads = || offer.uploads.iter().filter_map(|id| Some((*id, self.files.uploads.get(id)?)));
        let serving = uploads().find(|(_, upload)| upload.serves(reader.position));
        let coming = || uploads().find(|(_, upload)| upload.nears(reader.position, UPLOAD_AWAITED_BYTES));
        serving.or_else(coming).map(|(id, _)| id)
    }

    /// Takes what nobody reads out of the spool when an offer has many uploads.
    fn has_room_for_upload(&mut self, id: ReaderId) -> bool {
        let Some(offer) = self.files.readers.get(&id).and_then(|reader| self.files.offers.get(&reader.offer)) else {
            return false;
        };
        if offer.uploads.len() < UPLOADS_PER_OFFER {
            return true;
        }
        let idle = offer.uploads.iter().find(|upload| self.files.readers_of(**upload).next().is_none()).copied();
        idle.map(|idle| self.remove_upload(idle)).is_some()
    }

    /// A reader goes on elsewhere, or nowhere. An upload that nobody reads any more is not sent on.
    pub(super) fn leave_upload(&mut self, id: ReaderId) {
        let Some(upload) = self.files.readers.get_mut(&id).and_then(|reader| reader.upload.take()) else { return };
        if self.files.readers_of(upload).next().is_some() {
            return;
        }
        let asked = self.files.uploads.get(&upload).is_some_and(|upload| upload.source == Source::Asked);
        if asked { self.remove_upload(upload) } else { self.close_upload(upload) }
    }

    /// A reader has all it gets. `reset` tells the receiver that it was not everything.
    pub(super) fn release(&mut self, id: ReaderId, reset: bool) {
        self.leave_upload(id);
        let Some(reader) = self.files.readers.remove(&id) else { return };
        self.files.readers_ready.remove(&id);
        self.files.waiting.remove(&id);
        if let Some(stream) = reader.stream {
            self.files.sinks.remove(&(reader.connection, stream));
            if let Some(receiver) = self.roster.named(reader.connection).filter(|_| reset) {
                receiver.reno.reset(stream);
                self.mark_channel_ready(reader.connection);
            }
        }
        if let Some(offer) = self.files.offers.get_mut(&reader.offer) {
            offer.readers.remove(&id);
            if offer.readers.is_empty() && !offer.sender_here {
                self.remove_offer(reader.offer);
            }
        }
        self.files.uploads_ready.append(&mut self.files.blocked);
    }

    /// Has those look again who wait for an upload.
    pub(super) fn wake_readers_of(&mut self, upload: SpoolId) {
        let readers: Vec<_> = self.files.readers_of(upload).filter(|(_, r)| !r.reading).map(|(id, _)| id).collect();
        self.files.readers_ready.extend(readers);
    }
}
