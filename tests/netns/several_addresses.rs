//! A server with several addresses, and firewalls that let in only what answers.

use crate::network::Network;

/// Holds a meeting of two over `server`, one of the `addresses` of a server; host and guest let in answers alone.
fn meet(test: &str, listen: &str, addresses: &[&str], server: &str) {
    let Some(network) = Network::new(test) else { return };
    let (far, near) = (network.host("s"), network.host("c"));
    network.cable((&far, "e0"), (&near, "e0"));
    far.addresses("e0", addresses);
    near.addresses("e0", &["10.71.0.10/24", "fd71::10/64"]);
    near.lets_in_answers_alone();
    let mut program = far.start("conclave-server", &["--listen", listen]);
    program.line_with("ready");
    let mut host = near.start("conclave", &["host", "--server", server, "--admit", "all", "--name", "Ada"]);
    let code = host.code();
    let mut guest = near.start("conclave", &["join", &code, "--server", server, "--name", "Bo", "--say", "hello"]);
    host.line_with("Bo: hello");
    // What the host has, the guest is told of over the same way.
    guest.line_with("Message 1 is with 1.");
}

#[test]
fn who_lets_in_answers_alone_meets_a_server_with_one_address() {
    meet("one address", "[::]:7878", &["10.71.0.1/24"], "10.71.0.1");
}
