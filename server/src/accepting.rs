//! What to do when a connection cannot be accepted: wait a little, count, and say it once a minute.

use std::io;
use std::time::{Duration, Instant};

/// Wait after an accept that failed for want of something, for example file descriptors: asking again at once would
/// take the processor from those who could free one.
pub(crate) const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// How often failed accepts are told in the log at most.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Whether this is a fault of this machine, after which to wait for [`ACCEPT_BACKOFF`]. A peer that gave up between its
/// connect and our accept is none.
pub(crate) fn is_want(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// Accepts that failed and were not told yet.
#[derive(Debug, Default)]
pub(crate) struct FailedAccepts {
    untold: u64,
    told: Option<Instant>,
}

impl FailedAccepts {
    /// One more failed; answers how many to tell of, when it is time to.
    pub(crate) fn count(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        let due = self.told.is_none_or(|told| now.saturating_duration_since(told) >= LOG_INTERVAL);
        due.then(|| {
            self.told = Some(now);
            std::mem::take(&mut self.untold)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_failures_is_two_lines_with_their_count() {
        let (mut failed, start) = (FailedAccepts::default(), Instant::now());
        let told: Vec<_> = (0..=600).filter_map(|tenth| failed.count(start + ACCEPT_BACKOFF * tenth)).collect();
        assert_eq!(told, [1, 600]);
    }

    #[test]
    fn a_peer_that_gave_up_is_no_want_of_this_machine() {
        assert!(!is_want(&io::ErrorKind::ConnectionAborted.into()));
        // EMFILE of every Unix: the process has its fill of files.
        assert!(is_want(&io::Error::from_raw_os_error(24)));
    }
}
