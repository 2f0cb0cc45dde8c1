//! Addresses as people type them, with a port or without: `meet.example.org`, `192.168.1.20:7878`, `[2001:db8::1]:7878`,
//! `fe80::1%eth0`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedAddress {
    /// Before the port.
    pub host: TypedHost,
    /// From 0; `None` where there is none.
    pub port: Option<u16>,
}

/// The part before the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypedHost {
    /// An address, and the network card it is behind (RFC 4007 §11: the zone), by name or by number, where one is named.
    Ip(IpAddr, Option<String>),
    /// Anything else that may be a name.
    Name(String),
}

/// Why what was typed is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadAddress {
    /// An IPv6 address without brackets that ends in what may be its port or its last group: how each would be written.
    Ambiguous {
        /// With the last group as the port.
        port: String,
        /// With the last group in the address; `None` where it is too long for that.
        group: Option<String>,
    },
    /// No address at all.
    Malformed,
}

impl fmt::Display for TypedHost {
    /// Without brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip, None) => ip.fmt(f),
            Self::Ip(ip, Some(zone)) => write!(f, "{ip}%{zone}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for BadAddress {
    /// The end of a sentence that begins with what was typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambiguous { port, group: Some(group) } => {
                write!(f, "may end in a port or not: write {port} if it does, {group} if it does not")
            }
            Self::Ambiguous { port, group: None } => {
                write!(f, "is an IPv6 address with a port, which needs brackets: write {port}")
            }
            Self::Malformed => f.write_str("is no address"),
        }
    }
}

impl std::error::Error for BadAddress {}

impl FromStr for TypedAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        if let Some(rest) = text.strip_prefix('[') {
            let (ip, port) = rest.split_once(']').ok_or(BadAddress::Malformed)?;
            return Ok(Self { host: ipv6(ip).ok_or(BadAddress::Malformed)?, port: port_after(port)? });
        }
        if text.matches(':').count() > 1 {
            return bare_ipv6(text);
        }
        let colon = text.find(':').unwrap_or(text.len());
        let (host, port) = text.split_at(colon);
        let host = match host.parse() {
            Ok(ip) => TypedHost::Ip(ip, None),
            Err(_) if is_name(host) => TypedHost::Name(host.to_owned()),
            Err(_) => return Err(BadAddress::Malformed),
        };
        Ok(Self { host, port: port_after(port)? })
    }
}

/// An IPv6 address without brackets, and hence without a port.
fn bare_ipv6(text: &str) -> Result<TypedAddress, BadAddress> {
    let whole = ipv6(text);
    let divided = text.rsplit_once(':').and_then(|(front, last)| {
        let port = port_of(last).filter(|_| last.len() >= PORT_DIGITS_MIN && !last.starts_with('0'))?;
        Some(format!("[{}]:{port}", ipv6(front)?))
    });
    match (whole, divided) {
        (Some(host), None) => Ok(TypedAddress { host, port: None }),
        (Some(host), Some(port)) => Err(BadAddress::Ambiguous { port, group: Some(format!("[{host}]")) }),
        (None, Some(port)) => Err(BadAddress::Ambiguous { port, group: None }),
        (None, None) => Err(BadAddress::Malformed),
    }
}

/// Digits from which on the last group of an address may be meant as a port; shorter ones are hardly a server's.
const PORT_DIGITS_MIN: usize = 3;
/// Bytes of the name of a network card that are taken: Linux has 15, Windows 256.
const ZONE_MAX_BYTES: usize = 256;
/// Bytes of a host name (RFC 1035 §2.3.4: 255 with the two at its ends).
const NAME_MAX_BYTES: usize = 253;

/// An IPv6 address with or without its zone.
fn ipv6(text: &str) -> Option<TypedHost> {
    let (ip, zone) = text.split_once('%').map_or((text, None), |(ip, zone)| (ip, Some(zone)));
    let ip: Ipv6Addr = ip.parse().ok()?;
    if zone.is_some_and(|zone| !is_zone(zone)) {
        return None;
    }
    Some(TypedHost::Ip(ip.into(), zone.map(str::to_owned)))
}

