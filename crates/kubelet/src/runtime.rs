//! The seam between the kubelet and whatever runs containers.
//!
//! It has CRI's shape, because that shape is known to suffice, but it is plain data: nothing here names a
//! protocol, a daemon, a process layout or a file that only CRI runtimes have. A second engine (Skiff's own, with no
//! daemon) must fit behind [`Runtime`] without a change in the kubelet. Everything is object-safe: the kubelet
//! holds an `Arc<dyn Runtime>`. Nothing in here may do IO.

pub mod cri;
mod types;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

pub use types::{
    Auth, Capabilities, Condition, Container, ContainerConfig, ContainerId, ContainerState, ContainerStatus,
    Device, Dns, Event, ExecOutput, FilesystemUsage, Image, Mount, MountPropagation, NamespaceMode,
    Namespaces, PortMapping, PulledImage, Resources, Sandbox, SandboxConfig, SandboxId, SandboxState,
    SandboxStatus, Seccomp, Security, Stats, Version,
};

/// Why a call to the runtime failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RuntimeError {
    /// The thing named is not there (any more): for stop and remove that is success.
    #[error("rpc error: code = NotFound desc = {0}")]
    NotFound(String),
    /// The call took longer than it was given.
    #[error("rpc error: code = DeadlineExceeded desc = {0}")]
    Deadline(String),
    /// The runtime cannot be reached at present.
    #[error("rpc error: code = Unavailable desc = {0}")]
    Unavailable(String),
    /// The runtime does not know this call.
    #[error("rpc error: code = Unimplemented desc = {0}")]
    Unimplemented(String),
    /// The runtime refused or failed; the code is named as gRPC names it (users search for these words).
    #[error("rpc error: code = {code} desc = {message}")]
    Failed {
        /// gRPC's name of the code, such as `Unknown`.
        code: &'static str,
        /// What the runtime said.
        message: String,
    },
    /// A streaming session broke or could not be opened.
    #[error("stream to the runtime: {0}")]
    Stream(String),
}

impl RuntimeError {
    /// Whether the thing the call was about does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }

    /// What the runtime said, without the code.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::NotFound(text)
            | Self::Deadline(text)
            | Self::Unavailable(text)
            | Self::Unimplemented(text)
            | Self::Stream(text) => text,
            Self::Failed { message, .. } => message,
        }
    }
}

/// What every call of the runtime answers.
pub type Result<T, E = RuntimeError> = std::result::Result<T, E>;

/// A pipe out of a container.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// A pipe into a container.
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Both directions at once, for forwarded ports.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// What to run in a running container, and which of its pipes are wanted.
#[derive(Debug, Clone, Default)]
pub struct ExecRequest {
    /// The container to run in.
    pub container: ContainerId,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether to allocate a terminal; stderr must then be off.
    pub tty: bool,
    /// Whether the caller writes to it.
    pub stdin: bool,
    /// Whether the caller wants its output.
    pub stdout: bool,
    /// Whether the caller wants its errors.
    pub stderr: bool,
}

/// Which pipes of a container's first process are wanted.
#[derive(Debug, Clone, Default)]
pub struct AttachRequest {
    /// The container to attach to.
    pub container: ContainerId,
    /// Whether the container has a terminal.
    pub tty: bool,
    /// Whether the caller writes to it.
    pub stdin: bool,
    /// Whether the caller wants its output.
    pub stdout: bool,
    /// Whether the caller wants its errors.
    pub stderr: bool,
}

/// A process (or a container's first process) with its pipes in our hands. Dropping it ends the session.
pub struct Session {
    /// Write here what the process shall read; drop it to end the process's input.
    pub stdin: Option<Writer>,
    /// What the process writes.
    pub stdout: Option<Reader>,
    /// What the process writes as errors.
    pub stderr: Option<Reader>,
    /// Send (columns, rows) when the caller's terminal changes.
    pub resize: mpsc::Sender<(u16, u16)>,
    /// Resolves with the exit code once the process ended; an attach session answers 0 when the stream ends.
    pub exit: BoxFuture<'static, Result<i32>>,
}

