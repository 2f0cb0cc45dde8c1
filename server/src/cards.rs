//! The network cards of this machine, and the addresses that mean something only together with one of them.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// An address of this machine, and the card that has it. A card with several addresses is there several times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// As the system calls it, for example `eth0`.
    pub name: String,
    /// The system's number for it, which is what a scope is (RFC 4007 §6); from 1.
    pub index: Option<u32>,
    /// One of its addresses.
    pub ip: IpAddr,
    /// It is switched on and has a carrier.
    pub up: bool,
    /// It ends in one other machine, as most tunnels do.
    pub point_to_point: bool,
}

impl Card {
    /// Every card with an address.
    ///
    /// # Errors
    /// What the system says when it does not tell.
    pub fn all() -> io::Result<Vec<Self>> {
        Ok(if_addrs::get_if_addrs()?.into_iter().map(Self::from).collect())
    }
}

impl From<if_addrs::Interface> for Card {
    fn from(interface: if_addrs::Interface) -> Self {
        Self {
            ip: interface.ip(),
            index: interface.index,
            up: interface.is_oper_up(),
            point_to_point: interface.is_p2p(),
            name: interface.name,
        }
    }
}

/// Why an address cannot be used without another word on its card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeError {
    /// The address is there on every card, and none was named.
    Missing {
        /// The address.
        ip: Ipv6Addr,
        /// The cards it may be behind.
        cards: Vec<String>,
    },
    /// This machine has no such card.
    Unknown {
        /// As it was typed.
        zone: String,
        /// The cards it has.
        cards: Vec<String>,
    },
}

impl fmt::Display for ScopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { ip, cards } if cards.is_empty() => {
                write!(f, "{ip} is a link-local address, and this machine has no network card that is up")
            }
            Self::Missing { ip, cards } => {
                let forms: Vec<_> = cards.iter().map(|card| format!("[{ip}%{card}]")).collect();
                write!(
                    f,
                    "{ip} is a link-local address, which is only complete with the network card it is behind: write {}",
                    forms.join(" or ")
                )
            }
            Self::Unknown { zone, cards } if cards.is_empty() => {
                write!(f, "this machine has no network card “{zone}”, and none that is up")
            }
            Self::Unknown { zone, cards } => {
                write!(f, "this machine has no network card “{zone}”; it has {}", cards.join(", "))
            }
        }
    }
}

impl std::error::Error for ScopeError {}

/// The socket address of `ip` behind the card `zone`, by name or by number.
///
/// # Errors
/// When the address needs a card and has none, or the card is not there.
pub fn socket_address(ip: IpAddr, zone: Option<&str>, port: u16) -> Result<SocketAddr, ScopeError> {
    let needed = zone.is_some() || is_scoped(ip);
    // Numbers work also where the system does not tell of its cards.
    let cards = if needed { Card::all().unwrap_or_default() } else { Vec::new() };
    resolve(&cards, ip, zone, port)
}

/// Whether the address is on every card, so that the card has to be known.
pub fn is_scoped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Cards that are told of; more are no help.
const CARDS_TOLD_MAX: usize = 8;

fn resolve(cards: &[Card], ip: IpAddr, zone: Option<&str>, port: u16) -> Result<SocketAddr, ScopeError> {
    let IpAddr::V6(v6) = ip else {
        return Ok(SocketAddr::new(ip, port));
    };
    let scope = match zone {
        Some(zone) => number_of(cards, zone)?,
        None if is_scoped(ip) => return Err(ScopeError::Missing { ip: v6, cards: candidates(cards, ip) }),
        None => 0,
    };
    Ok(SocketAddrV6::new(v6, port, 0, scope).into())
}

fn number_of(cards: &[Card], zone: &str) -> Result<u32, ScopeError> {
    let named = cards.iter().find(|card| card.name == zone).and_then(|card| card.index);
    let number = || zone.parse().ok().filter(|number| *number > 0);
    named.or_else(number).ok_or_else(|| ScopeError::Unknown {
        zone: zone.to_owned(),
        cards: names(cards.iter().filter(|card| card.up && !card.ip.is_loopback())),
    })
}

/// The cards that have this very address; or else those that have a link-local one; or else those that are up.
fn candidates(cards: &[Card], ip: IpAddr) -> Vec<String> {
    let up = || cards.iter().filter(|card| card.up && !card.ip.is_loopback());
    let stages =
        [names(cards.iter().filter(|card| card.ip == ip)), names(up().filter(|card| is_scoped(card.ip))), names(up())];
    stages.into_iter().find(|names| !names.is_empty()).unwrap_or_default()
}

fn names<'a>(cards: impl Iterator<Item = &'a Card>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for card in cards {
        if !names.contains(&card.name) && names.len() < CARDS_TOLD_MAX {
            names.push(card.name.clone());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(name: &str, index: u32, ip: &str) -> Card {
        Card { name: name.into(), index: Some(index), ip: ip.parse().unwrap(), up: true, point_to_point: false }
    }

    fn cards() -> Vec<Card> {
        vec![
            card("lo", 1, "::1"),
            card("eth0", 2, "192.0.2.5"),
            card("eth0", 2, "fe80::5"),
            card("wlan0", 7, "fe80::7"),
            Card { up: false, ..card("eth1", 3, "fe80::8") },
        ]
    }

    fn resolved(ip: &str, zone: Option<&str>) -> Result<String, String> {
        let found = resolve(&cards(), ip.parse().unwrap(), zone, 9);
        found.map(|address| address.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_card_is_known_by_name_and_by_number() {
        assert_eq!(resolved("fe80::1", Some("wlan0")), Ok("[fe80::1%7]:9".into()));
        assert_eq!(resolved("fe80::1", Some("2")), Ok("[fe80::1%2]:9".into()));
        assert_eq!(resolved("2001:db8::1", None), Ok("[2001:db8::1]:9".into()));
        assert_eq!(resolved("169.254.1.1", None), Ok("169.254.1.1:9".into()));
    }

    #[test]
    fn a_link_local_address_without_a_card_is_told_with_the_cards_it_may_be_behind() {
        let error = resolved("fe80::1", None).unwrap_err();
        assert!(error.ends_with("write [fe80::1%eth0] or [fe80::1%wlan0]"), "{error}");
        let own = resolved("fe80::8", None).unwrap_err();
        assert!(own.ends_with("write [fe80::8%eth1]"), "{own}");
    }

    #[test]
    fn a_card_that_is_not_there_is_told_with_those_that_are() {
        for zone in ["eth9", "0", "-1", "99999999999"] {
            let error = resolved("fe80::1", Some(zone)).unwrap_err();
            assert!(error.contains(zone) && error.ends_with("it has eth0, wlan0"), "{error}");
        }
    }
}
