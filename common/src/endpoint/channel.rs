//! The member's end of the reliable channel: messages on stream 0, files on streams of their own.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::Instant;

use crate::endpoint::Event;
use crate::ids::TransferId;
use crate::names;
use crate::reno::connection::{self, Connection, Read};
use crate::reno::{self, StreamId};
use crate::text;
use crate::wire::Malformed;
use crate::wire::datagram::Kind;
use crate::wire::message::{self, Delivery, DownloadHeader, Message, MessageFramer, UploadHeader};

/// The reliable channel holds as many messages as it may; try again when something was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelFull;

impl fmt::Display for ChannelFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too much is still on its way")
    }
}

impl std::error::Error for ChannelFull {}

#[derive(Debug)]
pub(super) struct Channel {
    reno: Connection,
    framer: MessageFramer,
    messages_written: u64,
    /// Arriving streams of which the header has not been read yet.
    unnamed: BTreeSet<StreamId>,
    /// Streams that ended with their header: nothing is missing of what they bring.
    ended: BTreeSet<StreamId>,
    events: VecDeque<Event>,
}

impl Channel {
    pub(super) fn new(now: Instant, config: reno::Config) -> Self {
        Self {
            reno: Connection::with_config(now, config),
            framer: MessageFramer::new(),
            messages_written: 0,
            unnamed: BTreeSet::new(),
            ended: BTreeSet::new(),
            events: VecDeque::new(),
        }
    }

    pub(super) fn reno(&mut self) -> &mut Connection {
        &mut self.reno
    }

    pub(super) fn handle_segment(&mut self, now: Instant, segment: &[u8]) -> Result<(), Malformed> {
        self.reno.handle_segment(now, segment)?;
        self.handle_reno_events();
        Ok(())
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.reno.poll_timeout().is_some_and(|timeout| now >= timeout) {
            self.reno.handle_timeout(now);
            self.handle_reno_events();
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.reno.poll_timeout()
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(super) fn poll_transmit(&mut self, now: Instant, plaintext: &mut [u8]) -> Option<usize> {
        plaintext[0] = Kind::Segment as u8;
        Some(1 + self.reno.poll_transmit(now, &mut plaintext[1..])?)
    }

    pub(super) fn send_message(&mut self, message: &Message) -> Result<(), ChannelFull> {
        let bytes = message::encode(message);
        if self.reno.writable(StreamId::MESSAGES) < bytes.len() {
            return Err(ChannelFull);
        }
        self.messages_written += self.reno.write(StreamId::MESSAGES, &bytes) as u64;
        Ok(())
    }

    pub(super) fn messages_written(&self) -> u64 {
        self.messages_written
    }

    /// What was written and does not wait for its acknowledgement any more.
    pub(super) fn messages_acknowledged(&self) -> u64 {
        self.messages_written - self.reno.unacknowledged(StreamId::MESSAGES) as u64
    }

    pub(super) fn open_file(&mut self, transfer: TransferId, offset: u64) -> Option<StreamId> {
        let stream = self.reno.open()?;
        self.reno.write(stream, &UploadHeader { transfer, offset }.to_bytes());
        Some(stream)
    }

    pub(super) fn read_file(&mut self, stream: StreamId, buffer: &mut [u8]) -> Read {
        if self.ended.remove(&stream) {
            return Read { bytes: 0, finished: true };
        }
        self.reno.read(stream, buffer)
    }

    pub(super) fn stop_file(&mut self, stream: StreamId) {
        self.ended.remove(&stream);
        self.reno.stop(stream);
    }

    fn handle_reno_events(&mut self) {
        while let Some(event) = self.reno.poll_event() {
            match event {
                connection::Event::Readable(StreamId::MESSAGES) => self.read_messages(),
                connection::Event::Opened(stream) => {
                    self.unnamed.insert(stream);
                }
                connection::Event::Readable(stream) if self.unnamed.contains(&stream) => self.read_header(stream),
                connection::Event::Readable(stream) => self.events.push_back(Event::FileReadable(stream)),
                connection::Event::Reset(stream) if self.unnamed.remove(&stream) => {}
                connection::Event::Reset(stream) => self.events.push_back(Event::FileReset(stream)),
                connection::Event::Stopped(stream) => self.events.push_back(Event::FileStopped(stream)),
                connection::Event::Writable(stream) => self.events.push_back(Event::FileWritable(stream)),
                connection::Event::Acknowledged(stream) => self.events.push_back(Event::FileAcknowledged(stream)),
                // Nothing of its streams is lost by it.
                connection::Event::Renewed => {}
            }
        }
    }

    fn read_header(&mut self, stream: StreamId) {
        if self.reno.readable(stream) < DownloadHeader::BYTES {
            return;
        }
        self.unnamed.remove(&stream);
        let mut header = [0; DownloadHeader::BYTES];
        if self.reno.read(stream, &mut header).finished {
            self.ended.insert(stream);
        }
        let DownloadHeader { from, transfer, offset } = DownloadHeader::parse(&header);
        self.events.push_back(Event::FileOpened { stream, from, transfer, offset });
        self.events.push_back(Event::FileReadable(stream));
    }

    fn read_messages(&mut self) {
        let mut buffer = [0; 2_048];
        loop {
            let wanted = self.framer.capacity().min(buffer.len());
            let read = self.reno.read(StreamId::MESSAGES, &mut buffer[..wanted]);
            if read.bytes == 0 {
                return;
            }
            self.framer.push(&buffer[..read.bytes]);
            loop {
                match self.framer.next_message::<Delivery>() {
                    Ok(Some(delivery)) => self.events.push_back(Event::Message(cleaned(delivery))),
                    Ok(None) => break,
                    Err(Malformed) => return self.events.push_back(Event::ChannelFailed),
                }
            }
        }
    }
}

/// What others wrote, without what cannot be seen; names of files as they may be written to a disk.
fn cleaned(mut delivery: Delivery) -> Delivery {
    match &mut delivery.message {
        Message::Chat { text, .. } => *text = text::clean_text(text),
        Message::FileOffer(offer) => offer.name = names::safe_file_name(&offer.name),
        Message::ChatDelivered { .. }
        | Message::ChatMissed { .. }
        | Message::FileAccept { .. }
        | Message::FileFailed { .. }
        | Message::FilePause { .. }
        | Message::FileProgress { .. }
        | Message::FileWaits { .. }
        | Message::FileWanted { .. }
        | Message::FileWithdraw { .. } => {}
    }
    delivery
}
