//! Coded parts of a frame, into datagrams and back into a frame.
//!
//! Each part is a picture of its own, so a frame with holes is still shown; but all blocks of a frame that did arrive
//! are shown together, and never an older frame after a newer one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::ids::Ssrc;
use crate::limits::{
    BLOCKS_PER_PART_MAX, FRAME_MAX_BYTES, FRAME_PARTS_MAX, FRAMES_ASSEMBLED_MAX, PLAINTEXT_BASE_BYTES,
};
use crate::media::jpeg;
use crate::media::ladder::Rung;
use crate::media::meter::LastSecond;
use crate::sequence::{FrameId, MediaTime, SendTime, SequenceNumber};
use crate::wire::media::{BlockRun, BlockRuns, MediaHeader, VideoHeader};

/// A part of a frame as the encoder made it and the decoder takes it: one small JPEG without its headers, 16 pixels
/// high and 16 times as many pixels wide as it has blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodedPart {
    /// Where the blocks belong, left to right as they stand in the JPEG; at least one.
    pub runs: Vec<BlockRun>,
    /// Entropy-coded scan, from behind the SOS header up to (without) the EOI marker; at most
    /// [`crate::wire::media::VideoHeader::scan_max_bytes`] of `runs.len()`.
    pub scan: Vec<u8>,
}

/// A frame on its way to the network, or a frame (perhaps with holes) on its way to the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodedFrame {
    /// Picture size.
    pub rung: Rung,
    /// JPEG quality of all parts, 1..=100; sampling is 4:2:0.
    pub quality: u8,
    /// When it was captured, 90 kHz.
    pub timestamp: MediaTime,
    /// What there is of it. A place that no part covers keeps what it showed before.
    pub parts: Vec<CodedPart>,
}

/// A frame to be shown, with its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedFrame {
    /// The stream it came by.
    pub ssrc: Ssrc,
    /// Its number.
    pub frame: FrameId,
    /// Every part arrived.
    pub complete: bool,
    /// The picture.
    pub picture: CodedFrame,
}

/// Sender's side of one stream: numbers frames and packets, and writes them.
#[derive(Clone, Debug)]
pub struct Packetizer {
    ssrc: Ssrc,
    next_sequence: SequenceNumber,
    /// Of the frame whose parts are being written.
    frame: FrameId,
    parts_dropped: u64,
}

impl Packetizer {
    /// Bytes a packet may have, and so the buffer [`Self::write_part`] needs: a plaintext without its kind.
    pub const PACKET_MAX_BYTES: usize = PLAINTEXT_BASE_BYTES - 1;

    /// A stream that begins with packet 0 of frame 1.
    pub fn new(ssrc: Ssrc) -> Self {
        Self { ssrc, next_sequence: SequenceNumber(0), frame: FrameId(0), parts_dropped: 0 }
    }

    /// Writes the packet (what follows [`crate::wire::datagram::Kind::Video`]) for one part to the front of `buffer`,
    /// at least [`Self::PACKET_MAX_BYTES`] long; answers its length.
    ///
    /// Part 0 begins a frame: the parts of a frame are written in order, and the rest of it may be left out. A part
    /// that no packet can carry is dropped and counted; the length is then 0.
    pub fn write_part(
        &mut self,
        frame: &CodedFrame,
        part_index: usize,
        send_time: SendTime,
        buffer: &mut [u8],
    ) -> usize {
        if part_index == 0 {
            self.frame = self.frame.next();
        }
        let part = frame.parts.get(part_index);
        let Some(part) = part.filter(|part| part_index < FRAME_PARTS_MAX && fits(part, frame)) else {
            self.parts_dropped += 1;
            return 0;
        };
        let header = self.header(frame, part_index, send_time);
        self.next_sequence = self.next_sequence.next();
        let front = header.write(&part.runs, buffer);
        let length = front + part.scan.len();
        buffer[front..length].copy_from_slice(&part.scan);
        length
    }

    /// Parts that were too large for a packet, or no part of a frame, since the stream began.
    pub fn parts_dropped(&self) -> u64 {
        self.parts_dropped
    }

