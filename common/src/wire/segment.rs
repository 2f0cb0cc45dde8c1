//! A segment of the reliable channel: the plaintext behind [`super::datagram::Kind::Segment`], big-endian.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+-----------------------------------------------+
//! |incarnation (8)|              segment number (40)              |
//! +---------------+---------------+-------------------------------+
//! |                               |      settled distance (16)    |
//! +---------------+---------------+-------------------------------+
//! |  frames (8)   |  as many frames, to the end of the segment …
//! +---------------+---------------
//! ```
//! A number is never used twice: what is sent again goes out under a new one, so that an acknowledgement always
//! tells which copy arrived (RFC 9002 §3 does the same). A segment that holds only an acknowledgement uses no
//! number up, as an ACK of TCP does not: it shows the number the next one will have. All numbers before
//! `segment number - settled distance` are settled: the sender asks no more about them. A channel that was opened anew
//! counts from 0 under its next [`Incarnation`].
//!
//! Each frame begins with its type (8):
//! ```text
//! 1 acknowledgement  largest number (48) | delay in 8 µs (16) | arrival (32) | ranges (8), 1 to 32, downwards, each:
//!                    missing numbers above it (16), 0 in the first | numbers in it (16)
//! 2 data             stream (32) | offset (48) | length (16) | that many bytes
//! 3 data, the last   as 2, and the stream ends behind these bytes
//! 4 probe            stream (32): tell me its window again
//! 5 reset            stream (32): its sender gives it up
//! 6 stop             stream (32): its receiver wants no more of it
//! 7 streams          limit (32): ids below it may be opened
//! 8 window           stream (32) | limit (48): bytes at offsets below it may be sent
//! 9 padding          length (16) | that many bytes of any value: makes a segment as long as the path is asked to carry
//! ```

use std::ops::Range;
use std::time::Duration;

use super::Malformed;
use super::reader::{Reader, Writer};
use crate::limits::{PLAINTEXT_BASE_BYTES, PLAINTEXT_MAX_BYTES};

/// Bytes of a whole segment that every path carries: a plaintext without its byte of kind.
pub const SEGMENT_BASE_BYTES: usize = PLAINTEXT_BASE_BYTES - 1;
/// Bytes of the longest segment, for a path that was found to carry it.
pub const SEGMENT_MAX_BYTES: usize = PLAINTEXT_MAX_BYTES - 1;
/// Ranges in one acknowledgement; QUIC stacks keep about as many (RFC 9000 §13.2.3 asks for a limit).
pub const ACK_RANGES_MAX: usize = 32;
/// Bytes in front of the content of a data frame.
pub const DATA_FRAME_HEADER_BYTES: usize = 13;
/// Bytes of the longest frame that is neither data nor an acknowledgement.
pub const CONTROL_FRAME_MAX_BYTES: usize = 11;
/// Bytes in front of the content of a padding frame.
const PADDING_FRAME_HEADER_BYTES: usize = 3;

/// One of the streams of a reliable channel in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub u32);

impl StreamId {
    /// The stream of messages: open from the start, in both directions, for as long as the channel lives.
    pub const MESSAGES: Self = Self(0);
}

/// Which numbering of a channel's segments a segment belongs to, modulo 2^8: 0 at first, one more each time an end opens
/// the channel anew. The ends are never more than a few apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incarnation(pub u8);

impl Incarnation {
    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Whether this one is newer than `other` (RFC 1982).
    pub fn follows(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i8) > 0
    }
}

