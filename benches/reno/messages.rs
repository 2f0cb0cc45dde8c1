//! Rows of messages: alone on a path that loses, and beside a file.

use std::time::Duration;

use sim::channel::{Channels, path};

use crate::figures::{Figure, Figures, Goal, quantile};

const ROUND_TRIP: Duration = Duration::from_millis(50);
const INTERVAL: Duration = Duration::from_millis(100);
const MESSAGES: usize = 5_000;

/// Loss in percent, goal for the 99th percentile, what others reach.
const ALONE: [(f64, Option<Goal>, &str); 3] = [
    (0.0, None, "p99, measured elsewhere: kernel Reno 25.5, quinn 25.7, KCP 25.5 ms"),
    (1.0, Some(Goal::AtMost(50.0)), "p99, measured elsewhere: kernel Reno 88, quinn 56, KCP 46 ms"),
    (3.0, Some(Goal::AtMost(105.0)), "p99, measured elsewhere: kernel Reno 180, quinn 155, KCP 104 ms"),
];

pub(crate) fn add(figures: &mut Figures) {
    for (loss, goal, others) in ALONE {
        let delays = delays_ms(Channels::reno(path(20_000_000, ROUND_TRIP, loss / 100.0), 1));
        for (name, share, goal) in [("p50", 0.5, None), ("p99", 0.99, goal), ("p99.9", 0.999, None)] {
            figures.add(Figure {
                row: "R3 virtual",
                what: format!("{name} one way of {MESSAGES} messages of 200 bytes, 10 a second, 20 Mbit/s, RTT 50 ms, {loss} % loss"),
                value: quantile(&delays, share),
                unit: "ms",
                goal,
                others: goal.map(|_| others.to_owned()),
            });
        }
    }
    let mut channels = Channels::reno(path(2_000_000, ROUND_TRIP, 0.0), 1);
    channels.send_file(0);
    channels.run(Duration::from_secs(5));
    let delays = delays_ms(channels);
    for (name, share, goal) in [("p50", 0.5, None), ("p99", 0.99, Some(Goal::AtMost(110.0)))] {
        figures.add(Figure {
            row: "R4",
            what: format!("{name} one way of {MESSAGES} messages of 200 bytes beside a file that fills 2 Mbit/s, RTT 50 ms, queue 30 kB (120 ms); virtual time"),
            value: quantile(&delays, share),
            unit: "ms",
            goal,
            others: goal.map(|_| "one TCP stream for both: behind the whole send buffer".into()),
        });
    }
}

fn delays_ms(mut channels: Channels) -> Vec<f64> {
    for _ in 0..MESSAGES {
        channels.write_message(0);
        channels.run(INTERVAL);
    }
    channels.run(Duration::from_secs(5));
    channels.flows[0].message_delays.iter().map(|delay| delay.as_secs_f64() * 1e3).collect()
}
