//! Files: what is on offer, how far it is at whom, and offering one.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use common::ids::{MemberId, TransferId};
use common::limits::OFFERS_PER_MEMBER;
use common::wire::message::{FileState, Recipients};
use eframe::egui::{Align, Label, Layout, ProgressBar, RichText, ScrollArea, Ui};

use super::browser::{self, Browser, Choice};
use super::chat::recipient_ui;
use super::icons::{self, Icon};
use super::model::Meeting;
use super::theme;
use super::transfers::{Receipt, Transfer};
use crate::engine::protocol::Command;

/// What is about to be offered, and which offers were answered.
#[derive(Clone, Debug)]
pub struct FilesDraft {
    /// To whom.
    pub to: Recipients,
    /// The path, as typed or chosen.
    pub path: String,
    /// Dropped onto the window, to be offered after the one above.
    pub more: Vec<PathBuf>,
    browser: Option<Browser>,
    answered: BTreeSet<(MemberId, TransferId)>,
    seen: u64,
}

impl Default for FilesDraft {
    fn default() -> Self {
        Self {
            to: Recipients::Everyone,
            path: String::new(),
            more: Vec::new(),
            browser: None,
            answered: BTreeSet::new(),
            seen: 0,
        }
    }
}

impl FilesDraft {
    /// Offers of others that came while the files were not on the screen.
    pub fn unseen(&self, meeting: &Meeting) -> u64 {
        meeting.offers_received.saturating_sub(self.seen)
    }

    /// Takes files that were dropped onto the window: they wait for a click, nothing is sent by a slip of the hand.
    pub fn dropped(&mut self, paths: impl Iterator<Item = PathBuf>) {
        for path in paths.take(OFFERS_PER_MEMBER) {
            if self.path.trim().is_empty() {
                self.path = path.display().to_string();
            } else if self.more.len() < OFFERS_PER_MEMBER - 1 {
                self.more.push(path);
            }
        }
    }

    /// A file is being looked for.
    pub fn browsing(&self) -> bool {
        self.browser.is_some()
    }

    fn offer(&mut self) -> Vec<Command> {
        let first = PathBuf::from(self.path.trim());
        self.path.clear();
        let paths = std::iter::once(first).chain(self.more.drain(..));
        let to = self.to;
        paths.map(|path| Command::OfferFile { to, path }).collect()
    }
}

/// Draws the files.
pub fn files_ui(ui: &mut Ui, meeting: &Meeting, draft: &mut FilesDraft, commands: &mut Vec<Command>) {
    draft.seen = meeting.offers_received;
    offer_ui(ui, meeting, draft, commands);
    ui.add_space(4.0);
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        if meeting.transfers.iter().next().is_none() {
            ui.add_space(20.0);
            ui.vertical_centered(|ui| {
                icons::mark(ui, Icon::File, 32.0, theme::of(ui).weak);
                theme::weak(ui, "No files yet. Drop one onto the window to offer it.");
            });
        }
        for transfer in meeting.transfers.iter().rev() {
            ui.push_id((transfer.from.0, transfer.offer.transfer.0), |ui| {
                transfer_ui(ui, meeting, transfer, &mut draft.answered, commands);
            });
        }
    });
}

fn offer_ui(ui: &mut Ui, meeting: &Meeting, draft: &mut FilesDraft, commands: &mut Vec<Command>) {
    theme::card(ui).show(ui, |ui| {
        ui.set_width(ui.available_width());
        recipient_ui(ui, meeting, &mut draft.to);
        theme::field(ui, "File", "Type a path, choose, or drop it here", &mut draft.path, PATH_MAX_CHARS);
        if !draft.more.is_empty() {
            theme::weak(ui, format!("and {} more", draft.more.len()));
        }
        ui.horizontal(|ui| {
            if ui.button("Choose file...").clicked() {
                draft.browser = Some(Browser::open_home());
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let ready = !draft.path.trim().is_empty();
                let button = theme::primary(ui, offer_text(meeting, draft.to));
                if ui.add_enabled(ready, button).clicked() {
                    commands.extend(draft.offer());
                }
            });
        });
    });
    let browser = draft.browser.as_mut();
    match browser.and_then(|browser| browser::browser_ui(ui.ctx(), browser)) {
        Some(Choice::File(path)) => {
            draft.path = path.display().to_string();
            draft.browser = None;
        }
        Some(Choice::Cancelled) => draft.browser = None,
        None => {}
    }
}

