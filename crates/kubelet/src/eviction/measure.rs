//! What pods use, measured: asked of the runtime, the disk or the pods' groups, and only what the question needs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::du;
use super::limits::{self, Scope};
use super::signal::Resource;
use super::usage::{ContainerUse, PodUse, Space};
use crate::cgroup::Cgroups;
use crate::handle::PodView;
use crate::pod::config::{Places, UID_LABEL};
use crate::pod::{name, namespace, uid};
use crate::runtime::{Runtime, Stats};
use crate::volume::Volumes;

/// Measures pods.
pub(crate) struct Meter {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) places: Places,
    pub(crate) volumes: Volumes,
    pub(crate) cgroups: Cgroups,
}

impl Meter {
    /// What the pod uses of what it has limits for.
    pub(crate) async fn limited(&self, pod: &Pod, scope: Scope) -> PodUse {
        match scope {
            Scope::Volumes => PodUse {
                volumes: self.volumes_of(pod, |volume| limits::of_volume(volume).is_some()).await,
                ..PodUse::default()
            },
            Scope::Everything => {
                let stats = self.runtime.stats(Some(uid(pod))).await.unwrap_or_default();
                self.on_disk(pod, &stats.iter().collect::<Vec<_>>()).await
            }
        }
    }

    /// What all these pods use of one thing, by uid. Of a pod that has nothing yet nothing is known.
    pub(crate) async fn all(&self, views: &[Arc<PodView>], resource: Resource) -> HashMap<String, PodUse> {
        let stats = match resource {
            Resource::Pids => Vec::new(),
            _ => self.runtime.stats(None).await.unwrap_or_default(),
        };
        let mut by_pod: HashMap<&str, Vec<&Stats>> = HashMap::new();
        for stats in &stats {
            by_pod.entry(stats.labels.get(UID_LABEL).map_or("", String::as_str)).or_default().push(stats);
        }
        let mut uses = HashMap::new();
        for view in views.iter().filter(|view| view.sandbox.is_some()) {
            let (pod, own) = (&view.pod, by_pod.remove(uid(&view.pod)).unwrap_or_default());
            let used = match resource {
                Resource::Memory => containers(&own),
                Resource::Storage | Resource::Inodes => self.on_disk(pod, &own).await,
                Resource::Pids => PodUse { processes: self.cgroups.processes(pod), ..PodUse::default() },
            };
            uses.insert(uid(pod).to_owned(), used);
        }
        uses
    }

    async fn on_disk(&self, pod: &Pod, stats: &[&Stats]) -> PodUse {
        let mut used = containers(stats);
        used.volumes = self.volumes_of(pod, |_| true).await;
        let logs = self.places.logs(namespace(pod), name(pod), uid(pod));
        let names = pod.spec.iter().flat_map(crate::pod::all_containers).map(|one| one.name.clone());
        for (name, space) in spaces(names.map(|name| (name.clone(), logs.join(name))).collect()).await {
            used.containers.entry(name).or_default().logs = space;
        }
        used
    }

    /// The pod's volumes on the node's disk, those of them that are `wanted`.
    async fn volumes_of(
        &self,
        pod: &Pod,
        wanted: impl Fn(&k8s_openapi::api::core::v1::Volume) -> bool,
    ) -> std::collections::BTreeMap<String, Space> {
        let all = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let folders = all
            .filter(|volume| wanted(volume))
            .filter_map(|volume| Some((volume.name.clone(), self.volumes.local_folder(uid(pod), volume)?)));
        spaces(folders.collect()).await.into_iter().collect()
    }
}

fn containers(stats: &[&Stats]) -> PodUse {
    let each = stats.iter().map(|stats| {
        let root = Space { bytes: stats.writable_layer_bytes, inodes: stats.writable_layer_inodes };
        (stats.name.clone(), ContainerUse { memory: stats.memory_working_set, root, logs: Space::default() })
    });
    PodUse { containers: each.collect(), ..PodUse::default() }
}

/// What folders take; one that cannot be read takes nothing for now.
async fn spaces(folders: Vec<(String, PathBuf)>) -> Vec<(String, Space)> {
    if folders.is_empty() {
        return Vec::new();
    }
    let measure = move || {
        let each = folders.into_iter().filter_map(|(name, folder)| match du::of(&folder) {
            Ok(space) => Some((name, space)),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "folder not measured");
                None
            }
        });
        each.collect()
    };
    tokio::task::spawn_blocking(measure).await.unwrap_or_default()
}
