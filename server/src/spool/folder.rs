//! A directory of this process alone, below the one that was set: nobody else may look into it, and it is gone with the
//! process, or else when the next one starts.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The directory, held by a lock. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    lock: PathBuf,
    /// Locked as long as this process lives, however it ends.
    _held: File,
}

/// What the directories of processes are called, before a number.
const PREFIX: &str = "spool-";
/// Their locks lie beside them.
const LOCK_SUFFIX: &str = ".lock";
/// Held while a process looks for leftovers and makes its own directory.
const DOOR: &str = "lock";
/// Directories of processes that run at a time.
const NUMBERS: u32 = 1_000;

impl Folder {
    /// Makes one in `dir`, which is made too when it is missing, and removes what dead processes left there.
    pub(super) fn create(dir: &Path) -> io::Result<Self> {
        private().recursive(true).create(dir)?;
        let door = open_lock(&dir.join(DOOR))?;
        door.lock()?;
        for number in 0..NUMBERS {
            let path = dir.join(format!("{PREFIX}{number}"));
            let lock = dir.join(format!("{PREFIX}{number}{LOCK_SUFFIX}"));
            if !path.exists() && !lock.exists() {
                return Self::take(path, lock);
            }
            // A lock that can be had belongs to nobody alive.
            if free(&lock)? {
                remove_all(&path)?;
                fs::remove_file(&lock)?;
                return Self::take(path, lock).inspect(|_| remove_leftovers(dir, number + 1));
            }
        }
        Err(io::Error::other("too many servers use this directory"))
    }

    fn take(path: PathBuf, lock: PathBuf) -> io::Result<Self> {
        let held = open_lock(&lock)?;
        held.lock()?;
        private().create(&path)?;
        Ok(Self { path, lock, _held: held })
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next start.
        if remove_all(&self.path).is_ok() {
            let _ = fs::remove_file(&self.lock);
        }
    }
}

/// What others left behind, as far as it goes: a leftover is not worth a server that does not start.
fn remove_leftovers(dir: &Path, from: u32) {
    for number in from..NUMBERS {
        let path = dir.join(format!("{PREFIX}{number}"));
        let lock = dir.join(format!("{PREFIX}{number}{LOCK_SUFFIX}"));
        if (path.exists() || lock.exists()) && free(&lock).unwrap_or(false) {
            let _ = remove_all(&path).and_then(|()| fs::remove_file(&lock));
        }
    }
}

fn free(lock: &Path) -> io::Result<bool> {
    match open_lock(lock)?.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes directories that nobody else can enter.
fn private() -> DirBuilder {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "only Unix has modes"))]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::StateDir;

    #[test]
    fn two_processes_have_a_directory_each_and_leave_none() {
        let dir = StateDir::new();
        let (one, two) = (Folder::create(dir.path()).unwrap(), Folder::create(dir.path()).unwrap());
        assert_ne!(one.path(), two.path());
        fs::write(one.path().join("0-1-0"), b"bytes").unwrap();
        let path = one.path().to_owned();
        drop((one, two));
        assert!(!path.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the door alone is left");
    }

    #[test]
    fn what_a_dead_process_left_is_removed_at_the_next_start() {
        let dir = StateDir::new();
        fs::create_dir_all(dir.path()).unwrap();
        for number in [0, 3] {
            let left = dir.path().join(format!("{PREFIX}{number}"));
            fs::create_dir(&left).unwrap();
            fs::write(left.join("0-1-0"), b"bytes").unwrap();
            fs::write(dir.path().join(format!("{PREFIX}{number}{LOCK_SUFFIX}")), b"").unwrap();
        }
        let folder = Folder::create(dir.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(!dir.path().join(format!("{PREFIX}3")).exists());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_look_into_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = StateDir::new();
        let folder = Folder::create(dir.path()).unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
