//! What of a log is wanted: `v1.PodLogOptions` as they stand in a query. Pure.

use jiff::{SignedDuration, Timestamp};

/// Which of a container's streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Streams {
    /// Both, in the order in which they were written.
    #[default]
    All,
    /// Output only.
    Stdout,
    /// Errors only.
    Stderr,
}

/// The options of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogOptions {
    pub(crate) follow: bool,
    pub(crate) previous: bool,
    pub(crate) timestamps: bool,
    pub(crate) since: Option<Timestamp>,
    pub(crate) tail_lines: Option<u64>,
    pub(crate) limit_bytes: Option<u64>,
    pub(crate) streams: Streams,
}

/// Why a query is refused: upstream answers 400 for what it cannot read and 422 for what makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Unreadable,
    Invalid,
}

impl LogOptions {
    pub(crate) fn from_query(query: &str, now: Timestamp) -> Result<Self, Refusal> {
        let mut options = Self::default();
        let mut since_seconds = None;
        let mut tail = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "follow" => options.follow = flag(&value)?,
                "previous" => options.previous = flag(&value)?,
                "timestamps" => options.timestamps = flag(&value)?,
                "sinceTime" if !value.is_empty() => {
                    options.since = Some(value.parse().map_err(|_| Refusal::Unreadable)?);
                }
                "sinceSeconds" if !value.is_empty() => since_seconds = Some(number(&value)?),
                "tailLines" if !value.is_empty() => options.tail_lines = Some(count(number(&value)?)?),
                // An older name; `all` is no limit.
                "tail" if !value.is_empty() => tail = Some(value.into_owned()),
                "limitBytes" if !value.is_empty() => {
                    options.limit_bytes = Some(count(number(&value)?)?).filter(|limit| *limit > 0);
                    if options.limit_bytes.is_none() {
                        return Err(Refusal::Invalid);
                    }
                }
                "stream" => {
                    options.streams = match value.as_ref() {
                        "" | "All" => Streams::All,
                        "Stdout" => Streams::Stdout,
                        "Stderr" => Streams::Stderr,
                        _ => return Err(Refusal::Invalid),
                    };
                }
                // `insecureSkipTLSVerifyBackend`, `container`, `pretty` are the API server's affair.
                _ => {}
            }
        }
        if let Some(tail) = tail {
            options.tail_lines = if tail == "all" { None } else { Some(count(number(&tail)?)?) };
        }
        if let Some(seconds) = since_seconds {
            if seconds < 1 || options.since.is_some() {
                return Err(Refusal::Invalid);
            }
            // A time before all times means everything.
            options.since = now.checked_sub(SignedDuration::from_secs(seconds)).ok();
        }
        if options.streams != Streams::All && options.tail_lines.is_some() {
            return Err(Refusal::Invalid);
        }
        Ok(options)
    }
}

/// As Kubernetes reads a bool in a query: everything but these is true.
fn flag(value: &str) -> Result<bool, Refusal> {
    Ok(!matches!(value.to_ascii_lowercase().as_str(), "false" | "0"))
}

fn number(value: &str) -> Result<i64, Refusal> {
    value.parse().map_err(|_| Refusal::Unreadable)
}

fn count(value: i64) -> Result<u64, Refusal> {
    u64::try_from(value).map_err(|_| Refusal::Invalid)
}
