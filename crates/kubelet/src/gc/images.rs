//! Removing images that no container uses when the disk fills: the longest unused first.
//!
//! Upstream's thresholds: above 85 % of the images' file system it removes down to 80 %; but nothing goes while
//! [`PLENTY`] is free, since a share of a big disk says little. The kernel does not say when a disk fills, so this
//! looks every five minutes, as upstream does; and at once, for all that are unused, when an eviction asks.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use skiff_base::clock::Clock;
use tokio::sync::{Notify, mpsc};

use crate::handle::Handle;
use crate::image::reference;
use crate::node::facts::disk;
use crate::runtime::{Image, Result, Runtime};

const EVERY: Duration = Duration::from_secs(300);
const HIGH: u64 = 85;
const LOW: u64 = 80;
/// So many free bytes are enough, however big the disk.
const PLENTY: u64 = 10 << 30;

/// Collects images for ever. Whoever asks for all that are unused hears of the end by the end of its sender.
pub(crate) async fn run(
    handle: Handle,
    clock: Clock,
    changed: Arc<Notify>,
    mut asked: mpsc::Receiver<mpsc::Sender<()>>,
) {
    let mut used_at = HashMap::new();
    let mut asking = None;
    loop {
        let volumes = volumes(&handle);
        let all = asking.is_some();
        match collect(handle.runtime().as_ref(), &volumes, &clock, &mut used_at, all).await {
            Ok(true) => changed.notify_one(),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "images not collected"),
        }
        drop(asking.take());
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            Some(sender) = asked.recv() => asking = Some(sender),
        }
    }
}

/// The names of images whose files pods have as volumes.
fn volumes(handle: &Handle) -> Vec<String> {
    let pods = handle.pods();
    let specs = pods.iter().filter_map(|view| view.pod.spec.as_ref());
    let volumes = specs.flat_map(|spec| spec.volumes.iter().flatten());
    let names = volumes.filter_map(|volume| volume.image.as_ref()?.reference.as_deref());
    names.filter_map(|name| reference::with_tag(name).ok()).collect()
}

/// Whether one of the names means the image, in short or in full.
fn is_named(image: &Image, names: &[String]) -> bool {
    let means = |full: &String, name: &String| {
        full.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    };
    image.tags.iter().chain(&image.digests).any(|full| names.iter().any(|name| means(full, name)))
}

/// One look; whether something was removed. `all` that is unused goes if so asked.
async fn collect(
    runtime: &dyn Runtime,
    volumes: &[String],
    clock: &Clock,
    used_at: &mut HashMap<String, Timestamp>,
    all: bool,
) -> Result<bool> {
    let (images, containers) = tokio::join!(runtime.list_images(), runtime.list_containers(None));
    let (images, used) = (images?, containers?);
    let mut used: HashSet<String> = used.into_iter().map(|container| container.image).collect();
    used.extend(images.iter().filter(|image| is_named(image, volumes)).map(|image| image.id.clone()));
    let now = clock.now();
    used_at.retain(|id, _| images.iter().any(|image| image.id == *id));
    for image in &images {
        let at = used_at.entry(image.id.clone()).or_insert(now);
        if used.contains(&image.id) {
            *at = now;
        }
    }
    let wanted = if all {
        u64::MAX
    } else {
        let places = runtime.image_fs().await?;
        let Some(disk) = places.first().and_then(|place| disk(&place.path)) else { return Ok(false) };
        wanted(disk.bytes)
    };
    let mut removed = false;
    for image in victims(&images, &used, used_at, now, wanted) {
        tracing::info!(image = image.id, size = image.size, "image removed for want of space");
        runtime.remove_image(&image.id).await?;
        removed = true;
    }
    Ok(removed)
}

/// How much shall go from a disk of which so much is free.
fn wanted((total, free): (u64, u64)) -> u64 {
    let taken = total.saturating_sub(free);
    if total == 0 || free > PLENTY || taken * 100 / total < HIGH {
        return 0;
    }
    taken.saturating_sub(total / 100 * LOW)
}

/// Which images go: unused, not pinned, the longest unused first, until enough is free.
fn victims<'a>(
    images: &'a [Image],
    used: &HashSet<String>,
    used_at: &HashMap<String, Timestamp>,
    now: Timestamp,
    mut wanted: u64,
) -> Vec<&'a Image> {
    // What came a moment ago may belong to a container that is about to be made.
    let idle = |image: &&Image| {
        let since = used_at.get(&image.id).copied().unwrap_or(now);
        !image.pinned && !used.contains(&image.id) && now.duration_since(since).unsigned_abs() >= EVERY / 2
    };
    let mut idle: Vec<&Image> = images.iter().filter(idle).collect();
    idle.sort_by_key(|image| used_at.get(&image.id).copied());
    let enough = |image: &&Image| {
        let go = wanted > 0;
        wanted = wanted.saturating_sub(image.size);
        go
    };
    idle.into_iter().take_while(enough).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_meant_by_its_short_name_too() {
        let image = Image { tags: vec!["docker.io/library/busybox:1".to_owned()], ..Image::default() };
        let named = |name: &str| is_named(&image, &[name.to_owned()]);
        assert!(named("busybox:1") && named("docker.io/library/busybox:1"));
        assert!(!named("box:1") && !named("busybox:2"));
    }

    #[test]
    fn the_longest_unused_go_first_until_enough_is_free() {
        let image = |id: &str, size| Image { id: id.to_owned(), size, ..Image::default() };
        let images = [image("new", 10), image("old", 3), image("used", 50), image("older", 4)];
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let used = HashSet::from(["used".to_owned()]);
        let used_at = [("new", 900), ("old", 200), ("used", 1000), ("older", 100)];
        let used_at: HashMap<String, Timestamp> =
            used_at.into_iter().map(|(id, seconds)| (id.to_owned(), at(seconds))).collect();
        let ids = |free| -> Vec<&str> {
            let chosen = victims(&images, &used, &used_at, at(1000), wanted((100, free)));
            chosen.into_iter().map(|image| image.id.as_str()).collect()
        };
        assert_eq!(ids(30), Vec::<&str>::new());
        assert_eq!(ids(14), ["older", "old"]);
        // All that are unused, but for those that came a moment ago.
        let all = victims(&images, &used, &used_at, at(1000), u64::MAX);
        assert_eq!(all.into_iter().map(|image| image.id.as_str()).collect::<Vec<_>>(), ["older", "old"]);
    }
}
