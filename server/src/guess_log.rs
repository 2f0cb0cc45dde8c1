//! Says in the log that codes are guessed: once when it begins, however many guess, and once when it is over. Who guesses
//! is not said.

use std::time::Instant;

use common::hub::Hub;

/// What was said last.
#[derive(Debug, Default)]
pub(crate) struct GuessLog {
    guessing: bool,
}

impl GuessLog {
    /// Looks whether there is something to say; to be called after each turn of the hub.
    pub(crate) fn look(&mut self, hub: &Hub, now: Instant) {
        let guessing = hub.guessing(now);
        if std::mem::replace(&mut self.guessing, guessing) == guessing {
            return;
        }
        if guessing {
            tracing::warn!("wrong codes come from many networks: each costs its source more, right ones are taken");
        } else {
            tracing::info!("wrong codes come from few networks again");
        }
    }
}
