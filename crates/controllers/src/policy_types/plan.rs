//! Which kinds a policy names, and what is to be said of its expressions.
//!
//! Follows upstream's `admission/plugin/policy/validating/typechecking.go`.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::api::admissionregistration::v1::{
    ExpressionWarning, NamedRuleWithOperations, ValidatingAdmissionPolicySpec,
};
use skiff_api::cel::{self, Type};

use crate::shared::discovery::Served;

/// Upstream's `maxTypesToCheck`.
const MOST_KINDS: usize = 10;

/// A kind in a version, in the order in which they are told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
}

impl Named {
    /// Where its schema is published.
    pub(super) fn document(&self) -> String {
        match self.group.as_str() {
            "" => format!("/openapi/v3/api/{}", self.version),
            group => format!("/openapi/v3/apis/{group}/{}", self.version),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

fn rules(spec: &ValidatingAdmissionPolicySpec) -> &[NamedRuleWithOperations] {
    spec.match_constraints.as_ref().and_then(|all| all.resource_rules.as_deref()).unwrap_or_default()
}

fn names(list: Option<&Vec<String>>) -> Vec<&str> {
    let mut names: Vec<&str> = list.into_iter().flatten().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// The groups, versions and resources that a rule names one by one; nothing where it stands for any.
fn exact(rule: &NamedRuleWithOperations) -> Option<[Vec<&str>; 3]> {
    let (groups, versions) = (names(rule.api_groups.as_ref()), names(rule.api_versions.as_ref()));
    let mut resources = names(rule.resources.as_ref());
    resources.retain(|name| !name.contains(['*', '/']));
    let any = groups.iter().chain(&versions).any(|name| name.contains('*'));
    (!any && !resources.is_empty()).then_some([groups, versions, resources])
}

/// True if there may be kinds to look at.
pub(super) fn names_kinds(spec: &ValidatingAdmissionPolicySpec) -> bool {
    rules(spec).iter().any(|rule| exact(rule).is_some())
}

/// The kinds that a policy names, as far as they are served.
pub(super) fn kinds(spec: &ValidatingAdmissionPolicySpec, served: &[Served]) -> Vec<Named> {
    let mut found = BTreeSet::new();
    for [groups, versions, resources] in rules(spec).iter().filter_map(exact) {
        let mut count = 0;
        for (group, version, resource) in product(&groups, &versions, &resources) {
            let is_it = |one: &&Served| {
                let own = &one.resource;
                *own.group == *group && *own.version == *version && *own.plural == *resource
            };
            let Some(one) = served.iter().find(is_it) else { continue };
            let (group, version) = (group.to_owned(), version.to_owned());
            found.insert(Named { group, version, kind: one.resource.kind.to_string() });
            count += 1;
            if count == MOST_KINDS {
                return found.into_iter().collect();
            }
        }
    }
    found.into_iter().collect()
}

fn product<'a>(
    groups: &'a [&'a str],
    versions: &'a [&'a str],
    resources: &'a [&'a str],
) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
    groups.iter().flat_map(move |group| {
        let in_group =
            move |version: &'a &'a str| resources.iter().map(move |name| (*group, *version, *name));
        versions.iter().flat_map(in_group)
    })
}

/// The kind of a policy's parameters.
pub(super) fn params(spec: &ValidatingAdmissionPolicySpec) -> Option<Named> {
    let kind = spec.param_kind.as_ref()?;
    let api_version = kind.api_version.as_deref().unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let text = |text: &str| text.to_owned();
    Some(Named { group: text(group), version: text(version), kind: kind.kind.clone().unwrap_or_default() })
}

/// What is wrong with each expression, for each kind.
pub(super) fn warnings(
    spec: &ValidatingAdmissionPolicySpec,
    kinds: &[(Named, Type)],
    params: Option<Type>,
) -> Vec<ExpressionWarning> {
    let scopes: Vec<_> =
        kinds.iter().map(|(named, known)| (named, scope(spec, known, params.as_ref()))).collect();
    let mut warnings = Vec::new();
    let mut look = |field: String, expression: &str| {
        let told: Vec<String> = scopes
            .iter()
            .filter_map(|(named, scope)| Some(format!("{named}: {}\n", cel::check(expression, scope).err()?)))
            .collect();
        if !told.is_empty() {
            warnings.push(ExpressionWarning { field_ref: field, warning: told.join("\n") });
        }
    };
    for (index, validation) in spec.validations.iter().flatten().enumerate() {
        let field = |name: &str| format!("spec.validations[{index}].{name}");
        look(field("expression"), &validation.expression);
        if let Some(message) = validation.message_expression.as_deref().filter(|text| !text.is_empty()) {
            look(field("messageExpression"), message);
        }
    }
    warnings
}

