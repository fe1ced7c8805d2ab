//! What controllers ask of every pod, whether they work on it or not: where it is, how it is, who finds it.
//!
//! A controller of a thousand pods is woken by each of them and has to see all: it looks at these few words, and decodes
//! only the pods that it does something about.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::meta;
use crate::object::Facts;

mod glance;

use glance::{Glance, Status};

/// Annotations that controllers ask for.
pub const NOTED: [&str; 4] = [
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/job-index-failure-count",
    "batch.kubernetes.io/job-index-ignored-failure-count",
    "controller.kubernetes.io/pod-deletion-cost",
];

/// The facts of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// The node that it is bound to.
    pub node: Option<Box<str>>,
    /// The first node that required affinity pins it to by name.
    pub pinned: Option<Box<str>>,
    /// How far it is.
    pub phase: Phase,
    /// Whether it can serve.
    pub ready: bool,
    /// Since when it can, as far as it says.
    pub ready_since: Option<Timestamp>,
    /// When it ended, of one that has or that is told to: with its last container, or when it was last seen ready, or told
    /// to end, or made.
    pub ended: Option<Timestamp>,
    /// How often its containers began anew.
    pub restarts: Restarts,
    /// Its addresses, the first one first.
    pub addresses: Box<[Box<str>]>,
    /// Under which name DNS should know it.
    pub host: Option<Box<Host>>,
    /// The ports that have names.
    pub ports: Box<[Port]>,
    /// The claims behind its volumes, each as `namespace/name`.
    pub claims: Box<[Box<str>]>,
    /// Its ResourceClaims, if it has any.
    pub devices: Option<Box<Devices>>,
    /// Annotations, of those that are [`NOTED`].
    pub notes: Box<[(&'static str, Box<str>)]>,
}

/// How far a pod is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Phase {
    /// Not begun.
    Pending,
    /// Some container runs, or is to run again.
    Running,
    /// Every container has ended well.
    Succeeded,
    /// Every container has ended, one of them not well.
    Failed,
    /// Its node does not answer.
    Unknown,
    /// Nobody has said, or in words that are new.
    #[default]
    #[serde(other)]
    Unsaid,
}

/// How often containers of a pod began anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restarts {
    /// The most that any but an init container did.
    pub most: i32,
    /// All of them together.
    pub all: i32,
}

/// `spec.hostname` of a pod that has a subdomain, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// `spec.hostname`.
    pub name: Box<str>,
    /// `spec.subdomain`, the name of a service.
    pub subdomain: Box<str>,
}

/// The ResourceClaims of a pod, and of claims that are to be made from templates those that were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Devices {
    /// Each as `namespace/name`.
    pub claims: Box<[Box<str>]>,
    /// Some have not been made.
    pub unmade: bool,
}

/// A port with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: Box<str>,
    /// `TCP`, `UDP`, `SCTP`.
    pub protocol: Box<str>,
    /// The container's port.
    pub number: i32,
}

impl PodFacts {
    /// None of its containers will run again.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// As [`crate::pod::is_available`].
    ///
    /// # Errors
    /// The time left, if it is ready but not yet for long enough; zero if it is not ready at all.
    pub fn is_available(&self, min_ready_seconds: i32, now: Timestamp) -> Result<(), SignedDuration> {
        super::available(self.ready.then_some(self.ready_since), min_ready_seconds, now)
    }

    /// The value of an annotation that is [`NOTED`].
    pub fn note(&self, name: &str) -> Option<&str> {
        self.notes.iter().find(|(noted, _)| *noted == name).map(|(_, value)| &**value)
    }
}

