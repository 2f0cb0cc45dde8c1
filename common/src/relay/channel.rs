//! What rides on the reliable channels: messages, stamped with their sender and copied to those they are for, and
//! files, each piped stream to stream from its sender to one receiver.
//!
//! A pipe reads from the sender's stream only what the receiver's stream takes, so a slow receiver closes the
//! sender's window and the relay holds at most one send buffer for each pipe. A member who writes more messages than
//! allowed is not cut off: the relay reads on later, and the member's window closes meanwhile.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::ids::{ConnectionId, MemberId, RoomId};
use crate::limits::{CHAT_MAX_BYTES, FILE_MAX_BYTES, FILE_NAME_MAX_BYTES};
use crate::relay::Relay;
use crate::relay::roster::MemberKey;
use crate::reno::StreamId;
use crate::reno::connection::Event;
use crate::wire::Malformed;
use crate::wire::message::{self, Delivery, FileStreamHeader, Message, Recipients};

/// One end of a stream: whose channel, and which of its streams.
type End = (ConnectionId, StreamId);

/// Files under way, found by either end.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    /// From the sender's end to the receiver's, or `None` before the header of the stream is read.
    by_source: BTreeMap<End, Option<End>>,
    by_sink: BTreeMap<End, End>,
}

impl Pipes {
    fn connect(&mut self, source: End, sink: End) {
        self.by_source.insert(source, Some(sink));
        self.by_sink.insert(sink, source);
    }

    /// All of a file arrived at its receiver.
    fn complete(&mut self, sink: End) {
        if let Some(source) = self.by_sink.remove(&sink) {
            self.by_source.remove(&source);
        }
    }

    fn remove(&mut self, source: End) -> Option<End> {
        let sink = self.by_source.remove(&source).flatten()?;
        self.by_sink.remove(&sink);
        Some(sink)
    }
}

impl Relay {
    pub(super) fn handle_segment(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        segment: &[u8],
    ) -> Result<(), Malformed> {
        let member = self.roster.named(connection).ok_or(Malformed)?;
        member.reno.handle_segment(now, segment)?;
        self.handle_channel_events(now, connection);
        self.mark_channel_ready(connection);
        Ok(())
    }

    /// The reliable channel of a member asked to be woken now.
    pub(super) fn handle_channel_timeout(&mut self, now: Instant, key: MemberKey) {
        let Some(member) = self.roster.member(key) else { return };
        member.reno.handle_timeout(now);
        let connection = member.connection;
        self.handle_channel_events(now, connection);
        // Sending, or finding that there is nothing to send, sets the next alarm.
        self.mark_ready(key);
    }

    /// Lets those read on who wrote too many messages a moment ago.
    pub(super) fn resume_throttled(&mut self, now: Instant) {
        for key in std::mem::take(&mut self.throttled) {
            let Some(member) = self.roster.member(key) else { continue };
            member.throttled = false;
            let connection = member.connection;
            self.read_messages(now, connection);
        }
    }

    fn mark_channel_ready(&mut self, connection: ConnectionId) {
        if let Some(key) = self.roster.key(connection) {
            self.mark_ready(key);
        }
    }

    fn handle_channel_events(&mut self, now: Instant, connection: ConnectionId) {
        while let Some(event) = self.roster.named(connection).and_then(|member| member.reno.poll_event()) {
            match event {
                Event::Readable(StreamId::MESSAGES) => self.read_messages(now, connection),
                Event::Readable(stream) => self.pump((connection, stream)),
                Event::Opened(stream) => {
                    self.pipes.by_source.insert((connection, stream), None);
                }
                Event::Writable(stream) => self.drained((connection, stream)),
                Event::Acknowledged(stream) => self.pipes.complete((connection, stream)),
                Event::Reset(stream) => self.source_gave_up((connection, stream)),
                Event::Stopped(stream) => self.sink_gave_up((connection, stream)),
                // The hub notices a member who is gone; the client notices a channel that is.
                Event::Stalled => {}
            }
        }
    }

