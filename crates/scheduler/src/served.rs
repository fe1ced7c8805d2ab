//! Which kinds the server has that not every server has.

use std::time::Duration;

use k8s_openapi::Resource;
use k8s_openapi::api::scheduling::v1beta1::PodGroup;
use skiff_base::backoff::Backoff;
use skiff_client::{Link, write};

/// Whether there are pod groups. That changes only when the server starts anew, and the scheduler with it.
pub(crate) async fn groups(link: &Link) -> bool {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    loop {
        match link.client().list_api_group_resources(PodGroup::API_VERSION).await {
            Ok(list) => return list.resources.iter().any(|resource| resource.name == "podgroups"),
            Err(error) if write::is_not_found(&error) => return false,
            Err(error) => {
                tracing::debug!(%error, "the server could not be asked for its kinds");
                backoff.wait().await;
            }
        }
    }
}
