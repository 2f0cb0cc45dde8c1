//! One admitted member's data plane, as the relay keeps it: keys, path, queues and channel. What leaves to the member is in
//! [`transmit`].

mod transmit;

use std::collections::VecDeque;
use std::time::Instant;

use crate::allowance::Allowance;
use crate::hub::Grant;
use crate::ids::{ConnectionId, MemberId, MemberKey, RoomId, Ssrc, StreamKind};
use crate::limits::{
    AUDIO_AGAIN_MAX_AGE, AUDIO_BLOCK_SAMPLES, AUDIO_CLOCK_RATE_HZ, AUDIO_DATAGRAMS_BURST, AUDIO_DATAGRAMS_PER_SEC,
    AUDIO_QUEUE_DATAGRAMS, ROOM_MEMBERS_MAX, SEGMENTS_BURST, SEGMENTS_PER_SEC, SIGNALS_BURST, SIGNALS_PER_SEC,
    VIDEO_BYTES_BURST,
};
use crate::listening::Listening;
use crate::path::bandwidth::{Bandwidth, Range};
use crate::path::meter::{BitrateMeter, LastSecond};
use crate::path::stream_reception::ReceptionStatistics;
use crate::path::{AddressPair, Arrivals, Fate, Outgoing};
use crate::relay::numbering::Numbering;
use crate::relay::packets::{Queue, Ring};
use crate::relay::pictures::{PictureId, Pictures, Serial};
use crate::relay::repairs::Repairs;
use crate::relay::speakers::Loudness;
use crate::relay::{RelayLimits, report_plaintext};
use crate::reno::connection::Connection;
use crate::seal::{Opener, Sealer, Secrets};
use crate::sequence::SequenceNumber;
use crate::voice::pack::DetailChoice;
use crate::wire::Malformed;
use crate::wire::audio::AudioDetail;
use crate::wire::datagram::Kind;
use crate::wire::feedback::{Feedback, VIDEO_UNLIMITED};
use crate::wire::message::MessageFramer;

pub(super) use transmit::Source;

/// Keys, address, queues and channel of one member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) connection: ConnectionId,
    pub(super) room: RoomId,
    pub(super) member: MemberId,
    pub(super) opener: Opener,
    sealer: Sealer,
    /// Where the newest datagram that opened came from, and which address of ours it was sent to.
    pub(super) address: Option<AddressPair>,
    /// When the newest datagram came that opened, or since when there is a data plane.
    pub(super) heard: Instant,
    /// What the hub was told of it last.
    counts_as_heard: bool,
    /// Audio and video of others that wait to be sent to this member.
    audio: Waiting,
    video: Waiting,
    /// Stands in the relay's list of members with something else to send.
    pub(super) ready: bool,
    /// Those who get this member's video.
    pub(super) watchers: Vec<MemberKey>,
    /// Whose video this member wants, in order; `None` before it said so, which means everybody's.
    watched: Option<Vec<MemberId>>,
    /// What this member shows, once it sent some of it.
    pub(super) picture: Option<PictureId>,
    /// What this member lacks of the pictures it watches.
    pub(super) repairs: Repairs,
    /// Sent media since it came.
    pub(super) sends: bool,
    pub(super) loudness: Loudness,
    pub(super) numbering: Numbering,
    pub(super) allowances: Allowances,
    pub(super) reno: Connection,
    /// When `reno` asked to be woken, as it stands in the relay's list.
    pub(super) alarm: Option<Instant>,
    pub(super) framer: MessageFramer,
    /// Wrote more messages than allowed; read on at the next tick.
    pub(super) throttled: bool,
    audio_uplink: Option<ReceptionStatistics>,
    video_uplink: Option<ReceptionStatistics>,
    plaintexts: VecDeque<ShortPlaintext>,
    /// What came from this member, and what was sent there.
    pub(super) arrivals: Arrivals,
    pub(super) outgoing: Outgoing,
    /// As [`Feedback`] has it.
    pub(super) video_wanted: u16,
    /// How much of the others' audio this member's path has room for.
    pub(super) audio_detail: AudioDetail,
    detail_choice: DetailChoice,
    /// The path carries less than comes for this member.
    narrow: bool,
    /// What of others' audio goes to this member, in bits and in blocks.
    audio_sent: BitrateMeter,
    audio_blocks: LastSecond,
    /// Video that goes to this member, added up anew at each tick.
    pub(super) video_offered: Offered,
    /// Whose video did not all go to this member as it came, at most [`ROOM_MEMBERS_MAX`].
    passed_over: Vec<PassedOver>,
}

/// Video that comes from others for one member.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offered {
    senders: u64,
    bits_per_second: u64,
}

