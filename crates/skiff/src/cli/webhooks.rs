//! The flags that name servers elsewhere that know tokens, or what somebody may; as upstream names them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use skiff_apiserver::{AccessWebhookOptions, Authorizer, TokenWebhookOptions};

use super::authorization;
use crate::kubeconfig;

/// The mode that asks a server elsewhere.
const WEBHOOK: &str = "Webhook";

/// Who is asked besides ourselves, and in which order.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct WebhookArgs {
    /// A kubeconfig that leads to a server that knows tokens
    #[arg(long, value_name = "FILE")]
    authentication_token_webhook_config_file: Option<PathBuf>,
    /// The version of the TokenReview it speaks [default: v1beta1]
    #[arg(long, value_name = "VERSION")]
    authentication_token_webhook_version: Option<String>,
    /// How long its answers are good for [default: 2m]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    authentication_token_webhook_cache_ttl: Option<Duration>,
    /// Who says what somebody may, and when each is asked: an AuthorizationConfiguration, instead of the flags below
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "authorization_mode", "authorization_webhook_config_file", "authorization_webhook_version",
        "authorization_webhook_cache_authorized_ttl", "authorization_webhook_cache_unauthorized_ttl",
    ])]
    authorization_config: Option<PathBuf>,
    /// Who says what somebody may, in order: AlwaysAllow, AlwaysDeny, Node, RBAC, Webhook [default: Node,RBAC]
    #[arg(long, value_name = "MODES", value_delimiter = ',')]
    authorization_mode: Vec<String>,
    /// A kubeconfig that leads to the server that the mode Webhook asks
    #[arg(long, value_name = "FILE")]
    authorization_webhook_config_file: Option<PathBuf>,
    /// The version of the SubjectAccessReview it speaks [default: v1beta1]
    #[arg(long, value_name = "VERSION")]
    authorization_webhook_version: Option<String>,
    /// How long its yes is good for [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    authorization_webhook_cache_authorized_ttl: Option<Duration>,
    /// How long its no is good for [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    authorization_webhook_cache_unauthorized_ttl: Option<Duration>,
}

/// A duration as Go writes it: `1m30s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    skiff_base::duration::parse(text).ok_or_else(|| format!("{text:?} is no duration such as 1m30s"))
}

fn version(given: Option<&String>, flag: &str) -> anyhow::Result<String> {
    match given.map(String::as_str) {
        None => Ok("v1beta1".to_owned()),
        Some(version @ ("v1" | "v1beta1")) => Ok(version.to_owned()),
        Some(other) => bail!("{flag} {other:?}: v1 and v1beta1 are known"),
    }
}

impl WebhookArgs {
    /// The server that knows tokens.
    pub(crate) fn tokens(&self) -> anyhow::Result<Option<TokenWebhookOptions>> {
        let Some(path) = &self.authentication_token_webhook_config_file else { return Ok(None) };
        let given = self.authentication_token_webhook_version.as_ref();
        Ok(Some(TokenWebhookOptions {
            access: kubeconfig::elsewhere(path)?,
            version: version(given, "--authentication-token-webhook-version")?,
            cache_ttl: self.authentication_token_webhook_cache_ttl.unwrap_or(Duration::from_secs(120)),
        }))
    }

    /// Who is asked what somebody may.
    pub(crate) fn authorizers(&self) -> anyhow::Result<Vec<Authorizer>> {
        if let Some(file) = &self.authorization_config {
            let read = authorization::read(file);
            return read.with_context(|| format!("read --authorization-config {}", file.display()));
        }
        if self.authorization_mode.is_empty() && self.authorization_webhook_config_file.is_none() {
            return Ok(vec![Authorizer::Node, Authorizer::Rbac]);
        }
        let named = &self.authorization_mode;
        if named.iter().enumerate().any(|(at, mode)| named[..at].contains(mode)) {
            bail!("authorization-mode {named:?} has mode specified more than once");
        }
        if self.authorization_webhook_config_file.is_some() && !named.iter().any(|mode| mode == WEBHOOK) {
            bail!("cannot specify --authorization-webhook-config-file without mode Webhook");
        }
        let one = |name: &String| match name.as_str() {
            WEBHOOK => {
                let webhook = self.access()?;
                let missing = "authorization-mode Webhook's authorization config file not passed";
                Ok(Authorizer::Webhook(Box::new(webhook.context(missing)?)))
            }
            plain => Authorizer::plain(plain).with_context(|| format!("{name:?} is not a valid mode")),
        };
        named.iter().map(one).collect()
    }

    /// The server that the mode Webhook asks.
    fn access(&self) -> anyhow::Result<Option<AccessWebhookOptions>> {
        let Some(path) = &self.authorization_webhook_config_file else { return Ok(None) };
        let given = self.authorization_webhook_version.as_ref();
        let (yes, no) = (
            self.authorization_webhook_cache_authorized_ttl,
            self.authorization_webhook_cache_unauthorized_ttl,
        );
        Ok(Some(AccessWebhookOptions {
            version: version(given, "--authorization-webhook-version")?,
            cache_authorized_ttl: yes.unwrap_or(Duration::from_secs(300)),
            cache_unauthorized_ttl: no.unwrap_or(Duration::from_secs(30)),
            ..AccessWebhookOptions::of(kubeconfig::elsewhere(path)?)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_known_and_named_once() {
        let modes = |list: &[&str]| {
            let authorization_mode = list.iter().map(|mode| (*mode).to_owned()).collect();
            WebhookArgs { authorization_mode, ..WebhookArgs::default() }.authorizers()
        };
        assert!(matches!(modes(&[]).unwrap().as_slice(), [Authorizer::Node, Authorizer::Rbac]));
        let two = modes(&["RBAC", "AlwaysAllow"]).unwrap();
        assert!(matches!(two.as_slice(), [Authorizer::Rbac, Authorizer::AlwaysAllow]));
        assert!(
            modes(&["RBAC", "RBAC"]).is_err() && modes(&["Odd"]).is_err() && modes(&["Webhook"]).is_err()
        );
    }
}
