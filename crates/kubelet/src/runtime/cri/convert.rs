//! Between CRI's generated types and the seam's plain ones; pure.

use std::collections::HashMap;
use std::path::PathBuf;

use jiff::Timestamp;
use k8s_cri::v1;

use super::missing;
use crate::runtime::{
    Auth, Condition, Container, ContainerConfig, ContainerState, ContainerStatus, FilesystemUsage, Image,
    MountPropagation, NamespaceMode, Namespaces, Resources, Result, RuntimeError, Sandbox, SandboxConfig,
    SandboxState, SandboxStatus, Seccomp, Security, Stats,
};

pub(super) fn fault(status: tonic::Status) -> RuntimeError {
    let message = status.message().to_owned();
    match status.code() {
        tonic::Code::NotFound => RuntimeError::NotFound(message),
        tonic::Code::DeadlineExceeded | tonic::Code::Cancelled => RuntimeError::Deadline(message),
        tonic::Code::Unavailable => RuntimeError::Unavailable(message),
        tonic::Code::Unimplemented => RuntimeError::Unimplemented(message),
        code => RuntimeError::Failed { code: code_name(code), message },
    }
}

/// As gRPC's Go library prints codes: users know these words from upstream.
fn code_name(code: tonic::Code) -> &'static str {
    match code {
        tonic::Code::InvalidArgument => "InvalidArgument",
        tonic::Code::AlreadyExists => "AlreadyExists",
        tonic::Code::PermissionDenied => "PermissionDenied",
        tonic::Code::ResourceExhausted => "ResourceExhausted",
        tonic::Code::FailedPrecondition => "FailedPrecondition",
        tonic::Code::Aborted => "Aborted",
        tonic::Code::OutOfRange => "OutOfRange",
        tonic::Code::Internal => "Internal",
        tonic::Code::DataLoss => "DataLoss",
        tonic::Code::Unauthenticated => "Unauthenticated",
        _ => "Unknown",
    }
}

/// CRI's times are nanoseconds, and 0 is "never".
fn time(nanoseconds: i64) -> Option<Timestamp> {
    if nanoseconds <= 0 { None } else { Timestamp::from_nanosecond(i128::from(nanoseconds)).ok() }
}

