//! What OpenAPI says of other servers, and of them and us together.
//!
//! Of v3 the index names their documents, which are passed on when asked for; v2 is one document, so theirs is read and
//! merged. Follows upstream's `kube-aggregator/pkg/controllers/{openapi,openapiv3}/aggregator`.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::{Backend, Service, Services};
use crate::api::Api;
use crate::catalog::Kinds;
use crate::openapi::{Document, v2_document, v2_protobuf_document, v2_value};

const PATIENCE: Duration = Duration::from_secs(10);
/// Where a name of v2 points to.
const DEFINITIONS: &str = "#/definitions/";

/// The documents of one server, as far as they are about the version of its APIService.
#[derive(Clone, Default)]
pub(super) struct Said {
    /// Where its v3 document is, as it says itself.
    v3: Option<String>,
    /// Its v2 document, and the tag of that.
    v2: Option<(String, Arc<Value>)>,
}

/// Asks a server for its documents; what has not changed is kept.
pub(super) async fn ask(api: &Arc<Api>, service: &Service, backend: &Backend, before: &Said) -> Said {
    let root = service.path();
    let json = ("accept", "application/json");
    let mut said = Said::default();
    if let Ok(index) = backend.document(api, "/openapi/v3", &[json], PATIENCE).await
        && index.status().is_success()
        && let Ok(index) = serde_json::from_slice::<Value>(index.body())
    {
        let own = &index["paths"][root.trim_start_matches('/')]["serverRelativeURL"];
        said.v3 = own.as_str().map(str::to_owned);
    }
    let tag = before.v2.as_ref().map(|(tag, _)| tag.clone()).unwrap_or_default();
    let headers: &[(&'static str, &str)] =
        if tag.is_empty() { &[json] } else { &[json, ("if-none-match", &tag)] };
    match backend.document(api, "/openapi/v2", headers, PATIENCE).await {
        Ok(answer) if answer.status().as_u16() == 304 => said.v2.clone_from(&before.v2),
        Ok(answer) if answer.status().is_success() => {
            let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok()).unwrap_or_default();
            let whole = serde_json::from_slice::<Value>(answer.body()).ok();
            said.v2 = whole.map(|whole| (tag.to_owned(), Arc::new(only(whole, &format!("{root}/")))));
        }
        _ => {}
    }
    said
}

/// The document without the paths that are not below `root`, and without the definitions that nobody mentions then.
fn only(mut document: Value, root: &str) -> Value {
    if let Some(paths) = document["paths"].as_object_mut() {
        paths.retain(|path, _| path.starts_with(root) || *path == root[..root.len() - 1]);
    }
    let mut held = document["definitions"].as_object_mut().map(std::mem::take).unwrap_or_default();
    let mut kept = Map::new();
    let mut due = Vec::new();
    mentioned(&document["paths"], &mut due);
    while let Some(name) = due.pop() {
        if let Some(definition) = held.remove(&name) {
            mentioned(&definition, &mut due);
            kept.insert(name, definition);
        }
    }
    document["definitions"] = kept.into();
    document
}

fn mentioned(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(name) =
                map.get("$ref").and_then(Value::as_str).and_then(|at| at.strip_prefix(DEFINITIONS))
            {
                found.push(name.to_owned());
            }
            map.values().for_each(|value| mentioned(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| mentioned(value, found)),
        _ => {}
    }
}

/// The documents of everybody, kept until one of them changes.
#[derive(Default)]
pub(crate) struct Merged(Mutex<Option<Made>>);

struct Made {
    kinds: Arc<Kinds>,
    theirs: Vec<Arc<Value>>,
    json: Document,
    protobuf: Option<Document>,
}

impl Merged {
    /// The whole API as OpenAPI v2, if other servers have a part in it.
    pub(crate) fn v2(&self, kinds: &Arc<Kinds>, services: &Services, protobuf: bool) -> Option<Document> {
        let mut theirs: Vec<(Arc<str>, Arc<Value>)> = services
            .remote()
            .filter_map(|(service, backend)| {
                let (_, document) = backend.said.load().documents.v2.clone()?;
                Some((Arc::clone(&service.name), document))
            })
            .collect();
        if theirs.is_empty() {
            return None;
        }
        theirs.sort_by(|(a, _), (b, _)| a.cmp(b));
        let theirs: Vec<Arc<Value>> = theirs.into_iter().map(|(_, document)| document).collect();
        let mut made = self.0.lock();
        let same = |made: &&mut Made| {
            Arc::ptr_eq(&made.kinds, kinds)
                && made.theirs.len() == theirs.len()
                && made.theirs.iter().zip(&theirs).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        if let Some(made) = made.as_mut().filter(same)
            && (!protobuf || made.protobuf.is_some())
        {
            return if protobuf { made.protobuf.clone() } else { Some(made.json.clone()) };
        }
        let mut whole = v2_value(kinds);
        theirs.iter().for_each(|document| merge(&mut whole, document));
        let json = v2_document(&whole);
        let encoded = protobuf.then(|| v2_protobuf_document(&whole));
        let answer = encoded.clone().unwrap_or_else(|| json.clone());
        *made = Some(Made { kinds: Arc::clone(kinds), theirs, json, protobuf: encoded });
        Some(answer)
    }

    /// Which v3 documents there are; `ours` is what there is here.
    pub(crate) fn v3_index(ours: Document, services: &Services) -> Document {
        let mut index: Option<Value> = None;
        for (service, backend) in services.remote() {
            let Some(url) = backend.said.load().documents.v3.clone() else { continue };
            let index = index.get_or_insert_with(|| serde_json::from_slice(&ours.body).unwrap_or_default());
            index["paths"][service.path().trim_start_matches('/')] = json!({ "serverRelativeURL": url });
        }
        index.map_or(ours, |index| v2_document(&index))
    }
}

/// Adds another server's paths and definitions. A name that means something else here gets a number there.
fn merge(whole: &mut Value, other: &Value) {
    let mut renamed: Map<String, Value> = Map::new();
    let none = Map::new();
    let theirs = other["definitions"].as_object().unwrap_or(&none);
    for (name, definition) in theirs {
        let held = &whole["definitions"];
        if held.get(name).is_none_or(|held| alike(held, definition)) {
            continue;
        }
        let mut numbered = (2..).map(|number| format!("{name}_v{number}"));
        let free = |new: &String| held.get(new).is_none_or(|held| held == definition);
        if let Some(new) = numbered.find(free) {
            renamed.insert(name.clone(), new.into());
        }
    }
    let new_name = |name: &str| renamed.get(name).and_then(Value::as_str).unwrap_or(name).to_owned();
    for (name, definition) in theirs {
        let held = &mut whole["definitions"][new_name(name)];
        if held.is_null() {
            held.clone_from(definition);
            point(held, &new_name);
        }
    }
    for (path, item) in other["paths"].as_object().into_iter().flatten() {
        let mut item = item.clone();
        point(&mut item, &new_name);
        whole["paths"][path] = item;
    }
}

/// Whether two definitions mean the same, whatever they say about it.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let said = |map: &Map<String, Value>| {
                let mut map = map.clone();
                map.remove("description");
                map.retain(|key, _| !key.starts_with("x-kubernetes-"));
                map
            };
            let (a, b) = (said(a), said(b));
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|own| alike(value, own)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (a, b) => a == b,
    }
}

