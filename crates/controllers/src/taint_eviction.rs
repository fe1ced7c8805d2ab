//! Drives pods from nodes whose `NoExecute` taints they do not tolerate, or not for ever.
//!
//! Patience begins with the taint. Taints that people add do not say since when they are there: then it begins when a pod
//! is first seen beside one, which is remembered until it no longer has to go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use parking_lot::Mutex;
use skiff_api::Resource;
use skiff_api::pod;
use skiff_api::pod::conditions::{self, DISRUPTION_TARGET, Wanted};
use skiff_api::pod::facts::PodFacts;
use skiff_api::pod::tolerations::{NO_EXECUTE, Stay, stay};
use skiff_client::Change;
use skiff_client::cache::decode;
use skiff_client::controller::{Caches, How, Itself, Key, Next, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::write;

use crate::Settings;
use crate::shared::placed::{self, BY_NODE, ItsPods};
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "taint-eviction-controller",
    component: "taint-eviction-controller",
    wakes: &[on::<Pod, Threatened>().indexed(&[BY_NODE]), on::<Node, ItsPods>()],
    may: &[("delete", "pods"), ("patch", "pods/status"), ("create patch", "events")],
    workers: 8,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// When a pod has to go.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Stays,
    Goes,
    GoesIn(Duration),
}

/// Pods that have to go some time, by uid, and since when.
#[derive(Default)]
pub(crate) struct Doomed {
    since: Mutex<HashMap<Arc<str>, Timestamp>>,
}

/// A pod on a node that drives pods out, or one that had to go before: most are neither.
struct Threatened;

impl How<Settings> for Threatened {
    fn keys(change: &Change, caches: &Caches, settings: &Settings) -> Vec<Key> {
        let Some(pod) = &change.new else { return Vec::new() };
        let node = pod.facts::<PodFacts>().node.as_deref();
        let node = node.and_then(|name| caches.of::<Node>().get(name));
        let drives_out = node.is_some_and(|node| placed::mentions(&node, NO_EXECUTE));
        if drives_out || settings.doomed.since.lock().contains_key(&pod.meta().uid) {
            return Itself::keys(change, caches, settings);
        }
        Vec::new()
    }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let doomed = &ctx.settings().doomed.since;
    let Some(object) = ctx.cache::<Pod>().get(key.as_str()) else { return Ok(Next::Rest) };
    let uid = Arc::clone(&object.meta().uid);
    let spared = || {
        if doomed.lock().remove(&uid).is_some() {
            let message = format!("Cancelling deletion of Pod {key}");
            let about = skiff_client::events::reference_to(&Resource::of::<Pod>(), &object);
            ctx.event(about, EventKind::Normal, "TaintManagerEviction", message);
        }
        Ok(Next::Rest)
    };
    let node = object.facts::<PodFacts>().node.as_deref().and_then(|name| ctx.cache::<Node>().get(name));
    // Most nodes drive nobody out; those are not even decoded.
    let node = node.filter(|node| placed::mentions(node, NO_EXECUTE));
    let node = node.and_then(|node| decode::<Node>(&node));
    let taints = node.and_then(|node| node.spec.as_ref()?.taints.clone()).unwrap_or_default();
    if !taints.iter().any(|taint| taint.effect == NO_EXECUTE) {
        return spared();
    }
    let Some(pod) = ctx.get::<Pod>(&key).filter(|pod| pod::is_active(pod)) else {
        doomed.lock().remove(&uid);
        return Ok(Next::Rest);
    };
    let now = ctx.now();
    let seen = *doomed.lock().entry(Arc::clone(&uid)).or_insert(now);
    match verdict(&pod, &taints, seen, now) {
        Verdict::Stays => spared(),
        Verdict::GoesIn(left) => Ok(Next::After(left)),
        Verdict::Goes => {
            doomed.lock().remove(&uid);
            let message = format!("Marking for deletion Pod {key}");
            ctx.event(reference(&*pod), EventKind::Normal, "TaintManagerEviction", message);
            let mut wanted = (*pod).clone();
            let why = Wanted {
                kind: DISRUPTION_TARGET,
                status: "True",
                reason: "DeletionByTaintManager",
                message: "Taint manager: deleting due to NoExecute taint",
            };
            conditions::set(&mut wanted, why, ctx.clock_seconds());
            match ctx.patch_status(&*pod, &wanted).await {
                Err(error) if write::is_not_found(&error) => return Ok(Next::Rest),
                other => other?,
            }
            ctx.delete(&*pod, DeleteOptions::default()).await?;
            Ok(Next::Rest)
        }
    }
}

/// What becomes of a pod that was first `seen` beside the taints.
fn verdict(pod: &Pod, taints: &[Taint], seen: Timestamp, now: Timestamp) -> Verdict {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let patience = match stay(taints, tolerations) {
        Stay::Forever => return Verdict::Stays,
        Stay::No => return Verdict::Goes,
        Stay::For(patience) => patience,
    };
    let driving = taints.iter().filter(|taint| taint.effect == NO_EXECUTE);
    let since =
        driving.filter_map(|taint| taint.time_added.as_ref()).map(|time| time.0).max().unwrap_or(seen);
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    match patience.checked_sub(passed).filter(|left| !left.is_zero()) {
        Some(left) => Verdict::GoesIn(left),
        None => Verdict::Goes,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_goes_when_its_patience_with_the_taint_has_ended() {
        let taints: Vec<Taint> = serde_json::from_value(json!([{"key": "node.kubernetes.io/unreachable",
            "effect": "NoExecute", "timeAdded": "2026-11-22T10:00:00Z"}]))
        .unwrap();
        let pod = |tolerations| -> Pod {
            serde_json::from_value(json!({"spec": {"containers": [], "tolerations": tolerations}})).unwrap()
        };
        let patient = pod(json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists",
            "effect": "NoExecute", "tolerationSeconds": 300}]));
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let seen = at("2026-11-22T09:00:00Z");
        assert_eq!(
            verdict(&patient, &taints, seen, at("2026-11-22T10:01:00Z")),
            Verdict::GoesIn(Duration::from_secs(240))
        );
        assert_eq!(verdict(&patient, &taints, seen, at("2026-11-22T10:05:00Z")), Verdict::Goes);
        assert_eq!(verdict(&pod(json!([])), &taints, seen, at("2026-11-22T10:00:00Z")), Verdict::Goes);
        // A taint of unknown age: patience begins when the pod is first seen beside it.
        let bare: Vec<Taint> =
            taints.iter().map(|taint| Taint { time_added: None, ..taint.clone() }).collect();
        let left = Verdict::GoesIn(Duration::from_secs(60));
        assert_eq!(verdict(&patient, &bare, seen, at("2026-11-22T09:04:00Z")), left);
        assert_eq!(verdict(&patient, &bare, seen, at("2026-11-22T09:05:00Z")), Verdict::Goes);
        let steadfast = pod(json!([{"operator": "Exists"}]));
        assert_eq!(verdict(&steadfast, &taints, seen, at("2026-11-23T10:00:00Z")), Verdict::Stays);
    }
}