/// A segment whose every byte was checked.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The numbering it belongs to.
    pub incarnation: Incarnation,
    /// Its number; below 2^40.
    pub number: u64,
    /// All numbers below this one are settled.
    pub settled_below: u64,
    frames: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Reads a segment from the first to the last byte.
    ///
    /// # Errors
    /// [`Malformed`] when any part of it is missing, too much, unknown or out of range.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() > SEGMENT_MAX_BYTES {
            return Err(Malformed);
        }
        let mut reader = Reader::new(bytes);
        let first = reader.u48()?;
        let (incarnation, number) = (Incarnation((first >> NUMBER_BITS) as u8), first & NUMBER_MASK);
        let settled_below = number.checked_sub(u64::from(reader.u16()?)).ok_or(Malformed)?;
        let count = reader.u8()?;
        for _ in 0..count {
            Frame::read(&mut reader)?;
        }
        if count == 0 || !reader.is_empty() {
            return Err(Malformed);
        }
        Ok(Self { incarnation, number, settled_below, frames: &bytes[HEADER_BYTES..] })
    }

    /// What it says, in the order it was written.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'a>> + use<'a> {
        let mut rest = self.frames;
        std::iter::from_fn(move || {
            let mut reader = Reader::new(rest);
            let frame = Frame::read(&mut reader).ok()?;
            rest = reader.rest();
            Some(frame)
        })
    }
}

/// One statement in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Which segments arrived.
    Acknowledgement(Acknowledgement<'a>),
    /// Bytes of a stream.
    Data {
        /// Which stream.
        stream: StreamId,
        /// Where in it; offset and length together are below 2^48.
        offset: u64,
        /// The bytes; none only in a frame that ends the stream.
        bytes: &'a [u8],
        /// The stream ends behind them.
        last: bool,
    },
    /// Nothing but length.
    Padding,
    /// The sender of a stream asks for its window.
    Probe(StreamId),
    /// The sender of a stream gives it up.
    Reset(StreamId),
    /// The receiver of a stream wants no more of it.
    Stop(StreamId),
    /// Streams with ids below this may be opened.
    Streams(u32),
    /// How far a stream may be sent.
    Window {
        /// Which stream.
        stream: StreamId,
        /// The first offset that may not be sent, below 2^48.
        limit: u64,
    },
}

impl<'a> Frame<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let kind = reader.u8()?;
        Ok(match kind {
            ACKNOWLEDGEMENT => Self::Acknowledgement(Acknowledgement::read(reader)?),
            DATA | DATA_LAST => Self::read_data(reader, kind == DATA_LAST)?,
            PADDING => Self::read_padding(reader)?,
            PROBE => Self::Probe(StreamId(reader.u32()?)),
            RESET => Self::Reset(StreamId(reader.u32()?)),
            STOP => Self::Stop(StreamId(reader.u32()?)),
            STREAMS => Self::Streams(reader.u32()?),
            WINDOW => Self::Window { stream: StreamId(reader.u32()?), limit: reader.u48()? },
            _ => return Err(Malformed),
        })
    }

    fn read_padding(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let length = reader.u16()?;
        reader.bytes(usize::from(length))?;
        Ok(Self::Padding)
    }

    fn read_data(reader: &mut Reader<'a>, last: bool) -> Result<Self, Malformed> {
        let stream = StreamId(reader.u32()?);
        let offset = reader.u48()?;
        let length = reader.u16()?;
        let bytes = reader.bytes(usize::from(length))?;
        let empty = bytes.is_empty() && !last;
        if empty || offset + u64::from(length) >= OFFSETS {
            return Err(Malformed);
        }
        Ok(Self::Data { stream, offset, bytes, last })
    }
}

/// Which segments arrived, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement<'a> {
    /// The highest number that arrived.
    pub largest: u64,
    /// How long the receiver kept it before it wrote this.
    pub delay: Duration,
    /// When it arrived, by the receiver's own clock: microseconds that wrap.
    pub arrival: u32,
    ranges: &'a [u8],
}

