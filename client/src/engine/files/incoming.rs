//! Files that others offer, and those of them that arrive.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::endpoint::StreamId;
use common::ids::{MemberId, TransferId};
use common::limits::{FILE_MAX_BYTES, OFFERS_REMEMBERED};
use common::names::safe_file_name;
use common::wire::message::{FileOffer, FileState, FileTrouble, Message, Recipients};

use super::Tools;
use super::disk::{Chunk, Disk, FromDisk, JobId, News, Writer};
use super::outgoing::is_final;
use super::pieces::{Expected, PIECE_BYTES};
use crate::engine::protocol::Event;

/// How often it is told how far a file is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
/// Looks for which the end of a stream waits for a message that says why: messages and ends of streams overtake each other.
const LOOKS_FOR_REASON: u32 = 3;

type Key = (MemberId, TransferId);

/// Files of others.
#[derive(Debug)]
pub(super) struct Incoming {
    you: MemberId,
    folder: PathBuf,
    offers: BTreeMap<Key, Offer>,
    downloads: BTreeMap<Key, Download>,
    /// Offers of which the disk looks whether there is a part.
    looking: BTreeMap<JobId, Key>,
    next_report: Option<Instant>,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Offer {
    offer: FileOffer,
    /// `None` until we have answered, unless there is a part of it.
    state: Option<FileState>,
    /// The part of an earlier attempt was wrong, and this is the attempt from the start.
    retried: bool,
    /// Its sender has left or has it no more: it cannot be asked for again.
    gone: Option<FileTrouble>,
}

/// A file that arrives.
#[derive(Debug)]
struct Download {
    job: JobId,
    /// `None` once the disk has all bytes.
    writer: Option<Writer>,
    /// What was asked for; `None` while the disk hashes what is here.
    offset: Option<u64>,
    stream: Option<StreamId>,
    written: u64,
    told: u64,
    /// No more comes on the stream; counts looks since then.
    ended: Option<u32>,
}

impl Incoming {
    pub(super) fn new(you: MemberId, folder: PathBuf, disk: &mut Disk) -> Self {
        disk.clean(folder.clone());
        Self {
            you,
            folder,
            offers: BTreeMap::new(),
            downloads: BTreeMap::new(),
            looking: BTreeMap::new(),
            next_report: None,
            scratch: vec![0; PIECE_BYTES],
        }
    }

    /// A doubled offer, one for others, or one more than a member may have is ignored.
    pub(super) fn handle_offer(
        &mut self,
        from: MemberId,
        mut offer: FileOffer,
        disk: &mut Disk,
        tools: &mut Tools<'_>,
    ) {
        let key = (from, offer.transfer);
        let for_us = offer.to == Recipients::Everyone || offer.to == Recipients::Member(self.you);
        if from == self.you || !for_us || offer.size > FILE_MAX_BYTES || self.offers.contains_key(&key) {
            return;
        }
        let of_member: Vec<_> = self.offers.iter().filter(|((member, _), _)| *member == from).collect();
        if of_member.len() >= OFFERS_REMEMBERED {
            let Some(oldest) = of_member.iter().find(|(_, offer)| !offer.is_open()).map(|(key, _)| **key) else {
                return;
            };
            self.offers.remove(&oldest);
        }
        offer.name = safe_file_name(&offer.name);
        tools.outlet.send(Event::FileOffered { from, offer: offer.clone() });
        let job = disk.look(self.folder.clone(), expected(&offer));
        self.looking.insert(job, key);
        self.offers.insert(key, Offer { offer, state: None, retried: false, gone: None });
    }

    /// Takes a file, from where an earlier attempt ended; also again after one that failed. It is told once the disk knows
    /// how much is here.
    pub(super) fn accept(&mut self, key: Key, disk: &mut Disk) {
        let Some(offer) = self.offers.get(&key).filter(|offer| offer.gone.is_none()) else { return };
        if self.downloads.contains_key(&key) || offer.state == Some(FileState::Verified) {
            return;
        }
        let there = there(offer.state);
        let (job, writer) = disk.receive(self.folder.clone(), expected(&offer.offer));
        let (writer, written, told) = (Some(writer), there, there);
        let download = Download { job, writer, offset: None, stream: None, written, told, ended: None };
        self.downloads.insert(key, download);
    }

