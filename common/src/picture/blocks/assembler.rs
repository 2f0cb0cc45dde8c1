//! Packets of a stream into what is to be drawn.
//!
//! The blocks of a frame are given out together: when all of its parts came, when it is clear that the missing ones are
//! lost, or when its time is over. A part that comes after its frame was given out, because it was late or because the
//! relay sent it again, is a repair: it goes with the next frame, or alone after a short while.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::ids::Ssrc;
use crate::limits::{FRAME_MAX_BYTES, FRAMES_ASSEMBLED_MAX};
use crate::path::meter::LastSecond;
use crate::picture::blocks::{CodedFrame, CodedPart, ReceivedFrame, Repair, inside};
use crate::picture::freezes::{FreezeStatistics, Freezes};
use crate::picture::jpeg;
use crate::picture::ladder::Rung;
use crate::sequence::{FrameId, MediaTime};
use crate::wire::media::{BlockRuns, VideoHeader};

/// What became of the frames and parts of a stream since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AssemblerStatistics {
    /// Frames of which at least one part arrived in time, given out; and what was sent again in place of a newer one.
    pub frames_received: u64,
    /// Of these, frames with a part missing.
    pub frames_incomplete: u64,
    /// Frames of which nothing was given out: no part of them came in time, or nobody asked for them.
    pub frames_dropped: u64,
    /// Parts given out after their frame.
    pub parts_repaired: u64,
    /// Parts that came so late that they are of no use even as repairs.
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
    released: Option<Released>,
    repairs: Repairs,
    /// The newest frame of which something was given out on its own.
    repaired: Option<FrameId>,
    frames: LastSecond,
    freezes: Freezes,
    shown: Option<(Rung, u8)>,
    /// Parts whose memory is used again, at most [`SPARE_PARTS`].
    spare: Vec<CodedPart>,
    statistics: AssemblerStatistics,
}

/// The newest frame given out or given up.
#[derive(Clone, Copy, Debug)]
struct Released {
    frame: FrameId,
    timestamp: MediaTime,
    rung: Rung,
    at: Instant,
}

/// Parts that go with the next frame.
#[derive(Clone, Debug, Default)]
struct Repairs {
    /// As they came, at most [`REPAIRS_MAX`].
    parts: Vec<Repair>,
    /// Of the newest of them.
    newest: Option<Newest>,
    /// When they go alone.
    due: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    frame: FrameId,
    timestamp: MediaTime,
    rung: Rung,
}

