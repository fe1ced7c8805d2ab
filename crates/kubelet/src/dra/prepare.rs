//! A pod's claims made ready and taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::ResourceClaim;
use skiff_api::pod::claims;

use super::Devices;
use super::drivers::Driver;
use super::proto::{self, Claim};
use super::record::{Device, Held, Table};
use crate::cluster::{Cluster, ClusterError};
use crate::pod::{name, namespace, uid};

/// What each driver is asked about.
type Batches = BTreeMap<String, Vec<Claim>>;

/// The claims behind a pod's, and whether each must have been made for it.
fn named(pod: &Pod) -> Result<Vec<(&str, bool)>, String> {
    let mut all = Vec::new();
    for claim in claims::of(pod) {
        let name = claims::name(pod, claim).map_err(|error| error.to_string())?;
        all.extend(name.text().map(|text| (text, matches!(name, claims::Name::Made(_)))));
    }
    all.extend(claims::extended(pod).map(|name| (name, false)));
    Ok(all)
}

/// The drivers of a claim that the pod may use.
fn usable(pod: &Pod, claim: &ResourceClaim, own: bool) -> Result<BTreeSet<String>, String> {
    if own {
        claims::is_for(claim, pod).map_err(|error| error.to_string())?;
    }
    let called = claim.metadata.name.as_deref().unwrap_or_default();
    if !claims::is_reserved_for(claim, pod) {
        let claim_uid = claim.metadata.uid.as_deref().unwrap_or_default();
        let (pod, pod_uid) = (name(pod), uid(pod));
        return Err(format!(
            "pod {pod} ({pod_uid}) is not allowed to use ResourceClaim {called} ({claim_uid})"
        ));
    }
    let allocation = claim.status.as_ref().and_then(|status| status.allocation.as_ref());
    let allocation = allocation.ok_or_else(|| format!("ResourceClaim {called}: not allocated"))?;
    let results = allocation.devices.iter().flat_map(|devices| devices.results.iter().flatten());
    Ok(results.map(|result| result.driver.clone()).collect())
}

fn message(held: &Held) -> Claim {
    Claim { namespace: held.namespace.clone(), uid: held.uid.clone(), name: held.name.clone() }
}

/// Says that a pod uses a claim; which claim is to be prepared, if it has not been.
fn enter(
    table: &mut Table,
    pod: &Pod,
    claim: &ResourceClaim,
    drivers: &BTreeSet<String>,
) -> Result<Option<Claim>, String> {
    let meta = &claim.metadata;
    let (called, own) = (meta.name.clone().unwrap_or_default(), meta.uid.clone().unwrap_or_default());
    let key = format!("{}/{called}", namespace(pod));
    if let Some(held) = table.claims.get(&key).filter(|held| held.uid != own) {
        return Err(format!(
            "old ResourceClaim with same name {called} and different UID {} still exists (previous pod force-deleted?!)",
            held.uid
        ));
    }
    let held = table.claims.entry(key).or_insert_with(|| Held {
        namespace: namespace(pod).to_owned(),
        name: called,
        uid: own,
        drivers: drivers.iter().map(|driver| (driver.clone(), Vec::new())).collect(),
        ..Held::default()
    });
    held.pods.insert(uid(pod).to_owned());
    Ok((!held.prepared).then(|| message(held)))
}

/// What a driver said about each claim, if it said something about all.
fn answered<T>(
    call: &str,
    asked: &[Claim],
    answer: impl IntoIterator<Item = (String, T)>,
    error: impl Fn(&T) -> &str,
) -> Result<Vec<(Claim, T)>, String> {
    let mut told = Vec::new();
    for (uid, one) in answer {
        let claim = asked.iter().find(|claim| claim.uid == uid);
        let claim = claim.ok_or_else(|| format!("{call} returned result for unknown claim UID {uid}"))?;
        if !error(&one).is_empty() {
            return Err(format!("{call} failed for ResourceClaim {}: {}", claim.name, error(&one)));
        }
        told.push((claim.clone(), one));
    }
    match asked.len() - told.len() {
        0 => Ok(told),
        missing => Err(format!("{call} skipped {missing} ResourceClaims")),
    }
}

fn device(told: proto::Device) -> Device {
    Device {
        pool_name: told.pool_name,
        device_name: told.device_name,
        share_id: told.share_id,
        request_names: told.request_names,
        cdi: told.cdi_device_ids,
    }
}

