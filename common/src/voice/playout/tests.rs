//! A speaker, a network and a sound card in virtual time.

use super::*;
use crate::virtual_time;
use crate::voice::pcm;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A speaker's packets: where they are in the stream and when they arrive, microseconds from the start.
#[derive(Clone, Copy)]
struct Arrival {
    at: u64,
    sequence: u32,
    block: u32,
}

/// Sends `blocks` of which `sent` tells whether each exists, over a path that `delays` or loses (`None`).
fn arrivals(blocks: u32, sent: impl Fn(u32) -> bool, mut path: impl FnMut(u32) -> Option<u64>) -> Vec<Arrival> {
    let numbered = (0..blocks).filter(|block| sent(*block)).enumerate();
    let arrive = |(sequence, block): (usize, u32)| {
        let at = u64::from(block) * 10_000 + path(block)?;
        Some(Arrival { at, sequence: sequence as u32, block })
    };
    let mut arrivals: Vec<_> = numbered.filter_map(arrive).collect();
    arrivals.sort_by_key(|arrival| arrival.at);
    arrivals
}

/// Adds copies of the blocks before, as the packets that arrive hold them.
fn with_copies(arrivals: &[Arrival], offsets: &[u32]) -> Vec<Arrival> {
    let copies = |arrival: &Arrival| {
        let Arrival { at, sequence, block } = *arrival;
        let earlier =
            |offset: &u32| Some(Arrival { at, sequence: sequence.checked_sub(*offset)?, block: block - offset });
        let copies: Vec<_> = offsets.iter().filter_map(earlier).collect();
        [vec![*arrival], copies].concat()
    };
    arrivals.iter().flat_map(copies).collect()
}

/// What the sound card got, and what is left of the buffer.
struct Heard {
    pulled: Vec<Pulled>,
    samples: Vec<i16>,
    longest_target: Duration,
    buffer: PlayoutBuffer,
}

impl Heard {
    fn count(&self, kind: Pulled) -> usize {
        self.pulled.iter().filter(|pulled| **pulled == kind).count()
    }

    fn share_concealed(&self) -> f64 {
        self.buffer.statistics().concealed_share()
    }

    fn concealed_blocks(&self) -> u64 {
        self.buffer.statistics().concealed_samples / AUDIO_BLOCK_SAMPLES as u64
    }
}

/// A loud voice with a period of 200 samples.
fn voice(block: u32) -> Block {
    let first = block as usize * AUDIO_BLOCK_SAMPLES;
    std::array::from_fn(|i| if (first + i) % 200 < 70 { 3_000 } else { -1_500 })
}

/// Blocks that can be told apart and cut anywhere.
fn counting(block: u32) -> Block {
    [(block % 20_000) as i16; AUDIO_BLOCK_SAMPLES]
}

/// A card that takes `burst` blocks at once, and whose step is `step_nanos` long.
struct Card {
    step_nanos: u64,
    burst: u32,
}

const CARD: Card = Card { step_nanos: 10_000_000, burst: 1 };

/// Plays what arrives, block by block of `sound`.
fn hear_on(card: &Card, arrivals: &[Arrival], steps: u32, sound: fn(u32) -> Block) -> Heard {
    let start = virtual_time();
    let mut heard =
        Heard { pulled: Vec::new(), samples: Vec::new(), longest_target: Duration::ZERO, buffer: PlayoutBuffer::new() };
    let mut arrivals = arrivals.iter().peekable();
    for step in 0..steps {
        // The card's clock has nothing to do with the sender's: it begins 3.7 ms later.
        let elapsed = 3_700 + u64::from(step / card.burst * card.burst) * card.step_nanos / 1_000;
        while let Some(arrival) = arrivals.next_if(|arrival| arrival.at <= elapsed) {
            let sequence = SequenceNumber(arrival.sequence.wrapping_add(65_000) as u16);
            let timestamp = MediaTime((arrival.block * 480).wrapping_add(u32::MAX - 100_000));
            let now = start + Duration::from_micros(arrival.at);
            heard.buffer.handle_block(now, sequence, timestamp, &sound(arrival.block));
        }
        let mut block = [1; AUDIO_BLOCK_SAMPLES];
        heard.pulled.push(heard.buffer.pull(start + Duration::from_micros(elapsed), &mut block));
        heard.samples.extend_from_slice(&block);
        heard.longest_target = heard.longest_target.max(heard.buffer.target_delay());
    }
    heard
}

fn hear(arrivals: &[Arrival], steps: u32) -> Heard {
    hear_on(&CARD, arrivals, steps, voice)
}

