//! Files that others offer, and those of them that arrive.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::endpoint::StreamId;
use common::ids::{MemberId, TransferId};
use common::limits::{FILE_MAX_BYTES, OFFERS_REMEMBERED};
use common::names::safe_file_name;
use common::wire::message::{FileOffer, FileState, Message, Recipients};

use super::Tools;
use super::disk::{Chunk, Disk, Expected, FromDisk, JobId, News, PIECE_BYTES, Writer};
use super::outgoing::is_final;
use crate::engine::protocol::Event;

/// How often it is told how far a file is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

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
    /// Its sender has left: it cannot be asked for again.
    orphaned: bool,
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
        self.offers.insert(key, Offer { offer, state: None, retried: false, orphaned: false });
    }

    /// Takes a file, from where an earlier attempt ended; also again after one that failed. It is told once the disk knows
    /// how much is here.
    pub(super) fn accept(&mut self, key: Key, disk: &mut Disk) {
        let Some(offer) = self.offers.get(&key).filter(|offer| !offer.orphaned) else { return };
        if self.downloads.contains_key(&key) || offer.state == Some(FileState::Verified) {
            return;
        }
        let there = there(offer.state);
        let (job, writer) = disk.receive(self.folder.clone(), expected(&offer.offer));
        let download = Download { job, writer: Some(writer), offset: None, stream: None, written: there, told: there };
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

    /// What is here stays: the same file may be offered again.
    pub(super) fn handle_withdraw(&mut self, from: MemberId, transfer: TransferId, tools: &mut Tools<'_>) {
        let key = (from, transfer);
        if self.offers.contains_key(&key) {
            self.end_download(key, tools);
            self.offers.remove(&key);
            tools.outlet.send(Event::FileWithdrawn { from, transfer });
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
        if let Some(key) = self.key_of(|download| download.stream == Some(stream)) {
            self.interrupt(key, tools);
        }
    }

    fn interrupt(&mut self, key: Key, tools: &mut Tools<'_>) {
        let Some(written) = self.end_download(key, tools) else { return };
        let orphaned = self.offers.get(&key).is_some_and(|offer| offer.orphaned);
        self.tell(key, FileState::Interrupted(written), None, tools);
        if orphaned {
            tools.outlet.send(Event::FileWithdrawn { from: key.0, transfer: key.1 });
        }
    }

    pub(super) fn handle_disk(&mut self, FromDisk { job, news }: FromDisk, disk: &mut Disk, tools: &mut Tools<'_>) {
        if let Some(key) = self.looking.remove(&job) {
            return self.handle_left_over(key, &news, tools);
        }
        let Some(key) = self.key_of(|download| download.job == job) else { return };
        match news {
            News::Corrupt { resumed } => self.corrupt(key, resumed, disk, tools),
            News::Failed(error) => {
                if let Some(offer) = self.offers.get(&key) {
                    tools.outlet.notice(format!("{} could not be received: {error}.", offer.offer.name));
                }
                self.interrupt(key, tools);
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
            News::Done | News::Hashed(..) | News::LeftOver(_) | News::Piece(_) => {}
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
            return self.interrupt(key, tools);
        }
        self.change(key, FileState::Receiving(offset), None, tools);
    }

    /// Bytes of an earlier attempt may have been the wrong ones, so there is one more attempt without them.
    fn corrupt(&mut self, key: Key, resumed: bool, disk: &mut Disk, tools: &mut Tools<'_>) {
        self.downloads.remove(&key);
        let Some(offer) = self.offers.get_mut(&key) else { return };
        if !resumed || std::mem::replace(&mut offer.retried, true) || offer.orphaned {
            return self.tell(key, FileState::Corrupt, None, tools);
        }
        offer.state = Some(FileState::Receiving(0));
        self.accept(key, disk);
    }

    /// What is not under way is withdrawn with its sender. What is goes on: the rest may be with the server.
    pub(super) fn handle_member_left(&mut self, member: MemberId, tools: &mut Tools<'_>) {
        let of_member = self.downloads.iter().filter(|(key, _)| key.0 == member);
        let unasked = of_member.filter(|(_, download)| download.stream.is_none() && download.writer.is_some());
        for key in unasked.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.interrupt(key, tools);
        }
        self.offers.retain(|key, offer| {
            offer.orphaned |= key.0 == member;
            let gone = key.0 == member && !self.downloads.contains_key(key);
            if gone && offer.is_open() {
                tools.outlet.send(Event::FileWithdrawn { from: key.0, transfer: key.1 });
            }
            !gone
        });
    }

    pub(super) fn handle_tick(&mut self, now: Instant, tools: &mut Tools<'_>) {
        if self.next_report.is_some_and(|at| now < at) {
            return;
        }
        self.next_report = Some(now + PROGRESS_INTERVAL);
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
        // A full post means a dead channel; the sender sees that too.
        let _ = tools.post.send(Message::FileProgress { to: key.0, transfer: key.1, state });
        self.change(key, state, path, tools);
    }

    fn change(&mut self, key: Key, state: FileState, path: Option<PathBuf>, tools: &mut Tools<'_>) {
        let Some(offer) = self.offers.get_mut(&key) else {
            return;
        };
        offer.state = Some(state);
        let event = Event::FileChanged { from: key.0, transfer: key.1, receiver: self.you, state, path };
        tools.outlet.send(event);
        if offer.orphaned && is_final(state) {
            self.offers.remove(&key);
        }
    }
}

/// How much of a file is here.
fn there(state: Option<FileState>) -> u64 {
    match state {
        Some(FileState::Interrupted(bytes) | FileState::Paused(bytes) | FileState::Receiving(bytes)) => bytes,
        None | Some(FileState::Cancelled | FileState::Corrupt | FileState::Declined | FileState::Verified) => 0,
    }
}

fn expected(offer: &FileOffer) -> Expected {
    Expected { name: offer.name.clone(), size: offer.size, hash: offer.hash }
}

impl Offer {
    /// Not answered yet, on its way, or to go on.
    fn is_open(&self) -> bool {
        let rests = |state| matches!(state, FileState::Interrupted(_) | FileState::Paused(_));
        self.state.is_none_or(|state| rests(state) || !is_final(state))
    }
}
