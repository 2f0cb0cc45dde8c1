//! The other members' streams: each into its own playout buffer or frame assembler, all speakers into one mix.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::endpoint::speaker::Speaker;
use crate::endpoint::{Event, ssrc};
use crate::ids::{MemberId, Ssrc, StreamKind};
use crate::limits::{AUDIO_AGAIN_PATIENCE, AUDIO_BLOCK_SAMPLES, STREAMS_MAX};
use crate::path::fresh;
use crate::path::stream_reception::ReceptionStatistics;
use crate::picture::blocks::FrameAssembler;
use crate::stats::{InboundMedia, InboundStream};
use crate::voice::mixer::Mixer;
use crate::voice::mos::mean_opinion_score;
use crate::voice::pcm::Block;
use crate::wire::Malformed;
use crate::wire::audio::AudioPacket;
use crate::wire::media::{ReportBlock, VideoHeader};

#[derive(Debug)]
pub(super) struct Receiving {
    you: MemberId,
    audio: BTreeMap<MemberId, Speaker>,
    video: BTreeMap<MemberId, VideoStream>,
    /// Those whose video was asked for; everybody's before anything was.
    watched: Option<BTreeSet<MemberId>>,
    mixer: Mixer,
    /// Level and time of the last block each member, ourselves included, was heard with.
    levels: BTreeMap<MemberId, (u8, Instant)>,
    speaking: Vec<MemberId>,
    events: VecDeque<Event>,
}

#[derive(Debug)]
struct VideoStream {
    reception: ReceptionStatistics,
    assembler: FrameAssembler,
}

/// Louder than this (in -dBov, so: below) is speaking; a quiet room is at 60 and more.
const SPEAKING_LEVEL: u8 = 50;
/// A speaker is shown for this long after the last loud block, so that the mark does not flicker between words.
const SPEAKING_HANGOVER: Duration = Duration::from_millis(400);

