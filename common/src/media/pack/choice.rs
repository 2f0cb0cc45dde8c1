//! Which detail of voices a path has room for.

use std::time::{Duration, Instant};

use super::AudioDetail;

/// Chooses for one path, in one direction. Back and forth would be heard, so it takes more to go up than to stay.
#[derive(Clone, Copy, Debug, Default)]
pub struct DetailChoice {
    detail: AudioDetail,
    /// Since when there is room for more.
    room_since: Option<Instant>,
}

/// What a voice takes with its headers, bits per second, near enough; music takes more.
const EXACT_BPS: u64 = 450_000;
/// The same of the base layer with a copy.
const BASE_BPS: u64 = 230_000;
/// Of a hundred parts of the path exact voices may take so many to become it: that leaves room for pictures, …
const EXACT_PERCENT: u64 = 40;
/// … and so many to stay it: with more than that, pictures starve.
const EXACT_STAY_PERCENT: u64 = 55;
/// Copies may take more: an intact voice goes before pictures.
const BASE_PERCENT: u64 = 65;
/// The same to stay.
const BASE_STAY_PERCENT: u64 = 80;
/// There has to be room for so long.
const ROOM_FOR: Duration = Duration::from_secs(3);

impl DetailChoice {
    /// The path carries `path_bps`, bits per second in all, and so many voices go over it; answers how they are to go.
    pub fn handle_budget(&mut self, now: Instant, path_bps: u64, voices: u64) -> AudioDetail {
        let most = |exact, base| {
            let fits = |bps: u64, percent: u64| 100 * bps * voices.max(1) <= percent.saturating_mul(path_bps);
            match (fits(EXACT_BPS, exact), fits(BASE_BPS, base)) {
                (true, _) => AudioDetail::Exact,
                (false, true) => AudioDetail::Base,
                (false, false) => AudioDetail::Bare,
            }
        };
        let stays = self.detail.min(most(EXACT_STAY_PERCENT, BASE_STAY_PERCENT));
        let room = most(EXACT_PERCENT, BASE_PERCENT);
        if stays < self.detail || room <= self.detail {
            *self = Self { detail: stays, room_since: None };
        } else if now.saturating_duration_since(*self.room_since.get_or_insert(now)) >= ROOM_FOR {
            *self = Self { detail: room, room_since: None };
        }
        self.detail
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::virtual_time;

    #[test]
    fn a_voice_is_exact_where_pictures_have_room_beside_it() {
        let (now, mut choice) = (virtual_time(), DetailChoice::default());
        for (path, voices, detail) in [
            (3_000_000, 1, AudioDetail::Exact),
            (900_000, 1, AudioDetail::Exact),
            (3_000_000, 3, AudioDetail::Exact),
            (3_000_000, 4, AudioDetail::Base),
            (400_000, 1, AudioDetail::Base),
            (450_000, 2, AudioDetail::Bare),
        ] {
            assert_eq!(choice.handle_budget(now, path, voices), detail, "{path} {voices}");
        }
    }

    #[test]
    fn it_comes_back_when_there_was_room_for_a_while() {
        let (start, mut choice) = (virtual_time(), DetailChoice::default());
        let mut at = |millis, path| choice.handle_budget(start + Duration::from_millis(millis), path, 1);
        assert_eq!(at(0, 500_000), AudioDetail::Base);
        assert_eq!(at(1_000, 1_200_000), AudioDetail::Base);
        assert_eq!(at(3_900, 1_200_000), AudioDetail::Base);
        assert_eq!(at(3_950, 1_000_000), AudioDetail::Base, "no room after all");
        assert_eq!(at(4_000, 1_200_000), AudioDetail::Base);
        assert_eq!(at(7_000, 1_200_000), AudioDetail::Exact);
        assert_eq!(at(7_100, 1_000_000), AudioDetail::Exact, "it takes less to stay");
        assert_eq!(at(7_200, 100_000), AudioDetail::Bare);
        assert_eq!(at(7_300, 450_000), AudioDetail::Bare);
        assert_eq!(at(10_300, 450_000), AudioDetail::Base);
    }
}
