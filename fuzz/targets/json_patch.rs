//! JSON patches and merge patches. Input: the object, a line break, the patch.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skiff_api::patch::{json, merge};

fuzz_target!(|input: &[u8]| {
    let mut documents = serde_json::Deserializer::from_slice(input).into_iter::<serde_json::Value>();
    if let (Some(Ok(object)), Some(Ok(patch))) = (documents.next(), documents.next()) {
        let mut merged = object.clone();
        if merge::apply(&mut merged, &patch).is_ok() {
            let mut again = merged.clone();
            merge::apply(&mut again, &patch).expect("a merge that went once goes twice");
            assert_eq!(again, merged, "a merge patch applied twice is as applied once");
        }
        let _any_answer = json::apply(&mut object.clone(), patch);
    }
});
