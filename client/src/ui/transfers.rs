//! Files of a meeting as this window knows them: who offers, who has how much, how fast it goes.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use common::ids::{MemberId, TransferId};
use common::limits::ROOM_MEMBERS_MAX;
use common::wire::message::{FileOffer, FileState, FileTrouble};

/// Files kept in the list; the oldest finished one makes room.
pub const TRANSFERS_MAX: usize = 200;
/// Receivers kept for one file: a full room, twice over for those who came and went.
const RECEIVERS_MAX: usize = 2 * ROOM_MEMBERS_MAX;
/// Over how long a rate is measured: long enough to be calm, short enough to follow a change.
const RATE_WINDOW: Duration = Duration::from_secs(3);

/// One file on offer.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Who offers it.
    pub from: MemberId,
    /// The name of who offers it, kept when that member is gone.
    pub from_name: String,
    /// What.
    pub offer: FileOffer,
    /// How far each receiver is that said something.
    pub receipts: BTreeMap<MemberId, Receipt>,
    /// Held back by its sender for a while.
    pub held: bool,
    /// Waits for room on the server's disk.
    pub waits: bool,
    /// Taken back by its sender, who may be gone or have it no more.
    pub withdrawn: Option<Withdrawn>,
    /// Where it lies here, once verified.
    pub path: Option<PathBuf>,
}

/// How an offer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// The sender has it no more.
    Lost(FileTrouble),
    /// The sender took it back.
    TakenBack,
}

/// How far one receiver is.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The receiver's name, kept when that member is gone.
    pub name: String,
    /// How far.
    pub state: FileState,
    meter: RateMeter,
}

impl Receipt {
    /// Bytes a second over the last seconds, `None` before there are two measurements.
    pub fn rate(&self) -> Option<f64> {
        self.meter.rate()
    }

    /// Bytes that arrived, of `size`.
    pub fn received(&self, size: u64) -> u64 {
        match self.state {
            FileState::Interrupted(bytes, _) | FileState::Paused(bytes) | FileState::Receiving(bytes) => {
                bytes.min(size)
            }
            FileState::Corrupt | FileState::Verified => size,
            FileState::Cancelled | FileState::Declined => self.meter.bytes().min(size),
        }
    }

    /// Time until all of `size` is there at the present rate.
    pub fn time_left(&self, size: u64) -> Option<Duration> {
        let FileState::Receiving(bytes) = self.state else {
            return None;
        };
        let rate = self.rate().filter(|rate| *rate >= 1.0)?;
        Duration::try_from_secs_f64(size.saturating_sub(bytes) as f64 / rate).ok()
    }
}

impl Transfer {
    /// Bytes of it move, or soon will.
    pub fn active(&self) -> bool {
        let receiving = |receipt: &Receipt| matches!(receipt.state, FileState::Receiving(_));
        self.withdrawn.is_none() && (self.receipts.is_empty() || self.receipts.values().any(receiving))
    }
}

/// All files of a meeting, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Transfers(VecDeque<Transfer>);

