//! Webhooks: servers of the cluster's users that are asked before something is written.
//!
//! Mutating ones are asked one after another, in the order of their configurations' names, each seeing what those before
//! it made; validating ones all at once. Follows upstream's `plugin/webhook/{mutating,validating}/dispatcher.go`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use skiff_api::{ApiError, Object};

use super::attributes::Attributes;
use super::evaluation::Evaluation;
use super::kept::Kept;
use super::matching::{Conditions, Matcher, Meant};
use super::metrics::Asked;
use crate::api::Api;
use crate::catalog::Entry;
use crate::kinds::admissionregistration::expressions::Names;
use crate::kinds::admissionregistration::webhook::Hook;

mod client;
mod place;
mod review;

pub(crate) use client::Connections;
pub(crate) use place::{Target, places};

/// A webhook in the form in which it is used.
struct Compiled {
    hook: Hook,
    /// Its configuration's name and its own.
    id: String,
    matcher: Matcher,
    conditions: Conditions,
    ignore: bool,
    timeout: Duration,
    target: place::Target,
}

/// Why a webhook did not agree.
enum Failure {
    /// It could not be asked; the failure policy decides.
    Calling(String),
    /// It, or the server about it, refused.
    Refused(ApiError),
}

/// All configured webhooks.
pub(crate) struct Webhooks {
    mutating: Kept<Arc<Compiled>>,
    validating: Kept<Arc<Compiled>>,
    connections: Connections,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            mutating: Kept::new("admissionregistration.k8s.io/mutatingwebhookconfigurations", |object| {
                let Ok(configuration) = object.decode::<MutatingWebhookConfiguration>() else {
                    return Vec::new();
                };
                compile(object, configuration.webhooks.iter().flatten().map(Hook::from))
            }),
            validating: Kept::new("admissionregistration.k8s.io/validatingwebhookconfigurations", |object| {
                let Ok(configuration) = object.decode::<ValidatingWebhookConfiguration>() else {
                    return Vec::new();
                };
                compile(object, configuration.webhooks.iter().flatten().map(Hook::from))
            }),
            connections: Connections::default(),
        }
    }
}

fn compile(object: &Object, hooks: impl Iterator<Item = Hook>) -> Vec<Arc<Compiled>> {
    let one = |hook: Hook| {
        let rules = hook.rules.as_deref();
        Arc::new(Compiled {
            id: format!("{}/{}", object.meta().name, hook.name),
            matcher: Matcher::of_hook(
                rules,
                hook.namespace_selector.as_ref(),
                hook.object_selector.as_ref(),
                hook.match_policy.as_deref(),
            ),
            conditions: Conditions::new(hook.match_conditions.as_deref(), &Names::new(false)),
            ignore: hook.failure_policy.as_deref() == Some("Ignore"),
            timeout: Duration::from_secs(u64::try_from(hook.timeout_seconds.unwrap_or(10)).unwrap_or(10)),
            target: place::Target::new(&hook.client),
            hook,
        })
    };
    hooks.map(one).collect()
}

/// What a webhook has to do with a call.
enum Concern<'a> {
    None,
    AsAsked,
    /// It knows another version of the object.
    As(Arc<Entry>, Box<Attributes<'a>>),
}

/// Which webhooks are asked again when something changed the object after them.
#[derive(Default)]
pub(super) struct Round {
    /// True while asking again.
    pub(super) again: bool,
    /// Those with `IfNeeded` that have been asked.
    asked: BTreeSet<String>,
    /// Those of them to be asked again.
    due: BTreeSet<String>,
    /// True if the plugins and policies should run once more.
    pub(super) changed: bool,
}

impl Round {
    /// Somebody changed the object: all who were asked before and want to know are due.
    pub(super) fn change(&mut self) {
        self.due.append(&mut self.asked);
        self.changed = true;
    }
}

impl Webhooks {
    /// True if nobody may change anything.
    pub(super) fn no_mutating(&self, api: &Api) -> bool {
        self.mutating.is_idle(api)
    }

    /// True if nobody may refuse anything.
    pub(super) fn no_validating(&self, api: &Api) -> bool {
        self.validating.is_idle(api)
    }

    /// Lets mutating webhooks change the object.
    ///
    /// # Errors
    /// A webhook's refusal, or 500 if one that must agree cannot be asked.
    pub(super) async fn mutate(&self, call: &mut Attributes<'_>, round: &mut Round) -> Result<(), ApiError> {
        for webhook in self.mutating.get(call.api).iter() {
            if round.again && !round.due.contains(&webhook.id) {
                continue;
            }
            let mut other = None;
            match webhook.concerns(call).await? {
                Concern::None => continue,
                Concern::AsAsked => {}
                Concern::As(entry, seen) => other = Some((entry, *seen)),
            }
            let asked = Asked::begin(call, &webhook.hook.name, "admit");
            let seen = other.as_mut().map_or(&mut *call, |(_, seen)| seen);
            let answer = self.ask(webhook, seen).await.and_then(|answer| {
                let before = seen.object.clone();
                webhook.take(seen, answer, true)?;
                Ok(seen.object != before)
            });
            if let Some((entry, seen)) = other {
                call.take(&entry, seen, matches!(answer, Ok(true))).await?;
            }
            asked.end(call.api, &answer, webhook.ignore);
            if matches!(answer, Ok(true)) {
                round.change();
            }
            if webhook.hook.reinvocation_policy.as_deref() == Some("IfNeeded") {
                round.asked.insert(webhook.id.clone());
            }
            if let Err(failure) = answer {
                webhook.judge(failure)?;
            }
        }
        Ok(())
    }

