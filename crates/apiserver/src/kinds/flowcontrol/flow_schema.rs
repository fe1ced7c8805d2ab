//! FlowSchema: which requests belong to which priority level, and which of them are one flow.
//!
//! Follows upstream's `pkg/apis/flowcontrol/validation`.

use std::collections::HashSet;

use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject,
};
use skiff_api::{Errors, names};

use super::bootstrap;
use crate::kinds::{Column, Kind, Row, check, row};

/// The row of FlowSchema.
pub(crate) const KIND: Row = Row { status: true, ..row::<FlowSchema>() };

const LAST: i32 = 10_000;
const VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

/// A list that is `*` alone or names things.
fn list(errors: &mut Errors, field: &str, values: &[String], empty: &str, of: &str) -> bool {
    let all = values.iter().any(|value| value == "*");
    if values.is_empty() {
        errors.required(field, empty);
    } else if all && values.len() > 1 {
        let shown = skiff_api::decode::tree(values).unwrap_or_default();
        errors.invalid(field, &shown, format!("if '*' is present, must not specify other {of}"));
    }
    all
}

fn verbs(errors: &mut Errors, values: &[String]) {
    let all = list(errors, "verbs", values, "verbs must contain at least one value", "verbs");
    if !all && values.iter().any(|verb| !VERBS.contains(&verb.as_str())) {
        let shown = skiff_api::decode::tree(values).unwrap_or_default();
        errors.not_supported("verbs", &shown, VERBS);
    }
}

fn path(errors: &mut Errors, field: &str, path: &str) {
    let stars = path.matches('*').count();
    let why = match path {
        "" => "must not be empty",
        "/" => return,
        path if !path.starts_with('/') => "must start with slash",
        path if path.contains(' ') => "must not contain white-space",
        path if path.contains("//") => "must not contain double slash",
        path if stars > 1 || (stars == 1 && !path.ends_with("/*")) => "wildcard can only do suffix matching",
        _ => return,
    };
    errors.invalid(field, path, why);
}

fn path_rule(rule: &NonResourcePolicyRule, errors: &mut Errors) {
    verbs(errors, &rule.verbs);
    let empty = "nonResourceURLs must contain at least one value";
    if !list(errors, "nonResourceURLs", &rule.non_resource_urls, empty, "non-resource URLs") {
        for (index, url) in rule.non_resource_urls.iter().enumerate() {
            path(errors, &format!("nonResourceURLs[{index}]"), url);
        }
    }
}

fn resource_rule(rule: &ResourcePolicyRule, errors: &mut Errors) {
    verbs(errors, &rule.verbs);
    list(
        errors,
        "apiGroups",
        &rule.api_groups,
        "resource rules must supply at least one api group",
        "api groups",
    );
    list(
        errors,
        "resources",
        &rule.resources,
        "resource rules must supply at least one resource",
        "resources",
    );
    let namespaces = rule.namespaces.as_deref().unwrap_or_default();
    if namespaces.is_empty() && rule.cluster_scope == Some(true) {
        return;
    }
    let empty = "resource rules that are not cluster scoped must supply at least one namespace";
    if !list(errors, "namespaces", namespaces, empty, "namespaces") {
        for (index, name) in namespaces.iter().enumerate() {
            for why in names::dns1123_label(name) {
                let why = format!("each member of this list must be '*' or a DNS-1123 label; {why}");
                errors.invalid(&format!("namespaces[{index}]"), name, why);
            }
        }
    }
}

fn subject(subject: &Subject, errors: &mut Errors) {
    const KINDS: [(&str, &str); 3] =
        [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];
    let given = [subject.service_account.is_some(), subject.user.is_some(), subject.group.is_some()];
    let Some(own) = KINDS.iter().position(|(kind, _)| *kind == subject.kind) else {
        errors.not_supported("kind", &subject.kind, &["Group", "ServiceAccount", "User"]);
        return;
    };
    for (index, ((kind, field), given)) in KINDS.iter().zip(given).enumerate() {
        if index == own && !given {
            errors.required(field, format!("{field} is required when subject kind is '{kind}'"));
        } else if index != own && given {
            errors.forbidden(field, format!("{field} is forbidden when subject kind is not '{kind}'"));
        }
    }
    if let Some(account) = subject.service_account.as_ref().filter(|_| own == 0) {
        errors.at("serviceAccount", |errors| {
            match account.name.as_str() {
                "" => errors.required("name", ""),
                "*" => {}
                name => check::named(errors, "name", name, names::dns1123_subdomain(name)),
            }
            match account.namespace.as_str() {
                "" => errors.required("namespace", "must specify namespace for service account"),
                name => check::named(errors, "namespace", name, names::dns1123_label(name)),
            }
        });
    }
    if subject.user.as_ref().is_some_and(|user| own == 1 && user.name.is_empty()) {
        errors.required("user.name", "");
    }
    if subject.group.as_ref().is_some_and(|group| own == 2 && group.name.is_empty()) {
        errors.required("group.name", "");
    }
}

