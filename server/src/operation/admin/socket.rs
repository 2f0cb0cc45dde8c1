//! The server's end: a socket file with mode 0600, and a check of who connects.

use std::error::Error;
use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::hub::{MemberSummary, RoomSummary};
use common::ids::{MemberId, RoomId};
use common::wire::control::Reach;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{MemberLine, REQUEST_MAX_BYTES, Reply, Request, RoomLine, Status};
use crate::accepting::ACCEPT_BACKOFF;
use crate::open_files;
use crate::operator::{Operator, Stopped};
use crate::{Monitor, Server};

/// Commands answered at a time.
const CONNECTIONS_MAX: usize = 4;
/// Time for a whole command; the hub answers within milliseconds.
const COMMAND_PATIENCE: Duration = Duration::from_secs(10);

/// Answers commands until it is dropped, which removes the socket.
#[derive(Debug)]
pub struct AdminServer {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl AdminServer {
    /// Answers for `server` at `path`. A socket that a server left behind when it broke is replaced. Must be called
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`], whose `Display` is the sentence to show.
    pub async fn start(path: PathBuf, server: &Server, drain_timeout: Duration) -> Result<Self, BindError> {
        remove_stale(&path).await?;
        let unusable = |source| BindError::Unusable { path: path.clone(), source };
        let listener = UnixListener::bind(&path).map_err(unusable)?;
        // Who slips in before this is refused by `Desk::knows`.
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(unusable)?;
        let desk = Desk {
            owner: fs::metadata(&path).map_err(unusable)?.uid(),
            operator: server.operator(),
            monitor: server.monitor(),
            listen: server.address().to_string(),
            began: Instant::now(),
            drain_timeout,
        };
        tracing::info!(path = %path.display(), "admin socket");
        Ok(Self { task: tokio::spawn(accept(listener, Arc::new(desk))), path })
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.task.abort();
        // One that somebody removed already is as good.
        let _ = fs::remove_file(&self.path);
    }
}

/// A socket that nobody answers is left over; anything else stays.
async fn remove_stale(path: &Path) -> Result<(), BindError> {
    let is_socket = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type().is_socket(),
        Err(_) => return Ok(()),
    };
    if !is_socket {
        return Err(BindError::NotASocket { path: path.to_owned() });
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            // What goes wrong here shows again in the bind.
            let _ = fs::remove_file(path);
            Ok(())
        }
        Err(source) => Err(BindError::Unusable { path: path.to_owned(), source }),
        Ok(_) => Err(BindError::InUse { path: path.to_owned() }),
    }
}

async fn accept(listener: UnixListener, desk: Arc<Desk>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Nobody closes the semaphore, so it always answers.
    while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let desk = Arc::clone(&desk);
                tokio::spawn(async move {
                    // One that is too slow or goes away is closed, and that is all.
                    let _ = timeout(COMMAND_PATIENCE, desk.serve(stream)).await;
                    drop(seat);
                });
            }
            Err(_) => sleep(ACCEPT_BACKOFF).await,
        }
    }
}

/// Knows the answers.
struct Desk {
    /// The user this server runs as.
    owner: u32,
    operator: Operator,
    monitor: Monitor,
    listen: String,
    began: Instant,
    drain_timeout: Duration,
}

impl Desk {
    async fn serve(&self, mut stream: UnixStream) -> io::Result<()> {
        if !self.knows(&stream) {
            return Ok(());
        }
        let mut line = String::new();
        BufReader::new((&mut stream).take(REQUEST_MAX_BYTES)).read_line(&mut line).await?;
        let reply = match serde_json::from_str(&line) {
            Ok(request) => self.answer(request).await.unwrap_or_else(|stopped| Reply::Refused(stopped.to_string())),
            Err(_) => Reply::Refused("The server does not know this command. Is it of another version?".to_owned()),
        };
        let mut bytes = serde_json::to_vec(&reply)?;
        bytes.push(b'\n');
        stream.write_all(&bytes).await?;
        stream.shutdown().await
    }

    /// Root and the server's own user may; a check of its own, so that a loose directory or mode opens nothing.
    fn knows(&self, stream: &UnixStream) -> bool {
        stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == self.owner)
    }

    async fn answer(&self, request: Request) -> Result<Reply, Stopped> {
        Ok(match request {
            Request::Drain { timeout_secs } => {
                let patience = timeout_secs.map_or(self.drain_timeout, Duration::from_secs);
                self.operator.drain(patience).await?;
                Reply::Done
            }
            Request::End { room } => done(self.operator.end_room(RoomId(room)).await?, no_room(room)),
            Request::Forgive { address } => Reply::Forgiven { sources: self.operator.forgive(address).await? },
            Request::Kick { room, member } => {
                let expelled = self.operator.expel(RoomId(room), MemberId(member)).await?;
                done(expelled, format!("There is no member {member} in a room {room}."))
            }
            Request::Members { room } => match self.operator.members(RoomId(room)).await? {
                Some(members) => Reply::Members(members.into_iter().map(MemberLine::from).collect()),
                None => Reply::Refused(no_room(room)),
            },
            Request::Rooms => Reply::Rooms(self.operator.rooms().await?.into_iter().map(RoomLine::from).collect()),
            Request::Status => Reply::Status(self.status().await?),
        })
    }

    async fn status(&self) -> Result<Status, Stopped> {
        let statistics = self.monitor.statistics();
        let guesses = self.operator.guesses().await?;
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            health: statistics.health.to_string(),
            listen: self.listen.clone(),
            uptime_secs: self.began.elapsed().as_secs(),
            rooms: statistics.rooms,
            members: statistics.members,
            connections: statistics.connections,
            sources_banned: guesses.bans.sources,
            banned_for_secs: guesses.bans.longest.as_secs_f64().ceil() as u64,
            guessing: guesses.by_many,
            files_max: open_files::limit(),
            accepts_failed: statistics.accepts_failed,
        })
    }
}

fn done(done: bool, else_why: String) -> Reply {
    if done { Reply::Done } else { Reply::Refused(else_why) }
}

fn no_room(room: u32) -> String {
    format!("There is no room {room}.")
}

impl From<RoomSummary> for RoomLine {
    fn from(summary: RoomSummary) -> Self {
        let RoomSummary { room, members, knocking, age, locked } = summary;
        Self { room: room.0, members, knocking, age_secs: age.as_secs(), locked }
    }
}

impl From<MemberSummary> for MemberLine {
    fn from(summary: MemberSummary) -> Self {
        let MemberSummary { member, name, host, media, age, away, reach } = summary;
        let (camera, microphone) = (media.camera, media.microphone);
        Self {
            member: member.0,
            name,
            host,
            camera,
            microphone,
            age_secs: age.as_secs(),
            away,
            datagrams: reach == Reach::WHOLE,
        }
    }
}

/// Why there is no admin socket. `Display` is the sentence to show.
#[derive(Debug)]
pub enum BindError {
    /// Another server answers there.
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else has that name, and stays.
    NotASocket {
        /// What is there.
        path: PathBuf,
    },
    /// The system does not make one there.
    Unusable {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path } => {
                write!(f, "Another server has the admin socket {}. Choose another with --admin-socket.", path.display())
            }
            Self::NotASocket { path } => {
                write!(f, "{} is there and no socket. Choose another with --admin-socket.", path.display())
            }
            Self::Unusable { path, .. } => write!(
                f,
                "The admin socket {} cannot be made. Choose another with --admin-socket, or off.",
                path.display()
            ),
        }
    }
}

impl Error for BindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::InUse { .. } | Self::NotASocket { .. } => None,
            Self::Unusable { source, .. } => Some(source),
        }
    }
}
