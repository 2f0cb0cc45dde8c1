//! Ties the model to an engine and an eframe window.

use std::collections::VecDeque;

use eframe::egui::{self, Ui};

use super::home::{HomeDraft, home_ui};
use super::meeting::{MeetingDraft, meeting_ui};
use super::model::{Model, Screen};
use super::settings::{DeviceLists, SettingsDraft, settings_ui};
use super::theme;
use super::toasts::{Toasts, toasts_ui};
use super::video_tile::Tiles;
use super::waiting::{connecting_ui, ended_ui, waiting_ui};
use crate::engine::protocol::{Command, Event, FrameSlots};

/// Commands kept for an engine that is busy; more than a person clicks in a second.
const COMMANDS_KEPT: usize = 64;
/// Events taken in before drawing; what is beyond waits for the next frame, so that a flood cannot freeze the window.
const EVENTS_PER_FRAME: usize = 1_024;

/// The window's ends of the channels to an engine.
pub struct EngineLink {
    /// Sends a command without waiting; `false` when the channel is full.
    pub commands: Box<dyn Fn(Command) -> bool + Send>,
    /// Takes the next event, if there is one.
    pub events: Box<dyn FnMut() -> Option<Event> + Send>,
    /// Where the newest pictures are.
    pub frames: FrameSlots,
}

/// What the window begins with.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// The name on the first screen.
    pub name: String,
    /// The server on the first screen.
    pub server: Option<String>,
    /// Sent at once, for example [`Command::StartMeeting`].
    pub command: Option<Command>,
    /// The devices to choose from.
    pub devices: DeviceLists,
}

/// The program in its window.
pub struct App {
    link: EngineLink,
    model: Model,
    tiles: Tiles,
    home: HomeDraft,
    meeting: MeetingDraft,
    settings: SettingsDraft,
    toasts: Toasts,
    unsent: VecDeque<Command>,
}

/// Opens the window and runs it until it is closed.
///
/// `connect` starts an engine; it gets the context to wake the window with [`egui::Context::request_repaint`]
/// whenever there is an event or a picture.
///
/// # Errors
/// A sentence when no window can be opened, for example without a display.
pub fn run(start: Start, connect: impl FnOnce(egui::Context) -> EngineLink) -> Result<(), String> {
    let options = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_title("Conclave")
            .with_app_id("conclave")
            .with_inner_size([1280.0, 800.0])
            .with_min_inner_size([760.0, 480.0]),
        ..eframe::NativeOptions::default()
    };
    let create = |context: &eframe::CreationContext<'_>| {
        let ctx = context.egui_ctx.clone();
        theme::install(&ctx);
        let app: Box<dyn eframe::App> = Box::new(App::new(start, connect(ctx)));
        Ok(app)
    };
    eframe::run_native("conclave", options, Box::new(create))
        .map_err(|error| format!("The window cannot be opened: {error}."))
}

impl App {
    /// The program before its first frame.
    pub fn new(start: Start, link: EngineLink) -> Self {
        Self {
            link,
            model: Model::default(),
            tiles: Tiles::default(),
            home: HomeDraft::new(start.name, start.server),
            meeting: MeetingDraft::default(),
            settings: SettingsDraft { open: false, devices: start.devices },
            toasts: Toasts::default(),
            unsent: start.command.into_iter().collect(),
        }
    }

    /// Takes in what the engine says. Runs also while the window is hidden.
    fn take_in(&mut self, ctx: &egui::Context) {
        for _ in 0..EVENTS_PER_FRAME {
            let Some(event) = (self.link.events)() else {
                return;
            };
            if matches!(event, Event::Joined(_) | Event::Ended { .. }) {
                self.meeting = MeetingDraft::default();
                self.tiles.clear();
            }
            self.model.apply(event);
        }
        ctx.request_repaint();
    }

    /// Sends what was asked for, in order; what the engine has no room for goes with the next frame.
    fn send(&mut self, commands: Vec<Command>, ctx: &egui::Context) {
        self.unsent.extend(commands);
        while let Some(command) = self.unsent.pop_front() {
            if !(self.link.commands)(command.clone()) {
                self.unsent.push_front(command);
                self.unsent.truncate(COMMANDS_KEPT);
                ctx.request_repaint_after(std::time::Duration::from_millis(50));
                return;
            }
        }
    }

