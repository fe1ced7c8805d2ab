//! Patches as kubectl sends them, each with the object before and after.

use std::sync::LazyLock;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

static POD: LazyLock<Schema> = LazyLock::new(Schema::of::<Pod>);

#[track_caller]
fn check(current: Value, patch: Value, expected: Value) {
    assert_eq!(apply(current, patch, &POD).unwrap(), expected);
}

fn pod(containers: Value) -> Value {
    json!({"spec": {"containers": containers}})
}

#[test]
fn items_of_keyed_lists_merge_and_new_ones_come_first_as_in_the_patch() {
    check(
        pod(json!([{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "1"}])),
        pod(json!([{"name": "b", "image": "2"}, {"name": "c", "image": "3"}])),
        pod(
            json!([{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "2"}, {"name": "c", "image": "3"}]),
        ),
    );
}

#[test]
fn nested_lists_have_their_own_keys() {
    check(
        pod(json!([{"name": "a", "env": [{"name": "X", "value": "1"}], "ports": [{"containerPort": 80}]}])),
        pod(json!([{"name": "a", "env": [{"name": "Y", "value": "2"}],
            "ports": [{"containerPort": 80, "name": "web"}]}])),
        pod(json!([{"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}],
            "ports": [{"containerPort": 80, "name": "web"}]}])),
    );
}

#[test]
fn atomic_lists_and_null_replace_and_remove() {
    check(
        pod(json!([{"name": "a", "args": ["x", "y"], "image": "1"}])),
        pod(json!([{"name": "a", "args": ["z"], "image": null}])),
        pod(json!([{"name": "a", "args": ["z"]}])),
    );
}

#[test]
fn directives_delete_and_replace_items_lists_and_maps() {
    check(
        pod(json!([{"name": "a"}, {"name": "b"}])),
        pod(json!([{"name": "a", "$patch": "delete"}])),
        pod(json!([{"name": "b"}])),
    );
    check(
        pod(json!([{"name": "a"}, {"name": "b"}])),
        pod(json!([{"$patch": "replace"}, {"name": "c"}])),
        pod(json!([{"name": "c"}])),
    );
    check(
        json!({"metadata": {"labels": {"a": "1"}}}),
        json!({"metadata": {"labels": {"$patch": "replace", "b": "2"}}}),
        json!({"metadata": {"labels": {"b": "2"}}}),
    );
    check(
        json!({"metadata": {"labels": {"a": "1"}}}),
        json!({"metadata": {"labels": {"$patch": "delete"}}}),
        json!({"metadata": {"labels": {}}}),
    );
}

#[test]
fn primitive_lists_merge_as_sets_and_lose_what_is_named() {
    check(
        json!({"metadata": {"finalizers": ["a", "b"]}}),
        json!({"metadata": {"finalizers": ["c", "a"]}}),
        json!({"metadata": {"finalizers": ["c", "a", "b"]}}),
    );
    check(
        json!({"metadata": {"finalizers": ["a", "b", "c"]}}),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"]}}),
        json!({"metadata": {"finalizers": ["a", "c"]}}),
    );
    check(
        json!({"metadata": {"finalizers": ["a", "b", "c"]}}),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"], "$setElementOrder/finalizers": ["c", "a"]}}),
        json!({"metadata": {"finalizers": ["c", "a"]}}),
    );
}

#[test]
fn set_element_order_arranges_both_sides() {
    check(
        pod(json!([{"name": "server"}, {"name": "a"}, {"name": "b"}])),
        json!({"spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
            "containers": [{"name": "a", "image": "2"}],
        }}),
        pod(json!([{"name": "server"}, {"name": "b"}, {"name": "a", "image": "2"}])),
    );
}

#[test]
fn retain_keys_drop_the_other_members_of_a_volume() {
    check(
        json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
        json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}}),
        json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}}),
    );
}

#[test]
fn what_the_object_lacks_is_taken_without_nulls_and_what_acts_on_nothing() {
    let containers = json!([
        {"name": "a", "image": null, "env": [{"name": "X"}, {"name": "Y", "$patch": "delete"}]},
        {"name": "b", "resources": {"$patch": "replace", "limits": {}}},
    ]);
    check(json!({}), pod(containers), pod(json!([{"name": "a", "env": [{"name": "X"}]}, {"name": "b"}])));
}

