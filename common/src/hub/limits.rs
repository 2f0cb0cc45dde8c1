//! What whoever runs a server may set, within the bounds of [`crate::limits`].

use crate::limits::{ROOM_MEMBERS_MAX, ROOMS_MAX, ROOMS_PER_SOURCE, SHARDS_MAX};

/// How much a hub takes on. A value outside its bounds counts as the nearest one inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubLimits {
    /// Rooms at a time, 1 to [`ROOMS_MAX`]; the default is the bound.
    pub rooms: usize,
    /// Members of one room, the host included, 2 to [`ROOM_MEMBERS_MAX`]; the default is the bound.
    pub members_per_room: usize,
    /// Rooms one source may have open at a time, 1 to [`ROOMS_MAX`]; the default is [`ROOMS_PER_SOURCE`]. A school
    /// behind one address needs more.
    pub rooms_per_source: usize,
    /// Relays among which the rooms are divided, 1 to [`SHARDS_MAX`]; the default is one.
    pub shards: usize,
}

impl Default for HubLimits {
    fn default() -> Self {
        Self { rooms: ROOMS_MAX, members_per_room: ROOM_MEMBERS_MAX, rooms_per_source: ROOMS_PER_SOURCE, shards: 1 }
    }
}

impl HubLimits {
    /// The same, each value within its bounds.
    pub(super) fn within_bounds(self) -> Self {
        Self {
            rooms: self.rooms.clamp(1, ROOMS_MAX),
            members_per_room: self.members_per_room.clamp(2, ROOM_MEMBERS_MAX),
            rooms_per_source: self.rooms_per_source.clamp(1, ROOMS_MAX),
            shards: self.shards.clamp(1, SHARDS_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_setting_passes_the_bounds_of_the_protocol() {
        let all = |value| HubLimits { rooms: value, members_per_room: value, rooms_per_source: value, shards: value };
        let largest = HubLimits { rooms_per_source: ROOMS_MAX, shards: SHARDS_MAX, ..HubLimits::default() };
        assert_eq!(all(usize::MAX).within_bounds(), largest);
        let smallest = HubLimits { rooms: 1, members_per_room: 2, rooms_per_source: 1, shards: 1 };
        assert_eq!(all(0).within_bounds(), smallest);
    }
}
