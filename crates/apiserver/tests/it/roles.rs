//! Roles: what bindings give at once, what nobody may hand out, what every cluster begins with.

use serde_json::{Value, json};
use skiff_apiserver::User;

use crate::given::{Client, Given, MAPS};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({ "apiGroups": groups, "resources": resources, "verbs": verbs })
}

fn role(name: &str, rules: &[Value]) -> Value {
    json!({ "metadata": { "name": name }, "rules": rules })
}

fn binding(name: &str, kind: &str, role: &str, user: &str) -> Value {
    json!({
        "metadata": { "name": name }, "roleRef": { "kind": kind, "name": role },
        "subjects": [{ "kind": "User", "name": user }],
    })
}

fn of(given: &Given, user: &str) -> Client {
    Client::of(&given.cluster, User::new(user, Vec::<String>::new()))
}

#[tokio::test]
async fn a_binding_counts_from_its_creation_to_its_end() {
    let given = Given::new().await;
    let (admin, ann) = (&given.client, of(&given, "ann"));
    let roles = format!("{RBAC}/namespaces/default/roles");
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    admin.post(&bindings, &binding("b", "Role", "reader", "ann")).await.code(201);
    assert_eq!(
        ann.get(MAPS).await.code(403).message(),
        "configmaps is forbidden: User \"ann\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\": RBAC: role.rbac.authorization.k8s.io \"reader\" not found"
    );
    admin.post(&roles, &role("reader", &[rule(&[""], &["configmaps"], &["list"])])).await.code(201);
    ann.get(MAPS).await.code(200);
    ann.get(&format!("{MAPS}/a")).await.code(403);
    ann.get("/api/v1/configmaps").await.code(403);
    ann.get("/api/v1/namespaces/kube-system/configmaps").await.code(403);
    let change = json!({ "rules": [rule(&[""], &["configmaps"], &["get", "list"])] });
    admin.patch(&format!("{roles}/reader"), "merge-patch", &change).await.code(200);
    ann.get(&format!("{MAPS}/a")).await.code(404);
    admin.delete(&format!("{bindings}/b")).await.code(200);
    ann.get(MAPS).await.code(403);
}

