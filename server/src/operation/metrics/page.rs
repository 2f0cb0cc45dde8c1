//! A page in the Prometheus text format, version 0.0.4.
//!
//! Written here because it is a few lines: every figure is a field of a plain struct that was counted elsewhere, and a
//! registry would keep each of them a second time.

use std::fmt::{Display, Write};

/// What the page is, for HTTP.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page being written.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// A figure that only grows while the server runs; `name` ends in `_total`.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "counter");
        self.line(format_args!("{name} {value}"));
    }

    /// One that grows for each value of a label. `values` come from the code: they need no escape.
    pub(super) fn counters<V: Display>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'static str, V)>,
    ) {
        self.head(name, help, "counter");
        for (which, value) in values {
            self.line(format_args!("{name}{{{label}=\"{which}\"}} {value}"));
        }
    }

    /// A figure that goes up and down.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "gauge");
        self.line(format_args!("{name} {value}"));
    }

    /// A figure that is always 1 and says something by its label.
    pub(super) fn info(&mut self, name: &str, help: &str, label: &str, what: &str) {
        self.head(name, help, "gauge");
        self.line(format_args!("{name}{{{label}=\"{what}\"}} 1"));
    }

    /// The whole page.
    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // A String takes everything.
        let _ = writeln!(self.0, "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_as_the_format_says() {
        let mut page = Page::default();
        page.gauge("a_rooms", "Rooms.", 2);
        page.counters("a_refusals_total", "Refusals.", "reason", [("full", 1), ("locked", 0)]);
        let lines = [
            "# HELP a_rooms Rooms.",
            "# TYPE a_rooms gauge",
            "a_rooms 2",
            "# HELP a_refusals_total Refusals.",
            "# TYPE a_refusals_total counter",
            "a_refusals_total{reason=\"full\"} 1",
            "a_refusals_total{reason=\"locked\"} 0",
        ];
        assert_eq!(page.into_text().lines().collect::<Vec<_>>(), lines);
    }
}
