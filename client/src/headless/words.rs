//! The words that --say is about: whom they were for, and with how many of them they are.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::ids::{ChatId, MemberId};
use common::limits::CHAT_MAX_BYTES;
use common::text::clean_text;

use super::patience::OUTAGE_PATIENCE;
use crate::engine::protocol::ChatFailure;

/// How long is waited for the last confirmation: longer than the server takes to notice that somebody is gone.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(30);

/// What was said.
#[derive(Debug, Default)]
pub(super) struct Words {
    said: Vec<Said>,
    /// Datagrams are known not to get through somewhere.
    outage: bool,
}

#[derive(Debug)]
struct Said {
    text: String,
    at: Instant,
    /// Known once the engine has sent it.
    id: Option<ChatId>,
    /// Who was there to have it, and still is.
    meant: BTreeSet<MemberId>,
    delivered: usize,
    failed: Option<ChatFailure>,
    /// Who was there and does not get it, because nothing gets through to him.
    missed: BTreeSet<MemberId>,
    /// Not waited for any more.
    given_up: bool,
}

/// Words that cannot be sent are better told of before the meeting than in it.
///
/// # Errors
/// The sentence to end with.
pub(super) fn check(texts: &[String]) -> Result<(), String> {
    for text in texts.iter().map(|text| clean_text(text)) {
        if text.is_empty() {
            return Err("There is nothing in one of the words to say that anybody could see.".into());
        }
        if text.len() > CHAT_MAX_BYTES {
            let (start, limit) = (excerpt(&text), CHAT_MAX_BYTES / 1024);
            return Err(format!("“{start}” is too long to be said at once: {limit} kB fit into one message."));
        }
    }
    Ok(())
}

impl Words {
    /// It was handed to the engine, for these.
    pub(super) fn said(&mut self, text: String, meant: BTreeSet<MemberId>, now: Instant) {
        self.said.push(Said {
            text,
            at: now,
            id: None,
            meant,
            delivered: 0,
            failed: None,
            missed: BTreeSet::new(),
            given_up: false,
        });
    }

    /// The engine sends the next of them under this number.
    pub(super) fn sent(&mut self, id: ChatId) {
        if let Some(said) = self.said.iter_mut().find(|said| said.id.is_none()) {
            said.id = Some(id);
        }
    }

    /// So many have it.
    pub(super) fn delivered(&mut self, id: ChatId, delivered: usize) {
        if let Some(said) = self.find(id) {
            said.delivered = delivered;
        }
    }

    /// It does not reach those it was for.
    pub(super) fn failed(&mut self, id: ChatId, why: ChatFailure) {
        if let Some(said) = self.find(id) {
            said.failed = Some(why);
        }
    }

    /// One of those it was for does not get it.
    pub(super) fn missed(&mut self, id: ChatId, member: MemberId) {
        if let Some(said) = self.find(id) {
            said.missed.insert(member);
        }
    }

    /// Somebody left. Nobody waits for his confirmation.
    pub(super) fn left(&mut self, member: MemberId) {
        for said in &mut self.said {
            said.meant.remove(&member);
        }
    }

    fn find(&mut self, id: ChatId) -> Option<&mut Said> {
        self.said.iter_mut().find(|said| said.id == Some(id))
    }

    /// Datagrams are known not to get through to somebody, or do again, which gives confirmations time anew.
    pub(super) fn set_outage(&mut self, outage: bool, now: Instant) {
        if std::mem::replace(&mut self.outage, outage) && !outage {
            self.said.iter_mut().for_each(|said| said.at = now);
        }
    }

    fn patience(&self) -> Duration {
        if self.outage { OUTAGE_PATIENCE } else { CONFIRMED_WITHIN }
    }

    /// Nothing more is to be waited for.
    pub(super) fn is_settled(&self) -> bool {
        self.said.iter().all(|said| said.is_with_all() || said.is_lost())
    }

    /// When [`Words::give_up`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let open = self.said.iter().filter(|said| !said.is_with_all() && !said.is_lost());
        open.map(|said| said.at + self.patience()).min()
    }

    /// Waits no longer for what was said long ago. Answers whether there was any.
    pub(super) fn give_up(&mut self, now: Instant) -> bool {
        let (mut any, patience) = (false, self.patience());
        for said in self.said.iter_mut().filter(|said| !said.is_with_all() && now >= said.at + patience) {
            any |= !std::mem::replace(&mut said.given_up, true);
        }
        any
    }

    /// What did not arrive, as sentences. `to` is for whom it was.
    pub(super) fn complaints<'a>(&'a self, to: &'a str) -> impl Iterator<Item = String> + 'a {
        self.said.iter().filter(|said| !said.is_with_all()).map(move |said| said.complaint(to))
    }
}

