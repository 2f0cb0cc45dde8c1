//! One sentence about the network: what is wrong, and on whose side.
//!
//! Every media packet is counted at its sender, at the server and at its receiver, so a loss can be placed: what the
//! server misses of ours is lost on our uplink; what a receiver misses and the server has is lost on that receiver's
//! downlink. What is missing of the server's own numbers is lost on our downlink, and what else we miss of somebody, before
//! it came to the server.

use std::collections::BTreeMap;
use std::time::Duration;

use common::ids::{MemberId, Ssrc};
use common::stats::{InboundStream, NetworkSnapshot, RemoteInbound};

/// Loss that is worth a word: two of the hundred audio packets of a second.
const LOSS_FAIR: f32 = 0.02;
/// Loss that is heard: concealment does not hide every tenth packet.
const LOSS_POOR: f32 = 0.10;
/// Jitter that is worth a word: three blocks of audio.
const JITTER_FAIR: Duration = Duration::from_millis(30);
/// Jitter that costs more delay than a conversation likes.
const JITTER_POOR: Duration = Duration::from_millis(100);
/// Round trip at which both ways together leave the 150 ms of ITU-T G.114 for one.
const ROUND_TRIP_FAIR: Duration = Duration::from_millis(200);
/// Round trip at which people talk over each other.
const ROUND_TRIP_POOR: Duration = Duration::from_millis(400);

/// A queue that is worth a word: more than any frame of video makes.
const QUEUE_FAIR: Duration = Duration::from_millis(100);
/// A queue in which people talk over each other.
const QUEUE_POOR: Duration = Duration::from_millis(250);

/// How the network is, worst last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quality {
    /// Nothing was measured yet.
    #[default]
    Unknown,
    /// Nobody notices anything.
    Good,
    /// It is noticed.
    Fair,
    /// It is in the way.
    Poor,
}

/// What is to be said about the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// How bad it is.
    pub quality: Quality,
    /// One sentence for a person.
    pub sentence: String,
}

impl Default for Diagnosis {
    fn default() -> Self {
        Self { quality: Quality::Unknown, sentence: "Measuring the network.".into() }
    }
}

/// The sentence of [`examine`].
pub fn diagnose(snapshot: &NetworkSnapshot, names: &BTreeMap<MemberId, String>) -> String {
    examine(snapshot, names).sentence
}

/// Says what is wrong with the network and on whose side, the worst thing first.
///
/// `names` are the members by their ids; one who is missing there is called by number.
pub fn examine(snapshot: &NetworkSnapshot, names: &BTreeMap<MemberId, String>) -> Diagnosis {
    if let Some(silent) = snapshot.silent_for {
        let sentence = format!("Nothing has come from the server for {} s.", silent.as_secs());
        return Diagnosis { quality: Quality::Poor, sentence };
    }
    if snapshot.round_trip_time.is_none() && snapshot.inbound.is_empty() {
        return Diagnosis::default();
    }
    let findings =
        [worst(lost(snapshot, names)), worst(waiting(snapshot)), worst(wandering(snapshot, names)), slow(snapshot)];
    // The order of the findings breaks a tie: loss is heard before jitter, and jitter before delay. A queue is the cause of
    // both.
    findings
        .into_iter()
        .flatten()
        .rev()
        .max_by_key(|finding| finding.quality)
        .unwrap_or(Diagnosis { quality: Quality::Good, sentence: "All good.".into() })
}

/// A number measured on one leg.
struct Measured {
    leg: Leg,
    loss: f32,
    jitter: Duration,
}

/// A part of the way of our packets, or of those to us.
#[derive(Clone, Copy)]
enum Leg {
    /// Between us and the server, towards it.
    OurUplink,
    /// Between the server and us, towards us.
    OurDownlink,
    /// From this member to the server.
    Uplink(MemberId),
    /// From the server to this member.
    Downlink(MemberId),
    /// From this member to us; only one person sends, so the two halves cannot be told apart.
    From(MemberId),
}

impl Leg {
    fn name(self, names: &BTreeMap<MemberId, String>) -> String {
        let name = |member: MemberId| match names.get(&member) {
            Some(name) => format!("{name}'s"),
            None => format!("member {member}'s"),
        };
        match self {
            Self::OurUplink => "Your uplink".into(),
            Self::OurDownlink => "Your downlink".into(),
            Self::Uplink(member) => capitalised(format!("{} uplink", name(member))),
            Self::Downlink(member) => capitalised(format!("{} downlink", name(member))),
            Self::From(member) => format!("Your downlink or {} uplink", name(member)),
        }
    }
}

fn capitalised(text: String) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn lost(snapshot: &NetworkSnapshot, names: &BTreeMap<MemberId, String>) -> Vec<(f64, Diagnosis)> {
    let finding = |measured: Measured| {
        let quality = grade(measured.loss, LOSS_FAIR, LOSS_POOR)?;
        let percent = f64::from(measured.loss) * 100.0;
        let leg = measured.leg.name(names);
        let sentence = format!("{leg} loses {percent:.0} % of packets.");
        Some((percent, Diagnosis { quality, sentence }))
    };
    losing(snapshot).into_iter().filter_map(finding).collect()
}

