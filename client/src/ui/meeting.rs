//! A meeting: the people in the middle, what to know above, what to do below, and one panel beside.

use common::wire::control::{Action, View};
use eframe::egui::{
    Align, CentralPanel, Context, Frame, Id, Key, Label, Layout, Margin, Modal, Modifiers, Panel as EdgePanel,
    RichText, Sense, Spinner, Ui, vec2,
};

use super::analytics::analytics_ui;
use super::chat::{ChatDraft, chat_ui};
use super::files::{FilesDraft, files_ui};
use super::icons::{self, Icon};
use super::model::Meeting;
use super::people::{knocks_ui, people_ui};
use super::settings::SettingsDraft;
use super::theme;
use super::toolbar::{self, Panel, Pressed, ToolbarState, toolbar_ui};
use super::video_tile::{Tiles, grid_ui};
use super::waiting::spoken;
use crate::engine::protocol::Command;
use crate::reach;

/// What is open and half done in a meeting.
#[derive(Clone, Debug, Default)]
pub struct MeetingDraft {
    /// What stands beside the pictures.
    pub panel: Option<Panel>,
    /// What is being written.
    pub chat: ChatDraft,
    /// What is being offered.
    pub files: FilesDraft,
    /// The host is being asked whether to leave or to end.
    pub leaving: bool,
    /// Whom the window shows, and how large: what the engine is to be told when it changes.
    pub views: Vec<View>,
}

impl MeetingDraft {
    fn press(&mut self, pressed: Pressed, meeting: &Meeting, commands: &mut Vec<Command>) {
        match pressed {
            Pressed::Panel(panel) if self.panel == Some(panel) => self.panel = None,
            Pressed::Panel(panel) => {
                self.panel = Some(panel);
                self.chat.focus = panel == Panel::Chat;
            }
            Pressed::Leave if meeting.hosting() => self.leaving = true,
            Pressed::Leave => commands.push(Command::Leave),
        }
    }
}

/// Draws a meeting.
pub fn meeting_ui(
    ui: &mut Ui,
    meeting: &Meeting,
    tiles: &Tiles,
    draft: &mut MeetingDraft,
    settings: &mut SettingsDraft,
    commands: &mut Vec<Command>,
) {
    keys_ui(ui, meeting, draft, settings, commands);
    let bar = theme::panel(ui);
    EdgePanel::top("meeting").frame(bar).show(ui, |ui| {
        top_ui(ui, meeting, settings);
    });
    if meeting.reconnecting {
        EdgePanel::top("reconnecting").frame(bar).show(ui, reconnecting_ui);
    } else if let Some(broken) = reach::own(meeting.reach()) {
        EdgePanel::top("reach").frame(bar).show(ui, |ui| {
            ui.label(RichText::new(broken).strong().color(theme::of(ui).warn));
        });
    }
    EdgePanel::bottom("toolbar").frame(bar).show(ui, |ui| {
        let state = ToolbarState {
            media: meeting.media(),
            open: draft.panel,
            people: meeting.members.len(),
            unread: draft.chat.unread(meeting),
            unseen: draft.files.unseen(meeting),
        };
        if let Some(pressed) = toolbar_ui(ui, &state, commands) {
            draft.press(pressed, meeting, commands);
        }
    });
    if let Some(panel) = draft.panel {
        side_ui(ui, panel, meeting, draft, commands);
    }
    let middle = Frame::new().fill(theme::of(ui).background).inner_margin(Margin::same(10));
    CentralPanel::no_frame().frame(middle).show(ui, |ui| {
        knocks_ui(ui, &meeting.knocks, commands);
        draft.views = grid_ui(ui, meeting, tiles, settings.mirrored());
    });
    if draft.leaving {
        leaving_ui(ui.ctx(), meeting, draft, commands);
    }
    drop_ui(ui.ctx(), draft);
}

fn reconnecting_ui(ui: &mut Ui) {
    ui.horizontal(|ui| {
        ui.add(Spinner::new().size(16.0));
        let text = "Connection to the server is lost; trying again… (sound and chat may still work)";
        ui.label(RichText::new(text).strong().color(theme::of(ui).warn));
    });
}

