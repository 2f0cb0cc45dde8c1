//! The newest bytes of each block of a sender's picture, as the parts that brought them.
//!
//! A part is kept as long as it owns a block, which is until newer parts have brought all of its blocks. So what is kept
//! is a whole picture and little more, and whoever lost a part, or comes late, gets what is newest.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::limits::PLAINTEXT_BASE_BYTES;
use crate::picture::ladder::Rung;
use crate::sequence::FrameId;
use crate::wire::media::{BlockRun, BlockRuns, VideoHeader};

/// Which picture; never given to another one, so that nobody gets blocks of a picture that is none of theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PictureId(u32);

/// Which part, of those of all pictures; in the order in which they came, and never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Serial(pub(super) u32);

/// A part of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartId {
    pub(super) picture: PictureId,
    pub(super) serial: Serial,
}

/// The pictures of all senders of a relay.
#[derive(Debug)]
pub(super) struct Pictures {
    all: BTreeMap<PictureId, Picture>,
    last_picture: PictureId,
    last_serial: Serial,
    /// To which picture the newest parts belong, by their serials modulo [`ORIGINS`].
    origins: Vec<PictureId>,
}

/// Parts of which it is remembered where they belong, until those who lost them say so: half a second of a relay that
/// forwards 2.5 million datagrams a second to fifty receivers each, and far longer of any other.
const ORIGINS: usize = 1 << 15;

impl Default for Pictures {
    fn default() -> Self {
        Self {
            all: BTreeMap::new(),
            last_picture: PictureId::default(),
            last_serial: Serial(0),
            origins: vec![PictureId::default(); ORIGINS],
        }
    }
}

impl Pictures {
    /// A picture with nothing in it.
    pub(super) fn begin(&mut self) -> PictureId {
        self.last_picture.0 += 1;
        self.all.insert(self.last_picture, Picture::default());
        self.last_picture
    }

    /// The sender of a picture is gone.
    pub(super) fn end(&mut self, picture: PictureId) {
        self.all.remove(&picture);
    }

    /// Keeps a packet (its plaintext, with the kind) as far as it is news, and names it.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        picture: PictureId,
        plaintext: &[u8],
        header: &VideoHeader,
        runs: BlockRuns<'_>,
    ) -> PartId {
        let serial = Serial(self.last_serial.0.wrapping_add(1).max(1));
        self.last_serial = serial;
        self.origins[serial.0 as usize % ORIGINS] = picture;
        if let Some(kept) = self.all.get_mut(&picture) {
            kept.insert(now, serial, plaintext, header, runs);
        }
        PartId { picture, serial }
    }

    /// The part with this serial, if it is kept still.
    pub(super) fn find(&self, now: Instant, serial: Serial) -> Option<PartId> {
        let part = PartId { picture: self.origins[serial.0 as usize % ORIGINS], serial };
        self.has(now, part).then_some(part)
    }

    /// Whether a part is kept still.
    pub(super) fn has(&self, now: Instant, part: PartId) -> bool {
        self.packet(now, part).is_some()
    }

    /// The packet that brought a part, if that is kept still.
    pub(super) fn packet(&self, now: Instant, part: PartId) -> Option<&[u8]> {
        self.all.get(&part.picture)?.packet(now, part.serial)
    }

    /// All parts of a picture, in no order.
    pub(super) fn parts(&self, now: Instant, picture: PictureId) -> impl Iterator<Item = PartId> {
        let kept = self.all.get(&picture).into_iter().flat_map(move |kept| kept.parts(now));
        kept.map(move |serial| PartId { picture, serial })
    }
}

/// The picture of one sender.
#[derive(Debug)]
struct Picture {
    rung: Rung,
    newest: FrameId,
    /// Index into `slots` of each block's part, or [`NOBODY`].
    owners: Vec<u8>,
    slots: Vec<Slot>,
    /// [`PLAINTEXT_BASE_BYTES`] for each slot.
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    serial: Serial,
    frame: FrameId,
    came: Instant,
    length: u16,
    /// Blocks of which this part has the newest bytes; 0 when the slot is free.
    owned: u16,
}

