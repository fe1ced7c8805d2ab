//! Figures of a running Skiff, taken from outside as a client sees them: over HTTPS, with the administrator's
//! kubeconfig, and from `/proc`.
//!
//! `skiff-bench SCENARIO..` starts the Skiff under test in a network namespace of its own, measures, prints one
//! row of a table per figure with what upstream Kubernetes needs beside it, and takes everything down again. It must
//! not use Skiff's own client or any other part of it that is being measured. A cluster that runs already is measured with
//! `--data-dir`, any other Kubernetes with `--kubeconfig` and `--pids`.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

mod access;
mod baseline;
mod cluster;
mod connection;
mod cri;
mod exec;
mod lab;
mod load;
mod namespace;
mod objects;
mod paper;
mod place;
mod procs;
mod report;
mod sample;
mod scenario;

fn main() -> ExitCode {
    match run(lab::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::say(&format!("skiff-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: lab::Args) -> anyhow::Result<()> {
    skiff_base::tls::install_provider();
    let rows = scenario::chosen(&args.scenarios)?;
    // Before the runtime starts: a network namespace belongs to a thread, and threads inherit it.
    let lab = lab::Lab::open(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        tokio::select! {
            outcome = scenario::all(&lab, &rows) => outcome,
            signal = tokio::signal::ctrl_c() => {
                signal.context("listen for Ctrl-C")?;
                anyhow::bail!("interrupted")
            }
        }
    })
}
