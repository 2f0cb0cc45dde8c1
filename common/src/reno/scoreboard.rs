//! Which segments are on the way, which arrived and which are lost (RFC 6675 §3; what is lost is RFC 8985's: `rack`).

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::wire::segment::StreamId;

/// The sender's memory of what it sent, by segment number.
///
/// Two rings: the segments, and behind one another the frames of all of them, so that nothing is allocated for each.
#[derive(Debug, Default)]
pub(super) struct Scoreboard {
    /// From number `first` on.
    segments: VecDeque<SentSegment>,
    first: u64,
    /// Frames of `segments`, and then those of the segment being written.
    frames: VecDeque<SentFrame>,
    /// How many frames were taken off the front of `frames`.
    frames_gone: u64,
    /// How many of `frames` belong to `segments`.
    frames_sent: usize,
    /// No number below it is outstanding.
    oldest_outstanding: u64,
    largest_acknowledged: Option<u64>,
    flight_size: u64,
    outstanding: usize,
}

#[derive(Clone, Copy, Debug)]
struct SentSegment {
    sent_at: Instant,
    first_frame: u64,
    frames: u8,
    bytes: u16,
    fate: Fate,
    /// It says again what a lost one said.
    repeats: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Acknowledged,
    Lost,
    Outstanding,
}

/// What a segment said, as far as it must be said again when the segment is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SentFrame {
    Data { stream: StreamId, offset: u64, length: u16, last: bool },
    Padding,
    Probe(StreamId),
    Reset(StreamId),
    Stop(StreamId),
    Streams,
    Window(StreamId),
}

/// What an acknowledgement told that was not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// The highest number that was known to have arrived.
    before: Option<u64>,
    /// Bytes of segments that were on the way.
    pub(super) bytes: u64,
    /// Segments that were on the way.
    pub(super) segments: u64,
    /// The highest number that was on the way or thought lost, and when it was sent.
    pub(super) newest: Option<(u64, Instant)>,
    /// A segment that was on the way arrived behind one that was sent later.
    pub(super) reordered: bool,
    /// Segments that arrived after they were given up, and the highest of their numbers.
    pub(super) spurious: u64,
    pub(super) newest_spurious: u64,
}

/// What was found lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// How many segments.
    pub(super) segments: u64,
    /// The highest number of those that said something for the first time. The loss of a repetition belongs to the round
    /// of what it repeats (RFC 6675 §5: until RecoveryPoint is acknowledged, nothing begins anew).
    pub(super) newest_first: Option<u64>,
}

/// Numbers between the oldest and the newest that are remembered: a 16-bit distance tells it, and 32 MB of full
/// segments are more than the buffers of all streams hold.
const SPAN_MAX: usize = 32_768;
/// A lost segment is remembered until this many more were sent: if it arrives late after all, its bytes need not be
/// sent again.
const LOST_REMEMBERED: u64 = 256;

impl Scoreboard {
    /// The number of the next segment.
    pub(super) fn next_number(&self) -> u64 {
        self.first + self.segments.len() as u64
    }

    /// Of no number below this will an acknowledgement tell anything.
    pub(super) fn settled_below(&self) -> u64 {
        self.first
    }

    pub(super) fn is_full(&self) -> bool {
        self.segments.len() >= SPAN_MAX
    }

    /// Bytes of outstanding segments: "pipe" of RFC 6675.
    pub(super) fn flight_size(&self) -> u64 {
        self.flight_size
    }

    /// Segments that are outstanding.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Notes a frame of the segment being written.
    pub(super) fn note(&mut self, frame: SentFrame) {
        self.frames.push_back(frame);
    }

    /// The segment being written is sent, if it says anything that wants an acknowledgement. Answers whether it does.
    /// `repeats` when it says again what a lost one said.
    pub(super) fn send(&mut self, now: Instant, bytes: usize, repeats: bool) -> bool {
        let frames = self.frames.len() - self.frames_sent;
        if frames == 0 {
            return false;
        }
        self.segments.push_back(SentSegment {
            sent_at: now,
            first_frame: self.frames_gone + self.frames_sent as u64,
            frames: frames as u8,
            bytes: bytes as u16,
            fate: Fate::Outstanding,
            repeats,
        });
        self.frames_sent = self.frames.len();
        self.flight_size += bytes as u64;
        self.outstanding += 1;
        true
    }

    /// Whether segment `number`, which was sent, arrived.
    pub(super) fn has_arrived(&self, number: u64) -> bool {
        let index = number.checked_sub(self.first).map(|index| index as usize);
        // What is not remembered any more arrived, or was lost long ago; a probe is told of its loss at once.
        index.is_none_or(|index| self.segments.get(index).is_some_and(|segment| segment.fate == Fate::Acknowledged))
    }

