//! Logging set-up: structured, to standard error, filtered by `SKIFF_LOG`.

use tracing_subscriber::EnvFilter;

/// Starts logging for the process; `default` is a filter such as `info,skiff=debug`. Later calls change nothing.
pub fn start(default: &str) {
    let filter = EnvFilter::try_from_env("SKIFF_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // A second start, as in tests, is harmless.
    let _already_started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        // It would complain on standard error too, and panic when that cannot be written to: on a full disk, say.
        .log_internal_errors(false)
        .try_init();
}
