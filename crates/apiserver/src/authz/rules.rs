//! What a rule allows, and whether somebody's rules cover others. Pure.
//!
//! Follows upstream's `pkg/apis/rbac/v1/evaluation_helpers.go`, `policy_comparator.go` of
//! `k8s.io/component-helpers/auth/rbac/validation` and `pkg/registry/rbac/validation/policy_compact.go`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::Ask;

const ANY: &str = "*";

fn list(words: &Option<Vec<String>>) -> &[String] {
    words.as_deref().unwrap_or_default()
}

fn has(words: &[String], word: &str) -> bool {
    words.iter().any(|own| own == word)
}

/// True if the rule allows what is asked.
pub(crate) fn allows(rule: &PolicyRule, ask: &Ask<'_>) -> bool {
    if !(has(&rule.verbs, ask.verb) || has(&rule.verbs, ANY)) {
        return false;
    }
    if ask.resource.is_empty() {
        return list(&rule.non_resource_urls).iter().any(|pattern| path_matches(pattern, ask.path));
    }
    let groups = list(&rule.api_groups);
    let names = list(&rule.resource_names);
    (has(groups, ask.group) || has(groups, ANY))
        && list(&rule.resources).iter().any(|resource| resource_matches(resource, ask))
        && (names.is_empty() || has(names, ask.name))
}

