//! The shipped server with one room: a host who sends and guests who receive, at the sockets of a [`Driver`].

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::ids::ConnectionId;
use common::limits::DATAGRAM_MAX_BYTES;
use common::relay::RelayStatistics;
use common::seal::Sealer;
use common::wire::control::{Action, Admission, ClientMessage, ServerMessage};
use server::{Server, ServerConfig};
use tokio::runtime::Runtime;

use super::driver::{Driver, Plan, Run};
use super::figures::process;
use super::packets::{PING, seal};
use super::support::{self, Client};

/// A running server, and a room in which one member sends.
pub(crate) struct Meeting {
    runtime: Runtime,
    server: Server,
    _state: support::StateDir,
    host: Client,
    sealer: Sealer,
    guests: Vec<Client>,
    driver: Driver,
}

/// What a run cost, and what it was.
pub(crate) struct Carried {
    /// What was sent and what arrived.
    pub(crate) run: Run,
    /// CPU seconds of the media thread.
    pub(crate) cpu_secs: Option<f64>,
}

/// How loopback reaches it.
fn at(server: &Server) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, server.address().port()))
}

/// Name of the thread whose CPU time counts.
const THREAD: &str = "media-0";

impl Meeting {
    /// A host and so many guests of a server at every address, as servers are run: the kernel tells of each datagram where
    /// it was sent, and is told from where the answer leaves.
    pub(crate) fn start(receivers: usize) -> Self {
        Self::start_at(Ipv4Addr::UNSPECIFIED, receivers)
    }

    /// The same of a server at `address`, which loopback has to reach.
    pub(crate) fn start_at(address: Ipv4Addr, receivers: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        let driver = Driver::new(receivers);
        let state = support::StateDir::new();
        let config = ServerConfig {
            listen: SocketAddr::from((address, 0)),
            state_dir: state.path().to_owned(),
            workers: 1,
            video_kbps_max: usize::MAX,
            ..ServerConfig::default()
        };
        let server = runtime.block_on(Server::start(config)).expect("the server starts");
        let (host, room) = runtime.block_on(Client::create(at(&server), "Ada"));
        let sealer = sealer(&host, &room, room.connection_id);
        let mut meeting = Self { runtime, server, _state: state, host, sealer, guests: Vec::new(), driver };
        (0..receivers).for_each(|index| meeting.join(&room, index));
        meeting
    }

    fn join(&mut self, room: &Admission, index: usize) {
        let (at, host) = (at(&self.server), &mut self.host);
        let (guest, admission) = self.runtime.block_on(async {
            let mut guest = Client::knock(at, room.code, &format!("Guest {index}")).await;
            let knock = loop {
                if let Some(ServerMessage::KnockArrived { knock, .. }) = host.next().await {
                    break knock;
                }
            };
            host.send(&ClientMessage::Act(Action::Admit(knock))).await;
            let admission = guest.admitted().await;
            (guest, admission)
        });
        let mut sealer = sealer(&guest, &admission, admission.connection_id);
        let mut buffer = [0; DATAGRAM_MAX_BYTES];
        let length = seal(&mut sealer, &mut buffer, &PING);
        self.driver.receivers()[index].send_to(&buffer[..length], at).expect("loopback takes it");
        self.guests.push(guest);
    }

    /// Has the host send copies of a packet.
    pub(crate) fn carry(&mut self, packet: &[u8], plan: Plan) -> Carried {
        self.runtime.block_on(async {
            // Nobody is to be found silent meanwhile, and no answer is to be on its way while allocations are counted.
            for client in self.guests.iter_mut().chain([&mut self.host]) {
                client.send(&ClientMessage::Ping).await;
                while client.next().await.is_some_and(|message| message != ServerMessage::Pong) {}
            }
        });
        let before = (self.statistics(), process::thread_cpu_secs(THREAD));
        let (at, sealer, server) = (at(&self.server), &mut self.sealer, &self.server);
        let next = |buffer: &mut [u8]| {
            let mut length = 0;
            for datagram in 0..plan.frame {
                length = seal(sealer, &mut buffer[datagram * length..], packet);
            }
            length
        };
        let run = self
            .driver
            .run(at, plan, next, || server.statistics().relay.datagrams_received - before.0.datagrams_received);
        let after = (self.statistics(), process::thread_cpu_secs(THREAD));
        Carried { run, cpu_secs: after.1.zip(before.1).map(|(after, before)| after - before) }
    }

    fn statistics(&self) -> RelayStatistics {
        self.server.statistics().relay
    }

    /// Ends it all.
    pub(crate) fn stop(self) {
        drop(self.guests);
        drop(self.host);
        self.runtime.block_on(self.server.stop());
        self.runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

fn sealer(client: &Client, admission: &Admission, connection: ConnectionId) -> Sealer {
    Sealer::new(admission.suite, &client.secrets(connection).up, connection)
}
