//! What became of a speaker's sound, under the names of W3C's webrtc-stats.

use std::time::Duration;

/// What became of a speaker's sound since the stream began. Samples are 1/48,000 s; the names are those of
/// webrtc-stats (`RTCInboundRtpStreamStats`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutStatistics {
    /// Samples made up because theirs were missing when their time had come: lost, or so late that time stood still
    /// for them. A pause of the speaker is not concealed.
    pub concealed_samples: u64,
    /// Of these, samples of silence or comfort noise: the hole was too long for anything else.
    pub silent_concealed_samples: u64,
    /// Holes: concealed samples in a row count once.
    pub concealment_events: u64,
    /// Samples put in to lengthen the delay, where the sound went on.
    pub inserted_samples_for_deceleration: u64,
    /// Samples left out to shorten the delay, where the sound went on.
    pub removed_samples_for_acceleration: u64,
    /// Time from arriving to being played, summed over the samples that arrived and were played.
    pub jitter_buffer_delay: Duration,
    /// The delay aimed at while they were played, summed in the same way.
    pub jitter_buffer_target_delay: Duration,
    /// Samples that arrived and were played: what the two sums are divided by.
    pub jitter_buffer_emitted_count: u64,
    /// Blocks that came too late or too early to be played. One that came a second time is not counted.
    pub packets_discarded: u64,
}

impl PlayoutStatistics {
    /// Mean time from arriving to being played.
    pub fn mean_delay(&self) -> Duration {
        self.mean(self.jitter_buffer_delay)
    }

    /// Mean delay aimed at.
    pub fn mean_target_delay(&self) -> Duration {
        self.mean(self.jitter_buffer_target_delay)
    }

    /// Concealed samples among those that should have been heard, 0.0..=1.0.
    pub fn concealed_share(&self) -> f64 {
        let all = self.concealed_samples + self.jitter_buffer_emitted_count;
        self.concealed_samples as f64 / all.max(1) as f64
    }

    fn mean(&self, sum: Duration) -> Duration {
        sum.div_f64(self.jitter_buffer_emitted_count.max(1) as f64)
    }
}
