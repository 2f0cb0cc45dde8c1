//! The bar at the foot of a meeting, and the keys that do the same.

use common::wire::control::MediaState;
use eframe::egui::{
    Align2, Color32, Context, CornerRadius, FontId, Key, Modifiers, Rect, Role, Sense, Ui, Vec2, WidgetInfo, vec2,
};

use super::icons::{self, Icon};
use super::theme;
use crate::engine::protocol::Command;

/// What stands beside the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Panel {
    /// The network.
    Analytics,
    /// Written words.
    Chat,
    /// Files.
    Files,
    /// Who is here.
    People,
}

impl Panel {
    /// All of them, as they stand in the bar.
    pub const ALL: [Self; 4] = [Self::People, Self::Chat, Self::Files, Self::Analytics];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Analytics => "Analytics",
            Self::Chat => "Chat",
            Self::Files => "Files",
            Self::People => "People",
        }
    }

    fn icon(self) -> Icon {
        match self {
            Self::Analytics => Icon::Analytics,
            Self::Chat => Icon::Chat,
            Self::Files => Icon::File,
            Self::People => Icon::People,
        }
    }

    fn key(self) -> Key {
        match self {
            Self::Analytics => Key::T,
            Self::Chat => Key::C,
            Self::Files => Key::F,
            Self::People => Key::P,
        }
    }
}

/// What the bar was asked for besides commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressed {
    /// To go.
    Leave,
    /// To open this panel, or to close it.
    Panel(Panel),
}

/// What the bar shows.
#[derive(Clone, Copy, Debug)]
pub struct ToolbarState {
    /// Our own devices.
    pub media: MediaState,
    /// What stands beside the pictures.
    pub open: Option<Panel>,
    /// People in the meeting.
    pub people: usize,
    /// Lines of chat nobody read yet.
    pub unread: u64,
    /// Offers of files nobody saw yet.
    pub unseen: u64,
}

/// Draws the bar in the middle of what is left.
pub fn toolbar_ui(ui: &mut Ui, state: &ToolbarState, commands: &mut Vec<Command>) -> Option<Pressed> {
    let mut pressed = None;
    let width = 7.0 * (BUTTON.x + GAP) + 2.0 * GROUP_GAP;
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = GAP;
        ui.add_space(((ui.available_width() - width) / 2.0).max(0.0));
        devices_ui(ui, state.media, commands);
        ui.add_space(GROUP_GAP);
        for panel in Panel::ALL {
            let badge = match panel {
                Panel::Analytics => 0,
                Panel::Chat => state.unread,
                Panel::Files => state.unseen,
                Panel::People => state.people as u64,
            };
            let button = Tool {
                icon: panel.icon(),
                label: panel.name(),
                caption: panel.name(),
                look: if state.open == Some(panel) { Look::Open } else { Look::Plain },
                badge,
                loud: panel != Panel::People,
            };
            if button.show(ui) {
                pressed = Some(Pressed::Panel(panel));
            }
        }
        ui.add_space(GROUP_GAP);
        if Tool::new(Icon::Leave, "Leave", "Leave", Look::Danger).show(ui) {
            pressed = Some(Pressed::Leave);
        }
    });
    pressed
}

/// Points of a button of the bar.
const BUTTON: Vec2 = vec2(78.0, 58.0);
/// Points between buttons.
const GAP: f32 = 8.0;
/// Points between groups of buttons, besides those between buttons.
const GROUP_GAP: f32 = 14.0;

