//! A server with several addresses, behind whose back the routing table prefers another one for the way out, and guests
//! whose firewall or NAT lets in only what answers.

use crate::network::{Host, Network};
use crate::program::Program;

/// What stands between the guests and the server.
#[derive(Clone, Copy, PartialEq)]
enum Between {
    Firewall,
    Nat,
}

/// A server, a router, and the host on which host and guest of a meeting are.
struct Place {
    near: Host,
    far: Host,
    _router: Host,
    _network: Network,
}

impl Place {
    /// `None` where there cannot be one.
    fn new(test: &str, between: Between) -> Option<Self> {
        let network = Network::new(test)?;
        let (near, router, far) = (network.host("c"), network.host("r"), network.host("s"));
        network.cable((&near, "e0"), (&router, "in"));
        network.cable((&router, "out"), (&far, "e0"));
        near.addresses("e0", &["10.73.0.10/24", "fd73::10/64"]);
        router.addresses("in", &["10.73.0.1/24", "fd73::1/64"]);
        router.addresses("out", &["10.71.0.254/24", "fd71::fe/64"]);
        far.addresses("e0", &["10.71.0.1/24", "10.71.0.2/24", "fd71::1/64", "fd71::2/64"]);
        // A second card, to another network.
        network.cable((&far, "e1"), (&router, "idle"));
        far.addresses("e1", &["10.72.0.1/24", "fd72::1/64"]);
        for (host, gateways) in [(&near, ["10.73.0.1", "fd73::1"]), (&far, ["10.71.0.254", "fd71::fe"])] {
            gateways.iter().for_each(|gateway| host.ip(&format!("route add default via {gateway}")));
        }
        for far in ["10.72.0.0/24 via 10.71.0.1", "fd72::/64 via fd71::1"] {
            router.ip(&format!("route add {far}"));
        }
        router.setting("net/ipv4/ip_forward", "1");
        router.setting("net/ipv6/conf/all/forwarding", "1");
        match between {
            Between::Firewall => near.lets_in_answers_alone(),
            Between::Nat => router.nft(
                "table inet nat {\nchain out {\ntype nat hook postrouting priority 100\noifname out masquerade\n}\n}\n",
            ),
        }
        Some(Self { near, far, _router: router, _network: network })
    }

    fn serve(&self, listen: &str) -> Program {
        let mut program = self.far.start("conclave-server", &["--listen", listen]);
        program.line_with("ready");
        program
    }

    fn host(&self, server: &str) -> (Program, String) {
        let mut host = self.near.start("conclave", &["host", "--server", server, "--admit", "all", "--name", "Ada"]);
        let code = host.code();
        (host, code)
    }

    /// A guest comes and writes; the host reads it, and the guest is told so.
    fn guest_is_heard(&self, server: &str, code: &str, name: &str, host: &mut Program) {
        let words = format!("hello of {name}");
        let join = ["join", code, "--server", server, "--name", name, "--say", &words];
        let mut guest = self.near.start("conclave", &join);
        host.line_with(&format!("{name}: {words}"));
        guest.line_with("Message 1 is with 1.");
    }
}

fn meet(test: &str, between: Between, listen: &str, server: &str) {
    let Some(place) = Place::new(test, between) else { return };
    let _server = place.serve(listen);
    let (mut host, code) = place.host(server);
    place.guest_is_heard(server, &code, "Bo", &mut host);
}

#[test]
fn a_second_address_answers_itself_to_a_firewall() {
    meet("a second address, firewall", Between::Firewall, "0.0.0.0:7878", "10.71.0.2");
}

#[test]
fn a_second_address_answers_itself_through_nat() {
    meet("a second address, NAT", Between::Nat, "0.0.0.0:7878", "10.71.0.2");
}

#[test]
fn an_address_of_ipv4_answers_itself_from_a_socket_of_both_families_to_a_firewall() {
    meet("IPv4 of both, firewall", Between::Firewall, "[::]:7878", "10.71.0.2");
}

#[test]
fn an_address_of_ipv4_answers_itself_from_a_socket_of_both_families_through_nat() {
    meet("IPv4 of both, NAT", Between::Nat, "[::]:7878", "10.71.0.2");
}

#[test]
fn a_second_address_of_ipv6_answers_itself_to_a_firewall() {
    meet("IPv6, firewall", Between::Firewall, "[::]:7878", "[fd71::1]");
}

#[test]
fn a_second_address_of_ipv6_answers_itself_through_nat() {
    meet("IPv6, NAT", Between::Nat, "[::]:7878", "[fd71::1]");
}

#[test]
fn a_second_card_answers_itself_to_a_firewall() {
    meet("a second card, firewall", Between::Firewall, "0.0.0.0:7878", "10.72.0.1");
}

#[test]
fn a_second_card_answers_itself_through_nat() {
    meet("a second card, NAT", Between::Nat, "[::]:7878", "[fd72::1]");
}

#[test]
fn a_meeting_goes_on_when_the_machine_prefers_another_address_of_ipv6() {
    let Some(place) = Place::new("another address is preferred", Between::Firewall) else { return };
    let _server = place.serve("[::]:7878");
    let (mut host, code) = place.host("[fd71::2]");
    place.guest_is_heard("[fd71::2]", &code, "Bo", &mut host);
    // As privacy extensions do once a day (RFC 8981 §3.4): a new address, and the old one is good for what is running.
    place.far.addresses("e0", &["fd71::3/64"]);
    place.far.ip("addr change fd71::2/64 dev e0 preferred_lft 0");
    place.guest_is_heard("[fd71::3]", &code, "Cy", &mut host);
}
