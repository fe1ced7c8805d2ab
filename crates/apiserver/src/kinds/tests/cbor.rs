//! JSON to CBOR to JSON is the identity: for every kind of the table, with every field set that its schema has.

use serde_json::Value;
use skiff_api::cbor::{from_json, to_json};

use super::every_field::{differences, full};
use crate::kinds;

#[test]
fn every_field_of_every_kind_survives_the_way_to_cbor_and_back() {
    let mut found = Vec::new();
    for (kind, object) in full(kinds::ALL, |_, _| false) {
        let bytes = from_json(object.to_string().as_bytes()).unwrap();
        let back: Value = serde_json::from_slice(&to_json(&bytes).unwrap()).unwrap();
        differences(&object, &back, &kind, &mut found);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
