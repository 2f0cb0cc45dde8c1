//! What must hold of a channel as a whole, over the links of [`super::simulation`].

use std::time::{Duration, Instant};

use proptest::prelude::*;
use rand::RngExt;

use super::controller::SMSS_BASE as SMSS;
use super::simulation::{Link, Pair, ms, pattern};
use super::*;
use crate::limits::{CHANNEL_RENEWAL_INTERVAL, STREAM_RECEIVE_WINDOW_MIN_BYTES, STREAM_SEND_BUFFER_MIN_BYTES};
use crate::wire::segment::{Incarnation, SegmentWriter};

const MESSAGES: StreamId = StreamId::MESSAGES;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_arrive_intact_and_in_order_over_any_link(
        seed in any::<u64>(),
        loss in 0.0..0.2,
        reordering in 0.0..0.3,
        duplication in 0.0..0.2,
        length in 0_usize..120_000,
    ) {
        let link = Link { loss, reordering, duplication, ..Link::BASE };
        let mut pair = Pair::new(link, seed);
        pair.transfer(length, ms(300_000));
        pair.idle(ms(20_000));
        prop_assert!(pair.events[0].contains(&Event::Acknowledged(StreamId(1))));
        prop_assert_eq!(pair.sender().flight_size_bytes, 0);
        prop_assert!(!pair.events.concat().contains(&Event::Renewed));
    }

    #[test]
    fn random_and_broken_segments_never_panic(
        seed in any::<u64>(),
        noise in proptest::collection::vec(proptest::collection::vec(0_u8..10, 0..120), 1..40),
    ) {
        let mut pair = Pair::new(Link::BASE, seed);
        pair.sides[0].write(MESSAGES, &pattern(0..20_000));
        for bytes in noise {
            pair.idle(ms(7));
            let now = pair.now;
            let _ = pair.sides[0].handle_segment(now, &bytes);
            let mut flipped = pair.pipes[1].on_the_way.values().next().cloned().unwrap_or_default();
            if !flipped.is_empty() {
                let at = pair.random.random_range(0..flipped.len());
                flipped[at] ^= 1 << pair.random.random_range(0..8);
                let _ = pair.sides[0].handle_segment(now, &flipped);
            }
        }
        pair.idle(ms(500));
    }

    #[test]
    fn well_formed_nonsense_never_panics(
        frames in proptest::collection::vec((0_u8..7, any::<u8>(), 0_u64..1 << 21, 0_usize..600), 1..300),
        seed in any::<u64>(),
    ) {
        let mut pair = Pair::new(Link::BASE, seed);
        let mut buffer = [0; SEGMENT_MAX_BYTES];
        let file = pair.sides[0].open().unwrap();
        for (number, (kind, id, value, length)) in frames.into_iter().enumerate() {
            pair.sides[0].write(file, &pattern(0..length * 10));
            pair.sides[0].write(MESSAGES, &pattern(0..length));
// Mostly what an honest peer could say, so that the channel lives long enough for nonsense to add up.
            let id = StreamId(match kind {
                4 => 1,
                6 => u32::from(id % 2),
                _ => u32::from(id % 32),
            });
            let number = number as u64 * (value % 100);
            let mut segment = SegmentWriter::new(&mut buffer, Incarnation((value % 3) as u8), number, number / 2).unwrap();
            match kind {
                0 => segment.acknowledgement(ms(value % 90), value as u32, std::iter::once(value % 2..2 + value % 3)),
                1 => segment.data(id, value, (&pattern(0..length), &[1]), value % 5 == 0),
                2 => segment.probe(id),
                3 => segment.reset(id),
                4 => segment.stop(id),
                5 => segment.streams(id.0 * 3),
                _ => segment.window(id, value),
            }
            let length = segment.length();
            let now = pair.now;
            pair.sides[0].handle_segment(now, &buffer[..length]).unwrap();
            let side = &mut pair.sides[0];
            side.read(id, &mut [0; 100]);
            if value % 31 == 0 { side.stop(id) }
            if value % 37 == 0 { side.reset(id) }
            while side.poll_event().is_some() {}
            while side.poll_transmit(now, &mut [0; SEGMENT_MAX_BYTES]).is_some() {}
            if side.poll_timeout().is_some_and(|at| value % 3 == 0 || at <= now) {
                pair.now = pair.sides[0].poll_timeout().unwrap_or(now).max(now);
                let now = pair.now;
                pair.sides[0].handle_timeout(now);
            }
        }
    }
}

