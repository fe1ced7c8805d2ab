//! The table of checks, and what they have in common; pure. One function a check, in `baseline` and `restricted`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ContainerPort, Lifecycle, PodSpec, Probe, SecurityContext};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::policy::{Level, Standard, Version};

mod baseline;
mod restricted;

/// What a pod does that it may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) reason: String,
    pub(super) detail: String,
}

/// A pod as checks see it.
#[derive(Clone, Copy)]
struct Subject<'a> {
    meta: &'a ObjectMeta,
    spec: &'a PodSpec,
    version: Version,
}

type Find = fn(Subject<'_>) -> Option<Violation>;

/// A check from a version on, until another of the same level takes its place.
struct Check {
    level: Level,
    since: u32,
    /// Not asked at the restricted level from this version on: a stricter check is.
    overridden: Option<u32>,
    find: Find,
}

const fn baseline(since: u32, find: Find) -> Check {
    Check { level: Level::Baseline, since, overridden: None, find }
}

const fn restricted(since: u32, find: Find) -> Check {
    Check { level: Level::Restricted, since, overridden: None, find }
}

/// Every check, in the order in which upstream tells of them: baseline, then restricted, by file.
static CHECKS: &[Check] = &[
    baseline(0, baseline::app_armor),
    Check { overridden: Some(22), ..baseline(0, baseline::capabilities) },
    baseline(0, baseline::host_namespaces),
    baseline(0, baseline::host_path_volumes),
    baseline(0, baseline::host_ports),
    baseline(34, baseline::probe_hosts),
    baseline(0, baseline::privileged),
    Check { overridden: Some(35), ..baseline(0, baseline::proc_mount) },
    baseline(0, baseline::selinux),
    Check { overridden: Some(19), ..baseline(0, baseline::seccomp) },
    baseline(0, baseline::sysctls),
    baseline(0, baseline::windows_host_process),
    restricted(8, restricted::privilege_escalation),
    restricted(22, restricted::capabilities),
    restricted(35, restricted::proc_mount),
    restricted(0, restricted::volumes),
    restricted(0, restricted::run_as_non_root),
    restricted(23, restricted::run_as_user),
    restricted(19, restricted::seccomp),
];

/// Everything a pod does that the standard does not allow.
pub(super) fn run(standard: Standard, meta: &ObjectMeta, spec: &PodSpec) -> Vec<Violation> {
    let Standard { level, version } = standard;
    let subject = Subject { meta, spec, version };
    let reached = |since: u32| version >= Version::minor(since);
    let applies = |check: &&Check| {
        let replaced = level == Level::Restricted && check.overridden.is_some_and(reached);
        check.level <= level && reached(check.since) && !replaced
    };
    CHECKS.iter().filter(applies).filter_map(|check| (check.find)(subject)).collect()
}

/// A container of any sort, as far as checks and updates look at it.
pub(super) struct Contained<'a> {
    pub(super) name: &'a str,
    pub(super) image: Option<&'a str>,
    security: Option<&'a SecurityContext>,
    ports: &'a [ContainerPort],
    probes: [Option<&'a Probe>; 3],
    lifecycle: Option<&'a Lifecycle>,
}

/// Init containers, containers, ephemeral containers.
pub(super) fn containers(spec: &PodSpec) -> impl Iterator<Item = Contained<'_>> {
    let plain = spec.init_containers.iter().flatten().chain(&spec.containers).map(|container| Contained {
        name: &container.name,
        image: container.image.as_deref(),
        security: container.security_context.as_ref(),
        ports: container.ports.as_deref().unwrap_or_default(),
        probes: [
            container.liveness_probe.as_ref(),
            container.readiness_probe.as_ref(),
            container.startup_probe.as_ref(),
        ],
        lifecycle: container.lifecycle.as_ref(),
    });
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| Contained {
        name: &container.name,
        image: container.image.as_deref(),
        security: container.security_context.as_ref(),
        ports: container.ports.as_deref().unwrap_or_default(),
        probes: [
            container.liveness_probe.as_ref(),
            container.readiness_probe.as_ref(),
            container.startup_probe.as_ref(),
        ],
        lifecycle: container.lifecycle.as_ref(),
    });
    plain.chain(ephemeral)
}

/// The names of containers whose security context (if they have one) is as `bad` says.
fn named<'a>(spec: &'a PodSpec, bad: impl Fn(&'a SecurityContext) -> bool + 'a) -> Vec<&'a str> {
    containers(spec)
        .filter(|container| container.security.is_some_and(&bad))
        .map(|container| container.name)
        .collect()
}

fn violation(reason: &str, detail: String) -> Option<Violation> {
    Some(Violation { reason: reason.to_owned(), detail })
}

fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

/// `"a", "b"`
fn quoted<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    items.into_iter().map(|item| format!("{item:?}")).collect::<Vec<_>>().join(", ")
}

/// `containers "a", "b"`
fn listed(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names.iter().copied()))
}

/// Who sets something bad: the pod, some containers, or both; nothing if nobody does.
fn setters(pod: bool, containers: &[&str]) -> Option<String> {
    let mut who = Vec::new();
    if pod {
        who.push("pod".to_owned());
    }
    if !containers.is_empty() {
        who.push(listed(containers));
    }
    (!who.is_empty()).then(|| who.join(" and "))
}

fn sorted<'a>(items: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    items.collect::<BTreeSet<_>>().into_iter().collect()
}

/// A user namespace of its own makes a pod's root nobody on the node.
fn has_own_users(spec: &PodSpec) -> bool {
    spec.host_users == Some(false)
}

#[cfg(test)]
mod tests;