fn keys_ui(
    ui: &Ui,
    meeting: &Meeting,
    draft: &mut MeetingDraft,
    settings: &SettingsDraft,
    commands: &mut Vec<Command>,
) {
    if draft.leaving || settings.open || draft.files.browsing() {
        return;
    }
    if let Some(pressed) = toolbar::keys(ui.ctx(), meeting.media(), commands) {
        draft.press(pressed, meeting, commands);
    }
    let popup_open = eframe::egui::Popup::is_any_open(ui.ctx());
    let escape = |input: &mut eframe::egui::InputState| input.consume_key(Modifiers::NONE, Key::Escape);
    if draft.panel.is_some() && !popup_open && ui.input_mut(escape) {
        draft.panel = None;
    }
}

fn top_ui(ui: &mut Ui, meeting: &Meeting, settings: &mut SettingsDraft) {
    ui.horizontal(|ui| {
        ui.label(RichText::new(spoken(meeting.code)).monospace().size(26.0));
        if icons::button(ui, Icon::Copy, "Copy meeting code").clicked() {
            ui.ctx().copy_text(meeting.code.to_string());
        }
        if meeting.locked {
            icons::mark(ui, Icon::Lock, 18.0, theme::of(ui).warn);
            ui.label(RichText::new("Locked").color(theme::of(ui).warn));
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            settings.open |= icons::button(ui, Icon::Settings, "Settings").clicked();
            quality_ui(ui, meeting);
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| invitation_ui(ui, meeting));
        });
    });
}

/// Points that the line to join needs to be of use.
const INVITATION_MIN_WIDTH: f32 = 160.0;
/// Points of the button that copies it.
const COPY_WIDTH: f32 = 40.0;
/// Points of the one behind which the other addresses are, with what is beside it.
const OTHERS_WIDTH: f32 = 156.0;

fn invitation_ui(ui: &mut Ui, meeting: &Meeting) {
    if ui.available_width() < INVITATION_MIN_WIDTH {
        return;
    }
    ui.add_space(8.0);
    // The line itself is there in the narrowest window, and the others are where there is room beside it.
    let others =
        meeting.addresses.len() > 1 && ui.available_width() >= INVITATION_MIN_WIDTH + COPY_WIDTH + OTHERS_WIDTH;
    if let Some(address) = meeting.addresses.first() {
        let line = invitation(meeting, address);
        let share = if meeting.addresses_note.is_some() { 0.5 } else { 1.0 };
        let buttons = if others { COPY_WIDTH + OTHERS_WIDTH } else { COPY_WIDTH };
        let width = ((ui.available_width() - buttons) * share).max(0.0);
        truncated(ui, &line, RichText::new(&line).monospace().color(theme::of(ui).weak), width);
        if icons::button(ui, Icon::Copy, "Copy join command").clicked() {
            ui.ctx().copy_text(line);
        }
    }
    if others {
        other_addresses_ui(ui, meeting);
    }
    if let Some(note) = &meeting.addresses_note {
        let width = ui.available_width();
        truncated(ui, note, RichText::new(note).color(theme::of(ui).warn), width);
    }
}

/// The whole of a text that has no room is shown to whoever points at it.
fn truncated(ui: &mut Ui, whole: &str, text: RichText, width: f32) {
    ui.scope(|ui| {
        ui.set_max_width(width);
        ui.add(Label::new(text).truncate()).on_hover_text(whole);
    });
}

/// What guests type whom the first address does not lead to the server.
fn other_addresses_ui(ui: &mut Ui, meeting: &Meeting) {
    let Some((_, others @ [_, ..])) = meeting.addresses.split_first() else {
        return;
    };
    ui.menu_button("Other addresses", |ui| {
        ui.label(RichText::new("If the first does not work, copy another:").color(theme::of(ui).weak));
        for address in others {
            let line = invitation(meeting, address);
            if ui.button(RichText::new(&line).monospace()).clicked() {
                ui.ctx().copy_text(line);
                ui.close();
            }
        }
    });
}

fn invitation(meeting: &Meeting, address: &str) -> String {
    format!("conclave join {} --server {address}", meeting.code)
}

