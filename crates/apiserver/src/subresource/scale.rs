//! `scale`: how many, without knowing what. Works on the JSON of any kind that has a scale: built-in ones keep it in
//! `spec.replicas`, `status.replicas` and a selector, which is a map of labels in the oldest kind; others say where.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use k8s_openapi::api::autoscaling::v1::{Scale, ScaleSpec, ScaleStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::{Value, json};
use skiff_api::selector::LabelSelector;
use skiff_api::{ApiError, Errors, Object, Strictness};

use super::{Of, Sub};
use crate::admission::{self, StandIn};
use crate::authz::Authorized;
use crate::crd::Path;
use crate::crd::scale::Paths;
use crate::registry::Scope;
use crate::registry::fields::{Applying, Config};
use crate::registry::update::{Changes, Part, Proposal, Update, update};
use crate::request::Verb;
use crate::request::options::WriteOptions;
use crate::verbs::patch::{APPLY, Patch, configuration};
use crate::verbs::{Context, input};
use crate::wire::{self, Response};

pub(super) static SUB: Sub = Sub {
    of: Of::Entries(|entry| entry.scale.is_some()),
    name: "scale",
    verbs: &["get", "patch", "update"],
    kind: Some("Scale"),
    group_version: Some(("autoscaling", "v1")),
    handle,
};

const VERSION: &str = "autoscaling/v1";

/// What was sent: a scale, a patch to make one, or one to apply.
enum Sent {
    Scale(Box<Scale>),
    Patch(Patch),
    Apply(Config),
}

fn handle(context: Context, call: Authorized) -> BoxFuture<'static, Result<Response, ApiError>> {
    Box::pin(async move {
        if call.info.verb == Verb::Get {
            let object = context.scope(&call.user).existing().await?;
            return Ok(wire::encoded(200, &of(&context, &object)?));
        }
        let applies = APPLY.contains(&input::media_type(call.request.headers()));
        let (options, force) = match call.info.verb {
            Verb::Update => (WriteOptions::parse(&call.info.query, "UpdateOptions")?, false),
            _ if applies => WriteOptions::parse_apply(&call.info.query)?,
            _ => (WriteOptions::parse(&call.info.query, "PatchOptions")?, false),
        };
        let (parts, body) = call.request.into_parts();
        let sent = if call.info.verb == Verb::Patch && applies {
            let body = configuration(&parts.headers, body).await?;
            Sent::Apply(Config::read(&body, force, VERSION, "Scale")?)
        } else if call.info.verb == Verb::Update {
            let json = input::json(&parts.headers, body).await?;
            Sent::Scale(Box::new(input::typed(VERSION, "Scale", &json, options.strictness)?.object))
        } else {
            let media = input::media_type(&parts.headers).to_owned();
            Sent::Patch(Patch::read(&media, &input::read(&parts.headers, body).await?)?)
        };
        let scope = context.scope(&call.user);
        let sent = reviewed(&context, &scope, sent, options.dry_run).await?;
        let made = |current: Option<&Object>| {
            let current = current.ok_or_else(ApiError::no_such_path)?;
            let scale = match &sent {
                Sent::Scale(scale) => (**scale).clone(),
                Sent::Patch(patch) => patched(&context, current, patch)?,
                Sent::Apply(_) => of(&context, current)?,
            };
            let wanted = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
            check(&context.target.name, &scale, wanted)?;
            let mut object = current.value().map_err(ApiError::internal)?;
            paths(&context)?.wanted.set(&mut object, wanted.into());
            let json = serde_json::to_vec(&object).map_err(ApiError::internal)?;
            let ops = &context.entry.ops;
            let mut draft = ops.decode(&json, Strictness::Ignore).map_err(ApiError::internal)?.object;
            draft.meta_mut().resource_version = scale.metadata.resource_version;
            Ok(Proposal::quiet(draft))
        };
        let whole = match &sent {
            Sent::Apply(config) => Some(applied(&scope, paths(&context)?, config)?),
            _ => None,
        };
        let laid = whole.as_ref().map(|config| Applying { config, part: Part::Whole });
        let change: &dyn Changes = laid.as_ref().map_or(&made, |laid| laid);
        let how = Update { part: Part::Whole, dry_run: options.dry_run, change, upsert: false };
        let written = update(&scope, &how).await?;
        let object = Object::parse(written.bytes).map_err(ApiError::internal)?;
        Ok(wire::encoded(200, &of(&context, &object)?))
    })
}

