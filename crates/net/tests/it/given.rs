//! A node and pods to test with: network namespaces that vanish with their guards, and talk between them.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::{Value, json};
use skiff_api::Object;
use skiff_net::cni::{Call, Fault};
use skiff_net::netlink::route::Routing;
use skiff_net::{cni, netns};

static NEXT: AtomicU32 = AtomicU32::new(0);
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A named network namespace, removed when dropped.
pub(crate) struct Space {
    pub(crate) name: String,
    borrowed: bool,
}

impl Space {
    pub(crate) fn new() -> Self {
        let name = format!("skiffnet-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // A run that was killed may have left one of the same number.
        netns::remove(&name).expect("tests of the network need root");
        assert!(netns::create(&name).expect("tests of the network need root"));
        let space = Self { name, borrowed: false };
        space.within(|| {
            let mut routing = Routing::open().unwrap();
            let lo = routing.link("lo").unwrap().unwrap();
            routing.set_up(lo.index).unwrap();
        });
        space
    }

    /// One that somebody else made and removes.
    pub(crate) fn borrowed(name: &str) -> Self {
        Self { name: name.to_owned(), borrowed: true }
    }

    /// A runtime all of whose threads live here.
    pub(crate) fn runtime(&self) -> tokio::runtime::Runtime {
        let file = std::fs::File::open(self.path()).unwrap();
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .on_thread_start(move || netns::enter(std::os::fd::AsFd::as_fd(&file)).unwrap())
            .build()
            .unwrap()
    }

    pub(crate) fn path(&self) -> PathBuf {
        netns::path(&self.name)
    }

    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        netns::within_path(&self.path(), work).unwrap()
    }

    /// A TCP server that greets every client with `word` and the client's address.
    pub(crate) fn serve(&self, port: u16, word: &str) {
        self.serve_on(Ipv6Addr::UNSPECIFIED, port, word);
    }

    pub(crate) fn serve_on(&self, address: impl Into<IpAddr>, port: u16, word: &str) {
        let address: IpAddr = address.into();
        let listener = self.within(|| TcpListener::bind((address, port)).unwrap());
        let word = word.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let Ok(peer) = stream.peer_addr() else { continue };
                let _client_may_be_gone =
                    stream.write_all(format!("{word} {}", peer.ip().to_canonical()).as_bytes());
            }
        });
    }

    /// A UDP server that answers every datagram with `word`.
    pub(crate) fn serve_udp(&self, port: u16, word: &str) {
        let socket = self.within(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap());
        let word = word.to_owned();
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                let _client_may_be_gone = socket.send_to(word.as_bytes(), peer);
            }
        });
    }

    /// What the server at that address says.
    pub(crate) fn ask(&self, address: impl Into<IpAddr>, port: u16) -> std::io::Result<String> {
        let to = SocketAddr::new(address.into(), port);
        self.within(move || {
            let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        })
    }

    /// The first word of the answer: who answered.
    pub(crate) fn who(&self, address: impl Into<IpAddr>, port: u16) -> String {
        self.ask(address, port).unwrap().split(' ').next().unwrap().to_owned()
    }

    pub(crate) fn udp_socket(&self) -> UdpSocket {
        let socket = self.within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if !self.borrowed {
            let _already_gone = netns::remove(&self.name);
        }
    }
}

/// An object as the API would send it.
pub(crate) fn object(value: &Value) -> Arc<Object> {
    Arc::new(Object::parse(value.to_string().into_bytes().into()).unwrap())
}

/// Nothing in the network writes; a request would be a mistake.
pub(crate) fn no_client() -> kube::Client {
    let refuse = tower::service_fn(|_: http::Request<kube::client::Body>| async {
        Ok::<_, std::convert::Infallible>(
            http::Response::new(http_body_util::Full::<bytes::Bytes>::default()),
        )
    });
    kube::Client::new(refuse, "default")
}

/// A node: a namespace, a folder, pod ranges.
pub(crate) struct Node {
    pub(crate) space: Space,
    pub(crate) folder: PathBuf,
    pub(crate) subnet: Ipv4Net,
    pub(crate) six: Option<Ipv6Net>,
}

impl Node {
    pub(crate) fn new(subnet: &str) -> Self {
        Self::in_space(Space::new(), subnet)
    }

    pub(crate) fn in_space(space: Space, subnet: &str) -> Self {
        let folder = std::env::temp_dir().join(&space.name);
        Self { space, folder, subnet: subnet.parse().unwrap(), six: None }
    }

    /// One whose pods have addresses of IPv6 as well.
    pub(crate) fn dual(subnet: &str, six: &str) -> Self {
        let mut node = Self::new(subnet);
        node.six = Some(six.parse().unwrap());
        node
    }

    pub(crate) fn gateway_six(&self) -> Ipv6Addr {
        self.six.unwrap().hosts().nth(1).unwrap()
    }

    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.subnet.hosts().next().unwrap()
    }

    pub(crate) fn config(&self) -> cni::Config {
        cni::Config {
            subnets: [Some(IpNet::V4(self.subnet)), self.six.map(IpNet::V6)].into_iter().flatten().collect(),
            cluster_cidrs: vec!["10.244.0.0/16".parse().unwrap(), "fd00:244::/56".parse().unwrap()],
            data_dir: self.folder.clone(),
            bridge: "skiff0".into(),
            ..cni::Config::default()
        }
    }

    pub(crate) fn cni(
        &self,
        command: &str,
        container: &str,
        netns: PathBuf,
        ports: &Value,
    ) -> Result<Option<Value>, Fault> {
        let list: Value = serde_json::from_str(&cni::config(&self.config())).unwrap();
        let mut conf = list["plugins"][0].clone();
        conf["cniVersion"] = list["cniVersion"].clone();
        conf["name"] = list["name"].clone();
        conf["runtimeConfig"] = json!({ "portMappings": ports });
        let call = Call { command: command.into(), container: container.into(), netns, link: "eth0".into() };
        let text = conf.to_string();
        self.space.within(move || cni::run(&call, text.as_bytes()))
    }

    pub(crate) fn pod(&self, name: &str) -> Pod {
        self.pod_with(name, &json!([]))
    }

    pub(crate) fn pod_with(&self, name: &str, ports: &Value) -> Pod {
        let space = Space::new();
        let answer = self.cni("ADD", name, space.path(), ports).unwrap().unwrap();
        let net: Ipv4Net = answer["ips"][0]["address"].as_str().unwrap().parse().unwrap();
        let six = answer["ips"][1]["address"].as_str().map(|net| net.parse::<Ipv6Net>().unwrap().addr());
        Pod { space, ip: net.addr(), six, name: name.to_owned(), answer }
    }

    pub(crate) fn remove(&self, pod: &Pod) {
        assert_eq!(self.cni("DEL", &pod.name, pod.space.path(), &json!([])).unwrap(), None);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_dir_all(&self.folder);
    }
}

/// A pod that is only a network namespace.
pub(crate) struct Pod {
    pub(crate) space: Space,
    pub(crate) ip: Ipv4Addr,
    pub(crate) six: Option<Ipv6Addr>,
    pub(crate) name: String,
    pub(crate) answer: Value,
}
