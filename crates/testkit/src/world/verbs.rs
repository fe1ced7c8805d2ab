//! What can be done to the world's objects.

use std::sync::{Arc, LazyLock};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::resource::v1::ResourceClaim;
use serde_json::{Value, json};
use skiff_api::Object;
use skiff_api::patch::strategic::{self, Schema};

use super::{Change, State, Truth, now};

/// A refusal: code, reason, message.
pub(super) type Refusal = (u16, &'static str, String);

fn conflict(why: &str) -> Refusal {
    (409, "Conflict", why.to_owned())
}

fn not_found(key: &str) -> Refusal {
    (404, "NotFound", format!("{key} not found"))
}

/// How lists of a kind are merged.
fn schema(table: &str) -> Option<&'static Schema> {
    static PODS: LazyLock<Schema> = LazyLock::new(Schema::of::<Pod>);
    static SETS: LazyLock<Schema> = LazyLock::new(Schema::of::<ReplicaSet>);
    static REVISIONS: LazyLock<Schema> = LazyLock::new(Schema::of::<ControllerRevision>);
    static NODES: LazyLock<Schema> = LazyLock::new(Schema::of::<Node>);
    static CLAIMS: LazyLock<Schema> = LazyLock::new(Schema::of::<ResourceClaim>);
    match table {
        "pods." => Some(&PODS),
        "replicasets.apps" => Some(&SETS),
        "controllerrevisions.apps" => Some(&REVISIONS),
        "nodes." => Some(&NODES),
        "resourceclaims.resource.k8s.io" => Some(&CLAIMS),
        _ => None,
    }
}

impl State {
    fn time(&self) -> Value {
        let now = now(self.begun);
        json!(Timestamp::from_second(now.as_second()).unwrap_or(now))
    }

    pub(super) fn check(&mut self) {
        let Some(always) = self.always.take() else { return };
        if let Err(complaint) = always(&Truth(self)) {
            self.complaint.get_or_insert(complaint);
        }
        self.always = Some(always);
    }

    pub(super) fn value(&self, table: &str, key: &str) -> Option<Value> {
        let held = self.tables.get(table)?.get(key)?;
        serde_json::from_slice(held.bytes()).ok()
    }

    fn found(&self, table: &str, key: &str) -> Result<Value, Refusal> {
        self.value(table, key).ok_or_else(|| not_found(key))
    }

    pub(super) fn create(
        &mut self,
        group: &str,
        plural: &str,
        mut value: Value,
        whole: bool,
    ) -> Result<Value, Refusal> {
        let table = super::table(group, plural);
        self.made += 1;
        let time = self.time();
        let meta = &mut value["metadata"];
        if meta["name"].as_str().unwrap_or_default().is_empty() {
            let prefix = meta["generateName"].as_str().unwrap_or_default().to_owned();
            meta["name"] = format!("{prefix}{}", self.made).into();
        }
        let key = skiff_api::meta::key(meta["namespace"].as_str(), meta["name"].as_str().unwrap_or_default());
        if self.tables.get(&table).is_some_and(|table| table.contains_key(&key)) {
            return Err((409, "AlreadyExists", format!("{key} already exists")));
        }
        meta["uid"] = format!("uid-{}", self.made).into();
        meta["creationTimestamp"] = time;
        meta["generation"] = 1.into();
        if !whole && let Some(members) = value.as_object_mut() {
            members.remove("status");
        }
        if table == "pods." && value["status"]["phase"].is_null() {
            value["status"]["phase"] = "Pending".into();
        }
        Ok(self.store(&table, value))
    }

    /// Replaces an object; the rest keeps its status, the status the rest.
    pub(super) fn replace(
        &mut self,
        table: &str,
        key: &str,
        part: &str,
        mut wanted: Value,
    ) -> Result<Value, Refusal> {
        let held = self.found(table, key)?;
        for field in ["uid", "resourceVersion"] {
            let given = &wanted["metadata"][field];
            if given.is_string() && *given != held["metadata"][field] {
                return Err(conflict(
                    "the object has been modified; please apply your changes to the latest version",
                ));
            }
        }
        if matches!(part, "status" | "approval") {
            let status = wanted["status"].take();
            wanted = held;
            wanted["status"] = status;
        } else {
            match held.get("status") {
                Some(status) => wanted["status"] = status.clone(),
                None => drop(wanted.as_object_mut().map(|members| members.remove("status"))),
            }
        }
        Ok(self.write(table, wanted))
    }