#[test]
fn slow_start_doubles_the_window_each_round_trip() {
    let link = Link { rate_bps: 1_000_000_000, queue_bytes: 10_000_000, ..Link::BASE };
    let mut pair = Pair::new(link, 1);
    let stream = pair.sides[0].open().unwrap();
    let mut before = 10 * SMSS;
    for round in 0..7 {
        // Measured late in each round trip, when the delayed acknowledgement of an odd segment is there as well.
        pair.run(ms(if round == 0 { 90 } else { 50 }), |pair| {
            while pair.sides[0].write(stream, &[1; 65_536]) > 0 {}
            pair.read(1, stream);
        });
        let cwnd = pair.sender().cwnd_bytes;
        assert!((before * 9 / 5..=before * 11 / 5).contains(&cwnd), "round {round}: {before} to {cwnd}");
        before = cwnd;
    }
    assert_eq!(pair.sender().phase, Phase::SlowStart);
}

#[test]
fn one_lost_segment_halves_once_and_is_repaired_in_a_round_trip() {
    let mut pair = Pair::new(Link::BASE, 1);
    pair.pipes[0].drop = vec![35];
    let took = pair.transfer(150_000, ms(5_000));
    let clean = Pair::new(Link::BASE, 1).transfer(150_000, ms(5_000));
    let sender = pair.sender();
    assert_eq!((sender.loss_events, sender.timeouts), (1, 0));
    assert_eq!(sender.segments_retransmitted, 1);
    assert!(sender.ssthresh_bytes.is_some_and(|s| (10 * SMSS..40 * SMSS).contains(&s)), "{sender:?}");
    assert!(took < clean + ms(150), "{took:?} against {clean:?}");
}

#[test]
fn a_lost_segment_arrives_a_round_trip_later() {
    let mut pair = Pair::new(Link::BASE, 1);
    pair.pipes[0].drop = vec![0];
    pair.sides[0].write(MESSAGES, &pattern(0..8_000));
    pair.idle(ms(27));
    assert_eq!(pair.sides[1].readable(MESSAGES), 0);
    pair.idle(ms(55));
    assert_eq!(pair.sides[1].readable(MESSAGES), 8_000);
}

#[test]
fn a_lost_tail_is_repaired_without_a_timeout() {
    let mut pair = Pair::new(Link::BASE, 1);
    pair.sides[0].write(MESSAGES, b"first");
    pair.idle(ms(300));
    pair.pipes[0].drop = vec![pair.pipes[0].sent];
    pair.sides[0].write(MESSAGES, b"second");
    pair.idle(ms(2 * 50 + 50 + 25)); // the probe after two round trips and the delay of a lone segment, and its way
    assert_eq!(pair.read(1, MESSAGES).0, b"firstsecond");
    pair.idle(ms(300));
    let sender = pair.sender();
    assert_eq!((sender.timeouts, sender.loss_events), (0, 1));
    assert_eq!(sender.flight_size_bytes, 0);
}

