//! A running server in this process, with a TLS listener on loopback.

use std::net::SocketAddr;
use std::time::Duration;

use skiff_apiserver::server::{Handler, Server};
use skiff_apiserver::{Listener, Options, Tls, User};
use skiff_base::pki::{Authority, Identity, Request};
use skiff_base::task::{Policy, Tasks};
use skiff_client::{Link, Remote};
use tokio::net::TcpListener;

/// It stops when this is dropped.
pub(crate) struct Cluster {
    admin: Link,
    handler: Handler,
    authority: Authority,
    address: SocketAddr,
    tasks: Tasks,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::with(Options::in_memory()).await
    }

    /// TLS is set up here.
    pub(crate) async fn with(options: Options) -> Self {
        let authority = Authority::create("test").unwrap();
        let socket = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let hosts = vec!["127.0.0.1".to_owned()];
        let serving = Request { name: "server".to_owned(), hosts, ..Request::default() };
        let identity = authority.issue(&serving).unwrap();
        let tls = Tls { identity, client_ca_pem: authority.cert_pem().to_owned() };
        let server = Server::build(Options { tls: Some(tls), ..options }).unwrap();
        let tasks = Tasks::new();
        let (ready, handler) = (server.ready(), server.handler());
        let admin = server.link(User::new("admin", ["system:masters"]));
        tasks.spawn("server", Policy::Essential, server.run(vec![Listener::tls(socket)], tasks.clone()));
        tokio::select! {
            () = ready.opened() => {}
            () = tasks.stopped() => panic!("the server did not start: {}", tasks.failure().unwrap_or_default()),
        }
        Self { admin, handler, authority, address, tasks }
    }

    /// The administrator's link inside the process.
    pub(crate) fn admin(&self) -> Link {
        self.admin.clone()
    }

    /// The administrator's link over HTTPS.
    pub(crate) fn remote(&self) -> Link {
        let server = format!("https://{}", self.address).parse().unwrap();
        let (identity, ca_pem) = self.client_identity();
        Remote { server, ca_pem, identity }.link().unwrap()
    }

    /// The administrator's certificate, and whom to trust.
    pub(crate) fn client_identity(&self) -> (Identity, String) {
        let groups = vec!["system:masters".to_owned()];
        let request = Request { name: "admin".to_owned(), groups, hosts: Vec::new() };
        (self.authority.issue(&request).unwrap(), self.authority.cert_pem().to_owned())
    }

    /// Where it listens with TLS.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn handler(&self) -> Handler {
        self.handler.clone()
    }

    /// Stops the server and waits until its store is closed.
    pub(crate) async fn stop(self) {
        let tasks = self.tasks.clone();
        drop(self);
        assert!(tasks.drain(Duration::from_secs(10)).await);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}
