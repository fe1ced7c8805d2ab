//! The port behind a service that names none: in 2014 the first port of the first container, in v1 the service's own.
//!
//! v1 cannot say the former, so it is looked up when the service is written: in the pods the service selects, or, where
//! there are none yet, in the templates of the controllers that will make them. If nobody knows, v1's rule applies.

use k8s_openapi::api::core::v1;
use serde_json::Value;
use skiff_api::decode::{Legible, from_tree};
use skiff_api::v1beta1::value::{Map, Port};
use skiff_api::v1beta1::{Kind, Object, Pod, ReplicationController, Service};

use super::caller::Caller;

/// Fills in the container port of a service that is created without one.
pub(super) async fn resolve(caller: &Caller, object: &mut dyn Object) {
    let Some(service) = object.as_any_mut().downcast_mut::<Service>() else { return };
    let Some(selector) = service.selector.clone() else { return };
    if service.ports.is_empty()
        && service.container_port.is_unset()
        && let Some(port) = first_port(caller, &service.meta.namespace, &selector).await
    {
        service.container_port = Port::Number(port.into());
    }
}

/// The same for a PUT: as long as the selector is the same, so is the port that was found for it.
pub(super) async fn resolve_again(caller: &Caller, object: &mut dyn Object, stored: &Value) {
    let Some(service) = object.as_any().downcast_ref::<Service>() else { return };
    let selector = serde_json::to_value(&service.selector).unwrap_or_default();
    if stored["spec"]["selector"] != selector {
        resolve(caller, object).await;
    }
}

async fn first_port(caller: &Caller, namespace: &str, selector: &Map) -> Option<i32> {
    let labels: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("labelSelector", &labels.join(","))
        .finish();
    let uri = format!("{}?{query}", caller.collection(Pod::ROW, namespace));
    // What cannot be looked up is not known; the write itself tells what is wrong with the request.
    let pods = caller.fetch(Pod::ROW, "", &uri).await.unwrap_or_default();
    if let Some(port) = items::<v1::Pod>(pods).find_map(|pod| spec_port(pod.spec.as_ref())) {
        return Some(port);
    }
    let uri = caller.collection(ReplicationController::ROW, namespace);
    let controllers = caller.fetch(ReplicationController::ROW, "", &uri).await.unwrap_or_default();
    items::<v1::ReplicationController>(controllers).find_map(|controller| {
        let template = controller.spec?.template?;
        let labels = template.metadata?.labels?;
        let selected = selector.iter().all(|(key, value)| labels.get(key) == Some(value));
        if selected { spec_port(template.spec.as_ref()) } else { None }
    })
}

fn items<K: Legible>(mut list: Value) -> impl Iterator<Item = K> {
    let items = match list.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    items.into_iter().filter_map(|item| from_tree(&item).ok())
}

fn spec_port(spec: Option<&v1::PodSpec>) -> Option<i32> {
    Some(spec?.containers.first()?.ports.as_ref()?.first()?.container_port)
}
