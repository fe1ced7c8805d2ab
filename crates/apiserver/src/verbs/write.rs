//! POST, PUT and DELETE of one object.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::json;
use skiff_api::{ApiError, Object, Strictness};

use super::{Context, input, media, success};
use crate::authz::Authorized;
use crate::kinds::Dependents;
use crate::registry::update::{Part, Proposal, Update};
use crate::registry::{self, Written};
use crate::request::Query;
use crate::request::options::WriteOptions;
use crate::wire::{self, Response, warn};

/// Creates.
pub(crate) async fn create(context: &Context, call: Authorized) -> Result<Response, ApiError> {
    if context.entry.ending {
        let why = "create not allowed while custom resource definition is terminating";
        return Err(ApiError::new(405, "MethodNotAllowed", why));
    }
    let options = WriteOptions::parse(&call.info.query, "CreateOptions")?;
    let form = media::negotiate(call.request.headers())?;
    let legacy_name = call.request.extensions().get::<crate::legacy::LegacyName>().is_some();
    let (parts, body) = call.request.into_parts();
    let json = input::json(&parts.headers, body).await?;
    let Proposal { draft, mut warnings, .. } = input::decode(&context.entry, &json, options.strictness)?;
    let scope = registry::Scope { legacy_name, ..context.scope(&call.user) };
    let mut written = match registry::create::create(&scope, draft, options.dry_run).await {
        Ok(written) => written,
        Err(error) => return Ok(refused(&error, &warnings)),
    };
    warnings.append(&mut written.warnings);
    let mut response = context.object(&call.info, &form, 201, written.bytes)?;
    warn(&mut response, &warnings);
    Ok(response)
}

/// Replaces, or creates where the kind allows.
pub(crate) async fn update(context: &Context, call: Authorized) -> Result<Response, ApiError> {
    replace(context, call, Part::Whole).await
}

/// Replaces a part of the object.
pub(crate) async fn replace(context: &Context, call: Authorized, part: Part) -> Result<Response, ApiError> {
    let options = WriteOptions::parse(&call.info.query, "UpdateOptions")?;
    let form = media::negotiate(call.request.headers())?;
    let (parts, body) = call.request.into_parts();
    let json = input::json(&parts.headers, body).await?;
    let Proposal { draft, mut warnings, .. } = input::decode(&context.entry, &json, options.strictness)?;
    // Hardly ever asked for again: then it is read again.
    let draft = parking_lot::Mutex::new(Some(draft));
    let again = || Ok(input::decode(&context.entry, &json, Strictness::Ignore)?.draft);
    let how = Update {
        part,
        dry_run: options.dry_run,
        change: &|_: Option<&Object>| draft.lock().take().map_or_else(again, Ok).map(Proposal::quiet),
        upsert: part == Part::Whole && context.entry.upsert,
    };
    let mut written = match registry::update::update(&context.scope(&call.user), &how).await {
        Ok(written) => written,
        Err(error) => return Ok(refused(&error, &warnings)),
    };
    warnings.append(&mut written.warnings);
    answer(context, &call.info, &form, Written { warnings, ..written })
}

/// A refusal that also says what was odd about the body.
fn refused(error: &ApiError, warnings: &[String]) -> Response {
    let mut response = wire::refusal(error);
    warn(&mut response, warnings);
    response
}

/// The answer to a write: the object, 201 if it is new.
pub(crate) fn answer(
    context: &Context,
    info: &crate::request::Info,
    form: &media::Form,
    written: Written,
) -> Result<Response, ApiError> {
    let code = if written.created { 201 } else { 200 };
    let mut response = context.object(info, form, code, written.bytes)?;
    warn(&mut response, &written.warnings);
    Ok(response)
}

/// Deletes.
pub(crate) async fn delete(context: &Context, call: Authorized) -> Result<Response, ApiError> {
    let form = media::negotiate(call.request.headers())?;
    let (parts, body) = call.request.into_parts();
    let json = input::json(&parts.headers, body).await?;
    let options = delete_options(&call.info.query, &json)?;
    let deleted = registry::delete::delete(&context.scope(&call.user), &options).await?;
    // Upstream's rule: 202 is for those who asked for dependents to go as well, and have to wait.
    let said = options.orphan_dependents.is_some() || options.propagation_policy.is_some();
    let warning = match context.entry.dependents {
        Dependents::StayWith(warning) if !said => vec![warning.to_owned()],
        _ => Vec::new(),
    };
    let code = if !deleted.gone && options.orphan_dependents == Some(false) { 202 } else { 200 };
    if deleted.gone && !context.entry.answer_deleted {
        let resource = &context.entry.resource;
        let mut details = json!({
            "name": deleted.object.meta().name, "kind": resource.plural, "uid": deleted.object.meta().uid,
        });
        if !resource.group.is_empty() {
            details["group"] = (*resource.group).into();
        }
        let mut response = success(code, details);
        warn(&mut response, &warning);
        return Ok(response);
    }
    let mut response = context.object(&call.info, &form, code, deleted.object.bytes().clone())?;
    warn(&mut response, &warning);
    Ok(response)
}

/// The options of a deletion: the body's, else the query's.
pub(crate) fn delete_options(query: &Query, json: &[u8]) -> Result<DeleteOptions, ApiError> {
    if !json.is_empty() {
        // The body may come in any group's version; all mean the same.
        let decoded = skiff_api::decode::decode::<DeleteOptions>(json, Strictness::Ignore)
            .map_err(|fault| ApiError::bad_request(format!("decode DeleteOptions: {fault}")))?;
        return Ok(decoded.object);
    }
    let dry_run: Vec<String> = query.all("dryRun").map(str::to_owned).collect();
    Ok(DeleteOptions {
        grace_period_seconds: query.number("gracePeriodSeconds")?,
        orphan_dependents: query.maybe_flag("orphanDependents"),
        propagation_policy: query.get("propagationPolicy").map(str::to_owned),
        dry_run: (!dry_run.is_empty()).then_some(dry_run),
        ..DeleteOptions::default()
    })
}
