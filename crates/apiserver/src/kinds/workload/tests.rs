//! Kinds with a pod template in YAML and what becomes of them.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::scheduling::v1::PriorityClass;

use crate::kinds::testing::{created, faults, printed, update_faults};

const NOW: &str = "2026-11-22T10:05:00Z";
const NONE: [&str; 0] = [];
const TEMPLATE: &str =
    "template: {metadata: {labels: {app: x}}, spec: {containers: [{name: c, image: web:1}]}}";

fn spec(more: &str) -> String {
    format!("{{spec: {{selector: {{matchLabels: {{app: x}}}}, {TEMPLATE}, {more}}}}}")
}

#[test]
fn deployments_roll_by_a_quarter_unless_told_otherwise() {
    let deployment = created::<Deployment>(&spec(""));
    let strategy = serde_json::to_value(&deployment.spec.strategy).unwrap();
    assert_eq!(
        strategy,
        serde_json::json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    assert_eq!(deployment.spec.progress_deadline_seconds, Some(600));
    assert_eq!(
        printed(&deployment, NOW),
        "Ready=0/1 Up-to-date=0 Available=0 Age=<unknown> Containers=c Images=web:1 Selector=app=x"
    );
    assert_eq!(faults::<Deployment>(&spec("")), NONE);
}

#[test]
fn deployments_that_cannot_work_are_refused() {
    let wrong = faults::<Deployment>(
        "{spec: {selector: {matchLabels: {app: other}}, replicas: -1,
        template: {metadata: {labels: {app: x}}, spec: {restartPolicy: Never, containers: [{name: c, image: a}]}},
        strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: '0%'}}, minReadySeconds: 700}}",
    );
    assert_eq!(
        wrong,
        [
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "spec.template.metadata.labels: Invalid value: {\"app\":\"x\"}: `selector` does not match template `labels`",
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0",
            "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
        ]
    );
    let moved = update_faults::<Deployment>(
        &spec(""),
        "{spec: {selector: {matchLabels: {app: z1}}, template: {metadata: {labels: {app: z1}}}}}",
    );
    assert_eq!(moved.len(), 1);
    assert!(
        moved[0].starts_with("spec.selector: Invalid value:") && moved[0].ends_with("field is immutable"),
        "{moved:?}"
    );
    let empty = faults::<ReplicaSet>(&format!("{{spec: {{selector: {{}}, {TEMPLATE}}}}}"));
    assert_eq!(empty, ["spec.selector: Invalid value: {}: empty selector is invalid for replicaset"]);
}

#[test]
fn daemon_sets_go_one_by_one_and_stateful_sets_in_order() {
    let set = created::<DaemonSet>(&spec(""));
    let strategy = serde_json::to_value(&set.spec.update_strategy).unwrap();
    assert_eq!(
        strategy,
        serde_json::json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})
    );
    let both = "updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 1}}";
    assert_eq!(
        faults::<DaemonSet>(&spec(both)),
        [
            "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"
        ]
    );
    let set = created::<StatefulSet>(&spec("serviceName: x"));
    assert_eq!(set.spec.pod_management_policy.as_deref(), Some("OrderedReady"));
    let renamed = update_faults::<StatefulSet>(&spec("serviceName: x"), &spec("serviceName: z1"));
    assert!(renamed[0].starts_with("spec: Forbidden: updates to statefulset spec"), "{renamed:?}");
    assert_eq!(
        update_faults::<StatefulSet>(&spec("serviceName: x"), &spec("serviceName: x, replicas: 5")),
        NONE
    );
}

#[test]
fn jobs_select_their_pods_by_their_own_uid() {
    let run = "template: {spec: {restartPolicy: Never, containers: [{name: c, image: a}]}}";
    let job = created::<Job>(&format!("{{metadata: {{name: once, uid: u1}}, spec: {{{run}}}}}"));
    let spec = job.spec.as_ref().unwrap();
    let labels = spec.template.metadata.as_ref().unwrap().labels.as_ref().unwrap();
    assert_eq!(labels["batch.kubernetes.io/job-name"], "once");
    let selector = spec.selector.as_ref().unwrap().match_labels.as_ref().unwrap();
    assert_eq!(selector["batch.kubernetes.io/controller-uid"], "u1");
    assert_eq!((spec.completions, spec.parallelism, spec.backoff_limit), (Some(1), Some(1), Some(6)));
    assert!(printed(&job, NOW).starts_with("Status=Running Completions=0/1 Duration= Age=<unknown>"));
    let always = "{spec: {template: {spec: {containers: [{name: c, image: a}]}}}}";
    assert_eq!(
        faults::<Job>(always),
        ["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""]
    );
    let indexed = format!("{{spec: {{completionMode: Indexed, parallelism: 2, {run}}}}}");
    assert_eq!(
        faults::<Job>(&indexed),
        ["spec.completions: Required value: when completion mode is Indexed"]
    );
}

#[test]
fn budgets_and_classes() {
    let both = faults::<PodDisruptionBudget>("{spec: {minAvailable: 1, maxUnavailable: 120%}}");
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(both[0].ends_with("minAvailable and maxUnavailable cannot be both set"));
    assert_eq!(both[1], "spec.maxUnavailable: Invalid value: \"120%\": must not be greater than 100%");
    let class = created::<PriorityClass>("{metadata: {name: high}, value: 10}");
    assert_eq!(
        printed(&class, NOW),
        "Value=10 Global-Default=false Age=<unknown> PreemptionPolicy=PreemptLowerPriority"
    );
    assert_eq!(
        faults::<PriorityClass>("{metadata: {name: high}, value: 2000000000}"),
        ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]
    );
}
