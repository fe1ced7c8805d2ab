//! Containers of a manifest.
//!
//! The trap: 2014's `command` replaces the image's *arguments* (v1 `args`), its late `entrypoint` is v1's `command`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::{Deserialize, Serialize};

use super::meta::{keep_option, keep_text};
use super::probe::{Lifecycle, Probe};
use super::value::{self, Amount};

/// One container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    /// Unique in the pod.
    pub name: String,
    /// The image.
    pub image: String,
    /// Replaces the image's arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Replaces the image's program (L).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Where the program starts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// The ports it listens on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ContainerPort>,
    /// Environment variables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Bytes; 0 is no limit.
    #[serde(skip_serializing_if = "value::is_zero")]
    pub memory: i64,
    /// Thousandths of a core; 0 is no limit.
    #[serde(skip_serializing_if = "value::is_zero")]
    pub cpu: i64,
    /// What `memory` and `cpu` cannot say (L).
    #[serde(skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// Where volumes appear.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Restart when this fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Probe>,
    /// Serve only while this succeeds (L).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Probe>,
    /// After the start and before the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// Where the container leaves its last words (B).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub termination_message_path: String,
    /// Whether it may do everything.
    #[serde(skip_serializing_if = "value::is_false")]
    pub privileged: bool,
    /// `PullAlways`, `PullNever`, `PullIfNotPresent`, or nothing for the default; always written.
    pub image_pull_policy: String,
    /// Kernel rights (L).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<v1::Capabilities>,
}

/// A port of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerPort {
    /// Unique in the container.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The port of the minion that leads here.
    #[serde(skip_serializing_if = "value::is_zero")]
    pub host_port: i64,
    /// The port inside.
    pub container_port: i64,
    /// `TCP` or `UDP`, in any case.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// The minion's address that `hostPort` is bound to.
    #[serde(rename = "hostIP", skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
}

/// An environment variable; `key` is an old word for `name`, and answers repeat it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EnvVar {
    /// The name.
    pub name: String,
    /// The name once more.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// The value.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
}

impl EnvVar {
    /// Either word; `name` wins.
    pub fn name(&self) -> &str {
        if self.name.is_empty() { &self.key } else { &self.name }
    }
}

/// Where a volume appears; `path` is an old word for `mountPath`, and answers repeat it. `mountType` is ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VolumeMount {
    /// Which volume.
    pub name: String,
    /// Whether it is only read.
    #[serde(skip_serializing_if = "value::is_false")]
    pub read_only: bool,
    /// Where.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mount_path: String,
    /// Where, once more.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
}

impl VolumeMount {
    /// Either word; `mountPath` wins.
    pub fn path(&self) -> &str {
        if self.mount_path.is_empty() { &self.path } else { &self.mount_path }
    }
}

/// Limits and requests as v1 has them (L).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// At most.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Amount>,
    /// At least.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Amount>,
}

impl Resources {
    fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.requests.is_empty()
    }
}

type Amounts = BTreeMap<String, Quantity>;

