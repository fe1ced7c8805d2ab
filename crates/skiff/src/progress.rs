//! What `skiff up` tells the user: a line per step with the time it took. The only file that prints.

use std::io::Write;
use std::time::{Duration, Instant};

/// The last line of a process in the background that is ready: whoever started it waits for that, and shows nobody.
pub(crate) const READY: &str = "\0";

/// Tells steps as they end.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    step: Instant,
}

impl Progress {
    pub(crate) fn start() -> Self {
        let now = Instant::now();
        Self { started: now, step: now }
    }

    /// A step ended; the next one starts.
    pub(crate) fn done(&mut self, what: &str) {
        let now = Instant::now();
        self.told(what, now - self.step);
        self.step = now;
    }

    /// A step that ran beside others and took `duration`.
    pub(crate) fn told(&self, what: &str, duration: Duration) {
        say(&format!("  {what:<52} {:>8}", shown(duration)));
    }

    /// The time since the start.
    pub(crate) fn total(&self) -> String {
        shown(self.started.elapsed())
    }
}

/// A duration in the unit that suits it.
pub(crate) fn shown(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

/// A line for the user.
pub(crate) fn say(line: &str) {
    // Whoever closed our output does not want to hear more.
    let mut out = std::io::stdout().lock();
    let _closed = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// What went wrong, causes included, on standard error.
pub(crate) fn complain(error: &anyhow::Error) {
    let _closed = writeln!(std::io::stderr(), "skiff: {error:#}");
}
