//! What a member sends: blocks of sound and parts of pictures, each with the moment of its sending inside.
//!
//! A media timestamp is that of the capture, and the parts of a frame share one, however long they were paced. So the
//! last four bytes of the payload (the first of the sound) say when the datagram itself was sent, in microseconds of
//! the run's clock: no server looks at them, and one process sends and receives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::ids::{MemberId, Ssrc, StreamKind};
use common::limits::{AUDIO_BLOCK, AUDIO_BLOCK_SAMPLES, VIDEO_CLOCK_RATE_HZ};
use common::picture::blocks::CodedFrame;
use common::sequence::{FrameId, MediaTime, SendTime, SequenceNumber};
use common::wire::audio::BLOCK_BYTES;
use common::wire::audio::{AudioPacket, Sound};
use common::wire::datagram::Kind;
use common::wire::media::{MediaHeader, VideoHeader};

use super::clip::Clip;

/// The clock of a run: microseconds since its begin, modulo 2^32 (71 minutes, longer than a run).
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn new(began: Instant) -> Self {
        Self(began)
    }

    pub(super) fn micros(self, at: Instant) -> u32 {
        at.saturating_duration_since(self.0).as_micros() as u32
    }

    /// How long ago `sent` was, or `None` when nothing of this run was sent then.
    fn since(self, sent: u32, now: Instant) -> Option<Duration> {
        let passed = Duration::from_micros(u64::from(self.micros(now).wrapping_sub(sent)));
        (passed < LATENCY_MAX).then_some(passed)
    }

    /// How long the datagram was on its way that has this payload.
    pub(super) fn latency(self, kind: StreamKind, payload: &[u8], now: Instant) -> Option<Duration> {
        let bytes = match kind {
            StreamKind::Audio => payload.first_chunk(),
            StreamKind::Video => payload.last_chunk(),
        };
        self.since(u32::from_be_bytes(*bytes?), now)
    }

    /// What a ping that is sent now says.
    pub(super) fn ping(self, now: Instant) -> [u8; 8] {
        u64::from(self.micros(now)).to_be_bytes()
    }

    /// How long ago the ping was sent that this pong answers.
    pub(super) fn round_trip(self, pong: &[u8], now: Instant) -> Option<Duration> {
        let sent = u64::from_be_bytes(pong.try_into().ok()?);
        self.since(sent.try_into().ok()?, now)
    }
}

/// What is older was not sent by this run.
const LATENCY_MAX: Duration = Duration::from_secs(60);
/// A source that is this far behind goes on from here: it does not send what nobody would.
const CATCH_UP_MAX: Duration = Duration::from_millis(500);

/// A member who speaks all the time.
#[derive(Debug)]
pub(super) struct AudioSource {
    ssrc: Ssrc,
    level: u8,
    sequence: SequenceNumber,
    timestamp: MediaTime,
    pub(super) due: Instant,
}

/// The loudest speaker of a room, -dBov: somebody close to the microphone. The others follow, 1 dB apart, so that who
/// is among the loudest never changes.
const LEVEL_LOUDEST: u8 = 20;

impl AudioSource {
    /// The speaker `rank` of a room, 0 is the loudest; below [`common::limits::ROOM_MEMBERS_MAX`].
    pub(super) fn new(start: Instant, you: MemberId, rank: usize) -> Self {
        Self {
            ssrc: Ssrc::new(you, StreamKind::Audio),
            level: LEVEL_LOUDEST + rank as u8,
            sequence: SequenceNumber::default(),
            timestamp: MediaTime::default(),
            due: start,
        }
    }

    /// Writes the block that is due; answers its length, and how many were left out since the last one.
    pub(super) fn write(&mut self, now: Instant, clock: Clock, plaintext: &mut [u8]) -> (usize, u64) {
        let skipped = skip(now, &mut self.due, AUDIO_BLOCK);
        let micros = clock.micros(now);
        let media = MediaHeader {
            ssrc: self.ssrc,
            sequence: self.sequence,
            send_time: SendTime(micros),
            timestamp: self.timestamp,
        };
        plaintext[0] = Kind::Audio as u8;
        let mut samples = [0; BLOCK_BYTES];
        // A square wave of 1 kHz.
        samples.chunks_mut(48).enumerate().for_each(|(half, wave)| wave.fill(8 * (half % 2) as u8));
        samples[..4].copy_from_slice(&micros.to_be_bytes());
        let packet =
            AudioPacket { media, level: self.level, again: false, sound: Sound::L16(&samples), copies: [None; 2] };
        let bytes = packet.write(&mut plaintext[1..]);
        self.sequence = self.sequence.next();
        self.timestamp = self.timestamp.plus(AUDIO_BLOCK_SAMPLES as u32);
        (1 + bytes, skipped)
    }
}

