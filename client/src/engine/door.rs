//! Between the connection and the meeting: hello, knock, and the wait for an answer.

use std::time::Instant;

use common::seal::Secrets;
use common::session::{Event as SessionEvent, Output, Over, Purpose, Session};
use common::wire::control::Admission;
use tokio::time::sleep_until;

use super::control::{Control, Incoming};
use super::protocol::{Command, Event};
use super::surroundings::{Surroundings, choose};

/// A session that is not in yet.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) session: Session,
    pub(super) control: Control,
    purpose: Purpose,
    secrets: Option<Secrets>,
}

/// What opened the door.
#[derive(Debug)]
pub(super) struct Invitation {
    pub(super) admission: Admission,
    pub(super) secrets: Secrets,
}

impl Door {
    pub(super) fn new(control: Control, purpose: Purpose) -> Self {
        let session = Session::new(Instant::now(), purpose.clone(), aes());
        Self { session, control, purpose, secrets: None }
    }

    /// Waits until the door opens, or will not.
    pub(super) async fn wait(&mut self, surroundings: &mut Surroundings<'_>) -> Result<Invitation, Over> {
        loop {
            if let Some(answer) = self.drain(surroundings) {
                return answer;
            }
            let deadline = self.session.poll_timeout().unwrap_or_else(Instant::now);
            tokio::select! {
                incoming = self.control.incoming.recv() => self.handle_incoming(incoming),
                command = surroundings.commands.recv() => match command {
                    None | Some(Command::Leave) => self.session.leave(),
                    Some(command) => choose(surroundings.config, &command),
                },
                () = sleep_until(deadline.into()) => self.session.handle_timeout(Instant::now()),
                () = surroundings.outlet.room() => surroundings.outlet.flush(),
            }
        }
    }

    fn handle_incoming(&mut self, incoming: Option<Incoming>) {
        self.secrets = hear(&mut self.session, incoming).or(self.secrets.take());
    }

    fn drain(&mut self, surroundings: &mut Surroundings<'_>) -> Option<Result<Invitation, Over>> {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(message) => self.control.send(message),
                Output::Event(SessionEvent::Admitted(admission)) => {
                    // The task of the connection derives them with every admission.
                    let secrets = self.secrets.take();
                    return Some(secrets.map(|secrets| Invitation { admission, secrets }).ok_or(Over::Violated));
                }
                Output::Event(SessionEvent::Knocking) => {
                    if let Purpose::Knock { code, .. } = self.purpose {
                        surroundings.outlet.send(Event::Knocking { code });
                    }
                }
                Output::Event(SessionEvent::Over(over)) => {
                    // What was said before is sent by now: over is the last output.
                    return Some(Err(over));
                }
                // Before admission a session says nothing else, and does not try again.
                Output::Connect | Output::Event(_) => {}
            }
        }
        None
    }

    /// Closes a connection that led nowhere.
    pub(super) async fn close(self) {
        self.control.close().await;
    }
}

/// Tells the session what the server said; gives back the secrets that came with an admission.
pub(crate) fn hear(session: &mut Session, incoming: Option<Incoming>) -> Option<Secrets> {
    match incoming {
        Some(Incoming::Message(message, secrets)) => {
            session.handle_message(Instant::now(), message);
            return secrets;
        }
        Some(Incoming::Malformed) => session.handle_malformed(),
        Some(Incoming::Disconnected) | None => session.handle_disconnected(Instant::now()),
    }
    None
}

/// Whether this processor has AES instructions.
pub(crate) fn aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}
