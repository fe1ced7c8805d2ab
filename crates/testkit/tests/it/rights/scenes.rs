//! What gives each controller a reason for each of its rights. Objects are YAML; their paths are where they are posted.

mod devices;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Node, NodeAddress, PersistentVolume, PersistentVolumeClaim, Pod,
    ReplicationController, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::storage::v1::VolumeAttachment;
use serde_json::{Value, json};
use skiff_api::Readable;
use skiff_apiserver::User;
use skiff_client::{Heartbeat, Link};
use skiff_testkit::{Cluster, given};

use crate::runs;

const PODS: &str = "/api/v1/namespaces/default/pods";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const VOLUMES: &str = "/api/v1/persistentvolumes";
const APPS: &str = "/apis/apps/v1/namespaces/default";
const BATCH: &str = "/apis/batch/v1/namespaces/default";

/// A request of node x for a client certificate: O=system:nodes, CN=system:node:x. Its key is thrown away.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIcU1JR1JBZ0VBTUM4eEZUQVRCZ05WQkFvTURITjVjM1JsYlRwdWIyUmxjekVXTUJRR0ExVUVBd3dOYzNsegpkR1Z0T201dlpHVTZlREJaTUJNR0J5cUdTTTQ5QWdFR0NDcUdTTTQ5QXdFSEEwSUFCTGVmMVBzS243emEwYlc5CmxiRzNYbmN5WGNNbityS1NHcEJuTFlJaVBIWkJraFk1Nm1jVHVUakFpdnJObnRBb0FSRWE5WWxyb1NmTytrYXAKVlYzOEFOK2dBREFLQmdncWhrak9QUVFEQWdOSUFEQkZBaUVBb25icGkwcW44akN5NndZNHZXaUlGYjBUUWxISwpoWDdtR1VGNXFPT1pNNDRDSUFqSUVEZUo3UXZVcEMrN05NL1VyYzVlYjhzVmVzNkRsa0pJcXRKMzAwczQKLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==";

/// Asks for something as the owner of a link.
async fn ask(link: &Link, method: http::Method, path: &str, kind: &str, body: Value) -> Value {
    let request = http::Request::builder().method(method.clone()).uri(path);
    let request = request.header(http::header::CONTENT_TYPE, kind).body(serde_json::to_vec(&body).unwrap());
    match link.client().request::<Value>(request.unwrap()).await {
        Ok(answer) => answer,
        Err(error) => panic!("{method} {path}: {error}"),
    }
}

/// The administrator's hands.
struct Stage<'a> {
    cluster: &'a Cluster,
}

impl Stage<'_> {
    async fn make(&self, path: &str, yaml: &str) -> Value {
        let body: Value = given::yaml(yaml);
        ask(&self.cluster.link(), http::Method::POST, path, "application/json", body).await
    }

    async fn change(&self, path: &str, patch: Value) -> Value {
        ask(&self.cluster.link(), http::Method::PATCH, path, "application/merge-patch+json", patch).await
    }

    async fn remove(&self, path: &str, options: Value) {
        ask(&self.cluster.link(), http::Method::DELETE, path, "application/json", options).await;
    }

    /// Waits until the object of a name is as `holds` wants it.
    async fn until<K: Readable>(&self, name: &str, holds: impl Fn(Option<&K>) -> bool) {
        let named = |object: &&Arc<K>| object.metadata().name.as_deref() == Some(name);
        self.cluster.until::<K>(|all| holds(all.iter().find(named).map(|object| &**object))).await;
    }

    async fn there<K: Readable>(&self, name: &str) {
        self.until::<K>(name, |object| object.is_some()).await;
    }

    async fn gone<K: Readable>(&self, name: &str) {
        self.until::<K>(name, |object| object.is_none()).await;
    }

    /// Waits until a pod is gone or on its way out.
    async fn leaving(&self, pod: &str) {
        self.until::<Pod>(pod, |pod| pod.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some())).await;
    }

    /// The pods with this label `app` that are not on their way out.
    async fn pods(&self, app: &str, count: usize) -> Vec<Arc<Pod>> {
        let of = |pod: &&Arc<Pod>| {
            let labels = pod.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get("app")).is_some_and(|own| own == app)
                && pod.metadata.deletion_timestamp.is_none()
        };
        let all = self.cluster.until::<Pod>(|all| all.iter().filter(of).count() == count).await;
        all.iter().filter(of).cloned().collect()
    }

    /// A pod that nobody owns, as a controller with this label would make it.
    async fn orphan(&self, name: &str, app: &str, more: &str) {
        let pod = format!(
            "{{metadata: {{name: {name}, labels: {{app: {app}}}}}, spec: {{containers: [{{name: c, image: app}}]{more}}}}}"
        );
        self.make(PODS, &pod).await;
    }
}

