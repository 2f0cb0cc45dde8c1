//! Round-trip time and the timeouts derived from it (RFC 6298, RFC 8985 §7, RFC 9002 §5 and §6.1.2).

use std::time::{Duration, Instant};

use super::minimum::WindowedMinimum;

/// Smoothed round-trip time of a path.
///
/// Segment numbers are never used twice, so each sample is of one known copy and Karn's rule (RFC 6298 §3) is kept
/// without an effort.
#[derive(Debug, Default)]
pub(super) struct RttEstimator {
    smoothed: Option<Duration>,
    variation: Duration,
    minimum: WindowedMinimum<Duration>,
}

/// What a round trip is taken for before the first sample (RFC 9002 §6.2.2 has 333 ms for it, on the wide side).
pub(super) const RTT_UNKNOWN: Duration = Duration::from_millis(100);
/// RTO before the first sample (RFC 6298 §2.1).
const RTO_INITIAL: Duration = Duration::from_secs(1);
/// The least by which the RTO lies above the SRTT. RFC 6298 §2.4 wants an RTO of at least a second, which was chosen
/// for clocks that ticked every half; Linux has held the variance term at 200 ms since 2.4 (`tcp_rto_min`), and so
/// do we: a steady path, whose variation goes to nothing, keeps room for a delayed acknowledgement.
const RTO_VARIATION_MIN: Duration = Duration::from_millis(200);
/// The RTO does not back off further (RFC 6298 §2.5).
const RTO_MAX: Duration = Duration::from_secs(60);
/// The longest a receiver keeps an acknowledgement back (RFC 9002 §6.2.1, RFC 8985 §7.2).
pub(super) const ACK_DELAY_MAX: Duration = Duration::from_millis(25);
/// What timers are late by (RFC 9002 §6.1.2, kGranularity).
const GRANULARITY: Duration = Duration::from_millis(1);

impl RttEstimator {
    /// Takes a sample: the time from sending to the acknowledgement, of which the receiver says it kept `ack_delay`.
    /// Answers the sample without that wait.
    pub(super) fn sample(&mut self, now: Instant, measured: Duration, ack_delay: Duration) -> Duration {
        // RFC 9002 §5.3: the receiver's own waiting is no part of the path. Its word is taken for as much as it may wait.
        let latest = measured.saturating_sub(ack_delay.min(ACK_DELAY_MAX));
        self.minimum.push(now, latest);
        if let Some(smoothed) = self.smoothed {
            // RFC 6298 §2.3, alpha 1/8 and beta 1/4, the variation first.
            self.variation = (self.variation * 3 + smoothed.abs_diff(latest)) / 4;
            self.smoothed = Some((smoothed * 7 + latest) / 8);
        } else {
            // RFC 6298 §2.2.
            self.variation = latest / 2;
            self.smoothed = Some(latest);
        }
        latest
    }

    /// The shortest sample of the last half minute or so.
    pub(super) fn minimum(&self) -> Option<Duration> {
        self.minimum.value()
    }

    /// SRTT, `None` before the first sample.
    pub(super) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// RTTVAR.
    pub(super) fn variation(&self) -> Duration {
        self.variation
    }

    /// The retransmission timeout after `timeouts` of them in a row (RFC 6298 §2.3 and §5.5).
    pub(super) fn rto(&self, timeouts: u32) -> Duration {
        let rto = self.smoothed.map_or(RTO_INITIAL, |smoothed| smoothed + (self.variation * 4).max(RTO_VARIATION_MIN));
        rto.saturating_mul(1 << timeouts.min(16)).min(RTO_MAX)
    }

    /// How long to wait for the acknowledgement of a tail before probing (RFC 8985 §7.2). A lone segment may be held
    /// back by the receiver.
    pub(super) fn probe_timeout(&self, lone_segment: bool) -> Duration {
        let Some(smoothed) = self.smoothed else {
            return RTO_INITIAL;
        };
        let held_back = if lone_segment { ACK_DELAY_MAX } else { GRANULARITY };
        (smoothed * 2 + held_back).min(self.rto(0))
    }

    /// How old the newest segment on the way is at least when it is sent again because the path came back: a younger one
    /// may still be answered.
    pub(super) fn retry_timeout(&self) -> Duration {
        self.smoothed.unwrap_or(RTT_UNKNOWN) * 2 + GRANULARITY
    }

    /// How long to wait before a small segment goes out once more on a path that loses. A quarter of the round trip, so
    /// that both copies are seldom lost in one burst and the later one still comes before any other repair could.
    pub(super) fn copy_timeout(&self) -> Option<Duration> {
        self.smoothed.map(|smoothed| (smoothed / 4).clamp(COPY_TIMEOUT_MIN, COPY_TIMEOUT_MAX))
    }
}

/// A second copy does not leave sooner: bursts of loss on radio links last milliseconds.
const COPY_TIMEOUT_MIN: Duration = Duration::from_millis(4);
/// Nor much later than anybody waits for a word.
const COPY_TIMEOUT_MAX: Duration = Duration::from_millis(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "the tests take any instant as their zero")]
    fn zero() -> Instant {
        Instant::now()
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_first_sample_gives_half_of_itself_as_variation() {
        let mut rtt = RttEstimator::default();
        assert_eq!(rtt.rto(0), ms(1_000));
        rtt.sample(zero(), ms(100), ms(0));
        assert_eq!(rtt.smoothed(), Some(ms(100)));
        assert_eq!(rtt.variation(), ms(50));
        assert_eq!(rtt.rto(0), ms(300));
    }

    #[test]
    fn later_samples_are_smoothed_by_an_eighth_and_a_quarter() {
        let mut rtt = RttEstimator::default();
        rtt.sample(zero(), ms(100), ms(0));
        rtt.sample(zero(), ms(180), ms(0));
        assert_eq!(rtt.smoothed(), Some(ms(110)));
        assert_eq!(rtt.variation(), Duration::from_micros(57_500));
    }

    #[test]
    fn a_steady_path_keeps_two_hundred_milliseconds_above_its_round_trip() {
        let mut rtt = RttEstimator::default();
        for _ in 0..100 {
            rtt.sample(zero(), ms(300), ms(0));
        }
        let rto = rtt.rto(0);
        assert!(rto >= ms(500) && rto < ms(501), "{rto:?}");
    }

    #[test]
    fn the_timeout_doubles_up_to_a_minute() {
        let mut rtt = RttEstimator::default();
        rtt.sample(zero(), ms(100), ms(0));
        let doubled: Vec<_> = (0..4).map(|n| rtt.rto(n)).collect();
        assert_eq!(doubled, [ms(300), ms(600), ms(1_200), ms(2_400)]);
        assert_eq!(rtt.rto(u32::MAX), RTO_MAX);
    }

    #[test]
    fn the_delay_of_the_receiver_is_not_the_path() {
        let mut rtt = RttEstimator::default();
        rtt.sample(zero(), ms(50), ms(0));
        rtt.sample(zero(), ms(75), ms(25));
        assert_eq!(rtt.smoothed(), Some(ms(50)));
        rtt.sample(zero(), ms(75), ms(60)); // longer than it may wait
        assert_eq!(rtt.smoothed(), Some(ms(50)));
    }

    #[test]
    fn a_lone_segment_is_probed_later_by_the_delay_of_the_receiver() {
        let mut rtt = RttEstimator::default();
        rtt.sample(zero(), ms(50), ms(0));
        assert_eq!(rtt.probe_timeout(false), ms(101));
        assert_eq!(rtt.probe_timeout(true), ms(125));
    }
}
