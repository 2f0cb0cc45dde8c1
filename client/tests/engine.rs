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
use common::link::LinkConfig;
use common::picture::ladder::Rung;
use common::wire::control::{Action, LeaveReason, View};
use common::wire::message::{FileOffer, FileState, FileTrouble, Recipients};
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
fn a_file_that_changed_after_it_was_offered_is_not_kept_and_not_on_offer_any_more() {
    let scene = Scene::new("changed");
    let (mut ada, joined) = scene.host("Ada");
    let (mut bo, _) = scene.admitted("Bo", &joined, &mut ada);
    let path = scene.file("data.bin", 50_000);
    let (from, offer) = offer(&ada, &mut bo, &path);
    std::fs::write(&path, vec![7; 50_000]).unwrap();
    bo.tell(Command::AcceptFile { from, transfer: offer.transfer });
    assert_eq!(withdrawn(&mut bo), Some(FileTrouble::SourceChanged));
    assert_eq!(withdrawn(&mut ada), Some(FileTrouble::SourceChanged));
    assert!(!scene.0.join("Bo/received/data.bin").exists());
}

#[test]
fn a_file_that_is_removed_while_it_is_on_offer_is_withdrawn_for_everybody() {
    let scene = Scene::new("removed-file");
    let (mut ada, joined) = scene.host("Ada");
    let (mut bo, _) = scene.admitted("Bo", &joined, &mut ada);
    let path = scene.file("data.bin", 50_000);
    offer(&ada, &mut bo, &path);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(withdrawn(&mut bo), Some(FileTrouble::SourceGone));
    assert_eq!(withdrawn(&mut ada), Some(FileTrouble::SourceGone));
    // Who comes later is not offered what is gone.
    let (mut cy, _) = scene.admitted("Cy", &joined, &mut ada);
    let (_, second) = offer(&ada, &mut cy, &scene.file("other.bin", 10));
    assert_eq!(second.name, "other.bin");
}

#[test]
fn a_file_that_becomes_shorter_on_its_way_ends_at_both_ends_with_the_reason() {
    let scene = Scene::new("shorter");
    let (mut ada, joined) = scene.host("Ada");
    // Its sender is slow: what the server has would still arrive.
    let (mut bo, _) = scene.admitted_slow("Bo", &joined, &mut ada);
    let path = scene.file("large.bin", 32 << 20);
    let (from, offer) = offer(&bo, &mut ada, &path);
    ada.tell(Command::AcceptFile { from, transfer: offer.transfer });
    ada.wait(|event| received(event).filter(|bytes| *bytes > 0));
    std::fs::File::options().write(true).open(&path).unwrap().set_len(1_000).unwrap();
    let why = FileTrouble::SourceChanged;
    let at_receiver = last_state(&mut ada, &offer, joined.you);
    assert!(matches!(at_receiver, FileState::Interrupted(_, trouble) if trouble == why), "{at_receiver:?}");
    assert_eq!(withdrawn(&mut ada), Some(why));
    let at_sender = last_state(&mut bo, &offer, joined.you);
    assert!(matches!(at_sender, FileState::Interrupted(_, trouble) if trouble == why), "{at_sender:?}");
}

#[test]
fn a_file_that_is_removed_while_it_is_read_still_arrives() {
    let scene = Scene::new("removed-open");
    let (mut ada, joined) = scene.host("Ada");
    let (mut bo, bo_id) = scene.admitted_slow("Bo", &joined, &mut ada);
    let path = scene.file("large.bin", 8 << 20);
    let content = std::fs::read(&path).unwrap();
    let (from, offer) = offer(&ada, &mut bo, &path);
    bo.tell(Command::AcceptFile { from, transfer: offer.transfer });
    bo.wait(|event| received(event).filter(|bytes| *bytes > 0));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(last_state(&mut ada, &offer, bo_id), FileState::Verified);
    assert!(std::fs::read(scene.0.join("Bo/received/large.bin")).unwrap() == content);
}

