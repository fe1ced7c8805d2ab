//! Runs every fuzz target of `fuzz/` from its seeds in the tree: for a while and by chance, or as a check that ends the
//! same way each time.
//!
//! What a run finds beyond the seeds stays in `target/fuzz/corpus`; an input that breaks a target is told with its path and
//! its bytes, and goes to the seeds with the commit that mends what it broke. No sanitizer: the code is safe Rust, and
//! without one the stable toolchain will do.

#![expect(clippy::print_stdout, reason = "what each target took is the answer")]
#![expect(clippy::disallowed_methods, reason = "a tool run by hand and by scripts, which end it if it hangs")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};

/// What one input may take before it counts as a fault: MiB of memory and bytes of input.
const LIMITS: [&str; 2] = ["-rss_limit_mb=1024", "-max_len=4096"];

/// How long targets run, and from where.
#[derive(Clone, Copy)]
pub(crate) enum How {
    /// By chance, each for so many seconds, going on from what earlier runs found.
    For(u64),
    /// The seeds and then so many inputs made from them, the same each time: what CI runs. Seconds end it only on a machine
    /// that is much too slow, and a run that is cut short is no failure.
    Checked { runs: u64, seconds: u64 },
}

impl How {
    /// As libFuzzer is told.
    fn arguments(self) -> Vec<String> {
        match self {
            // A busy machine must not look like a slow decoder.
            Self::Checked { runs, seconds } => vec![
                "-seed=1".to_owned(),
                format!("-runs={runs}"),
                format!("-max_total_time={seconds}"),
                "-timeout=60".to_owned(),
            ],
            Self::For(seconds) => vec![format!("-max_total_time={seconds}"), "-timeout=10".to_owned()],
        }
    }

    /// Where new inputs go; a check begins with none.
    fn corpus(self, target: &str) -> anyhow::Result<String> {
        let (folder, fresh) = match self {
            Self::Checked { .. } => (format!("target/fuzz/checked/{target}"), true),
            Self::For(_) => (format!("target/fuzz/corpus/{target}"), false),
        };
        if fresh && Path::new(&folder).exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("empty {folder}"))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("make {folder}"))?;
        Ok(folder)
    }
}

/// Builds all targets, then runs each.
pub(crate) fn run_all(how: How) -> anyhow::Result<()> {
    cargo_fuzz(&["build"], &[])?;
    let mut broken = Vec::new();
    for target in targets()? {
        let begun = Instant::now();
        match run(&target, how) {
            Ok(()) => println!("{target}: {:.1} s", begun.elapsed().as_secs_f64()),
            Err(error) => {
                println!("{target}: broken\n{error:#}");
                broken.push(target);
            }
        }
    }
    if !broken.is_empty() {
        bail!("broken: {}", broken.join(", "));
    }
    Ok(())
}

fn run(target: &str, how: How) -> anyhow::Result<()> {
    let found = how.corpus(target)?;
    let artifacts = format!("target/fuzz/artifacts/{target}");
    fs::create_dir_all(&artifacts).with_context(|| format!("make {artifacts}"))?;
    let seeds = format!("fuzz/seeds/{target}");
    let mut arguments = how.arguments();
    arguments.push(format!("-artifact_prefix={artifacts}/"));
    arguments.extend(LIMITS.map(str::to_owned));
    cargo_fuzz(&["run", target, &found, &seeds], &arguments)
        .with_context(|| format!("the input that broke {target} is in {artifacts}, and below in base64"))
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

fn cargo_fuzz(words: &[&str], arguments: &[String]) -> anyhow::Result<()> {
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
        bail!("cargo fuzz {}:\n{}", words.join(" "), lines[lines.len().saturating_sub(40)..].join("\n"));
    }
    Ok(())
}
