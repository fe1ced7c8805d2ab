//! Quantities: the canonical form means the same and is canonical.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skiff_api::quantity::Quantity;

fuzz_target!(|text: &str| {
    if let Ok(quantity) = Quantity::parse(text) {
        let written = quantity.to_string();
        let again = Quantity::parse(&written).expect("the canonical form is understood");
        assert_eq!(again.to_string(), written);
        assert_eq!(again, quantity);
    }
});
