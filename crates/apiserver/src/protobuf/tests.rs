//! Bodies as clients send them, and what they are as JSON.

use serde_json::json;

use super::*;

/// A field that holds bytes.
fn held(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap();
    assert!(length < 128);
    [&[number << 3 | 2, length], bytes].concat()
}

fn enveloped(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let head = [held(1, version.as_bytes()), held(2, kind.as_bytes())].concat();
    [MAGIC, &held(1, &head), &held(2, raw)].concat()
}

fn read(body: &[u8]) -> Value {
    serde_json::from_slice(&to_json(body).unwrap()).unwrap()
}

#[test]
fn a_secret_is_read_with_its_maps_and_bytes() {
    let label = [held(1, b"a"), held(2, b"b")].concat();
    // Go writes what is not set: an empty namespace, an empty time.
    let meta = [held(1, b"name"), held(3, b""), held(8, b""), held(11, &label)].concat();
    let entry = [held(1, b"key"), held(2, b"\x00\xff")].concat();
    let raw = [held(1, &meta), held(2, &entry), held(3, b"Opaque"), vec![5 << 3, 1]].concat();
    assert_eq!(
        read(&enveloped("v1", "Secret", &raw)),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "name", "labels": { "a": "b" } },
            "data": { "key": "AP8=" }, "type": "Opaque", "immutable": true,
        })
    );
}

#[test]
fn numbers_strings_and_embedded_messages_find_their_places() {
    // targetPort "web", then 8080.
    let named = held(4, &[&[1 << 3, 1][..], &held(3, b"web")].concat());
    let numbered = held(4, &[1 << 3, 0, 2 << 3, 0x90, 0x3f]);
    let ports = [held(1, &[held(1, b"a"), vec![3 << 3, 80], named].concat()), held(1, &numbered)].concat();
    let service = read(&enveloped("v1", "Service", &held(2, &ports)));
    assert_eq!(
        service["spec"]["ports"],
        json!([{ "name": "a", "port": 80, "targetPort": "web" }, { "targetPort": 8080 }])
    );
    // A volume's source stands in the volume itself.
    let config = held(19, &held(1, &held(1, b"map")));
    let volume =
        [held(1, b"v"), held(2, &[&[19 << 3 & 0x7f | 2 | 0x80, 1][..], &config[1..]].concat())].concat();
    let pod = read(&enveloped("v1", "Pod", &held(2, &held(1, &volume))));
    assert_eq!(pod["spec"]["volumes"], json!([{ "name": "v", "configMap": { "name": "map" } }]));
}

#[test]
fn times_are_told_as_json_tells_them() {
    let acquired = held(3, &[1 << 3, 0x80, 0x94, 0xeb, 0xdc, 0x03, 2 << 3, 0xc0, 0x84, 0x3d]);
    let lease = read(&enveloped("coordination.k8s.io/v1", "Lease", &held(2, &acquired)));
    assert_eq!(lease["spec"]["acquireTime"], "2001-09-09T01:46:40.001000Z");
}

#[test]
fn broken_bodies_are_refused_wherever_they_break() {
    let body = enveloped("v1", "ConfigMap", &held(1, &held(1, b"name")));
    assert_eq!(to_json(b"{}"), Err(Fault::Magic));
    assert!(to_json(&body).is_ok());
    // Cut between its two fields the envelope is whole, only empty.
    let between = body.len() - held(2, &held(1, &held(1, b"name"))).len();
    for end in (MAGIC.len() + 1..body.len()).filter(|end| *end != between) {
        assert!(to_json(&body[..end]).is_err(), "{end}");
    }
    let unknown = Fault::Unknown { version: "apps/v9".to_owned(), kind: "Thing".to_owned() };
    assert_eq!(to_json(&enveloped("apps/v9", "Thing", b"")), Err(unknown));
}

#[test]
fn every_message_that_is_named_is_known() {
    for (message, fields) in MESSAGES.iter() {
        for field in fields {
            let plain = matches!(field.of, "s" | "b" | "i" | "B" | "d") || field.of.starts_with('@');
            assert!(
                field.number > 0 && (plain || MESSAGES.contains_key(field.of)),
                "{message}.{}",
                field.name
            );
        }
    }
}
