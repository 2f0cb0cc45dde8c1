//! The emulated link: a process that makes two network namespaces with a TUN device in each, and carries every packet
//! from one to the other through [`common::link::Link`], the link of the simulator.

mod carrier;
mod lateness;
mod namespace;

use clap::Args;
use common::link::{Link, LinkConfig};
use nix::sys::signal::{SigSet, Signal};
use serde::{Deserialize, Serialize};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::peers::{PeerError, tell};
use crate::priority::Priority;
use carrier::Carrier;
pub(crate) use lateness::Lateness;
use namespace::Namespace;
pub(crate) use namespace::{prepare, remove_stale};

/// What the process is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct LinkOptions {
    /// The link, the same each way, for example loss=3,delay=40,rate=2000,queue=30000 (percent, ms, kbit/s, bytes)
    #[arg(long)]
    pub(crate) each_way: LinkConfig,
    /// Decides the fate of every packet by its index
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// Where the two ends are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ends {
    /// Namespaces of the sender and of the receiver.
    pub(crate) namespaces: [String; 2],
}

/// Address of the sender's and of the receiver's end, the same in every run: each pair of namespaces is a world of
/// its own.
pub(crate) const ADDRESSES: [&str; 2] = ["10.77.0.1", "10.77.0.2"];

/// What happened on the link.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LinkReport {
    /// Packets offered, from the sender and from the receiver.
    pub(crate) offered: [u64; 2],
    /// Those of them that never arrived.
    pub(crate) lost: [u64; 2],
    /// Those of them for which the queue had no room.
    pub(crate) queue_drops: [u64; 2],
    /// Packets that did not get as far as the link; they should be none.
    pub(crate) ring_drops: u64,
    /// How much later than due packets came in and went out.
    pub(crate) lateness: Lateness,
}

/// Packets that wait in a TUN device while the emulator does something else: half a second at 40,000 a second.
const DEVICE_QUEUE_PACKETS: u32 = 20_000;

/// Carries packets until its input ends or a signal comes, removes what it made and tells what happened.
pub(crate) fn run(options: &LinkOptions) -> Result<(), PeerError> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block()?;
    let namespaces = [Namespace::new("a")?, Namespace::new("b")?];
    let devices = [device("a", &namespaces[0], ADDRESSES[0])?, device("b", &namespaces[1], ADDRESSES[1])?];
    let config = LinkConfig { overhead_bytes: 0, ..options.each_way };
    // The seeds of the two ways that the simulator's benches use.
    let links = [Link::new(config, 2 * options.seed), Link::new(config, 2 * options.seed + 1)];
    tell(&Ends { namespaces: namespaces.each_ref().map(|namespace| namespace.name().to_owned()) })?;
    Priority::Link.take();
    let mut carrier = Carrier::new(&devices, links);
    carrier.carry(&signals)?;
    let mut report = carrier.into_report();
    report.ring_drops = namespaces[0].dropped("a")? + namespaces[1].dropped("b")?;
    tell(&report)
}

/// Makes a TUN device and puts it into a namespace; its descriptor stays good. It offers no offloads, so each read is
/// one packet of at most 1,500 bytes.
fn device(end: &str, namespace: &Namespace, address: &str) -> Result<SyncDevice, PeerError> {
    let name = namespace::device_name(end);
    let device = DeviceBuilder::new()
        .name(&name)
        .mtu(1_500)
        .tx_queue_len(DEVICE_QUEUE_PACKETS)
        .enable(false)
        .build_sync()
        .map_err(|error| format!("no TUN device can be made: {error}"))?;
    device.set_nonblocking(true)?;
    namespace.take_device(&name, address)?;
    Ok(device)
}
