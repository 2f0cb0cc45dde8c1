//! What governs how much is sent and when: the round trip, what is lost, the window, the pace, the timers.

use std::time::{Duration, Instant};

use super::congestion::Reno;
use super::controller::{Controller, Loss, Progress, SMSS_BASE};
use super::pacing::{Pace, Pacing};
use super::path_mtu::PathMtu;
use super::queueing::QueueingDelay;
use super::rack::Rack;
use super::radio::Radio;
use super::recovery::{Recovery, Stage};
use super::rtt::{RTT_UNKNOWN, RttEstimator};
use super::scoreboard::{Lost, News, Scoreboard};
use super::timer::Timer;
use super::yielding::{self, Yielding};
use super::{Algorithm, Config, Phase, RenoStatistics};

/// The sending half of a channel, without its streams.
#[derive(Debug)]
pub(super) struct Sender {
    config: Config,
    congestion: Box<dyn Controller>,
    /// While somebody else uses the path: the window that leaves the queue to them.
    yielding: Option<Yielding>,
    media_at: Option<Instant>,
    hurry: bool,
    pub(super) rtt: RttEstimator,
    queueing: QueueingDelay,
    rack: Rack,
    recovery: Recovery,
    pacing: Pacing,
    pub(super) timer: Timer,
    pub(super) mtu: PathMtu,
    /// Bytes of the longest segment.
    smss: u64,
    /// One segment may be sent beyond the window: the first of a recovery (RFC 6675 §5, step 4.3), or a probe.
    pub(super) beyond_window: bool,
    /// The next segment is a second copy.
    copying: bool,
    /// Segments below this number were on the way while the window or its pace, and nothing else, held the sender back.
    window_full_below: u64,
    /// Share of segments lost of late, smoothed.
    loss: f64,
}

/// What an acknowledgement says of a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing special.
    Believed,
    /// There was nothing to recover from: what was given up is on the way.
    Spurious,
}

/// Weight of one segment in the share of losses: a hundred seconds of a slow conversation.
const LOSS_WEIGHT: f64 = 1.0 / 256.0;
/// A share from which on a path counts as one that loses.
const LOSS_NOTABLE: f64 = 0.002;

impl Sender {
    pub(super) fn new(now: Instant, config: Config) -> Self {
        Self {
            config,
            congestion: match config.algorithm {
                Algorithm::Radio => Box::new(Radio::new(now)),
                Algorithm::Reno => Box::new(Reno::new(now)),
            },
            yielding: None,
            media_at: None,
            hurry: false,
            rtt: RttEstimator::default(),
            queueing: QueueingDelay::default(),
            rack: Rack::new(),
            recovery: Recovery::default(),
            pacing: Pacing::new(now),
            timer: Timer::new(now),
            mtu: PathMtu::new(config.datagram_max_bytes),
            smss: SMSS_BASE,
            beyond_window: false,
            copying: false,
            window_full_below: 0,
            loss: 0.0,
        }
    }

    /// The sender of the same channel opened anew: the path is the same one, what was learned of segments is gone, and the
    /// window begins as after a timeout.
    pub(super) fn renewed(&mut self, now: Instant) -> Self {
        let mut renewed = Self::new(now, self.config);
        renewed.congestion.on_timeout(&self.loss_of(now, 0), true);
        (renewed.media_at, renewed.hurry, renewed.loss) = (self.media_at, self.hurry, self.loss);
        renewed.rtt = std::mem::take(&mut self.rtt);
        renewed
    }

    pub(super) fn note_media(&mut self, now: Instant) {
        self.media_at = Some(now);
    }

    pub(super) fn hurry(&mut self, hurry: bool) {
        self.hurry = hurry;
    }

    /// Whether losses were notable of late.
    pub(super) fn path_loses(&self) -> bool {
        self.loss >= LOSS_NOTABLE
    }

    /// The window that counts.
    pub(super) fn cwnd(&self) -> u64 {
        let cwnd = self.congestion.cwnd();
        self.yielding.as_ref().map_or(cwnd, |yielding| yielding.cwnd().min(cwnd))
    }

    /// Whether one more segment may be sent (RFC 6675 §5, step C: pipe is at least a segment below cwnd).
    pub(super) fn allows(&mut self, scoreboard: &Scoreboard) -> bool {
        let allowed = scoreboard.flight_size() + self.smss <= self.cwnd();
        if !allowed {
            self.window_full_below = scoreboard.next_number();
        }
        allowed
    }

