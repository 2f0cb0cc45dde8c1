//! Lines to the terminal and from it.

use std::io::BufRead;

use tokio::sync::mpsc;

/// Prints a line for the person, or the program, that started this one.
#[expect(clippy::print_stdout, reason = "the one place where this program writes its output")]
pub(super) fn say(line: &str) {
    println!("{line}");
}

/// Prints the one sentence that says why this program ends otherwise than it should.
#[expect(clippy::print_stderr, reason = "the one place where this program writes its errors")]
pub(super) fn complain(sentence: &str) {
    eprintln!("{sentence}");
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
