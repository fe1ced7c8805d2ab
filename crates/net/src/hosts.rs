//! Several machines on this one: a network namespace each, on a bridge in the machine's own.
//!
//! What `skiff up --nodes N` stands on. Every step looks first, so creating twice is creating once, and removing works
//! from any half-made state. All is named from the prefix; two clusters with different prefixes don't meet.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::family::{Family, further};
use crate::netlink::expr::{Expr, Reg, range};
use crate::netlink::nft::{Batch, Hook, Tables};
use crate::netlink::route::{OUR_PROTOCOL, Route, Routing, Veth, hardware_address};
use crate::{Error, netns, sysctl};

/// Which hosts there should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Names start with it: namespaces `PREFIX-1`, links `PREFIX1`, the bridge `PREFIX0`. At most 10 characters.
    pub prefix: String,
    /// How many hosts; at most 200.
    pub count: u8,
    /// The hosts' ranges, at most one of a family; the bridge has the first address of each.
    pub networks: Vec<IpNet>,
    /// Traffic to these ranges keeps its source; the pods' ranges belong here.
    pub inside: Vec<IpNet>,
    /// Largest packet on the hosts' links; 0 for what fits this machine's way out.
    pub mtu: u32,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            prefix: "skiff".to_owned(),
            count: 2,
            networks: vec![IpNet::new_assert([10, 89, 0, 0].into(), 24)],
            inside: vec![IpNet::new_assert([10, 244, 0, 0].into(), 16)],
            mtu: 0,
        }
    }
}

/// One made host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The namespace's name.
    pub name: String,
    /// Where to enter it.
    pub path: PathBuf,
    /// Its addresses, one of each range.
    pub addresses: Vec<IpAddr>,
}

/// Makes and removes hosts.
#[derive(Debug)]
pub struct Hosts;

impl Spec {
    fn bridge(&self) -> String {
        format!("{}0", self.prefix)
    }

    fn table(&self) -> String {
        format!("{}-hosts", self.prefix)
    }

    fn link(&self, number: u8) -> String {
        format!("{}{number}", self.prefix)
    }

    /// The bridge's addresses: the hosts' ways out.
    pub fn gateways(&self) -> Vec<IpAddr> {
        self.networks.iter().map(|net| further(net.network(), 1)).collect()
    }

    /// The host of that number, counted from 1: its addresses are those ten further on in each range.
    pub fn host(&self, number: u8) -> Host {
        let name = format!("{}-{number}", self.prefix);
        let address = |net: &IpNet| further(net.network(), 10 + u128::from(number));
        Host { path: netns::path(&name), name, addresses: self.networks.iter().map(address).collect() }
    }

    /// Addresses, one of each range, as links have them.
    fn on_links(&self, addresses: &[IpAddr]) -> Vec<IpNet> {
        let with_length = |(address, net): (&IpAddr, &IpNet)| {
            IpNet::new(*address, net.prefix_len()).unwrap_or_else(|_| (*address).into())
        };
        addresses.iter().zip(&self.networks).map(with_length).collect()
    }

    fn forward(&self) -> Result<(), Error> {
        let all = Family::of_all(&self.networks).into_iter().try_for_each(sysctl::forward);
        all.map_err(Error::system("let packets pass"))
    }
}

impl Hosts {
    /// Makes what is missing of bridge, hosts and rules; the hosts, first to last.
    ///
    /// # Errors
    /// If the kernel refuses a step; what was made so far stays and is used the next time.
    pub fn create(spec: &Spec) -> Result<Vec<Host>, Error> {
        let mut routing = Routing::open()?;
        let mtu = if spec.mtu == 0 { routing.mtu_outside()? } else { spec.mtu };
        let bridge = bridge(spec, &mut routing, mtu)?;
        let mut hosts = Vec::new();
        for number in 1..=spec.count {
            let host = spec.host(number);
            netns::create(&host.name)
                .map_err(Error::system(format!("make network namespace {}", host.name)))?;
            let enter = || Error::system(format!("enter network namespace {}", host.name));
            let namespace = File::open(&host.path).map_err(enter())?;
            if routing.link(&spec.link(number))?.is_none() {
                routing.add_veth(&Veth {
                    name: &spec.link(number),
                    master: bridge,
                    mtu,
                    peer: "eth0",
                    peer_mac: None,
                    peer_namespace: namespace.as_fd(),
                })?;
            }
            netns::within(namespace.as_fd(), || furnish(spec, &host)).map_err(enter())??;
            hosts.push(host);
        }
        // Links of hosts that are no longer wanted go with their namespaces.
        for number in spec.count.saturating_add(1)..=200 {
            let host = spec.host(number);
            if !host.path.exists() {
                break;
            }
            remove_host(spec, number, &mut routing)?;
        }
        let table = spec.table();
        for family in Family::of_all(&spec.networks) {
            let mut batch = Batch::on(family, &table);
            rules(spec, &mut batch);
            Tables::open()?.commit("write the hosts' rules", batch)?;
        }
        spec.forward()?;
        Ok(hosts)
    }

