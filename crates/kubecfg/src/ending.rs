//! How a run ends when it does not end well.

use std::panic::Location;

/// Not well.
#[derive(Debug)]
pub(crate) enum Ending {
    /// With this code; whatever there was to say is said.
    Exit(i32),
    /// With a log line and code 255.
    Fatal(Fatal),
}

/// What the log line says, and which line of ours says so.
#[derive(Debug)]
pub(crate) struct Fatal {
    pub(crate) message: String,
    pub(crate) line: u32,
}

impl Ending {
    /// A fatal message, attributed to the caller's line as glog did.
    #[track_caller]
    pub(crate) fn fatal(message: impl Into<String>) -> Self {
        Self::Fatal(Fatal { message: message.into(), line: Location::caller().line() })
    }
}
