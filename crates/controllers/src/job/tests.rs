//! Jobs and pods as JSON, and a small simulation: pods run, end and are let go as the plan says.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::plan::{self, Plan};
use crate::shared::seen::Seen;

const START: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}

fn job(spec: &Value) -> Job {
    let mut value = json!({"metadata": {"name": "once", "namespace": "blue", "uid": "j"}, "spec": {
        "completions": 1, "parallelism": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": false,
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}}}});
    json_patch::merge(&mut value["spec"], spec);
    serde_json::from_value(value).unwrap()
}

#[derive(Default)]
struct World {
    pods: BTreeMap<String, Pod>,
    made: usize,
    said: Vec<&'static str>,
    /// With which containers end.
    code: i32,
}

impl World {
    /// One look at the Job, and what follows from it.
    fn look(&mut self, job: &mut Job, now: Timestamp) -> Plan {
        let pods: Vec<Seen> = self.pods.values().map(Seen::of).collect();
        let plan = plan::plan(job, &pods, now);
        job.status = Some(plan.status.clone());
        for pod in plan.counted.iter().chain(&plan.delete) {
            let held = self.pods.get_mut(pod.name()).unwrap();
            held.metadata.finalizers = None;
        }
        for pod in &plan.delete {
            self.pods.remove(pod.name());
        }
        for index in &plan.create {
            self.made += 1;
            let name = format!("p{:03}", self.made);
            let mut pod = json!({"metadata": {"name": name, "uid": name, "finalizers": [plan::TRACKING]},
                "spec": {"containers": []}, "status": {"phase": "Running"}});
            if let Some(index) = index {
                pod["metadata"]["annotations"][plan::INDEX] = index.to_string().into();
                if let Some((failures, ignored)) = plan.counts.get(index) {
                    pod["metadata"]["annotations"][super::policy::FAILURES] = failures.to_string().into();
                    pod["metadata"]["annotations"][super::policy::IGNORED] = ignored.to_string().into();
                }
            }
            self.pods.insert(name, serde_json::from_value(pod).unwrap());
        }
        self.said.extend(plan.news.iter().map(|(_, reason, _)| *reason));
        plan
    }

    /// The running pods end, each as told.
    fn end(&mut self, now: Timestamp, phase: impl Fn(usize) -> &'static str) {
        let code = self.code;
        let running = self.pods.values_mut().filter(|pod| skiff_api::pod::phase(pod) == "Running");
        for (n, pod) in running.enumerate() {
            let ended = json!({"phase": phase(n), "containerStatuses": [{"name": "c", "ready": false,
                "restartCount": 0, "image": "", "imageID": "", "state": {"terminated": {"exitCode": code,
                "finishedAt": now.to_string()}}}]});
            pod.status = Some(serde_json::from_value(ended).unwrap());
        }
    }

    fn running(&self) -> usize {
        self.pods.values().filter(|pod| skiff_api::pod::phase(pod) == "Running").count()
    }
}

fn numbers(job: &Job) -> (Option<i32>, Option<i32>) {
    let status = job.status.clone().unwrap();
    (status.succeeded, status.failed)
}

#[test]
fn so_many_at_once_until_so_many_are_done() {
    let mut job = job(&json!({"completions": 5, "parallelism": 2}));
    let mut world = World::default();
    let mut rounds = 0;
    while !plan::is_finished(&job) {
        world.look(&mut job, at(rounds));
        assert!(world.running() <= 2);
        world.end(at(rounds), |_| "Succeeded");
        rounds += 1;
        assert!(rounds < 50, "never done");
    }
    assert_eq!((world.made, numbers(&job)), (5, (Some(5), None)));
    assert_eq!(world.said, ["Completed"]);
    let status = job.status.unwrap();
    assert!(status.completion_time.is_some());
    let kinds: Vec<&str> = status.conditions.as_ref().unwrap().iter().map(|it| it.type_.as_str()).collect();
    assert_eq!(kinds, ["SuccessCriteriaMet", "Complete"]);
}

