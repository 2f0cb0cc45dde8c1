//! The camera's thread: captures, shows the own picture, codes what the network can take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::ids::MemberId;
use common::limits::VIDEO_CLOCK_RATE_HZ;
use common::picture::blocks::{CodedFrame, LostBlocks};
use common::picture::ladder::VideoTarget;
use common::sequence::MediaTime;
use tokio::sync::{mpsc, watch};

use super::outlet::PassingOutlet;
use super::protocol::{Event, FrameSlots};
use crate::devices::jpeg::PartEncoder;
use crate::devices::{DeviceChoice, DeviceError, Picture, open_camera};

/// What the camera's thread tells the meeting.
#[derive(Debug)]
pub(super) enum FromCamera {
    /// The camera does not work (any more).
    Failed(DeviceError),
    /// A picture to send.
    Frame(CodedFrame),
}

/// Coded frames between camera and meeting: one that waits, one in the making. An older one is of no use.
const CAMERA_CHANNEL: usize = 2;

/// Losses between meeting and camera. More than that at once, as on a path that is down, come with the refresh.
const LOST_CHANNEL: usize = 256;

/// A camera that is on. Dropping it turns it off; its thread ends with the capture it is in.
#[derive(Debug)]
pub(super) struct CameraThread {
    stop: Arc<AtomicBool>,
    target: watch::Sender<Option<VideoTarget>>,
    lost: mpsc::Sender<LostBlocks>,
    coded: mpsc::Receiver<FromCamera>,
}

impl Drop for CameraThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Where the pictures go.
#[derive(Clone)]
pub(super) struct CameraSink {
    /// Whose they are.
    pub(super) you: MemberId,
    /// The own picture.
    pub(super) frames: FrameSlots,
    /// Tells the window of it.
    pub(super) outlet: PassingOutlet,
    /// Zero of the media time: the start of the meeting.
    pub(super) origin: Instant,
}

impl CameraThread {
    /// Turns a camera on.
    pub(super) fn start(choice: DeviceChoice, target: VideoTarget, sink: CameraSink) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (target, watched) = watch::channel(Some(target));
        let (coded_out, coded) = mpsc::channel(CAMERA_CHANNEL);
        let (lost, lost_in) = mpsc::channel(LOST_CHANNEL);
        let stopped = Arc::clone(&stop);
        std::thread::Builder::new().name("camera".into()).spawn(move || {
            let result = run(&choice, &stopped, &watched, lost_in, &sink, &coded_out);
            // The window keeps no picture of a camera that is off.
            sink.frames.take(sink.you);
            if let Err(error) = result {
                // A meeting that is over does not want to know.
                let _ = coded_out.blocking_send(FromCamera::Failed(error));
            }
        })?;
        Ok(Self { stop, target, lost, coded })
    }

    /// The next thing the camera has to say; `None` when its thread has ended.
    pub(super) async fn next(&mut self) -> Option<FromCamera> {
        self.coded.recv().await
    }

    /// Blocks that did not arrive come with the next frame.
    pub(super) fn mark_lost(&self, lost: LostBlocks) {
        // Whoever cannot be told finds out by the refresh.
        let _ = self.lost.try_send(lost);
    }

    /// What to produce from here on; `None` when nobody looks at it.
    pub(super) fn set_target(&self, target: Option<VideoTarget>) {
        self.target.send_if_modified(|current| std::mem::replace(current, target) != target);
    }
}

fn run(
    choice: &DeviceChoice,
    stop: &AtomicBool,
    target: &watch::Receiver<Option<VideoTarget>>,
    mut lost: mpsc::Receiver<LostBlocks>,
    sink: &CameraSink,
    coded: &mpsc::Sender<FromCamera>,
) -> Result<(), DeviceError> {
    let Some(mut camera) = open_camera(choice)? else {
        return Err(DeviceError("No camera is chosen.".into()));
    };
    let mut encoder = PartEncoder::new()?;
    let mut picture = Picture::default();
    let mut pace = Pace::default();
    while !stop.load(Ordering::Relaxed) {
        camera.capture(&mut picture)?;
        let now = Instant::now();
        let target = *target.borrow();
        match target {
            // Whoever looks again has nothing of the picture.
            None => encoder.forget(),
            Some(target) if !stop.load(Ordering::Relaxed) && pace.due(now, target.frames_per_second) => {
                // The meeting is behind: coding this one would only heat the room.
                if let Ok(room) = coded.try_reserve() {
                    mark_lost(&mut encoder, &mut lost);
                    if let Some(frame) = encoder.encode(&picture, &target, media_time(sink.origin, now))? {
                        room.send(FromCamera::Frame(frame));
                    }
                }
            }
            Some(_) => {}
        }
        picture = show(sink, picture);
    }
    Ok(())
}

fn mark_lost(encoder: &mut PartEncoder, lost: &mut mpsc::Receiver<LostBlocks>) {
    while let Ok(LostBlocks { timestamp, rung, runs }) = lost.try_recv() {
        encoder.mark_lost(timestamp, rung, &runs);
    }
}

/// Puts the own picture where the window finds it; gives back memory for the next one.
fn show(sink: &CameraSink, picture: Picture) -> Picture {
    let old = sink.frames.put(sink.you, picture);
    sink.outlet.send(Event::Frame(sink.you));
    old.or_else(|| sink.frames.spare()).unwrap_or_default()
}

fn media_time(origin: Instant, now: Instant) -> MediaTime {
    let elapsed = now.saturating_duration_since(origin);
    let units = elapsed.as_micros() * u128::from(VIDEO_CLOCK_RATE_HZ) / 1_000_000;
    // Media time is modulo 2^32 by definition.
    MediaTime(units as u32)
}

/// Thins the frames of a camera out to a lower rate, evenly.
#[derive(Debug, Default)]
struct Pace {
    next: Option<Instant>,
}

impl Pace {
    fn due(&mut self, now: Instant, frames_per_second: u8) -> bool {
        let period = Duration::from_secs(1) / u32::from(frames_per_second.max(1));
        let next = *self.next.get_or_insert(now);
        // A camera's frames come with a jitter; one that is a little early is the one that was meant.
        if now + period / 8 < next {
            return false;
        }
        // After a pause the pace begins anew, since frames cannot be made up for.
        self.next = Some((next + period).max(now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(camera_fps: u32, target_fps: u8) -> usize {
        let start = Instant::now();
        let mut pace = Pace::default();
        (0..camera_fps * 10)
            .filter(|frame| {
                // Up to 3 ms of jitter.
                let jitter = Duration::from_millis(u64::from(frame * 7 % 4));
                let at = Duration::from_secs(1) / camera_fps * *frame + jitter;
                pace.due(start + at, target_fps)
            })
            .count()
    }

    #[test]
    fn frames_are_thinned_out_to_the_rate_that_was_asked_for() {
        for (camera, target, expected) in [(30, 30, 300), (30, 15, 150), (30, 10, 100), (30, 60, 300), (24, 12, 120)] {
            let frames = taken(camera, target);
            assert!(frames.abs_diff(expected) <= expected / 20, "{camera} to {target}: {frames}");
        }
    }

    #[test]
    fn media_time_runs_at_ninety_kilohertz() {
        let origin = Instant::now();
        assert_eq!(media_time(origin, origin + Duration::from_millis(40)), MediaTime(3_600));
        assert_eq!(media_time(origin, origin), MediaTime(0));
    }
}