fn template(app: &str, image: &str) -> String {
    format!(
        "template: {{metadata: {{labels: {{app: {app}}}}}, spec: {{containers: [{{name: c, image: {image}}}]}}}}"
    )
}

fn set(name: &str, replicas: i32, more: &str) -> String {
    let template = template(name, "app");
    format!(
        "{{metadata: {{name: {name}}}, spec: {{replicas: {replicas}, selector: {{matchLabels: {{app: {name}}}}}, \
         {template}{more}}}}}"
    )
}

fn image(image: &str) -> Value {
    json!({ "spec": { "template": { "spec": { "containers": [{ "name": "c", "image": image }] } } } })
}

/// All of it.
pub(super) async fn play(cluster: &Cluster) {
    let stage = Stage { cluster };
    let silent = nodes(&stage).await;
    // One after the other: each waits for what it has caused, and none for what the others keep the machine busy with.
    accounts(&stage).await;
    namespaces(&stage).await;
    sets(&stage).await;
    deployments(&stage).await;
    stateful(&stage).await;
    daemons(&stage).await;
    batch(&stage).await;
    services(&stage).await;
    certificates(&stage).await;
    volumes(&stage).await;
    attachments(&stage).await;
    devices::play(&stage).await;
    autoscalers(&stage).await;
    upkeep::play(&stage).await;
    lost(&stage, silent).await;
}

/// Two nodes that live, one that will not, and no range of addresses for the third.
async fn nodes(stage: &Stage<'_>) -> skiff_base::Tasks {
    let dying = skiff_base::Tasks::new();
    for name in ["one", "two", "three"] {
        let mut node: Node = given::node(name);
        let note = ("skiff.dev/local-path-root".to_owned(), "/srv/local".to_owned());
        node.metadata.annotations = Some([note].into());
        let address = NodeAddress { type_: "InternalIP".to_owned(), address: "192.0.2.1".to_owned() };
        node.status.get_or_insert_default().addresses = Some(vec![address]);
        let node = stage.cluster.create(node).await;
        let mut heartbeat = Heartbeat::of_node(name, node.metadata.uid.as_deref().unwrap());
        heartbeat.every = Duration::from_millis(100);
        let tasks = if name == "two" { &dying } else { stage.cluster.tasks() };
        tasks.spawn_until_stop(heartbeat.run(stage.cluster.link(), skiff_base::Clock::system()));
    }
    dying
}

/// A node falls silent, its pods are told, and somebody says that it is out of service.
async fn lost(stage: &Stage<'_>, alive: skiff_base::Tasks) {
    stage.orphan("left", "left", ", nodeName: two").await;
    let pods = stage.pods("left", 1).await;
    runs(stage.cluster, &pods[0], "10.244.1.2").await;
    alive.drain(Duration::from_secs(5)).await;
    let unready = |pod: Option<&Pod>| pod.is_some_and(|pod| !skiff_api::pod::is_ready(pod));
    stage.until::<Pod>("left", unready).await;
    let tainted = |node: Option<&Node>| {
        node.and_then(|node| node.spec.as_ref()?.taints.as_ref()).is_some_and(|taints| taints.len() == 2)
    };
    stage.until::<Node>("two", tainted).await;
    // Whoever does not tolerate this goes, and nobody waits for the kubelet of a node that is out of service.
    let path = "/api/v1/nodes/two";
    let patch = json!({ "spec": { "taints": [{ "key": "x", "effect": "NoExecute" }] } });
    stage.change(path, patch).await;
    stage.leaving("left").await;
    let taint = json!({ "key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoSchedule" });
    stage.change(path, json!({ "spec": { "taints": [taint] } })).await;
    stage.gone::<Pod>("left").await;
}