/// An engine that runs pods' sandboxes and containers. All calls may run concurrently.
pub trait Runtime: Send + Sync + 'static {
    /// Name and version of the engine.
    fn version(&self) -> BoxFuture<'_, Result<Version>>;
    /// Whether the engine and its network are ready (`RuntimeReady`, `NetworkReady`).
    fn conditions(&self) -> BoxFuture<'_, Result<Vec<Condition>>>;
    /// Everything that happens from now on. [`Event::Resync`] comes first and whenever events may have been
    /// missed: whoever reads it must look at the whole state again. The stream ends only with the runtime object.
    fn events(&self) -> BoxStream<'static, Event>;

    /// Creates and starts a pod's sandbox: its namespaces, its network, its address.
    fn run_sandbox<'a>(&'a self, config: &'a SandboxConfig) -> BoxFuture<'a, Result<SandboxId>>;
    /// Ends everything in a sandbox and releases its network. Calling it twice is harmless.
    fn stop_sandbox<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;
    /// Forgets a sandbox with all its containers.
    fn remove_sandbox<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;
    /// What one sandbox is like now, with its addresses.
    fn sandbox_status<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<SandboxStatus>>;
    /// All sandboxes, or those of one pod.
    fn list_sandboxes<'a>(&'a self, pod_uid: Option<&'a str>) -> BoxFuture<'a, Result<Vec<Sandbox>>>;

    /// Prepares a container in a sandbox without starting it.
    fn create_container<'a>(
        &'a self,
        sandbox: &'a str,
        config: &'a ContainerConfig,
        sandbox_config: &'a SandboxConfig,
    ) -> BoxFuture<'a, Result<ContainerId>>;
    /// Starts a created container.
    fn start_container<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;
    /// Asks a container to end and kills it after the grace period. Answers when it ended.
    fn stop_container<'a>(&'a self, id: &'a str, grace: Duration) -> BoxFuture<'a, Result<()>>;
    /// Changes what a running container may use; zeroes leave what is.
    fn update_container<'a>(&'a self, id: &'a str, resources: &'a Resources) -> BoxFuture<'a, Result<()>>;
    /// Forgets a container; one that runs is killed.
    fn remove_container<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;
    /// What one container is like now.
    fn container_status<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<ContainerStatus>>;
    /// All containers, or those of one pod.
    fn list_containers<'a>(&'a self, pod_uid: Option<&'a str>) -> BoxFuture<'a, Result<Vec<Container>>>;
    /// The log file was moved away: open a new one.
    fn reopen_log<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Fetches an image; answers its reference.
    fn pull_image<'a>(&'a self, image: &'a str, auth: Option<&'a Auth>)
    -> BoxFuture<'a, Result<PulledImage>>;
    /// The image a name stands for, if it is here.
    fn image_status<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<Option<Image>>>;
    /// All images.
    fn list_images(&self) -> BoxFuture<'_, Result<Vec<Image>>>;
    /// Removes an image with all its names.
    fn remove_image<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<()>>;
    /// What the images take on the disk.
    fn image_fs(&self) -> BoxFuture<'_, Result<Vec<FilesystemUsage>>>;
    /// Shows an image's files, only to be read, at a folder of the machine.
    fn mount_image<'a>(&'a self, image: &'a str, target: &'a std::path::Path) -> BoxFuture<'a, Result<()>>;
    /// Takes the images of an OCI or docker archive in; answers their names.
    fn import_images<'a>(&'a self, archive: &'a std::path::Path) -> BoxFuture<'a, Result<Vec<String>>>;

    /// Runs a command in a container to its end. A command that outlives the timeout is killed: `Deadline`.
    fn exec_sync<'a>(
        &'a self,
        id: &'a str,
        command: &'a [String],
        timeout: Option<Duration>,
    ) -> BoxFuture<'a, Result<ExecOutput>>;
    /// Runs a command in a container with its pipes in our hands.
    fn exec<'a>(&'a self, request: ExecRequest) -> BoxFuture<'a, Result<Session>>;
    /// The pipes of a container's first process.
    fn attach<'a>(&'a self, request: AttachRequest) -> BoxFuture<'a, Result<Session>>;
    /// A connection to a port inside a sandbox.
    fn port_forward<'a>(&'a self, sandbox: &'a str, port: u16) -> BoxFuture<'a, Result<Box<dyn Duplex>>>;

    /// What running containers use, all or those of one pod.
    fn stats<'a>(&'a self, pod_uid: Option<&'a str>) -> BoxFuture<'a, Result<Vec<Stats>>>;
}
