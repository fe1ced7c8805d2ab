//! The plain data that crosses the runtime seam.
//!
//! Only what the kubelet asks for or looks at is here; a field that no one reads does not belong. The
//! types say nothing about how an engine stores or runs things.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use jiff::Timestamp;

/// How the runtime calls a container.
pub type ContainerId = String;
/// How the runtime calls a sandbox.
pub type SandboxId = String;

/// Name and version of an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    /// Such as `containerd`.
    pub name: String,
    /// Such as `1.6.20`.
    pub version: String,
}

/// Something the engine says about its own readiness.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// `RuntimeReady` or `NetworkReady`.
    pub kind: String,
    /// Whether it holds.
    pub ok: bool,
    /// One word why not.
    pub reason: String,
    /// A sentence why not.
    pub message: String,
}

/// Something happened in the runtime. Ids may be a container's or a sandbox's: engines do not always know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Events may have been missed: look at everything again.
    Resync,
    /// A container or sandbox runs.
    Started {
        /// Whose.
        id: String,
    },
    /// A container or sandbox ended.
    Exited {
        /// Whose.
        id: String,
        /// Its exit code, as far as the event says.
        code: Option<i32>,
    },
    /// The kernel killed a process for want of memory.
    OutOfMemory {
        /// In which container.
        id: String,
    },
}

/// Which instance of a namespace something gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NamespaceMode {
    /// Shared by the pod's containers.
    #[default]
    Pod,
    /// Each container its own.
    Container,
    /// The machine's.
    Node,
}

/// The namespaces of a sandbox or container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Network.
    pub network: NamespaceMode,
    /// Processes.
    pub pid: NamespaceMode,
    /// System V IPC, POSIX queues and shared memory.
    pub ipc: NamespaceMode,
}

/// Which system calls are let through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// The engine's default filter.
    RuntimeDefault,
    /// None.
    #[default]
    Unconfined,
    /// A profile in a file.
    Localhost(PathBuf),
}

/// Added to and taken from the engine's default set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Without the `CAP_` in front; `ALL` is all.
    pub add: Vec<String>,
    /// Likewise.
    pub drop: Vec<String>,
}

/// With whose rights something runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// Which namespaces.
    pub namespaces: Namespaces,
    /// The container whose processes are shared, instead of what `namespaces` says of them.
    pub pid_target: Option<ContainerId>,
    /// User id; none is the image's.
    pub user: Option<i64>,
    /// User name, where the image names one and no id is asked for.
    pub user_name: String,
    /// Group id; only with `user`.
    pub group: Option<i64>,
    /// More group ids.
    pub supplemental_groups: Vec<i64>,
    /// All rights of the machine.
    pub privileged: bool,
    /// Whether the root file system is read-only.
    pub readonly_rootfs: bool,
    /// Forbids gaining rights by set-uid programs.
    pub no_new_privs: bool,
    /// Which capabilities.
    pub capabilities: Capabilities,
    /// Which system calls.
    pub seccomp: Seccomp,
    /// Paths hidden from the container.
    pub masked_paths: Vec<String>,
    /// Paths the container may only read.
    pub readonly_paths: Vec<String>,
}

/// What something may use; zero is "not said".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// In microseconds.
    pub cpu_period: i64,
    /// In microseconds per period.
    pub cpu_quota: i64,
    /// Relative weight.
    pub cpu_shares: i64,
    /// In bytes.
    pub memory_limit: i64,
    /// Who dies first when memory is short.
    pub oom_score_adj: i64,
}

/// How a pod's names are resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    /// Name servers.
    pub servers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Options such as `ndots:5`.
    pub options: Vec<String>,
}

/// A port of the machine that leads into the pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortMapping {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// In the pod.
    pub container_port: i32,
    /// On the machine.
    pub host_port: i32,
    /// Only on this address of the machine; empty is all.
    pub host_ip: String,
}

