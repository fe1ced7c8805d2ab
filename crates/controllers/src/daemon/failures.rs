//! How often a daemon's pod failed on a node lately: a node that refuses a pod must not be asked again at once.

use std::collections::HashMap;
use std::time::Duration;

use jiff::SignedDuration;
use parking_lot::Mutex;
use tokio::time::Instant;

/// The first pause; each further one is twice as long, up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// A set by its uid, and a node.
type Place = (Box<str>, Box<str>);

/// When a pod failed last, and how long the next has to stay there.
#[derive(Default)]
pub(crate) struct Failures {
    known: Mutex<HashMap<Place, (Instant, Duration)>>,
}

impl Failures {
    /// How long a pod that failed there has to stay, if it must.
    pub(super) fn held(&self, set: &str, node: &str) -> Option<SignedDuration> {
        let known = self.known.lock();
        let (at, pause) = known.get(&(set.into(), node.into()))?;
        let left = pause.checked_sub(at.elapsed()).filter(|left| !left.is_zero())?;
        SignedDuration::try_from(left).ok()
    }

    /// One failed there and goes now: the next has to stay longer.
    pub(super) fn again(&self, set: &str, node: &str) {
        let mut known = self.known.lock();
        // What was well for long begins anew.
        known.retain(|_, (at, _)| at.elapsed() < 2 * LONGEST);
        let now = Instant::now();
        let entry = known.entry((set.into(), node.into()));
        entry
            .and_modify(|(at, pause)| (*at, *pause) = (now, (*pause * 2).min(LONGEST)))
            .or_insert((now, FIRST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_failure_doubles_the_pause_for_its_node() {
        let failures = Failures::default();
        assert_eq!(failures.held("d", "a"), None);
        for seconds in [1, 2, 4] {
            failures.again("d", "a");
            assert_eq!(failures.held("d", "a"), Some(SignedDuration::from_secs(seconds)));
            assert_eq!(failures.held("d", "b"), None);
            tokio::time::advance(Duration::from_secs(seconds.unsigned_abs())).await;
            assert_eq!(failures.held("d", "a"), None);
        }
    }
}
