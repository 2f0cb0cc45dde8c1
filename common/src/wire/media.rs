//! Media packets and the reports on them: the plaintext behind [`super::datagram::Kind`], big-endian.
//!
//! Audio and video begin alike:
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------------------------------------------------------+
//! |                       SSRC (stamped by the relay)             |
//! +-------------------------------+-------------------------------+
//! |  sequence number (by relay)   |  send time, µs (stamped       |
//! +-------------------------------+-------------------------------+
//! |  by each hop)                 |  media timestamp              |
//! +-------------------------------+-------------------------------+
//! |                               |
//! +-------------------------------+
//! ```
//! then audio what [`super::audio`] draws, and video:
//! `frame id (16) | part (8) | parts (8) | rung (8) | quality (8) | runs (8)`, then for each run
//! `row (8) | column (8) | blocks (8)`, then the scan of a JPEG without its headers.

use super::Malformed;
use super::reader::{Reader, Writer};
use crate::ids::{MemberId, Ssrc};
use crate::limits::{BLOCKS_PER_PART_MAX, PLAINTEXT_BASE_BYTES, STREAMS_MAX};
use crate::sequence::{FrameId, MediaTime, SendTime, SequenceNumber};

/// What audio and video packets have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaHeader {
    /// The stream, stamped by the relay.
    pub ssrc: Ssrc,
    /// One more for each packet of the stream.
    pub sequence: SequenceNumber,
    /// When the last hop sent the packet, by that hop's clock.
    pub send_time: SendTime,
    /// When the first sample or the frame was captured, in units of the stream's clock.
    pub timestamp: MediaTime,
}

/// Bytes of a [`MediaHeader`].
pub const MEDIA_HEADER_BYTES: usize = 14;

impl MediaHeader {
    /// Reads the front of a media packet.
    ///
    /// # Errors
    /// [`Malformed`] when it is too short or names an impossible stream.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        Self::read(&mut Reader::new(body))
    }

    /// Writes who sent a packet, and its number in the stream, over what the sender claimed. `body` is a packet that
    /// was parsed.
    pub fn rename(body: &mut [u8], ssrc: Ssrc, sequence: SequenceNumber) {
        body[..4].copy_from_slice(&ssrc.to_wire().to_be_bytes());
        body[4..6].copy_from_slice(&sequence.0.to_be_bytes());
    }

    /// Writes when this hop sends a packet that was parsed.
    pub fn stamp(body: &mut [u8], send_time: SendTime) {
        body[6..10].copy_from_slice(&send_time.0.to_be_bytes());
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            ssrc: Ssrc::from_wire(reader.u32()?).ok_or(Malformed)?,
            sequence: SequenceNumber(reader.u16()?),
            send_time: SendTime(reader.u32()?),
            timestamp: MediaTime(reader.u32()?),
        })
    }

    pub(super) fn write(self, writer: &mut Writer<'_>) {
        writer.u32(self.ssrc.to_wire());
        writer.u16(self.sequence.0);
        writer.u32(self.send_time.0);
        writer.u32(self.timestamp.0);
    }
}

/// Some of the 16×16 blocks of a frame, next to each other in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRun {
    /// Row of blocks from the top, 0 is the first.
    pub row: u8,
    /// Column of the first block from the left.
    pub column: u8,
    /// How many blocks, at least 1.
    pub blocks: u8,
}

/// Part of a video frame: a picture of its own, 16 pixels high, whose blocks belong to the places its runs name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoHeader {
    /// Stream, sequence and times; the timestamp counts 1/90,000 s.
    pub media: MediaHeader,
    /// The frame this is a part of.
    pub frame: FrameId,
    /// Which part, below `parts`.
    pub part: u8,
    /// How many parts the frame has; 0 when a relay sends a part again, outside of its frame.
    pub parts: u8,
    /// Size of the whole picture, as an index into [`crate::picture::ladder::Rung::ALL`].
    pub rung: u8,
    /// JPEG quality 1..=100, from which the receiver rebuilds the quantisation tables.
    pub quality: u8,
}

/// The places of a part's blocks, in the order in which they stand in its picture from left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRuns<'a>(&'a [u8]);

impl<'a> BlockRuns<'a> {
    /// The runs one after another.
    pub fn iter(self) -> impl Iterator<Item = BlockRun> + 'a {
        let (runs, _) = self.0.as_chunks::<RUN_BYTES>();
        runs.iter().map(|&[row, column, blocks]| BlockRun { row, column, blocks })
    }

    /// How many blocks the part has, 1..=[`BLOCKS_PER_PART_MAX`].
    pub fn blocks(self) -> usize {
        self.iter().map(|run| usize::from(run.blocks)).sum()
    }
}

const RUN_BYTES: usize = 3;

impl VideoHeader {
    /// Bytes in front of the runs.
    pub const BYTES: usize = MEDIA_HEADER_BYTES + 7;