#[test]
fn a_folder_that_is_a_file_is_told_at_both_ends_and_the_file_comes_once_it_is_mended() {
    let scene = Scene::new("folder-is-file");
    let (mut ada, joined) = scene.host("Ada");
    std::fs::create_dir_all(scene.0.join("Bo")).unwrap();
    std::fs::write(scene.0.join("Bo/received"), "").unwrap();
    let (mut bo, bo_id) = scene.admitted("Bo", &joined, &mut ada);
    let (from, offer) = offer(&ada, &mut bo, &scene.file("data.bin", 50_000));
    bo.tell(Command::AcceptFile { from, transfer: offer.transfer });
    let told = FileState::Interrupted(0, FileTrouble::ReceiverFolder);
    assert_eq!(last_state(&mut bo, &offer, bo_id), told);
    assert_eq!(last_state(&mut ada, &offer, bo_id), told);
    std::fs::remove_file(scene.0.join("Bo/received")).unwrap();
    bo.tell(Command::AcceptFile { from, transfer: offer.transfer });
    assert_eq!(last_state(&mut ada, &offer, bo_id), FileState::Verified);
}

#[test]
fn a_disk_without_room_or_that_is_read_only_is_told_at_both_ends_and_the_file_comes_once_it_is_mended() {
    let scene = Scene::new("small-disk");
    let Some(disk) = SmallDisk::mount(&scene.0.join("Bo/received"), "size=1m") else { return };
    let (mut ada, joined) = scene.host("Ada");
    let (mut bo, bo_id) = scene.admitted("Bo", &joined, &mut ada);
    let (from, offer) = offer(&ada, &mut bo, &scene.file("large.bin", 4 << 20));
    let accept = || Command::AcceptFile { from, transfer: offer.transfer };
    bo.tell(accept());
    for person in [&mut bo, &mut ada] {
        let FileState::Interrupted(0, FileTrouble::ReceiverFull { missing }) = last_state(person, &offer, bo_id) else {
            panic!("it was looked at before")
        };
        assert!(missing > 2 << 20 && missing <= 4 << 20, "{missing}");
    }
    disk.remount("size=8m,ro");
    bo.tell(accept());
    assert_eq!(last_state(&mut ada, &offer, bo_id), FileState::Interrupted(0, FileTrouble::ReceiverReadOnly));
    disk.remount("size=8m,rw");
    bo.tell(accept());
    assert_eq!(last_state(&mut ada, &offer, bo_id), FileState::Verified);
    bo.engine.stop();
}

#[test]
fn a_full_disk_of_the_server_is_told_at_both_ends_and_the_file_comes_once_there_is_room() {
    let scene = Scene::new("small-spool");
    let Some(disk) = SmallDisk::mount(&scene.0.join("Ada"), "size=1m") else { return };
    let (mut ada, joined) = scene.host("Ada");
    let (mut bo, bo_id) = scene.admitted("Bo", &joined, &mut ada);
    let (from, offer) = offer(&ada, &mut bo, &scene.file("large.bin", 4 << 20));
    bo.tell(Command::AcceptFile { from, transfer: offer.transfer });
    for person in [&mut bo, &mut ada] {
        let state = last_state(person, &offer, bo_id);
        assert!(matches!(state, FileState::Interrupted(_, FileTrouble::ServerFull)), "{state:?}");
    }
    disk.remount("size=16m");
    bo.tell(Command::AcceptFile { from, transfer: offer.transfer });
    assert_eq!(last_state(&mut ada, &offer, bo_id), FileState::Verified);
    bo.engine.stop();
    ada.engine.stop();
}

#[test]
fn a_guest_who_left_in_the_middle_of_a_file_goes_on_where_he_was() {
    let scene = Scene::new("again-guest");
    let (mut ada, joined) = scene.host("Ada");
    let (mut bo, bo_id) = scene.admitted_slow("Bo", &joined, &mut ada);
    let path = scene.file("large.bin", 16 << 20);
    let (from, offer) = offer(&ada, &mut bo, &path);
    bo.tell(Command::AcceptFile { from, transfer: offer.transfer });
    bo.wait(|event| received(event).filter(|bytes| *bytes > 0));
    // Not a word of goodbye to the file: as good as killed.
    bo.engine.stop();
    let left = last_state(&mut ada, &offer, bo_id);
    assert!(matches!(left, FileState::Interrupted(_, FileTrouble::ReceiverLeft)), "{left:?}");
    assert!(!scene.0.join("Bo/received/large.bin").exists());

    let (mut bo, bo_id) = scene.admitted("Bo", &joined, &mut ada);
    let (from, offer) = bo.wait(offered);
    let FileState::Paused(there) = state(&mut bo, &offer, bo_id) else { panic!("something is here") };
    assert!(there > 0 && there < offer.size, "{there}");
    bo.tell(Command::ResumeFile { from, transfer: offer.transfer });
    let first = bo.wait(received);
    assert!(first >= there, "{first}");
    assert_eq!(last_state(&mut bo, &offer, bo_id), FileState::Verified);
    assert_eq!(last_state(&mut ada, &offer, bo_id), FileState::Verified);
    assert_eq!(std::fs::read(scene.0.join("Bo/received/large.bin")).unwrap(), std::fs::read(&path).unwrap());
    assert_eq!(std::fs::read_dir(scene.0.join("Bo/received")).unwrap().count(), 1);
}

