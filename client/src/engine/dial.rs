//! The way to a server: connects to its addresses as [`Dialing`] says, and the first that finishes wins.

use std::convert::identity;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::{Duration, Instant};

use common::dialing::{ADDRESSES_MAX, Dialing};
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::address::LookupError;

/// How long one address may take to answer: twice a SYN that was lost once (RFC 6298 §2: 1 s, then 2 s).
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(6);

/// Tells that the other end has answered, and that the attempt goes on.
pub(crate) type Answered = mpsc::Sender<()>;

/// The attempt that finished first.
#[derive(Debug)]
pub(crate) struct Won<T> {
    /// What came of it.
    pub(crate) result: T,
    /// Every address of the server that is known, the one that won first.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// Why there was no winner.
#[derive(Debug)]
pub(crate) struct Lost<E> {
    /// The server's name could not be looked up.
    pub(crate) lookup: Option<LookupError>,
    /// How each attempt ended.
    pub(crate) attempts: Vec<E>,
}

/// Makes attempts at `known` addresses, and at those of `lookup` once it answers, until one succeeds; the others are
/// broken off.
///
/// # Errors
/// When no address is left.
pub(crate) async fn race<T, E, A>(
    known: Vec<SocketAddr>,
    lookup: impl Future<Output = Result<Vec<SocketAddr>, LookupError>>,
    attempt: impl Fn(SocketAddr, Answered) -> A,
) -> Result<Won<T>, Lost<E>>
where
    T: Send + 'static,
    E: Send + 'static,
    A: Future<Output = Result<T, E>> + Send + 'static,
{
    let mut dialing = Dialing::default();
    dialing.add(known);
    let mut lookup = pin!(lookup);
    let mut looking_up = true;
    let mut lost = Lost { lookup: None, attempts: Vec::new() };
    let mut under_way = JoinSet::new();
    let (answered, mut answers) = mpsc::channel(ADDRESSES_MAX);
    while looking_up || !dialing.is_over() {
        while let Some(address) = dialing.poll_attempt(Instant::now()) {
            let attempt = attempt(address, answered.clone());
            under_way.spawn(async move { (address, attempt.await) });
        }
        let due = dialing.poll_timeout();
        tokio::select! {
            found = &mut lookup, if looking_up => {
                looking_up = false;
                match found {
                    Ok(found) => dialing.add(found),
                    Err(error) => lost.lookup = Some(error),
                }
            }
            Some(ended) = under_way.join_next() => match ended {
                Ok((address, Ok(result))) => return Ok(Won { result, addresses: led_by(address, &dialing) }),
                Ok((_, Err(error))) => {
                    lost.attempts.push(error);
                    dialing.handle_failed(Instant::now());
                }
                // A task that broke says nothing more.
                Err(_) => dialing.handle_failed(Instant::now()),
            },
            Some(()) = answers.recv() => dialing.handle_answered(Instant::now()),
            () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {}
        }
    }
    Err(lost)
}

fn led_by(first: SocketAddr, dialing: &Dialing) -> Vec<SocketAddr> {
    let others = dialing.addresses().filter(|address| *address != first);
    std::iter::once(first).chain(others).take(ADDRESSES_MAX).collect()
}

/// A TCP connection to `address`, from one of this machine's addresses or from the one that the system chooses.
///
/// # Errors
/// What the system says, or that nothing was heard for [`CONNECT_TIMEOUT`].
pub(crate) async fn reach(source: Option<IpAddr>, address: SocketAddr) -> io::Result<TcpStream> {
    let any = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = source.unwrap_or(any);
    let socket = if source.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    server::limit_segments(&SockRef::from(&socket));
    if !source.is_unspecified() {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let connected = timeout(CONNECT_TIMEOUT, socket.connect(address)).await;
    let stream = connected.map_err(|_| io::ErrorKind::TimedOut.into()).and_then(identity)?;
    server::limit_segments(&SockRef::from(&stream));
    // Messages are small and each is wanted at once.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 1))
    }

    async fn found(addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, LookupError> {
        Ok(addresses)
    }

    /// What comes of an attempt at a server that is at 9 alone and of which nothing is heard elsewhere.
    async fn only_at_nine(address: SocketAddr) -> Result<SocketAddr, String> {
        if address == self::address(9) { Ok(address) } else { std::future::pending().await }
    }

    #[tokio::test]
    async fn the_first_address_that_finishes_wins_and_leads_the_others() {
        let all = vec![address(1), address(2), address(9), address(4)];
        let won = race(Vec::new(), found(all), |address, _| only_at_nine(address)).await.unwrap();
        assert_eq!(won.result, address(9));
        assert_eq!(won.addresses, [address(9), address(1), address(2), address(4)]);
    }

    #[tokio::test]
    async fn an_address_that_answers_and_then_says_nothing_does_not_win() {
        let attempt = |address, answered: Answered| async move {
            let _ = answered.send(()).await;
            only_at_nine(address).await
        };
        let won = race(Vec::new(), found(vec![address(1), address(9)]), attempt).await.unwrap();
        assert_eq!(won.result, address(9));
    }

    #[tokio::test]
    async fn what_is_known_is_tried_while_the_name_is_looked_up() {
        let won = race(vec![address(9)], std::future::pending(), |address, _| only_at_nine(address)).await.unwrap();
        assert_eq!(won.result, address(9));
    }

    #[tokio::test]
    async fn a_server_that_has_moved_is_found_at_its_new_address() {
        let known = vec![address(1), address(2)];
        let won = race(known, found(vec![address(9)]), |address, _| only_at_nine(address)).await.unwrap();
        assert_eq!(won.addresses, [address(9), address(1), address(2)]);
    }

    #[tokio::test]
    async fn every_failure_is_told_when_nothing_is_left() {
        let refused = |address: SocketAddr, _| async move { Err::<(), _>(address) };
        let lookup = async { Err(LookupError::System(io::ErrorKind::NotFound.into())) };
        let lost = race(vec![address(1), address(2)], lookup, refused).await.unwrap_err();
        assert!(lost.lookup.is_some());
        assert_eq!(lost.attempts, [address(1), address(2)]);
        let nothing = race(Vec::new(), found(Vec::new()), refused).await.unwrap_err();
        assert!(nothing.lookup.is_none() && nothing.attempts.is_empty());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn no_connection_of_ours_carries_segments_that_a_path_of_1280_bytes_does_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = reach(None, listener.local_addr().unwrap()).await.unwrap();
        let (theirs, _) = listener.accept().unwrap();
        for mss in [SockRef::from(&ours).tcp_mss().unwrap(), SockRef::from(&theirs).tcp_mss().unwrap()] {
            assert!(mss <= 1_220, "{mss}");
        }
    }
}
