//! PodSecurity: what pods of a namespace may do to their node, by the labels of the namespace.
//!
//! Follows upstream's `k8s.io/pod-security-admission`: three levels, each as of a version; pods are refused (`enforce`)
//! or told of (`warn`), templates of workloads are only told of. A namespace whose labels become stricter is told which
//! of its pods would not do. `policy` reads labels, `checks` judge a pod, `defaults` is what the configuration says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    Namespace, Pod, PodSpec, PodTemplate, PodTemplateSpec, ReplicationController,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use skiff_api::{ApiError, Errors};
use skiff_store::Key;

use super::{Attempt, Operation, Plugin};
use crate::audit;
use crate::kinds::Draft;

mod checks;
mod defaults;
mod policy;

pub(super) use defaults::Defaults;

use policy::{Level, Policy, Standard};

pub(super) const PLUGIN: Plugin = Plugin { validate, ..Plugin::named("PodSecurity") };

/// Subresources of pods that change nothing of what is judged.
const IGNORED: &[&str] = &["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];
/// No more pods than this are looked at when a namespace's labels change.
const MOST_PODS: usize = 3000;

fn validate(attempt: &mut Attempt<'_>, draft: &dyn Draft) -> Result<(), ApiError> {
    if &*attempt.scope.entry.table == "namespaces" {
        return match draft.as_any().downcast_ref::<Namespace>() {
            Some(namespace) if attempt.scope.subresource.is_empty() => labels(attempt, namespace),
            _ => Ok(()),
        };
    }
    let object = draft.as_any();
    if let Some(pod) = object.downcast_ref::<Pod>() {
        let old = attempt.old.and_then(|old| old.as_any().downcast_ref::<Pod>());
        let same = old.is_some_and(|old| !differs(pod, old));
        if same || IGNORED.contains(&attempt.scope.subresource) {
            return Ok(());
        }
        let spec = pod.spec.as_ref();
        return spec.map_or(Ok(()), |spec| judge(attempt, &pod.metadata, spec, true));
    }
    let Some(template) = template(object).filter(|_| attempt.scope.subresource.is_empty()) else {
        return Ok(());
    };
    let meta = template.metadata.clone().unwrap_or_default();
    template.spec.as_ref().map_or(Ok(()), |spec| judge(attempt, &meta, spec, false))
}

/// The pods that a workload would make.
fn template(object: &dyn std::any::Any) -> Option<&PodTemplateSpec> {
    if let Some(object) = object.downcast_ref::<ReplicationController>() {
        return object.spec.as_ref()?.template.as_ref();
    }
    if let Some(object) = object.downcast_ref::<ReplicaSet>() {
        return object.spec.template.as_ref();
    }
    if let Some(object) = object.downcast_ref::<Deployment>() {
        return Some(&object.spec.template);
    }
    if let Some(object) = object.downcast_ref::<StatefulSet>() {
        return Some(&object.spec.template);
    }
    if let Some(object) = object.downcast_ref::<DaemonSet>() {
        return Some(&object.spec.template);
    }
    if let Some(object) = object.downcast_ref::<Job>() {
        return object.spec.as_ref().map(|spec| &spec.template);
    }
    if let Some(object) = object.downcast_ref::<PodTemplate>() {
        return object.template.as_ref();
    }
    let job = &object.downcast_ref::<CronJob>()?.spec.job_template;
    job.spec.as_ref().map(|spec| &spec.template)
}

/// Whether an update changes anything that may be changed and is judged: images, seccomp annotations, new ephemeral
/// containers.
fn differs(new: &Pod, old: &Pod) -> bool {
    fn judged(pod: &Pod) -> BTreeSet<(&str, &str)> {
        let containers = pod.spec.iter().flat_map(checks::containers);
        let images = containers.map(|container| (container.name, container.image.unwrap_or_default()));
        let annotations = pod.metadata.annotations.iter().flatten();
        let seccomp = annotations.filter(|(key, _)| key.contains("seccomp.security.alpha.kubernetes.io/"));
        images.chain(seccomp.map(|(key, value)| (key.as_str(), value.as_str()))).collect()
    }
    judged(new) != judged(old)
}

fn judge(
    attempt: &mut Attempt<'_>,
    meta: &ObjectMeta,
    spec: &PodSpec,
    enforce: bool,
) -> Result<(), ApiError> {
    let scope = &attempt.scope;
    let defaults = &scope.api.settings.admission.configuration.pod_security;
    if let Some(why) = defaults.exempts(scope.namespace, scope.user, spec) {
        note("exempt", why);
        return Ok(());
    }
    let key = Key::new("namespaces", scope.namespace);
    let namespace = scope.api.store.get(&key);
    let policy = namespace.map_or(defaults.policy, |stored| {
        Policy::of(stored.object().meta().labels.iter(), defaults.policy).0
    });
    if enforce {
        note("enforce-policy", &policy.enforce.to_string());
    }
    if let Some(detail) = violations(policy.audit, meta, spec, Told::Detail) {
        note("audit-violations", &format!("would violate PodSecurity \"{}\": {detail}", policy.audit));
    }
    if enforce && let Some(detail) = violations(policy.enforce, meta, spec, Told::Detail) {
        let name = meta.name.as_deref().unwrap_or_default();
        return Err(attempt.forbidden(name, format!("violates PodSecurity \"{}\": {detail}", policy.enforce)));
    }
    if let Some(detail) = violations(policy.warn, meta, spec, Told::Detail) {
        attempt.warnings.push(format!("would violate PodSecurity \"{}\": {detail}", policy.warn));
    }
    Ok(())
}

/// Tells the audit log.
fn note(key: &str, value: &str) {
    audit::annotate(&format!("pod-security.kubernetes.io/{key}"), value);
}

/// How much is told of a violation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// `hostPort`
    Reason,
    /// `hostPort (container "a" uses hostPort 80)`
    Detail,
}

