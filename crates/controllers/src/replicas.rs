//! Keeps as many pods as are asked for: what replication controllers and replica sets have in common.
//!
//! A kind that does so says how in its [`Replicated`]; its own file holds its row. One run costs what changed, not what
//! there is: the pods' sums are kept in `flock.rs`.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use skiff_api::{LabelSelector, Object, Readable};
use skiff_client::controller::{Fault, Key, Next, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::write;

use crate::shared::adopt::{self, ORPHANS, Selects};
use crate::shared::burst::{self, Report};
use crate::shared::pods::{delete_pod, from_template};
use crate::shared::seen::Seen;
use crate::table::Ctx;

mod flock;
mod plan;

pub(crate) use flock::{Flocks, MemberOf};
pub(crate) use plan::{Condition, Tally};
use plan::{Failure, Plan};

/// A kind that keeps a number of equal pods: what its controller needs to know of it.
pub(crate) trait Replicated: Selects + Clone + Send + Sync {
    /// How many pods are wanted.
    fn replicas(&self) -> i32;
    /// What the pods look like.
    fn template(&self) -> Option<&PodTemplateSpec>;
    /// How long a pod must be ready to count as available, in seconds.
    fn min_ready_seconds(&self) -> i32;
    /// Its conditions as reported so far.
    fn conditions(&self) -> Vec<Condition>;
    /// Puts what was found into its status.
    fn report(&mut self, tally: Tally, conditions: Option<Vec<Condition>>);
}

/// Brings one object's pods to what it asks for.
pub(crate) async fn reconcile<K: Replicated>(ctx: Ctx, key: Key) -> Outcome {
    let Some(controller) = ctx.get::<K>(&key) else { return Ok(Next::Rest) };
    let Some(selector) = controller.selector() else { return Ok(Next::Rest) };
    let (flocks, pods) = (&ctx.settings().flocks, ctx.cache::<Pod>());
    let uid = controller.metadata().uid.clone().unwrap_or_default();
    if claim(&ctx, &*controller, &selector).await? {
        // The cache shows it in a moment, which wakes us.
        return Ok(Next::Rest);
    }
    let plan = flocks.look(&uid, pods, |flock| plan::plan(&*controller, flock));
    let failure = carry_out(&ctx, &*controller, plan).await;
    let now = ctx.now();
    let mut wanted = (*controller).clone();
    let conditions = plan::conditions(wanted.conditions(), failure.as_ref().map(|(failure, _)| failure), now);
    let (tally, wait) = flocks.look(&uid, pods, |flock| {
        let wait = flock.available(controller.min_ready_seconds(), now).1;
        (plan::tally(&*controller, flock, now), wait)
    });
    wanted.report(tally, conditions);
    ctx.patch_status(&*controller, &wanted).await?;
    if let Some((_, fault)) = failure {
        return Err(fault);
    }
    let wait = wait.map(|wait| Duration::try_from(wait).unwrap_or(Duration::from_secs(1)));
    // A little later than the deadline, so that whole seconds have passed for everyone.
    Ok(wait.map_or(Next::Rest, |wait| Next::After(wait + Duration::from_millis(50))))
}

/// Takes in the pods that nobody manages and that it selects, and lets go of those that it selects no more; true if that
/// changed anything. Who is being deleted does neither.
async fn claim<K: Replicated>(ctx: &Ctx, controller: &K, selector: &LabelSelector) -> write::Result<bool> {
    let meta = controller.metadata();
    if meta.deletion_timestamp.is_some() {
        return Ok(false);
    }
    let pods = ctx.cache::<Pod>();
    let uid = meta.uid.as_deref().unwrap_or_default();
    let strays = ctx.settings().flocks.look(uid, pods, |flock| flock.strays(selector));
    let orphans = pods.by(&ORPHANS, meta.namespace.as_deref().unwrap_or_default());
    let active = |pods: Vec<Arc<Object>>| {
        pods.into_iter().filter(|pod| Seen::from(Arc::clone(pod)).is_active()).collect()
    };
    let strays = strays.iter().filter_map(|key| pods.get(key)).collect();
    let claims = adopt::claims(active(strays), active(orphans), selector, false);
    adopt::carry_out::<K, Pod>(ctx, controller, &claims).await
}

/// Creates or deletes what the plan says; what failed, for the status and for the next try.
async fn carry_out<K: Replicated>(ctx: &Ctx, controller: &K, plan: Plan) -> Option<(Failure, Fault)> {
    let (reason, report) = match plan {
        Plan::Rest => return None,
        Plan::Create(count) => {
            let act = |_| create(ctx, controller);
            ("FailedCreate", burst::run(0..count, burst::SLOWLY, act).await)
        }
        Plan::Delete(pods) => {
            let act = |pod| delete(ctx, controller, pod);
            ("FailedDelete", burst::run(pods, burst::AT_ONCE, act).await)
        }
    };
    let Report { tried, mut failures, .. } = report;
    let failed = failures.len();
    if failed == 0 {
        return None;
    }
    let first = failures.swap_remove(0);
    let failure = Failure { reason, message: write::words(&first) };
    // Nothing can be created in a namespace that goes: the controller goes with it.
    let terminating = write::is_terminating(&first);
    (!terminating).then_some((failure, Fault::Some { tried, failed, first }))
}

async fn create<K: Replicated>(ctx: &Ctx, controller: &K) -> write::Result<()> {
    let pod = from_template(&controller.template().cloned().unwrap_or_default(), controller);
    match ctx.create(&pod).await {
        Ok(pod) => {
            let name = pod.metadata.name.unwrap_or_default();
            say(ctx, controller, EventKind::Normal, "SuccessfulCreate", format!("Created pod: {name}"));
            Ok(())
        }
        Err(error) => {
            if !write::is_terminating(&error) {
                let why = format!("Error creating: {}", write::words(&error));
                say(ctx, controller, EventKind::Warning, "FailedCreate", why);
            }
            Err(error)
        }
    }
}

async fn delete<K: Replicated>(ctx: &Ctx, controller: &K, pod: Arc<str>) -> write::Result<()> {
    let Some(pod) = ctx.cache::<Pod>().typed::<Pod>(&pod) else { return Ok(()) };
    delete_pod(ctx, controller, &pod).await
}

fn say<K: Readable>(ctx: &Ctx, about: &K, kind: EventKind, reason: &str, message: String) {
    ctx.event(reference(about), kind, reason, message);
}

#[cfg(test)]
mod tests;
