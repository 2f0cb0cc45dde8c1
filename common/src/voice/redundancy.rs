//! Which earlier blocks an audio packet brings again, by what is lost on the way.
//!
//! A copy costs a third of a packet, so there is none while next to nothing is lost. One of the block just before fills
//! single holes; two that are apart fill pairs as well, and where losses come in bursts, copies that are further away
//! survive them.

use std::collections::BTreeMap;

use crate::ids::MemberId;
use crate::limits::ROOM_MEMBERS_MAX;
use crate::sequence::SequenceNumber;

/// Follows the losses of one sender's audio, as each receiver and the server report them.
#[derive(Clone, Debug, Default)]
pub struct Redundancy {
    /// Smoothed, by who reports. Bounded by [`REPORTERS_MAX`].
    paths: BTreeMap<MemberId, Losses>,
    protection: Protection,
}

/// What somebody reports of the audio that reaches him.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// Share of the packets that is lost, 0.0 to 1.0.
    pub fraction: f32,
    /// Mean number of packets lost in a row, at least 1.0; or `None` where the report does not tell.
    pub burst: Option<f32>,
}

/// Follows how losses come: one by one or in bursts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bursts {
    lost: f32,
    bursts: f32,
    newest: Option<SequenceNumber>,
}

impl Bursts {
    /// A packet was lost; told in the order of their numbers.
    pub fn handle_loss(&mut self, sequence: SequenceNumber) {
        let goes_on = self.newest.is_some_and(|newest| newest.next() == sequence);
        self.lost += 1.0;
        self.bursts += f32::from(u8::from(!goes_on));
        self.newest = Some(sequence);
        if self.lost >= LOSSES_REMEMBERED {
            (self.lost, self.bursts) = (self.lost / 2.0, self.bursts / 2.0);
        }
    }

    /// Mean number of packets lost in a row, at least 1.0; `None` before there were enough losses to tell.
    pub fn mean(&self) -> Option<f32> {
        (self.lost >= LOSSES_TOLD).then(|| self.lost / self.bursts.max(1.0))
    }
}

/// Losses over which the mean of bursts is, at most; then half of them are forgotten.
const LOSSES_REMEMBERED: f32 = 64.0;
/// Fewer say nothing.
const LOSSES_TOLD: f32 = 12.0;

/// In the order of what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Protection {
    #[default]
    None,
    Single,
    Double,
}

/// One copy from this loss on: 0.5 %, a hole every two seconds.
const SINGLE_FROM: f32 = 0.005;
/// Two copies from this loss on: one alone would leave a hole of two blocks more often than every ten seconds.
const DOUBLE_FROM: f32 = 0.02;
/// A step is taken back at half the loss it was made at, so that it is not taken over and over.
const BACK_AT: f32 = 0.5;
/// Losses are means over about this many reports, two seconds: a single one of 25 packets knows nothing of half a per
/// cent.
const SMOOTHING_REPORTS: f32 = 8.0;
/// Mean burst beyond which losses are not by chance: chance alone gives 1.25 at 20 %.
const BURST_FROM: f32 = 1.6;
/// Everybody in a room, and the server.
const REPORTERS_MAX: usize = ROOM_MEMBERS_MAX + 1;

impl Redundancy {
    /// Somebody reports on our audio.
    pub fn handle_losses(&mut self, reporter: MemberId, losses: Losses) {
        if self.paths.len() < REPORTERS_MAX || self.paths.contains_key(&reporter) {
            let path = self.paths.entry(reporter).or_default();
            path.fraction += (losses.fraction - path.fraction) / SMOOTHING_REPORTS;
            path.burst = path.smoothed_burst(losses);
            self.decide();
        }
    }

    /// Somebody does not get our audio any more.
    pub fn remove(&mut self, reporter: MemberId) {
        self.paths.remove(&reporter);
        self.decide();
    }

    /// How many blocks back the copies are that a packet should have, the nearest first.
    pub fn offsets(&self) -> &'static [u8] {
        let bursts = self.worst().burst.is_some_and(|burst| burst >= BURST_FROM);
        match self.protection {
            Protection::None => &[],
            Protection::Single if bursts => &[2],
            Protection::Single => &[1],
            Protection::Double if bursts => &[2, 4],
            Protection::Double => &[1, 3],
        }
    }

    fn decide(&mut self) {
        let fraction = self.worst().fraction;
        self.protection = wanted(fraction).max(self.protection.min(wanted(fraction / BACK_AT)));
    }

    /// Who loses most has to be helped; the others get the same packets.
    fn worst(&self) -> Losses {
        self.paths.values().copied().max_by(|a, b| a.fraction.total_cmp(&b.fraction)).unwrap_or_default()
    }
}

