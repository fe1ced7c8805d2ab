//! Running a program: bounded in time, with its words in the error.

use std::ffi::OsStr;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

/// A program that could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("start {program}")]
    Start {
        /// The program's name.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It ended with a failure.
    #[error("{program} failed with {status}: {stderr}")]
    Failed {
        /// The program's name.
        program: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said, trimmed.
        stderr: String,
    },
    /// It did not end in time and was killed.
    #[error("{program} did not end within {patience:?}")]
    Late {
        /// The program's name.
        program: String,
        /// How long we waited.
        patience: Duration,
    },
}

/// Runs `program` with `args`, feeding it `input`; its standard output on success.
///
/// # Errors
/// [`CommandError`] if it cannot be started, fails, or takes longer than `patience`.
#[expect(clippy::disallowed_methods, reason = "this is the door to other programs")]
pub async fn run<A: AsRef<OsStr>>(
    program: &str,
    args: impl IntoIterator<Item = A>,
    input: &[u8],
    patience: Duration,
) -> Result<Vec<u8>, CommandError> {
    let start = |source| CommandError::Start { program: program.to_owned(), source };
    let mut child = tokio::process::Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(start)?;
    let stdin = child.stdin.take();
    let work = async {
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A program that ends without reading its input is judged by its exit status.
                let _broken_pipe = stdin.write_all(input).await;
            }
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), feed);
        output
    };
    let late = |_| CommandError::Late { program: program.to_owned(), patience };
    let output: Output = tokio::time::timeout(patience, work).await.map_err(late)?.map_err(start)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(CommandError::Failed {
        program: program.to_owned(),
        status: output.status,
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
