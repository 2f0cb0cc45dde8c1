//! What whoever runs a server may set, within the bounds of [`crate::limits`].

use std::time::Duration;

use crate::limits::{
    ROOM_MEMBERS_MAX, ROOMS_MAX, ROOMS_PER_SOURCE, SHARDS_MAX, WRONG_CODE_WAIT, WRONG_CODE_WAIT_MAX,
    WRONG_CODES_PER_SOURCE, WRONG_CODES_PER_SOURCE_MAX,
};

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
    /// Until a source that tried wrong codes may try one more, 1 s to [`WRONG_CODE_WAIT_MAX`]; the default is
    /// [`WRONG_CODE_WAIT`].
    pub wrong_code_wait: Duration,
    /// Different wrong codes one source may try at once, 1 to [`WRONG_CODES_PER_SOURCE_MAX`]; the default is
    /// [`WRONG_CODES_PER_SOURCE`].
    pub wrong_codes_per_source: usize,
}

impl Default for HubLimits {
    fn default() -> Self {
        Self {
            rooms: ROOMS_MAX,
            members_per_room: ROOM_MEMBERS_MAX,
            rooms_per_source: ROOMS_PER_SOURCE,
            shards: 1,
            wrong_code_wait: WRONG_CODE_WAIT,
            wrong_codes_per_source: WRONG_CODES_PER_SOURCE,
        }
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
            wrong_code_wait: self.wrong_code_wait.clamp(Duration::from_secs(1), WRONG_CODE_WAIT_MAX),
            wrong_codes_per_source: self.wrong_codes_per_source.clamp(1, WRONG_CODES_PER_SOURCE_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_setting_passes_the_bounds_of_the_protocol() {
        let all = |value: usize| HubLimits {
            rooms: value,
            members_per_room: value,
            rooms_per_source: value,
            shards: value,
            wrong_code_wait: Duration::from_secs(value as u64),
            wrong_codes_per_source: value,
        };
        let largest = HubLimits {
            rooms_per_source: ROOMS_MAX,
            shards: SHARDS_MAX,
            wrong_code_wait: WRONG_CODE_WAIT_MAX,
            wrong_codes_per_source: WRONG_CODES_PER_SOURCE_MAX,
            ..HubLimits::default()
        };
        assert_eq!(all(usize::MAX).within_bounds(), largest);
        let smallest = HubLimits { members_per_room: 2, ..all(1) };
        assert_eq!(all(0).within_bounds(), smallest);
    }
}
