//! Who the server is: a self-signed certificate made at first start and kept in the state directory.
//!
//! Clients remember the fingerprint of the public key, so the certificate around it may be renewed.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use common::wire::control::{ALPN, SERVER_NAME};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::start_error::StartError;

/// SHA-256 of the DER SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) of a server's certificate. `Display` writes pairs of
/// hexadecimal digits with colons between them, as other tools do.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (last, front) = self.0.split_last().expect("there are 32 bytes");
        front.iter().try_for_each(|byte| write!(f, "{byte:02X}:"))?;
        write!(f, "{last:02X}")
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// A certificate with its private key, and the fingerprint of its public one.
pub(crate) struct Identity {
    certified: CertifiedKey,
    fingerprint: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl Identity {
    /// The identity kept in `state_dir`; a new one when there is none.
    pub(crate) fn load_or_create(state_dir: &Path) -> Result<Self, StartError> {
        let path = state_dir.join(FILE_NAME);
        let mut read = fs::read(&path);
        if matches!(&read, Err(error) if error.kind() == io::ErrorKind::NotFound) {
            Self::create(&path)?;
            read = fs::read(&path);
        }
        match read {
            Ok(pem) => {
                keep_private(&path);
                Self::from_pem(&pem).map_err(|source| StartError::IdentityInvalid { path, source })
            }
            Err(source) => Err(StartError::IdentityUnreadable { path, source }),
        }
    }

    fn create(path: &Path) -> Result<(), StartError> {
        let pem = new_identity().map_err(|error| StartError::Unexpected(error.into()))?;
        write_private(path, pem.as_bytes())
            .map_err(|source| StartError::IdentityUnwritable { path: path.to_owned(), source })?;
        tracing::info!(path = %path.display(), "made a new identity");
        Ok(())
    }

    fn from_pem(pem: &[u8]) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(pem)?;
        let certificate = certificates.first().ok_or("there is no certificate")?;
        let public_key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        let hash = digest(&SHA256, &public_key);
        let fingerprint = Fingerprint(hash.as_ref().try_into()?);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Ok(Self { certified: CertifiedKey::from_der(certificates, key, &provider)?, fingerprint, provider })
    }

    /// What clients remember.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// TLS 1.3 and nothing older, our protocol name, no tickets and so no early data: keys of the data plane come
    /// from full handshakes only.
    pub(crate) fn into_tls_config(self) -> Result<rustls::ServerConfig, StartError> {
        let mut config = rustls::ServerConfig::builder_with_provider(self.provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| StartError::Unexpected(error.into()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(self.certified)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

/// Certificate and key in one file, so that no crash can leave one without the other.
const FILE_NAME: &str = "identity.pem";

/// A certificate (ECDSA P-256, no expiry: it is pinned, not vouched for) and its key, as PEM.
fn new_identity() -> Result<String, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(vec![SERVER_NAME.to_owned()])?;
    parameters.distinguished_name.push(DnType::CommonName, "Conclave server");
    let certificate = parameters.self_signed(&key)?;
    Ok(certificate.pem() + &key.serialize_pem())
}

/// Writes a file that only its owner can read, whole or not at all; one that is there by then stays.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static LAST: AtomicU32 = AtomicU32::new(0);
    if let Some(directory) = path.parent() {
        create_private_directory(directory)?;
    }
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let unfinished = path.with_extension(format!("{}-{number}.new", std::process::id()));
    // What has this name was left by a process of the same id that crashed.
    let _ = fs::remove_file(&unfinished);
    let mut file = create_private_file(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    publish(&unfinished, path)
}

/// Gives a finished file its name, unless another server that starts at the same time was first.
fn publish(unfinished: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(unfinished, path) {
        Ok(()) => fs::remove_file(unfinished),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::remove_file(unfinished),
        // File systems without hard links have no way to rename without replacing.
        Err(_) => fs::rename(unfinished, path),
    }
}

#[cfg(unix)]
fn create_private_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn create_private_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(unix)]
fn create_private_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn create_private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Takes the key out of reach of other users again, for example after it was copied.
#[cfg(unix)]
fn keep_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let shared = fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0);
    if shared {
        let closed = fs::set_permissions(path, fs::Permissions::from_mode(0o600)).is_ok();
        tracing::warn!(path = %path.display(), closed, "other users could read the private key");
    }
}

#[cfg(not(unix))]
fn keep_private(_path: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::StateDir;

    #[test]
    fn an_identity_is_made_once_and_kept() {
        let dir = StateDir::new();
        let first = Identity::load_or_create(dir.path()).unwrap().fingerprint();
        let second = Identity::load_or_create(dir.path()).unwrap().fingerprint();
        assert_eq!(first, second);
        let files: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(files.len(), 1, "no unfinished file is left");
    }

    #[test]
    fn servers_that_start_for_the_first_time_together_agree_on_one_identity() {
        let dir = StateDir::new();
        let fingerprints: Vec<_> = std::thread::scope(|scope| {
            let load = || Identity::load_or_create(dir.path()).unwrap().fingerprint();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(fingerprints.iter().all(|fingerprint| *fingerprint == fingerprints[0]));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn the_key_is_private_and_made_so_again() {
        use std::os::unix::fs::PermissionsExt;
        let dir = StateDir::new();
        let path = dir.path().join(FILE_NAME);
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        Identity::load_or_create(dir.path()).unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        Identity::load_or_create(dir.path()).unwrap();
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn a_damaged_identity_is_refused_and_left_as_it_is() {
        let dir = StateDir::new();
        Identity::load_or_create(dir.path()).unwrap();
        let path = dir.path().join(FILE_NAME);
        let whole = fs::read_to_string(&path).unwrap();
        let other_key = KeyPair::generate().unwrap().serialize_pem();
        let certificate = whole.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap();
        for damaged in [String::new(), "?".into(), certificate.into(), certificate.to_owned() + &other_key] {
            fs::write(&path, &damaged).unwrap();
            let refused = Identity::load_or_create(dir.path()).err();
            assert!(matches!(refused, Some(StartError::IdentityInvalid { .. })), "{refused:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn a_fingerprint_reads_as_other_tools_write_it() {
        let text = Fingerprint([0xa5; 32]).to_string();
        assert_eq!(text.len(), 32 * 3 - 1);
        assert!(text.starts_with("A5:A5:"));
    }
}
