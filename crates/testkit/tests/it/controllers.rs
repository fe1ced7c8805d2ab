//! Controllers over a real server.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Pod, ReplicationController, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use skiff_client::write::{self, Patch, Place};
use skiff_testkit::{Cluster, given, links};

use crate::{active, cluster, control, is_bound, runs};

fn controller(name: &str, replicas: i32) -> ReplicationController {
    given::yaml(&format!(
        "metadata: {{name: {name}, namespace: default}}
spec:
  replicas: {replicas}
  selector: {{app: {name}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: c, image: app}}]}}
"
    ))
}

/// Nobody owns it.
fn is_free(pod: &Pod) -> bool {
    pod.metadata.owner_references.as_ref().is_none_or(Vec::is_empty)
}

async fn scale(cluster: &Cluster, name: &str, replicas: i32) {
    let body = serde_json::json!({ "spec": { "replicas": replicas } });
    let place = Place::of(&controller(name, replicas));
    write::patch::<ReplicationController>(&cluster.link(), &place, Patch::Merge, &body).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_are_made_placed_replaced_and_scaled() {
    let cluster = cluster(&["one", "two"]).await;
    cluster.create(controller("web", 3)).await;
    let pods = cluster.until::<Pod>(|pods| pods.len() == 3 && pods.iter().all(|pod| is_bound(pod))).await;
    assert!(pods.iter().all(|pod| pod.metadata.name.as_ref().unwrap().starts_with("web-")));
    let nodes: HashSet<&str> = pods.iter().filter_map(|pod| skiff_api::pod::node_name(pod)).collect();
    assert_eq!(nodes.len(), 2, "spread over both nodes");

    for (n, pod) in pods.iter().enumerate() {
        runs(&cluster, pod, &format!("10.0.0.{}", n + 1)).await;
    }
    let ready = |all: &[Arc<ReplicationController>]| {
        let status = all.first().and_then(|rc| rc.status.clone()).unwrap_or_default();
        (status.replicas, status.ready_replicas, status.available_replicas) == (3, Some(3), Some(3))
    };
    let controllers = cluster.until(ready).await;
    assert_eq!(controllers[0].status.as_ref().unwrap().observed_generation, Some(1));

    let lost = pods[0].metadata.uid.clone();
    cluster.delete(&*pods[0], "Background").await;
    cluster
        .until::<Pod>(|pods| {
            let active = active(pods);
            active.len() == 3 && active.iter().all(|pod| pod.metadata.uid != lost)
        })
        .await;

    scale(&cluster, "web", 1).await;
    let pods = cluster.until::<Pod>(|pods| active(pods).len() == 1).await;
    assert!(skiff_api::pod::is_ready(active(&pods)[0]), "the ready ones stay");
    let events = cluster
        .until::<Event>(|events| {
            let said = |reason: &str| events.iter().any(|event| event.reason.as_deref() == Some(reason));
            said("SuccessfulCreate") && said("SuccessfulDelete") && said("Scheduled")
        })
        .await;
    let made = events.iter().find(|event| event.reason.as_deref() == Some("SuccessfulCreate")).unwrap();
    assert!(made.message.as_ref().unwrap().starts_with("Created pod: web-"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn near_and_far_control_planes_do_the_same() {
    links::over_both(|cluster: Arc<Cluster>, link| async move {
        control(&cluster, link);
        cluster.create(given::node("one")).await;
        let service =
            "{metadata: {name: web, namespace: default}, spec: {selector: {app: web}, ports: [{port: 80}]}}";
        cluster.create(given::yaml::<Service>(service)).await;
        let made = cluster.create(controller("web", 3)).await;
        let pods = cluster.until::<Pod>(|pods| pods.len() == 3 && pods.iter().all(|pod| is_bound(pod))).await;
        runs(&cluster, &pods[0], "10.0.0.1").await;
        let served = |all: &[Arc<EndpointSlice>]| {
            all.iter().flat_map(|slice| slice.endpoints.iter().flatten()).any(|e| e.addresses == ["10.0.0.1"])
        };
        cluster.until::<EndpointSlice>(served).await;
        cluster.delete(&made, "Foreground").await;
        cluster.until::<Pod>(|pods| active(pods).is_empty()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_replicas_are_made_exactly_once_each() {
    let cluster = cluster(&["one", "two", "three"]).await;
    cluster.create(controller("web", 300)).await;
    let pods = cluster.until::<Pod>(|pods| pods.len() >= 300 && pods.iter().all(|pod| is_bound(pod))).await;
    assert_eq!(pods.len(), 300);
    let full = |all: &[Arc<ReplicationController>]| {
        all[0].status.as_ref().is_some_and(|status| status.replicas == 300)
    };
    cluster.until(full).await;
    let events = cluster.until::<Event>(|events| !events.is_empty()).await;
    assert!(events.iter().all(|event| event.reason.as_deref() != Some("SuccessfulDelete")));
    scale(&cluster, "web", 10).await;
    cluster.until::<Pod>(|pods| active(pods).len() == 10).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_adopted_and_strangers_let_go() {
    let cluster = cluster(&["one"]).await;
    let mut orphan = given::pod("default", "orphan");
    orphan.metadata.labels = Some([("app".to_owned(), "web".to_owned())].into());
    cluster.create(orphan).await;
    // Placed, so that all have seen it: a controller that comes first would rightly make two pods of its own.
    cluster.until::<Pod>(|pods| pods.iter().any(|pod| is_bound(pod))).await;
    cluster.create(controller("web", 2)).await;
    let owned =
        |pods: &[Arc<Pod>]| pods.len() == 2 && pods.iter().all(|pod| pod.metadata.owner_references.is_some());
    let pods = cluster.until(owned).await;
    let adopted = pods.iter().find(|pod| pod.metadata.name.as_deref() == Some("orphan")).unwrap();

    let body = serde_json::json!({ "metadata": { "labels": { "app": "other" } } });
    write::patch::<Pod>(&cluster.link(), &Place::of(&**adopted), Patch::Merge, &body).await.unwrap();
    cluster
        .until::<Pod>(|pods| {
            pods.len() == 3
                && pods.iter().any(|pod| pod.metadata.name.as_deref() == Some("orphan") && is_free(pod))
        })
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_fits_again_goes_back_to_its_stateful_set() {
    let cluster = cluster(&["one"]).await;
    let set = serde_json::json!({
        "metadata": { "name": "db", "namespace": "default" },
        "spec": { "serviceName": "db", "selector": { "matchLabels": { "app": "db" } }, "template": {
            "metadata": { "labels": { "app": "db" } },
            "spec": { "containers": [{ "name": "c", "image": "busybox" }] },
        } },
    });
    cluster.create(serde_json::from_value::<StatefulSet>(set).unwrap()).await;
    let owned = |pods: &[Arc<Pod>]| pods.len() == 1 && !is_free(&pods[0]);
    let label = async |app: Option<&str>, settled: fn(&Pod) -> bool| {
        let pods = cluster.until(|pods: &[Arc<Pod>]| pods.len() == 1).await;
        let body = serde_json::json!({ "metadata": { "labels": { "app": app } } });
        write::patch::<Pod>(&cluster.link(), &Place::of(&*pods[0]), Patch::Merge, &body).await.unwrap();
        cluster.until(|pods: &[Arc<Pod>]| pods.len() == 1 && settled(&pods[0])).await;
    };
    cluster.until(owned).await;
    label(None, is_free).await;
    label(Some("db"), |pod| !is_free(pod)).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_revision_is_as_good_as_the_first() {
    let cluster = cluster(&["one"]).await;
    let set: DaemonSet = given::yaml(
        "metadata: {name: d, namespace: default}
spec:
  selector: {matchLabels: {app: d}}
  template:
    metadata: {labels: {app: d}}
    spec: {containers: [{name: c, image: app}]}
",
    );
    cluster.create(set.clone()).await;
    let first = cluster.until::<ControllerRevision>(|held| held.len() == 1).await.remove(0);
    let mut copy = ControllerRevision::clone(&first);
    copy.metadata.name = Some("d-copy".to_owned());
    copy.metadata.uid = None;
    copy.metadata.resource_version = None;
    copy.revision = Some(2);
    cluster.create(copy).await;
    cluster.delete(&*first, "Background").await;
    // A later template is numbered after the copy, so the first one did not come again.
    let body =
        serde_json::json!({ "spec": { "template": { "spec": { "terminationGracePeriodSeconds": 5 } } } });
    write::patch::<DaemonSet>(&cluster.link(), &Place::of(&set), Patch::Strategic, &body).await.unwrap();
    let held = cluster.until::<ControllerRevision>(|held| held.len() == 2).await;
    let mut numbers: Vec<_> = held.iter().map(|one| one.revision.unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_controller_takes_or_leaves_its_pods_as_asked() {
    let cluster = cluster(&[]).await;
    for (policy, left) in [("Background", 0), ("Foreground", 0), ("Orphan", 2)] {
        let made = cluster.create(controller("web", 2)).await;
        cluster.until::<Pod>(|pods| pods.len() == 2).await;
        cluster.delete(&made, policy).await;
        cluster.until::<ReplicationController>(|all| all.is_empty()).await;
        let settled = |pods: &[Arc<Pod>]| pods.len() == left && pods.iter().all(|pod| is_free(pod));
        let pods = cluster.until::<Pod>(settled).await;
        for pod in pods {
            cluster.delete(&*pod, "Background").await;
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_and_slices_follow_the_pods_behind_a_service() {
    let cluster = cluster(&["one"]).await;
    let service: Service = given::yaml(
        "metadata: {name: web, namespace: default}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}",
    );
    let service = cluster.create(service).await;
    cluster.create(controller("web", 2)).await;
    let pods = cluster.until::<Pod>(|pods| pods.len() == 2 && pods.iter().all(|pod| is_bound(pod))).await;
    for (n, pod) in pods.iter().enumerate() {
        runs(&cluster, pod, &format!("10.0.0.{}", n + 1)).await;
    }
    let of = |all: &[Arc<Endpoints>]| {
        let web = all.iter().find(|e| e.metadata.name.as_deref() == Some("web")).cloned();
        let subset = web.and_then(|web| web.subsets.clone()?.first().cloned()).unwrap_or_default();
        subset.addresses.unwrap_or_default().iter().map(|address| address.ip.clone()).collect::<Vec<_>>()
    };
    cluster.until::<Endpoints>(|all| of(all) == ["10.0.0.1", "10.0.0.2"]).await;
    let slices = cluster
        .until::<EndpointSlice>(|all| {
            let ready = |slice: &EndpointSlice| {
                let endpoints = slice.endpoints.iter().flatten();
                endpoints.filter(|e| e.conditions.as_ref().is_some_and(|c| c.ready == Some(true))).count()
            };
            all.iter().map(|slice| ready(slice)).sum::<usize>() == 2
        })
        .await;
    assert_eq!(slices[0].ports.as_ref().unwrap()[0].port, Some(8080));

    cluster.delete(&*pods[0], "Background").await;
    cluster.until::<Endpoints>(|all| of(all) == ["10.0.0.2"]).await;
    cluster.delete(&service, "Background").await;
    cluster.until::<Endpoints>(|all| all.iter().all(|e| e.metadata.name.as_deref() != Some("web"))).await;
    cluster.until::<EndpointSlice>(|all| all.is_empty()).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_written_by_hand_are_mirrored_for_a_service_without_selector() {
    let cluster = cluster(&[]).await;
    let service = "{metadata: {name: db, namespace: default}, spec: {ports: [{port: 5432}]}}";
    cluster.create(given::yaml::<Service>(service)).await;
    let endpoints: Endpoints = given::yaml(
        "{metadata: {name: db, namespace: default}, subsets: [{addresses: [{ip: 192.0.2.7}], ports: [{port: 5432}]}]}",
    );
    let endpoints = cluster.create(endpoints).await;
    let addresses = |all: &[Arc<EndpointSlice>]| {
        let endpoints = all.iter().flat_map(|slice| slice.endpoints.iter().flatten());
        endpoints.flat_map(|endpoint| endpoint.addresses.clone()).collect::<Vec<_>>()
    };
    cluster.until::<EndpointSlice>(|all| addresses(all) == ["192.0.2.7"]).await;
    cluster.delete(&endpoints, "Background").await;
    cluster.until::<EndpointSlice>(|all| all.is_empty()).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_takes_everything_in_it_along() {
    let cluster = cluster(&[]).await;
    let namespace: Namespace = given::yaml("metadata: {name: blue}");
    let namespace = cluster.create(namespace).await;
    cluster
        .until::<ServiceAccount>(|all| all.iter().any(|a| a.metadata.namespace.as_deref() == Some("blue")))
        .await;
    let mut rc = controller("web", 3);
    rc.metadata.namespace = Some("blue".to_owned());
    cluster.create(rc).await;
    let secret: Secret = given::yaml("metadata: {name: s, namespace: blue}");
    cluster.create(secret).await;
    let map: ConfigMap = given::yaml("metadata: {name: m, namespace: blue, finalizers: [example.com/hold]}");
    let map = cluster.create(map).await;
    cluster.until::<Pod>(|pods| pods.len() == 3).await;

    cluster.delete(&namespace, "Background").await;
    let held = |all: &[Arc<Namespace>]| {
        let blue = all.iter().find(|n| n.metadata.name.as_deref() == Some("blue"));
        let conditions = blue.and_then(|blue| blue.status.clone()?.conditions).unwrap_or_default();
        conditions.iter().any(|c| {
            c.type_ == "NamespaceFinalizersRemaining"
                && c.message.as_ref().is_some_and(|m| m.contains("example.com/hold in 1 resource instances"))
        })
    };
    cluster.until(held).await;
    let body = serde_json::json!({ "metadata": { "finalizers": null } });
    write::patch::<serde_json::Value>(&cluster.link(), &Place::of(&map), Patch::Merge, &body).await.unwrap();
    cluster.until::<Namespace>(|all| all.iter().all(|n| n.metadata.name.as_deref() != Some("blue"))).await;
    cluster.until::<Pod>(|pods| pods.is_empty()).await;
    cluster.stop().await;
}