/// A colon would be taken for the one before a port, and blanks part the lines in which addresses are kept.
fn is_zone(zone: &str) -> bool {
    let allowed = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, ':' | '%' | '[' | ']' | '/');
    !zone.is_empty() && zone.len() <= ZONE_MAX_BYTES && zone.chars().all(allowed)
}

fn is_name(host: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    !host.is_empty() && host.len() <= NAME_MAX_BYTES && host.chars().all(allowed)
}

/// `text` is empty, or a colon and a number.
fn port_after(text: &str) -> Result<Option<u16>, BadAddress> {
    match text.strip_prefix(':') {
        Some(digits) => port_of(digits).map(Some).ok_or(BadAddress::Malformed),
        None if text.is_empty() => Ok(None),
        None => Err(BadAddress::Malformed),
    }
}

fn port_of(digits: &str) -> Option<u16> {
    digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, Option<u16>)> {
        let typed: TypedAddress = text.parse().ok()?;
        Some((typed.host.to_string(), typed.port))
    }

    #[test]
    fn an_address_reads_as_people_write_it() {
        let table = [
            ("meet.example.org", "meet.example.org", None),
            ("bücher:80", "bücher", Some(80)),
            ("srv-", "srv-", None),
            ("rack.7:7878", "rack.7", Some(7878)),
            ("the_box", "the_box", None),
            ("192.168.1.20:0", "192.168.1.20", Some(0)),
            ("::1", "::1", None),
            ("2001:db8::5:6", "2001:db8::5:6", None),
            ("[2001:db8::1]:9000", "2001:db8::1", Some(9000)),
            ("[2001:db8::1:7878]", "2001:db8::1:7878", None),
            ("2001:db8:1:2:3:4:5:7878", "2001:db8:1:2:3:4:5:7878", None),
            ("fe80::1%eth0", "fe80::1%eth0", None),
            ("[fe80::1%3]:7878", "fe80::1%3", Some(7878)),
            ("[fe80::1%enp0s31f6.10]", "fe80::1%enp0s31f6.10", None),
        ];
        for (text, host, port) in table {
            assert_eq!(parsed(text), Some((host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = "a".repeat(NAME_MAX_BYTES + 1);
        for text in [
            "",
            ":7878",
            "host:",
            "host:99999",
            "host:+80",
            "[::1",
            "[::1]x",
            "[host]:80",
            "a b",
            "http://host",
            "1::2::3",
            "[fe80::1%]",
            "fe80::1%",
            "[fe80::1%a b]",
            "[fe80::1%a%b]",
            "fe80::1%eth0:x",
            "10.0.0.1%eth0",
            "host%eth0",
            &long,
        ] {
            assert_eq!(text.parse::<TypedAddress>(), Err(BadAddress::Malformed), "{text}");
        }
    }

    #[test]
    fn an_ipv6_address_that_may_end_in_a_port_is_asked_back_with_both_ways_to_write_it() {
        let error = "2001:db8::1:7878".parse::<TypedAddress>().unwrap_err().to_string();
        assert!(error.contains("[2001:db8::1]:7878") && error.contains("[2001:db8::1:7878]"), "{error}");
        for (text, brackets) in [
            ("2001:db8::1:22001", "[2001:db8::1]:22001"),
            ("2001:db8:1:2:3:4:5:6:7878", "[2001:db8:1:2:3:4:5:6]:7878"),
            ("fe80::1%eth0:7878", "[fe80::1%eth0]:7878"),
        ] {
            let expected = BadAddress::Ambiguous { port: brackets.to_owned(), group: None };
            assert_eq!(text.parse::<TypedAddress>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn every_prefix_and_every_odd_text_is_an_answer() {
        for text in ["[fe80::1%eth0]:7878", "2001:db8::1:7878", "bücher.example:80", "%%::[]%:"] {
            for end in text.char_indices().map(|(end, _)| end) {
                let _ = text[..end].parse::<TypedAddress>();
            }
        }
    }
}
