//! The start of one container: what it is given, made, started, and its hook after it.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container as ApiContainer, Pod};

use super::Context;
use super::steps::{Prepared, StartFault, blocking, kill, sandbox_config};
use crate::cdi;
use crate::hooks;
use crate::pod::addresses::ordered;
use crate::pod::config::{self, ContainerParts};
use crate::pod::env::{self, Facts};
use crate::pod::{field_path, find_container, hosts, resources, security, uid};
use crate::record::EventKind;
use crate::runtime::{ContainerId, ContainerStatus, Mount, SandboxStatus};
use crate::volume::Mounts;

/// Everything the start of one container depends on.
pub(super) struct Begin<'a> {
    pub(super) ctx: &'a Context,
    pub(super) pod: &'a Arc<Pod>,
    pub(super) sandbox: &'a SandboxStatus,
    pub(super) mounts: &'a Mounts,
    pub(super) attempt: u32,
    /// Whose processes it sees besides its own.
    pub(super) target: Option<ContainerId>,
}

impl Begin<'_> {
    pub(super) async fn run(&self, name: &str, prepared: Prepared) -> Result<ContainerStatus, StartFault> {
        let (ctx, pod) = (self.ctx, self.pod);
        let path = field_path(pod, name);
        let warn = |reason: &str, message: String| {
            ctx.record.record(pod, Some(&path), EventKind::Warning, reason, message);
        };
        let fault = |reason, message: String| {
            warn("Failed", format!("Error: {message}"));
            StartFault { reason, message, container: None }
        };
        let config_fault = |message: String| fault("CreateContainerConfigError", message);
        let container =
            find_container(pod, name).ok_or_else(|| config_fault(format!("no container {name}")))?;
        let config = self.config(&container, prepared).await.map_err(config_fault)?;
        let sandbox = sandbox_config(ctx, pod, self.sandbox.sandbox.attempt)
            .ok_or_else(|| config_fault("the pod has no spec".to_owned()))?;
        let log = sandbox.log_directory.join(&config.log_path);
        blocking(move || log.parent().map_or(Ok(()), std::fs::create_dir_all)).await.map_err(config_fault)?;

        let id = ctx.runtime.create_container(&self.sandbox.sandbox.id, &config, &sandbox).await;
        let id = id.map_err(|error| fault("CreateContainerError", error.message().to_owned()))?;
        // Before it starts: it may end before we hear that it started.
        ctx.routes.add(&id, uid(pod));
        ctx.record.record(pod, Some(&path), EventKind::Normal, "Created", "Container created".to_owned());
        if let Err(error) = ctx.runtime.start_container(&id).await {
            let container = ctx.runtime.container_status(&id).await.ok().map(Box::new);
            return Err(StartFault { container, ..fault("RunContainerError", error.message().to_owned()) });
        }
        ctx.record.record(pod, Some(&path), EventKind::Normal, "Started", "Container started".to_owned());

        let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
        if let Some(hook) = hook {
            let ip = self.sandbox.addresses.first().copied();
            let ran = hooks::run(ctx.runtime.as_ref(), pod, ip, (name, &id), hook, None).await;
            if let Err(error) = ran {
                warn("FailedPostStartHook", error.to_string());
                let message = "FailedPostStartHook".to_owned();
                let grace = crate::pod::grace(pod);
                let ended = kill(ctx, pod, name, &id, message, grace, ip).await.ok().flatten();
                return Err(StartFault {
                    reason: "PostStartHookError",
                    message: error.to_string(),
                    container: ended,
                });
            }
        }
        let mut status = ctx
            .runtime
            .container_status(&id)
            .await
            .map_err(|error| fault("RunContainerError", error.message().to_owned()))?;
        super::terminal::read_message(&mut status, &ctx.places).await;
        Ok(status)
    }

    async fn config(
        &self,
        container: &ApiContainer,
        prepared: Prepared,
    ) -> Result<crate::runtime::ContainerConfig, String> {
        let (ctx, pod) = (self.ctx, self.pod);
        let host_network = pod.spec.as_ref().is_some_and(|spec| spec.host_network.unwrap_or(false));
        let host_ips: Vec<String> = ctx.node.addresses.iter().map(IpAddr::to_string).collect();
        let pod_ips: Vec<String> = if host_network {
            host_ips.clone()
        } else {
            ordered(&self.sandbox.addresses, &ctx.node.addresses).iter().map(IpAddr::to_string).collect()
        };
        let facts = Facts {
            pod_ips,
            host_ips,
            node_cpu_milli: ctx.node.cpu_milli,
            node_memory: i64::try_from(ctx.node.memory).unwrap_or(i64::MAX),
        };
        let env =
            env::resolve(pod, container, &prepared.sources, &facts).map_err(|error| error.to_string())?;
        let mut mounts = ctx
            .volumes
            .container_mounts(pod, container, &env, self.mounts)
            .map_err(|error| error.to_string())?;
        let devices =
            ctx.volumes.container_devices(container, self.mounts).map_err(|error| error.to_string())?;
        let mut security = security::of_container(pod, container, &prepared.image, &ctx.node.filters)?;
        security.pid_target.clone_from(&self.target);
        mounts.extend(self.own_mounts(container, &facts.pod_ips, host_network, &mounts).await?);
        let parts = ContainerParts {
            attempt: self.attempt,
            image: prepared.image.id,
            env,
            mounts,
            devices,
            resources: resources::of_container(pod, container, ctx.node.memory),
            security,
        };
        let mut config = config::container(pod, container, parts);
        let mut devices = ctx.device_plugins.begin_container(pod, container, &mut config).await?;
        devices.extend(ctx.devices.of_container(pod, container).await?);
        if ctx.node.cdi {
            config.cdi_devices = devices;
        } else if !devices.is_empty() {
            let give = tokio::task::spawn_blocking(move || cdi::give(&devices, &mut config).map(|()| config));
            return give.await.map_err(|error| error.to_string())?;
        }
        Ok(config)
    }

    /// The files every container gets: its hosts and a place for its last words.
    async fn own_mounts(
        &self,
        container: &ApiContainer,
        ips: &[String],
        host_network: bool,
        taken: &[Mount],
    ) -> Result<Vec<Mount>, String> {
        let (ctx, pod) = (self.ctx, self.pod);
        let aliases = pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten());
        let aliases: Vec<_> = aliases.cloned().collect();
        let (host, full) = hosts::hostname(pod, &ctx.node.cluster_dns.domain);
        let hosts_file = ctx.places.hosts(uid(pod));
        let words_file = ctx.places.message(uid(pod), &container.name, self.attempt);
        let (hosts_path, words_path) = (hosts_file.clone(), words_file.clone());
        let ips = ips.to_vec();
        blocking(move || {
            let text = if host_network {
                hosts::node_hosts(&std::fs::read_to_string("/etc/hosts").unwrap_or_default(), &aliases)
            } else {
                hosts::hosts(&ips, &host, full.as_deref(), &aliases)
            };
            write_file(&hosts_path, &text, 0o644)?;
            write_file(&words_path, "", 0o666)
        })
        .await?;
        let own = |container_path: &str, host_path| Mount {
            container_path: container_path.to_owned(),
            host_path,
            ..Mount::default()
        };
        let mut all = vec![own(config::message_path(container), words_file)];
        if taken.iter().all(|mount| mount.container_path != "/etc/hosts") {
            all.push(own("/etc/hosts", hosts_file));
        }
        Ok(all)
    }
}

/// Writes in place: the file may already be mounted into a running container.
fn write_file(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}
