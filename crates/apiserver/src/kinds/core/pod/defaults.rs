//! What a pod has that its author left out.
//!
//! Applied to a pod once and to templates whenever they are written, so everything here must leave its own result alone.

use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, EmptyDirVolumeSource, EnvVar, HTTPGetAction, LifecycleHandler,
    PodSecurityContext, PodSpec, Probe, ResourceFieldSelector, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use skiff_api::quantity::Quantity;

use crate::kinds::check::{canonical, default_text};
use crate::kinds::core::persistent_volume_claim;

/// rw-r--r--
const FILE_MODE: i32 = 0o644;

/// What every pod spec gets, in pods and in templates.
pub(super) fn spec(spec: &mut PodSpec) {
    default_text(&mut spec.dns_policy, "ClusterFirst");
    default_text(&mut spec.restart_policy, "Always");
    default_text(&mut spec.scheduler_name, "default-scheduler");
    spec.security_context.get_or_insert_with(PodSecurityContext::default);
    spec.termination_grace_period_seconds.get_or_insert(30);
    // Two names for one thing; both are always shown.
    if spec.service_account_name.as_deref().is_none_or(str::is_empty) {
        spec.service_account_name.clone_from(&spec.service_account);
    }
    spec.service_account.clone_from(&spec.service_account_name);
    let host_network = spec.host_network == Some(true);
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        self::container(container);
        if host_network {
            for port in container.ports.iter_mut().flatten() {
                if port.host_port.unwrap_or(0) == 0 {
                    port.host_port = Some(port.container_port);
                }
            }
        }
    }
    for container in spec.ephemeral_containers.iter_mut().flatten() {
        pull_policy(&mut container.image_pull_policy, container.image.as_deref());
        default_text(&mut container.termination_message_path, "/dev/termination-log");
        default_text(&mut container.termination_message_policy, "File");
        container.env.iter_mut().flatten().for_each(variable);
        container.resources.get_or_insert_default();
    }
    for volume in spec.volumes.iter_mut().flatten() {
        self::volume(volume);
    }
    canonical(spec.overhead.as_mut());
}

/// What only a pod gets, not a template.
pub(super) fn pod(spec: &mut PodSpec) {
    spec.enable_service_links.get_or_insert(true);
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        let Some(resources) = &mut container.resources else { continue };
        for (name, limit) in resources.limits.iter().flatten() {
            let requests = resources.requests.get_or_insert_default();
            requests.entry(name.clone()).or_insert_with(|| limit.clone());
        }
    }
}

fn container(container: &mut Container) {
    pull_policy(&mut container.image_pull_policy, container.image.as_deref());
    default_text(&mut container.termination_message_path, "/dev/termination-log");
    default_text(&mut container.termination_message_policy, "File");
    for port in container.ports.iter_mut().flatten() {
        default_text(&mut port.protocol, "TCP");
    }
    for probe in [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe]
    {
        probe.iter_mut().for_each(self::probe);
    }
    if let Some(lifecycle) = &mut container.lifecycle {
        lifecycle.post_start.iter_mut().for_each(handler);
        lifecycle.pre_stop.iter_mut().for_each(handler);
    }
    container.env.iter_mut().flatten().for_each(variable);
    let resources = container.resources.get_or_insert_default();
    canonical(resources.limits.as_mut());
    canonical(resources.requests.as_mut());
}

fn variable(variable: &mut EnvVar) {
    let Some(source) = &mut variable.value_from else { return };
    if let Some(field) = &mut source.field_ref {
        default_text(&mut field.api_version, "v1");
    }
    source.resource_field_ref.iter_mut().for_each(divisor);
}

fn pull_policy(policy: &mut Option<String>, image: Option<&str>) {
    let latest = is_latest(image.unwrap_or_default());
    default_text(policy, if latest { "Always" } else { "IfNotPresent" });
}

/// Whether an image is named without a tag and digest, or with the tag `latest`.
fn is_latest(image: &str) -> bool {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => digest.is_none(),
    }
}

fn probe(probe: &mut Probe) {
    let default = |slot: &mut Option<i32>, value: i32| {
        if slot.unwrap_or(0) == 0 {
            *slot = Some(value);
        }
    };
    default(&mut probe.timeout_seconds, 1);
    default(&mut probe.period_seconds, 10);
    default(&mut probe.success_threshold, 1);
    default(&mut probe.failure_threshold, 3);
    probe.http_get.iter_mut().for_each(http_get);
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn handler(handler: &mut LifecycleHandler) {
    handler.http_get.iter_mut().for_each(http_get);
}

fn http_get(action: &mut HTTPGetAction) {
    default_text(&mut action.path, "/");
    default_text(&mut action.scheme, "HTTP");
}

fn divisor(field: &mut ResourceFieldSelector) {
    let divisor = field.divisor.get_or_insert_with(|| Text("0".to_owned()));
    canonical_text(divisor);
}

fn volume(volume: &mut Volume) {
    if super::volumes::sources(volume).is_empty() {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    if let Some(limit) = volume.empty_dir.as_mut().and_then(|empty| empty.size_limit.as_mut()) {
        canonical_text(limit);
    }
    if let Some(path) = &mut volume.host_path {
        path.type_.get_or_insert_default();
    }
    if let Some(secret) = &mut volume.secret {
        secret.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(map) = &mut volume.config_map {
        map.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(downward) = &mut volume.downward_api {
        downward.default_mode.get_or_insert(FILE_MODE);
        downward.items.iter_mut().flatten().for_each(downward_file);
    }
    if let Some(projected) = &mut volume.projected {
        projected.default_mode.get_or_insert(FILE_MODE);
        for source in projected.sources.iter_mut().flatten() {
            if let Some(token) = &mut source.service_account_token {
                token.expiration_seconds.get_or_insert(3600);
            }
            if let Some(downward) = &mut source.downward_api {
                downward.items.iter_mut().flatten().for_each(downward_file);
            }
        }
    }
    if let Some(disk) = &mut volume.iscsi {
        default_text(&mut disk.iscsi_interface, "default");
    }
    if let Some(claim) = volume.ephemeral.as_mut().and_then(|e| e.volume_claim_template.as_mut()) {
        persistent_volume_claim::defaults(&mut claim.spec);
    }
    if let Some(image) = &mut volume.image {
        pull_policy(&mut image.pull_policy, image.reference.as_deref());
    }
}

fn downward_file(file: &mut DownwardAPIVolumeFile) {
    if let Some(field) = &mut file.field_ref {
        default_text(&mut field.api_version, "v1");
    }
    file.resource_field_ref.iter_mut().for_each(divisor);
}

fn canonical_text(text: &mut Text) {
    if let Ok(quantity) = Quantity::parse(&text.0) {
        *text = quantity.to_text();
    }
}
