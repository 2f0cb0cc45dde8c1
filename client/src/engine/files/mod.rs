//! Files between disks: offered with their hash, sent over a stream of the reliable channel, verified before they have
//! their name.
//!
//! [`outgoing`] reads a disk no faster than the channel takes bytes, [`incoming`] reads the channel no faster than a disk
//! writes them: so a slow disk closes the window of the stream, and memory stays bounded at both ends. What arrived of a
//! file that broke off stays as a [`part`], from which the next attempt goes on.

pub(super) mod disk;
mod failure;
mod incoming;
mod outgoing;
mod part;
mod pieces;
mod room;
mod source;

use std::path::PathBuf;

use common::endpoint::{Endpoint, StreamId};
use common::ids::{MemberId, TransferId};
use common::wire::message::{FileOffer, FileState, FileTrouble, Recipients};

use super::outlet::Outlet;
use super::post::Post;
use disk::{Disk, FromDisk};
use incoming::Incoming;
use outgoing::Outgoing;
use tokio::sync::mpsc;

/// What the files of a meeting are moved with.
pub(super) struct Tools<'a> {
    pub(super) endpoint: &'a mut Endpoint,
    pub(super) post: &'a mut Post,
    pub(super) outlet: &'a mut Outlet,
}

/// All files of one meeting.
#[derive(Debug)]
pub(super) struct Files {
    you: MemberId,
    disk: Disk,
    outgoing: Outgoing,
    incoming: Incoming,
}

impl Files {
    pub(super) fn new(you: MemberId, download_dir: PathBuf, news: mpsc::Sender<FromDisk>) -> Self {
        let mut disk = Disk::new(news);
        let incoming = Incoming::new(you, download_dir, &mut disk);
        Self { you, disk, outgoing: Outgoing::new(you), incoming }
    }

    /// We offer a file.
    pub(super) fn offer(&mut self, to: Recipients, path: PathBuf, tools: &mut Tools<'_>) {
        self.outgoing.offer(to, path, &mut self.disk, tools);
    }

    /// We take an offered file.
    pub(super) fn accept(&mut self, from: MemberId, transfer: TransferId) {
        self.incoming.accept((from, transfer), &mut self.disk);
    }

    /// We stop a file for a while, our own or one that arrives.
    pub(super) fn pause(&mut self, from: MemberId, transfer: TransferId, tools: &mut Tools<'_>) {
        if from == self.you {
            self.outgoing.hold(transfer, true, tools);
        } else {
            self.incoming.pause((from, transfer), tools);
        }
    }

    /// We go on with a file.
    pub(super) fn resume(&mut self, from: MemberId, transfer: TransferId, tools: &mut Tools<'_>) {
        if from == self.you {
            self.outgoing.hold(transfer, false, tools);
        } else {
            self.accept(from, transfer);
        }
    }

    /// We do not want an offered file.
    pub(super) fn decline(&mut self, from: MemberId, transfer: TransferId, tools: &mut Tools<'_>) {
        self.incoming.stop((from, transfer), FileState::Declined, &mut self.disk, tools);
    }

    /// We take an offer back, or stop receiving.
    pub(super) fn cancel(&mut self, from: MemberId, transfer: TransferId, tools: &mut Tools<'_>) {
        if from == self.you {
            self.outgoing.withdraw(transfer, tools);
        } else {
            self.incoming.stop((from, transfer), FileState::Cancelled, &mut self.disk, tools);
        }
    }

    /// A member offers a file.
    pub(super) fn handle_offer(&mut self, from: MemberId, offer: FileOffer, tools: &mut Tools<'_>) {
        self.incoming.handle_offer(from, offer, &mut self.disk, tools);
    }

    /// A member takes a file of ours.
    pub(super) fn handle_accept(&mut self, from: MemberId, transfer: TransferId, offset: u64, tools: &mut Tools<'_>) {
        self.outgoing.handle_accept(from, transfer, offset, tools);
    }

