//! A pod's sandbox and containers as the runtime is asked for them.
//!
//! Labels and annotations are upstream's, so that tools which look into the runtime find what they expect, and
//! so that a restarted kubelet finds its restart counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use sha2::{Digest, Sha256};

use super::env::expand;
use super::{name, namespace, resize, resources, security, uid};
use crate::runtime::{ContainerConfig, Device, Dns, Mount, PortMapping, Resources, SandboxConfig, Security};

pub(crate) const NAME_LABEL: &str = "io.kubernetes.pod.name";
pub(crate) const NAMESPACE_LABEL: &str = "io.kubernetes.pod.namespace";
pub(crate) const UID_LABEL: &str = "io.kubernetes.pod.uid";
pub(crate) const CONTAINER_LABEL: &str = "io.kubernetes.container.name";
/// Ours: which kubelet a sandbox belongs to, where several share a runtime.
pub(crate) const OWNER_LABEL: &str = "skiff.dev/kubelet";
pub(crate) const HASH: &str = "io.kubernetes.container.hash";
pub(crate) const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
pub(crate) const MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
pub(crate) const MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
pub(crate) const GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";

/// Ours: the requests and limits that a container was made with.
pub(crate) const RESOURCES: &str = "skiff.dev/resources";

/// Where a pod's things are on this node.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    data_dir: PathBuf,
}

impl Places {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned() }
    }

    /// Everything of one pod but its logs.
    pub(crate) fn pod(&self, uid: &str) -> PathBuf {
        self.pods().join(uid)
    }

    /// All pods' directories.
    pub(crate) fn pods(&self) -> PathBuf {
        self.data_dir.join("pods")
    }

    /// The pod's `/etc/hosts`.
    pub(crate) fn hosts(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("etc-hosts")
    }

    /// Where one attempt of a container leaves its last words.
    pub(crate) fn message(&self, uid: &str, container: &str, attempt: u32) -> PathBuf {
        self.pod(uid).join("containers").join(container).join(format!("{attempt:08x}"))
    }

    /// All pods' logs.
    pub(crate) fn all_logs(&self) -> PathBuf {
        self.data_dir.join("logs/pods")
    }

    /// The pod's logs.
    pub(crate) fn logs(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.all_logs().join(format!("{namespace}_{name}_{uid}"))
    }

    /// The seccomp profiles that pods may name.
    pub(crate) fn seccomp(&self) -> PathBuf {
        self.data_dir.join("seccomp")
    }
}

/// One attempt's log below the pod's log directory.
pub(crate) fn log_path(container: &str, attempt: u32) -> PathBuf {
    Path::new(container).join(format!("{attempt}.log"))
}

/// What changes when a container must be made anew: upstream takes its name and image.
pub(crate) fn hash(container: &Container) -> String {
    let digest = Sha256::new()
        .chain_update(&container.name)
        .chain_update([0])
        .chain_update(container.image.as_deref().unwrap_or_default())
        .finalize();
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// What the sandbox needs beyond the pod itself.
#[derive(Debug, Clone)]
pub(crate) struct SandboxParts {
    pub(crate) attempt: u32,
    pub(crate) hostname: String,
    pub(crate) dns: Dns,
    pub(crate) cgroup_parent: String,
    pub(crate) owner: String,
}

/// The pod's sandbox.
pub(crate) fn sandbox(pod: &Pod, spec: &PodSpec, places: &Places, parts: SandboxParts) -> SandboxConfig {
    let host_network = spec.host_network.unwrap_or(false);
    let mut labels = pod.metadata.labels.clone().unwrap_or_default();
    labels.insert(NAME_LABEL.to_owned(), name(pod).to_owned());
    labels.insert(NAMESPACE_LABEL.to_owned(), namespace(pod).to_owned());
    labels.insert(UID_LABEL.to_owned(), uid(pod).to_owned());
    labels.insert(OWNER_LABEL.to_owned(), parts.owner);
    let mut annotations = pod.metadata.annotations.clone().unwrap_or_default();
    if let Some(grace) = spec.termination_grace_period_seconds {
        annotations.insert(GRACE.to_owned(), grace.to_string());
    }
    let sysctls = spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    SandboxConfig {
        name: name(pod).to_owned(),
        namespace: namespace(pod).to_owned(),
        uid: uid(pod).to_owned(),
        attempt: parts.attempt,
        // A pod on the machine's network has the machine's name.
        hostname: if host_network { String::new() } else { parts.hostname },
        log_directory: places.logs(namespace(pod), name(pod), uid(pod)),
        dns: Some(parts.dns),
        ports: if host_network { Vec::new() } else { ports(spec) },
        labels,
        annotations,
        cgroup_parent: parts.cgroup_parent,
        sysctls: sysctls.map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())).collect(),
        security: security::of_sandbox(spec),
        resources: resources::of_pod(pod),
        // Looked up when the sandbox is made.
        runtime_handler: String::new(),
    }
}

