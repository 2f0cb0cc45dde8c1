//! Every colour, corner and text size of the window. No other file names a colour.

use eframe::egui::{
    self, Button, Color32, Context, CornerRadius, FontFamily, FontId, Frame, Margin, Response, RichText, Shadow,
    Stroke, Style, TextStyle, Theme, Ui, Visuals, vec2,
};

use common::ids::MemberId;
use common::reno::Phase;

use super::diagnosis::Quality;

/// The colours of one theme.
#[derive(Debug)]
pub struct Palette {
    /// Behind everything.
    pub background: Color32,
    /// Bars and side panels.
    pub panel: Color32,
    /// Things that lie on a panel.
    pub card: Color32,
    /// Buttons and what can be pointed at.
    pub raised: Color32,
    /// The same, pointed at.
    pub hovered: Color32,
    /// Thin lines between things.
    pub line: Color32,
    /// Text.
    pub text: Color32,
    /// Text of the second row.
    pub weak: Color32,
    /// The one thing to click.
    pub accent: Color32,
    /// Behind lines of our own and selected things.
    pub accent_soft: Color32,
    /// All is well; who speaks.
    pub good: Color32,
    /// Careful.
    pub warn: Color32,
    /// Wrong; leaving; muted.
    pub bad: Color32,
    /// Behind what is wrong.
    pub bad_soft: Color32,
    /// Only one person sees this.
    pub private: Color32,
    /// Behind what only one person sees.
    pub private_soft: Color32,
    /// Behind a picture that does not fill its tile, and behind an avatar.
    pub tile: Color32,
    /// Lines of plots, told apart also by people who do not see red and green as different (Okabe and Ito).
    pub series: [Color32; 8],
}

const DARK: Palette = Palette {
    background: Color32::from_rgb(0x0e, 0x11, 0x16),
    panel: Color32::from_rgb(0x16, 0x1b, 0x22),
    card: Color32::from_rgb(0x1e, 0x24, 0x2d),
    raised: Color32::from_rgb(0x2a, 0x32, 0x3e),
    hovered: Color32::from_rgb(0x37, 0x42, 0x51),
    line: Color32::from_rgb(0x2c, 0x35, 0x41),
    text: Color32::from_rgb(0xee, 0xf2, 0xf7),
    weak: Color32::from_rgb(0xa3, 0xb0, 0xc0),
    accent: Color32::from_rgb(0x2f, 0x6f, 0xed),
    accent_soft: Color32::from_rgb(0x1d, 0x35, 0x66),
    good: Color32::from_rgb(0x3f, 0xd0, 0x8b),
    warn: Color32::from_rgb(0xf7, 0xb9, 0x55),
    bad: Color32::from_rgb(0xd9, 0x3a, 0x49),
    bad_soft: Color32::from_rgb(0x4a, 0x1d, 0x25),
    private: Color32::from_rgb(0xc0, 0xa4, 0xff),
    private_soft: Color32::from_rgb(0x35, 0x29, 0x57),
    tile: Color32::from_rgb(0x1b, 0x21, 0x29),
    series: [
        Color32::from_rgb(0x56, 0xb4, 0xe9),
        Color32::from_rgb(0xe6, 0x9f, 0x00),
        Color32::from_rgb(0x2f, 0xc8, 0x97),
        Color32::from_rgb(0xf0, 0x84, 0xbb),
        Color32::from_rgb(0xf0, 0xe4, 0x42),
        Color32::from_rgb(0xff, 0x7a, 0x3d),
        Color32::from_rgb(0x6f, 0x8f, 0xff),
        Color32::from_rgb(0xc8, 0xd2, 0xdf),
    ],
};

const LIGHT: Palette = Palette {
    background: Color32::from_rgb(0xf1, 0xf4, 0xf8),
    panel: Color32::from_rgb(0xff, 0xff, 0xff),
    card: Color32::from_rgb(0xf6, 0xf8, 0xfb),
    raised: Color32::from_rgb(0xe6, 0xeb, 0xf2),
    hovered: Color32::from_rgb(0xd8, 0xe0, 0xea),
    line: Color32::from_rgb(0xd5, 0xdc, 0xe6),
    text: Color32::from_rgb(0x16, 0x1d, 0x27),
    weak: Color32::from_rgb(0x53, 0x60, 0x70),
    accent: Color32::from_rgb(0x1f, 0x5f, 0xdd),
    accent_soft: Color32::from_rgb(0xdc, 0xe8, 0xff),
    good: Color32::from_rgb(0x12, 0x8a, 0x55),
    warn: Color32::from_rgb(0x9a, 0x62, 0x00),
    bad: Color32::from_rgb(0xc9, 0x2a, 0x3a),
    bad_soft: Color32::from_rgb(0xfd, 0xe3, 0xe5),
    private: Color32::from_rgb(0x6a, 0x3f, 0xc8),
    private_soft: Color32::from_rgb(0xed, 0xe5, 0xff),
    tile: Color32::from_rgb(0xdf, 0xe5, 0xed),
    series: [
        Color32::from_rgb(0x00, 0x72, 0xb2),
        Color32::from_rgb(0xb8, 0x70, 0x00),
        Color32::from_rgb(0x00, 0x86, 0x63),
        Color32::from_rgb(0xb0, 0x48, 0x80),
        Color32::from_rgb(0x80, 0x78, 0x00),
        Color32::from_rgb(0xc9, 0x48, 0x00),
        Color32::from_rgb(0x3a, 0x50, 0xd0),
        Color32::from_rgb(0x40, 0x48, 0x52),
    ],
};

