//! Between the sound devices and the endpoint: a few blocks of 10 ms each time one of the devices is due.

use std::time::Instant;

use common::endpoint::Endpoint;
use common::limits::AUDIO_BLOCK_SAMPLES;
use tokio::sync::mpsc;

use super::EngineConfig;
use super::recording::Recorder;
use crate::devices::pace::next_look;
use crate::devices::processing::{VoiceProcessing, VoiceProcessor};
use crate::devices::{Block, DeviceChoice, DeviceError, Microphone, Speaker, open_microphone, open_speaker};

/// Blocks moved at a time each way, after the machine was busy with something else: 100 ms. What is older is the
/// device's to throw away.
const BLOCKS_PER_LOOK: usize = 10;

/// A device that was opened, or why not; `None` is a device that was chosen to be off.
pub(super) enum Opened {
    Microphone(DeviceChoice, Result<Option<Box<dyn Microphone>>, DeviceError>),
    Speaker(Result<Option<Box<dyn Speaker>>, DeviceError>),
}

/// Something to tell about a device that has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AudioFailure {
    Microphone(DeviceError),
    Speaker(DeviceError),
}

impl ProcessedMicrophone {
    fn read(&mut self, block: &mut Block) -> Result<bool, DeviceError> {
        let there = self.device.read(block)?;
        if there {
            self.processor.process(block);
        }
        Ok(there)
    }
}

/// The sound devices in use.
pub(super) struct Audio {
    microphone: Option<ProcessedMicrophone>,
    speaker: Option<Box<dyn Speaker>>,
    opened: mpsc::Sender<Opened>,
    recorder: Option<Recorder>,
    processing: VoiceProcessing,
    /// Files and the tone are processed as well.
    process_files: bool,
    block: Block,
}

/// A microphone, and what is done to what it hears.
struct ProcessedMicrophone {
    choice: DeviceChoice,
    device: Box<dyn Microphone>,
    processor: VoiceProcessor,
}

impl Audio {
    /// No device yet. What [`Audio::choose_microphone`] and [`Audio::choose_speaker`] open comes by the channel.
    pub(super) fn new(config: &EngineConfig, opened: mpsc::Sender<Opened>, recorder: Option<Recorder>) -> Self {
        Self {
            microphone: None,
            speaker: None,
            opened,
            recorder,
            processing: config.voice_processing,
            process_files: config.process_files,
            block: [0; AUDIO_BLOCK_SAMPLES],
        }
    }

    /// Opens a microphone in place of the one in use, on a thread of its own: sound servers take their time.
    pub(super) fn choose_microphone(&mut self, choice: DeviceChoice) {
        self.microphone = None;
        let opened = self.opened.clone();
        tokio::task::spawn_blocking(move || {
            let device = open_microphone(&choice);
            drop(opened.blocking_send(Opened::Microphone(choice, device)));
        });
    }

    /// Opens a speaker in place of the one in use, likewise.
    pub(super) fn choose_speaker(&mut self, choice: DeviceChoice) {
        self.speaker = None;
        let opened = self.opened.clone();
        tokio::task::spawn_blocking(move || {
            drop(opened.blocking_send(Opened::Speaker(open_speaker(&choice))));
        });
    }

    /// Changes what is done to the voice from the next block on.
    pub(super) fn choose_processing(&mut self, processing: VoiceProcessing) {
        self.processing = processing;
        if let Some(microphone) = &mut self.microphone {
            microphone.processor.choose(processing.of(&microphone.choice, self.process_files));
        }
    }

    /// There is a microphone, perhaps a muted one.
    pub(super) fn has_microphone(&self) -> bool {
        self.microphone.is_some()
    }

    /// A device is there, or is not.
    pub(super) fn handle_opened(&mut self, opened: Opened) -> Result<(), AudioFailure> {
        match opened {
            Opened::Microphone(choice, device) => {
                let device = device.map_err(AudioFailure::Microphone)?;
                let processor = VoiceProcessor::new(self.processing.of(&choice, self.process_files));
                self.microphone = device.map(|device| ProcessedMicrophone { choice, device, processor });
            }
            Opened::Speaker(device) => self.speaker = device.map_err(AudioFailure::Speaker)?,
        }
        Ok(())
    }

    /// Sends what the microphone has, unless it is muted. A muted microphone is read and processed too, so that unmuting
    /// it sends neither what was said before nor an echo that is not known yet.
    pub(super) fn capture(&mut self, now: Instant, endpoint: &mut Endpoint, on: bool) -> Result<(), AudioFailure> {
        let Some(microphone) = &mut self.microphone else {
            return Ok(());
        };
        for _ in 0..BLOCKS_PER_LOOK {
            match microphone.read(&mut self.block) {
                Ok(true) if on => endpoint.push_audio(now, &self.block),
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.microphone = None;
                    return Err(AudioFailure::Microphone(error));
                }
            }
        }
        Ok(())
    }

    /// Gives the speaker what it wants.
    pub(super) fn play(&mut self, now: Instant, endpoint: &mut Endpoint) -> Result<(), AudioFailure> {
        let Some(speaker) = &mut self.speaker else {
            return Ok(());
        };
        for _ in 0..speaker.wanted().min(BLOCKS_PER_LOOK) {
            endpoint.pull_audio(now, &mut self.block);
            if let Some(recorder) = &self.recorder {
                recorder.block(&self.block);
            }
            if let Some(microphone) = &mut self.microphone {
                microphone.processor.played(&self.block);
            }
            if let Err(error) = speaker.write(&self.block) {
                self.speaker = None;
                return Err(AudioFailure::Speaker(error));
            }
        }
        Ok(())
    }

    /// When to look at the devices after a look at `now`.
    pub(super) fn next_look(&self, now: Instant) -> Instant {
        let microphone = self.microphone.iter().map(|microphone| microphone.device.due(now));
        next_look(now, microphone.chain(self.speaker.iter().map(|speaker| speaker.due(now))))
    }
}
