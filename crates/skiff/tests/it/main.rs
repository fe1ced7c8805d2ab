//! End to end: the real binary, real containers, kubectl and kubecfg, each cluster in a network namespace of its own.
//!
//! Needs root, containerd, runc, kubectl and the images of `cargo xtask images`; `./skiff.sh test` sees to all of them.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests start programs and fail by panicking"
)]

mod agents;
mod bad_input;
mod beside;
mod claims;
mod clients;
mod csi;
mod device_driver;
mod device_plugin;
mod devices;
#[path = "../../../kubelet/tests/it/driver.rs"]
mod driver;
mod dual_stack;
mod eviction;
#[path = "../../../kubelet/tests/it/grpc.rs"]
mod grpc;
mod guestbook;
mod kubectl;
mod limits;
mod network;
mod operations;
#[path = "../../../kubelet/tests/it/plugin.rs"]
mod plugin;
mod restart;
mod scheduling;
mod storage;
mod support;
mod workloads;
