//! Does what the relays order, one thing after another, within the bytes that the server may keep.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use common::relay::{SpoolEffect, SpoolFact, SpoolId, SpoolTrouble};
use tokio::sync::mpsc;

use super::chunks::Chunks;
use super::folder::Folder;

/// An upload, by worker and number.
type Key = (usize, SpoolId);

/// The thread's state.
pub(super) struct Keeper {
    folder: Folder,
    bytes_max: u64,
    bytes: u64,
    uploads: BTreeMap<Key, Chunks>,
    /// Writes for which there is no room, in order. Each upload has a few at the most.
    waiting: VecDeque<(Key, u64, Vec<u8>)>,
    answers: Vec<mpsc::Sender<SpoolFact>>,
}

impl Keeper {
    pub(super) fn new(folder: Folder, bytes_max: u64, answers: Vec<mpsc::Sender<SpoolFact>>) -> Self {
        Self { folder, bytes_max, bytes: 0, uploads: BTreeMap::new(), waiting: VecDeque::new(), answers }
    }

    pub(super) fn obey(&mut self, shard: usize, effect: SpoolEffect) {
        match effect {
            SpoolEffect::Free { id, below } => self.free((shard, id), below),
            SpoolEffect::Read { id, reader, offset, mut buffer } => {
                // What is read of an upload that was removed meanwhile is for nobody.
                let Some(chunks) = self.uploads.get(&(shard, id)) else { return };
                match chunks.read(offset, &mut buffer) {
                    Ok(()) => self.tell(shard, SpoolFact::Read { reader, bytes: buffer }),
                    Err(error) => self.fail((shard, id), &error),
                }
            }
            SpoolEffect::Remove { id } => self.remove((shard, id)),
            SpoolEffect::Write { id, offset, bytes } => {
                let scarce = !self.waiting.is_empty();
                self.waiting.push_back(((shard, id), offset, bytes));
                self.write_waiting();
                if !scarce && !self.waiting.is_empty() {
                    self.tell_all(true);
                }
            }
        }
    }

    fn write_waiting(&mut self) {
        while let Some((key, offset, bytes)) = self.waiting.pop_front() {
            if self.bytes + bytes.len() as u64 > self.bytes_max {
                return self.waiting.push_front((key, offset, bytes));
            }
            self.write(key, offset, bytes);
        }
    }

    fn write(&mut self, key: Key, offset: u64, bytes: Vec<u8>) {
        let name = format!("{}-{}", key.0, key.1.0);
        let chunks = self.uploads.entry(key).or_insert_with(|| Chunks::new(self.folder.path(), &name, offset));
        match chunks.write(offset, &bytes) {
            Ok(()) => {
                self.bytes += bytes.len() as u64;
                self.tell(key.0, SpoolFact::Written { id: key.1, bytes });
            }
            Err(error) => self.fail(key, &error),
        }
    }

    fn free(&mut self, key: Key, below: u64) {
        let Some(chunks) = self.uploads.get_mut(&key) else { return };
        let before = chunks.bytes();
        let freed = chunks.free(below);
        self.bytes -= before - chunks.bytes();
        if let Err(error) = freed {
            self.fail(key, &error);
        }
        self.room_is_free();
    }

    fn remove(&mut self, key: Key) {
        self.forget(key);
        self.room_is_free();
    }

    fn forget(&mut self, key: Key) {
        self.waiting.retain(|(waiting, ..)| *waiting != key);
        if let Some(chunks) = self.uploads.remove(&key) {
            self.bytes -= chunks.bytes().min(self.bytes);
            if let Err(error) = chunks.remove() {
                tracing::warn!(%error, "a spooled file could not be removed");
            }
        }
    }

    fn room_is_free(&mut self) {
        if !self.waiting.is_empty() {
            self.write_waiting();
            if self.waiting.is_empty() {
                self.tell_all(false);
            }
        }
    }

    /// An upload is lost, and nothing else.
    fn fail(&mut self, key: Key, error: &io::Error) {
        tracing::warn!(%error, "a file could not be spooled");
        self.forget(key);
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let trouble = if full { SpoolTrouble::Full } else { SpoolTrouble::Broken };
        self.tell(key.0, SpoolFact::Failed { id: key.1, trouble });
    }

    fn tell_all(&self, scarce: bool) {
        (0..self.answers.len()).for_each(|shard| self.tell(shard, SpoolFact::Scarce(scarce)));
    }

    /// Waits for a worker that is behind; one that has ended needs no answer.
    fn tell(&self, shard: usize, fact: SpoolFact) {
        if let Some(answers) = self.answers.get(shard) {
            let _ = answers.blocking_send(fact);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::StateDir;

    const PIECE: usize = 1_000;

    struct Bench {
        keeper: Keeper,
        facts: mpsc::Receiver<SpoolFact>,
        _dir: StateDir,
    }

    fn bench(bytes_max: u64) -> Bench {
        let dir = StateDir::new();
        let (answers, facts) = mpsc::channel(64);
        let keeper = Keeper::new(Folder::create(dir.path()).unwrap(), bytes_max, vec![answers]);
        Bench { keeper, facts, _dir: dir }
    }

    impl Bench {
        fn write(&mut self, id: u64, offset: u64) -> Vec<SpoolFact> {
            self.obey(SpoolEffect::Write { id: SpoolId(id), offset, bytes: vec![id as u8; PIECE] })
        }

        fn obey(&mut self, effect: SpoolEffect) -> Vec<SpoolFact> {
            self.keeper.obey(0, effect);
            std::iter::from_fn(|| self.facts.try_recv().ok()).collect()
        }
    }

    fn written(id: u64) -> SpoolFact {
        SpoolFact::Written { id: SpoolId(id), bytes: vec![id as u8; PIECE] }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let mut bench = bench(u64::MAX);
        assert_eq!(bench.write(1, 500), [written(1)]);
        let read = SpoolEffect::Read { id: SpoolId(1), reader: 9, offset: 600, buffer: vec![0; 10] };
        assert_eq!(bench.obey(read), [SpoolFact::Read { reader: 9, bytes: vec![1; 10] }]);
    }

    #[test]
    fn a_write_beyond_the_limit_waits_until_something_is_removed() {
        let mut bench = bench(2_500);
        assert_eq!(bench.write(1, 0), [written(1)]);
        assert_eq!(bench.write(2, 0), [written(2)]);
        assert_eq!(bench.write(2, 1_000), [SpoolFact::Scarce(true)]);
        assert_eq!(bench.write(3, 0), []);
        assert_eq!(bench.obey(SpoolEffect::Remove { id: SpoolId(1) }), [written(2)]);
        assert_eq!(bench.obey(SpoolEffect::Remove { id: SpoolId(2) }), [written(3), SpoolFact::Scarce(false)]);
    }

    #[test]
    fn a_disk_that_fails_fails_one_upload() {
        let mut bench = bench(u64::MAX);
        bench.write(1, 0);
        bench.write(2, 0);
        std::fs::remove_file(bench.keeper.folder.path().join("0-1-0")).unwrap();
        let read = |id| SpoolEffect::Read { id: SpoolId(id), reader: id, offset: 0, buffer: vec![0; 5] };
        let failed = SpoolFact::Failed { id: SpoolId(1), trouble: SpoolTrouble::Broken };
        assert_eq!(bench.obey(read(1)), [failed]);
        assert_eq!(bench.obey(read(2)), [SpoolFact::Read { reader: 2, bytes: vec![2; 5] }]);
    }
}