    fn draw(&mut self, ui: &mut Ui) {
        let mut commands = Vec::new();
        let ctx = ui.ctx().clone();
        let mut back = false;
        match self.model.screen() {
            Screen::Home => home_ui(ui, &mut self.home, &mut self.settings, &mut commands),
            Screen::Connecting { server } => connecting_ui(ui, server, &mut commands),
            Screen::Waiting { code } => waiting_ui(ui, code, &mut commands),
            Screen::Meeting(meeting) => {
                self.tiles.update(&ctx, meeting, &self.link.frames);
                let (draft, settings) = (&mut self.meeting, &mut self.settings);
                let shown = draft.views.clone();
                meeting_ui(ui, meeting, &self.tiles, draft, settings, &mut commands);
                if draft.views != shown {
                    commands.push(Command::Watch(draft.views.clone()));
                }
            }
            Screen::Ended { reason, expected, again } => back = ended_ui(ui, reason, expected, again, &mut commands),
        }
        let key = self.model.server_key();
        settings_ui(&ctx, &mut self.settings, key, &mut commands);
        toasts_ui(&ctx, &mut self.toasts, self.model.notices());
        if back {
            self.model = Model::default();
            self.toasts = Toasts::default();
        }
        self.send(commands, &ctx);
    }
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &egui::Context, _frame: &mut eframe::Frame) {
        self.take_in(ctx);
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        let rect = ui.max_rect();
        let fill = theme::of(ui).background;
        ui.painter().rect_filled(rect, 0, fill);
        self.draw(ui);
    }

    fn on_exit(&mut self, _gl: Option<&eframe::glow::Context>) {
        // Closing the window is leaving; an engine that is gone already does not mind.
        let _ = (self.link.commands)(Command::Leave);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::samples::{self, ANA};
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;
    use std::sync::mpsc;

    struct Engine {
        events: mpsc::Sender<Event>,
        commands: mpsc::Receiver<Command>,
    }

    fn app(room: usize, command: Option<Command>) -> (App, Engine) {
        let (events_in, events) = mpsc::channel();
        let (commands_in, commands) = mpsc::sync_channel(room);
        let link = EngineLink {
            commands: Box::new(move |command| commands_in.try_send(command).is_ok()),
            events: Box::new(move || events.try_recv().ok()),
            frames: FrameSlots::default(),
        };
        let start = Start { name: "Ana".into(), command, ..Start::default() };
        let engine = Engine { events: events_in, commands };
        (App::new(start, link), engine)
    }

    fn harness(app: App) -> Harness<'static, App> {
        let show = |ui: &mut Ui, app: &mut App| {
            let ctx = ui.ctx().clone();
            app.take_in(&ctx);
            app.draw(ui);
        };
        let builder = Harness::builder().with_size([1280.0, 800.0]);
        builder.build_ui_state(show, app)
    }

    #[test]
    fn the_first_command_goes_out_at_once() {
        let start = Command::StartMeeting { name: "Ana".into(), server: None };
        let (app, engine) = app(4, Some(start.clone()));
        let _harness = harness(app);
        assert_eq!(engine.commands.try_recv(), Ok(start));
    }

    #[test]
    fn a_busy_engine_gets_everything_later_and_in_order() {
        let (app, engine) = app(1, None);
        let mut harness = harness(app);
        let ctx = harness.ctx.clone();
        let wanted = [Command::SetCamera(true), Command::SetMicrophone(true), Command::Leave];
        harness.state_mut().send(wanted.to_vec(), &ctx);
        for command in wanted {
            assert_eq!(engine.commands.try_recv(), Ok(command));
            harness.step();
        }
    }

    #[test]
    fn every_screen_follows_from_events() {
        let (app, engine) = app(4, None);
        let mut harness = harness(app);
        harness.get_by_label("Start a meeting");
        let steps = [
            (Event::Connecting { server: "192.0.2.7".into() }, "Connecting"),
            (Event::Knocking { code: "042917".parse().unwrap() }, "Waiting for the host to let you in"),
            (
                Event::Ended { reason: "The host did not let you in.".into(), expected: true, rejoin: false },
                "The host did not let you in.",
            ),
        ];
        for (event, label) in steps {
            engine.events.send(event).unwrap();
            harness.run_steps(3);
            harness.get_by_label(label);
        }
        harness.get_by_label("Back to start").click();
        harness.run_steps(3);
        harness.get_by_label("Start a meeting");
    }

    #[test]
    fn a_half_written_line_does_not_survive_the_meeting() {
        let (app, engine) = app(4, None);
        let mut harness = harness(app);
        harness.state_mut().model = samples::meeting(ANA);
        harness.state_mut().meeting.chat.text = "half".into();
        let ended = Event::Ended { reason: "It is over.".into(), expected: true, rejoin: false };
        engine.events.send(ended).unwrap();
        harness.run_steps(2);
        assert_eq!(harness.state().meeting.chat.text, "");
    }
}
