//! The people: pictures, or initials where there is none, in a grid that wastes as little as possible.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::ids::MemberId;
use common::picture::ladder::Rung;
use common::wire::control::{Member, View};
use eframe::egui::epaint::StrokeKind;
use eframe::egui::{
    Color32, ColorImage, Context, CornerRadius, FontId, Image, ImageData, Pos2, Rect, Role, Sense, Stroke,
    TextureHandle, TextureOptions, Ui, Vec2, WidgetInfo, load::SizedTexture, pos2, vec2,
};

use super::icons::{self, Icon};
use super::model::Meeting;
use super::people;
use super::theme;
use crate::devices::Picture;
use crate::engine::protocol::FrameSlots;
use crate::reach;

/// Width over height of a tile: that of the ladder's largest rung, 864 by 480.
pub const ASPECT: f32 = 1.8;
/// Points between tiles.
const GAP: f32 = 10.0;

/// The pictures that are on the screen, one texture for each member.
#[derive(Default)]
pub struct Tiles(BTreeMap<MemberId, Tile>);

struct Tile {
    texture: TextureHandle,
    // The image is shared with the renderer until it is uploaded; after that its memory serves the next one.
    image: Arc<ColorImage>,
}

impl Tiles {
    /// Takes new pictures of those who are here, and forgets those who are gone or turned their camera off.
    pub fn update(&mut self, ctx: &Context, meeting: &Meeting, frames: &FrameSlots) {
        let sends = |member: &MemberId| {
            let known = meeting.members.get(member);
            known.is_some_and(|member| member.media.camera)
        };
        self.0.retain(|member, _| sends(member));
        for member in meeting.members.keys() {
            let Some(picture) = frames.take(*member) else {
                continue;
            };
            if sends(member) {
                self.show(ctx, *member, &picture);
            }
            frames.give_back(picture);
        }
    }

    /// Forgets everybody.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn show(&mut self, ctx: &Context, member: MemberId, picture: &Picture) {
        if picture.width * picture.height * 4 != picture.rgba.len() || picture.rgba.is_empty() {
            return;
        }
        match self.0.get_mut(&member) {
            Some(tile) => {
                if Arc::get_mut(&mut tile.image).is_none() {
                    tile.image = Arc::default();
                }
                if let Some(image) = Arc::get_mut(&mut tile.image) {
                    copy(picture, image);
                }
                let data = ImageData::Color(Arc::clone(&tile.image));
                tile.texture.set(data, TextureOptions::LINEAR);
            }
            None => {
                let mut image = ColorImage::default();
                copy(picture, &mut image);
                let image = Arc::new(image);
                let data = ImageData::Color(Arc::clone(&image));
                let name = format!("member {member}");
                let texture = ctx.load_texture(name, data, TextureOptions::LINEAR);
                self.0.insert(member, Tile { texture, image });
            }
        }
    }
}

fn copy(picture: &Picture, image: &mut ColorImage) {
    image.size = [picture.width, picture.height];
    image.source_size = vec2(picture.width as f32, picture.height as f32);
    image.pixels.clear();
    // Alpha is 255 by contract, so premultiplied and straight are the same.
    let pixel = |rgba: &[u8; 4]| Color32::from_rgb(rgba[0], rgba[1], rgba[2]);
    let (pixels, _) = picture.rgba.as_chunks::<4>();
    image.pixels.extend(pixels.iter().map(pixel));
}

/// Draws everybody, as large as they fit; answers whom of the others it shows, and how large.
pub fn grid_ui(ui: &mut Ui, meeting: &Meeting, tiles: &Tiles, mirrored: bool) -> Vec<View> {
    let area = ui.available_rect_before_wrap();
    ui.allocate_rect(area, Sense::hover());
    let places = places(meeting.members.len(), area);
    let rung = places.first().map_or(0, |tile| rung_of(tile.width() * ui.pixels_per_point()));
    for (member, rect) in meeting.members.values().zip(places) {
        ui.push_id(member.id.0, |ui| {
            let tile = tiles.0.get(&member.id);
            tile_ui(ui, rect, meeting, member, tile, mirrored);
        });
    }
    let others = meeting.members.keys().filter(|member| **member != meeting.you);
    others.map(|member| View { member: *member, rung }).collect()
}