impl<'a> Acknowledgement<'a> {
    /// The numbers that arrived: ranges that do not touch, downwards, the first one up to [`Self::largest`].
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> + use<'a> {
        let mut reader = Reader::new(self.ranges);
        let mut above = self.largest + 1;
        std::iter::from_fn(move || {
            let range = read_range(&mut reader, above).ok()?;
            above = range.start;
            Some(range)
        })
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let largest = reader.u48()?;
        let delay = DELAY_UNIT * u32::from(reader.u16()?);
        let arrival = reader.u32()?;
        let count = usize::from(reader.u8()?);
        if !(1..=ACK_RANGES_MAX).contains(&count) {
            return Err(Malformed);
        }
        let ranges = reader.bytes(count * RANGE_BYTES)?;
        let parsed = Self { largest, delay, arrival, ranges };
        let mut above = largest + 1;
        let mut each = Reader::new(ranges);
        for index in 0..count {
            let range = read_range(&mut each, above)?;
            let missing = above - range.end;
            if range.is_empty() || (missing == 0) != (index == 0) {
                return Err(Malformed);
            }
            above = range.start;
        }
        Ok(parsed)
    }
}

fn read_range(reader: &mut Reader<'_>, above: u64) -> Result<Range<u64>, Malformed> {
    let end = above.checked_sub(u64::from(reader.u16()?)).ok_or(Malformed)?;
    let start = end.checked_sub(u64::from(reader.u16()?)).ok_or(Malformed)?;
    Ok(start..end)
}

/// Puts a segment together, frame by frame, in the buffer it is sent from.
#[derive(Debug)]
pub struct SegmentWriter<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> SegmentWriter<'a> {
    /// Begins a segment that may be as long as the buffer, up to [`SEGMENT_MAX_BYTES`]; `None` when that is less than
    /// [`SEGMENT_BASE_BYTES`].
    pub fn new(buffer: &'a mut [u8], incarnation: Incarnation, number: u64, settled_below: u64) -> Option<Self> {
        let length = buffer.len().min(SEGMENT_MAX_BYTES);
        let buffer = buffer.get_mut(..length).filter(|_| length >= SEGMENT_BASE_BYTES)?;
        let distance =
            u16::try_from(number - settled_below).expect("a sender holds its span of open numbers far below 2^16");
        let mut writer = Writer::new(buffer);
        writer.u48(u64::from(incarnation.0) << NUMBER_BITS | (number & NUMBER_MASK));
        writer.u16(distance);
        writer.u8(0);
        Some(Self { buffer, length: HEADER_BYTES })
    }

    /// Bytes left for frames; none when the count of frames is at its end.
    pub fn room(&self) -> usize {
        if self.buffer[HEADER_BYTES - 1] == u8::MAX {
            return 0;
        }
        self.buffer.len() - self.length
    }

    /// Bytes put so far.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Puts an acknowledgement of `ranges`, given downwards; at most [`ACK_RANGES_MAX`] of them are told, and they
    /// must lie within 2^16 numbers.
    pub fn acknowledgement(
        &mut self,
        delay: Duration,
        arrival: u32,
        ranges: impl ExactSizeIterator<Item = Range<u64>> + Clone,
    ) {
        let Some(first) = ranges.clone().next() else {
            return;
        };
        let delay = delay.as_micros() / DELAY_UNIT.as_micros();
        self.frame(ACKNOWLEDGEMENT, |writer| {
            writer.u48(first.end - 1);
            writer.u16(u16::try_from(delay).unwrap_or(u16::MAX));
            writer.u32(arrival);
            writer.u8(ranges.len().min(ACK_RANGES_MAX) as u8);
            let mut above = first.end;
            for range in ranges.take(ACK_RANGES_MAX) {
                writer.u16((above - range.end) as u16);
                writer.u16((range.end - range.start) as u16);
                above = range.start;
            }
        });
    }

    /// Puts bytes of a stream, given as the two parts in which a ring holds them.
    pub fn data(&mut self, stream: StreamId, offset: u64, parts: (&[u8], &[u8]), last: bool) {
        let kind = if last { DATA_LAST } else { DATA };
        self.frame(kind, |writer| {
            writer.u32(stream.0);
            writer.u48(offset);
            writer.u16((parts.0.len() + parts.1.len()) as u16);
            writer.bytes(parts.0);
            writer.bytes(parts.1);
        });
    }

    /// Fills the segment up to its last byte.
    pub fn padding(&mut self) {
        let Some(length) = self.room().checked_sub(PADDING_FRAME_HEADER_BYTES) else { return };
        self.frame(PADDING, |writer| {
            writer.u16(length as u16);
            writer.zeros(length);
        });
    }

    /// Puts a probe.
    pub fn probe(&mut self, stream: StreamId) {
        self.frame(PROBE, |writer| writer.u32(stream.0));
    }

    /// Puts a reset.
    pub fn reset(&mut self, stream: StreamId) {
        self.frame(RESET, |writer| writer.u32(stream.0));
    }

    /// Puts a stop.
    pub fn stop(&mut self, stream: StreamId) {
        self.frame(STOP, |writer| writer.u32(stream.0));
    }

    /// Puts how many streams may be opened.
    pub fn streams(&mut self, limit: u32) {
        self.frame(STREAMS, |writer| writer.u32(limit));
    }

    /// Puts how far a stream may be sent.
    pub fn window(&mut self, stream: StreamId, limit: u64) {
        self.frame(WINDOW, |writer| {
            writer.u32(stream.0);
            writer.u48(limit);
        });
    }

    fn frame(&mut self, kind: u8, content: impl FnOnce(&mut Writer<'_>)) {
        let mut writer = Writer::new(&mut self.buffer[self.length..]);
        writer.u8(kind);
        content(&mut writer);
        self.length += writer.length();
        self.buffer[HEADER_BYTES - 1] += 1;
    }
}

