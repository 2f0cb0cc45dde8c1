//! Files that we offer and send.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::endpoint::StreamId;
use common::ids::{MemberId, TransferId};
use common::limits::{OFFERS_PER_MEMBER, OFFERS_REMEMBERED, UPLOADS_PER_OFFER};
use common::names::safe_file_name;
use common::wire::message::{FileOffer, FileState, FileTrouble, Message, Recipients};
use tokio::sync::mpsc;

use super::Tools;
use super::disk::{Disk, FromDisk, JobId, News, PIECES_AHEAD};
use super::failure::Failure;
use super::source::Fingerprint;
use crate::engine::protocol::Event;

/// Uploads that wait for a stream, over all offers.
const QUEUE_MAX: usize = OFFERS_REMEMBERED * UPLOADS_PER_OFFER;
/// How often it is looked whether what is on offer is there still: the size and time of a few files.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Our files.
#[derive(Debug)]
pub(super) struct Outgoing {
    you: MemberId,
    last_transfer: u32,
    hashing: BTreeMap<JobId, (Recipients, PathBuf)>,
    offers: BTreeMap<TransferId, Offer>,
    /// Offers that the disk looks at, one look each at a time.
    checking: BTreeMap<JobId, TransferId>,
    next_check: Option<Instant>,
    uploads: BTreeMap<StreamId, Upload>,
    /// Wanted by the server, while all streams are taken: from which byte on.
    queue: VecDeque<(TransferId, u64)>,
}

#[derive(Debug)]
struct Offer {
    path: PathBuf,
    offer: FileOffer,
    source: Fingerprint,
    receivers: BTreeMap<MemberId, FileState>,
    /// We let nothing more go out for a while.
    held: bool,
    /// It is not here any more as it was offered.
    gone: Option<FileTrouble>,
    /// Of what the server could not do we told last.
    server_trouble: Option<FileTrouble>,
}

/// One file on its way to the server.
#[derive(Debug)]
struct Upload {
    transfer: TransferId,
    job: JobId,
    /// Asks the disk for one more piece.
    permits: mpsc::Sender<()>,
    pieces: VecDeque<Vec<u8>>,
    /// Bytes of the front piece that the stream has taken.
    taken: usize,
    finished: bool,
}

/// Whether nothing more will happen at a receiver, unless asked for again.
pub(super) fn is_final(state: FileState) -> bool {
    !matches!(state, FileState::Receiving(_))
}

impl Outgoing {
    pub(super) fn new(you: MemberId) -> Self {
        Self {
            you,
            last_transfer: 0,
            hashing: BTreeMap::new(),
            offers: BTreeMap::new(),
            checking: BTreeMap::new(),
            next_check: None,
            uploads: BTreeMap::new(),
            queue: VecDeque::new(),
        }
    }

    pub(super) fn offer(&mut self, to: Recipients, path: PathBuf, disk: &mut Disk, tools: &mut Tools<'_>) {
        let open = self.offers.values().filter(|offer| !offer.is_finished()).count();
        if open + self.hashing.len() >= OFFERS_PER_MEMBER {
            let sentence =
                format!("{OFFERS_PER_MEMBER} files are on offer already. Wait for one to be taken, or take one back.");
            return tools.outlet.send(Event::OfferFailed { path, reason: sentence });
        }
        let job = disk.hash(path.clone());
        self.hashing.insert(job, (to, path));
    }

    pub(super) fn withdraw(&mut self, transfer: TransferId, tools: &mut Tools<'_>) {
        let Some(offer) = self.offers.remove(&transfer) else {
            return;
        };
        self.queue.retain(|(queued, _)| *queued != transfer);
        self.reset_uploads(tools, |upload| upload.transfer == transfer);
        // A full post means a dead channel; the receivers see the streams end then.
        let _ = tools.post.send(Message::FileWithdraw { to: offer.offer.to, transfer, why: None });
        tools.outlet.send(Event::FileWithdrawn { from: self.you, transfer, why: None });
    }

