//! quinn with its NewReno, one stream for each connection.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use quinn::congestion::NewRenoConfig;
use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Flow, PeerError, Ready, address, tell, together};
use crate::traffic::{Received, Sink, Source};

/// The name in the certificate.
const NAME: &str = "lab.invalid";
/// Above every bandwidth-delay product here, so that no window but Reno's holds anything back.
const WINDOW_BYTES: u32 = 64 * 1024 * 1024;
/// The same for the sockets, as ours has it.
const SOCKET_BUFFER_BYTES: usize = super::ours::SOCKET_BUFFER_BYTES;
/// How long a call may wait before the time of the run is looked at again.
const WAIT: Duration = Duration::from_millis(20);

/// Takes as many connections as the flow has.
pub(super) fn receive(flow: &Flow, on: IpAddr) -> Result<Received, PeerError> {
    let certified = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let certificate = certified.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let mut config = ServerConfig::with_single_cert(vec![certificate.clone()], key.into())?;
    config.transport_config(transport());
    runtime()?.block_on(async {
        let endpoint = endpoint(on, Some(config))?;
        tell(&Ready { ports: vec![endpoint.local_addr()?.port()], certificate: hexadecimal(&certificate) })?;
        let mut connections = JoinSet::new();
        for _ in 0..flow.connections {
            let incoming = endpoint.accept().await.ok_or("the endpoint closed")?;
            connections.spawn(receive_one(incoming.await?, Sink::new(flow.traffic())));
        }
        let received: Result<Vec<_>, _> = connections.join_all().await.into_iter().collect();
        Ok(together(received?))
    })
}

async fn receive_one(connection: Connection, mut sink: Sink) -> Result<Received, PeerError> {
    let mut stream = connection.accept_uni().await?;
    while !sink.is_over() {
        let Ok(chunk) = timeout(WAIT, stream.read_chunk(usize::MAX, true)).await else { continue };
        match chunk? {
            Some(chunk) => sink.take(&chunk.bytes),
            None => break,
        }
    }
    Ok(sink.into_received())
}

/// Opens the connections and sends a stream over each.
pub(super) fn send(flow: &Flow, to: IpAddr, ready: &Ready) -> Result<String, PeerError> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(bytes_of(&ready.certificate)?))?;
    let mut config = ClientConfig::with_root_certificates(Arc::new(roots))?;
    config.transport_config(transport());
    runtime()?.block_on(async {
        let mut endpoint = endpoint(any(to), None)?;
        endpoint.set_default_client_config(config);
        let mut connections = JoinSet::new();
        for index in 0..flow.connections {
            let connection = endpoint.connect(address(to, ready, index)?, NAME)?.await?;
            connections.spawn(send_one(connection, Source::new(flow.traffic(), index, flow.connections)));
        }
        let sent: Result<Vec<_>, _> = connections.join_all().await.into_iter().collect();
        Ok(sent?.join("; "))
    })
}

async fn send_one(connection: Connection, mut source: Source) -> Result<String, PeerError> {
    let mut stream = connection.open_uni().await?;
    while let Some(wait) = source.wait() {
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let Ok(written) = timeout(WAIT, stream.write(source.pending())).await else { continue };
        match written {
            Ok(bytes) => source.wrote(bytes),
            // The receiver goes when its time is over.
            Err(_) => break,
        }
    }
    stream.finish().ok();
    while !source.is_over(false) && timeout(WAIT, stream.stopped()).await.is_err() {}
    let statistics = connection.stats().path;
    Ok(format!(
        "{} of {} packets lost, {} congestion events, MTU {}",
        statistics.lost_packets, statistics.sent_packets, statistics.congestion_events, statistics.current_mtu
    ))
}

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport.congestion_controller_factory(Arc::new(NewRenoConfig::default()));
    transport.stream_receive_window(VarInt::from_u32(WINDOW_BYTES));
    transport.receive_window(VarInt::from_u32(WINDOW_BYTES));
    transport.send_window(u64::from(WINDOW_BYTES));
    Arc::new(transport)
}

fn endpoint(on: IpAddr, server: Option<ServerConfig>) -> Result<Endpoint, PeerError> {
    let socket = UdpSocket::bind(SocketAddr::new(on, 0))?;
    setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BUFFER_BYTES)?;
    setsockopt(&socket, sockopt::SndBufForce, &SOCKET_BUFFER_BYTES)?;
    Ok(Endpoint::new(EndpointConfig::default(), server, socket, Arc::new(TokioRuntime))?)
}

/// One thread, as ours has: sender and receiver have a core each on the smallest machine.
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn any(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(hexadecimal: &str) -> Result<Vec<u8>, PeerError> {
    let pairs = (0..hexadecimal.len()).step_by(2).map(|at| hexadecimal.get(at..at + 2).unwrap_or_default());
    Ok(pairs.map(|pair| u8::from_str_radix(pair, 16)).collect::<Result<_, _>>()?)
}
