//! What the cluster's users have added to admission, in upstream's order: mutating policies, mutating webhooks, and, once
//! the object is finished, validating policies and validating webhooks.
//!
//! Objects become JSON only if there is somebody to see it; with nothing configured a write pays four look-ups.

use std::sync::{Arc, OnceLock, Weak};

use serde_json::{Value, json};
use skiff_api::cel::{Authorizer, Question};
use skiff_api::{ApiError, Strictness};

use super::Attempt;
use super::attributes::Attributes;
use super::policy::Policies;
use super::webhook::{Round, Webhooks};
use crate::api::Api;
use crate::audit;
use crate::authz::{self, Ask, Verdict};
use crate::kinds::Draft;
use crate::registry::Scope;
use crate::user::User;

/// Subresources whose object is not the resource's: their handlers ask with [`review`].
const OWN_OBJECT: &[&str] = &["binding", "eviction", "scale"];

/// Everything configured.
#[derive(Default)]
pub(crate) struct Dynamic {
    /// The server, for expressions that ask who may do what.
    api: OnceLock<Weak<Api>>,
    webhooks: Webhooks,
    policies: Policies,
}

impl Dynamic {
    /// Says whose this is; once, when the server is put together.
    pub(crate) fn belongs_to(&self, api: &Arc<Api>) {
        let _first = self.api.set(Arc::downgrade(api));
    }

    /// Answers what expressions ask on behalf of `user`.
    pub(super) fn authorizer(&self, user: &User) -> Option<Arc<dyn Authorizer>> {
        let api = self.api.get()?.clone();
        Some(Arc::new(Asker { api, user: user.clone() }))
    }

    fn may_change(&self, api: &Api) -> bool {
        !self.webhooks.no_mutating(api) || !self.policies.no_mutating(api)
    }

    fn may_refuse(&self, api: &Api) -> bool {
        !self.webhooks.no_validating(api) || !self.policies.no_validating(api)
    }

    async fn change(&self, call: &mut Attributes<'_>, round: &mut Round) -> Result<(), ApiError> {
        if self.policies.mutate(call, round.again).await? {
            round.change();
        }
        self.webhooks.mutate(call, round).await
    }

    async fn judge(&self, call: &mut Attributes<'_>) -> Result<(), ApiError> {
        self.policies.validate(call).await?;
        self.webhooks.validate(call).await
    }
}

/// Asks the server's own authorisers.
struct Asker {
    api: Weak<Api>,
    user: User,
}

impl Authorizer for Asker {
    fn answer(&self, question: &Question) -> (bool, String) {
        let Some(api) = self.api.upgrade() else { return (false, String::new()) };
        let user = match &question.service_account {
            Some((namespace, name)) => User::service_account(namespace, name),
            None => self.user.clone(),
        };
        let ask = Ask {
            verb: &question.verb,
            group: &question.group,
            version: "*",
            resource: &question.resource,
            subresource: &question.subresource,
            namespace: &question.namespace,
            name: &question.name,
            path: &question.path,
            ..Ask::nothing(&user)
        };
        match authz::judge_now(&api, &ask) {
            Verdict::Allow(why) => (true, why),
            Verdict::Deny(why) | Verdict::NoOpinion(why) => (false, why),
        }
    }
}

/// True if an attempt is none of dynamic admission's business.
fn unconcerned(attempt: &Attempt<'_>) -> bool {
    OWN_OBJECT.contains(&attempt.scope.subresource)
}

/// Lets policies and webhooks change the object. Whatever changes it makes the plugins look again, once.
///
/// # Errors
/// A refusal, or 500.
pub(super) async fn mutate(attempt: &mut Attempt<'_>, draft: &mut Box<dyn Draft>) -> Result<(), ApiError> {
    if unconcerned(attempt) || !attempt.scope.api.dynamic.may_change(attempt.scope.api) {
        return Ok(());
    }
    let mut round = Round::default();
    change(attempt, draft, &mut round).await?;
    if !round.changed {
        return Ok(());
    }
    round.again = true;
    let before = draft.value().map_err(ApiError::internal)?;
    super::plugins(attempt, draft)?;
    if draft.value().map_err(ApiError::internal)? != before {
        round.change();
    }
    change(attempt, draft, &mut round).await
}