/// What a pod's sandbox shall be like.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SandboxConfig {
    /// The pod's name.
    pub name: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's uid.
    pub uid: String,
    /// How many sandboxes this pod had before.
    pub attempt: u32,
    /// What `hostname` says inside.
    pub hostname: String,
    /// Where the containers' logs go.
    pub log_directory: PathBuf,
    /// How names are resolved; none leaves the machine's ways.
    pub dns: Option<Dns>,
    /// Ports of the machine.
    pub ports: Vec<PortMapping>,
    /// For finding it again.
    pub labels: BTreeMap<String, String>,
    /// Kept beside it.
    pub annotations: BTreeMap<String, String>,
    /// The group of processes to which the pod's are added.
    pub cgroup_parent: String,
    /// Kernel settings of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// With whose rights.
    pub security: Security,
    /// What the pod may use in all.
    pub resources: Resources,
    /// Which of the runtime's ways of running containers, by its own name for it; empty for the usual one.
    pub runtime_handler: String,
}

/// How mounts made later travel between the machine and the container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MountPropagation {
    /// Not at all.
    #[default]
    Private,
    /// From the machine to the container.
    HostToContainer,
    /// Both ways.
    Bidirectional,
}

/// A path of the machine shown in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mount {
    /// Where in the container.
    pub container_path: String,
    /// What of the machine.
    pub host_path: PathBuf,
    /// Whether it can only be read.
    pub readonly: bool,
    /// How later mounts travel.
    pub propagation: MountPropagation,
}

/// A device of the machine in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// Where the container finds it.
    pub container_path: String,
    /// Where it is on the machine.
    pub host_path: PathBuf,
    /// What the container may do with it: some of `r`, `w` and `m`, to make such nodes.
    pub permissions: String,
}

/// What a container shall be like.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainerConfig {
    /// Its name in the pod.
    pub name: String,
    /// How many containers of this name the pod had before.
    pub attempt: u32,
    /// The image's reference as the runtime knows it.
    pub image: String,
    /// The image as the user wrote it.
    pub image_as_written: String,
    /// Instead of the image's entry point.
    pub command: Vec<String>,
    /// Instead of the image's arguments.
    pub args: Vec<String>,
    /// Where it starts; empty is the image's.
    pub working_dir: String,
    /// Environment, in order.
    pub env: Vec<(String, String)>,
    /// Paths of the machine.
    pub mounts: Vec<Mount>,
    /// Block volumes, and nodes of claimed devices.
    pub devices: Vec<Device>,
    /// Claimed devices, where the runtime knows what stands behind their names.
    pub cdi_devices: Vec<String>,
    /// For finding it again.
    pub labels: BTreeMap<String, String>,
    /// Kept beside it.
    pub annotations: BTreeMap<String, String>,
    /// Where its log goes, below the sandbox's log directory.
    pub log_path: PathBuf,
    /// Whether its input stays open.
    pub stdin: bool,
    /// Whether its input closes with the first that attached.
    pub stdin_once: bool,
    /// Whether it has a terminal.
    pub tty: bool,
    /// What it may use.
    pub resources: Resources,
    /// With whose rights.
    pub security: Security,
}

/// Whether a sandbox is of use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SandboxState {
    /// It holds the pod's namespaces.
    Ready,
    /// It ended or was stopped.
    #[default]
    NotReady,
}

/// A sandbox in a list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sandbox {
    /// The runtime's name for it.
    pub id: SandboxId,
    /// The pod's name.
    pub name: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's uid.
    pub uid: String,
    /// How many sandboxes the pod had before.
    pub attempt: u32,
    /// Whether it is of use.
    pub state: SandboxState,
    /// When it was made.
    pub created_at: Timestamp,
    /// As given.
    pub labels: BTreeMap<String, String>,
    /// As given.
    pub annotations: BTreeMap<String, String>,
}

