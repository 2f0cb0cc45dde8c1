//! How many control connections there may be, in all and of one source.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::door::Source;
use common::wire::control::Refusal;

use crate::statistics::Board;

/// Counts connections from the moment they are accepted.
#[derive(Debug)]
pub(crate) struct Seats {
    taken: Mutex<Taken>,
    total: usize,
    per_source: usize,
    board: Arc<Board>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_source: BTreeMap<Source, usize>,
}

impl Seats {
    /// All of `total` free; one source gets at most `per_source`.
    pub(crate) fn new(total: usize, per_source: usize, board: Arc<Board>) -> Self {
        Self { taken: Mutex::default(), total, per_source, board }
    }

    /// A seat for a connection from `address`.
    ///
    /// # Errors
    /// Why there is none: its source, or the server, has its fill.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Seat, Refusal> {
        let source = Source::from(address);
        let mut taken = self.lock();
        let of_source = taken.by_source.get(&source).copied().unwrap_or_default();
        let full = match of_source >= self.per_source {
            true => Some(Refusal::TooManyConnections { max: self.per_source as u32 }),
            false => (taken.total >= self.total).then_some(Refusal::ServerBusy),
        };
        if let Some(refusal) = full {
            self.board.count_refused_connection();
            return Err(refusal);
        }
        taken.total += 1;
        taken.by_source.insert(source, of_source + 1);
        self.board.count_accepted_connection();
        self.board.set_connections(taken.total);
        Ok(Seat { seats: Arc::clone(self), source })
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
        let seats = Arc::new(Seats::new(5, 3, Arc::clone(&board)));
        let mut held: Vec<_> = (0..3).map(|_| seats.take(address(1)).unwrap()).collect();
        assert_eq!(seats.take(address(1)).err(), Some(Refusal::TooManyConnections { max: 3 }));
        let others = [2, 3].map(|other| seats.take(address(other)).unwrap());
        assert_eq!(seats.take(address(4)).err(), Some(Refusal::ServerBusy));
        held.pop();
        assert!(seats.take(address(1)).is_ok());
        drop((held, others));
        let statistics = board.read();
        let counted = (statistics.connections_accepted, statistics.connections_refused);
        assert_eq!((statistics.connections, counted), (0, (6, 2)));
        assert!(seats.lock().by_source.is_empty(), "who left is forgotten");
    }
}