impl Transfers {
    /// All of them, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Transfer> {
        self.0.iter()
    }

    /// Puts an offer into the list. The same offer again changes nothing.
    pub fn offered(&mut self, from: MemberId, from_name: String, offer: FileOffer) {
        if self.find(from, offer.transfer).is_some() {
            return;
        }
        if self.0.len() == TRANSFERS_MAX {
            let finished = self.0.iter().position(|transfer| !transfer.active());
            self.0.remove(finished.unwrap_or_default());
        }
        self.0.push_back(Transfer {
            from,
            from_name,
            offer,
            receipts: BTreeMap::new(),
            held: false,
            waits: false,
            withdrawn: None,
            path: None,
        });
    }

    /// Writes down how far a receiver is.
    pub fn changed(
        &mut self,
        (from, transfer): (MemberId, TransferId),
        (receiver, name): (MemberId, String),
        state: FileState,
        path: Option<PathBuf>,
    ) {
        let Some(transfer) = self.find(from, transfer) else {
            return;
        };
        let known = transfer.receipts.contains_key(&receiver);
        if !known && transfer.receipts.len() >= RECEIVERS_MAX {
            return;
        }
        let receipt = transfer.receipts.entry(receiver).or_insert(Receipt { name, state, meter: RateMeter::default() });
        receipt.state = state;
        if path.is_some() {
            transfer.path = path;
        }
    }

    /// Marks a file as held back by its sender, or not any more.
    pub fn held(&mut self, from: MemberId, transfer: TransferId, held: bool) {
        if let Some(transfer) = self.find(from, transfer) {
            transfer.held = held;
        }
    }

    /// Marks a file as waiting for the server, or not any more.
    pub fn waits(&mut self, from: MemberId, transfer: TransferId, waits: bool) {
        if let Some(transfer) = self.find(from, transfer) {
            transfer.waits = waits;
        }
    }

    /// Marks an offer as taken back, or for this reason.
    pub fn withdrawn(&mut self, from: MemberId, transfer: TransferId, why: Option<FileTrouble>) {
        if let Some(transfer) = self.find(from, transfer) {
            transfer.withdrawn = Some(why.map_or(Withdrawn::TakenBack, Withdrawn::Lost));
        }
    }

    /// Reads the meters; `now` is the uptime that comes with the statistics, four times a second.
    pub fn measure(&mut self, now: Duration) {
        let receipts = self.0.iter_mut().flat_map(|transfer| transfer.receipts.values_mut());
        for receipt in receipts {
            if let FileState::Receiving(bytes) = receipt.state {
                receipt.meter.read(now, bytes);
            }
        }
    }

    fn find(&mut self, from: MemberId, transfer: TransferId) -> Option<&mut Transfer> {
        self.0.iter_mut().find(|known| known.from == from && known.offer.transfer == transfer)
    }
}

/// Readings of a byte counter over [`RATE_WINDOW`].
#[derive(Clone, Debug, Default)]
struct RateMeter(VecDeque<(Duration, u64)>);

impl RateMeter {
    fn read(&mut self, now: Duration, bytes: u64) {
        if self.0.back().is_some_and(|last| now <= last.0 || bytes < last.1) {
            self.0.clear();
        }
        self.0.push_back((now, bytes));
        while self.0.len() > 2 && now - self.0[0].0 > RATE_WINDOW {
            self.0.pop_front();
        }
    }

    fn rate(&self) -> Option<f64> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        let secs = (last.0 - first.0).as_secs_f64();
        (secs > 0.0).then(|| (last.1 - first.1) as f64 / secs)
    }

    fn bytes(&self) -> u64 {
        self.0.back().map_or(0, |last| last.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::samples;

    fn receiving(bytes: u64, transfers: &mut Transfers) {
        let file = (MemberId(2), TransferId(1));
        let state = FileState::Receiving(bytes);
        transfers.changed(file, (MemberId(1), "Ana".into()), state, None);
    }

    #[test]
    fn the_rate_is_what_arrived_in_the_last_seconds() {
        let mut transfers = Transfers::default();
        transfers.offered(MemberId(2), "Bo".into(), samples::offer(1, 10_000_000));
        for quarter in 0..20 {
            receiving(quarter * 250_000, &mut transfers);
            transfers.measure(Duration::from_millis(quarter * 250));
        }
        let receipt = &transfers.0[0].receipts[&MemberId(1)];
        assert!((receipt.rate().unwrap() - 1e6).abs() < 1.0);
        let left = receipt.time_left(10_000_000).unwrap();
        assert!((left.as_secs_f64() - 5.25).abs() < 0.01, "{left:?}");
    }

    #[test]
    fn the_list_of_files_is_bounded_and_gives_up_finished_ones_first() {
        let mut transfers = Transfers::default();
        for number in 0..TRANSFERS_MAX as u32 {
            transfers.offered(MemberId(2), "Bo".into(), samples::offer(number, 1));
        }
        transfers.withdrawn(MemberId(2), TransferId(7), None);
        transfers.offered(MemberId(2), "Bo".into(), samples::offer(1_000, 1));
        assert_eq!(transfers.0.len(), TRANSFERS_MAX);
        assert!(transfers.find(MemberId(2), TransferId(7)).is_none());
        assert!(transfers.find(MemberId(2), TransferId(0)).is_some());
    }

    #[test]
    fn an_answer_about_an_unknown_file_changes_nothing() {
        let mut transfers = Transfers::default();
        receiving(5, &mut transfers);
        assert_eq!(transfers.iter().count(), 0);
    }
}
