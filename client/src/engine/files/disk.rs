//! The disk side of files: blocking work on threads of its own, spoken to by bounded channels.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::failure::Failure;
use super::part::{self, Finished, Part};
use super::pieces::{Expected, PIECE_BYTES};
use super::room::{Promise, Room};
use super::source::{self, Fingerprint};

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
    /// All bytes arrived and are not the offered ones; nothing was kept. Bytes of an earlier attempt were among them if
    /// `resumed`.
    Corrupt {
        /// Another attempt from the start may do better.
        resumed: bool,
    },
    /// The work is done, and there is nothing to tell.
    Done,
    /// The disk, or the file, does not do what it should. Of a received file the part stays.
    Failed(Failure),
    /// A file that can be sent.
    Hashed(Fingerprint),
    /// The received file has its name.
    Kept(PathBuf),
    /// This many bytes of a file are here from an earlier attempt.
    LeftOver(u64),
    /// The next bytes of a file that is sent.
    Piece(Vec<u8>),
    /// This many bytes of a received file are here and hashed; the rest can come.
    Ready(u64),
    /// A file on offer is as it was offered; it was written to last at this time.
    Unchanged(Fingerprint),
    /// This many bytes of a received file are written.
    Written(u64),
}

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

/// Starts blocking work.
#[derive(Debug)]
pub(super) struct Disk {
    news: mpsc::Sender<FromDisk>,
    jobs: u64,
    room: Room,
}

impl Disk {
    pub(super) fn new(news: mpsc::Sender<FromDisk>) -> Self {
        Self::with_room(news, Room::of_the_system())
    }

    /// A disk on which there is so much room.
    pub(super) fn with_room(news: mpsc::Sender<FromDisk>, room: Room) -> Self {
        Self { news, jobs: 0, room }
    }

    fn start(&mut self, work: impl FnOnce(&Reporter) -> Result<News, Failure> + Send + 'static) -> JobId {
        self.jobs += 1;
        let job = JobId(self.jobs);
        let reporter = Reporter { job, news: self.news.clone() };
        tokio::task::spawn_blocking(move || {
            let last = work(&reporter).unwrap_or_else(News::Failed);
            // A meeting that is over does not want to know.
            let _ = reporter.tell(last);
        });
        job
    }

    /// Reads all of a file for its length and hash.
    pub(super) fn hash(&mut self, path: PathBuf) -> JobId {
        self.start(move |reporter| {
            let found = source::fingerprint(&path, || reporter.news.is_closed());
            found.map(News::Hashed).map_err(Failure::of_source)
        })
    }

    /// Looks whether a file is as it was offered. One that was written to since is read again.
    pub(super) fn check(&mut self, path: PathBuf, offered: Fingerprint) -> JobId {
        self.start(move |reporter| source::check(&path, offered, || reporter.news.is_closed()).map(News::Unchanged))
    }

    /// Reads a file from `offset` to the end of what was `offered`, a piece for each permit. The piece behind the last one
    /// is empty.
    pub(super) fn read(&mut self, path: PathBuf, offset: u64, offered: Fingerprint) -> (JobId, mpsc::Sender<()>) {
        let (permit, mut permits) = mpsc::channel(PIECES_AHEAD);
        let job = self.start(move |reporter| {
            let mut file = source::open(&path, offered)?;
            file.seek(SeekFrom::Start(offset)).map_err(Failure::of_source)?;
            let mut left = offered.size.saturating_sub(offset);
            while permits.blocking_recv().is_some() && left > 0 {
                let piece = read_piece(&mut file, left).map_err(Failure::of_source)?;
                left -= piece.len() as u64;
                reporter.tell(News::Piece(piece))?;
            }
            Ok(News::Piece(Vec::new()))
        });
        (job, permit)
    }

    /// Writes a file that arrives, from where an earlier attempt ended, if there is room for the rest.
    pub(super) fn receive(&mut self, folder: PathBuf, expected: Expected) -> (JobId, Writer) {
        let (sender, chunks) = mpsc::channel::<Chunk>(PIECES_AHEAD);
        let writer = Writer { chunks: sender, discard: Arc::default() };
        let discard = Arc::clone(&writer.discard);
        let room = self.room.clone();
        let job = self.start(move |reporter| {
            let given_up = || reporter.news.is_closed() || discard.load(Ordering::Relaxed);
            // Before what is here is read, which may take long.
            let there = part::left_over(&folder, &expected);
            drop(room.promise(&folder, expected.size - there)?);
            let part = Part::open(&folder, &expected, given_up).map_err(Failure::of_folder)?;
            let promise = room.promise(&folder, expected.size - part.written())?;
            reporter.tell(News::Ready(part.written()))?;
            write(part, promise, chunks, &discard, reporter)
        });
        (job, writer)
    }