/// RFC 8868 §3.1: |N(0, 5 ms)|, cut off at 15 ms.
fn jitter_micros(random: &mut StdRng) -> u64 {
    let normal = loop {
        let (a, b): (f64, f64) = (random.random(), random.random());
        let normal = (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        if normal.abs() <= 3.0 {
            break normal;
        }
    };
    (normal.abs() * 5_000.0) as u64
}

const MILLI: Duration = Duration::from_millis(1);

#[test]
fn an_even_stream_is_played_whole_and_in_order_after_40_ms() {
    let heard = hear(&arrivals(500, |_| true, |_| Some(20_000)), 500);
    let silent = heard.pulled.iter().take_while(|pulled| **pulled == Pulled::Silence).count();
    // 20 ms on the way, 40 ms of delay, up to 10 ms until the card's next step.
    assert!((6..=7).contains(&silent), "{silent}");
    assert!(heard.pulled[silent..].iter().all(|pulled| *pulled == Pulled::Played));
    let statistics = heard.buffer.statistics();
    assert_eq!((statistics.concealed_samples, statistics.packets_discarded), (0, 0));
    assert_eq!(statistics.inserted_samples_for_deceleration, 0);
}

#[test]
fn an_even_stream_comes_down_to_the_shortest_delay_within_five_seconds() {
    let heard = hear(&arrivals(500, |_| true, |_| Some(20_000)), 500);
    assert_eq!(heard.buffer.target_delay(), 10 * MILLI);
    let delay = heard.buffer.playout_delay();
    assert!((10 * MILLI..25 * MILLI).contains(&delay), "{delay:?}");
}

#[test]
fn jitter_as_rfc_8868_has_it_is_absorbed_within_60_ms() {
    for seed in 0..5 {
        let mut random = StdRng::seed_from_u64(seed);
        let heard = hear(&arrivals(6_000, |_| true, |_| Some(jitter_micros(&mut random))), 6_000);
        assert!(heard.share_concealed() <= 0.01, "{}", heard.share_concealed());
        assert!(heard.longest_target <= 60 * MILLI, "{:?}", heard.longest_target);
        assert!(heard.buffer.playout_delay() <= 60 * MILLI, "{:?}", heard.buffer.playout_delay());
    }
}

#[test]
fn a_twentieth_lost_is_a_twentieth_concealed() {
    for seed in 0..5 {
        let mut random = StdRng::seed_from_u64(seed);
        let path = |_| random.random_ratio(19, 20).then(|| jitter_micros(&mut random));
        let heard = hear(&arrivals(6_000, |_| true, path), 6_000);
        assert!((0.035..=0.065).contains(&heard.share_concealed()), "{}", heard.share_concealed());
        assert_eq!(heard.count(Pulled::Silence), heard.pulled.iter().position(|p| *p != Pulled::Silence).unwrap());
    }
}

#[test]
fn stalls_of_a_bad_radio_lengthen_the_delay_until_they_fit() {
    let mut random = StdRng::seed_from_u64(11);
    let mut free_at = 0;
    // About once a second nothing comes through for 20 to 80 ms.
    let path = |block: u32| {
        let sent = u64::from(block) * 10_000;
        if random.random_ratio(1, 100) {
            free_at = sent + random.random_range(20_000..80_000);
        }
        Some(free_at.saturating_sub(sent).max(5_000))
    };
    let heard = hear(&arrivals(12_000, |_| true, path), 12_000);
    assert!(heard.share_concealed() < 0.02, "{}", heard.share_concealed());
    assert!(heard.buffer.target_delay() >= 60 * MILLI);
    assert!(heard.longest_target <= 100 * MILLI, "{:?}", heard.longest_target);
}

#[test]
fn clocks_that_run_apart_neither_build_up_delay_nor_run_dry() {
    for step_nanos in [9_998_000, 10_002_000] {
        let mut random = StdRng::seed_from_u64(5);
        let sent = arrivals(60_000, |_| true, |_| Some(10_000 + jitter_micros(&mut random)));
        let heard = hear_on(&Card { step_nanos, burst: 1 }, &sent, 59_900, voice);
        let statistics = heard.buffer.statistics();
        assert!(heard.buffer.playout_delay() <= 45 * MILLI, "{:?}", heard.buffer.playout_delay());
        assert_eq!(heard.concealed_blocks(), 0, "{statistics:?}");
        // 600 s · 200 ppm = 120 ms of drift.
        let moved = statistics.inserted_samples_for_deceleration + statistics.removed_samples_for_acceleration;
        assert!((5_000..15_000).contains(&moved), "{statistics:?}");
    }
}

#[test]
fn what_a_stall_held_up_is_played_after_it_and_not_dropped() {
    // For 150 ms nothing comes through, then all of it at once.
    let path =
        |block: u32| Some(20_000 + if (200..215).contains(&block) { u64::from(215 - block) * 10_000 } else { 0 });
    let heard = hear_on(&CARD, &arrivals(1_000, |_| true, path), 1_000, counting);
    let statistics = heard.buffer.statistics();
    assert_eq!((statistics.packets_discarded, statistics.concealment_events), (0, 1));
    assert!((9..=13).contains(&heard.concealed_blocks()), "{statistics:?}");
    assert!(statistics.silent_concealed_samples > 0);
    assert!((200..215).all(|block| heard.samples.contains(&block)));
    // What the wait added to the delay is left out again.
    assert!(statistics.removed_samples_for_acceleration > 3_000, "{statistics:?}");
    assert!(heard.buffer.playout_delay() <= 60 * MILLI, "{:?}", heard.buffer.playout_delay());
}

#[test]
fn a_pause_sounds_like_the_room() {
    fn room(block: u32) -> Block {
        let mut random = block.wrapping_mul(747_796_405) | 1;
        std::array::from_fn(|_| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 24) as i16 - 128
        })
    }
    let heard = hear_on(&CARD, &arrivals(100, |_| true, |_| Some(20_000)), 1_500, room);
    let level = |steps: std::ops::Range<usize>| pcm::level(&heard.samples[480 * steps.start..480 * steps.end]);
    let there = pcm::level(&room(50));
    assert!(level(120..500).abs_diff(there) <= 3, "room -{there}, pause -{} dBov", level(120..500));
    // Whoever is away for long is not heard at all.
    assert_eq!(level(1_300..1_500), pcm::LEVEL_SILENCE);
}

