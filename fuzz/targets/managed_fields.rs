//! `managedFields` as clients send them: a set that is understood is written so that it is the same set.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skiff_api::apply::Set;

fuzz_target!(|input: &[u8]| {
    if let Ok(set) = serde_json::from_slice::<Set>(input) {
        let text = serde_json::to_vec(&set).expect("what was understood can be written");
        let again: Set = serde_json::from_slice(&text).expect("what was written is understood");
        assert_eq!(again.paths(), set.paths());
        assert!(set.difference(&again).is_empty());
    }
});
