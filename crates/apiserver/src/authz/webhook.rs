//! A server elsewhere that says what somebody may (`SubjectAccessReview`); its answers are remembered for a while.
//!
//! Follows upstream's `k8s.io/apiserver/plugin/pkg/authorizer/webhook`: one that cannot be asked has no opinion.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ask, Verdict};
use crate::api::Api;
use crate::outbound::{Access, AccessError, Server, insist};
use crate::remembered::{Question, Remembered};

/// Who is asked; named as upstream's flags.
#[derive(Clone, Debug)]
pub struct AccessWebhookOptions {
    /// Where it is.
    pub access: Access,
    /// The version of the SubjectAccessReview it speaks: `v1` or `v1beta1`.
    pub version: String,
    /// How long a yes is good for.
    pub cache_authorized_ttl: Duration,
    /// How long a no is good for.
    pub cache_unauthorized_ttl: Duration,
}

/// The server that knows what somebody may.
pub(crate) struct AccessWebhook {
    server: Server,
    options: AccessWebhookOptions,
    known: Remembered<Verdict>,
}

#[derive(Deserialize)]
struct Review {
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    allowed: bool,
    denied: bool,
    reason: String,
}

impl AccessWebhook {
    /// # Errors
    /// If the server's address or certificates cannot be used.
    pub(crate) fn new(options: &AccessWebhookOptions) -> Result<Self, AccessError> {
        let server = Server::new(&options.access)?;
        Ok(Self { server, options: options.clone(), known: Remembered::default() })
    }

    pub(super) async fn judge(&self, api: &Api, ask: &Ask<'_>) -> Verdict {
        let spec = self.spec(ask);
        let question = Question::of(&spec.to_string());
        if let Some(known) = self.known.get(question) {
            return known;
        }
        let review = json!({
            "apiVersion": format!("authorization.k8s.io/{}", self.options.version), "kind": "SubjectAccessReview",
            "metadata": {}, "spec": spec, "status": { "allowed": false },
        });
        let answer = insist(&self.server, &api.tasks, &review).await;
        let status = answer
            .and_then(|answer| serde_json::from_value::<Review>(answer).map_err(|error| error.to_string()))
            .map(|review| review.status);
        let (verdict, life) = match status {
            Ok(Status { allowed: true, denied: true, .. }) => {
                return Verdict::NoOpinion(
                    "webhook subject access review returned both allow and deny response".to_owned(),
                );
            }
            Ok(status) if status.denied => {
                (Verdict::Deny(status.reason), self.options.cache_unauthorized_ttl)
            }
            Ok(status) if status.allowed => {
                (Verdict::Allow(status.reason), self.options.cache_authorized_ttl)
            }
            Ok(status) => (Verdict::NoOpinion(status.reason), self.options.cache_unauthorized_ttl),
            Err(why) => {
                tracing::warn!(why, "the authorisation webhook could not be asked");
                return Verdict::NoOpinion(String::new());
            }
        };
        self.known.keep(question, verdict.clone(), life);
        verdict
    }

    fn spec(&self, ask: &Ask<'_>) -> Value {
        let groups = if self.options.version == "v1beta1" { "group" } else { "groups" };
        let mut spec = json!({ "user": &*ask.user.name, groups: ask.user.groups });
        if !ask.user.uid.is_empty() {
            spec["uid"] = (*ask.user.uid).into();
        }
        if !ask.user.extra.is_empty() {
            spec["extra"] = json!(ask.user.extra);
        }
        let pairs: &[(&str, &str)] = if ask.resource.is_empty() {
            &[("path", ask.path), ("verb", ask.verb)]
        } else {
            &[
                ("group", ask.group),
                ("name", ask.name),
                ("namespace", ask.namespace),
                ("resource", ask.resource),
                ("subresource", ask.subresource),
                ("verb", ask.verb),
                ("version", ask.version),
            ]
        };
        let attributes: serde_json::Map<String, Value> = pairs
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| ((*key).to_owned(), (*value).into()))
            .collect();
        let which = if ask.resource.is_empty() { "nonResourceAttributes" } else { "resourceAttributes" };
        spec[which] = attributes.into();
        spec
    }
}
