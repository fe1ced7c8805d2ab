//! Addresses and ports of services: given out once, taken back when their service lets go of them.
//!
//! What is given out is kept in memory, rebuilt from the stored services at the start: the services are the truth.
//! A write reserves first; the reservation is kept by a successful write and undone by any other end, so a failed
//! create leaks nothing.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use parking_lot::Mutex;
use skiff_api::errors::{Errors, Fault};
use skiff_api::{ApiError, Object};

use self::ip::Addresses;
use self::plan::Needs;
use self::port::Ports;
use crate::catalog::Entry;
use crate::kinds::Draft;

mod ip;
mod plan;
mod port;

/// What services have been given.
pub(crate) struct Alloc {
    pools: Arc<Mutex<Pools>>,
}

struct Pools {
    addresses: Addresses,
    ports: Ports,
}

/// What a write took and will let go of; undone unless committed.
#[must_use]
pub(crate) struct Reservation {
    pools: Arc<Mutex<Pools>>,
    owner: Arc<str>,
    taken: Taken,
    released: Taken,
}

/// Addresses and ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Taken {
    addresses: Vec<IpAddr>,
    ports: Vec<i32>,
}

impl Taken {
    /// What a stored service holds.
    fn of(service: &Service) -> Self {
        let Some(spec) = &service.spec else { return Self::default() };
        let parse = |text: &String| text.parse().ok();
        let mut addresses: Vec<IpAddr> = spec.cluster_ips.iter().flatten().filter_map(parse).collect();
        addresses.extend(
            spec.cluster_ip.iter().filter_map(parse).filter(|ip| !addresses.contains(ip)).collect::<Vec<_>>(),
        );
        let mut ports: Vec<i32> = spec.ports.iter().flatten().filter_map(|port| port.node_port).collect();
        ports.extend(spec.health_check_node_port);
        ports.retain(|port| *port != 0);
        ports.sort_unstable();
        ports.dedup();
        Self { addresses, ports }
    }
}

impl Alloc {
    /// Pools from which nothing has been given.
    pub(crate) fn new(services: IpNet, node_ports: std::ops::RangeInclusive<u16>) -> Self {
        let pools = Pools { addresses: Addresses::new(services), ports: Ports::new(node_ports) };
        Self { pools: Arc::new(Mutex::new(pools)) }
    }

    /// The range of service addresses.
    pub(crate) fn range(&self) -> IpNet {
        self.pools.lock().addresses.range()
    }

    /// The first address of the range: the `kubernetes` service's.
    pub(crate) fn first(&self) -> Option<IpAddr> {
        self.pools.lock().addresses.first()
    }

    /// Marks what a stored service holds; at the start.
    pub(crate) fn restore(&self, object: &Object) {
        let Ok(service) = object.decode::<Service>() else { return };
        let owner = Arc::clone(&object.meta().uid);
        let held = Taken::of(&service);
        let mut pools = self.pools.lock();
        for address in &held.addresses {
            if let Err(why) = pools.addresses.take(*address, &owner) {
                tracing::warn!(service = %owner, %address, %why, "a stored service's address is not its own");
            }
        }
        for port in &held.ports {
            if let Err(why) = pools.ports.take(*port, &owner) {
                tracing::warn!(service = %owner, port, %why, "a stored service's node port is not its own");
            }
        }
    }

    /// Gives `draft` what it lacks, if it is a service.
    ///
    /// # Errors
    /// 422 for what is taken or out of range, 500 if a pool is empty.
    pub(crate) fn begin(
        &self,
        entry: &Entry,
        draft: &mut dyn Draft,
        old: Option<&dyn Draft>,
    ) -> Result<Reservation, ApiError> {
        let meta = draft.meta();
        let name = meta.name.clone().unwrap_or_default();
        // Names may be generated anew while a create is tried; uids stay.
        let owner: Arc<str> = old.map_or(meta, |old| old.meta()).uid.as_deref().unwrap_or_default().into();
        let mut reservation = Reservation {
            pools: Arc::clone(&self.pools),
            owner,
            taken: Taken::default(),
            released: Taken::default(),
        };
        let Some(service) = draft.as_any_mut().downcast_mut::<Service>() else { return Ok(reservation) };
        let old = old.and_then(|old| old.as_any().downcast_ref::<Service>());
        let needs = Needs::of(service, old);
        let before = old.map(Taken::of).unwrap_or_default();
        let mut errors = Errors::new();
        reservation.addresses(service, &needs, &before, &mut errors)?;
        reservation.ports(service, &needs, &before, &mut errors)?;
        if !errors.is_empty() {
            return Err(entry.invalid(&name, errors));
        }
        let after = Taken::of(service);
        reservation.released = Taken {
            addresses: before.addresses.into_iter().filter(|ip| !after.addresses.contains(ip)).collect(),
            ports: before.ports.into_iter().filter(|port| !after.ports.contains(port)).collect(),
        };
        Ok(reservation)
    }

