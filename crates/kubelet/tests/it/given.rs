//! Pods as YAML.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The pod as the API server would hand it out: with uid, namespace, defaults that matter here.
pub(crate) fn pod(yaml: &str) -> Arc<Pod> {
    let mut pod: Pod = serde_saphyr::from_str(yaml).expect("the test's YAML is a pod");
    let name = pod.metadata.name.clone().expect("the test names its pod");
    pod.metadata.namespace.get_or_insert_with(|| "default".to_owned());
    pod.metadata.uid.get_or_insert_with(|| format!("{name}-{:08x}", rand::random::<u32>()));
    pod.metadata.generation = Some(1);
    pod.metadata.creation_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    Arc::new(pod)
}

/// The same pod on its way out.
pub(crate) fn deleted(pod: &Pod, grace: i64) -> Arc<Pod> {
    let mut pod = pod.clone();
    pod.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    pod.metadata.deletion_grace_period_seconds = Some(grace);
    Arc::new(pod)
}
