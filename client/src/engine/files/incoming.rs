//! Files that others offer, and those of them that arrive.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::endpoint::StreamId;
use common::ids::{MemberId, TransferId};
use common::limits::{FILE_MAX_BYTES, OFFERS_PER_MEMBER};
use common::names::safe_file_name;
use common::wire::message::{FileOffer, FileState, Message, Recipients};
use tokio::sync::mpsc;

use super::Tools;
use super::disk::{Chunk, Disk, Expected, FromDisk, JobId, News, PIECE_BYTES};
use super::outgoing::is_final;
use crate::engine::protocol::Event;

/// How often it is told how far a file is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// How long the rest of a file may take to come from the server after its sender has left.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(10);

/// Offers of one member that are remembered, finished ones included.
const OFFERS_REMEMBERED: usize = 4 * OFFERS_PER_MEMBER;

type Key = (MemberId, TransferId);

/// Files of others.
#[derive(Debug)]
pub(super) struct Incoming {
    you: MemberId,
    folder: PathBuf,
    offers: BTreeMap<Key, Offer>,
    downloads: BTreeMap<StreamId, Download>,
    /// Downloads whose bytes are all with the disk.
    finishing: BTreeMap<JobId, Key>,
    next_report: Option<Instant>,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Offer {
    offer: FileOffer,
    /// `None` until we have answered.
    state: Option<FileState>,
}

#[derive(Debug)]
struct Download {
    key: Key,
    job: JobId,
    chunks: mpsc::Sender<Chunk>,
    written: u64,
    told: u64,
    /// When to give it up: its sender has left, and nothing has come since.
    orphaned: Option<Instant>,
}

impl Incoming {
    pub(super) fn new(you: MemberId, folder: PathBuf) -> Self {
        Self {
            you,
            folder,
            offers: BTreeMap::new(),
            downloads: BTreeMap::new(),
            finishing: BTreeMap::new(),
            next_report: None,
            scratch: vec![0; PIECE_BYTES],
        }
    }

    /// A doubled offer, one for others, or one more than a member may have is ignored.
    pub(super) fn handle_offer(&mut self, from: MemberId, mut offer: FileOffer, tools: &mut Tools<'_>) {
        let key = (from, offer.transfer);
        let for_us = offer.to == Recipients::Everyone || offer.to == Recipients::Member(self.you);
        if from == self.you || !for_us || offer.size > FILE_MAX_BYTES || self.offers.contains_key(&key) {
            return;
        }
        let of_member: Vec<_> = self.offers.iter().filter(|((member, _), _)| *member == from).collect();
        if of_member.iter().filter(|(_, offer)| offer.is_open()).count() >= OFFERS_PER_MEMBER {
            return;
        }
        if of_member.len() >= OFFERS_REMEMBERED
            && let Some(oldest) = of_member.iter().find(|(_, offer)| !offer.is_open()).map(|(key, _)| **key)
        {
            self.offers.remove(&oldest);
        }
        offer.name = safe_file_name(&offer.name);
        tools.outlet.send(Event::FileOffered { from, offer: offer.clone() });
        self.offers.insert(key, Offer { offer, state: None });
    }

    /// Asks for a file, also again after an attempt that failed.
    pub(super) fn accept(&mut self, from: MemberId, transfer: TransferId, tools: &mut Tools<'_>) {
        let Some(offer) = self.offers.get_mut(&(from, transfer)) else {
            return;
        };
        if matches!(offer.state, Some(FileState::Receiving(_) | FileState::Verified)) {
            return;
        }
        if tools.post.send(Message::FileAccept { to: from, transfer, offset: 0 }).is_err() {
            return tools.outlet.notice("The file was not asked for: too much waits for the network.");
        }
        self.change((from, transfer), FileState::Receiving(0), None, tools);
    }

    /// Turns a file down, or stops it.
    pub(super) fn stop(&mut self, from: MemberId, transfer: TransferId, state: FileState, tools: &mut Tools<'_>) {
        let key = (from, transfer);
        if self.offers.get(&key).is_some_and(Offer::is_open) {
            self.close_stream(key, tools);
            self.tell(key, state, None, tools);
        }
    }

    pub(super) fn handle_withdraw(&mut self, from: MemberId, transfer: TransferId, tools: &mut Tools<'_>) {
        let key = (from, transfer);
        if self.offers.remove(&key).is_some() {
            self.close_stream(key, tools);
            tools.outlet.send(Event::FileWithdrawn { from, transfer });
        }
    }

    /// A file that nobody asked for is not let in.
    pub(super) fn handle_opened(
        &mut self,
        stream: StreamId,
        from: MemberId,
        transfer: TransferId,
        disk: &mut Disk,
        tools: &mut Tools<'_>,
    ) {
        let key = (from, transfer);
        let arriving = self.downloads.values().any(|download| download.key == key)
            || self.finishing.values().any(|finishing| *finishing == key);
        let asked = self.offers.get(&key).filter(|offer| matches!(offer.state, Some(FileState::Receiving(_))));
        let Some(offer) = asked.filter(|_| !arriving) else {
            return tools.endpoint.stop_file(stream);
        };
        let FileOffer { name, size, hash, .. } = offer.offer.clone();
        let (job, chunks) = disk.write(self.folder.clone(), Expected { name, size, hash });
        self.downloads.insert(stream, Download { key, job, chunks, written: 0, told: 0, orphaned: None });
        self.read(stream, tools);
    }

