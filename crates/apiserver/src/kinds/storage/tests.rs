//! Volumes, claims and classes in YAML and what becomes of them.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::{
    CSIDriver, CSINode, StorageClass, VolumeAttachment, VolumeAttributesClass,
};

use crate::kinds::testing::{created, faults, given, printed, update_faults};

const NOW: &str = "2026-11-22T10:05:00Z";
const NONE: [&str; 0] = [];

#[test]
fn volumes_need_a_size_a_mode_and_one_source() {
    let volume = created::<PersistentVolume>(
        "{metadata: {name: v}, spec: {capacity: {storage: 1024Mi}, accessModes: [ReadWriteOnce, ReadOnlyMany], \
         hostPath: {path: /srv}, claimRef: {namespace: a, name: b}}}",
    );
    assert_eq!(
        printed(&volume, NOW),
        "Capacity=1Gi Access Modes=RWO,ROX Reclaim Policy=Retain Status=Pending Claim=a/b StorageClass= \
         VolumeAttributesClass=<unset> Reason= Age=<unknown> VolumeMode=Filesystem"
    );
    assert_eq!(
        faults::<PersistentVolume>("{spec: {}}"),
        [
            "spec.accessModes: Required value",
            "spec.capacity: Required value",
            "spec.capacity: Unsupported value: {}: supported values: \"storage\"",
            "spec: Required value: must specify a volume type",
        ]
    );
    assert_eq!(
        faults::<PersistentVolume>(
            "{spec: {capacity: {storage: '0'}, accessModes: [ReadWriteOncePod, ReadWriteOnce], local: {path: /a/../b}, \
             nfs: {server: s, path: p}}}"
        ),
        [
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero",
            "spec.local: Forbidden: may not specify more than 1 volume type",
            "spec.local.path: Invalid value: \"/a/../b\": must not contain '..'",
            "spec.nfs.path: Invalid value: \"p\": must be an absolute path",
            "spec.nodeAffinity: Required value: Local volume requires node affinity",
        ]
    );
}

#[test]
fn what_a_volume_is_made_of_stays() {
    let volume = |path: &str, size: &str| {
        format!(
            "{{spec: {{capacity: {{storage: {size}}}, accessModes: [ReadWriteOnce], hostPath: {{path: {path}}}}}}}"
        )
    };
    assert_eq!(update_faults::<PersistentVolume>(&volume("/a", "1Gi"), &volume("/a", "2Gi")), NONE);
    let moved = update_faults::<PersistentVolume>(&volume("/a", "1Gi"), &volume("/b", "1Gi"));
    assert!(
        moved[0].starts_with(
            "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n"
        ),
        "{moved:?}"
    );
}

#[test]
fn claims_say_how_much_and_how() {
    assert_eq!(
        faults::<PersistentVolumeClaim>("{spec: {accessModes: [Often], storageClassName: A_b}}"),
        [
            "spec.accessModes: Unsupported value: \"Often\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
            "spec.resources[storage]: Required value",
            "spec.storageClassName: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ]
    );
    let claim: PersistentVolumeClaim = given(
        "{spec: {volumeName: v, accessModes: [ReadWriteOnce], storageClassName: fast, resources: {requests: {storage: 1Gi}}}, \
         status: {phase: Bound, accessModes: [ReadWriteMany], capacity: {storage: 2Gi}}}",
    );
    assert_eq!(
        printed(&claim, NOW),
        "Status=Bound Volume=v Capacity=2Gi Access Modes=RWX StorageClass=fast VolumeAttributesClass=<unset> \
         Age=<unknown> VolumeMode=<unset>"
    );
}

#[test]
fn a_bound_claim_may_grow_and_a_claim_may_get_its_volume_and_class_once() {
    let claim = |rest: &str, size: &str| {
        format!(
            "{{spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: {size}}}}}{rest}}}, \
             status: {{phase: Bound, capacity: {{storage: 2Gi}}}}}}"
        )
    };
    let changes = |old: &str, new: &str| {
        let old = given::<PersistentVolumeClaim>(old);
        let mut object = given::<PersistentVolumeClaim>(new);
        object.status.clone_from(&old.status);
        let mut errors = skiff_api::Errors::new();
        crate::kinds::Kind::validate_update(&object, &old, &mut errors);
        errors.into_list().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(changes(&claim("", "2Gi"), &claim("", "3Gi")), NONE);
    assert_eq!(
        changes(&claim("", "2Gi"), &claim("", "1Gi")),
        ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]
    );
    assert_eq!(changes(&claim("", "2Gi"), &claim(", volumeName: v, storageClassName: c", "2Gi")), NONE);
    let changed = changes(&claim(", volumeName: v", "2Gi"), &claim(", volumeName: w", "2Gi"));
    assert_eq!(
        changed,
        [
            "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n\
             - volumeName: \"v\"\n+ volumeName: \"w\"\n"
        ]
    );
}

#[test]
fn classes_keep_what_volumes_depend_on() {
    let class = created::<StorageClass>(
        "{metadata: {name: c, annotations: {storageclass.kubernetes.io/is-default-class: 'true'}}, provisioner: a.b/c}",
    );
    assert_eq!(
        printed(&class, NOW),
        "Name=c (default) Provisioner=a.b/c ReclaimPolicy=Delete VolumeBindingMode=Immediate \
         AllowVolumeExpansion=false Age=<unknown>"
    );
    assert_eq!(
        update_faults::<StorageClass>(
            "{provisioner: a}",
            "{provisioner: b, reclaimPolicy: Retain, parameters: {a: b}}"
        ),
        [
            "parameters: Forbidden: updates to parameters are forbidden.",
            "provisioner: Forbidden: updates to provisioner are forbidden.",
            "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.",
        ]
    );
    assert_eq!(
        faults::<VolumeAttributesClass>("{driverName: ''}"),
        [
            "driverName: Required value",
            "parameters: Required value: must contain at least one key/value pair"
        ]
    );
}

#[test]
fn drivers_nodes_and_attachments_are_checked() {
    let driver = created::<CSIDriver>("{spec: {tokenRequests: [{audience: a}, {audience: a}]}}");
    assert_eq!(
        printed(&driver, NOW),
        "AttachRequired=true PodInfoOnMount=false StorageCapacity=false TokenRequests=a,a RequiresRepublish=false \
         Modes=Persistent Age=<unknown>"
    );
    assert_eq!(
        faults::<CSIDriver>("{spec: {tokenRequests: [{audience: a}, {audience: a}]}}"),
        ["spec.tokenRequests[1].audience: Duplicate value: \"a\""]
    );
    assert_eq!(
        faults::<CSIDriver>("{spec: {serviceAccountTokenInSecrets: true}}"),
        [
            "spec.serviceAccountTokenInSecrets: Invalid value: true: serviceAccountTokenInSecrets is set but no tokenRequests are specified"
        ]
    );
    assert_eq!(
        faults::<CSINode>("{spec: {drivers: [{name: d, nodeID: node}, {name: d, nodeID: ''}]}}"),
        ["spec.drivers[1].nodeID: Required value", "spec.drivers[1].name: Duplicate value: \"d\""]
    );
    assert_eq!(
        faults::<VolumeAttachment>("{spec: {attacher: a, nodeName: node, source: {}}}"),
        [
            "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        ]
    );
}
