//! What all members had together: losses by the sequence numbers of each stream at each receiver, and streams that
//! should have been there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::ids::{MemberId, Ssrc, StreamKind};

use super::config::LoadConfig;
use super::latency::Latencies;
use super::member::{Harvest, Reception};
use super::report::{LoadReport, MediaReport};
use super::tally::{KindTally, Tally};

/// The loudest speakers of a room whom a server forwards at least; the quieter ones it may leave out.
const LOUDEST: usize = 4;
/// A stream of which nothing came for this long before the end was not there: many frames, and a pause that is heard.
const ALIVE: Duration = Duration::from_secs(1);

/// Puts into the report what drivers counted; `silence` is when they were told to send no more.
pub(super) fn add_up(
    report: &mut LoadReport,
    config: &LoadConfig,
    tally: &Tally,
    members: &[Harvest],
    silence: Instant,
) {
    let flooder = members.iter().find(|member| member.place.floods).map(|member| (member.place.room, member.you));
    let counted: Vec<_> = members.iter().filter(|member| !member.place.floods).collect();
    let of_kind = |kind| {
        let streams = counted.iter().flat_map(|member| {
            let ignored = flooder.filter(|(room, _)| *room == member.place.room).map(|(_, flooder)| flooder);
            member
                .streams
                .iter()
                .filter(move |stream| stream.ssrc.kind() == kind && Some(stream.ssrc.member()) != ignored)
        });
        streams.copied().collect::<Vec<_>>()
    };
    let secs = report.measured.as_secs_f64();
    report.audio = media(&tally.audio, &of_kind(StreamKind::Audio), secs);
    report.video = media(&tally.video, &of_kind(StreamKind::Video), secs);
    report.round_trip = tally.round_trip.percentiles();
    report.streams_missing = missing(config, &counted, silence);
    report.generator.lateness = tally.lateness.percentiles();
    report.generator.wait = tally.wait.percentiles();
    report.generator.skipped = tally.skipped;
    report.generator.unsent = tally.unsent;
    report.generator.discarded = tally.discarded;
    // A host comes into an empty room: what it waits for is the first guest.
    let guests = || counted.iter().filter(|member| member.place.index > 0);
    report.joins.to_first_video = collected(guests().filter_map(|member| member.first_video));
    report.joins.to_first_picture = collected(guests().filter_map(|member| member.first_picture));
}

fn collected(times: impl Iterator<Item = Duration>) -> super::Percentiles {
    let mut latencies = Latencies::new();
    times.for_each(|time| latencies.record(time));
    latencies.percentiles()
}

fn media(tally: &KindTally, streams: &[Reception], secs: f64) -> MediaReport {
    let received = streams.iter().map(|stream| stream.received).sum();
    // A doubled datagram makes up for no lost one.
    let lost = streams.iter().map(|stream| stream.lost.max(0).unsigned_abs()).sum();
    let per_second = |bytes: u64| (bytes as f64 * 8.0 / secs.max(f64::EPSILON)) as u64;
    MediaReport {
        sent: tally.sent,
        expected: received + lost,
        received,
        lost,
        streams: streams.iter().filter(|stream| stream.received > 0).count(),
        latency: tally.latency.percentiles(),
        sent_bps: per_second(tally.sent_bytes),
        received_bps: per_second(tally.received_bytes),
    }
}

/// Streams that somebody should have received and did not at the end.
fn missing(config: &LoadConfig, members: &[&Harvest], silence: Instant) -> usize {
    let mut rooms: BTreeMap<usize, Vec<&Harvest>> = BTreeMap::new();
    for member in members {
        rooms.entry(member.place.room).or_default().push(member);
    }
    rooms.values_mut().map(|room| missing_in_room(config, room, silence)).sum()
}

fn missing_in_room(config: &LoadConfig, room: &mut [&Harvest], silence: Instant) -> usize {
    room.sort_by_key(|member| member.place.index);
    let ssrc = |kind| move |member: &&Harvest| Ssrc::new(member.you, kind);
    let senders = room.iter().filter(|member| member.place.index < config.senders()).map(ssrc(StreamKind::Video));
    // The louder, the lower the index.
    let speakers = room.iter().filter(|member| member.place.index < config.speakers()).take(LOUDEST);
    let sent: Vec<_> = senders.chain(speakers.map(ssrc(StreamKind::Audio))).collect();
    let wanted = |you: MemberId| sent.iter().filter(move |ssrc| ssrc.member() != you);
    room.iter().map(|member| wanted(member.you).filter(|ssrc| !arrives(member, **ssrc, silence)).count()).sum()
}

fn arrives(member: &Harvest, ssrc: Ssrc, silence: Instant) -> bool {
    let stream = member.streams.iter().find(|stream| stream.ssrc == ssrc);
    stream.is_some_and(|stream| silence.saturating_duration_since(stream.newest) < ALIVE)
}

#[cfg(test)]
mod tests {
    use super::super::member::Place;
    use super::super::tally::Live;
    use super::*;
    use common::picture::ladder::Rung;
    use std::sync::Arc;

    fn reception(member: u16, kind: StreamKind, newest: Instant, lost: i64) -> Reception {
        Reception { ssrc: Ssrc::new(MemberId(member), kind), received: 100, lost, newest }
    }

    /// A member of room 0 who received the video of these others, the last one lossy.
    fn harvest(index: usize, from: &[u16], newest: Instant) -> Harvest {
        let streams = from.iter().map(|member| reception(*member, StreamKind::Video, newest, 10)).collect();
        let place = Place { room: 0, index, floods: index == 3 };
        let first = Some(Duration::from_millis(index as u64));
        Harvest { place, you: MemberId(index as u16 + 1), first_video: first, first_picture: first, streams }
    }

    fn added_up(members: &[Harvest], silence: Instant) -> LoadReport {
        let config = LoadConfig { members: 3, video: Some(Rung::ALL[0]), ..LoadConfig::default() };
        let mut report = LoadReport { measured: Duration::from_secs(1), ..LoadReport::default() };
        add_up(&mut report, &config, &Tally::new(Arc::new(Live::default())), members, silence);
        report
    }

    #[test]
    fn loss_is_that_of_each_stream_at_each_receiver() {
        let now = Instant::now();
        let members = [harvest(0, &[2, 3], now), harvest(1, &[1, 3], now), harvest(2, &[1, 2], now)];
        let report = added_up(&members, now);
        assert_eq!((report.video.received, report.video.lost, report.video.expected), (600, 60, 660));
        assert_eq!((report.video.streams, report.streams_missing), (6, 0));
        assert_eq!(report.joins.to_first_picture.count, 2, "the host waits for a guest, not for the server");
    }

    #[test]
    fn who_floods_is_in_no_figure() {
        let now = Instant::now();
        let members = [
            harvest(0, &[2, 3, 4], now),
            harvest(1, &[1, 3, 4], now),
            harvest(2, &[1, 2, 4], now),
            harvest(3, &[1], now),
        ];
        let report = added_up(&members, now);
        assert_eq!((report.video.received, report.streams_missing), (600, 0));
    }

    #[test]
    fn a_stream_that_ended_early_or_never_came_is_missing() {
        let now = Instant::now();
        let early = harvest(0, &[2, 3], now);
        let members = [early, harvest(1, &[1], now + ALIVE), harvest(2, &[1, 2], now + ALIVE)];
        assert_eq!(added_up(&members, now + ALIVE).streams_missing, 3);
    }
}