    /// Stops a file for a while. What is here stays.
    pub(super) fn pause(&mut self, key: Key, tools: &mut Tools<'_>) {
        if let Some(written) = self.end_download(key, tools) {
            self.tell(key, FileState::Paused(written), None, tools);
        }
    }

    /// Turns a file down, or stops it for good. What is here goes.
    pub(super) fn stop(&mut self, key: Key, state: FileState, disk: &mut Disk, tools: &mut Tools<'_>) {
        let Some(offer) = self.offers.get(&key).filter(|offer| offer.is_open()) else { return };
        let is_here = there(offer.state) > 0;
        let expected = expected(&offer.offer);
        match self.downloads.get_mut(&key).map(|download| download.writer.take()) {
            Some(writer) => writer.into_iter().for_each(Writer::discard),
            None if is_here => disk.forget(self.folder.clone(), expected),
            None => {}
        }
        self.end_download(key, tools);
        self.tell(key, state, None, tools);
    }

    /// What is here stays: the same file may be offered again. What its sender has no more may arrive from the server yet.
    pub(super) fn handle_withdraw(
        &mut self,
        from: MemberId,
        transfer: TransferId,
        why: Option<FileTrouble>,
        tools: &mut Tools<'_>,
    ) {
        let key = (from, transfer);
        if let Some(why) = why {
            return self.orphan(key, why, tools);
        }
        if self.offers.contains_key(&key) {
            self.end_download(key, tools);
            self.offers.remove(&key);
            tools.outlet.send(Event::FileWithdrawn { from, transfer, why });
        }
    }

    /// An offer cannot be asked for any more. Of what is under way, the rest may be with the server.
    fn orphan(&mut self, key: Key, why: FileTrouble, tools: &mut Tools<'_>) {
        let Some(offer) = self.offers.get_mut(&key) else { return };
        offer.gone = offer.gone.or(Some(why));
        let wanted = offer.is_open() || offer.state == Some(FileState::Corrupt);
        match self.downloads.get(&key) {
            Some(download) if download.comes() => {}
            Some(_) => self.interrupt(key, why, tools),
            None => {
                self.offers.remove(&key);
                if wanted {
                    tools.outlet.send(Event::FileWithdrawn { from: key.0, transfer: key.1, why: Some(why) });
                }
            }
        }
    }

    /// The server cannot hand a file on.
    pub(super) fn handle_failed(&mut self, key: Key, trouble: FileTrouble, tools: &mut Tools<'_>) {
        if self.downloads.contains_key(&key) {
            return self.interrupt(key, trouble, tools);
        }
        let state = self.offers.get(&key).and_then(|offer| offer.state);
        if let Some(FileState::Interrupted(written, FileTrouble::Connection)) = state {
            self.tell(key, FileState::Interrupted(written, trouble), None, tools);
        }
    }

    /// Nothing comes any more.
    pub(super) fn handle_channel_failed(&mut self, tools: &mut Tools<'_>) {
        let awaited = self.downloads.iter().filter(|(_, download)| download.writer.is_some());
        for key in awaited.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.interrupt(key, FileTrouble::Connection, tools);
        }
    }

    /// A file that nobody asked for, or another part of it, is not let in.
    pub(super) fn handle_opened(&mut self, stream: StreamId, key: Key, offset: u64, tools: &mut Tools<'_>) {
        let download = self.downloads.get_mut(&key);
        let asked = download.filter(|download| download.stream.is_none() && download.offset == Some(offset));
        let Some(download) = asked.filter(|download| download.writer.is_some()) else {
            return tools.endpoint.stop_file(stream);
        };
        download.stream = Some(stream);
        self.read(stream, tools);
    }

