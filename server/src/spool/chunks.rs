//! The bytes of one upload, in files of [`SPOOL_CHUNK_BYTES`] that can be removed one by one.
//!
//! A file is opened for each piece: beside 128 KiB of copying that is nothing, and no handle has to be counted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use common::limits::SPOOL_CHUNK_BYTES;

/// Where the bytes of one upload lie.
#[derive(Debug)]
pub(super) struct Chunks {
    /// Without the number of the chunk.
    stem: PathBuf,
    /// The bytes that are there.
    kept: Range<u64>,
}

impl Chunks {
    /// None yet; the first one written begins at `first`.
    pub(super) fn new(folder: &Path, name: &str, first: u64) -> Self {
        Self { stem: folder.join(name), kept: first..first }
    }

    /// How many bytes are kept.
    pub(super) fn bytes(&self) -> u64 {
        self.kept.end - self.kept.start
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        if offset != self.kept.end {
            return Err(io::Error::other("bytes are written one behind the other"));
        }
        while !bytes.is_empty() {
            let (number, at) = place(self.kept.end);
            let length = usize::try_from(SPOOL_CHUNK_BYTES - at).unwrap_or(usize::MAX).min(bytes.len());
            let mut file = create(&self.path(number))?;
            file.seek(SeekFrom::Start(at))?;
            file.write_all(&bytes[..length])?;
            self.kept.end += length as u64;
            bytes = &bytes[length..];
        }
        Ok(())
    }

    /// Fills a buffer with bytes that were written.
    pub(super) fn read(&self, offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        let mut offset = offset;
        while !buffer.is_empty() {
            let (number, at) = place(offset);
            let length = usize::try_from(SPOOL_CHUNK_BYTES - at).unwrap_or(usize::MAX).min(buffer.len());
            let mut file = File::open(self.path(number))?;
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut buffer[..length])?;
            offset += length as u64;
            buffer = &mut buffer[length..];
        }
        Ok(())
    }

    /// Removes the files that lie wholly below an offset.
    pub(super) fn free(&mut self, below: u64) -> io::Result<()> {
        let below = below.clamp(self.kept.start, self.kept.end);
        let (first, end) = (place(self.kept.start).0, place(below).0);
        self.kept.start = below;
        (first..end).try_for_each(|number| remove(&self.path(number)))
    }

    /// Removes all of them.
    pub(super) fn remove(self) -> io::Result<()> {
        let (first, last) = (place(self.kept.start).0, place(self.kept.end).0);
        (first..=last).try_for_each(|number| remove(&self.path(number)))
    }

    fn path(&self, number: u64) -> PathBuf {
        let mut path = self.stem.clone().into_os_string();
        path.push(format!("-{number}"));
        path.into()
    }
}

/// In which file a byte lies, and where in it.
fn place(offset: u64) -> (u64, u64) {
    (offset / SPOOL_CHUNK_BYTES, offset % SPOOL_CHUNK_BYTES)
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::StateDir;

    #[test]
    fn bytes_come_back_across_the_files_and_what_is_freed_is_gone() {
        let dir = StateDir::new();
        fs::create_dir_all(dir.path()).unwrap();
        let first = SPOOL_CHUNK_BYTES - 1_000;
        let mut chunks = Chunks::new(dir.path(), "0-1", first);
        let bytes: Vec<u8> = (0..SPOOL_CHUNK_BYTES as usize + 2_000).map(|at| (at * 7 % 251) as u8).collect();
        chunks.write(first, &bytes[..1_500]).unwrap();
        chunks.write(first + 1_500, &bytes[1_500..]).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        let mut buffer = vec![0; bytes.len()];
        chunks.read(first, &mut buffer).unwrap();
        assert!(buffer == bytes);
        chunks.free(SPOOL_CHUNK_BYTES).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert_eq!(chunks.bytes(), bytes.len() as u64 - 1_000);
        assert!(chunks.write(first, b"again").is_err());
        chunks.remove().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