/// ReplicaSets and ReplicationControllers: adopt, make, delete, report. A budget asks about a controller by its scale.
async fn sets(stage: &Stage<'_>) {
    for (app, path) in [
        ("set", format!("{APPS}/replicasets")),
        ("rc", "/api/v1/namespaces/default/replicationcontrollers".to_owned()),
    ] {
        stage.orphan(&format!("{app}-found"), app, "").await;
        let body = if app == "rc" {
            format!(
                "{{metadata: {{name: rc}}, spec: {{replicas: 2, selector: {{app: rc}}, {}}}}}",
                template("rc", "app")
            )
        } else {
            set(app, 2, "")
        };
        stage.make(&path, &body).await;
        stage.pods(app, 2).await;
        stage.change(&format!("{path}/{app}"), json!({ "spec": { "replicas": 1 } })).await;
        stage.pods(app, 1).await;
    }
    let settled = |set: Option<&ReplicaSet>| {
        set.is_some_and(|set| set.status.as_ref().is_some_and(|it| it.replicas == 1))
    };
    stage.until::<ReplicaSet>("set", settled).await;
    let settled = |set: Option<&ReplicationController>| {
        set.is_some_and(|set| set.status.as_ref().is_some_and(|it| it.replicas == 1))
    };
    stage.until::<ReplicationController>("rc", settled).await;
    // Deleted with what it owns.
    stage.remove(&format!("{APPS}/replicasets/set"), json!({ "propagationPolicy": "Background" })).await;
    stage.pods("set", 0).await;
}

async fn deployments(stage: &Stage<'_>) {
    let (sets, path) = (format!("{APPS}/replicasets"), format!("{APPS}/deployments"));
    let loose =
        set("dep", 0, "").replace("{metadata: {name: dep}", "{metadata: {name: loose, labels: {app: dep}}");
    stage.make(&sets, &loose.replace("image: app", "image: older")).await;
    stage.make(&path, &set("dep", 1, ", revisionHistoryLimit: 0")).await;
    let pods = stage.pods("dep", 1).await;
    runs(stage.cluster, &pods[0], "10.244.0.10").await;
    // Old sets go when all is as it should be.
    stage.gone::<ReplicaSet>("loose").await;
    stage.change(&format!("{path}/dep"), json!({ "spec": { "replicas": 2 } })).await;
    stage.pods("dep", 2).await;
    // A set of the name that the next one would have, and nobody's.
    stage.make(&path, &set("again", 0, "")).await;
    let of = |all: &[Arc<ReplicaSet>]| {
        let name =
            |set: &Arc<ReplicaSet>| set.metadata.name.clone().filter(|name| name.starts_with("again-"));
        all.iter().find_map(name)
    };
    let found = stage.cluster.until::<ReplicaSet>(|all| of(all).is_some()).await;
    let name = of(&found).unwrap();
    stage.remove(&format!("{path}/again"), json!({ "propagationPolicy": "Orphan" })).await;
    stage.gone::<Deployment>("again").await;
    stage.change(&format!("{sets}/{name}"), json!({ "metadata": { "labels": { "app": "other" } } })).await;
    stage.make(&path, &set("again", 0, "")).await;
    stage
        .cluster
        .until::<ReplicaSet>(|all| {
            all.iter().any(|set| {
                set.metadata.name.as_ref().is_some_and(|own| own.starts_with("again-") && *own != name)
            })
        })
        .await;
}

async fn stateful(stage: &Stage<'_>) {
    let path = format!("{APPS}/statefulsets");
    stage.orphan("st-0", "st", "").await;
    let claims = ", serviceName: st, podManagementPolicy: Parallel, volumeClaimTemplates: [{metadata: {name: v}, spec: \
                  {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}], \
                  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Delete}";
    stage.make(&path, &set("st", 2, claims)).await;
    stage.there::<PersistentVolumeClaim>("v-st-1").await;
    stage.pods("st", 2).await;
    // Claims that no longer go with the set change their owners.
    let kept = json!({ "spec": { "persistentVolumeClaimRetentionPolicy": { "whenDeleted": "Retain", "whenScaled": "Retain" } } });
    stage.change(&format!("{path}/st"), kept).await;
    let free = |claim: Option<&PersistentVolumeClaim>| {
        claim.is_some_and(|it| it.metadata.owner_references.as_ref().is_none_or(Vec::is_empty))
    };
    stage.until::<PersistentVolumeClaim>("v-st-1", free).await;
    stage.change(&format!("{path}/st"), json!({ "spec": { "replicas": 1 } })).await;
    // st-0 goes as well, soon after: it was not made from this template.
    stage.leaving("st-1").await;

    // Back to an older template: where it was forgotten it is made anew, where it was kept it is numbered anew.
    for (set_name, limit) in [("revised", ", revisionHistoryLimit: 0"), ("renumbered", "")] {
        stage.make(&path, &set(set_name, 0, &format!(", serviceName: x{limit}"))).await;
        for name in ["other", "app"] {
            let observed = |set: Option<&StatefulSet>| {
                set.is_some_and(|set| {
                    let status = set.status.clone().unwrap_or_default();
                    status.observed_generation == set.metadata.generation
                        && status.current_revision == status.update_revision
                })
            };
            stage.until::<StatefulSet>(set_name, observed).await;
            stage.change(&format!("{path}/{set_name}"), image(name)).await;
        }
    }
}

