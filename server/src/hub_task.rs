//! The task that owns the [`Hub`]: facts in over one bounded channel, effects out to connections and to the relay.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use common::hub::{Grant, Hub, Output};
use common::ids::ControlId;
use common::wire::control::{ClientMessage, ServerMessage, encode};
use tokio::sync::{mpsc, oneshot};

use crate::guess_log::GuessLog;
use crate::media::{MediaCommand, MediaEvent, MediaLink};
use crate::operator::Order;
use crate::statistics::{Board, Health};
use crate::stream::Exporter;

/// Facts that wait for the hub; connections that have more wait with them.
pub(crate) const FACTS_QUEUE: usize = 1_024;

/// What happened on a connection.
pub(crate) enum Fact {
    /// It finished its handshake.
    Connected {
        /// Its name.
        control: ControlId,
        /// Where it comes from.
        address: IpAddr,
        /// How to reach it.
        link: Link,
    },
    /// It is gone.
    Disconnected(ControlId),
    /// It said something.
    Message(ControlId, ClientMessage),
}

/// How the hub reaches a connection. Dropping it closes the connection after what waits in `outbox`.
pub(crate) struct Link {
    /// Messages to be written, encoded.
    pub(crate) outbox: mpsc::Sender<Vec<u8>>,
    /// Gives the keys of the data plane.
    pub(crate) exporter: Exporter,
    /// Closes the connection at once.
    pub(crate) abort: oneshot::Sender<()>,
}

/// Owner of the hub and of a link to each connection.
pub(crate) struct HubTask {
    hub: Hub,
    links: BTreeMap<ControlId, Link>,
    media: MediaLink,
    board: Arc<Board>,
    guesses: GuessLog,
}

impl HubTask {
    /// A task to be run by [`HubTask::run`].
    pub(crate) fn new(hub: Hub, media: MediaLink, board: Arc<Board>) -> Self {
        Self { hub, links: BTreeMap::new(), media, board, guesses: GuessLog::default() }
    }

    /// Serves until `stop` is sent or dropped, or a drain is over, or the acceptor or the relay is gone; then tells
    /// everybody.
    pub(crate) async fn run(
        mut self,
        mut facts: mpsc::Receiver<Fact>,
        mut orders: mpsc::Receiver<Order>,
        mut stop: oneshot::Receiver<()>,
    ) {
        let health = loop {
            let timeout = self.hub.poll_timeout();
            tokio::select! {
                biased;
                _ = &mut stop => break Health::Stopped,
                event = self.media.events.recv() => if !self.handle_media(event) { break Health::Broken },
                // Nobody is left to give orders when every `Operator` was dropped.
                Some(order) = orders.recv() => order(&mut self.hub, Instant::now()),
                () = wait_until(timeout) => self.hub.handle_timeout(Instant::now()),
                fact = facts.recv() => match fact {
                    Some(fact) => self.handle(fact),
                    None => break Health::Broken,
                },
            }
            self.settle().await;
            if self.hub.drained(Instant::now()) {
                tracing::info!("drained");
                break Health::Stopped;
            }
        };
        self.hub.stop();
        self.settle().await;
        self.board.set_ended(health);
    }

    /// Answers `false` when a media worker is gone, and some rooms without it.
    fn handle_media(&mut self, event: Option<MediaEvent>) -> bool {
        match event {
            Some(MediaEvent::Overload { shard, overloaded }) => {
                if overloaded {
                    tracing::warn!(shard, "more media comes than can be sent: the oldest packets are shed");
                } else {
                    tracing::info!(shard, "all media is sent again");
                }
                self.hub.handle_overload(shard, overloaded);
                true
            }
            Some(MediaEvent::Heard { connection, heard }) => {
                self.hub.handle_heard(connection, heard);
                true
            }
            Some(MediaEvent::Ended) | None => {
                tracing::error!("a media thread is gone: stopping");
                false
            }
        }
    }

    fn handle(&mut self, fact: Fact) {
        let now = Instant::now();
        match fact {
            Fact::Connected { control, address, link } => {
                self.links.insert(control, link);
                self.hub.handle_connected(now, control, address);
            }
            Fact::Disconnected(control) => {
                self.links.remove(&control);
                self.hub.handle_disconnected(now, control);
            }
            Fact::Message(control, message) => self.hub.handle_message(now, control, message),
        }
    }

