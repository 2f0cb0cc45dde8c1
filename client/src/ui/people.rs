//! Who is here, and who is at the door.

use common::ids::MemberId;
use common::wire::control::{Action, Member};
use eframe::egui::{
    Align, Align2, FontId, Label, Layout, Margin, Painter, Pos2, RichText, Role, Stroke, Ui, WidgetInfo,
};

use super::icons::{self, Icon};
use super::model::{Knock, Meeting};
use super::theme;
use crate::engine::protocol::Command;
use crate::reach;

/// Knocks shown at a time; the rest is counted.
const KNOCKS_SHOWN: usize = 3;

/// Draws who is at the door, to the host, with everything needed to answer.
pub fn knocks_ui(ui: &mut Ui, knocks: &[Knock], commands: &mut Vec<Command>) {
    if knocks.is_empty() {
        return;
    }
    let palette = theme::of(ui);
    let frame = theme::card(ui)
        .fill(palette.accent_soft)
        .stroke(Stroke::new(1.0, palette.accent))
        .inner_margin(Margin::symmetric(14, 8));
    frame.show(ui, |ui| {
        ui.set_width(ui.available_width());
        for knock in knocks.iter().take(KNOCKS_SHOWN) {
            ui.push_id(knock.id.0, |ui| knock_ui(ui, knock, commands));
        }
        if knocks.len() > 1 {
            everybody_ui(ui, knocks.len(), commands);
        }
    });
}

fn knock_ui(ui: &mut Ui, knock: &Knock, commands: &mut Vec<Command>) {
    row(
        ui,
        |ui| {
            icons::mark(ui, Icon::People, 18.0, theme::of(ui).text);
            let text = format!("{} wants to join", knock.name);
            ui.add(Label::new(RichText::new(text).strong()).truncate());
        },
        |ui| {
            let admit = theme::primary(ui, format!("Admit {}", knock.name));
            let deny = ui.button(format!("Deny {}", knock.name)).clicked();
            if ui.add(admit).clicked() {
                commands.push(Command::Act(Action::Admit(knock.id)));
            }
            if deny {
                commands.push(Command::Act(Action::Deny(knock.id)));
            }
        },
    );
}

fn everybody_ui(ui: &mut Ui, waiting: usize, commands: &mut Vec<Command>) {
    row(
        ui,
        |ui| {
            let more = waiting.saturating_sub(KNOCKS_SHOWN);
            let text = match more {
                0 => format!("{waiting} people are waiting"),
                more => format!("{waiting} people are waiting, {more} more than shown"),
            };
            theme::weak(ui, text);
        },
        |ui| {
            if ui.button("Admit all").clicked() {
                commands.push(Command::Act(Action::AdmitAll));
            }
        },
    );
}

/// Something on the left that gives way to something on the right.
fn row(ui: &mut Ui, left: impl FnOnce(&mut Ui), right: impl FnOnce(&mut Ui)) {
    ui.horizontal(|ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            right(ui);
            ui.with_layout(Layout::left_to_right(Align::Center), left);
        });
    });
}

/// Draws everybody who is here. Answers with whom a private chat was asked for.
pub fn people_ui(ui: &mut Ui, meeting: &Meeting, commands: &mut Vec<Command>) -> Option<MemberId> {
    let mut chat_with = None;
    if meeting.hosting() {
        lock_ui(ui, meeting.locked, commands);
        ui.add_space(4.0);
    }
    for member in meeting.members.values() {
        ui.push_id(member.id.0, |ui| {
            if member_ui(ui, meeting, member, commands) {
                chat_with = Some(member.id);
            }
        });
    }
    chat_with
}

fn lock_ui(ui: &mut Ui, locked: bool, commands: &mut Vec<Command>) {
    theme::card(ui).show(ui, |ui| {
        row(
            ui,
            |ui| {
                let icon = if locked { Icon::Lock } else { Icon::Unlocked };
                icons::mark(ui, icon, 18.0, theme::of(ui).weak);
                ui.label(if locked { "Nobody can knock" } else { "Guests can knock" });
            },
            |ui| {
                let text = if locked { "Unlock meeting" } else { "Lock meeting" };
                if ui.button(text).clicked() {
                    commands.push(Command::Act(Action::Lock(!locked)));
                }
            },
        );
    });
}

