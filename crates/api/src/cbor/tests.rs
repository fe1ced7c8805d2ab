//! What upstream's own tests of its decoder ask for, and what its encoder writes.

use serde_json::{Value, json};

use super::{Fault, from_json, to_json};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|digit| !digit.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn shown(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(hex: &str) -> Result<Value, Fault> {
    to_json(&bytes(hex)).map(|json| serde_json::from_slice(&json).unwrap())
}

#[test]
fn an_item_may_be_written_in_many_ways() {
    for (hex, expected) in [
        ("0a", json!(10)),
        ("1b7fffffffffffffff", json!(i64::MAX)),
        ("3b7fffffffffffffff", json!(i64::MIN)),
        ("40", json!("")),
        ("60", json!("")),
        ("7f616161626163ff", json!("abc")),
        ("5f426865436c6c6fff", json!("hello")),
        ("9f9f8080ff9f8080ffff", json!([[[], []], [[], []]])),
        (
            "bf6141bf616101616202ff6142bf616901616a02ffff",
            json!({"A": {"a": 1, "b": 2}, "B": {"i": 1, "j": 2}}),
        ),
        ("a143414243187b", json!({"ABC": 123})),
        ("a163414243187b", json!({"ABC": 123})),
        ("f94200", json!(3.0)),
        ("fa40000000", json!(2.0)),
        ("fb7fefffffffffffff", json!(f64::MAX)),
        ("f4", json!(false)),
        ("f5", json!(true)),
        ("f6", json!(null)),
        // Times, as text and in seconds.
        ("c074323030362d30312d30325431353a30343a30355a", json!("2006-01-02T15:04:05Z")),
        ("c11a43b940e5", json!("2006-01-02T15:04:05Z")),
        ("c120", json!("1969-12-31T23:59:59Z")),
        ("c1fb3ff8000000000000", json!("1970-01-01T00:00:01.5Z")),
        // Bytes that are text of some sort where they have to be text.
        ("d64200ff", json!("AP8=")),
        ("d54200ff", json!("AP8")),
        ("d74200ff", json!("00ff")),
        // Of other tags the content counts.
        ("d9d9f7d9d9f7a0", json!({})),
        ("c48221196ab3", json!([-2, 27315])),
    ] {
        assert_eq!(read(hex), Ok(expected), "{hex}");
    }
}

#[test]
fn what_json_could_not_say_is_refused() {
    let deep = format!("{}{}", "81".repeat(65), "00");
    let wide = format!("990401{}", "00".repeat(1025));
    let open = format!("9f{}ff", "00".repeat(1025));
    let tags = format!("{}00", "c6".repeat(100_000));
    for (hex, expected) in [
        ("", "cbor: end of input bytes"),
        ("0a0b", "cbor: 1 bytes of extraneous data starting at index 1"),
        ("1bffffffffffffffff", "cbor: 18446744073709551615 overflows a signed integer of 64 bits"),
        ("3bffffffffffffffff", "cbor: -18446744073709551616 overflows a signed integer of 64 bits"),
        ("6180", "cbor: "),
        ("41ab", "cbor: invalid UTF-8 string"),
        ("a2614101614102", "cbor: found duplicate map key \"A\""),
        ("a2414101614102", "cbor: found duplicate map key \"A\""),
        ("a25f426865436c6c6fff015f416844656c6c6fff02", "cbor: found duplicate map key \"hello\""),
        ("a1fb40091eb851eb851f63706965", "cbor: data item of type map is not accepted"),
        ("a220012002", "cbor: data item of type map is not accepted"),
        ("f97c00", "cbor: data item of type primitives is not accepted: floating-point infinity"),
        ("fb7ff8000000000000", "cbor: data item of type primitives is not accepted: floating-point NaN"),
        ("f7", "cbor: data item of type primitives is not accepted: simple value 23 is not recognized"),
        ("f820", "cbor: data item of type primitives is not accepted: simple value 32 is not recognized"),
        ("ff", "cbor: "),
        ("c249010000000000000000", "cbor: data item of type tag is not accepted: bignum"),
        ("c06474657874", "cbor: data item of type tag is not accepted: \"text\" is no time of RFC 3339"),
        ("c054323030362d30312d30325431353a30343a30355a", "cbor: data item of type tag is not accepted"),
        ("c160", "cbor: data item of type tag is not accepted"),
        ("bbffffffffffffffff", "cbor: exceeded max number of key-value pairs for CBOR map 1024"),
        ("9bffffffffffffffff", "cbor: exceeded max number of elements for CBOR array 1024"),
        (deep.as_str(), "cbor: exceeded max nested level 64"),
        (wide.as_str(), "cbor: exceeded max number of elements for CBOR array 1024"),
        (open.as_str(), "cbor: exceeded max number of elements for CBOR array 1024"),
    ] {
        let refused = read(hex).expect_err(hex).to_string();
        assert!(refused.starts_with(expected), "{hex}: {refused}");
    }
    // However many tags there are, they take no stack.
    assert_eq!(read(&tags), Ok(json!(0)));
}

#[test]
fn an_object_is_written_as_upstream_writes_it() {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "data": { "a": "AP8=", "b": "no base64" }, "type": "t",
    });
    let written = from_json(secret.to_string().as_bytes()).unwrap();
    let names = "a4 4a 61706956657273696f6e 42 7631 44 64617461 a2 41 61 d6 42 00ff 41 62 49 6e6f20626173653634 \
                 44 6b696e64 46 536563726574 44 74797065 41 74";
    assert_eq!(shown(&written), shown(&bytes(&format!("d9d9f7 {names}"))));
    // Of a kind that nothing is known of, texts are texts.
    let thing = json!({ "apiVersion": "example.com/v1", "kind": "Secret", "data": "AP8=" });
    let written = from_json(thing.to_string().as_bytes()).unwrap();
    assert!(shown(&written).contains("444150383d"), "{}", shown(&written));
    assert_eq!(from_json(b"{\"major\":\"1\"}"), Err(Fault::NoObject));
}

#[test]
fn numbers_take_the_shortest_form_that_keeps_them() {
    for (number, expected) in [
        ("0", "00"),
        ("-1", "20"),
        ("500", "1901f4"),
        ("1.0", "f93c00"),
        ("1.5", "f93e00"),
        ("-0.0", "f98000"),
        ("65504.0", "f97bff"),
        ("100000.0", "fa47c35000"),
        ("1.1", "fb3ff199999999999a"),
        ("18446744073709551615", "fa5f800000"),
    ] {
        let written = super::element(None, number.as_bytes()).unwrap();
        assert_eq!(shown(&written), expected, "{number}");
    }
    // A field that is a double is one whatever its JSON looks like.
    let schema = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "spec": { "versions": [{ "schema": { "openAPIV3Schema": { "properties": { "a": { "items": { "maximum": 3 } } } } } }] },
    });
    let written = shown(&from_json(schema.to_string().as_bytes()).unwrap());
    assert!(written.contains("6d6178696d756df94200"), "{written}");
}

#[test]
fn long_containers_have_long_heads() {
    for count in [23, 24, 255, 256, 1000] {
        let list: Value = (0..count).collect::<Vec<_>>().into();
        let map: Value = (0..count).map(|n| (n.to_string(), Value::from(n))).collect();
        for value in [list, map] {
            let written = super::element(None, value.to_string().as_bytes()).unwrap();
            let back: Value = serde_json::from_slice(&to_json(&written).unwrap()).unwrap();
            assert_eq!(back, value);
        }
    }
}
