//! The floor under a pod's start: the same sandbox and container, asked of containerd directly.
//!
//! This is what no kubelet that uses containerd can beat. It asks with k8s-cri's own client, not with Skiff's.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use k8s_cri::v1;
use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use k8s_cri::v1::security_profile::ProfileType;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// The group that the floor's containers lie under.
const CGROUP: &str = "/skiff-bench";

/// Tells our pods from the kubelet's.
const NAMESPACE: &str = "skiff-bench-floor";

/// A runtime behind a socket.
#[derive(Clone)]
pub(crate) struct Cri {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
    logs: PathBuf,
}

/// A pod as the runtime knows it.
pub(crate) struct Pod {
    sandbox: String,
    container: String,
    /// How long the sandbox took.
    pub(crate) sandbox_took: Duration,
    /// How long it took until the container ran.
    pub(crate) took: Duration,
}

impl Cri {
    pub(crate) fn at(socket: &Path) -> Self {
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The address is never used: the connector knows the socket.
        let channel = Endpoint::from_static("http://runtime.invalid").connect_with_connector_lazy(connector);
        Self {
            runtime: RuntimeServiceClient::new(channel.clone()),
            images: ImageServiceClient::new(channel),
            logs: socket.with_file_name("bench-logs"),
        }
    }

    /// What the runtime calls an image, as a kubelet would ask for it.
    pub(crate) async fn image(&self, name: &str) -> anyhow::Result<String> {
        let image = Some(v1::ImageSpec { image: name.to_owned(), ..Default::default() });
        let request = v1::ImageStatusRequest { image, verbose: false };
        let answer =
            self.images.clone().image_status(request).await.context("ask for the image")?.into_inner();
        Ok(answer.image.with_context(|| format!("the runtime has no {name}"))?.id)
    }

    /// A sandbox and a container in it that sleeps.
    pub(crate) fn start<'a>(&'a self, number: usize, image: &'a str) -> BoxFuture<'a, anyhow::Result<Pod>> {
        Box::pin(self.starting(number, image))
    }

