//! One reliable channel, both its directions: the wiring between the parts, which each know one thing.
//!
//! ```text
//!  write ──▶ outbox ──▶ poll_transmit ──▶ datagrams ──▶ handle_segment ──▶ inbox ──▶ read
//!              ▲            │                                 │
//!              │            ▼                                 ▼
//!              └─ lost ─ scoreboard ◀── acknowledgements ── acknowledger
//!                           │
//!                     rtt, congestion, timer
//! ```

use std::collections::VecDeque;
use std::time::Instant;

use super::RenoStatistics;
use super::Violation;
use super::acknowledger::Acknowledger;
use super::congestion::Congestion;
use super::inbox::Inbox;
use super::outbox::Outbox;
use super::rtt::RttEstimator;
use super::scoreboard::{News, Scoreboard, SentFrame};
use super::timer::{Alarm, Timer};
use crate::wire::Malformed;
use crate::wire::segment::{Acknowledgement, CONTROL_FRAME_MAX_BYTES, Frame, Segment, SegmentWriter, StreamId};

/// What happened on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer has every byte and the end of a stream that is sent from here. The stream is over.
    Acknowledged(StreamId),
    /// The peer opened a stream; comes before anything else about it.
    Opened(StreamId),
    /// A received stream has bytes to read, or its end. Not told again before [`Connection::read`] was called.
    Readable(StreamId),
    /// The peer gave up a stream that is received here. What was not read is gone.
    Reset(StreamId),
    /// Nothing was acknowledged for [`crate::limits::CHANNEL_STALL_TIMEOUT`], or the peer broke the protocol: the
    /// channel is dead, nothing more is sent or taken.
    Stalled,
    /// The peer wants no more of a stream that is sent from here. The stream is over.
    Stopped(StreamId),
    /// A stream whose buffer was full takes a good piece again (a quarter of the buffer).
    Writable(StreamId),
}

/// What [`Connection::read`] gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// How many bytes were put into the buffer.
    pub bytes: usize,
    /// The stream ends behind them: all of it was read. Told once, and never of a stream that was reset.
    pub finished: bool,
}

/// An application-layer TCP Reno, sender and receiver.
///
/// Facts go in by `handle_*`, `write` and the like; after each of them ask [`Self::poll_transmit`] and
/// [`Self::poll_event`] until they answer `None`, and [`Self::poll_timeout`] for when to call
/// [`Self::handle_timeout`].
#[derive(Debug)]
pub struct Connection {
    outbox: Outbox,
    inbox: Inbox,
    scoreboard: Scoreboard,
    acknowledger: Acknowledger,
    rtt: RttEstimator,
    congestion: Congestion,
    timer: Timer,
    events: VecDeque<Event>,
    dead: bool,
    /// One segment may be sent beyond the window: the first of a recovery (RFC 6675 §5, step 4.3), or a probe.
    beyond_window: bool,
    /// Segments below this number were on the way while the window, and nothing else, held the sender back.
    window_full_below: u64,
    last_sent: Instant,
    counts: Counts,
}

/// The part of [`RenoStatistics`] that only grows.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    segments_sent: u64,
    segments_retransmitted: u64,
    loss_events: u64,
    timeouts: u64,
    bytes_acknowledged: u64,
}

impl Connection {
    /// A channel on which nothing was sent yet, with [`StreamId::MESSAGES`] open in both directions.
    pub fn new(now: Instant) -> Self {
        Self {
            outbox: Outbox::new(),
            inbox: Inbox::new(),
            scoreboard: Scoreboard::default(),
            acknowledger: Acknowledger::default(),
            rtt: RttEstimator::default(),
            congestion: Congestion::new(),
            timer: Timer::new(now),
            events: VecDeque::new(),
            dead: false,
            beyond_window: false,
            window_full_below: 0,
            last_sent: now,
            counts: Counts::default(),
        }
    }

    /// The next thing that happened, until `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Opens a stream to send, or `None` while [`crate::limits::STREAMS_PER_CHANNEL`] are open, this side's ended
    /// ones included that the peer has not read to their end.
    pub fn open(&mut self) -> Option<StreamId> {
        if self.dead { None } else { self.outbox.open() }
    }

