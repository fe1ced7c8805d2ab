//! The world's API as a transport for clients.

use std::convert::Infallible;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};

use super::World;
use super::verbs::Refusal;

/// How long a request may take, in milliseconds.
const SLOW: u64 = 500;

/// A client whose requests the world answers.
pub(super) fn client(world: World) -> kube::Client {
    kube::Client::new(tower::service_fn(move |request| answer(world.clone(), request)), "default")
}

/// What a path names.
pub(super) struct Asked {
    group: String,
    plural: String,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    part: String,
}

impl Asked {
    pub(super) fn key(&self) -> String {
        skiff_api::meta::key(self.namespace.as_deref(), &self.name).to_string()
    }
}

fn asked(path: &str) -> Option<Asked> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let group = if parts.next()? == "api" { String::new() } else { parts.next()?.to_owned() };
    parts.next()?;
    let rest: Vec<&str> = parts.collect();
    let (namespace, rest) = match rest.as_slice() {
        // A part of the namespace itself.
        all @ ["namespaces", _, "status" | "finalize"] => (None, all),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
        all => (None, all),
    };
    let at = |n: usize| rest.get(n).map(|part| (*part).to_owned()).unwrap_or_default();
    Some(Asked { group, plural: at(0), namespace, name: at(1), part: at(2) })
}

async fn answer(world: World, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (before, luck, after) = {
        let mut state = world.state.lock();
        // Events are no business of the simulation.
        let quiet = state.calm || head.uri.path().contains("/events");
        let luck = if quiet { 100 } else { state.dice.below(100) };
        (state.dice.moment(SLOW), luck, state.dice.moment(SLOW))
    };
    tokio::time::sleep(before).await;
    let reads = head.method == Method::GET;
    let result = match luck {
        0..3 if !reads => Err((409, "Conflict", "somebody else was faster".to_owned())),
        3..5 => Err((500, "InternalError", "it does not work".to_owned())),
        _ => {
            let strategic = head.headers.get(http::header::CONTENT_TYPE);
            let strategic =
                strategic.is_some_and(|kind| kind.as_bytes().starts_with(b"application/strategic"));
            let done = act(&world, &head.method, head.uri.path(), strategic, body);
            // It happened, but who asked does not learn it.
            if luck < 8 { Err((504, "Timeout", "nobody knows".to_owned())) } else { done }
        }
    };
    tokio::time::sleep(after).await;
    let (code, value) = match result {
        Ok(value) => (200, value),
        Err((code, reason, message)) => {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                "reason": reason, "message": message});
            (code, status)
        }
    };
    let mut response = Response::new(Body::from(value.to_string().into_bytes()));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    Ok(response)
}

fn act(
    world: &World,
    method: &Method,
    path: &str,
    strategic: bool,
    mut body: Value,
) -> Result<Value, Refusal> {
    let unknown = || (404, "NotFound", format!("nothing at {path}"));
    if matches!(path, "/api" | "/apis") {
        return Ok(world.state.lock().discovery(path == "/api"));
    }
    let asked = asked(path).ok_or_else(unknown)?;
    let namespace = asked.namespace.as_deref();
    let table = super::table(&asked.group, &asked.plural);
    let key = skiff_api::meta::key(asked.namespace.as_deref(), &asked.name);
    match *method {
        Method::POST if asked.plural == "subjectaccessreviews" => {
            body["status"] = json!({ "allowed": true });
            Ok(body)
        }
        Method::GET if asked.plural.is_empty() => Ok(world.state.lock().resources(&asked.group)),
        Method::POST if asked.part == "binding" => world.change(|state| state.bind(&key, &body)),
        Method::GET | Method::PATCH if asked.part == "scale" => {
            world.change(|state| state.scale(&table, &asked, &body["spec"]["replicas"]))
        }
        Method::GET if asked.group == "metrics.k8s.io" => {
            Ok(world.state.lock().usage(namespace.unwrap_or_default()))
        }
        Method::GET if asked.name.is_empty() => Ok(world.state.lock().list(&table, namespace)),
        Method::DELETE if asked.name.is_empty() => world.change(|state| {
            for key in state.keys(&table, namespace) {
                state.delete(&table, &key, &json!({}))?;
            }
            Ok(json!({}))
        }),
        Method::PUT if asked.part == "finalize" => world.change(|state| {
            let mut held = state.value(&table, &key).ok_or_else(unknown)?;
            held["spec"]["finalizers"] = body["spec"]["finalizers"].take();
            Ok(state.write(&table, held))
        }),
        Method::POST if asked.name.is_empty() => {
            if let Some(namespace) = &asked.namespace {
                body["metadata"]["namespace"] = namespace.as_str().into();
            }
            world.change(|state| state.create(&asked.group, &asked.plural, body, false))
        }
        Method::GET if !asked.name.is_empty() => {
            let held = world.state.lock().value(&table, &key);
            held.ok_or_else(unknown)
        }
        Method::PUT => world.change(|state| state.replace(&table, &key, &asked.part, body)),
        Method::PATCH => world.change(|state| state.patch(&table, &key, &asked.part, strategic, body)),
        Method::DELETE if !asked.name.is_empty() => world.change(|state| state.delete(&table, &key, &body)),
        _ => Err((405, "MethodNotAllowed", format!("{method} {path}"))),
    }
}
