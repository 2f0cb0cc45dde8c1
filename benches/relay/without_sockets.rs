//! The relay without a socket: opened, routed, sealed for each receiver; beside it, in the same run, the same number of
//! openings and sealings without a relay.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::hub::Grant;
use common::ids::{ConnectionId, ControlId, MemberId, RoomId};
use common::limits::{DATAGRAM_MAX_BYTES, GROUP_MAX_DATAGRAMS};
use common::relay::{Relay, RelayLimits};
use common::reno::{self, Algorithm};
use common::seal::{Opener, Sealer, Secret, Secrets};
use common::wire::control::CipherSuite;
use common::wire::datagram::DatagramHeader;

use super::figures::{Figure, Figures};
use super::packets::{self, PING, seal};

const RECEIVERS: usize = 9;
const SUITE: CipherSuite = CipherSuite::Aes256Gcm;
/// Datagrams that come in before the relay is asked what to send, as in the server's media thread.
const BATCH: usize = 64;
const ROUNDS: usize = 10;
const TIME: Duration = Duration::from_millis(300);
/// Copying takes so little that making the input takes most of its time.
const COPY_TIME: Duration = Duration::from_millis(50);
/// No allowance is used up.
const LIMITS: RelayLimits = RelayLimits { video_bytes_per_sec: u32::MAX, spool_room_bytes: 0, channel: CHANNEL };
const CHANNEL: reno::Config = reno::Config { algorithm: Algorithm::Reno, datagram_max_bytes: DATAGRAM_MAX_BYTES };

/// One kind of media packet.
struct Load {
    name: &'static str,
    plaintext: Vec<u8>,
}

impl Load {
    fn video() -> Self {
        Self { name: "video, 1,200-byte datagrams", plaintext: packets::video(1_200) }
    }

    fn audio() -> Self {
        Self { name: "voice-sized video, 300-byte datagrams", plaintext: packets::video(300) }
    }

    fn datagram_bytes(&self) -> usize {
        self.plaintext.len() + common::limits::DATAGRAM_HEADER_BYTES + common::limits::DATAGRAM_TAG_BYTES
    }
}

/// The rows of this file, for video and for voice.
pub(crate) fn rows(figures: &mut Figures) {
    for load in [Load::video(), Load::audio()] {
        row(&load, figures);
    }
}

fn row(load: &Load, figures: &mut Figures) {
    let (mut relayed, mut sealed, mut copied) = (0.0_f64, 0.0_f64, 0.0_f64);
    // In turns, and the fastest of each: what else the machine does then meets none of them alone.
    for _ in 0..ROUNDS {
        relayed = relayed.max(relay_core(load));
        sealed = sealed.max(bare_sealing(load));
        copied = copied.max(bare_copying(load));
    }
    let name = load.name;
    figures.add(Figure {
        row: "Relay core",
        what: format!("datagrams sealed for receivers a second on one core, 1 to {RECEIVERS}, {name}: open, route, seal; no socket; fastest of {ROUNDS} rounds"),
        value: Some(relayed / 1e3),
        unit: "k/s",
        goal: None,
        others: None,
    });
    figures.add(Figure {
        row: "Relay core",
        what: format!("the same openings and sealings without a relay, same run ({name})"),
        value: Some(sealed / 1e3),
        unit: "k/s",
        goal: None,
        others: None,
    });
    figures.add(Figure {
        row: "Relay core",
        what: format!("the same copies without opening or sealing, same run ({name})"),
        value: Some(copied / 1e3),
        unit: "k/s",
        goal: None,
        others: None,
    });
    figures.add(Figure {
        row: "Relay core",
        what: format!("relay to bare opening and sealing, same run ({name})"),
        value: Some(relayed / sealed),
        unit: "ratio",
        goal: None,
        others: None,
    });
}

fn secrets(index: usize) -> Secrets {
    Secrets { up: Secret([index as u8; Secret::BYTES]), down: Secret([index as u8 | 0x80; Secret::BYTES]) }
}

fn connection(index: usize) -> ConnectionId {
    ConnectionId(1_000 + index as u64)
}

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 4_000 + index as u16))
}

