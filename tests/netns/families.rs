//! A server that has a name with addresses of both families, one of which stops working in mid-call.

use std::time::{Duration, Instant};

use crate::network::{Host, Network};

/// Nothing of this family gets through from here on, neither TCP nor UDP; everything else does.
fn stop(host: &Host, family: &str) {
    host.nft("table inet stopped {}\ndelete table inet stopped\n");
    host.nft(&format!(
        "table inet stopped {{\nchain in {{\ntype filter hook input priority 0;\n\
         meta nfproto {family} meta l4proto {{ tcp, udp }} drop\n}}\n\
         chain out {{\ntype filter hook output priority 0;\n\
         meta nfproto {family} meta l4proto {{ tcp, udp }} drop\n}}\n}}\n"
    ));
}

/// The newest round trip that a program wrote down, and how many times it wrote.
fn measured(stats: &std::path::Path) -> (bool, usize) {
    let text = std::fs::read_to_string(stats).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let measured = whole.lines().last().is_some_and(|line| !line.contains("\"round_trip_time_ms\":null"));
    (measured, whole.lines().count())
}

/// Four a second for four seconds; what is older than three is written as unknown.
const LINES_UNTIL_UNKNOWN: usize = 16;

#[test]
fn a_call_goes_on_over_the_other_family_and_back() {
    let Some(network) = Network::new("two families") else { return };
    let (far, near) = (network.host("s"), network.host("c"));
    network.cable((&far, "e0"), (&near, "e0"));
    far.addresses("e0", &["10.71.0.1/24", "fd71::1/64"]);
    near.addresses("e0", &["10.71.0.10/24", "fd71::10/64"]);
    near.names(&[("fd71::1", "meet.test"), ("10.71.0.1", "meet.test")]);
    let mut server = far.start("conclave-server", &["--listen", "[::]:7878"]);
    server.line_with("ready");
    let mut host = far.start("conclave", &["host", "--server", "10.71.0.1", "--admit", "all", "--name", "Ada"]);
    let code = host.code();
    let stats = network.folder().join("bo.jsonl");
    let said = stats.to_string_lossy().into_owned();
    let join = ["join", &code, "--server", "meet.test", "--name", "Bo", "--microphone", "test", "--stats", &said];
    let guest = near.start("conclave", &join);
    host.line_with("Bo came in");
    let until_measured = |lines: usize| {
        let began = Instant::now();
        while !(measured(&stats).0 && measured(&stats).1 >= lines) {
            assert!(began.elapsed() < crate::program::PATIENCE, "no round trip is measured");
            std::thread::sleep(Duration::from_millis(50));
        }
        measured(&stats).1
    };
    for family in ["ipv6", "ipv4", "ipv6"] {
        let lines = until_measured(0);
        stop(&near, family);
        // What was measured before is unknown by then, so this is of the other family.
        until_measured(lines + LINES_UNTIL_UNKNOWN);
    }
    near.nft("delete table inet stopped\n");
    guest.interrupt();
    let (_, guest) = guest.end();
    host.interrupt();
    let (_, host) = host.end();
    let silent = |line: &&String| line.contains("sound") || line.contains("UDP");
    assert_eq!((host.iter().find(silent), guest.iter().find(silent)), (None, None));
}
