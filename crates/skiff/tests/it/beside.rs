//! A cluster of one node with room for programs that others bring: drivers and plugins run in the test, beside the node.

use std::path::PathBuf;

use skiff_base::Tasks;
use tokio::runtime::{Builder, Runtime};

use crate::support::Cluster;

/// The node's name.
pub(crate) const NODE: &str = "solo";

/// The cluster, and where the test's own programs run.
pub(crate) struct Beside {
    pub(crate) cluster: Cluster,
    /// The folder of the node.
    pub(crate) node: PathBuf,
    pub(crate) tasks: Tasks,
    /// Taken when it ends.
    runtime: Option<Runtime>,
}

impl Beside {
    pub(crate) fn up() -> Self {
        let cluster = Cluster::up(&["--node-name", NODE]);
        cluster.import_images();
        let node = cluster.dir().join("nodes").join(NODE);
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { cluster, node, tasks: Tasks::new(), runtime: Some(runtime) }
    }

    /// Does this where the programs run, and waits for it.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(work)
    }

    /// Where drivers register.
    pub(crate) fn registry(&self) -> PathBuf {
        self.node.join("plugins_registry")
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.tasks.stop();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
