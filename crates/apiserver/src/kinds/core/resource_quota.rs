//! ResourceQuota: how much there may be in a namespace, of all objects or of those in some scopes.
//!
//! `quota` (this crate) enforces it and keeps its status.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus};
use skiff_api::Errors;
use skiff_api::quantity::Quantity;

use crate::kinds::{Column, Kind, Row, amounts, row};

/// The row of ResourceQuota.
pub(crate) const KIND: Row = Row { short: &["quota"], status: true, ..row::<ResourceQuota>() };

/// Scopes of which no quota can have both.
const OPPOSITES: [[&str; 2]; 2] = [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];
const COMPUTE: &[&str] =
    &["pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];

/// Whether a scope makes sense for a resource; nothing for a scope that does not exist.
fn suits(scope: &str, resource: &str) -> Option<bool> {
    match scope {
        "Terminating"
        | "NotTerminating"
        | "NotBestEffort"
        | "PriorityClass"
        | "CrossNamespacePodAffinity" => Some(COMPUTE.contains(&resource)),
        "BestEffort" => Some(resource == "pods"),
        "VolumeAttributesClass" => Some(matches!(resource, "persistentvolumeclaims" | "requests.storage")),
        _ => None,
    }
}

impl Kind for ResourceQuota {
    fn prepare_create(&mut self) {
        self.status = Some(ResourceQuotaStatus::default());
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        errors.at("spec", |errors| {
            for (name, amount) in spec.hard.iter().flatten() {
                errors.entry("hard", name, |errors| amounts::quota(errors, name, amount));
            }
            scopes(errors, spec);
            selector(errors, spec);
        });
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let scopes = |quota: &Self| -> BTreeSet<String> {
            quota.spec.iter().flat_map(|spec| spec.scopes.iter().flatten()).cloned().collect()
        };
        if scopes(self) != scopes(old) {
            let shown = self.spec.as_ref().and_then(|spec| spec.scopes.clone()).unwrap_or_default();
            errors.invalid("spec.scopes", &serde_json::Value::from(shown), "field is immutable");
        }
    }

    fn validate_status(&self, _old: &Self, errors: &mut Errors) {
        let Some(status) = &self.status else { return };
        errors.at("status", |errors| {
            for (field, list) in [("hard", &status.hard), ("used", &status.used)] {
                for (name, amount) in list.iter().flatten() {
                    errors.entry(field, name, |errors| amounts::quota(errors, name, amount));
                }
            }
        });
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Request", |quota, _| usage(quota, false).into()),
            Column::<Self>::text("Limit", |quota, _| usage(quota, true).into()),
            Column::age(),
        ]
    }
}

