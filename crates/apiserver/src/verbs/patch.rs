//! PATCH: JSON patch, merge patch, strategic merge patch, and configurations that are applied.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;
use skiff_api::patch::{json as json_patch, merge, strategic};
use skiff_api::{ApiError, Object, Strictness};

use super::{Context, input, media, write};
use crate::authz::Authorized;
use crate::catalog::Entry;
use crate::registry;
use crate::registry::fields::{Applying, Config};
use crate::registry::update::{Part, Proposal, Update};
use crate::request::options::WriteOptions;
use crate::wire::{Incoming, Response};

/// The kinds of patch, as their media types name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Json,
    Merge,
    Strategic,
}

const OFFERED: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, \
                       application/apply-patch+yaml, application/apply-patch+cbor";

/// The media types of configurations.
pub(crate) const APPLY: [&str; 2] = ["application/apply-patch+yaml", APPLY_CBOR];
const APPLY_CBOR: &str = "application/apply-patch+cbor";

const STRATEGIC: &str = "application/strategic-merge-patch+json";
/// How custom resources may be patched: nothing says how their lists merge in a strategic way.
const FOR_CUSTOM: &str = "application/json-patch+json, application/merge-patch+json, \
                          application/apply-patch+yaml, application/apply-patch+cbor";

/// A patch, read once and applied as often as the object moves.
pub(crate) struct Patch {
    kind: Kind,
    body: Value,
    /// Whether it may be about who owns which field; else it is applied without reading what is said of them.
    sees_owners: bool,
}

impl Patch {
    /// Reads a patch of the given media type.
    ///
    /// # Errors
    /// 415 for other media types, 400 for what is not JSON.
    pub(crate) fn read(media: &str, body: &[u8]) -> Result<Self, ApiError> {
        let kind = match media {
            "application/json-patch+json" => Kind::Json,
            "application/merge-patch+json" => Kind::Merge,
            "application/strategic-merge-patch+json" => Kind::Strategic,
            _ => return Err(ApiError::unsupported_media_type(OFFERED)),
        };
        let json = |error| ApiError::bad_request(format!("error decoding patch: {error}"));
        let value = match serde_json::from_slice(body) {
            Ok(value) => value,
            // kubectl patch sends YAML as it was typed, now and then.
            Err(error) => match skiff_api::decode::yaml_to_json(body) {
                Ok(converted) if kind != Kind::Json => serde_json::from_slice(&converted).map_err(json)?,
                _ => return Err(json(error)),
            },
        };
        Ok(Self { kind, sees_owners: sees_owners(&value), body: value })
    }

    /// The patched JSON of an object.
    ///
    /// # Errors
    /// 400 or 422.
    pub(crate) fn apply(&self, schema: &strategic::Schema, mut object: Value) -> Result<Value, ApiError> {
        match self.kind {
            Kind::Json => json_patch::apply(&mut object, self.body.clone())?,
            Kind::Merge => merge::apply(&mut object, &self.body)?,
            Kind::Strategic => return Ok(strategic::apply(object, self.body.clone(), schema)?),
        }
        Ok(object)
    }

    /// The draft of a patched object.
    fn propose(&self, entry: &Entry, object: &Object, strictness: Strictness) -> Result<Proposal, ApiError> {
        let owners = if self.sees_owners { None } else { object.owners().map_err(ApiError::internal)? };
        let value = serde_json::from_slice(&object.without(owners.as_ref())).map_err(ApiError::internal)?;
        let patched = self.apply(&entry.ops.patch_schema(), value)?;
        let json = serde_json::to_vec(&patched).map_err(ApiError::internal)?;
        input::decode(entry, &json, strictness)
    }
}

/// Whether a patch names owners, or takes, tests or copies metadata as one piece. Who does away with them as a part of
/// what he does away with has said nothing about them.
fn sees_owners(patch: &Value) -> bool {
    let whole = |path: &Value| matches!(path.as_str(), Some("" | "/" | "/metadata" | "/metadata/"));
    let operations = patch.as_array().into_iter().flatten();
    operations.into_iter().any(|operation| whole(&operation["path"]) || whole(&operation["from"]))
        || patch.to_string().contains("managedFields")
}

