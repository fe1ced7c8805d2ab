//! EventRateLimit: so many events a second from the server, a namespace, a user, or of one thing about one object. Off
//! unless it is asked for, and does nothing without a configuration.
//!
//! Follows upstream's `plugin/pkg/admission/eventratelimit`: a bucket of tokens for each key, the least used of which are
//! forgotten.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::api::events::v1::Event as NewEvent;
use parking_lot::Mutex;
use serde::Deserialize;
use skiff_api::ApiError;
use skiff_base::bucket::{Bucket, Rate};

use super::{Attempt, Plugin};
use crate::kinds::Draft;

pub(super) const PLUGIN: Plugin = Plugin { validate, ..Plugin::optional("EventRateLimit") };

/// How many keys of a limit are remembered unless it says so.
const USUAL_CACHE: usize = 4096;

/// Whose events are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum By {
    Server,
    Namespace,
    User,
    SourceAndObject,
}

/// One limit, as it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Limit {
    #[serde(rename = "type")]
    by: By,
    qps: u32,
    burst: u32,
    #[serde(default)]
    cache_size: usize,
}

/// All limits, with what has been used of them.
#[derive(Debug)]
pub(super) struct Rates(Vec<(Limit, Mutex<HashMap<String, Bucket>>)>);

impl Rates {
    /// # Errors
    /// What is wrong with the limits.
    pub(super) fn new(limits: Vec<Limit>) -> Result<Self, String> {
        if limits.is_empty() {
            return Err("limits: Invalid value: no limits".to_owned());
        }
        for (index, limit) in limits.iter().enumerate() {
            for (field, value) in [("qps", limit.qps), ("burst", limit.burst)] {
                if value == 0 {
                    return Err(format!("limits[{index}].{field}: Invalid value: 0: must be positive"));
                }
            }
        }
        Ok(Self(limits.into_iter().map(|limit| (limit, Mutex::default())).collect()))
    }

    /// Takes a token from every limit; the last that had none is told.
    fn accept(&self, key: impl Fn(By) -> String, now: Timestamp) -> Result<(), String> {
        let mut outcome = Ok(());
        for (limit, buckets) in &self.0 {
            let key = key(limit.by);
            if !limit.accept(&mut buckets.lock(), &key, now) {
                outcome = Err(format!("limit reached on type {:?} for key {key}", limit.by));
            }
        }
        outcome
    }
}

impl Limit {
    fn accept(&self, buckets: &mut HashMap<String, Bucket>, key: &str, now: Timestamp) -> bool {
        let rate = Rate { per_second: self.qps.into(), burst: self.burst.into() };
        if let Some(bucket) = buckets.get_mut(key) {
            return bucket.take(rate, now);
        }
        let room = if self.cache_size == 0 { USUAL_CACHE } else { self.cache_size };
        if buckets.len() >= room {
            // Whoever was quiet for longest has its bucket full again soonest.
            let quiet =
                buckets.iter().min_by_key(|(_, bucket)| bucket.last_used()).map(|(key, _)| key.clone());
            quiet.and_then(|key| buckets.remove(&key));
        }
        buckets.entry(key.to_owned()).or_insert_with(|| Bucket::full(rate, now)).take(rate, now)
    }
}

fn validate(attempt: &mut Attempt<'_>, draft: &dyn Draft) -> Result<(), ApiError> {
    let scope = &attempt.scope;
    let Some(rates) = scope.api.settings.admission.configuration.event_rates.as_ref() else { return Ok(()) };
    let object = draft.as_any();
    if attempt.dry_run || !(object.is::<Event>() || object.is::<NewEvent>()) {
        return Ok(());
    }
    let key = |by: By| match by {
        By::Server => String::new(),
        By::Namespace => scope.namespace.to_owned(),
        By::User => scope.user.name.to_string(),
        By::SourceAndObject => about(object),
    };
    rates.accept(key, scope.api.clock.now()).map_err(|why| ApiError::new(429, "TooManyRequests", why))
}

/// What an event is about and who tells it.
fn about(object: &dyn std::any::Any) -> String {
    let (source, object) = if let Some(event) = object.downcast_ref::<Event>() {
        (event.source.as_ref(), Some(&event.involved_object))
    } else if let Some(event) = object.downcast_ref::<NewEvent>() {
        (event.deprecated_source.as_ref(), event.regarding.as_ref())
    } else {
        return String::new();
    };
    let source = source.map(|source| [&source.component, &source.host]);
    let object = object
        .map(|object| [&object.kind, &object.namespace, &object.name, &object.uid, &object.api_version]);
    source.into_iter().flatten().chain(object.into_iter().flatten()).flatten().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_bucket_empties_fills_and_is_forgotten() {
        let limit = Limit { by: By::User, qps: 2, burst: 2, cache_size: 2 };
        let rates = Rates::new(vec![limit]).unwrap();
        let start = Timestamp::UNIX_EPOCH;
        let take = |who: &str, after: i64| {
            rates.accept(|_| who.to_owned(), start + SignedDuration::from_millis(after)).is_ok()
        };
        assert_eq!([take("a", 0), take("a", 0), take("a", 0)], [true, true, false]);
        assert_eq!([take("a", 500), take("a", 500)], [true, false]);
        assert_eq!([take("b", 600), take("c", 700)], [true, true]);
        // The one that was quiet for longest made room, and begins anew.
        assert_eq!([take("a", 701), take("a", 701), take("a", 701)], [true, true, false]);
    }
}