    /// Begins to take an acknowledgement.
    pub(super) fn news(&self) -> News {
        News { before: self.largest_acknowledged, ..News::default() }
    }

    /// The peer has these segments. Each frame that it did not have before is given to `arrived`.
    pub(super) fn on_acknowledged(&mut self, numbers: Range<u64>, news: &mut News, mut arrived: impl FnMut(SentFrame)) {
        for number in numbers.start.max(self.first)..numbers.end.min(self.next_number()) {
            let segment = &mut self.segments[(number - self.first) as usize];
            let before = std::mem::replace(&mut segment.fate, Fate::Acknowledged);
            if before == Fate::Acknowledged {
                continue;
            }
            if before == Fate::Outstanding {
                self.flight_size -= u64::from(segment.bytes);
                self.outstanding -= 1;
                news.bytes += u64::from(segment.bytes);
                news.segments += 1;
                news.reordered |= news.before.is_some_and(|before| number < before);
            } else {
                news.spurious += 1;
                news.newest_spurious = news.newest_spurious.max(number);
            }
            if news.newest.is_none_or(|(newest, _)| newest < number) {
                news.newest = Some((number, segment.sent_at));
            }
            let segment = *segment;
            self.frames_of(&segment).for_each(&mut arrived);
        }
        self.largest_acknowledged = self.largest_acknowledged.max(numbers.end.checked_sub(1));
    }

    /// The oldest segment on the way, if its number is below `below`.
    pub(super) fn oldest_outstanding(&self, below: u64) -> Option<u64> {
        let oldest = self.oldest_outstanding.max(self.first);
        let outstanding = self.outstanding > 0 && oldest < below;
        outstanding.then_some(oldest)
    }

    /// Finds what is lost: numbers below `below` that were sent so long ago that `patience` has passed. Each frame of it
    /// is given to `lost`, and each number to `numbers` before its frames.
    pub(super) fn detect_losses(
        &mut self,
        now: Instant,
        below: u64,
        patience: Duration,
        mut lost: impl FnMut(u64, SentFrame),
    ) -> Option<Lost> {
        let mut found: Option<Lost> = None;
        for number in self.oldest_outstanding.max(self.first)..below.min(self.next_number()) {
            let segment = self.segments[(number - self.first) as usize];
            if segment.fate != Fate::Outstanding {
                continue;
            }
            if segment.sent_at + patience > now {
                break; // The ones behind it were sent later.
            }
            self.lose(number, |frame| lost(number, frame));
            let Lost { segments, newest_first } = found.unwrap_or(Lost { segments: 0, newest_first: None });
            let first = Some(number).filter(|_| !segment.repeats);
            found = Some(Lost { segments: segments + 1, newest_first: first.or(newest_first) });
        }
        self.forget_settled();
        found
    }

    /// When the oldest segment with a number below `below` becomes lost.
    pub(super) fn loss_deadline(&self, below: u64, patience: Duration) -> Option<Instant> {
        let oldest = self.oldest_outstanding(below)?;
        let segment = self.segments.get((oldest - self.first) as usize)?;
        segment.sent_at.checked_add(patience)
    }

    /// All that is outstanding counts as lost: the retransmission timer went off.
    pub(super) fn lose_all(&mut self, mut lost: impl FnMut(SentFrame)) {
        for number in self.oldest_outstanding.max(self.first)..self.next_number() {
            if self.segments[(number - self.first) as usize].fate == Fate::Outstanding {
                self.lose(number, &mut lost);
            }
        }
        self.forget_settled();
    }

    /// What was given up and did not arrive counts as on the way again. Each frame of it is given to `found`.
    pub(super) fn revive(&mut self, mut found: impl FnMut(SentFrame)) {
        for index in 0..self.segments.len() {
            let segment = self.segments[index];
            if segment.fate != Fate::Lost {
                continue;
            }
            self.segments[index].fate = Fate::Outstanding;
            self.flight_size += u64::from(segment.bytes);
            self.outstanding += 1;
            self.frames_of(&segment).for_each(&mut found);
        }
        self.oldest_outstanding = self.first;
        self.forget_settled();
    }

    fn lose(&mut self, number: u64, lost: impl FnMut(SentFrame)) {
        let segment = &mut self.segments[(number - self.first) as usize];
        segment.fate = Fate::Lost;
        self.flight_size -= u64::from(segment.bytes);
        self.outstanding -= 1;
        let segment = *segment;
        self.frames_of(&segment).for_each(lost);
    }

    /// The frames of the newest outstanding segment, to be sent once more as a probe.
    pub(super) fn newest_frames(&self) -> impl Iterator<Item = SentFrame> {
        let outstanding = |segment: &&SentSegment| segment.fate == Fate::Outstanding;
        let newest = self.segments.iter().rev().find(outstanding);
        newest.into_iter().flat_map(|segment| self.frames_of(segment))
    }

