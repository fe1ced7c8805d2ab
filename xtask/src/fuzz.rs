//! Runs every fuzz target of `fuzz/` for a while, from its seeds in the tree.
//!
//! What a run finds beyond the seeds stays in `target/fuzz/corpus`; an input that breaks a target is told by its path, and
//! goes to the seeds with the commit that mends what it broke. No sanitizer: the code is safe Rust, and without one the
//! stable toolchain will do.

#![expect(clippy::disallowed_methods, reason = "a tool run by hand and by scripts, which end it if it hangs")]

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// What one input may take before it counts as a fault: seconds, MiB of memory and bytes of input.
const LIMITS: [&str; 3] = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=4096"];

/// Builds all targets, then runs each for so many seconds.
pub(crate) fn run_all(seconds: u64) -> anyhow::Result<()> {
    cargo_fuzz(&["build"], &[])?;
    for target in targets()? {
        let found = format!("target/fuzz/corpus/{target}");
        let broken = format!("target/fuzz/artifacts/{target}");
        for folder in [&found, &broken] {
            fs::create_dir_all(folder).with_context(|| format!("make {folder}"))?;
        }
        let seeds = format!("fuzz/seeds/{target}");
        let (total, artifacts) =
            (format!("-max_total_time={seconds}"), format!("-artifact_prefix={broken}/"));
        let mut arguments = vec![total.as_str(), artifacts.as_str(), "-verbosity=0"];
        arguments.extend(LIMITS);
        cargo_fuzz(&["run", &target, &found, &seeds], &arguments)
            .with_context(|| format!("fuzz {target}; the input is in {broken}"))?;
    }
    Ok(())
}

/// The targets by name: a file each.
fn targets() -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir("fuzz/targets").context("list fuzz/targets")? {
        if let Some(stem) = entry?.path().file_stem() {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn cargo_fuzz(words: &[&str], arguments: &[&str]) -> anyhow::Result<()> {
    let (verb, rest) = words.split_first().context("a verb")?;
    let mut command = Command::new("cargo");
    command.arg("fuzz").arg(verb).args(["--sanitizer", "none", "--target-dir", "target/fuzz"]).args(rest);
    if !arguments.is_empty() {
        command.arg("--").args(arguments);
    }
    let output = command.current_dir(Path::new(".")).output().context("start cargo fuzz")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<_> = text.lines().collect();
        bail!("cargo fuzz {}:\n{}", words.join(" "), lines[lines.len().saturating_sub(30)..].join("\n"));
    }
    Ok(())
}