fn point(value: &mut Value, new_name: &dyn Fn(&str) -> String) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(at)) = map.get_mut("$ref")
                && let Some(name) = at.strip_prefix(DEFINITIONS)
            {
                *at = format!("{DEFINITIONS}{}", new_name(name));
            }
            map.values_mut().for_each(|value| point(value, new_name));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| point(value, new_name)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_version_is_about_is_taken_from_a_document() {
        let document = json!({
            "paths": { "/apis/a.io/v1/": { "$ref": "#/definitions/A" }, "/apis/a.io/v2/": { "$ref": "#/definitions/C" } },
            "definitions": { "A": { "$ref": "#/definitions/B" }, "B": {}, "C": {} },
        });
        let only = only(document, "/apis/a.io/v1/");
        assert_eq!(only["paths"].as_object().unwrap().len(), 1);
        assert_eq!(only["definitions"].as_object().unwrap().keys().collect::<Vec<_>>(), ["A", "B"]);
    }

    #[test]
    fn a_name_that_means_something_else_gets_a_number() {
        let mut whole = json!({
            "paths": {}, "definitions": { "A": { "type": "string" }, "B": { "type": "object", "description": "b" } },
        });
        let other = json!({
            "paths": { "/x": { "$ref": "#/definitions/A" } },
            "definitions": { "A": { "items": { "$ref": "#/definitions/A" } }, "B": { "type": "object" }, "C": {} },
        });
        merge(&mut whole, &other);
        assert_eq!(whole["paths"]["/x"]["$ref"], "#/definitions/A_v2");
        assert_eq!(whole["definitions"]["A_v2"]["items"]["$ref"], "#/definitions/A_v2");
        assert_eq!(whole["definitions"]["A"]["type"], "string");
        assert!(whole["definitions"].get("B_v2").is_none() && whole["definitions"].get("C").is_some());
    }
}
