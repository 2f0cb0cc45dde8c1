//! Icons, drawn as lines: no font has to have them, and they stay sharp at every size.

use eframe::egui::epaint::StrokeKind;
use eframe::egui::{
    Color32, CornerRadius, Painter, Pos2, Rect, Response, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2,
};

use super::theme;

/// A picture of something, drawn on a grid of 24 by 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icon {
    /// The network over time.
    Analytics,
    /// Moving pictures.
    Camera,
    /// The same, off.
    CameraOff,
    /// Written words.
    Chat,
    /// There.
    Check,
    /// With those it was for.
    CheckTwice,
    /// Away with it.
    Close,
    /// Into the clipboard.
    Copy,
    /// A file.
    File,
    /// A folder.
    Folder,
    /// Has the host role.
    Host,
    /// Out of the door.
    Leave,
    /// Locked; private.
    Lock,
    /// Sound.
    Microphone,
    /// The same, muted.
    MicrophoneOff,
    /// Who is here.
    People,
    /// Knobs to turn.
    Settings,
    /// Not locked.
    Unlocked,
}

/// A part of an icon, in units of the grid.
enum Part {
    /// From point to point.
    Lines(&'static [(f32, f32)]),
    /// Left, top, right, bottom, corner.
    Box(f32, f32, f32, f32, u8),
    /// Centre, radius.
    Circle(f32, f32, f32),
    /// Centre, radius, first and last angle in turns, clockwise from the right.
    Arc(f32, f32, f32, f32, f32),
    /// Cuts through what was drawn before, and is drawn itself.
    Strike,
}

use Part::{Arc, Box, Circle, Lines, Strike};

const MICROPHONE: &[Part] = &[
    Box(9.0, 2.5, 15.0, 14.0, 3),
    Arc(12.0, 11.0, 6.5, 0.0, 0.5),
    Lines(&[(12.0, 17.5), (12.0, 21.5)]),
    Lines(&[(8.5, 21.5), (15.5, 21.5)]),
];
const CAMERA: &[Part] =
    &[Box(2.5, 6.0, 15.5, 18.0, 3), Lines(&[(15.5, 10.5), (21.5, 7.0), (21.5, 17.0), (15.5, 13.5)])];

const ANALYTICS: &[Part] =
    &[Lines(&[(3.0, 3.0), (3.0, 21.0), (21.0, 21.0)]), Lines(&[(6.5, 16.0), (10.5, 10.5), (14.0, 13.5), (20.0, 6.0)])];
const CHAT: &[Part] = &[
    Lines(&[
        (8.0, 17.0),
        (4.5, 20.5),
        (4.5, 5.5),
        (5.5, 4.0),
        (19.5, 4.0),
        (20.5, 5.0),
        (20.5, 16.0),
        (19.5, 17.0),
        (8.0, 17.0),
    ]),
    Lines(&[(8.5, 8.5), (16.5, 8.5)]),
    Lines(&[(8.5, 12.5), (14.0, 12.5)]),
];
const CHECK: &[Part] = &[Lines(&[(5.0, 12.5), (10.0, 17.5), (19.5, 7.0)])];
const CHECK_TWICE: &[Part] =
    &[Lines(&[(1.5, 12.5), (6.5, 17.5), (15.5, 7.0)]), Lines(&[(11.5, 16.0), (13.0, 17.5), (22.5, 7.0)])];
const CLOSE: &[Part] = &[Lines(&[(6.0, 6.0), (18.0, 18.0)]), Lines(&[(18.0, 6.0), (6.0, 18.0)])];
const COPY: &[Part] =
    &[Box(8.5, 8.5, 20.5, 20.5, 2), Lines(&[(5.0, 15.5), (3.5, 15.5), (3.5, 3.5), (15.5, 3.5), (15.5, 5.0)])];
const FILE: &[Part] = &[
    Lines(&[(14.0, 2.5), (5.5, 2.5), (5.5, 21.5), (18.5, 21.5), (18.5, 7.0), (14.0, 2.5), (14.0, 7.0), (18.5, 7.0)]),
    Lines(&[(9.0, 12.0), (15.0, 12.0)]),
    Lines(&[(9.0, 16.0), (15.0, 16.0)]),
];
const FOLDER: &[Part] =
    &[Lines(&[(3.0, 19.0), (3.0, 5.0), (9.0, 5.0), (11.5, 8.0), (21.0, 8.0), (21.0, 19.0), (3.0, 19.0)])];
const HOST: &[Part] = &[Lines(&[
    (4.0, 18.5),
    (3.0, 7.0),
    (8.0, 11.0),
    (12.0, 4.5),
    (16.0, 11.0),
    (21.0, 7.0),
    (20.0, 18.5),
    (4.0, 18.5),
])];
const LEAVE: &[Part] = &[
    Lines(&[(10.0, 3.5), (4.0, 3.5), (4.0, 20.5), (10.0, 20.5)]),
    Lines(&[(9.5, 12.0), (21.0, 12.0)]),
    Lines(&[(16.5, 7.5), (21.0, 12.0), (16.5, 16.5)]),
];
const LOCK: &[Part] = &[Box(5.0, 10.5, 19.0, 20.5, 2), Arc(12.0, 10.0, 4.5, 0.5, 1.0)];
const PEOPLE: &[Part] = &[
    Circle(9.0, 8.0, 3.8),
    Arc(9.0, 20.5, 6.8, 0.5, 1.0),
    Arc(15.5, 8.0, 3.8, 0.78, 1.22),
    Arc(16.0, 20.5, 6.0, 0.78, 1.0),
];
const SETTINGS: &[Part] = &[
    Lines(&[(3.0, 7.0), (12.5, 7.0)]),
    Circle(15.5, 7.0, 2.7),
    Lines(&[(18.5, 7.0), (21.0, 7.0)]),
    Lines(&[(3.0, 17.0), (5.5, 17.0)]),
    Circle(8.5, 17.0, 2.7),
    Lines(&[(11.5, 17.0), (21.0, 17.0)]),
];
const UNLOCKED: &[Part] =
    &[Box(5.0, 10.5, 19.0, 20.5, 2), Arc(12.0, 7.5, 4.5, 0.5, 0.95), Lines(&[(7.5, 7.5), (7.5, 10.5)])];

fn parts(icon: Icon) -> &'static [Part] {
    match icon {
        Icon::Camera | Icon::CameraOff => CAMERA,
        Icon::Microphone | Icon::MicrophoneOff => MICROPHONE,
        Icon::Analytics => ANALYTICS,
        Icon::Chat => CHAT,
        Icon::Check => CHECK,
        Icon::CheckTwice => CHECK_TWICE,
        Icon::Close => CLOSE,
        Icon::Copy => COPY,
        Icon::File => FILE,
        Icon::Folder => FOLDER,
        Icon::Host => HOST,
        Icon::Leave => LEAVE,
        Icon::Lock => LOCK,
        Icon::People => PEOPLE,
        Icon::Settings => SETTINGS,
        Icon::Unlocked => UNLOCKED,
    }
}

