//! Why a server does not start, each a sentence for a person.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::{fmt, io};

use crate::cards::ScopeError;

/// Why a server does not start. `Display` is one sentence that says what to do; `source` has what the system said.
#[derive(Debug)]
pub enum StartError {
    /// The address is not one of this machine.
    AddressUnavailable {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The identity file holds no certificate with its key.
    IdentityInvalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The identity file is there and cannot be read.
    IdentityUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The identity file, or its directory, cannot be written.
    IdentityUnwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// This user may not open that port.
    PortForbidden {
        /// What was asked for.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// Another program has the port, TCP or UDP.
    PortInUse {
        /// What was asked for.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The address is complete only with a network card, and none was named.
    ScopeMissing(ScopeError),
    /// The sockets could not be opened for another reason.
    Sockets {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The directory for files on their way cannot be made or used.
    Spool {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What a healthy system does not refuse: randomness, a thread, a TLS configuration.
    Unexpected(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressUnavailable { address, .. } => {
                let ip = address.ip();
                write!(f, "{ip} is not an address of this machine. Choose another with --listen.")
            }
            Self::IdentityInvalid { path, .. } => {
                let path = path.display();
                write!(
                    f,
                    "{path} does not hold a certificate with its key. Restore it, or remove it to get a new identity."
                )
            }
            Self::IdentityUnreadable { path, .. } => {
                write!(f, "The server's identity in {} cannot be read.", path.display())
            }
            Self::IdentityUnwritable { path, .. } => {
                let path = path.display();
                write!(
                    f,
                    "The server's identity cannot be written to {path}. Choose another directory with --state-dir."
                )
            }
            Self::PortForbidden { port, .. } => {
                write!(f, "Port {port} may not be opened by this user. Choose another with --listen.")
            }
            Self::PortInUse { port, .. } => {
                write!(f, "Port {port} is in use by another program. Choose another with --listen.")
            }
            Self::ScopeMissing(error) => write!(f, "The server cannot listen there: {error}."),
            Self::Sockets { address, .. } => write!(f, "The server cannot listen at {address}."),
            Self::Spool { path, .. } => {
                let path = path.display();
                write!(f, "Files on their way cannot be kept in {path}. Choose another directory with --spool-dir.")
            }
            Self::Unexpected(_) => f.write_str("The server cannot start on this system."),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::IdentityInvalid { source, .. } | Self::Unexpected(source) => Some(source.as_ref()),
            Self::ScopeMissing(_) => None,
            Self::AddressUnavailable { source, .. }
            | Self::IdentityUnreadable { source, .. }
            | Self::IdentityUnwritable { source, .. }
            | Self::PortForbidden { source, .. }
            | Self::PortInUse { source, .. }
            | Self::Sockets { source, .. }
            | Self::Spool { source, .. } => Some(source),
        }
    }
}
