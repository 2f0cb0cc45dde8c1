//! The few control messages that let a client into a mumble-server: TLS, a frame of type and length, protobuf.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};

use super::super::PATIENCE;
use super::ocb2::Ocb2;

/// A connection; the client is in the room as long as it is open.
pub(super) struct Control(StreamOwned<ClientConnection, TcpStream>);

impl Control {
    /// Says who it is and waits until it is in; answers the key of its datagrams, too.
    pub(super) fn join(server: SocketAddr, name: &str) -> io::Result<(Self, Ocb2)> {
        let mut control = Self::connect(server)?;
        control.send(VERSION, &varint_field(1, PROTOCOL_1_3_4))?;
        control.send(AUTHENTICATE, &[bytes_field(1, name.as_bytes()), varint_field(5, 1)].concat())?;
        let mut crypt = None;
        loop {
            let (kind, message) = control.receive()?;
            match kind {
                CRYPT_SETUP => crypt = read_crypt_setup(&message),
                SERVER_SYNC => break,
                REJECT => return Err(io::Error::other(format!("{name} was rejected: {}", reason(&message)))),
                // Users, channels and permissions, which nobody here looks at.
                _ => {}
            }
        }
        let crypt = crypt.ok_or_else(|| io::Error::other("it lets clients in without a key for voice"))?;
        Ok((control, crypt))
    }

    fn connect(server: SocketAddr) -> io::Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        let tcp = TcpStream::connect(server)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::IpAddress(server.ip().into());
        let tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        Ok(Self(StreamOwned::new(tls, tcp)))
    }

    fn send(&mut self, kind: u16, message: &[u8]) -> io::Result<()> {
        let length = message.len() as u32;
        self.0.write_all(&[&kind.to_be_bytes(), &length.to_be_bytes()[..], message].concat())
    }

    fn receive(&mut self) -> io::Result<(u16, Vec<u8>)> {
        let mut head = [0; 6];
        self.0.read_exact(&mut head)?;
        let [kind_high, kind_low, length @ ..] = head;
        let length = u32::from_be_bytes(length);
        if length > MESSAGE_MAX_BYTES {
            return Err(io::Error::other(format!("a control message of {length} bytes")));
        }
        let mut message = vec![0; length as usize];
        self.0.read_exact(&mut message)?;
        Ok((u16::from_be_bytes([kind_high, kind_low]), message))
    }
}

/// What Mumble's own clients take at most.
const MESSAGE_MAX_BYTES: u32 = 0x7F_FFFF;

const VERSION: u16 = 0;
const AUTHENTICATE: u16 = 2;
const REJECT: u16 = 4;
const SERVER_SYNC: u16 = 5;
const CRYPT_SETUP: u16 = 15;

const PROTOCOL_1_3_4: u64 = 0x01_03_04;

/// Key, nonce of the client, nonce of the server.
fn read_crypt_setup(message: &[u8]) -> Option<Ocb2> {
    let (mut key, mut client_nonce, mut server_nonce) = (None, None, None);
    for (number, value) in Fields(message) {
        match number {
            1 => key = Some(value),
            2 => client_nonce = value.try_into().ok(),
            3 => server_nonce = value.try_into().ok(),
            _ => {}
        }
    }
    Ocb2::new(key?, client_nonce?, server_nonce?).ok()
}

fn reason(message: &[u8]) -> String {
    let text = Fields(message).find(|(number, _)| *number == 2).map(|(_, text)| text).unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

// Protobuf: a key of number and wire type, then a number or a length and bytes.

const WIRE_VARINT: u64 = 0;
const WIRE_BYTES: u64 = 2;

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn varint_field(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3 | WIRE_VARINT), varint(value)].concat()
}

fn bytes_field(number: u64, value: &[u8]) -> Vec<u8> {
    [varint(number << 3 | WIRE_BYTES), varint(value.len() as u64), value.to_vec()].concat()
}

/// The fields of a message up to the first that is not understood; a number has no bytes.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.varint()?;
        let length = match key & 7 {
            WIRE_VARINT => self.varint().map(|_| 0)?,
            WIRE_BYTES => usize::try_from(self.varint()?).ok()?,
            _ => return None,
        };
        let (value, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some((key >> 3, value))
    }
}

impl Fields<'_> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if *byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

/// Takes any certificate, and does not even ask whether its key signed: this is a server that we started ourselves.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