fn wandering(snapshot: &NetworkSnapshot, names: &BTreeMap<MemberId, String>) -> Vec<(f64, Diagnosis)> {
    let finding = |measured: Measured| {
        let quality = grade(measured.jitter, JITTER_FAIR, JITTER_POOR)?;
        let millis = measured.jitter.as_secs_f64() * 1_000.0;
        let leg = measured.leg.name(names);
        let sentence = format!("{leg} is unsteady: packets come {millis:.0} ms early or late.");
        Some((millis, Diagnosis { quality, sentence }))
    };
    unsteady(snapshot).into_iter().filter_map(finding).collect()
}

fn waiting(snapshot: &NetworkSnapshot) -> Vec<(f64, Diagnosis)> {
    let finding = |(name, queue): (&str, Option<Duration>)| {
        let queue = queue?;
        let quality = grade(queue, QUEUE_FAIR, QUEUE_POOR)?;
        let millis = queue.as_secs_f64() * 1e3;
        let sentence = format!("Your {name} is full: packets wait {millis:.0} ms.");
        Some((millis, Diagnosis { quality, sentence }))
    };
    let hops = [("uplink", snapshot.uplink.queueing_delay), ("downlink", snapshot.downlink.queueing_delay)];
    hops.into_iter().filter_map(finding).collect()
}

fn slow(snapshot: &NetworkSnapshot) -> Option<Diagnosis> {
    let round_trip = snapshot.round_trip_time?;
    let quality = grade(round_trip, ROUND_TRIP_FAIR, ROUND_TRIP_POOR)?;
    let millis = round_trip.as_millis();
    let sentence = format!("Your way to the server is long: {millis} ms there and back.");
    Some(Diagnosis { quality, sentence })
}

fn worst(findings: Vec<(f64, Diagnosis)>) -> Option<Diagnosis> {
    let worse = |a: &(f64, Diagnosis), b: &(f64, Diagnosis)| a.0.total_cmp(&b.0);
    findings.into_iter().max_by(worse).map(|(_, worst)| worst)
}

fn grade<T: PartialOrd>(value: T, fair: T, poor: T) -> Option<Quality> {
    if value >= poor {
        Some(Quality::Poor)
    } else if value >= fair {
        Some(Quality::Fair)
    } else {
        None
    }
}

/// Every leg with the loss that was measured on it.
fn losing(snapshot: &NetworkSnapshot) -> Vec<Measured> {
    let downlink = snapshot.downlink.fraction_lost.unwrap_or_default();
    let before = |stream: &InboundStream| {
        // Of what the server had, so much more is missing than got lost on the way from there.
        let loss = (stream.fraction_lost.unwrap_or_default() - downlink).max(0.0) / (1.0 - downlink).max(0.01);
        measured(Leg::Uplink(stream.ssrc.member()), loss, Duration::ZERO)
    };
    let mut legs = vec![measured(Leg::OurDownlink, downlink, Duration::ZERO)];
    legs.extend(snapshot.inbound.iter().map(before));
    legs.extend(snapshot.outbound.iter().flat_map(|stream| outbound_legs(stream.ssrc, &stream.remote)));
    legs
}

/// Every leg with the jitter that was measured on it.
fn unsteady(snapshot: &NetworkSnapshot) -> Vec<Measured> {
    let mut legs = Vec::new();
    let jitter = |stream: &InboundStream| stream.jitter.unwrap_or_default();
    let bad = |stream: &&InboundStream| jitter(stream) >= JITTER_FAIR;
    let senders = members(snapshot.inbound.iter());
    let bad_senders = members(snapshot.inbound.iter().filter(bad));
    let all_bad = senders.len() > 1 && bad_senders.len() == senders.len();
    for stream in snapshot.inbound.iter().filter(bad) {
        let leg = match stream.ssrc.member() {
            _ if all_bad => Leg::OurDownlink,
            member if senders.len() == 1 => Leg::From(member),
            member => Leg::Uplink(member),
        };
        legs.push(measured(leg, 0.0, jitter(stream)));
    }
    legs.extend(snapshot.outbound.iter().flat_map(|stream| outbound_legs(stream.ssrc, &stream.remote)));
    legs
}

fn outbound_legs(ssrc: Ssrc, remote: &[RemoteInbound]) -> Vec<Measured> {
    let server = remote.iter().find(|report| report.reporter == MemberId::SERVER);
    let (first_loss, first_jitter) =
        server.map_or((0.0, Duration::ZERO), |report| (report.fraction_lost, report.jitter));
    let leg = |report: &RemoteInbound| {
        if report.reporter == MemberId::SERVER {
            return Some(measured(Leg::OurUplink, first_loss, first_jitter));
        }
        // A member counts end to end, so the first hop's share is taken off.
        (report.reporter != ssrc.member()).then(|| {
            let loss = (report.fraction_lost - first_loss).max(0.0);
            let jitter = report.jitter.saturating_sub(first_jitter);
            measured(Leg::Downlink(report.reporter), loss, jitter)
        })
    };
    remote.iter().filter_map(leg).collect()
}

