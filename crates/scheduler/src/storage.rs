//! What the scheduler knows of claims, volumes and classes, and what it has promised to pods on their way to a node.
//!
//! Objects stay as the caches hold them and are decoded for the few pods that have claims. A promise counts from the
//! moment a node is chosen until the claim is bound or the pod's way ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::{CSINode, StorageClass};
use serde_json::json;
use skiff_api::volume::{self, SELECTED_NODE};
use skiff_client::write::{self, Patch, Place};
use skiff_client::{Cache, Link};
use tokio::sync::watch;

/// As long as upstream waits for volumes to be bound.
const PATIENCE: Duration = Duration::from_secs(600);

/// Claims, volumes, classes, and promises.
pub(crate) struct Storage {
    pub(crate) claims: Cache,
    pub(crate) volumes: Cache,
    pub(crate) classes: Cache,
    pub(crate) csi_nodes: Cache,
    /// Who has been promised a volume: volume by claim.
    promised: HashMap<Box<str>, Box<str>>,
    /// Told whenever a claim or a volume changes.
    pub(crate) changed: Arc<watch::Sender<u64>>,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            claims: Cache::new(&[]),
            volumes: Cache::new(&[]),
            classes: Cache::new(&[]),
            csi_nodes: Cache::new(&[]),
            promised: HashMap::new(),
            changed: Arc::new(watch::Sender::new(0)),
        }
    }
}

/// What a pod's claims need before it can be bound to its node.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// Volumes that are there, for these claims.
    pub(crate) bind: Vec<(Arc<PersistentVolume>, Arc<PersistentVolumeClaim>)>,
    /// Claims whose volumes are to be made for the node.
    pub(crate) make: Vec<Arc<PersistentVolumeClaim>>,
}

impl Storage {
    /// A claim by `namespace/name`.
    pub(crate) fn claim(&self, key: &str) -> Option<Arc<PersistentVolumeClaim>> {
        self.claims.typed(key)
    }

    /// A volume by name.
    pub(crate) fn volume(&self, name: &str) -> Option<Arc<PersistentVolume>> {
        self.volumes.typed(name)
    }

    /// A claim's class.
    pub(crate) fn class(&self, claim: &PersistentVolumeClaim) -> Option<Arc<StorageClass>> {
        self.classes.typed(volume::class(claim)?)
    }

    /// How many volumes of a driver a node takes, if its driver says so.
    pub(crate) fn limit(&self, node: &str, driver: &str) -> Option<usize> {
        let node = self.csi_nodes.typed::<CSINode>(node)?;
        let driver = node.spec.drivers.iter().find(|it| it.name == driver)?;
        usize::try_from(driver.allocatable.as_ref()?.count?).ok()
    }

    /// Whether a volume is promised to another claim than this.
    pub(crate) fn is_promised(&self, volume: &str, claim: &str) -> bool {
        self.promised.get(volume).is_some_and(|held| **held != *claim)
    }

    /// Promises the volumes that are there.
    pub(crate) fn promise(&mut self, needs: &Needs) {
        for (volume, claim) in &needs.bind {
            let name = volume.metadata.name.as_deref().unwrap_or_default();
            self.promised.insert(name.into(), key(claim).into());
        }
    }

    /// Takes promises back, be they kept or come to nothing.
    pub(crate) fn release(&mut self, needs: &Needs) {
        for (volume, _) in &needs.bind {
            self.promised.remove(volume.metadata.name.as_deref().unwrap_or_default());
        }
    }

    /// Shares the caches with a task that carries out what a pod needs.
    pub(crate) fn hands(&self, link: &Link) -> Hands {
        Hands {
            link: link.clone(),
            claims: self.claims.clone(),
            volumes: self.volumes.clone(),
            changed: self.changed.subscribe(),
        }
    }
}

/// `namespace/name` of a claim.
pub(crate) fn key(claim: &PersistentVolumeClaim) -> String {
    let meta = &claim.metadata;
    skiff_api::meta::key(meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default()).to_string()
}

/// Carries out what a pod's claims need.
pub(crate) struct Hands {
    link: Link,
    claims: Cache,
    volumes: Cache,
    changed: watch::Receiver<u64>,
}

impl Hands {
    /// Promises volumes to claims, tells claims their node, and waits until all of them are bound.
    ///
    /// # Errors
    /// Why the pod cannot go to the node after all.
    pub(crate) async fn bind(mut self, needs: &Needs, node: &str) -> Result<(), String> {
        let failed = |words: String| format!("binding volumes: {words}");
        for (volume, claim) in &needs.bind {
            let wanted = volume::promised(volume, claim);
            if wanted != **volume {
                let place = Place::of(&wanted);
                write::replace::<PersistentVolume>(&self.link, &place, &wanted)
                    .await
                    .map_err(|error| failed(write::words(&error)))?;
            }
        }
        for claim in &needs.make {
            if volume::note(claim, SELECTED_NODE) == Some(node) {
                continue;
            }
            let meta = &claim.metadata;
            let body = json!({ "metadata": { "annotations": { SELECTED_NODE: node }, "uid": meta.uid } });
            let place = Place::of(&**claim);
            write::patch::<PersistentVolumeClaim>(&self.link, &place, Patch::Merge, &body)
                .await
                .map_err(|error| failed(write::words(&error)))?;
        }
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                self.changed.mark_unchanged();
                if self.all_bound(needs, node)? {
                    return Ok(());
                }
                if self.changed.changed().await.is_err() {
                    return Err("binding volumes: the scheduler ends".to_owned());
                }
            }
        });
        waited.await.unwrap_or_else(|_| Err("binding volumes: context deadline exceeded".to_owned()))
    }

    fn all_bound(&self, needs: &Needs, node: &str) -> Result<bool, String> {
        for (volume, claim) in &needs.bind {
            let name = volume.metadata.name.as_deref().unwrap_or_default();
            let held = self.volumes.typed::<PersistentVolume>(name);
            let Some(held) = held else { return Err(format!("binding volumes: pv {name:?} is gone")) };
            if volume::claim_ref(&held).is_some() && !volume::is_bound_to(&held, claim) {
                return Err(format!("binding volumes: pv {name:?} is bound to another claim"));
            }
        }
        let claims = needs.bind.iter().map(|(_, claim)| claim).chain(&needs.make);
        let mut all = true;
        for claim in claims {
            let key = key(claim);
            let held = self.claims.typed::<PersistentVolumeClaim>(&key);
            let held = held.filter(|held| held.metadata.uid == claim.metadata.uid);
            let Some(held) = held else { return Err(format!("binding volumes: pvc {key:?} is gone")) };
            let wrong = volume::note(&held, SELECTED_NODE).is_some_and(|chosen| chosen != node);
            if wrong {
                return Err(format!("binding volumes: the node chosen for pvc {key:?} changed"));
            }
            all &= volume::is_fully_bound(&held);
        }
        Ok(all)
    }
}
