//! Claims, volumes, and pods that wait for them, over a real server with controllers and scheduler.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Event, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::json;
use skiff_client::write::{self, Patch, Place};
use skiff_testkit::{Cluster, given};

use crate::{cluster, is_bound};

fn claim(name: &str, rest: &str) -> PersistentVolumeClaim {
    given::yaml(&format!(
        "{{metadata: {{name: {name}, namespace: default}}, spec: {{accessModes: [ReadWriteOnce], resources: \
         {{requests: {{storage: 1Gi}}}}{rest}}}}}"
    ))
}

fn user(name: &str, claim: &str) -> Pod {
    given::yaml(&format!(
        "{{metadata: {{name: {name}, namespace: default}}, spec: {{containers: [{{name: c, image: app}}], volumes: \
         [{{name: v, persistentVolumeClaim: {{claimName: {claim}}}}}]}}}}"
    ))
}

fn has_phase(claims: &[Arc<PersistentVolumeClaim>], name: &str, phase: &str) -> bool {
    claims.iter().any(|claim| {
        claim.metadata.name.as_deref() == Some(name)
            && claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some(phase)
    })
}

/// A node that has a place for local volumes.
async fn roomy(cluster: &Cluster, name: &str) {
    let mut node: Node = given::node(name);
    let note = ("skiff.dev/local-path-root".to_owned(), "/srv/local".to_owned());
    node.metadata.annotations = Some([note].into());
    cluster.create(node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_the_default_class_gets_a_folder_where_its_first_pod_runs_and_goes_with_it() {
    let cluster = cluster(&[]).await;
    roomy(&cluster, "one").await;
    cluster.create(claim("data", "")).await;
    cluster.until::<PersistentVolumeClaim>(|claims| has_phase(claims, "data", "Pending")).await;
    cluster
        .until::<Event>(|all| all.iter().any(|it| it.reason.as_deref() == Some("WaitForFirstConsumer")))
        .await;
    cluster.create(user("web", "data")).await;
    let pods = cluster.until::<Pod>(|pods| pods.iter().all(|pod| is_bound(pod)) && !pods.is_empty()).await;
    let claims = cluster.until::<PersistentVolumeClaim>(|claims| has_phase(claims, "data", "Bound")).await;
    assert_eq!(claims[0].spec.as_ref().unwrap().storage_class_name.as_deref(), Some("local-path"));
    let volumes = cluster
        .until::<PersistentVolume>(|all| {
            all.iter().any(|it| it.status.as_ref().is_some_and(|it| it.phase.as_deref() == Some("Bound")))
        })
        .await;
    assert!(
        volumes[0].spec.as_ref().unwrap().host_path.as_ref().unwrap().path.starts_with("/srv/local/pvc-")
    );
    // The claim stays while its pod is there.
    cluster.delete(&*claims[0], "Background").await;
    cluster
        .until::<PersistentVolumeClaim>(|all| all.iter().all(|it| it.metadata.deletion_timestamp.is_some()))
        .await;
    let gone = skiff_client::write::only(pods[0].metadata.uid.as_deref().unwrap());
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions {
        grace_period_seconds: Some(0),
        ..gone
    };
    write::delete(&cluster.link(), &Place::of(&*pods[0]), &now).await.unwrap();
    cluster.until::<PersistentVolumeClaim>(<[_]>::is_empty).await;
    // Its volume goes once the node has cleared the folder.
    let volumes = cluster
        .until::<PersistentVolume>(|all| {
            all.iter().all(|it| {
                it.metadata.deletion_timestamp.is_some()
                    && it.metadata.finalizers.as_deref() == Some(&["skiff.dev/local-path".to_owned()])
            })
        })
        .await;
    let cleared = json!({ "metadata": { "finalizers": null } });
    let place = Place::of(&*volumes[0]);
    write::patch::<PersistentVolume>(&cluster.link(), &place, Patch::Merge, &cleared).await.unwrap();
    cluster.until::<PersistentVolume>(<[_]>::is_empty).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_made_by_hand_are_bound_and_claims_grow_where_their_class_allows_it() {
    let cluster = cluster(&["one"]).await;
    let volume: PersistentVolume = given::yaml(
        "{metadata: {name: v}, spec: {capacity: {storage: 2Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /srv/v}, \
         storageClassName: manual}}",
    );
    cluster.create(volume).await;
    cluster.create(claim("data", ", storageClassName: manual")).await;
    let claims = cluster.until::<PersistentVolumeClaim>(|claims| has_phase(claims, "data", "Bound")).await;
    assert_eq!(claims[0].status.as_ref().unwrap().capacity.as_ref().unwrap()["storage"].0, "2Gi");
    let more = json!({ "spec": { "resources": { "requests": { "storage": "3Gi" } } } });
    let place = Place::of(&*claims[0]);
    let link = cluster.link();
    let grow = || write::patch::<PersistentVolumeClaim>(&link, &place, Patch::Merge, &more);
    let refused = grow().await.unwrap_err();
    assert!(write::words(&refused).contains("only dynamically provisioned pvc can be resized"), "{refused}");
    let class: StorageClass =
        given::yaml("{metadata: {name: manual}, provisioner: example.com/none, allowVolumeExpansion: true}");
    cluster.create(class).await;
    grow().await.unwrap();
    cluster
        .until::<Event>(|all| all.iter().any(|it| it.reason.as_deref() == Some("ExternalExpanding")))
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_waits_for_its_claim_and_is_tried_again_when_it_comes() {
    let cluster = cluster(&[]).await;
    roomy(&cluster, "one").await;
    cluster.create(user("web", "data")).await;
    cluster
        .until::<Event>(|all| {
            let missing = "persistentvolumeclaim \"data\" not found";
            all.iter().any(|it| it.message.as_ref().is_some_and(|message| message.contains(missing)))
        })
        .await;
    cluster.create(claim("data", "")).await;
    cluster.until::<Pod>(|pods| pods.iter().all(|pod| is_bound(pod))).await;
    cluster.stop().await;
}
