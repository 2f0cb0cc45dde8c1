//! Devices that a test or bench brings along, in place of the made-up ones.

use std::fmt::Debug;
use std::time::Instant;

use common::endpoint::Endpoint;
use common::picture::blocks::{CodedFrame, LostBlocks, ReceivedFrame};
use common::picture::ladder::VideoTarget;
use common::sequence::MediaTime;
use common::voice::pcm::{Block, SILENT_BLOCK};

/// Microphone, speaker, camera and screen of one participant. What is not written does nothing.
pub trait Studio: Debug {
    /// Moves sound between cards of its own and the endpoint, and answers when it is to be called again, which is later;
    /// `None` where there are none, and [`Studio::say`] and [`Studio::hear`] are called every 10 ms.
    fn move_sound(&mut self, _now: Instant, _endpoint: &mut Endpoint) -> Option<Instant> {
        None
    }

    /// The next 10 ms of the microphone, captured just now.
    fn say(&mut self, _now: Instant) -> Block {
        SILENT_BLOCK
    }

    /// The next 10 ms of the speaker, played from now on.
    fn hear(&mut self, _now: Instant, _block: &Block) {}

    /// What is to be sent of a picture captured just now.
    fn film(&mut self, _now: Instant, _target: VideoTarget, _timestamp: MediaTime) -> Option<CodedFrame> {
        None
    }

    /// These blocks come again with the next picture.
    fn mark_lost(&mut self, _lost: &LostBlocks) {}

    /// Draws what came.
    fn show(&mut self, _now: Instant, _frame: &ReceivedFrame) {}
}
