//! Files that we offer and send.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use common::endpoint::StreamId;
use common::ids::{MemberId, TransferId};
use common::limits::{OFFERS_PER_MEMBER, OFFERS_REMEMBERED, UPLOADS_PER_OFFER};
use common::names::safe_file_name;
use common::wire::message::{FileOffer, FileState, Message, Recipients, SpoolTrouble};
use tokio::sync::mpsc;

use super::Tools;
use super::disk::{Disk, FromDisk, JobId, News, PIECES_AHEAD};
use crate::engine::protocol::Event;

/// Uploads that wait for a stream, over all offers.
const QUEUE_MAX: usize = OFFERS_REMEMBERED * UPLOADS_PER_OFFER;

/// Our files.
#[derive(Debug)]
pub(super) struct Outgoing {
    you: MemberId,
    last_transfer: u32,
    hashing: BTreeMap<JobId, (Recipients, PathBuf)>,
    offers: BTreeMap<TransferId, Offer>,
    uploads: BTreeMap<StreamId, Upload>,
    /// Wanted by the server, while all streams are taken: from which byte on.
    queue: VecDeque<(TransferId, u64)>,
}

#[derive(Debug)]
struct Offer {
    path: PathBuf,
    offer: FileOffer,
    receivers: BTreeMap<MemberId, FileState>,
    /// We let nothing more go out for a while.
    held: bool,
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
        let _ = tools.post.send(Message::FileWithdraw { to: offer.offer.to, transfer });
        tools.outlet.send(Event::FileWithdrawn { from: self.you, transfer });
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
        let known = self.offers.get(&transfer).is_some_and(|offer| offset <= offer.offer.size);
        if known && self.queue.len() < QUEUE_MAX {
            self.queue.push_back((transfer, offset));
            self.open_next(disk, tools);
        }
    }

    /// The server cannot hand a file of ours on.
    pub(super) fn handle_failed(&self, transfer: TransferId, trouble: SpoolTrouble, tools: &mut Tools<'_>) {
        let Some(offer) = self.offers.get(&transfer) else { return };
        let why = match trouble {
            SpoolTrouble::Broken => "its disk does not work",
            SpoolTrouble::Full => "its disk is full",
        };
        tools.outlet.notice(format!("The server cannot hand on {}: {why}.", offer.offer.name));
    }

    /// Somebody came in: what is on offer to everyone is on offer to him too.
    pub(super) fn handle_member_joined(&self, tools: &mut Tools<'_>) {
        for Offer { offer, held, .. } in self.offers.values().filter(|offer| offer.offer.to == Recipients::Everyone) {
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
            let (job, permits) = disk.read(offer.path.clone(), offset, offer.offer.size);
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
        let event = Event::FileChanged { from: self.you, transfer, receiver: from, state, path: None };
        tools.outlet.send(event);
    }

    pub(super) fn handle_member_left(&mut self, member: MemberId, tools: &mut Tools<'_>) {
        for (transfer, offer) in &mut self.offers {
            let Some(state) = offer.receivers.get_mut(&member) else { continue };
            let FileState::Receiving(bytes) = *state else { continue };
            *state = FileState::Interrupted(bytes);
            let event =
                Event::FileChanged { from: self.you, transfer: *transfer, receiver: member, state: *state, path: None };
            tools.outlet.send(event);
        }
    }

    /// Takes the disk's news about our files; gives back what is not about them.
    pub(super) fn handle_disk(&mut self, news: FromDisk, tools: &mut Tools<'_>) -> Option<FromDisk> {
        if let Some((to, path)) = self.hashing.remove(&news.job) {
            self.handle_hash(to, path, news.news, tools);
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
            News::Failed(error) => self.fail(stream, &error, tools),
            News::Corrupt { .. }
            | News::Done
            | News::Hashed(..)
            | News::Kept(_)
            | News::LeftOver(_)
            | News::Ready(_)
            | News::Written(_) => {}
        }
        None
    }

    fn fail(&mut self, stream: StreamId, error: &str, tools: &mut Tools<'_>) {
        let Some(upload) = self.uploads.remove(&stream) else {
            return;
        };
        tools.endpoint.reset_file(stream);
        if let Some(offer) = self.offers.get(&upload.transfer) {
            let name = &offer.offer.name;
            tools.outlet.notice(format!("{name} could not be sent: {error}."));
        }
    }

    fn handle_hash(&mut self, to: Recipients, path: PathBuf, news: News, tools: &mut Tools<'_>) {
        let News::Hashed(size, hash) = news else {
            let News::Failed(error) = news else { return };
            let reason = format!("{} cannot be sent: {error}.", path.display());
            return tools.outlet.send(Event::OfferFailed { path, reason });
        };
        let transfer = TransferId(self.last_transfer + 1);
        let offer = FileOffer { transfer, to, name: offered_name(&path), size, hash };
        if tools.post.send(Message::FileOffer(offer.clone())).is_err() {
            let reason = "The file was not offered: too much waits for the network.".into();
            return tools.outlet.send(Event::OfferFailed { path, reason });
        }
        self.last_transfer = transfer.0;
        tools.outlet.send(Event::FileOffered { from: self.you, offer: offer.clone() });
        self.offers.insert(transfer, Offer { path, offer, receivers: BTreeMap::new(), held: false });
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

    /// Somebody answered, and nobody is at it.
    fn is_finished(&self) -> bool {
        !self.receivers.is_empty() && self.receivers.values().all(|state| is_final(*state))
    }
}

fn offered_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    safe_file_name(&name.to_string_lossy())
}
