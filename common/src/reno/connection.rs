//! One reliable channel, both its directions: the wiring between the parts, which each know one thing.
//!
//! ```text
//!  write ──▶ outbox ──▶ poll_transmit ──▶ datagrams ──▶ handle_segment ──▶ inbox ──▶ read
//!              ▲            │                                 │
//!              │            ▼                                 ▼
//!              └─ lost ─ scoreboard ◀── acknowledgements ── acknowledger
//!                           │
//!                  sender: rtt, rack, recovery, congestion, pacing, timer, path MTU
//! ```

mod incarnation;

use std::collections::VecDeque;
use std::time::Instant;

use super::acknowledger::{Acknowledger, micros_since};
use super::inbox::Inbox;
use super::outbox::Outbox;
use super::rtt::RTT_UNKNOWN;
use super::scoreboard::{News, Scoreboard, SentFrame};
use super::sender::{Sender, Verdict};
use super::timer::Alarm;
use super::trace::{Trace, Traced, Tracer};
use super::{Config, RenoStatistics, Violation};
use crate::limits::{PATH_SILENCE, STREAM_SEND_BUFFER_MAX_BYTES, STREAM_SEND_BUFFER_MIN_BYTES};
use crate::wire::Malformed;
use crate::wire::segment::{Acknowledgement, CONTROL_FRAME_MAX_BYTES, Frame, Segment, SegmentWriter, StreamId};

use incarnation::Renewal;

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
    /// One of the ends broke the protocol, and the channel was opened anew. Its streams go on.
    Renewed,
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
    /// The zero of our clock in acknowledgements.
    began: Instant,
    /// When the peer was heard for the last time, or when it all began.
    heard_at: Instant,
    outbox: Outbox,
    inbox: Inbox,
    scoreboard: Scoreboard,
    acknowledger: Acknowledger,
    sender: Sender,
    renewal: Renewal,
    tracer: Tracer,
    events: VecDeque<Event>,
    /// What waits for the pace may leave then.
    paced_until: Option<Instant>,
    counts: Counts,
}

/// The part of [`RenoStatistics`] that only grows.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    segments_sent: u64,
    segments_retransmitted: u64,
    loss_events: u64,
    spurious_losses: u64,
    timeouts: u64,
    bytes_acknowledged: u64,
}

/// All that a stream holds may be so small for its segments to be sent twice on a path that loses.
const COPIED_BYTES_MAX: usize = 1_024;

impl Connection {
    /// A channel on which nothing was sent yet, with [`StreamId::MESSAGES`] open in both directions.
    pub fn new(now: Instant) -> Self {
        Self::with_config(now, Config::default())
    }

