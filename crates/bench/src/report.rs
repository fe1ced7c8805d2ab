//! Figures as rows of one Markdown table, with what upstream needs beside them.

use std::io::Write;
use std::time::Duration;

use crate::baseline;

/// One figure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figure {
    /// What was measured; upstream's figure is found by it.
    pub(crate) name: String,
    /// How many a second.
    pub(crate) rate: Option<f64>,
    pub(crate) median: Option<Duration>,
    pub(crate) p99: Option<Duration>,
    /// The server's CPU for one.
    pub(crate) cpu: Option<Duration>,
    /// What is neither a rate nor a duration, and remarks.
    pub(crate) note: String,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// Prints the table's head.
pub(crate) fn head() {
    say(
        "| figure | per second | median | p99 | server CPU | upstream: wall; CPU | CPU ours / theirs (aim) | note |",
    );
    say("|---|--:|--:|--:|--:|---|--:|---|");
}

/// Prints one figure, as soon as it is known.
pub(crate) fn row(figure: &Figure) {
    say(&render(figure));
}

fn render(figure: &Figure) -> String {
    let time = |value: Option<Duration>| value.map(duration).unwrap_or_default();
    let rate = figure.rate.map(|rate| if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") });
    let known = baseline::of(&figure.name);
    let theirs = known.map(|row| match row.cpu {
        Some(cpu) => format!("{}; {}", row.wall, duration(milliseconds(cpu))),
        None => row.wall.to_owned(),
    });
    let ratio = known.and_then(|row| Some(share(figure.cpu?, milliseconds(row.cpu?), row.aim)));
    let cells = [
        figure.name.clone(),
        rate.unwrap_or_default(),
        time(figure.median),
        time(figure.p99),
        time(figure.cpu),
        theirs.unwrap_or_default(),
        ratio.unwrap_or_default(),
        figure.note.clone(),
    ];
    format!("| {} |", cells.join(" | "))
}

fn milliseconds(value: f64) -> Duration {
    Duration::from_secs_f64(value / 1e3)
}

/// Ours as a part of theirs, and the aim if there is one.
fn share(ours: Duration, theirs: Duration, aim: Option<f64>) -> String {
    let ours = ours.as_secs_f64().max(1e-9);
    let part = theirs.as_secs_f64() / ours;
    let part = if part < 10.0 { format!("1/{part:.1}") } else { format!("1/{part:.0}") };
    match aim {
        Some(aim) => format!("{part} (1/{aim:.0})"),
        None => part,
    }
}

/// Three digits and a unit.
pub(crate) fn duration(value: Duration) -> String {
    let (number, unit) = match value.as_secs_f64() {
        seconds if seconds >= 1.0 => (seconds, "s"),
        seconds if seconds >= 1e-3 => (seconds * 1e3, "ms"),
        seconds => (seconds * 1e6, "µs"),
    };
    let digits = if number >= 100.0 {
        0
    } else if number >= 10.0 {
        1
    } else {
        2
    };
    format!("{number:.digits$} {unit}")
}

/// Bytes in MiB.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Prints a line.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Whoever reads may have gone; the measurement goes on to its clean end.
    let _closed = writeln!(out, "{line}");
    let _closed = out.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        assert_eq!(duration(Duration::from_micros(850)), "850 µs");
        assert_eq!(duration(Duration::from_micros(2_346)), "2.35 ms");
        assert_eq!(duration(Duration::from_millis(45)), "45.0 ms");
        assert_eq!(duration(Duration::from_millis(1_500)), "1.50 s");
    }

    #[test]
    fn a_row_sets_ours_against_theirs() {
        let figure = Figure {
            rate: Some(3456.7),
            median: Some(Duration::from_micros(300)),
            p99: Some(Duration::from_millis(2)),
            cpu: Some(Duration::from_micros(200)),
            ..Figure::new("create ConfigMap, 1 client")
        };
        assert_eq!(
            &render(&figure),
            "| create ConfigMap, 1 client | 3457 | 300 µs | 2.00 ms | 200 µs | 412 per s, p50 2.2 ms; 3.00 ms | 1/15 (1/10) |  |",
        );
        assert_eq!(&render(&Figure::new("own").note("12 MB")), "| own |  |  |  |  |  |  | 12 MB |");
    }

    #[test]
    fn a_share_is_told_as_a_fraction() {
        let millisecond = Duration::from_millis;
        assert_eq!(share(millisecond(1), millisecond(30), Some(10.0)), "1/30 (1/10)");
        assert_eq!(share(millisecond(20), millisecond(30), None), "1/1.5");
    }
}
