//! Whose server it is: the key that was seen first is remembered, and another one is refused.
//!
//! A server makes its own certificate, so there is no authority to ask. Its public key is remembered by the SHA-256 of
//! its SubjectPublicKeyInfo at first use, as SSH does it. The signature of the handshake is checked like any other:
//! who copies a certificate does not have its key.

use std::fmt;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use common::wire::control::ALPN;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, SignatureScheme};

/// SHA-256 of a server's SubjectPublicKeyInfo (RFC 5280 §4.1, as pinned in RFC 7469 §2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub(crate) [u8; 32]);

impl Fingerprint {
    /// Of the key in a certificate.
    ///
    /// # Errors
    /// What rustls says of a certificate that cannot be read.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Result<Self, Error> {
        let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        let hash = digest::digest(&digest::SHA256, &key);
        hash.as_ref().try_into().map(Self).map_err(|_| Error::General("SHA-256 has 32 bytes".into()))
    }
}

impl fmt::Display for Fingerprint {
    /// Hexadecimal digits in groups of four, to be read aloud.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pair) in self.0.chunks(2).enumerate() {
            if index > 0 {
                f.write_char(' ')?;
            }
            pair.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        Ok(())
    }
}

impl FromStr for Fingerprint {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits: Vec<u8> = text
            .chars()
            .filter(|c| !c.is_whitespace())
            .map(|c| c.to_digit(16).map(|digit| digit as u8).ok_or(()))
            .collect::<Result<_, ()>>()?;
        let bytes: Vec<u8> =
            digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
        bytes.try_into().map(Self).map_err(|_| ())
    }
}

/// Whose key is trusted.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// Whoever answers: for a load generator, which has nothing to hide.
    Anyone,
    /// The server of this program: its own key.
    Exactly(Fingerprint),
    /// The one that was remembered, or the first one seen.
    Remembered(KnownServers),
}

/// The file of servers that were seen, one `host:port fingerprint` a line.
#[derive(Clone, Debug)]
pub(crate) struct KnownServers {
    path: PathBuf,
}

/// Lines of the file that are read: more servers than a person meets.
const KNOWN_SERVERS_MAX: usize = 10_000;

impl KnownServers {
    pub(crate) fn in_folder(state_dir: &Path) -> Self {
        Self { path: state_dir.join("known_servers") }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The key that was remembered for `server` (`host:port`).
    ///
    /// # Errors
    /// When the file is there and cannot be read, or the line of `server` makes no sense: trusting a new key then
    /// would be what an attacker wants.
    pub(crate) fn find(&self, server: &str) -> io::Result<Option<Fingerprint>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            // There is no such file, and where a folder of its path is none, there cannot be one.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let line = text
            .lines()
            .take(KNOWN_SERVERS_MAX)
            .filter_map(|line| line.split_once(' '))
            .find(|(name, _)| *name == server);
        line.map(|(_, digits)| {
            let unreadable =
                |()| io::Error::new(io::ErrorKind::InvalidData, format!("the key of {server} in it cannot be read"));
            digits.parse().map_err(unreadable)
        })
        .transpose()
    }

    /// Remembers the key of a server that is not in the file.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn remember(&self, server: &str, fingerprint: Fingerprint) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&self.path)?;
        // One write, so that two programs that start at once do not tear each other's lines.
        io::Write::write_all(&mut file, format!("{server} {fingerprint}\n").as_bytes())
    }
}

/// Accepts the expected key, or with none the first one, and tells which it was.
#[derive(Debug)]
pub(crate) struct Verifier {
    expected: Option<Fingerprint>,
    seen: Mutex<Option<Fingerprint>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    pub(crate) fn new(expected: Option<Fingerprint>) -> Self {
        Self { expected, seen: Mutex::new(None), provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()) }
    }

    /// The key that the server showed, accepted or not.
    pub(crate) fn seen(&self) -> Option<Fingerprint> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server showed another key than the expected one.
    pub(crate) fn mismatch(&self) -> bool {
        self.expected.is_some() && self.seen().is_some() && self.seen() != self.expected
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let fingerprint = Fingerprint::of(end_entity)?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(fingerprint);
        match self.expected {
            Some(expected) if expected != fingerprint => Err(CertificateError::ApplicationVerificationFailure.into()),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// TLS 1.3 and nothing older, our protocol, and a verifier that goes by remembered keys.
///
/// # Errors
/// What rustls says when its provider has no TLS 1.3.
pub(crate) fn client_config(verifier: Arc<Verifier>) -> Result<ClientConfig, Error> {
    let provider = Arc::clone(&verifier.provider);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    // The exporter of a resumed session has other secrets than the server's first; a handshake a meeting is cheap.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::scratch::Scratch;

    #[test]
    fn a_fingerprint_reads_as_it_was_written() {
        let fingerprint = Fingerprint(std::array::from_fn(|index| index as u8 * 7));
        let text = fingerprint.to_string();
        assert!(text.starts_with("0007 0e15 "), "{text}");
        assert_eq!(text.parse(), Ok(fingerprint));
        assert_eq!("00".parse::<Fingerprint>(), Err(()));
        assert_eq!("zz".repeat(32).parse::<Fingerprint>(), Err(()));
    }

    #[test]
    fn a_remembered_server_is_found_by_host_and_port() {
        let folder = Scratch::new("known");
        let known = KnownServers::in_folder(&folder.0.join("deep"));
        assert_eq!(known.find("host:7878").unwrap(), None);
        known.remember("host:7878", Fingerprint([1; 32])).unwrap();
        known.remember("host:7879", Fingerprint([2; 32])).unwrap();
        assert_eq!(known.find("host:7878").unwrap(), Some(Fingerprint([1; 32])));
        assert_eq!(known.find("host:7879").unwrap(), Some(Fingerprint([2; 32])));
        assert_eq!(known.find("host:78").unwrap(), None);
    }

    #[test]
    fn a_damaged_line_is_an_error_and_not_an_unknown_server() {
        let folder = Scratch::new("damaged");
        let known = KnownServers::in_folder(&folder.0);
        fs::write(known.path(), "host:7878 12ab\n").unwrap();
        assert!(known.find("host:7878").is_err());
        assert_eq!(known.find("other:7878").unwrap(), None);
    }
}
