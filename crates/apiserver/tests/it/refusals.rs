//! Nobody without rights gets anywhere: every route that discovery names, every verb, every kind of stranger.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::SignedDuration;
use serde_json::{Value, json};
use skiff_apiserver::{Options, User};
use skiff_base::Clock;

use crate::cluster::Cluster;
use crate::given::{Client, kept, path, sample};

/// What everybody may ask who has shown who they are.
const OPEN: [&str; 3] = ["selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"];

/// Callers who show nothing that the server would look at.
const NOTHING: [&str; 3] = ["nobody", "without a word", "by password"];

/// One request: method and path.
type Route = (&'static str, String);

/// Every route of every resource, with its verbs.
async fn routes(admin: &Client) -> Vec<Route> {
    let mut roots = vec!["/api/v1".to_owned()];
    for group in admin.get("/apis").await.body["groups"].as_array().unwrap() {
        for version in group["versions"].as_array().unwrap() {
            roots.push(format!("/apis/{}", version["groupVersion"].as_str().unwrap()));
        }
    }
    let mut routes = Vec::new();
    for root in roots {
        let list = admin.get(&root).await.code(200).body;
        for resource in list["resources"].as_array().unwrap() {
            routes.extend(of(&root, resource));
        }
    }
    routes
}

fn of(root: &str, resource: &Value) -> Vec<Route> {
    let name = resource["name"].as_str().unwrap();
    if OPEN.contains(&name) {
        return Vec::new();
    }
    let place =
        if resource["namespaced"] == true { format!("{root}/namespaces/default") } else { root.to_owned() };
    let (plural, sub) = name.split_once('/').unwrap_or((name, ""));
    let collection = format!("{place}/{plural}");
    let object = match sub {
        "" => format!("{collection}/sample"),
        sub => format!("{collection}/sample/{sub}"),
    };
    let whole = if sub.is_empty() { collection.clone() } else { object.clone() };
    let route = |verb: &Value| match verb.as_str().unwrap() {
        "get" => ("GET", object.clone()),
        "list" => ("GET", collection.clone()),
        "watch" => ("GET", format!("{collection}?watch=1")),
        "create" => ("POST", whole.clone()),
        "update" => ("PUT", object.clone()),
        "patch" => ("PATCH", object.clone()),
        "delete" => ("DELETE", object.clone()),
        "deletecollection" => ("DELETE", collection.clone()),
        other => panic!("what is {other}?"),
    };
    let verbs = resource["verbs"].as_array().unwrap();
    let mut routes: Vec<Route> = verbs.iter().map(route).collect();
    if resource["namespaced"] == true && sub.is_empty() && verbs.contains(&"list".into()) {
        let everywhere = format!("{root}/{plural}");
        routes.push(("GET", format!("{everywhere}?watch=1")));
        routes.push(("GET", everywhere));
    }
    routes
}

/// What is no resource: path, and what an account without roles gets there.
const PATHS: [(&str, u16); 12] = [
    ("/", 403),
    ("/api", 200),
    ("/apis", 200),
    ("/apis/apps", 200),
    ("/apis/apps/v1", 200),
    ("/openapi/v2", 200),
    ("/openapi/v3/apis/apps/v1", 200),
    ("/version", 200),
    ("/metrics", 403),
    ("/logs", 403),
    ("/debug/pprof", 403),
    ("/.well-known/openid-configuration", 200),
];

/// The token with `none` for its algorithm and no signature.
fn unsigned(token: &str) -> String {
    let claims = token.split('.').nth(1).unwrap();
    // {"alg":"none"}
    format!("eyJhbGciOiJub25lIn0.{claims}.")
}

#[tokio::test]
async fn strangers_and_accounts_without_roles_are_refused_everywhere() {
    let late = Arc::new(AtomicI64::new(0));
    let clock = Arc::clone(&late);
    let system = Clock::system();
    let now = move || system.now() + SignedDuration::from_secs(clock.load(Ordering::Relaxed));
    let cluster = Cluster::with(Options { clock: Clock::from_fn(now), ..Options::in_memory() }).await;
    let admin = Client::of(&cluster, User::new("admin", ["system:masters"]));
    for row in kept().filter(|row| row.kind != "Namespace") {
        admin.post(&path(row), &sample(row, "sample")).await;
    }
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    admin.post(accounts, &json!({ "metadata": { "name": "robot" } })).await.code(201);
    let ask = json!({ "spec": { "expirationSeconds": 600 } });
    let token = |answer: crate::given::Answer| answer.body["status"]["token"].as_str().unwrap().to_owned();
    let expired = token(admin.post(&format!("{accounts}/robot/token"), &ask).await.code(201));
    late.store(1000, Ordering::Relaxed);
    let valid = token(admin.post(&format!("{accounts}/robot/token"), &ask).await.code(201));

    let elsewhere = Cluster::start().await;
    let other = Client::of(&elsewhere, User::new("admin", ["system:masters"]));
    other.post(accounts, &json!({ "metadata": { "name": "robot" } })).await.code(201);
    let foreign = token(other.post(&format!("{accounts}/robot/token"), &ask).await.code(201));

    let callers = [
        ("nobody", Client::stranger(&cluster), 401),
        ("malformed", Client::bearing(&cluster, "a.b.c"), 401),
        ("without a word", Client::bearing(&cluster, ""), 401),
        ("by password", Client::stranger(&cluster).with("authorization", "Basic YWRtaW46YWRtaW4="), 401),
        ("unsigned", Client::bearing(&cluster, &unsigned(&valid)), 401),
        ("tampered", Client::bearing(&cluster, &format!("{}A", &valid[..valid.len() - 4])), 401),
        ("expired", Client::bearing(&cluster, &expired), 401),
        ("foreign", Client::bearing(&cluster, &foreign), 401),
        ("without roles", Client::bearing(&cluster, &valid), 403),
    ];
    let routes = routes(&admin).await;
    assert!(routes.len() > 200, "{}", routes.len());
    for (method, url) in &routes {
        for (who, client, code) in &callers {
            let answer = client.send(method, url, &[], b"{}".to_vec()).await;
            assert_eq!(answer.code, *code, "{who}: {method} {url}: {}", answer.body);
            assert_eq!(answer.body["kind"], "Status", "{who}: {method} {url}");
            assert_eq!(answer.body["metadata"], json!({}), "{who}: {method} {url}");
            if *code == 401 {
                assert_eq!(answer.message(), "Unauthorized", "{who}: {method} {url}");
            }
        }
    }
    for (url, code) in PATHS {
        for (who, client, refused) in &callers {
            let answer = client.get(url).await;
            let wanted = match *refused {
                // Who shows nothing may ask for the version, as upstream; who shows something wrong may not.
                401 if NOTHING.contains(who) && url == "/version" => 200,
                401 => 401,
                _ => code,
            };
            assert_eq!(answer.code, wanted, "{who}: {url}: {}", answer.body);
        }
    }
    // And nothing came of all that.
    assert_eq!(admin.get("/api/v1/namespaces/default/configmaps/sample").await.code, 200);
}
