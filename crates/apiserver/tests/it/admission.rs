//! What admission is told by its configuration, and what it says of connections, other versions, and to the audit log.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use skiff_apiserver::{AdmissionConfiguration, Audit, AuditPolicy, Options, User};

use crate::cluster::Cluster;
use crate::given::{Client, MAPS, map, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";
const ROOT: &str = "/apis/admissionregistration.k8s.io/v1";
const SCALERS: &str = "namespaces/default/horizontalpodautoscalers";

fn admin(cluster: &Cluster) -> Client {
    Client::of(cluster, User::new("admin", ["system:masters"]))
}

/// A cluster with these plugins besides the usual ones, told this.
async fn configured(plugins: &[&str], yaml: &str) -> Cluster {
    let yaml = format!(
        "{{apiVersion: apiserver.config.k8s.io/v1, kind: AdmissionConfiguration, plugins: [{yaml}]}}"
    );
    let read = AdmissionConfiguration::parse(&yaml, Path::new(".")).unwrap();
    Cluster::with(Options {
        enable_admission_plugins: plugins.iter().map(|name| (*name).to_owned()).collect(),
        admission_configuration: Arc::new(read),
        ..Options::in_memory()
    })
    .await
}

/// Everybody may do this everywhere.
async fn allow(client: &Client, name: &str, verbs: &[&str], group: &str, resource: &str) {
    let root = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({
        "metadata": { "name": name },
        "rules": [{ "apiGroups": [group], "resources": [resource], "verbs": verbs }],
    });
    client.post(&format!("{root}/clusterroles"), &role).await.code(201);
    let binding = json!({
        "metadata": { "name": name }, "roleRef": { "kind": "ClusterRole", "name": name },
        "subjects": [{ "kind": "Group", "name": "system:authenticated" }],
    });
    client.post(&format!("{root}/clusterrolebindings"), &binding).await.code(201);
}

#[tokio::test]
async fn who_makes_an_owner_wait_may_write_its_finalizers_and_who_names_one_may_delete() {
    let cluster = configured(&["OwnerReferencesPermissionEnforcement"], "").await;
    let client = admin(&cluster);
    allow(&client, "maps", &["create", "update"], "", "configmaps").await;
    let bob = Client::of(&cluster, User::new("bob", Vec::<String>::new()));
    let owned = |block: bool, kind: &str| {
        let mut map = map("a", "1");
        map["metadata"]["ownerReferences"] = json!([{ "apiVersion": "v1", "kind": kind, "name": "p", "uid": "u", "blockOwnerDeletion": block }]);
        map
    };
    let refused = bob.post(MAPS, &owned(true, "Pod")).await.code(403);
    let why = "configmaps \"a\" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource \
               you can't set finalizers on: ";
    assert!(refused.message().starts_with(why), "{}", refused.message());
    let refused = bob.post(MAPS, &owned(true, "Odd")).await.code(403);
    assert!(refused.message().contains("cannot find RESTMapping for APIVersion v1 Kind Odd"));
    bob.post(MAPS, &owned(false, "Pod")).await.code(201);
    let refused = bob.put(&format!("{MAPS}/a"), &map("a", "1")).await.code(403);
    assert!(refused.message().contains("cannot set an ownerRef on a resource you can't delete"));
    allow(&client, "finalizers", &["update"], "", "pods/finalizers").await;
    allow(&client, "deletion", &["delete"], "", "configmaps").await;
    bob.put(&format!("{MAPS}/a"), &owned(true, "Pod")).await.code(200);
}

#[tokio::test]
async fn events_beyond_the_rate_of_a_user_are_refused() {
    let rates = "{name: EventRateLimit, configuration: {apiVersion: eventratelimit.admission.k8s.io/v1alpha1, kind: \
                 Configuration, limits: [{type: User, qps: 1, burst: 2}]}}";
    let cluster = configured(&["EventRateLimit"], rates).await;
    let (ann, bob) = (admin(&cluster), Client::of(&cluster, User::new("bob", ["system:masters"])));
    let event = json!({
        "metadata": { "generateName": "e-" }, "involvedObject": { "kind": "Pod", "name": "p", "namespace": "default" },
    });
    let events = "/api/v1/namespaces/default/events";
    for _ in 0..2 {
        ann.post(events, &event).await.code(201);
    }
    let refused = ann.post(events, &event).await.code(429);
    assert_eq!(refused.message(), "limit reached on type User for key admin");
    bob.post(events, &event).await.code(201);
}

#[tokio::test]
async fn pod_security_has_defaults_and_exemptions() {
    let security = "{name: PodSecurity, configuration: {apiVersion: pod-security.admission.config.k8s.io/v1, kind: \
                    PodSecurityConfiguration, defaults: {enforce: baseline}, exemptions: {usernames: [trusted], \
                    namespaces: [spared]}}}";
    let cluster = configured(&[], security).await;
    let client = admin(&cluster);
    let mut bold = pod("bold");
    bold["spec"]["hostNetwork"] = true.into();
    let refused = client.post(PODS, &bold).await.code(403);
    assert!(refused.message().contains("violates PodSecurity \"baseline:latest\": host namespaces"));
    let trusted = Client::of(&cluster, User::new("trusted", ["system:masters"]));
    trusted.post(PODS, &bold).await.code(201);
    let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
    let spared = json!({ "metadata": { "name": "spared", "labels": labels } });
    let made = client.post("/api/v1/namespaces", &spared).await.code(201);
    assert_eq!(
        made.warnings[0].replace('\\', ""),
        "299 - \"namespace \"spared\" is exempt from Pod Security, and the policy (enforce=restricted:latest, \
         audit=restricted:latest, warn=restricted:latest) will be ignored\""
    );
    client.post("/api/v1/namespaces/spared/pods", &bold).await.code(201);
}

async fn policy(client: &Client, spec: Value, actions: &[&str]) {
    let body = json!({ "metadata": { "name": "policy" }, "spec": spec });
    client.post(&format!("{ROOT}/validatingadmissionpolicies"), &body).await.code(201);
    let binding = json!({ "metadata": { "name": "binding" }, "spec": {
        "policyName": "policy", "validationActions": actions,
    } });
    client.post(&format!("{ROOT}/validatingadmissionpolicybindings"), &binding).await.code(201);
}

fn rules(group: &str, version: &str, operations: &[&str], resources: &[&str]) -> Value {
    json!([{ "apiGroups": [group], "apiVersions": [version], "operations": operations, "resources": resources }])
}

#[tokio::test]
async fn connections_are_judged_by_their_options() {
    let cluster = Cluster::start().await;
    let client = admin(&cluster);
    client.post(PODS, &pod("a")).await.code(201);
    let resources = ["pods/exec", "pods/proxy", "nodes/proxy"];
    let spec = json!({
        "matchConstraints": { "resourceRules": rules("", "v1", &["CONNECT"], &resources) },
        "validations": [{
            "expression": "request.operation == 'CONNECT' && oldObject == null && (object.kind == 'PodExecOptions' ? \
                           object.command != ['sh'] : object.path != '/secret')",
            "messageExpression": "request.kind.kind + ' of ' + request.resource.resource + '/' + request.subResource",
        }],
    });
    policy(&client, spec, &["Deny"]).await;
    let said = |answer: crate::given::Answer| {
        answer.code(422).message().rsplit(": ").next().unwrap_or_default().to_owned()
    };
    let exec = client.post(&format!("{PODS}/a/exec?command=sh"), &json!({})).await;
    assert_eq!(said(exec), "PodExecOptions of pods/exec");
    let proxy = client.get(&format!("{PODS}/a/proxy/secret")).await;
    assert_eq!(said(proxy), "PodProxyOptions of pods/proxy");
    let proxy = client.get("/api/v1/nodes/one/proxy/secret").await;
    assert_eq!(said(proxy), "NodeProxyOptions of nodes/proxy");
    // What is not refused goes on, to where there is nobody.
    client.get(&format!("{PODS}/a/proxy/open")).await.code(400);
}

fn scaler(name: &str, percent: i64) -> Value {
    json!({ "metadata": { "name": name }, "spec": {
        "maxReplicas": 3, "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "d" },
        "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "target": {
            "type": "Utilization", "averageUtilization": percent,
        } } }],
    } })
}

