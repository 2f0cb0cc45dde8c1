//! Written words, to everybody or to one person.

use std::borrow::Cow;
use std::collections::BTreeSet;

use common::ids::MemberId;
use common::limits::CHAT_MAX_BYTES;
use common::wire::message::Recipients;
use eframe::egui::{
    Align, ComboBox, Frame, Key, KeyboardShortcut, Label, Layout, Margin, Modifiers, Panel as EdgePanel, RichText,
    Stroke, TextEdit, Ui,
};

use super::fold::folded;
use super::icons::{self, Icon};
use super::model::{Meeting, Said};
use super::rows::Rows;
use super::theme;
use crate::engine::protocol::{ChatFailure, Command};

/// What is being written, and how far was read.
#[derive(Clone, Debug)]
pub struct ChatDraft {
    /// To whom.
    pub to: Recipients,
    /// What.
    pub text: String,
    /// The text field gets the focus when it is drawn next.
    pub focus: bool,
    read: u64,
    rows: Rows,
    /// Long lines that are shown as a whole, by their number.
    open: BTreeSet<u64>,
}

impl Default for ChatDraft {
    fn default() -> Self {
        let (rows, open) = (Rows::default(), BTreeSet::new());
        Self { to: Recipients::Everyone, text: String::new(), focus: false, read: 0, rows, open }
    }
}

impl ChatDraft {
    /// Lines of others that came while the chat was not on the screen.
    pub fn unread(&self, meeting: &Meeting) -> u64 {
        meeting.chat_received.saturating_sub(self.read)
    }

    /// Writes to one person from here on.
    pub fn write_to(&mut self, member: MemberId) {
        self.to = Recipients::Member(member);
        self.focus = true;
    }

    fn send(&mut self) -> Option<Command> {
        let text = self.text.trim();
        if text.is_empty() || text.len() > CHAT_MAX_BYTES {
            return None;
        }
        let text = text.to_owned();
        self.text.clear();
        self.focus = true;
        Some(Command::SendChat { to: self.to, text })
    }
}

/// Draws the chat. Nobody writes in private by accident, or in public: who reads it stands in the draft, and a
/// draft to somebody who left stays with that person instead of going to everybody.
pub fn chat_ui(ui: &mut Ui, meeting: &Meeting, draft: &mut ChatDraft, commands: &mut Vec<Command>) {
    draft.read = meeting.chat_received;
    let frame = Frame::new().inner_margin(Margin { top: 8, ..Margin::ZERO });
    EdgePanel::bottom("composer")
        .frame(frame)
        .show_separator_line(false)
        .show(ui, |ui| composer_ui(ui, meeting, draft, commands));
    lines_ui(ui, meeting, draft);
}

fn lines_ui(ui: &mut Ui, meeting: &Meeting, draft: &mut ChatDraft) {
    if meeting.chat.is_empty() {
        ui.add_space(24.0);
        ui.vertical_centered(|ui| {
            icons::mark(ui, Icon::Chat, 32.0, theme::of(ui).weak);
            theme::weak(ui, "Nothing was written yet.");
        });
        return;
    }
    let first = meeting.chat_forgotten;
    let said = |line: u64| meeting.chat.get(usize::try_from(line.checked_sub(first)?).ok()?);
    let ChatDraft { rows, open, .. } = draft;
    open.retain(|line| *line >= first);
    let guess = |line| said(line).map_or(0.0, guessed_height);
    rows.show(ui, first..first + meeting.chat.len() as u64, guess, |ui, line| {
        let Some(this) = said(line) else { return false };
        let before = line.checked_sub(1).and_then(said);
        let follows = before.is_some_and(|before| continues(before, this));
        let folding = line_ui(ui, meeting, this, follows, open.contains(&line));
        match folding {
            Some(Folding::Open) => open.insert(line),
            Some(Folding::Close) => !open.remove(&line),
            None => false,
        }
    });
}