    /// The same, with choices of its own.
    pub fn with_config(now: Instant, config: Config) -> Self {
        Self {
            began: now,
            heard_at: now,
            outbox: Outbox::new(),
            inbox: Inbox::new(),
            scoreboard: Scoreboard::default(),
            acknowledger: Acknowledger::default(),
            sender: Sender::new(now, config),
            renewal: Renewal::default(),
            tracer: Tracer::default(),
            events: VecDeque::new(),
            paced_until: None,
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
        self.outbox.open()
    }

    /// How many bytes [`Self::write`] takes right now; 0 for a stream that is over or unknown.
    pub fn writable(&self, stream: StreamId) -> usize {
        self.outbox.room(stream)
    }

    /// How many bytes of a stream were written and not acknowledged, up to the first gap in what was.
    pub fn unacknowledged(&self, stream: StreamId) -> usize {
        self.outbox.held(stream)
    }

    /// Takes bytes to send and answers how many. When it is fewer than given, [`Event::Writable`] follows.
    pub fn write(&mut self, stream: StreamId, bytes: &[u8]) -> usize {
        self.outbox.write(stream, bytes)
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

    /// Somebody speaks or is seen over the path that this side sends on: for a while, files leave the queue to them
    /// ([`Phase::Yielding`](super::Phase::Yielding)), unless [`Self::hurry`] was asked for.
    pub fn note_media(&mut self, now: Instant) {
        self.sender.note_media(now);
    }

    /// Whether files shall not yield to the meeting.
    pub fn hurry(&mut self, hurry: bool) {
        self.sender.hurry(hurry);
    }

    /// From here on, [`Self::poll_trace`] tells what the sender does.
    pub fn trace(&mut self) {
        self.tracer.start();
    }

    /// The next event of the trace, until `None`.
    pub fn poll_trace(&mut self) -> Option<Traced> {
        self.tracer.poll()
    }

    /// What can be seen of the sender.
    pub fn statistics(&self) -> RenoStatistics {
        RenoStatistics {
            flight_size_bytes: self.scoreboard.flight_size(),
            segments_sent: self.counts.segments_sent,
            segments_retransmitted: self.counts.segments_retransmitted,
            loss_events: self.counts.loss_events,
            spurious_losses: self.counts.spurious_losses,
            timeouts: self.counts.timeouts,
            bytes_acknowledged: self.counts.bytes_acknowledged,
            ..self.sender.statistics()
        }
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.renewal.due.is_some() {
            return self.renewal.due;
        }
        let deadlines = [
            self.acknowledger.due(),
            self.sender.loss_deadline(&self.scoreboard),
            self.alarm().map(|(at, _)| at),
            self.paced_until,
            self.sender.timer.window_probe_at(),
        ];
        deadlines.into_iter().flatten().min()
    }

    fn alarm(&self) -> Option<(Instant, Alarm)> {
        let outstanding = self.scoreboard.outstanding();
        let copies = outstanding > 0 && self.sender.path_loses() && self.outbox.holds_only_messages(COPIED_BYTES_MAX);
        self.sender.timer.alarm(&self.sender.rtt, outstanding, copies)
    }

    /// Does what is due by `now`; too early or too late does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.renewal.is_open() {
            return self.renewal.next(now).into_iter().for_each(|incarnation| self.renew(now, incarnation));
        }
        self.paced_until = self.paced_until.filter(|at| *at > now);
        self.detect_losses(now, self.scoreboard.flight_size());
        match self.alarm().filter(|(at, _)| *at <= now) {
            Some((_, Alarm::Copy)) => self.copy(),
            Some((_, Alarm::Probe)) => self.probe(now),
            Some((_, Alarm::Timeout)) => self.time_out(now),
            None => {}
        }
        if self.sender.timer.take_window_probe(now) {
            self.outbox.probe();
        }
    }

    /// A path that loses gets a small segment twice, before it can be known whether the first one arrived: a message is
    /// late only when both are lost. More than RFC 8985 §7 asks, and cheap: it is done for next to nothing on the way.
    fn copy(&mut self) {
        self.sender.on_copy();
        self.repeat_newest();
    }

    /// RFC 8985 §7.3: one segment, new if there is one, else the last one again. Its acknowledgement shows what is
    /// missing before it.
    fn probe(&mut self, now: Instant) {
        self.sender.on_probe(now);
        if !self.outbox.has_new_data() {
            self.repeat_newest();
        }
        self.note_trace(now, Trace::Probe);
    }

    fn repeat_newest(&mut self) {
        for frame in self.scoreboard.newest_frames() {
            repeat(&mut self.outbox, &mut self.inbox, frame);
        }
    }

    /// RFC 6298 §5.4 to §5.6, RFC 5681 §3.1.
    fn time_out(&mut self, now: Instant) {
        self.sender.on_timeout(now, &self.scoreboard);
        self.counts.timeouts += 1;
        let Self { outbox, inbox, .. } = self;
        self.scoreboard.lose_all(|frame| repeat(outbox, inbox, frame));
        self.note_trace(now, Trace::Timeout);
    }

    /// Something of the peer came over the path, a segment or not. After a silence it means that the path is back: what
    /// waits is sent again at once, and the peer is told something, so that it knows too where it was not silent itself.
    /// Answers whether there may be something to send.
    pub fn note_heard(&mut self, now: Instant) -> bool {
        let silence = now.saturating_duration_since(std::mem::replace(&mut self.heard_at, now));
        let returned = silence >= PATH_SILENCE;
        if returned {
            self.inbox.greet();
            self.retry(now);
        }
        returned
    }

    fn retry(&mut self, now: Instant) {
        if self.sender.timer.on_return(now) {
            self.handle_timeout(now);
        }
    }

    /// Segments go to another address from here on.
    pub fn handle_path_changed(&mut self) {
        self.sender.on_path_changed();
    }

