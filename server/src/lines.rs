//! Lines to a place that may not take them: a full disk, a pipe that nobody reads, a terminal that is held.
//!
//! Output is never more important than a meeting. A thread of its own writes, so that nobody waits for a place that
//! does not take anything; what cannot be written is counted and dropped, and as soon as writing works again one line
//! says how many were lost.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes that wait for the writer: some ten thousand lines. Beyond, new ones are lost.
pub const WAITING_BYTES_MAX: usize = 1 << 20;

/// How long [`Lines::flush`] waits for a place that takes nothing at all.
pub const FLUSH_PATIENCE: Duration = Duration::from_secs(3);

/// How soon a place is tried again that says “not now” instead of letting its writer wait.
const AGAIN: Duration = Duration::from_millis(10);

/// How the line looks that says how many were lost; it ends with `\n`.
pub type LossLine = fn(u64) -> String;

/// The way to one place. Clones lead to the same one.
#[derive(Clone)]
pub struct Lines(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    more: Condvar,
    /// Something was written, or could not be.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Chunk>,
    waiting_bytes: usize,
    /// The writer has taken a chunk and is not done with it.
    writing: bool,
    /// Chunks that the writer is done with, well or badly.
    settled: u64,
    /// Lines refused since the last chunk that found room.
    refused: u64,
    lost: u64,
    error: Option<String>,
}

#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    /// What is drawn over again is not missed.
    counts: bool,
    /// Lines refused right before this one.
    refused: u64,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lines").field(&*self.0.lock()).finish()
    }
}

impl Lines {
    /// Writes to `place` by a thread that ends with the process. Where the system gives no thread, all lines are lost.
    pub fn start(place: impl Write + Send + 'static, loss_line: LossLine) -> Self {
        let shared = Shared { state: Mutex::default(), more: Condvar::new(), done: Condvar::new() };
        let lines = Self(Arc::new(shared));
        let writer = Writer { place, loss_line, torn: false, untold: 0, shared: Arc::clone(&lines.0) };
        if let Err(error) = thread::Builder::new().name("lines".into()).spawn(move || writer.run()) {
            lines.0.lock().error = Some(error.to_string());
        }
        lines
    }

    /// Hands over a line, or some, with their ends. Never waits.
    pub fn push(&self, bytes: impl Into<Vec<u8>>) {
        self.hand_over(Chunk { bytes: bytes.into(), counts: true, refused: 0 });
    }

    /// As [`Lines::push`], for what is soon drawn again: it is not counted when it is lost.
    pub fn draw(&self, bytes: impl Into<Vec<u8>>) {
        self.hand_over(Chunk { bytes: bytes.into(), counts: false, refused: 0 });
    }

    fn hand_over(&self, mut chunk: Chunk) {
        let mut state = self.0.lock();
        if state.waiting_bytes + chunk.bytes.len() > WAITING_BYTES_MAX {
            state.refused += chunk.lines();
            state.lost += chunk.lines();
            return;
        }
        chunk.refused = std::mem::take(&mut state.refused);
        state.waiting_bytes += chunk.bytes.len();
        state.waiting.push_back(chunk);
        self.0.more.notify_one();
    }

    /// Waits until everything is written or lost; no longer than [`FLUSH_PATIENCE`] for one chunk.
    pub fn flush(&self) {
        let mut state = self.0.lock();
        while state.writing || !state.waiting.is_empty() {
            let settled = state.settled;
            let waited = self.0.done.wait_timeout(state, FLUSH_PATIENCE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.settled == settled {
                return;
            }
        }
    }

    /// Lines that were lost.
    pub fn lost(&self) -> u64 {
        self.0.lock().lost
    }

    /// Why lines are lost: what the system said last, or that nobody reads; `None` while none is.
    pub fn trouble(&self) -> Option<String> {
        let state = self.0.lock();
        (state.lost > 0).then(|| state.error.clone().unwrap_or_else(|| "nothing is taken any more".into()))
    }
}

/// One call is one line, as loggers write. Never fails and never waits.
impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    /// Nothing is done under the lock that could panic half-way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next chunk; where nothing follows what was refused, an empty one that tells of it.
    fn take(&mut self) -> Option<Chunk> {
        if let Some(chunk) = self.waiting.pop_front() {
            self.waiting_bytes -= chunk.bytes.len();
            return Some(chunk);
        }
        let refused = std::mem::take(&mut self.refused);
        (refused > 0).then(|| Chunk { bytes: Vec::new(), counts: false, refused })
    }
}