    /// Packets written since the stream began, modulo 2^16: the number of the next one.
    pub fn next_sequence(&self) -> SequenceNumber {
        self.next_sequence
    }

    fn header(&self, frame: &CodedFrame, part_index: usize, send_time: SendTime) -> VideoHeader {
        VideoHeader {
            media: MediaHeader { ssrc: self.ssrc, sequence: self.next_sequence, send_time, timestamp: frame.timestamp },
            frame: self.frame,
            part: part_index as u8,
            parts: frame.parts.len().min(FRAME_PARTS_MAX) as u8,
            rung: frame.rung.index,
            quality: frame.quality,
        }
    }
}

/// A receiver would accept this part. The count of runs comes first: the rest relies on it being small.
fn fits(part: &CodedPart, frame: &CodedFrame) -> bool {
    let blocks = part.runs.iter().map(|run| usize::from(run.blocks)).sum();
    part.runs.len() <= BLOCKS_PER_PART_MAX
        && (1..=BLOCKS_PER_PART_MAX).contains(&blocks)
        && part.runs.iter().all(|run| inside(*run, frame.rung))
        && (1..=VideoHeader::scan_max_bytes(part.runs.len())).contains(&part.scan.len())
        && (1..=100).contains(&frame.quality)
}

fn inside(run: BlockRun, rung: Rung) -> bool {
    let end = u16::from(run.column) + u16::from(run.blocks);
    run.blocks > 0 && run.row < rung.block_rows() && end <= u16::from(rung.block_columns())
}

/// What became of the frames and parts of a stream since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AssemblerStatistics {
    /// Frames of which at least one part arrived in time, given out.
    pub frames_received: u64,
    /// Of these, frames with a part missing.
    pub frames_incomplete: u64,
    /// Frames of which nothing was given out: no part of them came in time, or nobody asked for them.
    pub frames_dropped: u64,
    /// Parts that came after their frame had been given out.
    pub parts_late: u64,
    /// Parts that were there already.
    pub parts_doubled: u64,
    /// Parts that contradict their frame's other parts, lie outside the picture or cannot be a JPEG scan.
    pub parts_malformed: u64,
}

/// Receiver's side of one stream: puts parts together into frames.
///
/// After [`Self::handle_packet`], and when [`Self::poll_timeout`] is over, [`Self::poll_frame`] is asked until it
/// answers `None`.
#[derive(Clone, Debug)]
pub struct FrameAssembler {
    ssrc: Ssrc,
    /// Oldest frame first, at most [`FRAMES_ASSEMBLED_MAX`].
    pending: VecDeque<PendingFrame>,
    /// The newest frame given out or given up, and when that was.
    released: Option<(FrameId, Instant)>,
    frames: LastSecond,
    shown: Option<(Rung, u8)>,
    /// Parts whose memory is used again, at most [`SPARE_PARTS`].
    spare: Vec<CodedPart>,
    statistics: AssemblerStatistics,
}

/// How long a frame waits for its missing parts, from the first one on: a reordering network is done by then, and
/// waiting longer shows as a freeze.
pub const FRAME_DEADLINE: Duration = Duration::from_millis(100);
/// A frame far behind the last one shown, this long after it, is not late: its sender counts anew.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// Missing frame numbers beyond this many are a sender that counts anew, not frames that were lost.
const FRAME_GAP_MAX: u64 = 300;
/// Parts kept for their memory: what a frame of 480p has, 75 kB.
const SPARE_PARTS: usize = 64;

#[derive(Clone, Debug)]
struct PendingFrame {
    id: FrameId,
    parts_expected: u8,
    deadline: Instant,
    bytes: usize,
    /// Which part each of `picture.parts` is, ascending.
    indices: Vec<u8>,
    picture: CodedFrame,
}

impl PendingFrame {
    fn new(now: Instant, header: &VideoHeader, rung: Rung) -> Self {
        let parts = usize::from(header.parts);
        Self {
            id: header.frame,
            parts_expected: header.parts,
            deadline: now + FRAME_DEADLINE,
            bytes: 0,
            indices: Vec::with_capacity(parts),
            picture: CodedFrame {
                rung,
                quality: header.quality,
                timestamp: header.media.timestamp,
                parts: Vec::with_capacity(parts),
            },
        }
    }

