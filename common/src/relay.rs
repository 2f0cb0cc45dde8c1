//! The server's side of the data plane: opens each datagram once, stamps who sent it, and hands it to the members of
//! the sender's room, sealed for each of them.
//!
//! The relay knows exactly those whom [`Relay::admit`] named, and nobody before: a datagram of an unknown connection
//! id, one that does not open, or one that was seen is dropped and counted, and nothing is ever answered to it. An
//! address is learned only from a datagram that opened, so media reaches nobody who was not admitted.
//!
//! ```text
//! datagram ─▶ open ─▶ allowance ─▶ forward ─▶ ring, and a queue for each receiver ─▶ group ─▶ socket
//!              │ (member)  (member)   │ speakers, watchers (roster)    (packets)       │ sealed in place
//!              └─ segments ─▶ channel ─▶ Reno ─────────────────────────────────────────┘
//! ```
//! Per datagram nothing is allocated: packets wait in slots that are used again and are sealed straight into the
//! buffer of [`Relay::poll_transmit`]. Audio goes before video, members take turns, and every queue drops its oldest.

mod channel;
mod files;
mod forward;
mod group;
mod member;
mod messages;
mod numbering;
mod packets;
mod pictures;
mod repairs;
mod roster;
mod speakers;

use std::collections::{BTreeSet, VecDeque};
use std::ops::AddAssign;
use std::time::Instant;

use crate::hub::Grant;
use crate::ids::{ConnectionId, MemberId, MemberKey, RoomId, StreamKind};
use crate::limits::{
    AUDIO_AGAIN_PATIENCE, AUDIO_BLOCK, DATA_SILENCE_LOOK, OVERLOAD_HOLD, REPORT_INTERVAL, SPOOL_ROOM_BYTES,
    VIDEO_BYTES_PER_SEC,
};
use crate::listening::Listening;
use crate::path::AddressPair;
use crate::path::meter::IP_UDP_HEADER_BYTES;
use crate::reno;
use crate::seal::Secrets;
use crate::wire::Malformed;
use crate::wire::datagram::{DatagramHeader, Kind};
use crate::wire::feedback::{Feedback, VIDEO_UNLIMITED};
use crate::wire::media::{Report, ReportBlock};

use files::Files;
pub use files::{SpoolEffect, SpoolFact, SpoolId, SpoolTrouble};
use forward::{Forwards, Packet};
pub use group::Transmit;
use member::{Member, Offered, ShortPlaintext};
use pictures::Pictures;
use roster::Roster;

/// What the relay did since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayStatistics {
    /// Members with a data plane right now.
    pub members: u64,
    /// Those of them of whom nothing comes.
    pub members_unheard: u64,
    /// Datagrams that came in, the discarded ones included.
    pub datagrams_received: u64,
    /// Datagrams given to the socket.
    pub datagrams_sent: u64,
    /// Datagrams dropped because their connection id is unknown, they did not open, were seen before, or were
    /// malformed.
    pub datagrams_discarded: u64,
    /// Datagrams dropped because their sender had sent more of their kind than one member may.
    pub datagrams_throttled: u64,
    /// Audio not forwarded because [`crate::limits::SPEAKERS_MAX`] others were heard.
    pub audio_unheard: u64,
    /// Audio datagrams for one receiver each that were too many to wait for the socket.
    pub audio_shed: u64,
    /// Video datagrams for one receiver each that were too many to wait for the socket.
    pub video_shed: u64,
    /// Messages of the reliable channel handed on.
    pub messages_relayed: u64,
    /// Messages that went to nobody: not addressed to a member, above a limit, or to a member who does not read.
    pub messages_dropped: u64,
    /// Bytes of files in the spool right now.
    pub spool_bytes: u64,
    /// Bytes of files taken from their senders.
    pub file_bytes_received: u64,
    /// Bytes of files handed to receivers, once for each.
    pub file_bytes_sent: u64,
}

impl AddAssign for RelayStatistics {
    /// Adds what another relay of the same server did.
    fn add_assign(&mut self, other: Self) {
        self.members += other.members;
        self.members_unheard += other.members_unheard;
        self.datagrams_received += other.datagrams_received;
        self.datagrams_sent += other.datagrams_sent;
        self.datagrams_discarded += other.datagrams_discarded;
        self.datagrams_throttled += other.datagrams_throttled;
        self.audio_unheard += other.audio_unheard;
        self.audio_shed += other.audio_shed;
        self.video_shed += other.video_shed;
        self.messages_relayed += other.messages_relayed;
        self.messages_dropped += other.messages_dropped;
        self.spool_bytes += other.spool_bytes;
        self.file_bytes_received += other.file_bytes_received;
        self.file_bytes_sent += other.file_bytes_sent;
    }
}