#[test]
fn the_timeout_backs_off_and_the_channel_is_never_given_up() {
    let mut pair = Pair::new(Link::BASE, 1);
    pair.sides[0].write(MESSAGES, b"hello");
    pair.idle(ms(300));
    let before = pair.sender().rto;
    pair.pipes[0].link.loss = 1.0;
    pair.sides[0].write(MESSAGES, b"anyone?");
    let mut longest = before;
    for timeouts in 1..=4 {
        while pair.sender().timeouts < timeouts {
            pair.idle(ms(10));
        }
        assert_eq!(pair.sender().rto, before * (1 << timeouts));
        assert_eq!(pair.sender().cwnd_bytes, SMSS);
        longest = pair.sender().rto;
    }
    assert_eq!(pair.sender().phase, Phase::TimeoutRecovery);
    assert!(longest > before * 15);
    pair.idle(ms(3_600_000));
    let sent = pair.pipes[0].sent;
    assert_eq!(pair.sender().rto, ms(60_000));
    pair.pipes[0].link.loss = 0.0;
    pair.idle(ms(60_000));
    assert_eq!(pair.read(1, MESSAGES).0, b"helloanyone?");
    assert!(pair.pipes[0].sent <= sent + 2);
}

/// A side that wrote, on a path that has carried nothing since, for so long.
fn after_an_outage(time: Duration, ways: &[usize]) -> Pair {
    let mut pair = Pair::new(Link::BASE, 1);
    pair.sides[0].write(MESSAGES, b"hello");
    pair.idle(ms(300));
    pair.read(1, MESSAGES);
    ways.iter().for_each(|way| pair.pipes[*way].link.loss = 1.0);
    pair.sides[0].write(MESSAGES, b"anyone?");
    pair.idle(time);
    assert_eq!(pair.read(1, MESSAGES).0, b"");
    ways.iter().for_each(|way| pair.pipes[*way].link.loss = 0.0);
    pair
}

#[test]
fn what_waits_is_sent_at_once_when_the_path_is_heard_again() {
    for seconds in [2, 10, 20, 35, 66, 600] {
        let mut pair = after_an_outage(ms(seconds * 1_000), &[0, 1]);
        let now = pair.now;
        assert!(pair.sides[0].note_heard(now));
        pair.idle(Link::BASE.delay + ms(2));
        assert_eq!(pair.read(1, MESSAGES).0, b"anyone?", "after {seconds} s");
        pair.idle(ms(200));
        assert_eq!(pair.sides[0].unacknowledged(MESSAGES), 0);
    }
}

#[test]
fn a_path_that_came_back_one_way_is_used_as_soon_as_the_other_end_says_something() {
    for seconds in [2, 20, 66] {
        let mut pair = after_an_outage(ms(seconds * 1_000), &[0]);
        // Our peer hears us again, by other means than segments; we were never without it.
        let now = pair.now;
        assert!(pair.sides[1].note_heard(now));
        pair.idle(Link::BASE.delay * 2 + ms(5));
        assert_eq!(pair.read(1, MESSAGES).0, b"anyone?", "after {seconds} s");
    }
}

#[test]
fn a_try_that_is_lost_too_is_followed_by_others_soon() {
    let mut pair = after_an_outage(ms(30_000), &[0, 1]);
    let (now, next) = (pair.now, pair.pipes[0].sent);
    pair.pipes[0].drop = vec![next, next + 1];
    pair.sides[0].note_heard(now);
    pair.idle(ms(1_500));
    assert_eq!(pair.read(1, MESSAGES).0, b"anyone?");
}

#[test]
fn a_peer_that_is_heard_and_acknowledges_nothing_is_not_flooded() {
    let mut pair = after_an_outage(ms(30_000), &[0, 1]);
    pair.pipes[0].link.loss = 1.0;
    let before = pair.pipes[0].sent;
    let mut buffer = [0; SEGMENT_MAX_BYTES];
    for number in 0..10_000 {
        // Each of them is sent by a peer that was silent before, as far as it can make us believe that.
        let mut segment = SegmentWriter::new(&mut buffer, Incarnation(0), 1_000 + number, 1_000).unwrap();
        segment.streams(33);
        let (length, now) = (segment.length(), pair.now);
        pair.sides[0].note_heard(now);
        pair.sides[0].handle_segment(now, &buffer[..length]).unwrap();
        let acknowledgements = pair.pipes[0].sent;
        pair.idle(ms(1));
        // What it sends is acknowledged, and that is all that one segment brings about.
        assert!(pair.pipes[0].sent <= acknowledgements + 2);
    }
    let again = pair.sender().segments_retransmitted;
    assert!(again < 60, "{again} in 10 s, {before} before");
}

