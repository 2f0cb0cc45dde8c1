//! Amounts, rates and times as a person reads them.

use std::time::Duration;

/// An amount of bytes in the largest decimal unit that keeps it at one or above.
pub fn bytes(amount: f64) -> String {
    let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match units.into_iter().find(|(unit, _)| amount >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", amount / unit),
        None if amount.round() == 1.0 => "1 byte".into(),
        None => format!("{amount:.0} bytes"),
    }
}

/// A rate, where there is one to tell: over less than half a second, chance is measured.
pub fn rate(amount: u64, time: Duration) -> Option<String> {
    let measured = amount > 0 && time >= RATE_MEASURED_OVER;
    measured.then(|| format!("{}/s", bytes(amount as f64 / time.as_secs_f64())))
}

/// The shortest time over which a rate is told.
const RATE_MEASURED_OVER: Duration = Duration::from_millis(500);

/// How long something took, as a person says it.
pub fn took(time: Duration) -> String {
    if time < Duration::from_secs(10) { format!("{:.1} s", time.as_secs_f64()) } else { clock(time) }
}

/// A time to come, as a person says it.
pub fn clock(left: Duration) -> String {
    match left.as_secs() {
        86_400.. => "more than a day".into(),
        secs @ 0..60 => format!("{} s", secs + 1),
        secs @ 60..3_600 => format!("{} min {:02} s", secs / 60, secs % 60),
        secs => format!("{} h {:02} min", secs / 3_600, secs % 3_600 / 60),
    }
}

/// How much of a whole there is; 100 % only when it is all.
pub fn percent(part: u64, whole: u64) -> String {
    let percent = if whole == 0 { 100 } else { u128::from(part) * 100 / u128::from(whole) };
    format!("{percent} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_times_read_as_people_say_them() {
        assert_eq!(bytes(999.0), "999 bytes");
        assert_eq!(bytes(1.0), "1 byte");
        assert_eq!(bytes(1_250_000.0), "1.2 MB");
        assert_eq!(clock(Duration::from_secs(4_000_000_000)), "more than a day");
        assert_eq!([took(Duration::from_millis(1_240)), took(Duration::from_secs(75))], ["1.2 s", "1 min 15 s"]);
        assert_eq!(clock(Duration::from_secs(75)), "1 min 15 s");
        assert_eq!(clock(Duration::from_secs(7_260)), "2 h 01 min");
        assert_eq!(rate(2_000_000, Duration::from_secs(2)).unwrap(), "1.0 MB/s");
        assert_eq!(rate(600, Duration::from_millis(40)), None, "nothing was measured");
        assert_eq!([percent(999, 1_000), percent(5, 5), percent(0, 0)], ["99 %", "100 %", "100 %"]);
    }
}