/// White stays readable on every fill that [`on_fill`] text is put on.
const ON_FILL: Color32 = Color32::WHITE;

/// Discs of avatars, all dark enough for white letters.
const AVATARS: [Color32; 8] = [
    Color32::from_rgb(0x2b, 0x6c, 0xb0),
    Color32::from_rgb(0x9c, 0x42, 0x21),
    Color32::from_rgb(0x27, 0x74, 0x4f),
    Color32::from_rgb(0x97, 0x26, 0x6d),
    Color32::from_rgb(0x55, 0x3c, 0x9a),
    Color32::from_rgb(0x8a, 0x5a, 0x10),
    Color32::from_rgb(0x23, 0x6b, 0x7c),
    Color32::from_rgb(0xa2, 0x2c, 0x3c),
];

/// Corners of cards and tiles, in points.
pub const CORNER: u8 = 12;
/// Corners of buttons and fields, in points.
pub const SMALL_CORNER: u8 = 8;

/// The colours of the theme that is drawn.
pub fn of(ui: &Ui) -> &'static Palette {
    if ui.visuals().dark_mode { &DARK } else { &LIGHT }
}

/// Text and marks on the accent, on red and on pictures.
pub fn on_fill() -> Color32 {
    ON_FILL
}

/// Behind names on pictures.
pub fn scrim() -> Color32 {
    Color32::from_black_alpha(165)
}

/// Over a picture that stands still.
pub fn stale() -> Color32 {
    Color32::from_black_alpha(140)
}

/// The mark of a muted microphone on a picture.
pub fn muted() -> Color32 {
    Color32::from_rgb(0xff, 0x8d, 0x8d)
}

/// The mark of the host on a picture.
pub fn host() -> Color32 {
    DARK.warn
}

/// The disc behind a member's initials.
pub fn avatar(member: MemberId) -> Color32 {
    AVATARS[usize::from(member.0) % AVATARS.len()]
}

impl Palette {
    /// The colour of a verdict.
    pub fn quality(&self, quality: Quality) -> Color32 {
        match quality {
            Quality::Unknown => self.weak,
            Quality::Good => self.good,
            Quality::Fair => self.warn,
            Quality::Poor => self.bad,
        }
    }

    /// The colour of a phase of Reno.
    pub fn phase(&self, phase: Phase) -> Color32 {
        match phase {
            Phase::SlowStart => self.series[0],
            Phase::CongestionAvoidance => self.series[2],
            Phase::FastRecovery => self.series[1],
            Phase::TimeoutRecovery => self.bad,
            Phase::Yielding => self.series[4],
        }
    }
}

/// Gives both themes of a context our look.
pub fn install(ctx: &Context) {
    ctx.style_mut_of(Theme::Dark, |style| dress(style, &DARK, Visuals::dark()));
    ctx.style_mut_of(Theme::Light, |style| dress(style, &LIGHT, Visuals::light()));
}

fn dress(style: &mut Style, palette: &Palette, visuals: Visuals) {
    let sizes =
        [(TextStyle::Small, 12.5), (TextStyle::Body, 15.0), (TextStyle::Button, 15.0), (TextStyle::Heading, 21.0)];
    for (text_style, size) in sizes {
        let font = FontId::new(size, FontFamily::Proportional);
        style.text_styles.insert(text_style, font);
    }
    let monospace = FontId::new(13.5, FontFamily::Monospace);
    style.text_styles.insert(TextStyle::Monospace, monospace);
    style.spacing.item_spacing = vec2(8.0, 8.0);
    style.spacing.button_padding = vec2(14.0, 7.0);
    style.spacing.interact_size = vec2(40.0, 32.0);
    style.spacing.combo_width = 160.0;
    style.spacing.menu_margin = Margin::same(6);
    style.spacing.scroll.bar_width = 8.0;
    style.visuals = paint(palette, visuals);
}