    /// Splits a video packet into its header, the places of its blocks, and the scan of its JPEG.
    ///
    /// # Errors
    /// [`Malformed`] when a field is out of its range, or the packet is longer than what every path carries. That the
    /// runs lie inside the picture is for the receiver of the picture to check, who knows the rung's size.
    pub fn parse(body: &[u8]) -> Result<(Self, BlockRuns<'_>, &[u8]), Malformed> {
        let mut reader = Reader::new(body);
        let header = Self {
            media: MediaHeader::read(&mut reader)?,
            frame: FrameId(reader.u16()?),
            part: reader.u8()?,
            parts: reader.u8()?,
            rung: reader.u8()?,
            quality: reader.u8()?,
        };
        let count = usize::from(reader.u8()?);
        let runs = BlockRuns(reader.bytes(count * RUN_BYTES)?);
        let scan = reader.rest();
        // A datagram may be longer, but then it is no media.
        let fits = body.len() < PLAINTEXT_BASE_BYTES
            && (header.part < header.parts || header.again())
            && (1..=100).contains(&header.quality)
            && runs.iter().all(|run| run.blocks > 0)
            && (1..=BLOCKS_PER_PART_MAX).contains(&runs.blocks())
            && !scan.is_empty();
        if fits { Ok((header, runs, scan)) } else { Err(Malformed) }
    }

    /// Writes header and runs to the front of `buffer`, which must be [`VideoHeader::BYTES`] and 3 bytes for each
    /// run long; answers their length.
    pub fn write(&self, runs: &[BlockRun], buffer: &mut [u8]) -> usize {
        let mut writer = Writer::new(buffer);
        self.media.write(&mut writer);
        writer.u16(self.frame.0);
        writer.bytes(&[self.part, self.parts, self.rung, self.quality, runs.len() as u8]);
        for run in runs {
            writer.bytes(&[run.row, run.column, run.blocks]);
        }
        writer.length()
    }

    /// A relay sends this part again, or for the first time to somebody who came late.
    pub fn again(&self) -> bool {
        self.parts == 0
    }

    /// Makes a packet that was parsed one that is sent again.
    pub fn mark_again(body: &mut [u8]) {
        body[MEDIA_HEADER_BYTES + 3] = 0;
    }

    /// Bytes that are left for the scan of a part with this many runs in one datagram.
    pub const fn scan_max_bytes(runs: usize) -> usize {
        PLAINTEXT_BASE_BYTES - 1 - Self::BYTES - RUN_BYTES * runs
    }
}

/// How one stream arrives at one receiver, since the last report (RFC 3550 §6.4.1, over our own clock rates).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: Ssrc,
    /// Share of packets lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Packets lost since the stream began; doubled packets can make it negative.
    pub packets_lost: i32,
    /// Packets received since the stream began, modulo 2^32.
    pub packets_received: u32,
    /// Interarrival jitter, in units of the stream's clock.
    pub jitter: u32,
    /// What arrived since the last report, whole datagrams, in bits per second.
    pub bitrate_bps: u32,
}

/// What a receiver says of the streams it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// Who received: the server on the way up, a member on the way down. Stamped by the relay.
    pub reporter: MemberId,
    blocks: &'a [u8],
}

impl<'a> Report<'a> {
    /// Bytes of one block.
    pub const BLOCK_BYTES: usize = REPORT_BLOCK_BYTES;
    /// Bytes before the first block.
    pub const HEADER_BYTES: usize = 2;
    /// Blocks that fit one datagram.
    pub const BLOCKS_MAX: usize = (PLAINTEXT_BASE_BYTES - 1 - Self::HEADER_BYTES) / Self::BLOCK_BYTES;

    /// Reads a report.
    ///
    /// # Errors
    /// [`Malformed`] when a block is cut, or names an impossible stream, or there are more than [`STREAMS_MAX`].
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let reporter = MemberId(reader.u16()?);
        let blocks = reader.rest();
        let (whole, rest) = blocks.as_chunks::<REPORT_BLOCK_BYTES>();
        if !rest.is_empty() || whole.len() > STREAMS_MAX || whole.iter().any(|block| parse_block(block).is_err()) {
            return Err(Malformed);
        }
        Ok(Self { reporter, blocks })
    }

    /// The blocks one after another.
    pub fn blocks(self) -> impl Iterator<Item = ReportBlock> + 'a {
        let (blocks, _) = self.blocks.as_chunks::<REPORT_BLOCK_BYTES>();
        blocks.iter().filter_map(|block| parse_block(block).ok())
    }

    /// Writes a report of at most [`Report::BLOCKS_MAX`] blocks to the front of `buffer`; answers its length.
    pub fn write(reporter: MemberId, blocks: &[ReportBlock], buffer: &mut [u8]) -> usize {
        let mut writer = Writer::new(buffer);
        writer.u16(reporter.0);
        for block in blocks {
            writer.u32(block.ssrc.to_wire());
            writer.u8(block.fraction_lost);
            writer.u32(block.packets_lost as u32);
            writer.u32(block.packets_received);
            writer.u32(block.jitter);
            writer.u32(block.bitrate_bps);
        }
        writer.length()
    }
}

