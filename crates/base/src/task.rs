//! The one door through which background work starts, and the way it ends.
//!
//! A [`Tasks`] is a group: everything spawned in it is told to stop by one token and waited for by [`Tasks::drain`].
//! A task that fails is logged with its name; one that is [`Policy::Essential`] stops the whole group, since a
//! process without it would only look alive.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the end of a task means for its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It may end at any time.
    Optional,
    /// If it fails (or panics), the group is told to stop.
    Essential,
}

/// A group of background tasks; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    token: CancellationToken,
    tracker: TaskTracker,
    failure: Arc<std::sync::OnceLock<String>>,
}

impl Tasks {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// A group that also stops when this one does, and that this one waits for.
    pub fn child(&self) -> Self {
        Self {
            token: self.token.child_token(),
            tracker: self.tracker.clone(),
            failure: Arc::clone(&self.failure),
        }
    }

    /// Cancelled when the group is to stop; long waits should select on it.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Spawns `work`; it is expected to watch [`Tasks::token`] itself or to end by itself.
    pub fn spawn<F, E>(&self, name: &'static str, policy: Policy, work: F) -> JoinHandle<()>
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        let group = self.clone();
        let guard = EndGuard { name, policy, group: group.clone(), ended: false };
        self.tracker.spawn(async move {
            let mut guard = guard;
            let result = work.await;
            guard.ended = true;
            if let Err(error) = result {
                tracing::error!(task = name, %error, "task failed");
                if policy == Policy::Essential {
                    group.fail(format!("{name}: {error:#}"));
                }
            }
        })
    }

    /// Spawns `work` that cannot fail and is simply dropped when the group stops.
    pub fn spawn_until_stop<F>(&self, work: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let token = self.token.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = work => {}
            }
        })
    }

    /// Tells every task to stop.
    pub fn stop(&self) {
        self.token.cancel();
    }

    /// Waits until the group is told to stop.
    pub async fn stopped(&self) {
        self.token.cancelled().await;
    }

    /// Why the group stopped, if an essential task failed.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Tells every task to stop and waits for them, at most `patience`; true if all ended.
    pub async fn drain(&self, patience: Duration) -> bool {
        self.stop();
        self.tracker.close();
        tokio::time::timeout(patience, self.tracker.wait()).await.is_ok()
    }

    fn fail(&self, why: String) {
        // The first failure is the cause; later ones follow from it.
        let _already_failed = self.failure.set(why);
        self.token.cancel();
    }
}

/// Notices a panic: dropped without `ended`.
struct EndGuard {
    name: &'static str,
    policy: Policy,
    group: Tasks,
    ended: bool,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        if !self.ended && std::thread::panicking() {
            tracing::error!(task = self.name, "task panicked");
            if self.policy == Policy::Essential {
                self.group.fail(format!("{}: panicked", self.name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn failure_of_an_essential_task_stops_the_group() {
        let tasks = Tasks::new();
        tasks.spawn("fragile", Policy::Essential, async { Err::<(), _>("broke") });
        tasks.stopped().await;
        assert_eq!(tasks.failure(), Some("fragile: broke"));
        assert!(tasks.drain(Duration::from_secs(5)).await);
    }

    #[tokio::test]
    async fn drain_drops_what_runs_until_stop() {
        let tasks = Tasks::new();
        tasks.spawn_until_stop(std::future::pending());
        assert!(tasks.drain(Duration::from_secs(5)).await);
    }
}
