//! How a voice is liked, from 1 (bad) to 4.5, as the E-model (ITU-T G.107) reckons it from delay and loss.

use std::time::Duration;

/// The rating without any impairment, with the default values of all that is not the network (G.107 §7.7).
const RATING_BEST: f64 = 93.2;
/// Mouth to ear; beyond it people begin to talk over each other (G.107's simplification by Cole and Rosenbluth, 2001).
const DELAY_NOTICED_MS: f64 = 177.3;
/// How much random loss a coder without prediction and with concealment bears: G.711 with its appendix I (G.113
/// appendix I, Bpl).
const LOSS_ROBUSTNESS: f64 = 25.1;

/// The mean opinion score of a voice that takes `delay` from mouth to ear, of which a share of 0.0..=1.0 is concealed.
pub fn mean_opinion_score(delay: Duration, concealed: f64) -> f64 {
    let delay_ms = delay.as_secs_f64() * 1e3;
    let by_delay = 0.024 * delay_ms + 0.11 * (delay_ms - DELAY_NOTICED_MS).max(0.0);
    let loss_percent = 100.0 * concealed.clamp(0.0, 1.0);
    let by_loss = 95.0 * loss_percent / (loss_percent + LOSS_ROBUSTNESS);
    let rating = (RATING_BEST - by_delay - by_loss).clamp(0.0, 100.0);
    let score = 1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6;
    // Below a rating of 6.5 the formula falls below its own lowest score.
    score.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_line_scores_4_4_and_delay_and_loss_take_from_it() {
        for (delay_ms, loss, score) in
            [(0, 0.0, 4.41), (150, 0.0, 4.33), (400, 0.0, 3.05), (50, 0.05, 3.87), (50, 0.2, 2.57)]
        {
            let found = mean_opinion_score(Duration::from_millis(delay_ms), loss);
            assert!((found - score).abs() < 0.01, "{delay_ms} ms, {loss}: {found}");
        }
    }

    #[test]
    fn more_delay_and_more_loss_are_never_better() {
        let score = |delay: u64, loss: u32| mean_opinion_score(Duration::from_millis(delay), f64::from(loss) / 100.0);
        for step in 0..100 {
            assert!(score(10 * u64::from(step) + 10, 3) <= score(10 * u64::from(step), 3));
            assert!(score(50, step + 1) <= score(50, step));
            assert!((1.0..=4.5).contains(&score(10 * u64::from(step), step)));
        }
    }
}
