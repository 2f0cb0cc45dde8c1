//! What a door and a meeting work with, whichever of them it is: what was chosen, who commands, who is told, and how a stay
//! ends.

use common::session::Over;
use common::wire::control::{EndReason, Refusal};
use tokio::sync::mpsc;

use super::EngineConfig;
use super::outlet::Outlet;
use super::protocol::{Command, FrameSlots};

/// The parts of the lobby that a door or a meeting works with.
pub(super) struct Surroundings<'a> {
    pub(super) config: &'a mut EngineConfig,
    pub(super) commands: &'a mut mpsc::Receiver<Command>,
    pub(super) outlet: &'a mut Outlet,
    pub(super) frames: &'a FrameSlots,
}

/// How a stay ended: the sentence, and whether all is well.
pub(super) struct Ending {
    pub(super) reason: String,
    pub(super) expected: bool,
    /// The meeting may go on without us.
    pub(super) rejoin: bool,
}

impl From<Over> for Ending {
    fn from(over: Over) -> Self {
        let expected = matches!(over, Over::Left | Over::Ended(EndReason::EndedByHost));
        let rejoin = matches!(over, Over::NotRestored | Over::Refused(Refusal::PlaceGone));
        Self { reason: over.to_string(), expected, rejoin }
    }
}

impl Ending {
    pub(super) fn failure(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), expected: false, rejoin: false }
    }
}

/// Keeps what a person chose for the next meeting. Everything else means nothing outside of one.
pub(super) fn choose(config: &mut EngineConfig, command: &Command) {
    match command {
        Command::ChooseCamera(choice) => config.camera = choice.clone(),
        Command::ChooseMicrophone(choice) => config.microphone = choice.clone(),
        Command::ChooseSpeaker(choice) => config.speaker = choice.clone(),
        Command::ChooseVoiceProcessing(processing) => config.voice_processing = *processing,
        Command::SetCamera(on) => config.camera_on = *on,
        Command::SetMicrophone(on) => config.microphone_on = *on,
        Command::AcceptFile { .. }
        | Command::Act(_)
        | Command::CancelFile { .. }
        | Command::DeclineFile { .. }
        | Command::Join { .. }
        | Command::HurryFiles(_)
        | Command::Leave
        | Command::OfferFile { .. }
        | Command::PauseFile { .. }
        | Command::ResumeFile { .. }
        | Command::SendChat { .. }
        | Command::StartMeeting { .. }
        | Command::Watch(_) => {}
    }
}