fn devices_ui(ui: &mut Ui, media: MediaState, commands: &mut Vec<Command>) {
    let microphone = if media.microphone {
        Tool::new(Icon::Microphone, "Mute microphone", "Mute", Look::Plain)
    } else {
        Tool::new(Icon::MicrophoneOff, "Unmute microphone", "Unmute", Look::Off)
    };
    if microphone.show(ui) {
        commands.push(Command::SetMicrophone(!media.microphone));
    }
    let camera = if media.camera {
        Tool::new(Icon::Camera, "Turn camera off", "Stop video", Look::Plain)
    } else {
        Tool::new(Icon::CameraOff, "Turn camera on", "Start video", Look::Off)
    };
    if camera.show(ui) {
        commands.push(Command::SetCamera(!media.camera));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Danger,
    Off,
    Open,
    Plain,
}

struct Tool {
    icon: Icon,
    label: &'static str,
    caption: &'static str,
    look: Look,
    badge: u64,
    // The badge asks for attention, it does not only count.
    loud: bool,
}

impl Tool {
    fn new(icon: Icon, label: &'static str, caption: &'static str, look: Look) -> Self {
        Self { icon, label, caption, look, badge: 0, loud: false }
    }

    /// Draws the button. Answers whether it was clicked.
    fn show(&self, ui: &mut Ui) -> bool {
        let palette = theme::of(ui);
        let (rect, response) = ui.allocate_exact_size(BUTTON, Sense::click());
        let (role, open) = (Role::Button, self.look == Look::Open);
        response.widget_info(|| WidgetInfo::selected(role, true, open, self.label));
        let pointed = response.hovered() || response.has_focus();
        let (fill, ink) = match self.look {
            Look::Danger => (palette.bad, theme::on_fill()),
            Look::Off => (palette.bad_soft, palette.text),
            Look::Open => (palette.accent, theme::on_fill()),
            Look::Plain if pointed => (palette.hovered, palette.text),
            Look::Plain => (palette.raised, palette.text),
        };
        let corner = CornerRadius::same(theme::CORNER);
        ui.painter().rect_filled(rect, corner, fill);
        if pointed {
            let outline = eframe::egui::Stroke::new(1.5, palette.weak);
            let inside = eframe::egui::StrokeKind::Inside;
            ui.painter().rect_stroke(rect, corner, outline, inside);
        }
        let square = Rect::from_center_size(rect.center() - vec2(0.0, 8.5), Vec2::splat(23.0));
        icons::paint(ui.painter(), self.icon, square, ink);
        let foot = rect.center_bottom() - vec2(0.0, 14.5);
        let font = FontId::proportional(12.5);
        ui.painter().text(foot, Align2::CENTER_CENTER, self.caption, font, ink);
        self.badge_ui(ui, square, ink);
        response.on_hover_text(self.label).clicked()
    }

    fn badge_ui(&self, ui: &Ui, icon: Rect, ink: Color32) {
        if self.badge == 0 {
            return;
        }
        let text = match self.badge {
            count @ 0..100 => count.to_string(),
            _ => "99+".to_owned(),
        };
        let font = FontId::proportional(12.0);
        let center = icon.right_top() + vec2(9.0, 4.0);
        if !self.loud {
            ui.painter().text(center, Align2::CENTER_CENTER, text, font, ink);
            return;
        }
        let width = 11.0 + 6.5 * text.len() as f32;
        let pill = Rect::from_center_size(center, vec2(width, 17.0));
        let fill = theme::of(ui).bad;
        ui.painter().rect_filled(pill, CornerRadius::same(8), fill);
        ui.painter().text(center, Align2::CENTER_CENTER, text, font, theme::on_fill());
    }
}

/// Reads the keys of a meeting: M microphone, V camera, P people, C chat, F files, T analytics. None of them counts
/// while a text field has the focus.
pub fn keys(ctx: &Context, media: MediaState, commands: &mut Vec<Command>) -> Option<Pressed> {
    if ctx.text_edit_focused() {
        return None;
    }
    let pressed = |key: Key| ctx.input_mut(|input| input.consume_key(Modifiers::NONE, key));
    if pressed(Key::M) {
        commands.push(Command::SetMicrophone(!media.microphone));
    }
    if pressed(Key::V) {
        commands.push(Command::SetCamera(!media.camera));
    }
    let panel = Panel::ALL.into_iter().find(|panel| pressed(panel.key()));
    panel.map(Pressed::Panel)
}
