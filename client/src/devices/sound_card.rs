//! What microphones and speakers have in common: finding the device, and a thread that owns its stream.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::limits::AUDIO_BLOCK_SAMPLES;
use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{Device, ErrorKind, Stream, SupportedStreamConfig};

use super::DeviceError;
use super::pace::Callback;
use super::resample::RATE_HZ;

/// Which way the sound goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Input,
    Output,
}

impl Direction {
    /// What people call such a device.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Input => "microphone",
            Self::Output => "speaker",
        }
    }

    fn default_device(self) -> Option<Device> {
        let host = cpal::default_host();
        match self {
            Self::Input => host.default_input_device(),
            Self::Output => host.default_output_device(),
        }
    }

    fn devices(self) -> Vec<Device> {
        let host = cpal::default_host();
        match self {
            Self::Input => host.input_devices().map(Iterator::collect),
            Self::Output => host.output_devices().map(Iterator::collect),
        }
        .unwrap_or_default()
    }
}

/// The devices of one direction by name, each name once.
pub(super) fn names(direction: Direction) -> Vec<String> {
    let mut names: Vec<_> = direction.devices().iter().filter_map(name_of).collect();
    names.sort();
    names.dedup();
    names
}

fn name_of(device: &Device) -> Option<String> {
    device.description().ok().map(|description| description.name().to_owned())
}

/// The device with this name or identifier, or the default one.
pub(super) fn find(direction: Direction, name: Option<&str>) -> Result<Device, DeviceError> {
    let noun = direction.noun();
    let Some(name) = name else {
        return direction.default_device().ok_or_else(|| DeviceError(format!("No {noun} was found.")));
    };
    let called = |device: &Device| {
        name_of(device).as_deref() == Some(name) || device.id().is_ok_and(|id| id.to_string() == name)
    };
    direction
        .devices()
        .into_iter()
        .find(called)
        .ok_or_else(|| DeviceError(format!("There is no {noun} called {name:?}.")))
}

/// The device's default format, at 48 kHz where it can.
///
/// The buffer is left to the system as well: a fixed one of two times 10 ms ran dry all the time over PulseAudio, whose
/// own choice calls back every 10.7 ms.
pub(super) fn format(direction: Direction, device: &Device) -> Result<SupportedStreamConfig, cpal::Error> {
    let (default, ranges): (_, Vec<_>) = match direction {
        Direction::Input => (device.default_input_config()?, device.supported_input_configs()?.collect()),
        Direction::Output => (device.default_output_config()?, device.supported_output_configs()?.collect()),
    };
    let same_kind = ranges
        .into_iter()
        .filter(|range| range.channels() == default.channels() && range.sample_format() == default.sample_format());
    Ok(same_kind.filter_map(|range| range.try_with_sample_rate(RATE_HZ)).next().unwrap_or(default))
}

/// Calls a generic function with the type of a sample format as its first type argument.
macro_rules! with_sample_type {
    ($format:expr, $function:ident($($argument:expr),* $(,)?)) => {
        match $format {
            cpal::SampleFormat::F32 => $function::<f32>($($argument),*),
            cpal::SampleFormat::F64 => $function::<f64>($($argument),*),
            cpal::SampleFormat::I16 => $function::<i16>($($argument),*),
            cpal::SampleFormat::I24 => $function::<cpal::I24>($($argument),*),
            cpal::SampleFormat::I32 => $function::<i32>($($argument),*),
            cpal::SampleFormat::I8 => $function::<i8>($($argument),*),
            cpal::SampleFormat::U16 => $function::<u16>($($argument),*),
            cpal::SampleFormat::U24 => $function::<cpal::U24>($($argument),*),
            cpal::SampleFormat::U32 => $function::<u32>($($argument),*),
            cpal::SampleFormat::U8 => $function::<u8>($($argument),*),
            _ => Err(cpal::ErrorKind::UnsupportedConfig.into()),
        }
    };
}
pub(super) use with_sample_type;