    /// Asks validating webhooks.
    ///
    /// # Errors
    /// The first refusal, or 500 if one that must agree cannot be asked.
    pub(super) async fn validate(&self, call: &mut Attributes<'_>) -> Result<(), ApiError> {
        let mut concerned = Vec::new();
        for webhook in self.validating.get(call.api).iter() {
            match webhook.concerns(call).await? {
                Concern::None => {}
                Concern::AsAsked => concerned.push((Arc::clone(webhook), None)),
                Concern::As(_, seen) => concerned.push((Arc::clone(webhook), Some(seen))),
            }
        }
        let asked_for = &*call;
        let answers = join_all(concerned.iter().map(|(webhook, other)| async move {
            let seen = other.as_deref().unwrap_or(asked_for);
            let asked = Asked::begin(seen, &webhook.hook.name, "validating");
            (asked, self.ask(webhook, seen).await)
        }))
        .await;
        let mut outcome = Ok(());
        for ((webhook, _), (asked, answer)) in concerned.iter().zip(answers) {
            let answer = answer.and_then(|answer| webhook.take(call, answer, false));
            asked.end(call.api, &answer, webhook.ignore);
            if let Err(failure) = answer
                && let Err(error) = webhook.judge(failure)
                && outcome.is_ok()
            {
                outcome = Err(error);
            }
        }
        outcome
    }

    async fn ask(&self, webhook: &Compiled, call: &Attributes<'_>) -> Result<review::Answer, Failure> {
        let hook = &webhook.hook;
        if call.dry_run && !matches!(hook.side_effects.as_str(), "None" | "NoneOnDryRun") {
            let why = format!("admission webhook \"{}\" does not support dry run", hook.name);
            return Err(Failure::Refused(ApiError::bad_request(why)));
        }
        let version = hook.versions.iter().find(|version| matches!(version.as_str(), "v1" | "v1beta1"));
        let (id, body) = review::request(call, version.map_or("v1", String::as_str));
        let calling = |why: String| Failure::Calling(format!("failed to call webhook: {why}"));
        let sending = self.connections.post(call.api, &webhook.target, webhook.timeout, body);
        let answer = match tokio::time::timeout(webhook.timeout, sending).await {
            Ok(outcome) => outcome.map_err(calling)?,
            Err(_) => {
                let address = webhook.target.shown(webhook.timeout);
                return Err(calling(format!("Post \"{address}\": context deadline exceeded")));
            }
        };
        review::read(&answer, &id, version.map_or("v1", String::as_str))
            .map_err(|why| Failure::Calling(format!("received invalid webhook response: {why}")))
    }
}

impl Compiled {
    /// Whether the webhook is to be asked, and in which version.
    async fn concerns<'a>(&self, call: &Attributes<'a>) -> Result<Concern<'a>, ApiError> {
        let concern = match self.matcher.meant(call)? {
            Meant::No => return Ok(Concern::None),
            Meant::AsAsked => Concern::AsAsked,
            Meant::As(entry) => {
                let seen = Box::new(call.seen_as(&entry).await?);
                Concern::As(entry, seen)
            }
        };
        if self.conditions.is_empty() {
            return Ok(concern);
        }
        let seen = if let Concern::As(_, seen) = &concern { &**seen } else { call };
        match self.conditions.hold(&mut Evaluation::new(seen)) {
            Ok(true) => Ok(concern),
            Ok(false) => Ok(Concern::None),
            Err(_) if self.ignore => Ok(Concern::None),
            Err(why) => Err(call.forbidden(why)),
        }
    }

    /// Takes over what a webhook answered.
    fn take(&self, call: &mut Attributes<'_>, answer: review::Answer, mutating: bool) -> Result<(), Failure> {
        let name = &self.hook.name;
        call.warnings.extend(answer.warnings);
        call.annotations
            .extend(answer.annotations.into_iter().map(|(key, value)| (format!("{name}/{key}"), value)));
        if !answer.allowed {
            return Err(Failure::Refused(review::refusal(name, answer.result)));
        }
        let Some(patch) =
            answer.patch.filter(|patch| mutating && patch.as_array().is_none_or(|list| !list.is_empty()))
        else {
            return Ok(());
        };
        if call.object.is_null() {
            let why = format!(
                "admission webhook \"{name}\" attempted to modify the object, which is not supported for this operation"
            );
            return Err(Failure::Refused(ApiError::internal(why)));
        }
        skiff_api::patch::json::apply(&mut call.object, patch)
            .map_err(|error| Failure::Refused(ApiError::internal(error)))
    }

    /// What a failure means.
    fn judge(&self, failure: Failure) -> Result<(), ApiError> {
        match failure {
            Failure::Refused(error) => Err(error),
            Failure::Calling(why) if self.ignore => {
                tracing::warn!(webhook = self.hook.name, why, "failed calling webhook, failing open");
                Ok(())
            }
            Failure::Calling(why) => {
                Err(ApiError::internal(format!("failed calling webhook \"{}\": {why}", self.hook.name)))
            }
        }
    }
}

/// The outcome of a call, for counting.
pub(super) enum Outcome {
    Allowed,
    Refused(u16),
    Failed,
}

impl Outcome {
    fn of<T>(answer: &Result<T, Failure>) -> Self {
        match answer {
            Ok(_) => Self::Allowed,
            Err(Failure::Refused(error)) => Self::Refused(error.code()),
            Err(Failure::Calling(_)) => Self::Failed,
        }
    }
}

impl Asked {
    fn end<T>(self, api: &Api, answer: &Result<T, Failure>, ignore: bool) {
        self.finish(api, &Outcome::of(answer), ignore);
    }
}
