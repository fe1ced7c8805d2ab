//! Which objects a quota counts: its scopes, and what they see of an object; pure.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodAffinityTerm, PodSpec, ResourceQuotaSpec};
use skiff_api::pod::qos::{self, Qos};

/// What scopes see of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Traits {
    /// Nothing: scopes are about pods and claims.
    #[default]
    None,
    /// Of a pod.
    Pod { terminating: bool, best_effort: bool, priority_class: Box<str>, crosses_namespaces: bool },
    /// Of a claim: the volume attributes classes that it names, has, or is on its way to.
    Claim { classes: Vec<Box<str>> },
}

impl Traits {
    pub(super) fn of_pod(pod: &Pod, spec: &PodSpec) -> Self {
        Self::Pod {
            terminating: spec.active_deadline_seconds.is_some_and(|seconds| seconds >= 0),
            best_effort: qos::class(pod) == Qos::BestEffort,
            priority_class: spec.priority_class_name.as_deref().unwrap_or_default().into(),
            crosses_namespaces: crosses_namespaces(spec),
        }
    }

    pub(super) fn of_claim(claim: &PersistentVolumeClaim) -> Self {
        let status = claim.status.as_ref();
        let target = status.and_then(|status| status.modify_volume_status.as_ref());
        let named = [
            claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref()),
            status.and_then(|status| status.current_volume_attributes_class_name.as_deref()),
            target.and_then(|target| target.target_volume_attributes_class_name.as_deref()),
        ];
        let named = named.into_iter().flatten().filter(|name| !name.is_empty());
        Self::Claim { classes: named.map(Into::into).collect() }
    }
}

fn crosses_namespaces(spec: &PodSpec) -> bool {
    let Some(affinity) = &spec.affinity else { return false };
    let crosses = |term: &PodAffinityTerm| {
        term.namespaces.as_ref().is_some_and(|names| !names.is_empty()) || term.namespace_selector.is_some()
    };
    let near = affinity.pod_affinity.iter().any(|near| {
        near.required_during_scheduling_ignored_during_execution.iter().flatten().any(crosses)
            || near
                .preferred_during_scheduling_ignored_during_execution
                .iter()
                .flatten()
                .any(|term| crosses(&term.pod_affinity_term))
    });
    near || affinity.pod_anti_affinity.iter().any(|far| {
        far.required_during_scheduling_ignored_during_execution.iter().flatten().any(crosses)
            || far
                .preferred_during_scheduling_ignored_during_execution
                .iter()
                .flatten()
                .any(|term| crosses(&term.pod_affinity_term))
    })
}

/// One condition of a quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    scope: String,
    operator: String,
    values: Vec<String>,
}

impl Term {
    /// A quota's conditions; all must hold.
    pub(super) fn of(spec: &ResourceQuotaSpec) -> Vec<Self> {
        let exists =
            |scope: &String| Self { scope: scope.clone(), operator: "Exists".to_owned(), values: Vec::new() };
        let plain = spec.scopes.iter().flatten().map(exists);
        let selected =
            spec.scope_selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten());
        let selected = selected.map(|term| Self {
            scope: term.scope_name.clone(),
            operator: term.operator.clone(),
            values: term.values.clone().unwrap_or_default(),
        });
        plain.chain(selected).collect()
    }

    /// Whether it holds for an object.
    pub(super) fn holds(&self, traits: &Traits) -> bool {
        match traits {
            Traits::None => false,
            Traits::Claim { classes } => {
                let classes: Vec<&str> = classes.iter().map(AsRef::as_ref).collect();
                self.scope == "VolumeAttributesClass" && self.selects(&classes)
            }
            Traits::Pod { terminating, best_effort, priority_class, crosses_namespaces } => {
                match self.scope.as_str() {
                    "Terminating" => *terminating,
                    "NotTerminating" => !terminating,
                    "BestEffort" => *best_effort,
                    "NotBestEffort" => !best_effort,
                    "CrossNamespacePodAffinity" => *crosses_namespaces,
                    "PriorityClass" if priority_class.is_empty() => self.selects(&[]),
                    "PriorityClass" => self.selects(&[priority_class]),
                    _ => false,
                }
            }
        }
    }

    /// Whether one of these names is what the operator wants.
    fn selects(&self, names: &[&str]) -> bool {
        let listed = |name: &&str| self.values.iter().any(|value| value == name);
        match self.operator.as_str() {
            "Exists" => !names.is_empty(),
            "DoesNotExist" => names.is_empty(),
            "In" => names.iter().any(listed),
            "NotIn" => names.is_empty() || names.iter().any(|name| !listed(name)),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::given;

    #[test]
    fn scopes_hold_for_what_they_name() {
        let all =
            ["Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "CrossNamespacePodAffinity"];
        for (spec, expected) in [
            ("{containers: [{name: a}]}", "NotTerminating BestEffort"),
            (
                "{activeDeadlineSeconds: 5, containers: [{name: a, resources: {requests: {cpu: 1}}}]}",
                "Terminating NotBestEffort",
            ),
            (
                "{containers: [{name: a}], affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: \
                 [{topologyKey: a, namespaceSelector: {}}]}}}",
                "NotTerminating BestEffort CrossNamespacePodAffinity",
            ),
        ] {
            let pod: Pod = given(&format!("{{spec: {spec}}}"));
            let traits = Traits::of_pod(&pod, pod.spec.as_ref().unwrap());
            let quota = |scope: &str| Term::of(&given(&format!("{{scopes: [{scope}]}}"))).remove(0);
            let held: Vec<&str> = all.into_iter().filter(|scope| quota(scope).holds(&traits)).collect();
            assert_eq!(held.join(" "), expected);
        }
    }

    #[test]
    fn priority_classes_are_selected_by_name() {
        for (class, operator, values, expected) in [
            ("high", "In", "[high, low]", true),
            ("other", "In", "[high]", false),
            ("", "In", "[high]", false),
            ("other", "NotIn", "[high]", true),
            ("", "NotIn", "[high]", true),
            ("", "Exists", "[]", false),
            ("a", "Exists", "[]", true),
            ("", "DoesNotExist", "[]", true),
        ] {
            let term = format!("{{scopeName: PriorityClass, operator: {operator}, values: {values}}}");
            let spec = given(&format!("{{scopeSelector: {{matchExpressions: [{term}]}}}}"));
            let pod: Pod = given(&format!("{{spec: {{priorityClassName: '{class}', containers: []}}}}"));
            let traits = Traits::of_pod(&pod, pod.spec.as_ref().unwrap());
            assert_eq!(Term::of(&spec)[0].holds(&traits), expected, "{class:?} {term}");
        }
    }
}
