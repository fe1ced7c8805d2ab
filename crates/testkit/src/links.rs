//! One test over both links: a component must not be able to tell where the server is.

use std::future::Future;
use std::sync::Arc;

use skiff_client::Link;

use crate::cluster::Cluster;

/// Runs `test` with a link inside the process, then with one over HTTPS, each on a cluster of its own.
pub async fn over_both<F: Future<Output = ()>>(test: impl Fn(Arc<Cluster>, Link) -> F) {
    for far in [false, true] {
        let cluster = Arc::new(Cluster::start().await);
        let link = if far { cluster.remote() } else { cluster.link() };
        test(Arc::clone(&cluster), link).await;
        if let Some(cluster) = Arc::into_inner(cluster) {
            cluster.stop().await;
        }
    }
}