/// Draws an icon into a square.
pub fn paint(painter: &Painter, icon: Icon, square: Rect, color: Color32) {
    let unit = square.width() / 24.0;
    let stroke = Stroke::new((1.7 * unit).max(1.0), color);
    let at = |x: f32, y: f32| square.min + vec2(x, y) * unit;
    for part in parts(icon) {
        paint_part(painter, part, &at, unit, stroke);
    }
    if matches!(icon, Icon::CameraOff | Icon::MicrophoneOff) {
        paint_part(painter, &Strike, &at, unit, stroke);
    }
}

fn paint_part(painter: &Painter, part: &Part, at: &impl Fn(f32, f32) -> Pos2, unit: f32, stroke: Stroke) {
    match part {
        Lines(points) => {
            let points = points.iter().map(|(x, y)| at(*x, *y)).collect();
            painter.line(points, stroke);
        }
        Box(left, top, right, bottom, corner) => {
            let rect = Rect::from_min_max(at(*left, *top), at(*right, *bottom));
            let corner = CornerRadius::same((f32::from(*corner) * unit) as u8);
            painter.rect_stroke(rect, corner, stroke, StrokeKind::Middle);
        }
        Circle(x, y, radius) => {
            painter.circle_stroke(at(*x, *y), radius * unit, stroke);
        }
        Arc(x, y, radius, first, last) => {
            let point = |step: u8| {
                let turn = first + (last - first) * f32::from(step) / f32::from(ARC_STEPS);
                let (sin, cos) = (turn * std::f32::consts::TAU).sin_cos();
                at(x + radius * cos, y + radius * sin)
            };
            painter.line((0..=ARC_STEPS).map(point).collect(), stroke);
        }
        Strike => {
            painter.line_segment([at(3.5, 3.5), at(20.5, 20.5)], stroke);
        }
    }
}

/// Straight pieces of an arc; more are not seen at 24 points.
const ARC_STEPS: u8 = 16;

/// A square button with nothing but an icon; `label` is its name for screen readers, and its tooltip.
pub fn button(ui: &mut Ui, icon: Icon, label: &str) -> Response {
    let (rect, response) = ui.allocate_exact_size(vec2(30.0, 30.0), Sense::click());
    let palette = theme::of(ui);
    response.widget_info(|| WidgetInfo::labeled(Role::Button, ui.is_enabled(), label));
    let hovered = response.hovered() || response.has_focus();
    if hovered {
        let corner = CornerRadius::same(theme::SMALL_CORNER);
        ui.painter().rect_filled(rect, corner, palette.hovered);
    }
    let color = if hovered { palette.text } else { palette.weak };
    paint(ui.painter(), icon, rect.shrink(6.0), color);
    response.on_hover_text(label)
}

/// An icon as tall as a line of text. It says nothing to screen readers: the text beside it does.
pub fn mark(ui: &mut Ui, icon: Icon, size: f32, color: Color32) {
    let (rect, _) = ui.allocate_exact_size(vec2(size, size), Sense::hover());
    paint(ui.painter(), icon, rect, color);
}

/// The mark of the program: a C around a dot, a room with somebody in it.
pub fn product(ui: &mut Ui, size: f32) {
    let (rect, _) = ui.allocate_exact_size(vec2(size, size), Sense::hover());
    let palette = theme::of(ui);
    let corner = CornerRadius::same((size / 4.0) as u8);
    ui.painter().rect_filled(rect, corner, palette.accent);
    let at = |x: f32, y: f32| pos2(rect.left() + x * size, rect.top() + y * size);
    let stroke = Stroke::new(size / 11.0, theme::on_fill());
    let arc = |step: u8| {
        let turn = 0.12 + 0.76 * f32::from(step) / f32::from(ARC_STEPS);
        let (sin, cos) = (turn * std::f32::consts::TAU).sin_cos();
        at(0.5 + 0.27 * cos, 0.5 + 0.27 * sin)
    };
    ui.painter().line((0..=ARC_STEPS).map(arc).collect(), stroke);
    ui.painter().circle_filled(at(0.5, 0.5), size / 10.0, theme::on_fill());
}
