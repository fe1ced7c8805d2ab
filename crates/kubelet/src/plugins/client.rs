//! A plugin's calls, over its socket. What its kind can be asked is beside that kind.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

use super::proto::{Empty, PluginInfo, RegistrationStatus};

/// For what a plugin knows without asking anybody.
pub(crate) const AT_HAND: Duration = Duration::from_secs(10);

/// A plugin behind a Unix socket; connects when first used and again after a break.
#[derive(Clone, Debug)]
pub(crate) struct Plugin {
    channel: Channel,
    /// How many connections there are.
    connections: Arc<watch::Sender<usize>>,
}

/// What was answered, or what the plugin or the way to it said instead.
pub(crate) type Answer<T> = Result<T, Refusal>;

/// Why there is no answer, as gRPC's Go library writes an error, which is what users search for.
#[derive(Debug, Clone, thiserror::Error)]
#[error("rpc error: code = {code:?} desc = {text}")]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    text: String,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self { code: status.code(), text: status.message().to_owned() }
    }
}

impl From<Refusal> for String {
    fn from(refusal: Refusal) -> Self {
        refusal.to_string()
    }
}

impl Plugin {
    pub(crate) fn at(socket: &Path) -> Self {
        let connections: Arc<watch::Sender<usize>> = Arc::default();
        let (path, counted) = (socket.to_owned(), Arc::clone(&connections));
        let connector = tower::service_fn(move |_: Uri| {
            let (path, counted) = (path.clone(), Arc::clone(&counted));
            async move {
                UnixStream::connect(path).await.map(|stream| TokioIo::new(Counted::new(stream, counted)))
            }
        });
        // The address is never used: the connector knows the socket.
        let channel = Endpoint::from_static("http://plugin.invalid").connect_with_connector_lazy(connector);
        Self { channel, connections }
    }

    /// How many connections there are, as it changes: one that is lost ends at once when the plugin does.
    pub(crate) fn connections(&self) -> watch::Receiver<usize> {
        self.connections.subscribe()
    }

    pub(crate) async fn call<Q, A>(&self, path: &'static str, question: Q, patience: Duration) -> Answer<A>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        let asked = async {
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let codec = ProstCodec::<Q, A>::default();
            grpc.unary(tonic::Request::new(question), PathAndQuery::from_static(path), codec).await
        };
        match tokio::time::timeout(patience, asked).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(status.into()),
            Err(_) => Err(Status::deadline_exceeded("context deadline exceeded").into()),
        }
    }

    /// Asks what has many answers, for as long as they come.
    pub(crate) async fn stream<Q, A>(&self, path: &'static str, question: Q) -> Answer<Streaming<A>>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<Q, A>::default();
        let path = PathAndQuery::from_static(path);
        let answer = grpc.server_streaming(tonic::Request::new(question), path, codec).await;
        Ok(answer?.into_inner())
    }

    pub(crate) async fn info(&self) -> Answer<PluginInfo> {
        self.call("/pluginregistration.Registration/GetInfo", Empty {}, AT_HAND).await
    }

    pub(crate) async fn notify(&self, status: RegistrationStatus) -> Answer<Empty> {
        self.call("/pluginregistration.Registration/NotifyRegistrationStatus", status, AT_HAND).await
    }

    /// Has a connection made if there is none. What is asked for this no plugin needs to know: it answers that.
    pub(crate) async fn touch(&self) {
        let answer: Answer<Empty> = self.call("/grpc.health.v1.Health/Check", Empty {}, AT_HAND).await;
        tracing::trace!(?answer, "plugin touched");
    }
}

/// A connection that is counted while it lasts.
struct Counted {
    stream: UnixStream,
    count: Arc<watch::Sender<usize>>,
}

impl Counted {
    fn new(stream: UnixStream, count: Arc<watch::Sender<usize>>) -> Self {
        count.send_modify(|count| *count += 1);
        Self { stream, count }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.count.send_modify(|count| *count -= 1);
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
