//! Bodies in JSON: what is taken, taken again from its own encoding, is the same.
#![no_main]

use k8s_openapi::api::core::v1::Pod;
use libfuzzer_sys::fuzz_target;
use skiff_api::Strictness;
use skiff_api::decode::{decode, from_slice};

fuzz_target!(|body: &[u8]| {
    for strictness in [Strictness::Warn, Strictness::Ignore] {
        let _any_answer = decode::<Pod>(body, strictness);
    }
    if let Ok(decoded) = decode::<Pod>(body, Strictness::Strict) {
        let encoded = serde_json::to_vec(&decoded.object).expect("what was decoded can be encoded");
        let again: Pod = from_slice(&encoded).expect("what was encoded can be decoded");
        assert_eq!(again, decoded.object);
    }
});