    fn read_messages(&mut self, now: Instant, connection: ConnectionId) {
        let mut buffer = [0; 2_048];
        while let Some(member) = self.roster.named(connection) {
            match member.framer.next_message::<Message>() {
                Ok(Some(message)) => {
                    let from = (member.room, member.member);
                    let throttled = !member.allowances.messages.take(now, 1);
                    self.route(from, connection, message);
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
    fn route(&mut self, from: (RoomId, MemberId), sender: ConnectionId, message: Message) {
        let (room, from) = from;
        let to = message.recipients();
        let receivers = if within_limits(&message) { self.receivers(room, sender, to) } else { Vec::new() };
        if receivers.is_empty() {
            self.statistics.messages_dropped += 1;
            return;
        }
        let bytes = message::encode(&Delivery { from, message });
        for receiver in receivers {
            self.deliver(receiver, &bytes);
        }
    }

    fn receivers(&mut self, room: RoomId, sender: ConnectionId, to: Recipients) -> Vec<ConnectionId> {
        let keys = match to {
            Recipients::Everyone => self.roster.room(room).map(|(room, _)| room.members.clone()).unwrap_or_default(),
            Recipients::Member(member) => self.roster.in_room(room, member).into_iter().collect(),
        };
        let connections = keys.into_iter().filter_map(|key| self.roster.member(key).map(|member| member.connection));
        connections.filter(|connection| *connection != sender).collect()
    }

    /// A member whose buffer is full has not read a megabyte of messages and is about to be found gone.
    fn deliver(&mut self, receiver: ConnectionId, bytes: &[u8]) {
        let Some(member) = self.roster.named(receiver) else {
            return;
        };
        if member.reno.writable(StreamId::MESSAGES) < bytes.len() {
            self.statistics.messages_dropped += 1;
            return;
        }
        member.reno.write(StreamId::MESSAGES, bytes);
        self.statistics.messages_relayed += 1;
        self.mark_channel_ready(receiver);
    }

    /// Moves what there is of a file from its sender's stream to its receiver's.
    fn pump(&mut self, source: End) {
        let sink = match self.pipes.by_source.get(&source) {
            None => return,
            Some(Some(sink)) => *sink,
            Some(None) => match self.open_sink(source) {
                Some(sink) => sink,
                None => return,
            },
        };
        let mut buffer = [0; 16 * 1_024];
        loop {
            let Some(receiver) = self.roster.named(sink.0) else { return };
            let room = receiver.reno.writable(sink.1).min(buffer.len());
            if room == 0 {
                // Only a write that was cut short is followed by `Writable`, which goes on here.
                receiver.reno.write(sink.1, &buffer[..1]);
                break;
            }
            let Some(sender) = self.roster.named(source.0) else { return };
            let read = sender.reno.read(source.1, &mut buffer[..room]);
            let Some(receiver) = self.roster.named(sink.0) else { return };
            receiver.reno.write(sink.1, &buffer[..read.bytes]);
            if read.finished {
                receiver.reno.finish(sink.1);
            }
            if read.bytes == 0 || read.finished {
                break;
            }
        }
        self.mark_channel_ready(source.0);
        self.mark_channel_ready(sink.0);
    }

    /// Reads the header of a file's stream and opens a stream to the receiver it names.
    fn open_sink(&mut self, source: End) -> Option<End> {
        let sender = self.roster.named(source.0)?;
        if sender.reno.readable(source.1) < FileStreamHeader::BYTES {
            return None;
        }
        let mut header = [0; FileStreamHeader::BYTES];
        sender.reno.read(source.1, &mut header);
        let header = FileStreamHeader::parse(&header);
        let (room, from) = (sender.room, sender.member);
        let sink = self.receivers(room, source.0, Recipients::Member(header.peer)).first().copied();
        let Some(sink) = sink.and_then(|receiver| self.open_stream(receiver)) else {
            self.stop_source(source);
            return None;
        };
        let header = FileStreamHeader { peer: from, transfer: header.transfer };
        self.roster.named(sink.0)?.reno.write(sink.1, &header.to_bytes());
        self.pipes.connect(source, sink);
        Some(sink)
    }

    fn open_stream(&mut self, receiver: ConnectionId) -> Option<End> {
        let stream = self.roster.named(receiver)?.reno.open()?;
        Some((receiver, stream))
    }

    /// A receiver's stream has room again.
    fn drained(&mut self, sink: End) {
        if let Some(source) = self.pipes.by_sink.get(&sink).copied() {
            self.pump(source);
        }
    }

    fn source_gave_up(&mut self, source: End) {
        if let Some(sink) = self.pipes.remove(source)
            && let Some(receiver) = self.roster.named(sink.0)
        {
            receiver.reno.reset(sink.1);
            self.mark_channel_ready(sink.0);
        }
    }

    fn sink_gave_up(&mut self, sink: End) {
        if let Some(source) = self.pipes.by_sink.get(&sink).copied() {
            self.stop_source(source);
        }
    }

    fn stop_source(&mut self, source: End) {
        self.pipes.remove(source);
        if let Some(sender) = self.roster.named(source.0) {
            sender.reno.stop(source.1);
            self.mark_channel_ready(source.0);
        }
    }

    /// A member is gone: files from and to it end at their other ends.
    pub(super) fn cut_pipes_of(&mut self, connection: ConnectionId) {
        let touches = |end: &End| end.0 == connection;
        let pipes = self.pipes.by_source.iter();
        let cut: Vec<_> = pipes
            .filter(|(source, sink)| touches(source) || sink.as_ref().is_some_and(touches))
            .map(|(source, _)| *source)
            .collect();
        for source in cut {
            if source.0 == connection {
                self.source_gave_up(source)
            } else {
                self.stop_source(source)
            }
            self.pipes.by_source.remove(&source);
        }
    }
}

fn within_limits(message: &Message) -> bool {
    match message {
        Message::Chat { text, .. } => (1..=CHAT_MAX_BYTES).contains(&text.len()),
        Message::FileOffer(offer) => offer.name.len() <= FILE_NAME_MAX_BYTES && offer.size <= FILE_MAX_BYTES,
        Message::ChatDelivered { .. }
        | Message::FileAccept { .. }
        | Message::FileProgress { .. }
        | Message::FileWithdraw { .. } => true,
    }
}