#[test]
fn a_channel_that_failed_is_opened_anew_and_its_streams_go_on() {
    let mut pair = Pair::new(Link { loss: 0.02, ..Link::BASE }, 3);
    let file = pair.sides[0].open().unwrap();
    let (mut words, mut bytes, mut back) = (Vec::new(), Vec::new(), Vec::new());
    let mut written = 0;
    for round in 0..40 {
        for side in [0, 1] {
            pair.sides[side].write(MESSAGES, &pattern(round * 500..(round + 1) * 500));
        }
        written += pair.sides[0].write(file, &pattern(written..written + 20_000));
        if round == 20 {
            violate(&mut pair, 0, Incarnation(0));
        }
        pair.run(ms(60), |pair| {
            words.extend(pair.read(1, MESSAGES).0);
            bytes.extend(pair.read(1, file).0);
            back.extend(pair.read(0, MESSAGES).0);
        });
    }
    pair.run(ms(5_000), |pair| {
        words.extend(pair.read(1, MESSAGES).0);
        bytes.extend(pair.read(1, file).0);
        back.extend(pair.read(0, MESSAGES).0);
    });
    let renewed = |events: &Vec<Event>| events.iter().filter(|event| **event == Event::Renewed).count();
    assert_eq!(pair.events.each_ref().map(renewed), [1, 1]);
    assert!(words == pattern(0..20_000) && back == pattern(0..20_000));
    assert!(bytes == pattern(0..written), "{} of {written}", bytes.len());
    assert_eq!(pair.sender().flight_size_bytes, 0);
}

#[test]
fn a_segment_of_an_older_incarnation_is_not_taken_for_one_of_the_newer() {
    let mut pair = Pair::new(Link::BASE, 1);
    pair.sides[1].write(MESSAGES, b"old");
    pair.idle(ms(5));
    let old = pair.pipes[1].on_the_way.values().next().unwrap().clone();
    pair.pipes[1].on_the_way.clear();
    violate(&mut pair, 0, Incarnation(0));
    pair.idle(ms(2_000));
    assert_eq!(pair.read(0, MESSAGES).0, b"old", "sent again under the newer one");
    let before = pair.pipes[0].sent;
    let now = pair.now;
    pair.sides[0].handle_segment(now, &old).unwrap();
    pair.idle(ms(500));
    assert_eq!(pair.pipes[0].sent, before, "not even acknowledged");
}

#[test]
fn a_peer_that_breaks_the_protocol_without_an_end_is_followed_slowly() {
    let mut pair = Pair::new(Link::BASE, 1);
    for round in 0..6_000_u32 {
        for incarnation in 0..8 {
            violate(&mut pair, 0, Incarnation(incarnation));
        }
        pair.idle(ms(10));
        if round % 100 == 0 {
            pair.sides[0].write(MESSAGES, b"words");
        }
    }
    let renewed = pair.events[0].iter().filter(|event| **event == Event::Renewed).count() as u128;
    assert!((2..=60_000 / CHANNEL_RENEWAL_INTERVAL.as_millis() + 1).contains(&renewed), "{renewed}");
}

/// Tells a side that what it never sent has arrived.
fn violate(pair: &mut Pair, side: usize, incarnation: Incarnation) {
    let mut buffer = [0; SEGMENT_MAX_BYTES];
    let mut segment = SegmentWriter::new(&mut buffer, incarnation, 0, 0).unwrap();
    segment.acknowledgement(Duration::ZERO, 0, std::iter::once(1_000_000..1_000_001));
    let (length, now) = (segment.length(), pair.now);
    pair.sides[side].handle_segment(now, &buffer[..length]).unwrap();
}

