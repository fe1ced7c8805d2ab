//! JSON to protobuf to JSON is the identity: for every kind of the table, with every field set that its schema has.
//!
//! A field that the table of fields lacks, or puts in the wrong place, fails here.

use serde_json::{Value, json};

use skiff_api::protobuf::{Kind, from_json, is_unnumbered, to_json};

use super::every_field::{differences, full};
use crate::kinds;

/// The kinds that have a message; those that came after 1.35 have none and go out as JSON, as custom resources do.
fn numbered() -> Vec<&'static kinds::Row> {
    let later = |row: &&kinds::Row| (row.group, row.version) == ("scheduling.k8s.io", "v1beta1");
    kinds::ALL.iter().copied().filter(|row| !later(row)).collect()
}

#[test]
fn every_field_of_every_kind_survives_the_way_to_protobuf_and_back() {
    let mut found = Vec::new();
    // An object with a field that has no number goes out as JSON; here such fields are left out.
    for (kind, object) in full(&numbered(), is_unnumbered) {
        match from_json(object.to_string().as_bytes()) {
            Ok(bytes) => {
                let back: Value = serde_json::from_slice(&to_json(&bytes).unwrap()).unwrap();
                differences(&object, &back, &kind, &mut found);
            }
            Err(fault) => found.push(format!("{kind}: {fault}")),
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_kind_has_a_list_with_metadata_and_items() {
    for row in numbered() {
        let kind = Kind::find(&row.resource().api_version(), row.list_kind);
        let kind = kind.unwrap_or_else(|| panic!("{}", row.list_kind));
        let item = br#"{"metadata":{"name":"a"}}"#;
        let bytes = kind.list(br#"{"resourceVersion":"7","continue":"x"}"#, [item].into_iter()).unwrap();
        let list: Value = serde_json::from_slice(&to_json(&bytes).unwrap()).unwrap();
        assert_eq!(
            list,
            json!({
                "apiVersion": row.resource().api_version(), "kind": row.list_kind,
                "metadata": { "resourceVersion": "7", "continue": "x" }, "items": [{ "metadata": { "name": "a" } }],
            })
        );
    }
}
