//! exec: a command in the container; success is exit code 0.

use std::time::Duration;

use super::Outcome;
use crate::runtime::{Runtime, RuntimeError};

/// How much of the output is told.
const SHOWN: usize = 10 * 1024;

pub(super) async fn check(
    runtime: &dyn Runtime,
    container: &str,
    command: &[String],
    within: Duration,
) -> Outcome {
    match runtime.exec_sync(container, command, Some(within)).await {
        Ok(output) => {
            let mut text = output.stdout;
            text.extend_from_slice(&output.stderr);
            text.truncate(SHOWN);
            let text = String::from_utf8_lossy(&text).into_owned();
            if output.code == 0 { Outcome::Success(text) } else { Outcome::Failure(text) }
        }
        Err(RuntimeError::Deadline(_)) => {
            let text =
                format!("command timed out: {:?} timed out after {}s", command.join(" "), within.as_secs());
            Outcome::Failure(text)
        }
        Err(error) => Outcome::Unknown(error.to_string()),
    }
}
