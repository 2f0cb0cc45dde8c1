//! What a hub counted since it began.

use crate::door::DoorStatistics;
use crate::wire::control::Refusal;

/// Counters of a hub; each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubStatistics {
    /// Rooms that were opened.
    pub rooms_opened: u64,
    /// Guests that came to a door and were let wait.
    pub knocks: u64,
    /// Guests that were let in by a host.
    pub admissions: u64,
    /// Members whose control connection broke while they were in.
    pub connections_lost: u64,
    /// Members who came back to their place over a new connection.
    pub resumptions: u64,
    /// Wrong codes.
    pub door: DoorStatistics,
    /// Clients that did not get in, or not back in.
    pub refusals: Refusals,
}

/// Refusals, by their reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals([u64; Self::REASONS.len()]);

impl Refusals {
    /// A name for each reason, in the order of [`Refusals::by_reason`]; lower case, as monitoring writes labels.
    pub const REASONS: [&'static str; 20] = [
        "denied",
        "draining",
        "name_invalid",
        "name_taken",
        "no_answer",
        "room_full",
        "room_locked",
        "room_ended",
        "server_full",
        "too_many_knocks",
        "try_later",
        "version_mismatch",
        "wrong_code",
        "place_gone",
        "server_restarted",
        "denied_before",
        "knock_later",
        "too_many_rooms",
        "too_many_connections",
        "server_busy",
    ];

    /// Each reason, and how often it was given.
    pub fn by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::REASONS.into_iter().zip(self.0)
    }

    /// How often this reason was given.
    pub fn of(&self, refusal: Refusal) -> u64 {
        self.0[place(refusal)]
    }

    pub(super) fn count(&mut self, refusal: Refusal) {
        self.0[place(refusal)] += 1;
    }
}

/// Where a reason stands in [`Refusals::REASONS`].
fn place(refusal: Refusal) -> usize {
    match refusal {
        Refusal::Denied => 0,
        Refusal::Draining => 1,
        Refusal::NameInvalid => 2,
        Refusal::NameTaken => 3,
        Refusal::NoAnswer => 4,
        Refusal::RoomFull => 5,
        Refusal::RoomLocked => 6,
        Refusal::RoomEnded => 7,
        Refusal::ServerFull => 8,
        Refusal::TooManyKnocks => 9,
        Refusal::TryLater { .. } => 10,
        Refusal::VersionMismatch { .. } => 11,
        Refusal::WrongCode => 12,
        Refusal::PlaceGone => 13,
        Refusal::ServerRestarted => 14,
        Refusal::DeniedBefore => 15,
        Refusal::KnockLater { .. } => 16,
        Refusal::TooManyRooms => 17,
        Refusal::TooManyConnections { .. } => 18,
        Refusal::ServerBusy => 19,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_counter_of_its_own_under_its_own_name() {
        let mut refusals = Refusals::default();
        refusals.count(Refusal::WrongCode);
        refusals.count(Refusal::TryLater { secs: 1 });
        refusals.count(Refusal::TryLater { secs: 2 });
        let counted: Vec<_> = refusals.by_reason().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("try_later", 2), ("wrong_code", 1)]);
        assert_eq!(refusals.of(Refusal::Denied), 0);
    }
}
