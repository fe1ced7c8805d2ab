//! One registry of metrics per process, handed down, never global.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::registry::Registry;

/// A shared registry; clones see the same metrics.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers metrics.
    pub fn register(&self, fill: impl FnOnce(&mut Registry)) {
        fill(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The OpenMetrics text of everything registered.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a string cannot fail.
        let _written = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}
