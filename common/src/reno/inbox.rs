//! The receiving sides of all streams, and what their sender is to be told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::recv_queue::{Received, RecvQueue};
use super::{Event, Read, Violation};
use crate::limits::{CHANNEL_RECEIVE_SPARE_BYTES, STREAMS_PER_CHANNEL};
use crate::wire::segment::{Frame, StreamId};

/// Every stream this side receives.
#[derive(Debug)]
pub(super) struct Inbox {
    streams: BTreeMap<StreamId, Incoming>,
    /// The lowest id that was never seen.
    next: u32,
    /// How many streams came to their end and were let go.
    closed: u32,
    /// The peer was told it may use ids below it.
    limit: u32,
    /// The peer is to be told more.
    limit_due: bool,
    /// Memory left for windows that grow.
    spare: u64,
}

#[derive(Debug)]
struct Incoming {
    queue: RecvQueue,
    /// The application was told that it can read and has not read since.
    told: bool,
    window_due: bool,
    stop_due: bool,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            streams: BTreeMap::from([(StreamId::MESSAGES, Incoming::new())]),
            next: StreamId::MESSAGES.0 + 1,
            closed: 0,
            limit: STREAMS_PER_CHANNEL as u32,
            limit_due: false,
            spare: CHANNEL_RECEIVE_SPARE_BYTES as u64,
        }
    }

    /// Takes bytes of a stream. Answers whether they may be acknowledged.
    pub(super) fn on_data(
        &mut self,
        id: StreamId,
        (offset, bytes, last): (u64, &[u8], bool),
        tell: &mut impl FnMut(Event),
    ) -> Result<bool, Violation> {
        if id == StreamId::MESSAGES && last {
            return Err(Violation);
        }
        self.open_up_to(id, tell)?;
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(true); // It is over; this is a copy of something that was read.
        };
        let received = stream.queue.receive(offset, bytes, last)?;
        if stream.queue.is_discarding() {
            if stream.queue.is_complete() {
                self.close(id);
            }
        } else if received == Received::More && !stream.told {
            stream.told = true;
            tell(Event::Readable(id));
        }
        Ok(received != Received::Refused)
    }

    /// The sender of a stream gives it up.
    pub(super) fn on_reset(&mut self, id: StreamId, tell: &mut impl FnMut(Event)) -> Result<(), Violation> {
        if id == StreamId::MESSAGES {
            return Err(Violation);
        }
        self.open_up_to(id, tell)?;
        if let Some(stream) = self.streams.get(&id) {
            if !stream.queue.is_discarding() {
                tell(Event::Reset(id));
            }
            self.close(id);
        }
        Ok(())
    }

    /// The sender of a stream asks for its window.
    pub(super) fn on_probe(&mut self, id: StreamId, tell: &mut impl FnMut(Event)) -> Result<(), Violation> {
        self.open_up_to(id, tell)?;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.window_due = true;
        }
        Ok(())
    }

    /// Ids are given upwards, so one that was not seen before means that the ones below it are open as well; their
    /// first segments are on the way.
    fn open_up_to(&mut self, id: StreamId, tell: &mut impl FnMut(Event)) -> Result<(), Violation> {
        if id.0 >= self.limit {
            return Err(Violation);
        }
        while self.next <= id.0 {
            let opened = StreamId(self.next);
            self.next += 1;
            self.streams.insert(opened, Incoming::new());
            tell(Event::Opened(opened));
        }
        Ok(())
    }

    pub(super) fn readable(&self, id: StreamId) -> usize {
        let stream = self.streams.get(&id);
        stream.map_or(0, |stream| stream.queue.readable())
    }

    pub(super) fn read(&mut self, id: StreamId, buffer: &mut [u8]) -> Read {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Read::default();
        };
        if stream.queue.is_discarding() {
            return Read::default();
        }
        stream.told = false;
        let read = stream.queue.read(buffer);
        stream.window_due |= stream.queue.wants_to_announce();
        if read.finished {
            self.close(id);
        }
        read
    }

    /// The application wants no more of a stream.
    pub(super) fn stop(&mut self, id: StreamId) {
        if id == StreamId::MESSAGES {
            return;
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if stream.queue.is_complete() {
            self.close(id);
        } else if !stream.queue.is_discarding() {
            stream.queue.discard();
            stream.window_due = false;
            stream.stop_due = true;
        }
    }

    fn close(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.remove(&id) {
            self.spare += stream.queue.grown();
            self.closed = self.closed.saturating_add(1);
            self.limit_due = true;
        }
    }

    pub(super) fn has_control(&self) -> bool {
        let due = |stream: &Incoming| stream.window_due || stream.stop_due;
        self.limit_due || self.streams.values().any(due)
    }

    /// The next frame for the peer.
    pub(super) fn take_control(&mut self, now: Instant, round_trip: Duration) -> Option<Frame<'static>> {
        if std::mem::take(&mut self.limit_due) {
            self.limit = self.closed.saturating_add(STREAMS_PER_CHANNEL as u32);
            return Some(Frame::Streams(self.limit));
        }
        for (&id, stream) in &mut self.streams {
            if std::mem::take(&mut stream.stop_due) {
                return Some(Frame::Stop(id));
            }
            if std::mem::take(&mut stream.window_due) {
                let limit = stream.queue.announce(now, round_trip, &mut self.spare);
                return Some(Frame::Window { stream: id, limit });
            }
        }
        None
    }

    /// What was said in a segment that is lost must be said again, as it is by then.
    pub(super) fn on_window_lost(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.window_due = !stream.queue.is_discarding();
        }
    }

    pub(super) fn on_stop_lost(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.stop_due = true;
        }
    }

    pub(super) fn on_streams_lost(&mut self) {
        self.limit_due = true;
    }

    /// Says something to the peer that is true at any time and asks for an acknowledgement.
    pub(super) fn greet(&mut self) {
        self.limit_due = true;
    }
}

