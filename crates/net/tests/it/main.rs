//! What only a kernel can show: needs root; every test lives in network namespaces of its own and removes them.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "tests")]

mod cluster;
mod cni;
mod dns;
mod given;
mod hosts;
mod policy;
mod proxy;
mod six;
