//! Makes one node's containers match the pods bound to it.
//!
//! The parts, in the order a pod meets them: a source says which pods should run here (the API, or files), a
//! worker per pod owns all that pod's state, pure functions under `pod` say what to do next and what to
//! report, the runtime does it. Everything is a reaction to a feed, an event of the runtime, a verdict of a
//! probe or a deadline; nothing is polled. This crate talks to the API only through `skiff_client::Link`.

mod cdi;
mod cgroup;
mod cluster;
pub mod csi;
pub mod device_plugins;
pub mod dra;
pub mod eviction;
#[cfg(test)]
mod fake;
mod gc;
pub mod handle;
pub mod hooks;
mod image;
mod kubelet;
mod manager;
mod node;
pub mod plugins;
mod pod;
pub mod probe;
pub mod record;
pub mod runtime;
pub mod server;
pub mod source;
mod spdy;
pub mod volume;
mod watch;
mod worker;

pub use cgroup::Cgroups;
pub use cluster::{Cluster, ClusterError};
pub use kubelet::{ClusterChoice, CustomCluster, Kubelet, KubeletError, Options, RuntimeChoice};
