//! Issuers and webhooks of the tests' own, over TLS on loopback: who is believed, and who is asked how often.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use skiff_base::pki::{Authority, Request};
use skiff_base::task::{Policy, Tasks};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::jwt::SigningKey;
use super::{Identity, OidcOptions, TokenWebhookOptions, of_token};
use crate::api::Api;
use crate::authz::{self, AccessWebhookOptions, Ask, Authorizer, Verdict};
use crate::options::Options;
use crate::outbound::Access;
use crate::server::Server;
use crate::user::User;

/// A server that answers what it is told to, until the test ends.
struct Elsewhere {
    url: String,
    authority: Authority,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    /// What the last one who asked showed.
    shown: Arc<Mutex<String>>,
    answers: Arc<Mutex<Answers>>,
    tasks: Tasks,
}

type Answers = Box<dyn Fn(&str, &Value) -> Value + Send>;

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

impl Elsewhere {
    async fn start(answers: impl Fn(&str, &Value) -> Value + Send + 'static) -> Self {
        let authority = Authority::create("elsewhere").unwrap();
        let hosts = vec!["127.0.0.1".to_owned()];
        let identity =
            authority.issue(&Request { name: "it".to_owned(), hosts, ..Request::default() }).unwrap();
        let mut tls = skiff_base::tls::server(&identity, authority.cert_pem()).unwrap();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", socket.local_addr().unwrap());
        let (asked, tasks) = (Arc::<Mutex<Vec<(String, Value)>>>::default(), Tasks::new());
        let answers: Arc<Mutex<Answers>> = Arc::new(Mutex::new(Box::new(answers)));
        let (log, group, words) = (Arc::clone(&asked), tasks.clone(), Arc::clone(&answers));
        let shown = Arc::<Mutex<String>>::default();
        let badge = Arc::clone(&shown);
        tasks.spawn_until_stop(async move {
            while let Ok((stream, _)) = socket.accept().await {
                let (acceptor, log, words) = (acceptor.clone(), Arc::clone(&log), Arc::clone(&words));
                let badge = Arc::clone(&badge);
                group.spawn("elsewhere", Policy::Optional, async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return Ok(()) };
                    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
                        let (log, words) = (Arc::clone(&log), Arc::clone(&words));
                        let bearer = request.headers().get(http::header::AUTHORIZATION);
                        *badge.lock() =
                            bearer.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
                        async move {
                            let path = request.uri().path().to_owned();
                            let body = request.into_body().collect().await.unwrap().to_bytes();
                            let body = serde_json::from_slice(&body).unwrap_or_default();
                            let answer = words.lock()(&path, &body);
                            log.lock().push((path, body));
                            Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::from(
                                answer.to_string(),
                            ))))
                        }
                    });
                    let _ended = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                    Ok::<_, Infallible>(())
                });
            }
        });
        Self { url, authority, asked, shown, answers, tasks }
    }

    fn access(&self) -> Access {
        Access {
            url: self.url.clone(),
            ca_pem: Some(self.authority.cert_pem().to_owned()),
            ..Access::default()
        }
    }

    fn asked(&self) -> usize {
        self.asked.lock().len()
    }

    /// Answers as an issuer with these keys.
    fn issue_by(&self, keys: Vec<Value>) {
        let url = self.url.clone();
        *self.answers.lock() = Box::new(move |path, _| match path {
            "/keys" => json!({ "keys": keys }),
            _ => json!({ "issuer": url, "jwks_uri": format!("{url}/keys") }),
        });
    }
}

fn server(change: impl FnOnce(&mut Options)) -> Server {
    let mut options = Options::in_memory();
    change(&mut options);
    Server::build(options).unwrap()
}

async fn shown(api: &Api, token: &str) -> Result<String, String> {
    let Identity { user, .. } = of_token(api, token, &api.issuer.audiences).await?;
    Ok(format!("{} {}", user.name, user.groups.join(" ")))
}

