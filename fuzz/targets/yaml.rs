//! Bodies and manifests in YAML become JSON or an error, and never grow without bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skiff_api::decode::yaml_to_json;

fuzz_target!(|body: &[u8]| {
    if let Ok(json) = yaml_to_json(body) {
        let tree: serde_json::Value = serde_json::from_slice(&json).expect("the answer is JSON");
        let again = yaml_to_json(&json).expect("JSON is YAML");
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&again).expect("JSON"), tree);
    }
});
