//! Tells those concerned that a file waits for room in the spool, when nothing of it moves.

use std::time::Instant;

use crate::ids::{ConnectionId, MemberId};
use crate::limits::SPOOL_WAIT_TOLD_AFTER;
use crate::relay::Relay;
use crate::wire::message::{self, Delivery, Message};

use super::{Files, ReaderId, Source, SpoolId, Wait};

impl Relay {
    /// Looks which uploads wait. One that has moved since the last look does not.
    pub(super) fn tell_of_waiting(&mut self, now: Instant) {
        for id in self.files.uploads.keys().copied().collect::<Vec<_>>() {
            let stands = self.files.waits_for_room(id);
            let Some(upload) = self.files.uploads.get_mut(&id) else { continue };
            let before = upload.wait;
            upload.wait = match (stands, before) {
                (false, _) => Wait::No,
                (true, Wait::No) => Wait::Since(now),
                (true, Wait::Since(since)) if now.saturating_duration_since(since) >= SPOOL_WAIT_TOLD_AFTER => {
                    Wait::Told
                }
                (true, wait) => wait,
            };
            let waits = upload.wait == Wait::Told;
            let (_, from, transfer) = upload.offer;
            if waits != (before == Wait::Told) {
                self.tell_sender_of(id, Message::FileWaits { from, transfer, waits });
            }
            self.tell_readers_of_waiting(id, waits);
        }
    }

    fn tell_readers_of_waiting(&mut self, id: SpoolId, waits: bool) {
        let untold = self.files.readers_of(id).filter(|(_, reader)| reader.told_to_wait != waits);
        for id in untold.map(|(reader, _)| reader).collect::<Vec<_>>() {
            let Some(reader) = self.files.readers.get_mut(&id) else { continue };
            reader.told_to_wait = waits;
            let (_, from, transfer) = reader.offer;
            self.tell_reader(id, Message::FileWaits { from, transfer, waits });
        }
    }

    /// Says something to who sends an upload, if he is there.
    pub(super) fn tell_sender_of(&mut self, id: SpoolId, message: Message) {
        let offer = self.files.uploads.get(&id).and_then(|upload| self.files.offers.get(&upload.offer));
        if let Some(sender) = offer.filter(|offer| offer.sender_here).map(|offer| offer.sender) {
            self.say(sender, message);
        }
    }

    /// Says something to who reads.
    pub(super) fn tell_reader(&mut self, id: ReaderId, message: Message) {
        if let Some(receiver) = self.files.readers.get(&id).map(|reader| reader.connection) {
            self.say(receiver, message);
        }
    }

    fn say(&mut self, to: ConnectionId, message: Message) {
        self.deliver(to, &message::encode(&Delivery { from: MemberId::SERVER, message }));
    }
}

impl Files {
    /// Whether an upload wants to write, may not, and has nothing left for any of its readers meanwhile.
    fn waits_for_room(&self, id: SpoolId) -> bool {
        let Some(upload) = self.uploads.get(&id) else { return false };
        let tried = self.blocked.contains(&id) || self.uploads_ready.contains(&id);
        let unwritten = self.scarce && upload.writes > 0;
        let open = matches!(upload.source, Source::Open(_));
        let mut readers = self.readers_of(id);
        open && (tried || unwritten) && readers.all(|(_, reader)| reader.position >= upload.written)
    }

    /// Whether anybody was told to wait.
    pub(super) fn somebody_waits(&self) -> bool {
        self.uploads.values().any(|upload| upload.wait != Wait::No)
    }
}
