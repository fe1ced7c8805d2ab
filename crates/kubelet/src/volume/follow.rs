//! Keeps a running pod's files fresh: each change of a ConfigMap or Secret it shows, and each token that nears its end. Volumes of
//! drivers are kept in their own way ([`csi::keep`]).
//!
//! The task sleeps on the objects' feeds and on the earliest deadline; what changed is not worked out, since making a volume that
//! is up to date writes nothing.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume};
use skiff_base::{Backoff, Tasks};
use tokio::sync::watch;

use super::kind::{self, Job, Place};
use super::{Mounts, Seen, Volumes, csi};

/// Keeps volumes fresh until dropped.
pub struct Follow {
    tasks: Tasks,
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

pub(super) fn start(volumes: Volumes, pod: Arc<Pod>, mounts: &Mounts) -> Follow {
    let tasks = Tasks::new();
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        if kind::of(volume).is_some_and(kind::Kind::is_live) {
            let (volumes, pod, volume) = (volumes.clone(), Arc::clone(&pod), volume.clone());
            tasks.spawn_until_stop(async move { keep_fresh(&volumes, &pod, &volume).await });
        }
        if let Some(driven) = mounts.made.get(&volume.name).and_then(|made| made.teller.driven().cloned()) {
            let (volumes, pod, volume) = (volumes.clone(), Arc::clone(&pod), volume.clone());
            tasks.spawn_until_stop(async move { csi::keep(&volumes, &pod, &volume, &driven).await });
        }
    }
    Follow { tasks }
}

async fn keep_fresh(volumes: &Volumes, pod: &Arc<Pod>, volume: &Volume) {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let mut changes = changes(volumes, pod, volume);
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(120));
    loop {
        let again_at = match refresh(volumes, pod, volume, uid).await {
            Ok(refresh_at) => {
                backoff.reset();
                refresh_at.map(|at| until(volumes.inner.clock.now(), at))
            }
            Err(problem) => {
                // The old files stay, as upstream leaves them.
                tracing::warn!(pod = uid, volume = volume.name, %problem, "volume cannot be brought up to date");
                Some(backoff.next_delay())
            }
        };
        let deadline = async {
            match again_at {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = changes.next(), if !changes.is_empty() => {
                if let Some(next) = changed.flatten() {
                    changes.push(next);
                }
            }
            () = deadline => {}
        }
    }
}

/// Makes the volume's files anew; answers when that must happen again by itself.
async fn refresh(
    volumes: &Volumes,
    pod: &Arc<Pod>,
    volume: &Volume,
    uid: &str,
) -> Result<Option<Timestamp>, super::Problem> {
    let Some(kind) = kind::of(volume) else { return Ok(None) };
    let dir = volumes.inner.volume_dir(uid, kind.plugin(), &volume.name);
    let place = kind.place(&Job { pod, volume, dir: &dir, inner: &volumes.inner }).await?;
    let Place::Files(payload) = place else { return Ok(None) };
    let refresh_at = payload.refresh_at;
    let (target, group) = (dir.clone(), super::ownership::group(pod));
    super::blocking(move || super::atomic::write(&target, &payload, group))
        .await
        .map_err(|error| super::Problem::io("write", &dir, &error))?;
    Ok(refresh_at)
}

fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}

/// Resolves at the next change of one object, with the future of the one after; none when its feed has ended.
type Changed = BoxFuture<'static, Option<NextChange>>;
struct NextChange(Changed);

fn next<T: Send + Sync + 'static>(mut feed: watch::Receiver<Seen<T>>) -> Changed {
    Box::pin(async move {
        feed.changed().await.ok()?;
        Some(NextChange(next(feed)))
    })
}

/// The feeds of all objects a volume shows.
struct Changes(FuturesUnordered<Changed>);

impl Changes {
    async fn next(&mut self) -> Option<Option<NextChange>> {
        self.0.next().await
    }

    fn push(&mut self, next: NextChange) {
        self.0.push(next.0);
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn changes(volumes: &Volumes, pod: &Arc<Pod>, volume: &Volume) -> Changes {
    let all = FuturesUnordered::new();
    let objects = &volumes.inner.objects;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let sources = || volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let maps = volume.config_map.iter().map(|source| &source.name);
    for name in maps.chain(sources().filter_map(|source| source.config_map.as_ref().map(|map| &map.name))) {
        all.push(next(objects.config_map(namespace, name)));
    }
    let secrets = volume.secret.iter().filter_map(|source| source.secret_name.as_ref());
    for name in
        secrets.chain(sources().filter_map(|source| source.secret.as_ref().map(|secret| &secret.name)))
    {
        all.push(next(objects.secret(namespace, name)));
    }
    Changes(all)
}