    fn frames_of(&self, segment: &SentSegment) -> impl Iterator<Item = SentFrame> {
        let from = (segment.first_frame - self.frames_gone) as usize;
        let to = from + usize::from(segment.frames);
        self.frames.range(from..to).copied()
    }

    fn forget_settled(&mut self) {
        let next = self.next_number();
        while let Some(&SentSegment { fate, frames, .. }) = self.segments.front() {
            let over = match fate {
                Fate::Acknowledged => true,
                Fate::Lost => next - self.first > LOST_REMEMBERED,
                Fate::Outstanding => false,
            };
            if !over {
                break;
            }
            self.segments.pop_front();
            self.frames.drain(..usize::from(frames));
            self.frames_gone += u64::from(frames);
            self.frames_sent -= usize::from(frames);
            self.first += 1;
        }
        self.oldest_outstanding = self.oldest_outstanding.max(self.first);
        while let Some(segment) = self.segments.get((self.oldest_outstanding - self.first) as usize)
            && segment.fate != Fate::Outstanding
        {
            self.oldest_outstanding += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(100);

    #[expect(clippy::disallowed_methods, reason = "the test takes any instant as its zero")]
    fn zero() -> Instant {
        Instant::now()
    }

    fn frame(number: u32) -> SentFrame {
        SentFrame::Stop(StreamId(number))
    }

    fn board(now: Instant, segments: u32) -> Scoreboard {
        let mut board = Scoreboard::default();
        for number in 0..segments {
            board.note(frame(number));
            assert!(board.send(now, 100, false));
        }
        board
    }

    fn acknowledge(board: &mut Scoreboard, numbers: Range<u64>) -> (u64, Vec<SentFrame>) {
        let (mut news, mut frames) = (board.news(), Vec::new());
        board.on_acknowledged(numbers, &mut news, |frame| frames.push(frame));
        (news.bytes, frames)
    }

    fn losses(board: &mut Scoreboard, now: Instant, below: u64) -> Vec<SentFrame> {
        let mut frames = Vec::new();
        board.detect_losses(now, below, PATIENCE, |_, frame| frames.push(frame));
        frames
    }

    #[test]
    fn an_overtaken_segment_is_lost_when_patience_is_over() {
        let now = zero();
        let mut board = board(now, 3);
        acknowledge(&mut board, 1..2);
        assert_eq!(losses(&mut board, now, 1), []);
        assert_eq!(board.loss_deadline(1, PATIENCE), Some(now + PATIENCE));
        assert_eq!(losses(&mut board, now + PATIENCE, 1), [frame(0)]);
        assert_eq!((board.loss_deadline(1, PATIENCE), board.flight_size()), (None, 100));
    }

    #[test]
    fn what_was_given_up_can_be_on_the_way_again() {
        let now = zero();
        let mut board = board(now, 4);
        board.lose_all(|_| ());
        acknowledge(&mut board, 1..2);
        let mut found = Vec::new();
        board.revive(|frame| found.push(frame));
        assert_eq!((found, board.flight_size()), (vec![frame(0), frame(2), frame(3)], 300));
        assert_eq!(board.oldest_outstanding(9), Some(0));
    }

    #[test]
    fn a_segment_is_acknowledged_once() {
        let mut board = board(zero(), 4);
        assert_eq!(acknowledge(&mut board, 0..2), (200, vec![frame(0), frame(1)]));
        assert_eq!(acknowledge(&mut board, 0..3), (100, vec![frame(2)]));
        assert_eq!(acknowledge(&mut board, 0..3), (0, vec![]));
    }

    #[test]
    fn a_lost_segment_that_arrives_late_still_counts_as_arrived() {
        let mut board = board(zero(), 2);
        let mut lost = 0;
        board.lose_all(|_| lost += 1);
        assert_eq!((lost, board.flight_size(), board.settled_below()), (2, 0, 0));
        assert_eq!(acknowledge(&mut board, 0..1), (0, vec![frame(0)]));
    }

    #[test]
    fn what_is_settled_is_forgotten() {
        let now = zero();
        let mut board = board(now, 10);
        acknowledge(&mut board, 0..4);
        losses(&mut board, now, 3);
        assert_eq!((board.settled_below(), board.segments.len(), board.frames.len()), (4, 6, 6));
        board.lose_all(|_| ());
        for _ in 0..LOST_REMEMBERED {
            board.note(frame(0));
            board.send(now, 100, false);
        }
        losses(&mut board, now, 10);
        assert_eq!(board.settled_below(), 10);
        assert_eq!(board.next_number(), 10 + LOST_REMEMBERED);
    }
}