    /// Does everything the hub wants done.
    async fn settle(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Admit(grant) => self.admit(grant).await,
                Output::Close(control) => {
                    self.links.remove(&control);
                }
                Output::Revoke(connection) => self.media.tell(connection, MediaCommand::Revoke(connection)).await,
                Output::Send(control, message) => self.send(control, &message),
                Output::Watch(connection, members) => {
                    self.media.tell(connection, MediaCommand::Watch(connection, members)).await;
                }
            }
        }
        self.board.set_hub(&self.hub);
        self.guesses.look(&self.hub, Instant::now());
    }

    /// The relay has the keys before the member hears of them: the hub's `Admitted` comes after this.
    async fn admit(&mut self, grant: Grant) {
        let secrets = self.links.get(&grant.control).and_then(|link| link.exporter.derive(grant.connection_id));
        match secrets {
            Some(secrets) => self.media.tell(grant.connection_id, MediaCommand::Admit(grant, secrets)).await,
            None => {
                self.abort(grant.control);
                self.hub.handle_keyless(grant.control);
            }
        }
    }

    /// A connection that does not read until its queue is full is let go: others must not wait for it.
    fn send(&mut self, control: ControlId, message: &ServerMessage) {
        let Some(link) = self.links.get(&control) else {
            return;
        };
        if link.outbox.try_send(encode(message)).is_err() {
            self.let_go(control);
        }
    }

    fn let_go(&mut self, control: ControlId) {
        self.abort(control);
        self.hub.handle_disconnected(Instant::now(), control);
    }

    fn abort(&mut self, control: ControlId) {
        if let Some(link) = self.links.remove(&control) {
            // A connection that ended by itself does not listen any more.
            let _ = link.abort.send(());
        }
    }
}

