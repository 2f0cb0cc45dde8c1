//! Callers over a path whose rate changes, in virtual time: a camera whose frames follow the target, a voice, and the
//! feedback of the other end. What a foreign flow does beside them, our own Reno stands for.

use super::*;
use crate::link::{Link, LinkConfig, OVERHEAD_BYTES};
use crate::path::{Arrivals, Outgoing};
use crate::picture::pacer::Pacer;
use crate::reno::StreamId;
use crate::reno::connection::Connection;
use crate::virtual_time;
use crate::wire::datagram::Kind;
use crate::wire::feedback::{Feedback, VIDEO_UNLIMITED};

const TICK: Duration = Duration::from_micros(250);
const FRAMES_PER_SECOND: u32 = 15;
const ONE_WAY: Duration = Duration::from_millis(50);
/// Payload of a packet of video at most.
const PART_BYTES: usize = 1_100;
const VOICE_BYTES: usize = 72;

/// Somebody who sends, and who receives it.
struct Caller {
    path: Outgoing,
    arrivals: Arrivals,
    back: Link,
    next_number: u64,
    /// Packets of the frame that is leaving.
    frame: VecDeque<usize>,
    pacer: Pacer,
    /// How it leaves.
    nanos_per_byte: f64,
    /// What a frame has at most, whatever the target: a scene in which little moves.
    frame_bytes_max: usize,
    next_packet: Instant,
    next_frame: Instant,
    next_voice: Instant,
    starts: Instant,
    /// Bytes that arrived in each tenth of a second, and the target at its end.
    log: Vec<(usize, u64)>,
}

struct World {
    start: Instant,
    now: Instant,
    /// Path of all callers.
    forward: Link,
    callers: Vec<Caller>,
    reno: Option<RenoFlow>,
    /// Milliseconds since the start and the wait of a voice packet there, from when on.
    queue: Vec<(u64, Duration)>,
}

struct RenoFlow {
    sender: Connection,
    receiver: Connection,
    stream: StreamId,
    back: Link,
    received: usize,
}

const RENO_FLOW: u8 = 0xff;

impl World {
    fn new(config: LinkConfig, callers: usize) -> Self {
        let start = virtual_time();
        let config = LinkConfig { delay: ONE_WAY, ..config };
        let callers = (0..callers).map(|index| Caller::new(start, start + index as u32 * 20 * SECOND)).collect();
        Self { start, now: start, forward: Link::new(config, 7), callers, reno: None, queue: Vec::new() }
    }

    fn configure(&mut self, config: LinkConfig) {
        self.forward.configure(LinkConfig { delay: ONE_WAY, ..config });
    }

    fn with_reno(mut self) -> Self {
        let mut sender = Connection::new(self.start);
        let stream = sender.open().expect("the first stream");
        let back = Link::new(LinkConfig { delay: ONE_WAY, ..LinkConfig::default() }, 3);
        let receiver = Connection::new(self.start);
        self.reno = Some(RenoFlow { sender, receiver, stream, back, received: 0 });
        self
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now += TICK;
            self.tick();
        }
    }

    fn tick(&mut self) {
        let now = self.now;
        for (index, caller) in self.callers.iter_mut().enumerate().filter(|(_, caller)| caller.starts <= now) {
            caller.send(now, index as u8, &mut self.forward);
        }
        if let Some(reno) = &mut self.reno {
            reno.send(now, &mut self.forward);
        }
        while let Some(packet) = self.forward.poll(now) {
            if packet[0] == RENO_FLOW {
                self.reno.iter_mut().for_each(|reno| reno.receive(now, &packet[1..]));
            } else {
                let sent = self.callers[usize::from(packet[0])].receive(now, &packet);
                if packet.len() == VOICE_BYTES {
                    let waited = now.saturating_duration_since(sent).saturating_sub(ONE_WAY);
                    self.queue.push(((now - self.start).as_millis() as u64, waited));
                }
            }
        }
        for caller in &mut self.callers {
            caller.hear(now);
            if (now - self.start).as_micros().is_multiple_of(100_000) {
                let target = caller.path.bandwidth().target_bps();
                caller.log.push((0, target));
            }
        }
    }

    /// Seconds after `from` until the voice waits less than 60 ms for good, within `within` seconds.
    fn settled_after(&self, from: u64, within: u64) -> f64 {
        let between = |at: &u64| (from * 1_000..(from + within) * 1_000).contains(at);
        let late = self.queue.iter().filter(|(at, queue)| between(at) && *queue > Duration::from_millis(60));
        late.map(|(at, _)| *at).max().map_or(0.0, |last| last as f64 / 1e3 - from as f64)
    }

    fn queue_quantile(&self, from: u64, to: u64, quantile: f64) -> f64 {
        let between = |at: &u64| (from * 1_000..to * 1_000).contains(at);
        let mut queue: Vec<_> = self.queue.iter().filter(|(at, _)| between(at)).map(|(_, queue)| *queue).collect();
        queue.sort_unstable();
        queue[(queue.len() as f64 * quantile) as usize].as_secs_f64() * 1e3
    }
}