/// The index of the smallest picture that fills so many pixels without being seen to be enlarged.
fn rung_of(pixels: f32) -> u8 {
    let enough = |rung: &&Rung| f32::from(rung.width) * ENLARGED_UNSEEN >= pixels;
    Rung::ALL.iter().find(enough).map_or(Rung::ALL.len() as u8 - 1, |rung| rung.index)
}

/// How much wider than its picture a tile may be: a quarter is not seen in a moving face.
const ENLARGED_UNSEEN: f32 = 1.25;

/// Where each of `count` tiles goes, row by row, the last row in the middle.
pub fn places(count: usize, area: Rect) -> Vec<Rect> {
    let (columns, size) = best_grid(count, area.size());
    let rows = count.div_ceil(columns.max(1));
    let height = rows as f32 * (size.y + GAP) - GAP;
    let top = area.center().y - height / 2.0;
    let place = |index: usize| {
        let (row, column) = (index / columns, index % columns);
        let in_row = columns.min(count - row * columns) as f32;
        let left = area.center().x - (in_row * (size.x + GAP) - GAP) / 2.0;
        let x = left + column as f32 * (size.x + GAP);
        let y = top + row as f32 * (size.y + GAP);
        Rect::from_min_size(pos2(x, y), size)
    };
    (0..count).map(place).collect()
}

/// The number of columns that gives the largest tiles, and their size.
fn best_grid(count: usize, area: Vec2) -> (usize, Vec2) {
    let sized = |columns: usize| {
        let rows = count.div_ceil(columns);
        let width = (area.x + GAP) / columns as f32 - GAP;
        let height = (area.y + GAP) / rows as f32 - GAP;
        let width = width.min(height * ASPECT).max(1.0);
        (columns, vec2(width, width / ASPECT))
    };
    (1..=count).map(sized).max_by(|a, b| a.1.x.total_cmp(&b.1.x)).unwrap_or((1, Vec2::ZERO))
}

fn tile_ui(ui: &Ui, rect: Rect, meeting: &Meeting, member: &Member, tile: Option<&Tile>, mirrored: bool) {
    let palette = theme::of(ui);
    let corner = CornerRadius::same(theme::CORNER);
    let you = member.id == meeting.you;
    let speaking = meeting.speaking.contains(&member.id);
    let response = ui.interact(rect, ui.scope_id().with("tile"), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, described(member, you, speaking)));
    ui.painter().rect_filled(rect, corner, palette.tile);
    match tile {
        Some(tile) => picture_ui(ui, rect, &tile.texture, you && mirrored),
        None => {
            let radius = (rect.height() * 0.24).min(72.0);
            people::avatar(ui.painter(), rect.center(), radius, member);
        }
    }
    if tile.is_some() && stands_still(meeting, member) {
        ui.painter().rect_filled(rect, corner, theme::stale());
    }
    name_ui(ui, rect, member, you);
    if member.host && rect.width() > HOST_MIN_WIDTH {
        host_ui(ui, rect);
    }
    let broken = if member.away { Some("reconnecting…") } else { reach::mark(member.reach) };
    if let Some(broken) = broken {
        broken_ui(ui, rect, broken);
    }
    if speaking {
        let ring = Stroke::new(3.0, palette.good);
        ui.painter().rect_stroke(rect, corner, ring, StrokeKind::Inside);
    }
}

/// The last picture is all there is of somebody else of whom nothing reaches the server. Our own comes from the camera.
fn stands_still(meeting: &Meeting, member: &Member) -> bool {
    member.id != meeting.you && !member.reach.heard
}

/// Points of a tile that has room for the host's badge besides the name.
const HOST_MIN_WIDTH: f32 = 150.0;

fn described(member: &Member, you: bool, speaking: bool) -> String {
    let parts = [
        (you, "you"),
        (member.host, "host"),
        (member.away, "reconnecting"),
        (reach::mark(member.reach).is_some(), reach::mark(member.reach).unwrap_or_default()),
        (!member.media.microphone, "muted"),
        (!member.media.camera, "camera off"),
        (speaking, "speaking"),
    ];
    let parts = parts.iter().filter(|(holds, _)| *holds).map(|(_, part)| *part);
    std::iter::once(member.name.as_str()).chain(parts).collect::<Vec<_>>().join(", ")
}

