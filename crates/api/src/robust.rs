//! No input makes a decoder panic, recurse without end or grow without bound: each is fed with noise, and with noise
//! that looks like what it reads.

use std::sync::LazyLock;

use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::Value;

use crate::decode::{decode, yaml_to_json};
use crate::patch::{json, merge, strategic};
use crate::quantity::Quantity;
use crate::selector::{FieldSelector, LabelSelector};
use crate::{Strictness, cbor, v1beta1};

/// It takes milliseconds to make.
static SCHEMA: LazyLock<strategic::Schema> = LazyLock::new(strategic::Schema::of::<Pod>);

/// Any JSON of modest size.
fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z$/~.*-]{0,8}".prop_map(Value::from),
    ];
    // Names that mean something to one reader or another.
    let name = prop_oneof![
        "[a-z]{1,3}",
        Just("spec".to_owned()),
        Just("containers".to_owned()),
        Just("name".to_owned()),
        Just("metadata".to_owned()),
        Just("$patch".to_owned()),
        Just("$retainKeys".to_owned()),
        Just("$setElementOrder/containers".to_owned()),
        Just("$deleteFromPrimitiveList/finalizers".to_owned()),
        Just("desiredState".to_owned()),
        Just("manifest".to_owned()),
        Just("labels".to_owned()),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// A patch of RFC 6902, or nearly one.
fn operations() -> impl Strategy<Value = Value> {
    let path = "(/[a-z0-9~-]{0,3}){0,4}";
    let operation = ("(add|remove|replace|move|copy|test|x)", path, path, tree()).prop_map(
        |(op, path, from, value)| serde_json::json!({ "op": op, "path": path, "from": from, "value": value }),
    );
    prop::collection::vec(operation, 0..6).prop_map(Value::from)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_and_yaml_readers_survive_noise(bytes: Vec<u8>, text in "[-{}\\[\\]:,&*!|>'\"#% a-z0-9\n]{0,200}") {
        for input in [bytes.as_slice(), text.as_bytes()] {
            let _any_answer = decode::<Pod>(input, Strictness::Strict);
            let _any_answer = yaml_to_json(input);
        }
    }

    #[test]
    fn json_readers_survive_objects_of_any_shape(object in tree()) {
        let text = object.to_string();
        for strictness in [Strictness::Strict, Strictness::Warn, Strictness::Ignore] {
            let _any_answer = decode::<Pod>(text.as_bytes(), strictness);
        }
        let yaml = yaml_to_json(text.as_bytes());
        prop_assert!(yaml.is_err() || serde_json::from_slice::<Value>(&yaml.unwrap()).is_ok());
    }

    #[test]
    fn cbor_survives_noise_and_keeps_objects_of_any_shape(noise: Vec<u8>, object in tree()) {
        let _any_answer = cbor::to_json(&noise);
        let written = cbor::element(None, object.to_string().as_bytes()).unwrap();
        let read: Value = serde_json::from_slice(&cbor::to_json(&written).unwrap()).unwrap();
        prop_assert_eq!(read, object);
    }

    #[test]
    fn patches_survive_any_patch(object in tree(), patch in tree(), operations in operations()) {
        let _any_answer = strategic::apply(object.clone(), patch.clone(), &SCHEMA);
        let _any_answer = merge::apply(&mut object.clone(), &patch);
        let _any_answer = json::apply(&mut object.clone(), patch);
        let _any_answer = json::apply(&mut object.clone(), operations);
    }

    #[test]
    fn selectors_and_quantities_survive_noise(text: String, like in "[a-z0-9./=!<>,() -]{0,40}") {
        for text in [text.as_str(), like.as_str()] {
            let _any_answer = LabelSelector::parse(text);
            let _any_answer = FieldSelector::parse(text);
            let _any_answer = Quantity::parse(text);
        }
    }

    #[test]
    fn the_api_of_2014_survives_objects_of_any_shape(object in tree(), kind in "(pods|services|minions|replicationControllers|events|endpoints)") {
        let row = v1beta1::kind::by_segment(&kind).unwrap();
        let _any_answer = row.parse(object.to_string().as_bytes());
        let _any_answer = row.parse_any(object.to_string().as_bytes());
        let _any_answer = v1beta1::manifest::to_pods(object.to_string().as_bytes());
    }
}

#[test]
fn depth_is_bounded() {
    let deep = "[".repeat(100_000);
    assert!(decode::<Pod>(deep.as_bytes(), Strictness::Ignore).is_err());
    assert!(yaml_to_json(deep.as_bytes()).is_err());
    assert!(yaml_to_json("- ".repeat(50_000).as_bytes()).is_err());
}

#[test]
fn aliases_do_not_multiply_without_bound() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", "));
    }
    assert!(yaml_to_json(bomb.as_bytes()).is_err());
}