const SECOND: Duration = Duration::from_secs(1);

impl Caller {
    fn new(now: Instant, starts: Instant) -> Self {
        Self {
            path: Outgoing::new(now, Bandwidth::new(now, Range { start: 300e3, ..Range::default() })),
            arrivals: Arrivals::new(now),
            back: Link::new(LinkConfig { delay: ONE_WAY, ..LinkConfig::default() }, 11),
            next_number: 0,
            frame: VecDeque::new(),
            pacer: Pacer::new(),
            nanos_per_byte: 0.0,
            frame_bytes_max: usize::MAX,
            next_packet: starts,
            next_frame: starts,
            next_voice: starts,
            starts,
            log: vec![(0, 0)],
        }
    }

    fn send(&mut self, now: Instant, index: u8, path: &mut Link) {
        if now >= self.next_voice {
            self.next_voice += Duration::from_millis(10);
            self.leave(now, index, VOICE_BYTES, path);
        }
        if self.path.bandwidth().video_waits_until(now).is_some() {
            self.frame.clear();
        }
        if now >= self.next_frame {
            self.next_frame += SECOND / FRAMES_PER_SECOND;
            self.begin_frame(now);
        }
        while now >= self.next_packet
            && let Some(bytes) = self.frame.pop_front()
        {
            self.leave(now, index, bytes, path);
            let time = Duration::from_nanos(((bytes + OVERHEAD_BYTES) as f64 * self.nanos_per_byte) as u64);
            self.next_packet = self.next_packet.max(now) + time;
        }
        if self.path.poll_timeout().is_some_and(|due| due <= now) {
            self.path.handle_timeout(now);
        }
    }

    fn begin_frame(&mut self, now: Instant) {
        self.frame.clear();
        if self.path.bandwidth().video_waits_until(now).is_some() {
            return;
        }
        let voice = 100 * (VOICE_BYTES + OVERHEAD_BYTES) * 8;
        let target = self.path.bandwidth().target_bps();
        let rate = (target as usize).saturating_sub(voice);
        let bytes = (rate / 8 / FRAMES_PER_SECOND as usize).min(self.frame_bytes_max);
        let packets = bytes.div_ceil(PART_BYTES + OVERHEAD_BYTES).max(if self.frame_bytes_max < 5_000 { 1 } else { 5 });
        self.pacer.set_path(target, rate as u64);
        self.nanos_per_byte = self.pacer.nanos_per_byte(bytes, SECOND / FRAMES_PER_SECOND);
        self.frame.extend(vec![(bytes / packets).saturating_sub(OVERHEAD_BYTES).max(100); packets]);
    }

