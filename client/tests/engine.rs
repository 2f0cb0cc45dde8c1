//! Whole engines over real sockets: what the demo does not show, because there everything goes well.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "the whole file is tests, and each waits for one event among all"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use client::devices::DeviceChoice;
use client::engine::protocol::{Command, Event, Joined};
use client::engine::{EngineConfig, EngineHandle, start};
use common::ids::{KnockId, MemberId, RoomCode};
use common::media::ladder::Rung;
use common::wire::control::{Action, LeaveReason, View};
use common::wire::message::{FileOffer, FileState, Recipients};
use tokio::sync::mpsc::error::TryRecvError;

/// How long anything may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_denied_guest_hears_that_the_host_did_not_let_him_in() {
    let scene = Scene::new("denied");
    let (mut ada, joined) = scene.host("Ada");
    let mut bo = scene.guest("Bo", &joined);
    let knock = ada_knock(&mut ada);
    ada.tell(Command::Act(Action::Deny(knock)));
    assert_eq!(bo.ending(), ("The host did not let you in.".into(), false));
    ada.tell(Command::Leave);
    assert_eq!(ada.ending(), ("You left the meeting.".into(), true));
}

#[test]
fn nobody_sends_a_larger_picture_than_a_tile_unless_somebody_records() {
    let scene = Scene::new("watching");
    let (mut ada, joined) = scene.host("Ada");
    let (bo, _) = scene.admitted("Bo", &joined, &mut ada);
    ada.tell(Command::ChooseCamera(DeviceChoice::Synthetic));
    ada.tell(Command::SetCamera(true));
    bo.tell(Command::Watch(vec![View { member: joined.you, rung: 0 }]));
    ada.wait(|event| match event {
        Event::Statistics(snapshot) if snapshot.video_target.rung == Rung::ALL[0] => Some(()),
        _ => None,
    });
    let cy = scene.engine(EngineConfig { record: Some(scene.0.join("recording")), ..scene.config("Cy") });
    cy.tell(Command::Join { server: joined.addresses[0].clone(), code: joined.code, name: "Cy".into() });
    let knock = ada_knock(&mut ada);
    ada.tell(Command::Act(Action::Admit(knock)));
    ada.wait(|event| match event {
        Event::Statistics(snapshot) if snapshot.video_target.rung > Rung::ALL[0] => Some(()),
        _ => None,
    });
}

#[test]
fn a_wrong_code_and_a_wrong_address_are_sentences() {
    let scene = Scene::new("wrong");
    let (_ada, mut joined) = scene.host("Ada");
    let code = joined.code.to_string().parse::<u32>().unwrap();
    joined.code = RoomCode::new((code + 1) % RoomCode::COUNT).unwrap();
    let mut bo = scene.guest("Bo", &joined);
    assert_eq!(bo.ending(), ("No meeting has this code. Please check the six digits.".into(), false));
    joined.addresses = vec!["not an address".into()];
    let mut cy = scene.guest("Cy", &joined);
    assert!(cy.ending().0.contains("is no server address"));
}

#[test]
fn a_guest_stops_waiting_and_the_host_sees_it() {
    let scene = Scene::new("waiting");
    let (mut ada, joined) = scene.host("Ada");
    let mut bo = scene.guest("Bo", &joined);
    let knock = ada_knock(&mut ada);
    bo.tell(Command::Leave);
    assert_eq!(bo.ending(), ("You left the meeting.".into(), true));
    ada.wait(|event| matches!(event, Event::KnockGone(gone) if *gone == knock).then_some(()));
}