    /// How many bytes [`Self::write`] takes right now; 0 for a stream that is over or unknown.
    pub fn writable(&self, stream: StreamId) -> usize {
        if self.dead { 0 } else { self.outbox.room(stream) }
    }

    /// Takes bytes to send and answers how many. When it is fewer than given, [`Event::Writable`] follows.
    pub fn write(&mut self, stream: StreamId, bytes: &[u8]) -> usize {
        if self.dead { 0 } else { self.outbox.write(stream, bytes) }
    }

    /// Asks for [`Event::Writable`] as if a write had been cut short: for who writes only when a good piece fits.
    pub fn await_room(&mut self, stream: StreamId) {
        self.outbox.await_room(stream);
    }

    /// Ends a stream behind what was written; [`StreamId::MESSAGES`] has no end.
    pub fn finish(&mut self, stream: StreamId) {
        self.outbox.finish(stream);
    }

    /// Gives up a stream that is sent from here, with what was not acknowledged; never [`StreamId::MESSAGES`].
    pub fn reset(&mut self, stream: StreamId) {
        self.outbox.reset(stream);
    }

    /// Wants no more of a stream that is received here; never [`StreamId::MESSAGES`].
    pub fn stop(&mut self, stream: StreamId) {
        self.inbox.stop(stream);
    }

    /// How many bytes of a stream can be read right now.
    pub fn readable(&self, stream: StreamId) -> usize {
        self.inbox.readable(stream)
    }

    /// Takes bytes that arrived, which opens the receive window again. A stream that is over or unknown gives none
    /// and is not `finished`.
    pub fn read(&mut self, stream: StreamId, buffer: &mut [u8]) -> Read {
        self.inbox.read(stream, buffer)
    }

