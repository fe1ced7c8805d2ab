//! Nodes that fall silent, return, and go.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use skiff_client::Heartbeat;
use skiff_testkit::{Cluster, given};

use crate::{is_bound, runs, schedule};

fn readiness(node: &Node) -> String {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    conditions.iter().find(|c| c.type_ == "Ready").map(|c| c.status.clone()).unwrap_or_default()
}

async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    let mut options = skiff_controllers::Options::over(cluster.link());
    options.node_grace = Duration::from_millis(800);
    options.cluster_cidrs = vec!["10.244.0.0/16".parse().unwrap()];
    skiff_controllers::build(options).run(cluster.tasks());
    schedule(&cluster, cluster.link());
    cluster
}

fn heartbeat(cluster: &Cluster, node: &Node, tasks: &skiff_base::Tasks) {
    let name = node.metadata.name.as_deref().unwrap();
    let mut heartbeat = Heartbeat::of_node(name, node.metadata.uid.as_deref().unwrap());
    heartbeat.every = Duration::from_millis(100);
    tasks.spawn_until_stop(heartbeat.run(cluster.link(), skiff_base::Clock::system()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_loses_its_pods_and_may_return() {
    let cluster = cluster().await;
    let (alive, dying) = (skiff_base::Tasks::new(), skiff_base::Tasks::new());
    let one = cluster.create(given::node("one")).await;
    let two = cluster.create(given::node("two")).await;
    heartbeat(&cluster, &one, &alive);
    heartbeat(&cluster, &two, &dying);
    let ranges = |nodes: &[std::sync::Arc<Node>]| {
        let range = |node: &Node| node.spec.as_ref().and_then(|spec| spec.pod_cidr.clone());
        nodes.iter().filter_map(|node| range(node)).collect::<std::collections::BTreeSet<_>>()
    };
    let nodes = cluster.until::<Node>(|nodes| ranges(nodes).len() == 2).await;
    assert_eq!(ranges(&nodes).into_iter().collect::<Vec<_>>(), ["10.244.0.0/24", "10.244.1.0/24"]);

    let mut pod = given::pod("default", "p");
    let spec = pod.spec.as_mut().unwrap();
    spec.node_selector = Some([("kubernetes.io/hostname".to_owned(), "two".to_owned())].into());
    spec.tolerations = Some(given::yaml(
        "[{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1},
        {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 1}]",
    ));
    cluster.create(pod).await;
    let pods = cluster.until::<Pod>(|pods| pods.len() == 1 && is_bound(&pods[0])).await;
    runs(&cluster, &pods[0], "10.244.1.2").await;

    assert!(dying.drain(Duration::from_secs(5)).await);
    let nodes = cluster
        .until::<Node>(|nodes| {
            readiness(&nodes[1]) == "Unknown"
                && nodes[1].spec.as_ref().and_then(|spec| spec.taints.as_ref()).is_some_and(|t| t.len() == 2)
        })
        .await;
    assert_eq!(readiness(&nodes[0]), "True", "the other one lives");
    let taints = nodes[1].spec.as_ref().unwrap().taints.as_ref().unwrap();
    assert!(taints.iter().all(|taint| taint.key == "node.kubernetes.io/unreachable"));
    cluster.until::<Pod>(|pods| pods.iter().all(|pod| !skiff_api::pod::is_ready(pod))).await;
    cluster.until::<Pod>(|pods| pods.iter().all(|pod| pod.metadata.deletion_timestamp.is_some())).await;

    // It comes back and says that it is well.
    let back = skiff_base::Tasks::new();
    heartbeat(&cluster, &two, &back);
    let mut well = (*nodes[1]).clone();
    well.status = given::node("two").status;
    let now = Time(skiff_base::Clock::system().now_seconds());
    let conditions = well.status.as_mut().unwrap().conditions.as_mut().unwrap();
    conditions[0].last_heartbeat_time = Some(now);
    cluster.report(&*nodes[1], &well).await;
    let untainted =
        |node: &Node| node.spec.as_ref().is_none_or(|s| s.taints.as_ref().is_none_or(Vec::is_empty));
    cluster.until::<Node>(|nodes| nodes.iter().all(|node| untainted(node))).await;
    alive.drain(Duration::from_secs(5)).await;
    back.drain(Duration::from_secs(5)).await;
    cluster.stop().await;
}
