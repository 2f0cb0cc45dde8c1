//! How many control connections there may be, in all and of one source.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::door::Source;
use common::limits::CONTROL_CONNECTIONS_MAX;

use crate::statistics::Board;

/// Counts connections from the moment they are accepted.
#[derive(Debug)]
pub(crate) struct Seats {
    taken: Mutex<Taken>,
    per_source: usize,
    board: Arc<Board>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_source: BTreeMap<Source, usize>,
}

impl Seats {
    /// All free; one source gets at most `per_source`.
    pub(crate) fn new(per_source: usize, board: Arc<Board>) -> Self {
        Self { taken: Mutex::default(), per_source, board }
    }

    /// A seat for a connection from `address`, or `None` when it, or the server, has its fill.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let source = Source::from(address);
        let mut taken = self.lock();
        let of_source = taken.by_source.get(&source).copied().unwrap_or_default();
        if taken.total >= CONTROL_CONNECTIONS_MAX || of_source >= self.per_source {
            self.board.count_refused_connection();
            return None;
        }
        taken.total += 1;
        taken.by_source.insert(source, of_source + 1);
        self.board.count_accepted_connection();
        self.board.set_connections(taken.total);
        Some(Seat { seats: Arc::clone(self), source })
    }

    fn give_back(&self, source: Source) {
        let mut taken = self.lock();
        taken.total -= 1;
        let of_source = taken.by_source.remove(&source).unwrap_or_default();
        if of_source > 1 {
            taken.by_source.insert(source, of_source - 1);
        }
        self.board.set_connections(taken.total);
    }

    /// Nothing between lock and unlock can panic half-way.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by a connection for as long as it lives, however it ends.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    source: Source,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.give_back(self.source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn one_source_gets_its_share_and_no_more() {
        let board = Arc::new(Board::new(1));
        let seats = Arc::new(Seats::new(3, Arc::clone(&board)));
        let mut held: Vec<_> = (0..3).map(|_| seats.take(address(1)).unwrap()).collect();
        assert!(seats.take(address(1)).is_none());
        assert!(seats.take(address(2)).is_some(), "others have their own share");
        held.pop();
        assert!(seats.take(address(1)).is_some());
        drop(held);
        let statistics = board.read();
        let counted = (statistics.connections_accepted, statistics.connections_refused);
        assert_eq!((statistics.connections, counted), (0, (5, 1)));
        assert!(seats.lock().by_source.is_empty(), "who left is forgotten");
    }
}
