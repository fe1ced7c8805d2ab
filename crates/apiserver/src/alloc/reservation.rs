//! What one write takes from the pools and will let go of; undone unless committed.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use parking_lot::Mutex;
use skiff_api::ApiError;
use skiff_api::errors::{Errors, Fault};
use skiff_store::{Expect, Refused};

use super::families::Family;
use super::plan::Needs;
use super::{Pools, Taken, records};
use crate::kinds::Frozen;
use crate::registry::Scope;
use crate::stored::{Change, Stored};

/// What a write took and will let go of; undone unless committed.
#[must_use]
pub(crate) struct Reservation {
    pools: Arc<Mutex<Pools>>,
    owner: Arc<str>,
    /// Whether addresses are told by objects of their own.
    recorded: bool,
    taken: Taken,
    released: Taken,
}

impl Reservation {
    /// Nothing yet, for a service.
    pub(super) fn of_service(pools: &Arc<Mutex<Pools>>, owner: Arc<str>) -> Self {
        let (pools, taken, released) = (Arc::clone(pools), Taken::default(), Taken::default());
        Self { pools, owner, recorded: true, taken, released }
    }

    /// Nothing yet, for an IPAddress.
    pub(super) fn of_record(pools: &Arc<Mutex<Pools>>, owner: Arc<str>) -> Self {
        let mut nothing = Self::of_service(pools, owner);
        nothing.recorded = false;
        nothing
    }

    /// Takes an address, wherever it is; false if somebody has it.
    pub(super) fn hold(&mut self, address: IpAddr) -> bool {
        let free = self.pools.lock().addresses.hold(address, &self.owner).is_ok();
        self.taken.addresses.extend(free.then_some(address));
        free
    }

    /// Once committed, what was held before and is not held any more goes back, as far as it was the owner's.
    pub(super) fn lets_go_of(&mut self, before: Taken, after: &Taken) {
        let pools = self.pools.lock();
        let own = |ip: &IpAddr| pools.addresses.owner(*ip).is_some_and(|owner| *owner == self.owner);
        let addresses = before.addresses.into_iter();
        let ports = before.ports.into_iter();
        let released = Taken {
            addresses: addresses.filter(|ip| !after.addresses.contains(ip) && own(ip)).collect(),
            ports: ports.filter(|port| !after.ports.contains(port)).collect(),
        };
        drop(pools);
        self.released = released;
    }

    /// Writes the object and, in the same commit, which addresses it has.
    pub(crate) async fn put(
        &self,
        scope: &Scope<'_>,
        name: &str,
        expect: Expect,
        frozen: Box<dyn Frozen>,
        change: Change,
    ) -> Result<Arc<Stored>, Refused<Stored>> {
        let refused = || expect == Expect::Absent && scope.api.store.get(&scope.key(name)).is_some();
        if !self.recorded || self.taken.addresses.is_empty() || refused() {
            return scope.put(name, expect, frozen, change).await;
        }
        Box::pin(self.put_recorded(scope, name, expect, frozen, change)).await
    }

    async fn put_recorded(
        &self,
        scope: &Scope<'_>,
        name: &str,
        expect: Expect,
        frozen: Box<dyn Frozen>,
        change: Change,
    ) -> Result<Arc<Stored>, Refused<Stored>> {
        let addresses = &self.taken.addresses;
        let add = |address: &IpAddr| records::add(scope.api, *address, scope.namespace, name);
        // The records are taken up first, so that nobody sees the service without them.
        let recorded = futures::future::join_all(addresses.iter().map(add));
        let (recorded, stored) = futures::join!(recorded, scope.put(name, expect, frozen, change));
        if stored.is_err() {
            for address in addresses {
                records::remove(scope.api, *address).await;
            }
        } else if let Some(error) = recorded.into_iter().find_map(Result::err) {
            tracing::warn!(service = name, %error, "an address' object was not written; it will be mended");
        }
        stored
    }

    /// The write succeeded.
    pub(crate) async fn commit(mut self, scope: &Scope<'_>) {
        // From here on, whatever happens, what is let go of goes back: that is what dropping does.
        self.taken = std::mem::take(&mut self.released);
        if self.recorded && !self.taken.addresses.is_empty() {
            let addresses = &self.taken.addresses;
            let removed = addresses.iter().map(|address| records::remove(scope.api, *address));
            Box::pin(futures::future::join_all(removed)).await;
        }
    }

    /// Gives the addresses that are needed: one of each of the service's families.
    ///
    /// # Errors
    /// 500 if there is none left; what is wrong with one asked for goes to `errors`.
    pub(super) fn addresses(
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
        let asked = spec.cluster_ips.clone().unwrap_or_default();
        let mut pools = self.pools.lock();
        let Pools { ranges, addresses, .. } = &mut *pools;
        let mut given = Vec::new();
        for (index, family) in
            spec.ip_families.iter().flatten().filter_map(|word| Family::read(word)).enumerate()
        {
            let wanted = asked.get(index).and_then(|text| text.parse::<IpAddr>().ok());
            if let Some(kept) = wanted.filter(|wanted| before.addresses.contains(wanted)) {
                given.push(kept.to_string());
                continue;
            }
            let address = match wanted {
                None => addresses
                    .any(&ranges.of(family), &self.owner)
                    .ok_or_else(|| ApiError::internal("failed to allocate a serviceIP: range is full"))?,
                Some(wanted) => {
                    if let Err(why) = addresses.take(wanted, ranges.ready(), &self.owner) {
                        let shown = serde_json::to_string(&asked).unwrap_or_default();
                        let why = format!("failed to allocate IP {wanted}: {why}");
                        errors.push(Fault::Invalid, "spec.clusterIPs", shown, why);
                        return Ok(());
                    }
                    wanted
                }
            };
            self.taken.addresses.push(address);
            given.push(address.to_string());
        }
        spec.cluster_ip = given.first().cloned();
        spec.cluster_ips = Some(given);
        Ok(())
    }

    /// Gives the ports that are needed.
    ///
    /// # Errors
    /// As for addresses.
    pub(super) fn ports(
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