    /// Reads what the disk has room for.
    pub(super) fn read(&mut self, stream: StreamId, tools: &mut Tools<'_>) {
        let Some(download) = self.downloads.values_mut().find(|download| download.stream == Some(stream)) else {
            return;
        };
        let Some(chunks) = download.writer.as_ref().map(|writer| writer.chunks.clone()) else { return };
        // A disk that has failed says so itself.
        while let Ok(room) = chunks.try_reserve() {
            let read = tools.endpoint.read_file(stream, &mut self.scratch);
            if read.bytes == 0 && !read.finished {
                return;
            }
            room.send(Chunk { bytes: self.scratch[..read.bytes].to_vec(), last: read.finished });
            if read.finished {
                (download.writer, download.stream) = (None, None);
                return;
            }
        }
    }

    /// Nothing more comes of a file for now.
    pub(super) fn handle_reset(&mut self, stream: StreamId, tools: &mut Tools<'_>) {
        let Some(key) = self.key_of(|download| download.stream == Some(stream)) else { return };
        if let Some(why) = self.offers.get(&key).and_then(|offer| offer.gone) {
            return self.interrupt(key, why, tools);
        }
        if let Some(download) = self.downloads.get_mut(&key) {
            download.ended = Some(0);
        }
    }

    fn interrupt(&mut self, key: Key, trouble: FileTrouble, tools: &mut Tools<'_>) {
        let Some(written) = self.end_download(key, tools) else { return };
        let gone = self.offers.get(&key).and_then(|offer| offer.gone);
        self.tell(key, FileState::Interrupted(written, trouble), None, tools);
        if gone.is_some() {
            tools.outlet.send(Event::FileWithdrawn { from: key.0, transfer: key.1, why: gone });
        }
    }

    pub(super) fn handle_disk(&mut self, FromDisk { job, news }: FromDisk, disk: &mut Disk, tools: &mut Tools<'_>) {
        if let Some(key) = self.looking.remove(&job) {
            return self.handle_left_over(key, &news, tools);
        }
        let Some(key) = self.key_of(|download| download.job == job) else { return };
        match news {
            News::Corrupt { resumed } => self.corrupt(key, resumed, disk, tools),
            News::Failed(failure) => {
                if let (Some(offer), Some(why)) = (self.offers.get(&key), failure.explanation()) {
                    tools.outlet.notice(format!("{} could not be received: {why}.", offer.offer.name));
                }
                self.interrupt(key, failure.trouble, tools);
            }
            News::Kept(path) => {
                self.downloads.remove(&key);
                self.tell(key, FileState::Verified, Some(path), tools);
            }
            News::Ready(offset) => self.ask(key, offset, tools),
            News::Written(bytes) => {
                let download = self.downloads.get_mut(&key);
                let stream = download.and_then(|download| {
                    download.written = bytes;
                    download.stream
                });
                if let Some(stream) = stream {
                    self.read(stream, tools);
                }
            }
            News::Done | News::Hashed(_) | News::LeftOver(_) | News::Piece(_) | News::Unchanged(_) => {}
        }
    }

    /// An offer of which there is a part is one that was paused.
    fn handle_left_over(&mut self, key: Key, news: &News, tools: &mut Tools<'_>) {
        let unanswered = self.offers.get(&key).is_some_and(|offer| offer.state.is_none());
        if let News::LeftOver(bytes @ 1..) = *news
            && unanswered
        {
            self.change(key, FileState::Paused(bytes), None, tools);
        }
    }

    /// Asks for the rest.
    fn ask(&mut self, key: Key, offset: u64, tools: &mut Tools<'_>) {
        let Some(download) = self.downloads.get_mut(&key) else { return };
        (download.offset, download.written, download.told) = (Some(offset), offset, offset);
        if tools.post.send(Message::FileAccept { to: key.0, transfer: key.1, offset }).is_err() {
            tools.outlet.notice("The file was not asked for: too much waits for the network.");
            return self.interrupt(key, FileTrouble::Connection, tools);
        }
        self.change(key, FileState::Receiving(offset), None, tools);
    }

    /// Bytes of an earlier attempt may have been the wrong ones, so there is one more attempt without them.
    fn corrupt(&mut self, key: Key, resumed: bool, disk: &mut Disk, tools: &mut Tools<'_>) {
        self.downloads.remove(&key);
        let Some(offer) = self.offers.get_mut(&key) else { return };
        if !resumed || std::mem::replace(&mut offer.retried, true) || offer.gone.is_some() {
            return self.tell(key, FileState::Corrupt, None, tools);
        }
        offer.state = Some(FileState::Receiving(0));
        self.accept(key, disk);
    }

