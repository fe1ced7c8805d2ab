//! Telling the server what was decided: claims get their devices and are kept for the pod before the pod is bound.
//!
//! In upstream's order: the finalizer first, so that nobody deletes a claim that has devices, then devices and consumer in one
//! write. Only this file writes claims.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{AllocationResult, DeviceAllocationResult, ResourceClaim};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use parking_lot::Mutex;
use serde_json::json;
use skiff_api::Readable;
use skiff_api::pod::claims::{self, PROTECTION};
use skiff_base::{Backoff, Clock};
use skiff_client::Link;
use skiff_client::write::{self, Patch, Place};

use super::binding::{PATIENCE, Readiness, must_wait, readiness};
use super::wanted::key;
use super::{revision, uid};
use crate::snapshot::Snapshot;

/// How often a write is tried that others get in the way of.
const TRIES: usize = 5;

/// What a pod's claims need before it can be bound to its node.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// All of its claims.
    pub(crate) claims: Vec<Needed>,
}

/// A claim of a pod.
#[derive(Debug)]
pub(crate) struct Needed {
    pub(crate) claim: Arc<ResourceClaim>,
    /// The devices that it gets; absent if it has them already.
    pub(crate) allocation: Option<AllocationResult>,
}

impl Needs {
    /// Whether some of the devices must be made ready before the pod is bound.
    pub(crate) fn must_wait(&self) -> bool {
        let had = |needed: &Needed| needed.claim.status.as_ref().and_then(|status| status.allocation.clone());
        let given = self.claims.iter().filter_map(|needed| needed.allocation.clone().or_else(|| had(needed)));
        given.filter_map(|given| given.devices?.results).flatten().any(|result| must_wait(&result))
    }

    /// What was decided, with the claims as they were then.
    pub(crate) fn decided(&self) -> impl Iterator<Item = (&ResourceClaim, &AllocationResult)> {
        self.claims.iter().filter_map(|needed| Some((&*needed.claim, needed.allocation.as_ref()?)))
    }
}

/// Carries out what a pod's claims need.
pub(crate) struct Hands<'a> {
    pub(crate) link: &'a Link,
    pub(crate) clock: &'a Clock,
    pub(crate) snapshot: &'a Mutex<Snapshot>,
}