const FOREVER: i64 = 32_503_680_000;

#[tokio::test]
async fn tokens_of_an_issuer_are_believed_and_its_new_keys_found() {
    let issuer = Elsewhere::start(|_, _| Value::Null).await;
    let (old, new) = (SigningKey::fresh().unwrap(), SigningKey::fresh().unwrap());
    issuer.issue_by(vec![old.public().jwk()]);
    let options = OidcOptions {
        ca_pem: issuer.access().ca_pem,
        username_prefix: Some("oidc:".to_owned()),
        groups_claim: Some("groups".to_owned()),
        signing_algs: vec!["ES256".to_owned()],
        ..OidcOptions::of(&issuer.url, "us")
    };
    let server = server(|it| it.oidc = vec![options]);
    let api = server.api();
    let claims = json!({ "iss": issuer.url, "aud": "us", "sub": "jane", "groups": ["devs"], "exp": FOREVER });
    let token = old.sign(&claims).unwrap();
    for _ in 0..2 {
        assert_eq!(shown(api, &token).await.unwrap(), "oidc:jane devs system:authenticated");
    }
    assert_eq!(issuer.asked(), 2, "once for where the keys are, once for the keys");

    let token = new.sign(&claims).unwrap();
    let refused = shown(api, &token).await.unwrap_err();
    assert!(refused.contains("failed to verify id token signature"), "{refused}");
    assert_eq!(issuer.asked(), 2, "it was asked a moment ago");
    issuer.issue_by(vec![old.public().jwk(), new.public().jwk()]);
    api.issuers[0].rested().await;
    assert_eq!(shown(api, &token).await.unwrap(), "oidc:jane devs system:authenticated");

    let mut late = claims.clone();
    late["exp"] = 1.into();
    let refused = shown(api, &new.sign(&late).unwrap()).await.unwrap_err();
    assert_eq!(refused, "[oidc: verify token: oidc: token is expired]");
    let mut other = claims;
    other["iss"] = "https://other.io".into();
    assert_eq!(shown(api, &new.sign(&other).unwrap()).await.unwrap_err(), "[invalid bearer token]");
}

#[tokio::test]
async fn rsa_keys_of_an_issuer_are_known_too() {
    let issuer = Elsewhere::start(|_, _| Value::Null).await;
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let public = pair.public_key();
    issuer.issue_by(vec![json!({
        "kty": "RSA", "kid": "1", "alg": "RS256", "use": "sig",
        "n": BASE64.encode(public.modulus().big_endian_without_leading_zero()),
        "e": BASE64.encode(public.exponent().big_endian_without_leading_zero()),
    })]);
    let options = OidcOptions { ca_pem: issuer.access().ca_pem, ..OidcOptions::of(&issuer.url, "us") };
    let server = server(|it| it.oidc = vec![options]);
    let claims = json!({ "iss": issuer.url, "aud": ["us"], "sub": "jane", "exp": FOREVER });
    let header = json!({ "alg": "RS256", "kid": "1" });
    let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    let token = format!("{signed}.{}", BASE64.encode(&signature));
    assert_eq!(
        shown(server.api(), &token).await.unwrap(),
        format!("{}#jane system:authenticated", issuer.url)
    );
    let unfit = SigningKey::fresh().unwrap().sign(&claims).unwrap();
    let refused = shown(server.api(), &unfit).await.unwrap_err();
    assert!(refused.contains("unsupported algorithm, expected [RS256] got \"ES256\""), "{refused}");
}