    fn complete(&self) -> bool {
        self.indices.len() == usize::from(self.parts_expected)
    }

    fn due(&self, now: Instant) -> bool {
        self.complete() || self.deadline <= now
    }

    fn agrees_with(&self, header: &VideoHeader) -> bool {
        self.parts_expected == header.parts
            && self.picture.rung.index == header.rung
            && self.picture.quality == header.quality
            && self.picture.timestamp == header.media.timestamp
    }
}

impl FrameAssembler {
    /// A stream of which nothing arrived yet.
    pub fn new(ssrc: Ssrc) -> Self {
        Self {
            ssrc,
            pending: VecDeque::with_capacity(FRAMES_ASSEMBLED_MAX),
            released: None,
            frames: LastSecond::default(),
            shown: None,
            spare: Vec::new(),
            statistics: AssemblerStatistics::default(),
        }
    }

    /// Takes the parts of a packet that [`VideoHeader::parse`] found well-formed.
    pub fn handle_packet(&mut self, now: Instant, header: &VideoHeader, runs: BlockRuns<'_>, scan: &[u8]) {
        let rung = Rung::from_index(header.rung);
        let Some(rung) = rung.filter(|rung| runs.iter().all(|run| inside(run, *rung))) else {
            self.statistics.parts_malformed += 1;
            return;
        };
        if !jpeg::is_scan(scan) {
            self.statistics.parts_malformed += 1;
            return;
        }
        if let Some(place) = self.place_of(now, header, rung) {
            self.add_part(place, header, runs, scan);
        }
    }

    /// The next frame to be shown: whole, or with holes once a later one is whole or its own time is over.
    pub fn poll_frame(&mut self, now: Instant) -> Option<ReceivedFrame> {
        let full = self.pending.len() >= FRAMES_ASSEMBLED_MAX;
        if !full && !self.pending.iter().any(|frame| frame.due(now)) {
            return None;
        }
        let frame = self.pending.pop_front()?;
        self.release(now, frame.id);
        self.count_shown(now, &frame);
        Some(ReceivedFrame { ssrc: self.ssrc, frame: frame.id, complete: frame.complete(), picture: frame.picture })
    }

