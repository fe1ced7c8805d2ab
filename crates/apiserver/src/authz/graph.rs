//! Which pods are on which node, and what they refer to: for the Node authoriser.
//!
//! Follows the table of pods as the RBAC index follows its own; a pod costs its key and one short text.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Deserialize;
use skiff_api::{Object, meta};
use skiff_store::{Key, Store};

use super::follow::{Follow, News};
use crate::stored::Stored;

/// What a pod may refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Secret,
    ConfigMap,
    Claim,
    Account,
    /// A ResourceClaim.
    Devices,
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Self::Secret => 's',
            Self::ConfigMap => 'c',
            Self::Claim => 'v',
            Self::Account => 'a',
            Self::Devices => 'd',
        }
    }
}

/// The index.
pub(crate) struct Graph(Mutex<State>);

struct State {
    /// The store's revision that the index is of.
    seen: Option<u64>,
    follow: Follow,
    /// Node, pod, its references: one a line, a letter for the kind and the name.
    nodes: HashMap<String, HashMap<Arc<str>, Box<str>>>,
}

impl Default for Graph {
    fn default() -> Self {
        Self(Mutex::new(State { seen: None, follow: Follow::new("pods"), nodes: HashMap::new() }))
    }
}

impl Graph {
    /// True if a pod of the node, in this namespace, refers to the object.
    pub(crate) fn refers(
        &self,
        store: &Store<Stored>,
        node: &str,
        namespace: &str,
        kind: Kind,
        name: &str,
    ) -> bool {
        let mut state = self.0.lock();
        state.catch_up(store);
        let wanted = format!("{}{name}", kind.letter());
        state.pods(node).any(|(key, refs)| {
            key.split_once('/').is_some_and(|(place, _)| place == namespace)
                && refs.lines().any(|line| line == wanted)
        })
    }

    /// True if the pod is on the node.
    pub(crate) fn runs(&self, store: &Store<Stored>, node: &str, namespace: &str, name: &str) -> bool {
        let mut state = self.0.lock();
        state.catch_up(store);
        state.nodes.get(node).is_some_and(|pods| pods.contains_key(&meta::key(Some(namespace), name)))
    }

    /// True if a claim of one of the node's pods has this volume.
    pub(crate) fn uses(&self, store: &Store<Stored>, node: &str, volume: &str) -> bool {
        self.volumes(store, node).iter().any(|own| own == volume)
    }

    /// True if a volume of one of the node's pods names this secret as one that its driver needs there.
    pub(crate) fn opens(&self, store: &Store<Stored>, node: &str, namespace: &str, name: &str) -> bool {
        let names = |volume: &String| {
            let volume = store.get(&Key::new("persistentvolumes", volume.as_str()))?;
            let volume: Persistent = serde_json::from_slice(volume.object().bytes()).ok()?;
            let csi = volume.spec.csi?;
            let secrets =
                [csi.node_stage_secret_ref, csi.node_publish_secret_ref, csi.node_expand_secret_ref];
            Some(
                secrets
                    .into_iter()
                    .flatten()
                    .any(|secret| secret.namespace == namespace && secret.name == name),
            )
        };
        self.volumes(store, node).iter().any(|volume| names(volume).unwrap_or(false))
    }

    /// The volumes that claims of the node's pods have.
    fn volumes(&self, store: &Store<Stored>, node: &str) -> Vec<String> {
        #[derive(Deserialize)]
        struct Claim {
            spec: Spec,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Spec {
            #[serde(default)]
            volume_name: String,
        }
        let mut state = self.0.lock();
        state.catch_up(store);
        let claims = state.pods(node).flat_map(|(key, refs)| {
            let place = key.split_once('/').map(|(place, _)| place);
            let names = refs.lines().filter_map(|line| line.strip_prefix(Kind::Claim.letter()));
            names.map(move |name| meta::key(place, name))
        });
        let has = |key: Arc<str>| {
            let claim = store.get(&Key::new("persistentvolumeclaims", key))?;
            let claim: Claim = serde_json::from_slice(claim.object().bytes()).ok()?;
            Some(claim.spec.volume_name)
        };
        claims.filter_map(has).collect()
    }
}

/// As much of a persistent volume as matters here.
#[derive(Deserialize)]
struct Persistent {
    spec: PersistentSpec,
}

#[derive(Deserialize)]
struct PersistentSpec {
    csi: Option<PersistentCsi>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PersistentCsi {
    node_stage_secret_ref: Option<Secret>,
    node_publish_secret_ref: Option<Secret>,
    node_expand_secret_ref: Option<Secret>,
}

#[derive(Deserialize)]
struct Secret {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
}

impl State {
    fn pods(&self, node: &str) -> impl Iterator<Item = (&Arc<str>, &Box<str>)> {
        self.nodes.get(node).into_iter().flatten()
    }