#[test]
fn a_card_that_takes_several_blocks_at_once_finds_them_all() {
    let mut random = StdRng::seed_from_u64(6);
    let sent = arrivals(6_000, |_| true, |_| Some(jitter_micros(&mut random)));
    let heard = hear_on(&Card { burst: 3, ..CARD }, &sent, 6_000, voice);
    assert!(heard.share_concealed() <= 0.01, "{:?}", heard.buffer.statistics());
}

#[test]
fn a_pause_of_the_sender_is_silence_and_not_loss() {
    let speaks = |block: u32| (block / 100).is_multiple_of(2);
    let heard = hear(&arrivals(2_000, speaks, |_| Some(20_000)), 2_000);
    let statistics = heard.buffer.statistics();
    assert_eq!((statistics.concealed_samples, statistics.packets_discarded), (0, 0));
    assert_eq!(statistics.jitter_buffer_emitted_count, 1_000 * 480);
    assert!(heard.count(Pulled::Silence) > 900);
}

#[test]
fn a_short_pause_is_silence_as_well() {
    let speaks = |block: u32| !(100..102).contains(&block);
    let heard = hear(&arrivals(200, speaks, |_| Some(20_000)), 200);
    assert_eq!(heard.concealed_blocks(), 0);
    assert_eq!(heard.count(Pulled::Concealed), 0);
}

#[test]
fn loss_at_the_edge_of_a_pause_is_still_loss() {
    let speaks = |block: u32| (block / 100).is_multiple_of(2);
    let path = |block: u32| (block != 99 && block != 300).then_some(20_000);
    let heard = hear(&arrivals(500, speaks, path), 500);
    assert!((1..=2).contains(&heard.concealed_blocks()), "{}", heard.concealed_blocks());
}

#[test]
fn a_late_block_is_discarded_and_the_delay_stays() {
    let path = |block: u32| Some(if block == 200 { 150_000 } else { 20_000 });
    let heard = hear(&arrivals(400, |_| true, path), 400);
    let statistics = heard.buffer.statistics();
    assert_eq!((statistics.concealed_samples, statistics.packets_discarded), (480, 1));
    assert_eq!(statistics.concealment_events, 1);
    assert!(heard.buffer.playout_delay() <= 60 * MILLI);
}

#[test]
fn copies_of_what_is_there_change_nothing() {
    let sent = arrivals(500, |_| true, |_| Some(20_000));
    let (once, doubled) = (hear(&sent, 500), hear(&with_copies(&sent, &[1, 3]), 500));
    assert_eq!(once.samples, doubled.samples);
    assert_eq!(once.buffer.statistics(), doubled.buffer.statistics());
}