/// What whoever runs a server may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Bytes of video a member may send per second in the long run; the default is
    /// [`crate::limits::VIDEO_BYTES_PER_SEC`].
    pub video_bytes_per_sec: u32,
    /// Bytes of files that are spooled for one room; the default is [`SPOOL_ROOM_BYTES`].
    pub spool_room_bytes: u64,
    /// What the reliable channels are to be like.
    pub channel: reno::Config,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            video_bytes_per_sec: VIDEO_BYTES_PER_SEC,
            spool_room_bytes: SPOOL_ROOM_BYTES,
            channel: reno::Config::default(),
        }
    }
}

/// Every member's data plane.
#[derive(Debug)]
pub struct Relay {
    began: Instant,
    limits: RelayLimits,
    roster: Roster,
    forwards: Forwards,
    pictures: Pictures,
    files: Files,
    /// Members who may have reports, answers or segments to be sent to them, each once.
    ready: VecDeque<MemberKey>,
    /// Whose turn it is after audio.
    video_is_next: bool,
    /// Members who sent media since they came.
    senders: Vec<MemberKey>,
    /// Members whose messages wait for an allowance.
    throttled: Vec<MemberKey>,
    /// When something of a member asked to be woken.
    alarms: BTreeSet<(Instant, MemberKey)>,
    next_report: Instant,
    listening: Listening,
    next_look: Instant,
    /// Members who are heard again, or not any more, each once: what the hub is to be told.
    hearing_changes: VecDeque<(ConnectionId, bool)>,
    /// What the watchers of one sender can take; kept for its memory.
    shares: Vec<u64>,
    statistics: RelayStatistics,
}

impl Relay {
    /// A relay that knows nobody.
    pub fn new(now: Instant) -> Self {
        Self::with_limits(now, RelayLimits::default())
    }

    /// The same with limits of its own.
    pub fn with_limits(now: Instant, limits: RelayLimits) -> Self {
        Self {
            began: now,
            limits,
            roster: Roster::default(),
            forwards: Forwards::default(),
            pictures: Pictures::default(),
            files: Files::default(),
            ready: VecDeque::new(),
            video_is_next: false,
            senders: Vec::new(),
            throttled: Vec::new(),
            alarms: BTreeSet::new(),
            next_report: now + REPORT_INTERVAL,
            listening: Listening::new(now),
            next_look: now + DATA_SILENCE_LOOK,
            hearing_changes: VecDeque::new(),
            shares: Vec::new(),
            statistics: RelayStatistics::default(),
        }
    }

    /// Gives a member a data plane. The member's address is not known before the first datagram that opens. Until
    /// [`Relay::watch`] the member gets the video of everybody in the room.
    pub fn admit(&mut self, now: Instant, grant: Grant, secrets: &Secrets) {
        self.roster.insert(Member::new(now, grant, secrets, self.limits));
    }

    /// From here on a member gets the video of these members of the room, and of nobody else. Of those whom it did not
    /// watch before it gets the whole picture.
    pub fn watch(&mut self, now: Instant, connection: ConnectionId, members: Vec<MemberId>) {
        let Some(key) = self.roster.key(connection) else { return };
        let Some(member) = self.roster.member(key) else { return };
        let before = member.watch(members);
        let room = member.room;
        self.roster.route(room);
        self.forget_unwatched(key);
        self.catch_up(now, key, |sender| before.as_ref().is_some_and(|before| before.binary_search(&sender).is_err()));
    }

    /// What the path to a member is taken to carry right now, bits per second with IP and UDP headers; `None` as long as
    /// it never showed that it carries no more than comes.
    pub fn path_bps(&mut self, connection: ConnectionId) -> Option<u64> {
        let key = self.roster.key(connection)?;
        self.roster.member(key)?.path_bps()
    }