    /// What is not under way is withdrawn with its sender. What is goes on: the rest may be with the server.
    pub(super) fn handle_member_left(&mut self, member: MemberId, tools: &mut Tools<'_>) {
        for key in self.offers.keys().filter(|key| key.0 == member).copied().collect::<Vec<_>>() {
            self.orphan(key, FileTrouble::SenderLeft, tools);
        }
    }

    pub(super) fn handle_tick(&mut self, now: Instant, tools: &mut Tools<'_>) {
        if self.next_report.is_some_and(|at| now < at) {
            return;
        }
        self.next_report = Some(now + PROGRESS_INTERVAL);
        self.give_up_waiting_for_reasons(tools);
        let mut progress = Vec::new();
        for (key, download) in self.downloads.iter_mut().filter(|(_, download)| download.written > download.told) {
            download.told = download.written;
            progress.push((*key, FileState::Receiving(download.written)));
        }
        for ((to, transfer), state) in progress {
            tools.post.send_passing(Message::FileProgress { to, transfer, state });
            self.change((to, transfer), state, None, tools);
        }
    }

    fn give_up_waiting_for_reasons(&mut self, tools: &mut Tools<'_>) {
        let mut unexplained = Vec::new();
        for (key, download) in &mut self.downloads {
            download.ended = download.ended.map(|looks| looks + 1);
            if download.ended.is_some_and(|looks| looks >= LOOKS_FOR_REASON) {
                unexplained.push(*key);
            }
        }
        unexplained.into_iter().for_each(|key| self.interrupt(key, FileTrouble::Connection, tools));
    }

    fn key_of(&self, which: impl Fn(&Download) -> bool) -> Option<Key> {
        self.downloads.iter().find(|(_, download)| which(download)).map(|(key, _)| *key)
    }

    /// Ends what is under way; answers how much of it is here.
    fn end_download(&mut self, key: Key, tools: &mut Tools<'_>) -> Option<u64> {
        let download = self.downloads.remove(&key)?;
        if let Some(stream) = download.stream {
            tools.endpoint.stop_file(stream);
        }
        Some(download.written)
    }

    /// A last word, to the sender and to our own window.
    fn tell(&mut self, key: Key, state: FileState, path: Option<PathBuf>, tools: &mut Tools<'_>) {
        // What the sender knows need not be said again at each attempt.
        if self.offers.get(&key).is_none_or(|offer| offer.state != Some(state)) {
            // A full post means a dead channel; the sender sees that too.
            let _ = tools.post.send(Message::FileProgress { to: key.0, transfer: key.1, state });
        }
        self.change(key, state, path, tools);
    }

    fn change(&mut self, key: Key, state: FileState, path: Option<PathBuf>, tools: &mut Tools<'_>) {
        let Some(offer) = self.offers.get_mut(&key) else {
            return;
        };
        offer.state = Some(state);
        let event = Event::FileChanged { from: key.0, transfer: key.1, receiver: self.you, state, path };
        tools.outlet.send(event);
        if offer.gone.is_some() && is_final(state) {
            self.offers.remove(&key);
        }
    }
}

/// How much of a file is here.
fn there(state: Option<FileState>) -> u64 {
    match state {
        Some(FileState::Interrupted(bytes, _) | FileState::Paused(bytes) | FileState::Receiving(bytes)) => bytes,
        None | Some(FileState::Cancelled | FileState::Corrupt | FileState::Declined | FileState::Verified) => 0,
    }
}

fn expected(offer: &FileOffer) -> Expected {
    Expected { name: offer.name.clone(), size: offer.size, hash: offer.hash }
}

impl Download {
    /// Bytes of it come, or the disk has them all.
    fn comes(&self) -> bool {
        self.ended.is_none() && (self.stream.is_some() || self.writer.is_none())
    }
}

impl Offer {
    /// Not answered yet, on its way, or to go on.
    fn is_open(&self) -> bool {
        let rests = |state| matches!(state, FileState::Interrupted(..) | FileState::Paused(_));
        self.state.is_none_or(|state| rests(state) || !is_final(state))
    }
}
