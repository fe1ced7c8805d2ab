//! The bridge and table that all pods of a node share: made with the first pod, removed with the node.

use std::path::Path;

use super::alloc::Leases;
use super::conf::{Conf, Config, PortMapping, folder};
use super::{Fault, ports};
use crate::family::Family;
use crate::netlink::nft::{Batch, Tables};
use crate::netlink::route::{Link, Routing, hardware_address};
use crate::sysctl;

/// The bridge, made complete if it is not there. Called under the folder's lock, so nobody sees half of it.
pub(super) fn bridge(conf: &Conf, routing: &mut Routing, leases: &Leases) -> Result<Link, Fault> {
    if let Some(link) = routing.link(&conf.bridge)?
        && link.up
        && is_addressed(conf, routing, &link)?
    {
        return Ok(link);
    }
    let mtu = if conf.mtu == 0 { routing.mtu_outside()? } else { conf.mtu };
    let face = conf.ranges().next().map(|range| hardware_address(range.gateway())).unwrap_or_default();
    match routing.add_bridge(&conf.bridge, mtu, face) {
        Err(error) if !error.exists() => return Err(error.into()),
        _ => {}
    }
    let link = routing
        .link(&conf.bridge)?
        .ok_or_else(|| Fault::new(100, format!("bridge {} vanished while it was made", conf.bridge)))?;
    let switch = |name: &str, value: &str| {
        sysctl::set(name, value).map_err(|error| Fault::io(format!("set net/{name}"), &error))
    };
    for range in conf.ranges() {
        sysctl::forward(range.family).map_err(|error| Fault::io("let packets pass", &error))?;
    }
    switch(&format!("ipv4/conf/{}/route_localnet", conf.bridge), "1")?;
    switch(&format!("ipv6/conf/{}/accept_dad", conf.bridge), "0")?;
    for range in conf.ranges() {
        if range.family == Family::Six {
            switch(&format!("ipv6/conf/{}/disable_ipv6", conf.bridge), "0")?;
        }
        routing.add_address(link.index, range.pod(range.gateway()))?;
    }
    table(conf, leases)?;
    // Up comes last: a bridge that is up is complete, whenever we crashed.
    routing.set_up(link.index)?;
    Ok(link)
}

/// Whether a bridge has what pods of IPv6 need: it may have been made before the cluster had any.
fn is_addressed(conf: &Conf, routing: &mut Routing, bridge: &Link) -> Result<bool, Fault> {
    for range in conf.ranges().filter(|range| range.family == Family::Six) {
        let own = range.pod(range.gateway());
        let all = routing.addresses(range.family)?;
        if !all.iter().any(|known| known.link == bridge.index && known.net == own) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The table of each family with the ports of all pods that have an address, in one transaction each.
pub(super) fn table(conf: &Conf, leases: &Leases) -> Result<(), Fault> {
    let all = leases.all().map_err(|error| Fault::io("read addresses", &error))?;
    for range in conf.ranges() {
        let mut batch = Batch::on(range.family, &conf.table);
        ports::build(&mut batch, conf, &range);
        for lease in all.iter().filter(|lease| range.family.has(lease.address)) {
            let mappings: Vec<PortMapping> = serde_json::from_slice(&leases.note(lease)).unwrap_or_default();
            ports::add(&mut batch, lease.address, &mappings)?;
        }
        Tables::open()?.commit("make the pods' table", batch)?;
    }
    Ok(())
}

/// The table again, if there is a bridge but no table.
pub(super) fn repair(conf: &Conf) -> Result<(), Fault> {
    let mut tables = Tables::open()?;
    let mut missing = false;
    for range in conf.ranges() {
        missing |= !tables.exists(range.family, &conf.table)?;
    }
    if !missing || Routing::open()?.link(&conf.bridge)?.is_none() {
        return Ok(());
    }
    let leases = Leases::lock(&conf.folder()).map_err(|error| Fault::io("lock addresses", &error))?;
    table(conf, &leases)
}

/// Removes everything the plugin made on this node but the pods' own namespaces.
pub(crate) fn forget_all(config: &Config) -> Result<(), crate::Error> {
    let mut routing = Routing::open()?;
    if let Some(bridge) = routing.link(&config.bridge)? {
        for port in routing.links()?.into_iter().filter(|link| link.master == bridge.index) {
            routing.delete_link(&port.name)?;
        }
        routing.delete_link(&config.bridge)?;
    }
    Tables::open()?.remove_all(&config.table)?;
    remove_folder(&folder(&config.data_dir, &config.name))
}

fn remove_folder(path: &Path) -> Result<(), crate::Error> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(crate::Error::File { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}