    /// When [`Self::poll_frame`] has something to give even if nothing more arrives.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.pending.iter().map(|frame| frame.deadline).min()
    }

    /// Takes a frame back after it was shown, so that its memory serves the next ones.
    pub fn recycle(&mut self, frame: ReceivedFrame) {
        let room = SPARE_PARTS - self.spare.len();
        self.spare.extend(frame.picture.parts.into_iter().take(room));
    }

    /// What became of frames and parts so far.
    pub fn statistics(&self) -> AssemblerStatistics {
        self.statistics
    }

    /// Frames given out in the second before `now`.
    pub fn frames_per_second(&self, now: Instant) -> f32 {
        self.frames.sum(now) as f32
    }

    /// Size and JPEG quality of the last frame given out.
    pub fn last_shown(&self) -> Option<(Rung, u8)> {
        self.shown
    }

    /// Index in `pending` of the frame that this part belongs to, made if it is new; `None` if it is too late or
    /// does not fit what its frame's other parts say.
    fn place_of(&mut self, now: Instant, header: &VideoHeader, rung: Rung) -> Option<usize> {
        if self.is_late(now, header.frame) {
            self.statistics.parts_late += 1;
            return None;
        }
        let behind = |frame: &PendingFrame| frame.id.distance(header.frame) < 0;
        let place = self.pending.iter().take_while(|frame| behind(frame)).count();
        match self.pending.get(place).filter(|frame| frame.id == header.frame) {
            Some(frame) if frame.agrees_with(header) => Some(place),
            Some(_) => {
                self.statistics.parts_malformed += 1;
                None
            }
            None => self.begin_frame(now, place, header, rung),
        }
    }

    fn is_late(&mut self, now: Instant, frame: FrameId) -> bool {
        let Some((newest, at)) = self.released else {
            return false;
        };
        if frame.distance(newest) > 0 {
            return false;
        }
        let restarted = self.pending.is_empty() && now.saturating_duration_since(at) >= RESTART_AFTER;
        if restarted {
            self.released = None;
        }
        !restarted
    }

    /// Makes room by giving up the oldest frame, which only happens to a caller who does not poll.
    fn begin_frame(&mut self, now: Instant, place: usize, header: &VideoHeader, rung: Rung) -> Option<usize> {
        let mut place = place;
        if self.pending.len() >= FRAMES_ASSEMBLED_MAX {
            // Older than everything there is: the frame to give up is this one.
            place = place.checked_sub(1)?;
            let oldest = self.pending.pop_front()?;
            self.statistics.frames_dropped += 1;
            self.release(now, oldest.id);
        }
        self.pending.insert(place, PendingFrame::new(now, header, rung));
        Some(place)
    }

    fn add_part(&mut self, place: usize, header: &VideoHeader, runs: BlockRuns<'_>, scan: &[u8]) {
        let frame = &mut self.pending[place];
        let Err(index) = frame.indices.binary_search(&header.part) else {
            self.statistics.parts_doubled += 1;
            return;
        };
        if frame.bytes + scan.len() > FRAME_MAX_BYTES {
            self.statistics.parts_malformed += 1;
            return;
        }
        let mut part = self.spare.pop().unwrap_or_default();
        part.runs.clear();
        part.runs.extend(runs.iter());
        part.scan.clear();
        part.scan.extend_from_slice(scan);
        frame.bytes += scan.len();
        frame.indices.insert(index, header.part);
        frame.picture.parts.insert(index, part);
    }

    /// Frames between the last one and this one were lost as a whole.
    fn release(&mut self, now: Instant, frame: FrameId) {
        if let Some((newest, _)) = self.released {
            let missing = u64::from(frame.0.wrapping_sub(newest.0)).saturating_sub(1);
            if missing <= FRAME_GAP_MAX {
                self.statistics.frames_dropped += missing;
            }
        }
        self.released = Some((frame, now));
    }

    fn count_shown(&mut self, now: Instant, frame: &PendingFrame) {
        self.statistics.frames_received += 1;
        self.statistics.frames_incomplete += u64::from(!frame.complete());
        self.frames.add(now, 1);
        self.shown = Some((frame.picture.rung, frame.picture.quality));
    }
}

#[cfg(test)]
mod tests {
    use super::super::virtual_time;
    use super::*;
    use crate::ids::{MemberId, StreamKind};
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;
    use rand::{RngExt, SeedableRng};

    const MILLI: Duration = Duration::from_millis(1);

    fn ssrc() -> Ssrc {
        Ssrc::new(MemberId(4), StreamKind::Video)
    }

    fn frame(number: u32, parts: u8) -> CodedFrame {
        let part = |row| CodedPart {
            runs: vec![BlockRun { row, column: 0, blocks: 40 }],
            scan: vec![number as u8 & 0x7f, row, 1, 2],
        };
        CodedFrame {
            rung: Rung::ALL[2],
            quality: 50,
            timestamp: MediaTime(number * 6_000),
            parts: (0..parts).map(part).collect(),
        }
    }

    fn packets(packetizer: &mut Packetizer, frame: &CodedFrame) -> Vec<Vec<u8>> {
        let write = |part| {
            let mut buffer = [0; Packetizer::PACKET_MAX_BYTES];
            let length = packetizer.write_part(frame, part, SendTime(7), &mut buffer);
            buffer[..length].to_vec()
        };
        (0..frame.parts.len()).map(write).collect()
    }

    fn handle(assembler: &mut FrameAssembler, now: Instant, packet: &[u8]) {
        let (header, runs, scan) = VideoHeader::parse(packet).unwrap();
        assembler.handle_packet(now, &header, runs, scan);
    }

    /// An assembler, and the packets of the frames `1..=frames` with `parts` parts each.
    fn stream(frames: u32, parts: u8) -> (FrameAssembler, Vec<Vec<Vec<u8>>>) {
        let mut packetizer = Packetizer::new(ssrc());
        let packets = |number| packets(&mut packetizer, &frame(number, parts));
        (FrameAssembler::new(ssrc()), (1..=frames).map(packets).collect())
    }

