//! Cron jobs: a Job whenever the clock says so.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Time};
use skiff_client::cache::BY_CONTROLLER;
use skiff_client::controller::{Itself, Key, ManagedBy, Next, Outcome};
use skiff_client::events::{EventKind, reference};
use skiff_client::write;

use crate::shared::pods::manager;
use crate::table::{Ctx, Row, on};

mod plan;

use plan::Plan;

pub(crate) const CONTROLLER: Row = Row {
    name: "cronjob-controller",
    component: "cronjob-controller",
    wakes: &[on::<CronJob, Itself>(), on::<Job, ManagedBy<CronJob>>().indexed(&[BY_CONTROLLER])],
    may: &[
        ("create delete", "jobs"),
        ("patch", "cronjobs/status"),
        ("update", "cronjobs/finalizers"),
        ("create patch", "events"),
    ],
    workers: 2,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// Annotation of a job: the moment it was made for.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(cron) = ctx.get::<CronJob>(&key) else { return Ok(Next::Rest) };
    if cron.metadata.deletion_timestamp.is_some() {
        return Ok(Next::Rest);
    }
    let jobs = ctx.managed_by::<Job>(cron.metadata.uid.as_deref().unwrap_or_default());
    let now = ctx.now();
    let mut plan = plan::plan(&cron, &jobs, now);
    for (kind, reason, message) in std::mem::take(&mut plan.news) {
        ctx.event(reference(&*cron), kind, reason, message);
    }
    for job in &plan.delete {
        let options =
            DeleteOptions { propagation_policy: Some("Background".to_owned()), ..DeleteOptions::default() };
        if let Err(error) = ctx.delete(&**job, options).await {
            let message = format!("Deleted job: {}", write::words(&error));
            ctx.event(reference(&*cron), EventKind::Warning, "FailedDelete", message);
            return Err(error.into());
        }
        let name = job.metadata.name.as_deref().unwrap_or_default();
        ctx.event(reference(&*cron), EventKind::Normal, "SuccessfulDelete", format!("Deleted job {name}"));
    }
    start(&ctx, &cron, &mut plan).await?;
    let mut wanted = CronJob::clone(&cron);
    wanted.status = Some(plan.status);
    ctx.patch_status(&*cron, &wanted).await?;
    let wait = plan.next.map(|at| ctx.now().duration_until(at)).and_then(|it| Duration::try_from(it).ok());
    // A little later than the moment, so that it has come for everyone.
    Ok(wait.map_or(Next::Rest, |wait| Next::After(wait + Duration::from_millis(100))))
}

/// Makes the job that is due, and notes it.
async fn start(ctx: &Ctx, cron: &CronJob, plan: &mut Plan) -> write::Result<()> {
    let Some(at) = plan.start else { return Ok(()) };
    let job = made(cron, at);
    match ctx.create(&job).await {
        Ok(job) => {
            let name = job.metadata.name.clone().unwrap_or_default();
            ctx.event(reference(cron), EventKind::Normal, "SuccessfulCreate", format!("Created job {name}"));
            plan.status.active.get_or_insert_default().push(plan::about(&job));
        }
        Err(error) if write::already_exists(&error) => {}
        Err(error) if write::is_terminating(&error) => return Ok(()),
        Err(error) => {
            let why = format!("Error creating job: {}", write::words(&error));
            ctx.event(reference(cron), EventKind::Warning, "FailedCreate", why);
            return Err(error);
        }
    }
    plan.status.last_schedule_time = Some(Time(at));
    Ok(())
}

/// The job of one moment; its name says which, so that no moment has two.
fn made(cron: &CronJob, at: Timestamp) -> Job {
    let template = &cron.spec.job_template;
    let given = template.metadata.clone().unwrap_or_default();
    let name = cron.metadata.name.as_deref().unwrap_or_default();
    let zone = plan::zone(cron).unwrap_or(jiff::tz::TimeZone::UTC);
    let shown = at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    let mut annotations = given.annotations.unwrap_or_default();
    annotations.insert(SCHEDULED.to_owned(), shown.replace("+00:00", "Z"));
    Job {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{}", at.as_second() / 60)),
            namespace: cron.metadata.namespace.clone(),
            labels: given.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![manager(cron)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}