#[test]
fn a_sender_who_left_offers_the_same_file_again_and_it_goes_on() {
    let scene = Scene::new("again-sender");
    let (mut ada, joined) = scene.host("Ada");
    let (mut bo, bo_id) = scene.admitted("Bo", &joined, &mut ada);
    let (cy, _) = scene.admitted_slow("Cy", &joined, &mut ada);
    let path = scene.file("large.bin", 16 << 20);
    let (from, first) = offer(&cy, &mut bo, &path);
    bo.tell(Command::AcceptFile { from, transfer: first.transfer });
    bo.wait(|event| received(event).filter(|bytes| *bytes > 0));
    cy.engine.stop();
    let left = FileTrouble::SenderLeft;
    let FileState::Interrupted(there, why) = last_state(&mut bo, &first, bo_id) else { panic!("it is not whole") };
    assert_eq!((why, withdrawn(&mut bo)), (left, Some(left)));

    let (mut cy, _) = scene.admitted("Cy", &joined, &mut ada);
    let (from, again) = offer(&cy, &mut bo, &path);
    bo.tell(Command::AcceptFile { from, transfer: again.transfer });
    let resumed = bo.wait(|event| received(event).filter(|bytes| *bytes > 0));
    assert!(resumed >= there, "{resumed} of {there}");
    assert_eq!(last_state(&mut bo, &again, bo_id), FileState::Verified);
    assert_eq!(last_state(&mut cy, &again, bo_id), FileState::Verified);
    assert_eq!(std::fs::read(scene.0.join("Bo/received/large.bin")).unwrap(), std::fs::read(&path).unwrap());
}

#[test]
fn a_part_with_wrong_bytes_is_found_out_and_the_file_comes_anew() {
    let scene = Scene::new("wrong-part");
    let (mut ada, joined) = scene.host("Ada");
    let (mut bo, bo_id) = scene.admitted("Bo", &joined, &mut ada);
    let path = scene.file("data.bin", 500_000);
    let hash = blake3::hash(&std::fs::read(&path).unwrap());
    std::fs::create_dir_all(scene.0.join("Bo/received")).unwrap();
    std::fs::write(scene.0.join(format!("Bo/received/.{}.part", &hash.to_hex()[..32])), vec![7; 100_000]).unwrap();
    let (from, offer) = offer(&ada, &mut bo, &path);
    bo.tell(Command::AcceptFile { from, transfer: offer.transfer });
    assert_eq!(last_state(&mut ada, &offer, bo_id), FileState::Verified);
    assert_eq!(std::fs::read(scene.0.join("Bo/received/data.bin")).unwrap(), std::fs::read(&path).unwrap());
}

#[test]
fn a_part_that_lacks_nothing_but_its_name_gets_it() {
    let scene = Scene::new("whole-part");
    let (mut ada, joined) = scene.host("Ada");
    let (mut bo, bo_id) = scene.admitted("Bo", &joined, &mut ada);
    let path = scene.file("data.bin", 500_000);
    let hash = blake3::hash(&std::fs::read(&path).unwrap());
    std::fs::create_dir_all(scene.0.join("Bo/received")).unwrap();
    std::fs::copy(&path, scene.0.join(format!("Bo/received/.{}.part", &hash.to_hex()[..32]))).unwrap();
    let (from, offer) = offer(&ada, &mut bo, &path);
    bo.tell(Command::AcceptFile { from, transfer: offer.transfer });
    assert_eq!(last_state(&mut ada, &offer, bo_id), FileState::Verified);
    assert_eq!(std::fs::read_dir(scene.0.join("Bo/received")).unwrap().count(), 1);
}

