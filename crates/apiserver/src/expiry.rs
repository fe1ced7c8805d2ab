//! Events go an hour after they were last written. One queue of deadlines; nothing is scanned.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use skiff_base::task::Tasks;
use skiff_store::{Expect, Write};
use tokio::time::Instant;

use crate::api::Api;
use crate::stored::Stored;

/// Upstream's `--event-ttl`.
const LIFE: Duration = Duration::from_secs(3600);
const TABLE: &str = "events";

/// An event at a revision, and when it goes. Every life is the same length, so the queue is in order by itself.
struct Due {
    at: Instant,
    name: Arc<str>,
    revision: u64,
}

/// Deletes events that have had their time.
pub(crate) async fn run(api: Arc<Api>, tasks: Tasks) -> Result<(), Infallible> {
    loop {
        let (snapshot, mut watch) = api.store.snapshot_and_watch(TABLE);
        let mut queue = found(&api, snapshot.objects.iter());
        loop {
            let next = queue.front().map(|due| due.at);
            let wait = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = tasks.stopped() => return Ok(()),
                event = watch.next() => match event {
                    Some(Ok(event)) if !event.deleted => queue.push_back(Due {
                        at: Instant::now() + LIFE,
                        name: event.key.name,
                        revision: event.revision,
                    }),
                    Some(Ok(_)) => {}
                    // Too far behind: look at everything again.
                    Some(Err(_)) => break,
                    None => return Ok(()),
                },
                () = wait => {
                    if let Some(due) = queue.pop_front() {
                        remove(&api, due).await;
                    }
                }
            }
        }
    }
}

/// The events that are there at the start, by age.
fn found<'a>(api: &Api, objects: impl Iterator<Item = (&'a Arc<str>, &'a Arc<Stored>)>) -> VecDeque<Due> {
    let (now, today) = (Instant::now(), api.clock.now());
    let mut queue: Vec<Due> = objects
        .map(|(name, stored)| {
            let meta = stored.object().meta();
            let age = meta.creation_timestamp.map_or(0, |created| today.as_second() - created.as_second());
            let age = Duration::from_secs(u64::try_from(age).unwrap_or(0));
            Due { at: now + LIFE.saturating_sub(age), name: Arc::clone(name), revision: meta.revision }
        })
        .collect();
    queue.sort_by_key(|due| due.at);
    queue.into()
}

async fn remove(api: &Api, due: Due) {
    let key = skiff_store::Key::new(TABLE, due.name);
    let write = Write::delete(key, Expect::Revision(due.revision), |revision, last: &Stored| {
        last.tombstone(revision)
    });
    // Written again since: it has a later place in the queue.
    let _gone_or_newer = api.store.write(write).await;
}
