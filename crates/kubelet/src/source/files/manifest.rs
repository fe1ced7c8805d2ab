//! From the text of a manifest to finished pods. Pure.

use k8s_openapi::api::core::v1::{Pod, PodStatus, Toleration};
use serde_json::Value;
use sha2::{Digest, Sha256};
use skiff_api::decode::from_tree;
use skiff_api::v1beta1::manifest as legacy;
use skiff_base::Clock;

use super::defaults;

/// Where a manifest was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    File(String),
    Url(String),
}

impl Origin {
    /// The word in the annotation `kubernetes.io/config.source`.
    fn word(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Url(_) => "http",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::File(path) => format!("file:{path}"),
            Self::Url(url) => format!("url:{url}"),
        }
    }
}

/// The pods of a manifest, ready to run; an error says what is wrong with the text.
pub(super) fn pods(text: &[u8], origin: &Origin, node: &str, clock: &Clock) -> Result<Vec<Pod>, String> {
    let pods = read(text)?;
    let alone = pods.len() == 1;
    pods.into_iter()
        .enumerate()
        .map(|(index, pod)| finish(pod, origin, if alone { None } else { Some(index) }, node, clock))
        .collect()
}

fn read(text: &[u8]) -> Result<Vec<Pod>, String> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err("no pods in it".to_owned());
    }
    let json = skiff_api::decode::yaml_to_json(text).map_err(|error| error.to_string())?;
    let tree: Value = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
    if legacy::is_legacy(&tree) {
        let mut pods = legacy::to_pods(text).map_err(|error| error.to_string())?;
        for name in pods.iter_mut().filter_map(|pod| pod.metadata.name.as_mut()) {
            *name = modern(name);
        }
        return Ok(pods);
    }
    let kind = tree.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let version = tree.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if version != "v1" {
        return Err(format!("invalid pod: apiVersion {version:?} is not v1"));
    }
    match kind.as_str() {
        "Pod" => Ok(vec![from_tree(&tree).map_err(|error| error.to_string())?]),
        "PodList" | "List" => {
            let items = tree.get("items").and_then(Value::as_array).into_iter().flatten();
            items.map(|item| from_tree(item).map_err(|error| error.to_string())).collect()
        }
        other => Err(format!("invalid pod: kind {other:?} is not Pod")),
    }
}

/// A name of 2014 as one of today: `redisMaster` was one then.
fn modern(name: &str) -> String {
    let plain = |char: char| match char.to_ascii_lowercase() {
        char @ ('a'..='z' | '0'..='9' | '.' | '-') => char,
        _ => '-',
    };
    name.chars().map(plain).collect::<String>().trim_matches(['-', '.']).to_owned()
}

/// Gives a pod what the API server would have given it, and what marks it as the node's own.
fn finish(
    mut pod: Pod,
    origin: &Origin,
    index: Option<usize>,
    node: &str,
    clock: &Clock,
) -> Result<Pod, String> {
    let uid = match pod.metadata.uid.take().filter(|uid| !uid.is_empty()) {
        Some(uid) => uid,
        None => uid(&pod, origin, index, node)?,
    };
    let given = pod.metadata.name.take().filter(|name| !name.is_empty());
    // Nameless manifests of 2014 are called after their content.
    let given = given.unwrap_or_else(|| uid.chars().take(12).collect());
    let name = format!("{given}-{}", node.to_lowercase());
    pod.metadata.name = Some(name);
    pod.metadata.uid = Some(uid.clone());
    let namespace = pod.metadata.namespace.take().filter(|namespace| !namespace.is_empty());
    pod.metadata.namespace = Some(namespace.unwrap_or_else(|| "default".to_owned()));
    pod.metadata.creation_timestamp = None;
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert("kubernetes.io/config.hash".to_owned(), uid);
    annotations.insert("kubernetes.io/config.source".to_owned(), origin.word().to_owned());
    annotations.insert("kubernetes.io/config.seen".to_owned(), clock.now().to_string());
    let spec = pod.spec.as_mut().filter(|spec| !spec.containers.is_empty());
    let spec = spec.ok_or("invalid pod: spec.containers: Required value")?;
    spec.node_name = Some(node.to_owned());
    // A static pod stays whatever happens to its node.
    let stay = Toleration {
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        ..Toleration::default()
    };
    let tolerations = spec.tolerations.get_or_insert_default();
    if !tolerations.contains(&stay) {
        tolerations.push(stay);
    }
    defaults::apply(spec);
    if let Some(fault) = fault(&pod) {
        return Err(fault);
    }
    pod.status = Some(PodStatus { phase: Some("Pending".to_owned()), ..PodStatus::default() });
    Ok(pod)
}

/// The same for the same content at the same place, so that a restart finds its pods again.
fn uid(pod: &Pod, origin: &Origin, index: Option<usize>, node: &str) -> Result<String, String> {
    let content = serde_json::to_vec(pod).map_err(|error| error.to_string())?;
    let mut hash = Sha256::new();
    hash.update(format!("host:{node}\n{}\n{index:?}\n", origin.text()));
    hash.update(content);
    // As long as upstream's, which is an MD5.
    Ok(hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

/// What would make a static pod impossible to run.
fn fault(pod: &Pod) -> Option<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let sound = !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        });
    if !sound {
        return Some(format!("invalid pod: metadata.name: Invalid value: {name:?}"));
    }
    let containers =
        pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let mut seen = std::collections::BTreeSet::new();
    for container in containers {
        if container.name.is_empty() {
            return Some("invalid pod: spec.containers[].name: Required value".to_owned());
        }
        if !seen.insert(&container.name) {
            return Some(format!(
                "invalid pod: spec.containers[].name: Duplicate value: {:?}",
                container.name
            ));
        }
        if container.image.as_ref().is_none_or(String::is_empty) {
            return Some("invalid pod: spec.containers[].image: Required value".to_owned());
        }
    }
    None
}
