//! Who asks, in whose name, and what they may do: impersonation, reviews, tokens from files and Secrets.

use serde_json::{Value, json};
use skiff_apiserver::{Options, User};

use crate::cluster::Cluster;
use crate::given::{Client, Given, MAPS};

const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const ACCESS: &str = "/apis/authorization.k8s.io/v1";

async fn who(client: &Client) -> Value {
    client.post(WHO, &json!({})).await.code(201).body["status"]["userInfo"].clone()
}

/// Gives a user rights everywhere.
async fn give(given: &Given, user: &str, group: &str, resource: &str, verb: &str) {
    let name = format!("{user}-{verb}-{resource}").replace('/', "-");
    let rules = json!([{ "apiGroups": [group], "resources": [resource], "verbs": [verb] }]);
    let role = json!({ "metadata": { "name": name }, "rules": rules });
    given.client.post(&format!("{RBAC}/clusterroles"), &role).await.code(201);
    let binding = json!({
        "metadata": { "name": name }, "roleRef": { "kind": "ClusterRole", "name": name },
        "subjects": [{ "kind": "User", "name": user }],
    });
    given.client.post(&format!("{RBAC}/clusterrolebindings"), &binding).await.code(201);
}

#[tokio::test]
async fn who_may_use_a_name_acts_in_it() {
    let given = Given::new().await;
    let admin = given.client.clone();
    let ann = admin.clone().with("impersonate-user", "ann").with("impersonate-group", "dev");
    let ann = ann.with("impersonate-extra-scopes", "a").with("impersonate-uid", "7");
    assert_eq!(
        who(&ann).await,
        json!({ "username": "ann", "uid": "7", "groups": ["dev", "system:authenticated"], "extra": { "scopes": ["a"] } })
    );
    ann.get(MAPS).await.code(403);
    let robot = admin.with("impersonate-user", "system:serviceaccount:default:robot");
    assert_eq!(
        who(&robot).await["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );

    let bob = Client::of(&given.cluster, User::new("bob", Vec::<String>::new()));
    let as_ann = bob.clone().with("impersonate-user", "ann");
    assert_eq!(
        as_ann.get(MAPS).await.code(403).message(),
        "users \"ann\" is forbidden: User \"bob\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope"
    );
    give(&given, "bob", "", "users", "impersonate").await;
    assert_eq!(who(&as_ann).await["username"], "ann");
    as_ann.with("impersonate-group", "system:masters").get(MAPS).await.code(403);
    bob.with("impersonate-group", "dev").get(MAPS).await.code(400);
}

#[tokio::test]
async fn reviews_tell_who_may_do_what() {
    let given = Given::new().await;
    give(&given, "ann", "", "configmaps", "list").await;
    let ann = Client::of(&given.cluster, User::new("ann", Vec::<String>::new()));
    let about = |verb: &str| json!({ "verb": verb, "resource": "configmaps", "namespace": "default" });
    let own = format!("{ACCESS}/selfsubjectaccessreviews");
    let yes =
        ann.post(&own, &json!({ "spec": { "resourceAttributes": about("list") } })).await.code(201).body;
    assert_eq!(
        yes["status"],
        json!({ "allowed": true, "reason": "RBAC: allowed by ClusterRoleBinding \"ann-list-configmaps\" of ClusterRole \"ann-list-configmaps\" to User \"ann\"" })
    );
    let no = ann.post(&own, &json!({ "spec": { "resourceAttributes": about("get") } })).await.code(201).body;
    assert_eq!(no["status"], json!({ "allowed": false }));
    ann.post(&own, &json!({ "spec": {} })).await.code(422);

    let any = format!("{ACCESS}/subjectaccessreviews");
    let of = json!({ "spec": { "user": "ann", "resourceAttributes": about("list") } });
    ann.post(&any, &of).await.code(403);
    assert_eq!(given.client.post(&any, &of).await.code(201).body["status"]["allowed"], true);
    let path = json!({ "spec": { "groups": ["system:monitoring"], "nonResourceAttributes": { "verb": "get", "path": "/metrics" } } });
    assert_eq!(given.client.post(&any, &path).await.code(201).body["status"]["allowed"], true);
    let local = format!("{ACCESS}/namespaces/default/localsubjectaccessreviews");
    assert_eq!(given.client.post(&local, &of).await.code(201).body["status"]["allowed"], true);
    let elsewhere = format!("{ACCESS}/namespaces/kube-system/localsubjectaccessreviews");
    given.client.post(&elsewhere, &of).await.code(400);

    let rules = format!("{ACCESS}/selfsubjectrulesreviews");
    let all = ann.post(&rules, &json!({ "spec": { "namespace": "default" } })).await.code(201).body;
    let found = all["status"]["resourceRules"].as_array().unwrap();
    assert!(
        found.contains(&json!({ "verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"] })),
        "{all}"
    );
    assert_eq!(all["status"]["incomplete"], false);
    ann.get(&rules).await.code(403);
    given.client.get(&rules).await.code(405);
}

#[tokio::test]
async fn tokens_from_a_file_and_from_bootstrap_secrets_are_believed() {
    let options = Options { token_file: Some("secret,ann,1,dev".to_owned()), ..Options::in_memory() };
    let cluster = Cluster::with(options).await;
    let ann = Client::bearing(&cluster, "secret");
    assert_eq!(
        who(&ann).await,
        json!({ "username": "ann", "uid": "1", "groups": ["dev", "system:authenticated"] })
    );
    let admin = Client::of(&cluster, User::new("admin", ["system:masters"]));
    let secret = json!({
        "metadata": { "name": "bootstrap-token-abcdef" }, "type": "bootstrap.kubernetes.io/token",
        "stringData": { "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true" },
    });
    admin.post("/api/v1/namespaces/kube-system/secrets", &secret).await.code(201);
    let node = Client::bearing(&cluster, "abcdef.0123456789abcdef");
    assert_eq!(who(&node).await["groups"], json!(["system:bootstrappers", "system:authenticated"]));
    Client::bearing(&cluster, "abcdef.0123456789abcdee").get("/api").await.code(401);
}
