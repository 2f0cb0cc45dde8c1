//! Notices: sentences that come up, stay a while and fade.

use std::time::Duration;

use eframe::egui::{Align2, Area, Context, Id, Label, Order, Ui, vec2};

use super::icons::{self, Icon};
use super::model::Notice;
use super::theme;

/// How long a notice stays, seconds; a sentence of twenty words is read in five.
const SHOWN_SECS: f64 = 6.0;
/// How long it takes to fade, seconds of those above.
const FADE_SECS: f64 = 0.5;
/// Notices shown at a time; the oldest makes room.
const SHOWN_MAX: usize = 4;

/// The notices that are on the screen.
#[derive(Clone, Debug, Default)]
pub struct Toasts {
    seen: u64,
    shown: Vec<Toast>,
}

#[derive(Clone, Debug)]
struct Toast {
    notice: Notice,
    until_secs: f64,
}

/// Draws new notices and those that have time left.
pub fn toasts_ui<'a>(ctx: &Context, toasts: &mut Toasts, notices: impl Iterator<Item = &'a Notice>) {
    let now = ctx.input(|input| input.time);
    toasts.take(notices, now);
    toasts.shown.retain(|toast| toast.until_secs > now);
    if toasts.shown.is_empty() {
        return;
    }
    let fading = toasts.shown.iter().any(|toast| toast.until_secs - now < FADE_SECS);
    let pause = if fading { 0.03 } else { 0.25 };
    ctx.request_repaint_after(Duration::from_secs_f64(pause));
    Area::new(Id::unique("toasts")).order(Order::Foreground).anchor(Align2::CENTER_BOTTOM, vec2(0.0, -104.0)).show(
        ctx,
        |ui| {
            toasts.shown.retain(|toast| !toast_ui(ui, toast, now));
        },
    );
}

impl Toasts {
    fn take<'a>(&mut self, notices: impl Iterator<Item = &'a Notice>, now_secs: f64) {
        for notice in notices.filter(|notice| notice.number > self.seen) {
            self.shown.push(Toast { notice: notice.clone(), until_secs: now_secs + SHOWN_SECS });
        }
        if let Some(newest) = self.shown.last() {
            self.seen = self.seen.max(newest.notice.number);
        }
        let surplus = self.shown.len().saturating_sub(SHOWN_MAX);
        self.shown.drain(..surplus);
    }
}

/// Answers whether it was clicked away.
fn toast_ui(ui: &mut Ui, toast: &Toast, now: f64) -> bool {
    let opacity = ((toast.until_secs - now) / FADE_SECS).min(1.0);
    ui.scope(|ui| {
        ui.set_opacity(opacity as f32);
        let frame = theme::floating(ui);
        frame
            .show(ui, |ui| {
                ui.horizontal(|ui| {
                    ui.set_width(380.0);
                    let width = ui.available_width() - 44.0;
                    ui.vertical(|ui| {
                        ui.set_width(width);
                        ui.add_space(4.0);
                        ui.add(Label::new(&toast.notice.text).wrap());
                    });
                    let label = format!("Dismiss: {}", toast.notice.text);
                    icons::button(ui, Icon::Close, &label).clicked()
                })
                .inner
            })
            .inner
    })
    .inner
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    fn harness() -> Harness<'static, Toasts> {
        let notice = Notice { number: 1, text: "No camera was found.".into() };
        let show = move |ui: &mut Ui, toasts: &mut Toasts| {
            toasts_ui(ui.ctx(), toasts, [&notice].into_iter());
        };
        let builder = Harness::builder().with_step_dt(1.0);
        builder.build_ui_state(show, Toasts::default())
    }

    #[test]
    fn a_notice_fades_after_six_seconds_and_stays_away() {
        let mut harness = harness();
        harness.run_steps(3);
        harness.get_by_label("No camera was found.");
        harness.run_steps(6);
        assert!(harness.query_by_label("No camera was found.").is_none());
        harness.run_steps(3);
        assert!(harness.query_by_label("No camera was found.").is_none());
    }

    #[test]
    fn a_notice_can_be_dismissed() {
        let mut harness = harness();
        harness.run_steps(2);
        harness.get_by_label("Dismiss: No camera was found.").click();
        harness.run_steps(2);
        assert!(harness.query_by_label("No camera was found.").is_none());
    }
}
