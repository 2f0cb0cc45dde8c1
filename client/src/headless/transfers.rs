//! The files that --send and --receive are about: what is still to be done, what went wrong, and what is printed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem::discriminant;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::ids::{MemberId, TransferId};
use common::limits::OFFERS_PER_MEMBER;
use common::wire::message::{FileOffer, FileState, FileTrouble, Recipients};

use super::patience::{Awaited, OUTAGE_PATIENCE, Retries, STALLED_AFTER};
use super::progress::{Place, Progress};
use crate::amount::{percent, rate, took};
use crate::reasons::Ends;

/// Files of a participant without a window.
#[derive(Debug)]
pub(super) struct Transfers {
    you: MemberId,
    /// Prints, and draws the bars.
    pub(super) progress: Progress,
    offers: BTreeMap<(MemberId, TransferId), FileOffer>,
    /// To be offered once there is somebody to have them.
    to_send: VecDeque<PathBuf>,
    /// Handed to the engine, which hashes them.
    hashing: usize,
    /// Own files, and who has not said his last word on them.
    open: BTreeMap<TransferId, BTreeMap<MemberId, Awaited>>,
    /// Own files that somebody did not get, with the sentence that says so.
    failed: BTreeMap<(PathBuf, String), String>,
    /// Files of others that were taken and are not here, by hash, and why not.
    missing: BTreeMap<[u8; 32], (String, Option<String>)>,
    /// Why an own file broke off last at somebody who may go on.
    broken_off: BTreeMap<TransferId, String>,
    /// Files that wait for room on the server's disk.
    waiting: BTreeSet<(MemberId, TransferId)>,
    /// How a file broke off, as it was told last.
    told: BTreeMap<Place, FileState>,
    retries: Retries,
    /// Those to whom, or from whom, datagrams do not get through; perhaps ourselves.
    out: BTreeMap<MemberId, Instant>,
    /// Something was offered.
    sent: bool,
}

impl Transfers {
    /// `to_send`: own files, to be offered in this order.
    pub(super) fn new(you: MemberId, to_send: Vec<PathBuf>, terminal: bool) -> Self {
        Self {
            you,
            progress: Progress::new(terminal),
            offers: BTreeMap::new(),
            to_send: to_send.into(),
            hashing: 0,
            open: BTreeMap::new(),
            failed: BTreeMap::new(),
            missing: BTreeMap::new(),
            broken_off: BTreeMap::new(),
            waiting: BTreeSet::new(),
            told: BTreeMap::new(),
            retries: Retries::default(),
            out: BTreeMap::new(),
            sent: false,
        }
    }

    /// Our own id.
    pub(super) fn you(&self) -> MemberId {
        self.you
    }

    /// The next file to offer, as long as not too many are open.
    pub(super) fn next_to_send(&mut self) -> Option<PathBuf> {
        if self.open.len() + self.hashing >= OFFERS_PER_MEMBER {
            return None;
        }
        let path = self.to_send.pop_front()?;
        (self.hashing, self.sent) = (self.hashing + 1, true);
        Some(path)
    }

    /// A file is on offer, ours or somebody's. `others`: who is in the meeting besides us.
    pub(super) fn offered(&mut self, from: MemberId, offer: FileOffer, others: impl Iterator<Item = MemberId>) {
        if from == self.you {
            self.hashing = self.hashing.saturating_sub(1);
            let wanted =
                others.filter(|member| [Recipients::Everyone, Recipients::Member(*member)].contains(&offer.to));
            let wanted: BTreeMap<_, _> = wanted.map(|member| (member, Awaited::default())).collect();
            if wanted.is_empty() {
                let key = (PathBuf::from(&offer.name), String::new());
                self.failed.insert(key, format!("{} reached nobody: there was nobody left.", offer.name));
            } else {
                self.open.insert(offer.transfer, wanted);
            }
        }
        self.offers.insert((from, offer.transfer), offer);
    }

    /// A file of ours could not be offered.
    pub(super) fn not_offered(&mut self, path: PathBuf, reason: String) {
        self.hashing = self.hashing.saturating_sub(1);
        self.failed.insert((path, String::new()), reason);
    }

    /// We take a file.
    pub(super) fn accepted(&mut self, offer: &FileOffer) {
        self.missing.insert(offer.hash, (offer.name.clone(), None));
    }

