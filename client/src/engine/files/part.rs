//! A file that is not complete: its bytes under a hidden name that says what they are to become.
//!
//! The name of a part is made of the hash that was offered, so the part of an earlier attempt is found again whatever
//! the file was called and whoever offers it. Nothing else has to be remembered: what is there is hashed again before
//! the rest is asked for, and the whole is compared with the hash before it gets its name. A kill at any moment leaves a
//! part, or the file as it was offered, and never half a file under its own name.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use common::names::safe_file_name;

use super::pieces::{Expected, PIECE_BYTES};

/// A part that is being written. It stays when this is dropped, unless it is empty.
#[derive(Debug)]
pub(super) struct Part {
    folder: PathBuf,
    expected: Expected,
    path: PathBuf,
    /// Locked, so that nobody else writes it.
    file: File,
    hasher: blake3::Hasher,
    written: u64,
    /// Of these bytes some are from an earlier attempt.
    resumed: bool,
}

/// How a part ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finished {
    /// It is not what was offered, and is gone. `resumed`: bytes of an earlier attempt were in it.
    Corrupt {
        /// Another attempt from the start may do better.
        resumed: bool,
    },
    /// It has its name.
    Kept(PathBuf),
}

/// Receivers of the same file into the same folder at a time.
const COPIES_MAX: u32 = 10;
/// Parts that are kept in a folder for a later attempt; the oldest go.
const PARTS_KEPT: usize = 16;
/// How long a part is kept for a later attempt.
const PART_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// What all parts end in. Their names begin with a dot.
const SUFFIX: &str = ".part";
/// Digits of the hash in the name of a part: enough that no two files share one by chance.
const HASH_DIGITS: usize = 32;