/// Parts of one picture: a frame of 480p has 30, and what is left of older ones is about as many again.
pub(super) const PICTURE_PARTS_MAX: usize = 128;
/// A sender refreshes every block within [`crate::picture::changes::REFRESH`]. Whose blocks are older has turned the camera off,
/// and a newcomer is not to see that.
const PICTURE_AGE_MAX: Duration = Duration::from_secs(8);
/// A frame further behind is of a sender that counts anew.
const RESTART: i16 = -600;
const NOBODY: u8 = u8::MAX;

impl Default for Picture {
    fn default() -> Self {
        Self { rung: Rung::ALL[0], newest: FrameId(0), owners: Vec::new(), slots: Vec::new(), bytes: Vec::new() }
    }
}

impl Picture {
    fn insert(&mut self, now: Instant, serial: Serial, plaintext: &[u8], header: &VideoHeader, runs: BlockRuns<'_>) {
        let Some(rung) = Rung::from_index(header.rung) else { return };
        let places = || runs.iter().flat_map(|run| places(rung, run));
        let fits = runs.iter().all(|run| inside(run, rung)) && self.follow(rung, header.frame);
        if !fits || !places().any(|place| self.is_news(now, header.frame, place)) {
            return;
        }
        let slot = self.free_slot(now);
        self.slots[usize::from(slot)] =
            Slot { serial, frame: header.frame, came: now, length: plaintext.len() as u16, owned: 0 };
        self.bytes[usize::from(slot) * PLAINTEXT_BASE_BYTES..][..plaintext.len()].copy_from_slice(plaintext);
        for place in places() {
            if self.is_news(now, header.frame, place) {
                self.give(place, slot);
            }
        }
    }

    fn packet(&self, now: Instant, serial: Serial) -> Option<&[u8]> {
        let slot = self.slots.iter().position(|slot| slot.serial == serial && slot.lives(now))?;
        Some(&self.bytes[slot * PLAINTEXT_BASE_BYTES..][..usize::from(self.slots[slot].length)])
    }

    fn parts(&self, now: Instant) -> impl Iterator<Item = Serial> {
        self.slots.iter().filter(move |slot| slot.lives(now)).map(|slot| slot.serial)
    }

    /// Makes the picture one of this size; `false` when the frame is older than that size.
    fn follow(&mut self, rung: Rung, frame: FrameId) -> bool {
        let ahead = frame.distance(self.newest);
        if self.owners.is_empty() || ahead <= RESTART || (rung != self.rung && ahead > 0) {
            self.rung = rung;
            self.owners.clear();
            self.owners.resize(usize::from(rung.block_columns()) * usize::from(rung.block_rows()), NOBODY);
            self.slots.iter_mut().for_each(|slot| slot.owned = 0);
            self.newest = frame;
        } else if ahead > 0 {
            self.newest = frame;
        }
        rung == self.rung
    }

    fn is_news(&self, now: Instant, frame: FrameId, place: usize) -> bool {
        let owner = self.slots.get(usize::from(self.owners[place]));
        owner.is_none_or(|owner| !owner.lives(now) || frame.distance(owner.frame) > 0)
    }

    fn give(&mut self, place: usize, slot: u8) {
        let before = std::mem::replace(&mut self.owners[place], slot);
        if let Some(before) = self.slots.get_mut(usize::from(before)) {
            before.owned -= 1;
        }
        self.slots[usize::from(slot)].owned += 1;
    }

    /// A slot that nothing of worth is in. When all are taken, the part that owns the fewest blocks goes, and nobody is
    /// told: those blocks come again with the sender's refresh.
    fn free_slot(&mut self, now: Instant) -> u8 {
        if let Some(free) = self.slots.iter().position(|slot| !slot.lives(now)) {
            self.disown(free as u8);
            return free as u8;
        }
        if self.slots.len() < PICTURE_PARTS_MAX {
            let nothing = Slot { serial: Serial(0), frame: self.newest, came: now, length: 0, owned: 0 };
            self.slots.push(nothing);
            self.bytes.resize(self.slots.len() * PLAINTEXT_BASE_BYTES, 0);
            return (self.slots.len() - 1) as u8;
        }
        let poorest = (0..self.slots.len()).min_by_key(|slot| self.slots[*slot].owned).unwrap_or_default() as u8;
        self.disown(poorest);
        poorest
    }

