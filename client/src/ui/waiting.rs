//! Between the first screen and the meeting: connecting, waiting at the door, and what is left when it is over.

use common::ids::RoomCode;
use eframe::egui::{Align, Frame, Label, Layout, RichText, ScrollArea, Spinner, Ui, vec2};

use super::icons::{self, Icon};
use super::theme;
use crate::engine::protocol::Command;

/// A code as it is read aloud: two groups of three.
pub fn spoken(code: RoomCode) -> String {
    let digits = code.to_string();
    let (first, second) = digits.split_at(digits.len() / 2);
    format!("{first} {second}")
}

/// Draws the way to a server.
pub fn connecting_ui(ui: &mut Ui, server: &str, commands: &mut Vec<Command>) {
    notice_card(ui, |ui| {
        ui.add(Spinner::new().size(36.0));
        ui.add_space(12.0);
        ui.heading("Connecting");
        wrapped(ui, &format!("On the way to {server}."));
        ui.add_space(12.0);
        cancel_ui(ui, commands);
    });
}

/// Draws the place in front of the door.
pub fn waiting_ui(ui: &mut Ui, code: RoomCode, commands: &mut Vec<Command>) {
    notice_card(ui, |ui| {
        ui.add(Spinner::new().size(36.0));
        ui.add_space(12.0);
        ui.heading("Waiting for the host to let you in");
        wrapped(ui, "The host has been told that you are here. Nobody sees or hears you yet.");
        ui.add_space(8.0);
        ui.label(RichText::new(spoken(code)).monospace().size(34.0));
        theme::weak(ui, "Meeting code");
        ui.add_space(12.0);
        cancel_ui(ui, commands);
    });
}

/// Draws how it ended, and the way back in where there may be one. Answers whether to go back to the first screen.
pub fn ended_ui(
    ui: &mut Ui,
    reason: &str,
    expected: bool,
    again: Option<&Command>,
    commands: &mut Vec<Command>,
) -> bool {
    let mut back = false;
    notice_card(ui, |ui| {
        let palette = theme::of(ui);
        let (icon, color, title) = if expected {
            (Icon::Leave, palette.weak, "The meeting is over")
        } else {
            (Icon::Close, palette.warn, "That did not work")
        };
        icons::mark(ui, icon, 40.0, color);
        ui.add_space(10.0);
        ui.heading(title);
        wrapped(ui, reason);
        ui.add_space(14.0);
        if let Some(again) = again
            && ui.add(theme::primary(ui, "Join again").min_size(vec2(180.0, 40.0))).clicked()
        {
            commands.push(again.clone());
        }
        let button = theme::primary(ui, "Back to start").min_size(vec2(180.0, 40.0));
        back = ui.add(button).clicked();
    });
    back
}

fn cancel_ui(ui: &mut Ui, commands: &mut Vec<Command>) {
    if ui.button("Cancel").clicked() {
        commands.push(Command::Leave);
    }
}

fn wrapped(ui: &mut Ui, text: &str) {
    let color = theme::of(ui).weak;
    ui.add(Label::new(RichText::new(text).color(color)).wrap());
}

/// A card in the middle of the window.
fn notice_card(ui: &mut Ui, contents: impl FnOnce(&mut Ui)) {
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        ui.add_space((ui.available_height() / 2.0 - 170.0).max(16.0));
        theme::centered_column(ui, 440.0, |ui| {
            theme::card(ui).inner_margin(28).show(ui, |ui| {
                ui.set_width(ui.available_width());
                ui.with_layout(Layout::top_down(Align::Center), |ui| {
                    Frame::new().show(ui, contents);
                });
            });
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    #[test]
    fn a_guest_sees_the_code_and_can_stop_waiting() {
        let code = RoomCode::new(42_917).unwrap();
        let mut harness =
            Harness::new_ui_state(move |ui, commands: &mut Vec<Command>| waiting_ui(ui, code, commands), Vec::new());
        harness.run_steps(2);
        harness.get_by_label("042 917");
        harness.get_by_label("Cancel").click();
        harness.run_steps(2);
        assert_eq!(harness.state()[..], [Command::Leave]);
    }

    #[test]
    fn the_end_shows_its_reason_and_leads_back() {
        let show = |ui: &mut Ui, back: &mut bool| {
            *back |= ended_ui(ui, "The host did not let you in.", false, None, &mut Vec::new());
        };
        let mut harness = Harness::new_ui_state(show, false);
        harness.get_by_label("The host did not let you in.");
        harness.get_by_label("Back to start").click();
        harness.run();
        assert!(harness.state());
    }

    #[test]
    fn a_meeting_that_was_lost_can_be_joined_again() {
        let code = RoomCode::new(42_917).unwrap();
        let again = Command::Join { server: "192.0.2.7:7600".into(), code, name: "Bo".into() };
        let join = again.clone();
        let show = move |ui: &mut Ui, commands: &mut Vec<Command>| {
            ended_ui(ui, "The connection was lost.", false, Some(&join), commands);
        };
        let mut harness = Harness::new_ui_state(show, Vec::new());
        harness.get_by_label("Join again").click();
        harness.run();
        assert_eq!(harness.state()[..], [again]);
    }
}
