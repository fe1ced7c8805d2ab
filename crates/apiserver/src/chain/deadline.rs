//! No request takes for ever, except those that are meant to: watches, streams and proxied calls.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use skiff_api::ApiError;

use super::{Call, Next};
use crate::api::Api;
use crate::request::{Info, Verb};
use crate::wire::{Response, refusal};

/// Upstream's `--request-timeout`.
const PATIENCE: Duration = Duration::from_secs(60);

/// Subresources whose answers come from elsewhere.
const LONG: [&str; 5] = ["log", "exec", "attach", "portforward", "proxy"];

pub(super) fn layer(api: Arc<Api>, call: Call, next: Next) -> BoxFuture<'static, Response> {
    if is_long(&call.info) {
        return next.run(api, call);
    }
    let patience = match wanted(&call.info) {
        Ok(patience) => patience,
        Err(error) => return Box::pin(std::future::ready(refusal(&error))),
    };
    Box::pin(async move {
        match tokio::time::timeout(patience, next.run(api, call)).await {
            Ok(response) => response,
            Err(_) => refusal(
                &ApiError::new(
                    504,
                    "Timeout",
                    "Timeout: request did not complete within the allotted timeout",
                )
                .retry_after(1),
            ),
        }
    })
}

/// How long this request may take: what it says itself, as far as we are that patient.
fn wanted(info: &Info) -> Result<Duration, ApiError> {
    let Some(text) = info.query.get("timeout") else { return Ok(PATIENCE) };
    let refused = |why: &str| {
        ApiError::bad_request(format!("invalid timeout specified in the request URL - {why} - {text}"))
    };
    let seconds = go_seconds(text).ok_or_else(|| refused("invalid duration"))?;
    if seconds < 0.0 {
        return Err(refused("negative duration"));
    }
    // Upstream: zero is as good as nothing.
    let asked = if seconds == 0.0 { PATIENCE } else { Duration::from_secs_f64(seconds.min(3600.0)) };
    Ok(asked.min(PATIENCE))
}

/// A duration as Go writes it, such as `1m30s`; in seconds.
fn go_seconds(text: &str) -> Option<f64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0.0);
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..unit] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(sign * total)
}

/// Whether a request is meant to take long.
pub(super) fn is_long(info: &Info) -> bool {
    info.verb == Verb::Watch
        || info.target.as_ref().is_some_and(|target| LONG.contains(&target.subresource.as_str()))
        // The API of 2014 watches and proxies by path.
        || info.path.starts_with("/api/v1beta1/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_may_be_less_patient_than_we_are() {
        let wanted = |query: &str| {
            wanted(&Info::parse(&http::Method::GET, "/api/v1/pods", query)).map_err(|error| error.to_string())
        };
        assert_eq!(wanted(""), Ok(PATIENCE));
        assert_eq!(wanted("timeout=0"), Ok(PATIENCE));
        assert_eq!(wanted("timeout=1h"), Ok(PATIENCE));
        assert_eq!(wanted("timeout=1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(wanted("timeout=20s500ms"), Ok(Duration::from_millis(20_500)));
        for bad in ["timeout=x", "timeout=5", "timeout=-1s", "timeout=1d", "timeout=s"] {
            assert!(wanted(bad).is_err(), "{bad}");
        }
    }
}