fn path_matches(pattern: &str, path: &str) -> bool {
    pattern == path || pattern.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

/// `*`, `pods`, `pods/status` or `*/status`.
fn resource_matches(own: &str, ask: &Ask<'_>) -> bool {
    match own.split_once('/') {
        None => own == ANY || (ask.subresource.is_empty() && own == ask.resource),
        Some((resource, sub)) => {
            !ask.subresource.is_empty()
                && sub == ask.subresource
                && (resource == ANY || resource == ask.resource)
        }
    }
}

/// What of `wanted` the rules in `own` do not cover, in upstream's words: sorted, one line each.
pub(crate) fn missing(own: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<String> {
    let small = wanted.iter().flat_map(break_down);
    let uncovered: Vec<PolicyRule> =
        small.filter(|small| !own.iter().any(|own| covers(own, small))).collect();
    let shown: BTreeSet<String> = compact(uncovered).iter().map(shown).collect();
    shown.into_iter().collect()
}

/// Rules of one verb on one thing each.
fn break_down(rule: &PolicyRule) -> Vec<PolicyRule> {
    let one = |word: &String| Some(vec![word.clone()]);
    let mut small = Vec::new();
    for verb in &rule.verbs {
        let verbs = vec![verb.clone()];
        for group in list(&rule.api_groups) {
            for resource in list(&rule.resources) {
                let whole = PolicyRule {
                    api_groups: one(group),
                    resources: one(resource),
                    verbs: verbs.clone(),
                    ..PolicyRule::default()
                };
                match list(&rule.resource_names) {
                    [] => small.push(whole),
                    names => small.extend(
                        names.iter().map(|name| PolicyRule { resource_names: one(name), ..whole.clone() }),
                    ),
                }
            }
        }
        small.extend(list(&rule.non_resource_urls).iter().map(|url| PolicyRule {
            non_resource_urls: one(url),
            verbs: verbs.clone(),
            ..PolicyRule::default()
        }));
    }
    small
}

/// True if `own` allows all that the broken-down rule `small` does.
fn covers(own: &PolicyRule, small: &PolicyRule) -> bool {
    let all = |own: &[String], wanted: &[String]| has(own, ANY) || wanted.iter().all(|word| has(own, word));
    let resources = list(&own.resources);
    let resource_covered = |wanted: &String| {
        has(resources, ANY)
            || has(resources, wanted)
            || wanted.split_once('/').is_some_and(|(_, sub)| has(resources, &format!("*/{sub}")))
    };
    let url_covered = |wanted: &String| {
        list(&own.non_resource_urls).iter().any(|pattern| {
            pattern == wanted
                || pattern
                    .strip_suffix('*')
                    .is_some_and(|prefix| wanted.trim_end_matches('*').starts_with(prefix))
        })
    };
    let (names, wanted_names) = (list(&own.resource_names), list(&small.resource_names));
    all(&own.verbs, &small.verbs)
        && all(list(&own.api_groups), list(&small.api_groups))
        && list(&small.resources).iter().all(resource_covered)
        && list(&small.non_resource_urls).iter().all(url_covered)
        && (names.is_empty()
            || (!wanted_names.is_empty() && wanted_names.iter().all(|name| has(names, name))))
}

/// Joins rules that differ in their verbs only.
pub(crate) fn compact(rules: Vec<PolicyRule>) -> Vec<PolicyRule> {
    let mut simple: BTreeMap<(String, String, Option<String>), Vec<String>> = BTreeMap::new();
    let mut others = Vec::new();
    for rule in rules {
        let is_simple = list(&rule.non_resource_urls).is_empty();
        match (list(&rule.api_groups), list(&rule.resources), list(&rule.resource_names)) {
            ([group], [resource], names) if is_simple && names.len() < 2 => {
                let verbs =
                    simple.entry((group.clone(), resource.clone(), names.first().cloned())).or_default();
                for verb in rule.verbs {
                    if !verbs.contains(&verb) {
                        verbs.push(verb);
                    }
                }
            }
            _ => others.push(rule),
        }
    }
    others.extend(simple.into_iter().map(|((group, resource, name), verbs)| PolicyRule {
        api_groups: Some(vec![group]),
        resources: Some(vec![resource]),
        resource_names: name.map(|name| vec![name]),
        verbs,
        ..PolicyRule::default()
    }));
    others
}

fn shown(rule: &PolicyRule) -> String {
    let verbs = Some(rule.verbs.clone());
    let parts = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("ResourceNames", &rule.resource_names),
        ("Verbs", &verbs),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(_, words)| !list(words).is_empty())
        .map(|(name, words)| format!("{name}:{}", quoted(list(words))))
        .collect();
    format!("{{{}}}", parts.join(", "))
}

/// `["a" "b"]`, as Go prints lists of texts.
pub(crate) fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::User;

    fn rules(yaml: &str) -> Vec<PolicyRule> {
        let json = skiff_api::decode::yaml_to_json(yaml.as_bytes()).unwrap();
        serde_json::from_slice(&json).unwrap()
    }

    fn may(rule: &PolicyRule, verb: &str, resource: &str, name: &str) -> bool {
        let user = User::new("x", Vec::<String>::new());
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        allows(rule, &Ask { verb, resource, subresource, name, ..Ask::nothing(&user) })
    }

    #[test]
    fn rules_match_verbs_groups_resources_and_names() {
        let named = &rules("[{apiGroups: [''], resources: [pods, '*/scale'], verbs: [get]}]")[0];
        assert!(may(named, "get", "pods", "a"));
        assert!(may(named, "get", "anything/scale", "a"));
        assert!(!may(named, "list", "pods", ""));
        assert!(!may(named, "get", "pods/status", "a"));
        assert!(!may(named, "get", "scale", "a"));
        let one = &rules("[{apiGroups: [''], resources: ['*'], resourceNames: [a], verbs: ['*']}]")[0];
        assert!(may(one, "delete", "pods/status", "a"));
        assert!(!may(one, "delete", "pods", "b"));
        assert!(!may(one, "list", "pods", ""));
        let user = User::new("x", Vec::<String>::new());
        let paths = &rules("[{nonResourceURLs: [/healthz, /openapi/*], verbs: [get]}]")[0];
        for (path, allowed) in
            [("/healthz", true), ("/healthz/x", false), ("/openapi/v3", true), ("/openapi", false)]
        {
            assert_eq!(allows(paths, &Ask { verb: "get", path, ..Ask::nothing(&user) }), allowed, "{path}");
        }
    }

    #[test]
    fn what_is_not_covered_is_told_verb_by_verb() {
        let own = rules(
            "[{apiGroups: [''], resources: [pods], verbs: [get, list]}, {nonResourceURLs: [/api/*], verbs: [get]}, \
             {apiGroups: [apps], resources: [deployments], resourceNames: [a], verbs: [get]}]",
        );
        let wanted = rules(
            "[{apiGroups: ['', apps], resources: [pods], verbs: [get, delete]}, {nonResourceURLs: [/api/v1], verbs: [get]}, \
             {apiGroups: [apps], resources: [deployments], verbs: [get]}]",
        );
        assert_eq!(
            missing(&own, &wanted),
            [
                "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}",
                "{APIGroups:[\"apps\"], Resources:[\"deployments\"], Verbs:[\"get\"]}",
                "{APIGroups:[\"apps\"], Resources:[\"pods\"], Verbs:[\"get\" \"delete\"]}",
            ]
        );
        let root = rules(
            "[{apiGroups: ['*'], resources: ['*'], verbs: ['*']}, {nonResourceURLs: ['*'], verbs: ['*']}]",
        );
        assert!(missing(&root, &wanted).is_empty());
    }
}
