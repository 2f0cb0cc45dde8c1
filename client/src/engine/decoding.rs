//! Received frames become pictures, on threads of their own; the newest picture wins.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use common::ids::MemberId;
use common::picture::blocks::ReceivedFrame;

use super::outlet::PassingOutlet;
use super::protocol::{Event, FrameSlots};
use super::recording::Recorder;
use crate::devices::Picture;
use crate::devices::jpeg::PartDecoder;

/// Frames of one sender that wait to be decoded. Beyond, on a machine that cannot keep up, they are drawn as one: each may
/// bring blocks that do not come again.
const WAITING_PER_SENDER: usize = 3;

/// Threads that decode: one does 400 frames of 480p a second, and the window needs the other cores.
const DECODERS_MAX: usize = 3;

/// Where pictures go.
#[derive(Clone)]
pub(super) struct DecodedSink {
    /// The window takes them from here.
    pub(super) frames: FrameSlots,
    /// Tells the window of them.
    pub(super) outlet: PassingOutlet,
    /// Keeps them, if the meeting is recorded.
    pub(super) recorder: Option<Recorder>,
}

/// The decoding threads of a meeting. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Decoding {
    queues: Vec<Arc<Queue>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    closed: bool,
}

#[derive(Debug)]
enum Job {
    Decode(ReceivedFrame),
    Forget(MemberId),
}

impl Decoding {
    pub(super) fn start(sink: &DecodedSink) -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let queues: Vec<_> = (0..(cores / 2).clamp(1, DECODERS_MAX)).map(|_| Arc::<Queue>::default()).collect();
        let mut decoding = Self { queues, threads: Vec::new() };
        for queue in &decoding.queues {
            let (queue, sink) = (Arc::clone(queue), sink.clone());
            let thread = std::thread::Builder::new().name("decoding".into());
            decoding.threads.push(thread.spawn(move || run(&queue, &sink))?);
        }
        Ok(decoding)
    }

    /// Ends the threads: after this they put no more pictures anywhere. Waits for one frame at most.
    pub(super) fn stop(mut self) {
        self.queues.iter().for_each(|queue| queue.close());
        for thread in self.threads.drain(..) {
            // A panic was printed by the thread.
            let _ = thread.join();
        }
    }

    /// Has a frame decoded and shown.
    pub(super) fn push(&self, frame: ReceivedFrame) {
        let member = frame.ssrc.member();
        self.queue(member).push(member, frame);
    }

    /// A member is gone.
    pub(super) fn forget(&self, member: MemberId) {
        self.queue(member).forget(member);
    }

    /// All frames of one member go through one thread, so that they stay in order.
    fn queue(&self, member: MemberId) -> &Queue {
        &self.queues[usize::from(member.0) % self.queues.len()]
    }
}

impl Drop for Decoding {
    fn drop(&mut self) {
        self.queues.iter().for_each(|queue| queue.close());
    }
}

impl Queue {
    fn push(&self, member: MemberId, mut frame: ReceivedFrame) {
        self.change(|waiting| {
            let of_member = |job: &Job| matches!(job, Job::Decode(frame) if frame.ssrc.member() == member);
            if waiting.jobs.iter().filter(|job| of_member(job)).count() >= WAITING_PER_SENDER
                && let Some(newest) = waiting.jobs.iter().rposition(of_member)
                && let Some(Job::Decode(before)) = waiting.jobs.remove(newest)
            {
                frame.absorb(before);
            }
            waiting.jobs.push_back(Job::Decode(frame));
        });
    }

    fn forget(&self, member: MemberId) {
        self.change(|waiting| {
            waiting.jobs.retain(|job| !matches!(job, Job::Decode(frame) if frame.ssrc.member() == member));
            waiting.jobs.push_back(Job::Forget(member));
        });
    }

    fn close(&self) {
        self.change(|waiting| {
            waiting.jobs.clear();
            waiting.closed = true;
        });
    }

