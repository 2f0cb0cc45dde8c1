//! The sending sides of all streams, and which of them is served next: messages before files, files in turn.

use std::collections::BTreeMap;

use super::scoreboard::SentFrame;
use super::send_queue::{Piece, SendQueue};
use super::{Event, Violation};
use crate::limits::{STREAM_SEND_BUFFER_MIN_BYTES, STREAMS_PER_CHANNEL};
use crate::wire::segment::{DATA_FRAME_HEADER_BYTES, Frame, SegmentWriter, StreamId};

/// Every stream this side sends.
#[derive(Debug)]
pub(super) struct Outbox {
    streams: BTreeMap<StreamId, Outgoing>,
    /// The id that the next stream gets.
    next: u32,
    /// The peer allows ids below it.
    limit: u32,
    /// The file stream that was served last.
    served: StreamId,
    /// Bytes that a stream may hold.
    buffer_bytes: usize,
}

#[derive(Debug)]
struct Outgoing {
    queue: SendQueue,
    reset: Reset,
    /// The peer is to be asked for its window.
    probe_due: bool,
    /// The application was told that the buffer is full.
    write_cut_short: bool,
}

/// Whether a stream was given up, and how far the peer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reset {
    No,
    Due,
    Sent,
}

/// A writer that was turned away is told again when this part of the buffer is free: it comes back for a good piece, not
/// for every segment that is acknowledged.
const WRITABLE_AGAIN_PART: usize = 4;

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            streams: BTreeMap::from([(StreamId::MESSAGES, Outgoing::new())]),
            next: StreamId::MESSAGES.0 + 1,
            limit: STREAMS_PER_CHANNEL as u32,
            served: StreamId::MESSAGES,
            buffer_bytes: STREAM_SEND_BUFFER_MIN_BYTES,
        }
    }

    pub(super) fn open(&mut self) -> Option<StreamId> {
        if self.streams.len() >= STREAMS_PER_CHANNEL || self.next >= self.limit {
            return None;
        }
        let id = StreamId(self.next);
        self.next += 1;
        self.streams.insert(id, Outgoing::new());
        Some(id)
    }

    pub(super) fn room(&self, id: StreamId) -> usize {
        self.streams.get(&id).map_or(0, |stream| stream.room(self.buffer_bytes))
    }

    pub(super) fn held(&self, id: StreamId) -> usize {
        self.streams.get(&id).map_or(0, |stream| stream.queue.held())
    }

    pub(super) fn write(&mut self, id: StreamId, bytes: &[u8]) -> usize {
        let Some(stream) = self.streams.get_mut(&id) else {
            return 0;
        };
        if stream.reset != Reset::No {
            return 0;
        }
        let taken = stream.queue.write(bytes, self.buffer_bytes);
        stream.write_cut_short |= taken < bytes.len();
        taken
    }

    /// Has the application told when a good piece fits.
    pub(super) fn await_room(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.write_cut_short = true;
        }
    }

    pub(super) fn finish(&mut self, id: StreamId) {
        if id == StreamId::MESSAGES {
            return;
        }
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.queue.finish();
        }
    }

    /// Forgets the bytes of a stream and has the peer told.
    pub(super) fn reset(&mut self, id: StreamId) {
        if id == StreamId::MESSAGES {
            return;
        }
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.reset == Reset::No
        {
            *stream = Outgoing::new();
            stream.reset = Reset::Due;
        }
    }

    /// The peer wants no more of a stream.
    pub(super) fn on_stop(&mut self, id: StreamId) -> Result<Option<Event>, Violation> {
        if id == StreamId::MESSAGES || id.0 >= self.next {
            return Err(Violation);
        }
        let known = self.streams.get(&id).is_some_and(|s| s.reset == Reset::No);
        self.reset(id);
        Ok(known.then_some(Event::Stopped(id)))
    }

    /// The peer takes bytes of a stream below `limit`. Answers whether that lets more be sent than before.
    pub(super) fn on_window(&mut self, id: StreamId, limit: u64) -> Result<bool, Violation> {
        if id.0 >= self.next {
            return Err(Violation);
        }
        let stream = self.streams.get_mut(&id);
        Ok(stream.is_some_and(|stream| stream.queue.raise_limit(limit)))
    }

    /// The peer takes streams below `limit`.
    pub(super) fn on_streams(&mut self, limit: u32) {
        self.limit = self.limit.max(limit);
    }

    /// A frame that was sent arrived.
    pub(super) fn on_acknowledged(&mut self, frame: SentFrame) -> Option<Event> {
        match frame {
            SentFrame::Data { stream: id, offset, length, last } => {
                let stream = self.streams.get_mut(&id)?;
                if stream.reset != Reset::No {
                    return None;
                }
                let range = offset..offset + u64::from(length);
                stream.queue.on_acknowledged(range, last);
                self.after_progress(id)
            }
            SentFrame::Reset(id) => {
                self.streams.remove(&id);
                None
            }
            SentFrame::Padding
            | SentFrame::Probe(_)
            | SentFrame::Stop(_)
            | SentFrame::Streams
            | SentFrame::Window(_) => None,
        }
    }

    fn after_progress(&mut self, id: StreamId) -> Option<Event> {
        let stream = self.streams.get_mut(&id)?;
        if stream.queue.is_done() {
            self.streams.remove(&id);
            return Some(Event::Acknowledged(id));
        }
        let room = stream.queue.room(self.buffer_bytes);
        let again = stream.write_cut_short && room >= self.buffer_bytes / WRITABLE_AGAIN_PART;
        stream.write_cut_short &= !again;
        again.then_some(Event::Writable(id))
    }

    /// A frame must be sent again: its segment is lost, or is repeated as a probe.
    pub(super) fn on_lost(&mut self, frame: SentFrame) {
        match frame {
            SentFrame::Data { stream, offset, length, last } => {
                if let Some(stream) = self.alive(stream) {
                    stream.queue.on_lost(offset..offset + u64::from(length), last);
                }
            }
            SentFrame::Probe(id) => {
                if let Some(stream) = self.alive(id) {
                    stream.probe_due = stream.queue.is_blocked();
                }
            }
            SentFrame::Reset(id) => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.reset = Reset::Due;
                }
            }
            SentFrame::Padding | SentFrame::Stop(_) | SentFrame::Streams | SentFrame::Window(_) => {}
        }
    }

    /// A frame that was given up is on the way after all.
    pub(super) fn on_revived(&mut self, frame: SentFrame) {
        if let SentFrame::Data { stream, offset, length, .. } = frame
            && let Some(stream) = self.alive(stream)
        {
            stream.queue.on_revived(offset..offset + u64::from(length));
        }
    }

    /// Whether everything that waits or is on the way are messages of no more than so many bytes together.
    pub(super) fn holds_only_messages(&self, bytes: usize) -> bool {
        let mut streams = self.streams.iter();
        streams.all(|(id, stream)| {
            let held = stream.queue.held();
            if *id == StreamId::MESSAGES { held <= bytes } else { held == 0 }
        })
    }

    /// Streams may hold so many bytes each, written and not acknowledged.
    pub(super) fn set_buffer(&mut self, bytes: usize) {
        self.buffer_bytes = bytes;
    }

    fn alive(&mut self, id: StreamId) -> Option<&mut Outgoing> {
        self.streams.get_mut(&id).filter(|s| s.reset == Reset::No)
    }

    /// Whether there is data that may be sent as far as the peer's windows go.
    pub(super) fn has_data(&self) -> bool {
        self.streams.values().any(Outgoing::has_data)
    }

    /// Whether a file has data that was never sent and may be.
    pub(super) fn has_file_data(&self) -> bool {
        let mut files = self.streams.range(StreamId(StreamId::MESSAGES.0 + 1)..);
        files.any(|(_, stream)| stream.queue.has_new())
    }

    /// Whether there is data that was never sent and may be.
    pub(super) fn has_new_data(&self) -> bool {
        self.streams.values().any(|stream| stream.queue.has_new())
    }

    /// Whether the peer's windows alone keep data here.
    pub(super) fn is_blocked(&self) -> bool {
        !self.has_data() && self.streams.values().any(|s| s.queue.is_blocked())
    }

    /// Has the peer asked for the windows that are closed.
    pub(super) fn probe(&mut self) {
        for stream in self.streams.values_mut() {
            stream.probe_due = stream.queue.is_blocked();
        }
    }

    pub(super) fn has_control(&self) -> bool {
        let due = |stream: &Outgoing| stream.probe_due || stream.reset == Reset::Due;
        self.streams.values().any(due)
    }

    /// The next frame that is not data.
    pub(super) fn take_control(&mut self) -> Option<Frame<'static>> {
        for (&id, stream) in &mut self.streams {
            if stream.reset == Reset::Due {
                stream.reset = Reset::Sent;
                return Some(Frame::Reset(id));
            }
            if std::mem::take(&mut stream.probe_due) {
                return Some(Frame::Probe(id));
            }
        }
        None
    }

    /// Puts the next piece of data into a segment: of the messages, else of the file whose turn it is, first of one
    /// that lost something. Answers what was put, and whether it was sent before.
    pub(super) fn put_data(&mut self, segment: &mut SegmentWriter<'_>) -> Option<(SentFrame, bool)> {
        let room = segment.room().checked_sub(DATA_FRAME_HEADER_BYTES)?;
        if room == 0 {
            return None;
        }
        let id = self.next_stream()?;
        let stream = self.streams.get_mut(&id)?;
        let piece = stream.queue.take_piece(room)?;
        segment.data(id, piece.offset, stream.queue.parts(&piece), piece.last);
        if id != StreamId::MESSAGES {
            self.served = id;
        }
        Some((SentFrame::data(id, &piece), piece.again))
    }

    fn next_stream(&self) -> Option<StreamId> {
        let messages = self.streams.get(&StreamId::MESSAGES);
        if messages.is_some_and(Outgoing::has_data) {
            return Some(StreamId::MESSAGES);
        }
        let after = StreamId(self.served.0 + 1);
        let in_turn = self.streams.range(after..).chain(self.streams.range(..after));
        let repeating = in_turn.clone().find(|(_, s)| s.queue.must_repeat());
        repeating.or_else(|| in_turn.clone().find(|(_, s)| s.has_data())).map(|(&id, _)| id)
    }
}

