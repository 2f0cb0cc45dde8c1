//! From the senders' streams to the spool.

use std::time::Instant;

use crate::ids::ConnectionId;
use crate::limits::{SPOOL_PIECE_BYTES, SPOOL_WRITES_PER_UPLOAD};
use crate::relay::Relay;
use crate::wire::message::UploadHeader;

use super::{End, Source, SpoolEffect, SpoolId, Upload};

impl Relay {
    pub(in crate::relay) fn source_opened(&mut self, source: End) {
        self.files.sources.insert(source, None);
    }

    pub(in crate::relay) fn source_readable(&mut self, source: End) {
        match self.files.sources.get(&source) {
            Some(Some(upload)) => drop(self.files.uploads_ready.insert(*upload)),
            Some(None) => self.read_upload_header(source),
            None => {}
        }
    }

    /// Finds out what a stream brings. What nobody asked for is not let in.
    fn read_upload_header(&mut self, source: End) {
        let Some(member) = self.roster.named(source.0) else { return };
        if member.reno.readable(source.1) < UploadHeader::BYTES {
            return;
        }
        let mut header = [0; UploadHeader::BYTES];
        let finished = member.reno.read(source.1, &mut header).finished;
        let UploadHeader { transfer, offset } = UploadHeader::parse(&header);
        let key = (member.room, member.member, transfer);
        let files = &mut self.files;
        let asked = |id: &&SpoolId| {
            let upload = files.uploads.get(id);
            upload.is_some_and(|upload| upload.source == Source::Asked && upload.first == offset)
        };
        let Some(id) = files.offers.get(&key).and_then(|offer| offer.uploads.iter().find(asked)).copied() else {
            return self.stop_source(source);
        };
        if let Some(upload) = files.uploads.get_mut(&id) {
            upload.source = Source::Open(source);
        }
        files.sources.insert(source, Some(id));
        files.uploads_ready.insert(id);
        if finished {
            self.end_upload(id);
        }
    }

    fn stop_source(&mut self, source: End) {
        self.files.sources.remove(&source);
        if let Some(sender) = self.roster.named(source.0) {
            sender.reno.stop(source.1);
            self.mark_channel_ready(source.0);
        }
    }

    /// Gives the disk what came of an upload, as much as may be on its way there.
    pub(super) fn fill(&mut self, now: Instant, id: SpoolId) {
        while let Some((source, wanted)) = self.wanted_of(id) {
            if !self.make_room(now, id, wanted as u64) {
                self.files.blocked.insert(id);
                return;
            }
            let Some(sender) = self.roster.named(source.0) else { return };
            let mut bytes = self.files.buffer(wanted);
            let read = sender.reno.read(source.1, &mut bytes);
            bytes.truncate(read.bytes);
            self.mark_channel_ready(source.0);
            let nothing = read.bytes == 0;
            self.take(id, bytes);
            if read.finished {
                self.end_upload(id);
            }
            if nothing || read.finished {
                return;
            }
        }
    }

    /// The stream of an upload, and how many bytes it pays to read from it now.
    fn wanted_of(&mut self, id: SpoolId) -> Option<(End, usize)> {
        let upload = self.files.uploads.get(&id)?;
        let Source::Open(source) = upload.source else { return None };
        let left = self.files.offers.get(&upload.offer)?.offer.size - upload.taken;
        if self.is_elsewhere(id, upload) {
            self.close_upload(id);
            return None;
        }
        let readable = self.roster.named(source.0)?.reno.readable(source.1);
        // A small piece is worth its way to the disk only when nothing else is on it.
        let worth = upload.writes == 0 || (readable >= SPOOL_PIECE_BYTES && upload.writes < SPOOL_WRITES_PER_UPLOAD);
        if readable as u64 > left {
            self.break_upload(id);
            return None;
        }
        // A byte more than there is shows the end.
        worth.then_some((source, (readable + 1).min(SPOOL_PIECE_BYTES)))
    }