    /// A file is that far at a receiver.
    pub(super) fn changed(
        &mut self,
        place: Place,
        names: (&str, &str),
        state: FileState,
        path: Option<&Path>,
        now: Instant,
    ) {
        let (from, transfer, receiver) = place;
        let Some(offer) = self.offers.get(&(from, transfer)).cloned() else { return };
        if receiver == self.you {
            self.retries.note((from, transfer), state, now);
        } else if let Some(awaited) = self.open.get_mut(&transfer).and_then(|open| open.get_mut(&receiver)) {
            awaited.note(state, offer.size, now);
        }
        if let FileState::Receiving(there) = state {
            let label = if receiver == self.you {
                format!("{} from {}", offer.name, names.0)
            } else {
                format!("{} to {}", offer.name, names.1)
            };
            return self.progress.update(place, &label, offer.size, there, now);
        }
        let took = self.progress.end(place, now);
        if self.told.insert(place, state).is_none_or(|told| !says_the_same(told, state)) {
            self.progress.say(&sentence(&offer, names, receiver == self.you, state, path, took));
        }
        if receiver == self.you {
            self.settle_own(&offer, names.0, state);
        } else {
            self.settle(transfer, receiver, names.1, &offer, state);
        }
    }

    /// A file that we take came to a rest.
    fn settle_own(&mut self, offer: &FileOffer, sender: &str, state: FileState) {
        if state == FileState::Verified {
            self.missing.remove(&offer.hash);
        } else if let (FileState::Interrupted(_, why), Some(missing)) = (state, self.missing.get_mut(&offer.hash)) {
            missing.1 = Some(Ends { sender: Some(sender), receiver: None }.why(why));
        }
    }

    fn settle(&mut self, transfer: TransferId, receiver: MemberId, name: &str, offer: &FileOffer, state: FileState) {
        let key = (PathBuf::from(&offer.name), name.to_owned());
        match state {
            FileState::Verified => drop(self.failed.remove(&key)),
            FileState::Cancelled | FileState::Corrupt => {
                self.failed.insert(key, format!("{name} did not get {}.", offer.name));
            }
            FileState::Declined => {}
            FileState::Interrupted(_, why) if why.is_final() => return self.give_up(transfer, receiver, name),
            FileState::Interrupted(_, why) => {
                self.broken_off.insert(transfer, Ends { sender: None, receiver: Some(name) }.why(why));
                return;
            }
            // It may go on.
            FileState::Paused(_) | FileState::Receiving(_) => return,
        }
        self.close(transfer, receiver);
    }

    /// Somebody does not get a file of ours.
    fn give_up(&mut self, transfer: TransferId, receiver: MemberId, name: &str) {
        let Some(awaited) = self.open.get(&transfer).and_then(|open| open.get(&receiver)) else { return };
        let Some(offer) = self.offers.get(&(self.you, transfer)) else { return };
        let why = match awaited.trouble {
            Some(trouble) => Ends { sender: None, receiver: Some(name) }.why(trouble),
            None if self.waiting.contains(&(self.you, transfer)) => "there was no room on the server's disk".into(),
            None => format!("nothing came there for {} s", self.patience(receiver).as_secs()),
        };
        let sentence = format!("{name} did not get {}: {why}.", offer.name);
        self.failed.insert((PathBuf::from(&offer.name), name.to_owned()), sentence);
        self.close(transfer, receiver);
    }

    /// An offer stands no longer. Whoever gets bytes of ours may get the rest from the server.
    pub(super) fn withdrawn(
        &mut self,
        (from, transfer): (MemberId, TransferId),
        why: Option<FileTrouble>,
        name: impl Fn(MemberId) -> String,
    ) {
        let Some(offer) = self.offers.get(&(from, transfer)).cloned() else { return };
        self.retries.end((from, transfer));
        let (sender, ours) = (name(from), from == self.you);
        let reason = why.map(|why| Ends { sender: (!ours).then_some(&*sender), receiver: None }.why(why));
        self.progress.say(&withdrawal(&offer.name, (!ours).then_some(&*sender), reason.as_deref()));
        if !ours {
            if let Some(missing) = self.missing.get_mut(&offer.hash) {
                missing.1 = reason.or_else(|| Some(format!("{sender} took it back")));
            }
            return;
        }
        let open = self.open.get_mut(&transfer);
        let stuck = open.into_iter().flatten().filter(|(_, awaited)| !awaited.receives());
        let stuck = stuck.map(|(member, awaited)| {
            awaited.trouble = why;
            *member
        });
        for member in stuck.collect::<Vec<_>>() {
            self.give_up(transfer, member, &name(member));
        }
    }