/// Answers whether a private chat was asked for.
fn member_ui(ui: &mut Ui, meeting: &Meeting, member: &Member, commands: &mut Vec<Command>) -> bool {
    let you = member.id == meeting.you;
    let speaking = meeting.speaking.contains(&member.id);
    theme::card(ui)
        .inner_margin(Margin::symmetric(12, 8))
        .show(ui, |ui| {
            row(
                ui,
                |ui| name_ui(ui, member, you, speaking),
                |ui| {
                    devices_ui(ui, member);
                },
            );
            !you && actions_ui(ui, meeting.hosting(), member, commands)
        })
        .inner
}

fn name_ui(ui: &mut Ui, member: &Member, you: bool, speaking: bool) {
    let (rect, _) = ui.allocate_exact_size([30.0, 30.0].into(), eframe::egui::Sense::hover());
    avatar(ui.painter(), rect.center(), 15.0, member);
    if speaking {
        let ring = Stroke::new(2.0, theme::of(ui).good);
        ui.painter().circle_stroke(rect.center(), 16.0, ring);
    }
    let name = if you { format!("{} (you)", member.name) } else { member.name.clone() };
    ui.add(Label::new(RichText::new(name).strong()).truncate());
    if member.host {
        theme::weak(ui, "Host");
    }
    if member.away {
        ui.label(RichText::new("reconnecting…").color(theme::of(ui).warn));
    } else if let Some(mark) = reach::mark(member.reach) {
        ui.label(RichText::new(mark).color(theme::of(ui).warn));
    }
}

fn devices_ui(ui: &mut Ui, member: &Member) {
    let palette = theme::of(ui);
    let (microphone, camera) = (member.media.microphone, member.media.camera);
    let (icon, color) = if camera { (Icon::Camera, palette.weak) } else { (Icon::CameraOff, palette.warn) };
    icons::mark(ui, icon, 17.0, color);
    let (icon, color) = if microphone { (Icon::Microphone, palette.weak) } else { (Icon::MicrophoneOff, palette.warn) };
    icons::mark(ui, icon, 17.0, color);
}

/// Answers whether a private chat was asked for.
fn actions_ui(ui: &mut Ui, hosting: bool, member: &Member, commands: &mut Vec<Command>) -> bool {
    ui.spacing_mut().button_padding = [10.0, 3.0].into();
    ui.spacing_mut().interact_size.y = 26.0;
    let (id, name) = (member.id, &member.name);
    ui.horizontal_wrapped(|ui| {
        let chat = small_button(ui, "Message", &format!("Message {name}"));
        if hosting {
            let mute = format!("Ask {name} to mute");
            if member.media.microphone && small_button(ui, "Ask to mute", &mute) {
                commands.push(Command::Act(Action::RequestMute(id)));
            }
            if small_button(ui, "Remove", &format!("Remove {name}")) {
                commands.push(Command::Act(Action::Remove(id)));
            }
        }
        chat
    })
    .inner
}

/// A button whose short text says enough beside a name; `label` says it to those who do not see the name.
fn small_button(ui: &mut Ui, text: &str, label: &str) -> bool {
    let response = ui.button(RichText::new(text).small());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, label));
    response.on_hover_text(label).clicked()
}

/// Draws a member's initials on a disc of the member's colour.
pub fn avatar(painter: &Painter, center: Pos2, radius: f32, member: &Member) {
    painter.circle_filled(center, radius, theme::avatar(member.id));
    painter.text(
        center,
        Align2::CENTER_CENTER,
        initials(&member.name),
        FontId::proportional(radius * 0.85),
        theme::on_fill(),
    );
}

