//! A server elsewhere that says what somebody may (`SubjectAccessReview`); its answers are remembered for a while.
//!
//! Follows upstream's `k8s.io/apiserver/plugin/pkg/authorizer/webhook`: one that cannot be asked has no opinion.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use skiff_api::cel::{self, Env, PER_OBJECT, Program, Scope};

use super::{Ask, Verdict};
use crate::api::Api;
use crate::outbound::{Access, AccessError, Server, insist};
use crate::remembered::{Question, Remembered};

/// Who is asked; named as upstream's flags.
#[derive(Clone, Debug)]
pub struct AccessWebhookOptions {
    /// What messages call it; empty if it is the only one.
    pub name: String,
    /// Where it is.
    pub access: Access,
    /// The version of the SubjectAccessReview it speaks: `v1` or `v1beta1`.
    pub version: String,
    /// How long a yes is good for.
    pub cache_authorized_ttl: Duration,
    /// How long a no is good for.
    pub cache_unauthorized_ttl: Duration,
    /// How long it may take to answer; without a limit it is asked again and again for a while.
    pub timeout: Option<Duration>,
    /// Whether nobody may do anything that it cannot be asked about.
    pub deny_if_unreachable: bool,
    /// Expressions over `request`, all of which must hold of what it is asked about.
    pub match_conditions: Vec<String>,
}

impl AccessWebhookOptions {
    /// Upstream's defaults for a server.
    pub fn of(access: Access) -> Self {
        Self {
            name: String::new(),
            access,
            version: "v1beta1".to_owned(),
            cache_authorized_ttl: Duration::from_secs(300),
            cache_unauthorized_ttl: Duration::from_secs(30),
            timeout: None,
            deny_if_unreachable: false,
            match_conditions: Vec::new(),
        }
    }

    /// Whether a condition can be compiled.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_condition(source: &str) -> Result<(), String> {
        condition(source).map(|_| ())
    }

    fn conditions(&self) -> Result<Vec<(String, Program)>, String> {
        let compile = |source: &String| Ok((source.clone(), condition(source)?));
        self.match_conditions.iter().map(compile).collect()
    }
}

fn condition(source: &str) -> Result<Program, String> {
    let env = Env { variables: &["request"], objects: false, authorizer: false };
    Program::compile(source, &env).map_err(|why| format!("compilation failed: {why}"))
}

/// The server that knows what somebody may.
pub(crate) struct AccessWebhook {
    server: Server,
    options: AccessWebhookOptions,
    conditions: Vec<(String, Program)>,
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
    /// If the server's address, its certificates or its conditions cannot be used.
    pub(crate) fn new(options: &AccessWebhookOptions) -> Result<Self, AccessError> {
        let server = Server::new(&options.access)?;
        let conditions = options.conditions().map_err(AccessError::Condition)?;
        Ok(Self { server, conditions, options: options.clone(), known: Remembered::default() })
    }

    /// Whether it wants to be asked; nothing if that cannot be told. A condition that does not hold outweighs those that
    /// fail.
    fn concerned(&self, ask: &Ask<'_>) -> Option<bool> {
        if self.conditions.is_empty() {
            return Some(true);
        }
        let mut scope = Scope::new();
        scope.set("request", cel::Value::json(&spec(ask, "groups")));
        let mut budget = PER_OBJECT;
        let mut told = Some(true);
        for (source, program) in &self.conditions {
            match program.holds(&scope, &mut budget) {
                Ok(true) => {}
                Ok(false) => return Some(false),
                Err(fault) => {
                    tracing::warn!(webhook = self.options.name, source, %fault, "a match condition failed");
                    told = None;
                }
            }
        }
        told
    }

    /// What is said where it cannot be asked.
    fn unreachable(&self) -> Verdict {
        if self.options.deny_if_unreachable {
            Verdict::Deny(String::new())
        } else {
            Verdict::NoOpinion(String::new())
        }
    }

    pub(super) async fn judge(&self, api: &Api, ask: &Ask<'_>) -> Verdict {
        match self.concerned(ask) {
            Some(true) => {}
            Some(false) => return Verdict::NoOpinion(String::new()),
            None => return self.unreachable(),
        }
        let spec = spec(ask, if self.options.version == "v1beta1" { "group" } else { "groups" });
        let question = Question::of(&spec.to_string());
        if let Some(known) = self.known.get(question) {
            return known;
        }
        let review = json!({
            "apiVersion": format!("authorization.k8s.io/{}", self.options.version), "kind": "SubjectAccessReview",
            "metadata": {}, "spec": spec, "status": { "allowed": false },
        });
        let answer = match self.options.timeout {
            Some(patience) => self.server.post(&api.tasks, &review, patience).await,
            None => insist(&self.server, &api.tasks, &review).await,
        };
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
                tracing::warn!(
                    webhook = self.options.name,
                    why,
                    "an authorisation webhook could not be asked"
                );
                return self.unreachable();
            }
        };
        self.known.keep(question, verdict.clone(), life);
        verdict
    }
}

/// The question, with the name that a version has for groups.
fn spec(ask: &Ask<'_>, groups: &str) -> Value {
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