    /// Takes a segment as it came out of its datagram.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are no segment; nothing has changed then.
    pub fn handle_segment(&mut self, now: Instant, segment: &[u8]) -> Result<(), Malformed> {
        let segment = Segment::parse(segment)?;
        if self.admits(now, segment.incarnation) && self.handle_frames(now, &segment).is_err() {
            self.renewal.fail(now);
        }
        // A peer that speaks while we wait for long has perhaps just heard us, or hears us from here on.
        if self.sender.timer.rto(&self.sender.rtt) >= PATH_SILENCE {
            self.retry(now);
        }
        Ok(())
    }

    fn handle_frames(&mut self, now: Instant, segment: &Segment<'_>) -> Result<(), Violation> {
        let (mut asks, mut urgent, mut taken) = (false, false, true);
        for frame in segment.frames() {
            asks |= !matches!(frame, Frame::Acknowledgement(_));
            urgent |= matches!(frame, Frame::Data { stream: StreamId::MESSAGES, .. });
            taken &= self.handle_frame(now, frame)?;
        }
        if asks && taken {
            self.acknowledger.on_received(now, segment.number, segment.settled_below, urgent);
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
            Frame::Padding => {}
            Frame::Probe(stream) => inbox.on_probe(stream, &mut tell)?,
            Frame::Reset(stream) => inbox.on_reset(stream, &mut tell)?,
            Frame::Stop(stream) => outbox.on_stop(stream)?.into_iter().for_each(tell),
            Frame::Streams(limit) => outbox.on_streams(limit),
            Frame::Window { stream, limit } => {
                if outbox.on_window(stream, limit)? {
                    self.sender.timer.on_window();
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
            let sent = micros_since(self.began, sent_at);
            self.sender.measure(now, sent_at, (sent, acknowledgement.arrival), acknowledgement.delay);
        }
        if self.sender.on_arrived(now, &news, newest, &self.scoreboard) == Verdict::Spurious {
            let outbox = &mut self.outbox;
            self.scoreboard.revive(|frame| outbox.on_revived(frame));
            self.counts.spurious_losses += 1;
            self.note_trace(now, Trace::Spurious);
        }
        self.detect_losses(now, flight_size);
        self.sender.on_acknowledged(now, &news, newest, &self.scoreboard);
        self.outbox.set_buffer(buffer_for(self.sender.cwnd()));
        self.note_trace(now, Trace::Acknowledged);
        Ok(())
    }

    fn settle(&mut self, acknowledgement: &Acknowledgement<'_>) -> News {
        let mut news = self.scoreboard.news();
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
        let (below, patience) = self.sender.patience(&self.scoreboard);
        let Self { outbox, inbox, sender, .. } = self;
        let lost = self.scoreboard.detect_losses(now, below, patience, |number, frame| {
            sender.note_lost(now, number);
            repeat(outbox, inbox, frame);
        });
        let Some(lost) = lost else { return };
        let begins = self.sender.on_lost(now, lost, flight_size, self.scoreboard.next_number());
        self.counts.loss_events += u64::from(begins);
        let segments = lost.segments;
        self.note_trace(now, if begins { Trace::Lost { segments } } else { Trace::LostMore { segments } });
    }

    fn note_trace(&mut self, now: Instant, what: Trace) {
        let mut tracer = std::mem::take(&mut self.tracer);
        tracer.push(now, what, || self.statistics());
        self.tracer = tracer;
    }

    /// Writes the next segment into `buffer`, which holds at least [`crate::wire::segment::SEGMENT_BASE_BYTES`] and
    /// bounds it; answers its length, or `None` when nothing may be sent now.
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<usize> {
        if !self.renewal.is_open() {
            return None;
        }
        let numbers = !self.scoreboard.is_full();
        let data = numbers && self.may_send_data(now);
        let control = numbers && (self.inbox.has_control() || self.outbox.has_control());
        if !(data || control || self.acknowledger.is_due(now)) {
            self.note_quiet(now);
            return None;
        }
        let probe = self.mtu_probe_bytes(now, data, buffer.len());
        let longest = probe.unwrap_or_else(|| self.sender.mtu.segment_bytes()).min(buffer.len());
        let number = self.scoreboard.next_number();
        let mut segment = SegmentWriter::new(
            &mut buffer[..longest],
            self.renewal.incarnation,
            number,
            self.scoreboard.settled_below(),
        )?;
        self.acknowledger.put(now, self.began, &mut segment);
        if control {
            self.put_control(now, &mut segment);
        }
        let mut repeats = false;
        if probe.is_some() {
            segment.padding();
            self.scoreboard.note(SentFrame::Padding);
            self.sender.mtu.on_probe(number);
        } else if data {
            repeats = self.put_data(now, &mut segment);
        }
        let length = segment.length();
        self.note_sent(now, length, repeats);
        Some(length)
    }

    fn note_sent(&mut self, now: Instant, length: usize, repeats: bool) {
        let alone = self.scoreboard.outstanding() == 0;
        if self.scoreboard.send(now, length, repeats) {
            self.sender.on_sent(now, length, alone);
        }
    }

    /// While a file is sent, one segment in a while asks whether the path carries longer ones.
    fn mtu_probe_bytes(&mut self, now: Instant, data: bool, room: usize) -> Option<usize> {
        let much = data && !self.sender.beyond_window && self.outbox.has_file_data();
        let bytes = if much { self.sender.mtu.probe_bytes(now) } else { None };
        bytes.filter(|bytes| *bytes <= room)
    }

    fn may_send_data(&mut self, now: Instant) -> bool {
        self.paced_until = None;
        if !self.outbox.has_data() {
            return false;
        }
        if self.sender.beyond_window {
            return true;
        }
        if !self.sender.allows(&self.scoreboard) {
            return false;
        }
        self.paced_until = self.sender.paced_until(now, &self.scoreboard);
        self.paced_until.is_none()
    }

    fn note_quiet(&mut self, now: Instant) {
        if self.scoreboard.outstanding() == 0 {
            let blocked = self.outbox.is_blocked();
            self.sender.timer.on_quiet(now, &self.sender.rtt, blocked, self.paced_until.is_some());
        }
    }

    /// Control frames are few, bounded by the streams, and not held back by the window: they open the peer's.
    fn put_control(&mut self, now: Instant, segment: &mut SegmentWriter<'_>) {
        let round_trip = self.sender.rtt.smoothed().unwrap_or(RTT_UNKNOWN);
        while segment.room() >= CONTROL_FRAME_MAX_BYTES {
            let frame = self.inbox.take_control(now, round_trip);
            let Some(frame) = frame.or_else(|| self.outbox.take_control()) else {
                return;
            };
            self.scoreboard.note(put(segment, frame));
        }
    }

    /// Answers whether something of it was sent before.
    fn put_data(&mut self, now: Instant, segment: &mut SegmentWriter<'_>) -> bool {
        if self.scoreboard.outstanding() == 0 {
            self.sender.on_restart(now);
        }
        let (mut any, mut any_again, mut messages) = (false, false, false);
        while let Some((frame, again)) = self.outbox.put_data(segment) {
            self.scoreboard.note(frame);
            (any, any_again) = (true, any_again | again);
            messages |= matches!(frame, SentFrame::Data { stream: StreamId::MESSAGES, .. });
        }
        if messages {
            self.sender.note_media(now);
        }
        self.sender.beyond_window &= !any;
        self.counts.segments_sent += u64::from(any);
        self.counts.segments_retransmitted += u64::from(any_again);
        any_again
    }
}

/// What a stream may hold for a window of so many bytes to stay full: itself, and what is written ahead.
fn buffer_for(cwnd: u64) -> usize {
    let wanted = usize::try_from(cwnd + cwnd / 2).unwrap_or(usize::MAX);
    wanted.clamp(STREAM_SEND_BUFFER_MIN_BYTES, STREAM_SEND_BUFFER_MAX_BYTES)
}

/// Has a frame said again by the side it belongs to.
fn repeat(outbox: &mut Outbox, inbox: &mut Inbox, frame: SentFrame) {
    match frame {
        SentFrame::Data { .. } | SentFrame::Probe(_) | SentFrame::Reset(_) => outbox.on_lost(frame),
        SentFrame::Padding => {}
        SentFrame::Stop(stream) => inbox.on_stop_lost(stream),
        SentFrame::Streams => inbox.on_streams_lost(),
        SentFrame::Window(stream) => inbox.on_window_lost(stream),
    }
}

/// Puts a control frame into a segment.
fn put(segment: &mut SegmentWriter<'_>, frame: Frame<'static>) -> SentFrame {
    match frame {
        Frame::Acknowledgement(_) | Frame::Data { .. } | Frame::Padding => {
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