async fn change(
    attempt: &mut Attempt<'_>,
    draft: &mut Box<dyn Draft>,
    round: &mut Round,
) -> Result<(), ApiError> {
    let scope = attempt.scope;
    let mut call = Attributes::of(attempt, Some(&**draft))?;
    if call.exempt() {
        return Ok(());
    }
    let before = call.object.clone();
    let outcome = scope.api.dynamic.change(&mut call, round).await;
    attempt.note(&mut call);
    outcome?;
    if call.object == before {
        return Ok(());
    }
    let changed = serde_json::to_vec(&call.object).map_err(ApiError::internal)?;
    let decoded = scope.entry.ops.decode(&changed, Strictness::Ignore).map_err(ApiError::internal)?;
    *draft = decoded.object;
    draft.set_defaults();
    if scope.entry.resource.namespaced && draft.meta().namespace.as_deref() != Some(scope.namespace) {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(ApiError::bad_request(why));
    }
    Ok(())
}

/// Asks policies and webhooks about the finished object.
///
/// # Errors
/// A refusal, or 500.
pub(super) async fn validate(attempt: &mut Attempt<'_>, draft: &dyn Draft) -> Result<(), ApiError> {
    if unconcerned(attempt) || !attempt.scope.api.dynamic.may_refuse(attempt.scope.api) {
        return Ok(());
    }
    let mut call = Attributes::of(attempt, Some(draft))?;
    if call.exempt() {
        return Ok(());
    }
    let outcome = attempt.scope.api.dynamic.judge(&mut call).await;
    attempt.note(&mut call);
    outcome
}

/// Asks them about a deletion.
///
/// # Errors
/// A refusal, or 500.
pub(super) async fn delete(attempt: &mut Attempt<'_>) -> Result<(), ApiError> {
    let (api, dynamic) = (attempt.scope.api, &attempt.scope.api.dynamic);
    if unconcerned(attempt) || !dynamic.may_change(api) && !dynamic.may_refuse(api) {
        return Ok(());
    }
    let mut call = Attributes::of(attempt, None)?;
    if call.exempt() {
        return Ok(());
    }
    let outcome = async {
        dynamic.change(&mut call, &mut Round::default()).await?;
        dynamic.judge(&mut call).await
    }
    .await;
    attempt.note(&mut call);
    outcome
}

/// An object that stands for what is asked of a subresource: a Scale, an Eviction, the options of a connection.
pub(crate) struct StandIn<'a> {
    pub(crate) operation: &'static str,
    /// Group, version, kind of the object.
    pub(crate) kind: (&'a str, &'a str, &'a str),
    pub(crate) object: Value,
    /// Null if there was none.
    pub(crate) old: Value,
    pub(crate) dry_run: bool,
}

/// Asks about a [`StandIn`]; gives the object as it has become, and warnings for the client.
///
/// # Errors
/// A refusal, or 500.
pub(crate) async fn review(scope: &Scope<'_>, review: StandIn<'_>) -> Result<(Value, Vec<String>), ApiError> {
    let (api, dynamic) = (scope.api, &scope.api.dynamic);
    if !dynamic.may_change(api) && !dynamic.may_refuse(api) {
        return Ok((review.object, Vec::new()));
    }
    let (group, version, kind) = review.kind;
    let kind = (group.to_owned(), version.to_owned(), kind.to_owned());
    let mut call = Attributes::new(scope, review.operation, kind);
    let options = match review.operation {
        "UPDATE" => "UpdateOptions",
        "CREATE" => "CreateOptions",
        _ => "",
    };
    if !options.is_empty() {
        call.options = json!({ "kind": options, "apiVersion": "meta.k8s.io/v1" });
    }
    call.object = review.object;
    call.old = review.old;
    call.dry_run = review.dry_run;
    let work = async {
        dynamic.change(&mut call, &mut Round::default()).await?;
        dynamic.judge(&mut call).await
    };
    let outcome = Box::pin(work).await;
    call.annotations.drain(..).for_each(|(key, value)| audit::annotate(&key, &value));
    outcome?;
    Ok((call.object, call.warnings))
}

impl Attempt<'_> {
    /// Takes over what was said besides yes and no.
    fn note(&mut self, call: &mut Attributes<'_>) {
        self.warnings.append(&mut call.warnings);
        for (key, value) in call.annotations.drain(..) {
            audit::annotate(&key, &value);
        }
    }
}