#[test]
fn a_link_that_comes_back_is_used_again() {
    let mut pair = Pair::new(Link::BASE, 1);
    pair.sides[0].write(MESSAGES, &pattern(0..200_000));
    pair.idle(ms(150));
    pair.pipes[0].link.loss = 1.0;
    pair.idle(ms(3_000));
    assert!(pair.sender().timeouts > 2);
    pair.pipes[0].link.loss = 0.0;
    pair.idle(ms(8_000));
    assert_eq!(pair.read(1, MESSAGES).0, pattern(0..200_000));
    assert_ne!(pair.sender().phase, Phase::TimeoutRecovery);
}

#[test]
fn a_sender_that_has_little_to_say_does_not_grow_its_window() {
    let mut pair = Pair::new(Link::BASE, 1);
    for _ in 0..200 {
        pair.sides[0].write(MESSAGES, &[7; 500]);
        pair.idle(ms(10));
        pair.read(1, MESSAGES);
    }
    assert_eq!(pair.sender().cwnd_bytes, 10 * SMSS);
}

#[test]
fn a_message_does_not_wait_behind_a_file() {
    let mut pair = Pair::new(Link { loss: 0.01, ..Link::BASE }, 3);
    let file = pair.sides[0].open().unwrap();
    let (mut alone, mut waited) = (Duration::ZERO, Vec::new());
    for round in 0..60 {
        while pair.sides[0].write(file, &[1; 4_096]) == 4_096 {}
        let wrote = pair.now;
        pair.sides[0].write(MESSAGES, b"hi");
        while pair.sides[1].readable(MESSAGES) == 0 {
            assert!(pair.step(wrote + ms(2_000)));
            pair.read(1, file);
        }
        pair.read(1, MESSAGES);
        waited.push(pair.now - wrote);
        alone = if round == 0 { pair.now - wrote } else { alone };
        pair.idle(ms(90));
        pair.read(1, file);
    }
    waited.sort();
    // Its way, the queue before it, and now and then a round trip for a loss or for room in the window.
    assert!(waited[30] < ms(100), "median {:?}", waited[30]);
    assert!(waited[58] < ms(400), "{waited:?}");
}

#[test]
fn a_slow_reader_bounds_what_is_held_and_the_window_opens_again() {
    let mut pair = Pair::new(Link { rate_bps: 100_000_000, ..Link::BASE }, 1);
    let file = pair.sides[0].open().unwrap();
    let mut written = 0;
    pair.run(ms(5_000), |pair| {
        written += pair.sides[0].write(file, &pattern(written..written + 10_000));
    });
    let buffer = STREAM_SEND_BUFFER_MIN_BYTES.max(pair.sender().cwnd_bytes as usize * 3 / 2);
    assert_eq!(written, buffer + STREAM_RECEIVE_WINDOW_MIN_BYTES);
    assert_eq!(pair.sides[1].readable(file), STREAM_RECEIVE_WINDOW_MIN_BYTES);
    assert_eq!(pair.sender().flight_size_bytes, 0);
    let mut read = Vec::new();
    pair.run(ms(5_000), |pair| read.extend(pair.read(1, file).0));
    assert!(pair.events[0].contains(&Event::Writable(file)));
    pair.sides[0].finish(file);
    pair.idle(ms(500));
    assert!(pair.read(1, file) == (Vec::new(), true) && read == pattern(0..written));
    assert!(pair.events[0].contains(&Event::Acknowledged(file)));
    assert_eq!(pair.sender().timeouts, 0);
}

#[test]
fn a_closed_window_is_asked_about_and_does_not_kill_the_channel() {
    let mut pair = Pair::new(Link { rate_bps: 100_000_000, ..Link::BASE }, 1);
    let file = pair.sides[0].open().unwrap();
    let mut written = 0;
    pair.run(ms(4_000), |pair| {
        written += pair.sides[0].write(file, &pattern(written..written + 10_000));
    });
    let before = pair.pipes[0].sent;
    pair.idle(ms(300_000));
    let probes = pair.pipes[0].sent - before;
    assert!((5..20).contains(&probes), "{probes}");
    assert!(!pair.events.concat().contains(&Event::Renewed));
    // The announcement is lost with all that would repeat it; a probe must get it.
    pair.pipes[1].link.loss = 1.0;
    let (mut read, _) = pair.read(1, file);
    pair.idle(ms(20_000));
    pair.pipes[1].link.loss = 0.0;
    pair.run(ms(120_000), |pair| read.extend(pair.read(1, file).0));
    assert!(read == pattern(0..written));
}

