//! Mumble's encryption of datagrams: OCB2 with AES-128, four bytes of overhead.
//!
//! The first byte is the low byte of the nonce, the next three are the beginning of the tag. OCB2 has been broken since
//! 2018 (Inoue and Minematsu); it is here because Mumble speaks it.

use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::error::Unspecified;

/// One client's two directions.
pub(super) struct Ocb2 {
    encrypting: EncryptingKey,
    decrypting: DecryptingKey,
    /// Of the last datagram sent, counted up for each.
    sent: u128,
    /// Of the last datagram received.
    received: u128,
}

impl Ocb2 {
    /// # Errors
    /// When the key is not of 16 bytes.
    pub(super) fn new(key: &[u8], client_nonce: [u8; 16], server_nonce: [u8; 16]) -> Result<Self, Unspecified> {
        Ok(Self {
            encrypting: EncryptingKey::ecb(UnboundCipherKey::new(&AES_128, key)?)?,
            decrypting: DecryptingKey::ecb(UnboundCipherKey::new(&AES_128, key)?)?,
            sent: u128::from_le_bytes(client_nonce),
            received: u128::from_le_bytes(server_nonce),
        })
    }

    /// Writes the datagram that carries `plaintext`.
    pub(super) fn seal(&mut self, plaintext: &[u8], datagram: &mut Vec<u8>) {
        self.sent = self.sent.wrapping_add(1);
        datagram.clear();
        datagram.extend([self.sent as u8, 0, 0, 0]);
        let (whole, last) = split_last(plaintext);
        let (mut delta, mut checksum) = (self.encrypt(of_nonce(self.sent)), 0);
        for block in whole.chunks_exact(BLOCK) {
            let block = padded(block, 0);
            delta = doubled(delta);
            datagram.extend((delta ^ self.encrypt(delta ^ block)).to_be_bytes());
            checksum ^= block;
        }
        delta = doubled(delta);
        let pad = self.encrypt(delta ^ bits(last));
        let block = padded(last, pad);
        datagram.extend(&(pad ^ block).to_be_bytes()[..last.len()]);
        let tag = self.encrypt(delta ^ doubled(delta) ^ checksum ^ block);
        datagram[1..HEADER].copy_from_slice(&tag.to_be_bytes()[..HEADER - 1]);
    }

    /// What a datagram carries, or `None` when it was not sealed for here. Datagrams come in the order they were sent.
    pub(super) fn open(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let (header, sealed) = datagram.split_at_checked(HEADER)?;
        let steps = header[0].wrapping_sub(self.received as u8);
        self.received = self.received.wrapping_add(u128::from(steps));
        let (whole, last) = split_last(sealed);
        let (mut delta, mut checksum) = (self.encrypt(of_nonce(self.received)), 0);
        let mut plaintext = Vec::with_capacity(sealed.len());
        for block in whole.chunks_exact(BLOCK) {
            delta = doubled(delta);
            let block = delta ^ self.decrypt(delta ^ padded(block, 0));
            plaintext.extend(block.to_be_bytes());
            checksum ^= block;
        }
        delta = doubled(delta);
        let pad = self.encrypt(delta ^ bits(last));
        let block = pad ^ padded(last, 0);
        plaintext.extend(&block.to_be_bytes()[..last.len()]);
        let tag = self.encrypt(delta ^ doubled(delta) ^ checksum ^ block);
        (header[1..] == tag.to_be_bytes()[..HEADER - 1]).then_some(plaintext)
    }

    fn encrypt(&self, block: u128) -> u128 {
        let mut bytes = block.to_be_bytes();
        self.encrypting.encrypt(&mut bytes).expect("ECB takes a whole block");
        u128::from_be_bytes(bytes)
    }

    fn decrypt(&self, block: u128) -> u128 {
        let mut bytes = block.to_be_bytes();
        self.decrypting.decrypt(&mut bytes, DecryptionContext::None).expect("ECB takes a whole block");
        u128::from_be_bytes(bytes)
    }
}

const BLOCK: usize = 16;
const HEADER: usize = 4;

/// Nonces count in little endian, blocks are numbers in big endian.
fn of_nonce(nonce: u128) -> u128 {
    u128::from_be_bytes(nonce.to_le_bytes())
}

/// Times x in GF(2^128).
fn doubled(delta: u128) -> u128 {
    (delta << 1) ^ ((delta >> 127) * 0x87)
}

/// Everything up to the last block, which may be a whole one.
fn split_last(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.len().saturating_sub(1) / BLOCK * BLOCK)
}

/// Up to a block of text, and the end of `pad` behind it.
fn padded(text: &[u8], pad: u128) -> u128 {
    let mut bytes = pad.to_be_bytes();
    bytes[..text.len()].copy_from_slice(text);
    u128::from_be_bytes(bytes)
}

/// The length of the last block.
fn bits(last: &[u8]) -> u128 {
    8 * last.len() as u128
}
