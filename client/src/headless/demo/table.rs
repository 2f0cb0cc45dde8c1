//! What each of the three received, as a table.

use std::time::Duration;

use common::ids::{MemberId, StreamKind};
use common::limits::AUDIO_BLOCK_SAMPLES;
use common::picture::ladder::Rung;
use common::stats::{InboundMedia, InboundStream};
use common::wire::message::Recipients;

use super::person::{Frames, Seen};
use super::script::Played;
use crate::headless::terminal::say;

/// Prints everything.
pub(super) fn print(played: &Played) {
    for (name, you, seen) in &played.people {
        say("");
        say(&heading(name, seen));
        say("  from  pictures by size            fps  incomplete  video kbit/s  loss    jitter");
        for (other, id, _) in others(played, *you) {
            say(&video_row(other, *id, seen));
        }
        say("  from  blocks played  concealed  playout delay  audio kbit/s  loss    jitter");
        for (other, id, _) in others(played, *you) {
            say(&audio_row(other, *id, seen));
        }
        say(&chat_row(*you, seen));
    }
    print_files(played);
    say("");
    say(&format!("Join time (admitted to first picture): {}", list(&played.join_times)));
    say(&format!(
        "Chat latency (written to read), median and worst of {}: {} and {}",
        played.chat_latencies.len(),
        median(&played.chat_latencies).map_or("-".into(), millis),
        played.chat_latencies.iter().max().copied().map_or("-".into(), millis)
    ));
}

fn others(played: &Played, you: MemberId) -> impl Iterator<Item = &(&'static str, MemberId, Seen)> {
    played.people.iter().filter(move |(_, id, _)| *id != you)
}

fn heading(name: &str, seen: &Seen) -> String {
    let snapshot = seen.snapshot.as_deref();
    let round_trip = median(&seen.round_trips).map_or("-".into(), millis);
    let rate = |rate: Option<u64>| rate.map_or("-".into(), |rate| format!("{} kbit/s", rate / 1_000));
    format!(
        "{name} received (round trip {round_trip}, down {}, up {}, sends {})",
        rate(snapshot.map(|snapshot| snapshot.received_bitrate_bps)),
        rate(snapshot.map(|snapshot| snapshot.sent_bitrate_bps)),
        snapshot.map_or("-", |snapshot| snapshot.video_target.rung.name),
    )
}

fn stream(seen: &Seen, member: MemberId, kind: StreamKind) -> Option<&InboundStream> {
    let inbound = &seen.snapshot.as_deref()?.inbound;
    inbound.iter().find(|stream| stream.ssrc.member() == member && stream.ssrc.kind() == kind)
}

fn video_row(name: &str, member: MemberId, seen: &Seen) -> String {
    let frames = seen.frames.get(&member).cloned().unwrap_or_default();
    let stream = stream(seen, member, StreamKind::Video);
    let incomplete = stream.map_or(0, |stream| match stream.media {
        InboundMedia::Video { frames, .. } => frames.frames_incomplete,
        InboundMedia::Audio { .. } => 0,
    });
    format!(
        "  {name:<5} {:<26}  {:>4.1}  {incomplete:>10}  {:>12}  {}",
        sizes(&frames),
        frames_per_second(&frames),
        stream.map_or(0, |stream| stream.bitrate_bps / 1_000),
        loss_and_jitter(stream),
    )
}

fn audio_row(name: &str, member: MemberId, seen: &Seen) -> String {
    let stream = stream(seen, member, StreamKind::Audio);
    let (played, concealed, delay) = stream.map_or((0, 0, Duration::ZERO), |stream| match stream.media {
        InboundMedia::Audio { playout, playout_delay, .. } => {
            let blocks = [playout.jitter_buffer_emitted_count, playout.concealed_samples]
                .map(|n| n / AUDIO_BLOCK_SAMPLES as u64);
            (blocks[0], blocks[1], playout_delay)
        }
        InboundMedia::Video { .. } => (0, 0, Duration::ZERO),
    });
    format!(
        "  {name:<5} {played:>13}  {concealed:>9}  {:>13}  {:>12}  {}",
        millis(delay),
        stream.map_or(0, |stream| stream.bitrate_bps / 1_000),
        loss_and_jitter(stream),
    )
}

/// Over the whole meeting; the rates beside it are of the last second.
fn loss_and_jitter(stream: Option<&InboundStream>) -> String {
    let Some(stream) = stream else {
        return "-       -".into();
    };
    let expected = stream.packets_received as f64 + stream.packets_lost as f64;
    let loss = if expected > 0.0 { stream.packets_lost as f64 / expected * 100.0 } else { 0.0 };
    format!("{loss:>5.2} %  {}", stream.jitter.map_or_else(|| "-".into(), millis))
}

fn sizes(frames: &Frames) -> String {
    let name = |height: &usize| {
        let rung = Rung::ALL.iter().find(|rung| usize::from(rung.height) == *height);
        rung.map_or_else(|| format!("{height}p"), |rung| rung.name.to_owned())
    };
    let sizes: Vec<_> = frames.by_height.iter().map(|(height, count)| format!("{count} × {}", name(height))).collect();
    if sizes.is_empty() { "none".into() } else { sizes.join(", ") }
}

fn frames_per_second(frames: &Frames) -> f64 {
    let span =
        frames.first.zip(frames.last).map_or(Duration::ZERO, |(first, last)| last.saturating_duration_since(first));
    if span.is_zero() { 0.0 } else { (frames.total() - 1) as f64 / span.as_secs_f64() }
}

fn chat_row(you: MemberId, seen: &Seen) -> String {
    let received = seen.chats.iter().filter(|(_, line)| line.from != you);
    let (public, private): (Vec<_>, Vec<_>) = received.partition(|(_, line)| line.to == Recipients::Everyone);
    format!("  chat: {} to everyone, {} to {} alone", public.len(), private.len(), "this person")
}

fn print_files(played: &Played) {
    say("");
    say("  file         from  to   bytes     hash   time");
    for transfer in &played.transfers {
        let rate =
            transfer.time.filter(|time| !time.is_zero()).map(|time| transfer.bytes as f64 * 8e-6 / time.as_secs_f64());
        let time = transfer.time.map_or("-".into(), millis);
        let rate = rate.map_or(String::new(), |rate| format!(", {rate:.1} Mbit/s"));
        let hash = if transfer.intact { "equal" } else { "NOT EQUAL, or not there yet" };
        say(&format!(
            "  {:<11}  {:<4}  {:<3}  {:>8}  {hash}  {time}{rate}",
            transfer.name, transfer.from, transfer.to, transfer.bytes
        ));
    }
}

fn list(times: &[Duration]) -> String {
    let times: Vec<_> = times.iter().copied().map(millis).collect();
    if times.is_empty() { "-".into() } else { times.join(", ") }
}

/// The middle one, the lower of two.
pub(super) fn median(times: &[Duration]) -> Option<Duration> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        let times = [5, 1, 9].map(Duration::from_millis);
        assert_eq!(median(&times), Some(Duration::from_millis(5)));
        assert_eq!(median(&times[..2]), Some(Duration::from_millis(1)));
        assert_eq!(median(&[]), None);
    }
}
