//! Lines to the terminal and from it.

use std::io::BufRead;
use std::sync::OnceLock;

use common::text::harmless;
use server::lines::Lines;
use tokio::sync::mpsc;

/// Prints a line for the person, or the program, that started this one. It is lost where nothing can be written, and
/// nobody waits for it: a meeting goes on without its terminal.
pub(super) fn say(line: &str) {
    output().push(format!("{}\n", harmless(line)));
}

/// Prints the one sentence that says why this program ends otherwise than it should.
pub(super) fn complain(sentence: &str) {
    errors().push(format!("{}\n", harmless(sentence)));
}

/// Standard output, which is not always a terminal.
pub(super) fn output() -> &'static Lines {
    static OUTPUT: OnceLock<Lines> = OnceLock::new();
    OUTPUT.get_or_init(|| Lines::start(unbuffered(std::io::stdout()), lost))
}

/// Standard error.
pub(super) fn errors() -> &'static Lines {
    static ERRORS: OnceLock<Lines> = OnceLock::new();
    ERRORS.get_or_init(|| Lines::start(unbuffered(std::io::stderr()), lost))
}

/// Writes what is still to be written, before the program ends.
pub(super) fn flush() {
    output().flush();
    errors().flush();
}

/// The file behind a standard stream, without the buffer that keeps what could not be written. What was closed before the
/// program began takes everything.
#[cfg(unix)]
fn unbuffered(stream: impl std::os::fd::AsFd) -> Box<dyn std::io::Write + Send> {
    match stream.as_fd().try_clone_to_owned() {
        Ok(file) => Box::new(std::fs::File::from(file)),
        Err(_) => Box::new(std::io::sink()),
    }
}

/// Here the system wants text, which the standard streams make of bytes.
#[cfg(not(unix))]
fn unbuffered(stream: impl std::io::Write + Send + 'static) -> Box<dyn std::io::Write + Send> {
    Box::new(stream)
}

fn lost(lines: u64) -> String {
    format!("({lines} lines could not be written here and are lost.)\n")
}

/// Lines that wait to be read; a person types one at a time.
const LINES: usize = 16;

/// The longest line that is taken from standard input.
const LINE_MAX_BYTES: usize = 256;

/// Lines of standard input, read by a thread that ends with the process.
pub(super) fn lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(LINES);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if line.len() <= LINE_MAX_BYTES && sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Waits until somebody wants this program to end: Ctrl-C, or what a service manager sends.
pub(super) async fn asked_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a way to be asked, nobody asks.
        std::future::pending::<()>().await;
    }
}