fn quality_ui(ui: &mut Ui, meeting: &Meeting) {
    let color = theme::of(ui).quality(meeting.diagnosis.quality);
    let text = match meeting.history.latest.round_trip_time {
        Some(round_trip) => {
            let millis = round_trip.as_secs_f64() * 1_000.0;
            format!("{millis:.0} ms, {}", uncapitalised(&meeting.diagnosis.sentence))
        }
        None => meeting.diagnosis.sentence.clone(),
    };
    ui.label(text);
    let (rect, _) = ui.allocate_exact_size(vec2(14.0, 14.0), Sense::hover());
    ui.painter().circle_filled(rect.center(), 5.5, color);
}

/// Only "All good." goes on in small letters: the others begin with a name or with "Your".
fn uncapitalised(sentence: &str) -> String {
    if sentence == "All good." { "all good".into() } else { sentence.into() }
}

fn side_ui(ui: &mut Ui, panel: Panel, meeting: &Meeting, draft: &mut MeetingDraft, commands: &mut Vec<Command>) {
    let width = match panel {
        Panel::Analytics => 470.0,
        Panel::Chat | Panel::Files | Panel::People => 350.0,
    };
    let frame = theme::panel(ui);
    EdgePanel::right(panel.name()).frame(frame).default_size(width).size_range(280.0..=620.0).show(ui, |ui| {
        ui.horizontal(|ui| {
            ui.heading(panel.name());
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if icons::button(ui, Icon::Close, "Close panel").clicked() {
                    draft.panel = None;
                }
            });
        });
        ui.add_space(4.0);
        match panel {
            Panel::Analytics => analytics_ui(ui, meeting),
            Panel::Chat => chat_ui(ui, meeting, &mut draft.chat, commands),
            Panel::Files => files_ui(ui, meeting, &mut draft.files, commands),
            Panel::People => roster_ui(ui, meeting, draft, commands),
        }
    });
}

fn roster_ui(ui: &mut Ui, meeting: &Meeting, draft: &mut MeetingDraft, commands: &mut Vec<Command>) {
    let scroll = eframe::egui::ScrollArea::vertical().auto_shrink(false);
    let chosen = scroll.show(ui, |ui| people_ui(ui, meeting, commands)).inner;
    if let Some(member) = chosen {
        draft.chat.write_to(member);
        draft.panel = Some(Panel::Chat);
    }
}

fn leaving_ui(ctx: &Context, meeting: &Meeting, draft: &mut MeetingDraft, commands: &mut Vec<Command>) {
    let (heading, what) = if meeting.server_is_ours {
        ("End the meeting?", "It runs inside this program. If you go, it is over for everybody.")
    } else {
        (
            "Leave, or end the meeting?",
            "If you leave, somebody else becomes the host. If you end the meeting, it is over for everybody.",
        )
    };
    let modal = Modal::new(Id::unique("leaving")).frame(theme::dialog(ctx)).show(ctx, |ui| {
        ui.set_width(380.0);
        ui.heading(heading);
        let color = theme::of(ui).weak;
        ui.add(Label::new(RichText::new(what).color(color)).wrap());
        ui.add_space(10.0);
        ui.horizontal(|ui| {
            let end = ui.add(theme::danger(ui, "End for all")).clicked();
            let leave = !meeting.server_is_ours && ui.button("Leave meeting").clicked();
            let stay = ui.button("Stay").clicked();
            if end {
                commands.push(Command::Act(Action::End));
            }
            if leave {
                commands.push(Command::Leave);
            }
            end || leave || stay
        })
        .inner
    });
    draft.leaving = !modal.inner && !modal.should_close();
}

