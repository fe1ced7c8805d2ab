//! The API of autumn 2014: its objects, their wire form, and the way there and back to v1.
//!
//! Facts and profiles (A = v0.4, B = v0.5 to v0.7, L = later v1beta1) are in the project's notes on v1beta1. What A, B
//! or L accepted is accepted; what is answered has the shape of A with portal IPs as in B. A member that only B or L
//! had appears in an answer only where the v1 object says something that A has no word for.
//!
//! # Nothing is lost on the way there and back
//! A client of 2014 sees part of a v1 object. When it PUTs what it saw, `Row::update` takes three things: the
//! stored v1 object, what the client was shown of it (converted again, both versions are equal by the
//! `resourceVersion` check) and what it sent. Only what differs between the last two is changed in the first:
//! [`merge`]. Members younger than A that are absent from a PUT count as "not mentioned": a client of A cannot send
//! them.
//!
//! # Names that v1 cannot hold
//! The ids of 2014's pods and replication controllers were free text (`redisSlaveController`). Such an object's v1
//! name is exactly its id: both `kubectl get rc redisSlaveController` and kubecfg see one name. The door creates it
//! with v1's name-format check switched off; [`name_fault`] is what is checked instead. Names that controllers derive
//! from it are lower-cased and cleaned first.
//!
//! This module is pure, and knows no HTTP: the door is in the API server.

pub mod binding;
pub mod body;
pub mod cause;
pub mod container;
pub mod controller;
pub mod endpoints;
pub mod event;
pub mod fault;
pub mod kind;
mod lenient;
pub mod list;
pub mod manifest;
pub mod merge;
pub mod meta;
pub mod minion;
pub mod namespace;
pub mod operation;
pub mod pod;
pub mod probe;
pub mod secret;
pub mod service;
pub mod status;
pub mod validate;
pub mod value;
pub mod volume;

#[cfg(test)]
mod tests;

pub use binding::Binding;
pub use controller::ReplicationController;
pub use endpoints::Endpoints;
pub use event::Event;
pub use fault::Fault;
pub use kind::{KINDS, Kind, Object, Row, by_kind, by_segment};
pub use list::List;
pub use manifest::ContainerManifest;
pub use meta::TypeMeta;
pub use minion::Minion;
pub use namespace::Namespace;
pub use operation::ServerOp;
pub use pod::Pod;
pub use secret::Secret;
pub use service::Service;
pub use status::Status;
pub use validate::name_fault;

/// The version word of every answer.
pub const API_VERSION: &str = "v1beta1";