/// The height of a line that nobody saw yet, in points.
fn guessed_height(said: &Said) -> f32 {
    let text = folded(&said.text).unwrap_or(&said.text);
    let lines: usize = text.split('\n').map(|line| line.len() / LINE_BYTES + 1).sum();
    46.0 + 18.0 * lines as f32
}

/// Between two bubbles of the same person, points; rows themselves have nothing between them.
const GAP: f32 = 4.0;
/// Bytes in a line of the panel, about.
const LINE_BYTES: usize = 45;

/// What a person wants to see of a long text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Folding {
    Close,
    Open,
}

/// The same person goes on writing to the same people.
fn continues(before: &Said, said: &Said) -> bool {
    before.from == said.from && before.private_to == said.private_to
}

fn line_ui(ui: &mut Ui, meeting: &Meeting, said: &Said, follows: bool, open: bool) -> Option<Folding> {
    let palette = theme::of(ui);
    let ours = said.from == meeting.you;
    let align = if ours { Align::Max } else { Align::Min };
    let fill = match (&said.private_to, ours) {
        (Some(_), _) => palette.private_soft,
        (None, true) => palette.accent_soft,
        (None, false) => palette.card,
    };
    ui.spacing_mut().interact_size.y = 16.0;
    ui.spacing_mut().item_spacing.y = 4.0;
    ui.with_layout(Layout::top_down(align), |ui| {
        ui.add_space(if follows { GAP } else { 2.0 * GAP });
        if !follows {
            author_ui(ui, said, ours);
        }
        let stroke = match &said.private_to {
            Some(_) => Stroke::new(1.0, palette.private),
            None => Stroke::NONE,
        };
        let bubble =
            Frame::new().fill(fill).stroke(stroke).corner_radius(theme::CORNER).inner_margin(Margin::symmetric(12, 8));
        let folding = bubble.show(ui, |ui| {
            ui.set_max_width(ui.available_width() * 0.85);
            words_ui(ui, &said.text, open)
        });
        if ours {
            delivery_ui(ui, said);
        }
        folding.inner
    })
    .inner
}

/// What was written; of a long text the beginning, unless it is open.
fn words_ui(ui: &mut Ui, text: &str, open: bool) -> Option<Folding> {
    let beginning = folded(text);
    let shown = beginning.filter(|_| !open).map_or(Cow::Borrowed(text), |start| Cow::Owned(format!("{start} …")));
    ui.add(Label::new(&*shown).wrap().halign(Align::Min));
    beginning?;
    let (label, folding) = if open { ("Show less", Folding::Close) } else { ("Show all", Folding::Open) };
    ui.link(label).clicked().then_some(folding)
}

fn author_ui(ui: &mut Ui, said: &Said, ours: bool) {
    let palette = theme::of(ui);
    let text = match (&said.private_to, ours) {
        (None, true) => "You".into(),
        (None, false) => said.from_name.clone(),
        (Some(to), true) => format!("You, only {to} sees this"),
        (Some(_), false) => format!("{}, only you see this", said.from_name),
    };
    let private = said.private_to.is_some();
    let color = if private { palette.private } else { palette.weak };
    let text = RichText::new(text).small().color(color);
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        ui.label(text);
        if private {
            icons::mark(ui, Icon::Lock, 13.0, color);
        }
    });
}

/// No mark for a line on its way to the server, one for a line that is there, two for one that is with everybody it was
/// for.
fn delivery_ui(ui: &mut Ui, said: &Said) {
    let palette = theme::of(ui);
    let (mark, text) = delivery(said);
    let (icon, color) = match mark {
        Mark::Failed => (Some(Icon::Close), palette.warn),
        Mark::OnTheWay => (None, palette.weak),
        Mark::Sent => (Some(Icon::Check), palette.weak),
        Mark::Delivered => (Some(Icon::CheckTwice), palette.good),
    };
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        let text_color = if mark == Mark::Failed { palette.warn } else { palette.weak };
        ui.label(RichText::new(text).size(11.5).color(text_color));
        if let Some(icon) = icon {
            icons::mark(ui, icon, 13.0, color);
        }
    });
}