/// First letters of the first and the last word.
fn initials(name: &str) -> String {
    let mut words = name.split_whitespace();
    let first = words.next().and_then(|word| word.chars().next());
    let last = words.next_back().and_then(|word| word.chars().next());
    let letters = first.into_iter().chain(last);
    letters.flat_map(char::to_uppercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::protocol::Event;
    use crate::ui::model::Model;
    use crate::ui::samples::{self, ANA, BO};
    use common::ids::KnockId;
    use common::wire::control::Reach;
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    fn knocks() -> [Knock; 2] {
        [(4, "Bo"), (5, "Cleo")].map(|(id, name)| Knock { id: KnockId(id), name: name.into() })
    }

    fn clicked_at_the_door(label: &str) -> Vec<Command> {
        let knocks = knocks();
        let show = move |ui: &mut Ui, commands: &mut Vec<Command>| knocks_ui(ui, &knocks, commands);
        let mut harness = Harness::new_ui_state(show, Vec::new());
        harness.get_by_label(label).click();
        harness.run();
        harness.into_state()
    }

    #[test]
    fn the_host_admits_one_guest_by_name() {
        let admit = Command::Act(Action::Admit(KnockId(4)));
        assert_eq!(clicked_at_the_door("Admit Bo"), [admit]);
    }

    #[test]
    fn the_host_denies_one_guest_by_name() {
        let deny = Command::Act(Action::Deny(KnockId(5)));
        assert_eq!(clicked_at_the_door("Deny Cleo"), [deny]);
    }

    #[test]
    fn the_host_admits_everybody_at_once() {
        let all = Command::Act(Action::AdmitAll);
        assert_eq!(clicked_at_the_door("Admit all"), [all]);
    }

    fn roster(you: MemberId) -> Harness<'static, (Vec<Command>, Option<MemberId>)> {
        let model = samples::meeting(you);
        let show = move |ui: &mut Ui, (commands, chat): &mut (Vec<Command>, Option<MemberId>)| {
            let meeting = model.meeting().expect("a meeting was applied");
            *chat = chat.or(people_ui(ui, meeting, commands));
        };
        Harness::new_ui_state(show, (Vec::new(), None))
    }

    #[test]
    fn the_host_removes_mutes_and_locks() {
        let mut harness = roster(ANA);
        for label in ["Ask Bo to mute", "Remove Bo", "Lock meeting"] {
            harness.get_by_label(label).click();
            harness.run();
        }
        let wanted = [Action::RequestMute(BO), Action::Remove(BO), Action::Lock(true)];
        assert_eq!(harness.state().0, wanted.map(Command::Act));
    }

    #[test]
    fn who_lost_the_connection_is_marked() {
        let mut model = samples::meeting(ANA);
        model.apply(Event::MemberAway(BO));
        let show = |ui: &mut Ui, model: &mut Model| {
            let meeting = model.meeting().expect("a meeting was applied");
            people_ui(ui, meeting, &mut Vec::new());
        };
        let mut harness = Harness::new_ui_state(show, model);
        harness.get_by_label("reconnecting…");
        harness.state_mut().apply(Event::MemberBack(BO));
        harness.run();
        assert!(harness.query_by_label("reconnecting…").is_none());
    }

    #[test]
    fn who_has_no_sound_or_picture_is_marked_until_they_are_back() {
        let mut model = samples::meeting(ANA);
        let told = |heard, hears| Event::ReachChanged { member: BO, reach: Reach { heard, hears } };
        model.apply(told(false, true));
        let show = |ui: &mut Ui, model: &mut Model| {
            let meeting = model.meeting().expect("a meeting was applied");
            people_ui(ui, meeting, &mut Vec::new());
        };
        let mut harness = Harness::new_ui_state(show, model);
        harness.get_by_label("no sound or picture");
        harness.state_mut().apply(told(true, false));
        harness.run();
        harness.get_by_label("hears nobody");
        harness.state_mut().apply(told(true, true));
        harness.run();
        assert!(harness.query_by_label("hears nobody").is_none());
        let notices: Vec<_> = harness.state().notices().map(|notice| notice.text.as_str()).collect();
        assert_eq!(
            notices,
            [
                "Bo has no sound or picture: nothing from Bo reaches the server.",
                "Bo hears and sees nobody: nothing from the server arrives there.",
                "Bo has sound and picture again."
            ]
        );
    }

    #[test]
    fn a_guest_has_no_buttons_of_the_host() {
        let mut harness = roster(BO);
        assert!(harness.query_by_label("Remove Ana").is_none());
        assert!(harness.query_by_label("Lock meeting").is_none());
        harness.get_by_label("Message Ana").click();
        harness.run();
        assert_eq!(harness.state().1, Some(ANA));
    }

    #[test]
    fn initials_are_of_the_first_and_last_word() {
        assert_eq!(initials("ana maria lópez"), "AL");
        assert_eq!(initials("Bo"), "B");
        assert_eq!(initials(""), "");
    }
}
