//! Topology spread constraints: how evenly pods are to lie over zones and nodes.

use k8s_openapi::api::core::v1::{PodSpec, TopologySpreadConstraint};
use skiff_api::{Errors, names};

use crate::kinds::check;

const POSITIVE: &str = "must be greater than zero";

/// Checks every constraint of a spec.
pub(super) fn validate(spec: &PodSpec, errors: &mut Errors) {
    let all = spec.topology_spread_constraints.as_deref().unwrap_or_default();
    for (index, constraint) in all.iter().enumerate() {
        errors.item("topologySpreadConstraints", index, |errors| {
            if constraint.max_skew <= 0 {
                errors.invalid("maxSkew", &constraint.max_skew, POSITIVE);
            }
            if constraint.topology_key.is_empty() {
                errors.required("topologyKey", "can not be empty");
            } else {
                let key = &constraint.topology_key;
                check::named(errors, "topologyKey", key, names::qualified_name(key));
            }
            let action = constraint.when_unsatisfiable.as_str();
            check::one_of(errors, "whenUnsatisfiable", action, &["DoNotSchedule", "ScheduleAnyway"]);
            let same = |other: &TopologySpreadConstraint| {
                other.topology_key == constraint.topology_key
                    && other.when_unsatisfiable == constraint.when_unsatisfiable
            };
            if all[index + 1..].iter().any(same) {
                let shown = format!("{{{}, {action}}}", constraint.topology_key);
                errors.duplicate("{topologyKey, whenUnsatisfiable}", &shown);
            }
            if let Some(domains) = constraint.min_domains {
                if domains <= 0 {
                    errors.invalid("minDomains", &domains, POSITIVE);
                }
                if action != "DoNotSchedule" {
                    let why =
                        format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                    errors.invalid("minDomains", &domains, why);
                }
            }
            for (field, policy) in [
                ("nodeAffinityPolicy", &constraint.node_affinity_policy),
                ("nodeTaintsPolicy", &constraint.node_taints_policy),
            ] {
                if let Some(policy) = policy {
                    check::one_of(errors, field, policy, &["Honor", "Ignore"]);
                }
            }
            for (index, key) in constraint.match_label_keys.iter().flatten().enumerate() {
                check::named(errors, &format!("matchLabelKeys[{index}]"), key, names::qualified_name(key));
            }
            if let Some(selector) = &constraint.label_selector {
                check::label_selector(errors, "labelSelector", selector);
            }
        });
    }
}
