//! Get, list, create, update, delete and bind: the six things that could be done to an object in 2014.

use http::Method;
use serde_json::{Value, json};
use skiff_api::v1beta1::{Binding, Kind, List, Object, Row, Status, validate};

use super::caller::{self, Caller};
use super::fields::Filter;
use super::{answer, service};
use crate::wire::{Incoming, Response};

/// How often a PUT without a revision is tried again when somebody else writes in between.
const TRIES: usize = 5;

/// GET of an object.
pub(super) async fn get(caller: &Caller, row: &'static Row, id: &str) -> Response {
    let uri = caller.object(row, caller.namespace(), id);
    let stored = caller.fetch(row, id, &uri).await;
    shown(caller, row, stored)
}

/// GET of a collection.
pub(super) async fn list(caller: &Caller, row: &'static Row) -> Response {
    match listed(caller, row).await {
        Ok(response) => response,
        Err(status) => caller.refuse(&status),
    }
}

async fn listed(caller: &Caller, row: &'static Row) -> Result<Response, Box<Status>> {
    let filter = Filter::parse(row, caller.param("labels"), caller.param("fields"))
        .map_err(|error| Status::error(error.to_string()))?;
    let namespace = caller.namespace();
    let uri = format!("{}?{}", caller.collection(row, namespace), filter.query(&[]));
    let mut found = caller.fetch(row, "", &uri).await?;
    let revision = revision(&found);
    let items = match found.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    let mut objects = Vec::with_capacity(items.len());
    for item in items {
        let object = (row.read)(item).map_err(|error| Status::error(error.to_string()))?;
        if filter.accepts(object.as_ref()) {
            objects.push(object);
        }
    }
    Ok(answer::objects(List::new(row, objects), namespace, revision, caller.version))
}

