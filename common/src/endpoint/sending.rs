//! Our own streams: audio at once, video paced, and what their receivers say of them.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::endpoint::parts::{SentParts, TAGS_END};
use crate::endpoint::ssrc;
use crate::endpoint::voice::Voice;
use crate::ids::{MemberId, Ssrc, StreamKind};
use crate::limits::{AUDIO_CLOCK_RATE_HZ, ROOM_MEMBERS_MAX, VIDEO_CLOCK_RATE_HZ};
use crate::limits::{DATAGRAM_HEADER_BYTES, DATAGRAM_TAG_BYTES};
use crate::path::bandwidth::Bandwidth;
use crate::path::meter::{BitrateMeter, IP_UDP_HEADER_BYTES};
use crate::path::{Fate, fresh};
use crate::picture::blocks::{CodedFrame, LostBlocks, Packetizer};
use crate::picture::ladder::{Ladder, Rung, VideoTarget};
use crate::picture::pacer::{PART_OVERHEAD_BYTES, Pacer};
use crate::sequence::SendTime;
use crate::stats::{OutboundStream, RemoteInbound};
use crate::voice::pack::DetailChoice;
use crate::voice::pcm::Block;
use crate::wire::datagram::Kind;
use crate::wire::feedback::VIDEO_UNLIMITED;
use crate::wire::media::{Report, ReportBlock};

#[derive(Debug)]
pub(super) struct Sending {
    you: MemberId,
    voice: Voice,
    detail: DetailChoice,
    audio: Counters,
    video: Counters,
    packetizer: Packetizer,
    pacer: Pacer,
    parts: SentParts,
    /// Of the packet of video that was written last.
    tag: u32,
    /// What is to be coded again, at most [`LOST_MAX`].
    lost: VecDeque<LostBlocks>,
    ladder: Ladder,
    /// A queue on the path drains, and no video leaves before.
    video_waits_until: Instant,
    /// The newest report of each receiver, and when it came.
    remote: BTreeMap<(Ssrc, MemberId), (Instant, RemoteInbound)>,
}

#[derive(Debug, Default)]
struct Counters {
    packets_sent: u64,
    meter: BitrateMeter,
}

impl Counters {
    fn count(&mut self, now: Instant, plaintext_bytes: usize) {
        self.packets_sent += 1;
        self.count_again(now, plaintext_bytes);
    }

    /// Counts the bytes of a packet that is sent again.
    fn count_again(&mut self, now: Instant, plaintext_bytes: usize) {
        self.meter.add(now, plaintext_bytes + DATAGRAM_HEADER_BYTES + DATAGRAM_TAG_BYTES + IP_UDP_HEADER_BYTES);
    }
}

/// Losses that wait to be taken: all packets of a second. What is beyond comes with the refresh.
const LOST_MAX: usize = 1_024;

impl Sending {
    pub(super) fn new(now: Instant, you: MemberId) -> Self {
        Self {
            you,
            voice: Voice::new(you),
            detail: DetailChoice::default(),
            audio: Counters::default(),
            video: Counters::default(),
            packetizer: Packetizer::new(ssrc(you, StreamKind::Video)),
            pacer: Pacer::new(),
            parts: SentParts::new(),
            tag: 0,
            lost: VecDeque::new(),
            ladder: Ladder::new(),
            video_waits_until: now,
            remote: BTreeMap::new(),
        }
    }

    /// Takes a block of the microphone; answers its level if it is to be sent.
    pub(super) fn push_audio(&mut self, block: &Block) -> Option<u8> {
        self.voice.push(block)
    }

    pub(super) fn send_silence(&mut self, on: bool) {
        self.voice.send_silence(on);
    }

    pub(super) fn poll_audio(&mut self, now: Instant, send_time: SendTime, plaintext: &mut [u8]) -> Option<usize> {
        plaintext[0] = Kind::Audio as u8;
        if let Some(length) = self.voice.poll_again(send_time, &mut plaintext[1..]) {
            self.audio.count_again(now, 1 + length);
            return Some(1 + length);
        }
        let length = 1 + self.voice.poll(send_time, &mut plaintext[1..])?;
        self.audio.count(now, length);
        Some(length)
    }

    pub(super) fn push_video(&mut self, now: Instant, frame: CodedFrame) {
        let bytes = frame.parts.iter().map(|part| part.scan.len() + PART_OVERHEAD_BYTES).sum();
        // Blocks that stand still come better than the ladder asked for.
        let quality = frame.parts.iter().map(|part| part.quality).min();
        quality.into_iter().for_each(|quality| self.ladder.handle_frame(frame.rung, quality, bytes));
        let rate = self.ladder.target().frames_per_second.max(1);
        self.pacer.push(now, frame, Duration::from_secs(1) / u32::from(rate));
        if self.video_waits_until > now {
            self.pacer.clear();
        }
        self.collect_unsent();
    }

    /// What the pacer dropped is to be coded again.
    fn collect_unsent(&mut self) {
        while let Some(unsent) = self.pacer.poll_unsent() {
            self.lose(unsent);
        }
    }

