//! What a person wants done in a meeting.

use std::time::Instant;

use common::wire::control::Action;
use common::wire::message::Recipients;

use super::{END_TIMEOUT, Meeting};
use crate::devices::{DeviceChoice, DeviceError};
use crate::engine::audio::AudioFailure;
use crate::engine::camera::CameraThread;
use crate::engine::protocol::{ChatFailure, Command};
use crate::engine::surroundings::choose;

impl Meeting<'_> {
    pub(super) fn command(&mut self, command: Command) {
        choose(self.surroundings.config, &command);
        match command {
            Command::AcceptFile { from, transfer } => self.files.accept(from, transfer),
            Command::Act(action) => self.session.act(action),
            Command::CancelFile { from, transfer } => {
                self.with_files(|files, tools| files.cancel(from, transfer, tools));
            }
            Command::ChooseCamera(choice) => self.choose_camera(&choice),
            Command::ChooseMicrophone(choice) => self.audio.choose_microphone(choice),
            Command::ChooseSpeaker(choice) => self.audio.choose_speaker(choice),
            Command::ChooseVoiceProcessing(processing) => {
                self.audio.choose_processing(processing);
                self.endpoint.send_silence(processing.original_sound);
            }
            Command::DeclineFile { from, transfer } => {
                self.with_files(|files, tools| files.decline(from, transfer, tools));
            }
            // One meeting at a time: this one is to be left first.
            Command::Join { .. } | Command::StartMeeting { .. } => {}
            Command::HurryFiles(hurry) => self.endpoint.hurry_files(hurry),
            Command::Leave => self.leave(),
            Command::OfferFile { to, path } => {
                self.with_files(|files, tools| files.offer(to, path, tools));
            }
            Command::PauseFile { from, transfer } => {
                self.with_files(|files, tools| files.pause(from, transfer, tools));
            }
            Command::ResumeFile { from, transfer } => {
                self.with_files(|files, tools| files.resume(from, transfer, tools));
            }
            Command::SendChat { to, text } => self.write(to, &text),
            Command::SetCamera(on) => self.set_camera(on),
            Command::SetMicrophone(on) => self.set_microphone(on),
            Command::Watch(views) => self.views.wanted = views,
        }
    }

    fn write(&mut self, to: Recipients, text: &str) {
        let outlet = &mut *self.surroundings.outlet;
        match to {
            Recipients::Member(member) if !self.session.members().contains_key(&member) => {
                self.chat.refuse(to, text, ChatFailure::RecipientLeft, outlet);
            }
            Recipients::Everyone | Recipients::Member(_) => self.chat.send(to, text, &mut self.post, outlet),
        }
    }

    /// Who hosts on a server of this program ends the meeting by leaving, and the others are told that.
    pub(super) fn leave(&mut self) {
        if self.ours && self.leave_at.is_none() {
            self.leave_at = Some(Instant::now() + END_TIMEOUT);
            self.session.act(Action::End);
        } else {
            self.session.leave();
        }
    }

    fn choose_camera(&mut self, choice: &DeviceChoice) {
        if *choice == DeviceChoice::Off {
            self.set_camera(false);
        } else if self.camera.is_some() {
            self.camera = None;
            self.start_camera();
        }
    }

    fn set_camera(&mut self, on: bool) {
        match (on, self.camera.is_some()) {
            (true, false) => self.start_camera(),
            (false, true) => self.camera = None,
            _ => return,
        }
        self.announce();
    }

    /// Turns the chosen camera on. It tells by its channel when that did not work.
    pub(super) fn start_camera(&mut self) {
        let choice = self.surroundings.config.camera.clone();
        let target = self.endpoint.video_target();
        match CameraThread::start(choice, target, self.camera_sink.clone()) {
            Ok(camera) => self.camera = Some(camera),
            Err(error) => self.surroundings.outlet.notice(format!("The camera cannot be used: {error}.")),
        }
    }

    pub(super) fn camera_failed(&mut self, why: &str) {
        self.camera = None;
        self.surroundings.outlet.notice(why);
        self.announce();
    }

    pub(super) fn set_microphone(&mut self, on: bool) {
        if on && !self.audio.has_microphone() {
            self.audio.choose_microphone(self.surroundings.config.microphone.clone());
        }
        self.media.microphone = on;
        self.announce();
    }

    pub(super) fn audio_failed(&mut self, failure: Option<AudioFailure>) {
        let Some(failure) = failure else {
            return;
        };
        let (AudioFailure::Microphone(DeviceError(why)) | AudioFailure::Speaker(DeviceError(why))) = &failure;
        self.surroundings.outlet.notice(why.clone());
        if matches!(failure, AudioFailure::Microphone(_)) {
            self.media.microphone = false;
            self.announce();
        }
    }

    /// Tells the others which of our devices are on.
    pub(super) fn announce(&mut self) {
        self.media.camera = self.camera.is_some();
        self.session.set_media(self.media);
    }
}