fn rule(rule: &PolicyRulesWithSubjects, errors: &mut Errors) {
    if rule.subjects.is_empty() {
        errors.required("subjects", "subjects must contain at least one value");
    }
    for (index, one) in rule.subjects.iter().enumerate() {
        errors.item("subjects", index, |errors| subject(one, errors));
    }
    let resources = rule.resource_rules.as_deref().unwrap_or_default();
    let paths = rule.non_resource_rules.as_deref().unwrap_or_default();
    if resources.is_empty() && paths.is_empty() {
        errors.required("", "at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    for (index, one) in resources.iter().enumerate() {
        errors.item("resourceRules", index, |errors| resource_rule(one, errors));
    }
    for (index, one) in paths.iter().enumerate() {
        errors.item("nonResourceRules", index, |errors| path_rule(one, errors));
    }
}

/// Conditions of either kind of the group: named, each once.
pub(super) fn conditions<'a>(errors: &mut Errors, types: impl Iterator<Item = &'a str>) {
    let mut seen = HashSet::new();
    for (index, name) in types.enumerate() {
        errors.item("status.conditions", index, |errors| {
            if !seen.insert(name) {
                errors.duplicate("type", name);
            }
            if name.is_empty() {
                errors.required("type", "must not be empty");
            }
        });
    }
}

impl Kind for FlowSchema {
    fn set_defaults(&mut self) {
        let precedence = self.spec.matching_precedence.get_or_insert(0);
        if *precedence == 0 {
            *precedence = 1000;
        }
        self.status.get_or_insert_default();
    }

    fn prepare_create(&mut self) {
        self.metadata.generation = Some(1);
        self.status = Some(Default::default());
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn generation_changed(&self, old: &Self) -> bool {
        self.spec != old.spec
    }

    fn validate(&self, errors: &mut Errors) {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let spec = &self.spec;
        let precedence = spec.matching_precedence.unwrap_or(0);
        errors.at("spec", |errors| {
            let field = "matchingPrecedence";
            if precedence <= 0 {
                errors.invalid(field, &precedence, "must be a positive value");
            }
            if precedence > LAST {
                errors.invalid(field, &precedence, format!("must not be greater than {LAST}"));
            }
            if precedence == 1 && name != "exempt" {
                let why = "only the schema named 'exempt' may have matchingPrecedence 1";
                errors.invalid(field, &precedence, why);
            }
            if let Some(method) = &spec.distinguisher_method {
                check::one_of(errors, "distinguisherMethod.type", &method.type_, &["ByNamespace", "ByUser"]);
            }
            let level = spec.priority_level_configuration.name.as_str();
            match level {
                "" => errors.required("priorityLevelConfiguration.name", "must reference a priority level"),
                level => check::named(
                    errors,
                    "priorityLevelConfiguration.name",
                    level,
                    names::dns1123_subdomain(level),
                ),
            }
            for (index, one) in spec.rules.iter().flatten().enumerate() {
                errors.item("rules", index, |errors| rule(one, errors));
            }
            if bootstrap::fixed_schema(name).is_some_and(|fixed| fixed.spec != self.spec) {
                let shown = skiff_api::decode::tree(spec).unwrap_or_default();
                errors.invalid("", &shown, format!("spec of '{name}' must equal the fixed value"));
            }
        });
    }

    fn validate_status(&self, _old: &Self, errors: &mut Errors) {
        let list = self.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions(errors, list.map(|condition| condition.type_.as_str()));
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("PriorityLevel", |it, _| {
                it.spec.priority_level_configuration.name.clone().into()
            }),
            Column::<Self>::text("MatchingPrecedence", |it, _| it.spec.matching_precedence.into()),
            Column::<Self>::text("DistinguisherMethod", |it, _| {
                it.spec
                    .distinguisher_method
                    .clone()
                    .map_or_else(|| check::or_none(""), |method| method.type_)
                    .into()
            }),
            Column::age(),
            Column::<Self>::text("MissingPL", |it, _| {
                let mut list = it.status.iter().flat_map(|status| status.conditions.iter().flatten());
                let dangling = list.find(|condition| condition.type_ == "Dangling");
                dangling
                    .and_then(|condition| condition.status.clone())
                    .unwrap_or_else(|| "?".to_owned())
                    .into()
            }),
        ]
    }
}
