//! Datagrams sealed and opened: AEAD keys from the TLS exporter, packet numbers as nonces, and a replay window.
//!
//! A receiver's order is: length and version, whose it is, replay window looked up, opened, window committed. Nothing
//! of a datagram is believed, and nothing is answered, before that is through. Committing before opening would let a
//! forged datagram move the window (RUSTSEC-2024-0011).

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::ids::ConnectionId;
use crate::limits::{DATAGRAM_HEADER_BYTES, DATAGRAM_TAG_BYTES, DATAGRAMS_PER_KEY, REPLAY_WINDOW};
use crate::wire::control::CipherSuite;
use crate::wire::datagram::DatagramHeader;

/// The label both ends give to the TLS exporter (RFC 8446 §7.5, RFC 5705 §4).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-conclave-datagram";

/// Which way a datagram goes; each way has a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the member to the server.
    Up,
    /// From the server to the member.
    Down,
}

/// The context both ends give to the TLS exporter: connection id (8), direction (1), epoch (1).
pub fn exporter_context(connection: ConnectionId, direction: Direction, epoch: u8) -> [u8; 10] {
    let mut context = [0; 10];
    context[..8].copy_from_slice(&connection.0.to_be_bytes());
    context[8] = direction as u8;
    context[9] = epoch;
    context
}

/// What the exporter gave for one direction: a 32-byte key and a 12-byte IV. Cannot be printed.
#[derive(Clone)]
pub struct Secret(pub [u8; Self::BYTES]);

impl Secret {
    /// Bytes to ask the exporter for.
    pub const BYTES: usize = 32 + NONCE_LEN;
}

/// The secrets of one member's data plane.
#[derive(Clone)]
pub struct Secrets {
    /// Seals what the member sends.
    pub up: Secret,
    /// Seals what the server sends to the member.
    pub down: Secret,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

impl Secrets {
    /// Derives both directions from an exporter: `export(context)` gives the bytes for [`EXPORTER_LABEL`].
    ///
    /// # Errors
    /// What the exporter says when the handshake is not through.
    pub fn derive<E>(
        connection: ConnectionId,
        export: impl Fn(&[u8]) -> Result<[u8; Secret::BYTES], E>,
    ) -> Result<Self, E> {
        let secret = |direction| export(&exporter_context(connection, direction, 0)).map(Secret);
        Ok(Self { up: secret(Direction::Up)?, down: secret(Direction::Down)? })
    }
}

/// Key and IV of one direction.
struct DirectionKey {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
}

impl DirectionKey {
    fn new(suite: CipherSuite, secret: &Secret) -> Self {
        let algorithm = match suite {
            CipherSuite::Aes256Gcm => &AES_256_GCM,
            CipherSuite::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        let (key, iv) = secret.0.split_at(32);
        let key = UnboundKey::new(algorithm, key).expect("both ciphers take a key of 32 bytes");
        Self { key: LessSafeKey::new(key), iv: iv.try_into().expect("44 bytes less 32 are 12") }
    }

    /// IV XOR packet number, as in RFC 8446 §5.3.
    fn nonce(&self, packet_number: u64) -> Nonce {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(packet_number.to_be_bytes()) {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Seals the datagrams of one direction, numbering them.
pub struct Sealer {
    key: DirectionKey,
    connection: ConnectionId,
    next_packet_number: u64,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("next_packet_number", &self.next_packet_number).finish_non_exhaustive()
    }
}

impl Sealer {
    /// A sealer for the data plane `connection` names.
    pub fn new(suite: CipherSuite, secret: &Secret, connection: ConnectionId) -> Self {
        Self { key: DirectionKey::new(suite, secret), connection, next_packet_number: 0 }
    }

    /// The number that the next datagram will have.
    pub fn next_packet_number(&self) -> u64 {
        self.next_packet_number
    }

    /// Where the plaintext of a datagram has to stand in its buffer.
    pub const PLAINTEXT_OFFSET: usize = DATAGRAM_HEADER_BYTES;

    /// Seals `plaintext_bytes` that stand at [`Sealer::PLAINTEXT_OFFSET`] of `buffer`: puts the header before and the
    /// tag behind them. Answers the length of the datagram, or `None` when the key is used up.
    ///
    /// # Panics
    /// When `buffer` has no room for the tag.
    pub fn seal(&mut self, buffer: &mut [u8], plaintext_bytes: usize) -> Option<usize> {
        if self.next_packet_number >= DATAGRAMS_PER_KEY {
            return None;
        }
        let packet_number = self.next_packet_number;
        self.next_packet_number += 1;
        let header = DatagramHeader { epoch: 0, connection_id: self.connection, packet_number }.to_bytes();
        let (front, rest) = buffer.split_at_mut(DATAGRAM_HEADER_BYTES);
        let (plaintext, rest) = rest.split_at_mut(plaintext_bytes);
        front.copy_from_slice(&header);
        let nonce = self.key.nonce(packet_number);
        let tag = self.key.key.seal_in_place_separate_tag(nonce, Aad::from(header), plaintext).ok()?;
        rest[..DATAGRAM_TAG_BYTES].copy_from_slice(tag.as_ref());
        Some(DATAGRAM_HEADER_BYTES + plaintext_bytes + DATAGRAM_TAG_BYTES)
    }
}

/// Why a datagram was dropped; for counting only, no one is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Its tag is not what the key makes of it.
    Forged,
    /// Its packet number was seen, or is too far behind the highest one.
    Replayed,
}

/// Opens the datagrams of one direction, each once.
pub struct Opener {
    key: DirectionKey,
    window: ReplayWindow,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("highest", &self.window.highest()).finish_non_exhaustive()
    }
}

impl Opener {
    /// An opener for datagrams sealed with this secret.
    pub fn new(suite: CipherSuite, secret: &Secret) -> Self {
        Self { key: DirectionKey::new(suite, secret), window: ReplayWindow::default() }
    }