impl Incoming {
    fn new() -> Self {
        Self { queue: RecvQueue::new(), told: false, window_due: false, stop_due: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(inbox: &mut Inbox, id: u32, offset: u64, bytes: &[u8], last: bool) -> Vec<Event> {
        let mut events = Vec::new();
        inbox.on_data(StreamId(id), (offset, bytes, last), &mut |e| events.push(e)).unwrap();
        events
    }

    #[expect(clippy::disallowed_methods, reason = "the tests take any instant as their zero")]
    fn control(inbox: &mut Inbox) -> Option<Frame<'static>> {
        inbox.take_control(Instant::now(), Duration::ZERO)
    }

    #[test]
    fn a_stream_is_opened_before_it_is_readable_and_told_once_until_it_is_read() {
        let mut inbox = Inbox::new();
        let (opened, readable) = (Event::Opened, Event::Readable);
        let two = StreamId(2);
        let events = data(&mut inbox, 2, 0, b"a", false);
        assert_eq!(events, [opened(StreamId(1)), opened(two), readable(two)]);
        assert_eq!(data(&mut inbox, 2, 1, b"b", false), []);
        assert_eq!(inbox.read(two, &mut [0; 9]).bytes, 2);
        assert_eq!(data(&mut inbox, 2, 2, b"c", true), [readable(two)]);
        let end = Read { bytes: 1, finished: true };
        assert_eq!(inbox.read(two, &mut [0; 9]), end);
        assert_eq!(data(&mut inbox, 2, 0, b"abc", true), []);
    }

    #[test]
    fn a_peer_cannot_open_more_streams_than_it_was_told() {
        let mut inbox = Inbox::new();
        let limit = STREAMS_PER_CHANNEL as u32;
        let open = |id, inbox: &mut Inbox| inbox.on_data(StreamId(id), (0, b"x", true), &mut |_| ());
        assert_eq!(open(limit, &mut inbox), Err(Violation));
        assert_eq!(open(limit - 1, &mut inbox), Ok(true));
        assert_eq!(inbox.streams.len(), STREAMS_PER_CHANNEL);
        inbox.read(StreamId(limit - 1), &mut [0; 1]);
        assert_eq!(control(&mut inbox), Some(Frame::Streams(limit + 1)));
        assert_eq!(open(limit, &mut inbox), Ok(true));
        assert_eq!(open(limit + 1, &mut inbox), Err(Violation));
    }

    #[test]
    fn a_stopped_stream_holds_nothing_and_is_let_go_at_its_end() {
        let mut inbox = Inbox::new();
        data(&mut inbox, 1, 0, b"abc", false);
        inbox.stop(StreamId(1));
        assert_eq!(control(&mut inbox), Some(Frame::Stop(StreamId(1))));
        assert_eq!(data(&mut inbox, 1, 3, b"def", false), []);
        assert_eq!(inbox.readable(StreamId(1)), 0);
        assert_eq!(data(&mut inbox, 1, 6, b"", true), []);
        assert!(control(&mut inbox).is_some_and(|f| matches!(f, Frame::Streams(_))));
        assert!(!inbox.streams.contains_key(&StreamId(1)));
    }

    #[test]
    fn the_messages_do_not_end() {
        let mut inbox = Inbox::new();
        let messages = StreamId::MESSAGES;
        assert_eq!(inbox.on_reset(messages, &mut |_| ()), Err(Violation));
        assert_eq!(inbox.on_data(messages, (0, b"", true), &mut |_| ()), Err(Violation));
    }
}
