//! What a person is told when the own data plane falls silent, and when it is back: what is known, and no more.
//!
//! That UDP is silent says nothing of TCP. The control connection is asked at once
//! ([`common::session::Session::suspect`]), so before long it has answered, or it is as silent.

use std::time::{Duration, Instant};

use common::limits::DATA_SILENCE_AFTER;
use common::wire::control::Reach;

/// How our own data plane is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// Which ways work.
    pub(super) reach: Reach,
    /// When something came over UDP last.
    pub(super) data_heard: Instant,
    /// When something came over TCP last.
    pub(super) control_heard: Instant,
    /// There is a control connection.
    pub(super) seated: bool,
}

/// What a person was told of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Silence {
    since: Option<Instant>,
    /// Since when something comes and nothing arrives.
    one_way: Option<Instant>,
    told: Option<Told>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Nothing of ours arrives.
    Unheard,
    /// Nothing comes.
    Silent,
    /// Nothing comes over UDP, while TCP works.
    Blocked,
}

/// What comes over TCP so long after the last datagram shows that TCP works while UDP does not.
const TCP_OUTLIVES_UDP: Duration = Duration::from_millis(500);
/// How long TCP has to show that it works before it counts as silent too: the ping after two seconds, and its answer.
const TCP_PATIENCE: Duration = Duration::from_millis(4_500);
/// Each end notices in its own time when both ways break or come back: only what lasts for longer is one way alone.
const ONE_WAY_AFTER: Duration = Duration::from_millis(750);
/// What came longer ago does not show that anything still comes.
const COMES_FOR: Duration = Duration::from_secs(2);

impl Silence {
    /// Looks at how things are; answers the sentence to tell, if there is one.
    pub(super) fn look(&mut self, now: Instant, facts: Facts) -> Option<String> {
        if facts.reach == Reach::WHOLE {
            let Self { since, told, .. } = std::mem::take(self);
            told?;
            let secs = now.saturating_duration_since(since?).as_secs();
            return Some(format!("Sound and picture work again, after {secs} s."));
        }
        let began = if facts.reach.hears { now.checked_sub(DATA_SILENCE_AFTER) } else { Some(facts.data_heard) };
        let since = *self.since.get_or_insert(began.unwrap_or(now));
        let one_way = facts.reach.hears && now.saturating_duration_since(facts.data_heard) < COMES_FOR;
        self.one_way = self.one_way.filter(|_| one_way).or(one_way.then_some(now));
        let lasts = self.one_way.is_some_and(|began| now.saturating_duration_since(began) >= ONE_WAY_AFTER);
        let tell = Told::by(now, facts, lasts).filter(|tell| Some(*tell) != self.told)?;
        self.told = Some(tell);
        Some(tell.sentence(now.saturating_duration_since(since).as_secs()))
    }
}

impl Told {
    /// What there is to tell; `None` before it is clear, and where the lost connection is what a person is told of.
    fn by(now: Instant, facts: Facts, one_way: bool) -> Option<Self> {
        let Facts { reach, data_heard, control_heard, seated } = facts;
        if reach.hears {
            return one_way.then_some(Self::Unheard);
        }
        if seated && control_heard >= data_heard + TCP_OUTLIVES_UDP {
            return Some(Self::Blocked);
        }
        (seated && now.saturating_duration_since(data_heard) >= TCP_PATIENCE).then_some(Self::Silent)
    }

    fn sentence(self, secs: u64) -> String {
        match self {
            Self::Unheard => format!(
                "Nobody hears or sees you: for {secs} s nothing of yours has reached the server over UDP, while its own \
                 arrives here and TCP works. A firewall or a change of network may be in the way."
            ),
            Self::Silent => format!("Nothing has come from the server for {secs} s."),
            Self::Blocked => format!(
                "Nothing comes from the server over UDP, for {secs} s by now, so there is no sound, picture, chat or file. \
                 It answers over TCP. A firewall or a change of network may be in the way."
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAF: Reach = Reach { heard: false, hears: false };

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// What is told in the minute after UDP fell silent, each with the second; `facts` say how it is after so many seconds.
    fn told(facts: impl Fn(Instant, u64) -> Facts) -> Vec<(u64, String)> {
        let (start, mut silence) = (Instant::now(), Silence::default());
        let quarters = (0..240).map(|quarter| start + quarter * Duration::from_millis(250));
        let look = |now: Instant| {
            let second = (now - start).as_secs();
            silence.look(now, facts(start, second)).map(|sentence| (second, sentence))
        };
        quarters.filter_map(look).collect()
    }

    #[test]
    fn udp_is_named_within_five_seconds_where_tcp_answers_and_each_time_and_its_return_is() {
        let told = told(|start, second| {
            let dead = (3..20).contains(&second) || (43..50).contains(&second);
            let data_heard = if second < 40 { start } else { start + secs(40) };
            let reach = if dead { DEAF } else { Reach::WHOLE };
            Facts { reach, data_heard, control_heard: start + secs(second), seated: true }
        });
        let seconds: Vec<_> = told.iter().map(|(second, _)| *second).collect();
        assert_eq!(seconds, [3, 20, 43, 50], "{told:?}");
        assert!(told[0].1.contains("over UDP, for 3 s") && told[0].1.contains("over TCP"), "{told:?}");
        assert_eq!(told[1].1, "Sound and picture work again, after 20 s.");
        assert_eq!(told[0].1, told[2].1);
    }

    #[test]
    fn where_tcp_is_as_silent_it_is_not_said_to_work() {
        let told = told(|start, second| {
            let reach = if second >= 3 { DEAF } else { Reach::WHOLE };
            Facts { reach, data_heard: start, control_heard: start, seated: second < 7 }
        });
        assert_eq!(told, [(4, "Nothing has come from the server for 4 s.".to_owned())]);
    }

    #[test]
    fn a_lost_connection_that_was_told_of_is_enough_until_another_one_stands() {
        let told = told(|start, second| {
            let reach = if second >= 3 { DEAF } else { Reach::WHOLE };
            let seated = second >= 12;
            let control_heard = if seated { start + secs(12) } else { start };
            Facts { reach, data_heard: start, control_heard, seated }
        });
        assert_eq!(told.len(), 1);
        assert!(told[0].0 == 12 && told[0].1.contains("for 12 s"), "{told:?}");
    }

    #[test]
    fn ends_that_notice_one_after_the_other_are_told_of_once() {
        let told = told(|start, second| {
            // The server notices first, both times.
            let reach = match second {
                3 => Reach { heard: false, hears: true },
                4..20 => DEAF,
                _ => Reach::WHOLE,
            };
            Facts { reach, data_heard: start, control_heard: start + secs(second), seated: true }
        });
        let seconds: Vec<_> = told.iter().map(|(second, _)| *second).collect();
        assert_eq!(seconds, [4, 20], "{told:?}");
    }

    #[test]
    fn who_is_not_heard_but_hears_is_told_so() {
        let told = told(|start, second| {
            let reach = Reach { heard: !(5..9).contains(&second), hears: true };
            Facts { reach, data_heard: start + secs(second), control_heard: start, seated: true }
        });
        assert!(told[0].1.starts_with("Nobody hears or sees you: for 3 s"), "{told:?}");
        assert_eq!((told[0].0, told[1].clone()), (5, (9, "Sound and picture work again, after 7 s.".to_owned())));
    }
}
