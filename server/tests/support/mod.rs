//! A client for tests, and a state directory that removes itself.
#![allow(dead_code, unreachable_pub, reason = "every test program uses a part of this")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::ids::{ConnectionId, RoomCode};
use common::seal::{EXPORTER_LABEL, Secret, Secrets};
use common::wire::control::{ALPN, Admission, ClientMessage, Framer, PROTOCOL_VERSION, ServerMessage, encode};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Long enough for a busy machine; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A directory of its own for each test.
pub struct StateDir(PathBuf);

impl StateDir {
    /// One that does not exist yet.
    pub fn new() -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!("conclave-server-test-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Any free port of this machine.
pub fn anywhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// A control connection that has said hello.
pub struct Client {
    stream: TlsStream<TcpStream>,
    framer: Framer,
}

impl Client {
    /// Connects and says hello.
    pub async fn connect(server: SocketAddr) -> Self {
        let mut client = Self::connect_silently(server).await;
        client.send(&ClientMessage::Hello { version: PROTOCOL_VERSION, aes: true }).await;
        client
    }

    /// Connects from one of this machine's addresses and says hello.
    pub async fn connect_from(source: IpAddr, server: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("there is IPv4");
        socket.bind(SocketAddr::new(source, 0)).expect("it is an address of this machine");
        let tcp = socket.connect(server).await.expect("the server answers");
        let stream = shake_hands(tcp, ALPN).await.expect("the server speaks TLS");
        let mut client = Self { stream, framer: Framer::new() };
        client.send(&ClientMessage::Hello { version: PROTOCOL_VERSION, aes: true }).await;
        client
    }

    /// Connects and says nothing.
    pub async fn connect_silently(server: SocketAddr) -> Self {
        let stream = try_connect(server, ALPN).await.expect("the server answers");
        Self { stream, framer: Framer::new() }
    }

    /// Opens a room.
    pub async fn create(server: SocketAddr, name: &str) -> (Self, Admission) {
        let mut client = Self::connect(server).await;
        client.send(&ClientMessage::Create { name: name.into() }).await;
        let admission = client.admitted().await;
        (client, admission)
    }

    /// Knocks, and waits until that is confirmed.
    pub async fn knock(server: SocketAddr, code: RoomCode, name: &str) -> Self {
        let mut client = Self::connect(server).await;
        client.send(&ClientMessage::Knock { code, name: name.into() }).await;
        assert_eq!(client.next().await, Some(ServerMessage::Knocking));
        client
    }

    /// Expects to be let in.
    pub async fn admitted(&mut self) -> Admission {
        match self.next().await {
            Some(ServerMessage::Admitted(admission)) => admission,
            other => panic!("not admitted: {other:?}"),
        }
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &ClientMessage) {
        self.send_bytes(&encode(message)).await;
    }

    /// Sends whatever.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        // A server that has closed is noticed by who reads.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// The next message, or `None` when the server has closed.
    pub async fn next(&mut self) -> Option<ServerMessage> {
        tokio::time::timeout(PATIENCE, self.next_patiently()).await.expect("the server neither sent nor closed")
    }

    async fn next_patiently(&mut self) -> Option<ServerMessage> {
        loop {
            if let Some(message) = self.framer.next_message().expect("the server sends messages") {
                return Some(message);
            }
            let mut buffer = [0; 1_024];
            match self.stream.read(&mut buffer).await {
                Ok(read @ 1..) => self.framer.push(&buffer[..read]),
                Ok(_) | Err(_) => return None,
            };
        }
    }

    /// Which port of this machine the server sees it at.
    pub fn port(&self) -> u16 {
        self.stream.get_ref().0.local_addr().expect("it is connected").port()
    }

    /// What this end derives for its data plane.
    pub fn secrets(&self, connection: ConnectionId) -> Secrets {
        let (_, tls) = self.stream.get_ref();
        Secrets::derive(connection, |context| {
            tls.export_keying_material([0; Secret::BYTES], EXPORTER_LABEL, Some(context))
        })
        .expect("the handshake is through")
    }

    /// Whether the connection is of TLS 1.3, and which protocol it speaks.
    pub fn protocol(&self) -> (Option<rustls::ProtocolVersion>, Option<&[u8]>) {
        let (_, tls) = self.stream.get_ref();
        (tls.protocol_version(), tls.alpn_protocol())
    }
}

/// A TLS connection that offers one protocol, or none where `alpn` is empty.
pub async fn try_connect(server: SocketAddr, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    shake_hands(TcpStream::connect(server).await?, alpn).await
}

async fn shake_hands(tcp: TcpStream, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    if !alpn.is_empty() {
        config.alpn_protocols = vec![alpn.to_vec()];
    }
    let name = ServerName::try_from("conclave").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// Takes any certificate whose key signed the handshake.
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
        Err(Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