/// Asks policies and webhooks, which see a Scale.
async fn reviewed(context: &Context, scope: &Scope<'_>, sent: Sent, dry_run: bool) -> Result<Sent, ApiError> {
    let current = scope.existing().await?;
    let scale = match &sent {
        Sent::Scale(scale) => (**scale).clone(),
        Sent::Patch(patch) => patched(context, &current, patch)?,
        Sent::Apply(config) => {
            let mut scale = of(context, &current)?;
            let wanted =
                config.value()["spec"]["replicas"].as_i64().and_then(|wanted| wanted.try_into().ok());
            scale.spec = wanted.map(|wanted| ScaleSpec { replicas: Some(wanted) }).or(scale.spec);
            scale
        }
    };
    let tree = |scale: &Scale| skiff_api::decode::tree(scale).map_err(ApiError::internal);
    let review = StandIn {
        operation: "UPDATE",
        kind: ("autoscaling", "v1", "Scale"),
        object: tree(&scale)?,
        old: tree(&of(context, &current)?)?,
        dry_run,
    };
    let before = review.object.clone();
    let (after, _) = admission::review(scope, review).await?;
    if after == before {
        return Ok(sent);
    }
    if let Sent::Apply(config) = &sent {
        let mut value = config.value().clone();
        value["spec"]["replicas"] = after["spec"]["replicas"].clone();
        return Ok(Sent::Apply(config.with(value)));
    }
    let json = serde_json::to_vec(&after).map_err(ApiError::internal)?;
    Ok(Sent::Scale(Box::new(input::typed(VERSION, "Scale", &json, Strictness::Ignore)?.object)))
}

/// A scale's configuration says of the object itself how many there should be, and owns just that.
fn applied(scope: &Scope<'_>, paths: &Paths, config: &Config) -> Result<Config, ApiError> {
    let json = config.value().to_string();
    let mut scale: Scale = input::typed(VERSION, "Scale", json.as_bytes(), Strictness::Ignore)?.object;
    let wanted = scale.spec.take().and_then(|spec| spec.replicas);
    check(scope.name, &scale, wanted.unwrap_or(0))?;
    let entry = scope.entry;
    let mut whole = json!({
        "apiVersion": entry.api_version, "kind": &*entry.resource.kind, "metadata": { "name": scope.name },
    });
    if let Some(version) = scale.metadata.resource_version {
        whole["metadata"]["resourceVersion"] = version.into();
    }
    if let Some(wanted) = wanted {
        paths.wanted.set(&mut whole, wanted.into());
    }
    Ok(config.with(whole))
}

fn check(name: &str, scale: &Scale, wanted: i32) -> Result<(), ApiError> {
    let own = scale.metadata.name.as_deref().unwrap_or_default();
    if !own.is_empty() && own != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        )));
    }
    if wanted >= 0 {
        return Ok(());
    }
    let mut errors = Errors::new();
    errors.at("spec", |errors| errors.invalid("replicas", &wanted, "must be greater than or equal to 0"));
    Err(ApiError::invalid("autoscaling", "Scale", name, errors))
}

fn paths(context: &Context) -> Result<&Paths, ApiError> {
    context.entry.scale.as_deref().ok_or_else(ApiError::no_such_path)
}

fn patched(context: &Context, current: &Object, patch: &Patch) -> Result<Scale, ApiError> {
    let scale: Value = skiff_api::decode::tree(&of(context, current)?).map_err(ApiError::internal)?;
    let value = patch.apply(&skiff_api::patch::strategic::Schema::of::<Scale>(), scale)?;
    let json = serde_json::to_vec(&value).map_err(ApiError::internal)?;
    Ok(input::typed(VERSION, "Scale", &json, Strictness::Ignore)?.object)
}

/// The scale of an object.
fn of(context: &Context, object: &Object) -> Result<Scale, ApiError> {
    #[derive(Deserialize)]
    struct Scaled {
        metadata: ObjectMeta,
    }
    let paths = paths(context)?;
    let meta = serde_json::from_slice::<Scaled>(object.bytes()).map_err(ApiError::internal)?.metadata;
    let value = object.value().map_err(ApiError::internal)?;
    let number =
        |path: &Path| path.one(&value).and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok());
    let wanted = number(&paths.wanted);
    if wanted.is_none() && !context.entry.built_in {
        let why = format!("the spec replicas field {:?} does not exist", paths.wanted.to_string());
        return Err(ApiError::internal(why));
    }
    let selector = match &paths.selector {
        Some(path) => path.one(&value).and_then(Value::as_str).map(str::to_owned),
        None if context.entry.built_in => value["spec"].get("selector").cloned().and_then(selector),
        None => None,
    };
    Ok(Scale {
        metadata: ObjectMeta {
            name: meta.name,
            namespace: meta.namespace,
            uid: meta.uid,
            resource_version: meta.resource_version,
            creation_timestamp: meta.creation_timestamp,
            ..ObjectMeta::default()
        },
        spec: Some(ScaleSpec { replicas: wanted }),
        status: Some(ScaleStatus { replicas: number(&paths.found).unwrap_or(0), selector }),
    })
}

/// A selector as text, of whichever form.
fn selector(value: Value) -> Option<String> {
    let new_form = value.get("matchLabels").is_some_and(Value::is_object)
        || value.get("matchExpressions").is_some_and(Value::is_array);
    let selector = if new_form {
        LabelSelector::of(&serde_json::from_value(value).ok()?).ok()?
    } else {
        LabelSelector::of_map(&serde_json::from_value::<BTreeMap<String, String>>(value).ok()?)
    };
    Some(selector.to_string())
}
