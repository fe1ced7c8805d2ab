//! What a pod spec must look like as a whole; its parts have their own files.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{PodDNSConfig, PodSpec};
use skiff_api::{Errors, names};

use super::{affinity, claims, containers, resources, security, spread, volumes};
use crate::kinds::check;

const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;

/// Finds what is wrong with a pod spec, in a pod or in a template.
pub(super) fn validate(spec: &PodSpec, errors: &mut Errors) {
    volumes::validate(spec, errors);
    containers::validate(spec, errors);
    claims::validate(spec, errors);
    required_of(errors, "restartPolicy", spec.restart_policy.as_ref(), &["Always", "OnFailure", "Never"]);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    required_of(errors, "dnsPolicy", spec.dns_policy.as_ref(), &policies);
    check::labels(errors, "nodeSelector", spec.node_selector.as_ref().unwrap_or(&Default::default()));
    security::pod(spec, errors);
    if let Some(all) = &spec.affinity {
        errors.at("affinity", |errors| affinity::validate(all, errors));
    }
    dns(spec, errors);
    for (index, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let field = format!("readinessGates[{index}].conditionType");
        check::named(errors, &field, &gate.condition_type, names::qualified_name(&gate.condition_type));
    }
    scheduling_gates(spec, errors);
    scheduling_group(spec, errors);
    spread::validate(spec, errors);
    simple_names(spec, errors);
    if let Some(seconds) = spec.active_deadline_seconds
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        let why = format!("must be between 1 and {}, inclusive", i32::MAX);
        errors.invalid("activeDeadlineSeconds", &seconds, why);
    }
    affinity::tolerations(spec.tolerations.as_deref().unwrap_or_default(), errors);
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        errors.item("hostAliases", index, |errors| {
            check::ip(errors, "ip", &alias.ip);
            for (index, host) in alias.hostnames.iter().flatten().enumerate() {
                check::named(errors, &format!("hostnames[{index}]"), host, names::dns1123_subdomain(host));
            }
        });
    }
    if let Some(policy) = check::given(spec.preemption_policy.as_ref()) {
        check::one_of(errors, "preemptionPolicy", policy, &["PreemptLowerPriority", "Never"]);
    }
    if let Some(overhead) = &spec.overhead {
        resources::amounts("overhead", overhead, errors);
    }
    if let Some(os) = &spec.os {
        if os.name.is_empty() {
            errors.required("os.name", "cannot be empty");
        } else {
            check::one_of(errors, "os", &os.name, &["linux", "windows"]);
        }
    }
}

/// A text that must be there and be one of `supported`.
pub(super) fn required_of(errors: &mut Errors, field: &str, text: Option<&String>, supported: &[&str]) {
    match check::given(text) {
        None => errors.required(field, ""),
        Some(text) => check::one_of(errors, field, text, supported),
    }
}

fn simple_names(spec: &PodSpec, errors: &mut Errors) {
    type Rule = fn(&str) -> Vec<String>;
    let rules: [(&str, Option<&String>, Rule); 6] = [
        ("serviceAccountName", spec.service_account_name.as_ref(), names::dns1123_subdomain),
        ("nodeName", spec.node_name.as_ref(), names::dns1123_subdomain),
        ("hostname", spec.hostname.as_ref(), names::dns1123_label),
        ("subdomain", spec.subdomain.as_ref(), names::dns1123_label),
        ("priorityClassName", spec.priority_class_name.as_ref(), names::dns1123_subdomain),
        ("runtimeClassName", spec.runtime_class_name.as_ref(), names::dns1123_subdomain),
    ];
    for (field, text, rule) in rules {
        if let Some(text) = check::given(text) {
            check::named(errors, field, text, rule(text));
        }
    }
}

fn scheduling_gates(spec: &PodSpec, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, gate) in spec.scheduling_gates.iter().flatten().enumerate() {
        let field = format!("schedulingGates[{index}]");
        check::named(errors, &field, &gate.name, names::qualified_name(&gate.name));
        if !seen.insert(&gate.name) {
            errors.duplicate(&field, &gate.name);
        }
    }
    if super::is_gated(spec) && check::given(spec.node_name.as_ref()).is_some() {
        errors.forbidden("nodeName", "cannot be set until all schedulingGates have been cleared");
    }
}

fn scheduling_group(spec: &PodSpec, errors: &mut Errors) {
    let Some(group) = &spec.scheduling_group else { return };
    match check::given(group.pod_group_name.as_ref()) {
        None => errors.invalid("schedulingGroup", "", "must specify one of: `podGroupName`"),
        Some(name) => {
            let field = "schedulingGroup.podGroupName";
            check::named(errors, field, name, names::dns1123_subdomain(name));
        }
    }
}

fn dns(spec: &PodSpec, errors: &mut Errors) {
    let alone = spec.dns_policy.as_deref() == Some("None");
    let empty = PodDNSConfig::default();
    match &spec.dns_config {
        None if alone => {
            errors.required("dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None");
            return;
        }
        _ => {}
    }
    let config = spec.dns_config.as_ref().unwrap_or(&empty);
    errors.at("dnsConfig", |errors| {
        let servers = config.nameservers.as_deref().unwrap_or_default();
        if alone && servers.is_empty() {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.required("nameservers", why);
        }
        if servers.len() > MAX_NAMESERVERS {
            let shown = serde_json::to_value(servers).unwrap_or_default();
            let why = format!("must not have more than {MAX_NAMESERVERS} nameservers");
            errors.invalid("nameservers", &shown, why);
        }
        for (index, server) in servers.iter().enumerate() {
            check::ip(errors, &format!("nameservers[{index}]"), server);
        }
        let searches = config.searches.as_deref().unwrap_or_default();
        if searches.len() > MAX_SEARCHES {
            let shown = serde_json::to_value(searches).unwrap_or_default();
            let why = format!("must not have more than {MAX_SEARCHES} search paths");
            errors.invalid("searches", &shown, why);
        }
        for (index, search) in searches.iter().enumerate() {
            // A lone dot means the root; underscores are common in search paths.
            let plain = search.strip_suffix('.').unwrap_or(search).replace('_', "-");
            if search != "." {
                let field = format!("searches[{index}]");
                check::named(errors, &field, search, names::dns1123_subdomain(plain.trim_matches('-')));
            }
        }
        for (index, option) in config.options.iter().flatten().enumerate() {
            if check::given(option.name.as_ref()).is_none() {
                errors.required(&format!("options[{index}]"), "must not be empty");
            }
        }
    });
}
