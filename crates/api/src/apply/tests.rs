//! Ownership as upstream's users know it: each case is what managers did to an object, and who then owns what.

use std::sync::LazyLock;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use k8s_openapi::schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::*;
use crate::status::ApiError;

mod properties;
mod versions;

const POD: &str = "io.k8s.api.core.v1.Pod";
const MAP: &str = "io.k8s.api.core.v1.ConfigMap";
const SERVICE: &str = "io.k8s.api.core.v1.Service";
const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";

static SCHEMAS: LazyLock<Vec<Schema>> = LazyLock::new(|| {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    generator.subschema_for::<Pod>();
    generator.subschema_for::<ConfigMap>();
    generator.subschema_for::<Service>();
    generator.subschema_for::<Deployment>();
    let definitions: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    let custom = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "names": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"],
                "items": {"type": "object", "required": ["a"], "properties": {
                    "a": {"type": "string"}, "b": {"type": "integer", "default": 1}, "v": {"type": "string"}}}},
            "one": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
        }},
    }});
    let mut builder = Builder::new(&definitions);
    let mut roots: Vec<_> =
        [POD, MAP, SERVICE, DEPLOYMENT].iter().map(|name| builder.definition(name)).collect();
    roots.push(builder.schema(&custom));
    builder.finish(&roots)
});

fn schema(of: &str) -> &'static Schema {
    &SCHEMAS[[POD, MAP, SERVICE, DEPLOYMENT, ""].iter().position(|name| *name == of).unwrap()]
}

fn at(second: i64) -> Time {
    Time(jiff::Timestamp::from_second(second).unwrap())
}

/// An object and its owners, through a sequence of writes.
struct World {
    schema: &'static Schema,
    object: Option<Value>,
    owners: Option<Owners>,
    clock: i64,
}

impl World {
    fn of(kind: &str) -> Self {
        Self { schema: schema(kind), object: None, owners: None, clock: 0 }
    }

    fn who<'a>(manager: &'a str, subresource: &'a str, now: &'a Time) -> Who<'a> {
        let part = if subresource == "status" { Part::Status } else { Part::NoStatus };
        Who { manager, api_version: "v1", subresource, part, now }
    }

    fn before(&self) -> Before<'_> {
        Before { object: self.object.as_ref(), owners: self.owners.as_ref() }
    }

    fn update(&mut self, manager: &str, new: Value) -> &mut Self {
        self.update_part(manager, "", new)
    }

    fn update_part(&mut self, manager: &str, subresource: &str, new: Value) -> &mut Self {
        self.clock += 1;
        let now = at(self.clock);
        let who = Self::who(manager, subresource, &now);
        match update(self.schema, self.before(), &new, None, &who, &Kin::default()).unwrap() {
            Tracked::Same => {}
            Tracked::Owners(owners) => self.owners = owners,
        }
        self.object = Some(new);
        self
    }

    fn send(&mut self, manager: &str, new: Value, sent: &Value) -> &mut Self {
        let sent: Vec<ManagedFieldsEntry> = serde_json::from_value(sent.clone()).unwrap();
        let sent = Owners::sent(Some(sent));
        let now = at(9);
        let who = Self::who(manager, "", &now);
        match update(self.schema, self.before(), &new, sent.as_ref(), &who, &Kin::default()).unwrap() {
            Tracked::Same => {}
            Tracked::Owners(owners) => self.owners = owners,
        }
        self.object = Some(new);
        self
    }

    fn try_apply(&mut self, manager: &str, config: Value, force: bool) -> Result<(), ApiError> {
        self.clock += 1;
        let now = at(self.clock);
        let who = Self::who(manager, "", &now);
        let applied = match apply(self.schema, self.before(), &config, &who, force, &Kin::default()) {
            Ok(applied) => applied,
            Err(Refused::Conflicts(conflicts)) => return Err(conflicts.into()),
            Err(Refused::Wanted(wanted)) => panic!("{wanted:?}"),
        };
        self.object = Some(bare(applied.object));
        self.owners = applied.owners;
        Ok(())
    }

    #[track_caller]
    fn apply(&mut self, manager: &str, config: Value) -> &mut Self {
        self.try_apply(manager, config, false).unwrap();
        self
    }

    #[track_caller]
    fn is(&mut self, object: Value) -> &mut Self {
        assert_eq!(self.object, Some(object));
        self
    }

    /// The set of an owner, whatever it did.
    fn owned(&self, manager: &str) -> Value {
        let mut entries = entries(self.owners.as_ref()).into_iter();
        let entry = entries.find(|entry| entry.manager.as_deref() == Some(manager));
        entry.map_or(Value::Null, |entry| entry.fields_v1.unwrap().0)
    }

    #[track_caller]
    fn owns(&mut self, manager: &str, set: Value) -> &mut Self {
        assert_eq!(self.owned(manager), set, "{manager}");
        self
    }
}