impl Facts for PodFacts {
    fn read(json: &[u8]) -> serde_json::Result<Self> {
        let glance: Glance<'_> = serde_json::from_slice(json)?;
        let finished = matches!(glance.status.phase, Phase::Succeeded | Phase::Failed);
        let leaving = glance.metadata.deletion_timestamp.is_some();
        let ended = (finished || leaving).then(|| ended(&glance)).flatten();
        let claims = claims(&glance);
        let devices = devices(&glance);
        let Glance { metadata, spec, status } = glance;
        let ready = status.ready().filter(|ready| ready.status == "True");
        let set = |text: Option<Cow<'_, str>>| text.filter(|text| !text.is_empty()).map(boxed);
        let host = set(spec.hostname).zip(set(spec.subdomain));
        let sidecars = spec.init_containers.iter().flatten().filter(|it| it.is_sidecar());
        Ok(Self {
            phase: status.phase,
            ready: ready.is_some(),
            ready_since: ready.and_then(|ready| ready.last_transition_time),
            ended,
            restarts: restarts(&status),
            ports: spec.containers.iter().chain(sidecars).flat_map(|it| it.named()).collect(),
            node: set(spec.node_name),
            pinned: spec.affinity.and_then(|affinity| affinity.pinned()).map(Into::into),
            addresses: addresses(status),
            host: host.map(|(name, subdomain)| Box::new(Host { name, subdomain })),
            claims,
            devices,
            notes: metadata.annotations.0,
        })
    }
}

fn boxed(text: Cow<'_, str>) -> Box<str> {
    match text {
        Cow::Borrowed(text) => text.into(),
        Cow::Owned(text) => text.into(),
    }
}

fn claims(glance: &Glance<'_>) -> Box<[Box<str>]> {
    let Glance { metadata, spec, .. } = glance;
    let claim = |volume: &glance::Volume<'_>| {
        let name = match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(source), _) => source.claim_name.clone(),
            (None, Some(_)) => format!("{}-{}", metadata.name, volume.name).into(),
            (None, None) => return None,
        };
        Some((&*meta::key(metadata.namespace.as_deref(), &name)).into())
    };
    spec.volumes.iter().flatten().filter_map(claim).collect()
}

fn devices(glance: &Glance<'_>) -> Option<Box<Devices>> {
    let Glance { metadata, spec, status } = glance;
    let extended = status.extended_resource_claim_status.as_ref().map(|it| &it.resource_claim_name);
    let wanted = spec.resource_claims.as_deref().unwrap_or_default();
    if wanted.is_empty() && extended.is_none() {
        return None;
    }
    let made = status.resource_claim_statuses.as_deref().unwrap_or_default();
    let mut unmade = false;
    let mut named: Vec<&str> = extended.into_iter().map(|name| &**name).collect();
    for claim in wanted {
        match (&claim.resource_claim_name, made.iter().find(|it| it.name == claim.name)) {
            (Some(name), _) => named.push(name),
            (None, Some(made)) => named.extend(made.resource_claim_name.as_deref()),
            (None, None) => unmade = true,
        }
    }
    let key = |name: &str| (&*meta::key(metadata.namespace.as_deref(), name)).into();
    Some(Box::new(Devices { claims: named.into_iter().map(key).collect(), unmade }))
}

fn addresses(status: Status<'_>) -> Box<[Box<str>]> {
    let listed = status.pod_ips.unwrap_or_default();
    let single = status.pod_ip.filter(|_| listed.is_empty());
    let all = single.into_iter().chain(listed.into_iter().map(|it| it.ip));
    all.filter(|ip| !ip.is_empty()).map(boxed).collect()
}

fn restarts(status: &Status<'_>) -> Restarts {
    let counts = |list: &Option<Vec<glance::ContainerStatus>>| -> Vec<i32> {
        list.iter().flatten().map(|container| container.restart_count).collect()
    };
    let (init, plain) = (counts(&status.init_container_statuses), counts(&status.container_statuses));
    let all = init.iter().chain(&plain).sum();
    Restarts { most: plain.into_iter().max().unwrap_or(0), all }
}

fn ended(glance: &Glance<'_>) -> Option<Timestamp> {
    let Glance { metadata, status, .. } = glance;
    let ends: Option<Vec<Timestamp>> =
        status.container_statuses.iter().flatten().map(|container| container.state.finished()).collect();
    let unready = || status.ready().filter(|ready| ready.status == "False")?.last_transition_time;
    let grace = SignedDuration::from_secs(metadata.deletion_grace_period_seconds.unwrap_or(0));
    let told = || metadata.deletion_timestamp.map(|at| at - grace);
    let last = ends.and_then(|ends| ends.into_iter().max());
    last.or_else(unready).or_else(told).or(metadata.creation_timestamp)
}

#[cfg(test)]
mod tests;
