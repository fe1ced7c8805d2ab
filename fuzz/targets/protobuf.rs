//! Bodies in protobuf: their JSON has a protobuf form again, and that has the same JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skiff_api::protobuf::{from_json, to_json};

fuzz_target!(|body: &[u8]| {
    let Ok(json) = to_json(body) else { return };
    if let Ok(encoded) = from_json(&json) {
        let again = to_json(&encoded).expect("our own encoding can be read");
        let tree = |json: &[u8]| serde_json::from_slice::<serde_json::Value>(json).expect("JSON");
        assert_eq!(tree(&again), tree(&json));
    }
});
