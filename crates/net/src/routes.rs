//! Ways to the other nodes' pods, and to services.
//!
//! Nodes share a link, so a pod range is reached through its node's address of the same family: one route each, kept in
//! step with the Node objects. In a namespace without a default route the kernel must believe that there is a way to a service before any
//! rule is asked: one route for each range of the ServiceCIDRs, which no packet ever takes. Only routes that carry our mark are ever changed or removed. (Nodes on different links need a tunnel, which
//! is not built yet.)

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use futures::StreamExt;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use skiff_api::Object;
use skiff_base::task::{Policy, Tasks};
use skiff_base::{Backoff, Latch};
use skiff_client::{Delta, Feed, Link, Topic};
use std::time::Duration;

use crate::family::Family;
use crate::netlink::route::{Address, OUR_PROTOCOL, Route, Routing};
use crate::{Error, sysctl};

/// What the routes need to know.
#[derive(Clone)]
pub struct RouteOptions {
    /// How to hear of nodes.
    pub link: Link,
    /// The node we are; no route is made to its own pods. Empty where no node is, such as the machine that holds minions.
    pub node_name: String,
    /// The services' first ranges; others are those of the ServiceCIDRs.
    pub service_cidrs: Vec<IpNet>,
    /// All pods' ranges.
    pub cluster_cidrs: Vec<IpNet>,
}

/// Keeps routes in step with nodes and ServiceCIDRs.
pub struct Routes {
    nodes: Feed,
    ranges: Feed,
    options: RouteOptions,
    ready: Latch,
}

/// Where a node and its pods are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// Its first address of each family.
    pub addresses: Vec<IpAddr>,
    /// Its pods' ranges.
    pub pods: Vec<IpNet>,
}

impl Whereabouts {
    /// Each range with the address by which it is reached.
    fn ways(&self) -> impl Iterator<Item = (IpNet, IpAddr)> {
        self.pods.iter().filter_map(|net| {
            let by = self.addresses.iter().find(|address| Family::of(**address).holds(net))?;
            Some((net.trunc(), *by))
        })
    }
}

impl Routes {
    /// Wires it.
    pub fn build(options: RouteOptions) -> Self {
        let (nodes, ranges) = (Topic::of::<Node>(), Topic::of::<ServiceCIDR>());
        let (nodes, ranges) = (options.link.feed(&nodes), options.link.feed(&ranges));
        Self { nodes, ranges, options, ready: Latch::new() }
    }

    /// Opens once the first routes are set.
    pub fn ready(&self) -> Latch {
        self.ready.clone()
    }

    /// Runs until the group stops.
    pub fn run(self, tasks: &Tasks) {
        let token = tasks.token().clone();
        tasks.spawn("routes", Policy::Essential, async move {
            tokio::select! {
                () = token.cancelled() => Ok(()),
                result = self.work() => result,
            }
        });
    }

    async fn work(mut self) -> Result<(), Error> {
        let families = Family::of_all(self.options.cluster_cidrs.iter().chain(&self.options.service_cidrs));
        for family in &families {
            sysctl::forward(*family).map_err(Error::system("let packets pass"))?;
        }
        let mut nodes = Known::default();
        let mut ranges = Ranges { own: self.options.service_cidrs.clone(), others: BTreeMap::new() };
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        let (mut known, mut behind) = (false, false);
        loop {
            let ended = |what: &str| Error::system(what)(std::io::Error::other("the feed ended"));
            let pause = if behind { backoff.next_delay() } else { Duration::MAX };
            let changed = tokio::select! {
                delta = self.nodes.next() => {
                    known = true;
                    nodes.take(&self.options.node_name, delta.ok_or_else(|| ended("follow nodes"))?)
                }
                delta = self.ranges.next() => {
                    ranges.take(delta.ok_or_else(|| ended("follow ranges of services"))?)
                }
                // After a failure we try again by ourselves: a gateway may only be reachable once a link is up.
                () = tokio::time::sleep(pause), if behind => true,
            };
            // Before the nodes are known every route to them would seem left over.
            if !known || (!changed && !behind) {
                continue;
            }
            match apply(&families, &self.options.cluster_cidrs, &nodes.wanted(), &ranges.wanted()) {
                Ok(()) => {
                    behind = false;
                    backoff.reset();
                    self.ready.open();
                }
                Err(error) => {
                    behind = true;
                    tracing::warn!(%error, "routes to other nodes are not all set, will try again");
                }
            }
        }
    }
}

