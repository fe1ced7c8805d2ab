//! The service proxy: keeps the node's nftables in step with the model, a table for each family of addresses.
//!
//! [`plan`] says what elements a service needs, [`crate::ledger`] what differs from what is there, [`table`] how the kernel
//! uses them, and this file waits, commits and repairs. On start the table is replaced in one transaction: packets see
//! the old rules or the new, and flows go on because conntrack remembers them. On stop the rules stay, since the pods do.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use skiff_base::task::{Policy, Tasks};
use skiff_base::{Backoff, Latch};

use crate::Error;
use crate::family::Family;
use crate::follow::{Reader, Services};
use crate::ledger::{Difference, Ledger, Set as _};
use crate::model::{Key, Reach};
use crate::netlink::conntrack;
use crate::netlink::nft::Tables;
use crate::netlink::route::Routing;
use crate::netlink::watch::Removals;
use crate::proxy::plan::{Place, Wanted};
use crate::proxy::table::{Layout, SetId};

mod plan;
mod table;
#[cfg(test)]
mod tests;

/// What the proxy needs to know of its node.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// The model it reads.
    pub services: Services,
    /// The node's name: which endpoints are near.
    pub node_name: String,
    /// All pods' ranges, at most one of a family: who is inside.
    pub cluster_cidrs: Vec<IpNet>,
    /// The families of services' addresses.
    pub families: Vec<Family>,
    /// The nftables table, one of each family.
    pub table: String,
    /// Cluster addresses that a program of this node answers on; left alone. The cluster DNS addresses are such.
    pub own_addresses: Vec<IpAddr>,
}

/// The proxy, wired but not running.
#[derive(Debug)]
pub struct Proxy {
    reader: Reader,
    ready: Latch,
    place: Place,
    kernels: Vec<Kernel>,
}

/// The part that talks to the kernel about one family; blocking.
#[derive(Debug)]
struct Kernel {
    layout: Layout,
    ledger: Ledger<SetId>,
    broken: bool,
}

impl Proxy {
    /// Wires the proxy; nothing is touched yet.
    pub fn build(options: ProxyOptions) -> Self {
        let kernel = |family: &Family| {
            let inside = options.cluster_cidrs.iter().find(|net| family.holds(net)).copied();
            let layout = Layout::new(*family, options.table.clone(), inside);
            Kernel { layout, ledger: Ledger::default(), broken: true }
        };
        Self {
            reader: options.services.reader(),
            ready: Latch::new(),
            kernels: options.families.iter().map(kernel).collect(),
            place: Place { node: options.node_name, own: options.own_addresses },
        }
    }

    /// Opens once the first rules are in place.
    pub fn ready(&self) -> Latch {
        self.ready.clone()
    }

    /// Runs until the group stops.
    pub fn run(self, tasks: &Tasks) {
        let token = tasks.token().clone();
        tasks.spawn("proxy", Policy::Essential, async move {
            tokio::select! {
                () = token.cancelled() => Ok(()),
                result = self.work() => result,
            }
        });
    }

    async fn work(mut self) -> Result<(), Error> {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(10));
        let removals = Removals::open()?;
        let table = self.kernels.first().map(|kernel| kernel.layout.table().to_owned()).unwrap_or_default();
        loop {
            let changed = tokio::select! {
                changes = self.reader.next() => changes.services,
                gone = removals.of(&table) => {
                    gone?;
                    Vec::new()
                }
            };
            // Before the first list there is nothing to repair, and half a list would cut services off.
            if !self.reader.started() {
                continue;
            }
            let start = Instant::now();
            let mut pending: Vec<Vec<(Key, Wanted)>> =
                self.kernels.iter().map(|kernel| self.wanted(kernel.layout.family(), &changed)).collect();
            loop {
                let mut kernels = self.kernels;
                let work = std::mem::take(&mut pending);
                let (kernels, result) = tokio::task::spawn_blocking(move || {
                    let mut work = work.into_iter();
                    let each = kernels.iter_mut().map(|kernel| kernel.apply(work.next().unwrap_or_default()));
                    // One that fails keeps no other from what it has to do.
                    let result = each.fold(Ok(()), Result::and);
                    (kernels, result)
                })
                .await
                .map_err(|error| Error::system("apply rules")(std::io::Error::other(error)))?;
                self.kernels = kernels;
                match result {
                    Ok(()) => break,
                    Err(error) => {
                        let delay = backoff.next_delay();
                        tracing::error!(%error, ?delay, "service rules could not be written, will write all anew");
                        tokio::time::sleep(delay).await;
                    }
                }
            }
            backoff.reset();
            self.ready.open();
            tracing::debug!(services = changed.len(), took = ?start.elapsed(), "service rules written");
        }
    }

    /// What changed services want of a family's table.
    fn wanted(&self, family: Family, changed: &[(Key, Option<Reach>)]) -> Vec<(Key, Wanted)> {
        let wanted = |reach: &Option<Reach>| {
            reach.as_ref().map(|reach| plan::plan(reach, &self.place, family)).unwrap_or_default()
        };
        changed.iter().map(|(key, reach)| (Key::clone(key), wanted(reach))).collect()
    }
}