/// Characters of a path; PATH_MAX of Linux.
const PATH_MAX_CHARS: usize = 4_096;

fn offer_text(meeting: &Meeting, to: Recipients) -> String {
    match to {
        Recipients::Everyone => "Send to everyone".into(),
        Recipients::Member(member) => format!("Send to {} only", meeting.name(member)),
    }
}

fn transfer_ui(
    ui: &mut Ui,
    meeting: &Meeting,
    transfer: &Transfer,
    answered: &mut BTreeSet<(MemberId, TransferId)>,
    commands: &mut Vec<Command>,
) {
    theme::card(ui).show(ui, |ui| {
        ui.set_width(ui.available_width());
        ui.spacing_mut().item_spacing.y = 4.0;
        header_ui(ui, meeting, transfer);
        if transfer.from == meeting.you {
            sending_ui(ui, transfer, commands);
        } else if let Some(receipt) = transfer.receipts.get(&meeting.you) {
            receiving_ui(ui, transfer, receipt, commands);
        } else if transfer.withdrawn {
            theme::weak(ui, "Taken back by its sender");
        } else {
            offered_ui(ui, transfer, answered, commands);
        }
    });
}

fn header_ui(ui: &mut Ui, meeting: &Meeting, transfer: &Transfer) {
    let palette = theme::of(ui);
    ui.horizontal(|ui| {
        icons::mark(ui, Icon::File, 26.0, palette.series[0]);
        ui.vertical(|ui| {
            ui.spacing_mut().item_spacing.y = 1.0;
            let name = RichText::new(&transfer.offer.name).strong();
            ui.add(Label::new(name).truncate());
            let (private, who) = directions(meeting, transfer);
            let size = bytes(transfer.offer.size as f64);
            let color = if private { palette.private } else { palette.weak };
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = 4.0;
                ui.spacing_mut().interact_size.y = 16.0;
                ui.label(RichText::new(format!("{size}, {who}")).small().color(color));
                if private {
                    icons::mark(ui, Icon::Lock, 13.0, color);
                }
            });
        });
    });
}

/// Whether only one person gets it, and from whom to whom it goes.
fn directions(meeting: &Meeting, transfer: &Transfer) -> (bool, String) {
    let ours = transfer.from == meeting.you;
    match transfer.offer.to {
        Recipients::Everyone if ours => (false, "from you to everyone".into()),
        Recipients::Everyone => (false, format!("from {} to everyone", transfer.from_name)),
        Recipients::Member(member) if ours => (true, format!("from you to {} only", meeting.name(member))),
        Recipients::Member(_) => (true, format!("from {} to you only", transfer.from_name)),
    }
}

fn offered_ui(
    ui: &mut Ui,
    transfer: &Transfer,
    answered: &mut BTreeSet<(MemberId, TransferId)>,
    commands: &mut Vec<Command>,
) {
    let file = (transfer.from, transfer.offer.transfer);
    if answered.contains(&file) {
        theme::weak(ui, "Answered, waiting for the first bytes");
        return;
    }
    ui.horizontal(|ui| {
        let (from, transfer_id) = file;
        let name = &transfer.offer.name;
        let accept = theme::primary(ui, format!("Accept {name}")).truncate();
        if ui.button("Decline").on_hover_text(name).clicked() {
            commands.push(Command::DeclineFile { from, transfer: transfer_id });
            answered.insert(file);
        }
        if ui.add(accept).clicked() {
            commands.push(Command::AcceptFile { from, transfer: transfer_id });
            answered.insert(file);
        }
    });
}

