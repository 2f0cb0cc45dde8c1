//! A load generator: many participants of many rooms in one process, over the real protocol, to find out what a server
//! takes.
//!
//! ```text
//!  run (joins, measures, adds up) ─Command─▶ driver (threads: sockets, timers, media of many members)
//!     ▲── Outcome ── attendance (a task each: TCP, TLS, knock, pings)
//! ```
//!
//! Each participant has a control connection like a person's, and a data plane that seals, sends, opens and counts, but
//! shows and plays nothing (`member`). Sender and receiver share one clock, so the time between them is measured and
//! not guessed, and [`LoadReport::doubts`] says when the generator, not the server, was behind.

mod attendance;
mod clip;
mod config;
mod driver;
mod latency;
mod machine;
mod member;
mod report;
mod socket;
mod source;
mod tally;
mod verdict;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use common::limits::KNOCKS_PER_ROOM;
use common::picture::ladder::Rung;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};

use attendance::{Crowd, Hall, Outcome, Phase, Room, attend};
use clip::Clip;
pub use config::{DURATION_MAX, FLOOD_MAX_MBITS, LoadConfig, LoadError, SENDERS_DEFAULT_MAX};
use driver::{Command, Driver, Traffic};
use latency::Latencies;
use machine::{Watch, Watched};
use member::{Harvest, Member, Place};
pub use report::{FloodReport, GeneratorReport, JoinReport, LoadReport, MediaReport, Percentiles, ProcessUse};
use source::Clock;
use tally::{Live, Tally};

use crate::engine::dial::{Lost, race, reach};
use crate::engine::obstacle::{ConnectError, Obstacle};
use crate::engine::trust::Trust;

/// How far a load is, once a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Since everybody is in; `None` until then.
    pub measured: Option<Duration>,
    /// Participants who are in.
    pub joined: usize,
    /// Participants who will not be.
    pub turned_away: usize,
    /// Participants in all.
    pub asked: usize,
    /// Datagrams of media that were sent in the last second.
    pub sent: u64,
    /// Datagrams of media that were received in the last second.
    pub received: u64,
    /// Datagrams of media that were lost in the last second.
    pub lost: i64,
}

/// Loads a server for as long as the configuration says. Needs a tokio runtime with I/O and time; media has threads of
/// its own.
///
/// # Errors
/// [`LoadError`] when there was no load. That somebody did not get in, or lost something, is in the report.
pub async fn run(config: LoadConfig) -> Result<LoadReport, LoadError> {
    run_until(config, std::future::pending(), |_| {}).await
}

/// As [`run`], but ends early, with the report, when `stop` does, and tells `progress` once a second.
///
/// # Errors
/// As [`run`].
pub async fn run_until(
    config: LoadConfig,
    stop: impl Future<Output = ()>,
    mut progress: impl FnMut(Progress),
) -> Result<LoadReport, LoadError> {
    config.check()?;
    let server = find(&config).await?;
    machine::allow_descriptors((config.participants() + config.participants().min(SOCKETS_MAX)) as u64 + SPARE_FILES)?;
    let mut run = Run::start(config, server).await?;
    let mut stop = std::pin::pin!(stop);
    tokio::select! {
        () = run.join(&mut progress) => {}
        () = &mut stop => return Ok(run.end().await),
    }
    if run.joins.joined > 0 {
        tokio::select! {
            () = run.measure(&mut progress) => {}
            () = &mut stop => {}
        }
    }
    Ok(run.end().await)
}

/// Members with a UDP socket of their own; more share.
const SOCKETS_MAX: usize = 1_000;
/// Open files for all but participants.
const SPARE_FILES: u64 = 64;
/// Participants on their way in at a time: enough to keep a server busy, and few enough that none waits for its turn
/// longer than [`common::limits::HELLO_TIMEOUT`].
const ENTERING: usize = 32;
/// Guests at one door at a time, below the [`KNOCKS_PER_ROOM`] that a server takes.
const KNOCKING: usize = 16;
/// Outcomes that wait to be looked at.
const OUTCOMES: usize = 256;
/// From the last admission to the measurement, and from the last datagram to the count.
const SETTLE: Duration = Duration::from_millis(500);
/// How often processes are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Looks from one progress to the next.
const LOOKS_PER_PROGRESS: u32 = 4;
/// How long everybody together may take to leave.
const FAREWELL: Duration = Duration::from_secs(10);
/// Threads that carry media: half the cores, since the server of a loopback needs the other half.
const DRIVERS_MAX: usize = 8;

/// The first of the server's addresses that answers and may be loaded so; IPv4 first, since a loopback has one address
/// in IPv6 and 16 million in IPv4.
async fn find(config: &LoadConfig) -> Result<SocketAddr, LoadError> {
    let server = &config.server;
    let unreachable = |lost| LoadError::Unreachable(ConnectError::lost(server, &Trust::Anyone, lost).to_string());
    let mut addresses =
        server.look_up().await.map_err(|error| unreachable(Lost { lookup: Some(error), attempts: Vec::new() }))?;
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.iter().try_for_each(|address| config.check_manners(*address))?;
    let attempt = |address, _| async move { reach(None, address).await.map_err(Obstacle::Unreachable) };
    let won = race(addresses, async { Ok(Vec::new()) }, attempt).await.map_err(unreachable)?;
    Ok(won.addresses[0])
}

