//! Files on offer, where they lie: what they are, and whether they are that still.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

use common::limits::FILE_MAX_BYTES;

use super::failure::Failure;
use super::pieces::PIECE_BYTES;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// Bytes.
    pub(super) size: u64,
    /// BLAKE3 of the content.
    pub(super) hash: [u8; 32],
    /// When it was written to last, where the system knows.
    pub(super) modified: Option<SystemTime>,
}

/// Reads all of a file.
///
/// # Errors
/// When it is no file, too large, cannot be read, or `given_up` says so.
pub(super) fn fingerprint(path: &Path, given_up: impl Fn() -> bool) -> io::Result<Fingerprint> {
    let mut file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if meta.len() > FILE_MAX_BYTES {
        let limit = FILE_MAX_BYTES >> 30;
        return Err(io::Error::other(format!("it is larger than {limit} GiB")));
    }
    let mut hasher = blake3::Hasher::new();
    let mut size = 0;
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let bytes = file.read(&mut buffer)?;
        if bytes == 0 {
            // As of before it was read: what is written meanwhile is found out by the next look.
            return Ok(Fingerprint { size, hash: *hasher.finalize().as_bytes(), modified: meta.modified().ok() });
        }
        hasher.update(&buffer[..bytes]);
        size += bytes as u64;
        if size > FILE_MAX_BYTES || given_up() {
            return Err(io::Error::other("it grows without an end"));
        }
    }
}

/// Looks whether a file is as it was offered. One that was written to is read again: the same bytes may be there anew.
///
/// # Errors
/// When it is not.
pub(super) fn check(path: &Path, offered: Fingerprint, given_up: impl Fn() -> bool) -> Result<Fingerprint, Failure> {
    let meta = path.metadata().map_err(Failure::of_source)?;
    is_as_long(&meta, offered)?;
    let modified = meta.modified().ok();
    if modified == offered.modified {
        return Ok(offered);
    }
    let found = fingerprint(path, given_up).map_err(Failure::of_source)?;
    if found.hash == offered.hash { Ok(found) } else { Err(Failure::changed()) }
}

/// Opens a file to send it.
///
/// # Errors
/// When it cannot be opened, or is not as long as it was.
pub(super) fn open(path: &Path, offered: Fingerprint) -> Result<File, Failure> {
    let file = File::open(path).map_err(Failure::of_source)?;
    let meta = file.metadata().map_err(Failure::of_source)?;
    is_as_long(&meta, offered).map(|()| file)
}

fn is_as_long(meta: &Metadata, offered: Fingerprint) -> Result<(), Failure> {
    if meta.is_file() && meta.len() == offered.size { Ok(()) } else { Err(Failure::changed()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::scratch::Scratch;
    use common::wire::message::FileTrouble;
    use std::fs;
    use std::time::Duration;

    #[test]
    fn what_is_no_file_cannot_be_sent() {
        let folder = Scratch::new("folder");
        assert!(fingerprint(&folder.0, || false).is_err());
        assert!(fingerprint(&folder.0.join("missing"), || false).is_err());
    }

    #[test]
    fn a_file_that_is_gone_shorter_or_changed_is_not_what_was_offered() {
        let folder = Scratch::new("source");
        let path = folder.0.join("a");
        let write = |content: &str, secs: u64| {
            fs::write(&path, content).unwrap();
            let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
            File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        };
        write("content", 1_000);
        let offered = fingerprint(&path, || false).unwrap();
        let checked = || check(&path, offered, || false).map_err(|failure| failure.trouble);
        assert_eq!(checked(), Ok(offered));
        write("content", 2_000);
        let touched = Fingerprint { modified: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(2_000)), ..offered };
        assert_eq!(checked(), Ok(touched), "somebody saved the same again");
        write("conTent", 3_000);
        assert_eq!(checked(), Err(FileTrouble::SourceChanged));
        write("conten", 1_000);
        assert_eq!(checked(), Err(FileTrouble::SourceChanged));
        assert!(open(&path, offered).is_err());
        fs::remove_file(&path).unwrap();
        assert_eq!(checked(), Err(FileTrouble::SourceGone));
    }
}
