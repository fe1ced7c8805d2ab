//! What holds whatever two or three managers say of an object.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn any_config() -> impl Strategy<Value = Value> {
    let data = proptest::collection::btree_map("[a-d]", "[0-1]", 1..4);
    let names = proptest::collection::btree_set("[a-d]", 0..4);
    let parts = proptest::collection::btree_map(("[a-b]", 1..3i64), "[0-1]", 0..4);
    (data, names, parts).prop_map(|(data, names, parts)| {
        let part = |((a, b), v): ((String, i64), String)| json!({"a": a, "b": b, "v": v});
        json!({"spec": {"free": data, "names": names, "parts": parts.into_iter().map(part).collect::<Vec<_>>()}})
    })
}

proptest! {
    #[test]
    fn what_differs_is_found_in_the_narrowed_trees(first in any_config(), second in any_config()) {
        for (old, new) in [(&first, &second), (&second, &first), (&first, &first), (&json!({"spec": {}}), &first)] {
            let (narrow_old, narrow_new) =
                narrowed(old.to_string().as_bytes(), new.to_string().as_bytes(), Part::All).unwrap();
            let whole = schema("").compare(Some(old), new, Part::All);
            prop_assert_eq!(schema("").compare(Some(&narrow_old), &narrow_new, Part::All), whole);
        }
    }

    #[test]
    fn applying_twice_is_applying_once(first in any_config(), second in any_config()) {
        let mut world = World::of("");
        world.apply("one", first);
        world.try_apply("two", second.clone(), true).unwrap();
        let (object, owners) = (world.object.clone(), world.owners.clone());
        world.try_apply("two", second, true).unwrap();
        prop_assert_eq!(&world.object, &object);
        prop_assert_eq!(&world.owners, &owners);
    }

    #[test]
    fn an_only_applier_gets_what_it_says(first in any_config(), second in any_config()) {
        let mut world = World::of("");
        world.apply("one", first).apply("one", second.clone());
        prop_assert!(schema("").compare(Some(&second), world.object.as_ref().unwrap(), Part::All).added.is_empty());
        prop_assert_eq!(schema("").fields(world.object.as_ref().unwrap(), Part::All), schema("").fields(&second, Part::All));
    }

    #[test]
    fn nobody_owns_what_is_not_there(first in any_config(), second in any_config(), third in any_config()) {
        let mut world = World::of("");
        world.update("zero", first).apply("one", json!({}));
        world.try_apply("two", second, true).unwrap();
        world.update("three", third);
        let there = schema("").fields(world.object.as_ref().unwrap(), Part::All);
        let spec: Set = serde_json::from_value(json!({"f:spec": {}})).unwrap();
        for entry in entries(world.owners.as_ref()) {
            let set: Set = serde_json::from_value(entry.fields_v1.unwrap().0).unwrap();
            for path in set.difference(&there).difference(&spec).paths() {
                // Containers are owned by who brought them about, and leave with their last member.
                prop_assert!(path.len() <= 2, "{:?}", path);
            }
        }
    }
}