    /// Removes all of it; what is already gone is fine. Processes that still run in a namespace keep it alive, unseen.
    ///
    /// # Errors
    /// If the kernel refuses a step.
    pub fn remove(spec: &Spec) -> Result<(), Error> {
        let mut routing = Routing::open()?;
        for number in 1..=200 {
            // The count may have been another when they were made.
            if number > spec.count && !spec.host(number).path.exists() {
                break;
            }
            remove_host(spec, number, &mut routing)?;
        }
        routing.delete_link(&spec.bridge())?;
        Ok(Tables::open()?.remove_all(&spec.table())?)
    }
}

fn remove_host(spec: &Spec, number: u8, routing: &mut Routing) -> Result<(), Error> {
    let host = spec.host(number);
    routing.delete_link(&spec.link(number))?;
    netns::remove(&host.name).map_err(Error::system(format!("remove network namespace {}", host.name)))
}

/// The bridge's number.
fn bridge(spec: &Spec, routing: &mut Routing, mtu: u32) -> Result<u32, Error> {
    let gateways = spec.gateways();
    let face = gateways.first().map(|address| hardware_address(*address)).unwrap_or_default();
    match routing.add_bridge(&spec.bridge(), mtu, face) {
        Err(error) if !error.exists() => return Err(error.into()),
        _ => {}
    }
    let vanished = || std::io::Error::other("it vanished while it was made");
    let link = routing
        .link(&spec.bridge())?
        .ok_or_else(|| Error::system(format!("make bridge {}", spec.bridge()))(vanished()))?;
    routing.set_up(link.index)?;
    for net in spec.on_links(&gateways) {
        routing.add_address(link.index, net)?;
    }
    Ok(link.index)
}

/// Inside the host: addresses, the way out, packets allowed through.
fn furnish(spec: &Spec, host: &Host) -> Result<(), Error> {
    let mut routing = Routing::open()?;
    if let Some(lo) = routing.link("lo")? {
        routing.set_up(lo.index)?;
    }
    if let Some(eth) = routing.link("eth0")? {
        routing.set_up(eth.index)?;
        for net in spec.on_links(&host.addresses) {
            routing.add_address(eth.index, net)?;
        }
        for gateway in spec.gateways() {
            let family = Family::of(gateway);
            if routing.default_route(family)?.is_none() {
                routing.set_route(&Route {
                    to: family.everything(),
                    gateway: Some(gateway),
                    link: eth.index,
                    protocol: OUR_PROTOCOL.saturating_add(1),
                })?;
            }
        }
    }
    spec.forward()
}

/// What hosts send to places outside takes the machine's address.
fn rules(spec: &Spec, batch: &mut Batch<'_>) {
    batch.replace_table();
    batch.base_chain("postrouting", "nat", Hook::Postrouting, 100);
    let mut bridge = spec.bridge().into_bytes();
    bridge.resize(16, 0);
    let family = batch.family();
    let own: Vec<IpNet> =
        spec.networks.iter().chain(&spec.inside).filter(|net| family.holds(net)).copied().collect();
    for from in &own {
        let mut steps = vec![Expr::Source(Reg(0))];
        steps.extend(range(Reg(0), *from, true));
        for to in &own {
            steps.push(Expr::Destination(Reg(0)));
            steps.extend(range(Reg(0), *to, false));
        }
        steps.extend([Expr::OutLink(Reg(0)), Expr::Differ(Reg(0), bridge.clone()), Expr::Masquerade]);
        batch.rule("postrouting", &steps);
    }
}
