//! Who offered what to whom, and who takes it.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::ids::{ConnectionId, MemberId, RoomId, TransferId};
use crate::limits::{OFFERS_PER_MEMBER, OFFERS_REMEMBERED};
use crate::relay::Relay;
use crate::wire::message::{self, Delivery, FileOffer, FileState, Message, Recipients};

use super::{Offer, OfferKey, Reader, ReaderId};

impl Relay {
    /// Takes down what a message says about files. Answers whether it may be handed on.
    pub(in crate::relay) fn note_file_message(
        &mut self,
        now: Instant,
        (room, from): (RoomId, MemberId),
        connection: ConnectionId,
        message: &Message,
    ) -> bool {
        match message {
            Message::FileOffer(offer) => self.remember_offer((room, from, offer.transfer), connection, offer),
            Message::FileAccept { to, transfer, offset } => {
                self.accept((room, *to, *transfer), (from, connection), *offset, now)
            }
            Message::FileProgress { to, transfer, state } => {
                self.note_state((room, *to, *transfer), connection, *state);
                true
            }
            // The server may have what its sender has no more.
            Message::FileWithdraw { to: _, transfer, why: Some(_) } => {
                self.end_offer((room, from, *transfer));
                true
            }
            Message::FileWithdraw { to, transfer, why: None } => {
                self.withdraw((room, from, *transfer), *to);
                true
            }
            // They come from the server alone.
            Message::ChatMissed { .. }
            | Message::FileFailed { .. }
            | Message::FileWaits { .. }
            | Message::FileWanted { .. } => false,
            Message::Chat { .. } | Message::ChatDelivered { .. } | Message::FilePause { .. } => true,
        }
    }

    /// Made again, an offer is told to those who came since. A number stands for one file for ever.
    fn remember_offer(&mut self, key: OfferKey, sender: ConnectionId, offer: &FileOffer) -> bool {
        let (room, from, _) = key;
        let told: BTreeSet<MemberId> = match offer.to {
            Recipients::Everyone => self.roster.ids_in(room).filter(|member| *member != from).collect(),
            Recipients::Member(member) => BTreeSet::from([member]),
        };
        if let Some(known) = self.files.offers.get_mut(&key) {
            let same = known.offer == *offer;
            if same {
                known.told.extend(told);
            }
            return same;
        }
        if !self.has_room_for_offer(room, from) {
            return false;
        }
        let (readers, uploads) = Default::default();
        let offer = offer.clone();
        self.files
            .offers
            .insert(key, Offer { sender, sender_here: true, offer, told, answered: false, readers, uploads });
        true
    }

    /// Forgets the oldest finished offer of a member who has many.
    fn has_room_for_offer(&mut self, room: RoomId, member: MemberId) -> bool {
        let offers = self.files.offers_of(room, member);
        let finished: Vec<_> = offers.filter(|(_, offer)| offer.is_finished()).map(|(key, _)| *key).collect();
        let all = self.files.offers_of(room, member).count();
        if all - finished.len() >= OFFERS_PER_MEMBER {
            return false;
        }
        if all >= OFFERS_REMEMBERED
            && let Some(oldest) = finished.first()
        {
            self.remove_offer(*oldest);
        }
        true
    }

    /// A receiver takes a file, from `offset` on. Who was not offered it is told what one is told who comes too late.
    fn accept(
        &mut self,
        key: OfferKey,
        (member, connection): (MemberId, ConnectionId),
        offset: u64,
        now: Instant,
    ) -> bool {
        let offer = self.files.offers.get(&key);
        if !offer.is_some_and(|offer| offer.told.contains(&member) && offset <= offer.offer.size) {
            let message = Message::FileWithdraw { to: Recipients::Member(member), transfer: key.2, why: None };
            self.deliver(connection, &message::encode(&Delivery { from: key.1, message }));
            return false;
        }
        let before = self.reader_of(key, connection);
        let id = ReaderId(self.files.next_id());
        let reader = Reader {
            offer: key,
            connection,
            stream: None,
            upload: None,
            position: offset,
            reading: false,
            progress: now,
            told_to_wait: false,
        };
        self.files.readers.insert(id, reader);
        if let Some(offer) = self.files.offers.get_mut(&key) {
            offer.readers.insert(id);
        }
        self.files.readers_ready.insert(id);
        if let Some(before) = before {
            self.release(before, true);
        }
        true
    }