async fn daemons(stage: &Stage<'_>) {
    let path = format!("{APPS}/daemonsets");
    let daemon = |name: &str, more: &str| set(name, 0, more).replace("replicas: 0, ", "");
    stage.orphan("ds-found", "ds", ", nodeName: one").await;
    stage.make(&path, &daemon("ds", "")).await;
    stage
        .cluster
        .until::<Pod>(|all| {
            let of = |pod: &&Arc<Pod>| {
                pod.metadata
                    .labels
                    .as_ref()
                    .is_some_and(|labels| labels.get("app").is_some_and(|app| app == "ds"))
            };
            all.iter().filter(of).count() >= 2
        })
        .await;
    let nowhere = json!({ "spec": { "template": { "spec": { "nodeSelector": { "no": "where" } } } } });
    stage.change(&format!("{path}/ds"), nowhere).await;
    stage.pods("ds", 0).await;

    for (set_name, limit) in [("renewed", ", revisionHistoryLimit: 0"), ("recounted", "")] {
        let idle = daemon(set_name, limit)
            .replace("spec: {containers", "spec: {nodeSelector: {no: where}, containers");
        stage.make(&path, &idle).await;
        for name in ["other", "app"] {
            let observed = |set: Option<&DaemonSet>| {
                set.is_some_and(|set| {
                    set.status.as_ref().and_then(|status| status.observed_generation)
                        == set.metadata.generation
                })
            };
            stage.until::<DaemonSet>(set_name, observed).await;
            stage.change(&format!("{path}/{set_name}"), image(name)).await;
        }
    }
}

async fn batch(stage: &Stage<'_>) {
    let (jobs, crons) = (format!("{BATCH}/jobs"), format!("{BATCH}/cronjobs"));
    let job = |name: &str, more: &str| {
        format!(
            "{{metadata: {{name: {name}}}, spec: {{{more}template: {{metadata: {{labels: {{app: {name}}}}}, spec: \
             {{restartPolicy: Never, containers: [{{name: c, image: app}}]}}}}}}}}"
        )
    };
    stage.orphan("work-found", "work", ", restartPolicy: Never").await;
    let own = "manualSelector: true, selector: {matchLabels: {app: work}}, parallelism: 2, completions: 2, ";
    stage.make(&jobs, &job("work", own)).await;
    stage.pods("work", 2).await;
    let budget = "{metadata: {name: guard}, spec: {maxUnavailable: 1, selector: {matchLabels: {app: work}}}}";
    stage.make("/apis/policy/v1/namespaces/default/poddisruptionbudgets", budget).await;
    stage.make(&jobs, &job("brief", "completions: 0, ttlSecondsAfterFinished: 0, ")).await;
    stage.gone::<Job>("brief").await;

    let every = "{metadata: {name: every}, spec: {schedule: '* * * * *', concurrencyPolicy: Replace, jobTemplate: {spec: \
                 {template: {spec: {restartPolicy: Never, containers: [{name: c, image: app}]}}}}}}";
    stage.make(&crons, every).await;
    for _ in 0..2 {
        // Its last moment was long ago: it is due at once, and the job of the time before is replaced.
        let ago = skiff_base::Clock::system().now() - jiff::SignedDuration::from_mins(5);
        let status =
            json!({ "status": { "lastScheduleTime": ago.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() } });
        stage.change(&format!("{crons}/every/status"), status).await;
        let since = |cron: Option<&CronJob>| {
            let status = cron.and_then(|cron| cron.status.clone()).unwrap_or_default();
            status.last_schedule_time.is_some_and(|time| time.0 > ago + jiff::SignedDuration::from_mins(2))
                && status.active.is_some_and(|active| active.len() == 1)
        };
        stage.until::<CronJob>("every", since).await;
    }
    stage.change(&format!("{jobs}/work"), json!({ "spec": { "suspend": true } })).await;
    stage.pods("work", 0).await;
}