/// The ranges of services: the cluster's first, and those of ServiceCIDRs by name.
#[derive(Debug, Default)]
struct Ranges {
    own: Vec<IpNet>,
    others: BTreeMap<Arc<str>, Vec<IpNet>>,
}

impl Ranges {
    /// Takes in a change; false if it changes no range.
    fn take(&mut self, delta: Delta<Arc<Object>>) -> bool {
        let before = self.wanted();
        match delta {
            Delta::Reset(all) => {
                self.others.clear();
                all.iter().for_each(|object| self.put(object));
            }
            Delta::Put(object) => self.put(&object),
            Delta::Gone(object) => {
                self.others.remove(&object.meta().name);
            }
        }
        before != self.wanted()
    }

    fn put(&mut self, object: &Object) {
        let Ok(range) = object.decode::<ServiceCIDR>() else { return };
        let nets = range.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
        let nets = nets.filter_map(|text| text.parse::<IpNet>().ok()).map(|net| net.trunc());
        self.others.insert(Arc::clone(&object.meta().name), nets.collect());
    }

    fn wanted(&self) -> BTreeSet<IpNet> {
        self.others.values().flatten().chain(&self.own).map(IpNet::trunc).collect()
    }
}

/// The other nodes.
#[derive(Debug, Default)]
struct Known(BTreeMap<Arc<str>, Whereabouts>);

impl Known {
    fn take(&mut self, ourselves: &str, delta: Delta<Arc<Object>>) -> bool {
        let before = self.0.clone();
        match delta {
            Delta::Reset(all) => {
                self.0.clear();
                all.iter().for_each(|object| self.put(ourselves, object));
            }
            Delta::Put(object) => self.put(ourselves, &object),
            Delta::Gone(object) => {
                self.0.remove(&*object.meta().key());
            }
        }
        // The first answer counts even if it is empty: leftovers of an earlier run have to go.
        before != self.0 || before.is_empty()
    }

    fn put(&mut self, ourselves: &str, object: &Object) {
        let key = object.meta().key();
        let place = object.decode::<Node>().ok().and_then(|node| whereabouts(&node));
        match place {
            Some(place) if &*key != ourselves => self.0.insert(key, place),
            _ => self.0.remove(&key),
        };
    }

    fn wanted(&self) -> BTreeMap<IpNet, IpAddr> {
        self.0.values().flat_map(Whereabouts::ways).collect()
    }
}

/// Where a node and its pods are, if it says so.
pub fn whereabouts(node: &Node) -> Option<Whereabouts> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let own = || {
        addresses.iter().filter(|a| a.type_ == "InternalIP").filter_map(|a| a.address.parse::<IpAddr>().ok())
    };
    let first = |family: Family| own().find(|address| family.has(*address));
    let addresses: Vec<IpAddr> = Family::ALL.into_iter().filter_map(first).collect();
    let spec = node.spec.as_ref()?;
    let several = spec.pod_cidrs.iter().flatten();
    let ranges: BTreeSet<IpNet> =
        several.chain(spec.pod_cidr.as_ref()).filter_map(|text| text.parse().ok()).collect();
    let place = Whereabouts { addresses, pods: ranges.into_iter().collect() };
    let is_reached = place.ways().next().is_some();
    is_reached.then_some(place)
}

