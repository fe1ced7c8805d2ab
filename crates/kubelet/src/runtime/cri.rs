//! Any CRI v1 runtime behind a Unix socket, seen as a [`Runtime`].
//!
//! One call here is one call there: what the answers mean is decided by the kubelet, not here. CRI's types stay
//! in this module and its children. Exec, attach and port-forward ask the runtime for a URL and then speak the
//! streaming protocol to it.

mod convert;
pub mod daemon;
mod events;
mod import;
mod streaming;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use hyper_util::rt::TokioIo;
use k8s_cri::v1;
use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::{
    AttachRequest, Auth, Condition, Container, ContainerConfig, ContainerId, ContainerStatus, Duplex, Event,
    ExecOutput, ExecRequest, FilesystemUsage, Image, PulledImage, Resources, Result, Runtime, RuntimeError,
    Sandbox, SandboxConfig, SandboxId, SandboxStatus, Session, Stats, Version,
};

/// The label by which a pod's sandboxes and containers are found again.
pub const POD_UID_LABEL: &str = "io.kubernetes.pod.uid";

/// As upstream's `--runtime-request-timeout`.
const PATIENCE: Duration = Duration::from_secs(120);
/// Lists of many containers exceed gRPC's customary 4 MiB.
const MESSAGE_LIMIT: usize = 64 << 20;

/// A CRI v1 runtime behind a Unix socket. Clones share the connection.
#[derive(Clone)]
pub struct Cri {
    socket: PathBuf,
    channel: Channel,
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
    /// The image that every pod's sandbox is made of, if we know: it must never be collected.
    sandbox_image: Option<String>,
}

impl Cri {
    /// A client of the runtime at `socket`; it connects when first used and again after a break.
    #[must_use]
    pub fn at(socket: &Path) -> Self {
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The address is never used: the connector knows the socket.
        let channel = Endpoint::from_static("http://runtime.invalid").connect_with_connector_lazy(connector);
        Self {
            socket: socket.to_owned(),
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_LIMIT),
            images: ImageServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_LIMIT),
            channel,
            sandbox_image: None,
        }
    }

    /// The same, counting `image` as pinned. Runtimes since 2023 say that of their sandbox image themselves.
    #[must_use]
    pub fn pinning(mut self, image: &str) -> Self {
        self.sandbox_image = Some(image.to_owned());
        self
    }

    /// Where the runtime listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

/// A request that ends in time.
fn timed<T>(message: T, patience: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(patience);
    request
}

fn within<T>(message: T) -> tonic::Request<T> {
    timed(message, PATIENCE)
}

fn pod_labels(pod_uid: Option<&str>) -> std::collections::HashMap<String, String> {
    pod_uid.map(|uid| (POD_UID_LABEL.to_owned(), uid.to_owned())).into_iter().collect()
}

/// To stop or remove what is already gone is no failure.
fn gone_is_fine(result: std::result::Result<(), tonic::Status>) -> Result<()> {
    match result {
        Err(status) if status.code() == tonic::Code::NotFound => Ok(()),
        Err(status) => Err(convert::fault(status)),
        Ok(()) => Ok(()),
    }
}

