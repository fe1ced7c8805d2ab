//! The steps of a plan, carried out: each a future that touches only what it was given and says how it went.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Container as ApiContainer, Pod, PodStatus};

use super::begin::Begin;
use super::{Context, Worker, fetch};
use crate::cluster::ClusterError;
use crate::hooks;
use crate::image::ImageFault;
use crate::pod::config::{self, SandboxParts};
use crate::pod::env::{self, Sources};
use crate::pod::plan::Step;
use crate::pod::{ephemeral, field_path, find_container, hosts, name, namespace, uid};
use crate::record::EventKind;
use crate::runtime::{
    Container, ContainerId, ContainerStatus, Image, RuntimeError, Sandbox, SandboxConfig, SandboxState,
    SandboxStatus,
};
use crate::volume::Mounts;

/// What the runtime listed of a pod before its worker began.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    pub(crate) sandboxes: Vec<Sandbox>,
    pub(crate) containers: Vec<Container>,
}

impl Found {
    pub(crate) fn is_empty(&self) -> bool {
        self.sandboxes.is_empty() && self.containers.is_empty()
    }
}

/// What the runtime holds of a pod.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) sandbox: Option<SandboxStatus>,
    pub(super) old_sandboxes: Vec<String>,
    /// Newest first.
    pub(super) containers: Vec<ContainerStatus>,
}

/// What a container's start needs and was fetched before.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) image: Image,
    pub(super) sources: Sources,
}

/// Why a container did not start, as its status says it.
#[derive(Debug)]
pub(super) struct StartFault {
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// The container, if it was made.
    pub(super) container: Option<Box<ContainerStatus>>,
}

/// How a step went.
pub(super) enum Done {
    Nothing,
    Mounted(Result<Mounts, String>),
    Unmounted(Result<(), String>),
    DevicesPrepared(Result<(), String>),
    DevicesRefused(String),
    SandboxRan(Result<Box<SandboxStatus>, String>),
    SandboxStopped { id: String, result: Result<(), RuntimeError> },
    SandboxSeen(Box<SandboxStatus>),
    SandboxLost(String),
    Prepared { name: String, result: Result<Prepared, ImageFault> },
    Started { name: String, result: Result<Box<ContainerStatus>, StartFault> },
    Killed { name: String, id: String, result: Result<Option<Box<ContainerStatus>>, RuntimeError> },
    Resized { given: Vec<(String, String)>, error: Option<String> },
    Container(Box<ContainerStatus>),
    ContainerLost(ContainerId),
    Everything(Box<Seen>),
    Reported { status: Box<PodStatus>, result: Result<(), ClusterError> },
    Deleted(Result<(), ClusterError>),
    Removed(Result<(), String>),
}