#[test]
fn copies_fill_holes_until_their_time() {
    for seed in 0..5 {
        let mut random = StdRng::seed_from_u64(seed);
        let path = |_| random.random_ratio(19, 20).then(|| jitter_micros(&mut random));
        let sent = with_copies(&arrivals(6_000, |_| true, path), &[1, 3]);
        let heard = hear(&sent, 6_000);
        assert!(heard.share_concealed() <= 0.005, "{}", heard.share_concealed());
        assert!(heard.buffer.statistics().mean_delay() <= 50 * MILLI, "{:?}", heard.buffer.statistics());
    }
}

#[test]
fn reordered_blocks_are_played_in_order() {
    let path = |block: u32| Some(if block % 7 == 3 { 35_000 } else { 20_000 });
    let heard = hear_on(&CARD, &arrivals(300, |_| true, path), 300, counting);
    let statistics = heard.buffer.statistics();
    assert_eq!((statistics.concealed_samples, statistics.packets_discarded), (0, 0));
    assert!(heard.samples[20 * 480..].is_sorted());
}

#[test]
fn a_path_that_becomes_longer_is_followed_within_a_quarter_of_a_second() {
    let path = |block: u32| Some(if block < 1_000 { 20_000 } else { 170_000 });
    let heard = hear(&arrivals(2_000, |_| true, path), 2_000);
    let hole = heard.pulled[1_000..1_100].iter().filter(|pulled| **pulled != Pulled::Played).count();
    assert!(hole <= 26, "{hole}");
    assert!(heard.pulled[1_100..].iter().filter(|pulled| **pulled != Pulled::Played).count() <= 20);
}

#[test]
fn a_path_that_becomes_shorter_gives_its_delay_back() {
    let path = |block: u32| Some(if block < 1_000 { 170_000 } else { 20_000 });
    let heard = hear(&arrivals(4_000, |_| true, path), 4_000);
    assert!(heard.buffer.playout_delay() <= 60 * MILLI, "{:?}", heard.buffer.playout_delay());
    assert!(heard.buffer.statistics().packets_discarded <= 1);
}

#[test]
fn a_stream_that_comes_back_with_other_times_is_played() {
    let start = virtual_time();
    let mut buffer = PlayoutBuffer::new();
    let mut block = SILENT_BLOCK;
    let mut played = 0;
    for step in 0..400_u32 {
        let now = start + step * AUDIO_BLOCK;
        let offset = if step < 200 { 0 } else { 3_000_000_000_u32 };
        let sequence = SequenceNumber((step as u16).wrapping_add((offset >> 16) as u16));
        buffer.handle_block(now, sequence, MediaTime(offset.wrapping_add(480 * step)), &voice(step));
        played += u32::from(buffer.pull(now, &mut block) == Pulled::Played);
    }
    assert!(played >= 385, "{played}");
}

#[test]
fn blocks_that_nobody_pulls_are_bounded_to_a_second() {
    let start = virtual_time();
    let mut buffer = PlayoutBuffer::new();
    for step in 0..1_000_u32 {
        let now = start + step * AUDIO_BLOCK;
        buffer.handle_block(now, SequenceNumber(step as u16), MediaTime(480 * step), &counting(step));
    }
    assert_eq!(buffer.statistics().packets_discarded, 900);
    let mut block = SILENT_BLOCK;
    assert_eq!(buffer.pull(start + 1_000 * AUDIO_BLOCK, &mut block), Pulled::Played);
    assert!(block[479] >= 978, "{}", block[479]);
}

#[test]
fn a_card_that_hung_does_not_leave_its_delay_behind() {
    let start = virtual_time();
    let mut buffer = PlayoutBuffer::new();
    let mut block = SILENT_BLOCK;
    for step in 0..1_000_u32 {
        let now = start + step * AUDIO_BLOCK;
        buffer.handle_block(now, SequenceNumber(step as u16), MediaTime(480 * step), &counting(step));
        if !(300..390).contains(&step) {
            buffer.pull(now, &mut block);
        }
    }
    assert!(buffer.playout_delay() <= 210 * MILLI, "{:?}", buffer.playout_delay());
}

proptest! {
    #[test]
    fn no_packets_make_it_panic(steps in proptest::collection::vec(any::<(u16, u32, u8)>(), 0..300), near in any::<bool>()) {
        let mut now = virtual_time();
        let mut buffer = PlayoutBuffer::new();
        let mut block = SILENT_BLOCK;
        for (sequence, timestamp, millis) in steps {
            now += u32::from(millis / 8) * MILLI;
            let timestamp = if near { timestamp % 90_000 } else { timestamp };
            buffer.handle_block(now, SequenceNumber(sequence), MediaTime(timestamp), &SILENT_BLOCK);
            for _ in 0..millis % 4 {
                buffer.pull(now, &mut block);
            }
            prop_assert!((10 * MILLI..=200 * MILLI).contains(&buffer.target_delay()));
        }
    }
}