impl Receiving {
    pub(super) fn new(you: MemberId) -> Self {
        Self {
            you,
            audio: BTreeMap::new(),
            video: BTreeMap::new(),
            watched: None,
            mixer: Mixer::default(),
            levels: BTreeMap::new(),
            speaking: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// The member whose stream this is, if a stream of ours or one too many it is not.
    fn sender(&self, ssrc: Ssrc, kind: StreamKind) -> Result<MemberId, Malformed> {
        let member = ssrc.member();
        let known = match kind {
            StreamKind::Audio => self.audio.contains_key(&member) || self.audio.len() < STREAMS_MAX,
            StreamKind::Video => self.video.contains_key(&member) || self.video.len() < STREAMS_MAX,
        };
        if known && ssrc.kind() == kind && member != self.you { Ok(member) } else { Err(Malformed) }
    }

    pub(super) fn handle_audio(&mut self, now: Instant, body: &[u8], bytes: usize) -> Result<(), Malformed> {
        let packet = AudioPacket::parse(body)?;
        let ssrc = packet.media.ssrc;
        let member = self.sender(ssrc, StreamKind::Audio)?;
        let speaker = self.audio.entry(member).or_insert_with(|| Speaker::new(ssrc));
        speaker.handle_packet(now, &packet, bytes)?;
        self.hear(now, member, packet.level);
        Ok(())
    }

    pub(super) fn handle_video(&mut self, now: Instant, body: &[u8], bytes: usize) -> Result<(), Malformed> {
        let (header, runs, scan) = VideoHeader::parse(body)?;
        let member = self.sender(header.media.ssrc, StreamKind::Video)?;
        let stream = self.video.entry(member).or_insert_with(|| VideoStream {
            reception: ReceptionStatistics::new(header.media.ssrc),
            assembler: FrameAssembler::new(header.media.ssrc),
        });
        let media = header.media;
        if header.again() {
            stream.reception.handle_again(now, bytes);
        } else {
            stream.reception.handle_packet(now, media.sequence, media.timestamp, bytes);
        }
        stream.assembler.handle_packet(now, &header, runs, scan);
        Ok(())
    }

    pub(super) fn watch(&mut self, members: impl Iterator<Item = MemberId>) {
        let watched: BTreeSet<_> = members.collect();
        let before = |member: &MemberId| self.watched.as_ref().is_none_or(|before| before.contains(member));
        self.video.retain(|member, _| watched.contains(member) && before(member));
        self.watched = Some(watched);
    }

    /// How late what is sent again may come and be heard.
    pub(super) fn audio_patience(&self) -> Duration {
        let delays = self.audio.values().map(|stream| stream.playout.target_delay());
        delays.fold(AUDIO_AGAIN_PATIENCE, Duration::max)
    }

    /// Our own voice counts among those who speak.
    pub(super) fn hear_ourselves(&mut self, now: Instant, level: Option<u8>) {
        if let Some(level) = level {
            self.hear(now, self.you, level);
        }
        self.update_speaking(now);
    }

    fn hear(&mut self, now: Instant, member: MemberId, level: u8) {
        if level < SPEAKING_LEVEL {
            self.levels.insert(member, (level, now));
        }
        self.update_speaking(now);
    }

    fn update_speaking(&mut self, now: Instant) {
        self.levels.retain(|_, (_, heard)| now.saturating_duration_since(*heard) < SPEAKING_HANGOVER);
        // The same people in another order of loudness are no news.
        let same =
            self.levels.len() == self.speaking.len() && self.speaking.iter().all(|id| self.levels.contains_key(id));
        if same {
            return;
        }
        let mut speaking: Vec<_> = self.levels.iter().map(|(member, (level, _))| (*level, *member)).collect();
        speaking.sort_unstable();
        self.speaking = speaking.into_iter().map(|(_, member)| member).collect();
        self.events.push_back(Event::Speaking(self.speaking.clone()));
    }

    pub(super) fn pull_audio(&mut self, now: Instant, block: &mut Block) {
        for stream in self.audio.values_mut() {
            let mut voice = [0; AUDIO_BLOCK_SAMPLES];
            stream.pull(now, &mut voice);
            self.mixer.add(&voice);
        }
        self.mixer.mix(block);
    }

    pub(super) fn poll_event(&mut self, now: Instant) -> Option<Event> {
        let frame = self.video.values_mut().find_map(|stream| stream.assembler.poll_frame(now));
        frame.map(Event::Frame).or_else(|| self.events.pop_front())
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.video.values().filter_map(|stream| stream.assembler.poll_timeout()).min()
    }

    /// Adds a block for each stream to a report.
    pub(super) fn report(&mut self, now: Instant, blocks: &mut Vec<ReportBlock>) {
        self.update_speaking(now);
        blocks.clear();
        blocks.extend(self.audio.values_mut().map(|stream| stream.reception.report(now)));
        blocks.extend(self.video.values_mut().map(|stream| stream.reception.report(now)));
    }

    pub(super) fn remove_member(&mut self, member: MemberId) {
        self.audio.remove(&member);
        self.video.remove(&member);
        self.levels.remove(&member);
    }

    /// `round_trip` is that to the server.
    pub(super) fn statistics(&self, now: Instant, round_trip: Option<Duration>) -> Vec<InboundStream> {
        let audio = self.audio.iter().map(|(member, stream)| {
            let (concealed, delay) = (stream.fraction_concealed(now), stream.playout.playout_delay());
            let media = InboundMedia::Audio {
                playout: stream.playout.statistics(),
                fraction_concealed: concealed,
                playout_delay: delay,
                mean_opinion_score: round_trip
                    .filter(|_| fresh(now, stream.reception.newest()).is_some())
                    .map(|way| mean_opinion_score(way + delay, concealed.into()) as f32),
            };
            inbound(now, ssrc(*member, StreamKind::Audio), &stream.reception, media)
        });
        let video = self.video.iter().map(|(member, stream)| {
            let shown = stream.assembler.last_shown();
            let media = InboundMedia::Video {
                frames: stream.assembler.statistics(),
                freezes: stream.assembler.freezes(),
                frames_per_second: stream.assembler.frames_per_second(now),
                rung: shown.map_or(0, |(rung, _)| rung.index),
                quality: shown.map_or(0, |(_, quality)| quality),
            };
            inbound(now, ssrc(*member, StreamKind::Video), &stream.reception, media)
        });
        audio.chain(video).collect()
    }
}

fn inbound(now: Instant, ssrc: Ssrc, reception: &ReceptionStatistics, media: InboundMedia) -> InboundStream {
    let measured = fresh(now, reception.newest());
    InboundStream {
        ssrc,
        packets_received: reception.packets_received(),
        packets_lost: reception.packets_lost(),
        retransmitted_packets_received: reception.packets_again(),
        fraction_lost: measured.map(|_| reception.fraction_lost(now)),
        jitter: measured.map(|_| reception.jitter()),
        bitrate_bps: reception.bitrate_bps(now),
        media,
    }
}
