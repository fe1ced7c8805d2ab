//! A plugin's calls, over its socket.

use std::path::Path;
use std::time::Duration;

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::UnixStream;
use tonic::Status;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_prost::ProstCodec;

use super::proto::{
    Empty, NodeCapabilities, NodeInfo, NodePublishVolume, NodeStageVolume, NodeUnpublishVolume,
    NodeUnstageVolume, PluginInfo, RegistrationStatus,
};

/// As upstream's `csiTimeout`: attaching and formatting a disk takes its time.
const PATIENCE: Duration = Duration::from_secs(120);
/// For what a plugin knows without asking anybody.
const AT_HAND: Duration = Duration::from_secs(10);

/// A plugin behind a Unix socket; connects when first used and again after a break.
#[derive(Clone, Debug)]
pub(crate) struct Plugin(Channel);

/// What was answered, or what the plugin or the way to it said instead.
pub(crate) type Answer<T> = Result<T, String>;

impl Plugin {
    pub(crate) fn at(socket: &Path) -> Self {
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The address is never used: the connector knows the socket.
        Self(Endpoint::from_static("http://plugin.invalid").connect_with_connector_lazy(connector))
    }

    async fn call<Q, A>(&self, path: &'static str, question: Q, patience: Duration) -> Answer<A>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.0.clone());
        let asked = async {
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let codec = ProstCodec::<Q, A>::default();
            grpc.unary(tonic::Request::new(question), PathAndQuery::from_static(path), codec).await
        };
        match tokio::time::timeout(patience, asked).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(words(&status)),
            Err(_) => Err(words(&Status::deadline_exceeded("context deadline exceeded"))),
        }
    }

    pub(crate) async fn info(&self) -> Answer<PluginInfo> {
        self.call("/pluginregistration.Registration/GetInfo", Empty {}, AT_HAND).await
    }

    pub(crate) async fn notify(&self, status: RegistrationStatus) -> Answer<Empty> {
        self.call("/pluginregistration.Registration/NotifyRegistrationStatus", status, AT_HAND).await
    }

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
}

/// As gRPC's Go library writes an error, which is what users search for.
fn words(status: &Status) -> String {
    format!("rpc error: code = {:?} desc = {}", status.code(), status.message())
}
