//! Sockets: connections come in, a peer is recognised, requests go to the handler; all end in good order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use skiff_base::Backoff;
use skiff_base::task::Tasks;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::authn::Trust;
use crate::server::Handler;
use crate::user::User;
use crate::wire::{self, Request, Response};

/// Where connections come from, and who is behind them.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    access: Access,
}

#[derive(Debug)]
enum Access {
    Tls,
    Plain(User),
}

impl Listener {
    /// TLS; peers are whom their certificates name.
    pub fn tls(socket: TcpListener) -> Self {
        Self { socket, access: Access::Tls }
    }

    /// No TLS; every peer is `user`. For loopback sockets that were asked for.
    pub fn plain(socket: TcpListener, user: User) -> Self {
        Self { socket, access: Access::Plain(user) }
    }

    /// What makes its connections safe; nothing if TLS is wanted and there are no certificates.
    pub(crate) fn acceptor(
        &self,
        tls: Option<&Arc<rustls::ServerConfig>>,
        trust: &Arc<Trust>,
    ) -> Option<Acceptor> {
        match &self.access {
            Access::Tls => Some(Acceptor::Tls(TlsAcceptor::from(Arc::clone(tls?)), Arc::clone(trust))),
            Access::Plain(user) => Some(Acceptor::Plain(user.clone())),
        }
    }
}

/// Where a request's connection comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From(pub(crate) SocketAddr);

/// How a connection's peer is found.
#[derive(Clone)]
pub(crate) enum Acceptor {
    Tls(TlsAcceptor, Arc<Trust>),
    Plain(User),
}

/// A client that connects and says nothing is not waited for longer.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Also how long a connection may rest between requests; upstream keeps those for 90 seconds.
const HEAD: Duration = Duration::from_secs(120);
/// How long answers in progress may take after the server was told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Accepts connections until the tasks stop.
pub(crate) async fn accept(
    listener: Listener,
    acceptor: Acceptor,
    handler: Handler,
    tasks: Tasks,
) -> Result<(), std::convert::Infallible> {
    let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(1));
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            () = tasks.stopped() => return Ok(()),
        };
        match accepted {
            Ok((stream, from)) => {
                backoff.reset();
                let work = connection(stream, from, acceptor.clone(), handler.clone(), tasks.token().clone());
                tasks.spawn("api connection", skiff_base::task::Policy::Optional, work);
            }
            // Too many open files, mostly: others may close some.
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                backoff.wait().await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    acceptor: Acceptor,
    handler: Handler,
    stop: CancellationToken,
) -> Result<(), std::convert::Infallible> {
    // On a socket for both families a client of IPv4 has an address that only looks like IPv6.
    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
    // Small answers must not wait for more to come.
    let _refused_by_the_kernel = stream.set_nodelay(true);
    match acceptor {
        Acceptor::Plain(user) => {
            let port = Arc::new(handler.plain(user));
            let answer = move |request| {
                let port = Arc::clone(&port);
                async move { port.answer(request).await }.boxed()
            };
            requests(stream, from, answer, stop).await;
        }
        Acceptor::Tls(tls, trust) => match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let peer = trust.peer(stream.get_ref().1.peer_certificates().unwrap_or_default());
                let answer = move |request| handler.handle(peer.clone(), request);
                requests(stream, from, answer, stop).await;
            }
            Ok(Err(error)) => tracing::debug!(%from, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(%from, "TLS handshake took too long"),
        },
    }
    Ok(())
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    from: SocketAddr,
    answer: impl Fn(Request) -> BoxFuture<'static, Response> + Send + 'static,
    stop: CancellationToken,
) {
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(wire::incoming);
        request.extensions_mut().insert(From(from));
        let answer = answer(request);
        async move { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(1000);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(GRACE, connection).await {
                Ok(outcome) => outcome,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}
