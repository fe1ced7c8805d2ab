//! Objects written as YAML, the way people write them.

use serde::de::DeserializeOwned;

/// The object that the YAML stands for.
///
/// # Panics
/// If it is none: a test with a wrong fixture is wrong.
pub fn yaml<K: DeserializeOwned>(text: &str) -> K {
    match serde_saphyr::from_str(text) {
        Ok(object) => object,
        Err(error) => panic!("{error} in:\n{text}"),
    }
}

/// A pod that asks for nothing much.
pub fn pod(namespace: &str, name: &str) -> k8s_openapi::api::core::v1::Pod {
    yaml(&format!(
        "{{metadata: {{name: {name}, namespace: {namespace}}}, spec: {{containers: [{{name: c, image: app}}]}}}}"
    ))
}

/// A ready node with 4 CPUs and room for 110 pods.
pub fn node(name: &str) -> k8s_openapi::api::core::v1::Node {
    yaml(&format!(
        "metadata: {{name: {name}, labels: {{kubernetes.io/hostname: {name}}}}}
status:
  capacity: &all {{cpu: '4', memory: 8Gi, pods: '110'}}
  allocatable: {{cpu: '4', memory: 8Gi, pods: '110'}}
  conditions: [{{type: Ready, status: 'True', reason: KubeletReady, message: ready}}]
"
    ))
}