    /// Opens `datagram`, whose parsed header is `header`, in place. Answers its plaintext, and whether its packet
    /// number is the highest so far.
    ///
    /// # Errors
    /// [`Dropped`] when it is not to be believed; the window is then as it was.
    pub fn open<'a>(
        &mut self,
        header: DatagramHeader,
        datagram: &'a mut [u8],
    ) -> Result<(&'a mut [u8], bool), Dropped> {
        if !self.window.accepts(header.packet_number) {
            return Err(Dropped::Replayed);
        }
        let (front, sealed) = datagram.split_at_mut(DATAGRAM_HEADER_BYTES);
        let nonce = self.key.nonce(header.packet_number);
        let plaintext = self.key.key.open_in_place(nonce, Aad::from(&*front), sealed).map_err(|_| Dropped::Forged)?;
        Ok((plaintext, self.window.commit(header.packet_number)))
    }
}

const WORD_BITS: u64 = 64;
/// One word more than the window, so that the words being entered can be cleared (RFC 6479 §2).
const WINDOW_WORDS: usize = (REPLAY_WINDOW / WORD_BITS) as usize + 1;

/// Which packet numbers were seen: a ring of bits that moves a word at a time (RFC 6479).
#[derive(Debug, Default)]
struct ReplayWindow {
    /// One above the highest packet number seen; 0 before the first.
    next: u64,
    seen: [u64; WINDOW_WORDS],
}

impl ReplayWindow {
    fn highest(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    fn accepts(&self, number: u64) -> bool {
        if number >= self.next {
            return true;
        }
        self.next - number <= REPLAY_WINDOW && self.seen[Self::word(number)] & Self::bit(number) == 0
    }

    /// Marks `number` as seen; answers whether it is the highest so far.
    fn commit(&mut self, number: u64) -> bool {
        let newest = number >= self.next;
        if newest {
            let first_new = self.next.div_ceil(WORD_BITS);
            let words = (number / WORD_BITS + 1).saturating_sub(first_new).min(WINDOW_WORDS as u64);
            for word in 0..words {
                self.seen[((first_new + word) % WINDOW_WORDS as u64) as usize] = 0;
            }
            self.next = number + 1;
        }
        self.seen[Self::word(number)] |= Self::bit(number);
        newest
    }

    fn word(number: u64) -> usize {
        (number / WORD_BITS % WINDOW_WORDS as u64) as usize
    }

    fn bit(number: u64) -> u64 {
        1 << (number % WORD_BITS)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const SUITES: [CipherSuite; 2] = [CipherSuite::Aes256Gcm, CipherSuite::ChaCha20Poly1305];

    fn pair(suite: CipherSuite) -> (Sealer, Opener) {
        let secret = Secret([7; Secret::BYTES]);
        (Sealer::new(suite, &secret, ConnectionId(9)), Opener::new(suite, &secret))
    }

    fn sealed(sealer: &mut Sealer, plaintext: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; plaintext.len() + DATAGRAM_HEADER_BYTES + DATAGRAM_TAG_BYTES];
        buffer[Sealer::PLAINTEXT_OFFSET..][..plaintext.len()].copy_from_slice(plaintext);
        assert_eq!(sealer.seal(&mut buffer, plaintext.len()), Some(buffer.len()));
        buffer
    }

    fn open(opener: &mut Opener, datagram: &[u8]) -> Result<Vec<u8>, Dropped> {
        let mut datagram = datagram.to_vec();
        let header = DatagramHeader::parse(&datagram).unwrap();
        opener.open(header, &mut datagram).map(|(plaintext, _)| plaintext.to_vec())
    }

    #[test]
    fn what_was_sealed_opens_once() {
        for suite in SUITES {
            let (mut sealer, mut opener) = pair(suite);
            let datagram = sealed(&mut sealer, b"hello");
            assert_eq!(open(&mut opener, &datagram), Ok(b"hello".to_vec()));
            assert_eq!(open(&mut opener, &datagram), Err(Dropped::Replayed));
        }
    }

    #[test]
    fn no_changed_bit_is_accepted_and_none_moves_the_window() {
        let (mut sealer, mut opener) = pair(CipherSuite::Aes256Gcm);
        let datagram = sealed(&mut sealer, b"hello");
        // The first two bits are the version: another one does not parse.
        for bit in 2..datagram.len() * 8 {
            let mut forged = datagram.clone();
            forged[bit / 8] ^= 0x80 >> (bit % 8);
            if DatagramHeader::parse(&forged).is_ok() {
                assert_eq!(open(&mut opener, &forged), Err(Dropped::Forged), "bit {bit}");
            }
        }
        assert!(open(&mut opener, &datagram).is_ok());
    }

    #[test]
    fn a_datagram_of_the_other_direction_is_forged() {
        let mut sealer = Sealer::new(CipherSuite::Aes256Gcm, &Secret([1; 44]), ConnectionId(9));
        let (_, mut opener) = pair(CipherSuite::Aes256Gcm);
        assert_eq!(open(&mut opener, &sealed(&mut sealer, b"hello")), Err(Dropped::Forged));
    }

    #[test]
    fn the_two_directions_and_connections_have_contexts_of_their_own() {
        let contexts: BTreeSet<_> = [(1, Direction::Up), (1, Direction::Down), (2, Direction::Up)]
            .map(|(id, direction)| exporter_context(ConnectionId(id), direction, 0))
            .into();
        assert_eq!(contexts.len(), 3);
    }

    proptest! {
        #[test]
        fn the_window_is_a_set_of_the_newest_numbers(steps in prop::collection::vec(0u64..1_500, 1..400)) {
            let (mut window, mut model, mut base) = (ReplayWindow::default(), BTreeSet::new(), 0u64);
            for step in steps {
                // Numbers wander upwards with jumps back of up to 1,300 and forward of up to 200.
                let number = (base + step).saturating_sub(1_300);
                base = base.max(number);
                let highest = model.last().copied();
                let in_window = highest.is_none_or(|highest| number + REPLAY_WINDOW > highest);
                prop_assert_eq!(window.accepts(number), in_window && !model.contains(&number));
                if window.accepts(number) {
                    prop_assert_eq!(window.commit(number), highest.is_none_or(|highest| number > highest));
                    model.insert(number);
                }
            }
        }
    }
}
