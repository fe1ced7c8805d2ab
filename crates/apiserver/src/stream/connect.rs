//! A connection is asked about before it is made: policies and webhooks with the operation CONNECT see its options, and
//! webhooks may change them.

use serde_json::Value;
use skiff_api::ApiError;

use crate::admission::{self, StandIn};
use crate::user::User;
use crate::verbs::Context;

/// The options of a connection, as they are after everybody has been asked.
///
/// # Errors
/// A refusal.
pub(super) async fn admit(
    context: &Context,
    user: &User,
    kind: &str,
    mut options: Value,
) -> Result<Value, ApiError> {
    options["kind"] = kind.into();
    options["apiVersion"] = "v1".into();
    let review = StandIn {
        operation: "CONNECT",
        kind: ("", "v1", kind),
        object: options,
        old: Value::Null,
        dry_run: false,
    };
    let (options, warnings) = admission::review(&context.scope(user), review).await?;
    for warning in warnings {
        // The answer is a stream of somebody else's making, which bears no warnings of ours.
        tracing::debug!(warning, "a connection was warned about");
    }
    Ok(options)
}