/// What a callback tells the engine's side, without a lock.
///
/// Each is read for itself: what belongs to a callback may be that of the one before, which costs the engine a look.
#[derive(Debug)]
pub(super) struct Status {
    gone: AtomicBool,
    failures: AtomicUsize,
    period: AtomicUsize,
    callbacks: AtomicUsize,
    /// Of the last callback, since `began`.
    micros: AtomicU64,
    began: Instant,
    missing: AtomicUsize,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            gone: AtomicBool::default(),
            failures: AtomicUsize::default(),
            period: AtomicUsize::default(),
            callbacks: AtomicUsize::default(),
            micros: AtomicU64::default(),
            began: Instant::now(),
            missing: AtomicUsize::default(),
        }
    }
}

impl Status {
    /// The device will give or take nothing more.
    pub(super) fn gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Samples at 48 kHz that the device handles in one callback; a block before the first one.
    pub(super) fn period(&self) -> usize {
        match self.period.load(Ordering::Relaxed) {
            0 => AUDIO_BLOCK_SAMPLES,
            period => period,
        }
    }

    /// Notes that a callback had this many frames at `rate_hz`.
    pub(super) fn called_back(&self, frames: usize, rate_hz: u32) {
        let period = frames * RATE_HZ as usize / rate_hz.max(1) as usize;
        self.failures.store(0, Ordering::Relaxed);
        self.period.store(period.min(RING_SAMPLES / 2), Ordering::Relaxed);
        self.micros.store(self.began.elapsed().as_micros() as u64, Ordering::Relaxed);
        self.callbacks.fetch_add(1, Ordering::Release);
    }

    /// The last callback, if there was one.
    pub(super) fn last(&self) -> Option<Callback> {
        let number = self.callbacks.load(Ordering::Acquire);
        let at = self.began + Duration::from_micros(self.micros.load(Ordering::Relaxed));
        (number > 0).then(|| Callback { number, at, samples: self.period() })
    }

    /// Notes that so many samples at 48 kHz were not there for a callback.
    pub(super) fn missed(&self, samples: usize) {
        self.missing.fetch_add(samples, Ordering::Relaxed);
    }

    /// Samples that were not there since this was asked for last.
    pub(super) fn take_missing(&self) -> usize {
        self.missing.swap(0, Ordering::Relaxed)
    }

    /// Notes what the driver reports: a glitch or a change of route passes, and so does an error of the driver when
    /// sound flows again after it; anything else is the end.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum grows, and what is new is taken seriously")]
    pub(super) fn failed(&self, kind: ErrorKind) {
        let passes = match kind {
            ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied | ErrorKind::Xrun => true,
            ErrorKind::BackendError => {
                let failures = self.failures.fetch_add(1, Ordering::Relaxed);
                let sounded = Duration::from_micros(self.micros.load(Ordering::Relaxed));
                recovers(failures, self.began.elapsed().saturating_sub(sounded))
            }
            _ => false,
        };
        if !passes {
            self.gone.store(true, Ordering::Relaxed);
        }
    }

    /// The sentence for a device that is gone, or nothing.
    pub(super) fn check(&self, direction: Direction) -> Result<(), DeviceError> {
        if self.gone() {
            return Err(DeviceError(format!("The {} was unplugged.", direction.noun())));
        }
        Ok(())
    }
}

/// Whether a driver may yet go on, after so many errors in a row and so long without sound.
fn recovers(failures: usize, silent_for: Duration) -> bool {
    failures < FAILURES_MAX || silent_for < SILENT_MAX
}

/// Errors of the driver in a row, without sound between them, after which a device may be given up. ALSA's PulseAudio
/// plugin gives hundreds in a few milliseconds after running dry, and then goes on.
const FAILURES_MAX: usize = 10_000;

/// How long it may go on giving errors: where the sound server is starved by a busy machine, tens of thousands come
/// within a second before sound flows again.
const SILENT_MAX: Duration = Duration::from_secs(5);

/// Samples at 48 kHz between a callback and the engine: 400 ms, more than any device's period and any stall worth
/// bridging.
pub(super) const RING_SAMPLES: usize = 19_200;

