//! Who says what somebody may: an AuthorizationConfiguration of `apiserver.config.k8s.io`, instead of
//! `--authorization-mode` and its flags. Authorisers in order, among them any number of webhooks, each asked about what its
//! conditions want it asked about.
//!
//! Everything that is wrong with a file is told at once, by the paths and in the words of upstream's
//! `apiserver/pkg/apis/apiserver/validation`; a webhook's fields stand right under their authoriser there.

use std::path::Path;
use std::time::Duration;

use anyhow::{bail, ensure};
use skiff_api::{Errors, names};
use skiff_apiserver::{Access, AccessWebhookOptions, Authorizer};

use super::webhooks::duration;
use crate::kubeconfig;

mod written;

use written::{ConnectionInfo, File, Part, Webhook};

const WEBHOOK: &str = "Webhook";
const KNOWN: &[&str] = &["AlwaysAllow", "AlwaysDeny", "Node", "RBAC", WEBHOOK];
const MOST_CONDITIONS: usize = 64;

/// The authorisers that a file names, in its order.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Authorizer>> {
    let text = std::fs::read_to_string(path)?;
    parse(&text)
}

fn parse(text: &str) -> anyhow::Result<Vec<Authorizer>> {
    let file: File = serde_saphyr::from_str(text)?;
    let group = file.api_version.strip_prefix("apiserver.config.k8s.io/");
    ensure!(
        file.kind == "AuthorizationConfiguration" && group.is_some_and(|it| ["v1", "v1beta1"].contains(&it)),
        "no kind {:?} is registered for version {:?}",
        file.kind,
        file.api_version
    );
    let mut errors = Errors::new();
    if file.authorizers.is_empty() {
        errors.required("authorizers", "at least one authorization mode must be defined");
    }
    let mut all = Vec::new();
    for (index, part) in file.authorizers.iter().enumerate() {
        let others = &file.authorizers[..index];
        all.extend(errors.item("authorizers", index, |errors| part.read(others, errors)));
    }
    if errors.is_empty() {
        return Ok(all);
    }
    let told: Vec<String> = errors.list().iter().map(ToString::to_string).collect();
    match told.as_slice() {
        [one] => bail!("{one}"),
        all => bail!("[{}]", all.join(", ")),
    }
}

impl Part {
    /// Nothing if something is wrong with it.
    fn read(&self, others: &[Self], errors: &mut Errors) -> Option<Authorizer> {
        let kind = self.kind.as_str();
        if kind.is_empty() {
            errors.required("type", "");
            return None;
        }
        if !KNOWN.contains(&kind) {
            errors.not_supported("type", kind, KNOWN);
            return None;
        }
        if kind != WEBHOOK && others.iter().any(|other| other.kind == kind) {
            errors.duplicate("type", kind);
            return None;
        }
        self.check_name(others, errors);
        match (&self.webhook, kind) {
            (Some(webhook), WEBHOOK) => {
                webhook.read(&self.name, errors).map(|it| Authorizer::Webhook(Box::new(it)))
            }
            (None, WEBHOOK) => {
                errors.required("webhook", "required when type=Webhook");
                None
            }
            (Some(_), _) => {
                errors.invalid("webhook", "non-null", "may only be specified when type=Webhook");
                None
            }
            (None, plain) => Authorizer::plain(plain),
        }
    }

    fn check_name(&self, others: &[Self], errors: &mut Errors) {
        let why = names::dns1123_subdomain(&self.name);
        if self.name.is_empty() {
            errors.required("name", "");
        } else if others.iter().any(|other| other.name == self.name) {
            errors.duplicate("name", &self.name);
        } else if !why.is_empty() {
            errors.invalid("name", &self.name, format!("authorizer name is invalid: {}", why.join(", ")));
        }
    }
}

/// A time that must be more than nothing.
fn time(text: &str, field: &str, errors: &mut Errors) -> Duration {
    match duration(text) {
        _ if text.is_empty() => errors.required(field, ""),
        Ok(time) if time.is_zero() => errors.required(field, ""),
        Ok(time) => return time,
        Err(why) => errors.invalid(field, text, why),
    }
    Duration::ZERO
}

/// A word of a few.
fn word(text: &str, field: &str, known: &[&str], errors: &mut Errors) {
    if text.is_empty() {
        errors.required(field, "");
    } else if !known.contains(&text) {
        errors.not_supported(field, text, known);
    }
}