    /// What a member lacks of pictures that it does not watch, it is not to get.
    fn forget_unwatched(&mut self, key: MemberKey) {
        let Some(room) = self.roster.member(key).map(|member| member.room) else { return };
        let Some((room, mut members)) = self.roster.room(room) else { return };
        for sender in &room.members {
            let picture = members.member(*sender).and_then(|sender| Some((sender.member, sender.picture?)));
            if let (Some((id, picture)), Some(member)) = (picture, members.member(key))
                && !member.watches(id)
            {
                member.repairs.forget(picture);
            }
        }
    }

    /// Takes a member's data plane away: from here on the member neither sends nor receives a datagram.
    pub fn revoke(&mut self, connection: ConnectionId) {
        self.absorb_uploads_of(connection);
        let Some((key, mut member)) = self.roster.remove(connection) else {
            return;
        };
        self.statistics.members_unheard -= u64::from(!member.is_heard());
        member.forget_waiting(&mut self.forwards.audio.ring, &mut self.forwards.video.ring);
        member.picture.into_iter().for_each(|picture| self.pictures.end(picture));
        // The next tick adds up what the others send.
        for watcher in &member.watchers {
            self.roster.member(*watcher).into_iter().for_each(|watcher| watcher.video_offered = Offered::default());
        }
        if let Some(alarm) = member.alarm {
            self.alarms.remove(&(alarm, key));
        }
        self.senders.retain(|other| *other != key);
        self.throttled.retain(|other| *other != key);
        self.hearing_changes.retain(|(other, _)| *other != connection);
        self.end_files_of(connection, (member.room, member.member));
    }

    /// A datagram came from the socket, over this path; it is opened in place. What is sent to its member goes back over
    /// the path of the newest one.
    pub fn handle_datagram(&mut self, now: Instant, path: impl Into<AddressPair>, datagram: &mut [u8]) {
        self.statistics.datagrams_received += 1;
        if self.handle_opened(now, path.into(), datagram).is_err() {
            self.statistics.datagrams_discarded += 1;
        }
    }

    fn handle_opened(&mut self, now: Instant, path: AddressPair, datagram: &mut [u8]) -> Result<(), Malformed> {
        let bytes_on_wire = datagram.len() + IP_UDP_HEADER_BYTES;
        let header = DatagramHeader::parse(datagram)?;
        let key = self.roster.key(header.connection_id).ok_or(Malformed)?;
        let member = self.roster.member(key).ok_or(Malformed)?;
        let (plaintext, newest) = member.opener.open(header, datagram).map_err(|_| Malformed)?;
        let returned = member.reno.note_heard(now);
        member.heard = now;
        let came = newest && member.address.is_none();
        if newest {
            // Another port is another number at the same NAT; other hosts are another way, which may carry less.
            let hosts = (path.remote.ip(), path.local);
            if member.address.is_some_and(|before| (before.remote.ip(), before.local) != hosts) {
                member.reno.handle_path_changed();
            }
            member.address = Some(path);
        }
        if came {
            self.catch_up(now, key, |_| true);
        }
        if returned {
            self.mark_ready(key);
        }
        let member = self.roster.member(key).ok_or(Malformed)?;
        let (kind, body) = Kind::split(plaintext)?;
        let round_trip = member.outgoing.bandwidth().round_trip();
        let feedback_due = member.arrivals.note(now, header.packet_number, kind);
        let hurried = member.arrivals.hurry(now, || AUDIO_BLOCK + round_trip <= AUDIO_AGAIN_PATIENCE);
        let handled = match kind {
            Kind::Audio => self.forward_audio(now, key, Packet { plaintext, bytes_on_wire }),
            Kind::Video => self.forward_video(now, key, Packet { plaintext, bytes_on_wire }),
            Kind::Segment if member.allowances.segments.take(now, 1) => {
                self.handle_segment(now, header.connection_id, body)
            }
            Kind::Feedback if member.allowances.signals.take(now, 1) => {
                self.forwards.audio.hear_of(now, key, member, Feedback::parse(body)?, &self.pictures);
                if !member.repairs.is_empty() {
                    self.forwards.video.wake(key, member, StreamKind::Video);
                }
                Ok(())
            }
            Kind::Report | Kind::Ping if member.allowances.signals.take(now, 1) => self.handle_signal(key, kind, body),
            Kind::Pong => Ok(()),
            Kind::Segment | Kind::Report | Kind::Ping | Kind::Feedback => {
                self.statistics.datagrams_throttled += 1;
                Ok(())
            }
        };
        if feedback_due {
            self.note_video_wanted(now, key);
            self.set_alarm(key);
        } else if hurried {
            self.mark_ready(key);
        }
        handled
    }