/// A load under way.
struct Run {
    config: LoadConfig,
    drivers: Vec<Driver>,
    live: Arc<Live>,
    phase: watch::Sender<Phase>,
    outcomes: mpsc::Receiver<(Place, Outcome)>,
    crowd: JoinSet<()>,
    joins: JoinReport,
    to_admitted: Latencies,
    hosts_asked: usize,
    measuring_since: Option<Instant>,
    server: Option<Watch>,
    own: Option<Watch>,
    /// Sent, received and lost at the last progress.
    told: (u64, u64, i64),
}

impl Run {
    async fn start(config: LoadConfig, server: SocketAddr) -> Result<Self, LoadError> {
        let traffic = Arc::new(traffic(&config, server).await?);
        let live = Arc::new(Live::default());
        let drivers: Result<Vec<_>, _> =
            (0..drivers()).map(|_| Driver::start(Arc::clone(&traffic), Arc::clone(&live))).collect();
        let (phase, phase_seen) = watch::channel(if config.join_at_once { Phase::Opening } else { Phase::Joining });
        let (outcomes_in, outcomes) = mpsc::channel(OUTCOMES);
        let here = machine::is_here(server);
        let watched = here.then(|| Watched::listening_at(server)).flatten();
        let crowd = Crowd {
            server,
            phase: phase_seen,
            outcomes: outcomes_in,
            entrance: Semaphore::new(if config.join_at_once { Semaphore::MAX_PERMITS } else { ENTERING }),
            own_sources: server.ip().to_canonical().is_loopback() && server.is_ipv4() && machine::has_many_loopbacks(),
            senders: config.senders(),
            speakers: config.speakers(),
        };
        let joins = JoinReport { asked: config.participants(), ..JoinReport::default() };
        Ok(Self {
            drivers: drivers?,
            live,
            phase,
            outcomes,
            hosts_asked: config.rooms,
            server: Watch::begin(watched),
            own: Watch::begin(Watched::own()),
            crowd: gather(Arc::new(crowd), &config),
            config,
            joins,
            to_admitted: Latencies::new(),
            measuring_since: None,
            told: (0, 0, 0),
        })
    }

    /// Until nobody is on the way in any more.
    async fn join(&mut self, progress: &mut impl FnMut(Progress)) {
        let mut looks = ticks();
        let mut look = 0;
        while self.joins.joined + self.turned_away() < self.joins.asked {
            tokio::select! {
                outcome = self.outcomes.recv() => self.take(outcome).await,
                _ = looks.tick() => {
                    look += 1;
                    self.look(look, progress);
                }
            }
        }
    }

