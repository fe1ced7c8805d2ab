//! The node's HTTPS server: logs, exec, attach, port-forward, pods, statistics, under the paths of the upstream kubelet.
//!
//! The API server proxies users' requests here without looking inside, so every streaming protocol ends in this
//! module: WebSocket channels, SPDY, and SPDY in WebSocket. It reads pods through [`Handle`] and never changes them.
//! Clients show a certificate of the cluster's authority, and an [`Authorise`] says whether they may.

mod access;
mod answer;
mod files;
mod forward;
mod lane;
pub(crate) mod logs;
mod remote;
mod routes;
mod stats;
mod streams;
#[cfg(test)]
mod tests;
mod upgrade;
mod volume_stats;
mod websocket;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use skiff_base::metrics::Metrics;
use skiff_base::task::Policy;
use skiff_base::{Clock, Tasks};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub use access::{Attributes, Authorise, Peer, only};

use crate::handle::Handle;
use routes::Node;

/// How long a client may take for the TLS handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may wait for its next request, as upstream: clients keep connections for later.
const IDLE_FOR: Duration = Duration::from_secs(90);

/// What the server is made from.
pub struct Options {
    /// Where to listen; port 10250 by custom.
    pub address: SocketAddr,
    /// Our certificate, and whose client certificates we believe (`skiff_base::tls::server`).
    pub tls: rustls::ServerConfig,
    /// Who may do what.
    pub authorise: Authorise,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// The time, for `sinceSeconds` and statistics.
    pub clock: Clock,
    /// The folder `/logs/` shows.
    pub log_dir: PathBuf,
}

impl Options {
    /// The usual: system clock, `/var/log`, metrics of its own.
    #[must_use]
    pub fn new(address: SocketAddr, tls: rustls::ServerConfig, authorise: Authorise) -> Self {
        Self {
            address,
            tls,
            authorise,
            metrics: Metrics::new(),
            clock: Clock::system(),
            log_dir: PathBuf::from("/var/log"),
        }
    }
}

/// The server, bound and not yet serving.
pub struct Server {
    listener: std::net::TcpListener,
    tls: TlsAcceptor,
    node: Node,
}

impl Server {
    /// Binds the address, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn build(options: Options, handle: Handle) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(options.address)?;
        listener.set_nonblocking(true)?;
        let mut tls = options.tls;
        // An HTTP/2 stream cannot be upgraded to SPDY, and the clients of this server upgrade all the time.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let node = Node {
            handle,
            authorise: options.authorise,
            metrics: options.metrics,
            clock: options.clock,
            log_dir: options.log_dir,
            readings: stats::Readings::default(),
        };
        Ok(Self { listener, tls: TlsAcceptor::from(Arc::new(tls)), node })
    }

    /// Where it listens, with the port that was chosen if 0 was asked for.
    ///
    /// # Errors
    /// If the socket cannot say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the group is told to stop; streams under way are then cut.
    ///
    /// # Errors
    /// If the listener fails for good.
    pub async fn run(self, tasks: Tasks) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let node = Arc::new(self.node);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = tasks.stopped() => return Ok(()),
            };
            let socket = match accepted {
                Ok((socket, _)) => socket,
                // A client that gave up before we came to it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    // Out of descriptors, most likely: others must end before this can get better.
                    tracing::error!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (tls, node, group) = (self.tls.clone(), Arc::clone(&node), tasks.clone());
            tasks.spawn_until_stop(async move {
                if let Err(error) = connection(socket, tls, node, group).await {
                    tracing::debug!(%error, "connection to the kubelet ended");
                }
            });
        }
    }

    /// Serves in the background as part of a group.
    pub fn start(self, tasks: &Tasks) {
        let group = tasks.clone();
        tasks.spawn("kubelet server", Policy::Essential, self.run(group));
    }
}

async fn connection(
    socket: TcpStream,
    tls: TlsAcceptor,
    node: Arc<Node>,
    tasks: Tasks,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // Keystrokes are small and must not wait for each other.
    socket.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE_WITHIN, tls.accept(socket)).await??;
    let peer = stream.get_ref().1.peer_certificates().and_then(access::peer).map(Arc::new);
    let service = service_fn(move |request| {
        let (node, peer, tasks) = (Arc::clone(&node), peer.clone(), tasks.clone());
        async move { Ok::<_, std::convert::Infallible>(node.answer(peer.as_deref(), request, &tasks).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_FOR)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await?;
    Ok(())
}