    fn handle_signal(&mut self, key: MemberKey, kind: Kind, body: &[u8]) -> Result<(), Malformed> {
        let member = self.roster.member(key).ok_or(Malformed)?;
        if kind == Kind::Ping {
            member.answer(Kind::Pong, body)?;
            self.mark_ready(key);
            return Ok(());
        }
        let (room, reporter) = (member.room, member.member);
        self.hand_on_report(room, reporter, Report::parse(body)?);
        Ok(())
    }

    /// Tells each sender how its streams arrive at `reporter`.
    fn hand_on_report(&mut self, room: RoomId, reporter: MemberId, report: Report<'_>) {
        for block in report.blocks().filter(|block| block.ssrc.member() != reporter) {
            if let Some(owner) = self.roster.in_room(room, block.ssrc.member()) {
                self.queue_signal(owner, report_plaintext(reporter, &[block]));
            }
        }
    }

    fn queue_signal(&mut self, key: MemberKey, plaintext: ShortPlaintext) {
        if let Some(member) = self.roster.member(key) {
            member.queue(plaintext);
            self.mark_ready(key);
        }
    }

    /// Writes the next datagrams for one receiver to the front of `buffer`: as many as it holds, which is one if it is
    /// [`crate::limits::DATAGRAM_MAX_BYTES`] long. Audio goes first, then video in turns with reports and segments, each
    /// for one member after another. Call until it answers `None`.
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Transmit> {
        let audio = self.poll_media(now, StreamKind::Audio, buffer);
        let transmit = audio.or_else(|| self.poll_rest(now, buffer))?;
        self.statistics.datagrams_sent += transmit.datagrams() as u64;
        Some(transmit)
    }

