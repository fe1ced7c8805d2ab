//! The group `rbac.authorization.k8s.io`: who may do what. What roles and what bindings share.
//!
//! Follows upstream's `pkg/apis/rbac/validation/validation.go`. Whether somebody may hand out the rights that an object
//! grants is the admission plugin's business (`admission/escalation.rs`).

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use skiff_api::Errors;
use skiff_api::errors::Fault;

use super::{Column, Kind, check};

pub mod cluster_role;
pub mod cluster_role_binding;
pub mod role;
pub mod role_binding;

/// The group's name, as references to roles and subjects give it.
pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";

/// What a path may hold between two slashes (upstream's `IsValidPathSegmentName`).
pub(crate) fn path_segment(name: &str) -> Vec<String> {
    if matches!(name, "." | "..") {
        return vec![format!("may not be '{name}'")];
    }
    ["/", "%"]
        .iter()
        .filter(|bad| name.contains(**bad))
        .map(|bad| format!("may not contain '{bad}'"))
        .collect()
}

fn check_rules(errors: &mut Errors, rules: Option<&Vec<PolicyRule>>, namespaced: bool) {
    for (index, rule) in rules.into_iter().flatten().enumerate() {
        errors.item("rules", index, |errors| check_rule(errors, rule, namespaced));
    }
}

fn check_rule(errors: &mut Errors, rule: &PolicyRule, namespaced: bool) {
    let given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if rule.verbs.is_empty() {
        errors.required("verbs", "verbs must contain at least one value");
    }
    if given(&rule.non_resource_urls) {
        let urls = json!(rule.non_resource_urls);
        if namespaced {
            let why = "namespaced rules cannot apply to non-resource URLs";
            errors.invalid("nonResourceURLs", &urls, why);
        }
        if given(&rule.api_groups) || given(&rule.resources) || given(&rule.resource_names) {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            errors.invalid("nonResourceURLs", &urls, why);
        }
        return;
    }
    if !given(&rule.api_groups) {
        errors.required("apiGroups", "resource rules must supply at least one api group");
    }
    if !given(&rule.resources) {
        errors.required("resources", "resource rules must supply at least one resource");
    }
}

/// Fills in the groups that clients leave out of references.
fn default_references(role: &mut RoleRef, subjects: Option<&mut Vec<Subject>>) {
    check::default_text(&mut role.api_group, GROUP);
    for subject in subjects.into_iter().flatten() {
        if matches!(subject.kind.as_str(), "User" | "Group") {
            check::default_text(&mut subject.api_group, GROUP);
        }
    }
}

fn check_binding(errors: &mut Errors, role: &RoleRef, subjects: Option<&Vec<Subject>>, namespaced: bool) {
    errors.at("roleRef", |errors| {
        let group = role.api_group.as_deref().unwrap_or_default();
        check::one_of(errors, "apiGroup", group, &[GROUP]);
        let kinds: &[&str] = if namespaced { &["ClusterRole", "Role"] } else { &["ClusterRole"] };
        check::one_of(errors, "kind", &role.kind, kinds);
        if role.name.is_empty() {
            errors.required("name", "");
        } else {
            check::named(errors, "name", &role.name, path_segment(&role.name));
        }
    });
    for (index, subject) in subjects.into_iter().flatten().enumerate() {
        errors.item("subjects", index, |errors| check_subject(errors, subject, namespaced));
    }
}

fn check_subject(errors: &mut Errors, subject: &Subject, namespaced: bool) {
    if subject.name.is_empty() {
        errors.required("name", "");
    }
    let group = subject.api_group.as_deref().unwrap_or_default();
    match subject.kind.as_str() {
        "ServiceAccount" => {
            if !subject.name.is_empty() {
                let why = skiff_api::names::dns1123_subdomain(&subject.name);
                check::named(errors, "name", &subject.name, why);
            }
            check::one_of(errors, "apiGroup", group, &[""]);
            if !namespaced && check::given(subject.namespace.as_ref()).is_none() {
                errors.required("namespace", "");
            }
        }
        kind @ ("User" | "Group") => {
            if subject.name.is_empty() {
                let why = format!("{} name cannot be empty", kind.to_lowercase());
                errors.invalid("name", "", why);
            }
            check::one_of(errors, "apiGroup", group, &[GROUP]);
        }
        other => errors.not_supported("kind", other, &["Group", "ServiceAccount", "User"]),
    }
}