    /// What can be seen of the sender.
    pub fn statistics(&self) -> RenoStatistics {
        RenoStatistics {
            cwnd_bytes: self.congestion.cwnd(),
            ssthresh_bytes: self.congestion.ssthresh(),
            flight_size_bytes: self.scoreboard.flight_size(),
            srtt: self.rtt.smoothed(),
            rttvar: self.rtt.variation(),
            rto: self.timer.rto(&self.rtt),
            phase: self.congestion.phase(),
            segments_sent: self.counts.segments_sent,
            segments_retransmitted: self.counts.segments_retransmitted,
            loss_events: self.counts.loss_events,
            timeouts: self.counts.timeouts,
            bytes_acknowledged: self.counts.bytes_acknowledged,
        }
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.dead {
            return None;
        }
        let alarm = self.timer.alarm(&self.rtt, self.scoreboard.outstanding());
        let deadlines = [
            self.acknowledger.due(),
            self.scoreboard.loss_deadline(self.rtt.reordering_window()),
            alarm.map(|(at, _)| at),
            self.timer.window_probe_at(),
            self.timer.stall_at(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Does what is due by `now`; too early or too late does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.dead {
            return;
        }
        if self.timer.stall_at().is_some_and(|at| at <= now) {
            return self.give_up();
        }
        self.detect_losses(now, self.scoreboard.flight_size());
        let alarm = self.timer.alarm(&self.rtt, self.scoreboard.outstanding());
        match alarm.filter(|(at, _)| *at <= now) {
            Some((_, Alarm::Probe)) => self.probe(now),
            Some((_, Alarm::Timeout)) => self.time_out(),
            None => {}
        }
        if self.timer.take_window_probe(now) {
            self.outbox.probe();
        }
    }

    /// RFC 8985 §7.3: one segment, new if there is one, else the last one again. Its acknowledgement shows what is
    /// missing before it.
    fn probe(&mut self, now: Instant) {
        self.timer.on_probe(now);
        self.beyond_window = true;
        if self.outbox.has_new_data() {
            return;
        }
        for frame in self.scoreboard.newest_frames() {
            repeat(&mut self.outbox, &mut self.inbox, frame);
        }
    }

    /// RFC 6298 §5.4 to §5.6, RFC 5681 §3.1.
    fn time_out(&mut self) {
        self.congestion.on_timeout(
            self.scoreboard.next_number(),
            self.scoreboard.flight_size(),
            self.timer.has_timed_out(),
        );
        self.timer.on_timeout();
        self.counts.timeouts += 1;
        self.beyond_window = false;
        let Self { outbox, inbox, .. } = self;
        self.scoreboard.lose_all(|frame| repeat(outbox, inbox, frame));
    }

    fn give_up(&mut self) {
        self.dead = true;
        self.events.push_back(Event::Stalled);
    }

    /// Takes a segment as it came out of its datagram.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are no segment; nothing has changed then.
    pub fn handle_segment(&mut self, now: Instant, segment: &[u8]) -> Result<(), Malformed> {
        let segment = Segment::parse(segment)?;
        if !self.dead && self.handle_frames(now, &segment).is_err() {
            self.give_up();
        }
        Ok(())
    }

    fn handle_frames(&mut self, now: Instant, segment: &Segment<'_>) -> Result<(), Violation> {
        let (mut asks, mut taken) = (false, true);
        for frame in segment.frames() {
            asks |= !matches!(frame, Frame::Acknowledgement(_));
            taken &= self.handle_frame(now, frame)?;
        }
        if asks && taken {
            self.acknowledger.on_received(now, segment.number, segment.settled_below);
        }
        Ok(())
    }

    /// Answers whether the frame was taken, so that its segment may be acknowledged.
    fn handle_frame(&mut self, now: Instant, frame: Frame<'_>) -> Result<bool, Violation> {
        let Self { events, inbox, outbox, .. } = self;
        let mut tell = |event| events.push_back(event);
        match frame {
            Frame::Acknowledgement(acknowledgement) => self.handle_acknowledgement(now, &acknowledgement)?,
            Frame::Data { stream, offset, bytes, last } => {
                return inbox.on_data(stream, (offset, bytes, last), &mut tell);
            }
            Frame::Probe(stream) => inbox.on_probe(stream, &mut tell)?,
            Frame::Reset(stream) => inbox.on_reset(stream, &mut tell)?,
            Frame::Stop(stream) => outbox.on_stop(stream)?.into_iter().for_each(tell),
            Frame::Streams(limit) => outbox.on_streams(limit),
            Frame::Window { stream, limit } => {
                if outbox.on_window(stream, limit)? {
                    self.timer.on_window();
                }
            }
        }
        Ok(true)
    }

    fn handle_acknowledgement(&mut self, now: Instant, acknowledgement: &Acknowledgement<'_>) -> Result<(), Violation> {
        if acknowledgement.largest >= self.scoreboard.next_number() {
            return Err(Violation); // It was never sent: a peer that says so wants the window to grow for nothing.
        }
        let flight_size = self.scoreboard.flight_size();
        let news = self.settle(acknowledgement);
        let Some((newest, sent_at)) = news.newest else {
            return Ok(());
        };
        if newest == acknowledgement.largest {
            let measured = now.saturating_duration_since(sent_at);
            self.rtt.sample(measured, acknowledgement.delay);
        }
        self.timer.on_progress(now, self.scoreboard.outstanding() > 0);
        self.detect_losses(now, flight_size);
        let window_was_full = newest < self.window_full_below;
        self.congestion.on_acknowledged(news.bytes, newest, window_was_full);
        Ok(())
    }

    fn settle(&mut self, acknowledgement: &Acknowledgement<'_>) -> News {
        let mut news = News::default();
        let Self { outbox, events, counts, .. } = self;
        let mut arrived = |frame| {
            if let SentFrame::Data { length, .. } = frame {
                counts.bytes_acknowledged += u64::from(length);
            }
            events.extend(outbox.on_acknowledged(frame));
        };
        for numbers in acknowledgement.ranges() {
            self.scoreboard.on_acknowledged(numbers, &mut news, &mut arrived);
        }
        news
    }

    /// `flight_size` is what was on the way before this acknowledgement: RFC 5681 halves what was sent and not yet
    /// acknowledged when the loss is found.
    fn detect_losses(&mut self, now: Instant, flight_size: u64) {
        let Self { outbox, inbox, .. } = self;
        let window = self.rtt.reordering_window();
        let lost = |frame| repeat(outbox, inbox, frame);
        let Some(newest) = self.scoreboard.detect_losses(now, window, lost) else {
            return;
        };
        let next = self.scoreboard.next_number();
        if self.congestion.on_lost(newest, next, flight_size) {
            self.counts.loss_events += 1;
            self.beyond_window = true;
        }
    }

    /// Writes the next segment into `buffer`, which must hold
    /// [`crate::wire::segment::SEGMENT_MAX_BYTES`]; answers its length, or `None` when nothing may be sent now.
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<usize> {
        if self.dead {
            return None;
        }
        let numbers = !self.scoreboard.is_full();
        let data = numbers && self.may_send_data();
        let control = numbers && (self.inbox.has_control() || self.outbox.has_control());
        if !(data || control || self.acknowledger.is_due(now)) {
            self.note_quiet(now);
            return None;
        }
        let number = self.scoreboard.next_number();
        let mut segment = SegmentWriter::new(buffer, number, self.scoreboard.settled_below())?;
        self.acknowledger.put(now, &mut segment);
        if control {
            self.put_control(&mut segment);
        }
        if data {
            self.put_data(now, &mut segment);
        }
        let length = segment.length();
        let alone = self.scoreboard.outstanding() == 0;
        if self.scoreboard.send(now, length) {
            self.timer.on_sent(now, alone);
            self.last_sent = now;
        }
        Some(length)
    }

    fn may_send_data(&mut self) -> bool {
        if !self.outbox.has_data() {
            return false;
        }
        let allowed = self.congestion.allows(self.scoreboard.flight_size());
        if !allowed {
            self.window_full_below = self.scoreboard.next_number();
        }
        allowed || self.beyond_window
    }

    fn note_quiet(&mut self, now: Instant) {
        if self.scoreboard.outstanding() == 0 {
            let blocked = self.outbox.is_blocked();
            self.timer.on_quiet(now, &self.rtt, blocked);
        }
    }

    /// Control frames are few, bounded by the streams, and not held back by the window: they open the peer's.
    fn put_control(&mut self, segment: &mut SegmentWriter<'_>) {
        while segment.room() >= CONTROL_FRAME_MAX_BYTES {
            let frame = self.inbox.take_control();
            let Some(frame) = frame.or_else(|| self.outbox.take_control()) else {
                return;
            };
            self.scoreboard.note(put(segment, frame));
        }
    }

    fn put_data(&mut self, now: Instant, segment: &mut SegmentWriter<'_>) {
        let idle = now.saturating_duration_since(self.last_sent);
        if self.scoreboard.outstanding() == 0 && idle > self.rtt.rto(0) {
            self.congestion.on_idle();
        }
        let (mut any, mut any_again) = (false, false);
        while let Some((frame, again)) = self.outbox.put_data(segment) {
            self.scoreboard.note(frame);
            (any, any_again) = (true, any_again | again);
        }
        self.beyond_window &= !any;
        self.counts.segments_sent += u64::from(any);
        self.counts.segments_retransmitted += u64::from(any_again);
    }
}

/// Has a frame said again by the side it belongs to.
fn repeat(outbox: &mut Outbox, inbox: &mut Inbox, frame: SentFrame) {
    match frame {
        SentFrame::Data { .. } | SentFrame::Probe(_) | SentFrame::Reset(_) => outbox.on_lost(frame),
        SentFrame::Stop(stream) => inbox.on_stop_lost(stream),
        SentFrame::Streams => inbox.on_streams_lost(),
        SentFrame::Window(stream) => inbox.on_window_lost(stream),
    }
}

/// Puts a control frame into a segment.
fn put(segment: &mut SegmentWriter<'_>, frame: Frame<'static>) -> SentFrame {
    match frame {
        Frame::Acknowledgement(_) | Frame::Data { .. } => {
            unreachable!("neither side hands these out as control frames")
        }
        Frame::Probe(stream) => {
            segment.probe(stream);
            SentFrame::Probe(stream)
        }
        Frame::Reset(stream) => {
            segment.reset(stream);
            SentFrame::Reset(stream)
        }
        Frame::Stop(stream) => {
            segment.stop(stream);
            SentFrame::Stop(stream)
        }
        Frame::Streams(limit) => {
            segment.streams(limit);
            SentFrame::Streams
        }
        Frame::Window { stream, limit } => {
            segment.window(stream, limit);
            SentFrame::Window(stream)
        }
    }
}