impl Said {
    fn is_with_all(&self) -> bool {
        self.missed.is_empty() && self.delivered > 0 && self.delivered >= self.meant.len()
    }

    fn is_lost(&self) -> bool {
        let out_of_reach = !self.missed.is_empty() && self.delivered + self.missed.len() >= self.meant.len();
        self.failed.is_some() || self.given_up || self.meant.is_empty() || out_of_reach
    }

    fn complaint(&self, to: &str) -> String {
        let text = excerpt(&self.text);
        match (self.failed, self.delivered) {
            (Some(ChatFailure::ChannelBroken), 0) => {
                format!("“{text}” did not reach {to}: the connection for chat is broken.")
            }
            (Some(ChatFailure::RecipientLeft), 0) => format!("“{text}” did not reach {to}, who has left."),
            (Some(ChatFailure::RecipientUnreachable), 0) => {
                format!("“{text}” did not reach {to}: nothing gets through there.")
            }
            (None, 0) if self.meant.is_empty() => format!("“{text}” did not reach {to}: all have left."),
            (_, 0) => format!("“{text}” did not reach {to}."),
            (_, delivered) => format!("“{text}” is with {delivered} of the {} it was for.", self.meant.len()),
        }
    }
}

/// Characters of a text that are shown of it.
const EXCERPT_CHARS: usize = 40;

fn excerpt(text: &str) -> String {
    let mut start: String = text.chars().take(EXCERPT_CHARS).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    const BO: MemberId = MemberId(2);
    const CY: MemberId = MemberId(3);

    fn said(now: Instant) -> Words {
        let mut words = Words::default();
        words.said("hi".into(), BTreeSet::from([BO, CY]), now);
        words.sent(ChatId(1));
        words
    }

    #[test]
    fn words_that_one_does_not_get_are_no_longer_waited_for_and_told() {
        let mut words = said(Instant::now());
        words.missed(ChatId(1), CY);
        assert!(!words.is_settled(), "the other one may have them still");
        words.delivered(ChatId(1), 1);
        assert!(words.is_settled());
        assert_eq!(complaint(&words), Some("“hi” is with 1 of the 2 it was for.".into()));
    }

    fn complaint(words: &Words) -> Option<String> {
        words.complaints("everybody").next()
    }

    #[test]
    fn words_are_said_when_everybody_who_was_there_has_them() {
        let now = Instant::now();
        let mut words = said(now);
        words.delivered(ChatId(1), 1);
        assert!(!words.is_settled());
        assert_eq!(complaint(&words), Some("“hi” is with 1 of the 2 it was for.".into()));
        words.delivered(ChatId(1), 2);
        assert!(words.is_settled() && complaint(&words).is_none() && words.deadline().is_none());
    }

    #[test]
    fn who_left_is_not_waited_for() {
        let mut words = said(Instant::now());
        words.delivered(ChatId(1), 1);
        words.left(CY);
        assert!(words.is_settled() && complaint(&words).is_none());
        let mut words = said(Instant::now());
        words.left(BO);
        words.left(CY);
        assert!(words.is_settled());
        assert_eq!(complaint(&words), Some("“hi” did not reach everybody: all have left.".into()));
    }

    #[test]
    fn an_outage_is_waited_for_and_gives_time_anew() {
        let now = Instant::now();
        let mut words = said(now);
        words.set_outage(true, now);
        assert!(!words.give_up(now + CONFIRMED_WITHIN));
        words.set_outage(false, now + CONFIRMED_WITHIN);
        assert_eq!(words.deadline(), Some(now + 2 * CONFIRMED_WITHIN));
        words.set_outage(true, now + CONFIRMED_WITHIN);
        assert!(words.give_up(now + CONFIRMED_WITHIN + OUTAGE_PATIENCE) && words.is_settled());
    }

    #[test]
    fn what_nobody_confirms_is_given_up_and_told() {
        let now = Instant::now();
        let mut words = said(now);
        assert!(!words.give_up(now + CONFIRMED_WITHIN / 2) && !words.is_settled());
        assert!(words.give_up(now + CONFIRMED_WITHIN) && words.is_settled());
        assert!(!words.give_up(now + CONFIRMED_WITHIN));
        assert_eq!(complaint(&words), Some("“hi” did not reach everybody.".into()));
    }

    #[test]
    fn words_that_cannot_be_sent_are_told_of_before_the_meeting() {
        assert!(check(&["hi".into()]).is_ok());
        assert!(check(&[" \u{200b} ".into()]).unwrap_err().contains("could see"));
        assert!(check(&["x".repeat(CHAT_MAX_BYTES + 1)]).unwrap_err().contains("too long"));
    }
}
