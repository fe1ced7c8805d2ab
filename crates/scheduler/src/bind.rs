//! Telling the server: the binding of a pod to its node, or why there is none.

use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use skiff_api::pod::conditions::{self, SCHEDULED, Wanted};
use skiff_base::Clock;
use skiff_client::Link;
use skiff_client::write::{self, Basis, Place};

/// Binds the pod to a node.
///
/// # Errors
/// What the server refused, or a failure on the way.
pub(crate) async fn bind(link: &Link, pod: &Pod, node: &str) -> write::Result<()> {
    let binding = Binding {
        metadata: ObjectMeta {
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            ..ObjectReference::default()
        },
    };
    let place = Place::of(pod).part("binding");
    write::post(link, &place, &binding).await
}

/// Writes into the pod's status why it has no node, and which one others are leaving for it; nothing is sent if it says so already.
///
/// # Errors
/// What the server refused, or a failure on the way.
pub(crate) async fn report(
    link: &Link,
    clock: &Clock,
    pod: &Pod,
    reason: &str,
    message: &str,
    nominated: Option<&str>,
) -> write::Result<()> {
    let mut wanted = pod.clone();
    let condition = Wanted { kind: SCHEDULED, status: "False", reason, message };
    let mut changed = conditions::set(&mut wanted, condition, clock.now_seconds());
    let status = wanted.status.get_or_insert_default();
    if nominated.is_some() && status.nominated_node_name.as_deref() != nominated {
        status.nominated_node_name = nominated.map(str::to_owned);
        changed = true;
    }
    if changed {
        write::patch_status(link, pod, &wanted, Basis::Uid).await?;
    }
    Ok(())
}
