//! How one stream arrives: loss, jitter and rate, by the formulas of RFC 3550 appendix A.

use std::time::{Duration, Instant};

use crate::ids::{Ssrc, StreamKind};
use crate::limits::{AUDIO_CLOCK_RATE_HZ, VIDEO_CLOCK_RATE_HZ};
use crate::path::meter::{BitrateMeter, LastSecond};
use crate::sequence::{MediaTime, SequenceNumber};
use crate::wire::media::ReportBlock;

/// The statistics of one inbound stream.
#[derive(Clone, Debug)]
pub struct ReceptionStatistics {
    ssrc: Ssrc,
    sequence: Option<Span>,
    jitter: Jitter,
    /// Packets since the stream began.
    received: u64,
    /// Packets that were sent again and arrived, which are not among them.
    again: u64,
    /// Packets there should have been in spans that ended by a jump of the sequence.
    expected_before: u64,
    meter: BitrateMeter,
    expected_last_second: LastSecond,
    received_last_second: LastSecond,
    /// When a packet came last.
    newest: Option<Instant>,
    reported: Reported,
}

/// Packets from the first to the highest number, extended to 64 bits.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: u64,
    highest: u64,
    /// The number that would prove a jump (`bad_seq` of RFC 3550 appendix A.1).
    after_jump: Option<SequenceNumber>,
}

/// What the last report covered.
#[derive(Clone, Copy, Debug, Default)]
struct Reported {
    at: Option<Instant>,
    expected: u64,
    received: u64,
    /// Since the last report.
    bytes: u64,
}

/// A larger step forward is a sender that counts anew, not loss (RFC 3550 appendix A.1, `MAX_DROPOUT`).
const DROPOUT_MAX: i16 = 3_000;
/// A larger step back is as well, not reordering (RFC 3550 appendix A.1, `MAX_MISORDER`).
const MISORDER_MAX: i16 = 100;

impl ReceptionStatistics {
    /// A stream of which nothing arrived yet.
    pub fn new(ssrc: Ssrc) -> Self {
        Self {
            ssrc,
            sequence: None,
            jitter: Jitter::new(clock_rate_hz(ssrc.kind())),
            received: 0,
            again: 0,
            expected_before: 0,
            meter: BitrateMeter::default(),
            expected_last_second: LastSecond::default(),
            received_last_second: LastSecond::default(),
            newest: None,
            reported: Reported::default(),
        }
    }

    /// Counts a packet; `bytes_on_wire` is its datagram with the headers of IP and UDP.
    ///
    /// Answers its number counted on beyond 2^16, or `None` for a packet that is far from its stream: a stray, or
    /// the first one behind a jump, which the next one confirms.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        sequence: SequenceNumber,
        timestamp: MediaTime,
        bytes_on_wire: usize,
    ) -> Option<u64> {
        self.meter.add(now, bytes_on_wire);
        self.reported.bytes += bytes_on_wire as u64;
        let extended = self.extend(now, sequence)?;
        self.newest = Some(now);
        self.received += 1;
        self.received_last_second.add(now, 1);
        self.reported.at.get_or_insert(now);
        self.jitter.handle_packet(now, timestamp);
        Some(extended)
    }

    /// Counts a packet that was sent again, and its bytes: it says nothing about loss and jitter of those that were not.
    pub fn handle_again(&mut self, now: Instant, bytes_on_wire: usize) {
        self.again += 1;
        self.meter.add(now, bytes_on_wire);
        self.reported.bytes += bytes_on_wire as u64;
    }

    /// What to tell the sender; the fraction and the rate are those since the last report.
    pub fn report(&mut self, now: Instant) -> ReportBlock {
        let block = ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: self.fraction_to_report(),
            packets_lost: clamp_to_i32(self.packets_lost()),
            packets_received: self.received as u32,
            jitter: self.jitter.units as u32,
            bitrate_bps: self.rate_to_report(now),
        };
        self.reported = Reported {
            at: self.reported.at.map(|_| now),
            expected: self.expected(),
            received: self.received,
            bytes: 0,
        };
        block
    }

    /// Packets that arrived, since the stream began.
    pub fn packets_received(&self) -> u64 {
        self.received
    }

    /// Packets that arrived although they, or what they bring, had been lost before; not among the others.
    pub fn packets_again(&self) -> u64 {
        self.again
    }

    /// Packets that did not, since the stream began; doubled ones can make it negative.
    pub fn packets_lost(&self) -> i64 {
        self.expected() as i64 - self.received as i64
    }

    /// When a packet came last.
    pub(crate) fn newest(&self) -> Option<Instant> {
        self.newest
    }

    /// Share of packets lost over the last second, 0.0..=1.0.
    pub fn fraction_lost(&self, now: Instant) -> f32 {
        let expected = self.expected_last_second.sum(now);
        let lost = expected.saturating_sub(self.received_last_second.sum(now));
        lost as f32 / expected.max(1) as f32
    }

    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub fn jitter(&self) -> Duration {
        Duration::from_secs_f64(self.jitter.units / self.jitter.clock_rate_hz)
    }

    /// Bits per second over the last second.
    pub fn bitrate_bps(&self, now: Instant) -> u64 {
        self.meter.bits_per_second(now)
    }

    /// RFC 3550 appendix A.3.
    fn expected(&self) -> u64 {
        let span = self.sequence.map_or(0, |span| span.highest - span.first + 1);
        self.expected_before + span
    }

    fn fraction_to_report(&self) -> u8 {
        let expected = self.expected() - self.reported.expected;
        let received = self.received - self.reported.received;
        let lost = expected.saturating_sub(received);
        (256 * lost / expected.max(1)).min(255) as u8
    }

    fn rate_to_report(&self, now: Instant) -> u32 {
        let since = self.reported.at.map(|at| now.saturating_duration_since(at));
        let millis = since.map_or(0, |since| since.as_millis() as u64);
        if millis == 0 {
            return 0;
        }
        u32::try_from(8_000 * self.reported.bytes / millis).unwrap_or(u32::MAX)
    }

    /// RFC 3550 appendix A.1, without the probation: an authenticated packet needs none.
    fn extend(&mut self, now: Instant, sequence: SequenceNumber) -> Option<u64> {
        let Some(span) = &mut self.sequence else {
            return Some(self.begin_span(now, sequence));
        };
        let ahead = sequence.distance(SequenceNumber(span.highest as u16));
        if !(-MISORDER_MAX..=DROPOUT_MAX).contains(&ahead) {
            if span.after_jump == Some(sequence) {
                self.expected_before = self.expected();
                return Some(self.begin_span(now, sequence));
            }
            span.after_jump = Some(sequence.next());
            return None;
        }
        let extended = span.highest.saturating_add_signed(i64::from(ahead));
        if extended > span.highest {
            self.expected_last_second.add(now, extended - span.highest);
            span.highest = extended;
        }
        // A packet from before the first one: the stream began earlier than it seemed.
        span.first = span.first.min(extended);
        span.after_jump = None;
        Some(extended)
    }

    fn begin_span(&mut self, now: Instant, sequence: SequenceNumber) -> u64 {
        // A round ahead of zero, so that there is room for packets from before the first.
        let extended = (1 << 16) + u64::from(sequence.0);
        self.sequence = Some(Span { first: extended, highest: extended, after_jump: None });
        self.expected_last_second.add(now, 1);
        extended
    }
}