    /// Takes back what a deleted service held.
    pub(crate) fn forget(&self, _entry: &Entry, gone: &dyn Draft) {
        let Some(service) = gone.as_any().downcast_ref::<Service>() else { return };
        let owner = gone.meta().uid.as_deref().unwrap_or_default();
        self.pools.lock().release(&Taken::of(service), owner);
    }
}

impl Pools {
    fn release(&mut self, taken: &Taken, owner: &str) {
        taken.addresses.iter().for_each(|address| self.addresses.release(*address, owner));
        taken.ports.iter().for_each(|port| self.ports.release(*port, owner));
    }
}

impl Reservation {
    /// The write succeeded.
    pub(crate) fn commit(mut self) {
        self.taken = Taken::default();
        let released = std::mem::take(&mut self.released);
        self.pools.lock().release(&released, &self.owner);
    }

    fn addresses(
        &mut self,
        service: &mut Service,
        needs: &Needs,
        before: &Taken,
        errors: &mut Errors,
    ) -> Result<(), ApiError> {
        let Some(spec) = service.spec.as_mut() else { return Ok(()) };
        if !needs.address {
            return Ok(());
        }
        let wanted = spec.cluster_ip.clone().unwrap_or_default();
        let mut pools = self.pools.lock();
        let address = if wanted.is_empty() {
            pools
                .addresses
                .any(&self.owner)
                .ok_or_else(|| ApiError::internal("failed to allocate a serviceIP: range is full"))?
        } else {
            let Ok(address) = wanted.parse::<IpAddr>() else { return Ok(()) };
            if before.addresses.contains(&address) {
                return Ok(());
            }
            if let Err(why) = pools.addresses.take(address, &self.owner) {
                let shown = serde_json::to_string(&[&wanted]).unwrap_or_default();
                let why = format!("failed to allocate IP {wanted}: {why}");
                errors.push(Fault::Invalid, "spec.clusterIPs", shown, why);
                return Ok(());
            }
            address
        };
        self.taken.addresses.push(address);
        spec.cluster_ip = Some(address.to_string());
        spec.cluster_ips = Some(vec![address.to_string()]);
        Ok(())
    }

    fn ports(
        &mut self,
        service: &mut Service,
        needs: &Needs,
        before: &Taken,
        errors: &mut Errors,
    ) -> Result<(), ApiError> {
        let Some(spec) = service.spec.as_mut() else { return Ok(()) };
        if !needs.node_ports {
            return Ok(());
        }
        let mut pools = self.pools.lock();
        let full = || ApiError::internal("failed to allocate a nodePort: range is full");
        // What is asked for by number comes first, lest it be given to a port that asks for none in particular.
        let held = |taken: &Taken, port: i32| before.ports.contains(&port) || taken.ports.contains(&port);
        for (index, port) in spec.ports.iter().flatten().enumerate() {
            let Some(number) = port.node_port.filter(|number| *number != 0) else { continue };
            if held(&self.taken, number) {
                continue;
            }
            match pools.ports.take(number, &self.owner) {
                Ok(()) => self.taken.ports.push(number),
                Err(why) => {
                    errors.at("spec", |errors| {
                        errors.item("ports", index, |errors| {
                            errors.invalid("nodePort", &number, why.to_string())
                        });
                    });
                }
            }
        }
        for port in spec.ports.iter_mut().flatten() {
            if port.node_port.unwrap_or(0) == 0 {
                let number = pools.ports.any(&self.owner).ok_or_else(full)?;
                self.taken.ports.push(number);
                port.node_port = Some(number);
            }
        }
        if needs.health_check_port {
            match spec.health_check_node_port.unwrap_or(0) {
                0 => {
                    let number = pools.ports.any(&self.owner).ok_or_else(full)?;
                    self.taken.ports.push(number);
                    spec.health_check_node_port = Some(number);
                }
                number if held(&self.taken, number) => {}
                number => match pools.ports.take(number, &self.owner) {
                    Ok(()) => self.taken.ports.push(number),
                    Err(why) => errors.invalid("spec.healthCheckNodePort", &number, why.to_string()),
                },
            }
        }
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.pools.lock().release(&self.taken, &self.owner);
    }
}

#[cfg(test)]
mod tests;
