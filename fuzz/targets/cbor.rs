//! Bodies in CBOR: their JSON has a CBOR form, and that has the same JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use skiff_api::cbor::{element, from_json, to_json};

/// Equal but for the last digits of numbers, of which JSON's reader is not sure; a whole number may stand for a double, where
/// the kind says that the field is one.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap_or_default(), b.as_f64().unwrap_or_default());
            (a - b).abs() <= a.abs() * 1e-12
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

fuzz_target!(|body: &[u8]| {
    let Ok(json) = to_json(body) else { return };
    let tree = |json: &[u8]| serde_json::from_slice::<Value>(json).expect("JSON");
    // What is known of the kind changes the bytes, never what they mean.
    let plain = element(None, &json).expect("our own JSON can be written");
    for encoded in [Some(plain), from_json(&json).ok()].into_iter().flatten() {
        let again = to_json(&encoded).expect("our own encoding can be read");
        let (before, after) = (tree(&json), tree(&again));
        assert!(same(&before, &after), "{before} became {after}");
    }
});