#[test]
fn a_stream_given_up_is_told_and_frees_its_place() {
    let mut pair = Pair::new(Link { loss: 0.1, ..Link::BASE }, 5);
    for round in 0..100 {
        let stream = pair.sides[0].open().unwrap();
        assert_eq!(stream, StreamId(round + 1));
        pair.sides[0].write(stream, &pattern(0..50_000));
        while !pair.events[1].contains(&Event::Opened(stream)) {
            pair.idle(ms(200));
        }
        if round % 2 == 0 {
            pair.sides[0].reset(stream);
        } else {
            pair.sides[1].stop(stream);
        }
        pair.idle(ms(3_000));
        assert_eq!(pair.sides[0].writable(stream), 0);
        assert_eq!(pair.sides[1].readable(stream), 0);
        let told = (round % 2 == 0, Event::Reset(stream), Event::Stopped(stream));
        assert_eq!(pair.events[1].contains(&told.1), told.0);
        assert_eq!(pair.events[0].contains(&told.2), !told.0);
    }
}

#[test]
fn a_peer_that_asks_and_never_acknowledges_gets_no_endless_answers() {
    let mut pair = Pair::new(Link::BASE, 1);
    let (mut probe, mut answer) = ([0; SEGMENT_MAX_BYTES], [0; SEGMENT_MAX_BYTES]);
    let mut longest = 0;
    for number in 0..200_000 {
        let mut segment = SegmentWriter::new(&mut probe, Incarnation(0), number, number).unwrap();
        segment.probe(StreamId(31));
        let length = segment.length();
        let side = &mut pair.sides[0];
        side.handle_segment(pair.now, &probe[..length]).unwrap();
        while let Some(length) = side.poll_transmit(pair.now, &mut answer) {
            longest = longest.max(length);
        }
    }
    assert!(longest < 100, "{longest}");
    assert!(pair.sender().flight_size_bytes < 2_000_000);
}

#[test]
fn many_streams_each_way_arrive_intact_at_once() {
    const LENGTH: usize = 60_000;
    let link = Link { loss: 0.03, reordering: 0.05, ..Link::BASE };
    let mut pair = Pair::new(link, 11);
    for side in &mut pair.sides {
        for _ in 0..5 {
            let file = side.open().unwrap();
            assert_eq!(side.write(file, &pattern(0..LENGTH)), LENGTH);
            side.finish(file);
        }
        side.write(MESSAGES, &pattern(0..LENGTH));
    }
    let mut arrived = [const { [const { Vec::new() }; 6] }; 2];
    pair.run(ms(30_000), |pair| {
        for (side, streams) in arrived.iter_mut().enumerate() {
            for (id, bytes) in streams.iter_mut().enumerate() {
                bytes.extend(pair.read(side, StreamId(id as u32)).0);
            }
        }
    });
    let whole = pattern(0..LENGTH);
    assert!(arrived.iter().flatten().all(|bytes| *bytes == whole));
    for events in &pair.events {
        let done = |event: &&Event| matches!(event, Event::Acknowledged(_));
        assert_eq!(events.iter().filter(done).count(), 5);
    }
}

#[test]
fn goodput_is_that_of_a_reno() {
    // Kernel Reno over the same path: 19.0, 2.7 and 1.5 Mbit/s.
    let expected = [(0.0, 18.3, 20.0), (0.01, 1.9, 3.6), (0.03, 0.9, 2.1)];
    for (loss, least, most) in expected {
        let (mbits, notes) = goodput(Link { loss, ..Link::BASE }, ms(12_000));
        assert!((least..most).contains(&mbits), "loss {loss}: {mbits:.2} Mbit/s, {notes}");
    }
}