/// The differences: what to remove, what to set; pure.
fn plan(have: &[Route], wanted: &BTreeMap<IpNet, IpAddr>) -> (Vec<Route>, Vec<Route>) {
    let ours = || have.iter().filter(|route| route.protocol == OUR_PROTOCOL && route.gateway.is_some());
    let gone = ours().filter(|route| !wanted.contains_key(&route.to)).copied().collect();
    let set = wanted
        .iter()
        .filter(|(to, gateway)| !ours().any(|route| route.to == **to && route.gateway == Some(**gateway)))
        .map(|(to, gateway)| Route { to: *to, gateway: Some(*gateway), link: 0, protocol: OUR_PROTOCOL })
        .collect();
    (gone, set)
}

/// The link to which services' ranges seem to lead. For IPv6 that is not `lo`, from where the kernel passes nothing on; and
/// not the pods' own, or it would tell them that services are their neighbours.
fn service_link(family: Family, lo: u32, addresses: &[Address], pods: &[IpNet]) -> u32 {
    let is_nodes = |known: &&Address| {
        let address = known.net.addr();
        let of_link = matches!(address, IpAddr::V6(six) if six.is_unicast_link_local());
        known.link != lo && !of_link && !pods.iter().any(|net| net.contains(&address))
    };
    let nodes = addresses.iter().filter(|_| family == Family::Six).find(is_nodes);
    nodes.map_or(lo, |known| known.link)
}

/// The same for services' ranges on a link, where there is no default route.
fn plan_services(have: &[Route], link: u32, ranges: &BTreeSet<IpNet>) -> (Vec<Route>, Vec<Route>) {
    let is_ours =
        |route: &&Route| route.protocol == OUR_PROTOCOL && route.gateway.is_none() && route.link == link;
    let ours = || have.iter().filter(is_ours);
    let gone = ours().filter(|route| !ranges.contains(&route.to)).copied().collect();
    let missing = ranges.iter().filter(|to| !ours().any(|route| route.to == **to));
    let set = missing.map(|to| Route { to: *to, gateway: None, link, protocol: OUR_PROTOCOL });
    (gone, set.collect())
}

