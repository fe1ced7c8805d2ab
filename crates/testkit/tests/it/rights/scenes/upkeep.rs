//! What keeps a cluster in order: old leases and what their servers said, classes of attributes, stored versions, signatures,
//! mirrors that are too large.

use k8s_openapi::api::apiserverinternal::v1alpha1::StorageVersion;
use skiff_testkit::given;

use super::Stage;

pub(super) async fn play(stage: &Stage<'_>) {
    let lease = "{metadata: {name: apiserver-old, labels: {apiserver.kubernetes.io/identity: kube-apiserver}}, spec: \
                 {holderIdentity: old, leaseDurationSeconds: 3600, renewTime: '2020-01-01T00:00:00.000000Z'}}";
    stage.make("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", lease).await;
    let lasting = lease.replace("-old", "-new").replace("2020", "2090");
    stage.make("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", &lasting).await;
    let said = |server: &str| {
        format!("{{apiServerID: apiserver-{server}, encodingVersion: v1, decodableVersions: [v1]}}")
    };
    for (name, said) in [("a", [said("gone"), said("new")].join(", ")), ("b", said("gone"))] {
        let version = format!(
            "{{metadata: {{name: example.com.{name}}}, status: {{commonEncodingVersion: v1, storageVersions: [{said}]}}}}"
        );
        stage.cluster.create::<StorageVersion>(given::yaml(&version)).await;
    }
    let class = "{metadata: {name: gold}, driverName: csi.example.com, parameters: {speed: high}}";
    stage.make("/apis/storage.k8s.io/v1/volumeattributesclasses", class).await;
    let migration = "{metadata: {name: maps}, spec: {resource: {group: '', resource: configmaps}}}";
    stage.make("/apis/storagemigration.k8s.io/v1/storageversionmigrations", migration).await;
    let policy = "{metadata: {name: small}, spec: {matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], \
                  operations: ['*'], resources: [configmaps]}]}, validations: [{expression: 'object.datum == 1'}]}}";
    stage.make("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies", policy).await;
    let token = "{metadata: {name: bootstrap-token-fedcba}, type: bootstrap.kubernetes.io/token, stringData: {token-id: \
                 fedcba, token-secret: 0123456789abcdef, usage-bootstrap-signing: 'true'}}";
    stage.make("/api/v1/namespaces/kube-system/secrets", token).await;
    let info = "{metadata: {name: cluster-info}, data: {kubeconfig: 'apiVersion: v1'}}";
    stage.make("/api/v1/namespaces/kube-public/configmaps", info).await;

    stage
        .make("/api/v1/namespaces/default/services", "{metadata: {name: many}, spec: {ports: [{port: 80}]}}")
        .await;
    let addresses: Vec<String> = (0..1001).map(|n| format!("{{ip: 10.8.{}.{}}}", n / 250, n % 250)).collect();
    let many = format!(
        "{{metadata: {{name: many}}, subsets: [{{addresses: [{}], ports: [{{port: 80}}]}}]}}",
        addresses.join(", ")
    );
    stage.make("/api/v1/namespaces/default/endpoints", &many).await;
}