/// What the owners' text says.
fn entries(owners: Option<&Owners>) -> Vec<ManagedFieldsEntry> {
    owners.map(|owners| serde_json::from_slice(owners.text()).unwrap()).unwrap_or_default()
}

/// Without the `null`s that typed decoding drops.
fn bare(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, bare(value)))
            .collect(),
        Value::Array(list) => list.into_iter().map(bare).collect(),
        plain => plain,
    }
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

fn containers(list: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": list}})
}

#[test]
fn creators_own_what_they_sent_and_updaters_what_they_changed() {
    World::of(MAP)
        .update("one", map(json!({"a": "1", "b": "1"})))
        .owns("one", json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}}))
        .update("two", map(json!({"a": "2", "b": "1", "c": "1"})))
        .owns("one", json!({"f:data": {".": {}, "f:b": {}}}))
        .owns("two", json!({"f:data": {"f:a": {}, "f:c": {}}}))
        .update("two", map(json!({"a": "2"})))
        .owns("one", json!({"f:data": {}}))
        .owns("two", json!({"f:data": {"f:a": {}}}));
}

#[test]
fn structs_that_are_always_there_belong_to_nobody() {
    let object = json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {
    "replicas": 1, "selector": {"matchLabels": {"x": "y"}}, "strategy": {"type": "Recreate"},
    "template": {"metadata": {"labels": {"x": "y"}}, "spec": {
        "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}], "args": ["a"]}],
        "volumes": [{"name": "v", "emptyDir": {}}],
    }}}});
    World::of(DEPLOYMENT).update("kubectl-create", object).owns(
        "kubectl-create",
        json!({"f:metadata": {"f:labels": {".": {}, "f:x": {}}}, "f:spec": {
            "f:replicas": {}, "f:selector": {}, "f:strategy": {"f:type": {}},
            "f:template": {"f:metadata": {"f:labels": {".": {}, "f:x": {}}}, "f:spec": {
                "f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:image": {}, "f:args": {}, "f:ports": {
                    ".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}},
                "f:volumes": {".": {}, "k:{\"name\":\"v\"}": {".": {}, "f:name": {}, "f:emptyDir": {}}},
            }}}}),
    );
}

#[test]
fn appliers_own_what_they_say_and_share_what_they_agree_on() {
    World::of(MAP)
        .apply("one", map(json!({"a": "1", "b": "1"})))
        .owns("one", json!({"f:data": {"f:a": {}, "f:b": {}}}))
        .apply("two", map(json!({"b": "1", "c": "1"})))
        .is(map(json!({"a": "1", "b": "1", "c": "1"})))
        .owns("two", json!({"f:data": {"f:b": {}, "f:c": {}}}))
        // What one gives up goes, unless another holds it.
        .apply("one", map(json!({})))
        .is(map(json!({"b": "1", "c": "1"})))
        .apply("two", map(json!({"c": "1"})))
        .is(map(json!({"c": "1"})));
}

