//! Hollow nodes over a real server with controllers and scheduler.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use skiff_base::{Clock, Tasks};
use skiff_hollow::{Hollow, Shape};
use skiff_testkit::given;

use crate::cluster;

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn workloads_live_their_whole_lives_on_hollow_nodes() {
    let cluster = cluster(&[]).await;
    let shape = Shape { nodes: 3, zones: 3, ..Shape::default() };
    let (hollow, lives) = (Hollow::build(cluster.remote(), Clock::system(), shape), Tasks::new());
    hollow.run(&lives).await.unwrap();
    cluster.until::<Node>(|nodes| nodes.len() == 3).await;
    cluster.until::<Lease>(|leases| leases.len() == 3).await;

    let deployment: Deployment = given::yaml(
        "{metadata: {name: web, namespace: default}, spec: {replicas: 20, selector: {matchLabels: {app: web}},
        template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: app}]}}}}",
    );
    let deployment = cluster.create(deployment).await;
    let ready = |one: &Deployment| one.status.as_ref().and_then(|status| status.ready_replicas);
    cluster.until::<Deployment>(|all| all.iter().any(|one| ready(one) == Some(20))).await;
    let pods = cluster.until::<Pod>(|pods| pods.iter().all(|pod| phase(pod) == "Running")).await;
    let ip = |pod: &Pod| pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    let addresses: std::collections::BTreeSet<_> = pods.iter().filter_map(|pod| ip(pod)).collect();
    assert_eq!(addresses.len(), 20, "each pod has an address of its own");

    cluster.delete(&deployment, "Background").await;
    cluster.until::<Pod>(<[_]>::is_empty).await;

    let job: Job = given::yaml(
        "{metadata: {name: short, namespace: default}, spec: {completions: 2, parallelism: 2, template: {metadata:
        {annotations: {hollow.skiff.dev/run-for-seconds: '1'}}, spec: {restartPolicy: Never,
        containers: [{name: c, image: app}]}}}}",
    );
    cluster.create(job).await;
    let done = |one: &Job| one.status.as_ref().and_then(|status| status.succeeded);
    cluster.until::<Job>(|jobs| jobs.iter().any(|one| done(one) == Some(2))).await;

    lives.drain(std::time::Duration::from_secs(5)).await;
    hollow.remove(std::time::Duration::from_secs(5)).await.unwrap();
    cluster.until::<Node>(<[_]>::is_empty).await;
    cluster.stop().await;
}