/// Patches the object itself.
pub(crate) async fn patch(context: &Context, call: Authorized) -> Result<Response, ApiError> {
    patch_part(context, call, Part::Whole).await
}

/// Patches a part of the object.
pub(crate) async fn patch_part(
    context: &Context,
    call: Authorized,
    part: Part,
) -> Result<Response, ApiError> {
    if APPLY.contains(&input::media_type(call.request.headers())) {
        return apply(context, call, part).await;
    }
    let options = WriteOptions::parse(&call.info.query, "PatchOptions")?;
    let form = media::negotiate(call.request.headers())?;
    let (parts, body) = call.request.into_parts();
    let media = input::media_type(&parts.headers).to_owned();
    let body = input::read(&parts.headers, body).await?;
    if !context.entry.built_in && media == STRATEGIC {
        return Err(ApiError::unsupported_media_type(FOR_CUSTOM));
    }
    let patch = Patch::read(&media, &body)?;
    let change = |current: Option<&Object>| {
        let current = current.ok_or_else(ApiError::no_such_path)?;
        patch.propose(&context.entry, current, options.strictness)
    };
    let how = Update { part, dry_run: options.dry_run, change: &change, upsert: false };
    let written = registry::update::update(&context.scope(&call.user), &how).await?;
    write::answer(context, &call.info, &form, written)
}

/// Go's words for the first member that a map of a YAML text has twice, if there is one.
fn repeated_key(yaml: &[u8]) -> Option<String> {
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
        legacy_octal_numbers: true,
    };
    let read = serde_saphyr::from_slice_with_options::<Value>(yaml, options);
    match read.err()?.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key, location } => {
            let (line, key) = (location.line(), key.as_deref().unwrap_or_default());
            Some(format!("yaml: unmarshal errors:\n  line {line}: key {key:?} already set in map"))
        }
        _ => None,
    }
}

/// A configuration as YAML, which JSON is as well.
///
/// # Errors
/// As [`input::read`], and 400 for what is no CBOR though it says so.
pub(crate) async fn configuration(headers: &HeaderMap, body: Incoming) -> Result<Bytes, ApiError> {
    let read = input::read(headers, body).await?;
    if input::media_type(headers) == APPLY_CBOR { input::from_cbor(&read) } else { Ok(read) }
}

/// Lays a configuration over a part of the object; creates the object if there is none.
async fn apply(context: &Context, call: Authorized, part: Part) -> Result<Response, ApiError> {
    let (options, force) = WriteOptions::parse_apply(&call.info.query)?;
    let form = media::negotiate(call.request.headers())?;
    let (parts, body) = call.request.into_parts();
    let body = configuration(&parts.headers, body).await?;
    let entry = &context.entry;
    let config = Config::read(&body, force, &entry.api_version, &entry.resource.kind)?;
    if options.strictness == Strictness::Strict
        && let Some(why) = repeated_key(&body)
    {
        let message = format!("error strict decoding YAML: error converting YAML to JSON: {why}");
        return Err(ApiError::bad_request(message));
    }
    let scope = context.scope(&call.user);
    let change = Applying { config: &config, part };
    let how = Update { part, dry_run: options.dry_run, change: &change, upsert: part == Part::Whole };
    let written = registry::update::update(&scope, &how).await?;
    write::answer(context, &call.info, &form, written)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn owners_are_seen_by_patches_that_name_them_or_take_metadata_whole() {
        for (patch, sees) in [
            (json!({"metadata": {"labels": {"a": "b"}}}), false),
            (json!({"metadata": {"managedFields": [{}]}}), true),
            (json!({"metadata": {"$setElementOrder/managedFields": []}}), true),
            (json!([{"op": "replace", "path": "/metadata/labels/a", "value": "b"}]), false),
            (json!([{"op": "test", "path": "/metadata/managedFields/0/manager", "value": "a"}]), true),
            (json!([{"op": "test", "path": "/metadata", "value": {}}]), true),
            (json!([{"op": "copy", "from": "", "path": "/spec/template"}]), true),
        ] {
            assert_eq!(sees_owners(&patch), sees, "{patch}");
        }
    }
}
