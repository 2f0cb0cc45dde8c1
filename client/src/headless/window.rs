//! The window with its engine.

use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;

use super::options::WindowOptions;
use super::participant::print_invitation;
use crate::devices;
use crate::engine::protocol::{Command, Event, FrameSlots};
use crate::engine::{EngineHandle, start};
use crate::ui::{DeviceLists, EngineLink, Start, run};

/// The name of a host who has not said one: that of the account on this computer.
fn account_name() -> String {
    let account = ["USER", "USERNAME"].into_iter().find_map(|variable| std::env::var(variable).ok());
    account.filter(|name| !name.is_empty()).unwrap_or_else(|| "Guest".into())
}

/// Opens the window and stays until it is closed; with `start_meeting`, it opens a meeting first.
///
/// # Errors
/// The sentence to end with.
pub(super) fn open(options: WindowOptions, start_meeting: bool) -> Result<(), String> {
    let config = options.engine_config();
    let known = devices::list();
    let WindowOptions { name, server, .. } = options;
    let host = name.clone().unwrap_or_else(account_name);
    let command = Command::StartMeeting { name: host, server: server.clone() };
    let first = Start {
        name: name.unwrap_or_default(),
        server,
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
    let result = run(first, |context| match start(config, Arc::new(move || context.request_repaint())) {
        Ok(engine) => {
            let (link, engine) = link(engine);
            thread = Some(engine);
            link
        }
        Err(error) => {
            failed = Some(format!("The program cannot start: {error}."));
            dead_link()
        }
    });
    if let Some(thread) = thread {
        // The window has dropped its end: the engine leaves the meeting.
        let _: std::thread::Result<()> = thread.join();
    }
    failed.map_or(result, Err)
}

fn link(engine: EngineHandle) -> (EngineLink, std::thread::JoinHandle<()>) {
    let EngineHandle { commands, mut events, frames, thread } = engine;
    let link = EngineLink {
        commands: Box::new(move |command| !matches!(commands.try_send(command), Err(TrySendError::Full(_)))),
        events: Box::new(move || events.try_recv().ok().inspect(invite)),
        frames,
    };
    (link, thread)
}

/// Whoever opened the window from a terminal finds there what guests have to type, too.
fn invite(event: &Event) {
    if let Event::Joined(joined) = event
        && joined.members.iter().any(|member| member.id == joined.you && member.host)
    {
        print_invitation(joined.code, &joined.addresses);
    }
}

fn dead_link() -> EngineLink {
    EngineLink { commands: Box::new(|_| true), events: Box::new(|| None), frames: FrameSlots::default() }
}