fn apply(
    families: &[Family],
    pods: &[IpNet],
    wanted: &BTreeMap<IpNet, IpAddr>,
    services: &BTreeSet<IpNet>,
) -> Result<(), Error> {
    let mut routing = Routing::open()?;
    let (mut gone, mut set) = (Vec::new(), Vec::new());
    for family in families {
        let have = routing.routes(*family)?;
        let wanted = wanted.iter().filter(|(to, _)| family.holds(to)).map(|(to, by)| (*to, *by)).collect();
        let mut of_family = plan(&have, &wanted);
        gone.append(&mut of_family.0);
        set.append(&mut of_family.1);
        if !have.iter().any(|route| route.to.prefix_len() == 0)
            && let Some(lo) = routing.link("lo")?
        {
            let services = services.iter().filter(|net| family.holds(net)).copied().collect();
            let link = service_link(*family, lo.index, &routing.addresses(*family)?, pods);
            let mut of_services = plan_services(&have, link, &services);
            gone.append(&mut of_services.0);
            set.append(&mut of_services.1);
        }
    }
    for route in gone {
        routing.delete_route(&route)?;
    }
    // One that can't be set must not keep the others from being set.
    let mut failed = None;
    for route in set {
        if let Err(error) = routing.set_route(&route) {
            tracing::debug!(to = %route.to, gateway = ?route.gateway, %error, "route refused");
            failed = Some(error);
        }
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Removes every route we made in this namespace.
///
/// # Errors
/// If the kernel refuses.
pub fn cleanup() -> Result<(), Error> {
    let mut routing = Routing::open()?;
    for family in Family::ALL {
        for route in routing.routes(family)?.into_iter().filter(|route| route.protocol == OUR_PROTOCOL) {
            routing.delete_route(&route)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(to: &str, gateway: &str, protocol: u8) -> Route {
        Route { to: to.parse().unwrap(), gateway: gateway.parse().ok(), link: 2, protocol }
    }

    #[test]
    fn only_our_own_differences_are_touched() {
        let have = [
            route("10.244.1.0/24", "10.89.0.11", OUR_PROTOCOL),
            route("10.244.2.0/24", "10.89.0.12", OUR_PROTOCOL),
            route("10.244.3.0/24", "10.89.0.13", OUR_PROTOCOL),
            route("10.50.0.0/16", "10.89.0.99", 4),
        ];
        let wanted = BTreeMap::from([
            ("10.244.1.0/24".parse().unwrap(), "10.89.0.11".parse().unwrap()),
            ("10.244.2.0/24".parse().unwrap(), "10.89.0.22".parse().unwrap()),
        ]);
        let (gone, set) = plan(&have, &wanted);
        assert_eq!(gone, [have[2]]);
        assert_eq!(
            set.iter().map(|r| (r.to.to_string(), r.gateway.unwrap().to_string())).collect::<Vec<_>>(),
            [("10.244.2.0/24".to_owned(), "10.89.0.22".to_owned())]
        );
    }

    #[test]
    fn each_range_of_services_has_a_way_and_others_of_ours_go() {
        let lo = |to: &str, link, protocol| Route { to: to.parse().unwrap(), gateway: None, link, protocol };
        let have = [
            lo("10.96.0.0/12", 1, OUR_PROTOCOL),
            lo("10.7.0.0/16", 1, OUR_PROTOCOL),
            lo("10.244.0.0/24", 2, OUR_PROTOCOL),
            lo("10.8.0.0/16", 1, 4),
        ];
        let ranges = ["10.96.0.0/12", "10.9.0.0/16"].map(|net| net.parse().unwrap()).into();
        let (gone, set) = plan_services(&have, 1, &ranges);
        assert_eq!((gone, set), (vec![have[1]], vec![lo("10.9.0.0/16", 1, OUR_PROTOCOL)]));
    }

    #[test]
    fn services_of_ipv6_seem_to_be_where_the_node_is() {
        let on = |link: u32, net: &str| Address { link, net: net.parse().unwrap() };
        let all = [
            on(1, "fd00:96::a/128"),
            on(2, "fe80::1/64"),
            on(3, "fd00:244:0:1::1/64"),
            on(2, "fd00:89::b/64"),
        ];
        let pods = ["fd00:244::/56".parse().unwrap()];
        assert_eq!(service_link(Family::Six, 1, &all, &pods), 2);
        assert_eq!(service_link(Family::Six, 1, &all[..3], &pods), 1);
        assert_eq!(service_link(Family::Four, 1, &[on(2, "192.0.2.1/24")], &pods), 1);
    }

    #[test]
    fn a_nodes_range_is_reached_by_its_address_of_the_same_family() {
        let node = "{metadata: {name: a}, spec: {podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24, 'fd00:244:0:1::/64']}, status: {addresses: [{type: InternalIP, address: 'fd00:89::b'}, {type: InternalIP, address: 10.89.0.11}, {type: InternalIP, address: 'fd00:89::c'}]}}";
        let place = whereabouts(&serde_saphyr::from_str(node).unwrap()).unwrap();
        let ways: Vec<String> = place.ways().map(|(to, by)| format!("{to} {by}")).collect();
        assert_eq!(ways, ["10.244.1.0/24 10.89.0.11", "fd00:244:0:1::/64 fd00:89::b"]);
    }

    #[test]
    fn a_node_without_range_or_address_has_no_whereabouts() {
        let of = |yaml: &str| whereabouts(&serde_saphyr::from_str(yaml).unwrap());
        assert_eq!(
            of("{kind: Node, apiVersion: v1, metadata: {name: a}, spec: {podCIDR: 10.244.1.0/24}}"),
            None
        );
        let place = of("{kind: Node, apiVersion: v1, metadata: {name: a}, spec: {podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24]}, status: {addresses: [{type: Hostname, address: a}, {type: InternalIP, address: 10.89.0.11}]}}").unwrap();
        assert_eq!((place.addresses, place.pods.len()), (vec!["10.89.0.11".parse().unwrap()], 1));
    }
}
