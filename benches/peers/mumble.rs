//! mumble-server's voice: one speaks, everybody in the room hears.
//!
//! Clients as real ones: TLS for control, voice over UDP, encrypted with OCB2-AES128. The server opens the speaker's
//! datagram and encrypts it for each listener. Clients say they are of version 1.3, so that every server speaks the
//! packet format of 1.3, newer ones too.

mod control;
mod ocb2;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use super::{Daemon, Load, Measured, PATIENCE, ask_once, free_port, loopback};
use control::Control;
use ocb2::Ocb2;

/// How it is set up, for the record.
pub(crate) const SETTINGS: &str =
    "sqlite in a temporary folder, no rate limit in the way (bandwidth, users, timeout raised; autoban off)";

/// Lets one client speak to `listeners` others (at most 100) for `duration`, in packets of `voice_bytes` of Opus (at
/// most 900); `None` when no mumble-server is installed.
///
/// # Errors
/// When it is installed and does not start, let clients in or carry voice.
pub(crate) fn measure(listeners: usize, voice_bytes: usize, duration: Duration) -> io::Result<Option<Measured>> {
    let address = free_port()?;
    let programs = ["mumble-server", "murmurd"];
    let Some(mut server) = Daemon::start(&programs, |folder| arguments(address, folder))? else {
        return Ok(None);
    };
    let probe = loopback()?;
    probe.connect(address)?;
    let version = version(&server.ask(&probe, &PROBE)?);
    let mut speaker = Client::join(address, "speaker")?;
    let mut hearing = (0..listeners)
        .map(|index| Client::join(address, &format!("listener{index}")))
        .collect::<io::Result<Vec<_>>>()?;
    // Kept open: who loses the connection has left the room.
    let _controls: Vec<Control> = hearing.iter_mut().filter_map(|client| client.control.take()).collect();

    let length = everybody_hears(&mut speaker, &mut hearing, voice_bytes)?;
    let receivers: Vec<UdpSocket> = hearing.into_iter().map(|client| client.socket).collect();
    let (mut sequence, mut sealed, mut voice) = (0, Vec::new(), Vec::new());
    let mut load = Load {
        send: || {
            sequence += 1;
            voice_packet(sequence, voice_bytes, &mut voice);
            speaker.crypt.seal(&voice, &mut sealed);
            speaker.socket.send(&sealed).map(|_| ())
        },
        copies: listeners as u64,
        receivers: &receivers,
        length,
    };
    load.measure(&server, &version, duration).map(Some)
}

fn arguments(address: SocketAddr, folder: &Path) -> io::Result<Vec<String>> {
    let database = folder.join("mumble.sqlite");
    let configuration = folder.join("mumble.ini");
    let text =
        format!("database={}\nlogfile=\nhost={}\nport={}\n{LIMITS}", database.display(), address.ip(), address.port());
    std::fs::write(&configuration, text)?;
    Ok(["-fg".to_owned(), "-ini".to_owned(), configuration.display().to_string()].to_vec())
}

/// Bandwidth is in bits a second for each speaker, close to the highest that it can be told. Bans are off because they
/// count connections that succeed, too. Root stays root, or the server could not write to the folder.
const LIMITS: &str = "\
bandwidth=2000000000
users=1000
usersperchannel=0
timeout=3600
messageburst=1000
messagelimit=1000
autobanAttempts=0
opusthreshold=0
allowping=true
bonjour=false
ice=
registerName=bench
uname=root
welcometext=
";

/// What a server browser asks: no type, and a number to come back.
const PROBE: [u8; 12] = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

/// The first four bytes of the answer to [`PROBE`].
fn version(answer: &[u8]) -> String {
    match answer {
        [_, major, minor, patch, ..] => format!("mumble-server {major}.{minor}.{patch}"),
        _ => "mumble-server of an unknown version".to_owned(),
    }
}

/// Somebody in the room, heard of by the server over UDP.
struct Client {
    control: Option<Control>,
    socket: UdpSocket,
    crypt: Ocb2,
}

impl Client {
    /// Connects, and makes itself known over UDP: the server answers a sealed ping with a sealed ping.
    fn join(server: SocketAddr, name: &str) -> io::Result<Self> {
        let (control, mut crypt) = Control::join(server, name)?;
        let socket = loopback()?;
        socket.connect(server)?;
        let mut sealed = Vec::new();
        for _ in 0..PINGS {
            crypt.seal(&PING, &mut sealed);
            let answer = ask_once(&socket, &sealed)?;
            if answer.is_some_and(|answer| crypt.open(&answer).as_deref() == Some(&PING)) {
                return Ok(Self { control: Some(control), socket, crypt });
            }
        }
        Err(io::Error::other("it does not answer pings over UDP"))
    }
}

/// Type 1 and a timestamp.
const PING: [u8; 2] = [1 << 5, 42];
/// UDP may lose, and a busy machine may be late.
const PINGS: usize = 25;

/// Type 4, which is Opus, to everybody in the room.
const VOICE: u8 = 4 << 5;

/// Type, sequence number, length, voice: the format of 1.3.
fn voice_packet(sequence: u32, voice_bytes: usize, packet: &mut Vec<u8>) {
    packet.clear();
    packet.push(VOICE);
    // The form of 32 bits, so that all packets are of one length.
    packet.push(0xF0);
    packet.extend(sequence.to_be_bytes());
    // The form of 14 bits.
    packet.extend((0x8000 | voice_bytes as u16).to_be_bytes());
    packet.resize(packet.len() + voice_bytes, 0x55);
}

/// Speaks once and opens what every listener got; answers how long it is.
fn everybody_hears(speaker: &mut Client, listeners: &mut [Client], voice_bytes: usize) -> io::Result<usize> {
    let (mut voice, mut sealed) = (Vec::new(), Vec::new());
    voice_packet(0, voice_bytes, &mut voice);
    speaker.crypt.seal(&voice, &mut sealed);
    speaker.socket.send(&sealed)?;
    let (mut buffer, mut length) = ([0; 2_048], 0);
    for listener in listeners {
        listener.socket.set_read_timeout(Some(PATIENCE))?;
        length = listener.socket.recv(&mut buffer)?;
        // Behind the type stands who speaks, in one byte as long as there are few.
        let heard = listener.crypt.open(&buffer[..length]);
        if heard.as_ref().and_then(|heard| heard.get(2..)) != Some(&voice[1..]) {
            return Err(io::Error::other("a listener hears something else than was said"));
        }
    }
    Ok(length)
}
