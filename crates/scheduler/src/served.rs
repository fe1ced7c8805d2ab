//! Which kinds the server has that not every server has. That changes only when the server starts anew, and the scheduler
//! with it.

use std::time::Duration;

use k8s_openapi::Resource;
use k8s_openapi::api::resource::v1::ResourceClaim;
use k8s_openapi::api::scheduling::v1beta1::PodGroup;
use skiff_base::backoff::Backoff;
use skiff_client::{Link, write};

/// What there is to follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// Groups of pods.
    pub(crate) groups: bool,
    /// Claims for devices, and what belongs to them.
    pub(crate) devices: bool,
    /// Rules that taint devices.
    pub(crate) taint_rules: bool,
}

impl Served {
    /// Asks the server.
    pub(crate) async fn ask(link: &Link) -> Self {
        let groups = resources(link, PodGroup::API_VERSION).await;
        let devices = resources(link, ResourceClaim::API_VERSION).await;
        let has = |plural: &str| devices.iter().any(|name| name == plural);
        Self {
            groups: groups.iter().any(|name| name == "podgroups"),
            devices: ["resourceclaims", "resourceslices", "deviceclasses"].into_iter().all(has),
            taint_rules: has("devicetaintrules"),
        }
    }
}

/// The resources of a version of a group; none if there is no such group.
async fn resources(link: &Link, version: &str) -> Vec<String> {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    loop {
        match link.client().list_api_group_resources(version).await {
            Ok(list) => return list.resources.into_iter().map(|resource| resource.name).collect(),
            Err(error) if write::is_not_found(&error) => return Vec::new(),
            Err(error) => {
                tracing::debug!(%error, "the server could not be asked for its kinds");
                backoff.wait().await;
            }
        }
    }
}
