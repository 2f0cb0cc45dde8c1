//! The control connection: TCP and TLS, messages cut out of the stream and written into it.
//!
//! A task owns the stream, so that a server that does not read never holds up the sound. It also derives the secrets of
//! the data plane, since the TLS exporter is its.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use common::seal::{EXPORTER_LABEL, Secret, Secrets};
use common::wire::control::{ALPN, ClientMessage, Framer, ServerMessage, encode};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::address::ServerAddress;
use super::trust::{Fingerprint, KnownServers, Verifier, client_config};

/// What comes from the server.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The connection is closed or broken.
    Disconnected,
    /// Bytes that are no message.
    Malformed,
    /// A message; with the secrets of the data plane when it is our admission.
    Message(ServerMessage, Option<Secrets>),
}

/// The meeting's end of a control connection.
#[derive(Debug)]
pub(crate) struct Control {
    /// What comes from the server.
    pub(crate) incoming: mpsc::Receiver<Incoming>,
    outgoing: mpsc::Sender<ClientMessage>,
    task: JoinHandle<()>,
}

/// A connection that was made.
#[derive(Debug)]
pub(crate) struct Connected {
    /// The connection.
    pub(crate) control: Control,
    /// The server's address: the data plane goes to the same one.
    pub(crate) peer: SocketAddr,
    /// The key of the server.
    pub(crate) key: Fingerprint,
    /// It was seen for the first time, and is remembered.
    pub(crate) remembered: bool,
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

/// Why there is no connection, as a sentence.
#[derive(Debug)]
pub(crate) struct ConnectError(String);

impl ConnectError {
    /// The attempt came to no end of its own.
    pub(crate) fn broken(server: &ServerAddress) -> Self {
        unreachable(server, &io::Error::other("the attempt broke off"))
    }

