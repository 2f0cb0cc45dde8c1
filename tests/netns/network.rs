//! Hosts and cables: network namespaces and veth pairs, by the programs of iproute2 and nftables. All of it is gone when
//! the test is over.

use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::program::{Program, find_programs};

/// One test's hosts, and the folder in which its programs keep what they remember.
pub(crate) struct Network {
    name: String,
    folder: PathBuf,
}

/// A host of a [`Network`]. Removed when dropped, with every program that runs there.
pub(crate) struct Host {
    /// As `ip netns` knows it.
    namespace: String,
    folder: PathBuf,
}

impl Network {
    /// A network without hosts, or `None`, after a line that says why, where this machine cannot have one.
    pub(crate) fn new(test: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        static POSSIBLE: OnceLock<Result<(), String>> = OnceLock::new();
        if let Err(why) = POSSIBLE.get_or_init(possible) {
            // Past the harness, which shows nothing of a test that passes.
            let _ = writeln!(stderr(), "netns: {test} is skipped: {why}");
            return None;
        }
        let name = format!("cncl{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&folder).unwrap();
        Some(Self { name, folder })
    }

    /// Another host, with loopback alone. `name` is a few letters that no other host here has.
    pub(crate) fn host(&self, name: &str) -> Host {
        let namespace = format!("{}-{name}", self.name);
        ip(&["netns", "add", &namespace]);
        let host = Host { namespace, folder: self.folder.join(name) };
        std::fs::create_dir_all(&host.folder).unwrap();
        host.ip("link set lo up");
        // Else an address of IPv6 cannot be used for a second or two.
        host.setting("net/ipv6/conf/all/accept_dad", "0");
        host.setting("net/ipv6/conf/default/accept_dad", "0");
        host
    }

    /// Lays a cable between two hosts; each end is a card that is up.
    pub(crate) fn cable(&self, (host, card): (&Host, &str), (other, other_card): (&Host, &str)) {
        let ends = [card, "netns", &host.namespace, "type", "veth", "peer", "name", other_card, "netns"];
        ip(&[&["link", "add", "name"], &ends[..], &[&other.namespace]].concat());
        host.ip(&format!("link set {card} up"));
        other.ip(&format!("link set {other_card} up"));
    }

    /// Where this test may write.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Host {
    /// Runs `ip` for this host: `host.ip("addr add 10.0.0.1/24 dev a")`.
    pub(crate) fn ip(&self, arguments: &str) {
        ip(&[&["-n", &self.namespace], &arguments.split_whitespace().collect::<Vec<_>>()[..]].concat());
    }

    /// Gives a card these addresses, with the lengths of their prefixes.
    pub(crate) fn addresses(&self, card: &str, addresses: &[&str]) {
        for address in addresses {
            // The kernel would wait for neighbours that object to an address of IPv6.
            let nodad = if address.contains(':') { "nodad" } else { "" };
            self.ip(&format!("addr add {address} dev {card} {nodad}"));
        }
    }

    /// Loads rules of nftables.
    pub(crate) fn nft(&self, rules: &str) {
        let mut command = self.command(Path::new("nft"));
        let mut child = command.args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "nft refuses {rules}");
    }

    /// A firewall that lets in only what answers something that went out.
    pub(crate) fn lets_in_answers_alone(&self) {
        self.nft(
            "table inet answers {\nchain in {\ntype filter hook input priority 0; policy drop\niif lo accept\n\
             ct state established,related accept\nmeta l4proto ipv6-icmp accept\n}\n}\n",
        );
    }

    /// Sets what stands below /proc/sys, for example `net/ipv4/ip_forward`.
    pub(crate) fn setting(&self, path: &str, value: &str) {
        let write = format!("echo {value} >/proc/sys/{path}");
        assert!(self.command(Path::new("sh")).args(["-c", &write]).status().unwrap().success(), "{write}");
    }

    /// What a program of the system prints here, both streams.
    pub(crate) fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(Path::new(program)).args(arguments).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// What programs on this host find when they look names up.
    pub(crate) fn names(&self, names: &[(&str, &str)]) {
        let folder = Path::new("/etc/netns").join(&self.namespace);
        std::fs::create_dir_all(&folder).unwrap();
        let lines: String = names.iter().map(|(address, name)| format!("{address} {name}\n")).collect();
        std::fs::write(folder.join("hosts"), format!("127.0.0.1 localhost\n{lines}")).unwrap();
    }

    /// Starts one of our programs here; what it remembers is of this host.
    pub(crate) fn start(&self, program: &str, arguments: &[&str]) -> Program {
        let mut command = self.command(&find_programs().unwrap().join(program));
        command.args(arguments).env("HOME", &self.folder).env("XDG_STATE_HOME", &self.folder);
        command.env("XDG_CONFIG_HOME", &self.folder).env("XDG_DATA_HOME", &self.folder).env_remove("CONCLAVE_NAME");
        Program::start(&format!("{program} {}", arguments.join(" ")), &mut command)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let listed = Command::new("ip").args(["netns", "pids", &self.namespace]).output();
        let pids = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        for pid in pids.split_whitespace() {
            let _ = Command::new("kill").args(["-9", pid]).stderr(Stdio::null()).status();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).status();
        let _ = std::fs::remove_dir_all(Path::new("/etc/netns").join(&self.namespace));
    }
}

/// Whether there can be hosts here, or why not.
fn possible() -> Result<(), String> {
    find_programs()?;
    let works = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !works("ip", &["-V"]) || !works("nft", &["-v"]) {
        return Err("it needs the programs ip (package iproute2) and nft (package nftables)".into());
    }
    let probe = format!("cncl{}-probe", std::process::id());
    let made = works("ip", &["netns", "add", &probe]);
    let entered = made && works("ip", &["netns", "exec", &probe, "nft", "list", "ruleset"]);
    works("ip", &["netns", "del", &probe]);
    if entered { Ok(()) } else { Err("it needs root, and a kernel with network namespaces and nftables".into()) }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {complaint}", arguments.join(" "));
}
