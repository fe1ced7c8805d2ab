//! A containerd of our own: found running and taken over, or started; watched, and ended for good on demand.
//!
//! Pods must outlive Skiff, and so must the containerd that holds their logs' pipes and their exits. It therefore
//! gets its own process group, its own log file and no signal when we end. Whether it runs is asked of its
//! socket: the kernel tells which process listens there, so there is no pid file that could lie. It inherits
//! our mount and network namespaces; see [`listener`] for how a restarted Skiff gets back into the former.
//!
//! This file holds unsafe code: tokio's registration of a descriptor.

mod config;
mod end;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use skiff_base::backoff::Backoff;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixDatagram;

use super::Cri;
use crate::runtime::{Runtime, RuntimeError};

/// containerd boots in a tenth of a second; a machine under heavy load may need long.
const BOOT_PATIENCE: Duration = Duration::from_secs(60);
/// Linux keeps socket paths in 108 bytes.
const SOCKET_PATH_LIMIT: usize = 107;

/// How our own containerd shall be.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program.
    pub program: PathBuf,
    /// Images and snapshots; survives a reboot.
    pub root: PathBuf,
    /// Sockets and what belongs to running containers.
    pub state: PathBuf,
    /// Where it finds the network's configuration.
    pub cni_conf_dir: PathBuf,
    /// Where it finds the network's plugins.
    pub cni_bin_dir: PathBuf,
    /// The image that holds a pod's namespaces.
    pub sandbox_image: String,
    /// From where that image is taken when it is not there yet; without, it is pulled.
    pub sandbox_archive: Option<PathBuf>,
    /// `hosts.toml` files per registry.
    pub registry_dir: PathBuf,
}

