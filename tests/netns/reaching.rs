//! How people get to a server: names with dead addresses, paths that lose long packets, networks without a way out,
//! addresses that are only complete with a network card.

use std::time::{Duration, Instant};

use crate::network::{Host, Network};

/// A name with three addresses of IPv6 that swallow everything, and one of IPv4 at which the server is.
fn behind_dead_addresses(network: &Network) -> (Host, Host) {
    let (far, near) = (network.host("s"), network.host("c"));
    network.cable((&far, "e0"), (&near, "e0"));
    far.addresses("e0", &["10.71.0.1/24", "fd71::1/64", "fd71::2/64", "fd71::3/64"]);
    near.addresses("e0", &["10.71.0.10/24", "fd71::10/64"]);
    far.nft("table inet dead {\nchain in {\ntype filter hook input priority 0\nip6 daddr fd71::/64 meta l4proto { tcp, udp } drop\n}\n}\n");
    let meet = |address| (address, "meet.test");
    near.names(&[meet("fd71::1"), meet("fd71::2"), meet("fd71::3"), meet("10.71.0.1")]);
    (far, near)
}

/// Time for what takes less than a second here, on a slow and busy machine; one dead address that is waited for takes 6 s.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_name_with_three_dead_addresses_opens_a_meeting_and_is_come_back_to_at_once() {
    let Some(network) = Network::new("dead addresses") else { return };
    let (far, near) = behind_dead_addresses(&network);
    let mut server = far.start("conclave-server", &[]);
    server.line_with("ready");
    let began = Instant::now();
    let mut host = near.start("conclave", &["host", "--server", "meet.test", "--admit", "all", "--name", "Ada"]);
    let code = host.code();
    assert!(began.elapsed() < SOON, "the meeting is open after {:?}", began.elapsed());
    let cut = Instant::now();
    near.ask("ss", &["-K", "dst", "10.71.0.1", "dport", "=", "7878"]);
    host.line_with("Connected to the server again.");
    assert!(cut.elapsed() < SOON, "the connection is back after {:?}", cut.elapsed());
    let mut guest = near.start("conclave", &["join", &code, "--server", "meet.test", "--name", "Bo", "--say", "hello"]);
    host.line_with(": hello");
    guest.line_with("Message 1 is with 1.");
}

/// Joins over a router that swallows what is longer than `mtu` and says nothing, and sends a file of 3 MB.
fn passes(mtu: u32, server: &str) {
    let Some(network) = Network::new("a path of few bytes") else { return };
    let (far, router, near) = (network.host("s"), network.host("r"), network.host("c"));
    network.cable((&far, "e0"), (&router, "e0"));
    network.cable((&router, "e1"), (&near, "e0"));
    far.addresses("e0", &["10.71.0.1/24", "fd71::1/64"]);
    router.addresses("e0", &["10.71.0.254/24", "fd71::fe/64"]);
    router.addresses("e1", &["10.73.0.254/24", "fd73::fe/64"]);
    near.addresses("e0", &["10.73.0.10/24", "fd73::10/64"]);
    for (host, v4, v6) in [(&far, "10.71.0.254", "fd71::fe"), (&near, "10.73.0.254", "fd73::fe")] {
        host.ip(&format!("route add default via {v4}"));
        host.ip(&format!("route add default via {v6}"));
        // Each packet as the wire has it: the router sees how long it is.
        host.ip("link set e0 gso_max_segs 1");
    }
    router.setting("net/ipv4/ip_forward", "1");
    router.setting("net/ipv6/conf/all/forwarding", "1");
    router.nft(&format!(
        "table inet path {{\nchain way {{\ntype filter hook forward priority 0\nmeta length > {mtu} drop\n}}\n}}\n"
    ));
    let mut program = far.start("conclave-server", &[]);
    program.line_with("ready");
    let into = network.folder().join("received");
    let host =
        ["host", "--server", "10.71.0.1", "--admit", "all", "--name", "Ada", "--receive", into.to_str().unwrap()];
    let mut host = far.start("conclave", &host);
    let code = host.code();
    let file = network.folder().join("three.bin");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(&file, &bytes).unwrap();
    let guest = ["join", &code, "--server", server, "--name", "Bo", "--say", "hello", "--send", file.to_str().unwrap()];
    let guest = near.start("conclave", &guest);
    host.line_with(": hello");
    host.line_with("verified");
    assert!(guest.end().0.success());
    assert!(std::fs::read(into.join("three.bin")).unwrap() == bytes);
}

#[test]
fn a_path_of_1280_bytes_that_says_nothing_carries_people_and_files() {
    passes(1_280, "10.71.0.1");
    passes(1_280, "fd71::1");
}