fn paint(palette: &Palette, mut visuals: Visuals) -> Visuals {
    visuals.panel_fill = palette.background;
    visuals.window_fill = palette.panel;
    visuals.window_stroke = Stroke::new(1.0, palette.line);
    visuals.window_corner_radius = CornerRadius::same(CORNER);
    visuals.menu_corner_radius = CornerRadius::same(SMALL_CORNER);
    visuals.window_shadow = shadow();
    visuals.popup_shadow = shadow();
    visuals.faint_bg_color = palette.card;
    visuals.extreme_bg_color = palette.background;
    visuals.text_edit_bg_color = Some(palette.background);
    visuals.code_bg_color = palette.card;
    visuals.weak_text_color = Some(palette.weak);
    visuals.warn_fg_color = palette.warn;
    visuals.error_fg_color = palette.bad;
    visuals.hyperlink_color = palette.series[0];
    visuals.selection.bg_fill = palette.accent;
    visuals.selection.stroke = Stroke::new(1.0, ON_FILL);
    let widgets = &mut visuals.widgets;
    let states = [
        (&mut widgets.noninteractive, palette.panel, palette.line),
        (&mut widgets.inactive, palette.raised, palette.line),
        (&mut widgets.hovered, palette.hovered, palette.hovered),
        (&mut widgets.active, palette.hovered, palette.accent),
        (&mut widgets.open, palette.hovered, palette.line),
    ];
    for (state, fill, outline) in states {
        state.bg_fill = fill;
        state.weak_bg_fill = fill;
        state.bg_stroke = Stroke::new(1.0, outline);
        state.fg_stroke = Stroke::new(1.5, palette.text);
        state.corner_radius = CornerRadius::same(SMALL_CORNER);
        state.expansion = 0.0;
    }
    visuals
}

fn shadow() -> Shadow {
    Shadow { offset: [0, 6], blur: 24, spread: 0, color: Color32::from_black_alpha(90) }
}

/// A frame for things that lie on a panel.
pub fn card(ui: &Ui) -> Frame {
    Frame::new()
        .fill(of(ui).card)
        .stroke(Stroke::new(1.0, of(ui).line))
        .corner_radius(CornerRadius::same(CORNER))
        .inner_margin(Margin::same(12))
}

/// A frame for things that float over others.
pub fn floating(ui: &Ui) -> Frame {
    card(ui).fill(of(ui).panel).shadow(shadow())
}

/// A frame for dialogs.
pub fn dialog(ctx: &Context) -> Frame {
    let palette = match ctx.theme() {
        Theme::Dark => &DARK,
        Theme::Light => &LIGHT,
    };
    Frame::new()
        .fill(palette.panel)
        .stroke(Stroke::new(1.0, palette.line))
        .corner_radius(CornerRadius::same(CORNER))
        .shadow(shadow())
        .inner_margin(Margin::same(20))
}

/// A frame for bars and side panels.
pub fn panel(ui: &Ui) -> Frame {
    Frame::new().fill(of(ui).panel).inner_margin(Margin::symmetric(14, 10))
}

/// The button that does what the view is for.
pub fn primary(ui: &Ui, text: impl Into<String>) -> Button<'static> {
    let text = RichText::new(text).color(ON_FILL).strong();
    Button::new(text).fill(of(ui).accent).stroke(Stroke::NONE)
}

/// The button that ends something.
pub fn danger(ui: &Ui, text: impl Into<String>) -> Button<'static> {
    let text = RichText::new(text).color(ON_FILL).strong();
    Button::new(text).fill(of(ui).bad).stroke(Stroke::NONE)
}

/// A sentence in the second row.
pub fn weak(ui: &mut Ui, text: impl Into<String>) -> Response {
    let color = of(ui).weak;
    ui.label(RichText::new(text).small().color(color))
}

/// What is wrong with what was typed.
pub fn complaint(ui: &mut Ui, text: impl Into<String>) -> Response {
    // Red fills are too dark to be read as thin text on a dark panel; the warning colour is not.
    let color = of(ui).warn;
    ui.add(egui::Label::new(RichText::new(text).small().color(color)).wrap())
}

/// A column of at most `width` points in the middle of what is left.
pub fn centered_column(ui: &mut Ui, width: f32, contents: impl FnOnce(&mut Ui)) {
    let width = width.min(ui.available_width() - 32.0);
    let side = (ui.available_width() - width) / 2.0;
    ui.horizontal_top(|ui| {
        ui.add_space(side);
        ui.vertical(|ui| {
            ui.set_width(width);
            contents(ui);
        });
    });
}

/// Adds a field whose hint is too dim to be taken for what was typed.
pub fn edit(ui: &mut Ui, edit: egui::TextEdit<'_>) -> Response {
    ui.scope(|ui| {
        ui.visuals_mut().weak_text_color = Some(of(ui).weak.gamma_multiply(0.65));
        ui.add(edit)
    })
    .inner
}

/// A field of one line over its whole width, with its name above it; gives back the field.
pub fn field(ui: &mut Ui, name: &str, hint: &str, text: &mut String, limit: usize) -> Response {
    let label = ui.label(RichText::new(name).small().color(of(ui).weak));
    let edit = egui::TextEdit::singleline(text)
        .hint_text(hint.to_owned())
        .char_limit(limit)
        .margin(Margin::symmetric(10, 8))
        .desired_width(f32::INFINITY);
    self::edit(ui, edit).labelled_by(label.id)
}
