//! Which kinds the server has, asked of itself: for those who deal with all kinds alike.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroupList, APIResourceList};
use skiff_api::Resource;
use skiff_client::{Link, write};

/// A resource and what can be done with it.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) resource: Resource,
    pub(crate) verbs: Vec<String>,
}

impl Served {
    pub(crate) fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }
}

/// Every resource in its group's preferred version, subresources left out.
///
/// # Errors
/// If one of the documents cannot be had: better nothing than a part taken for the whole.
pub(crate) async fn resources(link: &Link) -> write::Result<Vec<Served>> {
    let mut served = Vec::new();
    served.extend(listed("", "v1", read(link, "/api/v1").await?));
    let groups: APIGroupList = read(link, "/apis").await?;
    for group in groups.groups {
        let preferred = group.preferred_version.as_ref().or(group.versions.first());
        let Some(version) = preferred.map(|version| version.version.clone()) else { continue };
        let path = format!("/apis/{}/{version}", group.name);
        served.extend(listed(&group.name, &version, read(link, &path).await?));
    }
    Ok(served)
}

async fn read<T: serde::de::DeserializeOwned>(link: &Link, path: &str) -> write::Result<T> {
    let request = http::Request::get(path)
        .header(http::header::ACCEPT, "application/json")
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    link.client().request(request).await
}

fn listed(group: &str, version: &str, list: APIResourceList) -> Vec<Served> {
    let whole = list.resources.into_iter().filter(|resource| !resource.name.contains('/'));
    whole
        .map(|found| Served {
            resource: Resource {
                group: group.into(),
                version: version.into(),
                plural: found.name.as_str().into(),
                kind: found.kind.as_str().into(),
                namespaced: found.namespaced,
            },
            verbs: found.verbs,
        })
        .collect()
}
