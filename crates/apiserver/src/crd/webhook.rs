//! Conversion by a webhook: a ConversionReview goes out, and comes back with the objects in the wanted version.
//!
//! Follows upstream's `apiserver/conversion/webhook_converter.go`: labels and annotations may change on the way, no other
//! metadata.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{ServiceReference, WebhookClientConfig};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::WebhookConversion;
use serde_json::{Value, json};
use skiff_api::ApiError;

use crate::admission::webhook::{Connections, Target};
use crate::api::Api;

/// Upstream's time-out for conversions.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Who converts.
pub(super) struct Hook {
    target: Target,
    /// The newest version of the review that it speaks.
    review: String,
    connections: Connections,
}

impl Hook {
    /// The webhook of a definition; nothing if it names none.
    pub(super) fn of(webhook: &WebhookConversion) -> Option<Self> {
        let client = webhook.client_config.as_ref()?;
        let service = client.service.as_ref().map(|service| ServiceReference {
            name: service.name.clone(),
            namespace: service.namespace.clone(),
            path: service.path.clone(),
            port: service.port,
        });
        let client =
            WebhookClientConfig { ca_bundle: client.ca_bundle.clone(), service, url: client.url.clone() };
        let known = |version: &&String| matches!(version.as_str(), "v1" | "v1beta1");
        let spoken = webhook.conversion_review_versions.iter().find(known);
        let review = format!("apiextensions.k8s.io/{}", spoken.map_or("v1", String::as_str));
        Some(Self { target: Target::new(&client), review, connections: Connections::default() })
    }
}

/// `objects` in the version `wanted` (`group/version`), in the same order.
///
/// # Errors
/// 500 in upstream's words.
pub(super) async fn convert(
    api: &Api,
    hook: &Hook,
    kind: &str,
    wanted: &str,
    objects: Vec<Value>,
) -> Result<Vec<Value>, ApiError> {
    let from =
        objects.first().and_then(|object| object["apiVersion"].as_str()).unwrap_or_default().to_owned();
    let failed =
        |why: String| ApiError::internal(format!("conversion webhook for {from}, Kind={kind} failed: {why}"));
    let uid = uuid::Uuid::new_v4().to_string();
    let review = json!({
        "kind": "ConversionReview", "apiVersion": hook.review,
        "request": { "uid": uid, "desiredAPIVersion": wanted, "objects": objects },
    });
    let body = serde_json::to_vec(&review).map_err(ApiError::internal)?;
    let answer = hook.connections.post(api, &hook.target, TIMEOUT, body).await.map_err(failed)?;
    let mut answer: Value = serde_json::from_slice(&answer).map_err(|error| failed(error.to_string()))?;
    let response = answer["response"].take();
    if response["uid"] != *uid {
        return Err(failed(format!("expected response.uid={uid:?}, got {}", response["uid"])));
    }
    if response["result"]["status"] != "Success" {
        let why = response["result"]["message"].as_str().unwrap_or("unknown reason").to_owned();
        return Err(failed(why));
    }
    let converted = response["convertedObjects"].as_array().cloned().unwrap_or_default();
    if converted.len() != objects.len() {
        let (got, sent) = (converted.len(), objects.len());
        return Err(failed(format!("webhook returned {got} objects, expected {sent}")));
    }
    let checked = objects.iter().zip(converted).enumerate();
    checked.map(|(index, (sent, converted))| check(sent, converted, wanted, index).map_err(failed)).collect()
}

/// The converted object, with the metadata that it must keep.
fn check(sent: &Value, mut converted: Value, wanted: &str, index: usize) -> Result<Value, String> {
    if converted["apiVersion"] != *wanted {
        let got = &converted["apiVersion"];
        return Err(format!(
            "invalid groupVersion (expected {wanted}, received {got}) in object at index {index}"
        ));
    }
    if converted["kind"] != sent["kind"] {
        return Err(format!(
            "invalid kind (expected {}, received {}) in object at index {index}",
            sent["kind"], converted["kind"]
        ));
    }
    for field in ["name", "namespace", "uid"] {
        if converted["metadata"][field] != sent["metadata"][field] {
            return Err(format!("invalid metadata in object at index {index}: metadata.{field} changed"));
        }
    }
    let mut metadata = sent["metadata"].clone();
    for field in ["labels", "annotations"] {
        match converted["metadata"].get(field).filter(|map| !map.is_null()) {
            Some(map) => metadata[field] = map.clone(),
            None => {
                if let Value::Object(metadata) = &mut metadata {
                    metadata.remove(field);
                }
            }
        }
    }
    converted["metadata"] = metadata;
    Ok(converted)
}