fn measured(leg: Leg, loss: f32, jitter: Duration) -> Measured {
    Measured { leg, loss, jitter }
}

fn members<'a>(streams: impl Iterator<Item = &'a InboundStream>) -> Vec<MemberId> {
    let mut members: Vec<_> = streams.map(|stream| stream.ssrc.member()).collect();
    members.sort_unstable();
    members.dedup();
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::samples;

    fn names() -> BTreeMap<MemberId, String> {
        let named = |(id, name): (u16, &str)| (MemberId(id), name.to_owned());
        [(1, "Ana"), (2, "Bo"), (3, "Cleo")].map(named).into()
    }

    fn said(change: impl FnOnce(&mut NetworkSnapshot)) -> String {
        let mut snapshot = samples::snapshot(100);
        change(&mut snapshot);
        diagnose(&snapshot, &names())
    }

    #[test]
    fn a_clean_network_is_all_good() {
        assert_eq!(said(|_| ()), "All good.");
    }

    #[test]
    fn nothing_measured_is_nothing_said() {
        assert_eq!(diagnose(&NetworkSnapshot::default(), &names()), "Measuring the network.");
    }

    #[test]
    fn silence_is_said_with_its_length_and_nothing_else_is() {
        let sentence = said(|snapshot| {
            snapshot.silent_for = Some(Duration::from_millis(7_900));
            snapshot.downlink.fraction_lost = Some(0.5);
        });
        assert_eq!(sentence, "Nothing has come from the server for 7 s.");
    }

    #[test]
    fn one_packet_in_a_hundred_and_a_busy_machine_are_no_complaint() {
        let busy = |snapshot: &mut NetworkSnapshot| {
            for stream in &mut snapshot.inbound {
                stream.fraction_lost = Some(0.01);
                stream.jitter = Some(Duration::from_millis(20));
            }
        };
        assert_eq!(said(busy), "All good.");
    }

    #[test]
    fn what_the_server_misses_is_lost_on_our_uplink() {
        let sentence = said(|snapshot| {
            for remote in &mut snapshot.outbound[0].remote {
                remote.fraction_lost = 0.05;
            }
        });
        assert_eq!(sentence, "Your uplink loses 5 % of packets.");
    }

    #[test]
    fn what_only_a_receiver_misses_is_lost_on_its_downlink() {
        let sentence = said(|snapshot| {
            let remote = &mut snapshot.outbound[0].remote;
            remote.retain(|report| report.reporter == MemberId::SERVER);
            remote.push(RemoteInbound { reporter: MemberId(2), fraction_lost: 0.12, ..remote[0].clone() });
        });
        assert_eq!(sentence, "Bo's downlink loses 12 % of packets.");
    }

    #[test]
    fn what_the_server_sent_and_did_not_come_is_lost_on_our_downlink() {
        let sentence = said(|snapshot| {
            snapshot.downlink.fraction_lost = Some(0.06);
            snapshot.inbound.iter_mut().for_each(|stream| stream.fraction_lost = Some(0.06));
        });
        assert_eq!(sentence, "Your downlink loses 6 % of packets.");
    }

    #[test]
    fn what_else_is_missing_of_somebody_is_lost_on_that_ones_uplink() {
        let with_one = |snapshot: &mut NetworkSnapshot| {
            snapshot.inbound.retain(|stream| stream.ssrc.member() == MemberId(2));
            snapshot.inbound[0].fraction_lost = Some(0.08);
        };
        assert_eq!(said(with_one), "Bo's uplink loses 8 % of packets.");
        let on_both = said(|snapshot| {
            snapshot.downlink.fraction_lost = Some(0.03);
            snapshot.inbound[0].fraction_lost = Some(0.103);
        });
        assert_eq!(on_both, "Bo's uplink loses 8 % of packets.");
    }

    #[test]
    fn a_queue_is_named_with_its_side() {
        let sentence = said(|snapshot| {
            snapshot.downlink.queueing_delay = Some(Duration::from_millis(290));
            snapshot.inbound.iter_mut().for_each(|stream| stream.jitter = Some(Duration::from_millis(45)));
        });
        assert_eq!(sentence, "Your downlink is full: packets wait 290 ms.");
    }

    #[test]
    fn the_worst_thing_is_said() {
        let mut snapshot = samples::snapshot(100);
        snapshot.round_trip_time = Some(Duration::from_millis(500));
        snapshot.inbound[0].fraction_lost = Some(0.03);
        let diagnosis = examine(&snapshot, &names());
        assert_eq!(diagnosis.quality, Quality::Poor);
        assert_eq!(diagnosis.sentence, "Your way to the server is long: 500 ms there and back.");
    }

    #[test]
    fn jitter_is_named_with_its_side() {
        let sentence = said(|snapshot| {
            for stream in &mut snapshot.inbound {
                stream.jitter = Some(Duration::from_millis(45));
            }
        });
        assert_eq!(sentence, "Your downlink is unsteady: packets come 45 ms early or late.");
    }
}
