//! The API of 2014: any body of any kind, and its way to v1. Input: the kind's number in a byte, then the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skiff_api::v1beta1::{kind, manifest};

fuzz_target!(|input: &[u8]| {
    let Some((number, body)) = input.split_first() else { return };
    let row = kind::KINDS[usize::from(*number) % kind::KINDS.len()];
    let _any_answer = row.parse_any(body);
    let _any_answer = manifest::to_pods(body);
    if let Ok(mut object) = row.parse(body) {
        object.prepare();
        let _any_answer = object.faults();
        let _tree = object.to_v1();
        let again = row.parse(object.json().as_bytes()).expect("our own form is understood");
        assert_eq!(again.json(), object.json());
    }
});
