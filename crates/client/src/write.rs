//! Writes in a few shapes: create, replace, patch, delete, by built-in type or by [`Resource`] alone.
//!
//! All of them go through the link's client and return what the server stored, so that a caller can wait until its
//! cache shows it. A status is written as the smallest merge patch between what was read and what it should be, and
//! nothing is sent where they agree.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use kube::Error;
use serde_json::{Map, Value, json};
use skiff_api::decode::{self, Legible};
use skiff_api::resource::Scoped;
use skiff_api::{Readable, Resource};
use skiff_base::Backoff;

use crate::link::Link;

/// The result of a write.
pub type Result<T> = std::result::Result<T, Error>;

/// How a patch is read by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patch {
    /// RFC 7386.
    Merge,
    /// Merge with lists by key.
    Strategic,
    /// RFC 6902.
    Json,
}

impl Patch {
    fn media_type(self) -> &'static str {
        match self {
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Json => "application/json-patch+json",
        }
    }
}

/// What a status patch relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The object is still the same one: for a status that one component owns.
    Uid,
    /// Nobody wrote since it was read; else the server answers with a conflict.
    Revision,
}

/// Where an object is: its resource, namespace, name, and a part of it.
#[derive(Clone, Debug)]
pub struct Place {
    path: String,
}

impl Place {
    /// An object.
    pub fn new(resource: &Resource, namespace: Option<&str>, name: &str) -> Self {
        let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        Self { path: format!("{}/{name}", resource.path(namespace)) }
    }

    /// The object of a built-in kind.
    pub fn of<K: Readable>(object: &K) -> Self {
        let meta = object.metadata();
        Self::new(&Resource::of::<K>(), meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
    }

    /// A part of the object, such as `status`.
    #[must_use]
    pub fn part(mut self, subresource: &str) -> Self {
        self.path.push('/');
        self.path.push_str(subresource);
        self
    }
}

async fn send<T: Legible>(
    link: &Link,
    method: http::Method,
    path: &str,
    media_type: &str,
    body: Vec<u8>,
) -> Result<T> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, media_type)
        .header(http::header::ACCEPT, "application/json")
        .body(body)
        .map_err(Error::HttpError)?;
    let text = link.client().request_text(request).await?;
    decode::from_slice(text.as_bytes()).map_err(Error::SerdeError)
}

fn encode(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(Error::SerdeError)
}

/// Reads an object from the server itself, not from a cache.
///
/// # Errors
/// What the server refused, or a failure on the way.
pub async fn get<T: Legible>(link: &Link, place: &Place) -> Result<T> {
    send(link, http::Method::GET, &place.path, "application/json", Vec::new()).await
}

/// Reads all objects of a kind, of all namespaces, from the server itself.
///
/// # Errors
/// What the server refused, or a failure on the way.
pub async fn list<K: Readable>(link: &Link) -> Result<Vec<K>> {
    let path = Resource::of::<K>().path(None);
    let list: Value = send(link, http::Method::GET, &path, "application/json", Vec::new()).await?;
    let items = list.get("items").and_then(Value::as_array).into_iter().flatten();
    items.map(decode::from_tree).collect::<serde_json::Result<_>>().map_err(Error::SerdeError)
}

/// Creates an object in the namespace it names.
///
/// # Errors
/// What the server refused, or a failure on the way.
pub async fn create<K: Readable>(link: &Link, object: &K) -> Result<K> {
    let path = Resource::of::<K>().path(object.metadata().namespace.as_deref());
    send(link, http::Method::POST, &path, "application/json", encode(object)?).await
}

/// Creates an object as [`create`] does, for who does not look at what was made of it.
///
/// # Errors
/// What the server refused, or a failure on the way.
pub async fn create_unseen<K: Readable>(link: &Link, object: &K) -> Result<()> {
    let path = Resource::of::<K>().path(object.metadata().namespace.as_deref());
    send(link, http::Method::POST, &path, "application/json", encode(object)?).await
}

/// Posts a body to a place, such as a binding to a pod's `binding`.
///
/// # Errors
/// What the server refused, or a failure on the way.
pub async fn post<T: Legible>(link: &Link, place: &Place, body: &impl serde::Serialize) -> Result<T> {
    send(link, http::Method::POST, &place.path, "application/json", encode(body)?).await
}

/// Replaces what is at a place; the body's `resourceVersion` is the precondition.
///
/// # Errors
/// What the server refused, or a failure on the way.
pub async fn replace<T: Legible>(link: &Link, place: &Place, body: &impl serde::Serialize) -> Result<T> {
    send(link, http::Method::PUT, &place.path, "application/json", encode(body)?).await
}

/// Patches what is at a place.
///
/// # Errors
/// What the server refused, or a failure on the way.
pub async fn patch<T: Legible>(link: &Link, place: &Place, kind: Patch, body: &Value) -> Result<T> {
    send(link, http::Method::PATCH, &place.path, kind.media_type(), encode(body)?).await
}

