//! The cluster's DNS, served by every node to its own pods.
//!
//! [`zone`] answers for the cluster's names, purely, from the same model as the proxy; [`serve`] speaks UDP and TCP;
//! [`forward`] asks the machine's resolvers about everything else. The cluster's DNS addresses, one of each family that
//! services have, sit on the node's `lo`, so a pod's question never leaves the node and needs no service rules.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use ipnet::IpNet;
use skiff_base::Latch;
use skiff_base::task::{Policy, Tasks};
use tokio::net::{TcpListener, UdpSocket};

use crate::Error;
use crate::dns::forward::Upstreams;
use crate::dns::serve::Server;
use crate::dns::zone::Zone;
use crate::follow::{Reader, Services};
use crate::netlink::route::Routing;

mod forward;
mod serve;
#[cfg(test)]
mod tests;
mod zone;

/// What cluster DNS needs to know.
#[derive(Clone, Debug)]
pub struct DnsOptions {
    /// The model it reads.
    pub services: Services,
    /// Where it listens; put on `lo` unless they are loopback addresses.
    pub addresses: Vec<IpAddr>,
    /// The port; 53 but in tests.
    pub port: u16,
    /// The cluster's domain.
    pub domain: String,
    /// Names the resolvers for all other names.
    pub resolv_conf: PathBuf,
}

impl DnsOptions {
    /// As upstream's clusters have it: 10.96.0.10, `cluster.local`.
    pub fn new(services: Services) -> Self {
        Self {
            services,
            addresses: vec![[10, 96, 0, 10].into()],
            port: 53,
            domain: "cluster.local".to_owned(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
        }
    }
}

/// Cluster DNS, wired but not running.
#[derive(Debug)]
pub struct Dns {
    options: DnsOptions,
    reader: Reader,
    ready: Latch,
}

impl Dns {
    /// Wires it; nothing is bound yet.
    pub fn build(options: DnsOptions) -> Self {
        Self { reader: options.services.reader(), options, ready: Latch::new() }
    }

    /// Opens once the first question would be answered.
    pub fn ready(&self) -> Latch {
        self.ready.clone()
    }

    /// Takes the addresses, binds, and runs until the group stops; where it listens.
    ///
    /// # Errors
    /// If an address can't be had or the port is taken.
    pub async fn run(self, tasks: &Tasks) -> Result<Vec<SocketAddr>, Error> {
        let Self { options, reader, ready } = self;
        for address in options.addresses.iter().filter(|address| !address.is_loopback()) {
            let mut routing = Routing::open()?;
            if let Some(lo) = routing.link("lo")? {
                routing.set_up(lo.index)?;
                routing.add_address(lo.index, IpNet::from(*address))?;
            }
        }
        let zone = Arc::new(RwLock::new(Zone::new(&options.domain, options.addresses.clone())));
        let mut sockets = Vec::new();
        for address in &options.addresses {
            let bind = || Error::system(format!("listen on {address}, port {} for DNS", options.port));
            let tcp = TcpListener::bind((*address, options.port)).await.map_err(bind())?;
            let address = tcp.local_addr().map_err(bind())?;
            sockets.push((address, UdpSocket::bind(address).await.map_err(bind())?, tcp));
        }
        let addresses: Vec<SocketAddr> = sockets.iter().map(|(address, ..)| *address).collect();
        let upstreams = Upstreams::new(options.resolv_conf, addresses.clone());
        let server = Server::new(Arc::clone(&zone), upstreams, tasks.clone());
        let token = tasks.token().clone();
        tasks.spawn("dns-zone", Policy::Essential, async move {
            let follow = async {
                loop {
                    let changes = reader.next().await;
                    let mut zone = zone.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                    changes.services.into_iter().for_each(|(key, reach)| zone.set(key, reach));
                    drop(zone);
                    ready.open();
                }
            };
            tokio::select! {
                () = token.cancelled() => Ok::<(), Error>(()),
                () = follow => Ok(()),
            }
        });
        for (_, udp, tcp) in sockets {
            server.clone().run(udp, tcp);
        }
        Ok(addresses)
    }
}

/// Takes an address back from `lo`.
///
/// # Errors
/// If the kernel refuses.
pub fn cleanup(address: IpAddr) -> Result<(), Error> {
    if address.is_loopback() {
        return Ok(());
    }
    let mut routing = Routing::open()?;
    if let Some(lo) = routing.link("lo")? {
        routing.delete_address(lo.index, IpNet::from(address))?;
    }
    Ok(())
}
