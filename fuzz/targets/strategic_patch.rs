//! Strategic merge patches: any patch, with any directive, on any object. Input: the object, a line break, the patch.
#![no_main]

use std::sync::LazyLock;

use k8s_openapi::api::core::v1::Pod;
use libfuzzer_sys::fuzz_target;
use skiff_api::patch::strategic::{Schema, apply};

static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::of::<Pod>);

fuzz_target!(|input: &[u8]| {
    let mut documents = serde_json::Deserializer::from_slice(input).into_iter::<serde_json::Value>();
    if let (Some(Ok(object)), Some(Ok(patch))) = (documents.next(), documents.next()) {
        let _any_answer = apply(object, patch, &SCHEMA);
    }
});