    /// When the pace lets the next segment go, if that is later than now. The pace is the window's, so what it holds back
    /// is held back by the window.
    pub(super) fn paced_until(&mut self, now: Instant, scoreboard: &Scoreboard) -> Option<Instant> {
        let pace = self.pace();
        let at = self.pacing.next_send(now, &pace);
        if at > now {
            self.window_full_below = scoreboard.next_number();
        }
        Some(at).filter(|at| *at > now)
    }

    fn pace(&self) -> Pace {
        let slow_start = self.recovery.stage() == Stage::Open && self.congestion.is_in_slow_start();
        Pace { cwnd: self.cwnd(), smss: self.smss, round_trip: self.rtt.smoothed(), slow_start }
    }

    /// A segment that asks for an acknowledgement was sent; `alone` when it is the only one on the way.
    pub(super) fn on_sent(&mut self, now: Instant, bytes: usize, alone: bool) {
        self.pacing.on_sent(bytes);
        self.timer.on_sent(now, alone, std::mem::take(&mut self.copying));
    }

    /// Nothing is on the way, and something is about to be sent.
    pub(super) fn on_restart(&mut self, now: Instant) {
        self.congestion.on_restart(now);
    }

    pub(super) fn on_copy(&mut self) {
        self.timer.on_copy();
        (self.beyond_window, self.copying) = (true, true);
    }

    pub(super) fn on_probe(&mut self, now: Instant) {
        self.timer.on_probe(now);
        self.beyond_window = true;
    }

    pub(super) fn on_timeout(&mut self, now: Instant, scoreboard: &Scoreboard) {
        let again = self.timer.timeouts() > 0;
        let loss = self.loss_of(now, scoreboard.flight_size());
        self.congestion.on_timeout(&loss, again);
        if let Some(yielding) = &mut self.yielding {
            yielding.on_lost(loss.flight_size, self.smss);
        }
        self.recovery.on_timeout(scoreboard.outstanding() as u64, scoreboard.next_number());
        self.timer.on_timeout();
        self.beyond_window = false;
        if self.mtu.on_timeout(now, self.timer.timeouts()) {
            self.set_segment_bytes();
        }
    }

    /// How long a segment another path carries is to be found out anew.
    pub(super) fn on_path_changed(&mut self) {
        if self.mtu.on_path_changed() {
            self.set_segment_bytes();
        }
    }

    fn set_segment_bytes(&mut self) {
        self.smss = self.mtu.segment_bytes() as u64;
        self.congestion.set_segment_bytes(self.smss);
    }

    /// Takes a sample of the round trip and of the way there: sent at, and by both clocks sent and arrived.
    pub(super) fn measure(&mut self, now: Instant, sent_at: Instant, (sent, arrived): (u32, u32), ack_delay: Duration) {
        self.rtt.sample(now, now.saturating_duration_since(sent_at), ack_delay);
        self.queueing.sample(now, sent, arrived);
    }

    /// The number below which segments were overtaken, and how long after it was sent such a one is lost.
    pub(super) fn patience(&self, scoreboard: &Scoreboard) -> (u64, Duration) {
        let below = self.rack.overtaken_below();
        let oldest = scoreboard.oldest_outstanding(below).unwrap_or(below);
        let recovering = self.recovery.stage() != Stage::Open;
        (below, self.rack.patience(&self.rtt, recovering, oldest))
    }

    pub(super) fn loss_deadline(&self, scoreboard: &Scoreboard) -> Option<Instant> {
        let (below, patience) = self.patience(scoreboard);
        scoreboard.loss_deadline(below, patience)
    }

    /// Segments arrived, the newest of them `newest`: what that says about those that did not.
    pub(super) fn on_arrived(&mut self, now: Instant, news: &News, newest: u64, scoreboard: &Scoreboard) -> Verdict {
        if self.mtu.probe().is_some_and(|probe| scoreboard.has_arrived(probe)) {
            self.mtu.on_arrived(now);
            self.set_segment_bytes();
        }
        if let Some((number, sent_at)) = news.newest {
            self.rack.on_arrived(now, number, sent_at);
        }
        if news.reordered {
            self.rack.on_reordering();
        }
        self.loss *= (1.0 - LOSS_WEIGHT).powi(news.segments.min(i32::MAX as u64) as i32);
        self.timer.on_progress(now);
        let spurious = news.spurious > 0 && self.on_spurious(news, scoreboard);
        if self.recovery.on_acknowledged(newest) {
            self.rack.on_recovered();
        }
        if spurious { Verdict::Spurious } else { Verdict::Believed }
    }

