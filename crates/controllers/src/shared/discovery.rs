//! Which kinds the server has, asked of itself: for those who deal with all kinds alike.

use std::sync::Arc;

use serde::Deserialize;
use skiff_api::Resource;
use skiff_client::{Link, write};

/// Everything that is served, in two documents.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A resource and what can be done with it.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) resource: Resource,
    pub(crate) verbs: Vec<String>,
    /// Whether this is the version of its group to work with.
    pub(crate) preferred: bool,
}

impl Served {
    pub(crate) fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }
}

/// What discovery found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// Every resource in every version, subresources left out.
    pub(crate) served: Vec<Served>,
    /// The `group/version`s whose server could not be asked: what is in them is not known.
    pub(crate) failed: Vec<String>,
}

impl Found {
    /// Each resource once, in the version to work with.
    pub(crate) fn preferred(self) -> impl Iterator<Item = Served> {
        self.served.into_iter().filter(|served| served.preferred)
    }
}

#[derive(Deserialize)]
struct Groups {
    items: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: Named,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Default, Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    resources: Vec<Listed>,
    #[serde(default)]
    freshness: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    resource: String,
    response_kind: Option<Kind>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

/// Everything that is served.
///
/// # Errors
/// If one of the documents cannot be had: better nothing than a part taken for the whole.
pub(crate) async fn everything(link: &Link) -> write::Result<Found> {
    let mut found = Found::default();
    for path in ["/api", "/apis"] {
        let request = http::Request::get(path)
            .header(http::header::ACCEPT, AGGREGATED)
            .body(Vec::new())
            .map_err(kube::Error::HttpError)?;
        let groups: Groups = link.client().request(request).await?;
        groups.items.into_iter().for_each(|group| found.add(group));
    }
    Ok(found)
}

impl Found {
    fn add(&mut self, group: Group) {
        let name: Arc<str> = group.metadata.name.as_str().into();
        let mut seen: Vec<String> = Vec::new();
        for version in group.versions {
            if version.freshness == "Stale" {
                self.failed.push(format!("{name}/{}", version.version));
                continue;
            }
            let number: Arc<str> = version.version.as_str().into();
            for listed in version.resources {
                let Some(kind) = listed.response_kind else { continue };
                // Versions come best first.
                let preferred = !seen.contains(&listed.resource);
                if preferred {
                    seen.push(listed.resource.clone());
                }
                let resource = Resource {
                    group: Arc::clone(&name),
                    version: Arc::clone(&number),
                    plural: listed.resource.as_str().into(),
                    kind: kind.kind.as_str().into(),
                    namespaced: listed.scope == "Namespaced",
                };
                self.served.push(Served { resource, verbs: listed.verbs, preferred });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resource_has_one_preferred_version_and_stale_groups_are_told() {
        let group: Group = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "x.io" },
            "versions": [
                { "version": "v2", "freshness": "Current", "resources": [
                    { "resource": "as", "responseKind": { "kind": "A" }, "scope": "Namespaced", "verbs": ["list"] }] },
                { "version": "v1", "freshness": "Current", "resources": [
                    { "resource": "as", "responseKind": { "kind": "A" }, "scope": "Namespaced" },
                    { "resource": "bs", "responseKind": { "kind": "B" }, "scope": "Cluster" }] },
                { "version": "v0", "freshness": "Stale" },
            ],
        }))
        .unwrap();
        let mut found = Found::default();
        found.add(group);
        assert_eq!((found.served.len(), found.failed.as_slice()), (3, ["x.io/v0".to_owned()].as_slice()));
        let preferred: Vec<String> =
            found.preferred().map(|s| format!("{}/{}", s.resource.version, s.resource.plural)).collect();
        assert_eq!(preferred, ["v2/as", "v1/bs"]);
    }
}