impl Worker {
    /// The future that carries a step out.
    pub(super) fn start(&mut self, step: Step) -> Option<BoxFuture<'static, Done>> {
        let ctx = self.ctx.clone();
        let pod = Arc::clone(&self.pod);
        Some(match step {
            Step::Mount => Box::pin(async move {
                Done::Mounted(ctx.volumes.mount_all(&pod).await.map_err(|error| error.to_string()))
            }),
            Step::Unmount => {
                self.follow = None;
                self.mounts = None;
                Box::pin(async move {
                    let unmounted = ctx.volumes.unmount_all(uid(&pod)).await;
                    Done::Unmounted(match unmounted {
                        Ok(()) => match ctx.devices.unprepare(uid(&pod)).await {
                            Ok(()) => ctx.device_plugins.release(uid(&pod)).await,
                            failed => failed,
                        },
                        Err(error) => Err(error.to_string()),
                    })
                })
            }
            Step::PrepareDevices => Box::pin(async move {
                if let Err(why) = ctx.device_plugins.allocate(&pod).await {
                    return Done::DevicesRefused(why);
                }
                Done::DevicesPrepared(ctx.devices.prepare(ctx.cluster.as_ref(), &pod).await)
            }),
            Step::SandboxChanged => {
                let message = "Pod sandbox changed, it will be killed and re-created.".to_owned();
                ctx.record.record(&pod, None, EventKind::Normal, "SandboxChanged", message);
                self.state.old_sandboxes.extend(self.state.sandbox.take().map(|status| status.sandbox.id));
                return None;
            }
            Step::RunSandbox { attempt } => {
                Box::pin(
                    async move { Done::SandboxRan(run_sandbox(&ctx, &pod, attempt).await.map(Box::new)) },
                )
            }
            Step::StopSandbox { id } => Box::pin(async move {
                let result = ctx.runtime.stop_sandbox(&id).await;
                Done::SandboxStopped { id, result }
            }),
            Step::Prepare { name } => Box::pin(async move {
                let result = prepare(&ctx, &pod, &name).await;
                Done::Prepared { name, result }
            }),
            Step::Start { name, attempt } => {
                let prepared = self.prepared.remove(&name)?;
                let sandbox = self.state.sandbox.clone()?;
                let mounts = self.mounts.clone()?;
                let target = ephemeral::target(&pod, &self.state, &name);
                Box::pin(async move {
                    let (sandbox, mounts) = (&sandbox, &mounts);
                    let begin = Begin { ctx: &ctx, pod: &pod, sandbox, mounts, attempt, target };
                    let result = begin.run(&name, prepared).await.map(Box::new);
                    Done::Started { name, result }
                })
            }
            Step::Kill { name, id, message, grace } => {
                self.probing.remove(&name);
                let ip = self.state.sandbox.as_ref().and_then(|status| status.addresses.first().copied());
                Box::pin(async move {
                    let result = kill(&ctx, &pod, &name, &id, message, grace, ip).await;
                    Done::Killed { name, id, result }
                })
            }
            Step::Resize { names } => {
                let ids = names.into_iter().filter_map(|name| {
                    let id = self.state.slot(&name)?.newest()?.id.clone();
                    Some((name, id))
                });
                let (ids, given) = (ids.collect(), super::resize::given(&pod, &self.state));
                Box::pin(super::resize::resize(ctx, pod, given, ids))
            }
            Step::RemoveContainer { id, .. } => Box::pin(async move {
                remove_container(&ctx, &id).await;
                Done::Nothing
            }),
            Step::Delete => {
                let status =
                    crate::pod::status::status(&pod, &self.state, &self.facts, self.ctx.clock.now_seconds());
                let changed =
                    !self.reported.as_ref().is_some_and(|known| super::report::same(known, &status));
                Box::pin(async move {
                    // The last word about the pod comes before its end, for those who watch it.
                    if changed && let Err(error) = ctx.cluster.write_status(&pod, &status).await {
                        tracing::debug!(pod = name(&pod), %error, "last status not written");
                    }
                    Done::Deleted(ctx.cluster.delete_pod(&pod).await)
                })
            }
            Step::Remove => {
                let mut sandboxes = std::mem::take(&mut self.state.old_sandboxes);
                sandboxes.extend(self.state.sandbox.take().map(|status| status.sandbox.id));
                Box::pin(async move { Done::Removed(remove(&ctx, &pod, sandboxes).await) })
            }
        })
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn sandbox_config(ctx: &Context, pod: &Pod, attempt: u32) -> Option<SandboxConfig> {
    let spec = pod.spec.as_ref()?;
    let (hostname, full) = hosts::hostname(pod, &ctx.node.cluster_dns.domain);
    let fqdn = spec.set_hostname_as_fqdn.unwrap_or(false);
    let parts = SandboxParts {
        attempt,
        hostname: full.filter(|_| fqdn).unwrap_or(hostname),
        dns: hosts::dns(pod, spec, &ctx.node.cluster_dns, &ctx.node.dns),
        cgroup_parent: ctx.cgroups.parent(pod),
        owner: ctx.node.owner.clone(),
    };
    Some(config::sandbox(pod, spec, &ctx.places, parts))
}

async fn run_sandbox(ctx: &Context, pod: &Arc<Pod>, attempt: u32) -> Result<SandboxStatus, String> {
    let class = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_deref()).unwrap_or_default();
    let mut config = sandbox_config(ctx, pod, attempt).ok_or("the pod has no spec")?;
    if !class.is_empty() {
        config.runtime_handler =
            ctx.cluster.runtime_handler(class).await.map_err(|error| error.to_string())?;
    }
    let (cgroups, owned, logs) = (ctx.cgroups.clone(), Arc::clone(pod), config.log_directory.clone());
    blocking(move || {
        std::fs::create_dir_all(logs)?;
        cgroups.create(&owned)
    })
    .await
    .map_err(|error| format!("create cgroup: {error}"))?;
    let id = match ctx.runtime.run_sandbox(&config).await {
        Ok(id) => id,
        Err(error) => {
            clear_away(ctx, uid(pod), attempt).await;
            return Err(error.to_string());
        }
    };
    ctx.routes.add(&id, uid(pod));
    ctx.runtime.sandbox_status(&id).await.map_err(|error| error.to_string())
}

/// A sandbox that failed half-way may be left, with its name and its network taken.
async fn clear_away(ctx: &Context, uid: &str, attempt: u32) {
    let left = ctx.runtime.list_sandboxes(Some(uid)).await.unwrap_or_default();
    // Older ones still hold the logs of the containers before.
    for sandbox in
        left.into_iter().filter(|one| one.state == SandboxState::NotReady && one.attempt == attempt)
    {
        let stopped = ctx.runtime.stop_sandbox(&sandbox.id).await;
        if let Err(error) = stopped.and(ctx.runtime.remove_sandbox(&sandbox.id).await) {
            tracing::warn!(sandbox = sandbox.id, %error, "failed sandbox not cleared away");
        }
    }
}