/// Media time units a second of a stream of this kind.
pub fn clock_rate_hz(kind: StreamKind) -> u32 {
    match kind {
        StreamKind::Audio => AUDIO_CLOCK_RATE_HZ,
        StreamKind::Video => VIDEO_CLOCK_RATE_HZ,
    }
}

/// The estimator of RFC 3550 appendix A.8, fed once for each media time: the parts of a video frame share theirs and
/// are spread on purpose.
#[derive(Clone, Debug)]
struct Jitter {
    clock_rate_hz: f64,
    /// Arrival and media time of the packet with the newest media time.
    newest: Option<(Instant, MediaTime)>,
    /// The estimate, in units of media time.
    units: f64,
}

impl Jitter {
    fn new(clock_rate_hz: u32) -> Self {
        Self { clock_rate_hz: f64::from(clock_rate_hz), newest: None, units: 0.0 }
    }

    fn handle_packet(&mut self, now: Instant, timestamp: MediaTime) {
        if let Some((arrival, newest)) = self.newest {
            let sent = timestamp.distance(newest);
            let arrived = now.saturating_duration_since(arrival).as_secs_f64() * self.clock_rate_hz;
            let difference = (arrived - f64::from(sent)).abs();
            // A second apart or more is another beginning, not jitter.
            let continues = difference < self.clock_rate_hz;
            if continues && sent <= 0 {
                return;
            }
            if continues {
                self.units += (difference - self.units) / 16.0;
            }
        }
        self.newest = Some((now, timestamp));
    }
}

