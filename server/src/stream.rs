//! One TLS connection, shared between the task that moves its bytes and the hub that derives keys from it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll};

use common::ids::ConnectionId;
use common::seal::{EXPORTER_LABEL, Secret, Secrets};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A TLS connection after its handshake; clones are the same connection. The lock is held for one poll or one
/// export, never while waiting.
#[derive(Clone)]
pub(crate) struct Stream(Arc<Mutex<TlsStream<TcpStream>>>);

impl Stream {
    /// Shares a connection.
    pub(crate) fn new(stream: TlsStream<TcpStream>) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    /// A handle that gives keys and does not keep the connection open.
    pub(crate) fn exporter(&self) -> Exporter {
        Exporter(Arc::downgrade(&self.0))
    }

    fn lock(&self) -> io::Result<MutexGuard<'_, TlsStream<TcpStream>>> {
        self.0.lock().map_err(|_| io::Error::other("a poll of this connection panicked"))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()?).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()?).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()?).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()?).poll_shutdown(cx)
    }
}

/// Derives the keys of a member's data plane from the member's TLS connection.
pub(crate) struct Exporter(Weak<Mutex<TlsStream<TcpStream>>>);

impl Exporter {
    /// An exporter of a connection that is gone.
    #[cfg(test)]
    pub(crate) fn of_nothing() -> Self {
        Self(Weak::new())
    }

    /// The secrets of `connection`, or `None` when the TLS connection is gone.
    pub(crate) fn derive(&self, connection: ConnectionId) -> Option<Secrets> {
        let stream = self.0.upgrade()?;
        let stream = stream.lock().ok()?;
        let (_, tls) = stream.get_ref();
        let export = |context: &[u8]| tls.export_keying_material([0; Secret::BYTES], EXPORTER_LABEL, Some(context));
        Secrets::derive(connection, export).ok()
    }
}