/// Sealed copies of a load, made before the clock runs.
struct Incoming<'a> {
    load: &'a Load,
    sealer: Sealer,
    batch: Vec<[u8; DATAGRAM_MAX_BYTES]>,
    length: usize,
}

impl<'a> Incoming<'a> {
    fn new(load: &'a Load, sealer: Sealer) -> Self {
        Self { load, sealer, batch: vec![[0; DATAGRAM_MAX_BYTES]; BATCH], length: load.datagram_bytes() }
    }

    fn refill(&mut self) {
        for datagram in &mut self.batch {
            seal(&mut self.sealer, datagram, &self.load.plaintext);
        }
    }
}

/// Counts what `each` sends, for `time` of the time that `each` takes; answers the rate.
fn rate(time: Duration, mut incoming: Incoming<'_>, mut each: impl FnMut(&mut Incoming<'_>) -> u64) -> f64 {
    let (mut sent, mut spent) = (0, Duration::ZERO);
    while spent < time {
        incoming.refill();
        let began = Instant::now();
        sent += each(&mut incoming);
        spent += began.elapsed();
    }
    sent as f64 / spent.as_secs_f64()
}

fn relay_core(load: &Load) -> f64 {
    let now = Instant::now();
    let mut relay = Relay::with_limits(now, LIMITS);
    let mut buffer = vec![0; GROUP_MAX_DATAGRAMS * DATAGRAM_MAX_BYTES];
    let mut sealers: Vec<Sealer> = (0..=RECEIVERS)
        .map(|index| {
            let grant = Grant {
                control: ControlId(index as u64),
                room: RoomId(1),
                member: MemberId(1 + index as u16),
                connection_id: connection(index),
                suite: SUITE,
            };
            relay.admit(now, grant, &secrets(index));
            Sealer::new(SUITE, &secrets(index).up, connection(index))
        })
        .collect();
    for (index, sealer) in sealers.iter_mut().enumerate() {
        let length = seal(sealer, &mut buffer, &PING);
        relay.handle_datagram(now, address(index), &mut buffer[..length]);
    }
    while relay.poll_transmit(now, &mut buffer).is_some() {}
    let incoming = Incoming::new(load, sealers.swap_remove(0));
    rate(TIME, incoming, |incoming| {
        let now = Instant::now();
        for datagram in &mut incoming.batch {
            relay.handle_datagram(now, address(0), &mut datagram[..incoming.length]);
        }
        let mut sent = 0;
        while let Some(transmit) = relay.poll_transmit(now, &mut buffer) {
            sent += transmit.datagrams() as u64;
        }
        assert_eq!(sent, (BATCH * RECEIVERS) as u64, "everybody gets everything");
        sent
    })
}

fn bare_sealing(load: &Load) -> f64 {
    let secrets = secrets(0);
    let incoming = Incoming::new(load, Sealer::new(SUITE, &secrets.up, connection(0)));
    let mut opener = Opener::new(SUITE, &secrets.up);
    let mut sealers: Vec<Sealer> =
        (1..=RECEIVERS).map(|index| Sealer::new(SUITE, &self::secrets(index).down, connection(index))).collect();
    let mut buffer = [0; DATAGRAM_MAX_BYTES];
    rate(TIME, incoming, |incoming| {
        for datagram in &mut incoming.batch {
            let datagram = &mut datagram[..incoming.length];
            let header = DatagramHeader::parse(datagram).expect("it was just sealed");
            let (plaintext, _) = opener.open(header, datagram).expect("it was just sealed");
            for sealer in &mut sealers {
                seal(sealer, &mut buffer, plaintext);
                std::hint::black_box(&buffer);
            }
        }
        (BATCH * RECEIVERS) as u64
    })
}

fn bare_copying(load: &Load) -> f64 {
    let incoming = Incoming::new(load, Sealer::new(SUITE, &secrets(0).up, connection(0)));
    let mut buffer = [0; DATAGRAM_MAX_BYTES];
    rate(COPY_TIME, incoming, |incoming| {
        for datagram in &incoming.batch {
            for _ in 0..RECEIVERS {
                let datagram = std::hint::black_box(&datagram[..incoming.length]);
                buffer[..incoming.length].copy_from_slice(datagram);
                std::hint::black_box(&buffer);
            }
        }
        (BATCH * RECEIVERS) as u64
    })
}