    pub(super) fn patch(
        &mut self,
        table: &str,
        key: &str,
        part: &str,
        strategic: bool,
        patch: Value,
    ) -> Result<Value, Refusal> {
        let held = self.found(table, key)?;
        for field in ["uid", "resourceVersion"] {
            let given = &patch["metadata"][field];
            if given.is_string() && *given != held["metadata"][field] {
                return Err(conflict("the object has been modified"));
            }
        }
        let patched = match schema(table).filter(|_| strategic) {
            Some(schema) => strategic::apply(held, patch, schema).map_err(|error| error.to_string()),
            None => {
                let mut value = held;
                let done = skiff_api::patch::merge::apply(&mut value, &patch);
                done.map(|()| value).map_err(|error| error.to_string())
            }
        };
        let patched = patched.map_err(|why| (422, "Invalid", why))?;
        self.replace(table, key, part, patched)
    }

    pub(super) fn delete(&mut self, table: &str, key: &str, options: &Value) -> Result<Value, Refusal> {
        let mut held = self.found(table, key)?;
        for field in ["uid", "resourceVersion"] {
            let wanted = &options["preconditions"][field];
            if wanted.is_string() && *wanted != held["metadata"][field] {
                return Err(conflict("the precondition does not hold"));
            }
        }
        let placed = held["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
        let finished = matches!(held["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let grace = if table == "pods." && placed && !finished {
            let usual = held["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
            options["gracePeriodSeconds"].as_i64().unwrap_or(usual)
        } else {
            0
        };
        let leaving = held["metadata"]["deletionTimestamp"].is_string();
        if leaving && grace > 0 {
            return Ok(held);
        }
        let end = now(self.begun) + SignedDuration::from_secs(grace);
        held["metadata"]["deletionTimestamp"] = json!(Timestamp::from_second(end.as_second()).unwrap_or(end));
        held["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        Ok(self.write(table, held))
    }

    /// Writes an object that is there; one that may go by now does.
    pub(super) fn write(&mut self, table: &str, mut value: Value) -> Value {
        let key = skiff_api::meta::key(
            value["metadata"]["namespace"].as_str(),
            value["metadata"]["name"].as_str().unwrap_or_default(),
        );
        let Some(held) = self.value(table, &key) else { return value };
        for field in ["uid", "creationTimestamp", "generation", "resourceVersion"] {
            value["metadata"][field] = held["metadata"][field].clone();
        }
        if value["metadata"]["deletionTimestamp"].is_null()
            && held["metadata"]["deletionTimestamp"].is_string()
        {
            value["metadata"]["deletionTimestamp"] = held["metadata"]["deletionTimestamp"].clone();
        }
        if value == held {
            return held;
        }
        if value["spec"] != held["spec"] {
            let generation = held["metadata"]["generation"].as_i64().unwrap_or(1) + 1;
            value["metadata"]["generation"] = generation.into();
        }
        let meta = &value["metadata"];
        let free = meta["finalizers"].as_array().is_none_or(Vec::is_empty) && !Self::is_held(&value);
        let due = meta["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0;
        if meta["deletionTimestamp"].is_string() && free && due {
            return self.remove(table, &key, value);
        }
        self.store(table, value)
    }

    fn numbered(&mut self, value: &mut Value) -> Arc<Object> {
        self.revision += 1;
        value["metadata"]["resourceVersion"] = self.revision.to_string().into();
        let parsed = Object::parse(value.to_string().into());
        Arc::new(parsed.expect("what has metadata is an object"))
    }

    fn store(&mut self, table: &str, mut value: Value) -> Value {
        let object = self.numbered(&mut value);
        self.tables.entry(table.to_owned()).or_default().insert(object.meta().key(), Arc::clone(&object));
        self.log.push(Change { table: table.to_owned(), object, gone: false });
        value
    }

    fn remove(&mut self, table: &str, key: &str, mut value: Value) -> Value {
        let object = self.numbered(&mut value);
        if let Some(objects) = self.tables.get_mut(table) {
            objects.remove(key);
        }
        self.log.push(Change { table: table.to_owned(), object, gone: true });
        value
    }

    /// Deletes what belongs to nobody any more.
    pub(super) fn collect(&mut self) {
        let all = || self.tables.values().flat_map(|table| table.values());
        let known: std::collections::HashSet<Arc<str>> =
            all().map(|object| Arc::clone(&object.meta().uid)).collect();
        let mut lost = Vec::new();
        for (table, objects) in &self.tables {
            for (key, object) in objects {
                let meta = object.meta();
                let orphan = !meta.owner_references.is_empty()
                    && meta.owner_references.iter().all(|owner| !known.contains(&*owner.uid));
                if orphan && meta.deletion_timestamp.is_none() {
                    lost.push((table.clone(), Arc::clone(key)));
                }
            }
        }
        for (table, key) in lost {
            let _gone_already = self.delete(&table, &key, &json!({}));
        }
    }
}
