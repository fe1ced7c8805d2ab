//! ContainerManifest: what a pod runs. Also the file format of the kubelet of 2014.

use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::container::Container;
use super::fault::Fault;
use super::kind::Kind;
use super::meta::keep_text;
use super::pod::Pod;
use super::value::{self, Empty};
use super::volume::Volume;
use super::{API_VERSION, body};

/// What a pod runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerManifest {
    /// Accepted in any form, answered as `v1beta1`; empty in an untouched manifest.
    pub version: String,
    /// The pod's name.
    pub id: String,
    /// The pod's identity over time.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// Written as `null` when there are none.
    pub volumes: Option<Vec<Volume>>,
    /// Written as `null` when there are none.
    pub containers: Option<Vec<Container>>,
    /// When containers are started again.
    pub restart_policy: RestartPolicy,
    /// (L) as in v1.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dns_policy: String,
    /// (L) as in v1.
    #[serde(skip_serializing_if = "value::is_false")]
    pub host_network: bool,
    /// (L) as in v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<i64>,
    /// (L) as in v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<i64>,
    /// (L) as in v1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<v1::LocalObjectReference>,
}

/// At most one member is set; none means always.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RestartPolicy {
    /// Whatever the exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub always: Option<Empty>,
    /// After a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Empty>,
    /// Never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub never: Option<Empty>,
}

impl RestartPolicy {
    /// The v1 word; the default is said aloud so that a changed policy is a difference.
    pub fn to_v1(&self) -> &'static str {
        match (&self.never, &self.on_failure) {
            (Some(_), _) if self.always.is_none() && self.on_failure.is_none() => "Never",
            (_, Some(_)) if self.always.is_none() => "OnFailure",
            _ => "Always",
        }
    }

    fn from_v1(word: Option<&str>) -> Self {
        match word {
            Some("Never") => Self { never: Some(Empty {}), ..Self::default() },
            Some("OnFailure") => Self { on_failure: Some(Empty {}), ..Self::default() },
            _ => Self { always: Some(Empty {}), ..Self::default() },
        }
    }
}

impl ContainerManifest {
    /// What 2014 can say of a pod's spec; `id` and `uuid` are the caller's to fill in.
    pub fn from_v1(spec: &v1::PodSpec) -> Self {
        let volumes: Vec<Volume> = spec.volumes.iter().flatten().filter_map(Volume::from_v1).collect();
        let declared = |name: &str| spec.volumes.iter().flatten().any(|volume| volume.name == name);
        let shown = |name: &str| volumes.iter().any(|volume| volume.name == name);
        let hidden = |name: &str| declared(name) && !shown(name);
        let containers = spec.containers.iter().map(|c| Container::from_v1(c, &hidden)).collect();
        Self {
            version: API_VERSION.to_owned(),
            id: String::new(),
            uuid: String::new(),
            containers: value::some_list(containers),
            volumes: value::some_list(volumes),
            restart_policy: RestartPolicy::from_v1(spec.restart_policy.as_deref()),
            dns_policy: spec.dns_policy.clone().filter(|policy| policy != "ClusterFirst").unwrap_or_default(),
            host_network: spec.host_network.unwrap_or(false),
            termination_grace_period_seconds: spec
                .termination_grace_period_seconds
                .filter(|seconds| *seconds != 30),
            active_deadline_seconds: spec.active_deadline_seconds,
            image_pull_secrets: spec.image_pull_secrets.clone().unwrap_or_default(),
        }
    }

    /// As a v1 pod spec.
    pub fn to_v1(&self) -> v1::PodSpec {
        v1::PodSpec {
            volumes: value::some_list(self.volumes.iter().flatten().map(Volume::to_v1).collect()),
            containers: self.containers.iter().flatten().map(Container::to_v1).collect(),
            restart_policy: Some(self.restart_policy.to_v1().to_owned()),
            dns_policy: value::some(&self.dns_policy),
            host_network: self.host_network.then_some(true),
            termination_grace_period_seconds: self.termination_grace_period_seconds,
            active_deadline_seconds: self.active_deadline_seconds,
            image_pull_secrets: value::some_list(self.image_pull_secrets.clone()),
            ..v1::PodSpec::default()
        }
    }

    /// Takes over what is younger than A and was not sent.
    pub(super) fn keep(&mut self, shown: &Self) {
        keep_text(&mut self.id, &shown.id);
        self.uuid.clone_from(&shown.uuid);
        keep_text(&mut self.dns_policy, &shown.dns_policy);
        self.host_network |= shown.host_network;
        self.termination_grace_period_seconds =
            self.termination_grace_period_seconds.or(shown.termination_grace_period_seconds);
        self.active_deadline_seconds = self.active_deadline_seconds.or(shown.active_deadline_seconds);
        if self.image_pull_secrets.is_empty() {
            self.image_pull_secrets.clone_from(&shown.image_pull_secrets);
        }
        for container in self.containers.iter_mut().flatten() {
            if let Some(shown) = shown.containers.iter().flatten().find(|c| c.name == container.name) {
                container.keep(shown);
            }
        }
        for volume in self.volumes.iter_mut().flatten() {
            if let Some(shown) = shown.volumes.iter().flatten().find(|v| v.name == volume.name) {
                volume.keep(shown);
            }
        }
    }

