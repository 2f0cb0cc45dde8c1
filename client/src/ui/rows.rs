//! A long list of which only what is seen is laid out: an egui `Galley` costs some 185 bytes a letter in every frame.
//!
//! Rows have whatever height they have. One that was never seen has a guessed one; when it comes into view it is
//! measured, and what is on the screen stays where it is. Someone who reads the end keeps reading the end.

use std::collections::VecDeque;

use eframe::egui::{Rect, ScrollArea, Ui, UiBuilder};

/// Where a list is scrolled to, and how high its rows are.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Number of the first row, counted from the beginning of the list.
    first: u64,
    heights: VecDeque<Height>,
    width: f32,
    /// Of the part that is seen, as of the last frame.
    seen_height: f32,
    offset: f32,
    /// By how much the list moved under who reads it since the last frame.
    moved: f32,
    at_end: bool,
    /// The person made a row grow in the last frame; it is higher from this one on.
    grew: bool,
}

/// Of a row, in points.
#[derive(Clone, Copy, Debug)]
struct Height {
    points: f32,
    measured: bool,
}

impl Default for Rows {
    fn default() -> Self {
        let heights = VecDeque::new();
        Self { first: 0, heights, width: 0.0, seen_height: 0.0, offset: 0.0, moved: 0.0, at_end: true, grew: false }
    }
}

/// Heights that differ by less are the same, points.
const SAME: f32 = 0.5;

impl Rows {
    /// Draws the rows of `range` that are in view. `guess` is asked once for each row's height, in points; `row_ui`
    /// draws a row and answers whether the person has just made it grow.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        range: std::ops::Range<u64>,
        guess: impl Fn(u64) -> f32,
        mut row_ui: impl FnMut(&mut Ui, u64) -> bool,
    ) {
        self.follow(range, guess);
        self.reflow(ui.available_width());
        // An end that moves, because something was written, is nothing to spring back from.
        ui.spacing_mut().scroll.kinetic.rubber_band = false;
        let mut area = ScrollArea::vertical().id_salt("rows").auto_shrink(false);
        if self.at_end {
            area = area.vertical_scroll_offset((self.total() - self.seen_height).max(0.0));
        } else if self.moved != 0.0 {
            area = area.vertical_scroll_offset((self.offset + self.moved).max(0.0));
        }
        self.moved = 0.0;
        let before = self.total();
        let shown = area.show_viewport(ui, |ui, view| self.view_ui(ui, view, &mut row_ui));
        let seen_height = shown.inner_rect.height();
        let first_look = self.seen_height != seen_height;
        self.seen_height = seen_height;
        self.offset = shown.state.unclamped_offset().y;
        let Drawn { changed, grown, moved, unsettled: _ } = shown.inner;
        // What a person opens is not left behind for its end.
        let grew = std::mem::replace(&mut self.grew, grown);
        self.at_end = !grown && !grew && (first_look && self.at_end || self.offset >= before - seen_height - 1.0);
        self.moved = moved;
        if changed || first_look {
            ui.ctx().request_discard("rows were measured");
            ui.ctx().request_repaint();
        }
    }

    /// Forgets rows that are gone, and takes in new ones.
    fn follow(&mut self, range: std::ops::Range<u64>, guess: impl Fn(u64) -> f32) {
        if self.heights.is_empty() {
            self.first = range.start;
        }
        while self.first < range.start {
            let Some(gone) = self.heights.pop_front() else { break };
            self.first += 1;
            self.moved -= gone.points;
        }
        self.first = range.start;
        let known = self.first + self.heights.len() as u64;
        self.heights.extend((known..range.end).map(|row| Height { points: guess(row), measured: false }));
    }

    /// In another width every row has another height, at first guessed to be the old one.
    fn reflow(&mut self, width: f32) {
        if self.width != width {
            self.width = width;
            self.heights.iter_mut().for_each(|height| height.measured = false);
        }
    }

    fn total(&self) -> f32 {
        self.heights.iter().map(|height| height.points).sum()
    }

    fn view_ui(&mut self, ui: &mut Ui, view: Rect, row_ui: &mut impl FnMut(&mut Ui, u64) -> bool) -> Drawn {
        ui.set_height(self.total());
        let place = ui.max_rect();
        let mut drawn = Drawn::default();
        let mut top = 0.0;
        for (row, height) in (self.first..).zip(&mut self.heights) {
            let bottom = top + height.points;
            if bottom < view.top() || top > view.bottom() {
                top = bottom;
                continue;
            }
            let rect = Rect::from_x_y_ranges(place.x_range(), place.top() + top..=place.top() + bottom);
            let scope = UiBuilder::new().id_salt(row).max_rect(rect);
            let scope = ui.scope_builder(scope, |ui| row_ui(ui, row));
            drawn.note(height, scope.response.rect.height(), scope.inner, top < view.top());
            top += height.points;
        }
        drawn
    }
}