pub(super) fn conditions(answer: v1::StatusResponse) -> Vec<Condition> {
    let conditions = answer.status.unwrap_or_default().conditions;
    conditions
        .into_iter()
        .map(|one| Condition { kind: one.r#type, ok: one.status, reason: one.reason, message: one.message })
        .collect()
}

fn mode(mode: NamespaceMode) -> i32 {
    match mode {
        NamespaceMode::Pod => v1::NamespaceMode::Pod as i32,
        NamespaceMode::Container => v1::NamespaceMode::Container as i32,
        NamespaceMode::Node => v1::NamespaceMode::Node as i32,
    }
}

fn namespaces(namespaces: Namespaces) -> v1::NamespaceOption {
    v1::NamespaceOption {
        network: mode(namespaces.network),
        pid: mode(namespaces.pid),
        ipc: mode(namespaces.ipc),
        ..Default::default()
    }
}

fn seccomp(seccomp: &Seccomp) -> v1::SecurityProfile {
    use v1::security_profile::ProfileType;
    let (kind, path) = match seccomp {
        Seccomp::RuntimeDefault => (ProfileType::RuntimeDefault, String::new()),
        Seccomp::Unconfined => (ProfileType::Unconfined, String::new()),
        Seccomp::Localhost(path) => (ProfileType::Localhost, path.to_string_lossy().into_owned()),
    };
    v1::SecurityProfile { profile_type: kind as i32, localhost_ref: path }
}

fn int(value: Option<i64>) -> Option<v1::Int64Value> {
    value.map(|value| v1::Int64Value { value })
}

pub(super) fn resources(resources: &Resources) -> v1::LinuxContainerResources {
    v1::LinuxContainerResources {
        cpu_period: resources.cpu_period,
        cpu_quota: resources.cpu_quota,
        cpu_shares: resources.cpu_shares,
        memory_limit_in_bytes: resources.memory_limit,
        oom_score_adj: resources.oom_score_adj,
        ..Default::default()
    }
}

pub(super) fn sandbox_config(config: &SandboxConfig) -> v1::PodSandboxConfig {
    let ports = config.ports.iter().map(|port| v1::PortMapping {
        protocol: match port.protocol.as_str() {
            "UDP" => v1::Protocol::Udp as i32,
            "SCTP" => v1::Protocol::Sctp as i32,
            _ => v1::Protocol::Tcp as i32,
        },
        container_port: port.container_port,
        host_port: port.host_port,
        host_ip: port.host_ip.clone(),
    });
    let security = &config.security;
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: config.name.clone(),
            uid: config.uid.clone(),
            namespace: config.namespace.clone(),
            attempt: config.attempt,
        }),
        hostname: config.hostname.clone(),
        log_directory: config.log_directory.to_string_lossy().into_owned(),
        dns_config: config.dns.as_ref().map(|dns| v1::DnsConfig {
            servers: dns.servers.clone(),
            searches: dns.searches.clone(),
            options: dns.options.clone(),
        }),
        port_mappings: ports.collect(),
        labels: config.labels.clone().into_iter().collect(),
        annotations: config.annotations.clone().into_iter().collect(),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: config.cgroup_parent.clone(),
            security_context: Some(v1::LinuxSandboxSecurityContext {
                namespace_options: Some(namespaces(security.namespaces)),
                run_as_user: int(security.user),
                run_as_group: int(security.group),
                readonly_rootfs: security.readonly_rootfs,
                supplemental_groups: security.supplemental_groups.clone(),
                privileged: security.privileged,
                seccomp: Some(seccomp(&security.seccomp)),
                ..Default::default()
            }),
            sysctls: config.sysctls.clone().into_iter().collect(),
            resources: Some(resources(&config.resources)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn container_security(security: &Security) -> v1::LinuxContainerSecurityContext {
    v1::LinuxContainerSecurityContext {
        capabilities: Some(v1::Capability {
            add_capabilities: security.capabilities.add.clone(),
            drop_capabilities: security.capabilities.drop.clone(),
            ..Default::default()
        }),
        privileged: security.privileged,
        namespace_options: Some(match &security.pid_target {
            Some(target) => v1::NamespaceOption {
                pid: v1::NamespaceMode::Target as i32,
                target_id: target.clone(),
                ..namespaces(security.namespaces)
            },
            None => namespaces(security.namespaces),
        }),
        run_as_user: int(security.user),
        run_as_group: int(security.group),
        run_as_username: security.user_name.clone(),
        readonly_rootfs: security.readonly_rootfs,
        supplemental_groups: security.supplemental_groups.clone(),
        no_new_privs: security.no_new_privs,
        masked_paths: security.masked_paths.clone(),
        readonly_paths: security.readonly_paths.clone(),
        seccomp: Some(seccomp(&security.seccomp)),
        ..Default::default()
    }
}

pub(super) fn container_config(config: &ContainerConfig) -> v1::ContainerConfig {
    let devices = config.devices.iter().map(|device| v1::Device {
        container_path: device.container_path.clone(),
        host_path: device.host_path.display().to_string(),
        permissions: device.permissions.clone(),
    });
    let mounts = config.mounts.iter().map(|mount| v1::Mount {
        container_path: mount.container_path.clone(),
        host_path: mount.host_path.to_string_lossy().into_owned(),
        readonly: mount.readonly,
        propagation: match mount.propagation {
            MountPropagation::Private => v1::MountPropagation::PropagationPrivate as i32,
            MountPropagation::HostToContainer => v1::MountPropagation::PropagationHostToContainer as i32,
            MountPropagation::Bidirectional => v1::MountPropagation::PropagationBidirectional as i32,
        },
        ..Default::default()
    });
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: config.name.clone(), attempt: config.attempt }),
        image: Some(v1::ImageSpec {
            image: config.image.clone(),
            user_specified_image: config.image_as_written.clone(),
            ..Default::default()
        }),
        command: config.command.clone(),
        args: config.args.clone(),
        working_dir: config.working_dir.clone(),
        envs: config
            .env
            .iter()
            .map(|(key, value)| v1::KeyValue { key: key.clone(), value: value.clone() })
            .collect(),
        mounts: mounts.collect(),
        devices: devices.collect(),
        cdi_devices: config.cdi_devices.iter().map(|name| v1::CdiDevice { name: name.clone() }).collect(),
        labels: config.labels.clone().into_iter().collect(),
        annotations: config.annotations.clone().into_iter().collect(),
        log_path: config.log_path.to_string_lossy().into_owned(),
        stdin: config.stdin,
        stdin_once: config.stdin_once,
        tty: config.tty,
        linux: Some(v1::LinuxContainerConfig {
            resources: Some(resources(&config.resources)),
            security_context: Some(container_security(&config.security)),
        }),
        ..Default::default()
    }
}

fn sandbox_state(state: i32) -> SandboxState {
    if state == v1::PodSandboxState::SandboxReady as i32 {
        SandboxState::Ready
    } else {
        SandboxState::NotReady
    }
}

fn sorted<K: Ord, V>(map: HashMap<K, V>) -> std::collections::BTreeMap<K, V> {
    map.into_iter().collect()
}

pub(super) fn sandbox(item: v1::PodSandbox) -> Sandbox {
    let metadata = item.metadata.unwrap_or_default();
    Sandbox {
        id: item.id,
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        attempt: metadata.attempt,
        state: sandbox_state(item.state),
        created_at: time(item.created_at).unwrap_or_default(),
        labels: sorted(item.labels),
        annotations: sorted(item.annotations),
    }
}

