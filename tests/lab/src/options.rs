//! The command line: the lab for a person, and the processes that it starts for itself.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Args, Parser, Subcommand};
use nix::unistd::geteuid;

use crate::link::{self, LinkOptions};
use crate::peers::{self, Controller, Flow, PeerError};
use crate::priority::Priority;
use crate::rows;

/// Our Reno beside the kernel's and quinn's over the same emulated paths. Needs Linux and root.
#[derive(Debug, Parser)]
#[command(name = "conclave-lab", args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    lab: LabOptions,
}

/// What a person may ask for.
#[derive(Args, Clone, Debug)]
pub(crate) struct LabOptions {
    /// Rows to measure; all when none is named
    #[arg(long, value_delimiter = ',', value_parser = ["R1", "R2", "R3", "R5", "R7", "R8"])]
    pub(crate) rows: Vec<String>,
    /// A tenth of the time: fewer paths, shorter runs, two seeds. Shows that it works; no figure to keep
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rates of the grid, Mbit/s
    #[arg(long, value_delimiter = ',', default_value = "20,100")]
    pub(crate) rates: Vec<f64>,
    /// Round trips of the grid, ms
    #[arg(long, value_delimiter = ',', default_value = "2,20,50,100")]
    pub(crate) rtts: Vec<f64>,
    /// Loss of the grid each way, percent
    #[arg(long, value_delimiter = ',', default_value = "0,0.1,1,3")]
    pub(crate) losses: Vec<f64>,
    /// Seeds of the grid: each is a run of everybody over every path
    #[arg(long, default_value_t = 3)]
    pub(crate) seeds: u64,
    /// Seconds of bulk in each run of the grid
    #[arg(long, default_value_t = 12.0)]
    pub(crate) secs: f64,
    /// Links of 20 Mbit/s at a time; twice the cores when not given
    #[arg(long)]
    pub(crate) links: Option<usize>,
    /// The controller of our Reno
    #[arg(long, default_value = "reno")]
    pub(crate) controller: Controller,
    /// Leaves quinn out of the grid
    #[arg(long)]
    pub(crate) without_quinn: bool,
    /// Where target/figures is
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target"))]
    pub(crate) target: PathBuf,
    /// Goodput of the simulator over the grid, for R2
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../golden/reno_goodput.txt"))]
    pub(crate) simulated: PathBuf,
}

/// What the lab starts itself as.
#[derive(Debug, Subcommand)]
enum Part {
    /// Makes a link and carries packets until the input ends
    #[command(hide = true)]
    Link(LinkOptions),
    /// Sets up the namespace it runs in
    #[command(hide = true)]
    Prepare,
    /// Receives a flow
    #[command(hide = true)]
    Receive(PeerOptions),
    /// Sends a flow
    #[command(hide = true)]
    Send(PeerOptions),
}

#[derive(Args, Debug)]
struct PeerOptions {
    #[command(flatten)]
    flow: Flow,
    #[arg(long)]
    priority: Priority,
    /// Of the receiver
    #[arg(long)]
    address: IpAddr,
    /// What the receiver told
    #[arg(long, default_value = "{\"ports\":[],\"certificate\":\"\"}")]
    ready: String,
}

/// Does what the command line says.
pub(crate) fn run() -> Result<(), PeerError> {
    let options = Options::parse();
    match options.part {
        None => lab(&options.lab),
        Some(Part::Link(link)) => link::run(&link),
        Some(Part::Prepare) => link::prepare(),
        Some(Part::Receive(peer)) => {
            peer.priority.take();
            peers::receive(&peer.flow, peer.address)
        }
        Some(Part::Send(peer)) => {
            peer.priority.take();
            peers::send(&peer.flow, peer.address, &serde_json::from_str(&peer.ready)?)
        }
    }
}

fn lab(options: &LabOptions) -> Result<(), PeerError> {
    check_machine()?;
    link::remove_stale();
    rows::measure(options)
}

fn check_machine() -> Result<(), PeerError> {
    if !geteuid().is_root() {
        return Err("the lab makes network namespaces and needs root: run make lab-reno as root or with sudo".into());
    }
    if !Path::new("/dev/net/tun").exists() {
        return Err("the lab needs /dev/net/tun: load the module tun, or give the container that device".into());
    }
    let ip = Command::new("ip").args(["netns", "list"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !ip.is_ok_and(|status| status.success()) {
        return Err("the lab needs the program ip with network namespaces: install iproute2".into());
    }
    Ok(())
}