impl Hands<'_> {
    /// Gives all claims their devices and keeps them for the pod.
    ///
    /// # Errors
    /// Why the pod cannot go to the node after all; what was done so far is undone with [`Hands::undo`].
    pub(crate) async fn bind(&self, needs: &Needs, pod: &Pod) -> Result<(), String> {
        for needed in &needs.claims {
            let claim = self.reserve(needed, pod).await?;
            self.snapshot.lock().devices.usage.written(uid(&claim), revision(&claim));
        }
        Ok(())
    }

    /// Waits until all devices are ready.
    ///
    /// # Errors
    /// Why they will not be.
    pub(crate) async fn ready(&self, needs: &Needs) -> Result<(), String> {
        let mut changed = self.snapshot.lock().devices.changed.subscribe();
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                changed.mark_unchanged();
                if self.all_ready(needs)? {
                    return Ok(());
                }
                if changed.changed().await.is_err() {
                    return Err("the scheduler ends".to_owned());
                }
            }
        });
        waited.await.unwrap_or_else(|_| Err("device binding timeout".to_owned()))
    }

    fn all_ready(&self, needs: &Needs) -> Result<bool, String> {
        let mut all = true;
        for Needed { claim, .. } in &needs.claims {
            let now = self.snapshot.lock().devices.claim(&key(claim));
            let now = now.filter(|now| now.metadata.uid == claim.metadata.uid);
            let now = now.ok_or_else(|| format!("claim {} got deleted in the meantime", key(claim)))?;
            match readiness(&now) {
                Readiness::Ready => {}
                Readiness::Waiting => all = false,
                Readiness::Failed(why) => return Err(why),
            }
        }
        Ok(all)
    }

    async fn reserve(&self, needed: &Needed, pod: &Pod) -> Result<ResourceClaim, String> {
        let name = key(&needed.claim);
        let mut claim = ResourceClaim::clone(&needed.claim);
        // What looks done may have been undone after an earlier attempt, and the news be on its way.
        let mut sure = !claims::is_reserved_for(&claim, pod);
        let mut said = String::new();
        for _ in 0..TRIES {
            if !sure {
                // Only what the server has tells whether the devices are given.
                let now = truth::<ResourceClaim>(self.link, &Place::of(&*needed.claim)).await;
                let now = now.filter(|now| now.metadata.uid == needed.claim.metadata.uid);
                claim = now.ok_or_else(|| format!("claim {name} got deleted in the meantime"))?;
                if is_done(&claim, needed, pod) {
                    return Ok(claim);
                }
            }
            match self.write(claim.clone(), needed, pod).await {
                Ok(written) => return Ok(written),
                Err(Refused::Here(why)) => return Err(format!("claim {name} {why}")),
                Err(Refused::There { what, settled, why }) => {
                    said = format!("{what} claim {name}: {why}");
                    if settled {
                        return Err(said);
                    }
                }
            }
            sure = false;
        }
        // Somebody else was always faster, or nobody knows.
        let now = truth::<ResourceClaim>(self.link, &Place::of(&*needed.claim)).await;
        now.filter(|now| is_done(now, needed, pod)).ok_or(said)
    }

    /// One attempt, from the claim as it was read.
    async fn write(
        &self,
        mut claim: ResourceClaim,
        needed: &Needed,
        pod: &Pod,
    ) -> Result<ResourceClaim, Refused> {
        let allocation = needed.allocation.as_ref();
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(Refused::Here("got deleted in the meantime"));
        }
        let place = Place::of(&claim);
        if allocation.is_some() {
            if claims::is_allocated(&claim) {
                return Err(Refused::Here("got allocated elsewhere in the meantime"));
            }
            let finalizers = claim.metadata.finalizers.get_or_insert_default();
            if !finalizers.iter().any(|finalizer| finalizer == PROTECTION) {
                finalizers.push(PROTECTION.to_owned());
                let written = write::replace(self.link, &place, &claim).await;
                claim = written.map_err(|error| Refused::by("add finalizer to", &error))?;
            }
        }
        if allocation.is_none() && devices(&claim) != devices(&needed.claim) {
            return Err(Refused::Here("lost its devices in the meantime"));
        }
        let status = claim.status.get_or_insert_default();
        if let Some(allocation) = allocation {
            status.allocation = Some(allocation.clone());
        }
        if let Some(allocation) = &mut status.allocation {
            allocation.allocation_timestamp.get_or_insert(Time(self.clock.now_seconds()));
        }
        status.reserved_for.get_or_insert_default().push(claims::consumer(pod));
        let what =
            if allocation.is_some() { "add allocation and reservation to" } else { "add reservation to" };
        let written = write::replace(self.link, &place.part("status"), &claim).await;
        written.map_err(|error| Refused::by(what, &error))
    }

    /// The pod does not go: its claims are not kept for it any more. Devices that they got they keep.
    pub(crate) async fn undo(&self, needs: &Needs, pod: &Pod) {
        // It may have got to its node without our hearing of it.
        let now = truth::<Pod>(self.link, &Place::of(pod)).await;
        let same = |now: &Pod| now.metadata.uid == pod.metadata.uid;
        if now.is_some_and(|now| same(&now) && skiff_api::pod::node_name(&now).is_some()) {
            return;
        }
        for Needed { claim, .. } in &needs.claims {
            self.snapshot.lock().devices.usage.release(uid(claim));
            // Only the one entry, whoever else writes the list meanwhile; nothing is written where it is not.
            let body = json!({
                "metadata": { "uid": uid(claim) },
                "status": { "reservedFor": [{ "$patch": "delete", "uid": pod.metadata.uid }] },
            });
            let place = Place::of(&**claim).part("status");
            let patched = write::patch::<ResourceClaim>(self.link, &place, Patch::Strategic, &body).await;
            if let Err(error) = patched {
                tracing::debug!(claim = %key(claim), %error, "a claim is still kept for a pod that does not go");
            }
        }
    }
}

/// Whether the server has what was to be written.
fn is_done(claim: &ResourceClaim, needed: &Needed, pod: &Pod) -> bool {
    let given = match &needed.allocation {
        Some(given) => given.devices.as_ref(),
        None => devices(&needed.claim),
    };
    devices(claim) == given && claims::is_reserved_for(claim, pod)
}

/// The devices that the claim has.
fn devices(claim: &ResourceClaim) -> Option<&DeviceAllocationResult> {
    claim.status.as_ref()?.allocation.as_ref()?.devices.as_ref()
}

/// An object as the server has it, however long it takes to learn that; nothing if it is gone.
async fn truth<K: Readable>(link: &Link, place: &Place) -> Option<K> {
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(10));
    loop {
        match write::get::<K>(link, place).await {
            Ok(object) => return Some(object),
            Err(error) if write::is_not_found(&error) => return None,
            Err(error) => tracing::debug!(%error, "the server could not be asked what it has"),
        }
        backoff.wait().await;
    }
}

/// Why an attempt came to nothing.
enum Refused {
    /// The claim is not as it was.
    Here(&'static str),
    /// The server says no: to what, whether that is its last word, and why.
    There { what: &'static str, settled: bool, why: String },
}

impl Refused {
    fn by(what: &'static str, error: &kube::Error) -> Self {
        let settled = matches!(write::code(error), 400..=408 | 410..=428 | 430..=499);
        Self::There { what, settled, why: write::words(error) }
    }
}

/// Takes its devices from a claim that nobody uses.
///
/// # Errors
/// What the server refused, or a failure on the way.
pub(crate) async fn deallocate(link: &Link, claim: &ResourceClaim) -> write::Result<()> {
    let mut freed = claim.clone();
    let status = freed.status.get_or_insert_default();
    (status.allocation, status.reserved_for, status.devices) = (None, None, None);
    write::replace::<ResourceClaim>(link, &Place::of(claim).part("status"), &freed).await.map(drop)
}