    fn on_spurious(&mut self, news: &News, scoreboard: &Scoreboard) -> bool {
        self.rack.on_spurious(news.newest_spurious, scoreboard.next_number());
        let undone = self.recovery.on_spurious(news.spurious);
        if undone {
            self.congestion.on_spurious();
        }
        undone
    }

    /// Segment `number` is lost.
    pub(super) fn note_lost(&mut self, now: Instant, number: u64) {
        if self.mtu.probe() == Some(number) {
            self.mtu.on_lost(now);
        }
    }

    /// Segments are lost, when `flight_size` bytes were on the way. Answers whether the window was reduced for it.
    pub(super) fn on_lost(&mut self, now: Instant, lost: Lost, flight_size: u64, next_number: u64) -> bool {
        self.loss += LOSS_WEIGHT * lost.segments as f64 * (1.0 - self.loss);
        let begins = self.recovery.on_lost(lost.newest_first, lost.segments, next_number);
        if begins {
            let loss = self.loss_of(now, flight_size);
            self.congestion.on_lost(&loss);
            if let Some(yielding) = &mut self.yielding {
                yielding.on_lost(flight_size, self.smss);
            }
            self.beyond_window = true;
        }
        begins
    }

    fn loss_of(&self, now: Instant, flight_size: u64) -> Loss {
        Loss { flight_size, queue: self.standing_queue(now), round_trip_min: self.rtt.minimum() }
    }

    fn standing_queue(&self, now: Instant) -> Option<Duration> {
        self.queueing.standing(now, self.rtt.smoothed().unwrap_or(RTT_UNKNOWN))
    }

    /// Segments arrived: the window may grow.
    pub(super) fn on_acknowledged(&mut self, now: Instant, news: &News, newest: u64, scoreboard: &Scoreboard) {
        let progress = Progress {
            now,
            bytes: news.bytes,
            newest,
            next_number: scoreboard.next_number(),
            window_was_full: newest < self.window_full_below,
            recovering: self.recovery.began_after(newest),
            round_trip: news.newest.map(|(_, sent_at)| now.saturating_duration_since(sent_at)),
        };
        self.congestion.on_acknowledged(&progress);
        self.choose_yielding(now);
        let queue = self.yielding.is_some().then(|| self.standing_queue(now)).flatten();
        if let Some(yielding) = &mut self.yielding {
            yielding.on_acknowledged(&progress, queue, self.smss);
        }
    }

    fn choose_yielding(&mut self, now: Instant) {
        let yields = !self.hurry && yielding::is_due(now, self.media_at);
        if !yields {
            self.yielding = None;
        } else if self.yielding.is_none() {
            self.yielding = Some(Yielding::new(self.congestion.cwnd(), self.smss));
        }
    }

    /// What can be seen of it; the counts are the connection's.
    pub(super) fn statistics(&self) -> RenoStatistics {
        RenoStatistics {
            algorithm: self.config.algorithm,
            cwnd_bytes: self.cwnd(),
            ssthresh_bytes: self.congestion.ssthresh(),
            smss_bytes: self.smss,
            pacing_rate_bps: self.pace().rate().map(|bytes| (bytes * 8.0) as u64),
            srtt: self.rtt.smoothed(),
            rttvar: self.rtt.variation(),
            rtt_min: self.rtt.minimum(),
            rto: self.timer.rto(&self.rtt),
            phase: self.phase(),
            ..RenoStatistics::default()
        }
    }

    fn phase(&self) -> Phase {
        let yields = self.yielding.as_ref().is_some_and(|yielding| yielding.cwnd() < self.congestion.cwnd());
        match self.recovery.stage() {
            Stage::FastRecovery => Phase::FastRecovery,
            Stage::TimeoutRecovery => Phase::TimeoutRecovery,
            Stage::Open if yields => Phase::Yielding,
            Stage::Open if self.congestion.is_in_slow_start() => Phase::SlowStart,
            Stage::Open => Phase::CongestionAvoidance,
        }
    }
}
