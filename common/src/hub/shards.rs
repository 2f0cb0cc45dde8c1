//! Which relay has which room. A room lives whole on one relay, so that relays share nothing.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;

use super::Hub;
use crate::ids::{ConnectionId, RoomId};

/// How rooms are divided among relays.
#[derive(Debug)]
pub(super) struct Shards {
    rooms: BTreeMap<RoomId, usize>,
    /// Rooms of each relay.
    loads: Vec<usize>,
    /// Relays that had to shed datagrams of late.
    overloaded: BTreeSet<usize>,
}

impl Shards {
    pub(super) fn new(shards: usize) -> Self {
        Self { rooms: BTreeMap::new(), loads: vec![0; shards.max(1)], overloaded: BTreeSet::new() }
    }

    /// The relay with the fewest rooms among those that are not overloaded; `None` when all are.
    pub(super) fn choose(&self) -> Option<usize> {
        let fit = (0..self.loads.len()).filter(|shard| !self.overloaded.contains(shard));
        fit.min_by_key(|shard| self.loads[*shard])
    }

    pub(super) fn open(&mut self, shard: usize, room: RoomId) {
        self.rooms.insert(room, shard);
        self.loads[shard] += 1;
    }

    pub(super) fn close(&mut self, room: RoomId) {
        if let Some(shard) = self.rooms.remove(&room) {
            self.loads[shard] -= 1;
        }
    }

    pub(super) fn clear(&mut self) {
        self.rooms.clear();
        self.loads.fill(0);
    }
}

impl Hub {
    /// A relay has more to send than it can, or no longer. While it has, it gets no new rooms; while all have, nobody
    /// gets one.
    pub fn handle_overload(&mut self, shard: usize, overloaded: bool) {
        if overloaded {
            self.shards.overloaded.insert(shard);
        } else {
            self.shards.overloaded.remove(&shard);
        }
    }

    /// How many relays are overloaded.
    pub fn overloaded_shards(&self) -> usize {
        self.shards.overloaded.len()
    }

    /// A random id that leads to the relay of this room. One in [`crate::limits::SHARDS_MAX`] or more does, so this
    /// ends soon.
    pub(super) fn draw_connection_id(&mut self, room: RoomId) -> ConnectionId {
        let wanted = self.shards.rooms.get(&room).copied().unwrap_or_default();
        loop {
            let id = ConnectionId(self.rng.random());
            if id.shard(self.shards.loads.len()) == wanted {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::HubLimits;

    #[test]
    fn rooms_are_divided_evenly_and_an_overloaded_relay_gets_none() {
        let mut shards = Shards::new(3);
        let open = |shards: &mut Shards, room| {
            let shard = shards.choose().unwrap();
            shards.open(shard, RoomId(room));
            shard
        };
        assert_eq!((0..4).map(|room| open(&mut shards, room)).collect::<Vec<_>>(), [0, 1, 2, 0]);
        shards.overloaded.insert(1);
        assert_eq!(open(&mut shards, 4), 2);
        shards.close(RoomId(0));
        shards.close(RoomId(3));
        assert_eq!(open(&mut shards, 5), 0);
        shards.overloaded.extend([0, 2]);
        assert_eq!(shards.choose(), None);
    }

    #[test]
    fn every_id_of_a_room_leads_to_its_relay() {
        let limits = HubLimits { shards: 5, ..HubLimits::default() };
        let mut hub = Hub::with_limits([7; 32], true, limits);
        hub.shards.open(3, RoomId(1));
        assert!((0..100).all(|_| hub.draw_connection_id(RoomId(1)).shard(5) == 3));
    }
}