    /// Holds a file back, or goes on with it. What the server has goes on to its receivers.
    pub(super) fn hold(&mut self, transfer: TransferId, held: bool, tools: &mut Tools<'_>) {
        let Some(offer) = self.offers.get_mut(&transfer).filter(|offer| offer.held != held) else { return };
        offer.held = held;
        let to = offer.offer.to;
        let _ = tools.post.send(Message::FilePause { to, transfer, paused: held });
        tools.outlet.send(Event::FileHeld { from: self.you, transfer, held });
        for stream in self.streams_of(|upload| upload.transfer == transfer) {
            self.write(stream, tools);
        }
    }

    /// A member takes a file of ours.
    pub(super) fn handle_accept(&mut self, from: MemberId, transfer: TransferId, offset: u64, tools: &mut Tools<'_>) {
        self.handle_progress(from, transfer, FileState::Receiving(offset), tools);
    }

    /// The server wants bytes of a file of ours: somebody has accepted it, and the server does not have them.
    pub(super) fn handle_wanted(&mut self, transfer: TransferId, offset: u64, disk: &mut Disk, tools: &mut Tools<'_>) {
        let offer = self.offers.get(&transfer).filter(|offer| offer.gone.is_none());
        let known = offer.is_some_and(|offer| offset <= offer.offer.size);
        if known && self.queue.len() < QUEUE_MAX {
            self.queue.push_back((transfer, offset));
            self.open_next(disk, tools);
        }
    }

    /// The server cannot hand a file of ours on. It is told once, however often it is tried.
    pub(super) fn handle_failed(&mut self, transfer: TransferId, trouble: FileTrouble, tools: &mut Tools<'_>) {
        let Some(offer) = self.offers.get_mut(&transfer) else { return };
        if offer.server_trouble.replace(trouble) != Some(trouble) {
            let why = if trouble == FileTrouble::ServerFull { "its disk is full" } else { "its disk fails" };
            tools.outlet.notice(format!("The server cannot hand on {}: {why}.", offer.offer.name));
        }
    }

    /// Nothing goes out any more.
    pub(super) fn handle_channel_failed(&mut self, tools: &mut Tools<'_>) {
        self.uploads.clear();
        self.queue.clear();
        self.interrupt_receivers(None, FileTrouble::Connection, tools);
    }

    /// Somebody came in: what is on offer to everyone is on offer to him too.
    pub(super) fn handle_member_joined(&self, tools: &mut Tools<'_>) {
        let here = |offer: &&Offer| offer.gone.is_none() && offer.offer.to == Recipients::Everyone;
        for Offer { offer, held, .. } in self.offers.values().filter(here) {
            // Without room in the post the channel is dead.
            let _ = tools.post.send(Message::FileOffer(offer.clone()));
            if *held {
                let (to, transfer) = (offer.to, offer.transfer);
                let _ = tools.post.send(Message::FilePause { to, transfer, paused: true });
            }
        }
    }

    /// Opens streams for those that wait, as long as there are streams.
    fn open_next(&mut self, disk: &mut Disk, tools: &mut Tools<'_>) {
        while let Some(&(transfer, offset)) = self.queue.front() {
            let Some(offer) = self.offers.get(&transfer) else {
                self.queue.pop_front();
                continue;
            };
            let Some(stream) = tools.endpoint.open_file(transfer, offset) else {
                return;
            };
            self.queue.pop_front();
            let (job, permits) = disk.read(offer.path.clone(), offset, offer.source);
            for _ in 0..PIECES_AHEAD {
                let _ = permits.try_send(());
            }
            let pieces = VecDeque::new();
            self.uploads.insert(stream, Upload { transfer, job, permits, pieces, taken: 0, finished: false });
        }
    }

    /// Gives a stream what it takes.
    pub(super) fn write(&mut self, stream: StreamId, tools: &mut Tools<'_>) {
        let Some(upload) = self.uploads.get_mut(&stream) else {
            return;
        };
        if self.offers.get(&upload.transfer).is_none_or(|offer| offer.held) {
            return;
        }
        while let Some(piece) = upload.pieces.front() {
            if piece.is_empty() {
                upload.pieces.clear();
                upload.finished = true;
                return tools.endpoint.finish_file(stream);
            }
            upload.taken += tools.endpoint.write_file(stream, &piece[upload.taken..]);
            if upload.taken < piece.len() {
                return;
            }
            upload.taken = 0;
            upload.pieces.pop_front();
            // The job has ended when it takes no more permits.
            let _ = upload.permits.try_send(());
        }
    }

