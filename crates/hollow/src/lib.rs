//! Nodes that behave like kubelets at the API and run nothing: hundreds to thousands in one process.
//!
//! A hollow node registers, renews its lease every ten seconds, reports its status every five minutes, takes the pods
//! that are bound to it to Running, finishes those that say how long they run ([`pod::RUN_FOR`]), and lets deleted ones
//! go. It is what a scheduler, a controller or an API server is tried against at a scale that no machine could run
//! for real (upstream's kubemark). All nodes of a process share one feed of pods: what is simulated is the load of
//! their writes, not that of thousands of watches.
//!
//! Invariant: talks to the API only; anybody's cluster will do.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use skiff_base::{Clock, Tasks};
use skiff_client::Link;

mod addresses;
mod node;
pub mod pod;
mod pods;

/// What the nodes are.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Nodes are called `PREFIX-0` and so on.
    pub prefix: String,
    /// How many there are.
    pub nodes: usize,
    /// What each has, as quantities by name: `cpu`, `memory`, `pods`, `ephemeral-storage`, extended resources.
    pub resources: Vec<(String, String)>,
    /// Labels of each, besides those that every node has.
    pub labels: Vec<(String, String)>,
    /// Zones `zone-0` and so on that the nodes are spread over; none without a label for it.
    pub zones: usize,
}

impl Default for Shape {
    fn default() -> Self {
        let resources = [("cpu", "32"), ("memory", "256Gi"), ("ephemeral-storage", "1Ti"), ("pods", "110")];
        Self {
            prefix: "hollow".to_owned(),
            nodes: 10,
            resources: resources.map(|(name, amount)| (name.to_owned(), amount.to_owned())).into(),
            labels: Vec::new(),
            zones: 0,
        }
    }
}

/// Marks nodes of a hollow process, and tells one process's from another's: the value is the prefix.
pub const LABEL: &str = "hollow.skiff.dev/prefix";

/// How many requests are under way at once when nodes come or go.
const AT_ONCE: usize = 32;

/// Hollow nodes, ready to run.
pub struct Hollow {
    link: Link,
    clock: Clock,
    shape: Arc<Shape>,
}

impl Hollow {
    /// Wires them; nothing is sent yet.
    pub fn build(link: Link, clock: Clock, shape: Shape) -> Self {
        Self { link, clock, shape: Arc::new(shape) }
    }

    /// Registers every node and starts their lives; returns once all are registered. They live until `tasks` stop.
    ///
    /// # Errors
    /// If a node is refused.
    pub async fn run(&self, tasks: &Tasks) -> Result<(), kube::Error> {
        let names = (0..self.shape.nodes).map(|number| (node::name(&self.shape, number), number));
        let ours: HashMap<Arc<str>, usize> = names.map(|(name, number)| (name.into(), number)).collect();
        pods::start(&self.link, &self.clock, ours, tasks);
        let mut registering = futures::stream::iter(0..self.shape.nodes)
            .map(|number| async move {
                let life = node::Life::new(&self.link, &self.clock, &self.shape, number);
                let uid = life.register().await?;
                Ok::<_, kube::Error>((life, uid))
            })
            .buffer_unordered(AT_ONCE);
        while let Some(registered) = registering.next().await {
            let (life, uid) = registered?;
            tasks.spawn_until_stop(life.run(uid));
        }
        Ok(())
    }

    /// Deletes every node of this prefix, leaving their pods to the cluster.
    ///
    /// # Errors
    /// The first refusal, or if it takes longer than `patience`.
    pub async fn remove(&self, patience: Duration) -> Result<(), kube::Error> {
        let removing = futures::stream::iter(0..self.shape.nodes)
            .map(|number| node::remove(&self.link, node::name(&self.shape, number)))
            .buffer_unordered(AT_ONCE)
            .fold(Ok(()), |so_far, one| async { so_far.and(one) });
        match tokio::time::timeout(patience, removing).await {
            Ok(outcome) => outcome,
            Err(late) => Err(kube::Error::Service(Box::new(late))),
        }
    }
}
