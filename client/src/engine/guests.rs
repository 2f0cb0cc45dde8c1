//! What guests are told to type to reach a server inside this program.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use server::cards::Card;

use super::address::{DEFAULT_PORT, ServerAddress};

/// How others reach a server of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directions {
    /// What they type, likeliest first. Only this machine's own address where no other reaches it; nothing where there is
    /// no network.
    pub(super) addresses: Vec<String>,
    /// What the host should know of them, as a sentence.
    pub(super) note: Option<String>,
}

impl Directions {
    /// To a server of this machine that listens at `listen`.
    pub(super) fn here(listen: SocketAddr) -> Self {
        let cards = Card::all().unwrap_or_else(|error| {
            tracing::debug!(%error, "the system does not tell of its network cards");
            Vec::new()
        });
        let ways_out: Vec<_> =
            [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()].into_iter().filter_map(way_out).collect();
        direct(listen, &cards, &ways_out)
    }

    /// To a server as its host typed it.
    pub(super) fn to(server: &ServerAddress) -> Self {
        let loopback = server.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()) || server.host == "localhost";
        let note = loopback.then(|| ONLY_HERE_BY_THIS.to_owned());
        Self { addresses: vec![server.with_port()], note }
    }
}

/// Addresses that are told: a machine with containers has dozens that lead nowhere, and the likeliest come first.
const ADDRESSES_MAX: usize = 6;

/// Beginnings of the names of cards behind which there is a tunnel, a container or a virtual machine rather than the
/// people of a meeting. On Windows the names are those of the control panel.
const VIRTUAL: [&str; 31] = [
    "br-",
    "cali",
    "cni",
    "docker",
    "dummy",
    "flannel",
    "gpd",
    "hamachi",
    "ipsec",
    "lxc",
    "lxd",
    "nordlynx",
    "openvpn",
    "podman",
    "ppp",
    "proton",
    "tailscale",
    "tap",
    "tun",
    "utun",
    "vboxnet",
    "vethernet",
    "veth",
    "virbr",
    "vmnet",
    "vmware",
    "vpn",
    "vxlan",
    "wg",
    "wireguard",
    "zt",
];

/// How likely a guest reaches an address, the likeliest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Likelihood {
    /// The way out of this machine, by a card with a plug or an antenna.
    WayOut,
    /// Another one of such a card, IPv4.
    Card,
    /// The way out by a tunnel, IPv4.
    WayOutVirtual,
    /// Another tunnel, or a network within this machine, IPv4.
    Virtual,
    /// IPv6 beyond this link.
    Ipv6,
    /// IPv6 of a tunnel.
    VirtualIpv6,
    /// IPv4 of a network in which nobody gives addresses (RFC 3927).
    SelfMade,
}

fn direct(listen: SocketAddr, cards: &[Card], ways_out: &[IpAddr]) -> Directions {
    let typed = |ip| ServerAddress::from(SocketAddr::new(ip, listen.port())).with_port();
    if listen.ip().is_loopback() {
        return Directions { addresses: vec![typed(listen.ip())], note: Some(ONLY_HERE.to_owned()) };
    }
    let listed: Vec<_> = if listen.ip().is_unspecified() {
        likeliest_first(cards, ways_out, listen.is_ipv6())
    } else {
        vec![listen.ip()].into_iter().filter(|ip| !is_link_local(*ip)).collect()
    };
    if !listed.is_empty() {
        return Directions { addresses: listed.into_iter().take(ADDRESSES_MAX).map(typed).collect(), note: None };
    }
    let links = links(listen, cards);
    if links.is_empty() {
        let other_family = cards.iter().any(|card| card.up && !card.ip.is_loopback());
        let note = if other_family { NO_IPV4 } else { NO_NETWORK };
        return Directions { addresses: Vec::new(), note: Some(note.to_owned()) };
    }
    let scoped = |ip| ServerAddress { host: format!("{ip}%{GUESTS_CARD}"), port: listen.port() }.with_port();
    let addresses = links.into_iter().take(ADDRESSES_MAX).map(scoped).collect();
    Directions {
        addresses,
        note: Some(format!(
            "Only the network next to this machine reaches it: in place of {GUESTS_CARD}, guests type the name of their own network card, for example eth0."
        )),
    }
}

