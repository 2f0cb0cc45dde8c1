//! Network namespaces by `ip netns`: made, set up, and removed with everything that runs in them.

use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::peers::PeerError;

/// In front of the name of every namespace of ours; the process that made it and its end follow.
const PREFIX: &str = "conclave-lab-";

/// A namespace of this process; removed when dropped.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one, with the buffers of a host that is made for long fat paths and without IPv6, whose own packets
    /// would be among those that are counted.
    pub(crate) fn new(end: &str) -> Result<Self, PeerError> {
        let name = format!("{PREFIX}{}-{end}", std::process::id());
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        let own = std::env::current_exe()?;
        let own = own.to_str().ok_or("the path of this program is not text")?;
        ip(&["netns", "exec", namespace.name(), own, "prepare"])?;
        ip(&["-n", namespace.name(), "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// As `ip netns` knows it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Moves a device of this host into it, and opens it there as the end of a link of two.
    pub(crate) fn take_device(&self, device: &str, address: &str) -> Result<(), PeerError> {
        ip(&["link", "set", device, "netns", &self.name])?;
        ip(&["-n", &self.name, "addr", "add", &format!("{address}/30"), "dev", device])?;
        ip(&["-n", &self.name, "link", "set", device, "up"])
    }

    /// Packets that its device had no room for.
    pub(crate) fn dropped(&self, end: &str) -> Result<u64, PeerError> {
        let text = output(&["-n", &self.name, "-s", "-j", "link", "show", "dev", &device_name(end)])?;
        let json: serde_json::Value = serde_json::from_str(&text)?;
        json[0]["stats64"]["tx"]["dropped"].as_u64().ok_or_else(|| "ip tells no dropped packets".into())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// At most 15 letters, and no other process has it.
pub(super) fn device_name(end: &str) -> String {
    format!("lab{}{end}", std::process::id())
}

/// Writes the settings of a new namespace. Runs inside it.
pub(crate) fn prepare() -> Result<(), PeerError> {
    for (setting, value) in SETTINGS {
        let path = Path::new("/proc/sys/net").join(setting);
        // A kernel without IPv6 has nothing to switch off.
        if path.exists() {
            std::fs::write(&path, value).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(())
}

/// What a connection learned must not help the next one, and no buffer but Reno's window may hold it back.
const SETTINGS: [(&str, &str); 5] = [
    ("ipv4/tcp_no_metrics_save", "1"),
    ("ipv4/tcp_wmem", "4096 65536 67108864"),
    ("ipv4/tcp_rmem", "4096 131072 67108864"),
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
];

/// Removes namespaces that processes left which were ended without a chance to clean up.
pub(crate) fn remove_stale() {
    let list = output(&["netns", "list"]).unwrap_or_default();
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    for name in names.filter(|name| maker_is_gone(name)) {
        remove(name);
    }
}

fn maker_is_gone(name: &str) -> bool {
    let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')).map(|(pid, _)| pid);
    maker.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists())
}

/// Ends what runs in a namespace, and removes it. Nothing is there to be told of a failure.
fn remove(name: &str) {
    let pids = output(&["netns", "pids", name]).unwrap_or_default();
    for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
    }
    ip(&["netns", "del", name]).ok();
}

fn ip(args: &[&str]) -> Result<(), PeerError> {
    output(args).map(drop)
}

fn output(args: &[&str]) -> Result<String, PeerError> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("the program ip (package iproute2) does not start: {error}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("ip {}: {}", args.join(" "), complaint.trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