#[tokio::test]
async fn nobody_hands_out_what_they_do_not_hold() {
    let given = Given::new().await;
    let (admin, ann) = (&given.client, of(&given, "ann"));
    let roles = format!("{RBAC}/namespaces/default/roles");
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    let rules = [
        rule(&["rbac.authorization.k8s.io"], &["roles", "rolebindings"], &["create"]),
        rule(&[""], &["pods"], &["get"]),
    ];
    admin.post(&roles, &role("own", &rules)).await.code(201);
    admin.post(&bindings, &binding("own", "Role", "own", "ann")).await.code(201);
    ann.post(&roles, &role("less", &[rule(&[""], &["pods"], &["get"])])).await.code(201);
    let refused = ann.post(&roles, &role("more", &[rule(&[""], &["pods"], &["get", "list", "watch"])])).await;
    assert_eq!(
        refused.code(403).message(),
        "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"ann\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\" \"watch\"]}"
    );
    let refused = ann.post(&bindings, &binding("up", "ClusterRole", "cluster-admin", "ann")).await.code(403);
    assert!(
        refused.message().contains("{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}\n"),
        "{}",
        refused.message()
    );
    assert_eq!(
        ann.post(&bindings, &binding("none", "ClusterRole", "none", "ann")).await.code(404).message(),
        "clusterroles.rbac.authorization.k8s.io \"none\" not found"
    );
    // Who may bind a role or escalate need not hold it.
    let may = [
        json!({ "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "resourceNames": ["cluster-admin"], "verbs": ["bind"] }),
        rule(&["rbac.authorization.k8s.io"], &["roles"], &["escalate"]),
    ];
    admin.post(&roles, &role("may", &may)).await.code(201);
    admin.post(&bindings, &binding("may", "Role", "may", "ann")).await.code(201);
    ann.post(&bindings, &binding("up", "ClusterRole", "cluster-admin", "bob")).await.code(201);
    ann.post(&roles, &role("more", &[rule(&[""], &["pods"], &["get", "list"])])).await.code(201);
    of(&given, "bob").get(MAPS).await.code(200);
    of(&given, "bob").get("/api/v1/nodes").await.code(403);
}

#[tokio::test]
async fn gathering_roles_need_every_right() {
    let given = Given::new().await;
    let (admin, ann) = (&given.client, of(&given, "ann"));
    let rules = [rule(&["rbac.authorization.k8s.io"], &["clusterroles"], &["*"])];
    admin.post(&format!("{RBAC}/clusterroles"), &role("own", &rules)).await.code(201);
    let bindings = format!("{RBAC}/clusterrolebindings");
    admin.post(&bindings, &binding("own", "ClusterRole", "own", "ann")).await.code(201);
    // `*` includes `escalate`; without it gathering is refused.
    let less = json!({ "rules": [rule(&["rbac.authorization.k8s.io"], &["clusterroles"], &["create"])] });
    admin.patch(&format!("{RBAC}/clusterroles/own"), "merge-patch", &less).await.code(200);
    let mut gathers = role("all", &[]);
    gathers["aggregationRule"] = json!({ "clusterRoleSelectors": [{ "matchLabels": { "a": "b" } }] });
    assert_eq!(
        ann.post(&format!("{RBAC}/clusterroles"), &gathers).await.code(403).message(),
        "clusterroles.rbac.authorization.k8s.io \"all\" is forbidden: must have cluster-admin privileges to use the aggregationRule"
    );
}

#[tokio::test]
async fn every_cluster_begins_with_upstreams_roles() {
    let given = Given::new().await;
    let roles = given.client.get(&format!("{RBAC}/clusterroles")).await.code(200);
    let names = roles.names();
    for name in ["admin", "cluster-admin", "edit", "view", "system:node", "system:controller:job-controller"]
    {
        assert!(names.contains(&name), "{name}");
    }
    let view = given.client.get(&format!("{RBAC}/clusterroles/view")).await.code(200).body;
    assert_eq!(view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"], "true");
    assert_eq!(view["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"], "true");
    let scheduler = of(&given, "system:kube-scheduler");
    scheduler.get("/api/v1/pods").await.code(200);
    scheduler.get("/api/v1/secrets").await.code(403);
    let monitoring = Client::of(&given.cluster, User::new("m", ["system:monitoring"]));
    monitoring.get("/metrics").await.code(200);
    of(&given, "x").get("/metrics").await.code(403);
}

#[tokio::test]
async fn who_may_update_may_not_create_by_it() {
    let given = Given::new().await;
    let (admin, ann) = (&given.client, of(&given, "ann"));
    let group = "coordination.k8s.io";
    admin
        .post(
            &format!("{RBAC}/clusterroles"),
            &role("changer", &[rule(&[group], &["leases"], &["update", "patch"])]),
        )
        .await
        .code(201);
    let bindings = format!("{RBAC}/clusterrolebindings");
    admin.post(&bindings, &binding("changer", "ClusterRole", "changer", "ann")).await.code(201);
    let lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/a";
    let body = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "a" }, "spec": {} });
    let refusal = "leases.coordination.k8s.io \"a\" is forbidden: User \"ann\" cannot create resource \"leases\" in API group \"coordination.k8s.io\" in the namespace \"default\"";
    assert_eq!(ann.put(lease, &body).await.code(403).message(), refusal);
    let applied = ann
        .send(
            "PATCH",
            &format!("{lease}?fieldManager=x"),
            &[("content-type", "application/apply-patch+yaml")],
            body.to_string().into_bytes(),
        )
        .await;
    assert_eq!(applied.code(403).message(), refusal);
    admin.put(lease, &body).await.code(201);
    ann.patch(lease, "merge-patch", &json!({ "spec": { "holderIdentity": "x" } })).await.code(200);
}

#[tokio::test]
async fn a_component_with_rights_to_what_nobody_serves_is_a_mistake() {
    let rights = |resource: &str| skiff_apiserver::ComponentRole {
        account: "odd-controller".to_owned(),
        rules: vec![("get".to_owned(), resource.to_owned())],
    };
    for (resource, fine) in [
        ("pods pods/status pods/finalizers", true),
        ("podz", false),
        ("pods/odd", false),
        ("x.example.com", true),
    ] {
        let options = skiff_apiserver::Options {
            roles: vec![rights(resource)],
            ..skiff_apiserver::Options::in_memory()
        };
        let server = skiff_apiserver::Server::build(options).unwrap();
        let (ready, tasks) = (server.ready(), skiff_base::task::Tasks::new());
        let running = server.run(Vec::new(), tasks.clone());
        let started = tokio::select! {
            () = ready.opened() => true,
            ended = running => {
                let why = ended.unwrap_err().to_string();
                assert!(why.contains("odd-controller has rights to") && why.contains("which nobody serves"), "{why}");
                false
            }
        };
        assert_eq!(started, fine, "{resource}");
        tasks.stop();
    }
}
