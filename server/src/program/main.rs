//! `conclave-server`: a Conclave server on its own, and the commands for whoever runs it.

#[cfg(unix)]
mod admin;
mod serve;

use std::error::Error;
use std::fmt;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use server::operation::settings::{Choices, ConfigFile, Effective, Settings};

/// Serves Conclave meetings: the host starts one, guests knock with its six digits.
///
/// A setting is taken from its flag, else from the environment, else from the configuration file, else it has its
/// default. Without a command the server runs.
#[derive(Debug, Parser)]
#[command(name = "conclave-server", version, args_conflicts_with_subcommands = false)]
struct Arguments {
    /// The configuration file; /etc/conclave/server.toml where there is one
    #[arg(long, env = "CONCLAVE_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    choices: Choices,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do besides serving.
#[derive(Debug, Subcommand)]
enum Command {
    /// Checks the settings and prints each with where it comes from
    Config,
    #[cfg(unix)]
    #[command(flatten)]
    Admin(admin::Command),
}

fn main() -> ExitCode {
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match run(arguments, &matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody hears it, the exit code says enough.
            let _ = write!(std::io::stderr(), "{}", Chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments, matches: &clap::ArgMatches) -> Result<(), Box<dyn Error>> {
    let file = ConfigFile::read(arguments.config.as_deref())?;
    let settings = Settings::new(arguments.choices.or(file.choices));
    match arguments.command {
        None => serve::serve(settings),
        Some(Command::Config) => say(&Effective::new(settings, matches, &file.names)),
        #[cfg(unix)]
        Some(Command::Admin(command)) => admin::run(command, &settings),
    }
}

/// Writes to stdout what a person or a script asked for.
fn say(text: &impl fmt::Display) -> Result<(), Box<dyn Error>> {
    let mut stdout = std::io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        // Who reads the first lines alone has them.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// An error and, below it, everything that led to it.
struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            writeln!(f, "  because: {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_flag_of_the_socket_may_stand_behind_the_command() {
        let arguments = Arguments::parse_from(["x", "status", "--admin-socket", "/run/a.sock"]);
        assert!(arguments.choices.admin_socket.is_some() && arguments.command.is_some());
    }
}
