//! The way events take to the window: never blocking the meeting, whatever the window does.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::protocol::Event;

/// Wakes the window after an event was put into the channel.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// Events between engine and window. A window that draws takes them 60 times a second.
pub(super) const EVENT_CHANNEL: usize = 1_024;

/// Events that wait behind a full channel: minutes of a busy meeting for a window that hangs. Beyond, the oldest go.
const BACKLOG_MAX: usize = 4_096;

/// Puts events into the channel to the window, and keeps those that matter while it is full.
pub(super) struct Outlet {
    sender: mpsc::Sender<Event>,
    waker: Waker,
    backlog: VecDeque<Event>,
    lost: bool,
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("backlog", &self.backlog.len()).finish_non_exhaustive()
    }
}

impl Outlet {
    pub(super) fn new(sender: mpsc::Sender<Event>, waker: Waker) -> Self {
        Self { sender, waker, backlog: VecDeque::new(), lost: false }
    }

    /// A way for another thread to tell of things that pass.
    pub(super) fn passing(&self) -> PassingOutlet {
        PassingOutlet { sender: self.sender.clone(), waker: Arc::clone(&self.waker) }
    }

    /// Tells the window. While it lags, what the next event of its kind replaces anyway is dropped.
    pub(super) fn send(&mut self, event: Event) {
        if replaced_by_the_next(&event) && !self.backlog.is_empty() {
            return;
        }
        if self.backlog.len() >= BACKLOG_MAX {
            self.backlog.pop_front();
            self.lost = true;
        }
        self.backlog.push_back(event);
        self.flush();
    }

    /// A sentence to be told in passing.
    pub(super) fn notice(&mut self, sentence: impl Into<String>) {
        self.send(Event::Notice(sentence.into()));
    }

    /// Gives the window as much of the backlog as it takes.
    pub(super) fn flush(&mut self) {
        while let Some(event) = self.backlog.pop_front() {
            match self.sender.try_send(event) {
                Ok(()) => (self.waker)(),
                Err(TrySendError::Full(event)) => {
                    if !replaced_by_the_next(&event) {
                        self.backlog.push_front(event);
                    }
                    return;
                }
                // Nobody listens any more; the engine ends when the commands do.
                Err(TrySendError::Closed(_)) => return self.backlog.clear(),
            }
        }
        if std::mem::take(&mut self.lost) {
            self.notice("This window was busy for so long that some of the meeting is missing in it.");
        }
    }

    /// Waits until the window takes events again; for ever when none wait.
    pub(super) async fn room(&self) {
        if self.backlog.is_empty() {
            return std::future::pending().await;
        }
        // An error means that nobody listens: the flush that follows clears the backlog.
        let _ = self.sender.reserve().await;
    }
}

/// Tells of things that pass, from another thread.
#[derive(Clone)]
pub(super) struct PassingOutlet {
    sender: mpsc::Sender<Event>,
    waker: Waker,
}

impl PassingOutlet {
    /// Tells the window, or not when it lags.
    pub(super) fn send(&self, event: Event) {
        if self.sender.try_send(event).is_ok() {
            (self.waker)();
        }
    }
}

fn replaced_by_the_next(event: &Event) -> bool {
    matches!(event, Event::Frame(_) | Event::Speaking(_) | Event::Statistics(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::MemberId;

    fn bench(capacity: usize) -> (Outlet, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Outlet::new(sender, Arc::new(|| {})), receiver)
    }

    fn notices(receiver: &mut mpsc::Receiver<Event>) -> Vec<String> {
        let mut texts = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            if let Event::Notice(text) = event {
                texts.push(text);
            }
        }
        texts
    }

    #[test]
    fn what_matters_waits_in_order_and_what_passes_is_dropped() {
        let (mut outlet, mut receiver) = bench(2);
        for number in 0..5 {
            outlet.notice(number.to_string());
            outlet.send(Event::Frame(MemberId(1)));
        }
        let mut seen = Vec::new();
        for _ in 0..5 {
            seen.extend(notices(&mut receiver));
            outlet.flush();
        }
        assert_eq!(seen, ["0", "1", "2", "3", "4"]);
    }

    #[test]
    fn a_window_that_hangs_costs_a_bounded_amount_of_memory_and_is_told_so() {
        let (mut outlet, mut receiver) = bench(1);
        for number in 0..2 * BACKLOG_MAX {
            outlet.notice(number.to_string());
        }
        assert_eq!(outlet.backlog.len(), BACKLOG_MAX);
        let mut last = Vec::new();
        while !outlet.backlog.is_empty() {
            last = notices(&mut receiver);
            outlet.flush();
        }
        last.extend(notices(&mut receiver));
        assert!(last.last().unwrap().contains("missing"), "{last:?}");
    }

    #[test]
    fn a_window_that_is_gone_holds_nothing_up() {
        let (mut outlet, receiver) = bench(1);
        drop(receiver);
        outlet.notice("nobody hears this");
        assert!(outlet.backlog.is_empty());
    }
}
