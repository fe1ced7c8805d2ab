//! Events that the server itself tells of objects.

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use skiff_api::Readable;

use super::ensure;
use crate::api::Api;

/// What an event is about.
pub(crate) struct About(ObjectReference);

impl About {
    /// That object.
    pub(crate) fn of<K: Readable>(object: &K) -> Self {
        let meta = object.metadata();
        Self(ObjectReference {
            api_version: Some(K::API_VERSION.to_owned()),
            kind: Some(K::KIND.to_owned()),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            ..ObjectReference::default()
        })
    }
}

/// Tells a warning; one that cannot be told is logged.
pub(crate) async fn warn(api: &Api, about: &About, component: &str, reason: &str, message: String) {
    let About(object) = about;
    // What is in no namespace is told in this one.
    let namespace = object.namespace.clone().unwrap_or_else(|| "default".to_owned());
    let now = api.clock.now_seconds();
    let name = object.name.as_deref().unwrap_or_default();
    let event = Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:016x}", rand::random::<u64>())),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: object.clone(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        type_: Some("Warning".to_owned()),
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        source: Some(EventSource { component: Some(component.to_owned()), ..EventSource::default() }),
        ..Event::default()
    };
    if let Err(error) = ensure(api, &namespace, &event, false).await {
        tracing::warn!(%error, reason, "an event could not be written");
    }
}
