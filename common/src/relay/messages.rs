//! Messages: read from the channel of who wrote them, stamped with him, copied to those they are for.
//!
//! A member who writes more messages than allowed is not cut off: the relay reads on later, and the member's window
//! closes meanwhile.

use std::time::Instant;

use crate::ids::{ChatId, ConnectionId, MemberId, RoomId};
use crate::limits::{
    CHAT_MAX_BYTES, CHAT_WAITING_MAX_BYTES, FILE_MAX_BYTES, FILE_NAME_MAX_BYTES, PROGRESS_WAITING_MAX_BYTES,
};
use crate::relay::Relay;
use crate::reno::StreamId;
use crate::wire::Malformed;
use crate::wire::message::{self, Delivery, FileState, Message, Recipients};

impl Relay {
    /// Lets those read on who wrote too many messages a moment ago.
    pub(super) fn resume_throttled(&mut self, now: Instant) {
        for key in std::mem::take(&mut self.throttled) {
            let Some(member) = self.roster.member(key) else { continue };
            member.throttled = false;
            let connection = member.connection;
            self.read_messages(now, connection);
        }
    }

    pub(super) fn read_messages(&mut self, now: Instant, connection: ConnectionId) {
        let mut buffer = [0; 2_048];
        while let Some(member) = self.roster.named(connection) {
            match member.framer.next_message::<Message>() {
                Ok(Some(message)) => {
                    let from = (member.room, member.member);
                    let throttled = !member.allowances.messages.take(now, 1);
                    self.route(now, from, connection, message);
                    if throttled {
                        return self.throttle(connection);
                    }
                }
                Ok(None) => {
                    let wanted = member.framer.capacity().min(buffer.len());
                    let read = member.reno.read(StreamId::MESSAGES, &mut buffer[..wanted]);
                    member.framer.push(&buffer[..read.bytes]);
                    if read.bytes == 0 {
                        return self.mark_channel_ready(connection);
                    }
                }
                // Whoever does not speak the protocol is not listened to any more; the window closes.
                Err(Malformed) => return,
            }
        }
    }

    /// The next report reads on, or a segment that comes before it.
    fn throttle(&mut self, connection: ConnectionId) {
        if let Some(key) = self.roster.key(connection)
            && let Some(member) = self.roster.member(key)
            && !std::mem::replace(&mut member.throttled, true)
        {
            self.throttled.push(key);
        }
    }

    /// Hands a message to those it is for, stamped with who sent it.
    fn route(&mut self, now: Instant, from: (RoomId, MemberId), sender: ConnectionId, message: Message) {
        let (room, from) = from;
        let to = message.recipients();
        let handed_on = within_limits(&message) && self.note_file_message(now, (room, from), sender, &message);
        let receivers = if handed_on { self.receivers(room, sender, to) } else { Vec::new() };
        if receivers.is_empty() {
            self.statistics.messages_dropped += 1;
            return;
        }
        let delivery = Delivery { from, message };
        let bytes = message::encode(&delivery);
        for receiver in receivers {
            let fits = self.has_room_for(receiver, &delivery.message, bytes.len());
            let delivered = fits && self.deliver(receiver, &bytes);
            if let Message::Chat { id, .. } = delivery.message
                && !delivered
            {
                self.tell_missed(sender, receiver, id);
            }
        }
    }

    /// Whether so much less than the buffer holds waits for a member that a message of this kind may wait too: chat leaves
    /// room for what is small and told once, and news that a newer one replaces wait for nobody.
    fn has_room_for(&mut self, receiver: ConnectionId, message: &Message, bytes: usize) -> bool {
        let limit = if matches!(message, Message::Chat { .. }) {
            CHAT_WAITING_MAX_BYTES
        } else if matches!(message, Message::FileProgress { state: FileState::Receiving(_), .. }) {
            PROGRESS_WAITING_MAX_BYTES
        } else {
            return true;
        };
        let Some(member) = self.roster.named(receiver) else { return false };
        let fits = member.reno.unacknowledged(StreamId::MESSAGES) + bytes <= limit;
        self.statistics.messages_dropped += u64::from(!fits);
        fits
    }

    /// Whoever wrote reads who does not get it.
    fn tell_missed(&mut self, writer: ConnectionId, receiver: ConnectionId, id: ChatId) {
        let Some(member) = self.roster.named(receiver).map(|receiver| receiver.member) else { return };
        let message = Message::ChatMissed { id, member };
        self.deliver(writer, &message::encode(&Delivery { from: MemberId::SERVER, message }));
    }

    fn receivers(&mut self, room: RoomId, sender: ConnectionId, to: Recipients) -> Vec<ConnectionId> {
        let keys = match to {
            Recipients::Everyone => self.roster.room(room).map(|(room, _)| room.members.clone()).unwrap_or_default(),
            Recipients::Member(member) => self.roster.in_room(room, member).into_iter().collect(),
        };
        let connections = keys.into_iter().filter_map(|key| self.roster.member(key).map(|member| member.connection));
        connections.filter(|connection| *connection != sender).collect()
    }

    /// Puts a message on a member's channel; answers whether there was room for it. It waits there until the member's path
    /// carries it, for as long as the member keeps the place.
    pub(super) fn deliver(&mut self, receiver: ConnectionId, bytes: &[u8]) -> bool {
        let Some(member) = self.roster.named(receiver) else {
            return false;
        };
        if member.reno.writable(StreamId::MESSAGES) < bytes.len() {
            self.statistics.messages_dropped += 1;
            return false;
        }
        member.reno.write(StreamId::MESSAGES, bytes);
        self.statistics.messages_relayed += 1;
        self.mark_channel_ready(receiver);
        true
    }
}

fn within_limits(message: &Message) -> bool {
    match message {
        Message::Chat { text, .. } => (1..=CHAT_MAX_BYTES).contains(&text.len()),
        Message::FileOffer(offer) => offer.name.len() <= FILE_NAME_MAX_BYTES && offer.size <= FILE_MAX_BYTES,
        Message::ChatDelivered { .. }
        | Message::ChatMissed { .. }
        | Message::FileAccept { .. }
        | Message::FileFailed { .. }
        | Message::FilePause { .. }
        | Message::FileProgress { .. }
        | Message::FileWaits { .. }
        | Message::FileWanted { .. }
        | Message::FileWithdraw { .. } => true,
    }
}