    fn leave(&mut self, now: Instant, index: u8, bytes: usize, path: &mut Link) {
        let mut packet = vec![index; 17 + bytes.saturating_sub(17)];
        packet[1..9].copy_from_slice(&self.next_number.to_be_bytes());
        packet[9..17].copy_from_slice(&(self.path.time(now).as_micros() as u64).to_be_bytes());
        let kind = if bytes == VOICE_BYTES { Kind::Audio } else { Kind::Video };
        self.path.on_sent(now, self.next_number, kind, packet.len(), 0);
        self.next_number += 1;
        path.send(now, packet);
    }

    /// Answers when the packet left.
    fn receive(&mut self, now: Instant, packet: &[u8]) -> Instant {
        let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
        let kind = if packet.len() == VOICE_BYTES { Kind::Audio } else { Kind::Video };
        self.arrivals.note(now, number(&packet[1..9]), kind);
        self.log.last_mut().unwrap().0 += packet.len() + OVERHEAD_BYTES;
        now - self.path.time(now) + Duration::from_micros(number(&packet[9..17]))
    }

    fn hear(&mut self, now: Instant) {
        let mut buffer = [0; Feedback::MAX_BYTES];
        if let Some(length) = self.arrivals.poll_feedback(now, VIDEO_UNLIMITED, &mut buffer) {
            self.back.send(now, buffer[..length].to_vec());
        }
        while let Some(body) = self.back.poll(now) {
            self.path.handle_feedback(now, Feedback::parse(&body).unwrap(), |_, _| {});
        }
    }

    /// Bits per second that arrived between two seconds.
    fn rate(&self, from: usize, to: usize) -> f64 {
        let bytes: usize = self.log[10 * from..10 * to].iter().map(|(bytes, _)| bytes).sum();
        bytes as f64 * 8.0 / (to - from) as f64
    }

    /// Seconds after `from` until the target reaches `bps`.
    fn reaches(&self, from: usize, bps: f64) -> f64 {
        let after = self.log[10 * from + 1..].iter().position(|(_, target)| *target as f64 >= bps);
        after.map_or(f64::INFINITY, |tenths| (tenths + 1) as f64 / 10.0)
    }
}

impl RenoFlow {
    fn send(&mut self, now: Instant, path: &mut Link) {
        self.sender.write(self.stream, &[0; 65_536]);
        self.sender.handle_timeout(now);
        let mut buffer = [0; 2_000];
        while let Some(length) = self.sender.poll_transmit(now, &mut buffer) {
            path.send(now, [&[RENO_FLOW], &buffer[..length]].concat());
        }
        while let Some(segment) = self.back.poll(now) {
            self.sender.handle_segment(now, &segment).unwrap();
        }
        self.receiver.handle_timeout(now);
        while let Some(length) = self.receiver.poll_transmit(now, &mut buffer) {
            self.back.send(now, buffer[..length].to_vec());
        }
        while self.sender.poll_event().is_some() {}
    }

    fn receive(&mut self, now: Instant, segment: &[u8]) {
        self.receiver.handle_segment(now, segment).unwrap();
        let mut buffer = [0; 65_536];
        while self.receiver.poll_event().is_some() {}
        loop {
            let bytes = self.receiver.read(self.stream, &mut buffer).bytes;
            self.received += bytes;
            if bytes == 0 {
                break;
            }
        }
    }
}

fn path(mbps: f64, queue_ms: f64) -> LinkConfig {
    let queue_bytes = (mbps * 1e6 / 8.0 * queue_ms / 1e3) as usize;
    LinkConfig { rate_bps: Some((mbps * 1e6) as u64), queue_bytes, ..LinkConfig::default() }
}

/// 3 Mbit/s, for half a minute a sixth of it, and back.
fn step(low: LinkConfig, high: LinkConfig) -> World {
    let mut world = World::new(high, 1);
    world.run(30 * SECOND);
    world.configure(low);
    world.run(30 * SECOND);
    world.configure(high);
    world.run(20 * SECOND);
    world
}