impl Runtime for Cri {
    fn version(&self) -> BoxFuture<'_, Result<Version>> {
        let mut client = self.runtime.clone();
        Box::pin(async move {
            let answer =
                client.version(within(v1::VersionRequest::default())).await.map_err(convert::fault)?;
            let answer = answer.into_inner();
            Ok(Version { name: answer.runtime_name, version: answer.runtime_version })
        })
    }

    fn conditions(&self) -> BoxFuture<'_, Result<Vec<Condition>>> {
        let mut client = self.runtime.clone();
        Box::pin(async move {
            let answer = client.status(within(v1::StatusRequest::default())).await.map_err(convert::fault)?;
            Ok(convert::conditions(answer.into_inner()))
        })
    }

    fn events(&self) -> BoxStream<'static, Event> {
        events::follow(self.clone())
    }

    fn run_sandbox<'a>(&'a self, config: &'a SandboxConfig) -> BoxFuture<'a, Result<SandboxId>> {
        let mut client = self.runtime.clone();
        let request = v1::RunPodSandboxRequest {
            config: Some(convert::sandbox_config(config)),
            runtime_handler: config.runtime_handler.clone(),
        };
        Box::pin(async move {
            // Upstream gives this call twice the usual time: networks may be slow.
            let answer =
                client.run_pod_sandbox(timed(request, PATIENCE * 2)).await.map_err(convert::fault)?;
            Ok(answer.into_inner().pod_sandbox_id)
        })
    }

    fn stop_sandbox<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        let mut client = self.runtime.clone();
        let request = v1::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        Box::pin(async move { gone_is_fine(client.stop_pod_sandbox(within(request)).await.map(drop)) })
    }

    fn remove_sandbox<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        let mut client = self.runtime.clone();
        let request = v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        Box::pin(async move { gone_is_fine(client.remove_pod_sandbox(within(request)).await.map(drop)) })
    }

    fn sandbox_status<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<SandboxStatus>> {
        let mut client = self.runtime.clone();
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
        Box::pin(async move {
            let answer = client.pod_sandbox_status(within(request)).await.map_err(convert::fault)?;
            convert::sandbox_status(answer.into_inner())
        })
    }

    fn list_sandboxes<'a>(&'a self, pod_uid: Option<&'a str>) -> BoxFuture<'a, Result<Vec<Sandbox>>> {
        let mut client = self.runtime.clone();
        let filter = v1::PodSandboxFilter { label_selector: pod_labels(pod_uid), ..Default::default() };
        Box::pin(async move {
            let request = v1::ListPodSandboxRequest { filter: Some(filter) };
            let answer = client.list_pod_sandbox(within(request)).await.map_err(convert::fault)?;
            Ok(answer.into_inner().items.into_iter().map(convert::sandbox).collect())
        })
    }

    fn create_container<'a>(
        &'a self,
        sandbox: &'a str,
        config: &'a ContainerConfig,
        sandbox_config: &'a SandboxConfig,
    ) -> BoxFuture<'a, Result<ContainerId>> {
        let mut client = self.runtime.clone();
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(convert::container_config(config)),
            sandbox_config: Some(convert::sandbox_config(sandbox_config)),
        };
        Box::pin(async move {
            let answer = client.create_container(within(request)).await.map_err(convert::fault)?;
            Ok(answer.into_inner().container_id)
        })
    }

    fn start_container<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        let mut client = self.runtime.clone();
        let request = v1::StartContainerRequest { container_id: id.to_owned() };
        Box::pin(
            async move { client.start_container(within(request)).await.map(drop).map_err(convert::fault) },
        )
    }

    fn stop_container<'a>(&'a self, id: &'a str, grace: Duration) -> BoxFuture<'a, Result<()>> {
        let mut client = self.runtime.clone();
        let seconds = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
        let request = v1::StopContainerRequest { container_id: id.to_owned(), timeout: seconds };
        Box::pin(async move {
            let request = timed(request, grace.saturating_add(PATIENCE));
            gone_is_fine(client.stop_container(request).await.map(drop))
        })
    }

    fn update_container<'a>(&'a self, id: &'a str, resources: &'a Resources) -> BoxFuture<'a, Result<()>> {
        let mut client = self.runtime.clone();
        let request = v1::UpdateContainerResourcesRequest {
            container_id: id.to_owned(),
            linux: Some(convert::resources(resources)),
            ..Default::default()
        };
        Box::pin(async move {
            client.update_container_resources(within(request)).await.map(drop).map_err(convert::fault)
        })
    }

    fn remove_container<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        let mut client = self.runtime.clone();
        let request = v1::RemoveContainerRequest { container_id: id.to_owned() };
        Box::pin(async move { gone_is_fine(client.remove_container(within(request)).await.map(drop)) })
    }

    fn container_status<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<ContainerStatus>> {
        let mut client = self.runtime.clone();
        let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        Box::pin(async move {
            let answer = client.container_status(within(request)).await.map_err(convert::fault)?;
            convert::container_status(answer.into_inner())
        })
    }

    fn list_containers<'a>(&'a self, pod_uid: Option<&'a str>) -> BoxFuture<'a, Result<Vec<Container>>> {
        let mut client = self.runtime.clone();
        let filter = v1::ContainerFilter { label_selector: pod_labels(pod_uid), ..Default::default() };
        Box::pin(async move {
            let request = v1::ListContainersRequest { filter: Some(filter) };
            let answer = client.list_containers(within(request)).await.map_err(convert::fault)?;
            Ok(answer.into_inner().containers.into_iter().map(convert::container).collect())
        })
    }

    fn reopen_log<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        let mut client = self.runtime.clone();
        let request = v1::ReopenContainerLogRequest { container_id: id.to_owned() };
        Box::pin(async move {
            client.reopen_container_log(within(request)).await.map(drop).map_err(convert::fault)
        })
    }

    fn pull_image<'a>(
        &'a self,
        image: &'a str,
        auth: Option<&'a Auth>,
    ) -> BoxFuture<'a, Result<PulledImage>> {
        let mut client = self.images.clone();
        let request = v1::PullImageRequest {
            image: Some(convert::image_spec(image)),
            auth: auth.map(convert::auth),
            sandbox_config: None,
        };
        Box::pin(async move {
            // No deadline: the runtime gives up by itself when nothing arrives any more.
            let answer = client.pull_image(request).await.map_err(convert::fault)?;
            Ok(PulledImage { reference: answer.into_inner().image_ref })
        })
    }

    fn image_status<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<Option<Image>>> {
        let mut client = self.images.clone();
        let request = v1::ImageStatusRequest { image: Some(convert::image_spec(image)), verbose: false };
        Box::pin(async move {
            let answer = client.image_status(within(request)).await.map_err(convert::fault)?;
            Ok(answer.into_inner().image.map(convert::image))
        })
    }

    fn list_images(&self) -> BoxFuture<'_, Result<Vec<Image>>> {
        let mut client = self.images.clone();
        Box::pin(async move {
            let request = v1::ListImagesRequest { filter: None };
            let answer = client.list_images(within(request)).await.map_err(convert::fault)?;
            let mut images: Vec<Image> = answer.into_inner().images.into_iter().map(convert::image).collect();
            if let Some(sandbox) = &self.sandbox_image {
                images.iter_mut().for_each(|image| image.pinned |= image.tags.contains(sandbox));
            }
            Ok(images)
        })
    }

    fn remove_image<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<()>> {
        let mut client = self.images.clone();
        let request = v1::RemoveImageRequest { image: Some(convert::image_spec(image)) };
        Box::pin(async move { gone_is_fine(client.remove_image(within(request)).await.map(drop)) })
    }

    fn image_fs(&self) -> BoxFuture<'_, Result<Vec<FilesystemUsage>>> {
        let mut client = self.images.clone();
        Box::pin(async move {
            let request = v1::ImageFsInfoRequest {};
            let answer = client.image_fs_info(within(request)).await.map_err(convert::fault)?;
            Ok(answer.into_inner().image_filesystems.into_iter().map(convert::filesystem).collect())
        })
    }

    fn mount_image<'a>(&'a self, image: &'a str, target: &'a Path) -> BoxFuture<'a, Result<()>> {
        Box::pin(import::mount(&self.socket, image, target))
    }

    fn import_images<'a>(&'a self, archive: &'a Path) -> BoxFuture<'a, Result<Vec<String>>> {
        Box::pin(import::import(&self.socket, archive))
    }

    fn exec_sync<'a>(
        &'a self,
        id: &'a str,
        command: &'a [String],
        timeout: Option<Duration>,
    ) -> BoxFuture<'a, Result<ExecOutput>> {
        let mut client = self.runtime.clone();
        let seconds =
            timeout.map_or(0, |timeout| i64::try_from(timeout.as_secs().max(1)).unwrap_or(i64::MAX));
        let message =
            v1::ExecSyncRequest { container_id: id.to_owned(), cmd: command.to_vec(), timeout: seconds };
        Box::pin(async move {
            let request = match timeout {
                Some(timeout) => timed(message, timeout.saturating_add(PATIENCE)),
                None => tonic::Request::new(message),
            };
            let answer = client.exec_sync(request).await.map_err(convert::fault)?.into_inner();
            Ok(ExecOutput { stdout: answer.stdout, stderr: answer.stderr, code: answer.exit_code })
        })
    }

    fn exec<'a>(&'a self, request: ExecRequest) -> BoxFuture<'a, Result<Session>> {
        let mut client = self.runtime.clone();
        Box::pin(async move {
            let message = v1::ExecRequest {
                container_id: request.container.clone(),
                cmd: request.command.clone(),
                tty: request.tty,
                stdin: request.stdin,
                stdout: request.stdout,
                stderr: request.stderr,
            };
            let answer = client.exec(within(message)).await.map_err(convert::fault)?;
            streaming::exec(&answer.into_inner().url, &request).await
        })
    }

    fn attach<'a>(&'a self, request: AttachRequest) -> BoxFuture<'a, Result<Session>> {
        let mut client = self.runtime.clone();
        Box::pin(async move {
            let message = v1::AttachRequest {
                container_id: request.container.clone(),
                stdin: request.stdin,
                tty: request.tty,
                stdout: request.stdout,
                stderr: request.stderr,
            };
            let answer = client.attach(within(message)).await.map_err(convert::fault)?;
            streaming::attach(&answer.into_inner().url, &request).await
        })
    }

    fn port_forward<'a>(&'a self, sandbox: &'a str, port: u16) -> BoxFuture<'a, Result<Box<dyn Duplex>>> {
        let mut client = self.runtime.clone();
        let message =
            v1::PortForwardRequest { pod_sandbox_id: sandbox.to_owned(), port: vec![i32::from(port)] };
        Box::pin(async move {
            let answer = client.port_forward(within(message)).await.map_err(convert::fault)?;
            streaming::port_forward(&answer.into_inner().url, port).await
        })
    }

    fn stats<'a>(&'a self, pod_uid: Option<&'a str>) -> BoxFuture<'a, Result<Vec<Stats>>> {
        let mut client = self.runtime.clone();
        let filter = v1::ContainerStatsFilter { label_selector: pod_labels(pod_uid), ..Default::default() };
        Box::pin(async move {
            let request = v1::ListContainerStatsRequest { filter: Some(filter) };
            let answer = client.list_container_stats(within(request)).await.map_err(convert::fault)?;
            Ok(answer.into_inner().stats.into_iter().map(convert::stats).collect())
        })
    }
}

/// A field CRI declares optional but cannot do without.
fn missing(what: &str) -> RuntimeError {
    RuntimeError::Failed { code: "Internal", message: format!("the runtime's answer has no {what}") }
}
