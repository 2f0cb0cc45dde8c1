//! Who joins how: a task for each participant, from its connection to its leave.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::ids::RoomCode;
use common::seal::Secrets;
use common::session::{Event, Output, Over, Purpose, Session};
use common::wire::control::{Action, Admission, MediaState};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, watch};
use tokio::time::sleep_until;

use super::member::{Member, Place};
use crate::engine::address::ServerAddress;
use crate::engine::control::{Control, Incoming, connect_from};
use crate::engine::door::{aes, hear};
use crate::engine::trust::Trust;

/// What became of a participant.
#[derive(Debug)]
pub(super) enum Outcome {
    /// There was no connection, or it broke.
    Failed(String),
    /// It is in, so long after it began to connect.
    Joined(Duration, Box<Member>),
    /// It was in, and is no more.
    Lost(String),
    /// The server, or nobody, let it in.
    Refused(String),
}

/// How far the whole run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Hosts open their rooms.
    Opening,
    /// Guests knock.
    Joining,
    /// Everybody leaves.
    Leaving,
}

/// What all participants share.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) server: SocketAddr,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) outcomes: mpsc::Sender<(Place, Outcome)>,
    /// How many may be on their way in at a time.
    pub(super) entrance: Semaphore,
    /// Each room comes from an address of its own.
    pub(super) own_sources: bool,
    /// Members of each room, the first ones, whose camera is on.
    pub(super) senders: usize,
    /// Members of each room, the first ones, whose microphone is on.
    pub(super) speakers: usize,
}

/// What the participants of one room share.
#[derive(Debug)]
pub(super) struct Hall {
    pub(super) room: watch::Sender<Room>,
    /// How many may stand at the door.
    pub(super) door: Semaphore,
}

/// What guests know of their room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Its host is not in yet.
    Closed,
    /// Its host could not open it.
    Missing,
    /// It has this code.
    Open(RoomCode),
}

/// How long the end of a meeting may take until a guest leaves by itself.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);

/// Opens a room, or joins it, and stays until the run ends.
pub(super) async fn attend(crowd: Arc<Crowd>, hall: Arc<Hall>, place: Place) {
    let visitor = Visitor { crowd, hall, place };
    let mut phase = visitor.crowd.phase.clone();
    let entered = tokio::select! {
        entered = visitor.enter() => entered,
        _ = phase.wait_for(|phase| *phase == Phase::Leaving) => return,
    };
    let outcome = match entered {
        Ok(inside) => inside.stay(phase).await.map(|over| Outcome::Lost(over.to_string())),
        Err(outcome) => Some(outcome),
    };
    if place.index == 0 && matches!(outcome, Some(Outcome::Failed(_) | Outcome::Refused(_))) {
        visitor.hall.room.send_replace(Room::Missing);
    }
    if let Some(outcome) = outcome {
        // After the run nobody listens.
        let _ = visitor.crowd.outcomes.send((place, outcome)).await;
    }
}

struct Visitor {
    crowd: Arc<Crowd>,
    hall: Arc<Hall>,
    place: Place,
}

/// A participant who is in.
struct Inside {
    session: Session,
    control: Control,
    hosts: bool,
}

impl Visitor {
    async fn enter(&self) -> Result<Inside, Outcome> {
        let (purpose, _at_the_door) = self.purpose().await?;
        let _on_the_way = self.crowd.entrance.acquire().await;
        let began = Instant::now();
        let server = ServerAddress::from(self.crowd.server);
        let connected = connect_from(self.source(), &server, &Trust::Anyone, Vec::new()).await;
        let connected = connected.map_err(|error| Outcome::Failed(error.to_string()))?;
        let hosts = self.place.index == 0;
        let session = Session::new(Instant::now(), purpose, aes());
        let mut inside = Inside { session, control: connected.control, hosts };
        let (admission, secrets) = inside.wait().await?;
        let admitted = Instant::now();
        inside.session.set_media(self.devices());
        if hosts {
            self.hall.room.send_replace(Room::Open(admission.code));
        }
        let member = Member::new(self.place, admitted, &admission, &secrets);
        let joined = Outcome::Joined(admitted - began, Box::new(member));
        let _ = self.crowd.outcomes.send((self.place, joined)).await;
        Ok(inside)
    }

