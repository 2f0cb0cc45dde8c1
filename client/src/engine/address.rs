//! Where a server is: what people type, and what they are told to type.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::str::FromStr;

/// The port of a server, TCP and UDP, when an address has none.
pub const DEFAULT_PORT: u16 = 7878;

/// A server as it was typed: a name or an address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// A host name or an IP address, without brackets.
    pub host: String,
    /// TCP and UDP.
    pub port: u16,
}

/// What was typed is no address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidServerAddress(String);

impl fmt::Display for InvalidServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = &self.0;
        write!(
            f,
            "“{typed}” is no server address. Write it like meet.example.org, 192.168.1.20:{DEFAULT_PORT} or [2001:db8::1]:{DEFAULT_PORT}."
        )
    }
}

impl std::error::Error for InvalidServerAddress {}

impl FromStr for ServerAddress {
    type Err = InvalidServerAddress;

    fn from_str(typed: &str) -> Result<Self, InvalidServerAddress> {
        let text = typed.trim();
        split(text).filter(|address| is_host(&address.host)).ok_or_else(|| InvalidServerAddress(text.to_owned()))
    }
}

impl fmt::Display for ServerAddress {
    /// As people type it: without the port where it is the default one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host.contains(':'), self.port) {
            (false, DEFAULT_PORT) => f.write_str(&self.host),
            (false, port) => write!(f, "{}:{port}", self.host),
            (true, DEFAULT_PORT) => write!(f, "[{}]", self.host),
            (true, port) => write!(f, "[{}]:{port}", self.host),
        }
    }
}

impl ServerAddress {
    /// Always with the port.
    pub fn with_port(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl From<SocketAddr> for ServerAddress {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

fn split(text: &str) -> Option<ServerAddress> {
    if let Ok(ip) = text.parse::<Ipv6Addr>() {
        return Some(SocketAddr::from((ip, DEFAULT_PORT)).into());
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, port) = rest.split_once(']')?;
        ip.parse::<Ipv6Addr>().ok()?;
        return with_port(ip, port);
    }
    let colon = text.find(':').unwrap_or(text.len());
    let (host, port) = text.split_at(colon);
    with_port(host, port)
}

/// `port` is empty, or a colon and a number from 1.
fn with_port(host: &str, port: &str) -> Option<ServerAddress> {
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
        None if port.is_empty() => DEFAULT_PORT,
        None => return None,
    };
    (port != 0).then(|| ServerAddress { host: host.to_owned(), port })
}

fn is_host(host: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    !host.is_empty() && host.len() <= 253 && host.chars().all(allowed)
}

/// The `host:port`s by which guests reach a server of this machine that listens on `listen`, best guess first.
pub(super) fn guest_addresses(listen: SocketAddr) -> Vec<String> {
    let ips = match listen.ip() {
        ip if !ip.is_unspecified() => vec![ip],
        IpAddr::V4(_) => outward(Ipv4Addr::UNSPECIFIED.into()).into_iter().collect(),
        IpAddr::V6(_) => {
            [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()].into_iter().filter_map(outward).collect()
        }
    };
    let ips = if ips.is_empty() { vec![Ipv4Addr::LOCALHOST.into()] } else { ips };
    ips.into_iter().map(|ip| SocketAddr::new(ip, listen.port()).to_string()).collect()
}

/// The address of this machine on its way out: what the routing table gives for an address that is kept for
/// documentation (RFC 5737, RFC 3849). Connecting a UDP socket sends nothing.
fn outward(unspecified: IpAddr) -> Option<IpAddr> {
    let far = match unspecified {
        IpAddr::V4(_) => IpAddr::from([192, 0, 2, 1]),
        IpAddr::V6(_) => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
    };
    let socket = UdpSocket::bind((unspecified, 0)).ok()?;
    socket.connect((far, DEFAULT_PORT)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, u16)> {
        let address: ServerAddress = text.parse().ok()?;
        Some((address.host, address.port))
    }

    #[test]
    fn an_address_reads_as_people_write_it() {
        let table = [
            ("meet.example.org", "meet.example.org", 7878),
            (" meet.example.org:9000 ", "meet.example.org", 9000),
            ("192.168.1.20", "192.168.1.20", 7878),
            ("192.168.1.20:80", "192.168.1.20", 80),
            ("::1", "::1", 7878),
            ("[::1]", "::1", 7878),
            ("[2001:db8::1]:9000", "2001:db8::1", 9000),
        ];
        for (text, host, port) in table {
            assert_eq!(parsed(text), Some((host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_an_example() {
        for text in [
            "",
            ":7878",
            "host:",
            "host:0",
            "host:99999",
            "host:+80",
            "[::1",
            "[::1]x",
            "[host]:80",
            "a b",
            "http://host",
            "1::2::3",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
        let error = "http://host".parse::<ServerAddress>().unwrap_err();
        assert!(error.to_string().contains("meet.example.org"));
    }

    #[test]
    fn an_address_is_written_so_that_it_reads_the_same() {
        for text in ["host", "host:80", "[::1]", "[::1]:80", "10.0.0.1:9"] {
            let address: ServerAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn guests_are_given_an_address_with_the_port_of_the_server() {
        let listen = SocketAddr::from(([0, 0, 0, 0], 4321));
        let addresses = guest_addresses(listen);
        assert!(!addresses.is_empty());
        assert!(addresses.iter().all(|address| address.ends_with(":4321")));
        let only = SocketAddr::from(([127, 0, 0, 1], 9));
        assert_eq!(guest_addresses(only), ["127.0.0.1:9"]);
    }
}
