//! Kinds of the group `flowcontrol.apiserver.k8s.io`, and the objects of them that are always there.

pub(crate) mod bootstrap;
pub mod flow_schema;
pub mod priority_level_configuration;