/// What stands for the name of a card that only the guest knows.
const GUESTS_CARD: &str = "CARD";
const NO_IPV4: &str = "It listens for IPv4 alone, and this machine has no network of IPv4, so nobody else can join.";
const NO_NETWORK: &str = "This machine has no network, so nobody else can join.";
const ONLY_HERE_BY_THIS: &str = "By this address only this machine reaches the server: others need one of its own.";
const ONLY_HERE: &str = "Only this machine reaches it.";

fn likeliest_first(cards: &[Card], ways_out: &[IpAddr], ipv6: bool) -> Vec<IpAddr> {
    let mut ranked: Vec<_> = cards
        .iter()
        .filter(|card| card.up && (ipv6 || card.ip.is_ipv4()))
        .filter_map(|card| Some((likelihood(card, ways_out)?, card.ip)))
        .collect();
    // Where the system does not tell of its cards, its ways out are known all the same.
    ranked.extend(ways_out.iter().filter(|ip| ipv6 || ip.is_ipv4()).map(|ip| (Likelihood::SelfMade, *ip)));
    ranked.sort_by_key(|(likelihood, _)| *likelihood);
    let mut addresses = Vec::new();
    for (_, ip) in ranked {
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    addresses
}

/// `None` for what no guest reaches.
fn likelihood(card: &Card, ways_out: &[IpAddr]) -> Option<Likelihood> {
    let way_out = ways_out.contains(&card.ip);
    match card.ip {
        ip if ip.is_loopback() || ip.is_unspecified() => None,
        IpAddr::V4(v4) if v4.is_link_local() => Some(Likelihood::SelfMade),
        IpAddr::V4(_) => Some(match (is_virtual(card), way_out) {
            (false, true) => Likelihood::WayOut,
            (false, false) => Likelihood::Card,
            (true, true) => Likelihood::WayOutVirtual,
            (true, false) => Likelihood::Virtual,
        }),
        ip if is_link_local(ip) => None,
        IpAddr::V6(_) if is_virtual(card) => Some(Likelihood::VirtualIpv6),
        IpAddr::V6(_) => Some(Likelihood::Ipv6),
    }
}

fn is_virtual(card: &Card) -> bool {
    let name = card.name.to_lowercase();
    // RFC 6598: addresses that a provider keeps to itself, and that VPNs between machines use.
    let shared = matches!(card.ip, IpAddr::V4(v4) if v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64);
    card.point_to_point || shared || VIRTUAL.iter().any(|start| name.starts_with(start))
}

/// The link-local addresses that a server at `listen` has.
fn links(listen: SocketAddr, cards: &[Card]) -> Vec<IpAddr> {
    if is_link_local(listen.ip()) {
        return vec![listen.ip()];
    }
    let linked = |card: &&Card| listen == SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), listen.port()) && card.up;
    cards.iter().filter(linked).map(|card| card.ip).filter(|ip| is_link_local(*ip)).collect()
}

fn is_link_local(ip: IpAddr) -> bool {
    server::cards::is_scoped(ip)
}