impl Offered {
    /// Another member sends so much.
    pub(super) fn add(&mut self, bits_per_second: u64) {
        self.senders += 1;
        self.bits_per_second += bits_per_second;
    }
}

/// Video of one sender that was not sent to this member as it came, and that the receiver shall not take for lost.
#[derive(Clone, Copy, Debug)]
struct PassedOver {
    sender: MemberId,
    /// So many the numbers told are behind the sender's.
    packets: u16,
    /// The newest packet that came here.
    newest: SequenceNumber,
}

impl PassedOver {
    /// This packet came and does not go on. What was lost before it on its way here does not go on either.
    fn pass_over(&mut self, sequence: SequenceNumber) {
        self.packets = self.packets.wrapping_add(self.advance(sequence));
    }

    /// This packet goes on.
    fn pass_on(&mut self, sequence: SequenceNumber) {
        self.advance(sequence);
    }

    /// Answers how far ahead of all others it is; 0 for one that was overtaken.
    fn advance(&mut self, sequence: SequenceNumber) -> u16 {
        let ahead = sequence.distance(self.newest);
        if (-REORDERED_MAX..=0).contains(&ahead) {
            return 0;
        }
        self.newest = sequence;
        // Far behind is a sender that counts anew.
        ahead.max(1) as u16
    }
}

/// A packet further behind is none that was overtaken.
const REORDERED_MAX: i16 = 100;
/// A path that carries so many tenths of what is offered gets it as it comes, and is not counted out.
const AMPLE_TENTHS: u64 = 13;
/// Blocks of one voice in a second.
const BLOCKS_PER_SECOND: u64 = (AUDIO_CLOCK_RATE_HZ as usize / AUDIO_BLOCK_SAMPLES) as u64;

/// What is asked of the path to a member: anything, until it shows that it carries less; at least a voice and the smallest
/// picture.
const DOWNLINK: Range = Range { start: 1e9, min: 150e3, max: 1e9 };

/// Media of one kind that waits for a member.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) queue: Queue,
    /// The member stands in the relay's list of those for whom something waits.
    pub(super) ready: bool,
}

/// What a member may send, by kind: who floods with one thing hurts nobody, and not even his own voice.
#[derive(Debug)]
pub(super) struct Allowances {
    pub(super) audio: Allowance,
    pub(super) video_bytes: Allowance,
    pub(super) segments: Allowance,
    /// Reports and pings.
    pub(super) signals: Allowance,
    /// Messages of the reliable channel; more wait.
    pub(super) messages: Allowance,
}

impl Allowances {
    fn new(now: Instant, limits: RelayLimits) -> Self {
        let video_burst = VIDEO_BYTES_BURST.max(limits.video_bytes_per_sec / VIDEO_BURST_DIVISOR);
        Self {
            audio: Allowance::new(now, AUDIO_DATAGRAMS_BURST, AUDIO_DATAGRAMS_PER_SEC),
            video_bytes: Allowance::new(now, video_burst, limits.video_bytes_per_sec),
            segments: Allowance::new(now, SEGMENTS_BURST, SEGMENTS_PER_SEC),
            signals: Allowance::new(now, SIGNALS_BURST, SIGNALS_PER_SEC),
            messages: Allowance::new(now, MESSAGE_BURST, MESSAGES_PER_SEC),
        }
    }
}

/// A tenth of a second of video may come at once where more than usual is allowed.
const VIDEO_BURST_DIVISOR: u32 = 10;

/// Messages a member may write at once on the reliable channel, and per second in the long run; more waits.
const MESSAGE_BURST: u32 = 200;
const MESSAGES_PER_SEC: u32 = 50;
/// Reports and answers waiting for one member; a full room reports twice on each of two streams.
const SHORT_PLAINTEXTS_MAX: usize = 4 * ROOM_MEMBERS_MAX;

impl Member {
    pub(super) fn new(now: Instant, grant: Grant, secrets: &Secrets, limits: RelayLimits) -> Self {
        Self {
            connection: grant.connection_id,
            room: grant.room,
            member: grant.member,
            opener: Opener::new(grant.suite, &secrets.up),
            sealer: Sealer::new(grant.suite, &secrets.down, grant.connection_id),
            address: None,
            heard: now,
            counts_as_heard: true,
            audio: Waiting::default(),
            video: Waiting::default(),
            ready: false,
            watchers: Vec::new(),
            watched: None,
            picture: None,
            repairs: Repairs::default(),
            sends: false,
            loudness: Loudness::default(),
            numbering: Numbering::default(),
            allowances: Allowances::new(now, limits),
            reno: Connection::with_config(now, limits.channel),
            alarm: None,
            framer: MessageFramer::new(),
            throttled: false,
            audio_uplink: None,
            video_uplink: None,
            plaintexts: VecDeque::new(),
            arrivals: Arrivals::new(now),
            outgoing: Outgoing::new(now, Bandwidth::new(now, DOWNLINK)),
            video_wanted: VIDEO_UNLIMITED,
            audio_detail: AudioDetail::default(),
            detail_choice: DetailChoice::default(),
            narrow: false,
            audio_sent: BitrateMeter::default(),
            audio_blocks: LastSecond::default(),
            video_offered: Offered::default(),
            passed_over: Vec::new(),
        }
    }

