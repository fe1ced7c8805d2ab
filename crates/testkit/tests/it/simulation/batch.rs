//! Jobs and cron jobs.

use std::collections::HashSet;
use std::sync::Mutex;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use skiff_api::pod;
use skiff_testkit::World;
use skiff_testkit::world::{Check, Dice, Truth};

use super::life::{FLAKY, kill_one};
use super::{Scenario, ensure, put};

fn spec(more: &Value) -> Value {
    let mut spec = json!({"completions": 4, "parallelism": 2, "backoffLimit": 1000, "suspend": false,
        "completionMode": "NonIndexed", "podReplacementPolicy": "TerminatingOrFailed",
        "template": {"metadata": {"labels": {"app": "sum"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "sum"}]}}});
    skiff_api::patch::merge::apply(&mut spec, more).unwrap();
    spec
}

fn job(world: &World, dice: &mut Dice) {
    let mode = *dice.pick(&["Indexed", "NonIndexed"]);
    let policy = *dice.pick(&["TerminatingOrFailed", "Failed"]);
    let more = json!({"completionMode": mode, "podReplacementPolicy": policy, "selector": {"matchLabels": {"app": "sum"}}});
    let mut value = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "sum", "namespace": "blue"},
        "spec": spec(&more)});
    if dice.percent(50) {
        value["spec"]["template"]["metadata"]["annotations"] = json!({ FLAKY: "yes" });
    }
    put::<Job>(world, value);
}

/// No pod is counted twice: the Job never claims more ends than there were.
fn counted_once() -> Check {
    let ends: Mutex<(HashSet<String>, HashSet<String>)> = Mutex::default();
    Box::new(move |truth| {
        let mut ends = ends.lock().unwrap();
        for pod in truth.all::<Pod>() {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            match pod::phase(&pod) {
                "Succeeded" => drop(ends.0.insert(uid)),
                "Failed" => drop(ends.1.insert(uid)),
                _ if pod.metadata.deletion_timestamp.is_some() => drop(ends.1.insert(uid)),
                _ => {}
            }
        }
        let Some(job) = truth.get::<Job>("blue", "sum") else { return Ok(()) };
        let status = job.status.clone().unwrap_or_default();
        let uncounted = status.uncounted_terminated_pods.unwrap_or_default();
        let many = |counted: Option<i32>, noted: Option<Vec<String>>| {
            usize::try_from(counted.unwrap_or(0)).unwrap() + noted.map_or(0, |noted| noted.len())
        };
        let succeeded = many(status.succeeded, uncounted.succeeded);
        let failed = many(status.failed, uncounted.failed);
        ensure(succeeded <= ends.0.len(), || format!("{succeeded} counted, {} succeeded", ends.0.len()))?;
        ensure(failed <= ends.1.len(), || format!("{failed} counted, {} failed", ends.1.len()))
    })
}

#[test]
fn a_job_is_done_and_every_pod_counted_once() {
    let scenario = Scenario {
        name: "job",
        schedules: 600,
        controllers: &["job"],
        begin: job,
        whim: |world, dice| match dice.below(3) {
            0 => {
                world.edit::<Job>("blue", "sum", |it| it["spec"]["parallelism"] = (1 + dice.below(3)).into())
            }
            1 => world.edit::<Job>("blue", "sum", |it| it["spec"]["suspend"] = dice.percent(50).into()),
            _ => kill_one(world, dice),
        },
        finally: |world| world.edit::<Job>("blue", "sum", |it| it["spec"]["suspend"] = false.into()),
        always: counted_once,
        end: |truth| {
            let status = truth.get::<Job>("blue", "sum").unwrap().status.clone().unwrap_or_default();
            let done =
                status.conditions.iter().flatten().any(|it| it.type_ == "Complete" && it.status == "True");
            // One that is told to go while the Job is suspended may still succeed, after its place was given to another.
            let enough = status.succeeded.is_some_and(|succeeded| succeeded >= 4);
            let left = (status.active, status.terminating, status.ready);
            ensure(done && enough && left == (None, Some(0), Some(0)), || format!("{status:?}"))?;
            let held = truth
                .all::<Pod>()
                .into_iter()
                .filter(|pod| pod.metadata.finalizers.iter().flatten().count() > 0)
                .count();
            ensure(held == 0, || format!("{held} pods are held"))
        },
    };
    scenario.run();
}

fn jobs_of(truth: &Truth<'_>) -> Vec<bool> {
    let ended = |job: &Job| {
        let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.into_iter().flatten().any(|it| it.type_ == "Complete" && it.status == "True")
    };
    truth.all::<Job>().iter().map(|job| ended(job)).collect()
}

#[test]
fn a_cron_job_keeps_time_and_forbids_company() {
    let scenario = Scenario {
        name: "cron",
        schedules: 400,
        controllers: &["cronjob", "job"],
        begin: |world, _| {
            let value = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick", "namespace": "blue"},
                "spec": {"schedule": "* * * * *", "concurrencyPolicy": "Forbid", "successfulJobsHistoryLimit": 2,
                    "failedJobsHistoryLimit": 1, "suspend": false, "jobTemplate": {"spec": spec(&json!({"completions": 1,
                    "parallelism": 1, "selector": {"matchLabels": {"app": "sum"}}}))}}});
            put::<CronJob>(world, value);
        },
        whim: |world, dice| {
            world.edit::<CronJob>("blue", "tick", |it| it["spec"]["suspend"] = dice.percent(30).into());
        },
        finally: |world| world.edit::<CronJob>("blue", "tick", |it| it["spec"]["suspend"] = false.into()),
        always: || -> Check {
            Box::new(|truth| {
                let running = jobs_of(truth).into_iter().filter(|ended| !ended).count();
                ensure(running <= 1, || format!("{running} jobs run at once"))
            })
        },
        end: |truth| {
            let status = truth.get::<CronJob>("blue", "tick").unwrap().status.clone().unwrap_or_default();
            let last = status.last_schedule_time.map(|time| time.0);
            let late = last.map(|last| truth.now().duration_since(last).as_secs());
            let ended = jobs_of(truth).into_iter().filter(|ended| *ended).count();
            ensure(late.is_some_and(|late| late < 600) && (1..=3).contains(&ended), || {
                format!("the last was {late:?} seconds ago, {ended} are kept")
            })
        },
    };
    scenario.run();
}
