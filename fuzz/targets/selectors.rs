//! Label and field selectors: what is understood is written so that it is understood the same way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skiff_api::{FieldSelector, LabelSelector};

fuzz_target!(|text: &str| {
    if let Ok(selector) = LabelSelector::parse(text) {
        let written = selector.to_string();
        let again = LabelSelector::parse(&written).expect("what was written is understood");
        assert_eq!(again.to_string(), written);
    }
    if let Ok(selector) = FieldSelector::parse(text) {
        let written = selector.to_string();
        let again = FieldSelector::parse(&written).expect("what was written is understood");
        assert_eq!(again.to_string(), written);
    }
});
