//! Tokens of service accounts: what they say, what they are bound to, when they end.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use skiff_apiserver::User;

use crate::given::{Client, Given, MAPS, pod};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const PODS: &str = "/api/v1/namespaces/default/pods";
const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

async fn account(given: &Given, name: &str) -> Value {
    given.client.post(ACCOUNTS, &json!({ "metadata": { "name": name } })).await.code(201).body
}

async fn ask(given: &Given, account: &str, spec: &Value) -> crate::given::Answer {
    given.client.post(&format!("{ACCOUNTS}/{account}/token"), &json!({ "spec": spec })).await
}

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn text(answer: &crate::given::Answer) -> String {
    answer.body["status"]["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_makes_its_bearer_the_account() {
    let given = Given::new().await;
    let made = account(&given, "robot").await;
    let answer = ask(&given, "robot", &json!({ "expirationSeconds": 600 })).await.code(201);
    assert_eq!(answer.body["kind"], "TokenRequest");
    let issuer = "https://kubernetes.default.svc.cluster.local";
    assert_eq!(answer.body["spec"]["audiences"], json!([issuer]));
    let token = text(&answer);
    let claims = claims(&token);
    assert_eq!(claims["sub"], "system:serviceaccount:default:robot");
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(issuer), &json!([issuer])));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    assert_eq!(claims["kubernetes.io"]["serviceaccount"]["uid"], made["metadata"]["uid"]);

    let robot = Client::bearing(&given.cluster, &token);
    let who = robot.post(WHO, &json!({})).await.code(201);
    let user = &who.body["status"]["userInfo"];
    assert_eq!(user["username"], "system:serviceaccount:default:robot");
    assert_eq!(
        user["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );
    assert_eq!(user["uid"], made["metadata"]["uid"]);
    robot.get(MAPS).await.code(403);
    robot.get("/openid/v1/jwks").await.code(200);

    given.client.delete(&format!("{ACCOUNTS}/robot")).await.code(200);
    assert_eq!(robot.get("/api").await.code(401).message(), "Unauthorized");
}

#[tokio::test]
async fn a_bound_token_ends_with_its_pod() {
    let given = Given::new().await;
    account(&given, "robot").await;
    given.client.post("/api/v1/nodes", &json!({ "metadata": { "name": "one" } })).await.code(201);
    let mut body = pod("a");
    body["spec"]["serviceAccountName"] = "robot".into();
    body["spec"]["nodeName"] = "one".into();
    let made = given.client.post(PODS, &body).await.code(201).body;
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let bound = |uid: &str| json!({ "boundObjectRef": { "apiVersion": "v1", "kind": "Pod", "name": "a", "uid": uid }, "expirationSeconds": 3607 });
    ask(&given, "robot", &bound("other")).await.code(409);
    let token = text(&ask(&given, "robot", &bound(uid)).await.code(201));
    let claims = claims(&token);
    assert_eq!(claims["kubernetes.io"]["pod"], json!({ "name": "a", "uid": uid }));
    assert_eq!(claims["kubernetes.io"]["node"]["name"], "one");
    // Old clients keep it for long.
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 31_536_000);
    assert_eq!(
        claims["kubernetes.io"]["warnafter"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        3607
    );
    let robot = Client::bearing(&given.cluster, &token);
    let extra = robot.post(WHO, &json!({})).await.code(201).body["status"]["userInfo"]["extra"].clone();
    assert_eq!(extra["authentication.kubernetes.io/pod-name"], json!(["a"]));
    assert_eq!(extra["authentication.kubernetes.io/node-name"], json!(["one"]));

    account(&given, "other").await;
    ask(&given, "other", &bound(uid)).await.code(400);
    // A node asks for its own pods only.
    let node =
        |name: &str| Client::of(&given.cluster, User::new(&format!("system:node:{name}"), ["system:nodes"]));
    let url = format!("{ACCOUNTS}/robot/token");
    node("one").post(&url, &json!({ "spec": bound(uid) })).await.code(201);
    node("two").post(&url, &json!({ "spec": bound(uid) })).await.code(403);
    node("one").post(&url, &json!({})).await.code(403);

    given.client.delete(&format!("{PODS}/a?gracePeriodSeconds=0")).await.code(200);
    robot.get("/api").await.code(401);
}

#[tokio::test]
async fn a_node_gets_tokens_for_whom_its_pods_volumes_name() {
    let given = Given::new().await;
    account(&given, "robot").await;
    given.client.post("/api/v1/nodes", &json!({ "metadata": { "name": "one" } })).await.code(201);
    let driver = json!({ "metadata": { "name": "csi.example.com" }, "spec": { "tokenRequests": [{ "audience": "bank" }] } });
    given.client.post("/apis/storage.k8s.io/v1/csidrivers", &driver).await.code(201);
    let mut body = pod("a");
    body["spec"]["serviceAccountName"] = "robot".into();
    body["spec"]["nodeName"] = "one".into();
    body["spec"]["volumes"] = json!([
        { "name": "t", "projected": { "sources": [{ "serviceAccountToken": { "audience": "vault", "path": "t" } }] } },
        { "name": "d", "csi": { "driver": "csi.example.com" } },
    ]);
    let uid = given.client.post(PODS, &body).await.code(201).body["metadata"]["uid"].clone();
    let one = Client::of(&given.cluster, User::new("system:node:one", ["system:nodes"]));
    let url = format!("{ACCOUNTS}/robot/token");
    let bound = json!({ "apiVersion": "v1", "kind": "Pod", "name": "a", "uid": uid });
    let ask = async |audiences: &[&str]| {
        one.post(&url, &json!({ "spec": { "audiences": audiences, "boundObjectRef": bound } })).await
    };
    for audience in ["vault", "bank"] {
        ask(&[audience]).await.code(201);
    }
    let refused = ask(&["vault", "bank"]).await.code(403);
    assert_eq!(
        refused.message(),
        "serviceaccounts \"robot\" is forbidden: node may only request 0 or 1 audiences"
    );
    let refused = ask(&["elsewhere"]).await.code(403);
    let why = "audience \"elsewhere\" not found in pod spec volume, system:node:one is not authorized to request tokens for \
               this audience";
    assert_eq!(refused.message(), format!("serviceaccounts \"robot\" is forbidden: {why}"));

    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rule = json!({ "verbs": ["request-serviceaccounts-token-audience"], "apiGroups": [""], "resources": ["elsewhere"] });
    let role = json!({ "metadata": { "name": "elsewhere" }, "rules": [rule] });
    given.client.post(&format!("{rbac}/clusterroles"), &role).await.code(201);
    let group = json!({ "kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:nodes" });
    let of = json!({ "kind": "ClusterRole", "apiGroup": "rbac.authorization.k8s.io", "name": "elsewhere" });
    let binding = json!({ "metadata": { "name": "elsewhere" }, "roleRef": of, "subjects": [group] });
    given.client.post(&format!("{rbac}/clusterrolebindings"), &binding).await.code(201);
    ask(&["elsewhere"]).await.code(201);
}

#[tokio::test]
async fn tokens_for_others_and_forged_ones_are_refused() {
    let given = Given::new().await;
    account(&given, "robot").await;
    let token = text(&ask(&given, "robot", &json!({ "audiences": ["vault"] })).await.code(201));
    Client::bearing(&given.cluster, &token).get("/api").await.code(401);
    let review = |audiences: Value| json!({ "spec": { "token": token, "audiences": audiences } });
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let known = given.client.post(reviews, &review(json!(["vault", "x"]))).await.code(201).body;
    assert_eq!(known["status"]["authenticated"], true);
    assert_eq!(known["status"]["audiences"], json!(["vault"]));
    assert_eq!(known["status"]["user"]["username"], "system:serviceaccount:default:robot");
    let unknown = given.client.post(reviews, &review(json!(["y"]))).await.code(201).body;
    assert_eq!(unknown["status"]["authenticated"], Value::Null);

    let elsewhere = Given::new().await;
    account(&elsewhere, "robot").await;
    let foreign = text(&ask(&elsewhere, "robot", &json!({})).await.code(201));
    for bad in [foreign.as_str(), "", "x", "a.b.c"] {
        Client::bearing(&given.cluster, bad).get("/api").await.code(401);
    }
    // Also where nobody would have been let in.
    Client::bearing(&given.cluster, "x").get("/healthz").await.code(401);
    ask(&given, "robot", &json!({ "expirationSeconds": 5 })).await.code(422);
    ask(&given, "nobody", &json!({})).await.code(404);
}

#[tokio::test]
async fn a_secret_may_hold_a_token_for_as_long_as_it_lives() {
    let given = Given::new().await;
    account(&given, "robot").await;
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = json!({
        "metadata": { "name": "t", "annotations": { "kubernetes.io/service-account.name": "robot" } },
        "type": "kubernetes.io/service-account-token",
    });
    let made = given.client.post(secrets, &secret).await.code(201).body;
    let token =
        base64::engine::general_purpose::STANDARD.decode(made["data"]["token"].as_str().unwrap()).unwrap();
    let robot = Client::bearing(&given.cluster, &String::from_utf8(token).unwrap());
    robot.get("/api").await.code(200);
    given.client.delete(&format!("{secrets}/t")).await.code(200);
    robot.get("/api").await.code(401);
}

#[tokio::test]
async fn pods_find_their_token_in_a_volume_unless_they_want_none() {
    let given = Given::new().await;
    let made = given.client.post(PODS, &pod("a")).await.code(201).body;
    let volume = &made["spec"]["volumes"][0];
    assert!(volume["name"].as_str().unwrap().starts_with("kube-api-access-"));
    assert_eq!(volume["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"], 3607);
    let mount = &made["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(mount["name"], volume["name"]);
    let mut without = pod("b");
    without["spec"]["automountServiceAccountToken"] = false.into();
    let made = given.client.post(PODS, &without).await.code(201).body;
    assert_eq!(made["spec"]["volumes"], Value::Null);
}

#[tokio::test]
async fn others_can_verify_our_tokens() {
    let given = Given::new().await;
    let document = given.client.get("/.well-known/openid-configuration").await.code(200).body;
    assert_eq!(document["issuer"], "https://kubernetes.default.svc.cluster.local");
    let keys = given.client.get("/openid/v1/jwks").await.code(200).body;
    assert_eq!(keys["keys"][0]["kty"], "EC");
    let nobody = Client::of(&given.cluster, User::new("x", Vec::<String>::new()));
    nobody.get("/openid/v1/jwks").await.code(403);
}