    /// Whether this member is heard from, where that is another thing than before.
    pub(super) fn hearing_changed(&mut self, now: Instant, listening: &Listening) -> Option<bool> {
        let heard = !listening.silent(now, self.heard);
        (std::mem::replace(&mut self.counts_as_heard, heard) != heard).then_some(heard)
    }

    pub(super) fn is_heard(&self) -> bool {
        self.counts_as_heard
    }

    /// From here on this member gets the video of these, and of nobody else. Answers whose it got before, in order;
    /// `None` for everybody's.
    pub(super) fn watch(&mut self, mut members: Vec<MemberId>) -> Option<Vec<MemberId>> {
        members.sort_unstable();
        // The next tick adds up what these send.
        self.video_offered = Offered::default();
        self.watched.replace(members)
    }

    pub(super) fn watches(&self, member: MemberId) -> bool {
        self.watched.as_ref().is_none_or(|watched| watched.binary_search(&member).is_ok())
    }

    /// The list of watchers, to be made anew, and who they watch.
    pub(super) fn take_watchers(&mut self) -> (MemberId, Vec<MemberKey>) {
        (self.member, std::mem::take(&mut self.watchers))
    }

    /// How this member's stream of that kind arrives here.
    pub(super) fn uplink(&mut self, kind: StreamKind) -> &mut ReceptionStatistics {
        let statistics = match kind {
            StreamKind::Audio => &mut self.audio_uplink,
            StreamKind::Video => &mut self.video_uplink,
        };
        statistics.get_or_insert_with(|| ReceptionStatistics::new(Ssrc::new(self.member, kind)))
    }

    /// A report on the streams this member has sent, or `None` before the first packet.
    pub(super) fn uplink_report(&mut self, now: Instant) -> Option<ShortPlaintext> {
        let audio = self.audio_uplink.as_mut().map(|statistics| statistics.report(now));
        let video = self.video_uplink.as_mut().map(|statistics| statistics.report(now));
        match (audio, video) {
            (Some(audio), Some(video)) => Some(report_plaintext(MemberId::SERVER, &[audio, video])),
            (one, other) => Some(report_plaintext(MemberId::SERVER, &[one.or(other)?])),
        }
    }

    /// Queues a short plaintext; the oldest makes room.
    pub(super) fn queue(&mut self, plaintext: ShortPlaintext) {
        if self.plaintexts.len() >= SHORT_PLAINTEXTS_MAX {
            self.plaintexts.pop_front();
        }
        self.plaintexts.push_back(plaintext);
    }

    /// Answers a ping: the same eight bytes come back.
    pub(super) fn answer(&mut self, kind: Kind, body: &[u8]) -> Result<(), Malformed> {
        if body.len() != PING_BYTES {
            return Err(Malformed);
        }
        self.queue(ShortPlaintext::new(kind, body));
        Ok(())
    }

    /// What came of this member's video within the last second.
    pub(super) fn video_bitrate_bps(&self, now: Instant) -> u64 {
        self.video_uplink.as_ref().map_or(0, |uplink| uplink.bitrate_bps(now))
    }

    /// What the path to this member carries, bits per second; `None` as long as it never showed that it carries no more.
    pub(super) fn path_bps(&self) -> Option<u64> {
        let bandwidth = self.outgoing.bandwidth();
        bandwidth.was_limited().then(|| bandwidth.target_bps())
    }

    /// What of the path to this member is left for video; bits per second.
    fn video_bps(&self, now: Instant) -> Option<u64> {
        Some(self.path_bps()?.saturating_sub(self.audio_sent.rising_bits_per_second(now)))
    }

    /// What each of those whose video this member gets may send, so that the path to here carries all of it and the voices;
    /// bits per second.
    pub(super) fn video_share(&self, now: Instant) -> Option<u64> {
        Some(self.video_bps(now)? / self.video_offered.senders.max(1))
    }