fn deep(mbps: f64) -> LinkConfig {
    LinkConfig { queue_bytes: 112_500, ..path(mbps, 300.0) }
}

#[test]
fn a_sixth_of_the_rate_is_followed_within_a_second_or_two_and_back_again() {
    for (low, high, settled) in [(path(0.5, 300.0), path(3.0, 300.0), 1.5), (deep(0.5), deep(3.0), 2.0)] {
        let world = step(low, high);
        let caller = &world.callers[0];
        assert!(caller.reaches(0, 2.4e6) <= 2.5, "from the start");
        assert!(world.settled_after(30, 29) <= settled, "{}", world.settled_after(30, 29));
        assert!(caller.reaches(60, 2.4e6) <= 2.5, "back");
    }
}

#[test]
fn a_steady_path_is_used_without_a_queue() {
    for mbps in [0.5, 1.0, 3.0, 8.0] {
        let mut world = World::new(path(mbps, 300.0), 1);
        world.run(30 * SECOND);
        let used = world.callers[0].rate(10, 29) / (mbps * 1e6);
        assert!((0.75..1.0).contains(&used), "{used} of {mbps} Mbit/s");
        let queue = world.queue_quantile(10, 29, 0.95);
        assert!(queue <= 40.0, "{queue} ms at {mbps} Mbit/s");
    }
}

#[test]
fn loss_and_jitter_that_are_not_ours_do_not_take_the_path_away() {
    let jitter = Duration::from_millis(5);
    for config in [LinkConfig { loss: 0.05, ..path(3.0, 300.0) }, LinkConfig { jitter, ..path(3.0, 300.0) }] {
        let mut world = World::new(config, 1);
        world.run(60 * SECOND);
        let used = world.callers[0].rate(10, 59) / 3e6;
        assert!(used >= 0.7, "{used} with {config:?}");
    }
}

#[test]
fn three_callers_share_a_path() {
    let mut world = World::new(path(3.0, 300.0), 3);
    world.run(120 * SECOND);
    let mut rates: Vec<_> = world.callers.iter().map(|caller| caller.rate(80, 119)).collect();
    rates.sort_unstable_by(f64::total_cmp);
    assert!(rates[2] <= 2.2 * rates[0], "{rates:?}");
}

#[test]
fn a_caller_beside_reno_gets_a_share() {
    let mut world = World::new(path(2.0, 300.0), 1).with_reno();
    world.run(100 * SECOND);
    let reno = world.reno.as_ref().unwrap().received as f64 * 8.0 / 100.0;
    let ratio = world.callers[0].rate(40, 99) / reno;
    assert!((0.33..=3.0).contains(&ratio), "{ratio}");
}

#[test]
fn frames_that_are_no_trains_hold_nothing_down() {
    let mut world = World::new(path(3.0, 300.0), 1);
    world.callers[0].frame_bytes_max = 2_000;
    world.run(20 * SECOND);
    let caller = &mut world.callers[0];
    let (target, sent) = (caller.path.bandwidth().target_bps() as f64, caller.rate(10, 19));
    assert!((1.3..2.0).contains(&(target / sent)), "{target} of {sent}");
    caller.frame_bytes_max = usize::MAX;
    world.run(10 * SECOND);
    assert!(world.callers[0].reaches(20, 2.4e6) <= 3.0);
}

#[test]
fn silence_of_the_other_end_halves_the_target() {
    let mut world = World::new(path(3.0, 300.0), 1);
    world.run(10 * SECOND);
    let before = world.callers[0].path.bandwidth().target_bps();
    world.callers[0].back.configure(LinkConfig { loss: 1.0, ..LinkConfig::default() });
    world.run(2 * SECOND);
    let after = world.callers[0].path.bandwidth().target_bps();
    assert!(after * 6 <= before, "{after} of {before}");
}