    fn disown(&mut self, slot: u8) {
        if self.slots[usize::from(slot)].owned > 0 {
            self.owners.iter_mut().filter(|owner| **owner == slot).for_each(|owner| *owner = NOBODY);
            self.slots[usize::from(slot)].owned = 0;
        }
    }
}

impl Slot {
    fn lives(&self, now: Instant) -> bool {
        self.owned > 0 && now.saturating_duration_since(self.came) < PICTURE_AGE_MAX
    }
}

fn inside(run: BlockRun, rung: Rung) -> bool {
    run.row < rung.block_rows() && u16::from(run.column) + u16::from(run.blocks) <= u16::from(rung.block_columns())
}

fn places(rung: Rung, run: BlockRun) -> std::ops::Range<usize> {
    let first = usize::from(run.row) * usize::from(rung.block_columns()) + usize::from(run.column);
    first..first + usize::from(run.blocks)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
mod tests {
    use super::*;
    use crate::ids::{MemberId, Ssrc, StreamKind};
    use crate::sequence::{MediaTime, SendTime, SequenceNumber};
    use crate::wire::media::MediaHeader;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A packet, with its kind in front.
    fn packet(frame: u16, rung: u8, runs: &[(u8, u8, u8)]) -> Vec<u8> {
        let media = MediaHeader {
            ssrc: Ssrc::new(MemberId(1), StreamKind::Video),
            sequence: SequenceNumber(0),
            send_time: SendTime(0),
            timestamp: MediaTime(0),
        };
        let header = VideoHeader { media, frame: FrameId(frame), part: 0, parts: 1, rung, quality: 50 };
        let runs: Vec<_> = runs.iter().map(|&(row, column, blocks)| BlockRun { row, column, blocks }).collect();
        let mut packet = vec![7; 300];
        let length = header.write(&runs, &mut packet[1..]);
        packet.truncate(1 + length + 20);
        packet
    }

    /// One picture, whose parts are counted from 0.
    struct One(Pictures, PictureId, Instant);

    impl One {
        fn new() -> Self {
            let mut pictures = Pictures::default();
            let id = pictures.begin();
            Self(pictures, id, Instant::now())
        }

        fn insert(&mut self, packet: &[u8]) -> u32 {
            let (header, runs, _) = VideoHeader::parse(&packet[1..]).unwrap();
            let part = self.0.insert(self.2, self.1, packet, &header, runs);
            assert_eq!(self.0.find(self.2, part.serial).is_some(), self.0.has(self.2, part));
            part.serial.0 - 1
        }

        fn packet(&self, number: u32) -> Option<&[u8]> {
            self.0.packet(self.2, PartId { picture: self.1, serial: Serial(number + 1) })
        }

        fn kept(&self) -> Vec<u32> {
            let mut kept: Vec<_> = self.0.parts(self.2, self.1).map(|part| part.serial.0 - 1).collect();
            kept.sort_unstable();
            kept
        }

        fn picture(&self) -> &Picture {
            &self.0.all[&self.1]
        }
    }

    #[test]
    fn a_picture_that_ended_has_no_parts_and_its_name_is_not_given_again() {
        let mut one = One::new();
        one.insert(&packet(1, 0, &[(0, 0, 4)]));
        one.0.end(one.1);
        assert_eq!((one.kept(), one.packet(0)), (vec![], None));
        assert_ne!(one.0.begin(), one.1);
    }

    #[test]
    fn a_part_lives_as_long_as_it_owns_a_block() {
        let mut picture = One::new();
        let first = packet(1, 0, &[(0, 0, 4), (1, 0, 4)]);
        assert_eq!(picture.insert(&first), 0);
        picture.insert(&packet(2, 0, &[(0, 0, 4)]));
        assert_eq!(picture.packet(0), Some(&first[..]));
        picture.insert(&packet(3, 0, &[(1, 1, 4)]));
        assert_eq!(picture.kept(), [0, 1, 2]);
        picture.insert(&packet(4, 0, &[(1, 0, 1)]));
        assert_eq!((picture.kept(), picture.packet(0)), (vec![1, 2, 3], None));
    }

    #[test]
    fn an_older_part_takes_only_blocks_that_nobody_has() {
        let mut picture = One::new();
        picture.insert(&packet(9, 0, &[(0, 0, 4)]));
        picture.insert(&packet(8, 0, &[(0, 1, 2)]));
        picture.insert(&packet(9, 0, &[(0, 0, 4)]));
        assert_eq!(picture.kept(), [0]);
        picture.insert(&packet(8, 0, &[(0, 3, 2)]));
        assert_eq!(picture.kept(), [0, 3]);
    }

    #[test]
    fn another_size_begins_a_new_picture_and_an_older_frame_does_not_bring_the_old_one_back() {
        let mut picture = One::new();
        picture.insert(&packet(1, 0, &[(0, 0, 4)]));
        picture.insert(&packet(3, 2, &[(0, 0, 4)]));
        picture.insert(&packet(2, 0, &[(1, 0, 4)]));
        assert_eq!(picture.kept(), [1]);
    }

    #[test]
    fn a_picture_is_forgotten_when_nothing_refreshes_it() {
        let mut picture = One::new();
        picture.insert(&packet(1, 0, &[(0, 0, 4)]));
        picture.2 += PICTURE_AGE_MAX;
        assert_eq!((picture.kept(), picture.packet(0)), (vec![], None));
        picture.insert(&packet(0, 0, &[(0, 0, 1)]));
        assert_eq!(picture.kept(), [1]);
    }

    #[test]
    fn of_too_many_parts_the_one_with_the_fewest_blocks_goes() {
        let mut picture = One::new();
        picture.insert(&packet(1, 3, &[(29, 0, 2)]));
        picture.insert(&packet(1, 3, &[(29, 2, 1)]));
        for part in 0..PICTURE_PARTS_MAX as u8 - 1 {
            picture.insert(&packet(1, 3, &[(part / 20, part % 20 * 2, 2)]));
        }
        let kept = picture.kept();
        assert_eq!((kept.len(), kept.contains(&0), kept.contains(&1)), (PICTURE_PARTS_MAX, true, false));
    }

    #[test]
    fn what_lies_outside_the_picture_is_not_kept() {
        let mut picture = One::new();
        for wrong in [packet(1, 0, &[(9, 0, 1)]), packet(1, 0, &[(0, 10, 7)]), packet(1, 4, &[(0, 0, 1)])] {
            picture.insert(&wrong);
        }
        assert_eq!(picture.kept(), []);
    }

    proptest! {
        #[test]
        fn the_parts_kept_have_the_newest_bytes_of_every_block(
            parts in proptest::collection::vec((0..40u16, 0..9u8, 0..16u8, 1..=16u8), 1..120),
        ) {
            let mut picture = One::new();
            let mut newest: BTreeMap<(u8, u8), u16> = BTreeMap::new();
            let mut sent = Vec::new();
            for (frame, row, column, blocks) in parts {
                let blocks = blocks.min(16 - column);
                picture.insert(&packet(frame, 0, &[(row, column, blocks)]));
                sent.push((frame, row, column, blocks));
                for column in column..column + blocks {
                    let place = newest.entry((row, column)).or_insert(frame);
                    *place = (*place).max(frame);
                }
            }
            let kept: Vec<_> = picture.kept().into_iter().map(|number| sent[number as usize]).collect();
            for ((row, column), frame) in newest {
                let shown = kept.iter().filter(|part| part.1 == row && (part.2..part.2 + part.3).contains(&column));
                prop_assert_eq!(shown.map(|part| part.0).max(), Some(frame));
            }
            let picture = picture.picture();
            prop_assert!(picture.slots.len() <= PICTURE_PARTS_MAX);
            let owned: usize = picture.slots.iter().map(|slot| usize::from(slot.owned)).sum();
            prop_assert_eq!(owned, picture.owners.iter().filter(|owner| **owner != NOBODY).count());
        }
    }
}