/// The address of this machine on its way out: what the routing table gives for an address that is kept for
/// documentation (RFC 5737, RFC 3849). Connecting a UDP socket sends nothing.
fn way_out(unspecified: IpAddr) -> Option<IpAddr> {
    let far = match unspecified {
        IpAddr::V4(_) => IpAddr::from([192, 0, 2, 1]),
        IpAddr::V6(_) => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
    };
    let socket = UdpSocket::bind((unspecified, 0)).ok()?;
    socket.connect((far, DEFAULT_PORT)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified() && !ip.is_loopback() && !is_link_local(ip)).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(name: &str, ip: &str) -> Card {
        Card { name: name.into(), index: Some(1), ip: ip.parse().unwrap(), up: true, point_to_point: false }
    }

    fn directed(listen: &str, cards: &[Card], ways_out: &[&str]) -> Directions {
        let ways_out: Vec<_> = ways_out.iter().map(|ip| ip.parse().unwrap()).collect();
        direct(listen.parse().unwrap(), cards, &ways_out)
    }

    #[test]
    fn the_way_out_is_first_then_the_lan_then_tunnels_then_ipv6() {
        let cards = [
            card("lo", "127.0.0.1"),
            card("docker0", "172.17.0.1"),
            card("eth0", "fe80::1"),
            card("eth0", "2001:db8:1::5"),
            card("eth1", "10.0.0.5"),
            card("tailscale0", "100.100.1.1"),
            card("eth0", "192.168.1.20"),
        ];
        let told = directed("[::]:7", &cards, &["192.168.1.20", "2001:db8:1::5"]);
        let expected = ["192.168.1.20:7", "10.0.0.5:7", "172.17.0.1:7", "100.100.1.1:7", "[2001:db8:1::5]:7"];
        assert_eq!(told, Directions { addresses: expected.map(str::to_owned).to_vec(), note: None });
    }

    #[test]
    fn beside_a_vpn_that_takes_everything_the_lan_is_first() {
        let vpn = Card { point_to_point: true, ..card("company", "10.8.0.2") };
        let told =
            directed("0.0.0.0:7", &[vpn, card("wlan0", "192.168.1.20"), card("wlan0", "fd00::1")], &["10.8.0.2"]);
        assert_eq!(told.addresses, ["192.168.1.20:7", "10.8.0.2:7"]);
    }

    #[test]
    fn a_lan_without_a_way_out_is_told() {
        assert_eq!(directed("[::]:7", &[card("eth0", "192.168.55.1")], &[]).addresses, ["192.168.55.1:7"]);
        let down = Card { up: false, ..card("eth1", "192.168.66.1") };
        assert_eq!(directed("[::]:7", &[down, card("eth0", "169.254.3.4")], &[]).addresses, ["169.254.3.4:7"]);
    }

    #[test]
    fn a_machine_without_a_network_says_so_and_names_no_address() {
        for listen in ["[::]:7", "0.0.0.0:7"] {
            let told = directed(listen, &[card("lo", "127.0.0.1"), card("lo", "::1")], &[]);
            assert_eq!(told, Directions { addresses: Vec::new(), note: Some(NO_NETWORK.to_owned()) });
        }
        // IPv6 next door does not help a server of IPv4.
        assert_eq!(directed("0.0.0.0:7", &[card("eth0", "fe80::1")], &[]).note.as_deref(), Some(NO_IPV4));
    }

    #[test]
    fn link_local_addresses_are_told_when_there_is_nothing_else() {
        let told = directed("[::]:7", &[card("eth0", "fe80::1")], &[]);
        assert_eq!(told.addresses, ["[fe80::1%CARD]:7"]);
        assert!(told.note.unwrap().contains("in place of CARD"));
        assert_eq!(directed("[fe80::9%4]:7", &[], &[]).addresses, ["[fe80::9%CARD]:7"]);
    }

    #[test]
    fn who_listens_at_one_address_is_reached_there_and_nowhere_else() {
        assert_eq!(directed("192.0.2.5:7", &[card("eth0", "10.0.0.1")], &["10.0.0.1"]).addresses, ["192.0.2.5:7"]);
        let here = directed("127.0.0.1:7", &[card("eth0", "10.0.0.1")], &["10.0.0.1"]);
        assert_eq!(here, Directions { addresses: vec!["127.0.0.1:7".to_owned()], note: Some(ONLY_HERE.to_owned()) });
    }

    #[test]
    fn a_loopback_that_was_typed_is_said_to_be_one() {
        for (typed, noted) in
            [("localhost:9", true), ("127.0.0.1", true), ("[::1]:9", true), ("meet.example.org", false)]
        {
            let told = Directions::to(&typed.parse().unwrap());
            assert_eq!((told.addresses.len(), told.note.is_some()), (1, noted), "{typed}");
        }
    }

    #[test]
    fn a_machine_with_many_networks_tells_of_the_likeliest() {
        let mut cards: Vec<_> = (1..40).map(|last| card("br-1234", &format!("172.20.0.{last}"))).collect();
        cards.push(card("eth0", "192.168.1.20"));
        let told = directed("[::]:7", &cards, &["192.168.1.20"]).addresses;
        assert_eq!((told.len(), told[0].as_str()), (ADDRESSES_MAX, "192.168.1.20:7"));
    }
}