/// What a pod does that a standard does not allow.
fn violations(standard: Standard, meta: &ObjectMeta, spec: &PodSpec, told: Told) -> Option<String> {
    let found = checks::run(standard, meta, spec);
    let word = |violation: &checks::Violation| match told {
        Told::Detail if !violation.detail.is_empty() => {
            format!("{} ({})", violation.reason, violation.detail)
        }
        _ => violation.reason.clone(),
    };
    (!found.is_empty()).then(|| found.iter().map(word).collect::<Vec<_>>().join(", "))
}

/// Labels of a namespace: must be well-formed where they are new; stricter ones are tried on what is there.
fn labels(attempt: &mut Attempt<'_>, namespace: &Namespace) -> Result<(), ApiError> {
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    let api = attempt.scope.api;
    let defaults = &api.settings.admission.configuration.pod_security;
    let old = attempt.old.map(|old| old.meta().clone());
    let read = |meta: &ObjectMeta| {
        let labels = meta.labels.iter().flatten();
        Policy::of(labels.map(|(key, value)| (key.as_str(), value.as_str())), defaults.policy)
    };
    let (policy, faults) = read(&namespace.metadata);
    let before = old.as_ref().map(read);
    if !faults.is_empty() && before.as_ref().is_none_or(|(_, before)| *before != faults) {
        let mut errors = Errors::new();
        for fault in faults {
            errors
                .entry("metadata.labels", fault.label, |errors| errors.invalid("", &fault.value, fault.why));
        }
        return Err(ApiError::invalid("", "Namespace", name, errors));
    }
    if defaults.spares(name) {
        let labelled = namespace.metadata.labels.iter().flatten().any(|(key, _)| Policy::is_label(key));
        let changed = before.as_ref().is_none_or(|(before, _)| *before != policy);
        if labelled && changed && !policy.is_open() && policy != defaults.policy {
            attempt.warnings.push(format!(
                "namespace \"{name}\" is exempt from Pod Security, and the policy ({}) will be ignored",
                policy.brief()
            ));
        }
        return Ok(());
    }
    let Some((before, _)) = before.filter(|_| attempt.operation == Operation::Update) else { return Ok(()) };
    let (new, old) = (policy.enforce, before.enforce);
    let relaxed = new.version == old.version && new.level <= old.level;
    if new != old && new.level != Level::Privileged && !relaxed {
        attempt.warnings.extend(existing(attempt, name, new));
    }
    Ok(())
}

/// What a standard would not allow among the pods that a namespace has.
fn existing(attempt: &Attempt<'_>, namespace: &str, standard: Standard) -> Vec<String> {
    let snapshot = attempt.scope.api.store.snapshot("pods");
    let prefix = format!("{namespace}/");
    let total = snapshot.beginning(&prefix).count();
    let pods = snapshot.beginning(&prefix).take(MOST_PODS);
    let pods = pods.filter_map(|(_, stored)| stored.object().decode::<Pod>().ok());
    let mut alike: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in pods {
        let spared = |spec: &&PodSpec| {
            !attempt.scope.api.settings.admission.configuration.pod_security.spares_class(spec)
        };
        let Some(spec) = pod.spec.as_ref().filter(spared) else { continue };
        if let Some(reason) = violations(standard, &pod.metadata, spec, Told::Reason) {
            alike.entry(reason).or_default().push(pod);
        }
    }
    let mut warnings = Vec::new();
    if total > MOST_PODS {
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {MOST_PODS} of {total} existing pods"
        ));
    }
    if !alike.is_empty() {
        warnings.push(format!(
            "existing pods in namespace \"{namespace}\" violate the new PodSecurity enforce level \"{standard}\""
        ));
    }
    let mut told: Vec<String> = alike
        .iter()
        .map(|(reason, pods)| {
            let first = pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).min().unwrap_or_default();
            match pods.len() {
                1 => format!("{first}: {reason}"),
                2 => format!("{first} (and 1 other pod): {reason}"),
                many => format!("{first} (and {} other pods): {reason}", many - 1),
            }
        })
        .collect();
    told.sort_unstable();
    warnings.extend(told);
    warnings
}
