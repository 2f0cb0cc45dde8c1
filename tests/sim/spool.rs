//! The disk of the simulated server: memory, without a delay.

use std::collections::BTreeMap;
use std::time::Instant;

use common::relay::{Relay, SpoolEffect, SpoolFact, SpoolId};

/// What is spooled: of each upload the first offset that is kept, and the bytes from there.
#[derive(Debug, Default)]
pub struct Spool {
    uploads: BTreeMap<SpoolId, (u64, Vec<u8>)>,
    /// The most bytes that were kept at any time.
    pub peak_bytes: usize,
}

impl Spool {
    /// Does all that the relay wants, and tells it.
    ///
    /// # Panics
    /// When the relay wants bytes that it did not have written, or has freed.
    pub fn serve(&mut self, now: Instant, relay: &mut Relay) {
        while let Some(effect) = relay.poll_spool(now) {
            if let Some(fact) = self.obey(effect) {
                relay.handle_spool(now, fact);
            }
            self.peak_bytes = self.peak_bytes.max(self.bytes());
        }
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.uploads.values().map(|(_, bytes)| bytes.len()).sum()
    }

    fn obey(&mut self, effect: SpoolEffect) -> Option<SpoolFact> {
        match effect {
            SpoolEffect::Free { id, below } => {
                let (first, bytes) = self.uploads.get_mut(&id).expect("what is freed was written");
                bytes.drain(..(below - *first) as usize);
                *first = below;
                None
            }
            SpoolEffect::Remove { id } => {
                self.uploads.remove(&id);
                None
            }
            SpoolEffect::Read { id, reader, offset, mut buffer } => {
                let (first, bytes) = &self.uploads[&id];
                let from = (offset - first) as usize;
                let length = buffer.len();
                buffer.copy_from_slice(&bytes[from..from + length]);
                Some(SpoolFact::Read { reader, bytes: buffer })
            }
            SpoolEffect::Write { id, offset, bytes } => {
                let (first, kept) = self.uploads.entry(id).or_insert((offset, Vec::new()));
                assert_eq!(*first + kept.len() as u64, offset, "one behind the other");
                kept.extend(&bytes);
                Some(SpoolFact::Written { id, bytes })
            }
        }
    }
}