#[test]
fn a_conflict_names_managers_and_fields_and_force_takes_over() {
    let mut world = World::of(MAP);
    world.apply("one", map(json!({"a": "1", "b": "1"})));
    let refused = world.try_apply("two", map(json!({"a": "2"})), false).unwrap_err();
    assert_eq!((refused.code(), refused.reason()), (409, "Conflict"));
    assert_eq!(refused.to_string(), r#"Apply failed with 1 conflict: conflict with "one": .data.a"#);
    let cause = &refused.status.details.unwrap().causes.unwrap()[0];
    assert_eq!(
        (cause.reason.as_deref(), cause.message.as_deref(), cause.field.as_deref()),
        (Some("FieldManagerConflict"), Some(r#"conflict with "one""#), Some(".data.a"))
    );
    world.update("three", map(json!({"a": "1", "b": "3"})));
    let refused = world.try_apply("two", map(json!({"a": "2", "b": "2"})), false).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"one\":\n- .data.a\nconflicts with \"three\" using v1:\n- .data.b"
    );
    world.try_apply("two", map(json!({"a": "2", "b": "2"})), true).unwrap();
    world.is(map(json!({"a": "2", "b": "2"}))).owns("one", Value::Null).owns("three", Value::Null);
}

#[test]
fn what_an_updater_set_survives_an_applier_that_gives_up_the_rest() {
    World::of(POD)
        .apply("one", containers(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}])))
        .update(
            "two",
            containers(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1", "tty": true}])),
        )
        .apply("one", containers(json!([{"name": "a", "image": "1"}])))
        .is(containers(json!([{"name": "a", "image": "1"}])))
        .owns("two", Value::Null);
    World::of(MAP)
        .apply("one", map(json!({"a": "1"})))
        .update("two", map(json!({"a": "1", "b": "2"})))
        .apply("one", map(json!({})))
        .is(map(json!({"b": "2"})));
}

#[test]
fn items_merge_by_their_keys_with_defaults_and_keep_their_order() {
    let ports = |list: Value| json!({"metadata": {"name": "a"}, "spec": {"ports": list}});
    World::of(SERVICE)
        .update("server", ports(json!([{"port": 80, "protocol": "TCP", "nodePort": 3}, {"port": 53, "protocol": "UDP"}])))
        .apply("one", ports(json!([{"port": 53, "protocol": "UDP", "name": "dns"}, {"port": 80, "name": "web"}])))
        .is(ports(json!([
            {"port": 53, "protocol": "UDP", "name": "dns"}, {"port": 80, "protocol": "TCP", "nodePort": 3, "name": "web"}])))
        .owns("one", json!({"f:spec": {"f:ports": {
            "k:{\"port\":53,\"protocol\":\"UDP\"}": {".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}},
            "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:port": {}}}}}));
    let named = |names: &[&str]| containers(names.iter().map(|name| json!({"name": name})).collect());
    World::of(POD)
        .update("x", named(&["side", "a", "b", "end"]))
        .apply("one", named(&["b", "new", "a"]))
        .is(named(&["side", "b", "end", "new", "a"]));
}

#[test]
fn sets_and_atomics_in_custom_resources() {
    let spec = |spec: Value| json!({"metadata": {"name": "a"}, "spec": spec});
    World::of("")
        .apply(
            "one",
            spec(json!({"names": ["a", "b"], "one": {"x": "1"}, "free": {"m": {"n": 1}, "l": [1]}})),
        )
        .owns(
            "one",
            json!({"f:spec": {"f:names": {"v:\"a\"": {}, "v:\"b\"": {}}, "f:one": {},
            "f:free": {"f:m": {".": {}, "f:n": {}}, "f:l": {}}}}),
        )
        .apply("two", spec(json!({"names": ["c"], "parts": [{"a": "x"}, {"a": "x", "b": 2}]})))
        .is(spec(json!({"names": ["a", "b", "c"], "one": {"x": "1"}, "free": {"m": {"n": 1}, "l": [1]},
            "parts": [{"a": "x"}, {"a": "x", "b": 2}]})))
        .apply("one", spec(json!({"names": ["b"]})))
        .is(spec(json!({"names": ["b", "c"], "parts": [{"a": "x"}, {"a": "x", "b": 2}]})));
    let mut world = World::of("");
    world.apply("one", spec(json!({"one": {"x": "1"}})));
    let refused = world.try_apply("two", spec(json!({"one": {"y": "1"}})), false).unwrap_err();
    assert_eq!(refused.to_string(), r#"Apply failed with 1 conflict: conflict with "one": .spec.one"#);
}

#[test]
fn status_is_owned_through_its_own_door() {
    let pod = |phase: Value| json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n"}, "status": phase});
    World::of(POD)
        .update("one", pod(json!({"phase": "Pending"})))
        .owns("one", json!({"f:spec": {"f:nodeName": {}}}))
        .update_part(
            "kubelet",
            "status",
            pod(json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})),
        )
        .owns(
            "kubelet",
            json!({"f:status": {"f:phase": {}, "f:conditions": {
            ".": {}, "k:{\"type\":\"Ready\"}": {".": {}, "f:type": {}, "f:status": {}}}}}),
        )
        .update("one", json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {"nodeName": "n"}}))
        .owns("one", json!({"f:metadata": {"f:labels": {".": {}, "f:x": {}}}, "f:spec": {"f:nodeName": {}}}));
}

