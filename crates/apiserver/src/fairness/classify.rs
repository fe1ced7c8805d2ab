//! Which flow schema a request matches. Pure.

use k8s_openapi::api::flowcontrol::v1::{
    NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject,
};

use crate::request::Info;
use crate::user::User;

/// A request, as flow schemas see it.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) user: &'a User,
    pub(crate) info: &'a Info,
}

/// Whether one of a schema's rules matches.
pub(crate) fn matches(rules: &[PolicyRulesWithSubjects], asked: &Asked<'_>) -> bool {
    rules.iter().any(|rule| {
        rule.subjects.iter().any(|subject| is_subject(subject, asked.user))
            && match &asked.info.target {
                Some(_) => rule.resource_rules.iter().flatten().any(|rule| is_resource(rule, asked.info)),
                None => rule.non_resource_rules.iter().flatten().any(|rule| is_path(rule, asked.info)),
            }
    })
}

fn is_subject(subject: &Subject, user: &User) -> bool {
    if let Some(wanted) = &subject.user {
        return wanted.name == "*" || wanted.name == *user.name;
    }
    if let Some(group) = &subject.group {
        return group.name == "*" || user.is_in(&group.name);
    }
    if let Some(account) = &subject.service_account {
        let Some(rest) = user.name.strip_prefix("system:serviceaccount:") else { return false };
        let Some((namespace, name)) = rest.split_once(':') else { return false };
        return namespace == account.namespace && (account.name == "*" || account.name == name);
    }
    false
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|own| own == "*" || own == wanted)
}

fn is_resource(rule: &ResourcePolicyRule, info: &Info) -> bool {
    let Some(target) = &info.target else { return false };
    let resource = match target.subresource.as_str() {
        "" => target.plural.clone(),
        sub => format!("{}/{sub}", target.plural),
    };
    let placed = if target.namespace.is_empty() {
        rule.cluster_scope == Some(true)
    } else {
        rule.namespaces.as_deref().is_some_and(|namespaces| has(namespaces, &target.namespace))
    };
    placed
        && has(&rule.verbs, info.verb.word())
        && has(&rule.api_groups, &target.group)
        && has(&rule.resources, &resource)
}

fn is_path(rule: &NonResourcePolicyRule, info: &Info) -> bool {
    let verb = info.method.as_str().to_lowercase();
    has(&rule.verbs, &verb)
        && rule.non_resource_urls.iter().any(|url| match url.strip_suffix('*') {
            Some(start) => info.path.starts_with(start),
            None => *url == info.path,
        })
}
