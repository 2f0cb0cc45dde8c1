//! The terminal as bars are drawn on it: by the way that lines take, so that neither tears the other and a terminal that
//! is held (Ctrl-S) holds nobody up.

use std::fmt::Write;
use std::io;
use std::sync::{Mutex, PoisonError};

use console::Term;
use indicatif::TermLike;

use super::terminal::output;

/// What is drawn until it is shown as a whole.
#[derive(Debug, Default)]
pub(super) struct Screen(Mutex<String>);

impl Screen {
    /// Whether the terminal understands where to move its cursor. On Windows this also makes it do so.
    pub(super) fn draws() -> bool {
        Term::stdout().features().colors_supported()
    }

    fn put(&self, what: std::fmt::Arguments<'_>) -> io::Result<()> {
        let mut drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drawn.write_fmt(what).map_err(io::Error::other)
    }

    /// Moves the cursor by a command of ECMA-48 §8.3.
    fn step(&self, by: usize, direction: char) -> io::Result<()> {
        if by == 0 { Ok(()) } else { self.put(format_args!("\u{1b}[{by}{direction}")) }
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        Term::stdout().size().1
    }

    fn height(&self) -> u16 {
        Term::stdout().size().0
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        self.step(lines, 'A')
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        self.step(lines, 'B')
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.step(columns, 'C')
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.step(columns, 'D')
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.put(format_args!("{line}\n"))
    }

    fn write_str(&self, part: &str) -> io::Result<()> {
        self.put(format_args!("{part}"))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.put(format_args!("\r\u{1b}[2K"))
    }

    fn flush(&self) -> io::Result<()> {
        let drawn = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if !drawn.is_empty() {
            output().draw(drawn);
        }
        Ok(())
    }
}
