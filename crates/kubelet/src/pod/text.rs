//! Words as Go prints them, where users' scripts and eyes know upstream's form.

use std::time::Duration;

/// A duration to the millisecond, as Go prints it: `28ms`, `1.234s`, `1m2.5s`.
pub(crate) fn go_millis(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let trimmed = |text: String| text.trim_end_matches('0').trim_end_matches('.').to_owned();
    let seconds = trimmed(format!("{}.{:03}", duration.as_secs() % 60, millis % 1000));
    match duration.as_secs() / 60 {
        0 => format!("{seconds}s"),
        minutes if minutes < 60 => format!("{minutes}m{seconds}s"),
        minutes => format!("{}h{}m{seconds}s", minutes / 60, minutes % 60),
    }
}

/// A list as Go's `%v` or `%s` prints it: `[a b]`.
pub(crate) fn go_list(items: &[&str]) -> String {
    format!("[{}]", items.join(" "))
}
