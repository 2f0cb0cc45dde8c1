//! Media packets between the socket that brought them and the receivers that get them: two bounded queues of slots
//! that are used again.

use std::collections::VecDeque;

use crate::ids::{ConnectionId, RoomId, Ssrc, StreamKind};
use crate::limits::{PLAINTEXT_MAX_BYTES, RELAY_QUEUE_DATAGRAMS};

/// One media packet on its way to the members of a room.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) sender: ConnectionId,
    pub(super) room: RoomId,
    /// What the relay stamps into the packet.
    pub(super) ssrc: Ssrc,
    /// Index into the room's list of the receiver to look at next.
    pub(super) next: usize,
    length: usize,
    bytes: Box<[u8; PLAINTEXT_MAX_BYTES]>,
}

impl Slot {
    /// Kind and body, as the sender sent them.
    pub(super) fn plaintext(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// What is to be forwarded: audio before video, each in the order it came.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    audio: VecDeque<Slot>,
    video: VecDeque<Slot>,
    free: Vec<Slot>,
}

impl Forwards {
    /// Queues a packet. When too much waits, the oldest video makes room, else the oldest audio; answers how many
    /// packets were shed.
    pub(super) fn push(
        &mut self,
        kind: StreamKind,
        sender: ConnectionId,
        room: RoomId,
        ssrc: Ssrc,
        plaintext: &[u8],
    ) -> u64 {
        let mut shed = 0;
        if self.audio.len() + self.video.len() >= RELAY_QUEUE_DATAGRAMS {
            let oldest = self.video.pop_front().or_else(|| self.audio.pop_front());
            self.free.extend(oldest);
            shed = 1;
        }
        let mut slot = self.free.pop().unwrap_or_else(|| Slot {
            sender,
            room,
            ssrc,
            next: 0,
            length: 0,
            bytes: Box::new([0; PLAINTEXT_MAX_BYTES]),
        });
        (slot.sender, slot.room, slot.ssrc, slot.next, slot.length) = (sender, room, ssrc, 0, plaintext.len());
        slot.bytes[..plaintext.len()].copy_from_slice(plaintext);
        match kind {
            StreamKind::Audio => self.audio.push_back(slot),
            StreamKind::Video => self.video.push_back(slot),
        }
        shed
    }

    /// The packet to send next.
    pub(super) fn front(&mut self) -> Option<&mut Slot> {
        if self.audio.is_empty() { self.video.front_mut() } else { self.audio.front_mut() }
    }

    /// Everybody has the packet that [`Forwards::front`] gives.
    pub(super) fn pop(&mut self) {
        let done = self.audio.pop_front().or_else(|| self.video.pop_front());
        self.free.extend(done);
    }
}