impl Part {
    /// Opens the part of an earlier attempt, or a new one. `given_up` is asked while the earlier bytes are hashed.
    pub(super) fn open(folder: &Path, expected: &Expected, given_up: impl Fn() -> bool) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let (file, path) = lock_part(folder, expected)?;
        let mut part = Self {
            folder: folder.to_owned(),
            expected: Expected { name: safe_file_name(&expected.name), ..expected.clone() },
            path,
            file,
            hasher: blake3::Hasher::new(),
            written: 0,
            resumed: false,
        };
        part.hash_what_is_there(given_up)?;
        Ok(part)
    }

    fn hash_what_is_there(&mut self, given_up: impl Fn() -> bool) -> io::Result<()> {
        if self.file.metadata()?.len() > self.expected.size {
            return self.file.set_len(0);
        }
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let bytes = self.file.read(&mut buffer)?;
            if bytes == 0 {
                self.resumed = self.written > 0;
                return Ok(());
            }
            if given_up() {
                return Err(io::Error::other("it was given up"));
            }
            self.hasher.update(&buffer[..bytes]);
            self.written += bytes as u64;
        }
    }

    /// How many bytes it has.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.written + bytes.len() as u64 > self.expected.size {
            return Err(io::Error::other("more bytes came than were offered"));
        }
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Gives the file its name, next to whatever is there. Its bytes are on the disk before the name is.
    pub(super) fn finish(self) -> io::Result<Finished> {
        let Expected { name, size, hash } = &self.expected;
        if self.written != *size || self.hasher.finalize() != *hash {
            let resumed = self.resumed;
            self.discard()?;
            return Ok(Finished::Corrupt { resumed });
        }
        self.file.sync_all()?;
        let path = name_free(&self.path, &self.folder, name)?;
        sync_folder(&self.folder);
        Ok(Finished::Kept(path))
    }

    /// Removes it.
    pub(super) fn discard(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.written == 0 && self.expected.size > 0 {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// How many bytes of a file an earlier attempt has left in a folder.
pub(super) fn left_over(folder: &Path, expected: &Expected) -> u64 {
    let length = fs::metadata(part_path(folder, expected, 0)).map_or(0, |meta| meta.len());
    if length <= expected.size { length } else { 0 }
}

/// Removes what an earlier attempt has left, unless somebody is at it.
pub(super) fn forget(folder: &Path, expected: &Expected) -> io::Result<()> {
    remove_unless_in_use(&part_path(folder, expected, 0))
}

/// Removes parts that were not touched for long, and the oldest of many.
pub(super) fn clean(folder: &Path) -> io::Result<()> {
    let mut parts: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if is_part(&entry.file_name().to_string_lossy()) {
            parts.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    parts.sort();
    let too_many = parts.len().saturating_sub(PARTS_KEPT);
    let old = |modified: &SystemTime| modified.elapsed().is_ok_and(|age| age > PART_AGE_MAX);
    for (index, (modified, path)) in parts.iter().enumerate() {
        if index < too_many || old(modified) {
            remove_unless_in_use(path)?;
        }
    }
    Ok(())
}

fn is_part(name: &str) -> bool {
    let stem = name.strip_prefix('.').and_then(|name| name.strip_suffix(SUFFIX));
    stem.and_then(|stem| stem.get(..HASH_DIGITS)).is_some_and(|hash| hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn remove_unless_in_use(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).open(path) {
        Ok(file) if file.try_lock().is_ok() => fs::remove_file(path),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn part_path(folder: &Path, expected: &Expected, copy: u32) -> PathBuf {
    let digits: String = expected.hash[..HASH_DIGITS / 2].iter().map(|byte| format!("{byte:02x}")).collect();
    let copy = if copy == 0 { String::new() } else { format!("-{copy}") };
    folder.join(format!(".{digits}{copy}{SUFFIX}"))
}

/// The first part for that file that nobody else is at.
fn lock_part(folder: &Path, expected: &Expected) -> io::Result<(File, PathBuf)> {
    for copy in 0..COPIES_MAX {
        let path = part_path(folder, expected, copy);
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        match file.try_lock() {
            Ok(()) => return Ok((file, path)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok((file, path)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::other("the same file is on its way here many times already"))
}

/// Names tried next to those that are taken.
const NAMES_TRIED: u32 = 999;

/// Gives a part its name, or that name with a number where it is taken.
fn name_free(part: &Path, folder: &Path, name: &str) -> io::Result<PathBuf> {
    for number in 0..=NAMES_TRIED {
        let path = folder.join(numbered(name, number));
        // A second name for the same bytes: unlike a rename, it never replaces what somebody put there meanwhile.
        match fs::hard_link(part, &path) {
            Ok(()) => return fs::remove_file(part).map(|()| path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // Some file systems, as those of memory sticks, have one name for each file.
            Err(_) if !path.exists() => return fs::rename(part, &path).map(|()| path),
            Err(_) => {}
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn numbered(name: &str, number: u32) -> String {
    match (number, name.rfind('.')) {
        (0, _) => name.to_owned(),
        (_, Some(dot @ 1..)) => format!("{} ({number}){}", &name[..dot], &name[dot..]),
        _ => format!("{name} ({number})"),
    }
}

/// After this the name outlives a power cut, too. Not all systems have a way to ask for that, nor need it.
fn sync_folder(folder: &Path) {
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::scratch::Scratch;

    fn expected(name: &str, content: &[u8]) -> Expected {
        Expected { name: name.into(), size: content.len() as u64, hash: *blake3::hash(content).as_bytes() }
    }

    fn open(folder: &Path, expected: &Expected) -> Part {
        Part::open(folder, expected, || false).unwrap()
    }

    fn receive(folder: &Path, expected: &Expected, content: &[u8]) -> io::Result<Finished> {
        let mut part = open(folder, expected);
        part.write(content)?;
        part.finish()
    }

    fn listing(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_never_replaces_another_one() {
        let folder = Scratch::new("twice");
        fs::write(folder.0.join("a.tar"), b"precious").unwrap();
        for _ in 0..2 {
            receive(&folder.0, &expected("a.tar", b"new"), b"new").unwrap();
        }
        assert_eq!(listing(&folder.0), ["a (1).tar", "a (2).tar", "a.tar"]);
        assert_eq!(fs::read(folder.0.join("a.tar")).unwrap(), b"precious");
        assert_eq!(fs::read(folder.0.join("a (2).tar")).unwrap(), b"new");
    }

    #[test]
    fn seed_hole_a_name_with_dots_and_slashes_stays_in_the_folder() {
        let folder = Scratch::new("dots");
        let inner = folder.0.join("downloads");
        let kept = receive(&inner, &expected("../../evil", b"x"), b"x").unwrap();
        assert_eq!(kept, Finished::Kept(inner.join("evil")));
        assert_eq!(listing(&folder.0), ["downloads"]);
    }

    #[test]
    fn bytes_that_were_not_offered_are_not_kept() {
        let folder = Scratch::new("corrupt");
        let offered = expected("a", b"right");
        let corrupt = Finished::Corrupt { resumed: false };
        assert_eq!(receive(&folder.0, &offered, b"wrong").unwrap(), corrupt);
        assert_eq!(receive(&folder.0, &offered, b"righ").unwrap(), corrupt);
        assert!(receive(&folder.0, &offered, b"right and more").is_err());
        assert_eq!(listing(&folder.0), [""; 0]);
    }

    #[test]
    fn an_empty_file_is_a_file() {
        let folder = Scratch::new("empty");
        let kept = receive(&folder.0, &expected("nothing", b""), b"").unwrap();
        assert_eq!(kept, Finished::Kept(folder.0.join("nothing")));
        assert_eq!(listing(&folder.0), ["nothing"]);
    }

    #[test]
    fn a_part_is_found_again_by_its_content_whatever_the_file_is_called() {
        let folder = Scratch::new("again");
        let mut part = open(&folder.0, &expected("one", b"beginning and end"));
        part.write(b"beginning ").unwrap();
        drop(part);
        let other = expected("two", b"beginning and end");
        assert_eq!(left_over(&folder.0, &other), 10);
        let mut part = open(&folder.0, &other);
        assert_eq!(part.written(), 10);
        part.write(b"and end").unwrap();
        assert_eq!(part.finish().unwrap(), Finished::Kept(folder.0.join("two")));
        assert_eq!(listing(&folder.0), ["two"]);
    }

    #[test]
    fn a_part_with_wrong_bytes_is_thrown_away_once_that_is_known() {
        let folder = Scratch::new("wrong");
        let offered = expected("a", b"beginning and end");
        let mut part = open(&folder.0, &offered);
        part.write(b"nonsense..").unwrap();
        drop(part);
        let mut part = open(&folder.0, &offered);
        part.write(b"and end").unwrap();
        assert_eq!(part.finish().unwrap(), Finished::Corrupt { resumed: true });
        assert_eq!(open(&folder.0, &offered).written(), 0);
    }

    #[test]
    fn two_attempts_at_a_time_do_not_meet_in_one_part() {
        let folder = Scratch::new("both");
        let offered = expected("a", b"same");
        let (mut one, mut two) = (open(&folder.0, &offered), open(&folder.0, &offered));
        one.write(b"sa").unwrap();
        two.write(b"same").unwrap();
        assert_eq!(two.finish().unwrap(), Finished::Kept(folder.0.join("a")));
        one.write(b"me").unwrap();
        assert_eq!(one.finish().unwrap(), Finished::Kept(folder.0.join("a (1)")));
    }

    #[test]
    fn old_parts_are_cleaned_up_and_nothing_else() {
        let folder = Scratch::new("clean");
        let aged = |name: &str, days: u64| {
            let file = File::create(folder.0.join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(days * 24 * 3_600)).unwrap();
        };
        aged(&format!(".{}.part", "ab".repeat(16)), 8);
        aged(&format!(".{}.part", "cd".repeat(16)), 6);
        aged(".mine.part", 100);
        aged("holiday.jpg", 1_000);
        clean(&folder.0).unwrap();
        assert_eq!(listing(&folder.0), [".cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd.part", ".mine.part", "holiday.jpg"]);
        for number in 0..30 {
            aged(&format!(".{number:032x}.part"), 1);
        }
        clean(&folder.0).unwrap();
        assert_eq!(listing(&folder.0).len(), PARTS_KEPT + 2);
    }

    #[test]
    fn numbers_stand_before_the_extension() {
        assert_eq!(numbered("a.txt", 2), "a (2).txt");
        assert_eq!(numbered("README", 1), "README (1)");
        assert_eq!(numbered(".profile", 1), ".profile (1)");
    }
}