impl Devices {
    /// Has all of a pod's claims prepared. Nothing is written down before it is sure that every driver can be asked: so
    /// a pod that never could begin can go without them.
    ///
    /// # Errors
    /// In upstream's words.
    pub(crate) async fn prepare(&self, cluster: &dyn Cluster, pod: &Pod) -> Result<(), String> {
        let mut found: Vec<(ResourceClaim, BTreeSet<String>)> = Vec::new();
        let mut drivers: BTreeMap<String, Arc<Driver>> = BTreeMap::new();
        for (called, own) in named(pod)? {
            let claim = cluster.resource_claim(namespace(pod), called).await;
            let claim =
                claim.map_err(|error: ClusterError| format!("fetch ResourceClaim {called}: {error}"))?;
            let of = usable(pod, &claim, own)?;
            for driver in &of {
                if !drivers.contains_key(driver) {
                    drivers.insert(driver.clone(), self.inner.drivers.find(driver)?);
                }
            }
            found.push((claim, of));
        }
        let key = |claim: &ResourceClaim| {
            format!("{}/{}", namespace(pod), claim.metadata.name.as_deref().unwrap_or_default())
        };
        let _turns = self.turns(found.iter().map(|(claim, _)| key(claim)).collect()).await;
        let (batches, begun) = self
            .change(|table| {
                let (mut batches, mut begun) = (Batches::new(), Vec::new());
                for (claim, drivers) in &found {
                    let Some(wanted) = enter(table, pod, claim, drivers)? else { continue };
                    begun.push(key(claim));
                    for driver in drivers {
                        batches.entry(driver.clone()).or_default().push(wanted.clone());
                    }
                }
                Ok((batches, begun))
            })
            .await?;
        if begun.is_empty() {
            return Ok(());
        }
        let mut told = Vec::new();
        for (name, asked) in batches {
            let Some(driver) = drivers.get(&name) else { continue };
            let answer = driver.prepare(asked.clone()).await;
            let answer = answer.map_err(|error| format!("NodePrepareResources: {error}"))?;
            let claims = answered("NodePrepareResources", &asked, answer.claims, |claim| &claim.error)?;
            told.extend(claims.into_iter().map(|(claim, given)| (name.clone(), claim, given.devices)));
        }
        self.change(|table| {
            for (driver, claim, devices) in told {
                if let Some(held) = table.claims.get_mut(&format!("{}/{}", claim.namespace, claim.name)) {
                    held.drivers.insert(driver, devices.into_iter().map(device).collect());
                }
            }
            for key in &begun {
                table.claims.entry(key.clone()).and_modify(|held| held.prepared = true);
            }
            Ok(())
        })
        .await
    }

    /// Has the claims unprepared that no other pod of this node uses than this one.
    ///
    /// # Errors
    /// In upstream's words.
    pub(crate) async fn unprepare(&self, pod: &str) -> Result<(), String> {
        let keys = self.inner.table.lock().await.of_pod(pod);
        if keys.is_empty() {
            return Ok(());
        }
        let _turns = self.turns(keys.clone()).await;
        let (last, batches) = {
            let table = self.inner.table.lock().await;
            let (mut last, mut batches) = (BTreeSet::new(), Batches::new());
            for (key, held) in keys.iter().filter_map(|key| Some((key, table.claims.get(key)?))) {
                if held.pods.iter().any(|other| other != pod) {
                    continue;
                }
                last.insert(key.clone());
                for driver in held.drivers.keys() {
                    batches.entry(driver.clone()).or_default().push(message(held));
                }
            }
            (last, batches)
        };
        for (name, asked) in batches {
            let answer = self.inner.drivers.find(&name)?.unprepare(asked.clone()).await;
            let answer = answer.map_err(|error| format!("NodeUnprepareResources: {error}"))?;
            answered("NodeUnprepareResources", &asked, answer.claims, |claim| &claim.error)?;
        }
        self.change(|table| {
            table.claims.retain(|key, held| {
                if keys.contains(key) {
                    held.pods.remove(pod);
                }
                !last.contains(key)
            });
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(name: &str, uid: &str, status: &str) -> ResourceClaim {
        let text = format!("{{metadata: {{name: {name}, namespace: n, uid: {uid}}}, status: {{{status}}}}}");
        serde_saphyr::from_str(&text).unwrap()
    }

    fn pod() -> Pod {
        serde_saphyr::from_str("{metadata: {name: p, namespace: n, uid: u}, spec: {containers: []}}").unwrap()
    }

    #[test]
    fn a_claim_is_usable_when_it_is_the_pods_reserved_for_it_and_allocated() {
        let reserved = "reservedFor: [{resource: pods, name: p, uid: u}]";
        let results = "allocation: {devices: {results: [{driver: a.test, device: d, pool: p, request: r}]}}";
        let told = |status: &str, own: bool| usable(&pod(), &claim("c", "v", status), own);
        assert_eq!(told("", false).unwrap_err(), "pod p (u) is not allowed to use ResourceClaim c (v)");
        assert_eq!(told(reserved, false).unwrap_err(), "ResourceClaim c: not allocated");
        let all = format!("{reserved}, {results}");
        assert_eq!(told(&all, false).unwrap(), ["a.test".to_owned()].into());
        let foreign = "ResourceClaim n/c was not created for Pod n/p (Pod is not owner)";
        assert_eq!(told(&all, true).unwrap_err(), foreign);
    }

    #[test]
    fn a_claim_is_prepared_once_and_another_of_its_name_waits_for_its_end() {
        let mut table = Table::default();
        let drivers = ["a.test".to_owned()].into();
        let first = enter(&mut table, &pod(), &claim("c", "v", ""), &drivers).unwrap();
        assert_eq!(first.unwrap().uid, "v");
        table.claims.get_mut("n/c").unwrap().prepared = true;
        assert_eq!(enter(&mut table, &pod(), &claim("c", "v", ""), &drivers), Ok(None));
        let error = enter(&mut table, &pod(), &claim("c", "w", ""), &drivers).unwrap_err();
        assert!(error.starts_with("old ResourceClaim with same name c and different UID v still exists"));
    }

    #[test]
    fn a_driver_must_say_something_good_about_every_claim() {
        let asked = [message(&Held { uid: "v".to_owned(), name: "c".to_owned(), ..Held::default() })];
        let told = |answer: &[(&str, &str)]| {
            let answer = answer.iter().map(|(uid, error)| ((*uid).to_owned(), (*error).to_owned()));
            answered("Call", &asked, answer.collect::<Vec<_>>(), |error| error).map(|all| all.len())
        };
        assert_eq!(told(&[("v", "")]), Ok(1));
        assert_eq!(told(&[]).unwrap_err(), "Call skipped 1 ResourceClaims");
        assert_eq!(told(&[("w", "")]).unwrap_err(), "Call returned result for unknown claim UID w");
        assert_eq!(told(&[("v", "broken")]).unwrap_err(), "Call failed for ResourceClaim c: broken");
    }
}