/// The whole picture, as large as the tile allows.
fn picture_ui(ui: &Ui, tile: Rect, texture: &TextureHandle, mirrored: bool) {
    let size = texture.size_vec2();
    let scale = (tile.width() / size.x).min(tile.height() / size.y);
    let rect = Rect::from_center_size(tile.center(), size * scale);
    // A ladder rung differs from the tile by less than two per cent; that much may hide under the corners.
    let fills = (rect.size() - tile.size()).abs().max_elem() < tile.width() * 0.02;
    let rect = if fills { tile } else { rect };
    let whole = Rect::from_min_max(Pos2::ZERO, pos2(1.0, 1.0));
    let uv = if mirrored { Rect::from_min_max(pos2(1.0, 0.0), pos2(0.0, 1.0)) } else { whole };
    let corner = if fills { theme::CORNER } else { 0 };
    Image::new(SizedTexture::from_handle(texture)).uv(uv).corner_radius(corner).paint_at(ui, rect);
}

fn name_ui(ui: &Ui, tile: Rect, member: &Member, you: bool) {
    let name = if you { format!("{} (you)", member.name) } else { member.name.clone() };
    let size = if tile.width() < 240.0 { 12.5 } else { 14.5 };
    let font = FontId::proportional(size);
    let muted = !member.media.microphone;
    let icon_width = if muted { size + 6.0 } else { 0.0 };
    let room = tile.width() - 36.0 - icon_width;
    let text = elided(ui, &name, font, room);
    let pill_size = vec2(text.size().x + icon_width + 18.0, text.size().y + 8.0);
    let corner = tile.left_bottom() + vec2(9.0, -9.0 - pill_size.y);
    let pill = Rect::from_min_size(corner, pill_size);
    let round = CornerRadius::same(theme::SMALL_CORNER);
    ui.painter().rect_filled(pill, round, theme::scrim());
    if muted {
        let at = pos2(pill.left() + 7.0, pill.center().y - size / 2.0 - 1.0);
        let square = Rect::from_min_size(at, Vec2::splat(size + 2.0));
        icons::paint(ui.painter(), Icon::MicrophoneOff, square, theme::muted());
    }
    let at = pill.min + vec2(9.0 + icon_width, 4.0);
    ui.painter().galley(at, text, theme::on_fill());
}

fn elided(ui: &Ui, text: &str, font: FontId, width: f32) -> Arc<eframe::egui::Galley> {
    let mut job = eframe::egui::text::LayoutJob::simple_singleline(text.into(), font, theme::on_fill());
    job.wrap = eframe::egui::text::TextWrapping::truncate_at_width(width.max(20.0));
    ui.fonts_mut(|fonts| fonts.layout_job(job))
}

/// On the picture, which may go on moving: where only the control connection is broken, it does.
fn broken_ui(ui: &Ui, tile: Rect, what: &str) {
    let text = elided(ui, what, FontId::proportional(12.5), tile.width() - 36.0);
    let size = text.size() + vec2(18.0, 8.0);
    let pill = Rect::from_min_size(tile.right_top() + vec2(-9.0 - size.x, 9.0), size);
    ui.painter().rect_filled(pill, CornerRadius::same(theme::SMALL_CORNER), theme::scrim());
    ui.painter().galley(pill.min + vec2(9.0, 4.0), text, theme::on_fill());
}

