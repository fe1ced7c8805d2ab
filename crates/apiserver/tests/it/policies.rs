//! Policies: expressions judge and change what is written, where a binding says so.

use serde_json::{Value, json};

use crate::given::{Client, Given, MAPS, map, pod};

const ROOT: &str = "/apis/admissionregistration.k8s.io/v1";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn rule(group: &str, resource: &str) -> Value {
    json!({ "resourceRules": [{
        "apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": [resource],
    }] })
}

fn deployment(name: &str, replicas: i64) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "replicas": replicas, "selector": { "matchLabels": { "a": "b" } },
        "template": { "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } } } })
}

async fn validating(client: &Client, spec: Value, binding: Value) {
    let policy = json!({ "metadata": { "name": "policy" }, "spec": spec });
    client.post(&format!("{ROOT}/validatingadmissionpolicies"), &policy).await.code(201);
    let mut binding = json!({ "metadata": { "name": "binding" }, "spec": binding });
    binding["spec"]["policyName"] = "policy".into();
    client.post(&format!("{ROOT}/validatingadmissionpolicybindings"), &binding).await.code(201);
}

async fn mutating(client: &Client, spec: Value) {
    let policy = json!({ "metadata": { "name": "policy" }, "spec": spec });
    client.post(&format!("{ROOT}/mutatingadmissionpolicies"), &policy).await.code(201);
    let binding = json!({ "metadata": { "name": "binding" }, "spec": { "policyName": "policy" } });
    client.post(&format!("{ROOT}/mutatingadmissionpolicybindings"), &binding).await.code(201);
}

#[tokio::test]
async fn a_policy_denies_in_upstreams_words() {
    let given = Given::new().await;
    let spec = json!({
        "matchConstraints": rule("apps", "deployments"),
        "variables": [{ "name": "most", "expression": "object.metadata.name == 'big' ? 9 : 5" }],
        "validations": [
            { "expression": "object.spec.replicas <= variables.most",
              "messageExpression": "'at most ' + string(variables.most) + ' replicas'" },
            { "expression": "object.metadata.name != 'secret'", "message": "no secrets", "reason": "Forbidden" },
            { "expression": "!has(object.metadata.labels) || !('x' in object.metadata.labels)" },
        ],
    });
    validating(&given.client, spec, json!({ "validationActions": ["Deny"] })).await;
    let client = &given.client;
    let denied = client.post(DEPLOYMENTS, &deployment("web", 6)).await.code(422);
    assert_eq!(
        denied.message(),
        "deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'policy' with binding 'binding' denied request: at most 5 replicas"
    );
    assert_eq!(denied.body["reason"], "Invalid");
    client.post(DEPLOYMENTS, &deployment("big", 6)).await.code(201);
    let denied = client.post(DEPLOYMENTS, &deployment("secret", 1)).await.code(403);
    assert!(denied.message().ends_with("denied request: no secrets"));
    let mut labelled = deployment("labelled", 1);
    labelled["metadata"]["labels"] = json!({ "x": "y" });
    let denied = client.post(DEPLOYMENTS, &labelled).await.code(422);
    assert!(denied.message().contains("denied request: failed expression: !has(object.metadata.labels)"));
    // What is not matched is not judged.
    client.post(MAPS, &map("labelled", "1")).await.code(201);
    client.post(DEPLOYMENTS, &deployment("web", 5)).await.code(201);
    client.put(&format!("{DEPLOYMENTS}/web"), &deployment("web", 6)).await.code(422);
}