    fn reader_of(&self, key: OfferKey, connection: ConnectionId) -> Option<ReaderId> {
        let readers = &self.files.offers.get(&key)?.readers;
        let of_connection = |id: &&ReaderId| self.files.readers.get(id).is_some_and(|r| r.connection == connection);
        readers.iter().find(of_connection).copied()
    }

    /// A receiver says how far it is. Whoever says that it has stopped gets no more.
    fn note_state(&mut self, key: OfferKey, connection: ConnectionId, state: FileState) {
        let stopped = match state {
            FileState::Receiving(_) => return,
            FileState::Corrupt | FileState::Verified => false,
            FileState::Cancelled | FileState::Declined | FileState::Interrupted(..) | FileState::Paused(_) => true,
        };
        if let Some(offer) = self.files.offers.get_mut(&key) {
            offer.answered = true;
        }
        if let Some(reader) = self.reader_of(key, connection).filter(|_| stopped) {
            self.release(reader, true);
        }
    }

    fn withdraw(&mut self, key: OfferKey, to: Recipients) {
        let Some(offer) = self.files.offers.get_mut(&key) else { return };
        let Recipients::Member(member) = to else {
            return self.remove_offer(key);
        };
        if !offer.told.remove(&member) {
            return;
        }
        if offer.told.is_empty() {
            return self.remove_offer(key);
        }
        let connection = self.roster.in_room(key.0, member).and_then(|place| self.roster.member(place));
        let connection = connection.map(|member| member.connection);
        if let Some(reader) = connection.and_then(|connection| self.reader_of(key, connection)) {
            self.release(reader, true);
        }
    }

    /// Everything of an offer is gone: who still reads it is told by the end of the stream.
    pub(super) fn remove_offer(&mut self, key: OfferKey) {
        let Some(offer) = self.files.offers.remove(&key) else { return };
        for reader in offer.readers {
            self.release(reader, true);
        }
        for upload in offer.uploads {
            self.remove_upload(upload);
        }
    }

    /// A member is gone: nobody reads for him any more, and what he offered ends with what the spool has of it.
    pub(in crate::relay) fn end_files_of(&mut self, connection: ConnectionId, (room, member): (RoomId, MemberId)) {
        let readers = self.files.readers.iter().filter(|(_, reader)| reader.connection == connection);
        for reader in readers.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.release(reader, false);
        }
        for key in self.files.offers_of(room, member).map(|(key, _)| *key).collect::<Vec<_>>() {
            self.end_offer(key);
        }
    }

    /// The sender of a file has it no more: who is at it gets what the spool has of it.
    fn end_offer(&mut self, key: OfferKey) {
        let Some(offer) = self.files.offers.get_mut(&key) else { return };
        offer.sender_here = false;
        if offer.readers.is_empty() {
            self.remove_offer(key);
        } else {
            self.files.readers_ready.extend(&offer.readers);
        }
    }

    /// Asks the sender of a file for its bytes from `offset` on; answers whether he could be told.
    pub(super) fn ask_for(&mut self, sender: ConnectionId, transfer: TransferId, offset: u64) -> bool {
        let message = Message::FileWanted { transfer, offset };
        self.deliver(sender, &message::encode(&Delivery { from: MemberId::SERVER, message }))
    }
}

impl Offer {
    /// Somebody was done with it, and nobody is at it.
    fn is_finished(&self) -> bool {
        self.answered && self.readers.is_empty()
    }
}