impl Container {
    /// What 2014 can say of it. Mounts of volumes that are not shown (`hidden`) are not shown either.
    pub fn from_v1(container: &v1::Container, hidden: &dyn Fn(&str) -> bool) -> Self {
        let nothing = Amounts::new();
        let resources = container.resources.as_ref();
        let limits = resources.and_then(|r| r.limits.as_ref()).unwrap_or(&nothing);
        let requests = resources.and_then(|r| r.requests.as_ref()).unwrap_or(&nothing);
        let milli = |name: &str| limits.get(name).and_then(|q| value::milli(&q.0));
        let security = container.security_context.as_ref();
        Self {
            name: container.name.clone(),
            image: value::text(container.image.as_ref()),
            command: container.args.clone().unwrap_or_default(),
            entrypoint: container.command.clone().unwrap_or_default(),
            working_dir: value::text(container.working_dir.as_ref()),
            ports: container.ports.iter().flatten().map(ContainerPort::from_v1).collect(),
            env: container.env.iter().flatten().map(env_from_v1).collect(),
            memory: milli("memory").map_or(0, |milli| milli / 1000),
            cpu: milli("cpu").unwrap_or(0),
            resources: resources_from_v1(limits, requests),
            volume_mounts: container
                .volume_mounts
                .iter()
                .flatten()
                .filter(|mount| !hidden(&mount.name))
                .map(mount_from_v1)
                .collect(),
            liveness_probe: container.liveness_probe.as_ref().and_then(Probe::from_v1),
            readiness_probe: container.readiness_probe.as_ref().and_then(Probe::from_v1),
            lifecycle: container.lifecycle.as_ref().and_then(Lifecycle::from_v1),
            termination_message_path: container
                .termination_message_path
                .clone()
                .filter(|path| path != "/dev/termination-log")
                .unwrap_or_default(),
            privileged: security.and_then(|s| s.privileged).unwrap_or(false),
            image_pull_policy: policy_from_v1(container),
            capabilities: security.and_then(|s| s.capabilities.clone()),
        }
    }

    /// As v1 has it.
    pub fn to_v1(&self) -> v1::Container {
        let security = v1::SecurityContext {
            privileged: self.privileged.then_some(true),
            capabilities: self.capabilities.clone(),
            ..v1::SecurityContext::default()
        };
        v1::Container {
            name: self.name.clone(),
            image: value::some(&self.image),
            args: value::some_list(self.command.clone()),
            command: value::some_list(self.entrypoint.clone()),
            working_dir: value::some(&self.working_dir),
            ports: value::some_list(self.ports.iter().map(ContainerPort::to_v1).collect()),
            env: value::some_list(self.env.iter().map(env_to_v1).collect()),
            resources: self.resources_to_v1(),
            volume_mounts: value::some_list(self.volume_mounts.iter().map(mount_to_v1).collect()),
            liveness_probe: self.liveness_probe.as_ref().map(Probe::to_v1),
            readiness_probe: self.readiness_probe.as_ref().map(Probe::to_v1),
            lifecycle: self.lifecycle.as_ref().map(Lifecycle::to_v1),
            termination_message_path: value::some(&self.termination_message_path),
            image_pull_policy: policy_to_v1(&self.image_pull_policy),
            security_context: (security != v1::SecurityContext::default()).then_some(security),
            ..v1::Container::default()
        }
    }

    fn resources_to_v1(&self) -> Option<v1::ResourceRequirements> {
        let convert = |amounts: &BTreeMap<String, Amount>| -> Amounts {
            amounts.iter().map(|(name, amount)| (name.clone(), amount.to_v1())).collect()
        };
        let mut limits = convert(&self.resources.limits);
        if self.memory != 0 {
            limits.entry("memory".to_owned()).or_insert_with(|| Quantity(self.memory.to_string()));
        }
        if self.cpu != 0 {
            limits.entry("cpu".to_owned()).or_insert_with(|| Quantity(format!("{}m", self.cpu)));
        }
        let requests = convert(&self.resources.requests);
        let given = |amounts: Amounts| (!amounts.is_empty()).then_some(amounts);
        (!limits.is_empty() || !requests.is_empty()).then(|| v1::ResourceRequirements {
            claims: None,
            limits: given(limits),
            requests: given(requests),
        })
    }

    /// Takes over what is younger than A and was not sent.
    pub(super) fn keep(&mut self, shown: &Self) {
        if self.entrypoint.is_empty() {
            self.entrypoint.clone_from(&shown.entrypoint);
        }
        if self.resources.is_empty() {
            self.resources.clone_from(&shown.resources);
        }
        keep_option(&mut self.readiness_probe, shown.readiness_probe.as_ref());
        keep_option(&mut self.capabilities, shown.capabilities.as_ref());
        keep_text(&mut self.termination_message_path, &shown.termination_message_path);
        if let (Some(sent), Some(shown)) = (&mut self.liveness_probe, &shown.liveness_probe)
            && sent.timeout_seconds == 0
        {
            sent.timeout_seconds = shown.timeout_seconds;
        }
    }
}

