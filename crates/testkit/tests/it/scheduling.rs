//! The scheduler over a real server.

use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::api::scheduling::v1beta1::PodGroup;
use skiff_api::pod::conditions;
use skiff_testkit::given;

use crate::{cluster, is_bound};

fn with_host_port(name: &str) -> Pod {
    given::yaml(&format!(
        "{{metadata: {{name: {name}, namespace: default}}, spec: {{containers: [{{name: c, image: app,
        ports: [{{containerPort: 6379, hostPort: 6380}}]}}]}}}}"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_pod_with_a_host_port_waits_and_says_why_until_there_is_room() {
    let cluster = cluster(&["one", "two"]).await;
    for name in ["a", "b"] {
        cluster.create(with_host_port(name)).await;
    }
    let pods = cluster.until::<Pod>(|pods| pods.iter().filter(|pod| is_bound(pod)).count() == 2).await;
    cluster.create(with_host_port("c")).await;
    let why = "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports. \
        no new claims to deallocate, preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.";
    let refused = |pod: &Pod| {
        conditions::find(pod, conditions::SCHEDULED).is_some_and(|condition| {
            condition.reason.as_deref() == Some("Unschedulable") && condition.message.as_deref() == Some(why)
        })
    };
    cluster.until::<Pod>(|pods| pods.iter().any(|pod| refused(pod))).await;
    cluster
        .until::<Event>(|events| {
            events.iter().any(|event| {
                event.reason.as_deref() == Some("FailedScheduling") && event.message.as_deref() == Some(why)
            })
        })
        .await;
    let options = k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions {
        grace_period_seconds: Some(0),
        ..Default::default()
    };
    let place = skiff_client::write::Place::of(&*pods[0]);
    skiff_client::write::delete(&cluster.link(), &place, &options).await.unwrap();
    let pods = cluster.until::<Pod>(|pods| pods.len() == 2 && pods.iter().all(|pod| is_bound(pod))).await;
    assert!(pods.iter().any(|pod| pod.metadata.name.as_deref() == Some("c")));
    assert!(conditions::is_true(pods.last().unwrap(), conditions::SCHEDULED));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_wait_for_the_first_node_and_gated_ones_for_their_gate() {
    let cluster = cluster(&[]).await;
    cluster.create(given::pod("default", "early")).await;
    let mut gated = given::pod("default", "gated");
    gated.spec.as_mut().unwrap().scheduling_gates = Some(given::yaml("[{name: example.com/wait}]"));
    let gated = cluster.create(gated).await;
    let alone = |pods: &[std::sync::Arc<Pod>]| {
        let early = pods.iter().find(|pod| pod.metadata.name.as_deref() == Some("early"));
        early
            .and_then(|pod| conditions::find(pod, conditions::SCHEDULED)?.message.clone())
            .is_some_and(|message| message == "no nodes available to schedule pods")
    };
    cluster.until(alone).await;
    cluster.create(given::node("one")).await;
    let name = |pod: &Pod| pod.metadata.name.clone().unwrap();
    let pods = cluster.until::<Pod>(|pods| pods.iter().any(|pod| is_bound(pod))).await;
    assert!(pods.iter().filter(|pod| is_bound(pod)).all(|pod| name(pod) == "early"));
    let body = serde_json::json!({ "spec": { "schedulingGates": null } });
    let place = skiff_client::write::Place::of(&gated);
    let patch = skiff_client::write::Patch::Merge;
    skiff_client::write::patch::<Pod>(&cluster.link(), &place, patch, &body).await.unwrap();
    cluster.until::<Pod>(|pods| pods.iter().all(|pod| is_bound(pod))).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_more_important_pod_makes_another_go() {
    let cluster = cluster(&["one"]).await;
    cluster.create(with_host_port("low")).await;
    cluster.until::<Pod>(|pods| pods.iter().all(|pod| is_bound(pod))).await;
    let mut high = with_host_port("high");
    high.spec.as_mut().unwrap().priority_class_name = Some("system-node-critical".to_owned());
    let high = cluster.create(high).await;
    let leaving = |pod: &Pod| {
        pod.metadata.deletion_timestamp.is_some() && conditions::is_true(pod, conditions::DISRUPTION_TARGET)
    };
    let nominated = |pod: &Pod| {
        pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref()) == Some("one")
    };
    let pods = cluster
        .until::<Pod>(|pods| pods.iter().any(|pod| leaving(pod)) && pods.iter().any(|pod| nominated(pod)))
        .await;
    let uid = high.metadata.uid.clone().unwrap();
    let said = format!("Preempted by pod {uid} on node one");
    cluster
        .until::<Event>(|events| events.iter().any(|event| event.message.as_deref() == Some(said.as_str())))
        .await;
    // The node agent, which is not there, would end it now.
    let options = k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions {
        grace_period_seconds: Some(0),
        ..Default::default()
    };
    let low = pods.iter().find(|pod| leaving(pod)).unwrap();
    skiff_client::write::delete(&cluster.link(), &skiff_client::write::Place::of(&**low), &options)
        .await
        .unwrap();
    cluster.until::<Pod>(|pods| pods.len() == 1 && is_bound(&pods[0])).await;
    cluster.stop().await;
}

/// A pod of the gang that takes a node's port for itself.
fn of_gang(name: &str) -> Pod {
    let mut pod = with_host_port(name);
    pod.spec.as_mut().unwrap().scheduling_group = Some(given::yaml("{podGroupName: gang}"));
    pod
}

/// The condition that says whether the gang was placed: its status and message.
fn said(groups: &[std::sync::Arc<PodGroup>]) -> Option<(String, String)> {
    let conditions = groups.first()?.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|it| it.type_ == "PodGroupInitiallyScheduled")?;
    Some((condition.status.clone(), condition.message.clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gang_waits_until_all_of_it_is_there_and_fits() {
    let cluster = cluster(&["one", "two"]).await;
    let group =
        "{metadata: {name: gang, namespace: default}, spec: {schedulingPolicy: {gang: {minCount: 3}}}}";
    cluster.create(given::yaml::<PodGroup>(group)).await;
    for name in ["a", "b"] {
        cluster.create(of_gang(name)).await;
    }
    // There is room for both, but they are not enough; a pod of its own goes meanwhile.
    cluster.create(given::pod("default", "alone")).await;
    cluster.until::<Pod>(|pods| pods.iter().any(|pod| is_bound(pod))).await;
    cluster.create(of_gang("c")).await;
    let why = "minCount (3) cannot be satisfied: 2 scheduled, 0 remaining, No preemption victims found for incoming preemptor";
    cluster
        .until::<PodGroup>(|groups| said(groups).is_some_and(|said| said == ("False".into(), why.into())))
        .await;
    let told =
        |pod: &Pod| conditions::find(pod, conditions::SCHEDULED).is_some_and(|it| it.status == "False");
    let pods = cluster.until::<Pod>(|pods| pods.iter().filter(|pod| told(pod)).count() == 3).await;
    assert_eq!(pods.iter().filter(|pod| is_bound(pod)).count(), 1);
    cluster.create(given::node("three")).await;
    cluster.until::<Pod>(|pods| pods.iter().all(|pod| is_bound(pod))).await;
    cluster.until::<PodGroup>(|groups| said(groups).is_some_and(|said| said.0 == "True")).await;
    cluster.stop().await;
}
