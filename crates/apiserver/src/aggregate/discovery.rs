//! What another server says that it serves: asked for when it is found to answer, and from time to time after that,
//! since nobody tells when it changes.
//!
//! Follows upstream's `kube-aggregator/pkg/apiserver/handler_discovery.go`: the aggregated form if the server has it,
//! else the old one, turned into it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Backend, Service, openapi};
use crate::api::Api;

/// Both versions of the aggregated form, then the old one.
const ACCEPT: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
    application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
const PATIENCE: Duration = Duration::from_secs(5);

/// What a server has said of itself; of the one version that its APIService is about.
#[derive(Clone, Default)]
pub(crate) struct Said {
    /// The resources of the version, in the aggregated form; nothing before it has ever answered.
    resources: Option<Value>,
    /// Whether it could not be asked the last time.
    stale: bool,
    pub(super) documents: openapi::Said,
}

/// Asks a server what it serves, and keeps that.
pub(super) async fn refresh(api: &Arc<Api>, service: &Service, backend: &Backend) {
    let before = backend.said.load_full();
    let mut said = (*before).clone();
    match ask(api, service, backend).await {
        Ok(resources) => {
            said.resources = Some(resources);
            said.stale = false;
        }
        Err(why) => {
            tracing::debug!(name = %service.name, why, "another API server does not say what it serves");
            said.stale = true;
        }
    }
    said.documents = openapi::ask(api, service, backend, &before.documents).await;
    backend.said.store(Arc::new(said));
}

async fn ask(api: &Arc<Api>, service: &Service, backend: &Backend) -> Result<Value, String> {
    let (group, version) = (&*service.group, &*service.version);
    let root = if group.is_empty() { "/api" } else { "/apis" };
    let answer = backend.document(api, root, &[("accept", ACCEPT)], PATIENCE).await?;
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if answer.status().is_success() && kind.contains("as=APIGroupDiscoveryList") {
        let all: Value = serde_json::from_slice(answer.body()).map_err(|error| error.to_string())?;
        return Ok(version_of(&all, group, version));
    }
    let path = service.path();
    let answer = backend.document(api, &path, &[("accept", "application/json")], PATIENCE).await?;
    if !answer.status().is_success() {
        return Err(format!("failed to download discovery for {path}: {}", answer.status()));
    }
    let list: Value = serde_json::from_slice(answer.body()).map_err(|error| error.to_string())?;
    Ok(aggregated(&list, group, version))
}

/// The resources of one version in a document about everything.
fn version_of(all: &Value, group: &str, version: &str) -> Value {
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let named = |item: &Value| item["metadata"]["name"].as_str().unwrap_or_default() == group;
    let of_group = items(&all["items"]).into_iter().filter(named);
    let mut versions = of_group.flat_map(|group| items(&group["versions"]));
    versions.find(|own| own["version"] == *version).map_or(json!([]), |own| own["resources"].clone())
}

/// The old form of a version in the words of the aggregated one.
fn aggregated(list: &Value, group: &str, version: &str) -> Value {
    let mut resources: Vec<Value> = Vec::new();
    for own in list["resources"].as_array().into_iter().flatten() {
        let name = own["name"].as_str().unwrap_or_default();
        let text = |field: &str, other: &str| {
            let said = own[field].as_str().filter(|said| !said.is_empty());
            said.unwrap_or(other).to_owned()
        };
        let kind = json!({
            "group": text("group", group), "version": text("version", version), "kind": text("kind", ""),
        });
        if let Some((whole, part)) = name.split_once('/') {
            let Some(whole) = resources.iter_mut().find(|known| known["resource"] == whole) else { continue };
            let part = json!({ "subresource": part, "responseKind": kind, "verbs": own["verbs"] });
            match whole["subresources"].as_array_mut() {
                Some(parts) => parts.push(part),
                None => whole["subresources"] = json!([part]),
            }
            continue;
        }
        let scope = if own["namespaced"] == true { "Namespaced" } else { "Cluster" };
        let mut resource = json!({
            "resource": name, "responseKind": kind, "scope": scope,
            "singularResource": text("singularName", ""), "verbs": own["verbs"],
        });
        for field in ["shortNames", "categories"] {
            if own[field].is_array() {
                resource[field] = own[field].clone();
            }
        }
        resources.push(resource);
    }
    resources.into()
}

impl Service {
    /// `/apis/apps/v1`.
    pub(super) fn path(&self) -> String {
        match &*self.group {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        }
    }

    /// What discovery says of the version, if another server answers for it.
    pub(crate) fn discovered(&self) -> Option<Value> {
        let said = self.backend.as_ref()?.said.load();
        let fresh = self.available && !said.stale && said.resources.is_some();
        let mut version = json!({
            "version": self.version, "freshness": if fresh { "Current" } else { "Stale" },
        });
        if let Some(resources) = &said.resources {
            version["resources"] = resources.clone();
        }
        Some(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_form_says_the_same_as_the_new_one() {
        let list = json!({ "resources": [
            { "name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder",
              "verbs": ["get", "list"], "shortNames": ["fl"] },
            { "name": "flunders/scale", "namespaced": true, "group": "autoscaling", "version": "v1",
              "kind": "Scale", "verbs": ["get"] },
        ] });
        let resources = aggregated(&list, "a.io", "v1");
        assert_eq!(
            resources,
            json!([{
                "resource": "flunders", "singularResource": "flunder", "scope": "Namespaced",
                "responseKind": { "group": "a.io", "version": "v1", "kind": "Flunder" },
                "verbs": ["get", "list"], "shortNames": ["fl"],
                "subresources": [{ "subresource": "scale", "verbs": ["get"],
                    "responseKind": { "group": "autoscaling", "version": "v1", "kind": "Scale" } }],
            }])
        );
        let all = json!({ "items": [{ "metadata": { "name": "a.io" },
            "versions": [{ "version": "v2" }, { "version": "v1", "resources": resources }] }] });
        assert_eq!(version_of(&all, "a.io", "v1")[0]["resource"], "flunders");
        assert_eq!(version_of(&all, "a.io", "v3"), json!([]));
    }
}
