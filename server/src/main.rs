//! `conclave-server`: a Conclave server on its own.

use std::error::Error;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::{fmt, io};

use clap::Parser;
use server::{Server, ServerConfig};
use tracing_subscriber::filter::LevelFilter;

/// Serves Conclave meetings: the host starts one, guests knock with its six digits.
#[derive(Debug, Parser)]
#[command(name = "conclave-server", version)]
struct Arguments {
    /// Where to listen, TCP and UDP: an address with a port, or a port alone; port 0 takes any free one
    #[arg(long, env = "CONCLAVE_LISTEN", value_name = "ADDRESS", default_value_t = ServerConfig::default().listen, value_parser = parse_listen)]
    listen: SocketAddr,
    /// The directory that keeps this server's identity; made when missing
    #[arg(long, env = "CONCLAVE_STATE_DIR", value_name = "DIRECTORY", default_value_os_t = ServerConfig::default().state_dir)]
    state_dir: PathBuf,
    /// How much to log on stderr: off, error, warn, info, debug or trace
    #[arg(long, env = "CONCLAVE_LOG", value_name = "LEVEL", default_value_t = LevelFilter::INFO)]
    log: LevelFilter,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_max_level(arguments.log).with_writer(io::stderr).with_target(false).init();
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{}", Chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let mut server = Server::start(ServerConfig { listen: arguments.listen, state_dir: arguments.state_dir }).await?;
    let broken = tokio::select! {
        asked = asked_to_stop() => { asked?; false }
        () = server.failed() => true,
    };
    server.stop().await;
    if broken {
        return Err("The server broke and stopped. Please report what it logged.".into());
    }
    Ok(())
}

/// Waits for Ctrl-C, and on Unix for SIGTERM, with which service managers end a program.
#[cfg(unix)]
async fn asked_to_stop() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
async fn asked_to_stop() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// Reads `address:port`, or a port alone, which means every address of this machine.
fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    }
    text.parse().map_err(|_| {
        "expected a port, for example 7878, or an address with one, for example 192.168.1.5:7878 or [::]:7878"
            .to_owned()
    })
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
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_port_alone_means_every_address() {
        assert_eq!(parse_listen("7900").unwrap().to_string(), "[::]:7900");
        assert_eq!(parse_listen("127.0.0.1:0").unwrap().to_string(), "127.0.0.1:0");
        assert!(parse_listen("localhost").is_err());
        assert!(parse_listen("70000").is_err());
    }
}
