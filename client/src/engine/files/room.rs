//! Room on the disk for files that arrive: looked at before a file is taken, and promised to one file at a time.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::failure::{Failure, is_full};

/// The room on a disk, and what of it is promised to files under way.
#[derive(Clone)]
pub(super) struct Room {
    free: Arc<FreeBytes>,
    promised: Arc<AtomicU64>,
}

/// How many bytes can be written below a folder.
type FreeBytes = dyn Fn(&Path) -> io::Result<u64> + Send + Sync;

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("promised", &self.promised).finish_non_exhaustive()
    }
}

impl Room {
    /// What the operating system says.
    pub(super) fn of_the_system() -> Self {
        Self::new(|folder| fs4::available_space(folder))
    }

    /// What `free` says.
    pub(super) fn new(free: impl Fn(&Path) -> io::Result<u64> + Send + Sync + 'static) -> Self {
        Self { free: Arc::new(free), promised: Arc::default() }
    }

    /// Promises this many bytes in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// When there is less, or the folder cannot be made.
    pub(super) fn promise(&self, folder: &Path, bytes: u64) -> Result<Promise, Failure> {
        fs::create_dir_all(folder).map_err(Failure::of_folder)?;
        // A system that does not know lets it come to a try.
        let free = (self.free)(folder).unwrap_or(u64::MAX);
        let wanted = self.promised.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let promise = Promise { promised: Arc::clone(&self.promised), left: bytes };
        if bytes > 0 && wanted > free {
            return Err(Failure::no_room(wanted - free));
        }
        Ok(promise)
    }
}

/// Room for the rest of a file. Dropped, it is free for others.
#[derive(Debug)]
pub(super) struct Promise {
    promised: Arc<AtomicU64>,
    left: u64,
}

impl Promise {
    /// This many of the bytes are on the disk.
    pub(super) fn keep(&mut self, bytes: u64) {
        let kept = bytes.min(self.left);
        self.left -= kept;
        self.promised.fetch_sub(kept, Ordering::Relaxed);
    }

    /// The disk did not take the next bytes: others have filled it meanwhile, or it has another reason.
    pub(super) fn failure(&self, error: io::Error) -> Failure {
        if is_full(&error) { Failure::no_room(self.left) } else { Failure::of_folder(error) }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.promised.fetch_sub(self.left, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::scratch::Scratch;
    use common::wire::message::FileTrouble;

    fn missing(result: Result<Promise, Failure>) -> u64 {
        let trouble = result.unwrap_err().trouble;
        let FileTrouble::ReceiverFull { missing } = trouble else { panic!("{trouble:?}") };
        missing
    }

    #[test]
    fn room_is_promised_once_and_given_back() {
        let folder = Scratch::new("promise");
        let room = Room::new(|_| Ok(100));
        let mut first = room.promise(&folder.0, 70).unwrap();
        assert_eq!(missing(room.promise(&folder.0, 50)), 20, "the other transfer has 70 of 100");
        first.keep(30);
        assert_eq!(missing(room.promise(&folder.0, 61)), 1, "30 are written, so the disk counts them itself");
        drop(first);
        room.promise(&folder.0, 100).unwrap();
    }

    #[test]
    fn what_needs_no_more_room_fits_on_a_full_disk() {
        let folder = Scratch::new("full");
        let room = Room::new(|_| Ok(0));
        room.promise(&folder.0, 0).unwrap();
        assert_eq!(missing(room.promise(&folder.0, 7)), 7);
    }

    #[test]
    fn a_folder_that_is_a_file_is_told_from_a_full_disk() {
        let folder = Scratch::new("file");
        fs::write(folder.0.join("file"), "").unwrap();
        let failure = Room::of_the_system().promise(&folder.0.join("file"), 1).unwrap_err();
        assert_eq!(failure.trouble, FileTrouble::ReceiverFolder);
    }
}