/// `cpu: 1/2, pods: 3/10`, of limits or of everything else.
fn usage(quota: &ResourceQuota, limits: bool) -> String {
    let Some(status) = &quota.status else { return String::new() };
    let hard = status.hard.iter().flatten().filter(|(name, _)| name.starts_with("limits.") == limits);
    let shown = hard.map(|(name, hard)| {
        let used = status.used.as_ref().and_then(|used| used.get(name));
        let text = |amount: &str| Quantity::parse(amount).unwrap_or_default();
        format!("{name}: {}/{}", text(used.map_or("0", |used| &used.0)), text(&hard.0))
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Standard resources that the scope cannot count, one by one.
fn unsuited<'a>(spec: &'a ResourceQuotaSpec, scope: &'a str) -> impl Iterator<Item = &'a String> {
    let standard = spec.hard.iter().flatten().filter(|(name, _)| amounts::is_standard_for_quota(name));
    standard.map(|(name, _)| name).filter(move |name| suits(scope, name) == Some(false))
}

fn conflicting(scopes: &BTreeSet<&str>) -> usize {
    OPPOSITES.iter().filter(|pair| pair.iter().all(|scope| scopes.contains(scope))).count()
}

fn scopes(errors: &mut Errors, spec: &ResourceQuotaSpec) {
    let Some(scopes) = spec.scopes.as_ref().filter(|scopes| !scopes.is_empty()) else { return };
    let shown = serde_json::Value::from(scopes.clone());
    for scope in scopes {
        if suits(scope, "").is_none() {
            errors.invalid("scopes", &shown, "unsupported scope");
        }
        for _ in unsuited(spec, scope) {
            errors.invalid("scopes", &shown, "unsupported scope applied to resource");
        }
    }
    for _ in 0..conflicting(&scopes.iter().map(String::as_str).collect()) {
        errors.invalid("scopes", &shown, "conflicting scopes");
    }
}

fn selector(errors: &mut Errors, spec: &ResourceQuotaSpec) {
    let Some(selector) = &spec.scope_selector else { return };
    let shown = skiff_api::decode::tree(selector).unwrap_or_default();
    let mut seen = BTreeSet::new();
    errors.at("scopeSelector.matchExpressions", |errors| {
        for term in selector.match_expressions.iter().flatten() {
            let scope = term.scope_name.as_str();
            if suits(scope, "").is_none() {
                errors.invalid("scopeName", scope, "unsupported scope");
            }
            for _ in unsuited(spec, scope) {
                errors.invalid("", &shown, "unsupported scope applied to resource");
            }
            let plain = !matches!(scope, "PriorityClass" | "VolumeAttributesClass") && suits(scope, "").is_some();
            if plain && term.operator != "Exists" {
                let why = "must be 'Exist' only operator when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
                errors.invalid("operator", &term.operator, why);
            }
            let values = term.values.clone().unwrap_or_default();
            match term.operator.as_str() {
                "In" | "NotIn" if values.is_empty() => {
                    let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                    errors.required("values", why);
                }
                "Exists" | "DoesNotExist" if !values.is_empty() => {
                    let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                    errors.invalid("values", &serde_json::Value::from(values), why);
                }
                "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
                other => errors.invalid("operator", other, "not a valid selector operator"),
            }
            seen.insert(scope);
        }
        if conflicting(&seen) > 0 {
            let shown = serde_json::Value::from(spec.scopes.clone().unwrap_or_default());
            errors.invalid("", &shown, "conflicting scopes");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{faults, given, printed, update_faults};

    #[test]
    fn names_amounts_and_scopes_are_checked() {
        for (spec, expected) in [
            ("{hard: {pods: 1.5}}", "spec.hard[pods]: Invalid value: \"1500m\": must be an integer"),
            (
                "{hard: {cpu: '-1'}}",
                "spec.hard[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            ),
            (
                "{hard: {storage: 1}}",
                "spec.hard[storage]: Invalid value: \"storage\": must be a standard resource for quota",
            ),
            (
                "{hard: {cpu: 1}, scopes: [BestEffort]}",
                "spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource",
            ),
            (
                "{scopes: [Terminating, NotTerminating]}",
                "spec.scopes: Invalid value: [\"Terminating\",\"NotTerminating\"]: conflicting scopes",
            ),
            ("{scopes: [Odd]}", "spec.scopes: Invalid value: [\"Odd\"]: unsupported scope"),
            (
                "{scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In}]}}",
                "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            ),
        ] {
            assert_eq!(
                faults::<ResourceQuota>(&format!("{{metadata: {{name: a}}, spec: {spec}}}"))[0],
                expected
            );
        }
        let fine = "{metadata: {name: a}, spec: {hard: {count/widgets.example.com: 1, requests.nvidia.com/gpu: 2, \
                    gold.storageclass.storage.k8s.io/requests.storage: 1Gi, requests.hugepages-2Mi: 4Mi}}}";
        assert!(faults::<ResourceQuota>(fine).is_empty());
    }

    #[test]
    fn scopes_stay() {
        let faults = update_faults::<ResourceQuota>(
            "{metadata: {name: a}, spec: {scopes: [Terminating]}}",
            "{metadata: {name: a}, spec: {scopes: [BestEffort]}}",
        );
        assert_eq!(faults, ["spec.scopes: Invalid value: [\"BestEffort\"]: field is immutable"]);
    }

    #[test]
    fn usage_is_shown_against_limits() {
        let quota: ResourceQuota = given(
            "{metadata: {name: a, creationTimestamp: '2026-11-22T10:00:00Z'}, status: {hard: {pods: '5', limits.cpu: '2'}, \
             used: {pods: '1'}}}",
        );
        assert_eq!(
            printed(&quota, "2026-11-22T10:01:00Z"),
            "Request=pods: 1/5 Limit=limits.cpu: 0/2 Age=60s"
        );
    }
}