/// A sandbox with its addresses.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SandboxStatus {
    /// What a list says too.
    pub sandbox: Sandbox,
    /// The pod's addresses, the first is the main one; none with the machine's network.
    pub addresses: Vec<IpAddr>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ContainerState {
    /// Not started yet.
    Created,
    /// Runs.
    Running,
    /// Ended.
    Exited,
    /// The runtime cannot say.
    #[default]
    Unknown,
}

/// A container in a list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Container {
    /// The runtime's name for it.
    pub id: ContainerId,
    /// Its sandbox.
    pub sandbox: SandboxId,
    /// Its name in the pod.
    pub name: String,
    /// How many of this name came before.
    pub attempt: u32,
    /// Where it is in its life.
    pub state: ContainerState,
    /// The id of its image.
    pub image: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// As given.
    pub labels: BTreeMap<String, String>,
    /// As given.
    pub annotations: BTreeMap<String, String>,
}

/// A container with all one can know of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainerStatus {
    /// The runtime's name for it.
    pub id: ContainerId,
    /// Its name in the pod.
    pub name: String,
    /// How many of this name came before.
    pub attempt: u32,
    /// Where it is in its life.
    pub state: ContainerState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it started, if it did.
    pub started_at: Option<Timestamp>,
    /// When it ended, if it did.
    pub finished_at: Option<Timestamp>,
    /// Its exit code, once ended.
    pub exit_code: i32,
    /// The image as the runtime names it.
    pub image: String,
    /// The image's digest reference.
    pub image_ref: String,
    /// One word why it ended, such as `OOMKilled`.
    pub reason: String,
    /// A sentence why it ended.
    pub message: String,
    /// As given.
    pub labels: BTreeMap<String, String>,
    /// As given.
    pub annotations: BTreeMap<String, String>,
    /// Where its log is.
    pub log_path: PathBuf,
}

/// Name and password for a registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Auth {
    /// User.
    pub username: String,
    /// Password.
    pub password: String,
    /// Both in base64, where a configuration has only that.
    pub auth: String,
    /// For which registry.
    pub server_address: String,
    /// Token of an identity provider.
    pub identity_token: String,
    /// Token of the registry.
    pub registry_token: String,
}

/// An image that is here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// Its id (digest of its configuration).
    pub id: String,
    /// Its names with tags.
    pub tags: Vec<String>,
    /// Its names with digests.
    pub digests: Vec<String>,
    /// In bytes.
    pub size: u64,
    /// The user id it asks for.
    pub uid: Option<i64>,
    /// The user name it asks for.
    pub username: String,
    /// Whether it must stay.
    pub pinned: bool,
}

/// The answer to a pull.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PulledImage {
    /// By this the runtime finds it.
    pub reference: String,
}

/// What a file system that the runtime uses holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilesystemUsage {
    /// Where it is.
    pub path: PathBuf,
    /// By the runtime, in bytes.
    pub used_bytes: u64,
    /// By the runtime.
    pub inodes_used: u64,
}

/// The output of a command that ran to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// Output.
    pub stdout: Vec<u8>,
    /// Errors.
    pub stderr: Vec<u8>,
    /// Exit code.
    pub code: i32,
}

/// What a container uses.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// Whose.
    pub container: ContainerId,
    /// Its name in the pod.
    pub name: String,
    /// As given when created: pod name, namespace and uid are in it.
    pub labels: BTreeMap<String, String>,
    /// When it was read.
    pub at: Timestamp,
    /// CPU time so far, in nanoseconds.
    pub cpu_nanoseconds: u64,
    /// Memory that cannot be given back at once, in bytes.
    pub memory_working_set: u64,
    /// All memory counted to it, in bytes.
    pub memory_usage: u64,
    /// Anonymous memory, in bytes.
    pub memory_rss: u64,
    /// Page faults so far.
    pub page_faults: u64,
    /// Page faults so far that went to the disk.
    pub major_page_faults: u64,
    /// What it wrote to its root file system, in bytes.
    pub writable_layer_bytes: u64,
    /// The files and folders among that.
    pub writable_layer_inodes: u64,
}
