//! The blocks that wait to be played.

use std::time::Instant;

use crate::limits::PLAYOUT_MAX_BLOCKS;
use crate::voice::pcm::{Block, SILENT_BLOCK};

/// Blocks that wait, each at its place modulo [`PLAYOUT_MAX_BLOCKS`].
#[derive(Clone, Debug)]
pub(super) struct Slots {
    keys: [Option<Key>; PLAYOUT_MAX_BLOCKS],
    blocks: Vec<Block>,
}

/// Which block waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) place: i64,
    pub(super) number: i64,
    pub(super) arrival: Instant,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self { keys: [None; PLAYOUT_MAX_BLOCKS], blocks: vec![SILENT_BLOCK; PLAYOUT_MAX_BLOCKS] }
    }

    /// Whether the place was free.
    pub(super) fn put(&mut self, key: Key, block: &Block) -> bool {
        let index = index(key.place);
        let free = self.keys[index].is_none();
        if free {
            self.keys[index] = Some(key);
            self.blocks[index] = *block;
        }
        free
    }

    pub(super) fn holds(&self, place: i64) -> bool {
        self.keys[index(place)].is_some_and(|key| key.place == place)
    }

    /// The blocks from this place on, as far as they stand without a gap.
    pub(super) fn from(&self, place: i64) -> impl Iterator<Item = &Block> {
        (place..).take_while(|place| self.holds(*place)).map(|place| &self.blocks[index(place)])
    }

    pub(super) fn take(&mut self, place: i64, block: &mut Block) -> Option<Key> {
        let key = self.keys[index(place)].take_if(|key| key.place == place)?;
        *block = self.blocks[index(place)];
        Some(key)
    }

    pub(super) fn first(&self) -> Option<Key> {
        self.keys.iter().flatten().min_by_key(|key| key.place).copied()
    }

    pub(super) fn last(&self) -> Option<Key> {
        self.keys.iter().flatten().max_by_key(|key| key.place).copied()
    }

    /// How many there were.
    pub(super) fn clear_below(&mut self, place: i64) -> u64 {
        let below = |key: &mut Key| key.place < place;
        self.keys.iter_mut().filter_map(|key| key.take_if(below)).count() as u64
    }
}

fn index(place: i64) -> usize {
    place.rem_euclid(PLAYOUT_MAX_BLOCKS as i64) as usize
}