#[test]
fn managed_fields_can_be_reset_and_then_the_first_apply_remembers() {
    let mut world = World::of(MAP);
    world.update("one", map(json!({"a": "1"}))).send("one", map(json!({"a": "1"})), &json!([]));
    assert_eq!(world.owners, None);
    world.update("two", map(json!({"a": "2"})));
    assert_eq!(world.owners, None, "nobody is tracked");
    let refused = world.try_apply("three", map(json!({"a": "3"})), false).unwrap_err();
    assert_eq!(
        refused.to_string(),
        r#"Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.a"#
    );
    world
        .apply("three", map(json!({"b": "3"})))
        .owns("before-first-apply", json!({"f:data": {".": {}, "f:a": {}}}));
    world.send("x", map(json!({"a": "2", "b": "3"})), &json!([{}]));
    assert_eq!(world.owners, None);
}

#[test]
fn owners_in_a_request_count_if_they_are_well_formed() {
    let mut world = World::of(MAP);
    world.update("one", map(json!({"a": "1"})));
    let entry = |operation: &str| {
        json!([{"manager": "kubectl", "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:a": {}}}}])
    };
    world
        .send("x", map(json!({"a": "1"})), &entry("Guess"))
        .owns("one", json!({"f:data": {".": {}, "f:a": {}}}));
    world.send("x", map(json!({"a": "1"})), &entry("Apply")).owns("one", Value::Null);
    world.owns("kubectl", json!({"f:data": {"f:a": {}}}));
}

