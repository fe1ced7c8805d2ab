//! A whole control plane in memory, a world to simulate controllers in, and objects from YAML; for tests only.

pub mod cluster;
pub mod given;
pub mod links;
pub mod world;

pub use cluster::Cluster;
pub use world::World;