/// Ends at `deadline`, or never.
pub(crate) async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use common::wire::control::{Action, EndReason, PROTOCOL_VERSION};
    use tokio::time::timeout;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::control::Acceptor;
    use crate::identity::Identity;
    use crate::listen::Sockets;
    use crate::seats::Seats;
    use crate::support::{Client, PATIENCE, StateDir, anywhere};

    /// A server without a media thread: the test hears what the relay would.
    struct Bench {
        address: SocketAddr,
        facts: mpsc::Sender<Fact>,
        media: mpsc::Receiver<MediaCommand>,
        told: mpsc::Sender<MediaEvent>,
        _running: oneshot::Sender<()>,
        _dir: StateDir,
    }

    impl Bench {
        fn start() -> Self {
            let dir = StateDir::new();
            let identity = Identity::load_or_create(dir.path()).unwrap();
            let tls = TlsAcceptor::from(Arc::new(identity.into_tls_config().unwrap()));
            let sockets = Sockets::open(anywhere(), 1).unwrap();
            let board = Arc::new(Board::new(1));
            let (facts, received) = mpsc::channel(FACTS_QUEUE);
            let (commands, media) = mpsc::channel(8);
            let (_, orders) = mpsc::channel(1);
            let (running, stop) = oneshot::channel();
            let seats = Arc::new(Seats::new(8, 8, Arc::clone(&board)));
            let acceptor = Acceptor::new(sockets.tcp, tls, facts.clone(), seats, Arc::clone(&board)).unwrap();
            let hub = Hub::new([3; 32], true);
            tokio::spawn(acceptor.run());
            let (told, events) = mpsc::channel(8);
            let link = MediaLink::new(vec![commands], events);
            tokio::spawn(HubTask::new(hub, link, board).run(received, orders, stop));
            Self { address: sockets.address, facts, media, told, _running: running, _dir: dir }
        }

        async fn command(&mut self) -> MediaCommand {
            timeout(PATIENCE, self.media.recv()).await.unwrap().unwrap()
        }

        /// A connection that exists for the hub alone, has room for one message and reads none.
        async fn connect_unreading(&self) -> (mpsc::Receiver<Vec<u8>>, oneshot::Receiver<()>) {
            let (outbox, messages) = mpsc::channel(1);
            let (abort, aborted) = oneshot::channel();
            let link = Link { outbox, exporter: Exporter::of_nothing(), abort };
            let connected = Fact::Connected { control: UNREADING, address: [10, 0, 0, 9].into(), link };
            self.facts.send(connected).await.unwrap();
            self.say(ClientMessage::Hello { version: PROTOCOL_VERSION, aes: true }).await;
            (messages, aborted)
        }

        async fn say(&self, message: ClientMessage) {
            self.facts.send(Fact::Message(UNREADING, message)).await.unwrap();
        }
    }

    const UNREADING: ControlId = ControlId(1_000_000);

    #[tokio::test]
    async fn the_relay_gets_the_keys_of_the_member_before_the_member_is_told() {
        let mut bench = Bench::start();
        let (mut host, admission) = Client::create(bench.address, "Ada").await;
        // The client has its admission, so the command is there without waiting.
        let Ok(MediaCommand::Admit(grant, secrets)) = bench.media.try_recv() else {
            panic!("no keys before the admission")
        };
        assert_eq!(grant.connection_id, admission.connection_id);
        let own = host.secrets(admission.connection_id);
        assert_eq!((own.up.0, own.down.0), (secrets.up.0, secrets.down.0));
        assert_ne!(own.up.0, own.down.0);
        host.send(&ClientMessage::Leave).await;
        assert!(matches!(
            bench.command().await,
            MediaCommand::Revoke(id) if id == admission.connection_id
        ));
    }

    #[tokio::test]
    async fn an_admitted_guest_gets_keys_unlike_the_hosts() {
        let mut bench = Bench::start();
        let (mut host, admission) = Client::create(bench.address, "Ada").await;
        let mut guest = Client::knock(bench.address, admission.code, "Bo").await;
        let Some(ServerMessage::KnockArrived { knock, .. }) = host.next().await else {
            panic!("the host did not hear the knock")
        };
        bench.command().await;
        assert!(bench.media.try_recv().is_err(), "a waiting guest has no keys");
        host.send(&ClientMessage::Act(Action::Admit(knock))).await;
        let admission = guest.admitted().await;
        let MediaCommand::Admit(_, secrets) = bench.command().await else { panic!("not admitted") };
        assert_eq!(guest.secrets(admission.connection_id).up.0, secrets.up.0);
        assert_ne!(host.secrets(admission.connection_id).up.0, secrets.up.0);
    }

    #[tokio::test]
    async fn a_client_that_never_reads_is_dropped_and_the_others_are_told() {
        let bench = Bench::start();
        let (mut host, admission) = Client::create(bench.address, "Ada").await;
        let (_unread, aborted) = bench.connect_unreading().await;
        let knock = ClientMessage::Knock { code: admission.code, name: "Bo".into() };
        bench.say(knock).await;
        assert!(matches!(host.next().await, Some(ServerMessage::KnockArrived { .. })));
        bench.say(ClientMessage::Ping).await;
        assert_eq!(timeout(PATIENCE, aborted).await.unwrap(), Ok(()));
        assert!(matches!(host.next().await, Some(ServerMessage::KnockGone(_))));
    }

    #[tokio::test]
    async fn nobody_is_told_of_an_admission_that_has_no_keys() {
        let mut bench = Bench::start();
        let (mut unread, aborted) = bench.connect_unreading().await;
        bench.say(ClientMessage::Create { name: "Bo".into() }).await;
        assert_eq!(timeout(PATIENCE, aborted).await.unwrap(), Ok(()));
        assert_eq!(unread.recv().await, None);
        assert!(matches!(bench.command().await, MediaCommand::Revoke(_)));
    }
    #[tokio::test]
    async fn when_the_relay_breaks_everybody_is_told() {
        let bench = Bench::start();
        let (mut host, _) = Client::create(bench.address, "Ada").await;
        bench.told.send(MediaEvent::Ended).await.unwrap();
        let told = host.next().await;
        assert_eq!(told, Some(ServerMessage::Ended(EndReason::ServerStopped)));
        assert_eq!(host.next().await, None);
    }
}