    pub(super) fn handle_closed(&mut self, stream: StreamId, disk: &mut Disk, tools: &mut Tools<'_>) {
        self.uploads.remove(&stream);
        self.open_next(disk, tools);
    }

    /// The server wants no more of an upload. What becomes of its receivers they tell themselves.
    pub(super) fn handle_stopped(&mut self, stream: StreamId, disk: &mut Disk, tools: &mut Tools<'_>) {
        self.handle_closed(stream, disk, tools);
    }

    pub(super) fn handle_progress(
        &mut self,
        from: MemberId,
        transfer: TransferId,
        state: FileState,
        tools: &mut Tools<'_>,
    ) {
        let Some(offer) = self.offers.get_mut(&transfer).filter(|offer| offer.is_for(from)) else {
            return;
        };
        offer.receivers.insert(from, state);
        if state == FileState::Corrupt {
            // Perhaps it was changed.
            self.next_check = None;
        }
        let event = Event::FileChanged { from: self.you, transfer, receiver: from, state, path: None };
        tools.outlet.send(event);
    }

    pub(super) fn handle_member_left(&mut self, member: MemberId, tools: &mut Tools<'_>) {
        self.interrupt_receivers(Some(member), FileTrouble::ReceiverLeft, tools);
    }

    /// Says that nothing more goes to one receiver, or to any.
    fn interrupt_receivers(&mut self, only: Option<MemberId>, trouble: FileTrouble, tools: &mut Tools<'_>) {
        let from = self.you;
        for (transfer, offer) in &mut self.offers {
            for (receiver, state) in &mut offer.receivers {
                let FileState::Receiving(bytes) = *state else { continue };
                if only.is_none_or(|only| only == *receiver) {
                    *state = FileState::Interrupted(bytes, trouble);
                    let (transfer, receiver, state) = (*transfer, *receiver, *state);
                    tools.outlet.send(Event::FileChanged { from, transfer, receiver, state, path: None });
                }
            }
        }
    }

    /// Looks now and then whether everything is as it was offered.
    pub(super) fn handle_tick(&mut self, now: Instant, disk: &mut Disk) {
        if self.next_check.is_some_and(|at| now < at) {
            return;
        }
        self.next_check = Some(now + CHECK_INTERVAL);
        for (transfer, offer) in self.offers.iter().filter(|(_, offer)| offer.gone.is_none()) {
            if !self.checking.values().any(|checked| checked == transfer) {
                self.checking.insert(disk.check(offer.path.clone(), offer.source), *transfer);
            }
        }
    }

    /// Takes the disk's news about our files; gives back what is not about them.
    pub(super) fn handle_disk(&mut self, news: FromDisk, tools: &mut Tools<'_>) -> Option<FromDisk> {
        if let Some((to, path)) = self.hashing.remove(&news.job) {
            self.handle_hash(to, path, news.news, tools);
            return None;
        }
        if let Some(transfer) = self.checking.remove(&news.job) {
            self.handle_check(transfer, news.news, tools);
            return None;
        }
        let Some(stream) = self.uploads.iter().find(|(_, upload)| upload.job == news.job).map(|(stream, _)| *stream)
        else {
            return Some(news);
        };
        match news.news {
            News::Piece(bytes) => {
                if let Some(upload) = self.uploads.get_mut(&stream) {
                    upload.pieces.push_back(bytes);
                }
                self.write(stream, tools);
            }
            News::Failed(failure) => self.fail(stream, &failure, tools),
            News::Corrupt { .. }
            | News::Done
            | News::Hashed(_)
            | News::Kept(_)
            | News::LeftOver(_)
            | News::Ready(_)
            | News::Unchanged(_)
            | News::Written(_) => {}
        }
        None
    }

