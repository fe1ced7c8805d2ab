//! Parts of a pod's spec that are changed through a path of their own, whatever else is sent along.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use skiff_api::{ApiError, Errors, Object};

use crate::authz::Authorized;
use crate::registry::update::{Part, Proposal, Update, update};
use crate::request::Verb;
use crate::request::options::WriteOptions;
use crate::verbs::patch::Patch;
use crate::verbs::{Context, get, input, media, write};
use crate::wire::Response;

/// Takes the part over into the pod as it is from the pod that is wanted.
pub(super) type Take = fn(&mut Pod, Pod, &mut Errors);

/// What was sent: a pod, or a patch to make one.
enum Sent {
    Pod(Value),
    Patch(Patch),
}

pub(super) async fn handle(context: Context, call: Authorized, take: Take) -> Result<Response, ApiError> {
    if call.info.verb == Verb::Get {
        return get::get(&context, call).await;
    }
    let options = WriteOptions::parse(&call.info.query, "UpdateOptions")?;
    let form = media::negotiate(call.request.headers())?;
    let (parts, body) = call.request.into_parts();
    let sent = if call.info.verb == Verb::Update {
        let json = input::json(&parts.headers, body).await?;
        Sent::Pod(serde_json::from_slice(&json).map_err(|error| ApiError::bad_request(error.to_string()))?)
    } else {
        let media = input::media_type(&parts.headers).to_owned();
        Sent::Patch(Patch::read(&media, &input::read(&parts.headers, body).await?)?)
    };
    let change = |current: Option<&Object>| {
        let current = current.ok_or_else(ApiError::no_such_path)?;
        let new = match &sent {
            Sent::Pod(pod) => pod.clone(),
            Sent::Patch(patch) => {
                let value = current.value().map_err(ApiError::internal)?;
                patch.apply(&context.entry.ops.patch_schema(), value)?
            }
        };
        let json = serde_json::to_vec(&new).map_err(ApiError::internal)?;
        let mut proposal = input::decode(&context.entry, &json, options.strictness)?;
        // What is left unsaid of the part means what it means in a whole pod.
        proposal.draft.set_defaults();
        let version = proposal.draft.meta().resource_version.clone();
        let mut draft = context.entry.ops.thaw(current).map_err(ApiError::internal)?;
        draft.meta_mut().resource_version = version;
        let wanted = proposal.draft.as_any().downcast_ref::<Pod>();
        if let (Some(pod), Some(wanted)) = (draft.as_any_mut().downcast_mut::<Pod>(), wanted) {
            let mut errors = Errors::new();
            take(pod, wanted.clone(), &mut errors);
            if !errors.is_empty() {
                return Err(ApiError::invalid("", "Pod", &context.target.name, errors));
            }
        }
        Ok(Proposal { draft, ..proposal })
    };
    let how = Update { part: Part::Internal, dry_run: options.dry_run, change: &change, upsert: false };
    let written = update(&context.scope(&call.user), &how).await?;
    write::answer(&context, &call.info, &form, written)
}
