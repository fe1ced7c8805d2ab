//! An API server in memory with a TLS listener on loopback, and ways to wait for what should come about.
//!
//! Waiting follows feeds; the only clock is a generous deadline after which a test is taken to hang.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use skiff_api::{Object, Readable};
use skiff_apiserver::{Listener, Options, Server, Tls, User};
use skiff_base::Tasks;
use skiff_base::pki::{Authority, Request};
use skiff_base::task::Policy;
use skiff_client::write::{self, Basis, Place};
use skiff_client::{Delta, Link, Remote, Topic};
use tokio::net::TcpListener;

/// After so long a test hangs.
const DEADLINE: Duration = Duration::from_secs(15);

/// Makes links inside the process.
pub type Linker = Arc<dyn Fn(User) -> Link + Send + Sync>;

/// A running control plane without controllers; tests start those they are about.
pub struct Cluster {
    link: Link,
    linker: Linker,
    authority: Authority,
    address: SocketAddr,
    tasks: Tasks,
}

impl Cluster {
    /// Starts an empty cluster.
    ///
    /// # Panics
    /// If the server cannot be started.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts an empty cluster whose server is told something else.
    ///
    /// # Panics
    /// If the server cannot be started.
    pub async fn with(change: impl FnOnce(&mut Options)) -> Self {
        skiff_base::trace::start("off");
        let authority = Authority::create("skiff-test").expect("keys can be made");
        let hosts = vec!["127.0.0.1".to_owned()];
        let request = Request { name: "apiserver".to_owned(), hosts, ..Request::default() };
        let identity = authority.issue(&request).expect("keys can be made");
        let mut options = Options::in_memory();
        options.tls = Some(Tls { identity, client_ca_pem: authority.cert_pem().to_owned() });
        options.garbage_collector = true;
        change(&mut options);
        let server = Server::build(options).expect("a server in memory can be built");
        let link = server.link(User::new("test", ["system:masters"]));
        let linker = Arc::new(server.linker());
        let ready = server.ready();
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = socket.local_addr().expect("a bound socket has an address");
        let tasks = Tasks::new();
        tasks.spawn("API server", Policy::Essential, server.run(vec![Listener::tls(socket)], tasks.clone()));
        tokio::select! {
            () = ready.opened() => {}
            () = tasks.stopped() => panic!("the server did not start: {:?}", tasks.failure()),
        }
        Self { link, linker, authority, address, tasks }
    }

    /// The administrator's link inside the process.
    pub fn link(&self) -> Link {
        self.link.clone()
    }

    /// Makes the links of other users inside the process.
    pub fn linker(&self) -> Linker {
        Arc::clone(&self.linker)
    }

    /// The administrator's link over HTTPS.
    ///
    /// # Panics
    /// If its certificate cannot be made.
    pub fn remote(&self) -> Link {
        self.remote_at(self.address)
    }

    /// As [`Cluster::remote`], by another address: of a proxy before the server.
    ///
    /// # Panics
    /// If its certificate cannot be made.
    pub fn remote_at(&self, address: SocketAddr) -> Link {
        let groups = vec!["system:masters".to_owned()];
        let request = Request { name: "test".to_owned(), groups, ..Request::default() };
        let identity = self.authority.issue(&request).expect("keys can be made");
        let server = format!("https://{address}").parse().expect("an address makes a URL");
        let remote = Remote { server, ca_pem: self.authority.cert_pem().to_owned(), identity };
        remote.link().expect("our own certificates are well-formed")
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What runs as long as the cluster does.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Creates an object; a status that it has is written as well.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn create<K: Readable>(&self, object: K) -> K {
        let made: K = match write::create(&self.link, &object).await {
            Ok(made) => made,
            Err(error) => panic!("create {}: {error}", K::KIND),
        };
        let mut wanted = serde_json::to_value(&made).expect("objects can be encoded");
        let given = serde_json::to_value(&object).expect("objects can be encoded");
        let Some(status) = given.get("status").filter(|status| !status.is_null()) else { return made };
        wanted["status"] = status.clone();
        let wanted: K = serde_json::from_value(wanted).expect("it was just encoded");
        self.report(&made, &wanted).await
    }

    /// Makes the status what `wanted` says.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn report<K: Readable>(&self, held: &K, wanted: &K) -> K {
        match write::patch_status(&self.link, held, wanted, Basis::Uid).await {
            Ok(made) => made.unwrap_or_else(|| held.clone()),
            Err(error) => panic!("report {}: {error}", K::KIND),
        }
    }

    /// Deletes an object as kubectl would.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn delete<K: Readable>(&self, object: &K, policy: &str) {
        let options = k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions {
            propagation_policy: Some(policy.to_owned()),
            ..Default::default()
        };
        if let Err(error) = write::delete(&self.link, &Place::of(object), &options).await {
            panic!("delete {}: {error}", K::KIND);
        }
    }

    /// Waits until the objects of a kind are as `holds` wants them; those objects.
    ///
    /// # Panics
    /// If that does not come about.
    pub async fn until<K: Readable>(&self, holds: impl Fn(&[Arc<K>]) -> bool) -> Vec<Arc<K>> {
        until(&self.link, &Topic::of::<K>(), holds).await
    }

    /// Stops everything.
    pub async fn stop(self) {
        self.tasks.drain(Duration::from_secs(10)).await;
    }
}

/// Waits until the objects of a topic are as `holds` wants them; those objects, by key.
///
/// # Panics
/// If that does not come about.
pub async fn until<K: Readable>(
    link: &Link,
    topic: &Topic,
    holds: impl Fn(&[Arc<K>]) -> bool,
) -> Vec<Arc<K>> {
    let mut feed = link.feed(topic);
    let mut known: HashMap<Arc<str>, Arc<Object>> = HashMap::new();
    let mut last = Vec::new();
    let watching = async {
        while let Some(delta) = feed.next().await {
            match delta {
                Delta::Reset(objects) => known = objects.into_iter().map(|o| (o.meta().key(), o)).collect(),
                Delta::Put(object) => drop(known.insert(object.meta().key(), object)),
                Delta::Gone(object) => drop(known.remove(&object.meta().key())),
            }
            let mut objects: Vec<&Arc<Object>> = known.values().collect();
            objects.sort_by_key(|object| object.meta().key());
            last = objects
                .iter()
                .map(|o| o.decode::<K>().expect("the server's objects fit their kinds"))
                .collect();
            if holds(&last) {
                return;
            }
        }
    };
    if tokio::time::timeout(DEADLINE, watching).await.is_err() {
        let shown = serde_json::to_string_pretty(&last).unwrap_or_default();
        panic!("what was waited for did not come about; last seen:\n{shown}");
    }
    last
}