    /// Video and what the members' own channels have, in turns where there is both.
    fn poll_rest(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Transmit> {
        self.video_is_next = !self.video_is_next;
        if self.video_is_next {
            self.poll_own(now, buffer).or_else(|| self.poll_media(now, StreamKind::Video, buffer))
        } else {
            self.poll_media(now, StreamKind::Video, buffer).or_else(|| self.poll_own(now, buffer))
        }
    }

    /// Reports, answers and segments.
    fn poll_own(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Transmit> {
        while let Some(key) = self.ready.pop_front() {
            let Some(member) = self.roster.member(key) else {
                continue;
            };
            let transmit = member.transmit_own(now, buffer);
            if transmit.is_some() {
                // To the back, so that members take turns.
                self.ready.push_back(key);
                return transmit;
            }
            member.ready = false;
            self.set_alarm(key);
        }
        None
    }

    /// When to call [`Relay::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let tick = !self.senders.is_empty() || !self.throttled.is_empty() || self.files.wants_tick();
        let reports = tick.then_some(self.next_report);
        let alarm = self.alarms.first().map(|(alarm, _)| *alarm);
        let look = (self.roster.len() > 0).then_some(self.next_look);
        reports.into_iter().chain(alarm).chain(look).min()
    }

    /// Sends what is due: reports to senders, retransmissions of reliable channels.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now >= self.next_report {
            self.next_report = now + REPORT_INTERVAL;
            self.report_uplinks(now);
            self.add_up_video(now);
            self.resume_throttled(now);
            self.retry_files(now);
        }
        if now >= self.next_look {
            self.next_look = now + DATA_SILENCE_LOOK;
            self.listen(now);
        }
        self.handle_alarms(now);
    }

    /// Finds out of whom nothing comes any more, and of whom something does.
    fn listen(&mut self, now: Instant) {
        self.listening.look(now);
        let Self { roster, listening, hearing_changes, statistics, .. } = self;
        statistics.members_unheard = 0;
        for member in roster.all() {
            if let Some(heard) = member.hearing_changed(now, listening) {
                hearing_changes.retain(|(connection, _)| *connection != member.connection);
                hearing_changes.push_back((member.connection, heard));
            }
            statistics.members_unheard += u64::from(!member.is_heard());
        }
    }

    /// Whether [`Relay::poll_hearing`] has anything to say.
    pub fn hearing_changed(&self) -> bool {
        !self.hearing_changes.is_empty()
    }

    /// A member whose datagrams come again (`true`), or did not for [`crate::limits::DATA_SILENCE_AFTER`]; until `None`.
    pub fn poll_hearing(&mut self) -> Option<(ConnectionId, bool)> {
        self.hearing_changes.pop_front()
    }

    /// What the middle one of a sender's watchers can take, the better of two in the middle: so two who call each other
    /// follow the whole path, and among more, one bad downlink, or one who lies, does not take the picture from all.
    fn note_video_wanted(&mut self, now: Instant, key: MemberKey) {
        let mut shares = std::mem::take(&mut self.shares);
        shares.clear();
        self.for_each_watcher(key, |watcher| shares.push(watcher.video_share(now).unwrap_or(u64::MAX)));
        shares.sort_unstable();
        let wanted = shares.get(shares.len() / 2).and_then(|share| u16::try_from(share / 1_000).ok());
        self.shares = shares;
        if let Some(sender) = self.roster.member(key) {
            sender.video_wanted = wanted.unwrap_or(VIDEO_UNLIMITED);
        }
    }

    /// Adds up for each member what video comes there.
    fn add_up_video(&mut self, now: Instant) {
        for index in 0..self.senders.len() {
            self.for_each_watcher(self.senders[index], |watcher| watcher.video_offered = Offered::default());
        }
        for index in 0..self.senders.len() {
            let key = self.senders[index];
            let rate = self.roster.member(key).map_or(0, |sender| sender.video_bitrate_bps(now));
            if rate > 0 {
                self.for_each_watcher(key, |watcher| watcher.video_offered.add(rate));
            }
        }
    }

    fn for_each_watcher(&mut self, sender: MemberKey, mut change: impl FnMut(&mut Member)) {
        let Some(watchers) = self.roster.member(sender).map(|sender| std::mem::take(&mut sender.watchers)) else {
            return;
        };
        for watcher in &watchers {
            if let Some(watcher) = self.roster.member(*watcher) {
                change(watcher);
            }
        }
        if let Some(sender) = self.roster.member(sender) {
            sender.watchers = watchers;
        }
    }

    /// Tells each member who sends how its streams arrive here.
    fn report_uplinks(&mut self, now: Instant) {
        for index in 0..self.senders.len() {
            let key = self.senders[index];
            if let Some(plaintext) = self.roster.member(key).and_then(|member| member.uplink_report(now)) {
                self.queue_signal(key, plaintext);
            }
        }
    }

    fn mark_ready(&mut self, key: MemberKey) {
        if let Some(member) = self.roster.member(key)
            && !std::mem::replace(&mut member.ready, true)
        {
            self.ready.push_back(key);
        }
    }

    /// Wakes what belongs to a member when it asks for it, and at no other time.
    fn set_alarm(&mut self, key: MemberKey) {
        let Some(member) = self.roster.member(key) else { return };
        let wanted = member.poll_timeout();
        if wanted == member.alarm {
            return;
        }
        if let Some(alarm) = std::mem::replace(&mut member.alarm, wanted) {
            self.alarms.remove(&(alarm, key));
        }
        self.alarms.extend(wanted.map(|alarm| (alarm, key)));
    }

    fn handle_alarms(&mut self, now: Instant) {
        while let Some((alarm, key)) = self.alarms.first().copied()
            && alarm <= now
        {
            self.alarms.pop_first();
            if let Some(member) = self.roster.member(key) {
                member.alarm = None;
                self.handle_member_timeout(now, key);
            }
        }
    }

    /// Whether more came of late than could be sent, so that something was shed. The hub then opens no new rooms here.
    pub fn overloaded(&self, now: Instant) -> bool {
        self.forwards.last_shed.is_some_and(|shed| now.saturating_duration_since(shed) < OVERLOAD_HOLD)
    }

    /// What was done since the start.
    pub fn statistics(&self) -> RelayStatistics {
        RelayStatistics { members: self.roster.len() as u64, spool_bytes: self.files.spool_bytes(), ..self.statistics }
    }
}

/// The plaintext of a report of at most two blocks.
fn report_plaintext(reporter: MemberId, blocks: &[ReportBlock]) -> ShortPlaintext {
    let mut body = [0; Report::HEADER_BYTES + 2 * Report::BLOCK_BYTES];
    let length = Report::write(reporter, blocks, &mut body);
    ShortPlaintext::new(Kind::Report, &body[..length])
}

#[cfg(test)]
mod forward_tests;
#[cfg(test)]
mod tests;
