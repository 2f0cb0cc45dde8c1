//! Chat: numbered, delivered once, confirmed by each program that has it.

use std::collections::{BTreeMap, BTreeSet};

use common::ids::{ChatId, MemberId};
use common::limits::CHAT_MAX_BYTES;
use common::text::clean_text;
use common::wire::message::{Message, Recipients};

use super::outlet::Outlet;
use super::post::Post;
use super::protocol::{ChatFailure, ChatLine, Event};

/// Own messages that are with the server and whose confirmations are counted; older ones are with everybody or never
/// will be. Those that are not with the server yet are bounded by what the post and the channel hold.
const COUNTED_MAX: usize = 256;

/// The chat of one meeting.
#[derive(Debug)]
pub(super) struct Chat {
    you: MemberId,
    last_id: u32,
    sent: BTreeMap<ChatId, Sent>,
    /// The last message of each member: what does not come after it is doubled.
    heard: BTreeMap<MemberId, ChatId>,
    /// The channel broke: nothing goes out any more.
    broken: bool,
}

#[derive(Debug)]
struct Sent {
    to: Recipients,
    /// The server has it.
    acknowledged: bool,
    delivered: BTreeSet<MemberId>,
}

impl Chat {
    pub(super) fn new(you: MemberId) -> Self {
        Self { you, last_id: 0, sent: BTreeMap::new(), heard: BTreeMap::new(), broken: false }
    }

    /// Our messages that the server does not have.
    pub(super) fn unsent(&self) -> usize {
        self.sent.values().filter(|sent| !sent.acknowledged).count()
    }

    /// We write. It goes out as soon as the network takes it.
    pub(super) fn send(&mut self, to: Recipients, text: &str, post: &mut Post, outlet: &mut Outlet) {
        if self.broken {
            return self.refuse(to, text, ChatFailure::ChannelBroken, outlet);
        }
        let Some(text) = sendable(text, outlet) else { return };
        let id = ChatId(self.last_id + 1);
        let message = Message::Chat { id, to, text: text.clone() };
        if post.send(message).is_err() {
            return outlet.notice("This message was not sent: too many others wait for the network.");
        }
        self.last_id = id.0;
        self.sent.insert(id, Sent { to, acknowledged: false, delivered: BTreeSet::new() });
        self.forget_the_oldest();
        outlet.send(Event::Chat(ChatLine { from: self.you, id, to, text }));
    }

    /// We write what cannot reach anybody: it stands in the chat, marked, so that no word is lost.
    pub(super) fn refuse(&mut self, to: Recipients, text: &str, why: ChatFailure, outlet: &mut Outlet) {
        let Some(text) = sendable(text, outlet) else { return };
        self.last_id += 1;
        let id = ChatId(self.last_id);
        outlet.send(Event::Chat(ChatLine { from: self.you, id, to, text }));
        outlet.send(Event::ChatFailed { id, why });
    }

    fn forget_the_oldest(&mut self) {
        let acknowledged = |(id, sent): (&ChatId, &Sent)| sent.acknowledged.then_some(*id);
        if self.sent.len() > COUNTED_MAX
            && let Some(oldest) = self.sent.iter().find_map(acknowledged)
        {
            self.sent.remove(&oldest);
        }
    }

    /// The server has one of our messages.
    pub(super) fn handle_sent(&mut self, id: ChatId, outlet: &mut Outlet) {
        if let Some(sent) = self.sent.get_mut(&id) {
            sent.acknowledged = true;
            outlet.send(Event::ChatSent(id));
        }
    }

    /// Somebody is gone, and does not get what was for that person alone.
    pub(super) fn handle_member_left(&self, member: MemberId, outlet: &mut Outlet) {
        let missed = |sent: &Sent| sent.to == Recipients::Member(member) && sent.delivered.is_empty();
        for (id, _) in self.sent.iter().filter(|(_, sent)| missed(sent)) {
            outlet.send(Event::ChatFailed { id: *id, why: ChatFailure::RecipientLeft });
        }
    }

    /// The channel broke. What the server has goes on to the others; what it has not stays here.
    pub(super) fn handle_channel_failed(&mut self, outlet: &mut Outlet) {
        self.broken = true;
        for (id, sent) in &self.sent {
            if !sent.acknowledged {
                outlet.send(Event::ChatFailed { id: *id, why: ChatFailure::ChannelBroken });
            }
        }
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

    /// The server could not keep one of our messages for a member.
    pub(super) fn handle_missed(&self, member: MemberId, id: ChatId, outlet: &mut Outlet) {
        match self.sent.get(&id).map(|sent| sent.to) {
            Some(Recipients::Everyone) => outlet.send(Event::ChatMissed { id, member }),
            Some(Recipients::Member(to)) if to == member => {
                outlet.send(Event::ChatFailed { id, why: ChatFailure::RecipientUnreachable });
            }
            Some(Recipients::Member(_)) | None => {}
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

/// What of a text is sent: nothing when nobody could see it, or when it is too long, which is told.
fn sendable(text: &str, outlet: &mut Outlet) -> Option<String> {
    let text = clean_text(text);
    if text.len() > CHAT_MAX_BYTES {
        outlet.notice(format!("This message is too long: {} kB fit into one.", CHAT_MAX_BYTES / 1024));
        return None;
    }
    (!text.is_empty()).then_some(text)
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
    fn a_broken_channel_says_which_messages_the_server_does_not_have() {
        let mut bench = Bench::new();
        for text in ["one", "two", "three"] {
            bench.chat.send(Recipients::Everyone, text, &mut bench.post, &mut bench.outlet);
        }
        bench.chat.handle_sent(ChatId(1), &mut bench.outlet);
        assert_eq!(bench.chat.unsent(), 2);
        bench.told();
        bench.chat.handle_channel_failed(&mut bench.outlet);
        let failed = |id| format!("ChatFailed {{ id: ChatId({id}), why: ChannelBroken }}");
        assert_eq!(bench.told(), [failed(2), failed(3)]);
        bench.chat.send(Recipients::Everyone, "four", &mut bench.post, &mut bench.outlet);
        let told = bench.told();
        assert!(told[0].contains("four") && told[1] == failed(4), "{told:?}");
    }

    #[test]
    fn who_leaves_before_a_private_word_arrived_does_not_have_it() {
        let mut bench = Bench::new();
        for to in [Recipients::Member(BO), Recipients::Member(BO), Recipients::Member(CY), Recipients::Everyone] {
            bench.chat.send(to, "words", &mut bench.post, &mut bench.outlet);
        }
        bench.chat.handle_delivered(BO, ChatId(1), &mut bench.outlet);
        bench.told();
        bench.chat.handle_member_left(BO, &mut bench.outlet);
        assert_eq!(bench.told(), ["ChatFailed { id: ChatId(2), why: RecipientLeft }"]);
    }

    #[test]
    fn what_the_server_could_not_keep_for_somebody_is_told_by_whom_it_was_for() {
        let mut bench = Bench::new();
        bench.chat.send(Recipients::Everyone, "all", &mut bench.post, &mut bench.outlet);
        bench.chat.send(Recipients::Member(BO), "one", &mut bench.post, &mut bench.outlet);
        bench.told();
        for (member, id) in [(BO, 1), (BO, 2), (CY, 2), (BO, 9)] {
            bench.chat.handle_missed(member, ChatId(id), &mut bench.outlet);
        }
        let told = bench.told();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("ChatMissed") && told[1].contains("RecipientUnreachable"), "{told:?}");
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