impl Losses {
    /// Reports without a loss say nothing of how losses come.
    fn smoothed_burst(self, news: Self) -> Option<f32> {
        let Some(burst) = news.burst.filter(|_| news.fraction > 0.0) else { return self.burst };
        let before = self.burst.unwrap_or(burst);
        Some(before + (burst - before) / SMOOTHING_REPORTS)
    }
}

fn wanted(fraction: f32) -> Protection {
    if fraction >= DOUBLE_FROM {
        Protection::Double
    } else if fraction >= SINGLE_FROM {
        Protection::Single
    } else {
        Protection::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(fraction: f32) -> Losses {
        Losses { fraction, burst: None }
    }

    /// The offsets after ten seconds of the same reports.
    fn settled(redundancy: &mut Redundancy, reporter: MemberId, losses: Losses) -> &'static [u8] {
        (0..40).for_each(|_| redundancy.handle_losses(reporter, losses));
        redundancy.offsets()
    }

    #[test]
    fn copies_come_with_losses() {
        let server = MemberId::SERVER;
        let after = |fraction| settled(&mut Redundancy::default(), server, losses(fraction));
        assert_eq!(after(0.0), &[] as &[u8]);
        assert_eq!(after(0.004), &[] as &[u8]);
        assert_eq!(after(0.01), &[1]);
        assert_eq!(after(0.03), &[1, 3]);
        assert_eq!(after(0.3), &[1, 3]);
    }

    #[test]
    fn one_lost_packet_is_no_reason() {
        let mut redundancy = Redundancy::default();
        redundancy.handle_losses(MemberId(1), losses(1.0 / 26.0));
        assert_eq!(redundancy.offsets(), &[] as &[u8]);
    }

    #[test]
    fn a_second_of_many_losses_is() {
        let mut redundancy = Redundancy::default();
        (0..4).for_each(|_| redundancy.handle_losses(MemberId(1), losses(0.1)));
        assert_eq!(redundancy.offsets(), &[1, 3]);
    }

    #[test]
    fn a_step_is_taken_back_at_half_the_loss() {
        let mut redundancy = Redundancy::default();
        let mut after = |fraction| settled(&mut redundancy, MemberId(1), losses(fraction));
        assert_eq!(after(0.025), &[1, 3]);
        assert_eq!(after(0.015), &[1, 3]);
        assert_eq!(after(0.008), &[1]);
        assert_eq!(after(0.004), &[1]);
        assert_eq!(after(0.001), &[] as &[u8]);
    }

    #[test]
    fn whoever_loses_most_decides_until_he_is_gone() {
        let mut redundancy = Redundancy::default();
        settled(&mut redundancy, MemberId(1), losses(0.1));
        assert_eq!(settled(&mut redundancy, MemberId(2), losses(0.0)), &[1, 3]);
        redundancy.remove(MemberId(1));
        assert_eq!(redundancy.offsets(), &[] as &[u8]);
    }

    #[test]
    fn bursts_are_told_from_losses_by_chance() {
        let mean = |lost: &dyn Fn(u16) -> bool| {
            let mut bursts = Bursts::default();
            (0..3_000).filter(|number| lost(*number)).for_each(|number| bursts.handle_loss(SequenceNumber(number)));
            bursts.mean()
        };
        assert_eq!(mean(&|number| number == 7), None);
        assert_eq!(mean(&|number| number % 20 == 0), Some(1.0));
        assert!(mean(&|number| number % 40 < 3).is_some_and(|burst| (2.8..3.2).contains(&burst)));
    }

    #[test]
    fn copies_stand_apart_where_losses_come_in_bursts() {
        let bursts = |fraction, burst| Losses { fraction, burst: Some(burst) };
        let mut redundancy = Redundancy::default();
        assert_eq!(settled(&mut redundancy, MemberId(1), bursts(0.1, 3.0)), &[2, 4]);
        assert_eq!(settled(&mut redundancy, MemberId(1), bursts(0.1, 1.2)), &[1, 3]);
        settled(&mut redundancy, MemberId(1), bursts(0.01, 3.0));
        assert_eq!(settled(&mut redundancy, MemberId(1), bursts(0.0, 1.0)), &[] as &[u8], "and no news of bursts");
    }
}
