//! Telling the server what was decided: claims get their devices and are kept for the pod before the pod is bound.
//!
//! In upstream's order: the finalizer first, so that nobody deletes a claim that has devices, then devices and consumer in one
//! write. Only this file writes claims.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{AllocationResult, ResourceClaim};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use parking_lot::Mutex;
use serde_json::json;
use skiff_api::pod::claims::{self, PROTECTION};
use skiff_base::{Backoff, Clock};
use skiff_client::Link;
use skiff_client::write::{self, Patch, Place};

use super::uid;
use super::wanted::key;
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
    /// What was decided, by the claims' uids.
    pub(crate) fn decided(&self) -> impl Iterator<Item = (&str, &AllocationResult)> {
        self.claims.iter().filter_map(|needed| Some((uid(&needed.claim), needed.allocation.as_ref()?)))
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
        for needed in needs.claims.iter().filter(|needed| !claims::is_reserved_for(&needed.claim, pod)) {
            let claim = self.reserve(needed, pod).await?;
            let revision = claim.metadata.resource_version.as_deref().and_then(|text| text.parse().ok());
            self.snapshot.lock().devices.usage.written(uid(&claim), revision.unwrap_or(0));
        }
        Ok(())
    }

    async fn reserve(&self, needed: &Needed, pod: &Pod) -> Result<ResourceClaim, String> {
        let name = key(&needed.claim);
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(200));
        let mut claim = ResourceClaim::clone(&needed.claim);
        for attempt in 1.. {
            let what = match self.write(claim, needed.allocation.as_ref(), pod).await {
                Ok(written) => return Ok(written),
                Err(Refused::Here(why)) => return Err(format!("claim {name} {why}")),
                Err(Refused::There { what, again, why }) => {
                    if attempt == TRIES || !again {
                        return Err(format!("{what} claim {name}: {why}"));
                    }
                    what
                }
            };
            tracing::debug!(claim = %name, what, "somebody else wrote the claim");
            backoff.wait().await;
            let fresh = write::get::<ResourceClaim>(self.link, &Place::of(&*needed.claim)).await;
            let fresh = fresh.map_err(|error| {
                format!("get updated claim {name} after conflict: {}", write::words(&error))
            });
            claim = fresh?;
            if claim.metadata.uid != needed.claim.metadata.uid {
                break;
            }
        }
        Err(format!("claim {name} got deleted in the meantime"))
    }

    /// One attempt, from the claim as it was read.
    async fn write(
        &self,
        mut claim: ResourceClaim,
        allocation: Option<&AllocationResult>,
        pod: &Pod,
    ) -> Result<ResourceClaim, Refused> {
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
        let own = pod.metadata.uid.as_deref().unwrap_or_default();
        for Needed { claim, .. } in &needs.claims {
            self.snapshot.lock().devices.usage.release(uid(claim));
            // Only the one entry, whoever else writes the list meanwhile; nothing is written where it is not.
            let body = json!({
                "metadata": { "uid": uid(claim) },
                "status": { "reservedFor": [{ "$patch": "delete", "uid": own }] },
            });
            let place = Place::of(&**claim).part("status");
            let patched = write::patch::<ResourceClaim>(self.link, &place, Patch::Strategic, &body).await;
            if let Err(error) = patched {
                tracing::debug!(claim = %key(claim), %error, "a claim is still kept for a pod that does not go");
            }
        }
    }
}

/// Why an attempt came to nothing.
enum Refused {
    /// The claim is not as it was.
    Here(&'static str),
    /// The server says no: to what, whether only because somebody else wrote the claim, and why.
    There { what: &'static str, again: bool, why: String },
}

impl Refused {
    fn by(what: &'static str, error: &kube::Error) -> Self {
        Self::There { what, again: write::is_conflict(error), why: write::words(error) }
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
