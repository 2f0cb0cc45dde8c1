//! Which detail of voices a path has room for.

use std::time::{Duration, Instant};

use crate::path::bandwidth::Bandwidth;
use crate::wire::audio::AudioDetail;

/// Chooses for one path, in one direction. Back and forth would be heard, so it takes more to go up than to stay.
///
/// A voice alone never shows how much more a path would carry. So where nothing limits one, more is tried, and the longer
/// until the next time, the more often that was in vain.
#[derive(Clone, Copy, Debug)]
pub struct DetailChoice {
    detail: AudioDetail,
    /// Since when there is room for more.
    room_since: Option<Instant>,
    /// For how long there has to be.
    patience: Duration,
    /// When it went up last.
    up_at: Option<Instant>,
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
const BASE_PERCENT: u64 = 75;
/// The same to stay.
const BASE_STAY_PERCENT: u64 = 90;
/// Pictures of less are too small to show anything: the smallest step of the ladder.
const PICTURES_BPS: u64 = 100_000;
/// There has to be room for so long, …
const PATIENCE: Duration = Duration::from_secs(3);
/// … and after many attempts in vain for so long: each costs a queue for some tenths of a second.
const PATIENCE_MAX: Duration = Duration::from_secs(96);
/// What did not last for so long was in vain.
const PROVEN: Duration = Duration::from_secs(5);

impl Default for DetailChoice {
    /// Exact, as long as nothing is known of the path.
    fn default() -> Self {
        Self { detail: AudioDetail::default(), room_since: None, patience: PATIENCE, up_at: None }
    }
}

impl DetailChoice {
    /// So many voices go over a path, beside pictures of so many bits per second; answers how they are to go.
    ///
    /// Pictures show what the path carries, and pay for what voices try, so beside them what was found out holds.
    pub fn handle_path(&mut self, now: Instant, path: &Bandwidth, voices: u64, pictures_bps: u64) -> AudioDetail {
        let holds = path.is_limited(now) || (pictures_bps >= PICTURES_BPS && path.was_limited());
        self.handle_budget(now, holds.then(|| path.target_bps()), voices)
    }

    /// The path carries `path_bps`, bits per second in all, or `None` where nothing shows that it carries no more.
    fn handle_budget(&mut self, now: Instant, path_bps: Option<u64>, voices: u64) -> AudioDetail {
        let path_bps = path_bps.unwrap_or(u64::MAX);
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
        if stays < self.detail {
            self.go_down(now, stays);
        } else if room <= self.detail {
            self.room_since = None;
        } else if now.saturating_duration_since(*self.room_since.get_or_insert(now)) >= self.patience {
            *self = Self { detail: self.detail.next(), room_since: None, up_at: Some(now), ..*self };
        }
        self.detail
    }

    fn go_down(&mut self, now: Instant, detail: AudioDetail) {
        let in_vain = self.up_at.take().is_some_and(|up| now.saturating_duration_since(up) < PROVEN);
        self.patience = if in_vain { (2 * self.patience).min(PATIENCE_MAX) } else { PATIENCE };
        (self.detail, self.room_since) = (detail, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time;

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
            assert_eq!(choice.handle_budget(now, Some(path), voices), detail, "{path} {voices}");
        }
    }

    #[test]
    fn it_comes_back_when_there_was_room_for_a_while() {
        let (start, mut choice) = (virtual_time(), DetailChoice::default());
        let mut at = |millis, path| choice.handle_budget(start + Duration::from_millis(millis), Some(path), 1);
        assert_eq!(at(0, 500_000), AudioDetail::Base);
        assert_eq!(at(1_000, 1_200_000), AudioDetail::Base);
        assert_eq!(at(3_900, 1_200_000), AudioDetail::Base);
        assert_eq!(at(3_950, 1_000_000), AudioDetail::Base, "no room after all");
        assert_eq!(at(4_000, 1_200_000), AudioDetail::Base);
        assert_eq!(at(7_000, 1_200_000), AudioDetail::Exact);
        assert_eq!(at(7_100, 1_000_000), AudioDetail::Exact, "it takes less to stay");
        assert_eq!(at(7_200, 100_000), AudioDetail::Bare);
        assert_eq!(at(7_300, 450_000), AudioDetail::Bare);
        assert_eq!(at(10_300, 450_000), AudioDetail::Bare, "it did not last, so it takes longer");
        assert_eq!(at(13_300, 450_000), AudioDetail::Base);
    }

    /// When it goes up within so many seconds, on a path that says after half a second whether the detail is too much.
    fn attempts(secs: u64, carries: AudioDetail) -> Vec<u64> {
        let (start, mut choice) = (virtual_time(), DetailChoice::default());
        choice.handle_budget(start, Some(100_000), 1);
        let mut attempts = Vec::new();
        let mut detail = AudioDetail::Bare;
        let mut since = 0;
        for tenth in 1..10 * secs {
            let limited = detail > carries && tenth - since >= 5;
            let now = start + Duration::from_millis(100 * tenth);
            let next = choice.handle_budget(now, limited.then_some(240_000), 1);
            if next > detail {
                attempts.push(tenth / 10);
            }
            if next != detail {
                (detail, since) = (next, tenth);
            }
        }
        attempts
    }

    #[test]
    fn where_nothing_limits_it_more_is_tried_step_by_step_and_in_vain_ever_less() {
        assert_eq!(attempts(600, AudioDetail::Exact), [3, 6]);
        let in_vain = attempts(600, AudioDetail::Bare);
        assert_eq!(in_vain[..6], [3, 9, 22, 46, 95, 192]);
        assert!(in_vain.len() <= 10, "{in_vain:?}");
    }
}