    fn change(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// Waits for the next job; `None` at the end.
    fn next(&self) -> Option<Job> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self
            .changed
            .wait_while(state, |waiting| waiting.jobs.is_empty() && !waiting.closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.jobs.pop_front()
    }
}

fn run(queue: &Queue, sink: &DecodedSink) {
    let mut decoders: BTreeMap<MemberId, PartDecoder> = BTreeMap::new();
    let mut spare = Picture::default();
    while let Some(job) = queue.next() {
        match job {
            Job::Decode(frame) => {
                let member = frame.ssrc.member();
                let decoder = match decoders.entry(member) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    // Without memory for a decoder there is no picture, and nothing else to do about it.
                    Entry::Vacant(entry) => match PartDecoder::new() {
                        Ok(decoder) => entry.insert(decoder),
                        Err(_) => continue,
                    },
                };
                decoder.decode(&frame);
                spare = show(sink, member, decoder.picture(), spare);
            }
            Job::Forget(member) => {
                decoders.remove(&member);
                sink.frames.take(member);
            }
        }
    }
    // The next meeting has other members by the same ids.
    for member in decoders.keys() {
        sink.frames.take(*member);
    }
}

/// Copies a picture to where the window finds it; gives back memory for the next copy.
fn show(sink: &DecodedSink, member: MemberId, picture: &Picture, mut copy: Picture) -> Picture {
    if let Some(recorder) = &sink.recorder {
        recorder.picture(member, picture);
    }
    (copy.width, copy.height) = (picture.width, picture.height);
    copy.rgba.clone_from(&picture.rgba);
    let old = sink.frames.put(member, copy);
    sink.outlet.send(Event::Frame(member));
    old.or_else(|| sink.frames.spare()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::{Ssrc, StreamKind};
    use common::picture::blocks::{CodedFrame, CodedPart};
    use common::picture::ladder::Rung;
    use common::sequence::{FrameId, MediaTime};
    use common::wire::media::BlockRun;

    /// A frame with one block of the first row.
    fn frame(member: u16, number: u16) -> ReceivedFrame {
        let run = BlockRun { row: 0, column: number as u8 % 16, blocks: 1 };
        let part = CodedPart { quality: 50, runs: vec![run], scan: vec![1] };
        ReceivedFrame {
            ssrc: Ssrc::new(MemberId(member), StreamKind::Video),
            frame: FrameId(number),
            complete: true,
            picture: CodedFrame { rung: Rung::ALL[0], timestamp: MediaTime(0), parts: vec![part] },
            repairs: Vec::new(),
        }
    }

    fn waiting(queue: &Queue) -> Vec<(u16, u16)> {
        let frames = std::iter::from_fn(|| queue.next());
        frames
            .map_while(|job| match job {
                Job::Decode(frame) => Some((frame.ssrc.member().0, frame.frame.0)),
                Job::Forget(_) => None,
            })
            .collect()
    }

    #[test]
    fn frames_of_a_sender_that_floods_are_drawn_as_one() {
        let queue = Queue::default();
        queue.push(MemberId(2), frame(2, 0));
        for number in 0..10 {
            queue.push(MemberId(1), frame(1, number));
        }
        queue.forget(MemberId(9));
        assert_eq!(waiting(&queue), [(2, 0), (1, 0), (1, 1), (1, 9)]);
    }

    #[test]
    fn what_is_drawn_as_one_lacks_no_block() {
        let queue = Queue::default();
        (0..10).for_each(|number| queue.push(MemberId(1), frame(1, number)));
        let last = (0..3).filter_map(|_| queue.next()).last();
        assert!(matches!(last, Some(Job::Decode(frame)) if frame.repairs.len() == 7));
    }

    #[test]
    fn nothing_of_a_member_who_left_is_decoded() {
        let queue = Queue::default();
        queue.push(MemberId(1), frame(1, 0));
        queue.push(MemberId(2), frame(2, 0));
        queue.forget(MemberId(1));
        assert_eq!(waiting(&queue), [(2, 0)]);
    }
}