    /// The server wants bytes of a file of ours.
    pub(super) fn handle_wanted(&mut self, transfer: TransferId, offset: u64, tools: &mut Tools<'_>) {
        self.outgoing.handle_wanted(transfer, offset, &mut self.disk, tools);
    }

    /// The server cannot hand a file on, ours or one that arrives.
    pub(super) fn handle_failed(
        &mut self,
        from: MemberId,
        transfer: TransferId,
        trouble: FileTrouble,
        tools: &mut Tools<'_>,
    ) {
        if from == self.you {
            self.outgoing.handle_failed(transfer, trouble, tools);
        } else {
            self.incoming.handle_failed((from, transfer), trouble, tools);
        }
    }

    /// The reliable channel is dead, and all that was under way with it.
    pub(super) fn handle_channel_failed(&mut self, tools: &mut Tools<'_>) {
        self.outgoing.handle_channel_failed(tools);
        self.incoming.handle_channel_failed(tools);
    }

    /// A member tells how far a file of ours is there.
    pub(super) fn handle_progress(
        &mut self,
        from: MemberId,
        transfer: TransferId,
        state: FileState,
        tools: &mut Tools<'_>,
    ) {
        self.outgoing.handle_progress(from, transfer, state, tools);
    }

    /// A member takes an offer back, or has the file no more.
    pub(super) fn handle_withdraw(
        &mut self,
        from: MemberId,
        transfer: TransferId,
        why: Option<FileTrouble>,
        tools: &mut Tools<'_>,
    ) {
        self.incoming.handle_withdraw(from, transfer, why, tools);
    }

    /// A file begins to arrive.
    pub(super) fn handle_opened(
        &mut self,
        stream: StreamId,
        from: MemberId,
        transfer: TransferId,
        offset: u64,
        tools: &mut Tools<'_>,
    ) {
        self.incoming.handle_opened(stream, (from, transfer), offset, tools);
    }

    /// Bytes of a file, or its end, can be read.
    pub(super) fn handle_readable(&mut self, stream: StreamId, tools: &mut Tools<'_>) {
        self.incoming.read(stream, tools);
    }

    /// Nothing more comes of a file for now.
    pub(super) fn handle_reset(&mut self, stream: StreamId, tools: &mut Tools<'_>) {
        self.incoming.handle_reset(stream, tools);
    }

    /// A file of ours can be written on.
    pub(super) fn handle_writable(&mut self, stream: StreamId, tools: &mut Tools<'_>) {
        self.outgoing.write(stream, tools);
    }

    /// The server wants no more of a file of ours.
    pub(super) fn handle_stopped(&mut self, stream: StreamId, tools: &mut Tools<'_>) {
        self.outgoing.handle_stopped(stream, &mut self.disk, tools);
    }

    /// A file of ours is over: its end is acknowledged.
    pub(super) fn handle_closed(&mut self, stream: StreamId, tools: &mut Tools<'_>) {
        self.outgoing.handle_closed(stream, &mut self.disk, tools);
    }

    /// The disk has news.
    pub(super) fn handle_disk(&mut self, news: FromDisk, tools: &mut Tools<'_>) {
        if let Some(news) = self.outgoing.handle_disk(news, tools) {
            self.incoming.handle_disk(news, &mut self.disk, tools);
        }
    }

    /// Somebody came in.
    pub(super) fn handle_member_joined(&self, tools: &mut Tools<'_>) {
        self.outgoing.handle_member_joined(tools);
    }

    /// A member is gone.
    pub(super) fn handle_member_left(&mut self, member: MemberId, tools: &mut Tools<'_>) {
        self.outgoing.handle_member_left(member, tools);
        self.incoming.handle_member_left(member, tools);
    }

    /// To be called a few times a second: tells how far everything is, and looks whether it is there.
    pub(super) fn handle_tick(&mut self, now: std::time::Instant, tools: &mut Tools<'_>) {
        self.outgoing.handle_tick(now, &mut self.disk);
        self.incoming.handle_tick(now, tools);
    }
}
