//! Somebody at a desk: a voice from a file, the clip as camera, through the shipped encoder, and a screen that the
//! shipped decoder draws; and notes of all of it.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use client::devices::Picture;
use client::devices::jpeg::{JpegDecoder, PartDecoder, PartEncoder, jpeg_length};
use client::devices::scale::Scaler;
use common::picture::blocks::{CodedFrame, LostBlocks, ReceivedFrame};
use common::picture::ladder::VideoTarget;
use common::sequence::MediaTime;
use common::voice::pcm::{Block, SILENT_BLOCK};
use sim::studio::Studio;

use crate::raw_video::{HEIGHT, Planes, WIDTH};

/// What a desk has, and what was noted there.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    voice: Vec<Block>,
    next_block: usize,
    camera: Option<ClipCamera>,
    screen: Option<PartDecoder>,
    /// The screen stays as it is after its first picture.
    frozen: bool,
    notes: Rc<RefCell<Notes>>,
}

/// What came to pass at a desk.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// When the first block was pushed, and all that was said since.
    pub(crate) said: (Option<Instant>, Vec<i16>),
    /// When the first block was pulled, and all that was heard since.
    pub(crate) heard: (Option<Instant>, Vec<i16>),
    /// Pictures that were captured.
    pub(crate) filmed: Vec<Filmed>,
    /// Frames that were drawn.
    pub(crate) shown: Vec<Shown>,
    /// Whether the pixels of what is shown are kept.
    pub(crate) keeps_pixels: bool,
}

/// A picture that the camera gave to the encoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filmed {
    pub(crate) at: Instant,
    pub(crate) timestamp: MediaTime,
    pub(crate) target: VideoTarget,
    /// Which frame of the clip it is.
    pub(crate) index: usize,
}

/// A frame on the screen.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) at: Instant,
    pub(crate) timestamp: MediaTime,
    pub(crate) pixels: Option<Planes>,
}

impl Desk {
    /// A desk without anything on it, and where its notes are.
    pub(crate) fn new() -> (Self, Rc<RefCell<Notes>>) {
        let desk = Self::default();
        let notes = Rc::clone(&desk.notes);
        (desk, notes)
    }

    /// Somebody speaks: this, again and again.
    pub(crate) fn speaking(mut self, voice: &[i16]) -> Self {
        self.voice = voice.as_chunks().0.to_vec();
        self
    }

    /// Somebody is filmed.
    pub(crate) fn filmed(mut self) -> Self {
        self.camera = Some(ClipCamera::new());
        self
    }

    /// Somebody looks; the first picture stays when `frozen`.
    pub(crate) fn looking(mut self, frozen: bool) -> Self {
        self.screen = Some(PartDecoder::new().expect("there is memory for a decoder"));
        self.frozen = frozen;
        self
    }
}

impl Studio for Desk {
    fn say(&mut self, now: Instant) -> Block {
        let block = self.voice.get(self.next_block).copied().unwrap_or(SILENT_BLOCK);
        self.next_block = (self.next_block + 1) % self.voice.len().max(1);
        let said = &mut self.notes.borrow_mut().said;
        said.0.get_or_insert(now);
        said.1.extend(block);
        block
    }

    fn hear(&mut self, now: Instant, block: &Block) {
        let heard = &mut self.notes.borrow_mut().heard;
        heard.0.get_or_insert(now);
        heard.1.extend(block);
    }

    fn film(&mut self, now: Instant, target: VideoTarget, timestamp: MediaTime) -> Option<CodedFrame> {
        let camera = self.camera.as_mut()?;
        let index = camera.capture(now);
        self.notes.borrow_mut().filmed.push(Filmed { at: now, timestamp, target, index });
        camera.encoder.encode(&camera.picture, &target, timestamp).expect("the clip can be coded")
    }

    fn mark_lost(&mut self, lost: &LostBlocks) {
        if let Some(camera) = &mut self.camera {
            camera.encoder.mark_lost(lost.timestamp, lost.rung, &lost.runs);
        }
    }

    fn show(&mut self, now: Instant, frame: &ReceivedFrame) {
        let Some(screen) = &mut self.screen else { return };
        let mut notes = self.notes.borrow_mut();
        if !self.frozen || notes.shown.is_empty() {
            screen.decode(frame);
        }
        // Repairs alone are shown, too, but are no frame of their own.
        if !frame.picture.parts.is_empty() {
            let pixels = notes.keeps_pixels.then(|| planes(screen.picture()));
            notes.shown.push(Shown { at: now, timestamp: frame.picture.timestamp, pixels });
        }
    }
}

/// A picture as it is shown in a tile of 480p.
fn planes(picture: &Picture) -> Planes {
    let mut tile = Picture::default();
    Scaler::default().scale(picture, WIDTH, HEIGHT, &mut tile);
    Planes::of(&tile)
}

/// The clip, forwards and backwards, at its own rate in virtual time.
#[derive(Debug)]
struct ClipCamera {
    clip: Clip,
    began: Option<Instant>,
    encoder: PartEncoder,
    picture: Picture,
}

impl ClipCamera {
    fn new() -> Self {
        let encoder = PartEncoder::new().expect("there is memory for an encoder");
        Self { clip: Clip::open(), began: None, encoder, picture: Picture::default() }
    }

    /// What the camera sees right now; answers which frame of the clip that is.
    fn capture(&mut self, now: Instant) -> usize {
        let elapsed = now - *self.began.get_or_insert(now);
        let index = self.clip.position(elapsed);
        self.clip.decode(index, &mut self.picture);
        index
    }
}

/// The clip of a face.
#[derive(Debug)]
pub(crate) struct Clip {
    jpegs: Vec<Vec<u8>>,
    decoder: JpegDecoder,
}

/// Frames a second of the clip.
pub(crate) const CLIP_RATE: u32 = 30;

impl Clip {
    pub(crate) fn open() -> Self {
        let clip = asset("face_864x480_30fps.mjpeg");
        let mut rest = &clip[..];
        let mut jpegs = Vec::new();
        while let Some(length) = jpeg_length(rest) {
            let (jpeg, after) = rest.split_at(length);
            jpegs.push(jpeg.to_vec());
            rest = after;
        }
        Self { jpegs, decoder: JpegDecoder::new().expect("there is memory for a decoder") }
    }

    fn position(&self, elapsed: Duration) -> usize {
        // Half a frame on, so that rounding chooses between two frames of the clip nowhere.
        let index = ((elapsed.as_secs_f64() + 1e-3) * f64::from(CLIP_RATE)) as usize;
        let last = self.jpegs.len() - 1;
        let turn = index % (2 * last);
        if turn <= last { turn } else { 2 * last - turn }
    }

    pub(crate) fn decode(&mut self, index: usize, picture: &mut Picture) {
        self.decoder.decode(&self.jpegs[index], picture).expect("the clip can be read");
    }
}

pub(crate) fn asset(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name);
    std::fs::read(path).expect("the asset is there")
}

/// The samples of `voice_a` or `voice_b`.
pub(crate) fn voice(name: &str) -> Vec<i16> {
    let wav = asset(&format!("{name}_48k.wav"));
    let data = wav.windows(4).position(|name| name == b"data").expect("a WAV has data");
    let (samples, _) = wav[data + 8..].as_chunks();
    samples.iter().map(|sample| i16::from_le_bytes(*sample)).collect()
}