    async fn measure(&mut self, progress: &mut impl FnMut(Progress)) {
        tokio::time::sleep(SETTLE).await;
        for driver in &self.drivers {
            driver.tell(Command::Measure).await;
        }
        let began = Instant::now();
        self.measuring_since = Some(began);
        self.watches().for_each(Watch::joined);
        let (end, mut looks, mut look) = (sleep_until((began + self.config.duration).into()), ticks(), 0);
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                outcome = self.outcomes.recv() => self.take(outcome).await,
                _ = looks.tick() => {
                    look += 1;
                    self.look(look, progress);
                }
            }
        }
    }

    async fn take(&mut self, outcome: Option<(Place, Outcome)>) {
        let Some((place, outcome)) = outcome else { return };
        match outcome {
            Outcome::Joined(took, member) => {
                self.joins.joined += 1;
                if place.index > 0 {
                    self.to_admitted.record(took);
                }
                self.carry(place, member).await;
            }
            Outcome::Refused(why) => note(&mut self.joins.refused, &mut self.joins.reasons, why),
            Outcome::Failed(why) => note(&mut self.joins.failed, &mut self.joins.reasons, why),
            Outcome::Lost(why) => return note(&mut self.joins.lost, &mut self.joins.reasons, why),
        }
        self.hosts_asked -= usize::from(place.index == 0);
        if self.hosts_asked == 0 && *self.phase.borrow() == Phase::Opening {
            self.phase.send_replace(Phase::Joining);
        }
    }

    /// Hands a member to the driver whose turn it is.
    async fn carry(&self, place: Place, member: Box<Member>) {
        if place.floods {
            for driver in &self.drivers {
                driver.tell(Command::Ignore(place.room, member.you)).await;
            }
        }
        let driver = &self.drivers[self.joins.joined % self.drivers.len()];
        driver.tell(Command::Add(member)).await;
    }

    fn turned_away(&self) -> usize {
        self.joins.refused + self.joins.failed
    }

    fn watches(&mut self) -> impl Iterator<Item = &mut Watch> {
        self.server.iter_mut().chain(self.own.iter_mut())
    }

    fn look(&mut self, look: u32, progress: &mut impl FnMut(Progress)) {
        self.watches().for_each(Watch::look);
        if !look.is_multiple_of(LOOKS_PER_PROGRESS) {
            return;
        }
        let Live { sent, received, lost } = &*self.live;
        let count = (sent.load(Ordering::Relaxed), received.load(Ordering::Relaxed), lost.load(Ordering::Relaxed));
        let before = std::mem::replace(&mut self.told, count);
        progress(Progress {
            measured: self.measuring_since.map(|since| since.elapsed()),
            joined: self.joins.joined,
            turned_away: self.turned_away(),
            asked: self.joins.asked,
            sent: count.0 - before.0,
            received: count.1 - before.1,
            lost: count.2 - before.2,
        });
    }

    /// Ends the measurement, counts, and lets everybody leave.
    async fn end(mut self) -> LoadReport {
        let silence = Instant::now();
        for driver in &self.drivers {
            driver.tell(Command::Silence).await;
        }
        self.watches().for_each(Watch::ended);
        let measured = self.measuring_since.map_or(Duration::ZERO, |since| silence - since);
        tokio::time::sleep(SETTLE).await;
        let (tally, members) = self.harvest().await;
        let mut report = LoadReport {
            rooms: self.config.rooms,
            members: self.config.members,
            measured,
            joins: std::mem::take(&mut self.joins),
            server: self.server.as_ref().map(|watch| watch.summary(measured)),
            flood: self.config.flood_mbits.map(|_| flood(&tally, measured)),
            ..LoadReport::default()
        };
        report.joins.to_admitted = self.to_admitted.percentiles();
        report.generator.process = self.own.as_ref().map(|watch| watch.summary(measured));
        verdict::add_up(&mut report, &self.config, &tally, &members, silence);
        self.dismiss().await;
        report
    }

    async fn harvest(&mut self) -> (Tally, Vec<Harvest>) {
        let (mut tally, mut members) = (Tally::new(Arc::clone(&self.live)), Vec::new());
        for driver in self.drivers.drain(..) {
            // Of a thread that broke nothing is known: its members miss every stream.
            if let Some(harvest) = driver.finish().await {
                tally.add(&harvest.tally);
                members.extend(harvest.members);
            }
        }
        (tally, members)
    }

    async fn dismiss(mut self) {
        self.outcomes.close();
        self.phase.send_replace(Phase::Leaving);
        let all_gone = async { while self.crowd.join_next().await.is_some() {} };
        if timeout(FAREWELL, all_gone).await.is_err() {
            self.crowd.shutdown().await;
        }
    }
}

fn note(count: &mut usize, reasons: &mut std::collections::BTreeMap<String, usize>, why: String) {
    *count += 1;
    *reasons.entry(why).or_default() += 1;
}

fn flood(tally: &Tally, measured: Duration) -> FloodReport {
    let secs = measured.as_secs_f64().max(f64::EPSILON);
    FloodReport { sent: tally.flood_sent, sent_mbits: tally.flood_bytes as f64 * 8e-6 / secs }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

fn drivers() -> usize {
    available_parallelism().map_or(1, |cores| cores.get().div_ceil(2).min(DRIVERS_MAX))
}

async fn traffic(config: &LoadConfig, server: SocketAddr) -> Result<Traffic, LoadError> {
    // A flood is of large pictures when nobody says which.
    let rung = config.video.or(config.flood_mbits.map(|_| Rung::ALL[Rung::ALL.len() - 1]));
    let clip = match rung {
        None => None,
        Some(rung) => {
            let made = tokio::task::spawn_blocking(move || Clip::make(rung)).await;
            Some(Arc::new(made.map_err(std::io::Error::other)?.map_err(LoadError::Picture)?))
        }
    };
    Ok(Traffic {
        server,
        clock: Clock::new(Instant::now()),
        clip,
        senders: config.senders(),
        speakers: config.speakers(),
        flood_mbits: config.flood_mbits.unwrap_or_default(),
        sockets_max: SOCKETS_MAX.div_ceil(drivers()),
    })
}

/// Starts a task for each participant. Nothing moves before its room is open.
fn gather(crowd: Arc<Crowd>, config: &LoadConfig) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for room in 0..config.rooms {
        let knocking = if config.join_at_once { KNOCKS_PER_ROOM } else { KNOCKING };
        let hall = Arc::new(Hall { room: watch::Sender::new(Room::Closed), door: Semaphore::new(knocking) });
        let floods = usize::from(room == 0 && config.flood_mbits.is_some());
        for index in 0..config.members + floods {
            let place = Place { room, index, floods: index == config.members };
            tasks.spawn(attend(Arc::clone(&crowd), Arc::clone(&hall), place));
        }
    }
    tasks
}
