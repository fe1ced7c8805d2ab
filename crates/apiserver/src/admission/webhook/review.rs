//! `AdmissionReview`: the question to a webhook and its answer. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use serde::Deserialize;
use serde_json::{Value, json};
use skiff_api::ApiError;
use std::collections::BTreeMap;

use crate::admission::attributes::Attributes;

/// What a webhook answered.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) allowed: bool,
    pub(super) result: Option<Status>,
    pub(super) patch: Option<Value>,
    pub(super) warnings: Vec<String>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// The question's id and its JSON.
pub(super) fn request(call: &Attributes<'_>, version: &str) -> (String, Vec<u8>) {
    let id = uuid::Uuid::new_v4().to_string();
    let mut request = call.request();
    request["uid"] = id.as_str().into();
    request["object"] = call.object.clone();
    request["oldObject"] = call.old.clone();
    let review = json!({ "kind": "AdmissionReview", "apiVersion": format!("admission.k8s.io/{version}"), "request": request });
    (id, serde_json::to_vec(&review).unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    response: Option<Response>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    allowed: bool,
    #[serde(default)]
    status: Option<Status>,
    #[serde(default)]
    patch: Option<String>,
    #[serde(default)]
    patch_type: Option<String>,
    #[serde(default)]
    audit_annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

/// Reads an answer to the question `id`; follows upstream's `VerifyAdmissionResponse`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(body: &[u8], id: &str, version: &str) -> Result<Answer, String> {
    let review: Review = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let response = review.response.ok_or("webhook response was absent")?;
    // The first version of the protocol asked for neither.
    if version == "v1" {
        if response.uid != id {
            return Err(format!("expected response.uid={id:?}, got {:?}", response.uid));
        }
        if review.api_version != "admission.k8s.io/v1" || review.kind != "AdmissionReview" {
            let (version, kind) = (review.api_version, review.kind);
            return Err(format!(
                "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {version}, Kind={kind}"
            ));
        }
    }
    let patch = response.patch.filter(|patch| !patch.is_empty());
    let patch = match (patch, response.patch_type.as_deref()) {
        (None, None) => None,
        (None, Some(_)) => {
            return Err("webhook returned response.patchType but not response.patch".to_owned());
        }
        (Some(_), None) if version == "v1" => {
            return Err("webhook returned response.patch but not response.patchType".to_owned());
        }
        (Some(_), Some(other)) if other != "JSONPatch" => {
            return Err(format!("webhook returned invalid response.patchType of {other:?}"));
        }
        (Some(patch), _) => {
            let undecodable = |why: String| format!("received undecodable patch in webhook response: {why}");
            let json = STANDARD.decode(&patch).map_err(|error| undecodable(error.to_string()))?;
            Some(serde_json::from_slice(&json).map_err(|error| undecodable(error.to_string()))?)
        }
    };
    Ok(Answer {
        allowed: response.allowed,
        result: response.status,
        patch,
        warnings: response.warnings.unwrap_or_default(),
        annotations: response.audit_annotations.unwrap_or_default(),
    })
}

/// A webhook's refusal as the client's error; follows upstream's `webhookerrors.ToStatusErr`.
pub(super) fn refusal(name: &str, result: Option<Status>) -> ApiError {
    let result = result.unwrap_or_default();
    let code =
        result.code.filter(|code| *code >= 400).and_then(|code| u16::try_from(code).ok()).unwrap_or(400);
    let denied = format!("admission webhook \"{name}\" denied the request");
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let message = match given(&result.message).or_else(|| given(&result.reason)) {
        Some(why) => format!("{denied}: {why}"),
        None => format!("{denied} without explanation"),
    };
    let mut error = ApiError::new(code, result.reason.as_deref().unwrap_or_default(), message);
    if result.details.is_some() {
        error.status.details = result.details;
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: Value, version: &str) -> Result<Answer, String> {
        read(&serde_json::to_vec(&text).unwrap(), "u", version)
    }

    fn review(response: Value) -> Value {
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response })
    }

    #[test]
    fn answers_are_read_as_upstream_reads_them() {
        let good = answer(
            review(json!({"uid": "u", "allowed": true, "warnings": ["w"],
            "patchType": "JSONPatch", "patch": STANDARD.encode("[]")})),
            "v1",
        );
        let good = good.unwrap();
        assert!(good.allowed && good.warnings == ["w"] && good.patch == Some(json!([])));
        let fault = |response: Value| answer(review(response), "v1").unwrap_err();
        assert_eq!(fault(json!({"uid": "x"})), "expected response.uid=\"u\", got \"x\"");
        assert_eq!(
            fault(json!({"uid": "u", "patch": "W10="})),
            "webhook returned response.patch but not response.patchType"
        );
        assert_eq!(answer(review(Value::Null), "v1").unwrap_err(), "webhook response was absent");
        let old = json!({"response": {"allowed": true}});
        assert!(answer(old.clone(), "v1beta1").unwrap().allowed);
        assert!(answer(old, "v1").is_err());
    }

    #[test]
    fn refusals_carry_code_reason_and_words() {
        let status = |text: Value| Some(serde_json::from_value(text).unwrap());
        let plain = refusal("a.b.c", None);
        assert_eq!(
            (plain.code(), plain.to_string().as_str()),
            (400, "admission webhook \"a.b.c\" denied the request without explanation")
        );
        let worded = refusal("a.b.c", status(json!({"message": "no", "code": 418, "reason": "Teapot"})));
        assert_eq!((worded.code(), worded.reason()), (418, "Teapot"));
        assert_eq!(worded.to_string(), "admission webhook \"a.b.c\" denied the request: no");
        let reason = refusal("a.b.c", status(json!({"reason": "Why", "code": 200})));
        assert_eq!(
            (reason.code(), reason.to_string().as_str()),
            (400, "admission webhook \"a.b.c\" denied the request: Why")
        );
    }
}
