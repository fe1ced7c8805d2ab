//! downwardAPI: the pod's own metadata and resources as files. Pure but for the kind's trait.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, ObjectFieldSelector, Pod, ResourceFieldSelector, Volume,
};

use super::Problem;
use super::kind::{Job, Kind, Place};
use super::payload::{File, Payload, mode};
use crate::pod::resources;

pub(super) struct DownwardKind;
pub(super) const KIND: DownwardKind = DownwardKind;

impl Kind for DownwardKind {
    fn plugin(&self) -> &'static str {
        "kubernetes.io/downward-api"
    }

    fn has(&self, volume: &Volume) -> bool {
        volume.downward_api.is_some()
    }

    fn is_live(&self) -> bool {
        true
    }

    fn place<'a>(&'a self, job: &'a Job<'a>) -> BoxFuture<'a, Result<Place, Problem>> {
        Box::pin(async move {
            let mut payload = Payload::default();
            if let Some(source) = &job.volume.downward_api {
                let items = source.items.as_deref().unwrap_or_default();
                add(&mut payload, job.pod, job.inner.allocatable, items, source.default_mode)?;
            }
            Ok(Place::Files(payload))
        })
    }
}

/// Adds the files; projected volumes do so too.
pub(super) fn add(
    payload: &mut Payload,
    pod: &Pod,
    allocatable: (i64, i64),
    items: &[DownwardAPIVolumeFile],
    default_mode: Option<i32>,
) -> Result<(), Problem> {
    for item in items {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(selector), _) => field(pod, selector)?,
            (None, Some(selector)) => resource(pod, selector, allocatable)?,
            (None, None) => continue,
        };
        let file = File { data: text.into_bytes(), mode: mode(item.mode, default_mode), owner: None };
        payload.add(&item.path, file)?;
    }
    Ok(())
}

fn field(pod: &Pod, selector: &ObjectFieldSelector) -> Result<String, Problem> {
    let path = selector.field_path.as_str();
    let meta = &pod.metadata;
    let key_of = |map: &str| path.strip_prefix(map)?.strip_prefix("['")?.strip_suffix("']");
    let pick = |map: &Option<BTreeMap<String, String>>, key: &str| {
        map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default()
    };
    if let Some(key) = key_of("metadata.labels") {
        return Ok(pick(&meta.labels, key));
    }
    if let Some(key) = key_of("metadata.annotations") {
        return Ok(pick(&meta.annotations, key));
    }
    Ok(match path {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "metadata.labels" => pairs(meta.labels.as_ref()),
        "metadata.annotations" => pairs(meta.annotations.as_ref()),
        _ => return Err(Problem::new(format!("unsupported fieldPath: {path}"))),
    })
}

/// `key="value"` lines, quoted as Go quotes.
fn pairs(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> =
        map.into_iter().flatten().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    lines.join("\n")
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            char if char.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(char))),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

fn resource(pod: &Pod, selector: &ResourceFieldSelector, allocatable: (i64, i64)) -> Result<String, Problem> {
    let name = selector.container_name.as_deref().unwrap_or_default();
    let spec = pod.spec.as_ref();
    let mut containers =
        spec.into_iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let container = containers
        .find(|container| container.name == name)
        .ok_or_else(|| Problem::new(format!("container {name} not found")))?;
    let unknown = || Problem::new(format!("unsupported container resource : {}", selector.resource));
    let (kind, what) = selector.resource.split_once('.').ok_or_else(unknown)?;
    let whole_node = match what {
        "cpu" => allocatable.0,
        "memory" => allocatable.1.saturating_mul(1000),
        _ => 0,
    };
    let milli = match kind {
        "limits" => resources::limit(container, what).unwrap_or(whole_node),
        "requests" => resources::request(container, what),
        _ => return Err(unknown()),
    };
    let divisor = selector.divisor.as_ref().map_or(0, resources::milli);
    let divisor = if divisor <= 0 { 1000 } else { divisor };
    // Rounded up, as upstream.
    Ok((milli / divisor + i64::from(milli % divisor > 0)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_quoted_as_go_quotes() {
        let map = BTreeMap::from([("a".to_owned(), "x\"y\n".to_owned()), ("b".to_owned(), "ü".to_owned())]);
        assert_eq!(pairs(Some(&map)), "a=\"x\\\"y\\n\"\nb=\"ü\"");
    }
}
