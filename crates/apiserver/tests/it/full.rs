//! Every kind with every field that its published schema has lives a whole life, and whatever is answered keeps to that
//! schema.

use std::cell::Cell;

use serde_json::{Value, json};
use skiff_apiserver::kinds::Row;

use crate::given::{self, Answer, Client, Given, kept, path};
use crate::watches::Lines;

mod maker;
mod schemas;

use maker::{Maker, Rules};
use schemas::Schemas;

/// What went wrong in a life, or nothing.
type Lived = Result<(), String>;

/// One object on its way.
struct Life<'a> {
    client: &'a Client,
    row: &'a Row,
    schemas: &'a Schemas,
    definition: &'a str,
    /// As a client sends it.
    sent: Value,
    collection: String,
    uri: String,
}

/// The answer, if it is no refusal.
fn well(step: &str, answer: Answer) -> Result<Answer, String> {
    match answer.code {
        200 | 201 => Ok(answer),
        code => Err(format!("{step}: {code} {}", answer.message())),
    }
}

fn same(step: &str, wanted: &Value, found: &Value) -> Lived {
    let mut differences = Vec::new();
    lost(wanted, found, "", &mut differences);
    lost(found, wanted, "", &mut differences);
    if differences.is_empty() { Ok(()) } else { Err(format!("{step}: {}", differences.join("; "))) }
}

/// What of `sent` is not in `stored`.
fn lost(sent: &Value, stored: &Value, path: &str, found: &mut Vec<String>) {
    match (sent, stored) {
        (Value::Object(sent), Value::Object(stored)) => {
            for (name, value) in sent {
                lost(value, stored.get(name).unwrap_or(&Value::Null), &format!("{path}.{name}"), found);
            }
        }
        (Value::Array(sent), Value::Array(stored)) if sent.len() <= stored.len() => {
            for (at, value) in sent.iter().enumerate() {
                lost(value, &stored[at], &format!("{path}[{at}]"), found);
            }
        }
        _ if sent == stored => {}
        _ => found.push(format!("{path}: {sent} became {stored}")),
    }
}

/// Kinds whose status the server itself writes, at any moment.
const RESTLESS: [&str; 3] = ["APIService", "CustomResourceDefinition", "ResourceQuota"];