#[test]
fn owners_of_whom_nothing_is_taken_stay_as_they_are_written() {
    let mut world = World::of(MAP);
    world.update("one", map(json!({"a": "1"}))).update("two", map(json!({"a": "1", "b": "1"})));
    let before = entries(world.owners.as_ref());
    // Spelled as nobody here would: had it been read, it would be written in one form.
    let spelled = String::from_utf8(world.owners.clone().unwrap().text().to_vec()).unwrap();
    let spelled = spelled.replace(r#""f:a":{}"#, r#""f:a": { }"#);
    world.owners = Some(Owners::stored(spelled.into()));
    world.update("two", map(json!({"a": "1", "b": "2"})));
    let text = String::from_utf8(world.owners.clone().unwrap().text().to_vec()).unwrap();
    assert!(text.contains(r#""f:a": { }"#), "{text}");
    let after = entries(world.owners.as_ref());
    assert_eq!((&after[0], &after[1].fields_v1), (&before[0], &before[1].fields_v1));
    world.update("three", map(json!({"a": "3", "b": "2"}))).owns("one", json!({"f:data": {}}));
}

#[test]
fn times_tell_of_changes_alone_and_old_updaters_are_joined() {
    let mut world = World::of(MAP);
    world.apply("one", map(json!({"a": "1"}))).apply("one", map(json!({"a": "1"})));
    assert_eq!(entries(world.owners.as_ref())[0].time, Some(at(1)));
    for index in 0..15 {
        let mut data = world.object.clone().unwrap();
        data["data"][format!("k{index}")] = "v".into();
        world.update(&format!("m{index}"), data);
    }
    let entries = entries(world.owners.as_ref());
    let updaters = entries.iter().filter(|entry| entry.operation.as_deref() == Some("Update"));
    assert_eq!(updaters.count(), 10);
    let ancient: Map<String, Value> = (0..6).map(|index| (format!("f:k{index}"), json!({}))).collect();
    world.owns("ancient-changes", json!({"f:data": ancient}));
}

#[test]
fn kubectl_takes_over_from_client_side_apply() {
    let with = |data: Value, last: Option<Value>| {
        let mut map = map(data);
        if let Some(last) = last {
            map["metadata"]["annotations"] = json!({LAST_APPLIED: last.to_string()});
        }
        map
    };
    let mut world = World::of(MAP);
    world.update("kubectl-client-side-apply", with(json!({"a": "1"}), Some(map(json!({"a": "1"})))));
    let mut other = World::of(MAP);
    other.update("kubectl-client-side-apply", with(json!({"a": "1"}), Some(map(json!({"a": "1"})))));
    other.try_apply("someone", map(json!({"a": "2"})), false).unwrap_err();
    let config = map(json!({"a": "2"}));
    world.apply("kubectl", config.clone());
    let last = world.object.as_ref().unwrap()["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(last).unwrap(), config);
    // What somebody changed since is a conflict after all.
    world.update("edit", with(json!({"a": "3"}), Some(map(json!({"a": "2"})))));
    world.try_apply("kubectl", map(json!({"a": "4"})), false).unwrap_err();
}

#[test]
fn configurations_that_do_not_fit_are_refused_in_upstreams_words() {
    let refused = |config: Value| check(schema(POD), &config);
    assert_eq!(refused(containers(json!([{"name": "a", "image": null}]))), None);
    for (config, why) in [
        (json!({"spec": {"foo": 1}}), ".spec.foo: field not declared in schema"),
        (
            containers(json!([{"name": "a", "env": [{"name": "X", "value": 1}]}])),
            r#".spec.containers[name="a"].env[name="X"].value: expected string, got &value.valueUnstructured{Value:1}"#,
        ),
        (json!({"spec": {"priority": "x"}}), ".spec.priority: expected numeric (int or float), got string"),
        (json!({"spec": {"hostPID": "x"}}), ".spec.hostPID: expected boolean, got &{x}"),
        (json!({"spec": []}), ".spec: expected map, got &{[]}"),
        (json!({"spec": {"containers": {"a": 1}}}), ".spec.containers: expected list, got &{map[a:1]}"),
        (
            containers(json!([{"image": "x"}])),
            r#".spec.containers: element 0: associative list with keys has an element that omits key field "name" (and doesn't have default value)"#,
        ),
        (
            containers(json!([{"name": "x"}, {"name": "x"}])),
            r#".spec.containers: duplicate entries for key [name="x"]"#,
        ),
        (
            json!({"a": 1, "b": 1}),
            "errors:\n  .a: field not declared in schema\n  .b: field not declared in schema",
        ),
    ] {
        assert_eq!(refused(config).as_deref(), Some(why));
    }
}

#[test]
fn the_manager_of_an_agent_is_its_first_part() {
    assert_eq!(manager_of_agent("kubectl/v1.37 (linux/amd64)"), "kubectl");
    assert_eq!(manager_of_agent("a\u{7}b"), "ab");
    assert_eq!(manager_of_agent(&"ä".repeat(100)).len(), 128);
}

#[test]
fn what_only_the_server_changed_is_passed_over() {
    let old = r#"{"kind":"Pod","metadata":{"name":"a","managedFields":[{}],"labels":{"x":"y"}},"spec":{"a":1,"b":2}}"#;
    let new = r#"{"kind":"Pod","metadata":{"name":"a","labels":{"x":"y"}},"spec":{"a":1},"status":{}}"#;
    let narrow = narrowed(old.as_bytes(), new.as_bytes(), Part::NoStatus).unwrap();
    // The spec keeps one shared member: it has not become empty.
    assert_eq!(narrow, (json!({"spec": {"a": 1, "b": 2}}), json!({"spec": {"a": 1}})));
}