fn receiving_ui(ui: &mut Ui, transfer: &Transfer, receipt: &Receipt, commands: &mut Vec<Command>) {
    progress_ui(ui, transfer, receipt);
    match receipt.state {
        FileState::Receiving(_) if !transfer.withdrawn => {
            let text = format!("Stop receiving {}", transfer.offer.name);
            cancel_ui(ui, &text, transfer, commands);
        }
        FileState::Verified => {
            if let Some(path) = &transfer.path {
                let text = format!("Saved as {}", path.display());
                let color = theme::of(ui).weak;
                ui.add(Label::new(RichText::new(text).small().color(color)).wrap());
            }
        }
        FileState::Cancelled | FileState::Corrupt | FileState::Declined | FileState::Receiving(_) => {}
    }
}

fn sending_ui(ui: &mut Ui, transfer: &Transfer, commands: &mut Vec<Command>) {
    if transfer.receipts.is_empty() {
        let text = if transfer.withdrawn { "You took it back" } else { "Waiting for somebody to accept" };
        theme::weak(ui, text);
    }
    for (member, receipt) in &transfer.receipts {
        ui.push_id(member.0, |ui| {
            ui.label(RichText::new(&receipt.name).small());
            progress_ui(ui, transfer, receipt);
        });
    }
    let waiting = transfer.receipts.is_empty();
    let receiving = |receipt: &Receipt| matches!(receipt.state, FileState::Receiving(_));
    if !transfer.withdrawn && (waiting || transfer.receipts.values().any(receiving)) {
        let text = format!("Take back {}", transfer.offer.name);
        cancel_ui(ui, &text, transfer, commands);
    }
}

fn cancel_ui(ui: &mut Ui, text: &str, transfer: &Transfer, commands: &mut Vec<Command>) {
    let small = eframe::egui::Button::new(RichText::new(text).small()).truncate();
    if ui.add(small).clicked() {
        commands.push(Command::CancelFile { from: transfer.from, transfer: transfer.offer.transfer });
    }
}

fn progress_ui(ui: &mut Ui, transfer: &Transfer, receipt: &Receipt) {
    let palette = theme::of(ui);
    let size = transfer.offer.size;
    let received = receipt.received(size);
    let share = if size == 0 { 1.0 } else { received as f32 / size as f32 };
    let (color, text) = match receipt.state {
        FileState::Receiving(_) if transfer.withdrawn => (palette.weak, "Taken back by its sender".into()),
        FileState::Receiving(_) => (palette.accent, running(receipt, received, size)),
        FileState::Cancelled => (palette.weak, "Stopped".into()),
        FileState::Corrupt => (palette.bad, "Damaged on the way, nothing was kept".into()),
        FileState::Declined => (palette.weak, "Declined".into()),
        FileState::Verified => (palette.good, "Complete, and verified".into()),
    };
    if receipt.state != FileState::Declined {
        let bar = ProgressBar::new(share).fill(color).desired_height(8.0);
        ui.add(bar.corner_radius(4));
    }
    ui.spacing_mut().interact_size.y = 18.0;
    ui.horizontal(|ui| {
        if receipt.state == FileState::Verified {
            icons::mark(ui, Icon::Check, 14.0, palette.good);
        }
        theme::weak(ui, text);
    });
}

/// How much, how fast, how long yet.
fn running(receipt: &Receipt, received: u64, size: u64) -> String {
    let amount = format!("{} of {}", bytes(received as f64), bytes(size as f64));
    match (receipt.rate(), receipt.time_left(size)) {
        (Some(rate), Some(left)) => format!("{amount}, {}/s, {} left", bytes(rate), clock(left)),
        (Some(_), None) => format!("{amount}, waiting"),
        (None, _) => amount,
    }
}

/// An amount of bytes in the largest decimal unit that keeps it at one or above.
pub fn bytes(amount: f64) -> String {
    let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match units.into_iter().find(|(unit, _)| amount >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", amount / unit),
        None => format!("{amount:.0} bytes"),
    }
}