#[test]
fn failures_are_tried_again_with_growing_pauses_until_the_limit() {
    let mut job = job(&json!({"backoffLimit": 2}));
    let mut world = World::default();
    world.look(&mut job, at(0));
    world.end(at(0), |_| "Failed");
    world.look(&mut job, at(0));
    let plan = world.look(&mut job, at(1));
    assert_eq!(plan.wait.map(|wait| wait.as_secs()), Some(9));
    assert_eq!((world.running(), numbers(&job)), (0, (None, Some(1))));
    world.look(&mut job, at(11));
    assert_eq!(world.running(), 1);
    world.end(at(11), |_| "Failed");
    world.look(&mut job, at(12));
    assert_eq!(world.look(&mut job, at(12)).wait.map(|wait| wait.as_secs()), Some(19));
    world.look(&mut job, at(40));
    world.end(at(40), |_| "Failed");
    for second in 41..44 {
        world.look(&mut job, at(second));
    }
    assert!(plan::is_finished(&job));
    assert_eq!((world.made, numbers(&job), world.said), (3, (None, Some(3)), vec!["BackoffLimitExceeded"]));
}

#[test]
fn every_index_is_done_once() {
    let mut job = job(&json!({"completions": 4, "parallelism": 4, "completionMode": "Indexed"}));
    let mut world = World::default();
    world.look(&mut job, at(0));
    world.end(at(0), |n| if n == 1 { "Failed" } else { "Succeeded" });
    world.look(&mut job, at(1));
    assert_eq!(job.status.as_ref().unwrap().completed_indexes.as_deref(), Some("0,2,3"));
    world.look(&mut job, at(20));
    world.look(&mut job, at(21));
    world.end(at(22), |_| "Succeeded");
    for second in 23..27 {
        world.look(&mut job, at(second));
    }
    assert!(plan::is_finished(&job));
    assert_eq!((world.made, numbers(&job)), (5, (Some(4), Some(1))));
    assert_eq!(job.status.unwrap().completed_indexes.as_deref(), Some("0-3"));
}

#[test]
fn a_suspended_job_has_no_pods_and_its_clock_stands() {
    let mut job = job(&json!({"activeDeadlineSeconds": 100}));
    let mut world = World::default();
    world.look(&mut job, at(0));
    assert_eq!(world.running(), 1);
    job.spec.as_mut().unwrap().suspend = Some(true);
    world.look(&mut job, at(50));
    assert_eq!((world.running(), job.status.as_ref().unwrap().start_time.is_none()), (0, true));
    world.look(&mut job, at(300));
    job.spec.as_mut().unwrap().suspend = Some(false);
    world.look(&mut job, at(301));
    assert_eq!(world.running(), 1);
    assert_eq!(world.said, ["Suspended", "Resumed"]);
    for second in 402..406 {
        world.look(&mut job, at(second));
    }
    assert!(plan::is_finished(&job));
    assert_eq!((world.running(), world.said.last()), (0, Some(&"DeadlineExceeded")));
}

#[test]
fn a_policy_tells_failures_that_count_from_others() {
    let rules = json!([
        {"action": "FailJob", "onExitCodes": {"containerName": "c", "operator": "In", "values": [42]}},
        {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [5]}},
    ]);
    let spec =
        json!({"backoffLimit": 0, "podReplacementPolicy": "Failed", "podFailurePolicy": {"rules": rules}});
    let mut job = job(&spec);
    let mut world = World { code: 5, ..World::default() };
    world.look(&mut job, at(0));
    world.end(at(0), |_| "Failed");
    world.look(&mut job, at(1));
    world.look(&mut job, at(2));
    assert_eq!(
        (world.made, world.running(), numbers(&job)),
        (2, 1, (None, None)),
        "not counted, tried again"
    );
    world.code = 42;
    world.end(at(3), |_| "Failed");
    for second in 4..8 {
        world.look(&mut job, at(second));
    }
    assert!(plan::is_finished(&job));
    assert_eq!(world.said, ["PodFailurePolicy"]);
    let conditions = job.status.unwrap().conditions.unwrap();
    let kinds: Vec<&str> = conditions.iter().map(|it| it.type_.as_str()).collect();
    assert_eq!(kinds, ["FailureTarget", "Failed"]);
    let why = "Container c for pod /p002 failed with exit code 42 matching FailJob rule at index 0";
    assert_eq!(conditions[1].message.as_deref(), Some(why));
}