    /// As a v1 pod of its own, as the kubelet reads it from a file: the name is the id, which may be empty.
    pub fn to_pod(&self) -> v1::Pod {
        v1::Pod {
            metadata: ObjectMeta {
                name: value::some(&self.id),
                uid: value::some(&self.uuid),
                namespace: Some("default".to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(self.to_v1()),
            status: None,
        }
    }
}

/// Whether a tree read from a kubelet's file or URL is in 2014's form (and not a v1 Pod or PodList).
pub fn is_legacy(tree: &Value) -> bool {
    match tree {
        Value::Array(items) => items.first().is_some_and(is_legacy),
        Value::Object(members) => {
            let word = |key: &str| members.get(key).and_then(Value::as_str).unwrap_or_default();
            match word("apiVersion") {
                "" => word("kind").is_empty() || word("kind") == "ContainerManifestList",
                version => version.starts_with("v1beta"),
            }
        }
        _ => false,
    }
}

/// The pods of a kubelet's file or URL in 2014's form: a ContainerManifest, an array or a list of them, or a v1beta1
/// Pod or PodList; JSON or YAML. Names are as given and may be empty: naming nameless pods is the kubelet's.
///
/// # Errors
/// [`Fault`], if the text is none of these.
pub fn to_pods(text: &[u8]) -> Result<Vec<v1::Pod>, Fault> {
    pods(body::tree(text)?)
}

fn pods(tree: Value) -> Result<Vec<v1::Pod>, Fault> {
    let items = match tree {
        Value::Array(items) => items,
        Value::Object(mut members) => match members.remove("items") {
            Some(Value::Array(items)) => items,
            _ => return pod(Value::Object(members)).map(|pod| vec![pod]),
        },
        _ => return Err(Fault::NotAnObject),
    };
    items.into_iter().map(pod).collect()
}

fn pod(tree: Value) -> Result<v1::Pod, Fault> {
    let (kind, _) = body::claims(&tree)?;
    if kind == "Pod" || tree.get("desiredState").is_some() {
        let mut pod: Pod = body::typed(tree)?;
        pod.prepare();
        return Ok(pod.to_v1());
    }
    if tree.get("containers").is_none() {
        return Err(Fault::Member("containers: the manifest names none".to_owned()));
    }
    Ok(body::typed::<ContainerManifest>(tree)?.to_pod())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "version: v1beta2\nid: cache\ncontainers:\n  - name: redis\n    image: gurpartap/redis\n    \
                        command: [redis-server, --port, '7000']\n    ports:\n      - {name: redis, containerPort: 7000}\n\
                        restartPolicy:\n  onFailure: {}\n";

    #[test]
    fn a_manifest_file_is_a_pod_of_the_default_namespace() {
        let pod = to_pods(FILE.as_bytes()).unwrap().remove(0);
        assert_eq!(pod.metadata.name.as_deref(), Some("cache"));
        assert_eq!(pod.metadata.namespace.as_deref(), Some("default"));
        let spec = pod.spec.unwrap();
        assert_eq!(spec.restart_policy.as_deref(), Some("OnFailure"));
        assert_eq!(spec.containers[0].args.as_ref().unwrap().join(" "), "redis-server --port 7000");
        assert_eq!(spec.containers[0].command, None);
    }

    #[test]
    fn lists_arrays_and_v1beta1_pods_are_read_too() {
        let one = r#"{"version":"v1beta1","id":"a","containers":[{"name":"c","image":"i"}]}"#;
        for (text, count) in [
            (format!("[{one},{one}]"), 2),
            (format!(r#"{{"kind":"ContainerManifestList","items":[{one}]}}"#), 1),
            (
                format!(
                    r#"{{"kind":"Pod","apiVersion":"v1beta1","id":"p","desiredState":{{"manifest":{one}}}}}"#
                ),
                1,
            ),
        ] {
            assert_eq!(to_pods(text.as_bytes()).unwrap().len(), count, "{text}");
            assert!(is_legacy(&body::tree(text.as_bytes()).unwrap()), "{text}");
        }
    }

    #[test]
    fn a_v1_pod_is_not_taken_for_a_manifest() {
        let pod = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": []}});
        assert!(!is_legacy(&pod));
        assert!(to_pods(b"{\"version\": \"v1beta1\"}").is_err());
    }
}
