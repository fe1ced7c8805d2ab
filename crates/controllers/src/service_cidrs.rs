//! ServiceCIDRs: a finalizer and the condition `Ready` for each; one that is to go stays while an address lies in no
//! other. Follows upstream's `pkg/controller/servicecidrs`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use skiff_api::names::{SERVICE_CIDR_FINALIZER, SERVICE_CIDR_READY};
use skiff_client::Change;
use skiff_client::controller::{Caches, How, Key, Next, Outcome};

use crate::Settings;
use crate::table::{Ctx, Row, on};
use crate::volumes::protection;

pub(crate) const CONTROLLER: Row = Row {
    name: "service-cidrs-controller",
    component: "service-cidrs-controller",
    wakes: &[on::<ServiceCIDR, Overlapping>(), on::<IPAddress, Around>()],
    may: &[("update", "servicecidrs"), ("patch", "servicecidrs/status")],
    workers: 1,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// How long after its deletion nobody can be left who is about to take an address of the range.
const GRACE: Duration = Duration::from_secs(10);
const HELD: &str =
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";

/// The changed range, and those that share addresses with it: what holds one may lie in the other now.
struct Overlapping;

impl How<Settings> for Overlapping {
    fn keys(change: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        let latest = change.latest();
        let mut keys = vec![latest.meta().key().into()];
        if let Ok(changed) = latest.decode::<ServiceCIDR>() {
            let nets = nets(&changed);
            let overlaps = |range: &ServiceCIDR| {
                self::nets(range)
                    .iter()
                    .any(|one| nets.iter().any(|two| contains(one, two) || contains(two, one)))
            };
            keys.extend(ranges(caches).iter().filter(|range| overlaps(range)).map(|range| key(range)));
        }
        keys
    }
}

/// The ranges that the address lies in, if they are on their way out: only these care.
struct Around;

impl How<Settings> for Around {
    fn keys(change: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        let Ok(address) = change.latest().meta().name.parse::<IpAddr>() else { return Vec::new() };
        let cares =
            |range: &&Arc<ServiceCIDR>| range.metadata.deletion_timestamp.is_some() && holds(range, address);
        ranges(caches).iter().filter(cares).map(|range| key(range)).collect()
    }
}

fn key(range: &ServiceCIDR) -> Key {
    Key::new(None, range.metadata.name.as_deref().unwrap_or_default())
}

/// All ranges; they are few.
fn ranges(caches: &Caches) -> Vec<Arc<ServiceCIDR>> {
    caches.of::<ServiceCIDR>().list().iter().filter_map(|object| object.decode().ok()).collect()
}

fn nets(range: &ServiceCIDR) -> Vec<IpNet> {
    let spec = range.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
    spec.filter_map(|text| text.parse().ok()).collect()
}

fn contains(outer: &IpNet, inner: &IpNet) -> bool {
    outer.contains(inner)
}

fn holds(range: &ServiceCIDR, address: IpAddr) -> bool {
    nets(range).iter().any(|net| net.contains(&address))
}

/// Whether all addresses of `range` lie in others too; or, net by net, which of its nets do not.
fn uncovered(range: &ServiceCIDR, others: &[Arc<ServiceCIDR>]) -> Vec<IpNet> {
    let covered =
        |net: &IpNet| others.iter().any(|other| nets(other).iter().any(|outer| outer.contains(net)));
    nets(range).into_iter().filter(|net| !covered(net)).collect()
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(range) = ctx.get::<ServiceCIDR>(&key) else { return Ok(Next::Rest) };
    let Some(deleted) = &range.metadata.deletion_timestamp else {
        protection::set(&ctx, (*range).clone(), SERVICE_CIDR_FINALIZER, true).await?;
        return say(&ctx, &range, None).await;
    };
    if !range.metadata.finalizers.iter().flatten().any(|held| held == SERVICE_CIDR_FINALIZER) {
        return Ok(Next::Rest);
    }
    let mut others = ranges(ctx.caches());
    others.retain(|other| other.metadata.name != range.metadata.name);
    let alone = uncovered(&range, &others);
    let orphan = |address: IpAddr| {
        alone.iter().any(|net| net.contains(&address)) && !others.iter().any(|other| holds(other, address))
    };
    // Names are addresses: nothing has to be decoded. Upstream looks at its own ones only, by their label.
    let held = !alone.is_empty()
        && ctx.cache::<IPAddress>().list().iter().any(|object| {
            let ours = object.meta().labels.get("ipaddress.kubernetes.io/managed-by");
            ours.is_some_and(|ours| &**ours == "ipallocator.k8s.io")
                && object.meta().name.parse().is_ok_and(orphan)
        });
    if held {
        return say(&ctx, &range, Some(("Terminating", HELD))).await;
    }
    let since = ctx.now().duration_since(deleted.0);
    let left = GRACE.saturating_sub(since.try_into().unwrap_or_default());
    if !left.is_zero() {
        return Ok(Next::After(left));
    }
    protection::set(&ctx, (*range).clone(), SERVICE_CIDR_FINALIZER, false).await
}

/// Makes the condition `Ready` say why the range is not, or that it is.
async fn say(ctx: &Ctx, range: &ServiceCIDR, why_not: Option<(&str, &str)>) -> Outcome {
    let (status, (reason, message)) = match why_not {
        Some(why) => ("False", why),
        None => ("True", ("", SERVICE_CIDR_READY)),
    };
    let mut new = range.clone();
    let conditions = new.status.get_or_insert_default().conditions.get_or_insert_default();
    let said = conditions.iter().position(|condition| condition.type_ == "Ready");
    let before = said.map(|at| conditions.remove(at));
    // Who says by another word that it is ready need not be corrected.
    if let Some(before) = &before
        && before.status == status
        && (status == "True" || before.reason == reason)
    {
        return Ok(Next::Rest);
    }
    conditions.push(Condition {
        type_: "Ready".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Time(ctx.clock_seconds()),
        observed_generation: None,
    });
    ctx.patch_status(range, &new).await?;
    Ok(Next::Rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(name: &str, nets: &str) -> Arc<ServiceCIDR> {
        serde_saphyr::from_str::<ServiceCIDR>(&format!(
            "{{metadata: {{name: {name}}}, spec: {{cidrs: [{nets}]}}}}"
        ))
        .map(Arc::new)
        .unwrap()
    }

    #[test]
    fn a_range_is_needed_where_no_other_covers_it() {
        let small = range("small", "10.1.0.0/24");
        let check = |others: &[Arc<ServiceCIDR>], expected: usize| {
            assert_eq!(uncovered(&small, others).len(), expected, "{others:?}");
        };
        check(&[], 1);
        check(&[range("same", "10.1.0.0/24")], 0);
        check(&[range("larger", "10.1.0.0/16")], 0);
        check(&[range("part", "10.1.0.0/25")], 1);
        check(&[range("elsewhere", "'2001:db8::/64'")], 1);
    }
}