#[test]
fn each_index_has_a_limit_of_its_own() {
    let spec = json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 1,
        "backoffLimit": i32::MAX});
    let mut job = job(&spec);
    let mut world = World { code: 1, ..World::default() };
    world.look(&mut job, at(0));
    world.end(at(0), |n| if n == 0 { "Failed" } else { "Succeeded" });
    world.look(&mut job, at(1));
    assert_eq!(world.running(), 0, "its next try waits");
    world.look(&mut job, at(11));
    assert_eq!((world.made, world.running()), (3, 1));
    world.end(at(12), |_| "Failed");
    for second in 13..18 {
        world.look(&mut job, at(second));
    }
    assert!(plan::is_finished(&job));
    let status = job.status.clone().unwrap();
    assert_eq!(
        (status.completed_indexes.as_deref(), status.failed_indexes.as_deref()),
        (Some("1"), Some("0"))
    );
    assert_eq!((numbers(&job), world.said), ((Some(1), Some(2)), vec!["FailedIndexes"]));
}

#[test]
fn a_rule_may_call_a_part_success_enough() {
    let rules = json!([{"succeededIndexes": "0,2-3", "succeededCount": 1}]);
    let spec = json!({"completions": 4, "parallelism": 4, "completionMode": "Indexed",
        "successPolicy": {"rules": rules}});
    let mut job = job(&spec);
    let mut world = World::default();
    world.look(&mut job, at(0));
    let first = world.pods.values_mut().next().unwrap();
    first.status = Some(serde_json::from_value(json!({"phase": "Succeeded"})).unwrap());
    for second in 1..5 {
        world.look(&mut job, at(second));
    }
    assert!(plan::is_finished(&job));
    assert_eq!(world.running(), 0, "the others are ended");
    let conditions = job.status.unwrap().conditions.unwrap();
    let told: Vec<_> =
        conditions.iter().map(|it| (it.type_.as_str(), it.reason.as_deref().unwrap())).collect();
    assert_eq!(told, [("SuccessCriteriaMet", "SuccessPolicy"), ("Complete", "SuccessPolicy")]);
}

#[test]
fn a_deleted_pod_is_replaced_at_once_or_when_it_has_ended() {
    // Policy; the numbers of pods made and failed while the first is ending, and when it has ended.
    for (policy, early, late) in
        [("TerminatingOrFailed", (2, Some(1)), (2, Some(1))), ("Failed", (1, None), (2, Some(1)))]
    {
        let mut job = job(&json!({"podReplacementPolicy": policy}));
        let mut world = World::default();
        world.look(&mut job, at(0));
        let first = world.pods.values_mut().next().unwrap();
        first.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
        world.look(&mut job, at(1));
        assert_eq!(job.status.as_ref().unwrap().terminating, Some(1), "{policy}");
        world.look(&mut job, at(12));
        assert_eq!((world.made, numbers(&job).1), early, "{policy}");
        let first = world.pods.values_mut().next().unwrap();
        first.status = Some(serde_json::from_value(json!({"phase": "Failed"})).unwrap());
        for second in 20..23 {
            world.look(&mut job, at(second));
        }
        assert_eq!((world.made, numbers(&job).1), late, "{policy}");
        assert_eq!(job.status.as_ref().unwrap().terminating, Some(0), "{policy}");
    }
}
