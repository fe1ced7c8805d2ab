//! The roles of upstream's controllers, one row each; for those who run such a controller against this server.
//!
//! Our own controllers declare what they need in their rows; the role of each is made from there.

use super::{
    CERTIFICATES, DEVICES, EVENTS, NETWORKING, RBAC, READ, REVIEW_ACCESS, Rule, SLICES, STORAGE, WORKLOADS,
    on, only,
};

const ADMISSION: &str = "admissionregistration.k8s.io";

/// Controllers: the role `system:controller:NAME`, bound to the account `NAME` of `kube-system`.
pub(crate) static CONTROLLERS: &[(&str, &[Rule])] = &[
    (
        "attachdetach-controller",
        &[
            on("list watch", "-", "persistentvolumeclaims persistentvolumes"),
            on(READ, "-", "nodes"),
            on("patch update", "-", "nodes/status"),
            on("list watch", "-", "pods"),
            EVENTS,
            on("create delete get list watch", STORAGE, "volumeattachments"),
            on(READ, STORAGE, "csidrivers"),
            on(READ, STORAGE, "csinodes"),
        ],
    ),
    (
        "clusterrole-aggregation-controller",
        &[on("escalate get list patch update watch", RBAC, "clusterroles")],
    ),
    (
        "cronjob-controller",
        &[
            on("get list update watch", "batch", "cronjobs"),
            on("create delete get list patch update watch", "batch", "jobs"),
            on("update", "batch", "cronjobs/status"),
            on("update", "batch", "cronjobs/finalizers"),
            on("delete list watch", "-", "pods"),
            EVENTS,
        ],
    ),
    (
        "daemon-set-controller",
        &[
            on(READ, WORKLOADS, "daemonsets"),
            on("update", WORKLOADS, "daemonsets/status"),
            on("update", WORKLOADS, "daemonsets/finalizers"),
            on("list watch", "-", "nodes"),
            on("create delete list patch watch", "-", "pods"),
            on("create", "-", "pods/binding"),
            on("create delete get list patch update watch", "apps", "controllerrevisions"),
            EVENTS,
        ],
    ),
    (
        "deployment-controller",
        &[
            on("get list update watch", WORKLOADS, "deployments"),
            on("update", WORKLOADS, "deployments/status"),
            on("update", WORKLOADS, "deployments/finalizers"),
            on("create delete get list patch update watch", WORKLOADS, "replicasets"),
            on("get list update watch", "-", "pods"),
            EVENTS,
        ],
    ),
    (
        "disruption-controller",
        &[
            on(READ, WORKLOADS, "deployments"),
            on(READ, WORKLOADS, "replicasets"),
            on(READ, "-", "replicationcontrollers"),
            on(READ, "policy", "poddisruptionbudgets"),
            on(READ, "apps", "statefulsets"),
            on("update", "policy", "poddisruptionbudgets/status"),
            on("patch update", "-", "pods/status"),
            on("get", "*", "*/scale"),
            EVENTS,
        ],
    ),
    (
        "endpoint-controller",
        &[
            on(READ, "-", "pods services"),
            on("create delete get list update watch", "-", "endpoints"),
            on("create", "-", "endpoints/restricted"),
            EVENTS,
        ],
    ),
    (
        "endpointslice-controller",
        &[
            on(READ, "-", "nodes pods services"),
            on("update", "-", "services/finalizers"),
            on("create delete get list update watch", SLICES, "endpointslices"),
            EVENTS,
        ],
    ),
    (
        "endpointslicemirroring-controller",
        &[
            on(READ, "-", "endpoints services"),
            on("update", "-", "services/finalizers"),
            on("update", "-", "endpoints/finalizers"),
            on("create delete get list update watch", SLICES, "endpointslices"),
            EVENTS,
        ],
    ),
    (
        "expand-controller",
        &[
            on("get list patch update watch", "-", "persistentvolumes"),
            on("patch update", "-", "persistentvolumeclaims/status"),
            on(READ, "-", "persistentvolumeclaims"),
            EVENTS,
        ],
    ),
    (
        "ephemeral-volume-controller",
        &[
            on(READ, "-", "pods"),
            on("update", "-", "pods/finalizers"),
            on("create get list watch", "-", "persistentvolumeclaims"),
            EVENTS,
        ],
    ),
    (
        "resource-claim-controller",
        &[
            on(READ, "-", "pods"),
            on("update", "-", "pods/finalizers"),
            on("create delete get list watch", DEVICES, "resourceclaims"),
            on("patch update", DEVICES, "resourceclaims resourceclaims/status"),
            on("patch update", "-", "pods/status"),
            EVENTS,
        ],
    ),
    ("generic-garbage-collector", &[on("delete get list patch update watch", "*", "*"), EVENTS]),
    (
        "horizontal-pod-autoscaler",
        &[
            on(READ, "autoscaling", "horizontalpodautoscalers"),
            on("update", "autoscaling", "horizontalpodautoscalers/status"),
            on("get update", "*", "*/scale"),
            on("list watch", "-", "pods"),
            on("list", "metrics.k8s.io", "pods"),
            on("get list", "custom.metrics.k8s.io", "*"),
            on("get list", "external.metrics.k8s.io", "*"),
            EVENTS,
        ],
    ),
    (
        "job-controller",
        &[
            on("get list patch update watch", "batch", "jobs"),
            on("update", "batch", "jobs/status"),
            on("update", "batch", "jobs/finalizers"),
            on("create delete list patch watch", "-", "pods"),
            EVENTS,
        ],
    ),
    (
        "namespace-controller",
        &[
            on("delete get list watch", "-", "namespaces"),
            on("update", "-", "namespaces/finalize namespaces/status"),
            on("delete deletecollection get list watch", "*", "*"),
        ],
    ),
    (
        "node-controller",
        &[
            on("delete get list patch update watch", "-", "nodes"),
            on("patch update", "-", "nodes/status"),
            on("patch update", "-", "pods/status"),
            on("delete get list watch", "-", "pods"),
            EVENTS,
        ],
    ),
    (
        "persistent-volume-binder",
        &[
            on("create delete get list update watch", "-", "persistentvolumes"),
            on("update", "-", "persistentvolumes/status"),
            on("get list update watch", "-", "persistentvolumeclaims"),
            on("update", "-", "persistentvolumeclaims/status"),
            on("create delete get list watch", "-", "pods"),
            on(READ, STORAGE, "storageclasses"),
            on("list watch", "-", "nodes"),
            EVENTS,
            on("watch", "-", "events"),
        ],
    ),
    (
        "pod-garbage-collector",
        &[on("delete list watch", "-", "pods"), on(READ, "-", "nodes"), on("patch", "-", "pods/status")],
    ),
    (
        "replicaset-controller",
        &[
            on("get list update watch", WORKLOADS, "replicasets"),
            on("update", WORKLOADS, "replicasets/status"),
            on("update", WORKLOADS, "replicasets/finalizers"),
            on("create delete list patch watch", "-", "pods"),
            EVENTS,
        ],
    ),
    (
        "replication-controller",
        &[
            on("get list update watch", "-", "replicationcontrollers"),
            on("update", "-", "replicationcontrollers/status"),
            on("update", "-", "replicationcontrollers/finalizers"),
            on("create delete list patch watch", "-", "pods"),
            EVENTS,
        ],
    ),
    (
        "resourcequota-controller",
        &[on("list watch", "*", "*"), on("update", "-", "resourcequotas/status"), EVENTS],
    ),
    ("route-controller", &[on("list watch", "-", "nodes"), on("patch", "-", "nodes/status"), EVENTS]),
    ("service-account-controller", &[on("create", "-", "serviceaccounts"), EVENTS]),
    (
        "service-controller",
        &[
            on(READ, "-", "services"),
            on("patch update", "-", "services/status"),
            on("list watch", "-", "nodes"),
            EVENTS,
        ],
    ),
    (
        "service-cidrs-controller",
        &[
            on("get list patch update watch", NETWORKING, "servicecidrs"),
            on("patch update", NETWORKING, "servicecidrs/finalizers"),
            on("patch update", NETWORKING, "servicecidrs/status"),
            on(READ, NETWORKING, "ipaddresses"),
            EVENTS,
        ],
    ),
    (
        "statefulset-controller",
        &[
            on("list watch", "-", "pods"),
            on(READ, "apps", "statefulsets"),
            on("update", "apps", "statefulsets/status"),
            on("update", "apps", "statefulsets/finalizers"),
            on("create delete get patch update", "-", "pods"),
            on("create delete get list patch update watch", "apps", "controllerrevisions"),
            on("create get list watch", "-", "persistentvolumeclaims"),
            on("delete update", "-", "persistentvolumeclaims"),
            on("update", "-", "pods/finalizers"),
            EVENTS,
        ],
    ),
    ("ttl-controller", &[on("list patch update watch", "-", "nodes"), EVENTS]),
    (
        "certificate-controller",
        &[
            on("delete get list watch", CERTIFICATES, "certificatesigningrequests"),
            on(
                "update",
                CERTIFICATES,
                "certificatesigningrequests/approval certificatesigningrequests/status",
            ),
            only("approve", CERTIFICATES, "signers", "kubernetes.io/kube-apiserver-client-kubelet"),
            only(
                "sign",
                CERTIFICATES,
                "signers",
                "kubernetes.io/kube-apiserver-client kubernetes.io/kube-apiserver-client-kubelet kubernetes.io/kubelet-serving kubernetes.io/legacy-unknown",
            ),
            REVIEW_ACCESS,
            EVENTS,
        ],
    ),
    (
        "pvc-protection-controller",
        &[on("get list update watch", "-", "persistentvolumeclaims"), on(READ, "-", "pods"), EVENTS],
    ),
    ("pv-protection-controller", &[on("get list update watch", "-", "persistentvolumes"), EVENTS]),
    (
        "volumeattributesclass-protection-controller",
        &[
            on(READ, "-", "persistentvolumeclaims"),
            on(READ, "-", "persistentvolumes"),
            on("get list update watch", STORAGE, "volumeattributesclasses"),
            EVENTS,
        ],
    ),
    ("ttl-after-finished-controller", &[on("delete get list watch", "batch", "jobs"), EVENTS]),
    ("root-ca-cert-publisher", &[on("create update", "-", "configmaps"), EVENTS]),
    (
        "validatingadmissionpolicy-status-controller",
        &[
            on(READ, ADMISSION, "validatingadmissionpolicies"),
            on("get patch update", ADMISSION, "validatingadmissionpolicies/status"),
            EVENTS,
        ],
    ),
    (
        "legacy-service-account-token-cleaner",
        &[
            only("get", "-", "configmaps", "kube-apiserver-legacy-service-account-token-tracking"),
            on("delete patch", "-", "secrets"),
        ],
    ),
];
