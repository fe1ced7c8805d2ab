//! The server from outside: every verb over every kind, watches, pages, conflicts, addresses, and HTTP itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod admission;
mod apply;
mod cbor;
mod certificates;
mod cluster;
mod conflicts;
mod custom;
mod families;
mod full;
mod given;
mod http_face;
mod identities;
mod kinds;
mod limits;
mod lists;
mod nodes;
mod plugins;
mod pod_security;
mod policies;
mod protobuf;
mod quotas;
mod refusals;
mod requests;
mod roles;
mod served;
mod services;
mod streams;
mod subresources;
mod tokens;
mod versions;
mod watches;
mod webhooks;