/// How far a line of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Delivered,
    Failed,
    OnTheWay,
    Sent,
}

fn delivery(said: &Said) -> (Mark, String) {
    match (said.failed, said.delivered, said.audience) {
        (Some(ChatFailure::ChannelBroken), 0, _) => (Mark::Failed, "not sent: the connection broke".into()),
        (Some(ChatFailure::RecipientLeft), 0, _) => {
            let name = said.private_to.as_deref().unwrap_or("this person");
            (Mark::Failed, format!("not delivered: {name} has left"))
        }
        (Some(ChatFailure::RecipientUnreachable), 0, _) => {
            let name = said.private_to.as_deref().unwrap_or("this person");
            (Mark::Failed, format!("not delivered: nothing gets through to {name}"))
        }
        (_, some, all) if !said.missed.is_empty() => {
            (Mark::Failed, format!("delivered to {some} of {all}, not to {}", said.missed.join(", ")))
        }
        (_, 0, _) if !said.sent => (Mark::OnTheWay, "sending…".into()),
        (_, _, 0) => (Mark::Sent, "nobody else is here".into()),
        (_, 0, _) => (Mark::Sent, "sent".into()),
        (_, some, all) if some < all => (Mark::Sent, format!("delivered to {some} of {all}")),
        _ => (Mark::Delivered, "delivered".into()),
    }
}

fn composer_ui(ui: &mut Ui, meeting: &Meeting, draft: &mut ChatDraft, commands: &mut Vec<Command>) {
    let palette = theme::of(ui);
    let private = match draft.to {
        Recipients::Everyone => None,
        Recipients::Member(member) => Some(meeting.name(member)),
    };
    let (fill, line) = match private {
        Some(_) => (palette.private_soft, Stroke::new(1.5, palette.private)),
        None => (palette.card, Stroke::new(1.0, palette.line)),
    };
    theme::card(ui).fill(fill).stroke(line).show(ui, |ui| {
        ui.set_width(ui.available_width());
        recipient_ui(ui, meeting, &mut draft.to);
        if let Some(name) = &private {
            private_ui(ui, name);
        }
        let entered = text_ui(ui, draft, private.as_deref());
        let presence = presence(meeting, draft.to);
        send_ui(ui, draft, private.as_deref(), presence, entered, commands);
    });
}

/// Whether those a draft is for can read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Away,
    Gone,
    Here,
}

fn presence(meeting: &Meeting, to: Recipients) -> Presence {
    match to {
        Recipients::Everyone => Presence::Here,
        Recipients::Member(member) => match meeting.members.get(&member) {
            Some(member) if member.away => Presence::Away,
            Some(_) => Presence::Here,
            None => Presence::Gone,
        },
    }
}

fn private_ui(ui: &mut Ui, name: &str) {
    let color = theme::of(ui).private;
    ui.horizontal(|ui| {
        icons::mark(ui, Icon::Lock, 16.0, color);
        let text = format!("Only {name} sees this");
        ui.label(RichText::new(text).strong().color(color));
    });
}

/// Draws the choice between everybody and each person.
pub fn recipient_ui(ui: &mut Ui, meeting: &Meeting, to: &mut Recipients) {
    ui.horizontal(|ui| {
        let label = theme::weak(ui, "To");
        let chosen = match *to {
            Recipients::Everyone => "Everyone".to_owned(),
            Recipients::Member(member) => meeting.name(member),
        };
        let combo = ComboBox::from_id_salt("recipient").selected_text(chosen);
        let combo = combo.show_ui(ui, |ui| {
            ui.selectable_value(to, Recipients::Everyone, "Everyone");
            for member in meeting.others() {
                let text = format!("Only {}", member.name);
                ui.selectable_value(to, Recipients::Member(member.id), text);
            }
        });
        combo.response.labelled_by(label.id);
    });
}

