//! The window with its engine.

use std::cell::RefCell;
use std::sync::{Arc, mpsc};

use tokio::sync::mpsc::error::TrySendError;

use super::options::WindowOptions;
use super::participant::print_invitation;
use super::preferences::Kept;
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
    let (kept, told) = Kept::open(Kept::default_path());
    let config = options.engine_config(kept.preferences.voice_processing);
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
            voice_processing: config.voice_processing,
            process_files: config.process_files,
        },
    };
    let mut thread = None;
    let mut failed = None;
    let result = run(first, |context| match start(config, Arc::new(move || context.request_repaint())) {
        Ok(engine) => {
            let (link, engine) = link(engine, kept, told);
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

/// Ties the window to an engine, and keeps what is chosen in between. `told` is a sentence for the person.
fn link(engine: EngineHandle, kept: Kept, told: Option<String>) -> (EngineLink, std::thread::JoinHandle<()>) {
    let EngineHandle { commands, mut events, frames, thread } = engine;
    let kept = RefCell::new(kept);
    let (sentences, notices) = mpsc::sync_channel(NOTICES_MAX);
    let tell = move |sentence| drop(sentences.try_send(Event::Notice(sentence)));
    told.into_iter().for_each(&tell);
    let send = move |command: Command| {
        let choice = command.clone();
        let taken = !matches!(commands.try_send(command), Err(TrySendError::Full(_)));
        if taken {
            kept.borrow_mut().note(&choice).unwrap_or_else(&tell);
        }
        taken
    };
    let next = move || notices.try_recv().ok().or_else(|| events.try_recv().ok().inspect(invite));
    (EngineLink { commands: Box::new(send), events: Box::new(next), frames }, thread)
}

/// Sentences about preferences that wait for the next frame; each comes of a click.
const NOTICES_MAX: usize = 16;

/// Whoever opened the window from a terminal finds there what guests have to type, too.
fn invite(event: &Event) {
    if let Event::Joined(joined) = event
        && joined.members.iter().any(|member| member.id == joined.you && member.host)
    {
        print_invitation(joined);
    }
}

fn dead_link() -> EngineLink {
    EngineLink { commands: Box::new(|_| true), events: Box::new(|| None), frames: FrameSlots::default() }
}