/// The revision in a v1 object's or list's metadata.
pub(super) fn revision(v1: &Value) -> u64 {
    v1["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn shown(caller: &Caller, row: &Row, stored: Result<Value, Box<Status>>) -> Response {
    let read = stored.and_then(|v1| (row.read)(v1).map_err(|error| Status::error(error.to_string()).into()));
    match read {
        Ok(mut object) => answer::object(object.as_mut(), caller.version),
        Err(status) => caller.refuse(&status),
    }
}

/// The object of a client's body, in the namespace that it and the query agree on.
async fn sent(caller: &Caller, row: &Row, body: Incoming) -> Result<Box<dyn Object>, Box<Status>> {
    let bytes = caller::body(body).await?;
    let mut object = row.parse(&bytes).map_err(|error| Status::error(error.to_string()))?;
    let asked = caller.param("namespace");
    let meta = object.meta_mut();
    if !row.namespaced {
        meta.namespace.clear();
        return Ok(object);
    }
    if !asked.is_empty() && !meta.namespace.is_empty() && meta.namespace != asked {
        let mut status =
            Status::conflict(row, &meta.id, "the namespace of the body is not the one of the request");
        if row.segment == "replicationControllers" {
            status.message = status.message.replacen(row.word, "controller", 1);
        }
        return Err(status.into());
    }
    if meta.namespace.is_empty() {
        caller.namespace().clone_into(&mut meta.namespace);
    }
    Ok(object)
}

fn check(row: &Row, object: &dyn Object) -> Result<(), Box<Status>> {
    let faults = object.faults();
    if faults.is_empty() { Ok(()) } else { Err(Status::invalid(row, &object.meta().id, &faults).into()) }
}

/// POST to a collection.
pub(super) async fn create(caller: &Caller, row: &'static Row, body: Incoming) -> Response {
    let stored = created(caller, row, body).await;
    shown(caller, row, stored)
}

async fn created(caller: &Caller, row: &'static Row, body: Incoming) -> Result<Value, Box<Status>> {
    let mut object = sent(caller, row, body).await?;
    if object.meta().resource_version != 0 {
        return Err(Status::error("an object that has a resourceVersion cannot be created").into());
    }
    object.prepare();
    if row.free_names && object.meta().id.is_empty() && object.meta().generate_name.is_empty() {
        object.meta_mut().id = uuid::Uuid::new_v4().to_string();
        object.prepare();
    }
    if object.meta().generate_name.is_empty() || !object.meta().id.is_empty() {
        check(row, object.as_ref())?;
    }
    service::resolve(caller, object.as_mut()).await;
    let (id, namespace) = (object.meta().id.clone(), object.meta().namespace.clone());
    let uri = caller.collection(row, &namespace);
    let response = caller.put(Method::POST, &uri, &object.to_v1(), row.free_names).await?;
    caller::read(row, &id, response).await
}

/// PUT of an object. The id in the body is the one that counts.
pub(super) async fn update(caller: &Caller, row: &'static Row, id: &str, body: Incoming) -> Response {
    let stored = updated(caller, row, id, body).await;
    shown(caller, row, stored)
}

async fn updated(caller: &Caller, row: &'static Row, id: &str, body: Incoming) -> Result<Value, Box<Status>> {
    let mut object = sent(caller, row, body).await?;
    if object.meta().id.is_empty() {
        id.clone_into(&mut object.meta_mut().id);
    }
    let id = object.meta().id.clone();
    check(row, object.as_ref())?;
    let sent = object.meta().resource_version;
    if sent == 0 && row.segment != "endpoints" {
        return Err(unversioned(row, &id).into());
    }
    let uri = caller.object(row, &object.meta().namespace, &id);
    for _ in 1..TRIES {
        let result = replace(caller, row, &uri, object.as_mut(), sent).await;
        match result {
            // Without a revision nobody's write is in the way: it is merged into what is there now.
            Err(status) if sent == 0 && status.code == 409 => {}
            Err(status) if status.code == 409 && row.segment == "pods" => {
                return Err(Status::error(status.message).into());
            }
            result => return result,
        }
    }
    replace(caller, row, &uri, object.as_mut(), sent).await
}

async fn replace(
    caller: &Caller,
    row: &'static Row,
    uri: &str,
    object: &mut dyn Object,
    sent: u64,
) -> Result<Value, Box<Status>> {
    let id = object.meta().id.clone();
    let stored = caller.fetch(row, &id, uri).await?;
    if sent != 0 && sent != revision(&stored) {
        return Err(Status::conflict(row, &id, "the object has been changed since").into());
    }
    service::resolve_again(caller, object, &stored).await;
    let merged = (row.update)(stored, object).map_err(|error| Status::error(error.to_string()))?;
    let response = caller.put(Method::PUT, uri, &merged, row.free_names).await?;
    caller::read(row, &id, response).await
}

/// What a PUT without a revision was told, kind by kind.
fn unversioned(row: &Row, id: &str) -> Status {
    const WHY: &str = "a resourceVersion must be given";
    match row.segment {
        "pods" | "events" => Status::error(format!("{} \"{id}\": {WHY}", row.word)),
        "minions" => Status::invalid(row, id, &[validate::required("resourceVersion")]),
        _ => Status::conflict(row, id, WHY),
    }
}

/// DELETE of an object: what it made stays, as in 2014.
pub(super) async fn delete(caller: &Caller, row: &'static Row, id: &str) -> Response {
    match deleted(caller, row, id).await {
        Ok(_) => caller.refuse(&Status::success()),
        Err(status) => caller.refuse(&status),
    }
}

async fn deleted(caller: &Caller, row: &'static Row, id: &str) -> Result<Value, Box<Status>> {
    let uri = caller.object(row, caller.namespace(), id);
    let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1"});
    if row.segment == "replicationControllers" {
        options["propagationPolicy"] = json!("Orphan");
    }
    let response = caller.put(Method::DELETE, &uri, &options, false).await?;
    caller::read(row, id, response).await
}

/// POST of a binding: v1 has it as a part of the pod.
pub(super) async fn bind(caller: &Caller, body: Incoming) -> Response {
    match bound(caller, body).await {
        Ok(()) => caller.refuse(&Status::success()),
        Err(status) => caller.refuse(&status),
    }
}

async fn bound(caller: &Caller, body: Incoming) -> Result<(), Box<Status>> {
    let object = sent(caller, Binding::ROW, body).await?;
    check(Binding::ROW, object.as_ref())?;
    let pod = object.as_any().downcast_ref::<Binding>().map(|binding| binding.pod_id.clone());
    let pod = pod.unwrap_or_default();
    let pods = skiff_api::v1beta1::Pod::ROW;
    let uri = format!("{}/binding", caller.object(pods, &object.meta().namespace, &pod));
    let response = caller.put(Method::POST, &uri, &object.to_v1(), true).await?;
    caller::read(pods, &pod, response).await.map(|_| ())
}
