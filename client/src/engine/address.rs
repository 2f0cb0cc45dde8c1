//! Where a server is: what people type, and what they are told to type.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use common::typed_address::{BadAddress, TypedAddress, TypedHost};
use server::cards::{ScopeError, is_scoped, socket_address};

/// The port of a server, TCP and UDP, when an address has none.
pub const DEFAULT_PORT: u16 = 7878;

/// A server as it was typed: a name or an address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// A host name, or an IP address without brackets, with its network card where it needs one: `fe80::1%eth0`.
    pub host: String,
    /// TCP and UDP.
    pub port: u16,
}

/// What was typed is no address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidServerAddress {
    typed: String,
    why: BadAddress,
}

impl fmt::Display for InvalidServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { typed, why } = self;
        match why {
            BadAddress::Ambiguous { .. } => write!(f, "“{typed}” {why}."),
            BadAddress::Malformed => write!(
                f,
                "“{typed}” is no server address. Write it like meet.example.org, 192.168.1.20:{DEFAULT_PORT} or [2001:db8::1]:{DEFAULT_PORT}."
            ),
        }
    }
}

impl std::error::Error for InvalidServerAddress {}

impl FromStr for ServerAddress {
    type Err = InvalidServerAddress;

    fn from_str(typed: &str) -> Result<Self, InvalidServerAddress> {
        let text = typed.trim();
        let invalid = |why| InvalidServerAddress { typed: text.to_owned(), why };
        let TypedAddress { host, port } = text.parse().map_err(invalid)?;
        match port.unwrap_or(DEFAULT_PORT) {
            0 => Err(invalid(BadAddress::Malformed)),
            port => Ok(Self { host: host.to_string(), port }),
        }
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
        let host = match address {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            SocketAddr::V4(_) | SocketAddr::V6(_) => address.ip().to_string(),
        };
        Self { host, port: address.port() }
    }
}

/// Why a server has no address.
#[derive(Debug)]
pub(crate) enum LookupError {
    /// It is complete only with a network card.
    Scope(ScopeError),
    /// What the system says.
    System(io::Error),
}

impl ServerAddress {
    /// The socket addresses of the server, in the order of the system (RFC 6724); at least one.
    ///
    /// # Errors
    /// When there is none that can be connected to.
    pub(crate) async fn look_up(&self) -> Result<Vec<SocketAddr>, LookupError> {
        // The host is kept without brackets, in which it cannot be taken for anything else.
        let typed = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if let Ok(TypedAddress { host: TypedHost::Ip(ip, zone), .. }) = typed.parse() {
            return socket_address(ip, zone.as_deref(), self.port).map(|one| vec![one]).map_err(LookupError::Scope);
        }
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await.map_err(LookupError::System)?;
        let (usable, lacking): (Vec<_>, Vec<_>) = found.partition(|address| !lacks_scope(address));
        match (usable.is_empty(), lacking.first()) {
            (false, _) => Ok(usable),
            (true, None) => Err(LookupError::System(io::ErrorKind::NotFound.into())),
            (true, Some(first)) => {
                socket_address(first.ip(), None, self.port).map(|one| vec![one]).map_err(LookupError::Scope)
            }
        }
    }
}

/// The system could not connect to it, and would only say that an argument is invalid.
fn lacks_scope(address: &SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(v6) if v6.scope_id() == 0 && is_scoped((*v6.ip()).into()))
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
            ("fe80::1%eth0", "fe80::1%eth0", 7878),
            ("bücher", "bücher", 7878),
            ("srv-:1", "srv-", 1),
            ("rack.7", "rack.7", 7878),
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
    fn a_network_card_belongs_to_the_address() {
        for text in ["[fe80::1%eth0]", "[fe80::1%eth0]:80", "[fe80::1%3]"] {
            let address: ServerAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        let own: SocketAddr = "[fe80::1%3]:80".parse().unwrap();
        assert_eq!(ServerAddress::from(own).to_string(), "[fe80::1%3]:80");
    }

    #[test]
    fn an_address_that_may_end_in_a_port_is_asked_back() {
        let error = "2001:db8::1:7878".parse::<ServerAddress>().unwrap_err().to_string();
        let sentence = "“2001:db8::1:7878” may end in a port or not: write [2001:db8::1]:7878 if it does, [2001:db8::1:7878] if it does not.";
        assert_eq!(error, sentence);
    }

    #[tokio::test]
    async fn a_link_local_address_is_looked_up_with_its_card_and_asked_back_without() {
        let with: ServerAddress = "fe80::1%1".parse().unwrap();
        assert_eq!(with.look_up().await.unwrap(), ["[fe80::1%1]:7878".parse::<SocketAddr>().unwrap()]);
        let without: ServerAddress = "[fe80::1]:80".parse().unwrap();
        assert!(matches!(without.look_up().await, Err(LookupError::Scope(ScopeError::Missing { .. }))));
        let unknown: ServerAddress = "[fe80::1%nosuchcard]".parse().unwrap();
        assert!(matches!(unknown.look_up().await, Err(LookupError::Scope(ScopeError::Unknown { .. }))));
    }
}