/// Moves `due` on by one `interval`, and beyond all that are hopelessly late; answers how many these were.
fn skip(now: Instant, due: &mut Instant, interval: Duration) -> u64 {
    *due += interval;
    let late = now.saturating_duration_since(*due);
    if late < CATCH_UP_MAX {
        return 0;
    }
    let skipped = (late.as_nanos() / interval.as_nanos()) as u32;
    *due += interval * skipped;
    u64::from(skipped)
}

/// A member whose camera is on.
#[derive(Debug)]
pub(super) struct VideoSource {
    clip: Arc<Clip>,
    ssrc: Ssrc,
    sequence: SequenceNumber,
    frame: FrameId,
    timestamp: MediaTime,
    /// Into the clip.
    index: usize,
    part: usize,
    frame_due: Instant,
    /// When the next part is to be sent.
    pub(super) due: Instant,
    /// From one part of this frame to the next.
    gap: Duration,
    /// From one frame to the next.
    interval: Duration,
    pace: Pace,
}

/// How the parts of a frame follow each other.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// As the pacer of a real sender has it.
    Camera,
    /// One after the other without a pause, at this rate.
    Flood { bits_per_second: u64 },
}

/// As the pacer of a real sender: at this rate, or faster if that would take more than half the interval.
const PACE_BPS: u64 = 8_000_000;
/// Header, tag, IP and UDP: what a part weighs beyond its scan.
const PART_OVERHEAD_BYTES: usize = 85;

impl VideoSource {
    pub(super) fn camera(start: Instant, you: MemberId, clip: Arc<Clip>) -> Self {
        let interval = clip.interval;
        Self::new(start, you, clip, interval, Pace::Camera)
    }

    pub(super) fn flood(start: Instant, you: MemberId, clip: Arc<Clip>, mbits: u32) -> Self {
        let pace = Pace::Flood { bits_per_second: u64::from(mbits) * 1_000_000 };
        Self::new(start, you, clip, Duration::ZERO, pace)
    }

    fn new(start: Instant, you: MemberId, clip: Arc<Clip>, interval: Duration, pace: Pace) -> Self {
        let mut source = Self {
            clip,
            ssrc: Ssrc::new(you, StreamKind::Video),
            sequence: SequenceNumber::default(),
            frame: FrameId::default(),
            timestamp: MediaTime::default(),
            index: 0,
            part: 0,
            frame_due: start,
            due: start,
            gap: Duration::ZERO,
            interval,
            pace,
        };
        source.begin_frame();
        source
    }

    /// Writes the part that is due; answers its length, and how many frames were left out before it.
    pub(super) fn write(&mut self, now: Instant, clock: Clock, plaintext: &mut [u8]) -> (usize, u64) {
        let micros = clock.micros(now);
        if self.part == 0 {
            // 90 units of media time are a millisecond.
            let units = u64::from(micros) * u64::from(VIDEO_CLOCK_RATE_HZ) / 1_000_000;
            self.timestamp = MediaTime(units as u32);
        }
        let length = self.write_part(SendTime(micros), plaintext);
        plaintext[length - 4..length].copy_from_slice(&micros.to_be_bytes());
        self.sequence = self.sequence.next();
        self.part += 1;
        self.due += self.gap;
        if self.part < self.frame().parts.len() {
            return (length, 0);
        }
        (length, self.end_frame(now))
    }

    fn frame(&self) -> &CodedFrame {
        &self.clip.frames[self.index]
    }

    fn write_part(&self, send_time: SendTime, plaintext: &mut [u8]) -> usize {
        let frame = self.frame();
        let part = &frame.parts[self.part];
        let header = VideoHeader {
            media: MediaHeader { ssrc: self.ssrc, sequence: self.sequence, send_time, timestamp: self.timestamp },
            frame: self.frame,
            part: self.part as u8,
            parts: frame.parts.len() as u8,
            rung: frame.rung.index,
            quality: part.quality,
        };
        plaintext[0] = Kind::Video as u8;
        let front = 1 + header.write(&part.runs, &mut plaintext[1..]);
        let length = front + part.scan.len();
        plaintext[front..length].copy_from_slice(&part.scan);
        length
    }