#[test]
fn a_path_of_1400_bytes_that_says_nothing_carries_people_and_files() {
    passes(1_400, "10.71.0.1");
    passes(1_400, "fd71::1");
}

#[test]
fn a_guest_gets_in_by_what_the_host_prints_on_a_lan_without_a_way_out() {
    let Some(network) = Network::new("no way out") else { return };
    let (far, near) = (network.host("s"), network.host("c"));
    network.cable((&far, "e0"), (&near, "e0"));
    far.addresses("e0", &["192.168.55.1/24"]);
    near.addresses("e0", &["192.168.55.2/24"]);
    let mut host = far.start("conclave", &["host", "--admit", "all", "--name", "Ada"]);
    let code = host.code();
    let line = host.line_with("--server");
    let server = line.split_whitespace().last().unwrap();
    assert_eq!(server, "192.168.55.1");
    let guest = near.start("conclave", &["join", &code, "--server", server, "--name", "Bo", "--for", "0"]);
    assert!(guest.end().0.success());
}

#[test]
fn a_vpn_beside_the_lan_is_told_after_it() {
    let Some(network) = Network::new("a VPN beside") else { return };
    let (far, near) = (network.host("s"), network.host("c"));
    network.cable((&far, "e0"), (&near, "e0"));
    network.cable((&far, "tun0"), (&near, "tun0"));
    far.addresses("e0", &["192.168.55.1/24"]);
    far.addresses("tun0", &["10.99.0.1/24"]);
    far.ip("route add default via 10.99.0.254 dev tun0");
    let mut host = far.start("conclave", &["host", "--admit", "all", "--name", "Ada", "--for", "0"]);
    host.code();
    let (_, lines) = host.end();
    let told: Vec<_> = lines.iter().filter_map(|line| line.split_once("--server ")).map(|(_, server)| server).collect();
    assert_eq!(told, ["192.168.55.1", "10.99.0.1"]);
}

#[test]
fn a_machine_without_a_network_tells_nobody_to_type_its_loopback() {
    let Some(network) = Network::new("no network") else { return };
    let alone = network.host("a");
    for (listen, sentence) in [
        ("7878", "This machine has no network, so nobody else can join."),
        ("127.0.0.1", "Only this machine reaches it."),
    ] {
        let host = alone.start("conclave", &["host", "--listen", listen, "--name", "Ada", "--for", "0"]);
        let (ended, lines) = host.end();
        assert!(ended.success());
        assert!(lines.iter().any(|line| line == sentence), "{lines:#?}");
        let told = lines.iter().any(|line| line.contains("--server"));
        assert_eq!(told, listen.starts_with("127"), "{lines:#?}");
    }
}

#[test]
fn people_meet_over_link_local_addresses_with_their_card() {
    let Some(network) = Network::new("link-local") else { return };
    let (far, near) = (network.host("s"), network.host("c"));
    network.cable((&far, "e0"), (&near, "lan"));
    far.addresses("e0", &["fe80::71/64"]);
    near.addresses("lan", &["fe80::10/64"]);
    for listen in ["[fe80::71%e0]:7878", "[::]:7878"] {
        let mut server = far.start("conclave-server", &["--listen", listen]);
        server.line_with("ready");
        let mut host = near.start("conclave", &["host", "--server", "fe80::71%lan", "--admit", "all", "--name", "Ada"]);
        let code = host.code();
        let guest = ["join", &code, "--server", "[fe80::71%lan]:7878", "--name", "Bo", "--say", "hello"];
        let mut guest = near.start("conclave", &guest);
        host.line_with(": hello");
        guest.line_with("Message 1 is with 1.");
    }
}

#[test]
fn a_link_local_address_without_its_card_is_told_with_the_cards_it_may_be_behind() {
    let Some(network) = Network::new("no scope") else { return };
    let (far, near) = (network.host("s"), network.host("c"));
    network.cable((&far, "e0"), (&near, "lan"));
    far.addresses("e0", &["fe80::71/64"]);
    near.addresses("lan", &["fe80::10/64"]);
    let guest = near.start("conclave", &["join", "123456", "--server", "[fe80::71]:7878", "--name", "Bo"]);
    let (ended, lines) = guest.end();
    assert!(!ended.success());
    assert!(lines.iter().any(|line| line.contains("write [fe80::71%lan]")), "{lines:#?}");
    let server = far.start("conclave-server", &["--listen", "[fe80::71]:7878"]);
    let (ended, lines) = server.end();
    assert!(!ended.success());
    assert!(lines.iter().any(|line| line.contains("write [fe80::71%e0]")), "{lines:#?}");
}