impl Options {
    /// Everything below `data_dir`, with upstream's pause image.
    #[must_use]
    pub fn under(data_dir: &Path) -> Self {
        let home = data_dir.join("containerd");
        Self {
            program: PathBuf::from("containerd"),
            root: home.join("root"),
            state: home.join("state"),
            cni_conf_dir: data_dir.join("cni/conf"),
            cni_bin_dir: data_dir.join("cni/bin"),
            sandbox_image: "registry.k8s.io/pause:3.10".to_owned(),
            sandbox_archive: None,
            registry_dir: PathBuf::from("/etc/containerd/certs.d"),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.state.join("containerd.sock")
    }
}

/// Why there is no containerd.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A file or directory of ours could not be written.
    #[error("prepare {path}")]
    Prepare {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The program did not start.
    #[error("start {program}")]
    Start {
        /// Which.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The program ended or hung before it was ready.
    #[error("containerd did not become ready: {why}; its log is {log}")]
    NotReady {
        /// What happened instead.
        why: String,
        /// Where it wrote.
        log: PathBuf,
    },
    /// The kernel does not let us watch it.
    #[error("watch process {pid}")]
    Watch {
        /// Which.
        pid: u32,
        /// Why.
        source: std::io::Error,
    },
    /// The socket's path is longer than the kernel takes.
    #[error("socket path {0} is longer than {SOCKET_PATH_LIMIT} bytes: use a shorter data directory")]
    LongPath(PathBuf),
    /// The pause image could not be had.
    #[error("import {archive}")]
    SandboxImage {
        /// From where.
        archive: PathBuf,
        /// Why.
        source: RuntimeError,
    },
}

/// The process that listens on a socket, if there is one.
///
/// A restarted Skiff enters that process's mount namespace (`/proc/PID/ns/mnt`) before it starts any
/// thread, or the two would see different mounts; hence this call blocks and needs no runtime.
#[must_use]
pub fn listener(socket: &Path) -> Option<u32> {
    let stream = std::os::unix::net::UnixStream::connect(socket).ok()?;
    let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?;
    u32::try_from(peer.pid.as_raw_nonzero().get()).ok()
}

/// A running containerd of ours. Dropping it leaves containerd alone.
pub struct Daemon {
    options: Options,
    pidfd: AsyncFd<OwnedFd>,
    pid: u32,
}

impl Daemon {
    /// Takes over the one that runs, or starts one; answers when it is ready to work.
    ///
    /// # Errors
    /// [`DaemonError`] if it cannot be started or does not become ready.
    pub async fn start(options: Options) -> Result<Self, DaemonError> {
        let socket = options.socket();
        if socket.as_os_str().len() > SOCKET_PATH_LIMIT {
            return Err(DaemonError::LongPath(socket));
        }
        let pid = match listener(&socket) {
            Some(pid) => {
                tracing::info!(pid, "containerd already runs");
                pid
            }
            None => boot(&options).await?,
        };
        let daemon = Self { pidfd: watch(pid)?, pid, options };
        daemon.answers().await?;
        daemon.have_sandbox_image().await?;
        Ok(daemon)
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.options.socket()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Starts it again whenever it ends; never returns. Drop the future to stop watching.
    pub async fn keep_alive(mut self) {
        loop {
            if let Err(error) = self.pidfd.readable().await {
                tracing::error!(%error, "cannot watch containerd any more");
                return;
            }
            tracing::warn!(pid = self.pid, "containerd ended, starting it again");
            let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
            self = loop {
                match Self::start(self.options.clone()).await {
                    Ok(daemon) => break daemon,
                    Err(error) => tracing::error!(%error, "containerd does not start"),
                }
                backoff.wait().await;
            };
        }
    }

    /// containerd says that it is ready some milliseconds before its CRI part is, which then only refuses calls.
    async fn answers(&self) -> Result<(), DaemonError> {
        let cri = Cri::at(&self.socket());
        let mut backoff = Backoff::new(Duration::from_millis(2), Duration::from_millis(200));
        let asking = async {
            while let Err(error) = cri.version().await {
                tracing::debug!(%error, "containerd does not answer yet");
                backoff.wait().await;
            }
        };
        tokio::time::timeout(BOOT_PATIENCE, asking).await.map_err(|_| DaemonError::NotReady {
            why: format!("its CRI part does not answer within {BOOT_PATIENCE:?}"),
            log: self.options.root.join("containerd.log"),
        })
    }

    async fn have_sandbox_image(&self) -> Result<(), DaemonError> {
        let Some(archive) = &self.options.sandbox_archive else { return Ok(()) };
        let fail = |source| DaemonError::SandboxImage { archive: archive.clone(), source };
        let cri = Cri::at(&self.socket());
        if cri.image_status(&self.options.sandbox_image).await.map_err(fail)?.is_some() {
            return Ok(());
        }
        let names = cri.import_images(archive).await.map_err(fail)?;
        if names.contains(&self.options.sandbox_image) {
            return Ok(());
        }
        let message = format!("it holds {names:?}, not {}", self.options.sandbox_image);
        Err(fail(RuntimeError::Failed { code: "NotFound", message }))
    }
}

/// Ends containerd with all its pods and removes what it left in the machine: processes, mounts, its state.
/// Images and snapshots in `root` stay.
///
/// # Errors
/// [`DaemonError`] if something could not be removed.
pub async fn stop_for_good(options: &Options) -> Result<(), DaemonError> {
    end::stop_for_good(options).await
}

fn watch(pid: u32) -> Result<AsyncFd<OwnedFd>, DaemonError> {
    let fail = |source| DaemonError::Watch { pid, source };
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let raw = raw.ok_or_else(|| fail(std::io::ErrorKind::NotFound.into()))?;
    let pidfd = pidfd_open(raw, PidfdFlags::NONBLOCK).map_err(|errno| fail(errno.into()))?;
    // SAFETY: the descriptor is owned by the `AsyncFd` and a pidfd stays what it is for its whole life.
    unsafe { AsyncFd::register(pidfd) }.map_err(|error| fail(error.into()))
}

/// Starts containerd; answers its pid when it says that it is ready, as it says it to systemd.
async fn boot(options: &Options) -> Result<u32, DaemonError> {
    let prepare = |path: &Path| {
        let path = path.to_owned();
        move |source| DaemonError::Prepare { path, source }
    };
    for directory in [&options.root, &options.state, &options.cni_conf_dir, &options.cni_bin_dir] {
        std::fs::create_dir_all(directory).map_err(prepare(directory))?;
    }
    let config_path = options.root.join("config.toml");
    let text = config::render(options);
    skiff_base::fs::write_atomically(&config_path, text.as_bytes(), 0o600).map_err(prepare(&config_path))?;
    let notify_path = options.state.join("ready.sock");
    // A leftover of an earlier start; that it may be absent is fine.
    let _absent = std::fs::remove_file(&notify_path);
    let notify = UnixDatagram::bind(&notify_path).map_err(prepare(&notify_path))?;
    let log_path = options.root.join("containerd.log");
    let log =
        std::fs::File::options().create(true).append(true).open(&log_path).map_err(prepare(&log_path))?;
    let errors = log.try_clone().map_err(prepare(&log_path))?;

    #[expect(clippy::disallowed_methods, reason = "it outlives us, so it is no bounded command")]
    let mut command = tokio::process::Command::new(&options.program);
    command
        .arg("--config")
        .arg(&config_path)
        .env("NOTIFY_SOCKET", &notify_path)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0);
    let start = |source| DaemonError::Start { program: options.program.clone(), source };
    let mut child = command.spawn().map_err(start)?;
    let pid = child.id().ok_or_else(|| start(std::io::ErrorKind::NotFound.into()))?;

    let ready = async {
        let mut words = [0; 256];
        loop {
            let length = notify.recv(&mut words).await?;
            if words[..length].split(|byte| *byte == b'\n').any(|word| word == b"READY=1") {
                return Ok::<(), std::io::Error>(());
            }
        }
    };
    let not_ready = |why: String| DaemonError::NotReady { why, log: log_path.clone() };
    let outcome = tokio::select! {
        ready = ready => ready.map_err(|error| not_ready(error.to_string())),
        ended = child.wait() => {
            let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
            Err(not_ready(format!("it ended with {how}")))
        }
        () = tokio::time::sleep(BOOT_PATIENCE) => Err(not_ready(format!("no word within {BOOT_PATIENCE:?}"))),
    };
    if outcome.is_err() {
        // It may run on without ever becoming ready; one that ended cannot be killed.
        let _ended = child.start_kill();
    }
    let _gone = std::fs::remove_file(&notify_path);
    outcome.map(|()| pid)
}

/// Sends a signal through a pidfd, which cannot hit a process that took over the number.
fn signal(pidfd: &impl AsFd, signal: rustix::process::Signal) {
    // The process may be gone already, which is what the signal is for.
    let _gone = rustix::process::pidfd_send_signal(pidfd, signal);
}
