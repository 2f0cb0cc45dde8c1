//! The program on a terminal: what its command line says, done with an engine and without a window.

mod demo;
mod load;
mod options;
mod participant;
mod patience;
#[cfg(feature = "gui")]
mod preferences;
mod progress;
mod screen;
mod stats;
mod terminal;
mod trace;
mod transfers;
#[cfg(feature = "gui")]
mod window;
mod words;

use std::process::ExitCode;

use clap::Parser;
use server::lines::Lines;

use options::{Cli, Subcommand, WindowOptions};

/// Does what the command line of the process says. Errors are one sentence on standard error and an exit code other
/// than 0.
pub fn run() -> ExitCode {
    let code = obey();
    terminal::flush();
    code
}

/// Where this program logs: standard error, as long as it takes anything.
pub fn log() -> Lines {
    terminal::errors().clone()
}

fn obey() -> ExitCode {
    let Cli { command, window } = Cli::parse();
    let result = match command {
        None => open_window(window, false),
        Some(Subcommand::Demo(options)) => return demo::run(&options),
        Some(Subcommand::Devices) => {
            list_devices();
            Ok(())
        }
        Some(Subcommand::Host(options)) => participant::host(options),
        Some(Subcommand::Join(options)) => participant::join(options),
        Some(Subcommand::Load(options)) => return load::run(&options),
        Some(Subcommand::Run(window)) if has_display() => open_window(window, true),
        Some(Subcommand::Run(_)) => return demo::run(&options::DemoOptions::default()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            terminal::complain(&sentence);
            ExitCode::FAILURE
        }
    }
}

fn list_devices() {
    let devices = crate::devices::list();
    for (kind, names) in
        [("Cameras", devices.cameras), ("Microphones", devices.microphones), ("Speakers", devices.speakers)]
    {
        terminal::say(&format!("{kind}:"));
        if names.is_empty() {
            terminal::say("  none");
        }
        names.iter().for_each(|name| terminal::say(&format!("  {name}")));
    }
}

/// Whether a window can be shown: on Unix somebody must have said where.
fn has_display() -> bool {
    let named = |variable| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
    let somewhere = !cfg!(unix) || cfg!(target_os = "macos") || named("DISPLAY") || named("WAYLAND_DISPLAY");
    cfg!(feature = "gui") && somewhere
}

#[cfg(feature = "gui")]
fn open_window(options: WindowOptions, start_meeting: bool) -> Result<(), String> {
    if !has_display() {
        return Err(
            "There is no display to open a window on. Use “conclave host”, “conclave join CODE” or “conclave demo” here.".into(),
        );
    }
    window::open(options, start_meeting)
}

#[cfg(not(feature = "gui"))]
fn open_window(_options: WindowOptions, _start_meeting: bool) -> Result<(), String> {
    Err("This program was built without a window. Use “conclave host”, “conclave join CODE” or “conclave demo”.".into())
}
