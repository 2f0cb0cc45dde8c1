//! How long is waited for files that do not move: at whom ours stand still, and when to ask for somebody's again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::ids::{MemberId, TransferId};
use common::wire::message::{FileState, FileTrouble};

/// How long nothing may move at a receiver who has begun. Beyond, the file counts as not sent to him.
pub(super) const STALLED_AFTER: Duration = Duration::from_secs(30);
/// The same while it is known that datagrams do not reach him, or us: longer than the outages after which everything goes on.
pub(super) const OUTAGE_PATIENCE: Duration = Duration::from_secs(90);
/// When a file that broke off is asked for again at first; twice as long after each attempt that brings nothing,
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// up to here: its sender waits for [`STALLED_AFTER`].
const RETRY_MAX: Duration = Duration::from_secs(8);

/// Somebody who is to have a file of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Awaited {
    /// The most bytes that were there.
    bytes: u64,
    /// Since when nothing moves. `None` while it is up to a person: who has not answered, or pauses; and when all bytes
    /// are there, so that only the disk has to do with them.
    since: Option<Instant>,
    /// Why it broke off.
    pub(super) trouble: Option<FileTrouble>,
}

impl Awaited {
    /// He is that far with a file of `size` bytes.
    pub(super) fn note(&mut self, state: FileState, size: u64, now: Instant) {
        match state {
            FileState::Receiving(bytes) if bytes >= size => *self = Self { bytes, since: None, trouble: None },
            FileState::Receiving(bytes) if bytes > self.bytes => {
                *self = Self { bytes, since: Some(now), trouble: None };
            }
            // Who tries again and gets nothing has not moved.
            FileState::Receiving(_) => self.since = self.since.or(Some(now)),
            FileState::Interrupted(_, trouble) => {
                self.trouble = Some(trouble);
                self.since = self.since.or(Some(now));
            }
            FileState::Paused(_) => self.since = None,
            FileState::Cancelled | FileState::Corrupt | FileState::Declined | FileState::Verified => {}
        }
    }

    /// Bytes come to him, or are to come without anybody's doing.
    pub(super) fn receives(&self) -> bool {
        self.trouble.is_none() && (self.since.is_some() || self.bytes > 0)
    }

    /// When he is given up, with so much patience.
    pub(super) fn deadline(&self, patience: Duration) -> Option<Instant> {
        self.since.map(|since| since + patience)
    }

    /// Datagrams go through again: what stood still for that reason gets time anew.
    pub(super) fn refresh(&mut self, now: Instant) {
        self.since = self.since.map(|_| now);
    }
}

/// Files of others that broke off and stand on offer.
#[derive(Debug, Default)]
pub(super) struct Retries(BTreeMap<(MemberId, TransferId), Retry>);

#[derive(Debug)]
struct Retry {
    /// The most bytes that were here.
    bytes: u64,
    delay: Duration,
    at: Option<Instant>,
}

impl Retries {
    /// A file that we take is that far.
    pub(super) fn note(&mut self, file: (MemberId, TransferId), state: FileState, now: Instant) {
        let retry = self.0.entry(file).or_insert(Retry { bytes: 0, delay: RETRY_FIRST, at: None });
        match state {
            FileState::Interrupted(_, trouble) if !trouble.is_final() => {
                retry.at = Some(now + retry.delay);
                retry.delay = (retry.delay * 2).min(RETRY_MAX);
            }
            FileState::Receiving(bytes) => {
                retry.at = None;
                if bytes > retry.bytes {
                    (retry.bytes, retry.delay) = (bytes, RETRY_FIRST);
                }
            }
            FileState::Cancelled
            | FileState::Corrupt
            | FileState::Declined
            | FileState::Interrupted(..)
            | FileState::Paused(_)
            | FileState::Verified => self.end(file),
        }
    }

    /// A file is not on offer any more.
    pub(super) fn end(&mut self, file: (MemberId, TransferId)) {
        self.0.remove(&file);
    }

    /// A file to ask for again.
    pub(super) fn next(&mut self, now: Instant) -> Option<(MemberId, TransferId)> {
        let due = |retry: &Retry| retry.at.is_some_and(|at| now >= at);
        let (file, retry) = self.0.iter_mut().find(|(_, retry)| due(retry))?;
        retry.at = None;
        Some(*file)
    }

    /// When the next one is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.values().filter_map(|retry| retry.at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: (MemberId, TransferId) = (MemberId(2), TransferId(1));
    const FULL: FileState = FileState::Interrupted(10, FileTrouble::ReceiverFull { missing: 5 });

    fn after(start: Instant, secs: u64) -> Instant {
        start + Duration::from_secs(secs)
    }

    #[test]
    fn who_does_not_move_is_waited_for_since_he_moved_last() {
        let start = Instant::now();
        let mut awaited = Awaited::default();
        assert_eq!(awaited.deadline(STALLED_AFTER), None, "a person may take his time to answer");
        awaited.note(FileState::Receiving(0), 100, start);
        awaited.note(FileState::Receiving(10), 100, after(start, 5));
        awaited.note(FULL, 100, after(start, 6));
        awaited.note(FileState::Receiving(10), 100, after(start, 9));
        awaited.note(FULL, 100, after(start, 10));
        assert_eq!(
            awaited.deadline(STALLED_AFTER),
            Some(after(start, 5) + STALLED_AFTER),
            "attempts alone are no progress"
        );
        awaited.note(FileState::Receiving(11), 100, after(start, 20));
        assert_eq!((awaited.deadline(STALLED_AFTER), awaited.trouble), (Some(after(start, 20) + STALLED_AFTER), None));
        awaited.note(FileState::Receiving(100), 100, after(start, 21));
        assert_eq!(awaited.deadline(STALLED_AFTER), None, "a slow disk may take long over what it has");
    }

    #[test]
    fn a_file_that_broke_off_is_asked_for_again_at_growing_intervals_while_nothing_comes() {
        let start = Instant::now();
        let mut retries = Retries::default();
        let (mut now, mut delays) = (start, Vec::new());
        for _ in 0..5 {
            retries.note(FILE, FULL, now);
            assert_eq!(retries.next(now), None);
            let at = retries.deadline().unwrap();
            delays.push((at - now).as_secs());
            now = at;
            assert_eq!((retries.next(now), retries.next(now)), (Some(FILE), None));
        }
        assert_eq!(delays, [1, 2, 4, 8, 8]);
        retries.note(FILE, FileState::Receiving(20), now);
        retries.note(FILE, FULL, now);
        assert_eq!(retries.deadline(), Some(after(now, 1)));
        retries.end(FILE);
        assert_eq!(retries.deadline(), None);
        retries.note(FILE, FileState::Interrupted(20, FileTrouble::SourceGone), now);
        assert_eq!(retries.deadline(), None, "what is final is not tried again");
    }
}
