//! Several runs at a time, as many as the machine can carry without one showing in another.

use std::sync::{Condvar, Mutex, PoisonError};

/// Room for runs, counted in links of 20 Mbit/s.
#[derive(Debug)]
pub(crate) struct Room {
    free: Mutex<usize>,
    changed: Condvar,
    all: usize,
}

impl Room {
    /// For so many links of 20 Mbit/s at a time.
    pub(crate) fn new(links: usize) -> Self {
        let all = links.max(1);
        Self { free: Mutex::new(all), changed: Condvar::new(), all }
    }

    /// Does something that needs the room of a link with this rate, when there is room. Faster links than fit are
    /// alone.
    pub(crate) fn with<T>(&self, rate_mbit: f64, work: impl FnOnce() -> T) -> T {
        let wanted = ((rate_mbit / MBIT_PER_LINK).sqrt().ceil() as usize).clamp(1, self.all);
        self.take(wanted);
        let done = work();
        self.give(wanted);
        done
    }

    fn take(&self, wanted: usize) {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.changed.wait_while(free, |free| *free < wanted).unwrap_or_else(PoisonError::into_inner);
        *free -= wanted;
    }

    fn give(&self, taken: usize) {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += taken;
        self.changed.notify_all();
    }

    /// Does the same with every item, at the same time where there is room; answers in the order of the items.
    pub(crate) fn map<I: Sync, T: Send>(&self, items: &[I], work: impl Fn(&I) -> T + Sync) -> Vec<T> {
        let next = Mutex::new(0);
        let take = || {
            let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
            *next += 1;
            *next - 1
        };
        let done = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..self.all {
                scope.spawn(|| {
                    while let index = take()
                        && let Some(item) = items.get(index)
                    {
                        let result = work(item);
                        done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, result)| result).collect()
    }
}

/// What one unit of room carries. A link of 100 Mbit/s takes three: reading packets in batches pays.
const MBIT_PER_LINK: f64 = 20.0;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_more_is_done_at_a_time_than_there_is_room_for() {
        let (room, now, most) = (Room::new(4), AtomicUsize::new(0), AtomicUsize::new(0));
        let items: Vec<usize> = (0..40).collect();
        let done = room.map(&items, |item| {
            room.with(if item % 2 == 0 { 20.0 } else { 100.0 }, || {
                let taken = if item % 2 == 0 { 1 } else { 3 };
                most.fetch_max(now.fetch_add(taken, Ordering::SeqCst) + taken, Ordering::SeqCst);
                std::thread::yield_now();
                now.fetch_sub(taken, Ordering::SeqCst);
                *item
            })
        });
        assert_eq!(done, items);
        assert!(most.into_inner() <= 4);
    }
}