    #[test]
    fn a_frame_comes_out_as_it_went_in() {
        let now = virtual_time();
        let (mut assembler, sent) = stream(1, 23);
        for packet in sent[0].iter().rev() {
            assert_eq!(assembler.poll_frame(now), None);
            handle(&mut assembler, now, packet);
        }
        let received = assembler.poll_frame(now).unwrap();
        assert!(received.complete);
        assert_eq!((received.ssrc, received.frame), (ssrc(), FrameId(1)));
        assert_eq!(received.picture, frame(1, 23));
        assert_eq!(assembler.last_shown(), Some((Rung::ALL[2], 50)));
        assert_eq!(assembler.poll_timeout(), None);
    }

    #[test]
    fn packets_and_frames_are_numbered_in_order() {
        let (_, sent) = stream(2, 3);
        let numbers = |packet: &Vec<u8>| {
            let (header, ..) = VideoHeader::parse(packet).unwrap();
            (header.media.sequence.0, header.frame.0, header.part, header.parts)
        };
        let numbers: Vec<_> = sent.iter().flatten().map(numbers).collect();
        let expected = [(0, 1, 0, 3), (1, 1, 1, 3), (2, 1, 2, 3), (3, 2, 0, 3), (4, 2, 1, 3), (5, 2, 2, 3)];
        assert_eq!(numbers, expected);
    }

    #[test]
    fn a_part_that_no_packet_can_carry_is_dropped_and_counted() {
        let run = BlockRun { row: 0, column: 0, blocks: 1 };
        let most = VideoHeader::scan_max_bytes(1);
        let wrong = [
            CodedPart { runs: vec![run], scan: vec![1; most + 1] },
            CodedPart { runs: vec![run], scan: vec![] },
            CodedPart { runs: vec![], scan: vec![1] },
            CodedPart { runs: vec![run; 2_000], scan: vec![1] },
            CodedPart { runs: vec![BlockRun { blocks: 41, ..run }], scan: vec![1] },
            CodedPart { runs: vec![BlockRun { row: 23, ..run }], scan: vec![1] },
        ];
        let mut packetizer = Packetizer::new(ssrc());
        let mut buffer = [0; Packetizer::PACKET_MAX_BYTES];
        let good = CodedPart { runs: vec![run], scan: vec![1; most] };
        let with = |part: &CodedPart| CodedFrame { parts: vec![part.clone()], ..frame(1, 0) };
        for part in &wrong {
            assert_eq!(packetizer.write_part(&with(part), 0, SendTime(0), &mut buffer), 0);
        }
        assert_eq!(packetizer.write_part(&with(&good), 1, SendTime(0), &mut buffer), 0);
        assert_eq!(packetizer.parts_dropped(), 7);
        let length = packetizer.write_part(&with(&good), 0, SendTime(0), &mut buffer);
        assert_eq!(length, Packetizer::PACKET_MAX_BYTES);
    }

    #[test]
    fn a_frame_with_a_hole_is_shown_before_the_next_whole_one() {
        let now = virtual_time();
        let (mut assembler, sent) = stream(2, 3);
        handle(&mut assembler, now, &sent[0][0]);
        handle(&mut assembler, now, &sent[0][2]);
        for packet in &sent[1] {
            assert_eq!(assembler.poll_frame(now), None);
            handle(&mut assembler, now, packet);
        }
        let first = assembler.poll_frame(now).unwrap();
        assert_eq!((first.frame, first.complete, first.picture.parts.len()), (FrameId(1), false, 2));
        let second = assembler.poll_frame(now).unwrap();
        assert_eq!((second.frame, second.complete), (FrameId(2), true));
        handle(&mut assembler, now, &sent[0][1]);
        assert_eq!(assembler.poll_frame(now), None);
        let counted = assembler.statistics();
        assert_eq!((counted.frames_received, counted.frames_incomplete, counted.parts_late), (2, 1, 1));
    }