async fn services(stage: &Stage<'_>) {
    let ranges = "/apis/networking.k8s.io/v1/servicecidrs";
    stage.make(ranges, "{metadata: {name: more}, spec: {cidrs: [10.9.0.0/24]}}").await;
    let path = "/api/v1/namespaces/default/services";
    let pod =
        "{metadata: {name: served, labels: {app: served}}, spec: {containers: [{name: c, image: app}]}}";
    stage
        .make(path, "{metadata: {name: served}, spec: {selector: {app: served}, ports: [{port: 80}]}}")
        .await;
    stage.there::<Endpoints>("served").await;
    stage.make(PODS, pod).await;
    let pods = stage.pods("served", 1).await;
    runs(stage.cluster, &pods[0], "10.244.0.5").await;
    let has = |all: &[Arc<EndpointSlice>], address: &str| {
        all.iter()
            .flat_map(|slice| &slice.endpoints)
            .flatten()
            .any(|endpoint| endpoint.addresses == [address])
    };
    stage.cluster.until::<EndpointSlice>(|all| has(all, "10.244.0.5")).await;
    stage
        .until::<Endpoints>("served", |it| {
            it.is_some_and(|it| it.subsets.as_ref().is_some_and(|it| !it.is_empty()))
        })
        .await;
    // Of a family that the service has no addresses of. (What the service leaves behind, the garbage collector may take.)
    let odd = "{metadata: {name: odd, labels: {kubernetes.io/service-name: served, endpointslice.kubernetes.io/managed-by: \
               endpointslice-controller.k8s.io}}, addressType: IPv6, endpoints: []}";
    stage.make("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", odd).await;
    stage.gone::<EndpointSlice>("odd").await;
    stage.remove(&format!("{path}/served"), json!({})).await;
    stage.gone::<Endpoints>("served").await;

    stage.make(path, "{metadata: {name: byhand}, spec: {ports: [{port: 80}]}}").await;
    let endpoints = "/api/v1/namespaces/default/endpoints";
    stage
        .make(
            endpoints,
            "{metadata: {name: byhand}, subsets: [{addresses: [{ip: 10.9.9.9}], ports: [{port: 80}]}]}",
        )
        .await;
    stage.cluster.until::<EndpointSlice>(|all| has(all, "10.9.9.9")).await;
    let moved = json!({ "subsets": [{ "addresses": [{ "ip": "10.9.9.8" }], "ports": [{ "port": 80 }] }] });
    stage.change(&format!("{endpoints}/byhand"), moved).await;
    stage.cluster.until::<EndpointSlice>(|all| has(all, "10.9.9.8")).await;
    stage.change(&format!("{endpoints}/byhand"), json!({ "subsets": null })).await;
    stage.cluster.until::<EndpointSlice>(|all| !has(all, "10.9.9.8")).await;

    stage.make(path, "{metadata: {name: balanced}, spec: {type: LoadBalancer, ports: [{port: 80}]}}").await;
    let reached = |service: Option<&Service>| {
        service.is_some_and(|it| {
            it.status
                .as_ref()
                .is_some_and(|it| it.load_balancer.as_ref().is_some_and(|it| it.ingress.is_some()))
        })
    };
    stage.until::<Service>("balanced", reached).await;

    // Where nothing more fits, it is said.
    stage.make("/api/v1/namespaces", "{metadata: {name: full}}").await;
    let quota = "{metadata: {name: none}, spec: {hard: {count/endpoints: '0', count/endpointslices.discovery.k8s.io: '0'}}}";
    stage.make("/api/v1/namespaces/full/resourcequotas", quota).await;
    stage
        .make(
            "/api/v1/namespaces/full/services",
            "{metadata: {name: s}, spec: {selector: {app: s}, ports: [{port: 80}]}}",
        )
        .await;
}