impl Webhook {
    /// Nothing if it leads nowhere; what else is wrong with it is among the errors.
    fn read(&self, name: &str, errors: &mut Errors) -> Option<AccessWebhookOptions> {
        let timeout = time(&self.timeout, "timeout", errors);
        if timeout > Duration::from_secs(30) {
            errors.invalid("timeout", &self.timeout, "must be > 0s and <= 30s");
        }
        let yes = time(&self.authorized_ttl, "authorizedTTL", errors);
        let no = time(&self.unauthorized_ttl, "unauthorizedTTL", errors);
        word(&self.subject_access_review_version, "subjectAccessReviewVersion", &["v1", "v1beta1"], errors);
        let version = &self.match_condition_subject_access_review_version;
        const VERSION: &str = "matchConditionSubjectAccessReviewVersion";
        match version.as_str() {
            "" if self.match_conditions.is_empty() => {}
            "" => errors.required(VERSION, "required if match conditions are specified"),
            version => word(version, VERSION, &["v1"], errors),
        }
        word(&self.failure_policy, "failurePolicy", &["NoOpinion", "Deny"], errors);
        let access = errors.at("connectionInfo", |errors| self.connection_info.read(errors));
        self.check_conditions(errors);
        Some(AccessWebhookOptions {
            name: name.to_owned(),
            version: self.subject_access_review_version.clone(),
            cache_authorized_ttl: if self.cache_authorized_requests { yes } else { Duration::ZERO },
            cache_unauthorized_ttl: if self.cache_unauthorized_requests { no } else { Duration::ZERO },
            timeout: Some(timeout),
            deny_if_unreachable: self.failure_policy == "Deny",
            match_conditions: self.match_conditions.iter().map(|it| it.expression.clone()).collect(),
            ..AccessWebhookOptions::of(access?)
        })
    }

    fn check_conditions(&self, errors: &mut Errors) {
        let all = &self.match_conditions;
        if all.len() > MOST_CONDITIONS {
            return errors.too_many("matchConditions", all.len(), MOST_CONDITIONS);
        }
        for (index, condition) in all.iter().enumerate() {
            let expression = &condition.expression;
            errors.item("matchConditions", index, |errors| {
                if expression.trim().is_empty() {
                    errors.required("expression", "");
                } else if all[..index].iter().any(|other| other.expression == *expression) {
                    errors.duplicate("expression", expression);
                } else if let Err(why) = AccessWebhookOptions::check_condition(expression) {
                    errors.invalid("expression", expression, why);
                }
            });
        }
    }
}