    #[test]
    fn a_frame_with_a_hole_is_shown_when_its_time_is_over() {
        let now = virtual_time();
        let (mut assembler, sent) = stream(1, 3);
        handle(&mut assembler, now, &sent[0][1]);
        assert_eq!(assembler.poll_timeout(), Some(now + FRAME_DEADLINE));
        assert_eq!(assembler.poll_frame(now + FRAME_DEADLINE - MILLI), None);
        let frame = assembler.poll_frame(now + FRAME_DEADLINE).unwrap();
        assert!(!frame.complete);
    }

    #[test]
    fn a_doubled_part_is_taken_once() {
        let now = virtual_time();
        let (mut assembler, sent) = stream(1, 2);
        handle(&mut assembler, now, &sent[0][0]);
        handle(&mut assembler, now, &sent[0][0]);
        assert_eq!(assembler.poll_frame(now), None);
        handle(&mut assembler, now, &sent[0][1]);
        assert_eq!(assembler.poll_frame(now).unwrap().picture.parts.len(), 2);
        handle(&mut assembler, now, &sent[0][1]);
        let counted = assembler.statistics();
        assert_eq!((counted.parts_doubled, counted.parts_late), (1, 1));
    }

    #[test]
    fn a_part_that_contradicts_its_frame_or_its_size_is_dropped() {
        let now = virtual_time();
        let (mut assembler, sent) = stream(1, 2);
        handle(&mut assembler, now, &sent[0][0]);
        let (good, ..) = VideoHeader::parse(&sent[0][1]).unwrap();
        let later = MediaHeader { timestamp: MediaTime(1), ..good.media };
        let run = BlockRun { row: 1, column: 0, blocks: 1 };
        let wrong = [
            (VideoHeader { quality: 51, ..good }, run, 1),
            (VideoHeader { rung: 3, ..good }, run, 1),
            (VideoHeader { parts: 3, ..good }, run, 1),
            (VideoHeader { media: later, ..good }, run, 1),
            (VideoHeader { rung: 4, frame: FrameId(9), ..good }, run, 1),
            (good, BlockRun { row: 23, ..run }, 1),
            (good, BlockRun { column: 40, ..run }, 1),
            (good, BlockRun { column: 255, ..run }, 1),
            (good, run, 0xff),
        ];
        for (header, run, scan) in &wrong {
            let mut packet = vec![*scan; 40];
            let length = header.write(&[*run], &mut packet);
            handle(&mut assembler, now, &packet[..length + 4]);
            assert_eq!(assembler.poll_frame(now), None);
        }
        assert_eq!(assembler.statistics().parts_malformed, wrong.len() as u64);
    }

    #[test]
    fn a_frame_of_too_many_bytes_keeps_what_fits() {
        let now = virtual_time();
        let (mut assembler, sent) = stream(1, 1);
        let (header, ..) = VideoHeader::parse(&sent[0][0]).unwrap();
        for part in 0..=254 {
            let header = VideoHeader { part, parts: 255, ..header };
            let run = BlockRun { row: 0, column: 0, blocks: 1 };
            let mut packet = [1; Packetizer::PACKET_MAX_BYTES];
            header.write(&[run], &mut packet);
            handle(&mut assembler, now, &packet);
        }
        let frame = assembler.poll_frame(now + FRAME_DEADLINE).unwrap();
        let bytes: usize = frame.picture.parts.iter().map(|part| part.scan.len()).sum();
        assert!(!frame.complete && bytes <= FRAME_MAX_BYTES);
    }

    #[test]
    fn frames_that_nobody_polls_push_out_the_oldest() {
        let now = virtual_time();
        let (mut assembler, sent) = stream(10, 2);
        for packets in &sent {
            handle(&mut assembler, now, &packets[0]);
        }
        assert_eq!(assembler.statistics().frames_dropped, 6);
        handle(&mut assembler, now, &sent[5][1]);
        assert_eq!(assembler.statistics().parts_late, 1);
        assert_eq!(assembler.poll_frame(now).unwrap().frame, FrameId(7));
        assert_eq!(assembler.poll_frame(now), None);
    }

