//! What a driver of volumes can be asked.

use std::time::Duration;

use super::proto::{
    NodeCapabilities, NodeExpandVolume, NodeGetVolumeStats, NodeInfo, NodePublishVolume, NodeStageVolume,
    NodeUnpublishVolume, NodeUnstageVolume, VolumeStats,
};
pub(crate) use crate::plugins::client::Plugin;
use crate::plugins::client::{AT_HAND, Answer};
use crate::plugins::proto::Empty;

/// As upstream's `csiTimeout`: attaching and formatting a disk takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

impl Plugin {
    pub(crate) async fn node_info(&self) -> Answer<NodeInfo> {
        self.call("/csi.v1.Node/NodeGetInfo", Empty {}, PATIENCE).await
    }

    pub(crate) async fn capabilities(&self) -> Answer<NodeCapabilities> {
        self.call("/csi.v1.Node/NodeGetCapabilities", Empty {}, AT_HAND).await
    }

    pub(crate) async fn stage(&self, request: NodeStageVolume) -> Answer<Empty> {
        self.call("/csi.v1.Node/NodeStageVolume", request, PATIENCE).await
    }

    pub(crate) async fn unstage(&self, request: NodeUnstageVolume) -> Answer<Empty> {
        self.call("/csi.v1.Node/NodeUnstageVolume", request, PATIENCE).await
    }

    pub(crate) async fn publish(&self, request: NodePublishVolume) -> Answer<Empty> {
        self.call("/csi.v1.Node/NodePublishVolume", request, PATIENCE).await
    }

    pub(crate) async fn unpublish(&self, request: NodeUnpublishVolume) -> Answer<Empty> {
        self.call("/csi.v1.Node/NodeUnpublishVolume", request, PATIENCE).await
    }

    /// How large it is now nobody needs to hear: the claim says what was asked for.
    pub(crate) async fn expand(&self, request: NodeExpandVolume) -> Answer<Empty> {
        self.call("/csi.v1.Node/NodeExpandVolume", request, PATIENCE).await
    }

    pub(crate) async fn stats(&self, request: NodeGetVolumeStats) -> Answer<VolumeStats> {
        self.call("/csi.v1.Node/NodeGetVolumeStats", request, AT_HAND).await
    }
}
