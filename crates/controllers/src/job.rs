//! Jobs: pods that run to their end, counted exactly once each.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use serde_json::json;
use skiff_api::LabelSelector;
use skiff_client::cache::{BY_CONTROLLER, Index};
use skiff_client::controller::{Fault, Itself, Key, ManagedBy, Next, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::write::{self, Patch};

use crate::shared::adopt::{self, ORPHANS, OrphanOf, Selects};
use crate::shared::burst;
use crate::shared::pods::{delete_pod, from_template};
use crate::shared::seen::Seen;
use crate::table::{Ctx, Row, on};

mod indexes;
mod plan;
mod policy;

use plan::Plan;

pub(crate) const CONTROLLER: Row = Row {
    name: "job-controller",
    component: "job-controller",
    wakes: &[
        on::<Job, Itself>(),
        on::<Pod, ManagedBy<Job>>().indexed(&[BY_CONTROLLER, ORPHANS, TRACKED_BY]),
        on::<Pod, OrphanOf<Job>>(),
    ],
    may: &[
        ("get", "jobs"),
        ("create delete patch", "pods"),
        ("patch", "jobs/status"),
        ("update", "jobs/finalizers"),
        ("create patch", "events"),
    ],
    workers: 5,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// Finds pods that wait to be counted by the `namespace/name` of their Job, whichever of that name it is.
const TRACKED_BY: Index = Index {
    name: "tracked-by",
    values: |object| {
        let meta = object.meta();
        let owner = meta.controller().filter(|owner| &*owner.kind == "Job" && plan::tracks(meta));
        let key = |name: &str| (&*skiff_api::meta::key(meta.namespace.as_deref(), name)).into();
        owner.map(|owner| key(&owner.name)).into_iter().collect()
    },
};

impl Selects for Job {
    fn selector(&self) -> Option<LabelSelector> {
        adopt::some(self.spec.as_ref()?.selector.as_ref()?)
    }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let job = ctx.get::<Job>(&key);
    release_strays(&ctx, &key, job.as_deref()).await?;
    let Some(job) = job else { return Ok(Next::Rest) };
    // Somebody else looks after it.
    if job.spec.as_ref().is_some_and(|spec| {
        spec.managed_by.as_deref().is_some_and(|manager| manager != "kubernetes.io/job-controller")
    }) {
        return Ok(Next::Rest);
    }
    let Some(selector) = selector(&job) else { return Ok(Next::Rest) };
    if job.metadata.deletion_timestamp.is_some() {
        let owned = ctx.cache::<Pod>().by(&BY_CONTROLLER, job.metadata.uid.as_deref().unwrap_or_default());
        for pod in Seen::all(owned).iter().filter(|pod| plan::is_tracked(pod)) {
            release(&ctx, pod).await?;
        }
        return Ok(Next::Rest);
    }
    let Some(pods) = adopt::own::<Job, Pod>(&ctx, &job, &selector, |_| true).await? else {
        return Ok(Next::Rest);
    };
    let pods = Seen::all(pods);
    let now = ctx.clock_seconds();
    let plan = plan::plan(&job, &pods, now);
    let mut wanted = Job::clone(&job);
    wanted.status = Some(plan.status.clone());
    ctx.patch_status(&*job, &wanted).await?;
    carry_out(&ctx, &job, &plan).await?;
    let wait = plan.wait.and_then(|wait| Duration::try_from(wait).ok());
    Ok(wait.map_or(Next::Rest, |wait| Next::After(wait + Duration::from_secs(1))))
}

fn selector(job: &Job) -> Option<LabelSelector> {
    LabelSelector::of(job.spec.as_ref()?.selector.as_ref()?).ok().filter(|it| !it.is_everything())
}

/// Lets go of pods whose Job is gone: nobody will count them any more.
async fn release_strays(ctx: &Ctx, key: &Key, job: Option<&Job>) -> write::Result<()> {
    let uid = job.and_then(|job| job.metadata.uid.as_deref());
    let strange = |pod: &&Seen| pod.meta().controller().is_none_or(|owner| Some(&*owner.uid) != uid);
    for pod in Seen::all(ctx.cache::<Pod>().by(&TRACKED_BY, key.as_str())).iter().filter(strange) {
        release(ctx, pod).await?;
    }
    Ok(())
}

/// Takes the finalizer off a pod.
async fn release(ctx: &Ctx, pod: &Seen) -> write::Result<()> {
    let Some(pod) = pod.decode() else { return Ok(()) };
    let body = json!({ "metadata": { "uid": pod.metadata.uid,
        "$deleteFromPrimitiveList/finalizers": [plan::TRACKING] } });
    match ctx.patch(&*pod, Patch::Strategic, &body).await {
        Err(error) if !matches!(write::code(&error), 404 | 422) => Err(error),
        _ => Ok(()),
    }
}

async fn carry_out(ctx: &Ctx, job: &Job, plan: &Plan) -> Result<(), Fault> {
    for (warning, reason, message) in &plan.news {
        let kind = if *warning { EventKind::Warning } else { EventKind::Normal };
        ctx.event(reference(job), kind, reason, message.clone());
    }
    for pod in &plan.counted {
        release(ctx, pod).await?;
    }
    for pod in &plan.delete {
        // It ended by our hand: it is not to be counted as a failure.
        release(ctx, pod).await?;
        if let Some(pod) = pod.decode() {
            delete_pod(ctx, job, &pod).await?;
        }
    }
    let create =
        |index: Option<i32>| create(ctx, job, index, index.and_then(|it| plan.counts.get(&it).copied()));
    let mut report = burst::run(plan.create.iter().copied(), burst::SLOWLY, create).await;
    let failed = report.failures.len();
    if failed == 0 {
        return Ok(());
    }
    let first = report.failures.swap_remove(0);
    if write::is_terminating(&first) {
        return Ok(());
    }
    Err(Fault::Some { tried: report.tried, failed, first })
}

async fn create(ctx: &Ctx, job: &Job, index: Option<i32>, counts: Option<(i32, i32)>) -> write::Result<()> {
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let mut pod = from_template(&template, job);
    pod.metadata.finalizers.get_or_insert_default().push(plan::TRACKING.to_owned());
    if let Some(index) = index {
        number(&mut pod, job, index);
    }
    if let Some((failures, ignored)) = counts {
        let notes = pod.metadata.annotations.get_or_insert_default();
        notes.insert(policy::FAILURES.to_owned(), failures.to_string());
        if ignored > 0 {
            notes.insert(policy::IGNORED.to_owned(), ignored.to_string());
        }
    }
    match ctx.create(&pod).await {
        Ok(pod) => {
            let name = pod.metadata.name.unwrap_or_default();
            ctx.event(reference(job), EventKind::Normal, "SuccessfulCreate", format!("Created pod: {name}"));
            Ok(())
        }
        Err(error) => {
            if !write::is_terminating(&error) {
                let why = format!("Error creating: {}", write::words(&error));
                ctx.event(reference(job), EventKind::Warning, "FailedCreate", why);
            }
            Err(error)
        }
    }
}

/// Tells a pod which completion it works on: by name, label, annotation, host name and environment.
fn number(pod: &mut Pod, job: &Job, index: i32) {
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let text = index.to_string();
    pod.metadata.generate_name = Some(format!("{name}-{index}-"));
    pod.metadata.labels.get_or_insert_default().insert(plan::INDEX.to_owned(), text.clone());
    pod.metadata.annotations.get_or_insert_default().insert(plan::INDEX.to_owned(), text);
    let Some(spec) = &mut pod.spec else { return };
    spec.hostname.get_or_insert_with(|| format!("{name}-{index}"));
    let source = EnvVarSource {
        field_ref: Some(ObjectFieldSelector {
            api_version: None,
            field_path: format!("metadata.labels['{}']", plan::INDEX),
        }),
        ..EnvVarSource::default()
    };
    let variable =
        EnvVar { name: "JOB_COMPLETION_INDEX".to_owned(), value_from: Some(source), ..EnvVar::default() };
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        let env = container.env.get_or_insert_default();
        if !env.iter().any(|held| held.name == variable.name) {
            env.push(variable.clone());
        }
    }
}

/// When a finished Job ended, if it did.
pub(crate) fn ended(job: &Job) -> Option<jiff::Timestamp> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let end = conditions
        .iter()
        .find(|it| matches!(it.type_.as_str(), "Complete" | "Failed") && it.status == "True");
    Some(end?.last_transition_time.as_ref()?.0)
}

#[cfg(test)]
mod tests;