    fn catch_up(&mut self, store: &Store<Stored>) {
        let revision = store.revision();
        if self.seen == Some(revision) {
            return;
        }
        while let Some(news) = self.follow.news(store) {
            match news {
                News::All(snapshot) => {
                    self.nodes.clear();
                    for (key, stored) in &snapshot.objects {
                        self.add(key, stored.object());
                    }
                }
                News::One(event) if event.deleted => self.remove(&event.key.name, event.object.object()),
                News::One(event) => self.add(&event.key.name, event.object.object()),
            }
        }
        self.seen = Some(revision);
    }

    fn add(&mut self, key: &Arc<str>, object: &Object) {
        if let Some((node, refs)) = references(object) {
            self.nodes.entry(node).or_default().insert(Arc::clone(key), refs.into());
        }
    }

    fn remove(&mut self, key: &Arc<str>, object: &Object) {
        let Some((node, _)) = references(object) else { return };
        let Some(pods) = self.nodes.get_mut(&node) else { return };
        pods.remove(key);
        if pods.is_empty() {
            self.nodes.remove(&node);
        }
    }
}

/// A pod's node and what it refers to; nothing if it is on none. Reads no more of the pod than it must.
fn references(object: &Object) -> Option<(String, String)> {
    let pod: Pod = serde_json::from_slice(object.bytes()).ok()?;
    let spec = pod.spec;
    let node = spec.node_name.filter(|node| !node.is_empty())?;
    let mut refs = String::new();
    let mut add = |kind: Kind, name: Option<String>| {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return };
        let line = format!("{}{name}", kind.letter());
        if !refs.lines().any(|own| own == line) {
            refs.push_str(&line);
            refs.push('\n');
        }
    };
    add(Kind::Account, spec.service_account_name);
    spec.image_pull_secrets.into_iter().for_each(|secret| add(Kind::Secret, secret.name));
    for volume in spec.volumes {
        add(Kind::Secret, volume.secret.and_then(|secret| secret.secret_name));
        add(Kind::ConfigMap, volume.config_map.and_then(|map| map.name));
        add(Kind::Secret, volume.csi.and_then(|csi| csi.node_publish_secret_ref?.name));
        add(Kind::Claim, volume.persistent_volume_claim.and_then(|claim| claim.claim_name));
        if volume.ephemeral.is_some() {
            add(Kind::Claim, Some(format!("{}-{}", object.meta().name, volume.name)));
        }
        for source in volume.projected.into_iter().flat_map(|projected| projected.sources) {
            add(Kind::Secret, source.secret.and_then(|secret| secret.name));
            add(Kind::ConfigMap, source.config_map.and_then(|map| map.name));
        }
    }
    spec.resource_claims.into_iter().for_each(|claim| add(Kind::Devices, claim.resource_claim_name));
    let status = pod.status.unwrap_or_default();
    let extended = status.extended_resource_claim_status.into_iter();
    for claim in status.resource_claim_statuses.into_iter().chain(extended) {
        add(Kind::Devices, claim.resource_claim_name);
    }
    let containers = [spec.containers, spec.init_containers, spec.ephemeral_containers];
    for container in containers.into_iter().flatten() {
        for from in container.env_from {
            add(Kind::Secret, from.secret_ref.and_then(|secret| secret.name));
            add(Kind::ConfigMap, from.config_map_ref.and_then(|map| map.name));
        }
        for from in container.env.into_iter().filter_map(|env| env.value_from) {
            add(Kind::Secret, from.secret_key_ref.and_then(|secret| secret.name));
            add(Kind::ConfigMap, from.config_map_key_ref.and_then(|map| map.name));
        }
    }
    Some((node, refs))
}

#[derive(Deserialize)]
struct Pod {
    spec: Spec,
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    resource_claim_statuses: Vec<Devices>,
    extended_resource_claim_status: Option<Devices>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Devices {
    resource_claim_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    service_account_name: Option<String>,
    #[serde(default)]
    image_pull_secrets: Vec<Named>,
    #[serde(default)]
    volumes: Vec<Volume>,
    #[serde(default)]
    resource_claims: Vec<Devices>,
    #[serde(default)]
    containers: Vec<Container>,
    #[serde(default)]
    init_containers: Vec<Container>,
    #[serde(default)]
    ephemeral_containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Named {
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    name: String,
    secret: Option<SecretVolume>,
    config_map: Option<Named>,
    persistent_volume_claim: Option<ClaimVolume>,
    ephemeral: Option<serde::de::IgnoredAny>,
    csi: Option<CsiVolume>,
    projected: Option<Projected>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CsiVolume {
    node_publish_secret_ref: Option<Named>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecretVolume {
    secret_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimVolume {
    claim_name: Option<String>,
}

#[derive(Deserialize)]
struct Projected {
    #[serde(default)]
    sources: Vec<Source>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    secret: Option<Named>,
    config_map: Option<Named>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    #[serde(default)]
    env: Vec<Env>,
    #[serde(default)]
    env_from: Vec<EnvFrom>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Env {
    value_from: Option<ValueFrom>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ValueFrom {
    secret_key_ref: Option<Named>,
    config_map_key_ref: Option<Named>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvFrom {
    secret_ref: Option<Named>,
    config_map_ref: Option<Named>,
}
