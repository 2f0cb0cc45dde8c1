//! The values of settings, each read from text in one way, wherever the text stands.

use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use common::typed_address::{BadAddress, TypedAddress, TypedHost};
use serde::de::{self, Deserializer, Visitor};
use tracing_subscriber::filter::LevelFilter;

use crate::DEFAULT_PORT;
use crate::cards::socket_address;

/// What turns a setting off that can be.
pub(super) const OFF: &str = "off";

/// What was read is no value of this setting; the sentence says what is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadValue(String);

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadValue {}

fn expected(what: impl fmt::Display) -> BadValue {
    BadValue(format!("expected {what}"))
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl FromStr for Listen {
    type Err = BadValue;

    /// Reads an address with a port or without, or a port alone, which means every address of this machine.
    fn from_str(text: &str) -> Result<Self, BadValue> {
        let wanted = "a port, for example 7878, or an address with one, for example 192.168.1.5:7878, [::]:7878 or \
                      [fe80::1%eth0]:7878";
        address(text, Ipv6Addr::UNSPECIFIED, Some(DEFAULT_PORT), wanted).map(Self)
    }
}

/// Where to answer `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsAddress(pub Option<SocketAddr>);

impl FromStr for MetricsAddress {
    type Err = BadValue;

    /// Reads `off`, `address:port`, or a port alone, which means this machine alone: who opens the figures to others
    /// has to write an address.
    fn from_str(text: &str) -> Result<Self, BadValue> {
        if text == OFF {
            return Ok(Self(None));
        }
        let wanted = "off, a port, for example 9187, or an address with one, for example 127.0.0.1:9187";
        address(text, Ipv4Addr::LOCALHOST, None, wanted).map(|address| Self(Some(address)))
    }
}

/// Reads a port, which then is one of `of_a_port_alone`, or an address; `port` is the one of an address that has none.
fn address(
    text: &str,
    of_a_port_alone: impl Into<IpAddr>,
    port: Option<u16>,
    wanted: &str,
) -> Result<SocketAddr, BadValue> {
    if let Ok(port) = text.parse() {
        return Ok(SocketAddr::new(of_a_port_alone.into(), port));
    }
    match text.parse() {
        Ok(TypedAddress { host: TypedHost::Ip(ip, zone), port: typed }) => {
            let port = typed.or(port).ok_or_else(|| expected(wanted))?;
            socket_address(ip, zone.as_deref(), port).map_err(|error| BadValue(error.to_string()))
        }
        Ok(TypedAddress { host: TypedHost::Name(_), .. }) | Err(BadAddress::Malformed) => Err(expected(wanted)),
        Err(ambiguous @ BadAddress::Ambiguous { .. }) => Err(BadValue(format!("it {ambiguous}"))),
    }
}

/// The socket for admin commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSocket(pub Option<PathBuf>);

impl FromStr for AdminSocket {
    type Err = BadValue;

    /// Reads `off` or a path.
    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text {
            "" => Err(expected("off or a path")),
            OFF => Ok(Self(None)),
            path => Ok(Self(Some(path.into()))),
        }
    }
}

/// How much to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLevel(pub LevelFilter);

impl FromStr for LogLevel {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        text.parse().map(Self).map_err(|_| expected("off, error, warn, info, debug or trace"))
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, for a log collector.
    Json,
    /// For people.
    #[default]
    Text,
}

impl FromStr for LogFormat {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(expected("text or json")),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Text => "text",
        })
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count<const MIN: usize, const MAX: usize>(usize);

impl<const MIN: usize, const MAX: usize> Count<MIN, MAX> {
    /// The number, or what it is when none was chosen.
    pub fn or(chosen: Option<Self>, default: usize) -> usize {
        chosen.map_or(default, |count| count.0)
    }
}

impl<const MIN: usize, const MAX: usize> FromStr for Count<MIN, MAX> {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let number = text.parse().ok().filter(|number| (MIN..=MAX).contains(number));
        number.map(Self).ok_or_else(|| expected(format_args!("a whole number from {MIN} to {MAX}")))
    }
}

/// Reads a value of a file as if it were text; a number may stand without quotes.
pub(super) fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(file: D) -> Result<Option<T>, D::Error> {
    file.deserialize_any(Text(PhantomData)).map(Some)
}

struct Text<T>(PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(|error| E::custom(format_args!("{error}, not “{text}”")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_means_every_address_to_listen_at_and_this_machine_for_figures() {
        assert_eq!("7900".parse::<Listen>().unwrap().0.to_string(), "[::]:7900");
        assert_eq!("127.0.0.1:0".parse::<Listen>().unwrap().0.to_string(), "127.0.0.1:0");
        assert!("localhost".parse::<Listen>().is_err() && "70000".parse::<Listen>().is_err());
        assert_eq!("9187".parse::<MetricsAddress>().unwrap().0.unwrap().to_string(), "127.0.0.1:9187");
        assert_eq!("0.0.0.0:9187".parse::<MetricsAddress>().unwrap().0.unwrap().to_string(), "0.0.0.0:9187");
        assert_eq!("off".parse(), Ok(MetricsAddress(None)));
    }

    #[test]
    fn an_address_alone_is_one_with_the_default_port_and_a_card_belongs_to_it() {
        assert_eq!("192.0.2.5".parse::<Listen>().unwrap().0.to_string(), "192.0.2.5:7878");
        assert_eq!("[fe80::1%7]:80".parse::<Listen>().unwrap().0.to_string(), "[fe80::1%7]:80");
        assert_eq!("fe80::1%7".parse::<Listen>().unwrap().0.to_string(), "[fe80::1%7]:7878");
        assert!("192.0.2.5".parse::<MetricsAddress>().is_err(), "figures have no port of their own");
    }

    #[test]
    fn an_address_that_is_not_complete_is_told_with_what_it_lacks() {
        for (text, lacks) in [
            ("[fe80::1]:7878", "link-local"),
            ("[fe80::1%nosuchcard]:7878", "no network card “nosuchcard”"),
            ("2001:db8::1:7878", "[2001:db8::1]:7878"),
        ] {
            let error = text.parse::<Listen>().unwrap_err().to_string();
            assert!(error.contains(lacks), "{error}");
        }
    }

    #[test]
    fn a_number_outside_its_bounds_is_refused() {
        for text in ["1", "11", "-3", "1.5", "", "many"] {
            assert!(text.parse::<Count<2, 10>>().is_err(), "{text}");
        }
        assert_eq!(Count::or("10".parse::<Count<2, 10>>().ok(), 3), 10);
    }
}
