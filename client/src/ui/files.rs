//! Files: what is on offer, how far it is at whom, and offering one.

use std::collections::BTreeSet;
use std::path::PathBuf;

use common::ids::{MemberId, TransferId};
use common::limits::OFFERS_PER_MEMBER;
use common::reno::Phase;
use common::wire::message::{FileState, Recipients};
use eframe::egui::{Align, Color32, Label, Layout, ProgressBar, RichText, ScrollArea, Ui};

use super::browser::{self, Browser, Choice};
use super::chat::recipient_ui;
use super::icons::{self, Icon};
use super::model::Meeting;
use super::theme;
use super::transfers::{Receipt, Transfer, Withdrawn};
use crate::amount::{bytes, clock, percent};
use crate::engine::protocol::Command;
use crate::reasons::Ends;

/// What is about to be offered, and which offers were answered.
#[derive(Clone, Debug)]
pub struct FilesDraft {
    /// To whom.
    pub to: Recipients,
    /// The path, as typed or chosen.
    pub path: String,
    /// Dropped onto the window, to be offered after the one above.
    pub more: Vec<PathBuf>,
    /// Our files do not yield to the call.
    pub hurry: bool,
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
            hurry: false,
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
    yielding_ui(ui, meeting, draft, commands);
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

/// Says that a file of ours is slow on purpose, and offers not to be.
fn yielding_ui(ui: &mut Ui, meeting: &Meeting, draft: &mut FilesDraft, commands: &mut Vec<Command>) {
    let yields = meeting.history.latest.reno.phase == Phase::Yielding;
    let ours = meeting.transfers.iter().any(|transfer| transfer.from == meeting.you && transfer.active());
    if !ours || !(yields || draft.hurry) {
        return;
    }
    let (text, button) = if draft.hurry {
        ("Your file does not yield to the call.", "Protect the call")
    } else {
        ("Slowed to protect the call.", "Hurry")
    };
    ui.horizontal(|ui| {
        theme::weak(ui, text);
        if ui.small_button(button).clicked() {
            draft.hurry = !draft.hurry;
            commands.push(Command::HurryFiles(draft.hurry));
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
        } else if let Some(withdrawn) = transfer.withdrawn {
            theme::weak(ui, over(withdrawn, Some(&transfer.from_name)));
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
    progress_ui(ui, transfer, receipt, false);
    let (from, id, name) = (transfer.from, transfer.offer.transfer, &transfer.offer.name);
    let (pause, resume) = (Command::PauseFile { from, transfer: id }, Command::ResumeFile { from, transfer: id });
    let cancel = Command::CancelFile { from, transfer: id };
    match receipt.state {
        FileState::Receiving(_) if transfer.withdrawn != Some(Withdrawn::TakenBack) => {
            buttons_ui(ui, [(format!("Pause {name}"), pause), (format!("Stop receiving {name}"), cancel)], commands);
        }
        FileState::Interrupted(..) | FileState::Paused(_) if transfer.withdrawn.is_none() => {
            buttons_ui(ui, [(format!("Resume {name}"), resume), (format!("Discard {name}"), cancel)], commands);
        }
        FileState::Verified => {
            if let Some(path) = &transfer.path {
                let text = format!("Saved as {}", path.display());
                let color = theme::of(ui).weak;
                ui.add(Label::new(RichText::new(text).small().color(color)).wrap());
            }
        }
        FileState::Cancelled
        | FileState::Corrupt
        | FileState::Declined
        | FileState::Interrupted(..)
        | FileState::Paused(_)
        | FileState::Receiving(_) => {}
    }
}

fn sending_ui(ui: &mut Ui, transfer: &Transfer, commands: &mut Vec<Command>) {
    match transfer.withdrawn {
        // What is taken back stands beside each name.
        Some(Withdrawn::TakenBack) if !transfer.receipts.is_empty() => {}
        Some(withdrawn) => drop(theme::weak(ui, over(withdrawn, None))),
        None if transfer.receipts.is_empty() => drop(theme::weak(ui, "Waiting for somebody to accept")),
        None => {}
    }
    for (member, receipt) in &transfer.receipts {
        ui.push_id(member.0, |ui| {
            ui.label(RichText::new(&receipt.name).small());
            progress_ui(ui, transfer, receipt, true);
        });
    }
    let waiting = transfer.receipts.is_empty();
    let receiving = |receipt: &Receipt| matches!(receipt.state, FileState::Receiving(_) | FileState::Paused(_));
    if transfer.withdrawn.is_none() && (waiting || transfer.receipts.values().any(receiving)) {
        let (from, id, name) = (transfer.from, transfer.offer.transfer, &transfer.offer.name);
        let hold = match transfer.held {
            true => (format!("Go on with {name}"), Command::ResumeFile { from, transfer: id }),
            false => (format!("Pause {name}"), Command::PauseFile { from, transfer: id }),
        };
        let cancel = (format!("Take back {name}"), Command::CancelFile { from, transfer: id });
        buttons_ui(ui, [hold, cancel], commands);
    }
}

fn buttons_ui(ui: &mut Ui, buttons: [(String, Command); 2], commands: &mut Vec<Command>) {
    ui.horizontal_wrapped(|ui| {
        for (text, command) in buttons {
            let button = eframe::egui::Button::new(RichText::new(text).small()).truncate();
            if ui.add(button).clicked() {
                commands.push(command);
            }
        }
    });
}

fn progress_ui(ui: &mut Ui, transfer: &Transfer, receipt: &Receipt, ours: bool) {
    let palette = theme::of(ui);
    let size = transfer.offer.size;
    let received = receipt.received(size);
    let share = if size == 0 { 1.0 } else { received as f32 / size as f32 };
    let (color, text) = match receipt.state {
        FileState::Receiving(_) => receiving(ui, transfer, receipt),
        FileState::Cancelled => (palette.weak, "Stopped".into()),
        FileState::Corrupt => (palette.bad, damaged(transfer, ours)),
        FileState::Declined => (palette.weak, "Declined".into()),
        FileState::Interrupted(_, trouble) => {
            let (done, again) = match received {
                0 => ("Not begun".into(), ", can be tried again"),
                _ => (format!("Interrupted at {}", percent(received, size)), ", can be resumed"),
            };
            let resumes = if transfer.withdrawn.is_none() && !trouble.is_final() { again } else { "" };
            (palette.weak, format!("{done}{resumes}: {}", ends(transfer, receipt, ours).why(trouble)))
        }
        FileState::Paused(_) => (palette.weak, format!("Paused, resumes at {}", percent(received, size))),
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
        let palette = theme::of(ui);
        let color = if matches!(receipt.state, FileState::Interrupted(..)) { palette.warn } else { palette.weak };
        ui.add(Label::new(RichText::new(text).small().color(color)).wrap());
    });
}

/// What is told of a file that is on its way.
fn receiving(ui: &Ui, transfer: &Transfer, receipt: &Receipt) -> (Color32, String) {
    let palette = theme::of(ui);
    let size = transfer.offer.size;
    if transfer.withdrawn == Some(Withdrawn::TakenBack) {
        return (palette.weak, "Taken back by its sender".into());
    }
    if transfer.held {
        return (palette.weak, "Paused by its sender".into());
    }
    if transfer.waits {
        return (palette.weak, "Waiting for room on the server's disk".into());
    }
    (palette.accent, running(receipt, receipt.received(size), size))
}

fn damaged(transfer: &Transfer, ours: bool) -> String {
    let ends = Ends { sender: (!ours).then_some(&*transfer.from_name), receiver: None };
    match transfer.withdrawn {
        Some(Withdrawn::Lost(why)) => format!("Nothing was kept: {}", ends.why(why)),
        Some(Withdrawn::TakenBack) | None => "Damaged on the way, nothing was kept".into(),
    }
}

/// Why an offer of `sender`, or our own, stands no longer.
fn over(withdrawn: Withdrawn, sender: Option<&str>) -> String {
    match withdrawn {
        Withdrawn::Lost(why) => format!("Not on offer any more: {}", Ends { sender, receiver: None }.why(why)),
        Withdrawn::TakenBack if sender.is_none() => "You took it back".into(),
        Withdrawn::TakenBack => "Taken back by its sender".into(),
    }
}

fn ends<'a>(transfer: &'a Transfer, receipt: &'a Receipt, ours: bool) -> Ends<'a> {
    match ours {
        true => Ends { sender: None, receiver: Some(&receipt.name) },
        false => Ends { sender: Some(&transfer.from_name), receiver: None },
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::protocol::Event;
    use crate::ui::model::Model;
    use crate::ui::samples::{self, ANA, BO};
    use common::wire::message::FileTrouble;
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
    fn a_file_that_yields_to_the_call_says_so_and_can_be_hurried() {
        let mut model = offered(ANA);
        model.apply(changed(ANA, BO, FileState::Receiving(1_000)));
        let mut snapshot = samples::snapshot(1);
        snapshot.reno.phase = Phase::Yielding;
        model.apply(Event::Statistics(Box::new(snapshot)));
        let mut harness = harness(model);
        harness.get_by_label("Slowed to protect the call.");
        harness.get_by_label("Hurry").click();
        harness.run();
        harness.get_by_label("Protect the call").click();
        harness.run();
        assert_eq!(harness.state().2, [Command::HurryFiles(true), Command::HurryFiles(false)]);
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
    fn a_receiver_pauses_and_resumes_where_it_was() {
        let mut model = offered(BO);
        model.apply(changed(BO, ANA, FileState::Receiving(4_000_000)));
        let mut running = harness(model.clone());
        running.get_by_label("Pause slides.pdf").click();
        running.run();
        assert_eq!(running.state().2, [Command::PauseFile { from: BO, transfer: TransferId(1) }]);
        model.apply(changed(BO, ANA, FileState::Paused(6_100_000)));
        let mut paused = harness(model);
        paused.get_by_label("Paused, resumes at 61 %");
        paused.get_by_label("Resume slides.pdf").click();
        paused.run();
        assert_eq!(paused.state().2, [Command::ResumeFile { from: BO, transfer: TransferId(1) }]);
    }

    #[test]
    fn a_sender_holds_a_file_back_and_the_receiver_sees_it() {
        for (from, receiver) in [(ANA, BO), (BO, ANA)] {
            let mut model = offered(from);
            model.apply(changed(from, receiver, FileState::Receiving(1)));
            model.apply(Event::FileHeld { from, transfer: TransferId(1), held: true });
            let mut harness = harness(model);
            harness.get_by_label("Paused by its sender");
            if from == ANA {
                harness.get_by_label("Go on with slides.pdf").click();
                harness.run();
                assert_eq!(harness.state().2, [Command::ResumeFile { from, transfer: TransferId(1) }]);
            }
        }
    }

    #[test]
    fn an_interrupted_file_of_one_who_left_cannot_be_resumed() {
        let mut model = offered(BO);
        model.apply(changed(BO, ANA, FileState::Interrupted(5_000_000, FileTrouble::SenderLeft)));
        model.apply(Event::FileWithdrawn { from: BO, transfer: TransferId(1), why: Some(FileTrouble::SenderLeft) });
        let harness = harness(model);
        harness.get_by_label("Interrupted at 50 %: Bo left");
        assert!(harness.query_by_label("Resume slides.pdf").is_none());
    }

    #[test]
    fn both_ends_see_why_a_file_stopped_and_that_it_can_go_on() {
        let full = FileState::Interrupted(5_000_000, FileTrouble::ReceiverFull { missing: 5_000_000 });
        let mut model = offered(BO);
        model.apply(changed(BO, ANA, full));
        let mut receiver = harness(model);
        receiver.get_by_label("Interrupted at 50 %, can be resumed: the disk here lacks 5.0 MB for it");
        receiver.get_by_label("Resume slides.pdf").click();
        receiver.run();
        assert_eq!(receiver.state().2, [Command::ResumeFile { from: BO, transfer: TransferId(1) }]);
        let mut model = offered(ANA);
        model.apply(changed(ANA, BO, full));
        harness(model).get_by_label("Interrupted at 50 %, can be resumed: Bo's disk lacks 5.0 MB for it");
    }

    #[test]
    fn a_file_of_which_nothing_came_can_be_tried_again() {
        let mut model = offered(ANA);
        model.apply(changed(ANA, BO, FileState::Interrupted(0, FileTrouble::ReceiverReadOnly)));
        harness(model).get_by_label("Not begun, can be tried again: Bo's folder for files cannot be written");
    }

    #[test]
    fn a_file_that_is_gone_is_not_on_offer_any_more_and_says_why() {
        for (from, sentence) in [
            (BO, "Not on offer any more: it is not on Bo's disk any more"),
            (ANA, "Not on offer any more: it is not on the disk here any more"),
        ] {
            let mut model = offered(from);
            let why = Some(FileTrouble::SourceGone);
            model.apply(Event::FileWithdrawn { from, transfer: TransferId(1), why });
            let harness = harness(model);
            harness.get_by_label(sentence);
            assert!(harness.query_by_label("Accept slides.pdf").is_none());
            assert!(harness.query_by_label("Take back slides.pdf").is_none());
        }
    }

    #[test]
    fn a_file_that_came_damaged_says_that_it_was_changed_at_its_sender() {
        let mut model = offered(BO);
        model.apply(changed(BO, ANA, FileState::Corrupt));
        let why = Some(FileTrouble::SourceChanged);
        model.apply(Event::FileWithdrawn { from: BO, transfer: TransferId(1), why });
        harness(model).get_by_label("Nothing was kept: it was changed on Bo's disk after it was offered");
    }

    #[test]
    fn a_file_that_waits_for_the_server_says_so() {
        for (from, receiver) in [(BO, ANA), (ANA, BO)] {
            let mut model = offered(from);
            model.apply(changed(from, receiver, FileState::Receiving(1_000)));
            model.apply(Event::FileWaits { from, transfer: TransferId(1), waits: true });
            harness(model).get_by_label("Waiting for room on the server's disk");
        }
    }
}
