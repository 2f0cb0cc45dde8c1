//! UDP that stops while TCP goes on: from the start, in mid-call, one way alone.

use crate::network::{Host, Network};
use crate::program::Program;

struct Scene {
    near: Host,
    _far: Host,
    _server: Program,
    host: Program,
    code: String,
    _network: Network,
}

fn scene(test: &str) -> Option<Scene> {
    let network = Network::new(test)?;
    let (far, near) = (network.host("s"), network.host("c"));
    network.cable((&far, "e0"), (&near, "e0"));
    far.addresses("e0", &["10.71.0.1/24"]);
    near.addresses("e0", &["10.71.0.10/24"]);
    let mut server = far.start("conclave-server", &["--listen", "7878"]);
    server.line_with("ready");
    let mut host = far.start("conclave", &["host", "--server", "10.71.0.1", "--admit", "all", "--name", "Ada"]);
    let code = host.code();
    Some(Scene { near, _far: far, _server: server, host, code, _network: network })
}

impl Scene {
    fn guest(&self) -> Program {
        self.near.start("conclave", &["join", &self.code, "--server", "10.71.0.1", "--name", "Bo"])
    }

    /// Datagrams do not get through in this direction, `in` or `out`, of the guest's host.
    fn block(&self, hook: &str) {
        let full = if hook == "in" { "input" } else { "output" };
        self.near.nft(&format!(
            "table inet udp_{hook} {{\nchain c {{\ntype filter hook {full} priority 0; meta l4proto udp drop\n}}\n}}\n"
        ));
    }

    fn open(&self, hook: &str) {
        self.near.nft(&format!("delete table inet udp_{hook}\n"));
    }
}

#[test]
fn udp_that_dies_in_mid_call_is_told_to_both_ends_and_so_is_its_return() {
    let Some(mut scene) = scene("udp dies in mid-call") else { return };
    let mut guest = scene.guest();
    scene.host.line_with("Bo came in");
    scene.block("in");
    scene.block("out");
    let line = guest.line_with("Nothing comes from the server over UDP");
    assert!(line.contains("answers over TCP"), "{line}");
    scene.host.line_with("Bo has no sound or picture");
    scene.open("in");
    scene.open("out");
    guest.line_with("Sound and picture work again");
    scene.host.line_with("Bo has sound and picture again");
}

#[test]
fn udp_that_never_got_through_is_told_to_both_ends() {
    let Some(mut scene) = scene("udp never got through") else { return };
    scene.block("in");
    scene.block("out");
    let mut guest = scene.guest();
    guest.line_with("Nothing comes from the server over UDP");
    scene.host.line_with("Bo has no sound or picture");
}

#[test]
fn who_is_heard_and_hears_nothing_is_told_so_and_the_others_are() {
    let Some(mut scene) = scene("udp only to the server") else { return };
    let mut guest = scene.guest();
    scene.host.line_with("Bo came in");
    scene.block("in");
    guest.line_with("Nothing comes from the server over UDP");
    scene.host.line_with("Bo hears and sees nobody");
}

#[test]
fn who_hears_and_is_not_heard_is_told_so_and_the_others_are() {
    let Some(mut scene) = scene("udp only from the server") else { return };
    let mut guest = scene.guest();
    scene.host.line_with("Bo came in");
    scene.block("out");
    // Without anybody who speaks, nothing comes but answers to pings, and those stop too: then both ways count as dead.
    scene.host.line_with("Bo has no sound or picture");
    guest.line_with("UDP");
}