pub(super) fn sandbox_status(answer: v1::PodSandboxStatusResponse) -> Result<SandboxStatus> {
    let status = answer.status.ok_or_else(|| missing("sandbox status"))?;
    let network = status.network.unwrap_or_default();
    let more = network.additional_ips.into_iter().map(|ip| ip.ip);
    let addresses = std::iter::once(network.ip).chain(more).filter_map(|ip| ip.parse().ok()).collect();
    let item = v1::PodSandbox {
        id: status.id,
        metadata: status.metadata,
        state: status.state,
        created_at: status.created_at,
        labels: status.labels,
        annotations: status.annotations,
        runtime_handler: status.runtime_handler,
    };
    Ok(SandboxStatus { sandbox: sandbox(item), addresses })
}

pub(super) fn container_state(state: i32) -> ContainerState {
    match v1::ContainerState::try_from(state) {
        Ok(v1::ContainerState::ContainerCreated) => ContainerState::Created,
        Ok(v1::ContainerState::ContainerRunning) => ContainerState::Running,
        Ok(v1::ContainerState::ContainerExited) => ContainerState::Exited,
        _ => ContainerState::Unknown,
    }
}

pub(super) fn container(item: v1::Container) -> Container {
    let metadata = item.metadata.unwrap_or_default();
    Container {
        id: item.id,
        sandbox: item.pod_sandbox_id,
        name: metadata.name,
        attempt: metadata.attempt,
        state: container_state(item.state),
        image: item.image_ref,
        created_at: time(item.created_at).unwrap_or_default(),
        labels: sorted(item.labels),
        annotations: sorted(item.annotations),
    }
}

pub(super) fn container_status(answer: v1::ContainerStatusResponse) -> Result<ContainerStatus> {
    let status = answer.status.ok_or_else(|| missing("container status"))?;
    let metadata = status.metadata.unwrap_or_default();
    Ok(ContainerStatus {
        id: status.id,
        name: metadata.name,
        attempt: metadata.attempt,
        state: container_state(status.state),
        created_at: time(status.created_at).unwrap_or_default(),
        started_at: time(status.started_at),
        finished_at: time(status.finished_at),
        exit_code: status.exit_code,
        image: status.image.unwrap_or_default().image,
        image_ref: status.image_ref,
        reason: status.reason,
        message: status.message,
        labels: sorted(status.labels),
        annotations: sorted(status.annotations),
        log_path: PathBuf::from(status.log_path),
    })
}

pub(super) fn image_spec(image: &str) -> v1::ImageSpec {
    v1::ImageSpec { image: image.to_owned(), ..Default::default() }
}

pub(super) fn auth(auth: &Auth) -> v1::AuthConfig {
    v1::AuthConfig {
        username: auth.username.clone(),
        password: auth.password.clone(),
        auth: auth.auth.clone(),
        server_address: auth.server_address.clone(),
        identity_token: auth.identity_token.clone(),
        registry_token: auth.registry_token.clone(),
    }
}

pub(super) fn image(image: v1::Image) -> Image {
    Image {
        id: image.id,
        tags: image.repo_tags,
        digests: image.repo_digests,
        size: image.size,
        uid: image.uid.map(|uid| uid.value),
        username: image.username,
        pinned: image.pinned,
    }
}

pub(super) fn filesystem(usage: v1::FilesystemUsage) -> FilesystemUsage {
    FilesystemUsage {
        path: PathBuf::from(usage.fs_id.unwrap_or_default().mountpoint),
        used_bytes: number(usage.used_bytes),
        inodes_used: number(usage.inodes_used),
    }
}

fn number(value: Option<v1::UInt64Value>) -> u64 {
    value.map_or(0, |value| value.value)
}

pub(super) fn stats(stats: v1::ContainerStats) -> Stats {
    let attributes = stats.attributes.unwrap_or_default();
    let cpu = stats.cpu.unwrap_or_default();
    let memory = stats.memory.unwrap_or_default();
    let layer = stats.writable_layer.unwrap_or_default();
    Stats {
        container: attributes.id,
        name: attributes.metadata.unwrap_or_default().name,
        labels: sorted(attributes.labels),
        at: time(cpu.timestamp.max(memory.timestamp)).unwrap_or_default(),
        cpu_nanoseconds: number(cpu.usage_core_nano_seconds),
        memory_working_set: number(memory.working_set_bytes),
        memory_usage: number(memory.usage_bytes),
        memory_rss: number(memory.rss_bytes),
        page_faults: number(memory.page_faults),
        major_page_faults: number(memory.major_page_faults),
        writable_layer_bytes: number(layer.used_bytes),
        writable_layer_inodes: number(layer.inodes_used),
    }
}
