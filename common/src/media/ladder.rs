//! The sizes, qualities and frame rates of video, and the controller that moves between them.

/// A picture size of the ladder. Widths are multiples of 16; the last row of blocks of 360p is half outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rung {
    /// Position in [`Rung::ALL`], as it stands in the video header.
    pub index: u8,
    /// What people call it, for example `480p`.
    pub name: &'static str,
    /// Pixels across.
    pub width: u16,
    /// Pixels down.
    pub height: u16,
}

impl Rung {
    /// All rungs from the smallest to the largest.
    pub const ALL: [Self; 4] = [
        Self {
            index: 0,
            name: "144p",
            width: 256,
            height: 144,
        },
        Self {
            index: 1,
            name: "240p",
            width: 432,
            height: 240,
        },
        Self {
            index: 2,
            name: "360p",
            width: 640,
            height: 360,
        },
        Self {
            index: 3,
            name: "480p",
            width: 864,
            height: 480,
        },
    ];

    /// The rung with this index, as it stands in a header.
    pub fn from_index(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }

    /// 16×16 blocks across.
    pub fn block_columns(self) -> u8 {
        (self.width / 16) as u8
    }

    /// 16×16 blocks down, the last row perhaps only partly inside the picture.
    pub fn block_rows(self) -> u8 {
        self.height.div_ceil(16) as u8
    }
}

/// What the sender's camera and encoder should produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoTarget {
    /// Picture size.
    pub rung: Rung,
    /// JPEG quality, 1..=100.
    pub quality: u8,
    /// Frames a second.
    pub frames_per_second: u8,
}

impl Default for VideoTarget {
    /// Where a meeting starts: 360p at quality 50, 15 frames a second.
    fn default() -> Self {
        Self {
            rung: Rung::ALL[2],
            quality: 50,
            frames_per_second: 15,
        }
    }
}
