//! The roles and bindings that every cluster has: upstream's, from its
//! `plugin/pkg/auth/authorizer/rbac/bootstrappolicy`, one row each.
//!
//! Words are separated by blanks; `-` is the core group.

mod controllers;

pub(crate) use controllers::CONTROLLERS;

/// Verbs on resources of groups, on named ones, or on paths.
pub(crate) struct Rule {
    pub(crate) verbs: &'static str,
    pub(crate) groups: &'static str,
    pub(crate) resources: &'static str,
    pub(crate) names: &'static str,
    pub(crate) urls: &'static str,
}

/// A role; without a namespace it is the cluster's.
pub(crate) struct Role {
    pub(crate) namespace: &'static str,
    pub(crate) name: &'static str,
    /// The role that takes this one's rules over (`rbac.authorization.k8s.io/aggregate-to-...`).
    pub(crate) part_of: &'static str,
    /// True if its rules are those of its parts.
    pub(crate) whole: bool,
    pub(crate) rules: &'static [Rule],
}

/// Whom a role is given to: `user:NAME`, `group:NAME`, `account:NAME` (of `kube-system`).
pub(crate) struct Binding {
    pub(crate) namespace: &'static str,
    pub(crate) name: &'static str,
    pub(crate) role: &'static str,
    pub(crate) subjects: &'static str,
}

const fn on(verbs: &'static str, groups: &'static str, resources: &'static str) -> Rule {
    Rule { verbs, groups, resources, names: "", urls: "" }
}

const fn only(
    verbs: &'static str,
    groups: &'static str,
    resources: &'static str,
    names: &'static str,
) -> Rule {
    Rule { verbs, groups, resources, names, urls: "" }
}

const fn urls(verbs: &'static str, urls: &'static str) -> Rule {
    Rule { verbs, groups: "", resources: "", names: "", urls }
}

const fn role(name: &'static str, rules: &'static [Rule]) -> Role {
    Role { namespace: "", name, part_of: "", whole: false, rules }
}

const fn local(namespace: &'static str, name: &'static str, rules: &'static [Rule]) -> Role {
    Role { namespace, name, part_of: "", whole: false, rules }
}

const fn whole(name: &'static str, part_of: &'static str) -> Role {
    Role { namespace: "", name, part_of, whole: true, rules: &[] }
}

const fn part(name: &'static str, part_of: &'static str, rules: &'static [Rule]) -> Role {
    Role { namespace: "", name, part_of, whole: false, rules }
}

const fn bound(role: &'static str, subjects: &'static str) -> Binding {
    Binding { namespace: "", name: role, role, subjects }
}

const fn bound_in(
    namespace: &'static str,
    name: &'static str,
    role: &'static str,
    subjects: &'static str,
) -> Binding {
    Binding { namespace, name, role, subjects }
}

const READ: &str = "get list watch";
const WRITE: &str = "create delete deletecollection patch update";
const ALL: &str = "create delete deletecollection get list patch update watch";
const EVENTS: Rule = on("create patch update", "- events.k8s.io", "events");
const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";
const LEASES: &str = "coordination.k8s.io";
const SLICES: &str = "discovery.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const DEVICES: &str = "resource.k8s.io";
const SCHEDULING: &str = "scheduling.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const WORKLOADS: &str = "apps extensions";
const HEALTH: &str = "/healthz /livez /readyz /version /version/";
const REVIEW_TOKENS: Rule = on("create", AUTHENTICATION, "tokenreviews");
const REVIEW_ACCESS: Rule = on("create", AUTHORIZATION, "subjectaccessreviews");