    /// The server took too long.
    pub(crate) fn silent(server: &ServerAddress) -> Self {
        unreachable(server, &io::ErrorKind::TimedOut.into())
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Messages between the task and the meeting, each way. A person makes a handful a minute.
const CONTROL_CHANNEL: usize = 64;

/// How long one address of a server may take to answer: twice a SYN that was lost once (RFC 6298 §2: 1 s, then 2 s).
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(6);

/// How long the last words may take.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Connects to a server and checks its key.
///
/// # Errors
/// A sentence that names the server and says what to do.
pub(crate) async fn connect(server: &ServerAddress, trust: &Trust) -> Result<Connected, ConnectError> {
    connect_from(None, server, trust).await
}

/// Connects from one of this machine's addresses, or from the one that the system chooses.
///
/// # Errors
/// As [`connect`].
pub(crate) async fn connect_from(
    source: Option<IpAddr>,
    server: &ServerAddress,
    trust: &Trust,
) -> Result<Connected, ConnectError> {
    let name = format!("{}:{}", server.host, server.port);
    let expected = match trust {
        Trust::Anyone => None,
        Trust::Exactly(fingerprint) => Some(*fingerprint),
        Trust::Remembered(known) => known.find(&name).map_err(|error| unreadable(known, &error))?,
    };
    let verifier = Arc::new(Verifier::new(expected));
    let stream = dial(source, server).await?;
    let peer = stream.peer_addr().map_err(|error| unreachable(server, &error))?;
    let handshake = shake_hands(server, stream, Arc::clone(&verifier)).await;
    if verifier.mismatch() {
        return Err(changed_key(server, trust));
    }
    let stream = handshake?;
    let key = verifier.seen().ok_or_else(|| foreign(server, &"it has no key"))?;
    let remembered = match (trust, expected) {
        (Trust::Remembered(known), None) => {
            known.remember(&name, key).map_err(|error| unwritable(known, &error))?;
            true
        }
        _ => false,
    };
    Ok(Connected { control: Control::start(stream), peer, key, remembered })
}

async fn dial(source: Option<IpAddr>, server: &ServerAddress) -> Result<TcpStream, ConnectError> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    let addresses = tokio::net::lookup_host((server.host.as_str(), server.port)).await;
    for address in addresses.map_err(|error| unreachable(server, &error))? {
        match timeout(CONNECT_TIMEOUT, reach(source, address)).await {
            Ok(Ok(stream)) => {
                // Messages are small and each is wanted at once.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(unreachable(server, &last))
}

async fn reach(source: Option<IpAddr>, address: SocketAddr) -> io::Result<TcpStream> {
    let Some(source) = source else {
        return TcpStream::connect(address).await;
    };
    let socket = if source.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(address).await
}

async fn shake_hands(
    server: &ServerAddress,
    stream: TcpStream,
    verifier: Arc<Verifier>,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let config = client_config(verifier).map_err(|error| foreign(server, &error))?;
    let name = ServerName::try_from(server.host.clone()).map_err(|error| foreign(server, &error))?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = match timeout(CONNECT_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(foreign(server, &error)),
        Err(_) => return Err(foreign(server, &"it does not answer")),
    };
    if stream.get_ref().1.alpn_protocol() == Some(ALPN) {
        Ok(stream)
    } else {
        Err(foreign(server, &"it speaks another protocol"))
    }
}

fn unreachable(server: &ServerAddress, error: &io::Error) -> ConnectError {
    let known = [
        (io::ErrorKind::ConnectionRefused, "no server listens there"),
        (io::ErrorKind::NotFound, "nothing has this name"),
        (io::ErrorKind::TimedOut, "it does not answer"),
    ];
    let why = known.iter().find(|(kind, _)| *kind == error.kind());
    let why = why.map_or_else(|| error.to_string(), |(_, why)| (*why).to_owned());
    ConnectError(format!("Could not reach {server}: {why}."))
}

fn foreign(server: &ServerAddress, error: &dyn fmt::Display) -> ConnectError {
    ConnectError(format!("{server} is no server of this program, or of another version: {error}."))
}

fn changed_key(server: &ServerAddress, trust: &Trust) -> ConnectError {
    let advice = match trust {
        Trust::Anyone | Trust::Exactly(_) => String::new(),
        Trust::Remembered(known) => format!(
            " If the server was set up anew, remove the line of {}:{} from {}.",
            server.host,
            server.port,
            known.path().display()
        ),
    };
    ConnectError(format!("The key of {server} is not the one remembered: somebody may be between you and it.{advice}"))
}

fn unreadable(known: &KnownServers, error: &io::Error) -> ConnectError {
    let path = known.path().display();
    ConnectError(format!("The file of remembered servers, {path}, cannot be used: {error}."))
}

fn unwritable(known: &KnownServers, error: &io::Error) -> ConnectError {
    let path = known.path().display();
    ConnectError(format!("The key of the server could not be remembered in {path}: {error}."))
}

impl Control {
    fn start(stream: TlsStream<TcpStream>) -> Self {
        let (to_meeting, incoming) = mpsc::channel(CONTROL_CHANNEL);
        let (outgoing, from_meeting) = mpsc::channel(CONTROL_CHANNEL);
        let task = tokio::spawn(serve(stream, to_meeting, from_meeting));
        Self { incoming, outgoing, task }
    }

    /// Sends a message. One that a stuck connection has no room for is dropped: the connection is as good as lost,
    /// and the session notices by the silence.
    pub(crate) fn send(&self, message: ClientMessage) {
        let _ = self.outgoing.try_send(message);
    }

    /// Drops the connection at once.
    pub(crate) fn abort(self) {
        self.task.abort();
    }

    /// Lets what was sent go out, and closes.
    pub(crate) async fn close(self) {
        let Self { incoming, outgoing, task } = self;
        drop(outgoing);
        drop(incoming);
        let abort = task.abort_handle();
        if timeout(FAREWELL_TIMEOUT, task).await.is_err() {
            abort.abort();
        }
    }
}

async fn serve(
    mut stream: TlsStream<TcpStream>,
    to_meeting: mpsc::Sender<Incoming>,
    mut from_meeting: mpsc::Receiver<ClientMessage>,
) {
    let mut framer = Framer::new();
    let mut buffer = [0; 4_096];
    loop {
        tokio::select! {
            read = stream.read(&mut buffer) => {
                let last = match read {
                    Ok(bytes @ 1..) => hear(&stream, &mut framer, &buffer[..bytes], &to_meeting).await,
                    Ok(0) | Err(_) => Some(Incoming::Disconnected),
                };
                if let Some(last) = last {
                    let _ = to_meeting.send(last).await;
                    break;
                }
            }
            message = from_meeting.recv() => {
                let Some(message) = message else { break };
                if say(&mut stream, &message).await.is_err() {
                    let _ = to_meeting.send(Incoming::Disconnected).await;
                    break;
                }
            }
        }
    }
    // What the meeting said just before it learned of the end, and a close_notify.
    while let Ok(message) = from_meeting.try_recv() {
        if say(&mut stream, &message).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}

async fn say(stream: &mut TlsStream<TcpStream>, message: &ClientMessage) -> io::Result<()> {
    stream.write_all(&encode(message)).await?;
    stream.flush().await
}

/// Hands on every message in `bytes`; answers what to end with, if this is the end.
async fn hear(
    stream: &TlsStream<TcpStream>,
    framer: &mut Framer,
    mut bytes: &[u8],
    to_meeting: &mpsc::Sender<Incoming>,
) -> Option<Incoming> {
    while !bytes.is_empty() {
        bytes = &bytes[framer.push(bytes)..];
        loop {
            let message = match framer.next_message::<ServerMessage>() {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(_) => return Some(Incoming::Malformed),
            };
            let Ok(secrets) = secrets_for(stream, &message) else {
                return Some(Incoming::Malformed);
            };
            // The meeting does not listen any more: the farewell follows.
            let _ = to_meeting.send(Incoming::Message(message, secrets)).await;
        }
    }
    None
}

fn secrets_for(stream: &TlsStream<TcpStream>, message: &ServerMessage) -> Result<Option<Secrets>, rustls::Error> {
    let ServerMessage::Admitted(admission) = message else {
        return Ok(None);
    };
    let export = |context: &[u8]| {
        let connection = stream.get_ref().1;
        connection.export_keying_material([0; Secret::BYTES], EXPORTER_LABEL, Some(context))
    };
    Secrets::derive(admission.connection_id, export).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::scratch::Scratch;
    use common::ids::ConnectionId;
    use rustls::ServerConfig;
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::sign::{CertifiedKey, SingleCertAndKey};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    fn key_pair() -> rcgen::KeyPair {
        rcgen::KeyPair::generate().unwrap()
    }

    /// A server that shows the certificate of `shown` and signs with `signing`.
    fn acceptor(shown: &rcgen::KeyPair, signing: &rcgen::KeyPair) -> TlsAcceptor {
        let certificate = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(shown).unwrap();
        let key = PrivatePkcs8KeyDer::from(signing.serialize_der()).into();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let certified = CertifiedKey::new(vec![certificate.der().clone()], key);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// Connects once, to a server with these keys; answers what the client got and what the server read first.
    async fn meet(
        known: &KnownServers,
        listener: &TcpListener,
        acceptor: TlsAcceptor,
    ) -> Result<Option<Fingerprint>, String> {
        let port = listener.local_addr().unwrap().port();
        let server = ServerAddress { host: "127.0.0.1".into(), port };
        let trust = Trust::Remembered(known.clone());
        let accept = async {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut byte = [0];
                let _ = stream.read(&mut byte).await;
            }
        };
        let client = async {
            let connected = connect(&server, &trust).await.map_err(|error| error.to_string())?;
            connected.control.close().await;
            Ok(connected.remembered.then_some(connected.key))
        };
        tokio::join!(accept, client).1
    }

    #[tokio::test]
    async fn the_first_key_is_remembered_and_another_one_refused() {
        let folder = Scratch::new("first-key");
        let known = KnownServers::in_folder(&folder.0);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (own, other) = (key_pair(), key_pair());
        let first = meet(&known, &listener, acceptor(&own, &own)).await.unwrap();
        assert!(first.is_some());
        assert_eq!(meet(&known, &listener, acceptor(&own, &own)).await, Ok(None));
        let refused = meet(&known, &listener, acceptor(&other, &other)).await.unwrap_err();
        assert!(refused.contains("not the one remembered"), "{refused}");
        assert!(refused.contains("known_servers"), "{refused}");
    }

    #[tokio::test]
    async fn a_copied_certificate_without_its_key_is_refused() {
        let folder = Scratch::new("copied");
        let known = KnownServers::in_folder(&folder.0);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (own, thief) = (key_pair(), key_pair());
        meet(&known, &listener, acceptor(&own, &own)).await.unwrap();
        let refused = meet(&known, &listener, acceptor(&own, &thief)).await;
        assert!(refused.is_err());
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_a_sentence_with_its_name() {
        let folder = Scratch::new("nobody");
        let trust = Trust::Remembered(KnownServers::in_folder(&folder.0));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = ServerAddress::from(listener.local_addr().unwrap());
        drop(listener);
        let error = connect(&server, &trust).await.unwrap_err().to_string();
        assert_eq!(error, format!("Could not reach {server}: no server listens there."));
    }

    #[tokio::test]
    async fn both_ends_derive_the_same_secrets() {
        let (own, connection) = (key_pair(), ConnectionId(77));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = ServerAddress::from(listener.local_addr().unwrap());
        let acceptor = acceptor(&own, &own);
        let certificate_key = Verifier::new(None);
        let accept = async {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = acceptor.accept(stream).await.unwrap();
            let export = |context: &[u8]| {
                stream.get_ref().1.export_keying_material([0; Secret::BYTES], EXPORTER_LABEL, Some(context))
            };
            Secrets::derive(connection, export).unwrap()
        };
        let client = async {
            let stream = dial(None, &server).await.unwrap();
            let stream = shake_hands(&server, stream, Arc::new(certificate_key)).await.unwrap();
            let export = |context: &[u8]| {
                stream.get_ref().1.export_keying_material([0; Secret::BYTES], EXPORTER_LABEL, Some(context))
            };
            Secrets::derive(connection, export).unwrap()
        };
        let (ours, theirs) = tokio::join!(client, accept);
        assert!(ours.up.0 == theirs.up.0 && ours.down.0 == theirs.down.0);
        assert!(ours.up.0 != ours.down.0);
    }
}
