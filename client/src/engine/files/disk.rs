//! The disk side of files: blocking work on threads of its own, spoken to by bounded channels.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use common::limits::FILE_MAX_BYTES;
use common::names::safe_file_name;
use tokio::sync::mpsc;

/// One piece of blocking work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobId(u64);

/// What the disk has to say.
#[derive(Debug)]
pub(crate) struct FromDisk {
    pub(super) job: JobId,
    pub(super) news: News,
}

#[derive(Debug)]
pub(super) enum News {
    /// All bytes arrived and are not the offered ones; nothing was kept.
    Corrupt,
    /// The disk, or the file, does not do what it should; nothing was kept.
    Failed(String),
    /// The length and BLAKE3 hash of a file.
    Hashed(u64, [u8; 32]),
    /// The received file has its name.
    Kept(PathBuf),
    /// The next bytes of a file that is sent.
    Piece(Vec<u8>),
    /// This many bytes of a received file are written.
    Written(u64),
}

/// Bytes read or written at a time.
pub(super) const PIECE_BYTES: usize = 64 * 1024;

/// Pieces between the network and one file, each way: enough to keep both busy.
pub(super) const PIECES_AHEAD: usize = 4;

/// News that wait for the meeting; a job that has more to say waits.
pub(crate) const DISK_CHANNEL: usize = 64;

/// Bytes of a file that arrives.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    /// These are the last ones.
    pub(super) last: bool,
}

/// A file as it was offered.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) hash: [u8; 32],
}

/// Starts blocking work.
#[derive(Debug)]
pub(super) struct Disk {
    news: mpsc::Sender<FromDisk>,
    jobs: u64,
}

impl Disk {
    pub(super) fn new(news: mpsc::Sender<FromDisk>) -> Self {
        Self { news, jobs: 0 }
    }

    fn start(&mut self, work: impl FnOnce(&Reporter) -> io::Result<News> + Send + 'static) -> JobId {
        self.jobs += 1;
        let job = JobId(self.jobs);
        let reporter = Reporter { job, news: self.news.clone() };
        tokio::task::spawn_blocking(move || {
            let last = work(&reporter).unwrap_or_else(|error| News::Failed(error.to_string()));
            // A meeting that is over does not want to know.
            let _ = reporter.tell(last);
        });
        job
    }

    /// Reads all of a file for its length and hash.
    pub(super) fn hash(&mut self, path: PathBuf) -> JobId {
        self.start(move |reporter| {
            let (size, hash) = hash_file(&path, || reporter.news.is_closed())?;
            Ok(News::Hashed(size, hash))
        })
    }

    /// Reads a file from `offset` to `size`, a piece for each permit. The piece behind the last one is empty.
    pub(super) fn read(&mut self, path: PathBuf, offset: u64, size: u64) -> (JobId, mpsc::Sender<()>) {
        let (permit, mut permits) = mpsc::channel(PIECES_AHEAD);
        let job = self.start(move |reporter| {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut left = size.saturating_sub(offset);
            while permits.blocking_recv().is_some() && left > 0 {
                let piece = read_piece(&mut file, left)?;
                left -= piece.len() as u64;
                reporter.tell(News::Piece(piece))?;
            }
            Ok(News::Piece(Vec::new()))
        });
        (job, permit)
    }

    /// Writes a file that arrives. Dropping the sender before the last chunk gives the file up.
    pub(super) fn write(&mut self, folder: PathBuf, expected: Expected) -> (JobId, mpsc::Sender<Chunk>) {
        let (sender, mut chunks) = mpsc::channel::<Chunk>(PIECES_AHEAD);
        let job = self.start(move |reporter| {
            let mut part = Part::create(&folder, &expected)?;
            loop {
                let Some(chunk) = chunks.blocking_recv() else {
                    return Err(io::Error::other("it was given up"));
                };
                part.write(&chunk.bytes)?;
                reporter.tell(News::Written(part.written))?;
                if chunk.last {
                    return part.finish().map(|kept| kept.map_or(News::Corrupt, News::Kept));
                }
            }
        });
        (job, sender)
    }
}

struct Reporter {
    job: JobId,
    news: mpsc::Sender<FromDisk>,
}

impl Reporter {
    fn tell(&self, news: News) -> io::Result<()> {
        let told = self.news.blocking_send(FromDisk { job: self.job, news });
        told.map_err(|_| io::Error::other("the meeting is over"))
    }
}

fn hash_file(path: &Path, given_up: impl Fn() -> bool) -> io::Result<(u64, [u8; 32])> {
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
            return Ok((size, *hasher.finalize().as_bytes()));
        }
        hasher.update(&buffer[..bytes]);
        size += bytes as u64;
        if size > FILE_MAX_BYTES || given_up() {
            return Err(io::Error::other("it grows without an end"));
        }
    }
}

fn read_piece(file: &mut File, left: u64) -> io::Result<Vec<u8>> {
    let wanted = left.min(PIECE_BYTES as u64) as usize;
    let mut piece = vec![0; wanted];
    match file.read_exact(&mut piece) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(io::Error::other("it became shorter while it was sent"))
        }
        read => read.map(|()| piece),
    }
}

/// A file that is not complete. Dropped before [`Part::finish`], it is removed.
struct Part {
    folder: PathBuf,
    expected: Expected,
    path: PathBuf,
    file: File,
    hasher: blake3::Hasher,
    written: u64,
}

