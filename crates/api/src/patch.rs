//! Changing an object's JSON by a patch: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch.
//!
//! All three work on `serde_json::Value` and know nothing of storage or types, except that strategic merge is told by a
//! [`strategic::Schema`] which lists merge and by which key. Refusals carry upstream's texts and HTTP codes.

use crate::status::ApiError;

pub mod facts;
pub mod json;
pub mod merge;
pub mod strategic;

/// Why a patch was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is not well-formed: 400.
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object, or a `test` failed: 422.
    #[error("the server rejected our request due to an error in our request: {0}")]
    Rejected(String),
    /// It makes the object too large: 413.
    #[error("{0}")]
    TooLarge(String),
}

impl From<PatchError> for ApiError {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::Malformed(why) => ApiError::bad_request(why),
            PatchError::TooLarge(why) => {
                ApiError::new(413, "RequestEntityTooLarge", format!("Request entity too large: {why}"))
            }
            // Upstream's generic answer hides why; the cause says it without changing the message kubectl shows.
            PatchError::Rejected(why) => {
                let message = "the server rejected our request due to an error in our request";
                ApiError::new(422, "Invalid", message).cause("", why, "patch")
            }
        }
    }
}
