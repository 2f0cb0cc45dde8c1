//! Sound that cannot wait: blocks of it packed, sent with copies, put back in time, mended and mixed.
//!
//! At the microphone: [`vad`] tells speech from silence, [`pack`] makes a block small, [`redundancy`] says which earlier
//! blocks go with it. At the ear: [`playout`] holds blocks until their time and keeps step with the sender's clock,
//! [`conceal`] makes up what is missing, [`mixer`] adds the speakers up, [`mos`] says how good that sounds. [`pcm`] has the
//! block itself.

mod comfort;
pub mod conceal;
pub mod mixer;
pub mod mos;
pub mod pack;
pub mod pcm;
mod pitch;
pub mod playout;
pub mod redundancy;
pub mod vad;
