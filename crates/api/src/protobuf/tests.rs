//! Bodies as clients send them, and what they are as JSON.

use proptest::prelude::*;
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
fn what_go_writes_although_nobody_set_it_is_left_out() {
    // hostNetwork false, an empty hostname; terminationGracePeriodSeconds 0 is a pointer's.
    let spec = [vec![4 << 3, 0, 11 << 3, 0], vec![0x82, 1, 0]].concat();
    let pod = read(&enveloped("v1", "Pod", &held(2, &spec)));
    assert_eq!(pod["spec"], json!({ "terminationGracePeriodSeconds": 0 }));
    // No storage class and the empty one are two things.
    let claim = read(&enveloped("v1", "PersistentVolumeClaim", &held(2, &held(5, b""))));
    assert_eq!(claim["spec"], json!({ "storageClassName": "" }));
}

#[test]
fn an_object_with_a_field_without_a_number_is_refused_unless_it_may_be_left_out() {
    let pod =
        br#"{"apiVersion":"v1","kind":"Pod","spec":{"nodeName":"n","evictionResponders":[{"name":"x"}]}}"#;
    assert!(matches!(from_json(pod), Err(Fault::Unnumbered(_))));
    let bytes = Kind::find("v1", "Pod").unwrap().object(pod, true).unwrap();
    assert_eq!(read(&bytes)["spec"], json!({ "nodeName": "n" }));
    assert!(matches!(from_json(br#"{"apiVersion":"a.io/v1","kind":"B"}"#), Err(Fault::Unknown { .. })));
}

#[test]
fn a_watch_event_is_framed_by_its_length() {
    let object = from_json(br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}"#).unwrap();
    let event = frame("ADDED", &object);
    assert_eq!(u32::from_be_bytes(event[..4].try_into().unwrap()) as usize, event.len() - 4);
    let expected = [held(1, b"ADDED"), held(2, &held(1, &object))].concat();
    assert_eq!(event[4..], expected);
}

proptest! {
    #[test]
    fn no_body_makes_the_reader_panic(body: Vec<u8>, kind in "(Pod|CustomResourceDefinition|Event|Status|List)") {
        let version = if kind == "CustomResourceDefinition" { "apiextensions.k8s.io/v1" } else { "v1" };
        let _any_answer = to_json(&body);
        if body.len() < 128 {
            let _any_answer = to_json(&enveloped(version, &kind, &body));
        }
    }
}