#[tokio::test]
async fn a_webhook_knows_tokens_and_is_not_asked_twice() {
    let webhook = Elsewhere::start(|_, review| {
        let user = json!({ "username": "jane", "uid": "7", "groups": ["devs"] });
        match review["spec"]["token"].as_str() {
            Some("good") => json!({ "status": { "authenticated": true, "user": user } }),
            Some("odd") => json!({ "status": { "authenticated": false, "error": "expired" } }),
            _ => json!({ "status": { "authenticated": false } }),
        }
    })
    .await;
    let options = TokenWebhookOptions {
        access: webhook.access(),
        version: "v1".to_owned(),
        cache_ttl: Duration::from_secs(600),
    };
    let server = server(|it| it.token_webhook = Some(options));
    let api = server.api();
    for _ in 0..3 {
        assert_eq!(shown(api, "good").await.unwrap(), "jane devs system:authenticated");
        assert_eq!(shown(api, "bad").await.unwrap_err(), "[invalid bearer token]");
    }
    assert_eq!(webhook.asked(), 2);
    assert_eq!(shown(api, "odd").await.unwrap_err(), "[webhook: expired]");
    let review = webhook.asked.lock()[0].1.clone();
    assert_eq!(
        (&review["apiVersion"], &review["kind"], &review["spec"]["audiences"]),
        (&json!("authentication.k8s.io/v1"), &json!("TokenReview"), &json!(api.issuer.audiences))
    );
}

#[tokio::test]
async fn a_webhook_says_what_somebody_may_before_and_after_the_others() {
    let webhook = Elsewhere::start(|_, review| {
        let spec = &review["spec"];
        let about = &spec["resourceAttributes"];
        match (spec["user"].as_str(), about["resource"].as_str()) {
            (Some("jane"), Some("pods")) => json!({ "status": { "allowed": true, "reason": "she may" } }),
            (Some("jane"), _) => json!({ "status": { "allowed": false, "denied": true, "reason": "never" } }),
            _ => json!({ "status": { "allowed": false, "reason": "who?" } }),
        }
    })
    .await;
    let options = AccessWebhookOptions {
        version: "v1".to_owned(),
        cache_unauthorized_ttl: Duration::from_secs(600),
        ..AccessWebhookOptions::of(webhook.access())
    };
    let server =
        server(|it| it.authorizers = vec![Authorizer::Webhook(Box::new(options)), Authorizer::AlwaysAllow]);
    let (jane, joe) = (User::new("jane", ["devs"]), User::new("joe", Vec::<String>::new()));
    let ask = |user, resource| Ask { verb: "get", resource, namespace: "a", name: "b", ..Ask::nothing(user) };
    for _ in 0..2 {
        let verdict = authz::judge(server.api(), &ask(&jane, "pods")).await;
        assert_eq!(verdict, Verdict::Allow("she may".to_owned()));
        let verdict = authz::judge(server.api(), &ask(&jane, "secrets")).await;
        assert_eq!(verdict, Verdict::Deny("never".to_owned()));
        let verdict = authz::judge(server.api(), &ask(&joe, "pods")).await;
        assert_eq!(verdict, Verdict::Allow(String::new()));
    }
    assert_eq!(webhook.asked(), 3);
    assert_eq!(
        webhook.asked.lock()[0].1["spec"],
        json!({ "user": "jane", "groups": ["devs", "system:authenticated"],
            "resourceAttributes": { "namespace": "a", "name": "b", "resource": "pods", "verb": "get" } })
    );
    let path = Ask { verb: "get", path: "/metrics", ..Ask::nothing(&jane) };
    assert_eq!(authz::judge(server.api(), &path).await, Verdict::Deny("never".to_owned()));
}

