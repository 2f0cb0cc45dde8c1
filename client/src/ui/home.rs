//! The first screen: who you are, and whether to start a meeting or join one.

use common::ids::RoomCode;
use common::limits::{NAME_MAX_BYTES, NAME_MAX_CHARS};
use eframe::egui::{
    Align, CollapsingHeader, FontId, Key, Label, Layout, Margin, Response, RichText, ScrollArea, TextEdit, Ui, vec2,
};

use super::icons::{self, Icon};
use super::settings::SettingsDraft;
use super::theme;
use crate::engine::protocol::Command;

/// What is typed on the first screen.
#[derive(Clone, Debug, Default)]
pub struct HomeDraft {
    /// Display name.
    pub name: String,
    /// Where to start a meeting; empty means on this computer.
    pub start_server: String,
    /// Where the meeting to join is.
    pub join_server: String,
    /// The code of the meeting to join, as typed.
    pub code: String,
    tried: Option<Try>,
}

/// What was tried and is not right yet, so that nobody is told off while still typing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Try {
    Join,
    Start,
}

impl HomeDraft {
    /// A draft with a name, and a server to start or join at.
    pub fn new(name: String, server: Option<String>) -> Self {
        let server = server.unwrap_or_default();
        Self { name, start_server: server.clone(), join_server: server, ..Self::default() }
    }

    fn name_complaint(&self) -> Option<&'static str> {
        let name = self.name.trim();
        if name.is_empty() {
            Some("Please type your name, so that the others know who is there.")
        } else if name.len() > NAME_MAX_BYTES || name.chars().count() > NAME_MAX_CHARS {
            Some("Please use a shorter name: at most 32 characters.")
        } else {
            None
        }
    }

    fn server_complaint(&self) -> Option<&'static str> {
        let server = self.join_server.trim();
        if server.is_empty() {
            Some("Please type the address that came with the invitation.")
        } else if server.contains(char::is_whitespace) {
            Some("An address has no spaces in it, for example meet.example.org.")
        } else {
            None
        }
    }

    fn code_complaint(&self) -> Option<&'static str> {
        let valid = self.code.parse::<RoomCode>().is_ok();
        (!valid).then_some("A meeting code is six digits, for example 042 917.")
    }

    fn start(&mut self) -> Option<Command> {
        self.tried = Some(Try::Start);
        if self.name_complaint().is_some() {
            return None;
        }
        let server = self.start_server.trim();
        Some(Command::StartMeeting {
            name: self.name.trim().into(),
            server: (!server.is_empty()).then(|| server.into()),
        })
    }

    fn join(&mut self) -> Option<Command> {
        self.tried = Some(Try::Join);
        let code = self.code.parse().ok()?;
        if self.name_complaint().is_some() || self.server_complaint().is_some() {
            return None;
        }
        Some(Command::Join { server: self.join_server.trim().into(), code, name: self.name.trim().into() })
    }
}

/// Widest that the two cards get together, in points.
const WIDTH: f32 = 780.0;
/// Height of everything on this screen, in points, to put it in the middle.
const HEIGHT: f32 = 530.0;
/// Characters that fit a field; nothing honest is longer.
const FIELD_MAX_CHARS: usize = 255;

/// Draws the first screen.
pub fn home_ui(ui: &mut Ui, draft: &mut HomeDraft, settings: &mut SettingsDraft, commands: &mut Vec<Command>) {
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        ui.add_space(((ui.available_height() - HEIGHT) / 2.0).max(16.0));
        theme::centered_column(ui, WIDTH, |ui| {
            heading_ui(ui);
            ui.add_space(22.0);
            name_ui(ui, draft, commands);
            ui.add_space(6.0);
            ui.columns_const(|[left, right]| {
                start_ui(left, draft, commands);
                join_ui(right, draft, commands);
            });
            ui.add_space(6.0);
            devices_ui(ui, settings);
        });
    });
}

fn heading_ui(ui: &mut Ui) {
    ui.horizontal(|ui| {
        icons::product(ui, 52.0);
        ui.add_space(6.0);
        ui.vertical(|ui| {
            ui.spacing_mut().item_spacing.y = 2.0;
            ui.label(RichText::new("Conclave").size(30.0).strong());
            let color = theme::of(ui).weak;
            let what = "A meeting room of your own: no account, no cloud, nobody gets in unasked.";
            ui.label(RichText::new(what).color(color));
        });
    });
}