/// A stream that runs on a thread of its own, because on some systems it may not leave the thread that opened it. It
/// ends when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Opens a stream by `open` and lets it run; waits until it does, and gives the engine's end of it.
    pub(super) fn start<T: Send + 'static>(
        direction: Direction,
        open: impl FnOnce() -> Result<(Stream, T), DeviceError> + Send + 'static,
    ) -> Result<(Self, T), DeviceError> {
        let (stop, stopped) = mpsc::channel::<()>();
        let (opened, result) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name(direction.noun().into())
            .spawn(move || match open().and_then(|opened| play(direction, opened)) {
                Ok((stream, end)) => {
                    let _ = opened.send(Ok(end));
                    // Nothing is ever sent: this returns when `stop` is dropped.
                    let _ = stopped.recv();
                    drop(stream);
                }
                Err(error) => drop(opened.send(Err(error))),
            })
            .map_err(|error| DeviceError(format!("The {} cannot be started: {error}.", direction.noun())))?;
        let result = result.recv();
        let running = Self { stop: Some(stop), thread: Some(thread) };
        let end =
            result.unwrap_or_else(|_| Err(DeviceError(format!("The {} cannot be started.", direction.noun()))))?;
        Ok((running, end))
    }
}

impl Drop for Running {
    /// Waits until the device is free again, so that it can be opened anew.
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn play<T>(direction: Direction, (stream, end): (Stream, T)) -> Result<(Stream, T), DeviceError> {
    stream.play().map_err(|error| refused(direction, &error))?;
    Ok((stream, end))
}

/// Why a device cannot be used, as a sentence.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum grows, and the rest means nothing to a person")]
pub(super) fn refused(direction: Direction, error: &cpal::Error) -> DeviceError {
    let noun = direction.noun();
    DeviceError(match error.kind() {
        ErrorKind::DeviceBusy => format!("The {noun} is used by another program."),
        ErrorKind::DeviceNotAvailable | ErrorKind::HostUnavailable => {
            format!("No {noun} was found.")
        }
        ErrorKind::PermissionDenied => format!("This program is not allowed to use the {noun}."),
        _ => format!("The {noun} cannot be used ({error})."),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glitch_passes_and_an_unplugged_device_is_gone() {
        let status = Status::default();
        status.failed(ErrorKind::Xrun);
        assert_eq!(status.check(Direction::Input), Ok(()));
        status.failed(ErrorKind::DeviceNotAvailable);
        assert_eq!(status.check(Direction::Input), Err(DeviceError("The microphone was unplugged.".into())));
    }

    #[test]
    fn a_driver_that_only_fails_is_given_up_after_a_while() {
        let moment = Duration::from_millis(1);
        assert!(recovers(FAILURES_MAX - 1, 60 * SILENT_MAX));
        assert!(recovers(100 * FAILURES_MAX, SILENT_MAX - moment));
        assert!(!recovers(FAILURES_MAX, SILENT_MAX));
    }

    #[test]
    fn sound_after_errors_is_a_new_beginning() {
        let status = Status::default();
        (0..2 * FAILURES_MAX).for_each(|_| status.failed(ErrorKind::BackendError));
        assert!(!status.gone());
        status.called_back(480, 48_000);
        assert_eq!(status.failures.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_period_is_counted_at_48_khz() {
        let status = Status::default();
        assert_eq!(status.period(), 480);
        status.called_back(441, 44_100);
        assert_eq!(status.period(), 480);
        status.called_back(512, 16_000);
        assert_eq!(status.period(), 1_536);
    }

    #[test]
    fn callbacks_are_counted_and_so_is_what_they_lacked() {
        let status = Status::default();
        assert_eq!(status.last(), None);
        let before = Instant::now();
        status.called_back(960, 48_000);
        status.called_back(480, 48_000);
        let last = status.last().unwrap();
        assert_eq!((last.number, last.samples), (2, 480));
        // The time is kept in microseconds.
        assert!(last.at + Duration::from_micros(1) >= before && last.at <= Instant::now());
        status.missed(3);
        status.missed(4);
        assert_eq!((status.take_missing(), status.take_missing()), (7, 0));
    }

    #[test]
    fn a_stream_that_does_not_open_says_why() {
        let error = DeviceError("No.".into());
        let refused = error.clone();
        let result = Running::start(Direction::Output, move || Err::<(Stream, ()), _>(refused));
        assert_eq!(result.map(|_| ()), Err(error));
    }
}
