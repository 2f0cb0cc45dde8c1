//! UDP that a firewall drops in mid-call and lets through again, while TCP lives.

use std::time::{Duration, Instant};

use crate::network::Network;

/// Longer than any retransmission timeout has grown by then.
const OUTAGE: Duration = Duration::from_secs(66);
/// Some ten seconds of the guest's path.
const FILE_BYTES: usize = 8_000_000;

#[test]
fn a_file_goes_on_after_udp_was_dropped_for_66_seconds() {
    let Some(network) = Network::new("a_file_goes_on_after_udp_was_dropped_for_66_seconds") else { return };
    let (near, far) = (network.host("c"), network.host("s"));
    network.cable((&near, "e0"), (&far, "e0"));
    near.addresses("e0", &["10.74.0.10/24"]);
    far.addresses("e0", &["10.74.0.1/24"]);
    let (file, folder) = (network.folder().join("film.bin"), network.folder().join("received"));
    let content: Vec<u8> = (0..FILE_BYTES).map(|n| (n % 251) as u8 ^ (n / 65_536) as u8).collect();
    std::fs::write(&file, &content).unwrap();
    std::fs::create_dir_all(&folder).unwrap();

    let mut server = far.start("conclave-server", &["--listen", "10.74.0.1:7878"]);
    server.line_with("ready");
    let receive = ["--receive", folder.to_str().unwrap()];
    let host = ["host", "--server", "10.74.0.1:7878", "--admit", "all", "--name", "Ada"];
    let mut host = far.start("conclave", &[&host[..], &receive].concat());
    let code = host.code();
    let join = ["join", &code, "--server", "10.74.0.1:7878", "--name", "Bo", "--impair", "rate=6000,delay=10"];
    let mut guest = near.start("conclave", &[&join[..], &["--send", file.to_str().unwrap()]].concat());
    host.line_with("film.bin");
    guest.line_with(" %, ");

    near.nft(
        "table inet outage {\nchain in {\ntype filter hook input priority 0;\nmeta l4proto udp drop\n}\n\
        chain out {\ntype filter hook output priority 0;\nmeta l4proto udp drop\n}\n}\n",
    );
    std::thread::sleep(OUTAGE);
    assert!(!folder.join("film.bin").exists(), "the outage came before the end of the file");
    near.nft("delete table inet outage\n");
    let back = Instant::now();
    let (status, lines) = guest.end();
    assert!(status.success(), "{:?} after the end of the outage: {lines:#?}", back.elapsed());
    assert!(std::fs::read(folder.join("film.bin")).unwrap() == content);
}
