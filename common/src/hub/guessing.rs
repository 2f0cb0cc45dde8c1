//! What is held against those who tried wrong codes, and how it is lifted.

use std::net::IpAddr;
use std::time::Instant;

use super::Hub;
use crate::door::Bans;

impl Hub {
    /// Sources whose codes are refused; looks at every source, so it is for whoever asks and not for every turn.
    pub fn bans(&self, now: Instant) -> Bans {
        self.door.bans(now)
    }

    /// Whether wrong codes come from many networks at once, so that each costs its source more.
    pub fn guessing(&self, now: Instant) -> bool {
        self.door.guessing(now)
    }

    /// Forgets what is held against the source of this address, or against everybody. Answers for how many sources
    /// that opened the door.
    pub fn forgive(&mut self, now: Instant, address: Option<IpAddr>) -> usize {
        self.door.forgive(now, address.map(Into::into))
    }
}
