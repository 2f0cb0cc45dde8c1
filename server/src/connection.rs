//! One control connection: TLS handshake, then messages both ways until one side has enough.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use common::ids::ControlId;
use common::limits::{CONTROL_SEND_QUEUE, HELLO_TIMEOUT};
use common::wire::control::{ALPN, ClientMessage, Framer};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::hub_task::{Fact, Link};
use crate::seats::Seat;
use crate::segments::limit_segments;
use crate::stream::Stream;

/// An accepted connection that has said nothing yet.
pub(crate) struct Connection {
    /// Its name at the hub.
    pub(crate) control: ControlId,
    /// Where it comes from.
    pub(crate) address: IpAddr,
    /// To the hub.
    pub(crate) facts: mpsc::Sender<Fact>,
    /// Its place among those that may be open; freed when the connection is.
    pub(crate) seat: Seat,
    /// How long it waits for the peer.
    pub(crate) patience: Patience,
}

/// How long a connection waits for its peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the TLS handshake.
    pub(crate) handshake: Duration,
    /// For the peer to close after it was told everything; closing first could tear down what is on its way.
    pub(crate) linger: Duration,
    /// For a message to be taken by the system, and for all of them once the connection is to close.
    pub(crate) write: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { handshake: HELLO_TIMEOUT, linger: Duration::from_secs(1), write: Duration::from_secs(10) }
    }
}

/// Why a connection ended; for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The hub wanted it gone at once.
    Aborted,
    /// The hub had no more to say, and everything was written.
    Closed,
    /// No handshake in time, or one that is not ours.
    Handshake,
    /// Bytes that are no message.
    Malformed,
    /// The peer closed, or the network did.
    PeerGone,
    /// The server stops.
    Stopped,
    /// The peer did not read what it was sent.
    Unread,
}

impl Connection {
    /// Serves the connection to its end.
    pub(crate) async fn serve(self, tcp: TcpStream, tls: TlsAcceptor) {
        let end = self.talk(tcp, tls).await;
        tracing::debug!(control = self.control.0, ?end, "connection ended");
        drop(self.seat);
    }

    async fn talk(&self, tcp: TcpStream, tls: TlsAcceptor) -> End {
        let stream = tokio::select! {
            stream = shake_hands(tcp, tls, self.patience.handshake) => stream.map(Stream::new),
            () = self.facts.closed() => return End::Stopped,
        };
        let Some(stream) = stream else {
            return End::Handshake;
        };
        let (outbox, messages) = mpsc::channel(CONTROL_SEND_QUEUE);
        let (abort, aborted) = oneshot::channel();
        let connected = Fact::Connected {
            control: self.control,
            address: self.address,
            link: Link { outbox, exporter: stream.exporter(), abort },
        };
        if self.facts.send(connected).await.is_err() {
            return End::Stopped;
        }
        let end = self.exchange(stream, messages, aborted).await;
        // A hub that is gone has nobody to forget.
        let _ = self.facts.send(Fact::Disconnected(self.control)).await;
        end
    }

    async fn exchange(&self, stream: Stream, messages: mpsc::Receiver<Vec<u8>>, aborted: oneshot::Receiver<()>) -> End {
        let mut reading = pin!(self.read(stream.clone()));
        tokio::select! {
            end = &mut reading => end,
            end = self.deadline(aborted) => end,
            written = self.write(stream, messages) => match written {
                Ok(()) => {
                    let _ = timeout(self.patience.linger, reading).await;
                    End::Closed
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => End::Unread,
                Err(_) => End::PeerGone,
            },
        }
    }

    /// Hands messages to the hub; a hub that is busy makes the peer wait.
    async fn read(&self, mut stream: Stream) -> End {
        let mut framer = Framer::new();
        let mut buffer = [0; READ_BYTES];
        loop {
            let room = framer.capacity().min(READ_BYTES);
            let Ok(read @ 1..) = stream.read(&mut buffer[..room]).await else {
                return End::PeerGone;
            };
            framer.push(&buffer[..read]);
            loop {
                match framer.next_message::<ClientMessage>() {
                    Ok(Some(message)) => {
                        let fact = Fact::Message(self.control, message);
                        if self.facts.send(fact).await.is_err() {
                            // The hub is gone, and its last words are still to be written.
                            std::future::pending::<()>().await;
                        }
                    }
                    Ok(None) => break,
                    Err(_) => return End::Malformed,
                }
            }
        }
    }

    /// Writes what the hub says until it has no more to say.
    async fn write(&self, mut stream: Stream, mut messages: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
        while let Some(message) = messages.recv().await {
            let written = async {
                stream.write_all(&message).await?;
                stream.flush().await
            };
            timeout(self.patience.write, written).await??;
        }
        timeout(self.patience.write, stream.shutdown()).await?
    }

    /// Ends at once when the hub aborts; when it lets go of the connection, after what should do for the rest.
    async fn deadline(&self, aborted: oneshot::Receiver<()>) -> End {
        match aborted.await {
            Ok(()) => End::Aborted,
            Err(_) => {
                tokio::time::sleep(self.patience.write + self.patience.linger).await;
                End::Unread
            }
        }
    }
}

/// The TLS handshake, for so long at most; `None` when it fails or the peer does not speak this protocol.
pub(crate) async fn shake_hands(tcp: TcpStream, tls: TlsAcceptor, patience: Duration) -> Option<TlsStream<TcpStream>> {
    // Messages are small and somebody waits for each. Where the system refuses, they are merely later.
    let _ = tcp.set_nodelay(true);
    // Where it is not taken over from the socket that listens.
    limit_segments(&SockRef::from(&tcp));
    let stream = timeout(patience, tls.accept(tcp)).await.ok()?.ok()?;
    // rustls refuses another protocol, but not a client that names none.
    (stream.get_ref().1.alpn_protocol() == Some(ALPN)).then_some(stream)
}

/// Bytes read at a time; most messages are below 100.
const READ_BYTES: usize = 2_048;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use common::wire::control::{ServerMessage, encode};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::identity::Identity;
    use crate::seats::Seats;
    use crate::statistics::Board;
    use crate::support::{Client, PATIENCE, StateDir, anywhere};

