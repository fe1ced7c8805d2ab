//! What tables show: ages as kubectl prints them.

use jiff::Timestamp;

/// The time from `since` to `now` as kubectl words it: `5s`, `3m20s`, `4h10m`, `2d3h`, `30d`, `2y10d`.
/// Follows upstream's `k8s.io/apimachinery/pkg/util/duration`.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    human_duration(now.as_second() - since.as_second())
}

/// `seconds` as kubectl words a duration.
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{big}{big_unit}") } else { format!("{big}{big_unit}{small}{small_unit}") }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..=0 => "0s".to_owned(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(s / MINUTE, "m", s % MINUTE, "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(s / HOUR, "h", s % HOUR / MINUTE, "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(s / DAY, "d", s % DAY / HOUR, "h"),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => two(s / YEAR, "y", s % YEAR / DAY, "d"),
        s => format!("{}y", s / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_shorten_as_they_grow() {
        let shown: Vec<String> =
            [0, 59, 119, 120, 200, 700, 3 * 3600, 15_000, 30 * 3600, 50 * 3600, 20 * 86400]
                .map(human_duration)
                .into();
        assert_eq!(shown, ["0s", "59s", "119s", "2m", "3m20s", "11m", "3h", "4h10m", "30h", "2d2h", "20d"]);
    }
}
