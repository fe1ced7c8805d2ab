//! `managedFields` as clients send them: a set that is understood is written so that it is the same set.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skiff_api::apply::Set;

fuzz_target!(|input: &[u8]| {
    let Ok(tree) = serde_json::from_slice(input) else { return };
    if let Ok(set) = Set::decode(&tree) {
        let again = Set::decode(&set.encode()).expect("what was written is understood");
        assert_eq!(again.paths(), set.paths());
        assert!(set.difference(&again).is_empty());
    }
});