async fn accounts(stage: &Stage<'_>) {
    let path = "/api/v1/namespaces/default";
    stage.there::<ServiceAccount>("default").await;
    stage.make(&format!("{path}/serviceaccounts"), "{metadata: {name: robot}}").await;
    let secret = "{metadata: {name: robot, annotations: {kubernetes.io/service-account.name: robot}}, type: \
                  kubernetes.io/service-account-token}";
    stage.make(&format!("{path}/secrets"), secret).await;
    let filled = |secret: Option<&Secret>| {
        secret.is_some_and(|secret| secret.data.as_ref().is_some_and(|data| data.contains_key("token")))
    };
    stage.until::<Secret>("robot", filled).await;
    stage.remove(&format!("{path}/serviceaccounts/robot"), json!({})).await;
    stage.gone::<Secret>("robot").await;

    let token = "{metadata: {name: bootstrap-token-abcdef}, type: bootstrap.kubernetes.io/token, stringData: {token-id: \
                 abcdef, token-secret: 0123456789abcdef, expiration: '2020-01-01T00:00:00Z'}}";
    stage.make("/api/v1/namespaces/kube-system/secrets", token).await;
    stage.gone::<Secret>("bootstrap-token-abcdef").await;

    let certificate = "kube-root-ca.crt";
    stage.there::<ConfigMap>(certificate).await;
    stage
        .change(&format!("{path}/configmaps/{certificate}"), json!({ "data": { "ca.crt": "another" } }))
        .await;

    let part = "{metadata: {name: more-to-view, labels: {rbac.authorization.k8s.io/aggregate-to-view: 'true'}}, rules: \
                [{apiGroups: [example.com], resources: [things], verbs: [get]}]}";
    stage.make("/apis/rbac.authorization.k8s.io/v1/clusterroles", part).await;
}