#[tokio::test]
async fn a_policy_meets_objects_of_other_versions_as_its_own_unless_it_says_exact() {
    let cluster = Cluster::start().await;
    let client = admin(&cluster);
    let constraints = |name: &str, exact: bool| {
        let mut constraints = json!({ "resourceRules": rules("autoscaling", "v1", &["CREATE"], &[name]) });
        if exact {
            constraints["matchPolicy"] = "Exact".into();
        }
        constraints
    };
    let kind = "horizontalpodautoscalers";
    let spec = json!({
        "matchConstraints": constraints(kind, false),
        "validations": [{
            "expression": "object.spec.targetCPUUtilizationPercentage < 50",
            "messageExpression": "request.kind.version + ' for ' + request.requestKind.version",
        }],
    });
    policy(&client, spec, &["Deny"]).await;
    let scalers = format!("/apis/autoscaling/v2/{SCALERS}");
    let refused = client.post(&scalers, &scaler("high", 80)).await.code(422);
    assert!(refused.message().ends_with("denied request: v1 for v2"), "{}", refused.message());
    client.post(&scalers, &scaler("low", 20)).await.code(201);
    let exact = json!({ "spec": { "matchConstraints": constraints(kind, true) } });
    let path = format!("{ROOT}/validatingadmissionpolicies/policy");
    client.patch(&path, "merge-patch", &exact).await.code(200);
    client.post(&scalers, &scaler("high", 80)).await.code(201);

    // One that changes the object changes it in its own version.
    let change = json!({ "metadata": { "name": "change" }, "spec": {
        "matchConstraints": constraints(kind, false), "reinvocationPolicy": "Never",
        "mutations": [{ "patchType": "ApplyConfiguration", "applyConfiguration": {
            "expression": "Object{spec: Object.spec{targetCPUUtilizationPercentage: 42}}",
        } }],
    } });
    client.post(&format!("{ROOT}/mutatingadmissionpolicies"), &change).await.code(201);
    let binding = json!({ "metadata": { "name": "change" }, "spec": { "policyName": "change" } });
    client.post(&format!("{ROOT}/mutatingadmissionpolicybindings"), &binding).await.code(201);
    let made = client.post(&scalers, &scaler("changed", 80)).await.code(201);
    assert_eq!(made.body["apiVersion"], "autoscaling/v2");
    assert_eq!(made.body["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 42);
}

#[tokio::test]
async fn policies_and_decisions_are_noted_in_the_audit_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let told = AuditPolicy::parse(
        b"{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata, resources: [{group: '', resources: \
          [configmaps]}]}]}",
    )
    .unwrap();
    let audit = Audit { policy: Arc::new(told), log: log.clone() };
    let cluster = Cluster::with(Options { audit: Some(audit), ..Options::in_memory() }).await;
    let client = admin(&cluster);
    let spec = json!({
        "matchConstraints": { "resourceRules": rules("", "v1", &["CREATE"], &["configmaps"]) },
        "validations": [{ "expression": "object.metadata.name != 'a'", "message": "not a" }],
        "auditAnnotations": [{ "key": "name", "valueExpression": "'it is ' + object.metadata.name" }],
    });
    policy(&client, spec, &["Audit"]).await;
    client.post(MAPS, &map("a", "1")).await.code(201);
    Client::of(&cluster, User::new("bob", Vec::<String>::new())).get(MAPS).await.code(403);
    cluster.stop().await;

    let text = std::fs::read_to_string(&log).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let complete: Vec<Value> = events
        .filter(|event| event["stage"] == "ResponseComplete" && event["objectRef"]["namespace"] == "default")
        .filter(|event| ["admin", "bob"].contains(&event["user"]["username"].as_str().unwrap_or_default()))
        .collect();
    let noted = &complete[0]["annotations"];
    assert_eq!(noted["policy/name"], "it is a");
    assert_eq!(noted["authorization.k8s.io/decision"], "allow");
    let failure = noted["validation.policy.admission.k8s.io/validation_failure"].as_str().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(failure).unwrap(),
        json!([{ "message": "not a", "policy": "policy", "binding": "binding", "expressionIndex": 0,
            "validationActions": ["Audit"] }])
    );
    assert_eq!(complete[1]["annotations"]["authorization.k8s.io/decision"], "forbid");
}