#[test]
fn what_is_new_to_a_list_is_taken_as_it_is() {
    let new = json!({"name": "b", "image": null, "env": [{"name": "Y", "$patch": "delete"}]});
    check(pod(json!([{"name": "a"}])), pod(json!([new])), pod(json!([new, {"name": "a"}])));
}

#[test]
fn service_ports_merge_by_port() {
    let schema = Schema::of::<Service>();
    let before = json!({"spec": {"ports": [{"port": 80, "nodePort": 30000}], "selector": {"a": "b"}}});
    let patch = json!({"spec": {"ports": [{"port": 80, "name": "web"}]}});
    let after = apply(before, patch, &schema).unwrap();
    assert_eq!(after["spec"]["ports"], json!([{"port": 80, "nodePort": 30000, "name": "web"}]));
}

#[test]
fn wrong_patches_are_refused_in_upstreams_words() {
    let refused = |patch: Value| {
        let current = json!({"metadata": {"finalizers": ["a"]}, "spec": {"containers": [{"name": "a"}]}});
        apply(current, patch, &POD).unwrap_err().to_string()
    };
    assert_eq!(
        refused(pod(json!([{"image": "x"}]))),
        r#"map: {"image":"x"} does not contain declared merge key: name"#
    );
    assert_eq!(refused(json!({"spec": {"$patch": "swap"}})), "unknown patch type: swap in map: {}");
    assert_eq!(refused(json!([])), "invalid JSON document");
    assert_eq!(
        refused(json!({"spec": {"$retainKeys": ["x"], "nodeName": "n"}})),
        "patch content doesn't match retainKeys list"
    );
}

/// The cases in which we do not do as `kubectl patch --local --type=strategic` of Kubernetes 1.32 does, patch by patch. A line
/// of `cases` is an object, a patch and what became of it.
fn unlike(cases: &str) -> Vec<String> {
    let schema = Schema::of::<Deployment>();
    let typed = |value: Value| {
        let read = serde_json::from_value::<Deployment>(value.clone());
        read.map_or_else(|error| format!("{error}: {value}"), |it| serde_json::to_string(&it).unwrap())
    };
    let mut wrong = Vec::new();
    for line in cases.lines() {
        let mut case: Value = serde_json::from_str(line).unwrap();
        let after = apply(case["object"].take(), case["patch"].clone(), &schema);
        let (patch, error) = (&case["patch"], &case["error"]);
        match (after, case.get("after")) {
            (Ok(after), Some(wanted)) => {
                let (after, wanted) = (typed(after), typed(wanted.clone()));
                if after != wanted {
                    wrong.push(format!("{patch}:\n  ours {after}\n  want {wanted}"));
                }
            }
            (Ok(_), None) => wrong.push(format!("{patch}: not refused: {error}")),
            (Err(ours), Some(_)) => wrong.push(format!("{patch}: refused: {ours}")),
            (Err(_), None) => {}
        }
    }
    wrong
}

#[test]
fn patches_come_out_as_upstream_makes_them() {
    let wrong = unlike(include_str!("tests/kubectl.jsonl"));
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

fn container_list() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map("[a-d]", "[0-9]", 0..4).prop_map(|items| {
        items.into_iter().map(|(name, image)| json!({"name": name, "image": image})).collect()
    })
}

proptest! {
    #[test]
    fn applying_twice_changes_nothing_more(current in container_list(), patch in container_list()) {
        let once = apply(pod(current), pod(patch.clone()), &POD).unwrap();
        let twice = apply(once.clone(), pod(patch), &POD).unwrap();
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn no_directive_survives(current in container_list(), order in container_list()) {
        let patch = json!({"spec": {"$setElementOrder/containers": order}});
        let after = apply(pod(current.clone()), patch, &POD);
        let nothing = current.as_array().unwrap().is_empty();
        prop_assert_eq!(after.is_err(), nothing, "an order of nothing is refused");
        let Ok(after) = after else { return Ok(()) };
        prop_assert_eq!(after["spec"]["containers"].as_array().unwrap().len(), current.as_array().unwrap().len());
        prop_assert!(!after.to_string().contains('$'));
    }
}