/// Takes files that are dropped onto the window.
fn drop_ui(ctx: &Context, draft: &mut MeetingDraft) {
    let (hovering, dropped) = ctx.input(|input| {
        let paths = input.raw.dropped_files.iter();
        let paths: Vec<_> = paths.map(|file| file.path().to_owned()).collect();
        (!input.raw.hovered_files.is_empty(), paths)
    });
    if !dropped.is_empty() {
        draft.panel = Some(Panel::Files);
        draft.files.dropped(dropped.into_iter());
    }
    if hovering {
        Modal::new(Id::unique("dropping")).frame(theme::dialog(ctx)).show(ctx, |ui| {
            ui.set_width(320.0);
            ui.vertical_centered(|ui| {
                icons::mark(ui, Icon::File, 48.0, theme::of(ui).series[0]);
                ui.heading("Drop to offer it");
                theme::weak(ui, "You choose then who gets it.");
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::protocol::{Event, Joined};
    use crate::ui::model::Model;
    use crate::ui::samples::{self, ANA, BO};
    use common::ids::{KnockId, RoomCode};
    use common::wire::control::Reach;
    use common::wire::message::Recipients;
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    struct State {
        model: Model,
        draft: MeetingDraft,
        settings: SettingsDraft,
        commands: Vec<Command>,
    }

    fn harness(model: Model) -> Harness<'static, State> {
        let show = |ui: &mut Ui, state: &mut State| {
            let meeting = state.model.meeting().expect("a meeting was applied");
            let (draft, settings) = (&mut state.draft, &mut state.settings);
            let commands = &mut state.commands;
            meeting_ui(ui, meeting, &Tiles::default(), draft, settings, commands);
        };
        let state =
            State { model, draft: MeetingDraft::default(), settings: SettingsDraft::default(), commands: Vec::new() };
        let builder = Harness::builder().with_size([1280.0, 800.0]);
        builder.build_ui_state(show, state)
    }

    fn click(harness: &mut Harness<'_, State>, label: &str) {
        harness.get_by_label(label).click();
        harness.run();
    }

    /// A meeting that Ana hosts, with these ways to it.
    fn reached_by(addresses: &[&str], note: Option<&str>) -> Model {
        let mut model = Model::default();
        model.apply(Event::Joined(Joined {
            code: RoomCode::new(42_917).unwrap(),
            you: ANA,
            members: vec![samples::member(ANA, "Ana", true)],
            locked: false,
            addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
            addresses_note: note.map(str::to_owned),
            server_is_ours: true,
        }));
        model
    }

    #[test]
    fn every_address_that_guests_may_type_can_be_copied() {
        let mut harness = harness(reached_by(&["192.0.2.7:7878", "10.0.0.7:7878"], None));
        harness.get_by_label_contains("--server 192.0.2.7:7878");
        assert!(harness.query_by_label_contains("--server 10.0.0.7:7878").is_none());
        click(&mut harness, "Other addresses");
        harness.get_by_label_contains("--server 10.0.0.7:7878");
    }

    #[test]
    fn other_addresses_cover_nothing_in_a_narrow_window() {
        let mut harness = harness(reached_by(&["192.0.2.7:7878", "10.0.0.7:7878"], None));
        let sentence = harness.state().model.meeting().unwrap().diagnosis.sentence.clone();
        theme::install(&harness.ctx);
        for width in (640..=1280).step_by(20) {
            harness.set_size([width as f32, 480.0].into());
            harness.run();
            // A dot stands before the sentence.
            let dot = harness.get_by_label(&sentence).rect().left() - 22.0;
            for button in ["Copy join command", "Other addresses"] {
                let right = harness.query_by_label(button).map_or(0.0, |button| button.rect().right());
                assert!(right <= dot, "{button} at {width}: {right} {dot}");
            }
        }
        assert!(harness.query_by_label("Other addresses").is_some());
    }

    #[test]
    fn a_host_whom_nobody_reaches_is_told_so() {
        let harness = harness(reached_by(&[], Some("This machine has no network, so nobody else can join.")));
        harness.get_by_label_contains("no network");
        assert!(harness.query_by_label_contains("--server").is_none());
    }

    #[test]
    fn ending_asks_first() {
        let mut harness = harness(samples::meeting(ANA));
        click(&mut harness, "Leave");
        assert_eq!(harness.state().commands, []);
        click(&mut harness, "End for all");
        let end = Command::Act(Action::End);
        assert_eq!(harness.state().commands, [end]);
        assert!(harness.query_by_label("End for all").is_none());
    }

    #[test]
    fn a_host_who_changes_the_mind_stays() {
        let mut harness = harness(samples::meeting(ANA));
        click(&mut harness, "Leave");
        click(&mut harness, "Stay");
        assert_eq!(harness.state().commands, []);
        assert!(!harness.state().draft.leaving);
    }

    #[test]
    fn a_guest_leaves_at_once() {
        let mut harness = harness(samples::meeting(BO));
        click(&mut harness, "Leave");
        assert_eq!(harness.state().commands, [Command::Leave]);
    }

    #[test]
    fn whoever_knocks_is_seen_without_any_panel_open() {
        let mut model = samples::meeting(ANA);
        model.apply(Event::KnockArrived { knock: KnockId(9), name: "Dan".into() });
        let mut harness = harness(model);
        click(&mut harness, "Admit Dan");
        let admit = Command::Act(Action::Admit(KnockId(9)));
        assert_eq!(harness.state().commands, [admit]);
    }

    #[test]
    fn keys_do_what_the_bar_does() {
        let mut harness = harness(samples::meeting(BO));
        for key in [Key::M, Key::V] {
            harness.key_press(key);
            harness.run();
        }
        let wanted = [Command::SetMicrophone(false), Command::SetCamera(false)];
        assert_eq!(harness.state().commands, wanted);
    }

    #[test]
    fn letters_typed_into_the_chat_are_letters() {
        let mut harness = harness(samples::meeting(BO));
        click(&mut harness, "Chat");
        harness.run();
        harness.key_press(Key::M);
        harness.event(eframe::egui::Event::Text("m".into()));
        harness.run();
        assert_eq!(harness.state().commands, []);
        assert_eq!(harness.state().draft.chat.text, "m");
    }

    #[test]
    fn escape_closes_the_panel() {
        let mut harness = harness(samples::meeting(BO));
        for panel in ["People", "Files", "Analytics"] {
            click(&mut harness, panel);
            assert!(harness.state().draft.panel.is_some());
            harness.key_press(Key::Escape);
            harness.run();
            assert_eq!(harness.state().draft.panel, None, "{panel}");
        }
    }

    #[test]
    fn a_lost_connection_stands_above_the_pictures_until_it_is_back() {
        let mut model = samples::meeting(BO);
        model.apply(Event::Reconnecting);
        let mut harness = harness(model);
        harness.run_steps(2);
        harness.get_by_label_contains("Connection to the server is lost; trying again");
        harness.state_mut().model.apply(Event::Reconnected);
        harness.run_steps(2);
        assert!(harness.query_by_label_contains("Connection to the server is lost").is_none());
    }

    #[test]
    fn silence_over_udp_stands_above_the_pictures_until_it_is_over() {
        let mut model = samples::meeting(BO);
        let told = |heard, hears| Event::ReachChanged { member: BO, reach: Reach { heard, hears } };
        model.apply(told(false, false));
        let mut harness = harness(model);
        harness.run_steps(2);
        harness.get_by_label_contains("nothing comes from the server over UDP");
        harness.state_mut().model.apply(told(false, true));
        harness.run_steps(2);
        harness.get_by_label_contains("Nobody hears or sees you");
        harness.state_mut().model.apply(told(true, true));
        harness.run_steps(2);
        assert!(harness.query_by_label_contains("over UDP").is_none());
    }

    #[test]
    fn a_private_chat_is_opened_from_the_list_of_people() {
        let mut harness = harness(samples::meeting(ANA));
        click(&mut harness, "People");
        click(&mut harness, "Message Bo");
        harness.get_by_label("Only Bo sees this");
        assert_eq!(harness.state().draft.chat.to, Recipients::Member(BO));
    }

    #[test]
    fn the_bar_mutes_and_stops_the_camera() {
        let mut harness = harness(samples::meeting(BO));
        click(&mut harness, "Mute microphone");
        click(&mut harness, "Turn camera off");
        let wanted = [Command::SetMicrophone(false), Command::SetCamera(false)];
        assert_eq!(harness.state().commands, wanted);
    }

    #[test]
    fn the_line_to_join_names_code_and_address() {
        let harness = harness(samples::meeting(ANA));
        harness.get_by_label("conclave join 042917 --server 192.0.2.7:7600");
        harness.get_by_label("042 917");
    }

    #[test]
    fn every_panel_draws_in_a_small_window() {
        let mut harness = harness(samples::meeting(ANA));
        harness.set_size(vec2(760.0, 480.0));
        harness.run();
        for panel in Panel::ALL {
            click(&mut harness, panel.name());
            assert_eq!(harness.state().draft.panel, Some(panel));
            click(&mut harness, "Close panel");
        }
    }
}