fn name_ui(ui: &mut Ui, draft: &mut HomeDraft, commands: &mut Vec<Command>) {
    theme::card(ui).show(ui, |ui| {
        ui.set_width(ui.available_width());
        let name = &mut draft.name;
        let field = theme::field(ui, "Your name", "How the others see you", name, FIELD_MAX_CHARS);
        if let Some(complaint) = draft.tried.and(draft.name_complaint()) {
            theme::complaint(ui, complaint);
        }
        if entered(ui, &field) {
            let joining = !draft.code.is_empty();
            commands.extend(if joining { draft.join() } else { draft.start() });
        }
    });
}

fn start_ui(ui: &mut Ui, draft: &mut HomeDraft, commands: &mut Vec<Command>) {
    choice_ui(ui, "Start a meeting", |ui| {
        let here = draft.start_server.trim().is_empty();
        let what = if here {
            "It runs on this computer for as long as you stay. You let everyone in yourself."
        } else {
            "It runs on the server you name below. You let everyone in yourself."
        };
        wrapped(ui, what);
        let folded = CollapsingHeader::new("On a server instead").default_open(!here);
        let folded = folded.show(ui, |ui| {
            let server = &mut draft.start_server;
            theme::field(ui, "Server", "meet.example.org", server, FIELD_MAX_CHARS)
        });
        let submitted = folded.body_returned.is_some_and(|field| entered(ui, &field));
        bottom(ui, |ui| {
            if wide(ui, "Start meeting").clicked() || submitted {
                commands.extend(draft.start());
            }
        });
    });
}

fn join_ui(ui: &mut Ui, draft: &mut HomeDraft, commands: &mut Vec<Command>) {
    choice_ui(ui, "Join a meeting", |ui| {
        let tried = draft.tried == Some(Try::Join);
        let server = &mut draft.join_server;
        let address = theme::field(ui, "Address", "192.168.1.20 or meet.example.org", server, FIELD_MAX_CHARS);
        if let Some(complaint) = draft.server_complaint().filter(|_| tried) {
            theme::complaint(ui, complaint);
        }
        let code = code_ui(ui, &mut draft.code);
        if let Some(complaint) = draft.code_complaint().filter(|_| tried) {
            theme::complaint(ui, complaint);
        }
        let submitted = entered(ui, &address) || entered(ui, &code);
        bottom(ui, |ui| {
            if wide(ui, "Ask to join").clicked() || submitted {
                commands.extend(draft.join());
            }
        });
    });
}

/// The six digits, large enough to be compared with a piece of paper.
fn code_ui(ui: &mut Ui, code: &mut String) -> Response {
    let color = theme::of(ui).weak;
    let label = ui.label(RichText::new("Meeting code").small().color(color));
    let edit = TextEdit::singleline(code)
        .hint_text(RichText::new("042 917").monospace().size(CODE_SIZE))
        .font(FontId::monospace(CODE_SIZE))
        .char_limit(CODE_MAX_CHARS)
        .margin(Margin::symmetric(10, 6))
        .desired_width(f32::INFINITY);
    theme::edit(ui, edit).labelled_by(label.id)
}

/// Points of a digit of the code.
const CODE_SIZE: f32 = 24.0;
/// Six digits with blanks and dashes around every one of them.
const CODE_MAX_CHARS: usize = 20;

fn choice_ui(ui: &mut Ui, title: &str, contents: impl FnOnce(&mut Ui)) {
    theme::card(ui).show(ui, |ui| {
        ui.set_width(ui.available_width());
        ui.set_min_height(CHOICE_HEIGHT);
        // Columns justify; text reads better ragged.
        ui.with_layout(Layout::top_down(Align::Min), |ui| {
            ui.heading(title);
            ui.add_space(2.0);
            contents(ui);
        });
    });
}

/// Both cards are as tall as the fuller one, in points.
const CHOICE_HEIGHT: f32 = 262.0;