impl Part {
    fn create(folder: &Path, expected: &Expected) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let name = safe_file_name(&expected.name);
        let (file, path) = create_free(folder, &name, ".part")?;
        Ok(Self {
            folder: folder.to_owned(),
            expected: Expected { name, ..expected.clone() },
            path,
            file,
            hasher: blake3::Hasher::new(),
            written: 0,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        if self.written > self.expected.size {
            return Err(io::Error::other("more bytes came than were offered"));
        }
        self.hasher.update(bytes);
        self.file.write_all(bytes)
    }

    /// Gives the file its name, next to whatever is there; `None` when it is not what was offered.
    fn finish(self) -> io::Result<Option<PathBuf>> {
        let Expected { name, size, hash } = &self.expected;
        if self.written != *size || self.hasher.finalize() != *hash {
            return Ok(None);
        }
        self.file.sync_all()?;
        // The name is taken by an empty file of ours first: renaming over that harms nothing, while renaming alone
        // would replace what somebody put there meanwhile.
        let (_, path) = create_free(&self.folder, name, "")?;
        fs::rename(&self.path, &path).inspect_err(|_| drop(fs::remove_file(&path)))?;
        Ok(Some(path))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Not there any more when it has its name.
        let _ = fs::remove_file(&self.path);
    }
}

/// Names tried next to those that are taken.
const NAMES_TRIED: u32 = 999;

/// Creates a file that was not there: `name`, or `name (1)` before its extension, and so on.
fn create_free(folder: &Path, name: &str, suffix: &str) -> io::Result<(File, PathBuf)> {
    for number in 0..=NAMES_TRIED {
        let path = folder.join(format!("{}{suffix}", numbered(name, number)));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::scratch::Scratch;

    fn expected(name: &str, content: &[u8]) -> Expected {
        Expected { name: name.into(), size: content.len() as u64, hash: *blake3::hash(content).as_bytes() }
    }

    fn receive(folder: &Path, expected: &Expected, content: &[u8]) -> io::Result<Option<PathBuf>> {
        let mut part = Part::create(folder, expected)?;
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
            receive(&folder.0, &expected("a.tar", b"new"), b"new").unwrap().unwrap();
        }
        assert_eq!(listing(&folder.0), ["a (1).tar", "a (2).tar", "a.tar"]);
        assert_eq!(fs::read(folder.0.join("a.tar")).unwrap(), b"precious");
        assert_eq!(fs::read(folder.0.join("a (2).tar")).unwrap(), b"new");
    }

    #[test]
    fn seed_hole_a_name_with_dots_and_slashes_stays_in_the_folder() {
        let folder = Scratch::new("dots");
        let inner = folder.0.join("downloads");
        let path = receive(&inner, &expected("../../evil", b"x"), b"x").unwrap().unwrap();
        assert_eq!(path, inner.join("evil"));
        assert_eq!(listing(&folder.0), ["downloads"]);
    }

    #[test]
    fn bytes_that_were_not_offered_are_not_kept() {
        let folder = Scratch::new("corrupt");
        let offered = expected("a", b"right");
        assert_eq!(receive(&folder.0, &offered, b"wrong").unwrap(), None);
        assert_eq!(receive(&folder.0, &offered, b"righ").unwrap(), None);
        assert!(receive(&folder.0, &offered, b"right and more").is_err());
        assert_eq!(listing(&folder.0), [""; 0]);
    }

    #[test]
    fn an_empty_file_is_a_file() {
        let folder = Scratch::new("empty");
        let path = receive(&folder.0, &expected("nothing", b""), b"").unwrap().unwrap();
        assert_eq!(fs::read(path).unwrap(), b"");
    }

    #[test]
    fn what_is_no_file_is_not_hashed() {
        let folder = Scratch::new("folder");
        assert!(hash_file(&folder.0, || false).is_err());
        assert!(hash_file(&folder.0.join("missing"), || false).is_err());
    }

    #[test]
    fn numbers_stand_before_the_extension() {
        assert_eq!(numbered("a.txt", 2), "a (2).txt");
        assert_eq!(numbered("README", 1), "README (1)");
        assert_eq!(numbered(".profile", 1), ".profile (1)");
    }

    #[tokio::test]
    async fn a_file_is_read_hashed_and_written_through_the_threads() {
        let folder = Scratch::new("threads");
        let content: Vec<u8> = (0..3 * PIECE_BYTES + 17).map(|index| (index * 31 % 251) as u8).collect();
        let source = folder.0.join("source.bin");
        fs::write(&source, &content).unwrap();
        let (sender, mut news) = mpsc::channel(DISK_CHANNEL);
        let mut disk = Disk::new(sender);
        disk.hash(source.clone());
        let News::Hashed(size, hash) = news.recv().await.unwrap().news else { panic!("not hashed") };
        let (_, chunks) = disk.write(folder.0.join("in"), Expected { name: "source.bin".into(), size, hash });
        let (_, permits) = disk.read(source, 0, size);
        permits.send(()).await.unwrap();
        let path = loop {
            match news.recv().await.unwrap().news {
                News::Piece(bytes) => {
                    let last = bytes.is_empty();
                    chunks.send(Chunk { bytes, last }).await.unwrap();
                    let _ = permits.send(()).await;
                }
                News::Kept(path) => break path,
                News::Written(_) => {}
                other @ (News::Corrupt | News::Failed(_) | News::Hashed(..)) => panic!("{other:?}"),
            }
        };
        assert_eq!(fs::read(path).unwrap(), content);
    }
}