#[tokio::test]
async fn a_webhook_is_asked_what_its_conditions_name_and_denies_when_it_is_away() {
    let webhook = Elsewhere::start(|_, _| json!({ "status": { "allowed": true } })).await;
    let options = |access: Access| AccessWebhookOptions {
        version: "v1".to_owned(),
        timeout: Some(Duration::from_secs(3)),
        deny_if_unreachable: true,
        match_conditions: vec![
            "has(request.resourceAttributes)".to_owned(),
            "request.resourceAttributes.namespace == 'kube-system'".to_owned(),
        ],
        ..AccessWebhookOptions::of(access)
    };
    // Nobody listens on a port that was free a moment ago.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let nowhere = Access { url: format!("https://{gone}"), ..webhook.access() };
    let jane = User::new("jane", ["devs"]);
    let ask = |namespace| Ask { verb: "get", resource: "pods", namespace, ..Ask::nothing(&jane) };
    for (access, verdict) in
        [(webhook.access(), Verdict::Allow(String::new())), (nowhere, Verdict::Deny(String::new()))]
    {
        let server = server(|it| it.authorizers = vec![Authorizer::Webhook(Box::new(options(access)))]);
        assert_eq!(authz::judge(server.api(), &ask("kube-system")).await, verdict);
        assert_eq!(authz::judge(server.api(), &ask("default")).await, Verdict::NoOpinion(String::new()));
        let path = Ask { verb: "get", path: "/metrics", ..Ask::nothing(&jane) };
        assert_eq!(authz::judge(server.api(), &path).await, Verdict::NoOpinion(String::new()));
    }
    assert_eq!(webhook.asked(), 1);
}

#[tokio::test]
async fn a_token_in_a_file_is_read_again_and_lasts_while_the_file_is_away() {
    let webhook = Elsewhere::start(|_, _| json!({ "status": { "allowed": true } })).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let access =
        Access { token: Some("first".to_owned()), token_file: Some(file.clone()), ..webhook.access() };
    let options = AccessWebhookOptions {
        cache_authorized_ttl: Duration::ZERO,
        timeout: Some(Duration::from_secs(3)),
        ..AccessWebhookOptions::of(access)
    };
    let server = server(|it| it.authorizers = vec![Authorizer::Webhook(Box::new(options))]);
    let jane = User::new("jane", ["devs"]);
    // The file is not there yet, then it is, changes, and goes.
    for (written, shown) in
        [(None, "Bearer first"), (Some("a\n"), "Bearer a"), (Some("b"), "Bearer b"), (None, "Bearer b")]
    {
        match written {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => drop(std::fs::remove_file(&file)),
        }
        let ask = Ask { verb: "get", resource: "pods", name: shown, ..Ask::nothing(&jane) };
        assert_eq!(authz::judge(server.api(), &ask).await, Verdict::Allow(String::new()));
        assert_eq!(*webhook.shown.lock(), shown);
    }
}

#[tokio::test]
async fn several_issuers_of_a_configuration_file_are_believed_each_by_its_own_rules() {
    let issuers = [Elsewhere::start(|_, _| Value::Null).await, Elsewhere::start(|_, _| Value::Null).await];
    let key = SigningKey::fresh().unwrap();
    let part = |issuer: &Elsewhere, username: &str| {
        issuer.issue_by(vec![key.public().jwk()]);
        json!({
            "issuer": {
                "url": issuer.url, "certificateAuthority": issuer.authority.cert_pem(), "audiences": ["us", "them"],
                "audienceMatchPolicy": "MatchAny",
            },
            "claimMappings": { "username": { "expression": username } },
        })
    };
    let file = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
        "jwt": [part(&issuers[0], "'one:' + claims.sub"), part(&issuers[1], "claims.nickname")],
    });
    let read = super::AuthenticationConfiguration::parse(&file.to_string(), &[]).unwrap();
    let server = server(|it| it.oidc = read.issuers);
    let token = |issuer: &Elsewhere, audience: &str| {
        let claims =
            json!({ "iss": issuer.url, "aud": audience, "sub": "jane", "nickname": "jj", "exp": FOREVER });
        key.sign(&claims).unwrap()
    };
    let api = server.api();
    assert_eq!(shown(api, &token(&issuers[0], "them")).await.unwrap(), "one:jane system:authenticated");
    assert_eq!(shown(api, &token(&issuers[1], "us")).await.unwrap(), "jj system:authenticated");
    let refused = shown(api, &token(&issuers[1], "others")).await.unwrap_err();
    assert!(refused.contains("expected audience in [\"us\", \"them\"]"), "{refused}");
}