/// What stands at the lower edge of a card.
fn bottom(ui: &mut Ui, contents: impl FnOnce(&mut Ui)) {
    let used = ui.cursor().top() - ui.min_rect().top();
    ui.add_space((CHOICE_HEIGHT - used - BUTTON_HEIGHT).max(4.0));
    contents(ui);
}

/// Points of a button that a thumb would hit.
const BUTTON_HEIGHT: f32 = 42.0;

fn wide(ui: &mut Ui, text: &str) -> Response {
    let button = theme::primary(ui, text);
    ui.add_sized(vec2(ui.available_width(), BUTTON_HEIGHT), button)
}

fn wrapped(ui: &mut Ui, text: &str) {
    let color = theme::of(ui).weak;
    let label = Label::new(RichText::new(text).color(color)).wrap();
    ui.add(label.halign(Align::Min));
}

fn devices_ui(ui: &mut Ui, settings: &mut SettingsDraft) {
    theme::card(ui).show(ui, |ui| {
        ui.set_width(ui.available_width());
        ui.horizontal(|ui| {
            let (microphone, camera) = settings.described();
            device_ui(ui, Icon::Microphone, &microphone);
            ui.add_space(12.0);
            device_ui(ui, Icon::Camera, &camera);
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                settings.open |= ui.button("Devices and settings...").clicked();
            });
        });
    });
}

fn device_ui(ui: &mut Ui, icon: Icon, name: &str) {
    icons::mark(ui, icon, 18.0, theme::of(ui).weak);
    ui.label(name);
}

fn entered(ui: &Ui, field: &Response) -> bool {
    field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    type State = (HomeDraft, SettingsDraft, Vec<Command>);

    fn harness() -> Harness<'static, State> {
        let draft = HomeDraft::new("Ana".into(), None);
        Harness::builder().with_size(vec2(1000.0, 800.0)).build_ui_state(
            |ui, (draft, settings, commands): &mut State| home_ui(ui, draft, settings, commands),
            (draft, SettingsDraft::default(), Vec::new()),
        )
    }

    fn fill(harness: &mut Harness<'_, State>, label: &str, text: &str) {
        harness.get_by_label(label).focus();
        harness.run();
        harness.get_by_label(label).type_text(text);
        harness.run();
    }

    #[test]
    fn a_bad_code_is_refused_with_a_sentence() {
        let mut harness = harness();
        fill(&mut harness, "Address", "192.0.2.7");
        fill(&mut harness, "Meeting code", "0429");
        harness.get_by_label("Ask to join").click();
        harness.run();
        harness.get_by_label_contains("A meeting code is six digits");
        assert_eq!(harness.state().2, []);
    }

    #[test]
    fn a_code_as_people_write_it_knocks_at_the_meeting() {
        let mut harness = harness();
        fill(&mut harness, "Address", " 192.0.2.7 ");
        fill(&mut harness, "Meeting code", "042 917");
        harness.get_by_label("Ask to join").click();
        harness.run();
        let join =
            Command::Join { server: "192.0.2.7".into(), code: RoomCode::new(42_917).unwrap(), name: "Ana".into() };
        assert_eq!(harness.state().2, [join]);
    }

    #[test]
    fn enter_in_the_code_joins() {
        let mut harness = harness();
        fill(&mut harness, "Address", "192.0.2.7");
        fill(&mut harness, "Meeting code", "042917");
        harness.key_press(Key::Enter);
        harness.run();
        assert!(matches!(harness.state().2[..], [Command::Join { .. }]));
    }

    #[test]
    fn a_meeting_starts_on_this_computer_unless_a_server_is_named() {
        let mut harness = harness();
        harness.get_by_label("Start meeting").click();
        harness.run();
        harness.state_mut().0.start_server = "meet.example.org".into();
        harness.get_by_label("Start meeting").click();
        harness.run();
        let start = |server: Option<&str>| Command::StartMeeting { name: "Ana".into(), server: server.map(Into::into) };
        assert_eq!(harness.state().2, [start(None), start(Some("meet.example.org"))]);
    }

    #[test]
    fn nobody_gets_anywhere_without_a_name() {
        let mut harness = harness();
        harness.state_mut().0.name = "  ".into();
        harness.get_by_label("Start meeting").click();
        harness.run();
        harness.get_by_label_contains("Please type your name");
        assert_eq!(harness.state().2, []);
    }
}