/// Makes the status what `new` says, starting from `old` as it was read; nothing is sent (and nothing returned) if
/// the two agree.
///
/// # Errors
/// What the server refused (a conflict where `basis` no longer holds), or a failure on the way.
pub async fn patch_status<K: Readable>(link: &Link, old: &K, new: &K, basis: Basis) -> Result<Option<K>> {
    let status = |object: &K| -> Result<Value> {
        let mut value = decode::tree(object).map_err(Error::SerdeError)?;
        Ok(value.get_mut("status").map(Value::take).unwrap_or_default())
    };
    let Some(difference) = merge_patch(&status(old)?, &status(new)?) else { return Ok(None) };
    let meta = old.metadata();
    let mut metadata = json!({ "uid": meta.uid });
    if basis == Basis::Revision {
        metadata["resourceVersion"] = json!(meta.resource_version);
    }
    let body = json!({ "metadata": metadata, "status": difference });
    patch(link, &Place::of(old).part("status"), Patch::Merge, &body).await.map(Some)
}

/// Deletes an object; the answer is the object as it was last, or a `Status`. An object that is gone already is a
/// `NotFound` error (see [`is_not_found`]).
///
/// # Errors
/// What the server refused, or a failure on the way.
pub async fn delete(link: &Link, place: &Place, options: &DeleteOptions) -> Result<Value> {
    send(link, http::Method::DELETE, &place.path, "application/json", encode(options)?).await
}

/// Deletes all objects of a cluster's kind that have these fields, such as `spec.nodeName=a,spec.driver=b`.
///
/// # Errors
/// What the server refused, or a failure on the way.
pub async fn delete_selected(link: &Link, resource: &Resource, fields: &str) -> Result<()> {
    let fields: String = form_urlencoded::byte_serialize(fields.as_bytes()).collect();
    let path = format!("{}?fieldSelector={fields}", resource.path(None));
    let options = encode(&DeleteOptions::default())?;
    send::<Value>(link, http::Method::DELETE, &path, "application/json", options).await.map(drop)
}

/// Delete options that hold only for the object with this uid.
pub fn only(uid: &str) -> DeleteOptions {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() };
    DeleteOptions { preconditions: Some(preconditions), ..DeleteOptions::default() }
}

/// Whether objects of `K` live in a namespace.
pub const fn namespaced<K: Readable>() -> bool {
    <K::Scope as Scoped>::NAMESPACED
}

/// The HTTP code of a refusal; 0 if the request failed on its way.
pub fn code(error: &Error) -> u16 {
    match error {
        Error::Api(status) => status.code,
        _ => 0,
    }
}

/// What the server said, without the client's wrapping: for events and conditions.
pub fn words(error: &Error) -> String {
    match error {
        Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// True for a refusal because there is no such object.
pub fn is_not_found(error: &Error) -> bool {
    code(error) == 404
}

/// True for a refusal because somebody else wrote first.
pub fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 409 && status.reason == "Conflict")
}

/// True for a refusal because the name is taken.
pub fn already_exists(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.reason == "AlreadyExists")
}

/// True for a refusal because the namespace is being deleted: trying again cannot help.
pub fn is_terminating(error: &Error) -> bool {
    let causes = |status: &kube::core::Status| {
        let details = status.details.as_ref();
        details
            .is_some_and(|details| details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating"))
    };
    matches!(error, Error::Api(status) if causes(status))
}

/// Tries again while the server answers with a conflict, five times at most; `attempt` must read afresh each time.
///
/// # Errors
/// The first error that is no conflict, or the last conflict.
pub async fn retry_on_conflict<T, F: Future<Output = Result<T>>>(
    mut attempt: impl FnMut() -> F,
) -> Result<T> {
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(200));
    for _ in 0..4 {
        match attempt().await {
            Err(error) if is_conflict(&error) => backoff.wait().await,
            other => return other,
        }
    }
    attempt().await
}

/// The smallest RFC 7386 patch that makes `old` into `new`; nothing if they agree. Lists are replaced whole.
pub fn merge_patch(old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    let Value::Object(new) = new else { return Some(new.clone()) };
    let none = Map::new();
    let old = old.as_object().unwrap_or(&none);
    let mut patch = Map::new();
    for (field, value) in new {
        let before = old.get(field).unwrap_or(&Value::Null);
        if let Some(difference) = merge_patch(before, value) {
            patch.insert(field.clone(), difference);
        }
    }
    for field in old.keys().filter(|field| !new.contains_key(*field)) {
        patch.insert(field.clone(), Value::Null);
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_patch_says_only_what_differs() {
        let old =
            json!({"phase": "Pending", "ip": "10.0.0.1", "conditions": [1, 2], "deep": {"a": 1, "b": 2}});
        let new =
            json!({"phase": "Running", "conditions": [1, 2], "deep": {"a": 1, "b": 3}, "new": {"x": {}}});
        let patch = merge_patch(&old, &new).unwrap();
        assert_eq!(patch, json!({"phase": "Running", "ip": null, "deep": {"b": 3}, "new": {"x": {}}}));
        assert_eq!(merge_patch(&old, &old), None);
    }

    #[test]
    fn places_name_objects_and_their_parts() {
        let nodes = Resource::of::<k8s_openapi::api::core::v1::Node>();
        let pods = Resource::of::<k8s_openapi::api::core::v1::Pod>();
        assert_eq!(Place::new(&nodes, None, "one").part("status").path, "/api/v1/nodes/one/status");
        assert_eq!(Place::new(&pods, Some("blue"), "a").path, "/api/v1/namespaces/blue/pods/a");
    }
}
