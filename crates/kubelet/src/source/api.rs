//! The pods the API binds to this node.

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use skiff_client::{Delta, Link, Topic};

use super::{Change, Source};

/// All pods whose `spec.nodeName` is this node, as they come and go.
#[must_use]
pub fn pods(link: &Link, node_name: &str) -> Source {
    let topic = Topic::of::<Pod>().fields(format!("spec.nodeName={node_name}"));
    let feed = link.feed(&topic);
    // A feed names what is gone by its last revision; the uid is what the kubelet goes by.
    let changes = feed.flat_map(|delta| {
        let changes: Vec<Change> = match delta {
            Delta::Reset(objects) => {
                let pods =
                    objects.iter().filter_map(|object| skiff_client::cache::decode::<Pod>(object)).collect();
                vec![Change::Reset(pods)]
            }
            Delta::Put(object) => {
                skiff_client::cache::decode::<Pod>(&object).map(Change::Put).into_iter().collect()
            }
            Delta::Gone(object) => vec![Change::Gone(object.meta().uid.to_string())],
        };
        stream::iter(changes)
    });
    changes.boxed()
}
