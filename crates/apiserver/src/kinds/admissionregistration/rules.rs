//! What a webhook or policy matches: rules, match resources, parameters. Defaults and checks, upstream's
//! `pkg/apis/admissionregistration/validation`.

use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, NamedRuleWithOperations, ParamKind, ParamRef, RuleWithOperations,
};
use skiff_api::{Errors, names};

use crate::kinds::check;

const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];
pub(super) const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
pub(super) const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
pub(super) const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];

/// A rule without names.
pub(crate) fn plain(rule: &NamedRuleWithOperations) -> RuleWithOperations {
    RuleWithOperations {
        api_groups: rule.api_groups.clone(),
        api_versions: rule.api_versions.clone(),
        operations: rule.operations.clone(),
        resources: rule.resources.clone(),
        scope: rule.scope.clone(),
    }
}

/// Defaults of match resources.
pub(super) fn default_resources(resources: &mut MatchResources) {
    check::default_text(&mut resources.match_policy, "Equivalent");
    resources.namespace_selector.get_or_insert_default();
    resources.object_selector.get_or_insert_default();
    let excluded = resources.exclude_resource_rules.iter_mut().flatten();
    for rule in resources.resource_rules.iter_mut().flatten().chain(excluded) {
        check::default_text(&mut rule.scope, "*");
    }
}

/// A default of a parameter reference.
pub(super) fn default_param_ref(reference: Option<&mut ParamRef>) {
    if let Some(reference) = reference {
        check::default_text(&mut reference.parameter_not_found_action, "Deny");
    }
}

/// Checks a rule.
pub(super) fn rule(errors: &mut Errors, rule: &RuleWithOperations) {
    let operations = rule.operations.as_deref().unwrap_or_default();
    only_star(errors, "operations", operations, "operations");
    for (index, operation) in operations.iter().enumerate() {
        check::one_of(errors, &format!("operations[{index}]"), operation, OPERATIONS);
    }
    only_star(errors, "apiGroups", rule.api_groups.as_deref().unwrap_or_default(), "API groups");
    let versions = rule.api_versions.as_deref().unwrap_or_default();
    only_star(errors, "apiVersions", versions, "API versions");
    for (index, version) in versions.iter().enumerate() {
        if version.is_empty() {
            errors.required(&format!("apiVersions[{index}]"), "");
        }
    }
    resources(errors, rule.resources.as_deref().unwrap_or_default());
    if let Some(scope) = check::given(rule.scope.as_ref()) {
        check::one_of(errors, "scope", scope, SCOPES);
    }
}

fn only_star(errors: &mut Errors, field: &str, list: &[String], what: &str) {
    if list.is_empty() {
        errors.required(field, "");
    }
    if list.len() > 1 && list.iter().any(|item| item == "*") {
        errors.invalid(field, &shown(list), format!("if '*' is present, must not specify other {what}"));
    }
}

fn resources(errors: &mut Errors, list: &[String]) {
    if list.is_empty() {
        errors.required("resources", "");
    }
    let (mut whole, mut subs) = (Vec::new(), Vec::new());
    for (index, text) in list.iter().enumerate() {
        let field = format!("resources[{index}]");
        if text.is_empty() {
            errors.required(&field, "");
        }
        let Some((resource, sub)) = text.split_once('/') else { continue };
        if whole.contains(&resource) {
            errors.invalid(&field, text, format!("if '{resource}/*' is present, must not specify {text}"));
        }
        if subs.contains(&sub) {
            errors.invalid(&field, text, format!("if '*/{sub}' is present, must not specify {text}"));
        }
        if sub == "*" {
            whole.push(resource);
        }
        if resource == "*" {
            subs.push(sub);
        }
    }
    if list.len() > 1 && list.iter().any(|text| text == "*/*") {
        errors.invalid("resources", &shown(list), "if '*/*' is present, must not specify other resources");
    }
    let plain = list.iter().any(|text| text != "*" && !text.contains('/'));
    if plain && list.iter().any(|text| text == "*") {
        let why = "if '*' is present, must not specify other resources without subresources";
        errors.invalid("resources", &shown(list), why);
    }
}

/// A list as messages show it.
pub(super) fn shown(list: &[String]) -> String {
    serde_json::to_string(list).unwrap_or_default()
}