    /// Whether what comes next of an upload is in the spool already, from another one.
    fn is_elsewhere(&self, id: SpoolId, upload: &Upload) -> bool {
        let others = self.files.offers.get(&upload.offer).into_iter().flat_map(|offer| &offer.uploads);
        let mut others = others.filter(|other| **other != id).filter_map(|other| self.files.uploads.get(other));
        others.any(|other| (other.first..other.taken).contains(&upload.taken))
    }

    /// Bytes of an upload go to the disk.
    fn take(&mut self, id: SpoolId, bytes: Vec<u8>) {
        let Some(upload) = self.files.uploads.get_mut(&id) else { return };
        let length = bytes.len() as u64;
        if length == 0 {
            return self.files.give_back(bytes);
        }
        let offset = upload.taken;
        upload.taken += length;
        upload.writes += 1;
        *self.files.spooled.entry(upload.offer.0).or_default() += length;
        self.statistics.file_bytes_received += length;
        self.files.effects.push_back(SpoolEffect::Write { id, offset, bytes });
    }

    /// The stream of an upload came to its end.
    fn end_upload(&mut self, id: SpoolId) {
        let Some(upload) = self.files.uploads.get_mut(&id) else { return };
        if let Source::Open(source) = std::mem::replace(&mut upload.source, Source::Over) {
            self.files.sources.remove(&source);
        }
        let size = self.files.offers.get(&upload.offer).map_or(0, |offer| offer.offer.size);
        upload.broken = upload.taken < size;
        self.wake_readers_of(id);
    }

    /// No more of an upload is wanted; what there is stays.
    pub(super) fn close_upload(&mut self, id: SpoolId) {
        let Some(upload) = self.files.uploads.get_mut(&id) else { return };
        if let Source::Open(source) = std::mem::replace(&mut upload.source, Source::Over) {
            self.stop_source(source);
        }
        self.files.blocked.remove(&id);
        self.wake_readers_of(id);
    }

    /// An upload is not what was offered, or its sender cannot go on.
    fn break_upload(&mut self, id: SpoolId) {
        if let Some(upload) = self.files.uploads.get_mut(&id) {
            upload.broken = true;
            self.close_upload(id);
        }
    }

    pub(in crate::relay) fn source_gave_up(&mut self, source: End) {
        if let Some(Some(id)) = self.files.sources.remove(&source)
            && let Some(upload) = self.files.uploads.get_mut(&id)
        {
            (upload.source, upload.broken) = (Source::Over, true);
            self.files.blocked.remove(&id);
            self.wake_readers_of(id);
        }
    }

    /// What a member sent is taken before its channel goes: it was acknowledged, so the member thinks it is here.
    pub(in crate::relay) fn absorb_uploads_of(&mut self, connection: ConnectionId) {
        let sources = self.files.sources.iter().filter(|(source, _)| source.0 == connection);
        for (source, id) in sources.map(|(source, id)| (*source, *id)).collect::<Vec<_>>() {
            while let Some(id) = id {
                let mut bytes = self.files.buffer(SPOOL_PIECE_BYTES);
                let Some(sender) = self.roster.named(connection) else { break };
                let read = sender.reno.read(source.1, &mut bytes).bytes;
                let upload = self.files.uploads.get(&id);
                let offer = upload.and_then(|upload| Some((upload.taken, self.files.offers.get(&upload.offer)?)));
                let left = offer.map_or(0, |(taken, offer)| offer.offer.size - taken);
                bytes.truncate(read.min(usize::try_from(left).unwrap_or(usize::MAX)));
                self.take(id, bytes);
                if read == 0 {
                    self.close_upload(id);
                    break;
                }
            }
            self.files.sources.remove(&source);
        }
    }

    /// Takes an upload out of the spool.
    pub(super) fn remove_upload(&mut self, id: SpoolId) {
        self.close_upload(id);
        let Some(upload) = self.files.uploads.remove(&id) else { return };
        self.files.uploads_ready.remove(&id);
        if let Some(offer) = self.files.offers.get_mut(&upload.offer) {
            offer.uploads.remove(&id);
        }
        if upload.taken > 0 {
            self.files.effects.push_back(SpoolEffect::Remove { id });
        }
        self.give_room_back(upload.offer.0, upload.held());
    }
}