/// Image and configuration objects, at the same time.
async fn prepare(ctx: &Context, pod: &Pod, name: &str) -> Result<Prepared, ImageFault> {
    let container = find_container(pod, name).ok_or_else(|| ImageFault {
        reason: "CreateContainerConfigError",
        message: format!("no container {name}"),
    })?;
    let (image, sources) = tokio::join!(ctx.images.ensure(pod, &container), sources(ctx, pod, &container));
    let image = image?;
    let sources = sources.map_err(|error| {
        let message = error.to_string();
        let path = field_path(pod, name);
        ctx.record.record(pod, Some(&path), EventKind::Warning, "Failed", format!("Error: {message}"));
        ImageFault { reason: "CreateContainerConfigError", message }
    })?;
    Ok(Prepared { image, sources })
}

async fn sources(ctx: &Context, pod: &Pod, container: &ApiContainer) -> Result<Sources, ClusterError> {
    let wanted = env::wanted(container);
    let mut sources = Sources { services: ctx.cluster.services(namespace(pod)).await, ..Sources::default() };
    for name in wanted.config_maps {
        if let Some(map) = ctx.cluster.config_map(namespace(pod), &name).await? {
            sources.config_maps.insert(name, map);
        }
    }
    for name in wanted.secrets {
        if let Some(secret) = ctx.cluster.secret(namespace(pod), &name).await? {
            sources.secrets.insert(name, secret);
        }
    }
    Ok(sources)
}

#[expect(clippy::too_many_arguments, reason = "all of them are what a stop depends on")]
pub(super) async fn kill(
    ctx: &Context,
    pod: &Pod,
    name: &str,
    id: &str,
    message: String,
    grace: Duration,
    ip: Option<IpAddr>,
) -> Result<Option<Box<ContainerStatus>>, RuntimeError> {
    let path = field_path(pod, name);
    ctx.record.record(pod, Some(&path), EventKind::Normal, "Killing", message);
    let mut left = grace;
    let container = find_container(pod, name);
    let lifecycle = container.as_deref().and_then(|container| container.lifecycle.as_ref());
    if let Some(hook) = lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref()) {
        let begun = ctx.clock.now();
        if let Err(error) = hooks::run(ctx.runtime.as_ref(), pod, ip, (name, id), hook, Some(grace)).await {
            ctx.record.record(pod, Some(&path), EventKind::Warning, "FailedPreStopHook", error.to_string());
        }
        let took = ctx.clock.now().duration_since(begun).unsigned_abs();
        left = grace.saturating_sub(took).max(Duration::from_secs(2));
    }
    ctx.runtime.stop_container(id, left).await?;
    match fetch::container(ctx.clone(), id.to_owned()).await {
        Done::Container(status) => Ok(Some(status)),
        _ => Ok(None),
    }
}

pub(super) async fn remove_container(ctx: &Context, id: &str) {
    let log = ctx.runtime.container_status(id).await.map(|status| status.log_path).ok();
    match ctx.runtime.remove_container(id).await {
        Ok(()) => ctx.routes.remove(id),
        Err(error) => tracing::warn!(container = id, %error, "dead container not removed"),
    }
    if let Some(log) = log.filter(|log| !log.as_os_str().is_empty()) {
        crate::gc::remove_log(&log);
    }
}

/// Removes what is left of an ended pod.
async fn remove(ctx: &Context, pod: &Pod, known: Vec<String>) -> Result<(), String> {
    let uid = uid(pod).to_owned();
    let mut sandboxes = known;
    if sandboxes.is_empty() {
        let listed = ctx.runtime.list_sandboxes(Some(&uid)).await.map_err(|error| error.to_string())?;
        sandboxes.extend(listed.into_iter().map(|sandbox| sandbox.id));
    }
    for id in sandboxes {
        ctx.runtime.stop_sandbox(&id).await.map_err(|error| error.to_string())?;
        ctx.runtime.remove_sandbox(&id).await.map_err(|error| error.to_string())?;
    }
    ctx.routes.remove_pod(&uid);
    let (cgroups, home) = (ctx.cgroups.clone(), ctx.places.pod(&uid));
    let logs = ctx.places.logs(namespace(pod), name(pod), &uid);
    blocking(move || {
        cgroups.remove(&uid);
        for directory in [home, logs] {
            match std::fs::remove_dir_all(directory) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    })
    .await
}