const REPORT_BLOCK_BYTES: usize = 21;

fn parse_block(block: &[u8]) -> Result<ReportBlock, Malformed> {
    let mut reader = Reader::new(block);
    Ok(ReportBlock {
        ssrc: Ssrc::from_wire(reader.u32()?).ok_or(Malformed)?,
        fraction_lost: reader.u8()?,
        packets_lost: reader.u32()? as i32,
        packets_received: reader.u32()?,
        jitter: reader.u32()?,
        bitrate_bps: reader.u32()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::StreamKind;

    fn media(kind: StreamKind) -> MediaHeader {
        MediaHeader {
            ssrc: Ssrc::new(MemberId(3), kind),
            sequence: SequenceNumber(0x1122),
            send_time: SendTime(0x3344_5566),
            timestamp: MediaTime(0x7788_99aa),
        }
    }

    fn video() -> VideoHeader {
        VideoHeader { media: media(StreamKind::Video), frame: FrameId(9), part: 1, parts: 2, rung: 3, quality: 60 }
    }

    #[test]
    fn a_video_header_reads_as_it_was_written() {
        let runs = [BlockRun { row: 4, column: 0, blocks: 20 }, BlockRun { row: 5, column: 7, blocks: 2 }];
        let mut body = [7; 40];
        let length = video().write(&runs, &mut body);
        assert_eq!(length, VideoHeader::BYTES + 6);
        let (header, places, scan) = VideoHeader::parse(&body).unwrap();
        assert_eq!((header, places.blocks(), scan.len()), (video(), 22, 40 - length));
        assert!(places.iter().eq(runs));
        for short in 0..=length {
            assert_eq!(VideoHeader::parse(&body[..short]), Err(Malformed));
        }
    }

    #[test]
    fn a_video_field_out_of_range_is_malformed() {
        let run = BlockRun { row: 0, column: 0, blocks: 1 };
        let wrong = [
            (VideoHeader { part: 2, ..video() }, vec![run]),
            (VideoHeader { quality: 0, ..video() }, vec![run]),
            (VideoHeader { quality: 101, ..video() }, vec![run]),
            (video(), vec![]),
            (video(), vec![BlockRun { blocks: 0, ..run }]),
            (video(), vec![BlockRun { blocks: 65, ..run }]),
        ];
        for (header, runs) in wrong {
            let mut body = [7; 64];
            header.write(&runs, &mut body);
            assert_eq!(VideoHeader::parse(&body), Err(Malformed), "{header:?} {runs:?}");
        }
    }

    #[test]
    fn a_part_longer_than_every_path_carries_is_malformed() {
        let mut body = [7; PLAINTEXT_BASE_BYTES];
        video().write(&[BlockRun { row: 0, column: 0, blocks: 1 }], &mut body);
        assert_eq!(VideoHeader::parse(&body), Err(Malformed));
        assert!(VideoHeader::parse(&body[..PLAINTEXT_BASE_BYTES - 1]).is_ok());
    }

    #[test]
    fn a_part_sent_again_says_so_and_nothing_else_of_it_changes() {
        let mut body = [7; 64];
        video().write(&[BlockRun { row: 0, column: 0, blocks: 1 }], &mut body);
        VideoHeader::mark_again(&mut body);
        let (header, ..) = VideoHeader::parse(&body).unwrap();
        assert!(header.again() && !video().again());
        assert_eq!(header, VideoHeader { parts: 0, ..video() });
    }

    #[test]
    fn the_stamp_replaces_what_the_sender_claimed() {
        let mut body = [7; 64];
        video().write(&[BlockRun { row: 0, column: 0, blocks: 1 }], &mut body);
        MediaHeader::rename(&mut body, Ssrc::new(MemberId(8), StreamKind::Video), SequenceNumber(5));
        MediaHeader::stamp(&mut body, SendTime(77));
        let (header, ..) = VideoHeader::parse(&body).unwrap();
        assert_eq!(header.media.ssrc.member(), MemberId(8));
        assert_eq!(header.media.send_time, SendTime(77));
        assert_eq!(header.media.sequence, SequenceNumber(5));
        assert_eq!(header.media.timestamp, MediaTime(0x7788_99aa));
    }

    #[test]
    fn a_report_reads_as_it_was_written() {
        let block = ReportBlock {
            ssrc: Ssrc::new(MemberId(3), StreamKind::Video),
            fraction_lost: 13,
            packets_lost: -2,
            packets_received: 1_000,
            jitter: 55,
            bitrate_bps: 1_234_567,
        };
        let mut body = [0; 64];
        let length = Report::write(MemberId(5), &[block, block], &mut body);
        let report = Report::parse(&body[..length]).unwrap();
        assert_eq!(report.reporter, MemberId(5));
        assert!(report.blocks().eq([block, block]));
        for short in (0..length).filter(|short| *short != 2 && *short != 2 + Report::BLOCK_BYTES) {
            assert_eq!(Report::parse(&body[..short]), Err(Malformed));
        }
    }
}
