//! How many nodes have an image.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Node as ApiNode;

/// Images of one node with their sizes.
pub(super) type Images = HashMap<String, i64>;

/// The images that a node says it has.
pub(super) fn of(api: &ApiNode) -> Images {
    let all = api.status.iter().flat_map(|status| status.images.iter().flatten());
    let named = all.flat_map(|image| {
        let size = image.size_bytes.unwrap_or(0);
        image.names.iter().flatten().map(move |name| (image_name(name), size))
    });
    named.collect()
}

/// The number of nodes by image.
#[derive(Default)]
pub(crate) struct Holders(HashMap<String, usize>);

impl Holders {
    /// How many nodes have an image.
    pub(crate) fn of(&self, image: &str) -> usize {
        self.0.get(image).copied().unwrap_or(0)
    }

    pub(super) fn change(&mut self, before: &Images, after: &Images) {
        for name in after.keys().filter(|name| !before.contains_key(*name)) {
            *self.0.entry(name.clone()).or_default() += 1;
        }
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            if let Some(count) = self.0.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.0.remove(name);
                }
            }
        }
    }
}

/// An image's name with the tag that is meant where none is given.
pub(crate) fn image_name(name: &str) -> String {
    let after_host = name.rfind('/').map_or(0, |slash| slash + 1);
    if name[after_host..].contains(':') || name.contains('@') {
        name.to_owned()
    } else {
        format!("{name}:latest")
    }
}