    #[test]
    fn a_sender_that_counts_anew_is_shown_after_a_second() {
        let now = virtual_time();
        let (mut assembler, sent) = stream(20, 1);
        handle(&mut assembler, now, &sent[19][0]);
        assert_eq!(assembler.poll_frame(now).unwrap().frame, FrameId(20));
        handle(&mut assembler, now + 999 * MILLI, &sent[0][0]);
        assert_eq!(assembler.poll_frame(now + 999 * MILLI), None);
        handle(&mut assembler, now + 1_000 * MILLI, &sent[1][0]);
        assert_eq!(assembler.poll_frame(now + 1_000 * MILLI).unwrap().frame, FrameId(2));
    }

    #[test]
    fn memory_of_shown_frames_is_used_again_and_bounded() {
        let now = virtual_time();
        let (mut assembler, sent) = stream(20, 23);
        for packets in &sent {
            for packet in packets {
                handle(&mut assembler, now, packet);
            }
            let frame = assembler.poll_frame(now).unwrap();
            assembler.recycle(frame.clone());
            assembler.recycle(frame);
            assert!(assembler.spare.len() <= SPARE_PARTS);
        }
    }

    #[test]
    fn loss_reordering_and_doubling_never_turn_back_the_picture() {
        let start = virtual_time();
        let mut random = StdRng::seed_from_u64(7);
        let (mut assembler, sent) = stream(300, 10);
        let mut arrivals = Vec::new();
        for (number, packet) in sent.iter().enumerate().flat_map(|(n, p)| p.iter().map(move |p| (n, p))) {
            for _ in 0..random.random_range(0..20).min(1) + u32::from(random.random_ratio(1, 50)) {
                arrivals.push((66 * number as u32 + random.random_range(0..90), packet));
            }
        }
        arrivals.shuffle(&mut random);
        arrivals.sort_by_key(|(at, _)| *at);
        let mut shown = Vec::new();
        for (at, packet) in arrivals {
            let now = start + at * MILLI;
            handle(&mut assembler, now, packet);
            while let Some(frame) = assembler.poll_frame(now) {
                assert!(!frame.picture.parts.is_empty());
                shown.push(frame.frame.0);
            }
        }
        assert!(shown.is_sorted_by(|a, b| a < b));
        assert!(shown.len() >= 295, "{}", shown.len());
        let rate = assembler.frames_per_second(start + 300 * 66 * MILLI);
        assert!((13.0..=17.0).contains(&rate), "{rate}");
    }

    proptest! {
        #[test]
        fn no_packet_makes_it_panic_or_grow(
            bodies in proptest::collection::vec(
                (0..12u16, 0..6u8, 1..6u8, 0..5u8, 1..=100u8, 0..60u8, any::<u8>(), 1..=64u8, 0..400u32), 0..80),
        ) {
            let start = virtual_time();
            let mut assembler = FrameAssembler::new(ssrc());
            let mut newest: Option<FrameId> = None;
            let mut elapsed = 0;
            for (id, part, parts, rung, quality, row, column, blocks, millis) in bodies {
                elapsed += millis / 10;
                let now = start + elapsed * MILLI;
                let media = MediaHeader {
                    ssrc: ssrc(),
                    sequence: SequenceNumber(0),
                    send_time: SendTime(0),
                    timestamp: MediaTime(0),
                };
                let frame = FrameId(id.wrapping_sub(3));
                let header = VideoHeader { media, frame, part, parts, rung, quality };
                let mut packet = [0; 64];
                header.write(&[BlockRun { row, column, blocks }], &mut packet);
                if let Ok((header, runs, scan)) = VideoHeader::parse(&packet) {
                    assembler.handle_packet(now, &header, runs, scan);
                }
                if millis % 3 == 0 {
                    while let Some(frame) = assembler.poll_frame(now) {
                        prop_assert!(newest.is_none_or(|newest| frame.frame.distance(newest) > 0) || elapsed >= 1_000);
                        newest = Some(frame.frame);
                    }
                }
                prop_assert!(assembler.pending.len() <= FRAMES_ASSEMBLED_MAX);
            }
        }
    }
}
