//! The engine between meetings: waits for a command, goes through a door, holds the meeting, and waits again.

use common::session::{Over, Purpose};
use server::StartError;
use tokio::sync::mpsc;

use super::EngineConfig;
use super::address::ServerAddress;
use super::control::{Connected, Memory, connect};
use super::door::Door;
use super::embedded::Embedded;
use super::guests::Directions;
use super::meeting::{Meeting, Place};
use super::outlet::Outlet;
use super::protocol::{Command, Event, FrameSlots};
use super::surroundings::{Ending, Surroundings, choose};
use super::trust::{Fingerprint, KnownServers, Trust};

/// An engine that is in no meeting.
pub(super) struct Lobby {
    /// Also what a person has chosen since: devices, and whether they are on.
    config: EngineConfig,
    commands: mpsc::Receiver<Command>,
    outlet: Outlet,
    frames: FrameSlots,
}

impl Lobby {
    pub(super) fn new(
        config: EngineConfig,
        commands: mpsc::Receiver<Command>,
        outlet: Outlet,
        frames: FrameSlots,
    ) -> Self {
        Self { config, commands, outlet, frames }
    }

    /// Runs until the sender of commands is dropped.
    pub(super) async fn run(mut self) {
        loop {
            let command = tokio::select! {
                command = self.commands.recv() => command,
                () = self.outlet.room() => {
                    self.outlet.flush();
                    continue;
                }
            };
            match command {
                Some(Command::StartMeeting { name, server }) => self.host(name, server).await,
                Some(Command::Join { server, code, name }) => {
                    self.visit(&server, Purpose::Knock { code, name }).await;
                }
                Some(command) => choose(&mut self.config, &command),
                None => return,
            }
        }
    }

    async fn host(&mut self, name: String, server: Option<String>) {
        let purpose = Purpose::Create { name };
        match server {
            Some(server) => self.visit(&server, purpose).await,
            None => self.host_here(purpose).await,
        }
    }

    async fn host_here(&mut self, purpose: Purpose) {
        self.outlet.send(Event::Connecting { server: "this computer".into() });
        let embedded = match Embedded::start(&self.config.state_dir, self.config.listen).await {
            Ok(embedded) => embedded,
            Err(error) => return self.end(Ending::failure(unstarted(&error))),
        };
        let directions = embedded.directions();
        let ending = self.stay(&embedded.own_address(), &embedded.trust(), purpose, directions, true).await;
        embedded.stop().await;
        self.end(ending);
    }

    async fn visit(&mut self, typed: &str, purpose: Purpose) {
        let server: ServerAddress = match typed.parse() {
            Ok(server) => server,
            Err(error) => return self.end(Ending::failure(error)),
        };
        self.outlet.send(Event::Connecting { server: server.to_string() });
        let trust = Trust::Remembered(KnownServers::in_folder(&self.config.state_dir));
        let directions = Directions::to(&server);
        let ending = self.stay(&server, &trust, purpose, directions, false).await;
        self.end(ending);
    }

    async fn stay(
        &mut self,
        server: &ServerAddress,
        trust: &Trust,
        purpose: Purpose,
        directions: Directions,
        ours: bool,
    ) -> Ending {
        let connected = tokio::select! {
            connected = connect(server, trust, Vec::new()) => connected,
            () = given_up(&mut self.commands, &mut self.config) => return Over::Left.into(),
        };
        let Connected { control, addresses: reached, key, memory } = match connected {
            Ok(connected) => connected,
            Err(error) => return Ending::failure(error),
        };
        self.tell_of_key(server, key, memory);
        let mut surroundings = self.surroundings();
        let mut door = Door::new(control, purpose);
        let invitation = match door.wait(&mut surroundings).await {
            Ok(invitation) => invitation,
            Err(over) => {
                door.close().await;
                return over.into();
            }
        };
        // Whoever takes over during the meeting has to have the very key that the meeting began with.
        let place = Place { server: server.clone(), trust: Trust::Exactly(key), reached, ours, directions };
        match Meeting::enter(door, invitation, place, self.surroundings()) {
            // A meeting is a hundred kilobytes, and each future around it would have room for one more on the stack.
            Ok(meeting) => Box::pin(meeting.run()).await,
            Err(error) => Ending::failure(format!("The meeting cannot begin: {error}.")),
        }
    }

    fn tell_of_key(&mut self, server: &ServerAddress, key: Fingerprint, memory: Memory) {
        match memory {
            Memory::Known => {}
            Memory::Lost(error) => self.outlet.notice(format!(
                "First visit to {server}, which has the key {key}. It could not be remembered in {}: {error}. The server will be \
                 new to this program next time.",
                self.config.state_dir.display()
            )),
            Memory::New => {
                let (server, fingerprint) = (server.to_string(), key.to_string());
                self.outlet.send(Event::ServerRemembered { server, fingerprint });
            }
        }
    }

    fn surroundings(&mut self) -> Surroundings<'_> {
        Surroundings {
            config: &mut self.config,
            commands: &mut self.commands,
            outlet: &mut self.outlet,
            frames: &self.frames,
        }
    }

    fn end(&mut self, ending: Ending) {
        let Ending { reason, expected, rejoin } = ending;
        self.outlet.send(Event::Ended { reason, expected, rejoin });
    }
}

/// Why the server inside this program does not start. It has one folder for all that it keeps.
fn unstarted(error: &StartError) -> String {
    if let StartError::Spool { path, .. } = error {
        let path = path.display();
        format!("Files on their way cannot be kept in {path}. Choose another directory with --state-dir.")
    } else {
        error.to_string()
    }
}

/// Waits until a person does not want to connect any more; takes other choices meanwhile.
async fn given_up(commands: &mut mpsc::Receiver<Command>, config: &mut EngineConfig) {
    loop {
        match commands.recv().await {
            None | Some(Command::Leave) => return,
            Some(command) => choose(config, &command),
        }
    }
}