fn host_ui(ui: &Ui, tile: Rect) {
    let text = elided(ui, "Host", FontId::proportional(12.5), 60.0);
    let size = vec2(text.size().x + 36.0, text.size().y + 8.0);
    let pill = Rect::from_min_size(tile.left_top() + vec2(9.0, 9.0), size);
    let round = CornerRadius::same(theme::SMALL_CORNER);
    ui.painter().rect_filled(pill, round, theme::scrim());
    let square = Rect::from_center_size(pos2(pill.left() + 16.0, pill.center().y), Vec2::splat(15.0));
    icons::paint(ui.painter(), Icon::Host, square, theme::host());
    let at = pill.min + vec2(28.0, 4.0);
    ui.painter().galley(at, text, theme::on_fill());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::protocol::Event;
    use crate::ui::samples::{self, ANA, BO};
    use common::wire::control::{LeaveReason, MediaState, Reach};

    #[test]
    fn every_tile_is_inside_and_none_covers_another() {
        let area = Rect::from_min_size(pos2(0.0, 60.0), vec2(1024.0, 500.0));
        for count in 1..=50 {
            let places = places(count, area);
            assert_eq!(places.len(), count);
            for (index, place) in places.iter().enumerate() {
                assert!(area.expand(0.5).contains_rect(*place), "{count}: {place:?}");
                assert!((place.width() / place.height() - ASPECT).abs() < 0.01);
                let covered = |other: &Rect| other.shrink(1.0).intersects(place.shrink(1.0));
                assert!(!places[..index].iter().any(covered), "{count}");
            }
        }
    }

    #[test]
    fn nobody_needs_no_place() {
        assert!(places(0, Rect::from_min_size(Pos2::ZERO, vec2(10.0, 10.0))).is_empty());
    }

    #[test]
    fn four_make_a_square_and_two_stand_side_by_side() {
        assert_eq!(best_grid(4, vec2(1280.0, 700.0)).0, 2);
        assert_eq!(best_grid(2, vec2(1280.0, 500.0)).0, 2);
        assert_eq!(best_grid(9, vec2(1280.0, 700.0)).0, 3);
    }

    fn picture() -> Picture {
        Picture { width: 16, height: 16, rgba: vec![255; 16 * 16 * 4] }
    }

    #[test]
    fn a_picture_goes_to_a_texture_once_and_its_memory_comes_back() {
        let ctx = Context::default();
        let (mut tiles, frames) = (Tiles::default(), FrameSlots::default());
        let model = samples::meeting(ANA);
        frames.put(BO, picture());
        tiles.update(&ctx, model.meeting().unwrap(), &frames);
        assert!(tiles.0.contains_key(&BO));
        assert_eq!(frames.spare().map(|spare| spare.rgba.len()), Some(1_024));
        assert!(frames.take(BO).is_none());
    }

    #[test]
    fn a_tile_goes_with_the_camera_and_with_the_member() {
        let ctx = Context::default();
        let (mut tiles, frames) = (Tiles::default(), FrameSlots::default());
        let mut model = samples::meeting(ANA);
        let mut events = [
            Event::MediaChanged { member: BO, media: MediaState::default() },
            Event::MediaChanged { member: BO, media: MediaState { camera: true, microphone: true } },
            Event::MemberLeft { member: BO, reason: LeaveReason::Left },
        ]
        .into_iter();
        for shown in [true, false, true, false] {
            frames.put(BO, picture());
            tiles.update(&ctx, model.meeting().unwrap(), &frames);
            assert_eq!(tiles.0.contains_key(&BO), shown);
            events.next().into_iter().for_each(|event| model.apply(event));
        }
    }

    #[test]
    fn only_a_picture_that_nothing_follows_is_taken_for_old() {
        let mut model = samples::meeting(ANA);
        for (reach, stale) in [
            (Reach { heard: false, hears: true }, true),
            (Reach { heard: false, hears: false }, true),
            (Reach { heard: true, hears: false }, false),
            (Reach { heard: true, hears: true }, false),
        ] {
            for (member, stale) in [(BO, stale), (ANA, false)] {
                model.apply(Event::ReachChanged { member, reach });
                let meeting = model.meeting().unwrap();
                assert_eq!(stands_still(meeting, &meeting.members[&member]), stale, "{member} {reach:?}");
            }
        }
    }

    #[test]
    fn a_picture_with_the_wrong_number_of_bytes_is_not_shown() {
        let (mut tiles, frames) = (Tiles::default(), FrameSlots::default());
        let model = samples::meeting(ANA);
        frames.put(BO, Picture { width: 17, ..picture() });
        tiles.update(&Context::default(), model.meeting().unwrap(), &frames);
        assert!(tiles.0.is_empty());
    }
}