    /// Reads what the disk has room for.
    pub(super) fn read(&mut self, stream: StreamId, tools: &mut Tools<'_>) {
        let Some(chunks) = self.downloads.get(&stream).map(|download| download.chunks.clone()) else {
            return;
        };
        // A disk that has failed says so itself.
        while let Ok(room) = chunks.try_reserve() {
            let read = tools.endpoint.read_file(stream, &mut self.scratch);
            if read.bytes == 0 && !read.finished {
                return;
            }
            room.send(Chunk { bytes: self.scratch[..read.bytes].to_vec(), last: read.finished });
            if read.finished {
                return self.await_disk(stream);
            }
        }
    }

    fn await_disk(&mut self, stream: StreamId) {
        if let Some(download) = self.downloads.remove(&stream) {
            self.finishing.insert(download.job, download.key);
        }
    }

    pub(super) fn handle_reset(&mut self, stream: StreamId, tools: &mut Tools<'_>) {
        if let Some(download) = self.downloads.remove(&stream) {
            self.tell(download.key, FileState::Cancelled, None, tools);
        }
    }

    pub(super) fn handle_disk(&mut self, news: FromDisk, tools: &mut Tools<'_>) {
        let FromDisk { job, news } = news;
        if let Some(stream) = self.stream_of(job) {
            match news {
                News::Written(bytes) => {
                    if let Some(download) = self.downloads.get_mut(&stream) {
                        download.written = bytes;
                        download.orphaned = download.orphaned.map(|_| Instant::now() + ORPHAN_TIMEOUT);
                    }
                    self.read(stream, tools);
                }
                News::Failed(error) => self.fail(stream, &error, tools),
                News::Corrupt | News::Hashed(..) | News::Kept(_) | News::Piece(_) => {}
            }
        } else if !matches!(news, News::Written(_))
            && let Some(key) = self.finishing.remove(&job)
        {
            self.finish(key, news, tools);
        }
    }

    fn fail(&mut self, stream: StreamId, error: &str, tools: &mut Tools<'_>) {
        let Some(download) = self.downloads.remove(&stream) else {
            return;
        };
        tools.endpoint.stop_file(stream);
        self.notice_failure(download.key, error, tools);
        self.tell(download.key, FileState::Cancelled, None, tools);
    }

    fn finish(&mut self, key: Key, news: News, tools: &mut Tools<'_>) {
        match news {
            News::Kept(path) => self.tell(key, FileState::Verified, Some(path), tools),
            News::Corrupt => self.tell(key, FileState::Corrupt, None, tools),
            News::Failed(error) => {
                self.notice_failure(key, &error, tools);
                self.tell(key, FileState::Cancelled, None, tools);
            }
            News::Hashed(..) | News::Piece(_) | News::Written(_) => {}
        }
    }

    fn notice_failure(&self, key: Key, error: &str, tools: &mut Tools<'_>) {
        if let Some(offer) = self.offers.get(&key) {
            let name = &offer.offer.name;
            tools.outlet.notice(format!("{name} could not be received: {error}."));
        }
    }

    /// What is not under way is withdrawn with its sender; of what is, the rest may be with the server.
    pub(super) fn handle_member_left(&mut self, member: MemberId, tools: &mut Tools<'_>) {
        let give_up = Instant::now() + ORPHAN_TIMEOUT;
        for download in self.downloads.values_mut().filter(|download| download.key.0 == member) {
            download.orphaned = Some(give_up);
        }
        let under_way: Vec<Key> =
            self.downloads.values().map(|download| download.key).chain(self.finishing.values().copied()).collect();
        self.offers.retain(|key, offer| {
            let gone = key.0 == member && !under_way.contains(key);
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
        let orphans: Vec<_> = self
            .downloads
            .iter()
            .filter(|(_, download)| download.orphaned.is_some_and(|at| now >= at))
            .map(|(stream, _)| *stream)
            .collect();
        for stream in orphans {
            tools.endpoint.stop_file(stream);
            self.handle_reset(stream, tools);
        }
        let mut progress = Vec::new();
        for download in self.downloads.values_mut().filter(|download| download.written > download.told) {
            download.told = download.written;
            progress.push((download.key, FileState::Receiving(download.written)));
        }
        for ((to, transfer), state) in progress {
            tools.post.send_passing(Message::FileProgress { to, transfer, state });
            self.change((to, transfer), state, None, tools);
        }
    }

    fn stream_of(&self, job: JobId) -> Option<StreamId> {
        self.downloads.iter().find(|(_, download)| download.job == job).map(|(stream, _)| *stream)
    }

    fn close_stream(&mut self, key: Key, tools: &mut Tools<'_>) {
        self.downloads.retain(|stream, download| {
            let close = download.key == key;
            if close {
                tools.endpoint.stop_file(*stream);
            }
            !close
        });
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
    }
}

impl Offer {
    /// Not answered yet, or on its way.
    fn is_open(&self) -> bool {
        self.state.is_none_or(|state| !is_final(state))
    }
}