/// What drawing told of the rows.
#[derive(Debug, Default)]
struct Drawn {
    /// Heights are not what they were taken for.
    changed: bool,
    /// The person made a row grow.
    grown: bool,
    /// By how much what is seen moved down in the list.
    moved: f32,
    /// The same of rows behind which none was seen before.
    unsettled: f32,
}

impl Drawn {
    fn note(&mut self, height: &mut Height, points: f32, grown: bool, begins_above: bool) {
        let change = points - height.points;
        self.grown |= grown;
        if height.measured {
            // What came into view above a row that was seen already.
            self.moved += std::mem::take(&mut self.unsettled);
        }
        if change.abs() > SAME {
            self.changed = true;
            // What a person opens is read from where it is; everything else leaves what is below it where it is.
            if !height.measured && !begins_above {
                self.unsettled += change;
            } else if begins_above && !(height.measured && change > 0.0) {
                self.moved += change;
            }
            height.points = points;
        }
        height.measured = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eframe::egui::{Event, Modifiers, MouseWheelSource, MouseWheelUnit, Sense, TouchPhase, vec2};
    use egui_kittest::Harness;

    /// A list whose rows are higher than they are taken for, and which of them were drawn in the last frame, where.
    struct List {
        rows: Rows,
        range: std::ops::Range<u64>,
        drawn: Vec<(u64, f32)>,
    }

    fn height(row: u64) -> f32 {
        20.0 + (row % 7) as f32 * 11.0
    }

    fn harness(rows: u64) -> Harness<'static, List> {
        let show = |ui: &mut Ui, list: &mut List| {
            list.drawn.clear();
            let List { rows, range, drawn } = list;
            rows.show(
                ui,
                range.clone(),
                |_| 30.0,
                |ui, row| {
                    drawn.push((row, ui.max_rect().top()));
                    ui.allocate_exact_size(vec2(50.0, height(row)), Sense::hover());
                    false
                },
            );
        };
        let list = List { rows: Rows::default(), range: 0..rows, drawn: Vec::new() };
        Harness::builder().with_size([200.0, 400.0]).build_ui_state(show, list)
    }

    fn scroll(harness: &mut Harness<'_, List>, points: f32) {
        harness.hover_at([100.0, 200.0].into());
        let (unit, phase, source) = (MouseWheelUnit::Point, TouchPhase::Move, MouseWheelSource::Unknown);
        let (delta, modifiers) = (vec2(0.0, points), Modifiers::NONE);
        harness.event(Event::MouseWheel { unit, delta, phase, modifiers, source });
        // A turn of the wheel is smoothed over several frames.
        harness.run_steps(20);
    }

    fn newest(harness: &Harness<'_, List>) -> u64 {
        harness.state().drawn.last().unwrap().0
    }

    #[test]
    fn only_what_is_seen_is_drawn_and_the_end_is_where_it_begins() {
        let mut harness = harness(10_000);
        harness.run();
        assert_eq!(newest(&harness), 9_999);
        assert!(harness.state().drawn.len() < 20, "{:?}", harness.state().drawn);
    }

    #[test]
    fn who_reads_the_end_follows_what_comes_and_who_reads_above_does_not() {
        let mut harness = harness(500);
        harness.run();
        harness.state_mut().range.end = 520;
        harness.run();
        assert_eq!(newest(&harness), 519);
        scroll(&mut harness, 900.0);
        let seen = harness.state().drawn.clone();
        assert!(seen.last().unwrap().0 < 515, "{seen:?}");
        harness.state_mut().range.end = 600;
        harness.run();
        assert_eq!(harness.state().drawn, seen);
        scroll(&mut harness, -90_000.0);
        assert_eq!(newest(&harness), 599);
    }

    #[test]
    fn what_is_read_stays_in_its_place_while_the_oldest_rows_go() {
        let mut harness = harness(300);
        harness.run();
        scroll(&mut harness, 4_000.0);
        let seen = harness.state().drawn.clone();
        let inner = seen[3];
        harness.state_mut().range = 100..320;
        harness.run();
        let place = harness.state().drawn.iter().find(|(row, _)| *row == inner.0).map(|(_, top)| *top);
        assert!(place.is_some_and(|top| (top - inner.1).abs() < 2.0), "{inner:?} {:?}", harness.state().drawn);
    }

    #[test]
    fn rows_that_were_guessed_wrong_do_not_push_what_is_read() {
        let mut harness = harness(300);
        harness.run();
        for _ in 0..20 {
            let before = harness.state().drawn.clone();
            scroll(&mut harness, 100.0);
            let after = harness.state().drawn.clone();
            let (row, top) = before[1];
            let moved = after.iter().find(|(other, _)| *other == row).map(|(_, now)| now - top);
            assert!(moved.is_some_and(|moved| (moved - 100.0).abs() < 2.0), "{moved:?} {before:?} {after:?}");
        }
    }
}
