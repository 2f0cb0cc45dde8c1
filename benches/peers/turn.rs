//! coturn's relay: ChannelData over UDP from a client through an allocation to one peer or several (RFC 8656).
//!
//! A TURN server does not fan out: the client sends a copy for every receiver, each over a channel of its own. So 1 to 9
//! is nine datagrams in and nine out. The payload passes as it is; nothing is encrypted.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::time::Duration;

use super::{Daemon, Load, Measured, PATIENCE, ask_once, free_port, loopback};

/// Bytes of a payload, as a peer receives it.
pub(crate) const PAYLOAD_BYTES: usize = 1_200;

/// How it is set up, for the record.
pub(crate) const SETTINGS: &str = "turnserver --no-auth, UDP only, default threads, no quota and no bandwidth limit";

/// Sends to `peers` receivers in turn through one allocation for `duration`, at most 4 minutes, because permissions last
/// 5; `None` when coturn is not installed.
///
/// # Errors
/// When it is installed and does not start, allocate or relay.
pub(crate) fn measure(peers: u16, duration: Duration) -> io::Result<Option<Measured>> {
    let server = free_port()?;
    let Some(mut coturn) = Daemon::start(&["turnserver"], |folder| Ok(arguments(server, folder)))? else {
        return Ok(None);
    };
    let client = loopback()?;
    client.connect(server)?;
    let version = software(&coturn.ask(&client, &request(BINDING, 0, &[]))?);
    let receivers = (0..peers).map(|_| loopback()).collect::<io::Result<Vec<_>>>()?;
    transact(&client, ALLOCATE, 0, &attribute(REQUESTED_TRANSPORT, &[UDP, 0, 0, 0]))?;
    let mut datagrams = Vec::new();
    for (channel, receiver) in (FIRST_CHANNEL..).zip(&receivers) {
        bind_channel(&client, channel, receiver.local_addr()?)?;
        datagrams.push(channel_data(channel));
    }
    for (datagram, receiver) in datagrams.iter().zip(&receivers) {
        arrives(&client, datagram, receiver)?;
    }
    let mut turn = datagrams.iter().cycle();
    let mut load = Load {
        send: || match turn.next() {
            Some(datagram) => client.send(datagram).map(|_| ()),
            None => Err(io::Error::other("there is no peer to send to")),
        },
        copies: 1,
        receivers: &receivers,
        length: PAYLOAD_BYTES,
    };
    load.measure(&coturn, &version, duration).map(Some)
}

fn arguments(server: SocketAddr, folder: &Path) -> Vec<String> {
    let mut arguments: Vec<String> = [
        // No configuration file of the machine has a say.
        "-n",
        "--no-auth",
        // It refuses to relay to this machine otherwise.
        "--allow-loopback-peers",
        "--no-cli",
        "--no-tcp",
        "--no-tls",
        "--no-dtls",
        "--no-tcp-relay",
        "--log-file=stdout",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.push(format!("--listening-ip={}", server.ip()));
    arguments.push(format!("--relay-ip={}", server.ip()));
    arguments.push(format!("--listening-port={}", server.port()));
    arguments.push(format!("--userdb={}", folder.join("users.sqlite").display()));
    arguments.push(format!("--pidfile={}", folder.join("pid").display()));
    arguments
}

// STUN and TURN messages.

const BINDING: u16 = 0x0001;
const ALLOCATE: u16 = 0x0003;
const CHANNEL_BIND: u16 = 0x0009;
/// Set in the answer to a request that was granted (RFC 8489, section 5).
const SUCCESS: u16 = 0x0100;

const CHANNEL_NUMBER: u16 = 0x000C;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const REQUESTED_TRANSPORT: u16 = 0x0019;
const SOFTWARE: u16 = 0x8022;

const MAGIC_COOKIE: u32 = 0x2112_A442;
const HEADER_BYTES: usize = 20;
/// Channel and length (RFC 8656, section 12.4).
const CHANNEL_HEADER_BYTES: usize = 4;
/// The protocol number of UDP.
const UDP: u8 = 17;
const IPV4: u8 = 1;
/// Channels begin here (RFC 8656, section 12).
const FIRST_CHANNEL: u16 = 0x4000;

fn request(method: u16, transaction: u16, attributes: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER_BYTES + attributes.len());
    message.extend(method.to_be_bytes());
    message.extend((attributes.len() as u16).to_be_bytes());
    message.extend(MAGIC_COOKIE.to_be_bytes());
    message.extend([0; 8]);
    message.extend(method.to_be_bytes());
    message.extend(transaction.to_be_bytes());
    message.extend(attributes);
    message
}

