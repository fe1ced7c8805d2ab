//! What keeps a cluster in order, over a real server and with no more rights than its rows declare.

use std::sync::Arc;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use k8s_openapi::api::storagemigration::v1::StorageVersionMigration;
use skiff_testkit::given;

use crate::cluster;

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_migration_is_carried_out_and_one_of_nothing_fails() {
    let cluster = cluster(&[]).await;
    for name in ["configmaps", "unicorns"] {
        let text = format!("metadata: {{name: {name}}}\nspec: {{resource: {{group: '', resource: {name}}}}}");
        cluster.create::<StorageVersionMigration>(given::yaml(&text)).await;
    }
    let ended = |all: &[Arc<StorageVersionMigration>], name: &str, kind: &str| {
        let held = all.iter().find(|it| it.metadata.name.as_deref() == Some(name));
        let conditions = held.and_then(|it| it.status.as_ref()?.conditions.clone()).unwrap_or_default();
        conditions.iter().any(|it| it.type_ == kind && it.status == "True")
    };
    let both = |all: &[Arc<StorageVersionMigration>]| {
        ended(all, "configmaps", "Succeeded") && ended(all, "unicorns", "Failed")
    };
    cluster.until::<StorageVersionMigration>(both).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_of_attributes_stays_while_a_claim_has_it() {
    let cluster = cluster(&[]).await;
    let gold = "metadata: {name: gold}\ndriverName: csi.example.com\nparameters: {speed: high}";
    let gold = cluster.create::<VolumeAttributesClass>(given::yaml(gold)).await;
    let kept = |all: &[Arc<VolumeAttributesClass>]| all.iter().all(|it| it.metadata.finalizers.is_some());
    cluster.until::<VolumeAttributesClass>(kept).await;
    let claim = "metadata: {name: c, namespace: default}\nspec: {storageClassName: '', volumeAttributesClassName: gold, \
                 accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}";
    let claim = cluster.create::<PersistentVolumeClaim>(given::yaml(claim)).await;
    cluster.until::<PersistentVolumeClaim>(|all| all.iter().all(|it| it.metadata.finalizers.is_some())).await;
    cluster.delete(&gold, "Background").await;
    let leaving =
        |all: &[Arc<VolumeAttributesClass>]| all.iter().all(|it| it.metadata.deletion_timestamp.is_some());
    cluster.until::<VolumeAttributesClass>(|all| !all.is_empty() && leaving(all)).await;
    cluster.delete(&claim, "Background").await;
    cluster.until::<VolumeAttributesClass>(|all| all.is_empty()).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_of_a_server_that_is_long_gone_goes() {
    let cluster = cluster(&[]).await;
    for (name, renewed) in [("old", "2020-01-01T00:00:00.000000Z"), ("new", "2090-01-01T00:00:00.000000Z")] {
        let text = format!(
            "metadata: {{name: apiserver-{name}, namespace: kube-system, labels: {{apiserver.kubernetes.io/identity: \
             kube-apiserver}}}}\nspec: {{holderIdentity: {name}, leaseDurationSeconds: 3600, renewTime: '{renewed}'}}"
        );
        cluster.create::<Lease>(given::yaml(&text)).await;
    }
    let left = |all: &[Arc<Lease>]| {
        let names: Vec<&str> = all.iter().filter_map(|it| it.metadata.name.as_deref()).collect();
        names == ["apiserver-new"]
    };
    cluster.until::<Lease>(left).await;
    cluster.stop().await;
}
