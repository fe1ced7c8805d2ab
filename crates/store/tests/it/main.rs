//! The store as its users see it: one binary for all of it.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod given;

mod close;
mod crash;
mod full;
mod model;
mod narrow;
mod order;
mod refused;
mod window;
