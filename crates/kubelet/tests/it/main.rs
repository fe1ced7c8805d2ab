//! The kubelet on real containers: an own containerd in a temporary directory, a cluster in memory.
//!
//! These tests need root, containerd, runc, gcc and busybox-static. Each starts its own containerd and removes
//! every trace of it, also when it fails. Nothing leaves the machine.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cluster;
mod csi;
mod driver;
mod eviction;
mod given;
#[expect(dead_code, reason = "the tests of the whole binary use all of it")]
mod grpc;
mod images;
mod lifecycle;
mod node;
mod plugin;
mod restart;
mod sessions;
mod volumes;