impl ContainerPort {
    fn from_v1(port: &v1::ContainerPort) -> Self {
        Self {
            name: value::text(port.name.as_ref()),
            host_port: port.host_port.unwrap_or(0).into(),
            container_port: port.container_port.into(),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            host_ip: value::text(port.host_ip.as_ref()),
        }
    }

    fn to_v1(&self) -> v1::ContainerPort {
        v1::ContainerPort {
            name: value::some(&self.name),
            host_port: (self.host_port != 0).then(|| value::clamp(self.host_port)),
            container_port: value::clamp(self.container_port),
            protocol: Some(protocol(&self.protocol)),
            host_ip: value::some(&self.host_ip),
        }
    }
}

/// The protocol in v1's upper case; TCP if none is given.
pub fn protocol(word: &str) -> String {
    if word.is_empty() { "TCP".to_owned() } else { word.to_ascii_uppercase() }
}

fn env_from_v1(var: &v1::EnvVar) -> EnvVar {
    EnvVar { name: var.name.clone(), key: var.name.clone(), value: value::text(var.value.as_ref()) }
}

fn env_to_v1(var: &EnvVar) -> v1::EnvVar {
    v1::EnvVar { name: var.name().to_owned(), value: value::some(&var.value), value_from: None }
}

fn mount_from_v1(mount: &v1::VolumeMount) -> VolumeMount {
    VolumeMount {
        name: mount.name.clone(),
        read_only: mount.read_only.unwrap_or(false),
        mount_path: mount.mount_path.clone(),
        path: mount.mount_path.clone(),
    }
}

fn mount_to_v1(mount: &VolumeMount) -> v1::VolumeMount {
    v1::VolumeMount {
        name: mount.name.clone(),
        read_only: mount.read_only.then_some(true),
        mount_path: mount.path().to_owned(),
        ..v1::VolumeMount::default()
    }
}

/// `cpu` and `memory` limits have members of their own, and requests equal to limits are v1's default: both unsaid.
fn resources_from_v1(limits: &Amounts, requests: &Amounts) -> Resources {
    let amounts = |map: &Amounts, said: &dyn Fn(&str, &Quantity) -> bool| {
        map.iter()
            .filter(|(name, quantity)| !said(name, quantity))
            .map(|(name, quantity)| (name.clone(), Amount::from_v1(quantity)))
            .collect()
    };
    Resources {
        limits: amounts(limits, &|name, _| name == "cpu" || name == "memory"),
        requests: amounts(requests, &|name, quantity| {
            limits.get(name).is_some_and(|limit| value::milli(&limit.0) == value::milli(&quantity.0))
        }),
    }
}

/// The policy v1 gives an image when none is named: always for `latest`, spelled out or not.
fn default_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    match name.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

/// The default is shown as nothing, as it was sent.
fn policy_from_v1(container: &v1::Container) -> String {
    let image = container.image.as_deref().unwrap_or_default();
    match container.image_pull_policy.as_deref() {
        None | Some("") => String::new(),
        Some(policy) if policy == default_policy(image) => String::new(),
        Some(policy) => format!("Pull{policy}"),
    }
}

fn policy_to_v1(word: &str) -> Option<String> {
    match word.to_ascii_lowercase().as_str() {
        "" => None,
        "pullalways" | "always" => Some("Always".to_owned()),
        "pullnever" | "never" => Some("Never".to_owned()),
        "pullifnotpresent" | "ifnotpresent" => Some("IfNotPresent".to_owned()),
        // Not ours to judge: v1 refuses it by name.
        _ => Some(word.to_owned()),
    }
}
