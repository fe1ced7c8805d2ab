//! Groups of `scheduling.x-k8s.io` over a real server, whose definition comes after the scheduler.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};
use skiff_api::pod::conditions;
use skiff_apiserver::User;
use skiff_client::write::{self, Patch, Place};
use skiff_scheduler::{Configuration, Options, Scheduler};
use skiff_testkit::{Cluster, given};

use crate::is_bound;

const GROUPS: &str = "/apis/scheduling.x-k8s.io/v1alpha1/namespaces/default/podgroups";

/// A cluster whose scheduler has the plugin; nobody has defined its groups yet.
async fn cluster(nodes: &[&str]) -> Cluster {
    let cluster = Cluster::start().await;
    let configuration =
        "{apiVersion: kubescheduler.config.k8s.io/v1, kind: KubeSchedulerConfiguration, profiles:
        [{plugins: {multiPoint: {enabled: [{name: Coscheduling}], disabled: [{name: PrioritySort}]}}}]}";
    let link = cluster.linker()(User::new("system:kube-scheduler", Vec::<String>::new()));
    let configuration = Configuration::parse(configuration.as_bytes()).unwrap();
    Scheduler::build(Options { configuration, ..Options::new(link) }).run(cluster.tasks());
    skiff_controllers::build(skiff_controllers::Options::over(cluster.link())).run(cluster.tasks());
    for name in nodes {
        cluster.create(given::node(name)).await;
    }
    cluster
}

async fn define(cluster: &Cluster) {
    let free = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = json!({"type": "object", "properties": {"spec": free, "status": free}});
    let definition = json!({
        "metadata": {"name": "podgroups.scheduling.x-k8s.io",
            "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/scheduler-plugins/pull/50"}},
        "spec": {"group": "scheduling.x-k8s.io", "scope": "Namespaced",
            "names": {"plural": "podgroups", "singular": "podgroup", "kind": "PodGroup", "listKind": "PodGroupList"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]},
    });
    cluster.create::<CustomResourceDefinition>(serde_json::from_value(definition).unwrap()).await;
    let established = |crd: &CustomResourceDefinition| {
        let conditions = crd.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.into_iter().flatten().any(|it| it.type_ == "Established" && it.status == "True")
    };
    cluster.until::<CustomResourceDefinition>(|all| all.iter().any(|crd| established(crd))).await;
}

async fn group(cluster: &Cluster, spec: Value) {
    let group = json!({"apiVersion": "scheduling.x-k8s.io/v1alpha1", "kind": "PodGroup",
        "metadata": {"name": "gang"}, "spec": spec});
    let request = http::Request::post(GROUPS).header("content-type", "application/json");
    let request = request.body(group.to_string().into_bytes()).unwrap();
    cluster.link().client().request::<Value>(request).await.unwrap();
}

/// A pod of the group that takes a node's port for itself.
fn pod(name: &str) -> Pod {
    given::yaml(&format!(
        "{{metadata: {{name: {name}, namespace: default, labels: {{scheduling.x-k8s.io/pod-group: gang}}}},
        spec: {{containers: [{{name: c, image: app, ports: [{{containerPort: 80, hostPort: 80}}]}}]}}}}"
    ))
}

fn says(pod: &Pod, words: &str) -> bool {
    let condition = conditions::find(pod, conditions::SCHEDULED);
    condition.and_then(|it| it.message.as_deref()).is_some_and(|message| message.contains(words))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_goes_once_it_is_defined_and_complete() {
    let cluster = cluster(&["one", "two"]).await;
    cluster.create(pod("a")).await;
    let unknown = "0/1 nodes are available: 1 PodGroup not found.";
    cluster.until::<Pod>(|pods| pods.iter().any(|pod| says(pod, unknown))).await;
    define(&cluster).await;
    group(&cluster, json!({"minMember": 2})).await;
    let few = "0/2 nodes are available: pre-filter pod a cannot find enough sibling pods, current pods number: 1, \
        minMember of group: 2.";
    let also = "PodGroup default/gang gets rejected due to Pod a is unschedulable even after PostFilter";
    cluster.until::<Pod>(|pods| pods.iter().any(|pod| says(pod, few) && says(pod, also))).await;
    cluster.create(pod("b")).await;
    cluster.until::<Pod>(|pods| pods.len() == 2 && pods.iter().all(|pod| is_bound(pod))).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_waited_too_long_give_their_room_back_and_go_when_the_last_one_may() {
    let cluster = cluster(&["one", "two", "three"]).await;
    define(&cluster).await;
    group(&cluster, json!({"minMember": 3, "scheduleTimeoutSeconds": 1})).await;
    let mut gated = pod("c");
    gated.spec.as_mut().unwrap().scheduling_gates = Some(given::yaml("[{name: example.com/wait}]"));
    let gated = cluster.create(gated).await;
    for name in ["a", "b"] {
        cluster.create(pod(name)).await;
    }
    let late = "0/1 nodes are available: 1 rejected due to timeout after waiting 1s at plugin Coscheduling.";
    let pods = cluster.until::<Pod>(|pods| pods.iter().any(|pod| says(pod, late))).await;
    assert!(!pods.iter().any(|pod| is_bound(pod)));
    let body = json!({ "spec": { "schedulingGates": null } });
    write::patch::<Pod>(&cluster.link(), &Place::of(&gated), Patch::Merge, &body).await.unwrap();
    cluster.until::<Pod>(|pods| pods.iter().all(|pod| is_bound(pod))).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_goes_if_one_fits_nowhere_until_there_is_room_for_all() {
    let cluster = cluster(&["one", "two"]).await;
    define(&cluster).await;
    group(&cluster, json!({"minMember": 3})).await;
    for name in ["a", "b", "c"] {
        cluster.create(pod(name)).await;
    }
    let rejected = "1 optimistic rejection in PostFilter";
    let pods = cluster.until::<Pod>(|pods| pods.iter().any(|pod| says(pod, rejected))).await;
    assert!(!pods.iter().any(|pod| is_bound(pod)));
    cluster.create(given::node("three")).await;
    cluster.until::<Pod>(|pods| pods.iter().all(|pod| is_bound(pod))).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_deleted_while_it_waits_takes_the_others_along() {
    let cluster = cluster(&["one", "two"]).await;
    define(&cluster).await;
    group(&cluster, json!({"minMember": 3})).await;
    let mut gated = pod("c");
    gated.spec.as_mut().unwrap().scheduling_gates = Some(given::yaml("[{name: example.com/wait}]"));
    cluster.create(gated).await;
    let mut others = Vec::new();
    for name in ["a", "b"] {
        others.push(cluster.create(pod(name)).await);
    }
    // Both wait once there is no room for anybody else.
    let mut alone = given::pod("default", "alone");
    alone.spec.as_mut().unwrap().containers[0].ports =
        Some(given::yaml("[{containerPort: 80, hostPort: 80}]"));
    cluster.create(alone).await;
    let full = "2 node(s) didn't have free ports for the requested pod ports";
    cluster.until::<Pod>(|pods| pods.iter().any(|pod| says(pod, full))).await;
    cluster.delete(&others[0], "Background").await;
    cluster.until::<Pod>(|pods| pods.iter().any(|pod| says(pod, "1 rejection in Unreserve"))).await;
    let named = |pod: &Pod, name: &str| pod.metadata.name.as_deref() == Some(name);
    cluster.until::<Pod>(|pods| pods.iter().any(|pod| named(pod, "alone") && is_bound(pod))).await;
    cluster.stop().await;
}