/// A binding is about one role for ever: another one is another binding.
fn check_role_unchanged(errors: &mut Errors, new: &RoleRef, old: &RoleRef) {
    if new != old {
        let shown = json!({ "APIGroup": new.api_group, "Kind": new.kind, "Name": new.name });
        errors.push(Fault::Invalid, "roleRef", shown.to_string(), "cannot change roleRef");
    }
}

/// The time of creation, as roles show it.
fn created_at(meta: &ObjectMeta) -> Value {
    match &meta.creation_timestamp {
        Some(time) => time.0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into(),
        None => "<unknown>".into(),
    }
}

fn shown_role(role: &RoleRef) -> Value {
    format!("{}/{}", role.kind, role.name).into()
}

/// What gives a role to subjects.
trait Binding: Kind {
    fn parts(&self) -> (&RoleRef, Option<&Vec<Subject>>);
}

/// The columns of a binding.
fn binding_columns<K: Binding>() -> Vec<Column<K>> {
    let subjects = [
        Column::text("Users", |binding: &K, _| shown_subjects(binding.parts().1, "User")),
        Column::text("Groups", |binding: &K, _| shown_subjects(binding.parts().1, "Group")),
        Column::text("ServiceAccounts", |binding: &K, _| shown_subjects(binding.parts().1, "ServiceAccount")),
    ];
    let role = Column::text("Role", |binding: &K, _| shown_role(binding.parts().0));
    [role, Column::age()].into_iter().chain(subjects.map(Column::wide)).collect()
}

/// The subjects of one kind, as wide tables list them.
fn shown_subjects(subjects: Option<&Vec<Subject>>, kind: &str) -> Value {
    let shown = |subject: &Subject| match subject.kind.as_str() {
        "ServiceAccount" => format!("{}/{}", subject.namespace.as_deref().unwrap_or_default(), subject.name),
        _ => subject.name.clone(),
    };
    let of_kind = subjects.into_iter().flatten().filter(|subject| subject.kind == kind);
    of_kind.map(shown).collect::<Vec<_>>().join(", ").into()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};

    use crate::kinds::testing::{created, faults, printed, update_faults};

    #[test]
    fn rules_are_about_resources_or_about_paths() {
        assert_eq!(
            faults::<Role>("{rules: [{verbs: []}, {verbs: [get], nonResourceURLs: [/a]}]}"),
            [
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[0].resources: Required value: resource rules must supply at least one resource",
                "rules[1].nonResourceURLs: Invalid value: [\"/a\"]: namespaced rules cannot apply to non-resource URLs",
            ]
        );
        assert_eq!(
            faults::<ClusterRole>(
                "{aggregationRule: {}, rules: [{verbs: [get], nonResourceURLs: [/a], resources: [x]}]}"
            ),
            [
                "rules[0].nonResourceURLs: Invalid value: [\"/a\"]: rules cannot apply to both regular resources and non-resource URLs",
                "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil",
            ]
        );
    }

    #[test]
    fn bindings_name_one_role_for_ever_and_whole_subjects() {
        let binding = created::<RoleBinding>(
            "{roleRef: {kind: Role, name: a}, subjects: [{kind: User, name: u}, {kind: ServiceAccount, name: s, namespace: ns}]}",
        );
        assert_eq!(
            printed(&binding, "2026-11-22T10:05:00Z"),
            "Role=Role/a Age=<unknown> Users=u Groups= ServiceAccounts=ns/s"
        );
        assert_eq!(
            faults::<ClusterRoleBinding>(
                "{roleRef: {kind: Role, name: a/b}, subjects: [{kind: ServiceAccount, name: s}, {kind: Robot, name: x}]}"
            ),
            [
                "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"",
                "roleRef.name: Invalid value: \"a/b\": may not contain '/'",
                "subjects[0].namespace: Required value",
                "subjects[1].kind: Unsupported value: \"Robot\": supported values: \"Group\", \"ServiceAccount\", \"User\"",
            ]
        );
        assert_eq!(
            update_faults::<RoleBinding>(
                "{roleRef: {kind: Role, name: a}}",
                "{roleRef: {kind: Role, name: b}}"
            ),
            [
                "roleRef: Invalid value: {\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"Role\",\"Name\":\"b\"}: cannot change roleRef"
            ]
        );
    }
}