/// Median goodput of three seeds, Mbit/s, and what the sender says of the last.
fn goodput(link: Link, time: Duration) -> (f64, String) {
    let mut rates = Vec::new();
    let mut notes = String::new();
    for seed in 1..=3 {
        let mut pair = Pair::new(link, seed);
        let file = pair.sides[0].open().unwrap();
        let mut arrived = 0;
        let block = [5; 65_536];
        pair.sides[0].write(file, &block);
        pair.run(time, |pair| {
            while pair.sides[0].write(file, &block) > 0 {}
            arrived += pair.read(1, file).0.len();
        });
        rates.push(arrived as f64 * 8.0 / time.as_secs_f64() / 1e6);
        notes = format!("{:?}, {} dropped by the queue", pair.sender(), pair.pipes[0].dropped_by_queue);
    }
    rates.sort_by(f64::total_cmp);
    (rates[1], notes)
}

#[test]
#[ignore = "prints tables for a human"]
#[expect(clippy::print_stdout, reason = "that is its purpose")]
fn print_goodput() {
    for (rate_bps, rtt) in
        [(20_000_000, 2), (20_000_000, 20), (20_000_000, 50), (20_000_000, 100), (100_000_000, 20), (100_000_000, 50)]
    {
        for loss in [0.0, 0.001, 0.01, 0.03] {
            let queue_bytes = (rate_bps / 8 * rtt / 1_000).max(30_000);
            let link = Link { rate_bps, queue_bytes, loss, delay: ms(rtt) / 2, ..Link::BASE };
            let (mbits, notes) = goodput(link, ms(12_000));
            println!("{} Mbit/s {rtt} ms {loss}: {mbits:.2}  {notes}", rate_bps / 1_000_000);
        }
    }
}

#[test]
#[ignore = "prints tables for a human"]
#[expect(clippy::print_stdout, reason = "that is its purpose")]
fn print_message_delays() {
    for loss in [0.0, 0.01, 0.03] {
        let mut pair = Pair::new(Link { loss, ..Link::BASE }, 7);
        let (mut written, mut read) = (Vec::new(), 0);
        let mut delays = Vec::new();
        for _ in 0..10_000 {
            pair.sides[0].write(MESSAGES, &[3; 200]);
            written.push(pair.now);
            pair.run(ms(100), |pair| {
                read += pair.read(1, MESSAGES).0.len();
                while delays.len() < read / 200 {
                    delays.push(pair.now - written[delays.len()]);
                }
            });
        }
        delays.sort();
        let at = |share: f64| delays[(delays.len() as f64 * share) as usize];
        println!("loss {loss}: p50 {:?} p99 {:?} p99.9 {:?}, {:?}", at(0.5), at(0.99), at(0.999), pair.sender());
    }
}

#[test]
#[ignore = "measures this machine"]
#[expect(clippy::print_stdout, reason = "that is its purpose")]
#[expect(clippy::disallowed_methods, reason = "it measures real time")]
fn print_speed() {
    let link = Link { delay: ms(1), rate_bps: 100_000_000_000, queue_bytes: 1 << 30, ..Link::BASE };
    let mut pair = Pair::new(link, 1);
    let file = pair.sides[0].open().unwrap();
    let (mut arrived, block, begin) = (0, vec![5; 65_536], Instant::now());
    let mut buffer = vec![0; 65_536];
    pair.sides[0].write(file, &block);
    while arrived < 500_000_000 {
        while pair.sides[0].write(file, &block) > 0 {}
        pair.step(pair.now + ms(1));
        loop {
            let read = pair.sides[1].read(file, &mut buffer).bytes;
            arrived += read;
            if read == 0 {
                break;
            }
        }
    }
    let rate = arrived as f64 / begin.elapsed().as_secs_f64() / 1e6;
    println!("{rate:.0} MB/s in {:?} of virtual time, {:?}", pair.elapsed(), pair.sender());
}