    /// The next hop told what became of the packet of media with this tag.
    pub(super) fn settle(&mut self, tag: u32, fate: Fate) {
        if tag < TAGS_END {
            self.parts.settle(tag, fate).into_iter().for_each(|lost| self.lose(lost));
            return;
        }
        match fate {
            Fate::Arrived => {}
            Fate::Lost => self.voice.handle_lost(tag),
            Fate::Missing(age) => self.voice.handle_missing(tag, age),
        }
    }

    fn lose(&mut self, lost: LostBlocks) {
        if self.lost.len() >= LOST_MAX {
            self.lost.pop_front();
        }
        self.lost.push_back(lost);
    }

    /// Blocks to be coded again.
    pub(super) fn poll_lost(&mut self) -> Option<LostBlocks> {
        self.lost.pop_front()
    }

    /// By what the datagram written last is named when it is heard of again; 0 when nobody asks.
    pub(super) fn tag(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Audio => self.voice.tag(),
            Kind::Video => self.tag,
            Kind::Segment | Kind::Report | Kind::Ping | Kind::Pong | Kind::Feedback => 0,
        }
    }

    pub(super) fn poll_video(&mut self, now: Instant, send_time: SendTime, plaintext: &mut [u8]) -> Option<usize> {
        loop {
            let paced = self.pacer.poll(now)?;
            let packet = &mut plaintext[1..];
            let bytes = self.packetizer.write_part(paced.frame, paced.index, send_time, packet);
            // A part that fits no packet was counted; the next one may.
            if bytes > 0 {
                plaintext[0] = Kind::Video as u8;
                self.tag = self.parts.note(paced.frame, paced.index);
                self.video.count(now, 1 + bytes);
                return Some(1 + bytes);
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.pacer.poll_timeout()
    }

    pub(super) fn video_target(&self) -> VideoTarget {
        self.ladder.target()
    }

    pub(super) fn limit_video(&mut self, largest: Rung) {
        self.ladder.limit(largest);
    }

    /// The path carries so much: voice first, the rest is for the picture, as far as somebody wants it.
    pub(super) fn handle_bandwidth(&mut self, now: Instant, bandwidth: &Bandwidth, video_wanted: u16) {
        let wanted = if video_wanted == VIDEO_UNLIMITED { f64::INFINITY } else { f64::from(video_wanted) * 1e3 };
        let pictures = self.video.meter.bits_per_second(now);
        self.voice.set_detail(self.detail.handle_path(now, bandwidth, 1, pictures));
        let voice = self.audio.meter.rising_bits_per_second(now);
        let budget = bandwidth.target_bps().saturating_sub(voice) as f64;
        self.ladder.handle_budget(now, budget.min(wanted));
        // A burst that our path carries may be too much for one behind it.
        let free = budget.min(wanted);
        self.pacer.set_path((free + voice as f64) as u64, free as u64);
        if let Some(until) = bandwidth.video_waits_until(now) {
            self.video_waits_until = until;
            self.pacer.clear();
            self.collect_unsent();
        }
    }

    /// A receiver, or the server, tells how our streams arrive.
    pub(super) fn handle_report(&mut self, now: Instant, report: Report<'_>) {
        for block in report.blocks().filter(|block| block.ssrc.member() == self.you) {
            let key = (block.ssrc, report.reporter);
            if !self.remote.contains_key(&key) && self.remote.len() >= 2 * (ROOM_MEMBERS_MAX + 1) {
                continue;
            }
            let remote = remote(report.reporter, block);
            if block.ssrc.kind() == StreamKind::Audio {
                self.voice.handle_losses(report.reporter, remote.fraction_lost);
            }
            self.remote.insert(key, (now, remote));
        }
    }

    pub(super) fn remove_receiver(&mut self, member: MemberId) {
        self.remote.retain(|(_, reporter), _| *reporter != member);
        self.voice.remove_receiver(member);
    }

    pub(super) fn statistics(&self, now: Instant) -> Vec<OutboundStream> {
        [(StreamKind::Audio, &self.audio), (StreamKind::Video, &self.video)]
            .into_iter()
            .filter(|(_, counters)| counters.packets_sent > 0)
            .map(|(kind, counters)| {
                let ssrc = ssrc(self.you, kind);
                OutboundStream {
                    ssrc,
                    packets_sent: counters.packets_sent,
                    bitrate_bps: counters.meter.bits_per_second(now),
                    remote: self
                        .remote
                        .iter()
                        .filter(|((id, _), (at, _))| *id == ssrc && fresh(now, Some(*at)).is_some())
                        .map(|(_, (_, remote))| remote.clone())
                        .collect(),
                }
            })
            .collect()
    }
}

fn remote(reporter: MemberId, block: ReportBlock) -> RemoteInbound {
    let clock_rate_hz = match block.ssrc.kind() {
        StreamKind::Audio => AUDIO_CLOCK_RATE_HZ,
        StreamKind::Video => VIDEO_CLOCK_RATE_HZ,
    };
    RemoteInbound {
        reporter,
        fraction_lost: f32::from(block.fraction_lost) / 256.0,
        packets_lost: i64::from(block.packets_lost),
        jitter: Duration::from_secs_f64(f64::from(block.jitter) / f64::from(clock_rate_hz)),
        bitrate_bps: u64::from(block.bitrate_bps),
    }
}