impl Life<'_> {
    /// As [`same`], but for what the server itself may have written meanwhile.
    fn same(&self, step: &str, wanted: &Value, found: &Value) -> Lived {
        if !RESTLESS.contains(&self.row.kind) {
            return same(step, wanted, found);
        }
        let still = |object: &Value| {
            let mut object = object.clone();
            object["status"] = Value::Null;
            for field in ["resourceVersion", "managedFields"] {
                object["metadata"][field] = Value::Null;
            }
            object
        };
        same(step, &still(wanted), &still(found))
    }

    /// Keeps to the published schema.
    fn declared(&self, step: &str, object: &Value) -> Lived {
        let faults = self.schemas.faults(self.definition, object);
        if faults.is_empty() { Ok(()) } else { Err(format!("{step}: {}", faults.join("; "))) }
    }

    /// Everything that was sent is there, but for what the server alone writes.
    fn kept(&self, step: &str, parts: impl Fn(&str) -> bool, stored: &Value) -> Lived {
        let mut found = Vec::new();
        for (name, value) in self.sent.as_object().unwrap().iter().filter(|(name, _)| parts(name)) {
            lost(value, &stored[name], &format!(".{name}"), &mut found);
        }
        if found.is_empty() { Ok(()) } else { Err(format!("{step}: {}", found.join("; "))) }
    }

    async fn whole(&self) -> Lived {
        let client = self.client;
        let revision = client.get(&self.collection).await.body["metadata"]["resourceVersion"].clone();
        let name = self.sent["metadata"]["name"].as_str().unwrap();
        let watch = format!(
            "{}?watch=1&fieldSelector=metadata.name%3D{name}&resourceVersion={}",
            self.collection,
            revision.as_str().unwrap()
        );
        let mut lines = Lines::open(client, &watch).await;

        let strict = format!("{}?fieldValidation=Strict", self.collection);
        let created = well("create", client.post(&strict, &self.sent).await)?.body;
        self.declared("create", &created)?;
        self.kept("create", |part| part != "status", &created)?;
        self.same("get", &created, &well("get", client.get(&self.uri).await)?.body)?;
        let list = well("list", client.get(&self.collection).await)?.body;
        let listed = list["items"].as_array().unwrap().iter().find(|item| item["metadata"]["name"] == name);
        let mut listed = listed.ok_or("list: is not there")?.clone();
        listed["kind"] = created["kind"].clone();
        listed["apiVersion"] = created["apiVersion"].clone();
        self.same("list", &created, &listed)?;
        let told = lines.next().await.unwrap();
        self.same("watch", &created, &told["object"])?;
        same("watch", &"ADDED".into(), &told["type"])?;

        self.changes(&created).await?;
        self.status().await?;
        self.end().await?;
        while lines.next().await.unwrap()["type"] != "DELETED" {}
        Ok(())
    }

    /// Updates and patches that say what is there change nothing; others what they say.
    async fn changes(&self, created: &Value) -> Lived {
        let client = self.client;
        let mut answer = client.put(&self.uri, created).await;
        // Meanwhile the server may have written its status.
        while RESTLESS.contains(&self.row.kind) && answer.code == 409 {
            let latest = client.get(&self.uri).await.body;
            answer = client.put(&self.uri, &latest).await;
        }
        let updated = well("update", answer)?.body;
        let mut own = created.clone();
        own["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        self.same("update with itself", created, &updated)?;
        for kind in ["merge-patch", "strategic-merge-patch"] {
            let patched = well(kind, client.patch(&self.uri, kind, &own).await)?.body;
            self.same(kind, created, &patched)?;
        }
        let operation = json!([{ "op": "add", "path": "/metadata/annotations/json", "value": "1" }]);
        let patched = well("json-patch", client.patch(&self.uri, "json-patch", &operation).await)?.body;
        same("json-patch", &"1".into(), &patched["metadata"]["annotations"]["json"])?;
        self.declared("json-patch", &patched)
    }

    async fn status(&self) -> Lived {
        if !self.row.status {
            return Ok(());
        }
        let uri = format!("{}/status", self.uri);
        // The server's own writers may be faster, as a quota's is: a patch does not mind.
        let status = json!({ "status": self.sent["status"] });
        let updated = well("update status", self.client.patch(&uri, "merge-patch", &status).await)?.body;
        self.declared("update status", &updated)?;
        self.kept("update status", |part| part == "status", &updated)?;
        let mut again = updated.clone();
        again["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        let patched = self.client.patch(&uri, "strategic-merge-patch", &again).await;
        let patched = well("strategic-merge-patch of the status", patched)?.body;
        if RESTLESS.contains(&self.row.kind) {
            return Ok(());
        }
        same("strategic-merge-patch of the status", &updated["status"], &patched["status"])
    }

    /// Two managers apply it.
    async fn applied(&self) -> Lived {
        let headers = [("content-type", "application/apply-patch+yaml")];
        let apply = async |who: &str, config: &Value| {
            let uri = format!("{}?fieldManager={who}", self.uri);
            self.client.send("PATCH", &uri, &headers, config.to_string().into_bytes()).await
        };
        let created = well("apply", apply("one", &self.sent).await)?.body;
        self.declared("apply", &created)?;
        self.kept("apply", |part| part != "status", &created)?;
        let again = well("apply again", apply("one", &self.sent).await)?.body;
        self.same("apply again", &created, &again)?;
        let mut other = self.sent.clone();
        other["metadata"]["labels"]["key"] = "other".into();
        let refused = apply("two", &other).await;
        if refused.code != 409 || !refused.message().contains(".metadata.labels.key") {
            return Err(format!("apply by another: {} {}", refused.code, refused.message()));
        }
        let shared = well("apply by another", apply("two", &self.sent).await)?.body;
        same("apply by another", &created["spec"], &shared["spec"])?;
        self.end().await
    }

    /// Deletes it, and lets go what holds it.
    async fn end(&self) -> Lived {
        let client = self.client;
        well("delete", client.delete(&format!("{}?gracePeriodSeconds=0", self.uri)).await)?;
        let held = well("get deleted", client.get(&self.uri).await)?.body;
        if !held["metadata"]["deletionTimestamp"].is_string() {
            return Err("delete: its finalizer does not hold it".to_owned());
        }
        if self.row.kind == "Namespace" {
            let mut done = held.clone();
            done["spec"]["finalizers"] = json!([]);
            well("finalize", client.put(&format!("{}/finalize", self.uri), &done).await)?;
        }
        let none = json!({ "metadata": { "finalizers": null } });
        well("let go", client.patch(&self.uri, "merge-patch", &none).await)?;
        match client.get(&self.uri).await.code {
            404 => Ok(()),
            code => Err(format!("deleted: {code}")),
        }
    }
}

#[tokio::test]
async fn every_kind_with_every_field_lives_and_keeps_to_its_schema() {
    let given = Given::new().await;
    let client = &given.client;
    let label = json!({ "metadata": { "labels": { "resource.kubernetes.io/admin-access": "true" } } });
    client.patch("/api/v1/namespaces/default", "merge-patch", &label).await.code(200);
    let rules = Rules::parse(include_str!("full/rules.txt"));
    let mut faults = Vec::new();
    for row in kept() {
        let resource = row.resource();
        let prefix = if row.group.is_empty() { "api" } else { "apis" };
        let schemas = Schemas::published(client, &format!("{prefix}/{}", resource.api_version())).await;
        let definition = schemas.kind(row.group, row.version, row.kind);
        let (mut turn, mut turns) = (0, 1);
        while turn < turns {
            let maker = Maker { schemas: &schemas, rules: &rules, turn, turns: Cell::new(1) };
            let mut sent = maker.make(definition);
            turns = maker.turns.get();
            let name = given::name(row, "full");
            sent["apiVersion"] = resource.api_version().into();
            sent["kind"] = row.kind.into();
            sent["metadata"]["name"] = name.into();
            if row.namespaced {
                sent["metadata"]["namespace"] = "default".into();
            }
            let uri = format!("{}/{name}", path(row));
            let life = Life { client, row, schemas: &schemas, definition, sent, collection: path(row), uri };
            let mut lived = life.whole().await;
            if lived.is_ok() {
                lived = life.applied().await;
            }
            if let Err(fault) = lived {
                faults.push(format!("{}/{} turn {turn}: {fault}", row.group, row.kind));
                // The name is free for the next turn.
                let _tried = life.end().await;
            }
            turn += 1;
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
