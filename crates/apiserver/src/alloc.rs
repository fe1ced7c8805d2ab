//! Addresses and ports of services: given out once, taken back when their service lets go of them.
//!
//! What is given out is kept in memory, rebuilt from the stored services at the start: the services are the truth. A
//! write reserves first; the reservation is kept by a successful write and undone by any other end, so a failed create
//! leaks nothing.
//!
//! Addresses come from the ServiceCIDRs that are ready ([`ranges`]); that they are given is told by IPAddress objects
//! ([`records`]), written in the same commit as their service. [`repair`] mends what a crash or somebody's hand has
//! made of these. Follows upstream's `pkg/registry/core/service/ipallocator`.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::IPAddress;
use parking_lot::Mutex;
use skiff_api::errors::Errors;
use skiff_api::{ApiError, Object};
use skiff_store::Store;

use self::families::Family;
use self::ip::Addresses;
use self::plan::Needs;
use self::port::Ports;
use self::range::Range;
use self::ranges::Ranges;
pub(crate) use self::reservation::Reservation;
use crate::kinds::Draft;
use crate::registry::Scope;
use crate::stored::Stored;

mod families;
mod ip;
mod plan;
mod port;
mod range;
mod ranges;
mod records;
pub(crate) mod repair;
mod reservation;
#[cfg(test)]
mod tests;

/// What services have been given.
pub(crate) struct Alloc {
    /// What the server was started with: a range for each family that services have, the first by default.
    own: Vec<Range>,
    pools: Arc<Mutex<Pools>>,
}

struct Pools {
    ranges: Ranges,
    addresses: Addresses,
    ports: Ports,
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
    pub(crate) fn new(services: &[IpNet], node_ports: std::ops::RangeInclusive<u16>) -> Self {
        let own: Vec<Range> = services.iter().copied().map(Range::new).collect();
        let pools = Pools {
            ranges: Ranges::new(&own),
            addresses: Addresses::default(),
            ports: Ports::new(node_ports),
        };
        Self { own, pools: Arc::new(Mutex::new(pools)) }
    }

    /// The ranges that the server was started with.
    pub(crate) fn ranges(&self) -> Vec<String> {
        self.own.iter().map(|range| range.net().to_string()).collect()
    }

    /// The first address of the first of them: the `kubernetes` service's.
    pub(crate) fn first(&self) -> Option<IpAddr> {
        self.own.first()?.first()
    }

    /// The families that services have.
    fn families(&self) -> Vec<Family> {
        self.own.iter().map(|range| range.family()).collect()
    }

    /// Marks what is given; at the start.
    pub(crate) fn restore(&self, store: &Store<Stored>) {
        for (_, stored) in &store.snapshot("services").objects {
            self.restore_service(stored.object());
        }
        let mut pools = self.pools.lock();
        for (name, stored) in &store.snapshot(records::TABLE).objects {
            // Most are services', which have theirs by now; others keep addresses from being given.
            if let Ok(address) = name.parse() {
                let _is_a_services = pools.addresses.hold(address, &stored.object().meta().uid);
            }
        }
    }

    fn restore_service(&self, object: &Object) {
        let Ok(service) = object.decode::<Service>() else { return };
        let owner = Arc::clone(&object.meta().uid);
        let held = Taken::of(&service);
        let mut pools = self.pools.lock();
        for address in &held.addresses {
            if let Err(why) = pools.addresses.hold(*address, &owner) {
                tracing::warn!(service = %owner, %address, %why, "a stored service's address is not its own");
            }
        }
        for port in &held.ports {
            if let Err(why) = pools.ports.take(*port, &owner) {
                tracing::warn!(service = %owner, port, %why, "a stored service's node port is not its own");
            }
        }
    }

    /// Gives `draft` what it lacks, if it is a service; keeps an address from being given, if it is a new IPAddress.
    ///
    /// # Errors
    /// 422 for what is taken or out of range, 500 if a pool is empty, 409 for an IPAddress of what is given.
    pub(crate) fn begin(
        &self,
        scope: &Scope<'_>,
        draft: &mut dyn Draft,
        old: Option<&dyn Draft>,
    ) -> Result<Reservation, ApiError> {
        let entry = scope.entry;
        let meta = draft.meta();
        let name = meta.name.clone().unwrap_or_default();
        // Names may be generated anew while a create is tried; uids stay.
        let owner: Arc<str> = old.map_or(meta, |old| old.meta()).uid.as_deref().unwrap_or_default().into();
        if old.is_none() && draft.as_any().is::<IPAddress>() {
            let mut reservation = Reservation::of_record(&self.pools, owner);
            return match name.parse().map(|address| reservation.hold(address)) {
                Ok(false) => Err(ApiError::already_exists(&entry.resource, &name)),
                _ => Ok(reservation),
            };
        }
        let mut reservation = Reservation::of_service(&self.pools, owner);
        let Some(service) = draft.as_any_mut().downcast_mut::<Service>() else { return Ok(reservation) };
        let old = old.and_then(|old| old.as_any().downcast_ref::<Service>());
        // What does not change keeps what it has, even if the cluster would not give it any more.
        if old.is_some_and(|old| old.spec == service.spec) {
            return Ok(reservation);
        }
        let needs = Needs::of(service, old);
        let before = old.map(Taken::of).unwrap_or_default();
        let mut errors = Errors::new();
        if let Some(spec) = service.spec.as_mut().filter(|spec| spec.type_.as_deref() != Some("ExternalName"))
        {
            let old = old.and_then(|old| old.spec.as_ref());
            families::settle(spec, old, &self.families(), &mut errors);
        }
        if !errors.is_empty() {
            return Err(entry.invalid(&name, errors));
        }
        if needs.address {
            self.pools.lock().ranges.refresh(&scope.api.store);
        }
        reservation.addresses(service, &needs, &before, &mut errors)?;
        reservation.ports(service, &needs, &before, &mut errors)?;
        if !errors.is_empty() {
            return Err(entry.invalid(&name, errors));
        }
        reservation.lets_go_of(before, &Taken::of(service));
        Ok(reservation)
    }

    /// Takes back what a deleted service or IPAddress held.
    pub(crate) async fn forget(&self, scope: &Scope<'_>, gone: &dyn Draft) {
        let owner: Arc<str> = gone.meta().uid.as_deref().unwrap_or_default().into();
        if let Some(service) = gone.as_any().downcast_ref::<Service>() {
            let mut reservation = Reservation::of_service(&self.pools, owner);
            reservation.lets_go_of(Taken::of(service), &Taken::default());
            reservation.commit(scope).await;
        } else if gone.as_any().is::<IPAddress>()
            && let Some(Ok(address)) = gone.meta().name.as_deref().map(str::parse)
        {
            self.pools.lock().addresses.release(address, &owner);
        }
    }

    /// Whose an address is.
    fn owner(&self, address: IpAddr) -> Option<Arc<str>> {
        self.pools.lock().addresses.owner(address).cloned()
    }

    /// Whether an address lies in any ServiceCIDR, ready or not.
    fn in_range(&self, store: &Store<Stored>, address: IpAddr) -> bool {
        let mut pools = self.pools.lock();
        pools.ranges.refresh(store);
        pools.ranges.all().iter().any(|range| range.holds(address))
    }
}

impl Pools {
    fn release(&mut self, taken: &Taken, owner: &str) {
        taken.addresses.iter().for_each(|address| self.addresses.release(*address, owner));
        taken.ports.iter().for_each(|port| self.ports.release(*port, owner));
    }
}