#[test]
fn who_gives_up_while_connecting_is_free_at_once() {
    let scene = Scene::new("silent");
    // It takes connections and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = silent.local_addr().unwrap().to_string();
    let mut bo = scene.person("Bo");
    bo.tell(Command::Join { server, code: RoomCode::new(1).unwrap(), name: "Bo".into() });
    bo.wait(|event| matches!(event, Event::Connecting { .. }).then_some(()));
    let gave_up = Instant::now();
    bo.tell(Command::Leave);
    assert_eq!(bo.ending(), ("You left the meeting.".into(), true));
    assert!(gave_up.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_removed_guest_is_told_and_the_others_see_why() {
    let scene = Scene::new("removed");
    let (mut ada, joined) = scene.host("Ada");
    let (mut bo, id) = scene.admitted("Bo", &joined, &mut ada);
    ada.tell(Command::Act(Action::Remove(id)));
    assert_eq!(bo.ending().0, "The host removed you from the meeting.");
    let reason = ada.wait(|event| match event {
        Event::MemberLeft { member, reason } if *member == id => Some(*reason),
        _ => None,
    });
    assert_eq!(reason, LeaveReason::Removed);
}

#[test]
fn one_engine_holds_a_second_meeting_after_the_first() {
    let scene = Scene::new("again");
    let (mut ada, _) = scene.host("Ada");
    ada.tell(Command::Leave);
    ada.ending();
    ada.tell(Command::StartMeeting { name: "Ada".into(), server: None });
    let second = ada.joined();
    let (mut bo, _) = scene.admitted("Bo", &second, &mut ada);
    bo.tell(Command::Leave);
    assert_eq!(bo.ending(), ("You left the meeting.".into(), true));
}

#[test]
fn a_window_that_hangs_stops_nobody_and_misses_no_line_of_chat() {
    let scene = Scene::new("hangs");
    let (mut ada, joined) = scene.host("Ada");
    let (mut bo, _) = scene.admitted("Bo", &joined, &mut ada);
    const LINES: u32 = 1_500;
    // Bo's window takes no events meanwhile, more than his channel holds.
    let mut read = 0;
    for line in 0..LINES {
        ada.tell(Command::SendChat { to: Recipients::Everyone, text: line.to_string() });
        ada.wait(|event| matches!(event, Event::Chat(_)).then_some(()));
    }
    while read < LINES {
        let text = bo.wait(|event| match event {
            Event::Chat(line) => Some(line.text.clone()),
            _ => None,
        });
        assert_eq!(text, read.to_string());
        read += 1;
    }
}

#[test]
fn a_file_is_declined_cancelled_and_withdrawn_and_both_ends_know() {
    let scene = Scene::new("file-ends");
    let (mut ada, joined) = scene.host("Ada");
    let (mut bo, bo_id) = scene.admitted("Bo", &joined, &mut ada);
    let path = scene.file("data.bin", 100_000);

    let (from, offer) = offer(&ada, &mut bo, &path);
    bo.tell(Command::DeclineFile { from, transfer: offer.transfer });
    assert_eq!(state(&mut ada, &offer, bo_id), FileState::Declined);

    let (from, offer) = self::offer(&ada, &mut bo, &path);
    bo.tell(Command::AcceptFile { from, transfer: offer.transfer });
    assert_eq!(last_state(&mut bo, &offer, bo_id), FileState::Verified);
    assert_eq!(last_state(&mut ada, &offer, bo_id), FileState::Verified);
    assert_eq!(std::fs::read(scene.0.join("Bo/received/data.bin")).unwrap(), std::fs::read(&path).unwrap());

    let (from, offer) = self::offer(&ada, &mut bo, &path);
    ada.tell(Command::CancelFile { from, transfer: offer.transfer });
    bo.wait(|event| {
        matches!(event, Event::FileWithdrawn { transfer, .. } if *transfer == offer.transfer).then_some(())
    });
}

#[test]
fn a_file_that_changed_after_it_was_offered_is_not_kept() {
    let scene = Scene::new("changed");
    let (mut ada, joined) = scene.host("Ada");
    let (mut bo, bo_id) = scene.admitted("Bo", &joined, &mut ada);
    let path = scene.file("data.bin", 50_000);
    let (from, offer) = offer(&ada, &mut bo, &path);
    std::fs::write(&path, vec![7; 50_000]).unwrap();
    bo.tell(Command::AcceptFile { from, transfer: offer.transfer });
    assert_eq!(last_state(&mut bo, &offer, bo_id), FileState::Corrupt);
    assert_eq!(last_state(&mut ada, &offer, bo_id), FileState::Corrupt);
    assert_eq!(std::fs::read_dir(scene.0.join("Bo/received")).unwrap().count(), 0);
}

#[test]
fn a_guest_who_left_in_the_middle_of_a_file_leaves_nothing_half() {
    let scene = Scene::new("half");
    let (mut ada, joined) = scene.host("Ada");
    let (mut bo, bo_id) = scene.admitted("Bo", &joined, &mut ada);
    let path = scene.file("large.bin", 64 << 20);
    let (from, offer) = offer(&ada, &mut bo, &path);
    bo.tell(Command::AcceptFile { from, transfer: offer.transfer });
    bo.wait(|event| match event {
        Event::FileChanged { state: FileState::Receiving(bytes), .. } if *bytes > 0 => Some(()),
        _ => None,
    });
    bo.tell(Command::Leave);
    bo.ending();
    assert_eq!(last_state(&mut ada, &offer, bo_id), FileState::Cancelled);
    bo.engine.stop();
    assert_eq!(std::fs::read_dir(scene.0.join("Bo/received")).unwrap().count(), 0);
}

fn ada_knock(ada: &mut Person) -> KnockId {
    ada.wait(|event| match event {
        Event::KnockArrived { knock, .. } => Some(*knock),
        _ => None,
    })
}

fn offer(from: &Person, to: &mut Person, path: &Path) -> (MemberId, FileOffer) {
    from.tell(Command::OfferFile { to: Recipients::Everyone, path: path.to_owned() });
    to.wait(|event| match event {
        Event::FileOffered { from, offer } => Some((*from, offer.clone())),
        _ => None,
    })
}

/// The next state of a file.
fn state(person: &mut Person, offer: &FileOffer, by: MemberId) -> FileState {
    person.wait(|event| match event {
        Event::FileChanged { transfer, receiver, state, .. } if (*transfer, *receiver) == (offer.transfer, by) => {
            Some(*state)
        }
        _ => None,
    })
}

/// The state that a file ends in.
fn last_state(person: &mut Person, offer: &FileOffer, by: MemberId) -> FileState {
    loop {
        let state = state(person, offer, by);
        if !matches!(state, FileState::Receiving(_)) {
            return state;
        }
    }
}

struct Person {
    engine: EngineHandle,
}

impl Person {
    fn tell(&self, command: Command) {
        self.engine.commands.blocking_send(command).expect("the engine runs");
    }

    /// Takes events until one is what is wanted; the others are gone.
    fn wait<T>(&mut self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let give_up = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        while Instant::now() < give_up {
            match self.engine.events.try_recv() {
                Ok(event) => match wanted(&event) {
                    Some(found) => return found,
                    None if matches!(event, Event::Statistics(_)) => {}
                    None => heard.push(event),
                },
                Err(TryRecvError::Empty) => std::thread::sleep(Duration::from_millis(1)),
                Err(TryRecvError::Disconnected) => break,
            }
        }
        panic!("it did not come; instead there were {heard:?}");
    }

    fn joined(&mut self) -> Joined {
        self.wait(|event| match event {
            Event::Joined(joined) => Some(joined.clone()),
            _ => None,
        })
    }

    fn ending(&mut self) -> (String, bool) {
        self.wait(|event| match event {
            Event::Ended { reason, expected, .. } => Some((reason.clone(), *expected)),
            _ => None,
        })
    }
}

/// A folder for everybody's state and files.
struct Scene(PathBuf);

static SCENES: AtomicU32 = AtomicU32::new(0);

impl Scene {
    fn new(name: &str) -> Self {
        let number = SCENES.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("conclave-engine-{}-{number}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn person(&self, name: &str) -> Person {
        self.engine(self.config(name))
    }

    fn engine(&self, config: EngineConfig) -> Person {
        Person { engine: start(config, Arc::new(|| {})).unwrap() }
    }

    fn config(&self, name: &str) -> EngineConfig {
        EngineConfig {
            download_dir: self.0.join(name).join("received"),
            state_dir: self.0.join(name),
            camera: DeviceChoice::Off,
            microphone: DeviceChoice::Off,
            speaker: DeviceChoice::Off,
            listen: Some(([127, 0, 0, 1], 0).into()),
            ..EngineConfig::default()
        }
    }

    fn host(&self, name: &str) -> (Person, Joined) {
        let mut person = self.person(name);
        person.tell(Command::StartMeeting { name: name.into(), server: None });
        let joined = person.joined();
        (person, joined)
    }

    fn guest(&self, name: &str, meeting: &Joined) -> Person {
        let person = self.person(name);
        let server = meeting.addresses[0].clone();
        person.tell(Command::Join { server, code: meeting.code, name: name.into() });
        person
    }

    fn admitted(&self, name: &str, meeting: &Joined, host: &mut Person) -> (Person, MemberId) {
        let mut guest = self.guest(name, meeting);
        let knock = ada_knock(host);
        host.tell(Command::Act(Action::Admit(knock)));
        let you = guest.joined().you;
        (guest, you)
    }

    fn file(&self, name: &str, bytes: usize) -> PathBuf {
        let path = self.0.join(name);
        let content: Vec<u8> = (0..bytes).map(|index| (index * 31 % 251) as u8).collect();
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
