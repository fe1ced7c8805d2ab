//! Questions as extenders see them, and answers in the case of Go's fields and in others'.

use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use skiff_base::pki::{Authority, Request};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::plugins::tests::pending;

/// What was asked: the path, and the question.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// A program that gives the same answer to everybody; over TLS if it has something to show.
#[expect(clippy::disallowed_methods, reason = "it ends with its test")]
async fn program(code: u16, answer: Value, tls: Option<TlsAcceptor>) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}/v1/", listener.local_addr().unwrap());
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            match &tls {
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, code, &answer, &seen).await;
                    }
                }
                None => serve(stream, code, &answer, &seen).await,
            }
        }
    });
    (url, asked)
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, code: u16, answer: &Value, seen: &Asked) {
    let mut stream = BufReader::new(stream);
    let (mut line, mut path, mut length) = (String::new(), String::new(), 0);
    while stream.read_line(&mut line).await.unwrap_or(0) > 2 {
        let lower = line.to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("POST ") {
            path = rest.split(' ').next().unwrap_or_default().to_owned();
        }
        if let Some(number) = lower.strip_prefix("content-length:") {
            length = number.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    seen.lock().push((path, serde_json::from_slice(&body).unwrap()));
    let text = answer.to_string();
    let head = format!("HTTP/1.1 {code} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
    stream.write_all(format!("{head}{text}").as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

async fn server(code: u16, answer: Value) -> (String, Asked) {
    program(code, answer, None).await
}

fn extender(url: &str, knows_nodes: bool) -> Extender {
    let tls = skiff_base::tls::any_client(None).unwrap();
    let verb = |verb: &str| Some(verb.to_owned());
    Extender {
        client: Client::new(url.to_owned(), Duration::from_secs(5), tls, None),
        filter: verb("filter"),
        prioritize: verb("prioritize"),
        preempt: verb("preempt"),
        bind: verb("bind"),
        weight: 2,
        knows_nodes,
        managed: BTreeSet::new(),
        ignorable: false,
    }
}

fn candidates() -> Vec<Candidate> {
    ["a", "b", "c"]
        .map(|name| {
            let node = json!({"metadata": {"name": name}}).to_string();
            Candidate { name: name.into(), object: Some(Arc::new(Object::parse(node.into()).unwrap())) }
        })
        .into()
}

fn words(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(node, why)| ((*node).to_owned(), (*why).to_owned())).collect()
}

#[tokio::test]
async fn nodes_are_sent_to_those_who_do_not_know_them_and_names_to_those_who_do() {
    let pod = pending("{metadata: {name: p}}");
    let left = json!({"nodes": {"items": [{"metadata": {"name": "b"}}]}, "failedNodes": {"a": "full", "c": "full"},
        "failedAndUnresolvableNodes": {"c": "broken"}, "error": ""});
    let (url, asked) = server(200, left).await;
    let filtered = extender(&url, false).filter(&pod.info.object, &candidates()).await.unwrap();
    let expected = Filtered {
        left: ["b".to_owned()].into(),
        failed: words(&[("a", "full")]),
        unresolvable: words(&[("c", "broken")]),
    };
    assert_eq!(filtered, expected);
    let (path, question) = asked.lock()[0].clone();
    assert_eq!((path.as_str(), &question["NodeNames"]), ("/v1/filter", &Value::Null));
    assert_eq!(question["Pod"]["metadata"]["name"], "p");
    assert_eq!(question["Nodes"]["items"][2]["metadata"]["name"], "c");

    let (url, asked) = server(200, json!({"NodeNames": ["a", "c"], "FailedNodes": {"b": "full"}})).await;
    let filtered = extender(&url, true).filter(&pod.info.object, &candidates()).await.unwrap();
    assert_eq!(filtered.left, ["a".to_owned(), "c".to_owned()].into());
    let question = asked.lock()[0].1.clone();
    assert_eq!((&question["Nodes"], &question["NodeNames"]), (&Value::Null, &json!(["a", "b", "c"])));
}

#[tokio::test]
async fn what_goes_wrong_is_told() {
    let pod = pending("{}");
    let (url, _) = server(200, json!({"Error": "no idea"})).await;
    let asked = extender(&url, true).filter(&pod.info.object, &candidates()).await;
    assert_eq!(asked.unwrap_err(), "no idea");
    let (url, _) = server(503, json!({})).await;
    let asked = extender(&url, true).filter(&pod.info.object, &candidates()).await;
    assert_eq!(asked.unwrap_err(), format!("failed filter with extender at URL {url}filter, code 503"));
    let (url, _) = server(200, json!({"NodeNames": ["z"]})).await;
    let asked = extender(&url, true).filter(&pod.info.object, &candidates()).await;
    let expected =
        format!("extender {url:?} claims a filtered node \"z\" which is not found in the input node list");
    assert_eq!(asked.unwrap_err(), expected);
    let nobody = extender("http://127.0.0.1:1", true).filter(&pod.info.object, &candidates()).await;
    assert!(nobody.unwrap_err().starts_with("Post \"http://127.0.0.1:1/filter\": "));
}

#[tokio::test]
async fn scores_are_scaled_and_weighed() {
    let pod = pending("{}");
    let (url, asked) = server(200, json!([{"Host": "a", "Score": 10}, {"host": "b", "score": 3}])).await;
    let scores = extender(&url, true).prioritize(&pod.info.object, &candidates()).await.unwrap();
    assert_eq!(scores, [("a".to_owned(), 200), ("b".to_owned(), 60)].into());
    assert_eq!(asked.lock()[0].0, "/v1/prioritize");
}

#[tokio::test]
async fn victims_are_named_by_uid_to_those_who_know_pods() {
    let pod = pending("{}");
    let victim = pending("{metadata: {name: v, uid: v}}").info;
    let plans =
        ["a", "b"].map(|node| Plan { node: node.into(), victims: vec![Arc::clone(&victim)], violations: 1 });
    let answer = json!({"NodeNameToMetaVictims": {"b": {"Pods": [{"UID": "v"}], "NumPDBViolations": 1}}});
    for knows in [true, false] {
        let (url, asked) = server(200, answer.clone()).await;
        let on = |node: &str, uid: &str| (node == "b" && uid == "v").then(|| Arc::clone(&victim));
        let chosen = extender(&url, knows).preempt(&pod.info.object, plans.to_vec(), on).await.unwrap();
        assert_eq!((chosen.len(), &*chosen[0].node, chosen[0].violations), (1, "b", 1));
        let question = asked.lock()[0].1.clone();
        let (meta, whole) = (&question["NodeNameToMetaVictims"], &question["NodeNameToVictims"]);
        if knows {
            assert_eq!((meta["a"]["Pods"][0].clone(), whole), (json!({"UID": "v"}), &Value::Null));
        } else {
            assert_eq!((meta, &whole["a"]["Pods"][0]["metadata"]["name"]), (&Value::Null, &json!("v")));
            assert_eq!(whole["b"]["NumPDBViolations"], 1);
        }
    }
    let (url, _) = server(200, json!({"NodeNameToMetaVictims": {"a": {"Pods": []}}})).await;
    let none = extender(&url, true).preempt(&pod.info.object, plans.to_vec(), |_, _| None).await;
    assert_eq!(none.unwrap_err(), "expected at least one victim pod on node \"a\"");
}

#[tokio::test]
async fn the_binder_is_told_who_goes_where() {
    let pod = pending("{metadata: {name: p, namespace: blue, uid: u}}").pod;
    let (url, asked) = server(200, json!({})).await;
    assert_eq!(extender(&url, true).bind(&pod, "a").await, Some(Ok(())));
    let expected = json!({"PodName": "p", "PodNamespace": "blue", "PodUID": "u", "Node": "a"});
    assert_eq!(asked.lock()[0], ("/v1/bind".to_owned(), expected));
    let (url, _) = server(200, json!({"Error": "no"})).await;
    assert_eq!(extender(&url, true).bind(&pod, "a").await, Some(Err("no".to_owned())));
}

#[test]
fn an_extender_is_interested_in_pods_that_ask_for_what_it_looks_after() {
    let mut extender = extender("http://127.0.0.1:1", true);
    let plain = pending("{}").pod;
    let of = |list: &str, kind: &str| {
        pending(&format!(
            "spec: {{{list}: [{{name: c, image: app, resources: {{{kind}: {{example.com/gpu: '1'}}}}}}]}}"
        ))
        .pod
    };
    assert!(extender.is_interested(&plain));
    extender.managed = ["example.com/gpu".to_owned()].into();
    assert!(!extender.is_interested(&plain));
    for (list, kind) in [("containers", "requests"), ("containers", "limits"), ("initContainers", "limits")] {
        assert!(extender.is_interested(&of(list, kind)), "{list} {kind}");
    }
}

#[tokio::test]
async fn an_extender_over_https_is_believed_by_its_authority_and_its_name() {
    let authority = Authority::create("extenders").unwrap();
    let hosts = vec!["extender.example".to_owned()];
    let request = Request { name: "extender".to_owned(), hosts, ..Request::default() };
    let identity = authority.issue(&request).unwrap();
    let shown = skiff_base::tls::server(&identity, authority.cert_pem()).unwrap();
    let (url, _) = program(200, json!({}), Some(TlsAcceptor::from(Arc::new(shown)))).await;
    let pod = pending("{}").pod;
    let stranger = Authority::create("others").unwrap();
    for (ca, name, believed) in [
        (&authority, "extender.example", true),
        (&authority, "other.example", false),
        (&stranger, "extender.example", false),
    ] {
        let tls = skiff_base::tls::client(ca.cert_pem(), None).unwrap();
        let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
        let client = Client::new(url.clone(), Duration::from_secs(5), tls, Some(name));
        let asked = Extender { client, ..extender(&url, true) }.bind(&pod, "a").await;
        assert_eq!(asked.is_some_and(|answer| answer.is_ok()), believed);
    }
    assert_eq!(extender(&url, true).bind(&pod, "a").await, Some(Ok(())), "it asks for no proof");
}