    fn end_frame(&mut self, now: Instant) -> u64 {
        self.index = (self.index + 1) % self.clip.frames.len();
        self.part = 0;
        let skipped = match self.pace {
            Pace::Camera => skip(now, &mut self.frame_due, self.interval),
            Pace::Flood { .. } => {
                // A flood that cannot keep up is as large as it gets.
                self.frame_due = self.due.max(now.checked_sub(CATCH_UP_MAX).unwrap_or(now));
                0
            }
        };
        self.begin_frame();
        skipped
    }

    fn begin_frame(&mut self) {
        self.frame = self.frame.next();
        self.due = self.frame_due;
        let (parts, bytes) = weight(self.frame());
        let bits_per_second = match self.pace {
            Pace::Camera => PACE_BPS,
            Pace::Flood { bits_per_second } => bits_per_second,
        };
        let at_pace = Duration::from_nanos(bytes as u64 * 8_000_000_000 / bits_per_second);
        let whole = match self.pace {
            Pace::Camera => at_pace.min(self.interval / 2),
            Pace::Flood { .. } => at_pace,
        };
        self.gap = whole / parts.max(1) as u32;
    }
}

/// Parts of a frame, and their bytes on the line.
fn weight(frame: &CodedFrame) -> (usize, usize) {
    let bytes = frame.parts.iter().map(|part| part.scan.len() + PART_OVERHEAD_BYTES).sum();
    (frame.parts.len(), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::limits::PLAINTEXT_BASE_BYTES;
    use common::picture::ladder::Rung;

    const YOU: MemberId = MemberId(7);

    fn sent(source: &mut VideoSource, clock: Clock) -> (Vec<u8>, Instant) {
        let (mut plaintext, at) = ([0; PLAINTEXT_BASE_BYTES], source.due);
        let (length, _) = source.write(at, clock, &mut plaintext);
        (plaintext[1..length].to_vec(), at)
    }

    #[test]
    fn a_block_says_when_it_was_sent() {
        let start = Instant::now();
        let clock = Clock::new(start);
        let mut source = AudioSource::new(start, YOU, 3);
        let mut plaintext = [0; PLAINTEXT_BASE_BYTES];
        let sent_at = start + Duration::from_micros(1_234);
        let (length, skipped) = source.write(sent_at, clock, &mut plaintext);
        let packet = AudioPacket::parse(&plaintext[1..length]).unwrap();
        let Sound::L16(samples) = packet.sound else { panic!("load is not packed") };
        assert_eq!((packet.level, skipped, source.due), (23, 0, start + AUDIO_BLOCK));
        let now = sent_at + Duration::from_millis(5);
        assert_eq!(clock.latency(StreamKind::Audio, samples, now), Some(Duration::from_millis(5)));
        assert_eq!(clock.latency(StreamKind::Audio, &[0x80; 4], now), None, "of another run");
        assert_eq!(clock.latency(StreamKind::Audio, &[], now), None);
    }

    #[test]
    fn a_frame_leaves_in_parts_within_half_its_interval() {
        let start = Instant::now();
        let clock = Clock::new(start);
        let clip = Arc::new(Clip::make(Rung::ALL[1]).unwrap());
        let parts = clip.frames[0].parts.len();
        let mut source = VideoSource::camera(start, YOU, Arc::clone(&clip));
        for part in 0..parts {
            let (packet, at) = sent(&mut source, clock);
            let (header, _, scan) = VideoHeader::parse(&packet).unwrap();
            assert_eq!(usize::from(header.part), part);
            assert!(at < start + clip.interval / 2);
            assert_eq!(clock.latency(StreamKind::Video, scan, at), Some(Duration::ZERO));
        }
        assert_eq!(source.due, start + clip.interval);
    }

    #[test]
    fn a_flood_has_the_rate_it_was_asked_for() {
        let start = Instant::now();
        let clip = Arc::new(Clip::make(Rung::ALL[0]).unwrap());
        let mut source = VideoSource::flood(start, YOU, clip, 10);
        let mut bytes = 0;
        while source.due < start + Duration::from_secs(1) {
            bytes += sent(&mut source, Clock::new(start)).0.len() + 60;
        }
        let mbits = bytes as f64 * 8e-6;
        assert!((9.5..10.5).contains(&mbits), "{mbits}");
    }

    #[test]
    fn who_is_hopelessly_late_does_not_send_it_all_at_once() {
        let start = Instant::now();
        let clock = Clock::new(start);
        let mut source = AudioSource::new(start, YOU, 0);
        let late = start + Duration::from_secs(2);
        let (_, skipped) = source.write(late, clock, &mut [0; PLAINTEXT_BASE_BYTES]);
        assert_eq!(skipped, 199);
        assert_eq!(source.due, late);
    }
}
