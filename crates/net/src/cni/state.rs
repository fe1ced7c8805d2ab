//! The bridge and table that all pods of a node share: made with the first pod, removed with the node.

use std::path::Path;

use ipnet::Ipv4Net;

use super::alloc::Leases;
use super::conf::{Conf, Config, PortMapping, folder};
use super::{Fault, ports};
use crate::netlink::nft::{Batch, Tables};
use crate::netlink::route::{Link, Routing, hardware_address};
use crate::sysctl;

/// The bridge, made complete if it is not there. Called under the folder's lock, so nobody sees half of it.
pub(super) fn bridge(conf: &Conf, routing: &mut Routing, leases: &Leases) -> Result<Link, Fault> {
    if let Some(link) = routing.link(&conf.bridge)?
        && link.up
    {
        return Ok(link);
    }
    let mtu = if conf.mtu == 0 { routing.mtu_outside()? } else { conf.mtu };
    match routing.add_bridge(&conf.bridge, mtu, hardware_address(conf.gateway())) {
        Err(error) if !error.exists() => return Err(error.into()),
        _ => {}
    }
    let link = routing
        .link(&conf.bridge)?
        .ok_or_else(|| Fault::new(100, format!("bridge {} vanished while it was made", conf.bridge)))?;
    let address = Ipv4Net::new(conf.gateway(), conf.range().prefix_len()).unwrap_or(conf.range());
    routing.add_address(link.index, address)?;
    let switch = |name: &str, value: &str| {
        sysctl::set(name, value).map_err(|error| Fault::io(format!("set net/{name}"), &error))
    };
    sysctl::forward().map_err(|error| Fault::io("let packets pass", &error))?;
    switch(&format!("ipv4/conf/{}/route_localnet", conf.bridge), "1")?;
    switch(&format!("ipv6/conf/{}/accept_dad", conf.bridge), "0")?;
    table(conf, leases)?;
    // Up comes last: a bridge that is up is complete, whenever we crashed.
    routing.set_up(link.index)?;
    Ok(link)
}

/// The table with the ports of all pods that have an address, in one transaction.
pub(super) fn table(conf: &Conf, leases: &Leases) -> Result<(), Fault> {
    let mut batch = Batch::on(&conf.table);
    ports::build(&mut batch, conf);
    let all = leases.all().map_err(|error| Fault::io("read addresses", &error))?;
    for lease in all {
        let mappings: Vec<PortMapping> = serde_json::from_slice(&leases.note(&lease)).unwrap_or_default();
        ports::add(&mut batch, lease.address, &mappings)?;
    }
    Tables::open()?.commit("make the pods' table", batch)?;
    Ok(())
}

/// The table again, if there is a bridge but no table.
pub(super) fn repair(conf: &Conf) -> Result<(), Fault> {
    let mut tables = Tables::open()?;
    if tables.exists(&conf.table)? || Routing::open()?.link(&conf.bridge)?.is_none() {
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
    Tables::open()?.remove(&config.table)?;
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