impl Kernel {
    /// Makes the kernel's rules those wanted; after a failure the next call writes everything anew.
    fn apply(&mut self, wanted: Vec<(Key, Wanted)>) -> Result<(), Error> {
        let mut difference = Difference::default();
        let mut udp = HashMap::new();
        for (service, wanted) in wanted {
            udp.extend(wanted.udp.iter().map(|(face, targets)| (*face, targets.clone())));
            self.ledger.set(&service, wanted.elements, &mut difference);
        }
        let mut tables = Tables::open().inspect_err(|_| self.broken = true)?;
        if !self.broken
            && difference.is_empty()
            && !tables.exists(self.layout.family(), self.layout.table())?
        {
            tracing::warn!("somebody removed the service rules, writing them anew");
            self.broken = true;
        }
        if !self.broken {
            let mut batch = self.layout.batch();
            let touched = difference.sets();
            let mut known = self.layout.clone();
            known.ensure(&mut batch, touched);
            difference.write(&mut batch);
            let result = if batch.is_empty() { Ok(()) } else { tables.commit("write service rules", batch) };
            match result {
                Ok(()) => self.layout = known,
                Err(error) => {
                    tracing::warn!(%error, "service rules are not as we left them, writing all anew");
                    self.broken = true;
                }
            }
        }
        if self.broken {
            let mut batch = self.layout.batch();
            let mut fresh = self.layout.empty();
            let all = self.ledger.all();
            fresh.create(&mut batch);
            fresh.ensure(&mut batch, Layout::usual().chain(all.keys().copied()));
            for (set, elements) in &all {
                batch.add(&set.name(), elements);
            }
            tables.commit("write all service rules", batch)?;
            self.layout = fresh;
            self.broken = false;
        }
        self.forget_flows(&difference, udp)
    }

    /// Drops UDP flows that lead to endpoints no longer there.
    fn forget_flows(
        &self,
        difference: &Difference<SetId>,
        udp: HashMap<plan::Face, Vec<crate::model::Target>>,
    ) -> Result<(), Error> {
        let faces: HashMap<plan::Face, HashSet<crate::model::Target>> =
            plan::udp_faces(difference, self.layout.family())
                .into_iter()
                .map(|face| {
                    let targets = udp.get(&face).map(|targets| targets.iter().copied().collect());
                    (face, targets.unwrap_or_default())
                })
                .collect();
        if faces.is_empty() {
            return Ok(());
        }
        let family = self.layout.family();
        let mut here = HashSet::new();
        if faces.keys().any(|(address, _)| address.is_unspecified()) {
            here.extend(Routing::open()?.addresses(family)?.into_iter().map(|address| address.net.addr()));
        }
        let dropped = conntrack::flush(family, |flow| {
            let exact = faces.get(&flow.to);
            let node = || faces.get(&(family.unspecified(), flow.to.1)).filter(|_| here.contains(&flow.to.0));
            exact.or_else(node).is_some_and(|targets| !targets.contains(&flow.from))
        });
        match dropped {
            Ok(count) if count > 0 => tracing::debug!(count, "dropped stale UDP flows"),
            Ok(_) => {}
            // The rules are right already; only clients that keep sending to the dead are worse off.
            Err(error) => tracing::warn!(%error, "stale UDP flows could not be dropped"),
        }
        Ok(())
    }
}

/// Removes the proxy's rules.
///
/// # Errors
/// If the kernel refuses.
pub fn cleanup(table: &str) -> Result<(), Error> {
    Ok(Tables::open()?.remove_all(table)?)
}
