//! Finds a file on this computer: folders to walk through, files to choose.

use std::path::{Path, PathBuf};

use eframe::egui::{Button, Context, Id, Modal, RichText, ScrollArea, Ui, vec2};

use super::icons::{self, Icon};
use super::theme;

/// Entries of one folder that are listed; a larger folder is better served by the path field.
const ENTRIES_MAX: usize = 2_000;

/// An open folder. It is read when it is entered, never while drawing.
#[derive(Clone, Debug)]
pub struct Browser {
    folder: PathBuf,
    entries: Vec<Entry>,
    problem: Option<String>,
    hidden: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    // Folders sort before files, both by their names without regard to case.
    is_file: bool,
    sort_key: String,
    name: String,
}

/// What was done with the browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It was closed without a file.
    Cancelled,
    /// This file was chosen.
    File(PathBuf),
}

impl Browser {
    /// Opens a folder, or the one above a file.
    pub fn open(at: &Path) -> Self {
        let folder = if at.is_dir() { Some(at) } else { at.parent().filter(|parent| parent.is_dir()) };
        let mut browser =
            Self { folder: folder.unwrap_or(Path::new("/")).into(), entries: Vec::new(), problem: None, hidden: false };
        browser.read();
        browser
    }

    /// Opens the folder of the person who runs this program.
    pub fn open_home() -> Self {
        let home = directories::UserDirs::new();
        Self::open(home.as_ref().map_or(Path::new("/"), |dirs| dirs.home_dir()))
    }

    fn enter(&mut self, folder: PathBuf) {
        self.folder = folder;
        self.read();
    }

    fn read(&mut self) {
        self.entries.clear();
        self.problem = None;
        match std::fs::read_dir(&self.folder) {
            Ok(entries) => self.list(entries),
            Err(error) => self.problem = Some(format!("This folder cannot be read: {error}.")),
        }
    }

    fn list(&mut self, entries: std::fs::ReadDir) {
        let entry = |entry: std::fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            let shown = self.hidden || !name.starts_with('.');
            shown.then(|| Entry { is_file: !entry.path().is_dir(), sort_key: name.to_lowercase(), name })
        };
        let listed = entries.flatten().filter_map(entry);
        self.entries = listed.take(ENTRIES_MAX).collect();
        self.entries.sort();
    }
}

/// Draws the browser over everything else.
pub fn browser_ui(ctx: &Context, browser: &mut Browser) -> Option<Choice> {
    let modal = Modal::new(Id::unique("browser")).frame(theme::dialog(ctx)).show(ctx, |ui| {
        ui.set_width(520.0);
        ui.heading("Choose a file to send");
        path_ui(ui, browser);
        let choice = entries_ui(ui, browser);
        ui.add_space(6.0);
        let cancelled = ui.button("Cancel choosing").clicked();
        choice.or(cancelled.then_some(Choice::Cancelled))
    });
    let closed = modal.should_close().then_some(Choice::Cancelled);
    modal.inner.or(closed)
}

fn path_ui(ui: &mut Ui, browser: &mut Browser) {
    let mut up = false;
    ui.horizontal(|ui| {
        let parent = browser.folder.parent().is_some();
        up = ui.add_enabled(parent, Button::new("Folder above")).clicked();
        let path = browser.folder.display().to_string();
        let text = RichText::new(path).monospace();
        ui.add(eframe::egui::Label::new(text).truncate());
    });
    let mut hidden = browser.hidden;
    ui.checkbox(&mut hidden, "Hidden files too");
    let above = browser.folder.parent().filter(|_| up).map(Path::to_owned);
    if let Some(above) = above {
        browser.enter(above);
    }
    if hidden != browser.hidden {
        browser.hidden = hidden;
        browser.read();
    }
}

fn entries_ui(ui: &mut Ui, browser: &mut Browser) -> Option<Choice> {
    if let Some(problem) = &browser.problem {
        theme::complaint(ui, problem);
    }
    let mut clicked = None;
    let row = 30.0;
    let scroll = ScrollArea::vertical().auto_shrink(false).min_scrolled_height(300.0).max_height(300.0);
    scroll.show_rows(ui, row, browser.entries.len(), |ui, rows| {
        for entry in &browser.entries[rows] {
            ui.push_id(&entry.name, |ui| {
                if entry_ui(ui, entry, row) {
                    clicked = Some(entry.clone());
                }
            });
        }
    });
    let entry = clicked?;
    let path = browser.folder.join(&entry.name);
    if entry.is_file {
        return Some(Choice::File(path));
    }
    browser.enter(path);
    None
}

fn entry_ui(ui: &mut Ui, entry: &Entry, height: f32) -> bool {
    ui.horizontal(|ui| {
        let palette = theme::of(ui);
        let (icon, color) = if entry.is_file { (Icon::File, palette.weak) } else { (Icon::Folder, palette.series[0]) };
        icons::mark(ui, icon, 18.0, color);
        let button =
            Button::selectable(false, entry.name.as_str()).truncate().min_size(vec2(ui.available_width(), height));
        ui.add(button).clicked()
    })
    .inner
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    #[test]
    fn a_file_is_chosen_by_walking_to_it() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut harness = Harness::builder().with_size([800.0, 700.0]).build_ui_state(
            |ui, (browser, choice): &mut (Browser, Option<Choice>)| {
                *choice = choice.take().or(browser_ui(ui.ctx(), browser));
            },
            (Browser::open(here), None),
        );
        harness.run();
        harness.get_by_label("src").click();
        harness.run();
        harness.get_by_label("lib.rs").click();
        harness.run();
        let chosen = Choice::File(here.join("src/lib.rs"));
        assert_eq!(harness.state().1, Some(chosen));
    }

    #[test]
    fn a_folder_that_is_not_there_opens_the_one_above() {
        let gone = Path::new(env!("CARGO_MANIFEST_DIR")).join("no such file");
        assert_eq!(Browser::open(&gone).folder, Path::new(env!("CARGO_MANIFEST_DIR")));
    }
}