/// A time as a person says it.
fn clock(left: Duration) -> String {
    match left.as_secs() {
        secs @ 0..60 => format!("{} s", secs + 1),
        secs @ 60..3_600 => format!("{} min {:02} s", secs / 60, secs % 60),
        secs => format!("{} h {:02} min", secs / 3_600, secs % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::protocol::Event;
    use crate::ui::model::Model;
    use crate::ui::samples::{self, ANA, BO};
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    type State = (Model, FilesDraft, Vec<Command>);

    fn harness(model: Model) -> Harness<'static, State> {
        let show = |ui: &mut Ui, (model, draft, commands): &mut State| {
            let meeting = model.meeting().expect("a meeting was applied");
            files_ui(ui, meeting, draft, commands);
        };
        let builder = Harness::builder().with_size([400.0, 700.0]);
        builder.build_ui_state(show, (model, FilesDraft::default(), Vec::new()))
    }

    fn offered(from: MemberId) -> Model {
        let mut model = samples::meeting(ANA);
        model.apply(Event::FileOffered { from, offer: samples::offer(1, 10_000_000) });
        model
    }

    fn changed(from: MemberId, receiver: MemberId, state: FileState) -> Event {
        Event::FileChanged {
            from,
            transfer: TransferId(1),
            receiver,
            state,
            path: (state == FileState::Verified).then(|| "Downloads/slides.pdf".into()),
        }
    }

    #[test]
    fn an_offer_is_accepted_once() {
        let mut harness = harness(offered(BO));
        harness.get_by_label("Accept slides.pdf").click();
        harness.run();
        let accept = Command::AcceptFile { from: BO, transfer: TransferId(1) };
        assert_eq!(harness.state().2, [accept]);
        assert!(harness.query_by_label("Accept slides.pdf").is_none());
    }

    #[test]
    fn an_offer_is_declined() {
        let mut harness = harness(offered(BO));
        harness.get_by_label("Decline").click();
        harness.run();
        assert!(matches!(harness.state().2[..], [Command::DeclineFile { .. }]));
    }

    #[test]
    fn a_typed_path_is_offered_to_everybody() {
        let mut harness = harness(samples::meeting(ANA));
        harness.state_mut().1.path = "/home/ana/slides.pdf".into();
        harness.run();
        harness.get_by_label("Send to everyone").click();
        harness.run();
        let offer = Command::OfferFile { to: Recipients::Everyone, path: "/home/ana/slides.pdf".into() };
        assert_eq!(harness.state().2, [offer]);
        assert_eq!(harness.state().1.path, "");
    }

    #[test]
    fn dropped_files_wait_for_a_click() {
        let mut draft = FilesDraft::default();
        draft.dropped(["a", "b"].into_iter().map(PathBuf::from));
        assert_eq!((draft.path.as_str(), draft.more.len()), ("a", 1));
        assert_eq!(draft.offer().len(), 2);
    }

    #[test]
    fn both_ends_see_amount_rate_and_time_left() {
        for (from, receiver) in [(BO, ANA), (ANA, BO)] {
            let mut model = offered(from);
            for quarter in 0..8 {
                let state = FileState::Receiving(quarter * 250_000);
                model.apply(changed(from, receiver, state));
                model.apply(Event::Statistics(Box::new(samples::snapshot(quarter))));
            }
            harness(model).get_by_label("1.8 MB of 10.0 MB, 1.0 MB/s, 9 s left");
        }
    }

    #[test]
    fn a_verified_file_says_where_it_lies() {
        let mut model = offered(BO);
        model.apply(changed(BO, ANA, FileState::Verified));
        let harness = harness(model);
        harness.get_by_label("Complete, and verified");
        harness.get_by_label("Saved as Downloads/slides.pdf");
    }

    #[test]
    fn our_own_offer_can_be_taken_back() {
        let mut harness = harness(offered(ANA));
        harness.get_by_label("Take back slides.pdf").click();
        harness.run();
        let cancel = Command::CancelFile { from: ANA, transfer: TransferId(1) };
        assert_eq!(harness.state().2, [cancel]);
    }

    #[test]
    fn amounts_and_times_read_as_people_say_them() {
        assert_eq!(bytes(999.0), "999 bytes");
        assert_eq!(bytes(1_250_000.0), "1.2 MB");
        assert_eq!(clock(Duration::from_secs(75)), "1 min 15 s");
        assert_eq!(clock(Duration::from_secs(7_260)), "2 h 01 min");
    }
}
