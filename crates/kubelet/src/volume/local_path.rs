//! The folders of local volumes on this node: removed, with all that is in them, before their volumes go.
//!
//! A volume that was made here carries a finalizer. Once nothing else holds a volume that is to go, its folder is removed
//! (kept if its policy is to retain it), and the finalizer is taken off. Only folders right below the node's own place
//! for them are ever touched.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::PersistentVolume;
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde_json::json;
use skiff_api::Object;
use skiff_api::volume::{LOCAL_PATH, LOCAL_PATH_NODE};
use skiff_base::Backoff;
use skiff_client::write::{self, Patch, Place};
use skiff_client::{Delta, Link, Topic};

use super::{blocking, remove};

/// Where a kubelet with this folder has its local volumes.
pub(crate) fn root(data_dir: &Path) -> PathBuf {
    data_dir.join("local-path")
}

/// Clears folders until the tasks stop.
pub(crate) async fn run(link: Link, node: String, data_dir: PathBuf) {
    let root = root(&data_dir);
    let mut feed = link.feed(&Topic::of::<PersistentVolume>().labels(format!("{LOCAL_PATH_NODE}={node}")));
    while let Some(delta) = feed.next().await {
        match delta {
            Delta::Reset(objects) => {
                for object in objects {
                    take(&link, &root, &object).await;
                }
            }
            Delta::Put(object) => take(&link, &root, &object).await,
            Delta::Gone(_) => {}
        }
    }
}

async fn take(link: &Link, root: &Path, object: &Arc<Object>) {
    let Ok(volume) = object.decode::<PersistentVolume>() else { return };
    let name = volume.metadata.name.clone().unwrap_or_default();
    let Some(folder) = leaving(&volume, root) else { return };
    if let Some(folder) = folder {
        let (root, shown) = (root.to_owned(), folder.clone());
        let removed = blocking(move || {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            match openat(CWD, &root, flags, Mode::empty()) {
                Ok(open) => remove::entry(&open, &folder),
                Err(rustix::io::Errno::NOENT) => Ok(()),
                Err(error) => Err(error.into()),
            }
        });
        if let Err(error) = removed.await {
            tracing::warn!(volume = name, folder = shown, %error, "the folder of a volume could not be removed");
            return;
        }
    }
    let kept: Vec<&String> =
        volume.metadata.finalizers.iter().flatten().filter(|it| *it != LOCAL_PATH).collect();
    let body =
        json!({ "metadata": { "finalizers": kept, "resourceVersion": volume.metadata.resource_version } });
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    loop {
        match write::patch::<PersistentVolume>(link, &Place::of(&*volume), Patch::Merge, &body).await {
            Ok(_) => return,
            // Gone, or changed: the feed tells.
            Err(error) if write::is_not_found(&error) || write::is_conflict(&error) => return,
            Err(error) => tracing::warn!(volume = name, %error, "a volume could not be let go"),
        }
        backoff.wait().await;
    }
}

/// If only we hold a volume that is to go: the name of its folder, if that is to be removed; pure.
fn leaving(volume: &PersistentVolume, root: &Path) -> Option<Option<String>> {
    let finalizers = volume.metadata.finalizers.as_deref().unwrap_or_default();
    volume.metadata.deletion_timestamp.as_ref()?;
    if finalizers.len() != 1 || finalizers[0] != LOCAL_PATH {
        return None;
    }
    let spec = volume.spec.as_ref()?;
    let path = Path::new(&spec.host_path.as_ref()?.path);
    let ours =
        path.parent() == Some(root) && spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete");
    let name = path.file_name().and_then(|name| name.to_str()).filter(|name| super::is_name(name));
    Some(name.filter(|_| ours).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_when_only_we_hold_its_volume_and_its_policy_says_so() {
        let volume = |meta: &str, path: &str, policy: &str| -> PersistentVolume {
            serde_saphyr::from_str(&format!(
                "{{metadata: {{name: v, {meta}}}, spec: {{hostPath: {{path: {path}}}, persistentVolumeReclaimPolicy: {policy}}}}}"
            ))
            .unwrap()
        };
        let root = Path::new("/srv/local-path");
        let going = "deletionTimestamp: '2026-11-22T10:00:00Z', finalizers: [skiff.dev/local-path]";
        let held = "deletionTimestamp: '2026-11-22T10:00:00Z', finalizers: [kubernetes.io/pv-protection, skiff.dev/local-path]";
        let here = "/srv/local-path/pvc-u_n_c";
        assert_eq!(leaving(&volume("finalizers: [skiff.dev/local-path]", here, "Delete"), root), None);
        assert_eq!(leaving(&volume(held, here, "Delete"), root), None);
        assert_eq!(leaving(&volume(going, here, "Retain"), root), Some(None));
        assert_eq!(leaving(&volume(going, here, "Delete"), root), Some(Some("pvc-u_n_c".to_owned())));
        for elsewhere in ["/etc", "/srv/local-path/a/b", "/srv/local-path"] {
            assert_eq!(leaving(&volume(going, elsewhere, "Delete"), root), Some(None), "{elsewhere}");
        }
    }
}
