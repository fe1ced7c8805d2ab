//! Claims, classes and slices of devices, followed only where the server has them; and pods that do not queue yet because a
//! claim of theirs is missing.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{DeviceClass, DeviceTaintRule, ResourceClaim, ResourceSlice};
use skiff_api::Object;
use skiff_base::Tasks;
use skiff_client::cache::decode;
use skiff_client::{Cache, Change, Link};

use super::Hands;
use crate::devices;
use crate::event::{ClaimTurn, Event};
use crate::pod::PodInfo;
use crate::served::Served;

/// Follows what there is.
pub(super) fn follow(link: &Link, served: &Served, hands: &Hands, tasks: &Tasks) -> Vec<Cache> {
    if !served.devices {
        return Vec::new();
    }
    // Before the first of them says anything: whoever asks must not take an empty cache for the truth.
    hands.snapshot.lock().devices.followed = true;
    let slices = super::follow::<ResourceSlice>(link, tasks, hands, Hands::slice);
    let classes = super::follow::<DeviceClass>(link, tasks, hands, |hands, change| {
        if change.new.is_some() {
            hands.queue.happened(Event::DeviceClassChanged);
        }
    });
    let claims = super::follow::<ResourceClaim>(link, tasks, hands, Hands::device_claim);
    {
        let devices = &mut hands.snapshot.lock().devices;
        (devices.classes, devices.claims) = (classes.clone(), claims.clone());
    }
    let rules = || super::follow::<DeviceTaintRule>(link, tasks, hands, Hands::taint_rule);
    [slices, classes, claims].into_iter().chain(served.taint_rules.then(rules)).collect()
}

impl Hands {
    fn slice(&self, change: &Change) {
        let name = &change.latest().meta().name;
        match change.new.as_ref().map(|object| decode::<ResourceSlice>(object)) {
            Some(Some(slice)) => self.snapshot.lock().devices.inventory.put(&slice),
            Some(None) => return,
            None => self.snapshot.lock().devices.inventory.remove(name),
        }
        // A slice that goes may complete a pool.
        self.queue.happened(Event::DevicesChanged);
    }

    fn taint_rule(&self, change: &Change) {
        let name = Arc::clone(&change.latest().meta().name);
        let rule = change.new.as_ref().and_then(|object| decode::<DeviceTaintRule>(object));
        self.snapshot.lock().devices.taints.put(name, rule.map(|rule| rule.spec.clone()));
        self.queue.happened(Event::DevicesChanged);
    }

    fn device_claim(&self, change: &Change) {
        let key = change.latest().meta().key();
        let before = change.old.as_ref().and_then(|object| decode::<ResourceClaim>(object));
        let now = change.new.as_ref().and_then(|object| decode::<ResourceClaim>(object));
        let had = before.as_ref().and_then(|claim| claim.status.as_ref()?.allocation.as_ref());
        let has = now.as_ref().and_then(|claim| claim.status.as_ref()?.allocation.as_ref());
        {
            let devices = &mut self.snapshot.lock().devices;
            devices.changed.send_modify(|count| *count += 1);
            let usage = &mut devices.usage;
            let uid = &change.latest().meta().uid;
            if let Some(old) =
                change.old.as_ref().filter(|old| change.new.is_none() || old.meta().uid != *uid)
            {
                usage.gone(&old.meta().uid);
            }
            if let Some(object) = &change.new {
                usage.seen(uid, object.meta().revision, has);
            }
        }
        let same = |one: &ResourceClaim, other: &ResourceClaim| {
            one.status == other.status && one.metadata.uid == other.metadata.uid
        };
        let idle = matches!((&before, &now), (Some(before), Some(now)) if same(before, now));
        let freed = had.is_some() && has.is_none();
        if !idle && (now.is_some() || freed) {
            self.queue
                .happened(Event::DeviceClaimChanged(Arc::new(ClaimTurn { key: Arc::clone(&key), freed })));
        }
        if now.is_some() {
            self.unpark(&key);
        }
    }

    /// Keeps a pod back that may not queue yet; true if it waits for a claim, or for its own status to name one.
    pub(super) fn parks(&self, object: &Arc<Object>, pod: &Pod) -> bool {
        let named = pod.spec.as_ref().is_some_and(|spec| spec.resource_claims.is_some());
        if !named || !self.snapshot.lock().devices.followed {
            return false;
        }
        let info = PodInfo::new(Arc::clone(object), pod);
        let Some(profile) = self.profiles.of(pod) else { return false };
        let queues = profile.enqueue(&info, &self.snapshot.lock());
        let Err(why) = queues else {
            self.snapshot.lock().devices.parked.leave(info.uid());
            return false;
        };
        tracing::debug!(pod = %object.meta().key(), why, "a pod does not queue yet");
        self.retire(info.uid());
        let claims =
            devices::named(object).into_iter().flat_map(|named| &named.claims).map(|key| (**key).into());
        self.snapshot.lock().devices.parked.keep(object, claims.collect());
        true
    }

    /// Has all those look again who wait for the claim.
    fn unpark(&self, claim: &str) {
        let pods = self.snapshot.lock().devices.parked.naming(claim);
        for object in pods {
            if let Some(pod) = decode::<Pod>(&object) {
                self.want(&object, &pod);
            }
        }
    }
}