    /// What to ask for, once it is our turn; a guest then has a place at the door.
    async fn purpose(&self) -> Result<(Purpose, Option<SemaphorePermit<'_>>), Outcome> {
        let name = format!("Member {}", self.place.index + 1);
        if self.place.index == 0 {
            return Ok((Purpose::Create { name }, None));
        }
        // Neither sender goes away while somebody waits.
        let _ = self.crowd.phase.clone().wait_for(|phase| *phase >= Phase::Joining).await;
        let mut room = self.hall.room.subscribe();
        let room = room.wait_for(|room| *room != Room::Closed).await.map_or(Room::Missing, |room| *room);
        let Room::Open(code) = room else {
            return Err(Outcome::Failed("The host could not open the room.".to_owned()));
        };
        let place = self.hall.door.acquire().await.ok();
        Ok((Purpose::Knock { code, name }, place))
    }

    /// One of the 16 million addresses that are this machine, so that no room uses up the share of another.
    fn source(&self) -> Option<IpAddr> {
        let [high, low] = (self.place.room as u16 + 1).to_be_bytes();
        self.crowd.own_sources.then(|| IpAddr::from([127, 1, high, low]))
    }

    fn devices(&self) -> MediaState {
        MediaState {
            camera: self.place.index < self.crowd.senders || self.place.floods,
            microphone: self.place.index < self.crowd.speakers,
        }
    }
}

impl Inside {
    /// Waits to be let in.
    async fn wait(&mut self) -> Result<(Admission, Secrets), Outcome> {
        let mut secrets = None;
        loop {
            while let Some(output) = self.session.poll_output() {
                match output {
                    Output::Send(message) => self.control.send(message),
                    Output::Event(Event::Admitted(admission)) => {
                        let missing = || Outcome::Failed(Over::Violated.to_string());
                        return Ok((admission, secrets.ok_or_else(missing)?));
                    }
                    Output::Event(Event::Over(over)) => return Err(not_in(over)),
                    Output::Connect => return Err(not_in(Over::Lost)),
                    // Before admission a session only says that we knock.
                    Output::Event(_) => {}
                }
            }
            secrets = self.listen().await.or(secrets);
        }
    }

    /// Waits for the server, or for the time to say that we are there.
    async fn listen(&mut self) -> Option<Secrets> {
        let deadline = self.session.poll_timeout().unwrap_or_else(Instant::now);
        let incoming: Option<Incoming> = tokio::select! {
            incoming = self.control.incoming.recv() => incoming,
            () = sleep_until(deadline.into()) => {
                self.session.handle_timeout(Instant::now());
                return None;
            }
        };
        hear(&mut self.session, incoming)
    }

    /// Stays until the run ends, and lets everybody in meanwhile; answers why it ended sooner.
    async fn stay(mut self, mut phase: watch::Receiver<Phase>) -> Option<Over> {
        let over = loop {
            if let Some(over) = self.drain() {
                break Some(over);
            }
            tokio::select! {
                _ = self.listen() => {}
                _ = phase.wait_for(|phase| *phase == Phase::Leaving) => break None,
            }
        };
        if over.is_none() {
            self.leave().await;
        }
        self.control.close().await;
        over
    }

    /// Ends the meeting for all, or waits for that.
    async fn leave(&mut self) {
        if self.hosts {
            self.session.act(Action::End);
        }
        let ended = async {
            while self.drain().is_none() {
                self.listen().await;
            }
        };
        if tokio::time::timeout(LEAVE_PATIENCE, ended).await.is_err() {
            self.session.leave();
            self.drain();
        }
    }

    /// Sends what the session has to say; answers why it is over, if it is.
    fn drain(&mut self) -> Option<Over> {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(message) => self.control.send(message),
                // One for all who wait: a host may not say much.
                Output::Event(Event::KnockArrived { .. }) => self.session.act(Action::AdmitAll),
                Output::Event(Event::Over(over)) => return Some(over),
                // What is measured is the server: it does not lose connections.
                Output::Event(Event::Reconnecting) => return Some(Over::Lost),
                Output::Connect | Output::Event(_) => {}
            }
        }
        None
    }
}

fn not_in(over: Over) -> Outcome {
    match over {
        Over::Refused(_) => Outcome::Refused(over.to_string()),
        Over::Ended(_) | Over::Left | Over::Lost | Over::NotRestored | Over::Violated => {
            Outcome::Failed(over.to_string())
        }
    }
}
