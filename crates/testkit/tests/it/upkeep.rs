//! What keeps a cluster in order, over a real server and with no more rights than its rows declare.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::apiserverinternal::v1alpha1::StorageVersion;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use k8s_openapi::api::storagemigration::v1::StorageVersionMigration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
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
async fn a_policy_is_told_what_cannot_be_right_in_its_expressions() {
    let cluster = cluster(&[]).await;
    for (name, expression) in [("right", "object.spec.replicas > 1"), ("wrong", "object.spec.replica > 1")] {
        let text = format!(
            "metadata: {{name: {name}}}\nspec: {{matchConstraints: {{resourceRules: [{{apiGroups: [apps], apiVersions: [v1], \
             operations: [CREATE], resources: [deployments]}}]}}, validations: [{{expression: '{expression}'}}]}}"
        );
        cluster.create::<ValidatingAdmissionPolicy>(given::yaml(&text)).await;
    }
    let looked_at = |policy: &Arc<ValidatingAdmissionPolicy>| {
        policy.status.as_ref().is_some_and(|status| status.observed_generation == Some(1))
    };
    let all = cluster.until::<ValidatingAdmissionPolicy>(|all| all.iter().all(looked_at)).await;
    let warnings = |name: &str| {
        let policy = all.iter().find(|policy| policy.metadata.name.as_deref() == Some(name)).unwrap();
        policy.status.clone().unwrap().type_checking.unwrap().expression_warnings.unwrap_or_default()
    };
    assert!(warnings("right").is_empty());
    let told = warnings("wrong");
    assert_eq!((told.len(), told[0].field_ref.as_str()), (1, "spec.validations[0].expression"));
    let words = "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'replica'\n | object.spec.replica > 1\n \
                 | ...........^\n";
    assert_eq!(told[0].warning, words);
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

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_said_of_its_storage_goes_with_its_lease() {
    let cluster = cluster(&[]).await;
    let lease = |name: &str| {
        given::yaml::<Lease>(&format!(
            "metadata: {{name: apiserver-{name}, namespace: kube-system, labels: {{apiserver.kubernetes.io/identity: \
             kube-apiserver}}}}\nspec: {{leaseDurationSeconds: 3600, renewTime: '2090-01-01T00:00:00.000000Z'}}"
        ))
    };
    let one = cluster.create(lease("one")).await;
    cluster.create(lease("two")).await;
    let said = |server: &str, version: &str| {
        format!(
            "{{apiServerID: apiserver-{server}, encodingVersion: {version}, decodableVersions: [v1, v2]}}"
        )
    };
    for (name, said) in [
        ("ours", [said("one", "v2"), said("two", "v1")].join(", ")),
        ("mine", said("one", "v1")),
        ("nobodys", said("three", "v1")),
    ] {
        let text = format!("metadata: {{name: example.com.{name}}}\nstatus: {{storageVersions: [{said}]}}");
        let mut version: StorageVersion = given::yaml(&text);
        skiff_api::storage_version::agree(&mut version, jiff::Timestamp::UNIX_EPOCH);
        cluster.create(version).await;
    }
    let told = |all: &[Arc<StorageVersion>]| {
        let status = |it: &Arc<StorageVersion>| it.status.as_ref()?.common_encoding_version.clone();
        let told = |it: &Arc<StorageVersion>| (it.metadata.name.clone().unwrap_or_default(), status(it));
        let mut told: Vec<_> = all.iter().map(told).collect();
        told.sort();
        told
    };
    let one_version = |name: &str, version: Option<&str>| (name.to_owned(), version.map(str::to_owned));
    let both = [one_version("example.com.mine", Some("v1")), one_version("example.com.ours", None)];
    cluster.until::<StorageVersion>(|all| told(all) == both).await;
    cluster.delete(&one, "Background").await;
    cluster.until::<StorageVersion>(|all| told(all) == [one_version("example.com.ours", Some("v1"))]).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_of_addresses_stays_while_one_lies_in_it_alone() {
    let cluster = cluster(&[]).await;
    let more = given::yaml("{metadata: {name: more}, spec: {cidrs: [10.9.0.0/24]}}");
    let more = cluster.create::<ServiceCIDR>(more).await;
    let says = |all: &[Arc<ServiceCIDR>], status: &str, reason: &str| {
        let range = all.iter().find(|it| it.metadata.name.as_deref() == Some("more"));
        let Some(range) = range else { return false };
        let conditions = range.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let ready = |it: &Condition| it.type_ == "Ready" && it.status == status && it.reason == reason;
        range.metadata.finalizers.is_some() && conditions.into_iter().any(ready)
    };
    cluster.until::<ServiceCIDR>(|all| says(all, "True", "")).await;
    let service =
        "{metadata: {name: a, namespace: default}, spec: {clusterIP: 10.9.0.7, ports: [{port: 80}]}}";
    let service = cluster.create::<Service>(given::yaml(service)).await;
    cluster
        .until::<IPAddress>(|all| all.iter().any(|it| it.metadata.name.as_deref() == Some("10.9.0.7")))
        .await;
    cluster.delete(&more, "Background").await;
    cluster.until::<ServiceCIDR>(|all| says(all, "False", "Terminating")).await;
    cluster.delete(&service, "Background").await;
    cluster.until::<ServiceCIDR>(|all| all.len() == 1).await;
    cluster.stop().await;
}