    /// A file waits for room on the server's disk, or goes on.
    pub(super) fn waits(&mut self, file: (MemberId, TransferId), waits: bool) {
        let Some(offer) = self.offers.get(&file) else { return };
        let what = if waits { "waits for room on the server's disk" } else { "goes on" };
        self.progress.say(&format!("{} {what}.", offer.name));
        if waits {
            self.waiting.insert(file)
        } else {
            self.waiting.remove(&file)
        };
    }

    /// When [`Transfers::give_up_stalled`] or [`Transfers::next_retry`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let open = self.open.values().flatten();
        let stalled = open.filter_map(|(member, awaited)| self.given_up_at(*member, awaited)).min();
        stalled.into_iter().chain(self.retries.deadline()).min()
    }

    /// Gives those up at whom nothing moves. Answers whether there were any.
    pub(super) fn give_up_stalled(&mut self, now: Instant, name: impl Fn(MemberId) -> String) -> bool {
        let due =
            |(member, awaited): (&MemberId, &Awaited)| self.given_up_at(*member, awaited).is_some_and(|at| now >= at);
        let open =
            self.open.iter().flat_map(|(transfer, open)| open.iter().map(move |(member, at)| (transfer, member, at)));
        let stalled = open
            .filter(|(_, member, awaited)| due((member, awaited)))
            .map(|(transfer, member, _)| (*transfer, *member));
        let stalled: Vec<_> = stalled.collect();
        for (transfer, member) in &stalled {
            self.give_up(*transfer, *member, &name(*member));
        }
        !stalled.is_empty()
    }

    /// How long a receiver may stand still.
    fn patience(&self, receiver: MemberId) -> Duration {
        if self.out_since(receiver).is_some() { OUTAGE_PATIENCE } else { STALLED_AFTER }
    }

    /// Since when datagrams do not get through to a receiver, or to us.
    fn out_since(&self, receiver: MemberId) -> Option<Instant> {
        [receiver, self.you].iter().filter_map(|member| self.out.get(member)).min().copied()
    }

    /// When nothing more is waited for. Whoever has not answered may take his time, unless he cannot be asked.
    fn given_up_at(&self, receiver: MemberId, awaited: &Awaited) -> Option<Instant> {
        let unasked = self.out_since(receiver).map(|since| since + OUTAGE_PATIENCE);
        awaited.deadline(self.patience(receiver)).or(unasked)
    }

    /// Whether datagrams are known not to get through to somebody.
    pub(super) fn any_out(&self) -> bool {
        !self.out.is_empty()
    }

    /// Datagrams go both ways between the server and this member, or do not.
    pub(super) fn reached(&mut self, member: MemberId, whole: bool, now: Instant) {
        if !whole {
            self.out.entry(member).or_insert(now);
        } else if self.out.remove(&member).is_some() {
            let ours = member == self.you;
            let open = self.open.values_mut().flatten();
            open.filter(|(receiver, _)| ours || **receiver == member).for_each(|(_, awaited)| awaited.refresh(now));
        }
    }

    /// A file that broke off and is to be asked for again.
    pub(super) fn next_retry(&mut self, now: Instant) -> Option<(MemberId, TransferId)> {
        self.retries.next(now)
    }

    fn close(&mut self, transfer: TransferId, receiver: MemberId) {
        if let Some(open) = self.open.get_mut(&transfer) {
            open.remove(&receiver);
            if open.is_empty() {
                self.open.remove(&transfer);
            }
        }
    }

    /// Somebody left. What he had not received he does not get.
    pub(super) fn left(&mut self, member: MemberId, name: &str) {
        self.out.remove(&member);
        let open = self.open.iter().filter(|(_, members)| members.contains_key(&member));
        for transfer in open.map(|(transfer, _)| *transfer).collect::<Vec<_>>() {
            if let Some(offer) = self.offers.get(&(self.you, transfer)) {
                let key = (PathBuf::from(&offer.name), name.to_owned());
                self.failed.insert(key, format!("{name} left without {}.", offer.name));
            }
            self.close(transfer, member);
        }
    }

    /// All that was to be sent has been, and everybody who was there then has said his last word.
    pub(super) fn all_sent(&self) -> bool {
        self.sent && self.to_send.is_empty() && self.hashing == 0 && self.open.is_empty()
    }

    /// # Errors
    /// What did not arrive, as sentences.
    pub(super) fn outcome(&self) -> Result<(), String> {
        let unsent = self.to_send.iter().map(|path| format!("{} was not sent to anybody.", path.display()));
        let open = self.open.keys().filter_map(|transfer| self.offers.get(&(self.you, *transfer)));
        let open = open.map(|offer| match self.broken_off.get(&offer.transfer) {
            Some(why) => format!("Not everybody had {} at the end: {why}.", offer.name),
            None => format!("Not everybody had {} at the end.", offer.name),
        });
        let missing = self.missing.values().map(|(name, why)| match why {
            Some(why) => format!("{name} did not arrive: {why}."),
            None => format!("{name} did not arrive."),
        });
        let sentences: Vec<String> = self.failed.values().cloned().chain(unsent).chain(open).chain(missing).collect();
        if sentences.is_empty() { Ok(()) } else { Err(sentences.join(" ")) }
    }
}

