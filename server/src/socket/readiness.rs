//! When a socket can be read or written, without asking for more than that.
//!
//! tokio's own UDP socket is registered for both at once. Each datagram that leaves makes room in the send buffer, and
//! for each the kernel then wakes whoever waits to read: on Linux a tenth of what a paced stream of voice costs. So on
//! Unix writing is waited for by a registration of its own, in the rare moments when the send buffer is full.

#[cfg(not(unix))]
pub(super) use other::Watched;
#[cfg(unix)]
pub(super) use unix::Watched;

#[cfg(unix)]
mod unix {
    use std::io;
    use std::net::UdpSocket;

    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    /// A socket that does not block, and its readiness.
    pub(in crate::socket) struct Watched {
        socket: AsyncFd<UdpSocket>,
        /// While somebody waits to write.
        full: Option<AsyncFd<UdpSocket>>,
    }

    /// Registers a socket for one thing alone.
    #[expect(
        deprecated,
        reason = "unsound for types that lie about their descriptor; std's do not, and the new call is unsafe"
    )]
    fn watch(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
        AsyncFd::with_interest(socket, interest)
    }

    impl Watched {
        /// Must be called inside the runtime that will drive it.
        pub(in crate::socket) fn new(socket: UdpSocket) -> io::Result<Self> {
            Ok(Self { socket: watch(socket, Interest::READABLE)?, full: None })
        }

        pub(in crate::socket) async fn readable(&self) {
            // An error shows again in the read that follows.
            if let Ok(mut guard) = self.socket.readable().await {
                guard.retain_ready();
            }
        }

        /// Reads if there may be something; `read` answers `WouldBlock` when it has found all there was.
        pub(in crate::socket) fn read<T>(&self, read: impl FnOnce(&UdpSocket) -> io::Result<T>) -> io::Result<T> {
            self.socket.try_io(Interest::READABLE, read)
        }

        /// Writes; where there is no room, [`Watched::writable`] tells when there is.
        pub(in crate::socket) fn write<T>(&mut self, write: impl FnOnce(&UdpSocket) -> io::Result<T>) -> io::Result<T> {
            let written = write(self.socket.get_ref());
            let blocked = written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
            self.full = match blocked {
                true => Some(watch(self.socket.get_ref().try_clone()?, Interest::WRITABLE)?),
                false => None,
            };
            written
        }

        pub(in crate::socket) async fn writable(&self) {
            if let Some(full) = &self.full {
                // An error shows again in the write that follows.
                let _ = full.writable().await;
            }
        }
    }
}

#[cfg(not(unix))]
mod other {
    use std::io;
    use std::net::UdpSocket;

    use tokio::io::Interest;

    /// A socket that does not block, and its readiness.
    pub(in crate::socket) struct Watched {
        socket: UdpSocket,
        readiness: tokio::net::UdpSocket,
    }

    impl Watched {
        /// Must be called inside the runtime that will drive it.
        pub(in crate::socket) fn new(socket: UdpSocket) -> io::Result<Self> {
            let readiness = tokio::net::UdpSocket::from_std(socket.try_clone()?)?;
            Ok(Self { socket, readiness })
        }

        pub(in crate::socket) async fn readable(&self) {
            // An error shows again in the read that follows.
            let _ = self.readiness.readable().await;
        }

        /// Reads if there may be something; `read` answers `WouldBlock` when it has found all there was.
        pub(in crate::socket) fn read<T>(&self, read: impl FnOnce(&UdpSocket) -> io::Result<T>) -> io::Result<T> {
            self.readiness.try_io(Interest::READABLE, || read(&self.socket))
        }

        /// Writes; where there is no room, [`Watched::writable`] tells when there is.
        pub(in crate::socket) fn write<T>(&mut self, write: impl FnOnce(&UdpSocket) -> io::Result<T>) -> io::Result<T> {
            self.readiness.try_io(Interest::WRITABLE, || write(&self.socket))
        }

        pub(in crate::socket) async fn writable(&self) {
            // An error shows again in the write that follows.
            let _ = self.readiness.writable().await;
        }
    }
}
