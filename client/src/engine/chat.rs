//! Chat: numbered, delivered once, confirmed by each program that has it.

use std::collections::{BTreeMap, BTreeSet};

use common::ids::{ChatId, MemberId};
use common::limits::CHAT_MAX_BYTES;
use common::names::clean_text;
use common::wire::message::{Message, Recipients};

use super::outlet::Outlet;
use super::post::Post;
use super::protocol::{ChatLine, Event};

/// Own messages whose confirmations are counted; older ones are with everybody or never will be.
const COUNTED_MAX: usize = 256;

/// The chat of one meeting.
#[derive(Debug)]
pub(super) struct Chat {
    you: MemberId,
    last_id: u32,
    sent: BTreeMap<ChatId, Sent>,
    /// The last message of each member: what does not come after it is doubled.
    heard: BTreeMap<MemberId, ChatId>,
}

#[derive(Debug)]
struct Sent {
    to: Recipients,
    delivered: BTreeSet<MemberId>,
}

impl Chat {
    pub(super) fn new(you: MemberId) -> Self {
        Self { you, last_id: 0, sent: BTreeMap::new(), heard: BTreeMap::new() }
    }

    /// We write.
    pub(super) fn send(&mut self, to: Recipients, text: &str, post: &mut Post, outlet: &mut Outlet) {
        let text = clean_text(text);
        if text.is_empty() {
            return;
        }
        if text.len() > CHAT_MAX_BYTES {
            return outlet.notice(format!("This message is too long: {} kB fit into one.", CHAT_MAX_BYTES / 1024));
        }
        let id = ChatId(self.last_id + 1);
        let message = Message::Chat { id, to, text: text.clone() };
        if post.send(message).is_err() {
            return outlet.notice("This message was not sent: too many others wait for the network.");
        }
        self.last_id = id.0;
        self.sent.insert(id, Sent { to, delivered: BTreeSet::new() });
        if self.sent.len() > COUNTED_MAX {
            self.sent.pop_first();
        }
        outlet.send(Event::Chat(ChatLine { from: self.you, id, to, text }));
    }

    /// A member wrote. A doubled message is confirmed again and shown once.
    pub(super) fn handle_chat(
        &mut self,
        from: MemberId,
        id: ChatId,
        to: Recipients,
        text: &str,
        post: &mut Post,
        outlet: &mut Outlet,
    ) {
        let for_us = to == Recipients::Everyone || to == Recipients::Member(self.you);
        if !for_us || from == self.you {
            return;
        }
        post.send_confirmation(from, id);
        if self.heard.get(&from).is_some_and(|last| id <= *last) {
            return;
        }
        self.heard.insert(from, id);
        let text = clean_text(text);
        if !text.is_empty() {
            outlet.send(Event::Chat(ChatLine { from, id, to, text }));
        }
    }

    /// A member's program has one of our messages.
    pub(super) fn handle_delivered(&mut self, from: MemberId, id: ChatId, outlet: &mut Outlet) {
        let Some(sent) = self.sent.get_mut(&id) else {
            return;
        };
        let meant = match sent.to {
            Recipients::Everyone => from != self.you,
            Recipients::Member(member) => from == member,
        };
        if meant && sent.delivered.insert(from) {
            outlet.send(Event::ChatDelivered { id, delivered: sent.delivered.len() });
        }
    }
}

impl Post {
    /// A confirmation that finds no room is not worth anything else's.
    fn send_confirmation(&mut self, to: MemberId, id: ChatId) {
        let _ = self.send(Message::ChatDelivered { to, id });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::mpsc;

    const BO: MemberId = MemberId(2);
    const CY: MemberId = MemberId(3);

    struct Bench {
        chat: Chat,
        post: Post,
        outlet: Outlet,
        events: mpsc::Receiver<Event>,
    }

    impl Bench {
        fn new() -> Self {
            let (sender, events) = mpsc::channel(64);
            let outlet = Outlet::new(sender, Arc::new(|| {}));
            Self { chat: Chat::new(MemberId(1)), post: Post::default(), outlet, events }
        }

        fn hear(&mut self, from: MemberId, id: u32, to: Recipients) {
            self.chat.handle_chat(from, ChatId(id), to, "words", &mut self.post, &mut self.outlet);
        }

        fn told(&mut self) -> Vec<String> {
            let events = std::iter::from_fn(|| self.events.try_recv().ok());
            events.map(|event| format!("{event:?}")).collect()
        }
    }

    #[test]
    fn a_doubled_message_is_shown_once() {
        let mut bench = Bench::new();
        for id in [1, 1, 2, 1, 2] {
            bench.hear(BO, id, Recipients::Everyone);
        }
        bench.hear(CY, 1, Recipients::Member(MemberId(1)));
        assert_eq!(bench.told().len(), 3);
    }

    #[test]
    fn a_message_for_somebody_else_is_not_shown() {
        let mut bench = Bench::new();
        bench.hear(BO, 1, Recipients::Member(CY));
        assert_eq!(bench.told(), [""; 0]);
    }

    #[test]
    fn confirmations_count_members_and_only_those_it_was_for() {
        let mut bench = Bench::new();
        bench.chat.send(Recipients::Everyone, " all ", &mut bench.post, &mut bench.outlet);
        bench.chat.send(Recipients::Member(BO), "one", &mut bench.post, &mut bench.outlet);
        bench.told();
        for (from, id) in [(BO, 1), (BO, 1), (CY, 1), (CY, 2), (BO, 2), (BO, 9)] {
            bench.chat.handle_delivered(from, ChatId(id), &mut bench.outlet);
        }
        let delivered: Vec<_> = bench.told();
        assert_eq!(
            delivered,
            [(1, 1), (1, 2), (2, 1)]
                .map(|(id, count)| format!("ChatDelivered {{ id: ChatId({id}), delivered: {count} }}"))
        );
    }

    #[test]
    fn nothing_visible_is_not_sent_and_too_much_is_told() {
        let mut bench = Bench::new();
        bench.chat.send(Recipients::Everyone, " \u{200b} ", &mut bench.post, &mut bench.outlet);
        assert_eq!(bench.told(), [""; 0]);
        let long = "x".repeat(CHAT_MAX_BYTES + 1);
        bench.chat.send(Recipients::Everyone, &long, &mut bench.post, &mut bench.outlet);
        assert!(bench.told()[0].contains("too long"));
    }
}