#[tokio::test]
async fn a_policy_may_warn_and_one_that_fails_denies_or_not() {
    let given = Given::new().await;
    let client = &given.client;
    let spec = |failure: &str| {
        json!({ "matchConstraints": rule("", "configmaps"), "failurePolicy": failure,
            "validations": [{ "expression": "object.data.missing == 'x'" }] })
    };
    validating(client, spec("Fail"), json!({ "validationActions": ["Warn", "Audit"] })).await;
    let made = client.post(MAPS, &map("a", "1")).await.code(201);
    let words = "Validation failed for ValidatingAdmissionPolicy 'policy' with binding 'binding': expression \
                 'object.data.missing == 'x'' resulted in error: no such key: missing";
    assert!(made.warnings.iter().any(|warning| warning.contains(words)), "{:?}", made.warnings);
    let url = format!("{ROOT}/validatingadmissionpolicies/policy");
    let change = json!({ "spec": { "failurePolicy": "Ignore" } });
    client.patch(&url, "merge-patch", &change).await.code(200);
    assert!(client.post(MAPS, &map("b", "1")).await.code(201).warnings.is_empty());
}

#[tokio::test]
async fn parameters_come_from_the_object_a_binding_names() {
    let given = Given::new().await;
    let client = &given.client;
    let spec = json!({
        "matchConstraints": rule("apps", "deployments"), "paramKind": { "apiVersion": "v1", "kind": "ConfigMap" },
        "validations": [{ "expression": "object.spec.replicas <= int(params.data.most)" }],
    });
    let binding = json!({ "validationActions": ["Deny"],
        "paramRef": { "name": "limits", "parameterNotFoundAction": "Deny" } });
    validating(client, spec, binding).await;
    let denied = client.post(DEPLOYMENTS, &deployment("a", 1)).await.code(422);
    assert!(denied.message().ends_with(
        "denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    ));
    let mut limits = map("limits", "x");
    limits["data"] = json!({ "most": "2" });
    client.post(MAPS, &limits).await.code(201);
    client.post(DEPLOYMENTS, &deployment("a", 2)).await.code(201);
    client.post(DEPLOYMENTS, &deployment("b", 3)).await.code(422);
}

#[tokio::test]
async fn an_expression_asks_who_may_do_what() {
    let given = Given::new().await;
    let client = &given.client;
    let stranger = "authorizer.serviceAccount('default', 'stranger')";
    let spec = json!({ "matchConstraints": rule("", "configmaps"), "validations": [
        { "expression": "authorizer.requestResource.check('delete').allowed()", "message": "admins only" },
        { "expression": format!("object.metadata.name != 'x' || {stranger}.group('').resource('secrets').check('list').allowed()"),
          "message": "strangers may not" },
    ] });
    validating(client, spec, json!({ "validationActions": ["Deny"] })).await;
    client.post(MAPS, &map("a", "1")).await.code(201);
    let denied = client.post(MAPS, &map("x", "1")).await.code(422);
    assert!(denied.message().ends_with("denied request: strangers may not"), "{}", denied.message());
}

#[tokio::test]
async fn a_mutating_policy_merges_and_patches() {
    let given = Given::new().await;
    let client = &given.client;
    let apply = "Object{metadata: Object.metadata{labels: {'made-by': 'policy'}}, spec: Object.spec{containers: \
                 [Object.spec.containers{name: 'side', image: 'proxy'}]}}";
    let patch = "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('example.com/x'), value: 'y'}]";
    mutating(
        client,
        json!({
            "matchConstraints": { "resourceRules": [{ "apiGroups": [""], "apiVersions": ["v1"],
                "operations": ["CREATE"], "resources": ["pods"] }] },
            "reinvocationPolicy": "Never",
            "matchConditions": [{ "name": "once", "expression": "!object.spec.containers.exists(c, c.name == 'side')" }],
            "mutations": [
                { "patchType": "ApplyConfiguration", "applyConfiguration": { "expression": apply } },
                { "patchType": "JSONPatch", "jsonPatch": { "expression": patch } },
            ],
        }),
    )
    .await;
    let made = client.post("/api/v1/namespaces/default/pods", &pod("p")).await.code(201);
    let names: Vec<&str> = made.body["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.contains(&"side") && names.contains(&"c"));
    assert_eq!(made.body["metadata"]["labels"]["made-by"], "policy");
    assert_eq!(made.body["metadata"]["labels"]["example.com/x"], "y");
}