const HEADER_BYTES: usize = 9;
/// Numbers of segments: more than a key seals ([`crate::limits::DATAGRAMS_PER_KEY`]).
const NUMBER_BITS: u32 = 40;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;
const RANGE_BYTES: usize = 4;
/// Offsets of a stream are numbers of 48 bits.
const OFFSETS: u64 = 1 << 48;
/// What one unit of an acknowledgement's delay means: 16 bits reach half a second (RFC 9000 §13.2.5 has the same 8).
const DELAY_UNIT: Duration = Duration::from_micros(8);

const ACKNOWLEDGEMENT: u8 = 1;
const DATA: u8 = 2;
const DATA_LAST: u8 = 3;
const PROBE: u8 = 4;
const RESET: u8 = 5;
const STOP: u8 = 6;
const STREAMS: u8 = 7;
const WINDOW: u8 = 8;
const PADDING: u8 = 9;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn everything(buffer: &mut [u8]) -> usize {
        let mut segment = SegmentWriter::new(buffer, Incarnation(255), 1_000, 990).unwrap();
        let ranges = [500..501, 400..480, 0..399];
        segment.acknowledgement(Duration::from_micros(800), 0x0a0b_0c0d, ranges.iter().cloned());
        segment.window(StreamId(3), 1 << 40);
        segment.streams(40);
        segment.probe(StreamId(4));
        segment.reset(StreamId(5));
        segment.stop(StreamId(6));
        segment.data(StreamId(0), 77, (b"hel", b"lo"), false);
        segment.data(StreamId(7), 78, (b"", b""), true);
        segment.padding();
        segment.length()
    }

    #[test]
    fn a_segment_reads_as_it_was_written() {
        let mut buffer = [0xaa; 1_300];
        let length = everything(&mut buffer);
        let segment = Segment::parse(&buffer[..length]).unwrap();
        assert_eq!((segment.incarnation, segment.number, segment.settled_below), (Incarnation(255), 1_000, 990));
        let frames: Vec<_> = segment.frames().collect();
        let Frame::Acknowledgement(acknowledgement) = frames[0] else {
            panic!("{frames:?}");
        };
        assert_eq!(acknowledgement.largest, 500);
        assert_eq!((acknowledgement.delay, acknowledgement.arrival), (Duration::from_micros(800), 0x0a0b_0c0d));
        assert!(acknowledgement.ranges().eq([500..501, 400..480, 0..399]));
        let data = |stream, offset, bytes, last| Frame::Data { stream: StreamId(stream), offset, bytes, last };
        let limit = 1 << 40;
        let rest = [
            Frame::Window { stream: StreamId(3), limit },
            Frame::Streams(40),
            Frame::Probe(StreamId(4)),
            Frame::Reset(StreamId(5)),
            Frame::Stop(StreamId(6)),
            data(0, 77, b"hello", false),
            data(7, 78, b"", true),
            Frame::Padding,
        ];
        assert_eq!(frames[1..], rest);
    }

    #[test]
    fn the_bytes_are_where_the_drawing_has_them() {
        let mut buffer = [0; 1_300];
        let mut segment = SegmentWriter::new(&mut buffer, Incarnation(1), 0x02_0304_0506, 0x02_0304_0503).unwrap();
        segment.acknowledgement(Duration::from_micros(24), 0x1122_3344, [9..10, 2..4].into_iter());
        segment.data(StreamId(0x0708_090a), 0x0b0c, (b"x", b""), true);
        let length = segment.length();
        let expected = [
            &[1, 2, 3, 4, 5, 6, 0, 3, 2][..],
            &[1, 0, 0, 0, 0, 0, 9, 0, 3, 0x11, 0x22, 0x33, 0x44, 2, 0, 0, 0, 1, 0, 5, 0, 2],
            &[3, 7, 8, 9, 10, 0, 0, 0, 0, 11, 12, 0, 1, b'x'],
        ];
        assert_eq!(buffer[..length], expected.concat());
    }

    #[test]
    fn every_short_prefix_of_a_segment_is_malformed() {
        let mut buffer = [0; 1_500];
        let length = everything(&mut buffer);
        for short in 0..length {
            assert!(Segment::parse(&buffer[..short]).is_err(), "{short}");
        }
        assert!(Segment::parse(&buffer[..=length]).is_err());
    }

    #[test]
    fn fields_out_of_range_are_malformed() {
        let wrong: [(&str, &[u8]); 8] = [
            ("no frames", &[0, 0, 0, 0, 0, 1, 0, 0, 0]),
            ("settled before 0", &[0, 0, 0, 0, 0, 1, 0, 2, 1, 5, 0, 0, 0, 1]),
            ("unknown frame", &[0, 0, 0, 0, 0, 1, 0, 0, 1, 10, 0, 0, 0, 1]),
            ("no bytes", &[0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
            (
                "beyond the last offset",
                &[0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 0, 0, 0, 1, 255, 255, 255, 255, 255, 255, 0, 1, 7],
            ),
            ("no ranges", &[0, 0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]),
            ("an empty range", &[0, 0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
            ("below 0", &[0, 0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 7]),
        ];
        for (what, bytes) in wrong {
            assert!(Segment::parse(bytes).is_err(), "{what}");
        }
    }

    #[test]
    fn a_segment_longer_than_a_datagram_carries_is_malformed() {
        let mut buffer = [0; 1_500];
        let mut segment = SegmentWriter::new(&mut buffer, Incarnation(0), 0, 0).unwrap();
        let bytes = vec![1; segment.room() - DATA_FRAME_HEADER_BYTES];
        segment.data(StreamId(1), 0, (&bytes, &[]), false);
        assert_eq!((segment.room(), segment.length()), (0, SEGMENT_MAX_BYTES));
        assert!(Segment::parse(&buffer[..SEGMENT_MAX_BYTES]).is_ok());
        assert!(Segment::parse(&buffer[..=SEGMENT_MAX_BYTES]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(0_u8..12, 0..200)) {
            if let Ok(segment) = Segment::parse(&bytes) {
                for frame in segment.frames() {
                    if let Frame::Acknowledgement(acknowledgement) = frame {
                        prop_assert!(acknowledgement.ranges().count() > 0);
                    }
                }
            }
        }
    }
}
