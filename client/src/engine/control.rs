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
use common::wire::control::{ALPN, ClientMessage, Framer, SERVER_NAME, ServerMessage, encode};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::address::ServerAddress;
use super::dial::{Answered, CONNECT_TIMEOUT, Won, race, reach};
use super::obstacle::{ConnectError, Obstacle};
use super::trust::{Fingerprint, Trust, Verifier, client_config};

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
    /// Every address of the server that is known, the one that answered first: the data plane goes to that one, too.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The key of the server.
    pub(crate) key: Fingerprint,
    /// Whether the key will be known next time.
    pub(crate) memory: Memory,
}

/// Whether a server's key will be known at the next visit.
#[derive(Debug)]
pub(crate) enum Memory {
    /// It was known already, or nobody goes by what is remembered.
    Known,
    /// It was seen for the first time, and could not be remembered.
    Lost(io::Error),
    /// It was seen for the first time, and is remembered.
    New,
}

impl From<io::Result<()>> for Memory {
    fn from(remembered: io::Result<()>) -> Self {
        remembered.map_or_else(Self::Lost, |()| Self::New)
    }
}

/// Messages between the task and the meeting, each way. A person makes a handful a minute.
const CONTROL_CHANNEL: usize = 64;

/// How long the last words may take.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Connects to a server and checks its key. `known` are addresses it had, the likeliest first; they are tried while its
/// name is looked up.
///
/// # Errors
/// A sentence that names the server and says what to do.
pub(crate) async fn connect(
    server: &ServerAddress,
    trust: &Trust,
    known: Vec<SocketAddr>,
) -> Result<Connected, ConnectError> {
    connect_from(None, server, trust, known).await
}

/// Connects from one of this machine's addresses, or from the one that the system chooses.
///
/// # Errors
/// As [`connect`].
pub(crate) async fn connect_from(
    source: Option<IpAddr>,
    server: &ServerAddress,
    trust: &Trust,
    known: Vec<SocketAddr>,
) -> Result<Connected, ConnectError> {
    let name = format!("{}:{}", server.host, server.port);
    let expected = match trust {
        Trust::Anyone => None,
        Trust::Exactly(fingerprint) => Some(*fingerprint),
        Trust::Remembered(servers) => servers.find(&name).map_err(|error| ConnectError::unreadable(servers, &error))?,
    };
    let attempt = |address, answered| attempt(source, address, expected, answered);
    let won = race(known, server.look_up(), attempt).await;
    let Won { result: (stream, key), addresses } = won.map_err(|lost| ConnectError::lost(server, trust, lost))?;
    let memory = match (trust, expected) {
        (Trust::Remembered(servers), None) => servers.remember(&name, key).into(),
        _ => Memory::Known,
    };
    Ok(Connected { control: Control::start(stream), addresses, key, memory })
}

/// Connects to one address of a server: what it is to win, the handshake included, so that none wins that accepts
/// connections and then says nothing.
async fn attempt(
    source: Option<IpAddr>,
    address: SocketAddr,
    expected: Option<Fingerprint>,
    answered: Answered,
) -> Result<(TlsStream<TcpStream>, Fingerprint), Obstacle> {
    let stream = reach(source, address).await.map_err(Obstacle::Unreachable)?;
    // Where there is no room, others have answered, too.
    let _ = answered.try_send(());
    let verifier = Arc::new(Verifier::new(expected));
    let handshake = shake_hands(stream, Arc::clone(&verifier)).await;
    if verifier.mismatch() {
        return Err(Obstacle::ChangedKey);
    }
    let key = verifier.seen().ok_or_else(|| Obstacle::Foreign("it has no key".to_owned()));
    Ok((handshake?, key?))
}