#[test]
fn a_file_is_paused_by_either_side_and_goes_on() {
    let scene = Scene::new("pause");
    let (mut ada, joined) = scene.host("Ada");
    let (mut bo, bo_id) = scene.admitted_slow("Bo", &joined, &mut ada);
    let path = scene.file("large.bin", 8 << 20);
    let (from, offer) = offer(&ada, &mut bo, &path);
    let transfer = offer.transfer;
    bo.tell(Command::AcceptFile { from, transfer });
    bo.wait(|event| received(event).filter(|bytes| *bytes > 0));
    bo.tell(Command::PauseFile { from, transfer });
    let FileState::Paused(there) = last_state(&mut ada, &offer, bo_id) else { panic!("the sender is told") };
    assert!(there > 0);
    bo.tell(Command::ResumeFile { from, transfer });
    let held = |wanted: bool| {
        move |event: &Event| match event {
            Event::FileHeld { held, .. } if *held == wanted => Some(()),
            _ => None,
        }
    };
    for held_back in [true, false] {
        let command =
            if held_back { Command::PauseFile { from, transfer } } else { Command::ResumeFile { from, transfer } };
        ada.tell(command);
        bo.wait(held(held_back));
    }
    assert_eq!(last_state(&mut ada, &offer, bo_id), FileState::Verified);
    assert_eq!(std::fs::read(scene.0.join("Bo/received/large.bin")).unwrap(), std::fs::read(&path).unwrap());
}

#[test]
fn what_a_receiver_stops_for_good_leaves_nothing() {
    let scene = Scene::new("stopped");
    let (mut ada, joined) = scene.host("Ada");
    let (mut bo, bo_id) = scene.admitted_slow("Bo", &joined, &mut ada);
    let (from, offer) = offer(&ada, &mut bo, &scene.file("large.bin", 8 << 20));
    bo.tell(Command::AcceptFile { from, transfer: offer.transfer });
    bo.wait(|event| received(event).filter(|bytes| *bytes > 0));
    bo.tell(Command::CancelFile { from, transfer: offer.transfer });
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
    to.wait(offered)
}

fn offered(event: &Event) -> Option<(MemberId, FileOffer)> {
    match event {
        Event::FileOffered { from, offer } => Some((*from, offer.clone())),
        _ => None,
    }
}

/// How much of a file is there.
fn received(event: &Event) -> Option<u64> {
    match event {
        Event::FileChanged { state: FileState::Receiving(bytes), .. } => Some(*bytes),
        _ => None,
    }
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

/// Why the next offer that ends has ended.
fn withdrawn(person: &mut Person) -> Option<FileTrouble> {
    person.wait(|event| match event {
        Event::FileWithdrawn { why, .. } => Some(*why),
        _ => None,
    })
}

/// A disk of a chosen size, in memory.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, with a line that says so, where this program may not mount anything.
    fn mount(at: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = mount(&["-t", "tmpfs", "-o", options, "tmpfs"], at);
        if !mounted {
            eprintln!("skipped: a disk of its own needs root on Linux");
        }
        mounted.then(|| Self(at.to_owned()))
    }

    fn remount(&self, options: &str) {
        assert!(mount(&["-o", &format!("remount,{options}")], &self.0), "{options}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What is open on it keeps it until it is closed, and nobody finds it any more.
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    let command = std::process::Command::new("mount").args(arguments).arg(at).output();
    cfg!(target_os = "linux") && command.is_ok_and(|output| output.status.success())
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
        self.guest_with(self.config(name), name, meeting)
    }

    fn guest_with(&self, config: EngineConfig, name: &str, meeting: &Joined) -> Person {
        let person = self.engine(config);
        let server = meeting.addresses[0].clone();
        person.tell(Command::Join { server, code: meeting.code, name: name.into() });
        person
    }

    fn admitted(&self, name: &str, meeting: &Joined, host: &mut Person) -> (Person, MemberId) {
        Self::admit(self.guest(name, meeting), host)
    }

    /// Somebody on a link that takes seconds for a file.
    fn admitted_slow(&self, name: &str, meeting: &Joined, host: &mut Person) -> (Person, MemberId) {
        let slow = LinkConfig { rate_bps: Some(20_000_000), queue_bytes: 100_000, ..LinkConfig::default() };
        let config = EngineConfig { impairment: Some(slow), ..self.config(name) };
        Self::admit(self.guest_with(config, name, meeting), host)
    }

    fn admit(mut guest: Person, host: &mut Person) -> (Person, MemberId) {
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
