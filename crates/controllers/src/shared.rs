//! What several controllers do alike.

pub(crate) mod adopt;
pub(crate) mod burst;
pub(crate) mod discovery;
pub(crate) mod placed;
pub(crate) mod pods;
pub(crate) mod revisions;
pub(crate) mod seen;
pub(crate) mod selectors;
pub(crate) mod service;
