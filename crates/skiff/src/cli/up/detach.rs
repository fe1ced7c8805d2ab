//! `--detach`: the same command again in the background; its output is shown until it closes it, being ready.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use crate::layout::Layout;
use crate::progress::{READY, say};

#[expect(clippy::disallowed_methods, reason = "it must outlive us, so it is not run to its end")]
pub(crate) fn run(layout: &Layout) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(layout.root()).with_context(|| format!("make {}", layout.root().display()))?;
    let log = OpenOptions::new().create(true).append(true).open(layout.log()).context("open the log")?;
    let args = std::env::args_os().skip(1).filter(|arg| arg != "--detach");
    let mut child = Command::new(std::env::current_exe().context("find our own program")?)
        .args(args)
        .arg("--close-when-ready")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("start in the background")?;
    let output = child.stdout.take().context("its output is piped")?;
    let mut ready = false;
    for line in BufReader::new(output).lines() {
        let line = line.context("read its output")?;
        if line == READY {
            ready = true;
        } else {
            say(&line);
        }
    }
    // It closed its output: ready, or about to end.
    if !ready {
        let status = child.wait().context("wait for its end")?;
        let log = std::fs::read_to_string(layout.log()).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(3).collect();
        let words: Vec<&str> = last.into_iter().rev().collect();
        bail!("it ended with {status}; the end of {}:\n{}", layout.log().display(), words.join("\n"));
    }
    say(&format!("In the background as process {}; its log is {}.", child.id(), layout.log().display()));
    Ok(ExitCode::SUCCESS)
}

/// Tells whoever waits for our output that we are ready.
pub(crate) fn close_output() -> anyhow::Result<()> {
    say(READY);
    let null = OpenOptions::new().write(true).open("/dev/null").context("open /dev/null")?;
    rustix::stdio::dup2_stdout(&null).context("close standard output")
}