/// The variables of a policy's expressions for one kind of object; what is composed comes to its type one after the other.
fn scope(spec: &ValidatingAdmissionPolicySpec, object: &Type, params: Option<&Type>) -> Vec<(String, Type)> {
    let fixed = [
        ("object", object.clone()),
        ("oldObject", object.clone()),
        ("request", Type::request()),
        ("namespaceObject", Type::namespace()),
        ("authorizer", Type::authorizer()),
    ];
    let params = params.map(|known| ("params", known.clone()));
    let mut scope: Vec<(String, Type)> =
        fixed.into_iter().chain(params).map(|(name, known)| (name.to_owned(), known)).collect();
    let outer = scope.len();
    let mut composed = Vec::new();
    for variable in spec.variables.iter().flatten() {
        scope.truncate(outer);
        scope.push(("variables".to_owned(), Type::object("kubernetes.variables", composed.clone())));
        let known = cel::check(&variable.expression, &scope).map_or(Type::Dyn, |known| known.composed());
        composed.push((variable.name.clone(), known));
    }
    scope.truncate(outer);
    scope.push(("variables".to_owned(), Type::object("kubernetes.variables", composed)));
    scope
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use skiff_api::Resource;

    use super::*;

    fn spec(groups: &[&str], versions: &[&str], resources: &[&str]) -> ValidatingAdmissionPolicySpec {
        serde_json::from_value(json!({
            "matchConstraints": { "resourceRules": [{
                "apiGroups": groups, "apiVersions": versions, "resources": resources, "operations": ["*"],
            }] },
        }))
        .unwrap()
    }

    fn served(group: &str, version: &str, plural: &str, kind: &str) -> Served {
        let resource = Resource {
            group: group.into(),
            version: version.into(),
            plural: plural.into(),
            kind: kind.into(),
            namespaced: true,
        };
        Served { resource, verbs: Vec::new(), preferred: true }
    }

    #[test]
    fn only_kinds_that_are_named_one_by_one_are_looked_at() {
        let all = [
            served("", "v1", "pods", "Pod"),
            served("apps", "v1", "deployments", "Deployment"),
            served("apps", "v1", "daemonsets", "DaemonSet"),
        ];
        let shown = |groups: &[&str], versions: &[&str], resources: &[&str]| {
            let spec = spec(groups, versions, resources);
            let named = kinds(&spec, &all);
            assert!(names_kinds(&spec) || named.is_empty());
            named.iter().map(Named::to_string).collect::<Vec<_>>()
        };
        let both = ["/v1, Kind=Pod", "apps/v1, Kind=Deployment"];
        assert_eq!(shown(&["apps", ""], &["v1", "v2"], &["deployments", "pods"]), both);
        assert!(shown(&["apps"], &["*"], &["deployments"]).is_empty());
        assert!(shown(&["apps"], &["v1"], &["*", "deployments/scale"]).is_empty());
        assert_eq!(shown(&["apps"], &["v1"], &["daemonsets", "deployments/*"]), ["apps/v1, Kind=DaemonSet"]);
    }

    #[test]
    fn each_expression_is_told_what_is_wrong_with_it_for_each_kind() {
        let spec: ValidatingAdmissionPolicySpec = serde_json::from_value(json!({
            "variables": [
                { "name": "count", "expression": "object.count" },
                { "name": "twice", "expression": "variables.count + variables.count" },
                { "name": "bad", "expression": "object.nothing" },
            ],
            "validations": [
                { "expression": "variables.twice > 2 && variables.bad.whatever" },
                { "expression": "variables.twice == 'x'", "messageExpression": "params.words" },
            ],
        }))
        .unwrap();
        let kind = |kind: &str, count: Type| {
            let named = Named { group: "g".to_owned(), version: "v1".to_owned(), kind: kind.to_owned() };
            (named, Type::object(kind, [("count".to_owned(), count)]))
        };
        let kinds = [kind("A", Type::Int), kind("B", Type::String)];
        let found = warnings(&spec, &kinds, Some(Type::object("P", [])));
        let fields: Vec<&str> = found.iter().map(|one| one.field_ref.as_str()).collect();
        assert_eq!(
            fields,
            [
                "spec.validations[0].expression",
                "spec.validations[1].expression",
                "spec.validations[1].messageExpression",
            ]
        );
        assert!(
            found[0].warning.starts_with("g/v1, Kind=B: ERROR: <input>:1:17: found no matching overload")
        );
        assert!(found[1].warning.starts_with("g/v1, Kind=A: ERROR: <input>:1:17: "));
        let lines = "ERROR: <input>:1:7: undefined field 'words'\n | params.words\n | ......^\n";
        assert_eq!(found[2].warning, format!("g/v1, Kind=A: {lines}\ng/v1, Kind=B: {lines}"));
        assert!(warnings(&spec, &[], None).is_empty());
    }
}
