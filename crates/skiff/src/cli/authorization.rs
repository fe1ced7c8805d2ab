//! Who says what somebody may: an AuthorizationConfiguration of `apiserver.config.k8s.io`, instead of
//! `--authorization-mode` and its flags. Authorisers in order, among them any number of webhooks, each asked about what its
//! conditions want it asked about.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use skiff_apiserver::{AccessWebhookOptions, Authorizer};

use super::webhooks::duration;
use crate::kubeconfig;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    authorizers: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    webhook: Option<Webhook>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Webhook {
    #[serde(rename = "authorizedTTL")]
    authorized_ttl: Option<String>,
    #[serde(default = "yes")]
    cache_authorized_requests: bool,
    #[serde(rename = "unauthorizedTTL")]
    unauthorized_ttl: Option<String>,
    #[serde(default = "yes")]
    cache_unauthorized_requests: bool,
    timeout: String,
    subject_access_review_version: String,
    #[serde(default)]
    match_condition_subject_access_review_version: String,
    failure_policy: String,
    connection_info: ConnectionInfo,
    #[serde(default)]
    match_conditions: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConnectionInfo {
    #[serde(rename = "type")]
    kind: String,
    kube_config_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    expression: String,
}

fn yes() -> bool {
    true
}

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
    ensure!(
        !file.authorizers.is_empty(),
        "authorizers: Required value: at least one authorization mode must be defined"
    );
    let mut all = Vec::new();
    for (index, part) in file.authorizers.iter().enumerate() {
        let others = &file.authorizers[..index];
        let place = format!("authorizers[{index}]");
        ensure!(
            !others.iter().any(|other| other.name == part.name),
            "{place}.name: Duplicate value: {:?}",
            part.name
        );
        ensure!(
            is_name(&part.name),
            "{place}.name: Invalid value: {:?}: authorizer name is invalid",
            part.name
        );
        ensure!(
            part.kind == "Webhook" || !others.iter().any(|other| other.kind == part.kind),
            "{place}.type: Duplicate value: {:?}",
            part.kind
        );
        let read = match (&part.webhook, part.kind.as_str()) {
            (Some(webhook), "Webhook") => {
                webhook.read(&part.name).map(|it| Authorizer::Webhook(Box::new(it)))
            }
            (None, "Webhook") => bail!("{place}.webhook: Required value: required when type=Webhook"),
            (Some(_), _) => bail!("{place}.webhook: Invalid value: may only be specified when type=Webhook"),
            (None, plain) => Authorizer::plain(plain).with_context(|| {
                format!("{plain:?} is not one of AlwaysAllow, AlwaysDeny, Node, RBAC, Webhook")
            }),
        };
        all.push(read.with_context(|| place.clone())?);
    }
    Ok(all)
}

/// A lower-case name of letters, digits, dashes and dots.
fn is_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(|byte| letter(*byte))
            && bytes.last().is_some_and(|byte| letter(*byte))
            && bytes.iter().all(|byte| letter(*byte) || *byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

impl Webhook {
    fn read(&self, name: &str) -> anyhow::Result<AccessWebhookOptions> {
        let time =
            |text: &str, field: &str| duration(text).map_err(|why| anyhow::anyhow!("webhook.{field}: {why}"));
        let timeout = time(&self.timeout, "timeout")?;
        ensure!(
            !timeout.is_zero() && timeout <= Duration::from_secs(30),
            "webhook.timeout: Invalid value: {:?}: must be > 0s and <= 30s",
            self.timeout
        );
        let deny = match self.failure_policy.as_str() {
            "Deny" => true,
            "NoOpinion" => false,
            other => {
                bail!("webhook.failurePolicy: Unsupported value: {other:?}: NoOpinion and Deny are known")
            }
        };
        ensure!(
            ["v1", "v1beta1"].contains(&self.subject_access_review_version.as_str()),
            "webhook.subjectAccessReviewVersion: Unsupported value: {:?}",
            self.subject_access_review_version
        );
        ensure!(
            self.match_conditions.is_empty() || self.match_condition_subject_access_review_version == "v1",
            "webhook.matchConditionSubjectAccessReviewVersion: Required value: must be v1 if there are conditions"
        );
        let access = match (self.connection_info.kind.as_str(), &self.connection_info.kube_config_file) {
            ("KubeConfigFile", Some(file)) => kubeconfig::elsewhere(file)?,
            ("KubeConfigFile", None) => bail!("webhook.connectionInfo.kubeConfigFile: Required value"),
            (other, _) => {
                bail!("webhook.connectionInfo.type: Unsupported value: {other:?}: KubeConfigFile is known")
            }
        };
        let life = |kept: bool, text: &Option<String>, field: &str, usual: u64| match text {
            _ if !kept => Ok(Duration::ZERO),
            Some(text) => time(text, field),
            None => Ok(Duration::from_secs(usual)),
        };
        let options = AccessWebhookOptions {
            name: name.to_owned(),
            version: self.subject_access_review_version.clone(),
            cache_authorized_ttl: life(
                self.cache_authorized_requests,
                &self.authorized_ttl,
                "authorizedTTL",
                300,
            )?,
            cache_unauthorized_ttl: life(
                self.cache_unauthorized_requests,
                &self.unauthorized_ttl,
                "unauthorizedTTL",
                30,
            )?,
            timeout: Some(timeout),
            deny_if_unreachable: deny,
            match_conditions: self.match_conditions.iter().map(|it| it.expression.clone()).collect(),
            ..AccessWebhookOptions::of(access)
        };
        options.check().map_err(|why| anyhow::anyhow!("webhook.matchConditions: {why}"))?;
        Ok(options)
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
    fn authorizers_are_read_in_order_and_what_is_wrong_is_said() {
        let read = parsed("{type: Node, name: node}, {type: RBAC, name: rbac}").unwrap();
        assert!(matches!(read.as_slice(), [Authorizer::Node, Authorizer::Rbac]));
        let webhook = |rest: &str| {
            parsed(&format!(
                "{{type: Webhook, name: w, webhook: {{subjectAccessReviewVersion: v1, {rest}}}}}"
            ))
            .map(|_| ())
        };
        let usual = "timeout: 3s, failurePolicy: Deny, connectionInfo: {type: KubeConfigFile, kubeConfigFile: /nowhere}";
        for (fault, expected) in [
            (parsed("").map(|_| ()), "at least one authorization mode"),
            (parsed("{type: Odd, name: a}").map(|_| ()), "\"Odd\" is not one of"),
            (parsed("{type: Node, name: a}, {type: Node, name: b}").map(|_| ()), "Duplicate value: \"Node\""),
            (parsed("{type: Node, name: a}, {type: RBAC, name: a}").map(|_| ()), "name: Duplicate value"),
            (parsed("{type: Webhook, name: a}").map(|_| ()), "required when type=Webhook"),
            (webhook(usual), "/nowhere"),
            (webhook(&usual.replace("3s", "1m")), "must be > 0s and <= 30s"),
            (webhook(&usual.replace("Deny", "Odd")), "failurePolicy"),
            (webhook(&format!("{usual}, odd: 1")), "unknown field `odd`"),
        ] {
            let fault = fault.unwrap_err();
            assert!(fault.contains(expected), "{fault}");
        }
    }
}
