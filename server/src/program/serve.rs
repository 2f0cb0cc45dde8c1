//! The program as a server: starts what is set, and ends when it is told to.

use std::error::Error;
use std::io;
use std::time::Duration;

use server::lines::Lines;
use server::operation::metrics::MetricsServer;
use server::operation::settings::{LogFormat, Settings};
use server::{Ended, Operator, Server};

/// Serves until a signal, a drain or a fault.
pub(crate) fn serve(settings: Settings) -> Result<(), Box<dyn Error>> {
    let lines = log(&settings);
    match server::open_files::raise() {
        Some(files_max) => tracing::info!(files_max, "open files"),
        None => tracing::info!("open files are not limited"),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(run(settings));
    lines.flush();
    outcome
}

/// Nothing of a meeting is logged: no name, code, key, word, or address of a guest. Where the log cannot be written,
/// its lines are lost, and the meetings go on.
fn log(settings: &Settings) -> Lines {
    let json = settings.log_format == LogFormat::Json;
    let lines = Lines::start(io::stderr(), if json { lost_as_json } else { lost_as_text });
    let writer = lines.clone();
    let log = tracing_subscriber::fmt()
        .with_max_level(settings.log)
        .with_writer(move || writer.clone())
        .with_target(false)
        // A log that goes to a file or to a service manager is no place for colours.
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()));
    match settings.log_format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.init(),
    }
    lines
}

fn lost_as_json(lines: u64) -> String {
    format!("{{\"level\":\"WARN\",\"message\":\"lines of this log could not be written\",\"lines\":{lines}}}\n")
}

fn lost_as_text(lines: u64) -> String {
    format!(" WARN lines of this log could not be written lines={lines}\n")
}

async fn run(settings: Settings) -> Result<(), Box<dyn Error>> {
    // First, so that a server that says it listens can be told to stop.
    let signals = Signals::new()?;
    let mut server = Server::start(settings.server.clone()).await?;
    let outcome = match SideDoors::open(&settings, &server).await {
        Ok(_side_doors) => {
            tracing::info!("ready");
            until_the_end(&mut server, signals, settings.drain_timeout).await
        }
        Err(error) => Err(error),
    };
    server.stop().await;
    outcome
}

/// What answers besides the meetings' own port, for as long as this is held.
struct SideDoors {
    _metrics: Option<MetricsServer>,
    #[cfg(unix)]
    _admin: Option<server::operation::admin::AdminServer>,
}

impl SideDoors {
    async fn open(settings: &Settings, server: &Server) -> Result<Self, Box<dyn Error>> {
        let metrics = match settings.metrics {
            Some(address) => Some(MetricsServer::start(address, server.monitor()).await.map_err(|error| {
                format!("Metrics cannot be answered at {address}. Choose another with --metrics.\n  because: {error}")
            })?),
            None => None,
        };
        #[cfg(unix)]
        let admin = match settings.admin_socket.clone() {
            Some(path) => {
                Some(server::operation::admin::AdminServer::start(path, server, settings.drain_timeout).await?)
            }
            None => None,
        };
        Ok(Self {
            _metrics: metrics,
            #[cfg(unix)]
            _admin: admin,
        })
    }
}

async fn until_the_end(server: &mut Server, signals: Signals, drain_timeout: Duration) -> Result<(), Box<dyn Error>> {
    let operator = server.operator();
    tokio::select! {
        () = signals.ask_to_stop(&operator, drain_timeout) => Ok(()),
        ended = server.ended() => match ended {
            Ended::Broke => Err("The server broke and stopped. Please report what it logged.".into()),
            Ended::Drained => Ok(()),
        },
    }
}

/// How the system says that the server is to stop.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Ends when the server is to stop at once: on Ctrl-C, or on a second SIGTERM. The first one drains.
    async fn ask_to_stop(mut self, operator: &Operator, drain_timeout: Duration) {
        tokio::select! {
            _ = self.interrupt.recv() => return,
            _ = self.terminate.recv() => {}
        }
        // A server that is gone already is noticed by who waits for its end.
        let _ = operator.drain(drain_timeout).await;
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// How the system says that the server is to stop.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Ends when the server is to stop at once: on Ctrl-C.
    async fn ask_to_stop(self, _: &Operator, _: Duration) {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without signals only a drain or a fault ends it.
            std::future::pending::<()>().await;
        }
    }
}
