//! Whether a volume is attached to this node, and what attaching it came to.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use sha2::{Digest, Sha256};

use super::fault;
use super::wanted::Wanted;
use crate::csi::hex;
use crate::volume::kind::Job;
use crate::volume::{Problem, Seen};

/// How long an attacher may take.
const ATTACHED_WITHIN: Duration = Duration::from_secs(120);

/// What attaching a volume came to.
#[derive(Default)]
pub(super) struct Attached {
    /// The attachment's name.
    pub(super) name: String,
    pub(super) context: HashMap<String, String>,
}

pub(super) fn node_name<'a>(job: &'a Job<'_>) -> &'a str {
    job.pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// Waits until the volume is attached.
pub(super) async fn wait(job: &Job<'_>, wanted: &Wanted) -> Result<Attached, Problem> {
    let node = node_name(job);
    let name = wanted.unique();
    let mut feed = job.inner.objects.node(node);
    let lists = |node: &Node| {
        let attached = node.status.iter().flat_map(|status| status.volumes_attached.iter().flatten());
        attached.into_iter().any(|one| one.name == name)
    };
    let told = feed.wait_for(|seen| matches!(seen, Seen::Found(node) if lists(node)));
    if !matches!(tokio::time::timeout(ATTACHED_WITHIN, told).await, Ok(Ok(_))) {
        let why = format!(
            "timed out waiting for external-attacher of {} CSI driver to attach volume {}",
            wanted.driver, wanted.handle
        );
        return Err(Problem::new(why));
    }
    let digest = Sha256::digest(format!("{}{}{node}", wanted.handle, wanted.driver));
    let attachment = format!("csi-{}", hex(&digest));
    let found = job.inner.objects.attachment(&attachment).await;
    let status =
        found.map_err(|why| fault("failed to get VolumeAttachment", why))?.status.unwrap_or_default();
    if !status.attached {
        return Err(fault("volume attachment", format!("{attachment} is not attached")));
    }
    Ok(Attached { name: attachment, context: status.attachment_metadata.into_iter().flatten().collect() })
}