    async fn starting(&self, number: usize, image: &str) -> anyhow::Result<Pod> {
        let mut runtime = self.runtime.clone();
        let config = self.sandbox(number);
        let container = container(image, self.mounts().context("make what the container shall see")?);
        let begin = Instant::now();
        let request = v1::RunPodSandboxRequest { config: Some(config.clone()), ..Default::default() };
        let sandbox =
            runtime.run_pod_sandbox(request).await.context("run a sandbox")?.into_inner().pod_sandbox_id;
        let sandbox_took = begin.elapsed();
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.clone(),
            config: Some(container),
            sandbox_config: Some(config),
        };
        let container =
            runtime.create_container(request).await.context("create a container")?.into_inner().container_id;
        let request = v1::StartContainerRequest { container_id: container.clone() };
        runtime.start_container(request).await.context("start the container")?;
        Ok(Pod { sandbox, container, sandbox_took, took: begin.elapsed() })
    }

    /// Runs `true` in the pod; how long that took.
    pub(crate) async fn run_true(&self, pod: &Pod) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        let request = v1::ExecSyncRequest {
            container_id: pod.container.clone(),
            cmd: vec!["true".to_owned()],
            timeout: 10,
        };
        self.runtime.clone().exec_sync(request).await.context("run a command")?;
        Ok(begin.elapsed())
    }

    /// Ends a pod with the least grace that kubelets give and removes it; how long that took.
    pub(crate) async fn remove(&self, pod: Pod) -> anyhow::Result<Duration> {
        let mut runtime = self.runtime.clone();
        let begin = Instant::now();
        let request = v1::StopContainerRequest { container_id: pod.container.clone(), timeout: 2 };
        runtime.stop_container(request).await.context("stop the container")?;
        let request = v1::StopPodSandboxRequest { pod_sandbox_id: pod.sandbox.clone() };
        runtime.stop_pod_sandbox(request).await.context("stop the sandbox")?;
        let request = v1::RemoveContainerRequest { container_id: pod.container };
        runtime.remove_container(request).await.context("remove the container")?;
        let request = v1::RemovePodSandboxRequest { pod_sandbox_id: pod.sandbox };
        runtime.remove_pod_sandbox(request).await.context("remove the sandbox")?;
        Ok(begin.elapsed())
    }

    /// Removes what a failure may have left, and what the runtime leaves behind.
    pub(crate) async fn clear(&self) -> anyhow::Result<()> {
        let mut runtime = self.runtime.clone();
        let request = v1::ListPodSandboxRequest { filter: None };
        let all = runtime.list_pod_sandbox(request).await.context("list sandboxes")?.into_inner().items;
        let ours =
            |pod: &v1::PodSandbox| pod.metadata.as_ref().is_some_and(|meta| meta.namespace == NAMESPACE);
        for pod in all.into_iter().filter(ours) {
            let request = v1::StopPodSandboxRequest { pod_sandbox_id: pod.id.clone() };
            runtime.stop_pod_sandbox(request).await.context("stop a sandbox")?;
            let request = v1::RemovePodSandboxRequest { pod_sandbox_id: pod.id };
            runtime.remove_pod_sandbox(request).await.context("remove a sandbox")?;
        }
        remove_cgroups();
        // Made by the runtime, if at all.
        let _absent = std::fs::remove_dir_all(&self.logs);
        Ok(())
    }

    /// What every container of a kubelet gets to see: its hosts, a place for last words, its account's token.
    fn mounts(&self) -> std::io::Result<Vec<v1::Mount>> {
        let place = self.logs.join("mounts");
        let token = place.join("token");
        std::fs::create_dir_all(&token)?;
        std::fs::write(place.join("hosts"), "127.0.0.1 localhost\n")?;
        std::fs::write(place.join("words"), "")?;
        let mount = |name: &str, container_path: &str| v1::Mount {
            container_path: container_path.to_owned(),
            host_path: place.join(name).display().to_string(),
            ..Default::default()
        };
        Ok(vec![
            mount("hosts", "/etc/hosts"),
            mount("words", "/dev/termination-log"),
            mount("token", "/var/run/secrets/kubernetes.io/serviceaccount"),
        ])
    }

    fn sandbox(&self, number: usize) -> v1::PodSandboxConfig {
        let name = format!("floor-{number}");
        let uid = format!("00000000-0000-0000-0000-{number:012}");
        v1::PodSandboxConfig {
            metadata: Some(v1::PodSandboxMetadata {
                name: name.clone(),
                uid: uid.clone(),
                namespace: NAMESPACE.to_owned(),
                attempt: 0,
            }),
            hostname: name,
            log_directory: self.logs.join(&uid).display().to_string(),
            dns_config: Some(v1::DnsConfig { servers: vec!["10.96.0.10".to_owned()], ..Default::default() }),
            linux: Some(v1::LinuxPodSandboxConfig {
                cgroup_parent: CGROUP.to_owned(),
                security_context: Some(v1::LinuxSandboxSecurityContext {
                    namespace_options: Some(namespaces()),
                    seccomp: Some(seccomp(ProfileType::RuntimeDefault)),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }
}

fn container(image: &str, mounts: Vec<v1::Mount>) -> v1::ContainerConfig {
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: "sleep".to_owned(), attempt: 0 }),
        image: Some(v1::ImageSpec { image: image.to_owned(), ..Default::default() }),
        command: vec!["sleep".to_owned(), "3600".to_owned()],
        log_path: "sleep.log".to_owned(),
        mounts,
        linux: Some(v1::LinuxContainerConfig {
            security_context: Some(v1::LinuxContainerSecurityContext {
                namespace_options: Some(namespaces()),
                seccomp: Some(seccomp(ProfileType::Unconfined)),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn namespaces() -> v1::NamespaceOption {
    v1::NamespaceOption { pid: v1::NamespaceMode::Container as i32, ..Default::default() }
}

fn seccomp(profile: ProfileType) -> v1::SecurityProfile {
    v1::SecurityProfile { profile_type: profile as i32, ..Default::default() }
}

/// Removes the groups that the runtime leaves behind, of version 1 and 2.
fn remove_cgroups() {
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        let group = hierarchy.path().join(CGROUP.trim_start_matches('/'));
        // Most hierarchies never had one.
        let _absent = std::fs::remove_dir(group);
    }
}
