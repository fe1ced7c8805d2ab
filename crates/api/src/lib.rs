//! What a Kubernetes object is: identity, metadata, errors, selectors, patches and the arithmetic on pods.
//!
//! Invariant: this crate is pure. It does no IO, runs nothing asynchronous and reads no clock; whoever needs
//! "now" passes it in. Everything above it (server, controllers, kubelet) may rely on that in tests.

pub mod apply;
pub mod cbor;
pub mod cel;
pub mod cron;
pub mod decode;
pub mod errors;
pub mod meta;
pub mod names;
pub mod node;
pub mod object;
pub mod patch;
pub mod pod;
pub mod protobuf;
pub mod quantity;
pub mod resource;
pub mod selector;
pub mod status;
pub mod storage_version;
pub mod table;
pub mod v1beta1;
pub mod volume;

pub use decode::{Decoded, Strictness};
pub use errors::{Errors, FieldError};
pub use meta::Meta;
pub use object::Object;
pub use resource::{Readable, Resource};
pub use selector::{FieldSelector, LabelSelector};
pub use status::ApiError;

#[cfg(test)]
mod robust;
