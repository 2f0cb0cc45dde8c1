//! Messages on their way to the reliable channel, which may be full for a moment.

use std::collections::VecDeque;

use common::endpoint::Endpoint;
use common::ids::ChatId;
use common::wire::message::Message;

/// Messages that wait for the channel: more than a person writes while a link is down for a minute.
const POST_MAX: usize = 256;

/// The queue before the reliable channel.
#[derive(Debug, Default)]
pub(super) struct Post {
    waiting: VecDeque<Message>,
    /// Chat that the channel took, and where each ends in it; no more than the channel's send buffer holds.
    handed_over: VecDeque<(u64, ChatId)>,
}

/// Too much waits already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PostFull;

impl Post {
    /// Sends a message, in order, as soon as the channel takes it.
    pub(super) fn send(&mut self, message: Message) -> Result<(), PostFull> {
        if self.waiting.len() >= POST_MAX {
            return Err(PostFull);
        }
        self.waiting.push_back(message);
        Ok(())
    }

    /// Sends a message that a later one replaces: only when nothing waits.
    pub(super) fn send_passing(&mut self, message: Message) {
        if self.waiting.is_empty() {
            self.waiting.push_back(message);
        }
    }

    /// Gives the channel what it takes.
    pub(super) fn flush(&mut self, endpoint: &mut Endpoint) {
        while let Some(message) = self.waiting.front() {
            if endpoint.send_message(message).is_err() {
                return;
            }
            if let Message::Chat { id, .. } = message {
                self.handed_over.push_back((endpoint.messages_written(), *id));
            }
            self.waiting.pop_front();
        }
    }

    /// Chat that the server has from here on.
    pub(super) fn acknowledged(&mut self, endpoint: &Endpoint) -> impl Iterator<Item = ChatId> {
        let reached = endpoint.messages_acknowledged();
        let count = self.handed_over.iter().take_while(|(end, _)| *end <= reached).count();
        self.handed_over.drain(..count).map(|(_, id)| id)
    }
}