fn clamp_to_i32(number: i64) -> i32 {
    number.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MemberId;
    use crate::virtual_time;
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    const MILLI: Duration = Duration::from_millis(1);

    struct Stream {
        start: Instant,
        statistics: ReceptionStatistics,
    }

    impl Stream {
        fn audio() -> Self {
            let ssrc = Ssrc::new(MemberId(1), StreamKind::Audio);
            Self { start: virtual_time(), statistics: ReceptionStatistics::new(ssrc) }
        }

        /// Block `number` of 10 ms arrives `late_ms` after it was sent.
        fn arrive(&mut self, number: u32, late_ms: u32) -> Option<u64> {
            let now = self.at(10 * number + late_ms);
            let sequence = SequenceNumber(number.wrapping_add(65_500) as u16);
            self.statistics.handle_packet(now, sequence, MediaTime(number * 480), 1_000)
        }

        fn expect(&mut self, number: u32, late_ms: u32) {
            assert!(self.arrive(number, late_ms).is_some());
        }

        fn at(&self, millis: u32) -> Instant {
            self.start + millis * MILLI
        }
    }

    #[test]
    fn a_clean_stream_has_no_loss_and_no_jitter() {
        let mut stream = Stream::audio();
        for number in 0..500 {
            assert_eq!(stream.arrive(number, 5), Some(u64::from(65_536 + 65_500 + number)));
        }
        let now = stream.at(5_000);
        let statistics = &stream.statistics;
        assert_eq!((statistics.packets_received(), statistics.packets_lost()), (500, 0));
        assert_eq!((statistics.fraction_lost(now), statistics.jitter()), (0.0, Duration::ZERO));
        assert!((795_000..=805_000).contains(&statistics.bitrate_bps(now)));
    }

    #[test]
    fn a_tenth_lost_is_reported_as_a_tenth() {
        let mut stream = Stream::audio();
        (0..200).filter(|n| n % 10 != 5).for_each(|n| stream.expect(n, 0));
        let first = stream.statistics.report(stream.at(2_000));
        assert_eq!((first.fraction_lost, first.packets_lost, first.packets_received), (25, 20, 180));
        assert_eq!(first.bitrate_bps, 720_000);
        assert!((stream.statistics.fraction_lost(stream.at(2_000)) - 0.1).abs() < 0.01);
        (200..300).for_each(|n| stream.expect(n, 0));
        let second = stream.statistics.report(stream.at(3_000));
        assert_eq!((second.fraction_lost, second.packets_lost, second.bitrate_bps), (0, 20, 800_000));
        assert_eq!(stream.statistics.fraction_lost(stream.at(3_010)), 0.0);
    }

    #[test]
    fn a_report_without_packets_is_empty() {
        let mut stream = Stream::audio();
        let report = stream.statistics.report(stream.at(10));
        assert_eq!((report.fraction_lost, report.packets_lost, report.bitrate_bps), (0, 0, 0));
    }

    #[test]
    fn reordering_is_not_loss() {
        let mut stream = Stream::audio();
        for pair in 0..100 {
            stream.arrive(2 * pair + 1, 0);
            stream.arrive(2 * pair, 11);
        }
        assert_eq!(stream.statistics.packets_lost(), 0);
        assert_eq!(stream.statistics.fraction_lost(stream.at(2_000)), 0.0);
        assert_eq!(stream.statistics.report(stream.at(2_000)).fraction_lost, 0);
    }

    #[test]
    fn a_jump_restarts_once_the_next_packet_confirms_it() {
        let mut stream = Stream::audio();
        (0..10).for_each(|n| stream.expect(n, 0));
        assert_eq!(stream.arrive(20_000, 0), None);
        assert!(stream.arrive(10, 0).is_some());
        assert_eq!(stream.arrive(20_001, 0), None);
        assert!(stream.arrive(20_002, 0).is_some());
        assert!(stream.arrive(20_003, 0).is_some());
        assert_eq!(stream.statistics.packets_lost(), 0);
        assert_eq!(stream.statistics.packets_received(), 13);
    }

    #[test]
    fn jitter_is_that_of_the_arrivals() {
        let mut stream = Stream::audio();
        let mut random = StdRng::seed_from_u64(3);
        // The mean difference of two uniform times in 0..=9 is 3.3 ms.
        (0..2_000).for_each(|n| stream.expect(n, random.random_range(0..=9)));
        let millis = stream.statistics.jitter().as_secs_f64() * 1_000.0;
        assert!((2.0..=4.5).contains(&millis), "{millis}");
        let reported = f64::from(stream.statistics.report(stream.at(20_000)).jitter) / 48.0;
        assert!((reported - millis).abs() < 0.1);
    }

    #[test]
    fn the_spread_parts_of_a_frame_are_not_jitter() {
        let start = virtual_time();
        let mut statistics = ReceptionStatistics::new(Ssrc::new(MemberId(1), StreamKind::Video));
        for packet in 0..1_000_u16 {
            let (frame, part) = (u32::from(packet / 10), u32::from(packet % 10));
            let now = start + (100 * frame + 3 * part) * MILLI;
            statistics.handle_packet(now, SequenceNumber(packet), MediaTime(9_000 * frame), 1_000);
        }
        assert!(statistics.jitter() < Duration::from_micros(1));
    }

    #[test]
    fn a_pause_of_the_microphone_is_neither_loss_nor_jitter() {
        let mut stream = Stream::audio();
        let mut sequence = SequenceNumber(0);
        for number in (0..100).chain(800..900_u32) {
            let now = stream.at(10 * number);
            stream.statistics.handle_packet(now, sequence, MediaTime(480 * number), 1_000);
            sequence = sequence.next();
        }
        assert_eq!(stream.statistics.packets_lost(), 0);
        assert_eq!(stream.statistics.jitter(), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn no_packets_make_it_panic(packets in proptest::collection::vec(any::<(u16, u32, u16)>(), 0..200)) {
            let mut stream = Stream::audio();
            let mut now = stream.start;
            for (sequence, timestamp, millis) in packets {
                now += u32::from(millis) * MILLI;
                stream.statistics.handle_packet(now, SequenceNumber(sequence), MediaTime(timestamp), 1_200);
                let lost = stream.statistics.fraction_lost(now);
                prop_assert!((0.0..=1.0).contains(&lost));
                if millis % 2 == 0 {
                    stream.statistics.report(now);
                }
            }
        }
    }
}