/// An attribute of whole words, as all of these are.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), &(value.len() as u16).to_be_bytes(), value].concat()
}

/// Asks until it is granted; answers to what was asked before are passed over.
fn transact(client: &UdpSocket, method: u16, transaction: u16, attributes: &[u8]) -> io::Result<()> {
    let request = request(method, transaction, attributes);
    for _ in 0..ATTEMPTS {
        let Some(answer) = ask_once(client, &request)? else {
            continue;
        };
        let granted = answer.get(..2) == Some(&(method | SUCCESS).to_be_bytes());
        if granted && answer.get(8..HEADER_BYTES) == Some(&request[8..HEADER_BYTES]) {
            return Ok(());
        }
    }
    Err(io::Error::other(format!("it does not grant a request of method {method:#06x}")))
}

/// UDP may lose, and a busy machine may be late.
const ATTEMPTS: usize = 25;

fn bind_channel(client: &UdpSocket, channel: u16, receiver: SocketAddr) -> io::Result<()> {
    let SocketAddr::V4(receiver) = receiver else {
        return Err(io::Error::other("receivers are bound to 127.0.0.1"));
    };
    let number = attribute(CHANNEL_NUMBER, &(u32::from(channel) << 16).to_be_bytes());
    let address = attribute(XOR_PEER_ADDRESS, &xor_address(receiver));
    transact(client, CHANNEL_BIND, channel, &[number, address].concat())
}

/// RFC 8489, section 14.2.
fn xor_address(address: SocketAddrV4) -> Vec<u8> {
    let port = address.port() ^ (MAGIC_COOKIE >> 16) as u16;
    let ip = u32::from(*address.ip()) ^ MAGIC_COOKIE;
    [&[0, IPV4], port.to_be_bytes().as_slice(), &ip.to_be_bytes()].concat()
}

fn channel_data(channel: u16) -> Vec<u8> {
    let mut datagram = vec![0x55; CHANNEL_HEADER_BYTES + PAYLOAD_BYTES];
    datagram[..2].copy_from_slice(&channel.to_be_bytes());
    datagram[2..CHANNEL_HEADER_BYTES].copy_from_slice(&(PAYLOAD_BYTES as u16).to_be_bytes());
    datagram
}

/// Sends once through a channel and looks at what comes out.
fn arrives(client: &UdpSocket, datagram: &[u8], receiver: &UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 2_048];
    receiver.set_read_timeout(Some(PATIENCE))?;
    client.send(datagram)?;
    let length = receiver.recv(&mut buffer)?;
    if buffer[..length] != datagram[CHANNEL_HEADER_BYTES..] {
        return Err(io::Error::other("a peer receives something else than was sent"));
    }
    Ok(())
}

/// What the server calls itself in an answer.
fn software(answer: &[u8]) -> String {
    let mut rest = answer.get(HEADER_BYTES..).unwrap_or_default();
    while let [kind_high, kind_low, length_high, length_low, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
        let Some(value) = after.get(..length) else {
            break;
        };
        if u16::from_be_bytes([*kind_high, *kind_low]) == SOFTWARE {
            return String::from_utf8_lossy(value).into_owned();
        }
        rest = after.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    "coturn of an unknown version".to_owned()
}
