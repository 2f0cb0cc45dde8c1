//! Tells a connection for which there is no seat why it is closed.
//!
//! That takes a TLS handshake, about a millisecond of a processor, so it is done for few: one source is told a few times
//! at once and then once a second, and [`TOLD_AT_ONCE`] at a time in all. Whoever is beyond is closed without a word, as
//! every flood deserves.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use common::allowance::Allowance;
use common::door::Source;
use common::limits::HELLO_TIMEOUT;
use common::wire::control::{Refusal, ServerMessage, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::connection::shake_hands;

/// Connections that are told at a time; three sources that are as slow as they may be do not fill it.
const TOLD_AT_ONCE: usize = 32;
/// Connections of one source that are told at once: people try two or three times.
const TOLD_PER_SOURCE: u32 = 4;
/// Connections of one source that are told per second in the long run.
const TOLD_PER_SEC: u32 = 1;
/// Sources remembered; beyond, all are forgotten, and [`TOLD_AT_ONCE`] still holds.
const SOURCES_MAX: usize = 1_024;
/// For the sentence to be taken and for the peer to close, after the handshake.
const FAREWELL: Duration = Duration::from_secs(1);

/// Turns connections away.
pub(crate) struct Porter {
    tls: TlsAcceptor,
    told: BTreeMap<Source, Allowance>,
    /// Ends with the porter.
    tasks: JoinSet<()>,
}

impl Porter {
    /// One who has told nobody yet.
    pub(crate) fn new(tls: TlsAcceptor) -> Self {
        Self { tls, told: BTreeMap::new(), tasks: JoinSet::new() }
    }

    /// Closes a connection, and says why first if there is time for that. Must be called inside a tokio runtime.
    pub(crate) fn turn_away(&mut self, now: Instant, tcp: TcpStream, address: IpAddr, refusal: Refusal) {
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.len() < TOLD_AT_ONCE && self.may_be_told(now, address.into()) {
            self.tasks.spawn(tell(tcp, self.tls.clone(), refusal));
        }
    }

    fn may_be_told(&mut self, now: Instant, source: Source) -> bool {
        if self.told.len() >= SOURCES_MAX && !self.told.contains_key(&source) {
            self.told.clear();
        }
        self.told.entry(source).or_insert_with(|| Allowance::new(now, TOLD_PER_SOURCE, TOLD_PER_SEC)).take(now, 1)
    }
}

async fn tell(tcp: TcpStream, tls: TlsAcceptor, refusal: Refusal) {
    let Some(mut stream) = shake_hands(tcp, tls, HELLO_TIMEOUT).await else { return };
    let told = async {
        stream.write_all(&encode(&ServerMessage::Refused(refusal))).await?;
        stream.shutdown().await?;
        // What the peer has said meanwhile has to be read: closing over it would tear down what is on its way.
        let mut unread = [0; 512];
        while stream.read(&mut unread).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    // Who does not read it in time does not learn why.
    let _ = timeout(FAREWELL, told).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::identity::Identity;
    use crate::support::StateDir;

    #[test]
    fn one_source_is_told_a_few_times_and_takes_nothing_from_the_others() {
        let dir = StateDir::new();
        let identity = Identity::load_or_create(dir.path()).unwrap();
        let mut porter = Porter::new(TlsAcceptor::from(Arc::new(identity.into_tls_config().unwrap())));
        let (now, source) = (Instant::now(), |last: u8| Source::from(IpAddr::from([10, 0, 0, last])));
        let told = (0..1_000).filter(|_| porter.may_be_told(now, source(1))).count();
        assert_eq!(told, TOLD_PER_SOURCE as usize);
        assert!(porter.may_be_told(now, source(2)));
        assert!(porter.may_be_told(now + Duration::from_secs(1), source(1)));
        for number in 0..10_000u32 {
            porter.may_be_told(now, IpAddr::from(number.to_be_bytes()).into());
            assert!(porter.told.len() <= SOURCES_MAX);
        }
    }
}
