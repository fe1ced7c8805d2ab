//! ServerOp: a write that is not finished. This server finishes before it answers, so there is never one to show.

use serde::{Deserialize, Serialize};

use super::meta::TypeMeta;

/// The path segment of operations.
pub const SEGMENT: &str = "operations";
/// The list's word.
pub const LIST_KIND: &str = "ServerOpList";

/// A write that is not finished: its id is all it has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerOp {
    /// The common members.
    #[serde(flatten)]
    pub meta: TypeMeta,
}
