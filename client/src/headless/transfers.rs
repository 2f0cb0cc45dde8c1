//! The files that --send and --receive are about: what is still to be done, what went wrong, and what is printed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Instant;

use common::ids::{MemberId, TransferId};
use common::limits::OFFERS_PER_MEMBER;
use common::wire::message::{FileOffer, FileState, Recipients};

use super::progress::{Place, Progress};
use crate::amount::{bytes, clock, percent};

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
    open: BTreeMap<TransferId, BTreeSet<MemberId>>,
    /// Own files that somebody did not get, with the sentence that says so.
    failed: BTreeMap<(PathBuf, String), String>,
    /// Files of others that were taken and are not here, by hash.
    missing: BTreeMap<[u8; 32], String>,
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
            self.open.insert(offer.transfer, wanted.collect());
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
        self.missing.insert(offer.hash, offer.name.clone());
    }

    /// A file is that far at a receiver.
    pub(super) fn changed(&mut self, place: Place, names: (&str, &str), state: FileState, path: Option<&Path>) {
        let (from, transfer, receiver) = place;
        let Some(offer) = self.offers.get(&(from, transfer)).cloned() else { return };
        let now = Instant::now();
        if let FileState::Receiving(there) = state {
            let label = if receiver == self.you {
                format!("{} from {}", offer.name, names.0)
            } else {
                format!("{} to {}", offer.name, names.1)
            };
            return self.progress.update(place, &label, offer.size, there, now);
        }
        let took = self.progress.end(place, now);
        self.progress.say(&sentence(&offer, names, receiver == self.you, state, path, took));
        if receiver == self.you {
            if state == FileState::Verified {
                self.missing.remove(&offer.hash);
            }
        } else {
            self.settle(transfer, receiver, names.1, &offer, state);
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
            // It may go on.
            FileState::Interrupted(_) | FileState::Paused(_) | FileState::Receiving(_) => return,
        }
        self.close(transfer, receiver);
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
        let open = self.open.iter().filter(|(_, members)| members.contains(&member));
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
        let open = open.map(|offer| format!("Not everybody had {} at the end.", offer.name));
        let missing = self.missing.values().map(|name| format!("{name} did not arrive."));
        let sentences: Vec<String> = self.failed.values().cloned().chain(unsent).chain(open).chain(missing).collect();
        if sentences.is_empty() { Ok(()) } else { Err(sentences.join(" ")) }
    }
}

fn sentence(
    offer: &FileOffer,
    (sender, receiver): (&str, &str),
    ours: bool,
    state: FileState,
    path: Option<&Path>,
    took: Option<(std::time::Duration, f64)>,
) -> String {
    let name = &offer.name;
    let whose = if ours { format!("{name} from {sender}") } else { format!("{name} to {receiver}") };
    match state {
        FileState::Cancelled => format!("{whose}: stopped by the receiver."),
        FileState::Corrupt => format!("{whose}: came damaged, and was not kept."),
        FileState::Declined => format!("{whose}: not wanted."),
        FileState::Interrupted(there) => format!("{whose}: interrupted at {}.", percent(there, offer.size)),
        FileState::Paused(there) => format!("{whose}: paused at {}.", percent(there, offer.size)),
        FileState::Receiving(_) => whose,
        FileState::Verified => {
            let rate = took.map(|(time, rate)| format!(" in {}, {}/s", clock(time), bytes(rate))).unwrap_or_default();
            let place = path.map(|path| format!(", saved as {}", path.display())).unwrap_or_default();
            let hash: String = offer.hash.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{whose}: complete{rate}, verified{place} (BLAKE3 {hash}).")
        }
    }
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
        transfers.changed((YOU, TransferId(1), BO), ("Ada", "Bo"), state, None);
    }

    #[test]
    fn sending_is_done_when_everybody_has_said_the_last_word() {
        for state in [FileState::Verified, FileState::Declined] {
            let mut transfers = sending();
            at_bo(&mut transfers, FileState::Receiving(10));
            at_bo(&mut transfers, FileState::Interrupted(10));
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
        transfers.changed((YOU, TransferId(1), MemberId(3)), ("Ada", "Bo"), FileState::Verified, None);
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
        transfers.changed((MemberId(3), TransferId(7), YOU), ("Cy", "Ada"), FileState::Verified, None);
        assert_eq!(transfers.outcome(), Ok(()), "the second sender had the same file");
    }
}