/// Answers whether Enter was pressed; Shift and Enter begin a new line.
fn text_ui(ui: &mut Ui, draft: &mut ChatDraft, private: Option<&str>) -> bool {
    let hint = match private {
        Some(name) => format!("Write to {name} alone"),
        None => "Write to everyone".into(),
    };
    let id = ui.make_persistent_id("chat text");
    let entered = ui.memory(|memory| memory.has_focus(id))
        && ui.input_mut(|input| {
            input.consume_key(Modifiers::NONE, Key::Enter) || input.consume_key(Modifiers::COMMAND, Key::Enter)
        });
    let field = TextEdit::multiline(&mut draft.text)
        .id(id)
        .hint_text(hint)
        .desired_rows(2)
        .desired_width(f32::INFINITY)
        .margin(Margin::symmetric(10, 8))
        .return_key(KeyboardShortcut::new(Modifiers::SHIFT, Key::Enter));
    let response = theme::edit(ui, field);
    if std::mem::take(&mut draft.focus) {
        response.request_focus();
    }
    entered
}

fn send_ui(
    ui: &mut Ui,
    draft: &mut ChatDraft,
    private: Option<&str>,
    presence: Presence,
    entered: bool,
    commands: &mut Vec<Command>,
) {
    if draft.text.trim().len() > CHAT_MAX_BYTES {
        theme::complaint(ui, "This is too long for one message. A file would carry it.");
    }
    match presence {
        Presence::Away => {
            theme::weak(ui, "This person is reconnecting. What you write may come late.");
        }
        Presence::Gone => {
            theme::complaint(ui, "This person is gone. Choose somebody else above.");
        }
        Presence::Here => {}
    }
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        let text = match private {
            Some(name) => format!("Send to {name} only"),
            None => "Send".into(),
        };
        let button = theme::primary(ui, text);
        let ready = presence != Presence::Gone && !draft.text.trim().is_empty();
        let clicked = ui.add_enabled(ready, button).clicked();
        if ready && (clicked || entered) {
            commands.extend(draft.send());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::protocol::{ChatLine, Event};
    use crate::ui::fold::FOLDED_LETTERS;
    use crate::ui::model::Model;
    use crate::ui::samples::{self, ANA, BO, CLEO};
    use common::ids::ChatId;
    use common::wire::control::LeaveReason;
    use eframe::egui::{MouseWheelSource, MouseWheelUnit, Shape, TouchPhase, vec2};
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    type State = (Model, ChatDraft, Vec<Command>);

    fn harness(model: Model) -> Harness<'static, State> {
        let show = |ui: &mut Ui, (model, draft, commands): &mut State| {
            let meeting = model.meeting().expect("a meeting was applied");
            chat_ui(ui, meeting, draft, commands);
        };
        let builder = Harness::builder().with_size([380.0, 640.0]);
        builder.build_ui_state(show, (model, ChatDraft::default(), Vec::new()))
    }

    fn line(from: MemberId, to: Recipients, text: &str) -> Event {
        Event::Chat(ChatLine { from, id: ChatId(1), to, text: text.into() })
    }

    fn type_and_enter(harness: &mut Harness<'_, State>, text: &str) {
        harness.state_mut().1.focus = true;
        harness.run();
        harness.event(eframe::egui::Event::Text(text.into()));
        harness.run();
        harness.key_press(Key::Enter);
        harness.run();
    }

    #[test]
    fn enter_sends_to_everybody_and_keeps_the_focus() {
        let mut harness = harness(samples::meeting(ANA));
        type_and_enter(&mut harness, "hello");
        type_and_enter(&mut harness, "again");
        let sent = |text: &str| Command::SendChat { to: Recipients::Everyone, text: text.into() };
        assert_eq!(harness.state().2, [sent("hello"), sent("again")]);
        assert_eq!(harness.state().1.text, "");
    }

    #[test]
    fn a_private_line_goes_to_one_person_and_is_marked() {
        let mut harness = harness(samples::meeting(ANA));
        harness.state_mut().1.write_to(BO);
        harness.run();
        harness.get_by_label("Only Bo sees this");
        type_and_enter(&mut harness, "psst");
        let sent = Command::SendChat { to: Recipients::Member(BO), text: "psst".into() };
        assert_eq!(harness.state().2, [sent]);
        harness.state_mut().0.apply(line(ANA, Recipients::Member(BO), "psst"));
        harness.run();
        harness.get_by_label("You, only Bo sees this");
    }

    #[test]
    fn one_person_is_chosen_from_the_list() {
        let mut harness = harness(samples::meeting(ANA));
        harness.get_by_label("To").click();
        harness.run();
        harness.get_by_label("Only Cleo").click();
        harness.run();
        assert_eq!(harness.state().1.to, Recipients::Member(CLEO));
        harness.get_by_label("Only Cleo sees this");
    }

    #[test]
    fn a_private_draft_to_somebody_who_left_is_not_sent_to_everybody() {
        let mut harness = harness(samples::meeting(ANA));
        harness.state_mut().1.write_to(BO);
        harness.state_mut().0.apply(Event::MemberLeft { member: BO, reason: LeaveReason::Left });
        type_and_enter(&mut harness, "psst");
        assert_eq!(harness.state().2, []);
        harness.get_by_label_contains("This person is gone");
    }

    #[test]
    fn delivery_is_shown_by_count() {
        let mut model = samples::meeting(ANA);
        model.apply(line(ANA, Recipients::Everyone, "hello"));
        let mut harness = harness(model);
        harness.get_by_label("sending…");
        harness.state_mut().0.apply(Event::ChatSent(ChatId(1)));
        harness.run();
        harness.get_by_label("sent");
        for (delivered, label) in [(1, "delivered to 1 of 2"), (2, "delivered")] {
            harness.state_mut().0.apply(Event::ChatDelivered { id: ChatId(1), delivered });
            harness.run();
            harness.get_by_label(label);
        }
    }

    #[test]
    fn who_does_not_get_a_line_is_named() {
        let mut model = samples::meeting(ANA);
        model.apply(line(ANA, Recipients::Everyone, "hello"));
        let mut harness = harness(model);
        harness.state_mut().0.apply(Event::ChatMissed { id: ChatId(1), member: BO });
        harness.state_mut().0.apply(Event::ChatDelivered { id: ChatId(1), delivered: 1 });
        harness.run();
        harness.get_by_label("delivered to 1 of 2, not to Bo");
    }

    #[test]
    fn what_does_not_arrive_says_why() {
        let mut model = samples::meeting(ANA);
        model.apply(line(ANA, Recipients::Member(BO), "psst"));
        let mut harness = harness(model);
        let labels = [
            (ChatFailure::ChannelBroken, "not sent: the connection broke"),
            (ChatFailure::RecipientLeft, "not delivered: Bo has left"),
            (ChatFailure::RecipientUnreachable, "not delivered: nothing gets through to Bo"),
        ];
        for (why, label) in labels {
            harness.state_mut().0.apply(Event::ChatFailed { id: ChatId(1), why });
            harness.run();
            harness.get_by_label(label);
        }
    }

    /// Letters of everything that is laid out in the frame that was drawn last.
    fn letters(harness: &Harness<'_, State>) -> usize {
        fn of(shape: &Shape) -> usize {
            if let Shape::Vec(shapes) = shape {
                return shapes.iter().map(of).sum();
            }
            if let Shape::Text(text) = shape { text.galley.text().chars().count() } else { 0 }
        }
        harness.output().shapes.iter().map(|clipped| of(&clipped.shape)).sum()
    }

    fn harness_with(lines: usize, text: &str) -> Harness<'static, State> {
        let mut model = samples::meeting(ANA);
        for number in 0..lines {
            model.apply(line(BO, Recipients::Everyone, &format!("{number} {text}")));
        }
        let mut harness = harness(model);
        harness.run();
        harness
    }

    #[test]
    fn a_thousand_long_lines_lay_out_no_more_than_ten() {
        let long = "word ".repeat(3_200);
        let [ten, thousand] = [10, 1_000].map(|lines| harness_with(lines, &long));
        assert!(letters(&thousand) <= letters(&ten) + 20, "{} {}", letters(&thousand), letters(&ten));
        assert!(letters(&thousand) < 10 * FOLDED_LETTERS);
        let galleys = |harness: &Harness<'_, State>| harness.ctx.fonts(|fonts| fonts.num_galleys_in_cache());
        assert!(galleys(&thousand) <= galleys(&ten) + 5, "{} {}", galleys(&thousand), galleys(&ten));
        thousand.get_by_label_contains("999 word");
        assert!(thousand.query_by_label_contains("900 word").is_none());
    }

    #[test]
    fn a_long_text_is_folded_until_somebody_wants_all_of_it() {
        let long = format!("{}the end", "word ".repeat(1_000));
        let mut harness = harness_with(1, &long);
        assert!(harness.query_by_label_contains("the end").is_none());
        harness.get_by_label("Show all").click();
        harness.run();
        harness.get_by_label_contains("the end");
        harness.get_by_label_contains("0 word");
        assert!(harness.query_by_label("Show all").is_none());
    }

    #[test]
    fn a_newest_line_that_is_opened_is_read_from_where_it_was() {
        let mut harness = harness_with(3, &"word ".repeat(1_000));
        let top = |harness: &Harness<'_, State>| harness.get_by_label_contains("2 word").rect().top();
        let before = top(&harness);
        harness.get_all_by_label("Show all").last().unwrap().click();
        harness.run();
        assert!((top(&harness) - before).abs() < 1.0, "{} {before}", top(&harness));
        harness.state_mut().0.apply(line(BO, Recipients::Everyone, "and more"));
        harness.run();
        assert!((top(&harness) - before).abs() < 1.0, "{} {before}", top(&harness));
    }

    #[test]
    fn bubbles_of_one_person_do_not_touch() {
        let harness = harness_with(3, &"word ".repeat(20));
        let of = |text: &str| harness.get_by_label_contains(text).rect();
        // 8 points of each bubble's own margin, and what is between them.
        assert!(of("2 word").top() - of("1 word").bottom() > 16.0 + GAP - 1.0);
    }

    #[test]
    fn what_was_opened_can_be_folded_again() {
        let mut harness = harness_with(1, &"word ".repeat(200));
        harness.get_by_label("Show all").click();
        harness.run();
        harness.hover_at([190.0, 200.0].into());
        let (unit, phase, source) = (MouseWheelUnit::Point, TouchPhase::Move, MouseWheelSource::Unknown);
        let (delta, modifiers) = (vec2(0.0, -9_000.0), Modifiers::NONE);
        harness.event(eframe::egui::Event::MouseWheel { unit, delta, phase, modifiers, source });
        harness.run_steps(20);
        harness.get_by_label("Show less").click();
        harness.run();
        harness.get_by_label("Show all");
    }

    #[test]
    fn lines_of_others_count_as_unread_until_they_are_drawn() {
        let mut model = samples::meeting(ANA);
        let draft = ChatDraft::default();
        model.apply(line(BO, Recipients::Everyone, "hi"));
        model.apply(line(ANA, Recipients::Everyone, "hi"));
        assert_eq!(draft.unread(model.meeting().unwrap()), 1);
        let harness = harness(model);
        let (model, draft, _) = harness.state();
        assert_eq!(draft.unread(model.meeting().unwrap()), 0);
    }
}