fn ports(spec: &PodSpec) -> Vec<PortMapping> {
    let all = super::all_containers(spec).flat_map(|container| container.ports.iter().flatten());
    let mapped = all.filter_map(|port| {
        let host_port = port.host_port.filter(|port| *port > 0)?;
        Some(PortMapping {
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            container_port: port.container_port,
            host_port,
            host_ip: port.host_ip.clone().unwrap_or_default(),
        })
    });
    mapped.collect()
}

/// What a container needs beyond the pod itself.
#[derive(Debug, Clone)]
pub(crate) struct ContainerParts {
    pub(crate) attempt: u32,
    pub(crate) image: String,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) devices: Vec<Device>,
    pub(crate) resources: Resources,
    pub(crate) security: Security,
}

/// One of the pod's containers.
pub(crate) fn container(pod: &Pod, container: &Container, parts: ContainerParts) -> ContainerConfig {
    let lookup = |key: &str| {
        let found = parts.env.iter().rev().find(|(known, _)| known == key);
        found.map(|(_, value)| value.clone())
    };
    let expanded = |words: &Option<Vec<String>>| -> Vec<String> {
        words.iter().flatten().map(|word| expand(word, lookup)).collect()
    };
    let labels = [
        (NAME_LABEL, name(pod)),
        (NAMESPACE_LABEL, namespace(pod)),
        (UID_LABEL, uid(pod)),
        (CONTAINER_LABEL, &container.name),
    ];
    let mut annotations = BTreeMap::from([
        (HASH.to_owned(), hash(container)),
        (RESTART_COUNT.to_owned(), parts.attempt.to_string()),
        (MESSAGE_PATH.to_owned(), message_path(container).to_owned()),
        (MESSAGE_POLICY.to_owned(), message_policy(container).to_owned()),
        (RESOURCES.to_owned(), resize::text(container.resources.as_ref())),
    ]);
    let grace = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    annotations.extend(grace.map(|grace| (GRACE.to_owned(), grace.to_string())));
    ContainerConfig {
        name: container.name.clone(),
        attempt: parts.attempt,
        image: parts.image,
        image_as_written: container.image.clone().unwrap_or_default(),
        command: expanded(&container.command),
        args: expanded(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        env: parts.env,
        mounts: parts.mounts,
        devices: parts.devices,
        cdi_devices: Vec::new(),
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        annotations,
        log_path: log_path(&container.name, parts.attempt),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        tty: container.tty.unwrap_or(false),
        resources: parts.resources,
        security: parts.security,
    }
}

/// Where in the container its last words are written.
pub(crate) fn message_path(container: &Container) -> &str {
    container
        .termination_message_path
        .as_deref()
        .filter(|path| !path.is_empty())
        .unwrap_or("/dev/termination-log")
}

/// Whether the log may stand in for the last words.
pub(crate) fn message_policy(container: &Container) -> &str {
    container.termination_message_policy.as_deref().unwrap_or("File")
}
