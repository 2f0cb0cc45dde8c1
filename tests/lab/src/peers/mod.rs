//! The transports that are measured, each a sender and a receiver in a process of its own.

mod kernel;
mod ours;
mod quic;

use std::error::Error;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use clap::{Args, ValueEnum};
use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use crate::traffic::{Received, Sent, Traffic};

/// Who carries a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Protocol {
    /// TCP with the kernel's Reno.
    Kernel,
    /// The reliable channel, sealed.
    Ours,
    /// quinn with NewReno.
    Quinn,
}

impl Protocol {
    /// As it stands in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Ours => "ours",
            Self::Quinn => "quinn",
        }
    }
}

/// Which controller the reliable channel has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Controller {
    /// The textbook.
    #[default]
    Reno,
    /// The one for paths that lose without a queue.
    Radio,
}

impl Controller {
    /// As it stands on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reno => "reno",
            Self::Radio => "radio",
        }
    }
}

/// What both ends of a flow are told.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Flow {
    /// Who carries it
    #[arg(long)]
    pub(crate) protocol: Protocol,
    /// The controller of ours
    #[arg(long, default_value = "reno")]
    pub(crate) controller: Controller,
    /// Connections at a time
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: usize,
    /// Seconds of bulk
    #[arg(long)]
    pub(crate) bulk_secs: Option<f64>,
    /// Messages of each connection, where there is no bulk
    #[arg(long, default_value_t = 0)]
    pub(crate) messages: usize,
}

impl Flow {
    /// A flow of one connection that fills the path for so long.
    pub(crate) fn bulk(protocol: Protocol, secs: f64) -> Self {
        Self { protocol, controller: Controller::Reno, connections: 1, bulk_secs: Some(secs), messages: 0 }
    }

    /// What each connection carries.
    pub(crate) fn traffic(&self) -> Traffic {
        let messages = Traffic::Messages { count: self.messages };
        self.bulk_secs.map_or(messages, |secs| Traffic::Bulk { secs })
    }

    /// Seconds that it takes when nothing is in its way.
    pub(crate) fn secs(&self) -> f64 {
        self.bulk_secs.unwrap_or(self.messages as f64 * crate::traffic::MESSAGE_INTERVAL.as_secs_f64())
    }

    /// The same on a command line.
    pub(crate) fn to_args(self) -> Vec<String> {
        let mut args = vec![
            format!("--protocol={}", self.protocol.name()),
            format!("--controller={}", self.controller.name()),
            format!("--connections={}", self.connections),
            format!("--messages={}", self.messages),
        ];
        args.extend(self.bulk_secs.map(|secs| format!("--bulk-secs={secs}")));
        args
    }
}

/// What a receiver tells when it listens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// One, or one for each connection.
    pub(crate) ports: Vec<u16>,
    /// In hexadecimal digits; nothing where there is none.
    pub(crate) certificate: String,
}

/// Anything that ends a peer; the sentence goes to whoever runs the lab.
pub(crate) type PeerError = Box<dyn Error + Send + Sync>;

/// Receives a flow from the first byte to the end, and tells what came.
pub(crate) fn receive(flow: &Flow, on: IpAddr) -> Result<(), PeerError> {
    let mut received = match flow.protocol {
        Protocol::Kernel => kernel::receive(flow, on),
        Protocol::Ours => ours::receive(flow, on),
        Protocol::Quinn => quic::receive(flow, on),
    }?;
    received.cpu_secs = cpu_secs();
    tell(&received)
}

/// Sends a flow to a receiver that is ready, and tells what it took.
pub(crate) fn send(flow: &Flow, to: IpAddr, ready: &Ready) -> Result<(), PeerError> {
    let remarks = match flow.protocol {
        Protocol::Kernel => kernel::send(flow, to, ready),
        Protocol::Ours => ours::send(flow, to, ready),
        Protocol::Quinn => quic::send(flow, to, ready),
    }?;
    tell(&Sent { cpu_secs: cpu_secs(), remarks })
}

/// Says something to the process that started this one: a line of JSON.
pub(crate) fn tell(what: &impl Serialize) -> Result<(), PeerError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(what)?)?;
    Ok(out.flush()?)
}

/// User and system time of this process so far.
fn cpu_secs() -> f64 {
    let secs = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    getrusage(UsageWho::RUSAGE_SELF).map_or(f64::NAN, |usage| secs(usage.user_time()) + secs(usage.system_time()))
}

/// Where connection `index` of a flow goes.
fn address(to: IpAddr, ready: &Ready, index: usize) -> Result<SocketAddr, PeerError> {
    let port = ready.ports.get(index).or(ready.ports.first()).ok_or("the receiver told no port")?;
    Ok(SocketAddr::new(to, *port))
}

/// Runs a connection for each index in a thread of its own, and collects what they say.
fn in_threads<T: Send>(
    connections: usize,
    each: impl Fn(usize) -> Result<T, PeerError> + Sync,
) -> Result<Vec<T>, PeerError> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|index| {
                scope.spawn({
                    let each = &each;
                    move || each(index)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a connection's thread panicked")?).collect()
    })
}

/// All that the connections of a flow received.
fn together(parts: impl IntoIterator<Item = Received>) -> Received {
    parts.into_iter().fold(Received::default(), |mut all, part| {
        all.add(part);
        all
    })
}