/// How long a frame waits for its missing parts, from the first one on: a reordering network is done by then, and
/// waiting longer shows as a freeze.
pub const FRAME_DEADLINE: Duration = Duration::from_millis(100);
/// A part of a later frame came: what is missing of this one is lost, unless the network reorders by a little.
const OVERTAKEN_GRACE: Duration = Duration::from_millis(10);
/// The parts of a frame follow each other closely. After so long a silence its last ones are lost.
const SILENCE: Duration = Duration::from_millis(30);
/// How long a repair waits for a frame that it can go with.
pub const REPAIR_DELAY: Duration = Duration::from_millis(20);
/// A repair further behind than this is of no use: each block has been refreshed since, at 30 frames a second.
const REPAIR_FRAMES_MAX: i16 = 600;
/// Repairs that wait at a time: a whole picture of 480p is 60 of them.
const REPAIRS_MAX: usize = 256;
/// A frame further behind than any repair, this long after the last one given out: its sender counts anew.
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
    /// When it is clear that nothing more of it comes.
    given_up: Instant,
    overtaken: bool,
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
            given_up: now + SILENCE,
            overtaken: false,
            bytes: 0,
            indices: Vec::with_capacity(parts),
            picture: CodedFrame { rung, timestamp: header.media.timestamp, parts: Vec::with_capacity(parts) },
        }
    }

    fn complete(&self) -> bool {
        self.indices.len() == usize::from(self.parts_expected)
    }

    fn due(&self, now: Instant) -> bool {
        self.complete() || self.due_at() <= now
    }

    fn due_at(&self) -> Instant {
        self.deadline.min(self.given_up)
    }

    /// A part of a later frame came. Those that come after it change nothing.
    fn overtake(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.overtaken, true) {
            self.given_up = self.given_up.min(now + OVERTAKEN_GRACE);
        }
    }

    fn agrees_with(&self, header: &VideoHeader) -> bool {
        (self.parts_expected == header.parts || header.again())
            && header.part < self.parts_expected
            && self.picture.rung.index == header.rung
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
            repairs: Repairs::default(),
            repaired: None,
            frames: LastSecond::default(),
            freezes: Freezes::default(),
            shown: None,
            spare: Vec::new(),
            statistics: AssemblerStatistics::default(),
        }
    }

    /// Takes the parts of a packet that [`VideoHeader::parse`] found well-formed.
    pub fn handle_packet(&mut self, now: Instant, header: &VideoHeader, runs: BlockRuns<'_>, scan: &[u8]) {
        let rung = Rung::from_index(header.rung);
        let rung = rung.filter(|rung| runs.iter().all(|run| inside(run, *rung)) && jpeg::is_scan(scan));
        let Some(rung) = rung else {
            self.statistics.parts_malformed += 1;
            return;
        };
        match self.belongs(now, header) {
            Belongs::ToFrame => {
                self.overtake(now, header.frame);
                if let Some(place) = self.place_of(now, header, rung) {
                    self.add_part(now, place, header, runs, scan);
                }
            }
            Belongs::ToRepairs => self.add_repair(now, header, rung, runs, scan),
            Belongs::Nowhere => self.statistics.parts_late += 1,
        }
    }

    /// What is to be drawn next: a frame, whole or with holes if nothing more of it comes, or repairs that waited long
    /// enough.
    pub fn poll_frame(&mut self, now: Instant) -> Option<ReceivedFrame> {
        let full = self.pending.len() >= FRAMES_ASSEMBLED_MAX;
        if self.pending.front().is_some_and(|frame| full || frame.due(now)) {
            return self.give_out_frame(now);
        }
        if self.repairs.due.is_some_and(|due| due <= now) { self.give_out_repairs(now) } else { None }
    }

    /// When [`Self::poll_frame`] has something to give even if nothing more arrives.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let frame = self.pending.front().map(PendingFrame::due_at);
        frame.into_iter().chain(self.repairs.due).min()
    }

    /// Takes a frame back after it was shown, so that its memory serves the next ones.
    pub fn recycle(&mut self, frame: ReceivedFrame) {
        let repairs = frame.repairs.into_iter().map(|repair| repair.part);
        let room = SPARE_PARTS - self.spare.len();
        self.spare.extend(frame.picture.parts.into_iter().chain(repairs).take(room));
    }

    /// What became of frames and parts so far.
    pub fn statistics(&self) -> AssemblerStatistics {
        self.statistics
    }

    /// When the picture stood still that should have moved.
    pub fn freezes(&self) -> FreezeStatistics {
        self.freezes.statistics()
    }

    /// Frames given out in the second before `now`.
    pub fn frames_per_second(&self, now: Instant) -> f32 {
        self.frames.sum(now) as f32
    }

    /// Size and JPEG quality of the last frame given out; the lowest of its parts, which are those that moved.
    pub fn last_shown(&self) -> Option<(Rung, u8)> {
        self.shown
    }

    fn belongs(&mut self, now: Instant, header: &VideoHeader) -> Belongs {
        let pending = self.pending.iter().any(|frame| frame.id == header.frame);
        if pending {
            return Belongs::ToFrame;
        }
        let Some(released) = self.released else {
            return if header.again() { Belongs::ToRepairs } else { Belongs::ToFrame };
        };
        let ahead = header.frame.distance(released.frame);
        if ahead <= 0 && self.counts_anew(now, header, released) {
            self.released = None;
            return Belongs::ToFrame;
        }
        match ahead {
            1.. if !header.again() => Belongs::ToFrame,
            1.. => Belongs::ToRepairs,
            _ if ahead >= -REPAIR_FRAMES_MAX && header.rung == released.rung.index => Belongs::ToRepairs,
            _ => Belongs::Nowhere,
        }
    }

    /// A frame number from behind that is not an old frame's: it was captured later, or nothing so old can come.
    fn counts_anew(&self, now: Instant, header: &VideoHeader, released: Released) -> bool {
        let silent = now.saturating_duration_since(released.at) >= RESTART_AFTER;
        let later = header.media.timestamp.distance(released.timestamp) > 0;
        let far = header.frame.distance(released.frame) < -REPAIR_FRAMES_MAX;
        self.pending.is_empty() && !header.again() && (later || (far && silent))
    }

    fn overtake(&mut self, now: Instant, frame: FrameId) {
        for earlier in self.pending.iter_mut().take_while(|pending| pending.id.distance(frame) < 0) {
            earlier.overtake(now);
        }
    }

    /// Index in `pending` of the frame that this part belongs to, made if it is new; `None` if it does not fit what its
    /// frame's other parts say.
    fn place_of(&mut self, now: Instant, header: &VideoHeader, rung: Rung) -> Option<usize> {
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

    /// Makes room by giving up the oldest frame, which only happens to a caller who does not poll.
    fn begin_frame(&mut self, now: Instant, place: usize, header: &VideoHeader, rung: Rung) -> Option<usize> {
        let mut place = place;
        if self.pending.len() >= FRAMES_ASSEMBLED_MAX {
            // Older than everything there is: the frame to give up is this one.
            place = place.checked_sub(1)?;
            let oldest = self.pending.pop_front()?;
            self.statistics.frames_dropped += 1;
            self.release(now, &oldest);
        }
        let mut frame = PendingFrame::new(now, header, rung);
        if place < self.pending.len() {
            frame.overtake(now);
        }
        self.pending.insert(place, frame);
        Some(place)
    }

    fn add_part(&mut self, now: Instant, place: usize, header: &VideoHeader, runs: BlockRuns<'_>, scan: &[u8]) {
        let frame = &mut self.pending[place];
        let Err(index) = frame.indices.binary_search(&header.part) else {
            self.statistics.parts_doubled += 1;
            return;
        };
        if frame.bytes + scan.len() > FRAME_MAX_BYTES {
            self.statistics.parts_malformed += 1;
            return;
        }
        if !frame.overtaken {
            frame.given_up = now + SILENCE;
        }
        frame.bytes += scan.len();
        frame.indices.insert(index, header.part);
        frame.picture.parts.insert(index, copy(self.spare.pop(), header, runs, scan));
    }

    /// Repairs are all of one size, that of the newest: others cannot be drawn into the same picture.
    fn add_repair(&mut self, now: Instant, header: &VideoHeader, rung: Rung, runs: BlockRuns<'_>, scan: &[u8]) {
        let newest = Newest { frame: header.frame, timestamp: header.media.timestamp, rung };
        let ahead = self.repairs.newest.is_none_or(|before| newest.frame.distance(before.frame) > 0);
        let alike = self.repairs.newest.is_none_or(|before| before.rung == rung);
        if self.repairs.parts.len() >= REPAIRS_MAX || !(ahead || alike) {
            self.statistics.parts_late += 1;
            return;
        }
        if !alike {
            self.statistics.parts_late += self.repairs.parts.len() as u64;
            self.repairs.parts.clear();
        }
        if ahead {
            self.repairs.newest = Some(newest);
        }
        let part = copy(self.spare.pop(), header, runs, scan);
        self.repairs.parts.push(Repair { frame: header.frame, part });
        self.repairs.due.get_or_insert(now + REPAIR_DELAY);
    }

    fn give_out_frame(&mut self, now: Instant) -> Option<ReceivedFrame> {
        let frame = self.pending.pop_front()?;
        self.release(now, &frame);
        let complete = frame.complete();
        let quality = frame.picture.parts.iter().map(|part| part.quality).min();
        let CodedFrame { rung, timestamp, .. } = frame.picture;
        self.count_shown(now, Newest { frame: frame.id, timestamp, rung }, quality, complete);
        let repairs = self.repairs_for(&frame);
        Some(ReceivedFrame { ssrc: self.ssrc, frame: frame.id, complete, picture: frame.picture, repairs })
    }

    /// To a receiver whose path carries less than all, newer blocks come in no other way: then it is a frame as well.
    fn give_out_repairs(&mut self, now: Instant) -> Option<ReceivedFrame> {
        let newest = self.repairs.newest?;
        let released = self.released.map(|released| released.frame);
        let shown = released.into_iter().chain(self.repaired).all(|shown| newest.frame.distance(shown) > 0);
        self.repaired = Some(newest.frame);
        if shown {
            let quality = self.repairs.parts.iter().map(|repair| repair.part.quality).min();
            self.count_shown(now, newest, quality, true);
        }
        let picture = CodedFrame { rung: newest.rung, timestamp: newest.timestamp, parts: Vec::new() };
        let repairs = self.take_repairs();
        Some(ReceivedFrame { ssrc: self.ssrc, frame: newest.frame, complete: true, picture, repairs })
    }

    /// The repairs that go with a frame. Those of another size wait for a frame that is to come, or go nowhere.
    fn repairs_for(&mut self, frame: &PendingFrame) -> Vec<Repair> {
        match self.repairs.newest {
            Some(newest) if newest.rung == frame.picture.rung => self.take_repairs(),
            Some(newest) if newest.frame.distance(frame.id) < 0 => {
                self.statistics.parts_late += std::mem::take(&mut self.repairs).parts.len() as u64;
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn take_repairs(&mut self) -> Vec<Repair> {
        let repairs = std::mem::take(&mut self.repairs).parts;
        self.statistics.parts_repaired += repairs.len() as u64;
        repairs
    }

    /// Frames between the last one and this one were lost as a whole.
    fn release(&mut self, now: Instant, frame: &PendingFrame) {
        if let Some(before) = self.released {
            let missing = u64::from(frame.id.0.wrapping_sub(before.frame.0)).saturating_sub(1);
            if missing <= FRAME_GAP_MAX {
                self.statistics.frames_dropped += missing;
            }
        }
        let CodedFrame { rung, timestamp, .. } = frame.picture;
        self.released = Some(Released { frame: frame.id, timestamp, rung, at: now });
    }

    fn count_shown(&mut self, now: Instant, frame: Newest, quality: Option<u8>, complete: bool) {
        self.statistics.frames_received += 1;
        self.statistics.frames_incomplete += u64::from(!complete);
        self.frames.add(now, 1);
        self.freezes.handle_frame(now, frame.frame, frame.timestamp);
        self.shown = quality.map(|quality| (frame.rung, quality)).or(self.shown);
    }
}

/// Where a part belongs that arrived.
#[derive(Clone, Copy, Debug)]
enum Belongs {
    Nowhere,
    ToFrame,
    ToRepairs,
}

/// A part of its own, in memory that was used before if there is any.
fn copy(memory: Option<CodedPart>, header: &VideoHeader, runs: BlockRuns<'_>, scan: &[u8]) -> CodedPart {
    let mut part = memory.unwrap_or_default();
    part.quality = header.quality;
    part.runs.clear();
    part.runs.extend(runs.iter());
    part.scan.clear();
    part.scan.extend_from_slice(scan);
    part
}

#[cfg(test)]
mod tests {
    use super::super::Packetizer;
    use super::super::testing::{frame, packets, ssrc};
    use super::*;
    use crate::sequence::{SendTime, SequenceNumber};
    use crate::virtual_time;
    use crate::wire::media::{BlockRun, MediaHeader};
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;
    use rand::{RngExt, SeedableRng};

    const MILLI: Duration = Duration::from_millis(1);

    fn handle(assembler: &mut FrameAssembler, now: Instant, packet: &[u8]) {
        let (header, runs, scan) = VideoHeader::parse(packet).unwrap();
        assembler.handle_packet(now, &header, runs, scan);
    }

    /// The same part, sent again by a relay.
    fn handle_again(assembler: &mut FrameAssembler, now: Instant, packet: &[u8]) {
        let mut packet = packet.to_vec();
        VideoHeader::mark_again(&mut packet);
        handle(assembler, now, &packet);
    }

    /// An assembler, and the packets of the frames `1..=frames` with `parts` parts each.
    fn stream(frames: u32, parts: u8) -> (FrameAssembler, Vec<Vec<Vec<u8>>>) {
        let mut packetizer = Packetizer::new(ssrc());
        let packets = |number| packets(&mut packetizer, &frame(number, parts));
        (FrameAssembler::new(ssrc()), (1..=frames).map(packets).collect())
    }

    fn repairs(frame: &ReceivedFrame) -> Vec<(u16, u8)> {
        frame.repairs.iter().map(|repair| (repair.frame.0, repair.part.scan[1])).collect()
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
    fn a_frame_with_a_hole_is_shown_shortly_after_a_later_one_came() {
        let now = virtual_time();
        let (mut assembler, sent) = stream(2, 3);
        handle(&mut assembler, now, &sent[0][0]);
        handle(&mut assembler, now, &sent[0][2]);
        for packet in &sent[1] {
            handle(&mut assembler, now + 5 * MILLI, packet);
            assert_eq!(assembler.poll_frame(now + 5 * MILLI), None);
        }
        assert_eq!(assembler.poll_timeout(), Some(now + 15 * MILLI));
        let first = assembler.poll_frame(now + 15 * MILLI).unwrap();
        assert_eq!((first.frame, first.complete, first.picture.parts.len()), (FrameId(1), false, 2));
        let second = assembler.poll_frame(now + 15 * MILLI).unwrap();
        assert_eq!((second.frame, second.complete), (FrameId(2), true));
        let counted = assembler.statistics();
        assert_eq!((counted.frames_received, counted.frames_incomplete), (2, 1));
    }

    #[test]
    fn a_frame_with_a_hole_is_shown_when_nothing_more_comes() {
        let now = virtual_time();
        let (mut assembler, sent) = stream(1, 8);
        for (part, packet) in sent[0][..5].iter().enumerate() {
            handle(&mut assembler, now + 20 * part as u32 * MILLI, packet);
        }
        // The last part came after 80 ms, and the deadline is before the silence is long enough.
        assert_eq!(assembler.poll_timeout(), Some(now + FRAME_DEADLINE));
        assert_eq!(assembler.poll_frame(now + FRAME_DEADLINE - MILLI), None);
        assert!(!assembler.poll_frame(now + FRAME_DEADLINE).unwrap().complete);

        let (mut assembler, sent) = stream(1, 3);
        handle(&mut assembler, now, &sent[0][1]);
        assert_eq!(assembler.poll_timeout(), Some(now + SILENCE));
        assert!(!assembler.poll_frame(now + SILENCE).unwrap().complete);
    }

    #[test]
    fn a_part_that_is_late_goes_with_the_next_frame_or_alone() {
        let now = virtual_time();
        let (mut assembler, sent) = stream(2, 3);
        handle(&mut assembler, now, &sent[0][0]);
        assert!(assembler.poll_frame(now + SILENCE).is_some());
        let later = now + SILENCE;
        handle(&mut assembler, later, &sent[0][2]);
        assert_eq!((assembler.poll_frame(later), assembler.poll_timeout()), (None, Some(later + REPAIR_DELAY)));
        sent[1].iter().for_each(|packet| handle(&mut assembler, later, packet));
        let second = assembler.poll_frame(later).unwrap();
        assert_eq!((second.frame, second.complete, repairs(&second)), (FrameId(2), true, vec![(1, 2)]));

        handle_again(&mut assembler, later, &sent[0][1]);
        assert_eq!(assembler.poll_frame(later + REPAIR_DELAY - MILLI), None);
        let alone = assembler.poll_frame(later + REPAIR_DELAY).unwrap();
        assert_eq!((alone.frame, repairs(&alone)), (FrameId(1), vec![(1, 1)]));
        assert!(alone.picture.parts.is_empty() && alone.picture.rung == Rung::ALL[2]);
        assert_eq!((assembler.poll_frame(later + SILENCE), assembler.poll_timeout()), (None, None));
        let counted = assembler.statistics();
        assert_eq!((counted.parts_repaired, counted.frames_received, counted.parts_late), (2, 2, 0));
    }

    #[test]
    fn a_part_sent_again_completes_its_frame_while_that_waits() {
        let now = virtual_time();
        let (mut assembler, sent) = stream(1, 3);
        handle(&mut assembler, now, &sent[0][0]);
        handle(&mut assembler, now, &sent[0][2]);
        handle_again(&mut assembler, now, &sent[0][2]);
        handle_again(&mut assembler, now, &sent[0][1]);
        let frame = assembler.poll_frame(now).unwrap();
        assert!(frame.complete && frame.repairs.is_empty());
        assert_eq!(assembler.statistics().parts_doubled, 1);
    }

    #[test]
    fn who_comes_late_gets_a_picture_of_repairs() {
        let now = virtual_time();
        let (mut assembler, sent) = stream(90, 3);
        for packets in &sent[..80] {
            handle_again(&mut assembler, now, &packets[1]);
        }
        assert_eq!(assembler.poll_frame(now), None);
        let picture = assembler.poll_frame(now + REPAIR_DELAY).unwrap();
        assert_eq!((picture.repairs.len(), picture.frame), (80, FrameId(80)));
        sent[88].iter().for_each(|packet| handle(&mut assembler, now, packet));
        assert_eq!(assembler.poll_frame(now).unwrap().frame, FrameId(89));
        let counted = assembler.statistics();
        assert_eq!((counted.frames_received, counted.frames_incomplete, counted.frames_dropped), (2, 0, 0));
    }

    #[test]
    fn repairs_of_another_size_or_of_long_ago_are_of_no_use() {
        let now = virtual_time();
        let (mut assembler, sent) = stream(700, 2);
        let with_rung = |packet: &[u8], rung| {
            let (header, runs, scan) = VideoHeader::parse(packet).unwrap();
            let mut body = [0; 100];
            let runs: Vec<_> = runs.iter().map(|run| BlockRun { blocks: 8, ..run }).collect();
            let length = VideoHeader { rung, ..header }.write(&runs, &mut body);
            body[length..length + 4].copy_from_slice(scan);
            body[..length + 4].to_vec()
        };
        sent[650].iter().for_each(|packet| handle(&mut assembler, now, packet));
        assert!(assembler.poll_frame(now).is_some());
        handle_again(&mut assembler, now, &sent[649][0]);
        handle_again(&mut assembler, now, &sent[49][0]);
        handle_again(&mut assembler, now, &with_rung(&sent[648][0], 1));
        assert_eq!(assembler.statistics().parts_late, 2);
        // A size that is to come is what the next pictures have.
        handle_again(&mut assembler, now, &with_rung(&sent[660][0], 3));
        handle_again(&mut assembler, now, &sent[651][0]);
        assert_eq!(assembler.statistics().parts_late, 4);
        sent[652].iter().for_each(|packet| handle(&mut assembler, now, packet));
        assert_eq!(repairs(&assembler.poll_frame(now).unwrap()), []);
        let larger = assembler.poll_frame(now + REPAIR_DELAY).unwrap();
        assert_eq!((repairs(&larger), larger.picture.rung), (vec![(661, 0)], Rung::ALL[3]));
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
        assert_eq!(assembler.statistics().parts_doubled, 1);
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
        let frame = assembler.poll_frame(now).unwrap();
        assert_eq!((frame.frame, repairs(&frame)), (FrameId(7), vec![(6, 1)]));
        assert_eq!(assembler.poll_frame(now), None);
    }

    #[test]
    fn repairs_that_nobody_polls_are_bounded() {
        let now = virtual_time();
        let (mut assembler, sent) = stream(400, 1);
        sent.iter().for_each(|packets| handle_again(&mut assembler, now, &packets[0]));
        assert_eq!(assembler.repairs.parts.len(), REPAIRS_MAX);
        assert_eq!(assembler.statistics().parts_late as usize, 400 - REPAIRS_MAX);
    }

    #[test]
    fn a_sender_that_counts_anew_is_shown() {
        let now = virtual_time();
        let (mut assembler, sent) = stream(1_000, 1);
        let shows = |assembler: &mut FrameAssembler, now, packet: &[u8]| {
            handle(assembler, now, packet);
            assembler.poll_frame(now).filter(|frame| !frame.picture.parts.is_empty()).map(|frame| frame.frame.0)
        };
        assert_eq!(shows(&mut assembler, now, &sent[999][0]), Some(1_000));
        assert_eq!(shows(&mut assembler, now + 999 * MILLI, &sent[0][0]), None);
        assert_eq!(shows(&mut assembler, now + 1_000 * MILLI, &sent[1][0]), Some(2));
        // Captured later, although its number is behind.
        let (header, runs, scan) = VideoHeader::parse(&sent[0][0]).unwrap();
        let media = MediaHeader { timestamp: MediaTime(90_000), ..header.media };
        assembler.handle_packet(now + 1_001 * MILLI, &VideoHeader { media, ..header }, runs, scan);
        assert_eq!(assembler.poll_frame(now + 1_001 * MILLI).unwrap().frame, FrameId(1));
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
                assert!(!frame.picture.parts.is_empty() || !frame.repairs.is_empty());
                shown.extend((!frame.picture.parts.is_empty()).then_some(frame.frame.0));
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
                (0..12u16, 0..6u8, 0..6u8, 0..5u8, 1..=100u8, 0..60u8, any::<u8>(), 1..=64u8, 0..400u32), 0..80),
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
                        if frame.picture.parts.is_empty() {
                            prop_assert!(!frame.repairs.is_empty());
                            continue;
                        }
                        prop_assert!(newest.is_none_or(|newest| frame.frame.distance(newest) > 0) || elapsed >= 1_000);
                        newest = Some(frame.frame);
                    }
                }
                prop_assert!(assembler.pending.len() <= FRAMES_ASSEMBLED_MAX);
                prop_assert!(assembler.repairs.parts.len() <= REPAIRS_MAX);
            }
        }
    }
}
