//! A recording of the meeting: what was shown of each member as a clip, what was heard as a WAV file.
//!
//! A thread of its own writes it, since a slow disk must not be heard or seen. What it cannot keep up with is missing
//! in the recording.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use common::ids::MemberId;
use common::names::safe_file_name;

use super::outlet::PassingOutlet;
use super::protocol::Event;
use crate::devices::record::{ClipWriter, WavWriter};
use crate::devices::{Block, Picture};

/// Pictures and blocks that wait for the disk: a third of a second of nine cameras at 25 frames a second.
const RECORDING_QUEUE: usize = 96;

/// JPEG quality of recorded pictures: no loss that is seen, at a third of the bytes of 95.
const RECORDING_QUALITY: u8 = 85;

#[derive(Debug)]
enum Piece {
    Block(Box<Block>),
    Name(MemberId, String),
    Picture(MemberId, Picture),
}

/// Takes what is to be recorded; clones write into the same recording.
#[derive(Clone, Debug)]
pub(super) struct Recorder(SyncSender<Piece>);

impl Recorder {
    /// Names the clip of a member, to be called before the first picture. Without it the clip has a name all the same.
    pub(super) fn name(&self, member: MemberId, name: &str) {
        let _ = self.0.try_send(Piece::Name(member, name.to_owned()));
    }

    pub(super) fn block(&self, block: &Block) {
        let _ = self.0.try_send(Piece::Block(Box::new(*block)));
    }

    pub(super) fn picture(&self, member: MemberId, picture: &Picture) {
        let _ = self.0.try_send(Piece::Picture(member, picture.clone()));
    }
}

/// Starts a recording into `folder`; it ends when the last clone of the recorder is gone, and the thread with it.
pub(super) fn start(folder: PathBuf, outlet: PassingOutlet) -> std::io::Result<(Recorder, JoinHandle<()>)> {
    fs::create_dir_all(&folder)?;
    let mix = WavWriter::create(&folder.join("mix.wav"))?;
    let (sender, pieces) = sync_channel(RECORDING_QUEUE);
    let recording = Recording { folder, mix, names: BTreeMap::new(), clips: BTreeMap::new() };
    let thread = std::thread::Builder::new().name("recording".into()).spawn(move || recording.run(&pieces, &outlet))?;
    Ok((Recorder(sender), thread))
}

struct Recording {
    folder: PathBuf,
    mix: WavWriter,
    names: BTreeMap<MemberId, String>,
    clips: BTreeMap<MemberId, ClipWriter>,
}

impl Recording {
    fn run(mut self, pieces: &Receiver<Piece>, outlet: &PassingOutlet) {
        for piece in pieces {
            if let Err(error) = self.write(piece) {
                let folder = self.folder.display();
                outlet.send(Event::Notice(format!("The recording in {folder} has stopped: {error}.")));
                return;
            }
        }
    }

    fn write(&mut self, piece: Piece) -> std::io::Result<()> {
        match piece {
            Piece::Block(block) => self.mix.push(&block),
            Piece::Name(member, name) => {
                self.names.insert(member, name);
                Ok(())
            }
            Piece::Picture(member, picture) => {
                if !self.clips.contains_key(&member) {
                    let clip = ClipWriter::create(&self.folder.join(self.clip_name(member)))?;
                    self.clips.insert(member, clip);
                }
                match self.clips.get_mut(&member) {
                    Some(clip) => clip.push_picture(&picture, RECORDING_QUALITY),
                    None => Ok(()),
                }
            }
        }
    }

    /// Names of a room are unlike each other, but the file system may find more of them alike, and a member may come
    /// after another of the same name has left.
    fn clip_name(&self, member: MemberId) -> String {
        let name = self.names.get(&member).map_or("member", String::as_str);
        let taken = self
            .clips
            .keys()
            .any(|other| self.names.get(other).is_some_and(|other| other.to_lowercase() == name.to_lowercase()));
        let number = if taken { format!(" {}", member.0) } else { String::new() };
        safe_file_name(&format!("{name}{number}.mjpeg"))
    }
}