/// Every role but those of controllers.
pub(crate) static ROLES: &[Role] = &[
    role("cluster-admin", &[on("*", "*", "*"), urls("*", "*")]),
    role(
        "system:discovery",
        &[urls(
            "get",
            "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/",
        )],
    ),
    role(
        "system:monitoring",
        &[urls("get", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*")],
    ),
    role(
        "system:basic-user",
        &[
            on("create", AUTHORIZATION, "selfsubjectaccessreviews selfsubjectrulesreviews"),
            on("create", AUTHENTICATION, "selfsubjectreviews"),
        ],
    ),
    role("system:public-info-viewer", &[urls("get", HEALTH)]),
    whole("admin", ""),
    whole("edit", "admin"),
    whole("view", "edit"),
    part(
        "system:aggregate-to-admin",
        "admin",
        &[on("create", AUTHORIZATION, "localsubjectaccessreviews"), on(ALL, RBAC, "rolebindings roles")],
    ),
    part(
        "system:aggregate-to-edit",
        "edit",
        &[
            on(READ, "-", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
            on("impersonate", "-", "serviceaccounts"),
            on(WRITE, "-", "pods pods/attach pods/exec pods/portforward pods/proxy"),
            on("create", "-", "pods/eviction"),
            on(
                WRITE,
                "-",
                "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy",
            ),
            on("create", "-", "serviceaccounts/token"),
            on(
                WRITE,
                "apps",
                "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale",
            ),
            on(WRITE, "autoscaling", "horizontalpodautoscalers"),
            on(WRITE, "batch", "cronjobs jobs"),
            on(
                WRITE,
                "extensions",
                "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets replicasets/scale replicationcontrollers/scale",
            ),
            on(WRITE, "policy", "poddisruptionbudgets"),
            on(WRITE, NETWORKING, "ingresses networkpolicies"),
            on(ALL, LEASES, "leases"),
            on(WRITE, DEVICES, "resourceclaims resourceclaimtemplates"),
        ],
    ),
    part(
        "system:aggregate-to-view",
        "view",
        &[
            on(
                READ,
                "-",
                "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
            ),
            on(
                READ,
                "-",
                "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status",
            ),
            on(READ, "-", "namespaces"),
            on(READ, SLICES, "endpointslices"),
            on(
                READ,
                "apps",
                "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
            ),
            on(READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
            on(READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
            on(
                READ,
                "extensions",
                "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale",
            ),
            on(READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
            on(READ, NETWORKING, "ingresses ingresses/status networkpolicies"),
            on(READ, DEVICES, "resourceclaims resourceclaims/status resourceclaimtemplates"),
        ],
    ),
    role(
        "system:heapster",
        &[on(READ, "-", "events namespaces nodes pods"), on(READ, "extensions", "deployments")],
    ),
    role(
        "system:node",
        &[
            REVIEW_TOKENS,
            on("create", AUTHORIZATION, "localsubjectaccessreviews subjectaccessreviews"),
            on(READ, "-", "services"),
            on("create get list watch", "-", "nodes"),
            on("patch update", "-", "nodes/status"),
            on("patch update", "-", "nodes"),
            on("create patch update", "-", "events"),
            on(READ, "-", "pods"),
            on("create delete", "-", "pods"),
            on("patch update", "-", "pods/status"),
            on("create", "-", "pods/eviction"),
            on(READ, "-", "configmaps secrets"),
            on("get", "-", "persistentvolumeclaims persistentvolumes"),
            on("get", "-", "endpoints"),
            on("create get list watch", CERTIFICATES, "certificatesigningrequests"),
            on("create delete get patch update", LEASES, "leases"),
            on("get", STORAGE, "volumeattachments"),
            on("get patch update", "-", "persistentvolumeclaims/status"),
            on("create", "-", "serviceaccounts/token"),
            on(READ, STORAGE, "csidrivers"),
            on("create delete get patch update", STORAGE, "csinodes"),
            on(READ, "node.k8s.io", "runtimeclasses"),
            on("get", DEVICES, "resourceclaims"),
            on("deletecollection", DEVICES, "resourceslices"),
        ],
    ),
    role(
        "system:node-problem-detector",
        &[on("get", "-", "nodes"), on("patch", "-", "nodes/status"), EVENTS],
    ),
    role(
        "system:kubelet-api-admin",
        &[
            on(READ, "-", "nodes"),
            on("proxy", "-", "nodes"),
            on("*", "-", "nodes/log nodes/metrics nodes/proxy nodes/stats"),
            on("*", "-", "nodes/configz nodes/healthz nodes/pods"),
        ],
    ),
    role(
        "system:node-bootstrapper",
        &[on("create get list watch", CERTIFICATES, "certificatesigningrequests")],
    ),
    role("system:auth-delegator", &[REVIEW_TOKENS, REVIEW_ACCESS]),
    role("system:kube-aggregator", &[on(READ, "-", "endpoints services")]),
    role(
        "system:kube-controller-manager",
        &[
            EVENTS,
            on("create", LEASES, "leases"),
            only("get update", LEASES, "leases", "kube-controller-manager"),
            on("create", "-", "secrets serviceaccounts"),
            on("delete", "-", "secrets"),
            on("get", "-", "configmaps namespaces secrets serviceaccounts"),
            on("update", "-", "secrets serviceaccounts"),
            REVIEW_TOKENS,
            REVIEW_ACCESS,
            on("list watch", "*", "*"),
            on("create", "-", "serviceaccounts/token"),
        ],
    ),
    role(
        "system:kube-dns",
        &[on("list watch", "-", "endpoints services"), on("list watch", SLICES, "endpointslices")],
    ),
    role(
        "system:persistent-volume-provisioner",
        &[
            on("create delete get list watch", "-", "persistentvolumes"),
            on("get list update watch", "-", "persistentvolumeclaims"),
            on(READ, STORAGE, "storageclasses"),
            on("watch", "-", "events"),
            EVENTS,
        ],
    ),
    role(
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        &[on("create", CERTIFICATES, "certificatesigningrequests/nodeclient")],
    ),
    role(
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        &[on("create", CERTIFICATES, "certificatesigningrequests/selfnodeclient")],
    ),
    role(
        "system:volume-scheduler",
        &[
            on("get list patch update watch", "-", "persistentvolumes"),
            on(READ, STORAGE, "storageclasses"),
            on("get list patch update watch", "-", "persistentvolumeclaims"),
        ],
    ),
    role(
        "system:certificates.k8s.io:legacy-unknown-approver",
        &[only("approve", CERTIFICATES, "signers", "kubernetes.io/legacy-unknown")],
    ),
    role(
        "system:certificates.k8s.io:kubelet-serving-approver",
        &[only("approve", CERTIFICATES, "signers", "kubernetes.io/kubelet-serving")],
    ),
    role(
        "system:certificates.k8s.io:kube-apiserver-client-approver",
        &[only("approve", CERTIFICATES, "signers", "kubernetes.io/kube-apiserver-client")],
    ),
    role(
        "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
        &[only("approve", CERTIFICATES, "signers", "kubernetes.io/kube-apiserver-client-kubelet")],
    ),
    role(
        "system:service-account-issuer-discovery",
        &[urls(
            "get",
            "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/",
        )],
    ),
    role(
        "system:node-proxier",
        &[
            on("list watch", "-", "endpoints services"),
            on(READ, "-", "nodes"),
            EVENTS,
            on("list watch", NETWORKING, "servicecidrs"),
            on("list watch", SLICES, "endpointslices"),
        ],
    ),
    role(
        "system:kube-scheduler",
        &[
            EVENTS,
            on("create", LEASES, "leases"),
            only("get list update watch", LEASES, "leases", "kube-scheduler"),
            on("create", LEASES, "leasecandidates"),
            on(READ, "-", "nodes"),
            on("delete get list watch", "-", "pods"),
            on("create", "-", "bindings pods/binding"),
            on("patch update", "-", "pods/status"),
            on(READ, SCHEDULING, "podgroups"),
            on("patch update", SCHEDULING, "podgroups/status"),
            // For Coscheduling, which is part of this scheduler. Upstream's is another program, and brings a role.
            on(READ, "scheduling.x-k8s.io", "podgroups"),
            on(READ, "-", "replicationcontrollers services"),
            on(READ, WORKLOADS, "replicasets"),
            on(READ, "apps", "statefulsets"),
            on(READ, "policy", "poddisruptionbudgets"),
            on(READ, "-", "persistentvolumeclaims persistentvolumes"),
            REVIEW_TOKENS,
            REVIEW_ACCESS,
            on(READ, STORAGE, "csinodes"),
            on(READ, "-", "namespaces"),
            on(READ, STORAGE, "csidrivers"),
            on(READ, STORAGE, "csistoragecapacities"),
            on(READ, STORAGE, "volumeattachments"),
            on(READ, DEVICES, "deviceclasses devicetaintrules resourceslices"),
            on("get list patch update watch", DEVICES, "resourceclaims"),
            on("patch update", DEVICES, "resourceclaims/status"),
            on("update", "-", "pods/finalizers"),
        ],
    ),
    local(
        "kube-system",
        "extension-apiserver-authentication-reader",
        &[only(READ, "-", "configmaps", "extension-apiserver-authentication")],
    ),
    local("kube-system", "system:controller:bootstrap-signer", &[on(READ, "-", "secrets")]),
    local(
        "kube-system",
        "system:controller:cloud-provider",
        &[on("create get list watch", "-", "configmaps")],
    ),
    local(
        "kube-system",
        "system:controller:token-cleaner",
        &[on("delete get list watch", "-", "secrets"), EVENTS],
    ),
    local(
        "kube-system",
        "system::leader-locking-kube-controller-manager",
        &[on("watch", "-", "configmaps"), only("get update", "-", "configmaps", "kube-controller-manager")],
    ),
    local(
        "kube-system",
        "system::leader-locking-kube-scheduler",
        &[on("watch", "-", "configmaps"), only("get update", "-", "configmaps", "kube-scheduler")],
    ),
    local(
        "kube-public",
        "system:controller:bootstrap-signer",
        &[on(READ, "-", "configmaps"), only("update", "-", "configmaps", "cluster-info"), EVENTS],
    ),
];

/// Every binding but those of controllers.
pub(crate) static BINDINGS: &[Binding] = &[
    bound("cluster-admin", "group:system:masters"),
    bound("system:monitoring", "group:system:monitoring"),
    bound("system:discovery", "group:system:authenticated"),
    bound("system:basic-user", "group:system:authenticated"),
    bound("system:public-info-viewer", "group:system:authenticated group:system:unauthenticated"),
    bound("system:node-proxier", "user:system:kube-proxy"),
    bound("system:kube-controller-manager", "user:system:kube-controller-manager"),
    bound("system:kube-dns", "account:kube-dns"),
    bound("system:kube-scheduler", "user:system:kube-scheduler"),
    bound("system:volume-scheduler", "user:system:kube-scheduler"),
    // The Node authoriser takes its place; upstream keeps the name without subjects.
    bound("system:node", ""),
    bound("system:service-account-issuer-discovery", "group:system:serviceaccounts"),
    bound_in(
        "kube-system",
        "system::extension-apiserver-authentication-reader",
        "extension-apiserver-authentication-reader",
        "user:system:kube-controller-manager user:system:kube-scheduler",
    ),
    bound_in(
        "kube-system",
        "system::leader-locking-kube-controller-manager",
        "system::leader-locking-kube-controller-manager",
        "user:system:kube-controller-manager account:kube-controller-manager",
    ),
    bound_in(
        "kube-system",
        "system::leader-locking-kube-scheduler",
        "system::leader-locking-kube-scheduler",
        "user:system:kube-scheduler account:kube-scheduler",
    ),
    bound_in(
        "kube-system",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        "account:bootstrap-signer",
    ),
    bound_in(
        "kube-system",
        "system:controller:cloud-provider",
        "system:controller:cloud-provider",
        "account:cloud-provider",
    ),
    bound_in(
        "kube-system",
        "system:controller:token-cleaner",
        "system:controller:token-cleaner",
        "account:token-cleaner",
    ),
    bound_in(
        "kube-public",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        "account:bootstrap-signer",
    ),
];