/// Whether a line about a state need not be written again: of a full disk, the bytes that are lacking change all the time.
fn says_the_same(told: FileState, state: FileState) -> bool {
    match (told, state) {
        (FileState::Interrupted(there, why), FileState::Interrupted(here, again)) => {
            there == here && discriminant(&why) == discriminant(&again)
        }
        _ => false,
    }
}

/// `sender`: `None` for a file of ours.
fn withdrawal(file: &str, sender: Option<&str>, why: Option<&str>) -> String {
    match (sender, why) {
        (None, None) => format!("{file} was taken back."),
        (Some(sender), None) => format!("{sender} took {file} back."),
        (None, Some(why)) => format!("{file} is not on offer any more: {why}."),
        (Some(sender), Some(why)) => format!("{file} from {sender} is not on offer any more: {why}."),
    }
}

fn sentence(
    offer: &FileOffer,
    (sender, receiver): (&str, &str),
    ours: bool,
    state: FileState,
    path: Option<&Path>,
    took: Option<(Duration, u64)>,
) -> String {
    let name = &offer.name;
    let whose = if ours { format!("{name} from {sender}") } else { format!("{name} to {receiver}") };
    match state {
        FileState::Cancelled => format!("{whose}: stopped by the receiver."),
        FileState::Corrupt => format!("{whose}: came damaged, and was not kept."),
        FileState::Declined => format!("{whose}: not wanted."),
        FileState::Interrupted(there, why) => {
            let (receiver, sender) = ((!ours).then_some(receiver), ours.then_some(sender));
            format!("{whose}: {}", interruption(there, offer.size, why, Ends { sender, receiver }))
        }
        FileState::Paused(there) => format!("{whose}: paused at {}.", percent(there, offer.size)),
        FileState::Receiving(_) => whose,
        FileState::Verified => {
            let place = path.map(|path| format!(", saved as {}", path.display())).unwrap_or_default();
            let hash: String = offer.hash.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{whose}: complete{}, verified{place} (BLAKE3 {hash}).", speed(took))
        }
    }
}

/// How long it took and how fast it was, where that says anything.
fn speed(took_and_came: Option<(Duration, u64)>) -> String {
    let measured = took_and_came.and_then(|(time, came)| Some((time, rate(came, time)?)));
    measured.map(|(time, rate)| format!(" in {}, {rate}", took(time))).unwrap_or_default()
}