async fn shake_hands(stream: TcpStream, verifier: Arc<Verifier>) -> Result<TlsStream<TcpStream>, Obstacle> {
    let foreign = |error: &dyn fmt::Display| Obstacle::Foreign(error.to_string());
    let config = client_config(verifier).map_err(|error| foreign(&error))?;
    let name = ServerName::try_from(SERVER_NAME).map_err(|error| foreign(&error))?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = timeout(CONNECT_TIMEOUT, handshake).await.map_err(|_| Obstacle::Stalled)?;
    let stream = stream.map_err(|error| Obstacle::in_handshake(&error))?;
    if stream.get_ref().1.alpn_protocol() == Some(ALPN) {
        Ok(stream)
    } else {
        Err(foreign(&"it speaks another protocol"))
    }
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
    use crate::engine::dial::Lost;
    use crate::engine::scratch::Scratch;
    use crate::engine::trust::KnownServers;
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
            let connected = connect(&server, &trust, Vec::new()).await.map_err(|error| error.to_string())?;
            connected.control.close().await;
            Ok(matches!(connected.memory, Memory::New).then_some(connected.key))
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
        let error = connect(&server, &trust, Vec::new()).await.unwrap_err().to_string();
        assert_eq!(error, format!("Could not reach {server}: no server listens there."));
    }

    /// What is told of a server that does this with a connection.
    async fn told_of(answer: impl AsyncFn(TcpStream)) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = ServerAddress::from(listener.local_addr().unwrap());
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            answer(stream).await;
        };
        let client = async { connect(&server, &Trust::Anyone, Vec::new()).await.unwrap_err().to_string() };
        tokio::join!(serve, client).1
    }

    #[tokio::test]
    async fn a_handshake_that_comes_to_nothing_is_told_by_what_it_may_be() {
        let closed = told_of(async |mut stream| {
            // Read first, so that the end is a quiet one.
            let _ = stream.read(&mut [0; 4_096]).await;
        });
        let closed = closed.await;
        assert!(closed.contains("closed the connection before it was secure"), "{closed}");
        let web = told_of(async |mut stream| {
            let _ = stream.read(&mut [0; 4_096]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        });
        let web = web.await;
        assert!(web.contains("not as this program expects"), "{web}");
        for sentence in [closed, web] {
            assert!(sentence.contains("may be") && !sentence.contains("no server of this program"), "{sentence}");
        }
        let stalled = ConnectError::lost(
            &"192.0.2.1".parse().unwrap(),
            &Trust::Anyone,
            Lost {
                lookup: None,
                attempts: vec![Obstacle::Stalled, Obstacle::Unreachable(io::ErrorKind::TimedOut.into())],
            },
        );
        assert!(stalled.to_string().contains("may lose long packets"), "{stalled}");
    }

    #[tokio::test]
    async fn a_server_is_known_whatever_its_name_is() {
        let folder = Scratch::new("names");
        let known = KnownServers::in_folder(&folder.0);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = key_pair();
        let address = listener.local_addr().unwrap();
        for host in ["bücher", "srv-", "rack.7", "the_box"] {
            let serve = async {
                let (stream, _) = listener.accept().await.unwrap();
                let _ = acceptor(&own, &own).accept(stream).await;
            };
            let expected = known.find(&format!("{host}:7878")).unwrap();
            let (_, shaken) = tokio::join!(serve, attempt(None, address, expected, mpsc::channel(1).0));
            known.remember(&format!("{host}:7878"), shaken.unwrap().1).unwrap();
            assert!(known.find(&format!("{host}:7878")).unwrap().is_some());
        }
    }

    #[tokio::test]
    async fn a_server_that_cannot_be_remembered_is_entered_all_the_same_and_is_new_next_time() {
        let folder = Scratch::new("unwritable");
        // A file in the place of the folder: nothing can be written below it, by root neither.
        let file = folder.0.join("state");
        std::fs::write(&file, "").unwrap();
        let trust = Trust::Remembered(KnownServers::in_folder(&file));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = ServerAddress::from(listener.local_addr().unwrap());
        let own = key_pair();
        for _ in 0..2 {
            let serve = async {
                let (stream, _) = listener.accept().await.unwrap();
                let _ = acceptor(&own, &own).accept(stream).await;
            };
            let (_, connected) = tokio::join!(serve, connect(&server, &trust, Vec::new()));
            assert!(matches!(connected.unwrap().memory, Memory::Lost(_)));
        }
    }

    #[tokio::test]
    async fn a_file_of_keys_that_cannot_be_read_is_not_an_empty_one() {
        let folder = Scratch::new("unreadable");
        let known = KnownServers::in_folder(&folder.0);
        std::fs::create_dir(known.path()).unwrap();
        let server = ServerAddress { host: "127.0.0.1".into(), port: 1 };
        let error = connect(&server, &Trust::Remembered(known), Vec::new()).await.unwrap_err().to_string();
        assert!(error.contains("may be in it") && error.contains("--state-dir"), "{error}");
    }

    #[tokio::test]
    async fn both_ends_derive_the_same_secrets() {
        let (own, connection) = (key_pair(), ConnectionId(77));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
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
            let stream = reach(None, address).await.unwrap();
            let stream = shake_hands(stream, Arc::new(certificate_key)).await.unwrap();
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