    /// One connection, and the hub's end of it.
    struct Bench {
        client: Client,
        facts: mpsc::Receiver<Fact>,
        link: Link,
        serving: JoinHandle<()>,
    }

    impl Bench {
        async fn start() -> Self {
            let dir = StateDir::new();
            let identity = Identity::load_or_create(dir.path()).unwrap();
            let tls = TlsAcceptor::from(Arc::new(identity.into_tls_config().unwrap()));
            let listener = TcpListener::bind(anywhere()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let client = tokio::spawn(Client::connect(address));
            let (tcp, peer) = listener.accept().await.unwrap();
            let (facts, mut received) = mpsc::channel(8);
            let connection = Connection {
                control: ControlId(1),
                address: peer.ip(),
                facts,
                seat: Arc::new(Seats::new(1, 1, Arc::new(Board::new(1)))).take(peer.ip()).unwrap(),
                patience: Patience { write: Duration::from_millis(300), ..Patience::default() },
            };
            let serving = tokio::spawn(connection.serve(tcp, tls));
            let Some(Fact::Connected { link, .. }) = received.recv().await else { panic!("not connected") };
            let client = client.await.unwrap();
            assert!(matches!(received.recv().await, Some(Fact::Message(_, ClientMessage::Hello { .. }))));
            Self { client, facts: received, link, serving }
        }

        async fn ended(mut self) {
            let fact = timeout(PATIENCE, self.facts.recv()).await.unwrap();
            assert!(matches!(fact, Some(Fact::Disconnected(ControlId(1)))));
            timeout(PATIENCE, self.serving).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn what_waits_is_written_before_the_connection_closes() {
        let Bench { mut client, facts: _facts, link, serving } = Bench::start().await;
        for _ in 0..CONTROL_SEND_QUEUE {
            link.outbox.try_send(encode(&ServerMessage::Pong)).unwrap();
        }
        drop(link);
        for _ in 0..CONTROL_SEND_QUEUE {
            assert_eq!(client.next().await, Some(ServerMessage::Pong));
        }
        assert_eq!(client.next().await, None);
        drop(client);
        timeout(PATIENCE, serving).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_that_never_reads_runs_out_of_patience() {
        let bench = Bench::start().await;
        // More than the system buffers of both ends hold: 32 MB.
        for _ in 0..512 {
            bench.link.outbox.try_send(vec![0; 64 * 1024]).unwrap();
        }
        bench.ended().await;
    }

    #[tokio::test]
    async fn an_aborted_connection_ends_whatever_waits() {
        let mut bench = Bench::start().await;
        for _ in 0..512 {
            bench.link.outbox.try_send(vec![0; 64 * 1024]).unwrap();
        }
        let (abort, _) = oneshot::channel();
        std::mem::replace(&mut bench.link.abort, abort).send(()).unwrap();
        bench.ended().await;
    }

    #[tokio::test]
    async fn bytes_that_are_no_message_end_the_connection() {
        for garbage in [&u32::MAX.to_be_bytes()[..], &[0, 0, 0, 1, 250], &[0, 0, 0, 0]] {
            let mut bench = Bench::start().await;
            bench.client.send_bytes(garbage).await;
            bench.ended().await;
        }
    }
}