impl Chunk {
    /// That are missed when it is lost.
    fn lines(&self) -> u64 {
        let ends = self.bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let torn = u64::from(self.bytes.last().is_some_and(|last| *last != b'\n'));
        if self.counts { ends + torn } else { 0 }
    }
}

struct Writer<W> {
    place: W,
    loss_line: LossLine,
    /// The place ends within a line.
    torn: bool,
    /// Lines lost that the place does not tell of yet.
    untold: u64,
    shared: Arc<Shared>,
}

impl<W: Write> Writer<W> {
    fn run(mut self) {
        loop {
            let chunk = self.next();
            self.untold += chunk.refused;
            let failed = self.tell_of_loss().and_then(|()| self.write(&chunk.bytes)).err();
            let lost = if failed.is_some() { chunk.lines() } else { 0 };
            self.untold += lost;
            let mut state = self.shared.lock();
            state.lost += lost;
            state.error = failed.map(|error| error.to_string()).or(state.error.take());
            state.writing = false;
            state.settled += 1;
            self.shared.done.notify_all();
        }
    }

    fn next(&self) -> Chunk {
        let mut state = self.shared.lock();
        loop {
            if let Some(chunk) = state.take() {
                state.writing = true;
                return chunk;
            }
            state = self.shared.more.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn tell_of_loss(&mut self) -> io::Result<()> {
        if self.untold > 0 {
            let line = (self.loss_line)(self.untold);
            self.write(line.as_bytes())?;
            self.untold = 0;
        }
        Ok(())
    }

    /// Writes all of `bytes`, behind what is there of a line that could not be ended.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.torn {
            self.write_all(b"\n")?;
        }
        self.write_all(bytes)?;
        self.place.flush()
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.place.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.torn = written < bytes.len();
                    bytes = &bytes[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(AGAIN),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    /// A disk with so much room.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Disk {
        fn set_room(&self, bytes: usize) {
            self.0.lock().unwrap().1 = bytes;
        }

        fn content(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap()
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (content, room) = &mut *self.0.lock().unwrap();
            let taken = bytes.len().min(*room);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            content.extend_from_slice(&bytes[..taken]);
            *room -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn loss(lines: u64) -> String {
        format!("{lines} lost\n")
    }

    #[test]
    fn what_does_not_fit_is_counted_and_told_when_writing_works_again() {
        let disk = Disk::default();
        disk.set_room(9);
        let lines = Lines::start(disk.clone(), loss);
        for line in ["first\n", "second\n", "third\nfourth\n"] {
            lines.push(line);
        }
        lines.flush();
        assert_eq!((disk.content().as_str(), lines.lost()), ("first\nsec", 3));
        assert!(lines.trouble().unwrap().contains("storage"), "{:?}", lines.trouble());
        disk.set_room(100);
        lines.push("fifth\n");
        lines.push("sixth\n");
        lines.flush();
        assert_eq!(disk.content(), "first\nsec\n3 lost\nfifth\nsixth\n");
    }

    /// A pipe whose reader takes one piece whenever it is told to.
    struct Pipe(SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pipe() -> (Lines, Receiver<Vec<u8>>) {
        let (sender, reader) = sync_channel(0);
        (Lines::start(Pipe(sender), loss), reader)
    }

    #[test]
    fn nobody_waits_for_a_reader_that_does_not_read() {
        let (lines, reader) = pipe();
        let line = vec![b'\n'; 1_024];
        for _ in 0..2 * WAITING_BYTES_MAX / line.len() {
            lines.push(line.clone());
        }
        let lost = lines.lost();
        assert!(lost >= (WAITING_BYTES_MAX / 2) as u64, "{lost}");
        assert!(lines.0.lock().waiting_bytes <= WAITING_BYTES_MAX);
        let mut accounted = 0;
        while accounted < 2 * WAITING_BYTES_MAX {
            let piece = reader.recv().unwrap();
            let told = std::str::from_utf8(&piece).unwrap().strip_suffix(" lost\n");
            accounted += told.map_or(piece.len(), |lines| lines.parse().unwrap());
        }
        assert_eq!(accounted, 2 * WAITING_BYTES_MAX);
    }

    #[test]
    fn a_reader_that_is_gone_is_only_counted() {
        let (lines, reader) = pipe();
        drop(reader);
        lines.push("one\n");
        lines.draw("bar\r");
        lines.push("two\n");
        lines.flush();
        assert_eq!(lines.lost(), 2);
    }
}