    fn handle_check(&mut self, transfer: TransferId, news: News, tools: &mut Tools<'_>) {
        match (news, self.offers.get_mut(&transfer)) {
            (News::Unchanged(source), Some(offer)) => offer.source = source,
            (News::Failed(failure), Some(_)) => self.give_up(transfer, &failure, tools),
            _ => {}
        }
    }

    fn fail(&mut self, stream: StreamId, failure: &Failure, tools: &mut Tools<'_>) {
        if let Some(upload) = self.uploads.remove(&stream) {
            self.give_up(upload.transfer, failure, tools);
            tools.endpoint.reset_file(stream);
        }
    }

    /// A file is not what was offered, and the offer ends for everybody. What of it is with the server goes on to its
    /// receivers, and so does what was opened before it was removed.
    fn give_up(&mut self, transfer: TransferId, failure: &Failure, tools: &mut Tools<'_>) {
        let trouble = failure.trouble;
        let Some(offer) = self.offers.get_mut(&transfer).filter(|offer| offer.gone.is_none()) else { return };
        offer.gone = Some(trouble);
        if let Some(why) = failure.explanation() {
            tools.outlet.notice(format!("{} could not be sent: {why}.", offer.offer.name));
        }
        let to = offer.offer.to;
        // Without room in the post the channel is dead.
        let _ = tools.post.send(Message::FileWithdraw { to, transfer, why: Some(trouble) });
        self.queue.retain(|(queued, _)| *queued != transfer);
        if trouble != FileTrouble::SourceGone {
            self.reset_uploads(tools, |upload| upload.transfer == transfer && !upload.finished);
        }
        tools.outlet.send(Event::FileWithdrawn { from: self.you, transfer, why: Some(trouble) });
    }

    fn handle_hash(&mut self, to: Recipients, path: PathBuf, news: News, tools: &mut Tools<'_>) {
        let News::Hashed(source) = news else {
            let News::Failed(Failure { detail, .. }) = news else { return };
            let reason = format!("{} cannot be sent: {detail}.", path.display());
            return tools.outlet.send(Event::OfferFailed { path, reason });
        };
        let transfer = TransferId(self.last_transfer + 1);
        let Fingerprint { size, hash, .. } = source;
        let offer = FileOffer { transfer, to, name: offered_name(&path), size, hash };
        if tools.post.send(Message::FileOffer(offer.clone())).is_err() {
            let reason = "The file was not offered: too much waits for the network.".into();
            return tools.outlet.send(Event::OfferFailed { path, reason });
        }
        self.last_transfer = transfer.0;
        tools.outlet.send(Event::FileOffered { from: self.you, offer: offer.clone() });
        let (receivers, held, gone, server_trouble) = Default::default();
        self.offers.insert(transfer, Offer { path, offer, source, receivers, held, gone, server_trouble });
        if self.offers.len() > OFFERS_REMEMBERED
            && let Some(oldest) = self.offers.iter().find(|(_, offer)| offer.is_finished()).map(|(id, _)| *id)
        {
            self.offers.remove(&oldest);
        }
    }

    fn streams_of(&self, which: impl Fn(&Upload) -> bool) -> Vec<StreamId> {
        self.uploads.iter().filter(|(_, upload)| which(upload)).map(|(stream, _)| *stream).collect()
    }

    fn reset_uploads(&mut self, tools: &mut Tools<'_>, which: impl Fn(&Upload) -> bool) {
        self.uploads.retain(|stream, upload| {
            let reset = which(upload);
            if reset && !upload.finished {
                tools.endpoint.reset_file(*stream);
            }
            !reset
        });
    }
}

impl Offer {
    fn is_for(&self, member: MemberId) -> bool {
        match self.offer.to {
            Recipients::Everyone => true,
            Recipients::Member(to) => to == member,
        }
    }

    /// Somebody answered, or nobody can any more, and nobody is at it.
    fn is_finished(&self) -> bool {
        let answered = self.gone.is_some() || !self.receivers.is_empty();
        answered && self.receivers.values().all(|state| is_final(*state))
    }
}

fn offered_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    safe_file_name(&name.to_string_lossy())
}