    /// Shares what the path to this member carries among voices and pictures, voices first.
    pub(super) fn share_path(&mut self, now: Instant) {
        let bandwidth = self.outgoing.bandwidth();
        // Whoever never tells what arrives gets all there is.
        if bandwidth.round_trip().is_zero() {
            return;
        }
        let limited = bandwidth.is_limited(now);
        let waits_until = bandwidth.video_waits_until(now).filter(|_| limited);
        let wanted = AMPLE_TENTHS * self.video_offered.bits_per_second / 10 + self.audio_sent.bits_per_second(now);
        self.narrow = (self.narrow || limited) && (waits_until.is_some() || bandwidth.target_bps() < wanted);
        let voices = (self.audio_blocks.sum(now) + BLOCKS_PER_SECOND / 2) / BLOCKS_PER_SECOND;
        let pictures = self.video_offered.bits_per_second;
        self.audio_detail = self.detail_choice.handle_path(now, bandwidth, voices, pictures);
        self.repairs.set_budget(self.video_bps(now).filter(|_| self.narrow));
        waits_until.into_iter().for_each(|until| self.repairs.wait_until(until));
    }

    /// The packet number of the next datagram to this member.
    #[cfg(test)]
    pub(super) fn next_packet_number(&self) -> u64 {
        self.sealer.next_packet_number()
    }

    /// When something of this member is due that no datagram asks for.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let timers = [
            self.reno.poll_timeout(),
            self.repairs.poll_timeout(),
            self.arrivals.poll_timeout(),
            self.outgoing.poll_timeout(),
        ];
        timers.into_iter().flatten().min()
    }

    /// What waits for this member, of one kind.
    pub(super) fn waiting(&mut self, kind: StreamKind) -> &mut Waiting {
        match kind {
            StreamKind::Audio => &mut self.audio,
            StreamKind::Video => &mut self.video,
        }
    }

    /// The part with this tag did not reach this member. If nothing of it is new any more, what is newer was sent already.
    pub(super) fn miss(&mut self, now: Instant, tag: u32, pictures: &Pictures) {
        if let Some(part) = pictures.find(now, Serial(tag)) {
            self.repairs.add(now, part, pictures);
        }
    }

    /// This packet of a sender's video does not go to this member as it is.
    pub(super) fn pass_over(&mut self, sender: MemberId, sequence: SequenceNumber) {
        if let Some(passed_over) = self.passed_over.iter_mut().find(|passed_over| passed_over.sender == sender) {
            passed_over.pass_over(sequence);
        } else if self.passed_over.len() < ROOM_MEMBERS_MAX {
            self.passed_over.push(PassedOver { sender, packets: 1, newest: sequence });
        }
    }

    /// This one does.
    pub(super) fn pass_on(&mut self, sender: MemberId, sequence: SequenceNumber) {
        if let Some(passed_over) = self.passed_over.iter_mut().find(|passed_over| passed_over.sender == sender) {
            passed_over.pass_on(sequence);
        }
    }

    /// What became of what was sent to this member. What is to be sent again waits then.
    pub(super) fn handle_feedback(
        &mut self,
        now: Instant,
        feedback: Feedback<'_>,
        pictures: &Pictures,
        audio: &mut Ring,
    ) {
        let Self { outgoing, repairs, audio: Waiting { queue, .. }, .. } = self;
        outgoing.handle_feedback(now, feedback, |departure, fate| match fate {
            Fate::Lost if departure.is_video() => {
                let part = pictures.find(now, Serial(departure.tag));
                part.into_iter().for_each(|part| repairs.add(now, part, pictures));
            }
            Fate::Missing(age) if !departure.is_video() && age <= AUDIO_AGAIN_MAX_AGE => {
                let place = audio.find(departure.tag);
                place.into_iter().for_each(|place| queue.push_again(audio, place, AUDIO_QUEUE_DATAGRAMS));
            }
            Fate::Arrived | Fate::Lost | Fate::Missing(_) => {}
        });
        self.share_path(now);
    }

    /// What this member leaves behind in the rings.
    pub(super) fn forget_waiting(&mut self, audio: &mut Ring, video: &mut Ring) {
        self.audio.queue.clear(audio);
        self.video.queue.clear(video);
    }
}

/// Bytes of a ping, chosen by who asks.
pub(crate) const PING_BYTES: usize = 8;

/// A plaintext of a few bytes, kept without allocating.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShortPlaintext {
    bytes: [u8; Self::MAX_BYTES],
    length: usize,
}

impl ShortPlaintext {
    /// Kind, and a report of two blocks.
    const MAX_BYTES: usize = 48;

    /// # Panics
    /// When `body` is longer than a report of two blocks.
    pub(super) fn new(kind: Kind, body: &[u8]) -> Self {
        let mut bytes = [0; Self::MAX_BYTES];
        bytes[0] = kind as u8;
        bytes[1..=body.len()].copy_from_slice(body);
        Self { bytes, length: 1 + body.len() }
    }

    fn write(&self, plaintext: &mut [u8]) {
        plaintext[..self.length].copy_from_slice(&self.bytes[..self.length]);
    }
}