fn interruption(there: u64, size: u64, why: FileTrouble, ends: Ends<'_>) -> String {
    let done = if there == 0 { "not begun".into() } else { format!("interrupted at {}", percent(there, size)) };
    let next = match ends.receiver {
        _ if why.is_final() || why == FileTrouble::ReceiverLeft => String::new(),
        Some(receiver) => format!(" Waiting for {receiver} to go on."),
        None => " It is tried again while it is on offer.".into(),
    };
    format!("{done}: {}.{next}", ends.why(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    const YOU: MemberId = MemberId(1);
    const BO: MemberId = MemberId(2);

    fn offer(transfer: u32) -> FileOffer {
        let (transfer, to) = (TransferId(transfer), Recipients::Everyone);
        FileOffer { transfer, to, name: "a.bin".into(), size: 100, hash: [transfer.0 as u8; 32] }
    }

    fn sending() -> Transfers {
        let mut transfers = Transfers::new(YOU, vec!["a.bin".into()], false);
        assert!(!transfers.all_sent() && transfers.outcome().is_err());
        transfers.next_to_send().unwrap();
        transfers.offered(YOU, offer(1), [BO].into_iter());
        transfers
    }

    fn at_bo(transfers: &mut Transfers, state: FileState) {
        at_bo_at(transfers, state, Instant::now());
    }

    fn at_bo_at(transfers: &mut Transfers, state: FileState, now: Instant) {
        transfers.changed((YOU, TransferId(1), BO), ("Ada", "Bo"), state, None, now);
    }

    fn name(member: MemberId) -> String {
        if member == BO { "Bo".into() } else { "Ada".into() }
    }

    const FULL: FileTrouble = FileTrouble::ReceiverFull { missing: 1_000 };

    #[test]
    fn sending_is_done_when_everybody_has_said_the_last_word() {
        for state in [FileState::Verified, FileState::Declined] {
            let mut transfers = sending();
            at_bo(&mut transfers, FileState::Receiving(10));
            at_bo(&mut transfers, FileState::Interrupted(10, FULL));
            assert!(!transfers.all_sent() && transfers.outcome().is_err());
            at_bo(&mut transfers, state);
            assert!(transfers.all_sent() && transfers.outcome().is_ok());
        }
    }

    #[test]
    fn who_leaves_without_the_file_is_named_at_the_end_unless_he_came_back_for_it() {
        let mut transfers = sending();
        transfers.left(BO, "Bo");
        assert_eq!(transfers.outcome(), Err("Bo left without a.bin.".into()));
        transfers.changed((YOU, TransferId(1), MemberId(3)), ("Ada", "Bo"), FileState::Verified, None, Instant::now());
        assert_eq!(transfers.outcome(), Ok(()));
    }

    #[test]
    fn a_file_that_was_taken_and_is_not_here_is_named_at_the_end() {
        let mut transfers = Transfers::new(YOU, Vec::new(), false);
        for from in [BO, MemberId(3)] {
            transfers.offered(from, offer(7), [BO].into_iter());
            transfers.accepted(&offer(7));
            assert_eq!(transfers.outcome(), Err("a.bin did not arrive.".into()));
        }
        transfers.changed((MemberId(3), TransferId(7), YOU), ("Cy", "Ada"), FileState::Verified, None, Instant::now());
        assert_eq!(transfers.outcome(), Ok(()), "the second sender had the same file");
    }

    #[test]
    fn while_datagrams_are_known_not_to_get_through_there_is_more_patience_and_then_time_anew() {
        let mut transfers = sending();
        let start = Instant::now();
        let after = |secs| start + Duration::from_secs(secs);
        at_bo_at(&mut transfers, FileState::Receiving(10), start);
        for who in [YOU, MemberId(2)] {
            transfers.reached(who, false, after(3));
            assert_eq!(transfers.deadline(), Some(start + OUTAGE_PATIENCE));
        }
        transfers.reached(YOU, true, after(60));
        assert_eq!(transfers.deadline(), Some(after(60) + OUTAGE_PATIENCE), "Bo is not back");
        transfers.reached(MemberId(2), true, after(70));
        assert_eq!(transfers.deadline(), Some(after(70) + STALLED_AFTER));
        transfers.reached(MemberId(2), true, after(80));
        assert_eq!(transfers.deadline(), Some(after(70) + STALLED_AFTER), "nothing came back");
    }

    #[test]
    fn who_cannot_be_asked_is_not_waited_for_without_end() {
        let mut transfers = sending();
        let start = Instant::now();
        transfers.reached(YOU, false, start);
        assert_eq!(transfers.deadline(), Some(start + OUTAGE_PATIENCE), "nobody has answered, and nobody can");
        assert!(transfers.give_up_stalled(start + OUTAGE_PATIENCE, name) && transfers.all_sent());
        assert_eq!(transfers.outcome(), Err("Bo did not get a.bin: nothing came there for 90 s.".into()));
    }

    #[test]
    fn a_receiver_at_whom_nothing_moves_is_given_up_and_named_with_the_reason() {
        let mut transfers = sending();
        let start = Instant::now();
        assert_eq!(transfers.deadline(), None, "who has not answered may take his time");
        at_bo_at(&mut transfers, FileState::Interrupted(10, FULL), start);
        assert_eq!(transfers.deadline(), Some(start + STALLED_AFTER));
        assert!(!transfers.give_up_stalled(start + STALLED_AFTER / 2, name) && !transfers.all_sent());
        let early = "Not everybody had a.bin at the end: Bo's disk lacks 1.0 kB for it.";
        assert_eq!(transfers.outcome(), Err(early.into()));
        assert!(transfers.give_up_stalled(start + STALLED_AFTER, name) && transfers.all_sent());
        assert_eq!(transfers.outcome(), Err("Bo did not get a.bin: Bo's disk lacks 1.0 kB for it.".into()));
        at_bo(&mut transfers, FileState::Verified);
        assert_eq!(transfers.outcome(), Ok(()), "he came back for it in time");
    }

    #[test]
    fn a_dead_connection_is_told_as_what_it_looks_like() {
        let mut transfers = sending();
        let start = Instant::now();
        at_bo_at(&mut transfers, FileState::Receiving(10), start);
        assert!(transfers.give_up_stalled(start + STALLED_AFTER, name));
        assert_eq!(transfers.outcome(), Err("Bo did not get a.bin: nothing came there for 30 s.".into()));
        let mut transfers = sending();
        at_bo_at(&mut transfers, FileState::Receiving(10), start);
        transfers.waits((YOU, TransferId(1)), true);
        assert!(transfers.give_up_stalled(start + STALLED_AFTER, name));
        assert_eq!(transfers.outcome(), Err("Bo did not get a.bin: there was no room on the server's disk.".into()));
    }

    #[test]
    fn sending_ends_at_once_when_the_file_is_gone_unless_somebody_gets_the_rest() {
        let gone = Some(FileTrouble::SourceGone);
        let mut transfers = sending();
        transfers.withdrawn((YOU, TransferId(1)), gone, name);
        let lost = Err("Bo did not get a.bin: it is not on the disk here any more.".into());
        assert_eq!((transfers.all_sent(), transfers.outcome()), (true, lost.clone()));
        for (last, outcome) in
            [(FileState::Verified, Ok(())), (FileState::Interrupted(20, FileTrouble::SourceGone), lost)]
        {
            let mut transfers = sending();
            at_bo(&mut transfers, FileState::Receiving(10));
            transfers.withdrawn((YOU, TransferId(1)), gone, name);
            assert!(!transfers.all_sent(), "the server may have the rest");
            at_bo(&mut transfers, last);
            assert_eq!((transfers.all_sent(), transfers.outcome()), (true, outcome));
        }
    }

    #[test]
    fn what_broke_off_is_asked_for_again_while_it_is_on_offer_and_its_reason_stands_at_the_end() {
        let mut transfers = Transfers::new(YOU, Vec::new(), false);
        let start = Instant::now();
        transfers.offered(BO, offer(1), [BO].into_iter());
        transfers.accepted(&offer(1));
        let interrupted = |transfers: &mut Transfers, trouble| {
            let state = FileState::Interrupted(0, trouble);
            transfers.changed((BO, TransferId(1), YOU), ("Bo", "Ada"), state, None, start);
        };
        interrupted(&mut transfers, FULL);
        let later = transfers.deadline().unwrap();
        assert_eq!(transfers.next_retry(later), Some((BO, TransferId(1))));
        assert_eq!(transfers.outcome(), Err("a.bin did not arrive: the disk here lacks 1.0 kB for it.".into()));
        interrupted(&mut transfers, FULL);
        transfers.withdrawn((BO, TransferId(1)), Some(FileTrouble::SourceChanged), name);
        assert_eq!(transfers.deadline(), None);
        let sentence = "a.bin did not arrive: it was changed on Bo's disk after it was offered.";
        assert_eq!(transfers.outcome(), Err(sentence.into()));
    }

    #[test]
    fn a_file_that_came_in_no_time_has_no_rate() {
        let line = |millis| {
            let took = Some((Duration::from_millis(millis), 2_000_000));
            sentence(&offer(1), ("Ada", "Bo"), false, FileState::Verified, None, took)
        };
        assert!(line(3).starts_with("a.bin to Bo: complete, verified"), "{}", line(3));
        assert!(line(2_000).starts_with("a.bin to Bo: complete in 2.0 s, 1.0 MB/s, verified"), "{}", line(2_000));
    }
}