async fn certificates(stage: &Stage<'_>) {
    const SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let binding = "{metadata: {name: nodes-ask}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: \
                   'system:certificates.k8s.io:certificatesigningrequests:selfnodeclient'}, subjects: [{kind: Group, \
                   apiGroup: rbac.authorization.k8s.io, name: 'system:nodes'}]}";
    stage.make("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await;
    let request = |name: &str, signer: &str| {
        given::yaml::<Value>(&format!(
            "{{metadata: {{name: {name}}}, spec: {{request: {REQUEST}, signerName: {signer}, usages: [client auth, digital \
             signature]}}}}"
        ))
    };
    let node = stage.cluster.linker()(User::new("system:node:x", ["system:nodes"]));
    ask(&node, http::Method::POST, path, "application/json", request("granted", SIGNER)).await;

    // Refused long ago: it goes. Its signer is one whose requests nobody approves first.
    let refused = request("refused", "example.com/by-hand");
    ask(&stage.cluster.link(), http::Method::POST, path, "application/json", refused).await;
    let denied = json!({ "status": { "conditions": [{
        "type": "Denied", "status": "True", "reason": "Test", "lastUpdateTime": "2020-01-01T00:00:00Z",
    }] } });
    stage.change(&format!("{path}/refused/approval"), denied).await;
    stage.gone::<k8s_openapi::api::certificates::v1::CertificateSigningRequest>("refused").await;
}

async fn volumes(stage: &Stage<'_>) {
    let claim = |name: &str, more: &str| {
        format!(
            "{{metadata: {{name: {name}}}, spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}{more}}}}}"
        )
    };
    // Made on the node of its pod, grown, and deleted with its claim.
    stage.make(CLAIMS, &claim("data", "")).await;
    stage.orphan("uses-data", "data", ", nodeSelector: {kubernetes.io/hostname: one}, volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]").await;
    let bound = |claim: Option<&PersistentVolumeClaim>| {
        claim
            .is_some_and(|claim| claim.status.as_ref().is_some_and(|it| it.phase.as_deref() == Some("Bound")))
    };
    stage.until::<PersistentVolumeClaim>("data", bound).await;
    let more = json!({ "spec": { "resources": { "requests": { "storage": "2Gi" } } } });
    stage.change(&format!("{CLAIMS}/data"), more).await;
    let grown = |claim: Option<&PersistentVolumeClaim>| {
        let size = |claim: &PersistentVolumeClaim| claim.status.clone()?.capacity?.get("storage").cloned();
        claim.and_then(size).is_some_and(|size| size.0 == "2Gi")
    };
    stage.until::<PersistentVolumeClaim>("data", grown).await;
    stage.remove(&format!("{CLAIMS}/data"), json!({})).await;
    stage.remove(&format!("{PODS}/uses-data"), json!({ "gracePeriodSeconds": 0 })).await;
    stage.gone::<PersistentVolumeClaim>("data").await;

    // The folder of a node that is no more.
    let ghost = "{metadata: {name: ghost, labels: {skiff.dev/node: nobody}, finalizers: [skiff.dev/local-path]}, \
                 spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /x}}}";
    stage.make(VOLUMES, ghost).await;
    stage.remove(&format!("{VOLUMES}/ghost"), json!({})).await;
    stage.gone::<PersistentVolume>("ghost").await;

    // A pod's own claim, and one whose name is taken.
    let own = |name: &str| {
        format!(
            "{{metadata: {{name: {name}}}, spec: {{containers: [{{name: c, image: app}}], volumes: [{{name: v, ephemeral: \
             {{volumeClaimTemplate: {{spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}}}}}}}]}}}}"
        )
    };
    stage.make(PODS, &own("brings")).await;
    stage.there::<PersistentVolumeClaim>("brings-v").await;
    stage.make(CLAIMS, &claim("taken-v", ", storageClassName: none")).await;
    stage.make(PODS, &own("taken")).await;
}

/// A driver's volume, wanted on two nodes and attached to one.
async fn attachments(stage: &Stage<'_>) {
    stage.make("/apis/storage.k8s.io/v1/csidrivers", "{metadata: {name: csi.example.com}, spec: {}}").await;
    let volume = "{metadata: {name: remote}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], csi: {driver: \
                  csi.example.com, volumeHandle: h}, storageClassName: remote}}";
    stage.make(VOLUMES, volume).await;
    let claim = "{metadata: {name: remote}, spec: {accessModes: [ReadWriteOnce], storageClassName: remote, resources: \
                 {requests: {storage: 1Gi}}}}";
    stage.make(CLAIMS, claim).await;
    let uses = |node: &str| {
        format!(", nodeName: {node}, volumes: [{{name: v, persistentVolumeClaim: {{claimName: remote}}}}]")
    };
    stage.orphan("far-one", "far", &uses("one")).await;
    let made = stage.cluster.until::<VolumeAttachment>(|all| all.len() == 1).await;
    stage.orphan("far-three", "far", &uses("three")).await;
    let name = made[0].metadata.name.clone().unwrap();
    let path = format!("/apis/storage.k8s.io/v1/volumeattachments/{name}/status");
    stage.change(&path, json!({ "status": { "attached": true } })).await;
    let listed = |node: Option<&Node>| {
        node.and_then(|node| node.status.as_ref()?.volumes_attached.as_ref())
            .is_some_and(|all| all.len() == 1)
    };
    stage.until::<Node>("one", listed).await;
    stage.remove(&format!("{PODS}/far-one"), json!({ "gracePeriodSeconds": 0 })).await;
    stage.gone::<VolumeAttachment>(&name).await;
}

async fn autoscalers(stage: &Stage<'_>) {
    stage.make(&format!("{APPS}/deployments"), &set("auto", 1, "")).await;
    let path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let target = "scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: auto}";
    stage
        .make(
            path,
            &format!("{{metadata: {{name: auto}}, spec: {{{target}, minReplicas: 2, maxReplicas: 3}}}}"),
        )
        .await;
    stage.pods("auto", 2).await;
    let value = "target: {type: AverageValue, averageValue: '1'}";
    let metrics = format!(
        "metrics: [{{type: Resource, resource: {{name: cpu, {value}}}}}, {{type: Pods, pods: {{metric: {{name: m}}, {value}}}}}, \
         {{type: External, external: {{metric: {{name: m}}, {value}}}}}]"
    );
    let target = "scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: dep}";
    let whole = format!(
        "{{metadata: {{name: measured}}, spec: {{{target}, minReplicas: 1, maxReplicas: 3, {metrics}}}}}"
    );
    stage.make(path, &whole).await;
}

async fn namespaces(stage: &Stage<'_>) {
    stage.make("/api/v1/namespaces", "{metadata: {name: doomed}}").await;
    stage
        .make("/api/v1/namespaces/doomed/configmaps", "{metadata: {name: a, finalizers: [example.com/held]}}")
        .await;
    stage.remove("/api/v1/namespaces/doomed", json!({})).await;
    let told = |namespace: Option<&k8s_openapi::api::core::v1::Namespace>| {
        namespace.is_some_and(|it| it.status.as_ref().is_some_and(|status| status.conditions.is_some()))
    };
    stage.until("doomed", told).await;
    stage
        .change("/api/v1/namespaces/doomed/configmaps/a", json!({ "metadata": { "finalizers": null } }))
        .await;
    stage.gone::<k8s_openapi::api::core::v1::Namespace>("doomed").await;
}