/// Checks match resources.
pub(super) fn match_resources(errors: &mut Errors, resources: &MatchResources) {
    if let Some(policy) = check::given(resources.match_policy.as_ref()) {
        check::one_of(errors, "matchPolicy", policy, MATCH_POLICIES);
    }
    if let Some(selector) = &resources.namespace_selector {
        check::label_selector(errors, "namespaceSelector", selector);
    }
    if let Some(selector) = &resources.object_selector {
        check::label_selector(errors, "objectSelector", selector);
    }
    for (field, rules) in [
        ("resourceRules", &resources.resource_rules),
        ("excludeResourceRules", &resources.exclude_resource_rules),
    ] {
        for (index, named) in rules.iter().flatten().enumerate() {
            errors.item(field, index, |errors| {
                let names = named.resource_names.as_deref().unwrap_or_default();
                for (index, name) in names.iter().enumerate() {
                    let field = format!("resourceNames[{index}]");
                    path_segment(errors, &field, name);
                    if names[..index].contains(name) {
                        errors.duplicate(&field, name);
                    }
                }
                rule(errors, &plain(named));
            });
        }
    }
}

fn path_segment(errors: &mut Errors, field: &str, name: &str) {
    if name == "." || name == ".." {
        errors.invalid(field, name, format!("may not be '{name}'"));
    }
    for letter in ['/', '%'].into_iter().filter(|letter| name.contains(*letter)) {
        errors.invalid(field, name, format!("may not contain '{letter}'"));
    }
}

/// Checks the kind of parameters.
pub(super) fn param_kind(errors: &mut Errors, kind: &ParamKind) {
    match check::given(kind.api_version.as_ref()) {
        None => errors.required("apiVersion", ""),
        Some(text) => {
            let (group, version) = text.rsplit_once('/').unwrap_or(("", text));
            if group.contains('/') {
                errors.invalid("apiVersion", text, format!("unexpected GroupVersion string: {text}"));
            } else {
                if !group.is_empty() {
                    check::named(errors, "apiVersion", group, names::dns1123_subdomain(group));
                }
                check::named(errors, "apiVersion", version, names::dns1035_label(version));
            }
        }
    }
    match check::given(kind.kind.as_ref()) {
        None => errors.required("kind", ""),
        Some(text) => {
            let why = names::dns1035_label(&text.to_lowercase());
            if !why.is_empty() {
                let why = format!("may have mixed case, but should otherwise match: {}", why.join(","));
                errors.invalid("kind", text, why);
            }
        }
    }
}

/// Checks what a binding has: the policy's name, parameters, match resources.
pub(super) fn binding(
    errors: &mut Errors,
    policy: &str,
    reference: Option<&ParamRef>,
    resources: Option<&MatchResources>,
) {
    if policy.is_empty() {
        errors.required("policyName", "");
    } else {
        check::named(errors, "policyName", policy, names::dns1123_subdomain(policy));
    }
    if let Some(reference) = reference {
        errors.at("paramRef", |errors| param_ref(errors, reference));
    }
    if let Some(resources) = resources {
        errors.at("matchResources", |errors| match_resources(errors, resources));
    }
}

fn param_ref(errors: &mut Errors, reference: &ParamRef) {
    let name = check::given(reference.name.as_ref());
    if let Some(name) = name {
        path_segment(errors, "name", name);
    }
    if let Some(selector) = &reference.selector {
        check::label_selector(errors, "selector", selector);
    }
    match (name, &reference.selector) {
        (Some(_), Some(_)) => {
            errors.forbidden("name", "name and selector are mutually exclusive");
            errors.forbidden("selector", "name and selector are mutually exclusive");
        }
        (None, None) => errors.required("", "one of name or selector must be specified"),
        _ => {}
    }
    match check::given(reference.parameter_not_found_action.as_ref()) {
        None => errors.required("parameterNotFoundAction", ""),
        Some(action) => check::one_of(errors, "parameterNotFoundAction", action, &["Allow", "Deny"]),
    }
}

/// The cell `ParamKind`.
pub(super) fn shown_kind(kind: Option<&ParamKind>) -> String {
    kind.map_or_else(
        || "<unset>".to_owned(),
        |kind| {
            let version = kind.api_version.as_deref().unwrap_or_default();
            format!("{version}/{}", kind.kind.as_deref().unwrap_or_default())
        },
    )
}

/// The cell `ParamRef`.
pub(super) fn shown_ref(reference: Option<&ParamRef>) -> String {
    let Some(reference) = reference else { return "<unset>".to_owned() };
    let namespace = check::given(reference.namespace.as_ref()).unwrap_or("*");
    match check::given(reference.name.as_ref()) {
        Some(name) if namespace == "*" => format!("*/{name}"),
        Some(name) => format!("{namespace}/{name}"),
        None => "<selector>".to_owned(),
    }
}
