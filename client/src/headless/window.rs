//! The window with its engine.

use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;

use crate::devices;
use crate::engine::protocol::{Command, FrameSlots};
use crate::engine::{EngineConfig, EngineHandle, start};
use crate::ui::{DeviceLists, EngineLink, Start, run};

/// The name of somebody who has not said one.
const UNNAMED: &str = "Guest";

/// Opens the window and stays until it is closed; with `start_meeting`, it opens a meeting first.
///
/// # Errors
/// The sentence to end with.
pub(super) fn open(start_meeting: bool) -> Result<(), String> {
    let config = EngineConfig::default();
    let known = devices::list();
    let name = std::env::var("CONCLAVE_NAME").unwrap_or_else(|_| UNNAMED.into());
    let command = Command::StartMeeting {
        name: name.clone(),
        server: None,
    };
    let first = Start {
        name: if start_meeting || name != UNNAMED {
            name
        } else {
            String::new()
        },
        server: None,
        command: start_meeting.then_some(command),
        devices: DeviceLists {
            cameras: known.cameras,
            microphones: known.microphones,
            speakers: known.speakers,
            camera: config.camera.clone(),
            microphone: config.microphone.clone(),
            speaker: config.speaker.clone(),
        },
    };
    let mut thread = None;
    let mut failed = None;
    let result = run(first, |context| {
        match start(config, Arc::new(move || context.request_repaint())) {
            Ok(engine) => {
                let (link, engine) = link(engine);
                thread = Some(engine);
                link
            }
            Err(error) => {
                failed = Some(format!("The program cannot start: {error}."));
                dead_link()
            }
        }
    });
    if let Some(thread) = thread {
        // The window has dropped its end: the engine leaves the meeting.
        let _: std::thread::Result<()> = thread.join();
    }
    failed.map_or(result, Err)
}

fn link(engine: EngineHandle) -> (EngineLink, std::thread::JoinHandle<()>) {
    let EngineHandle {
        commands,
        mut events,
        frames,
        thread,
    } = engine;
    let link = EngineLink {
        commands: Box::new(move |command| {
            !matches!(commands.try_send(command), Err(TrySendError::Full(_)))
        }),
        events: Box::new(move || events.try_recv().ok()),
        frames,
    };
    (link, thread)
}

fn dead_link() -> EngineLink {
    EngineLink {
        commands: Box::new(|_| true),
        events: Box::new(|| None),
        frames: FrameSlots::default(),
    }
}