impl ConnectionInfo {
    fn read(&self, errors: &mut Errors) -> Option<Access> {
        const FILE: &str = "kubeConfigFile";
        let shown = |path: &Path| path.display().to_string();
        let file = self.kube_config_file.as_deref().filter(|path| !path.as_os_str().is_empty());
        match self.kind.as_str() {
            "InClusterConfig" => {
                if let Some(file) = &self.kube_config_file {
                    errors.invalid(FILE, &shown(file), "can only be set when type=KubeConfigFile");
                    return None;
                }
                kubeconfig::in_cluster()
                    .map_err(|error| errors.invalid("type", &self.kind, format!("{error:#}")))
                    .ok()
            }
            "KubeConfigFile" => {
                let Some(file) = file else {
                    errors.required(FILE, "");
                    return None;
                };
                let why = match std::fs::metadata(file) {
                    _ if !file.is_absolute() => "must be an absolute path".to_owned(),
                    Err(error) => format!("error loading file: {error}"),
                    Ok(found) if !found.is_file() => "must be a regular file".to_owned(),
                    Ok(_) => match kubeconfig::elsewhere(file) {
                        Ok(access) => return Some(access),
                        Err(error) => format!("error loading file: {error:#}"),
                    },
                };
                errors.invalid(FILE, &shown(file), why);
                None
            }
            kind => {
                word(kind, "type", &["InClusterConfig", "KubeConfigFile"], errors);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(authorizers: &str) -> Result<Vec<Authorizer>, String> {
        let yaml = format!(
            "{{apiVersion: apiserver.config.k8s.io/v1, kind: AuthorizationConfiguration, authorizers: [{authorizers}]}}"
        );
        parse(&yaml).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn authorizers_are_read_in_order() {
        let read = parsed("{type: Node, name: node}, {type: RBAC, name: rbac}").unwrap();
        assert!(matches!(read.as_slice(), [Authorizer::Node, Authorizer::Rbac]));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kubeconfig");
        std::fs::write(
            &file,
            "clusters: [{name: a, cluster: {server: https://a}}]\ncontexts: [{context: {cluster: a}}]",
        )
        .unwrap();
        let webhook = format!(
            "{{type: Webhook, name: w, webhook: {{subjectAccessReviewVersion: v1, timeout: 3s, failurePolicy: Deny, \
             cacheUnauthorizedRequests: false, connectionInfo: {{type: KubeConfigFile, kubeConfigFile: {}}}}}}}",
            file.display()
        );
        let read = parsed(&webhook).unwrap();
        let [Authorizer::Webhook(webhook)] = read.as_slice() else { panic!("{read:?}") };
        assert_eq!((webhook.access.url.as_str(), webhook.deny_if_unreachable), ("https://a", true));
        let lives = (webhook.cache_authorized_ttl.as_secs(), webhook.cache_unauthorized_ttl.as_secs());
        assert_eq!(lives, (300, 0));
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let webhook = |rest: &str| parsed(&format!("{{type: Webhook, name: w, webhook: {{{rest}}}}}"));
        let usual = "subjectAccessReviewVersion: v1, timeout: 3s, failurePolicy: Deny, connectionInfo: {type: KubeConfigFile, \
                     kubeConfigFile: /nowhere}";
        for (fault, expected) in [
            (parsed(""), "authorizers: Required value: at least one authorization mode must be defined"),
            (
                parsed(
                    "{name: a}, {type: Odd, name: a}, {type: Node, name: a_b}, {type: Node, name: c}, {type: RBAC, name: a}, \
                        {type: AlwaysDeny, webhook: {}}, {type: Webhook, name: w}",
                ),
                "[authorizers[0].type: Required value, authorizers[1].type: Unsupported value: \"Odd\": supported values: \
                 \"AlwaysAllow\", \"AlwaysDeny\", \"Node\", \"RBAC\", \"Webhook\", authorizers[2].name: Invalid value: \
                 \"a_b\": authorizer name is invalid: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
                 characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex \
                 used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'), \
                 authorizers[3].type: Duplicate value: \"Node\", authorizers[4].name: Duplicate value: \"a\", \
                 authorizers[5].name: Required value, authorizers[5].webhook: Invalid value: \"non-null\": may only be \
                 specified when type=Webhook, authorizers[6].webhook: Required value: required when type=Webhook]",
            ),
            (
                webhook("authorizedTTL: 0s, unauthorizedTTL: soon, matchConditions: [{expression: ' '}]"),
                "[authorizers[0].timeout: Required value, authorizers[0].authorizedTTL: Required value, \
                 authorizers[0].unauthorizedTTL: Invalid value: \"soon\": \"soon\" is no duration such as 1m30s, \
                 authorizers[0].subjectAccessReviewVersion: Required value, \
                 authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are \
                 specified, authorizers[0].failurePolicy: Required value, authorizers[0].connectionInfo.type: Required \
                 value, authorizers[0].matchConditions[0].expression: Required value]",
            ),
            (
                webhook(&usual.replace("3s", "1m").replace("Deny", "Odd").replace("v1", "v2")),
                "[authorizers[0].timeout: Invalid value: \"1m\": must be > 0s and <= 30s, \
                 authorizers[0].subjectAccessReviewVersion: Unsupported value: \"v2\": supported values: \"v1\", \
                 \"v1beta1\", authorizers[0].failurePolicy: Unsupported value: \"Odd\": supported values: \"NoOpinion\", \
                 \"Deny\", authorizers[0].connectionInfo.kubeConfigFile: Invalid value: \"/nowhere\": error loading file: \
                 No such file or directory (os error 2)]",
            ),
            (
                webhook(&usual.replace("/nowhere", "nowhere")),
                "authorizers[0].connectionInfo.kubeConfigFile: Invalid value: \"nowhere\": must be an absolute path",
            ),
            (
                webhook(&usual.replace("type: KubeConfigFile", "type: InClusterConfig")),
                "authorizers[0].connectionInfo.kubeConfigFile: Invalid value: \"/nowhere\": can only be set when \
                 type=KubeConfigFile",
            ),
            (
                webhook(
                    &usual.replace(
                        "{type: KubeConfigFile, kubeConfigFile: /nowhere}",
                        "{type: InClusterConfig}",
                    ),
                ),
                "authorizers[0].connectionInfo.type: Invalid value: \"InClusterConfig\": unable to load in-cluster \
                 configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined",
            ),
        ] {
            assert_eq!(fault.unwrap_err(), expected);
        }
        let fault = webhook(&format!("{usual}, odd: 1")).unwrap_err();
        assert!(fault.contains("unknown field `odd`"), "{fault}");
        let conditions = "matchConditionSubjectAccessReviewVersion: v1, matchConditions: [{expression: a}, {expression: a}]";
        let fault = webhook(&format!("{usual}, {conditions}")).unwrap_err();
        let duplicate = "authorizers[0].matchConditions[1].expression: Duplicate value: \"a\"";
        assert!(
            fault.contains("matchConditions[0].expression: Invalid value: \"a\": compilation failed"),
            "{fault}"
        );
        assert!(fault.contains(duplicate), "{fault}");
    }
}