impl Outgoing {
    fn new() -> Self {
        Self { queue: SendQueue::new(), reset: Reset::No, probe_due: false, write_cut_short: false }
    }

    fn room(&self, buffer_bytes: usize) -> usize {
        if self.reset == Reset::No { self.queue.room(buffer_bytes) } else { 0 }
    }

    fn has_data(&self) -> bool {
        self.queue.must_repeat() || self.queue.has_new()
    }
}

impl SentFrame {
    fn data(stream: StreamId, piece: &Piece) -> Self {
        Self::Data { stream, offset: piece.offset, length: piece.length as u16, last: piece.last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::segment::{Incarnation, SEGMENT_MAX_BYTES, Segment};

    /// The streams whose data the next segment would hold, with the lengths.
    fn segment(outbox: &mut Outbox) -> Vec<(u32, usize)> {
        let mut buffer = [0; SEGMENT_MAX_BYTES];
        let mut writer = SegmentWriter::new(&mut buffer, Incarnation(0), 0, 0).unwrap();
        let mut any = false;
        while outbox.put_data(&mut writer).is_some() {
            any = true;
        }
        let length = writer.length();
        if !any {
            return Vec::new();
        }
        let segment = Segment::parse(&buffer[..length]).unwrap();
        let data = |frame| {
            let Frame::Data { stream, bytes, .. } = frame else {
                panic!("{frame:?}");
            };
            (stream.0, bytes.len())
        };
        segment.frames().map(data).collect()
    }

    #[test]
    fn messages_go_before_files_and_files_in_turn() {
        let mut outbox = Outbox::new();
        for _ in 0..3 {
            let file = outbox.open().unwrap();
            outbox.write(file, &[7; 10_000]);
        }
        let mut order = Vec::new();
        for _ in 0..4 {
            order.extend(segment(&mut outbox).into_iter().map(|(id, _)| id));
        }
        assert_eq!(order, [1, 2, 3, 1]);
        outbox.write(StreamId::MESSAGES, b"hi");
        let mixed = segment(&mut outbox);
        assert_eq!((mixed[0], mixed[1].0), ((0, 2), 2));
    }

    #[test]
    fn two_small_messages_share_a_segment() {
        let mut outbox = Outbox::new();
        outbox.write(StreamId::MESSAGES, b"one");
        outbox.write(StreamId::MESSAGES, b"two");
        assert_eq!(segment(&mut outbox), [(0, 6)]);
        assert_eq!(segment(&mut outbox), []);
    }

    #[test]
    fn a_file_that_lost_something_is_served_out_of_turn() {
        let mut outbox = Outbox::new();
        for _ in 0..3 {
            let file = outbox.open().unwrap();
            outbox.write(file, &[7; 10_000]);
        }
        segment(&mut outbox);
        outbox.on_lost(SentFrame::Data { stream: StreamId(1), offset: 0, length: 100, last: false });
        assert_eq!(segment(&mut outbox)[0], (1, 100));
    }

    #[test]
    fn streams_open_up_to_the_limit_of_the_peer() {
        let mut outbox = Outbox::new();
        while outbox.open().is_some() {}
        assert_eq!(outbox.streams.len(), STREAMS_PER_CHANNEL);
        outbox.on_acknowledged(SentFrame::Reset(StreamId(5)));
        assert_eq!(outbox.open(), None);
        outbox.on_streams(STREAMS_PER_CHANNEL as u32 + 1);
        assert_eq!(outbox.open(), Some(StreamId(STREAMS_PER_CHANNEL as u32)));
        assert_eq!(outbox.open(), None);
    }

    #[test]
    fn the_messages_cannot_be_given_up() {
        let mut outbox = Outbox::new();
        outbox.reset(StreamId::MESSAGES);
        outbox.finish(StreamId::MESSAGES);
        assert_eq!(outbox.write(StreamId::MESSAGES, b"still"), 5);
        assert!(outbox.on_stop(StreamId::MESSAGES).is_err());
        assert!(outbox.on_stop(StreamId(1)).is_err());
    }
}