    /// Looks how much of a file is here from an earlier attempt.
    pub(super) fn look(&mut self, folder: PathBuf, expected: Expected) -> JobId {
        self.start(move |_| Ok(News::LeftOver(part::left_over(&folder, &expected))))
    }

    /// Removes what an earlier attempt left of a file.
    pub(super) fn forget(&mut self, folder: PathBuf, expected: Expected) {
        self.start(move |_| part::forget(&folder, &expected).map(|()| News::Done).map_err(Failure::of_folder));
    }

    /// Removes what earlier attempts left long ago.
    pub(super) fn clean(&mut self, folder: PathBuf) {
        // A folder that is not there yet has nothing in it.
        self.start(move |_| Ok(part::clean(&folder).map_or(News::Done, |()| News::Done)));
    }
}

/// The way to a file that arrives. Dropped before the last chunk, it ends the work, and the part stays.
#[derive(Debug)]
pub(super) struct Writer {
    /// Takes the bytes.
    pub(super) chunks: mpsc::Sender<Chunk>,
    discard: Arc<AtomicBool>,
}

impl Writer {
    /// The part is not to stay.
    pub(super) fn discard(self) {
        self.discard.store(true, Ordering::Relaxed);
    }
}

impl From<Finished> for News {
    fn from(finished: Finished) -> Self {
        match finished {
            Finished::Corrupt { resumed } => Self::Corrupt { resumed },
            Finished::Kept(path) => Self::Kept(path),
        }
    }
}

struct Reporter {
    job: JobId,
    news: mpsc::Sender<FromDisk>,
}

impl Reporter {
    fn tell(&self, news: News) -> Result<(), Failure> {
        let told = self.news.blocking_send(FromDisk { job: self.job, news });
        told.map_err(|_| Failure::of_folder(io::Error::other("the meeting is over")))
    }
}

/// Writes what comes, until it is all there or nothing more comes.
fn write(
    mut part: Part,
    mut promise: Promise,
    mut chunks: mpsc::Receiver<Chunk>,
    discard: &AtomicBool,
    reporter: &Reporter,
) -> Result<News, Failure> {
    while let Some(chunk) = chunks.blocking_recv() {
        part.write(&chunk.bytes).map_err(|error| promise.failure(error))?;
        promise.keep(chunk.bytes.len() as u64);
        reporter.tell(News::Written(part.written()))?;
        if chunk.last {
            return part.finish().map(News::from).map_err(|error| promise.failure(error));
        }
    }
    if discard.load(Ordering::Relaxed) {
        part.discard().map_err(Failure::of_folder)?;
    }
    Ok(News::Done)
}

fn read_piece(file: &mut File, left: u64) -> io::Result<Vec<u8>> {
    let wanted = left.min(PIECE_BYTES as u64) as usize;
    let mut piece = vec![0; wanted];
    file.read_exact(&mut piece).map(|()| piece)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::scratch::Scratch;

    #[tokio::test]
    async fn a_file_is_read_hashed_and_written_through_the_threads() {
        let folder = Scratch::new("threads");
        let content: Vec<u8> = (0..3 * PIECE_BYTES + 17).map(|index| (index * 31 % 251) as u8).collect();
        let source = folder.0.join("source.bin");
        std::fs::write(&source, &content).unwrap();
        let (sender, mut news) = mpsc::channel(DISK_CHANNEL);
        let mut disk = Disk::new(sender);
        disk.hash(source.clone());
        let News::Hashed(offered) = news.recv().await.unwrap().news else { panic!("not hashed") };
        let expected = Expected { name: "source.bin".into(), size: offered.size, hash: offered.hash };
        let (_, Writer { chunks, .. }) = disk.receive(folder.0.join("in"), expected);
        let (_, permits) = disk.read(source, 0, offered);
        permits.send(()).await.unwrap();
        let path = loop {
            match news.recv().await.unwrap().news {
                News::Piece(bytes) => {
                    let last = bytes.is_empty();
                    chunks.send(Chunk { bytes, last }).await.unwrap();
                    let _ = permits.send(()).await;
                }
                News::Kept(path) => break path,
                News::Ready(0) | News::Written(_) | News::Done => {}
                other @ (News::Corrupt { .. }
                | News::Failed(_)
                | News::Hashed(_)
                | News::LeftOver(_)
                | News::Ready(_)
                | News::Unchanged(_)) => {
                    panic!("{other:?}")
                }
            }
        };
        assert_eq!(std::fs::read(path).unwrap(), content);
    }
}
