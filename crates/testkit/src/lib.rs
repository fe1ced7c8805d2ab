//! A whole control plane in memory, and objects from YAML; for tests only.

pub mod cluster;
pub mod given;
pub mod links;

pub use cluster::Cluster;
