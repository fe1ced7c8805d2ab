//! The house's own tools: `tidy` keeps its rules, `images` makes the demo's images from Debian packages, `clients`
//! fetches other people's clients for the tests, `fuzz` feeds the decoders with noise.
//!
//! Run as `cargo xtask NAME`; longer than a line of shell, so it is Rust.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

mod clients;
mod fuzz;
mod images;
mod tidy;

#[derive(Parser)]
#[command(name = "xtask", about = "The house's own tools")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check the rules of the house: file length, introductions, imports between crates, orphaned files.
    Tidy,
    /// Make the demo's and the tests' images from Debian packages, as archives in a folder.
    Images {
        /// Where the archives go.
        #[arg(long, default_value = "target/images")]
        out: PathBuf,
    },
    /// Fetch other people's clients from their registries, for the end-to-end tests.
    Clients {
        /// Where they go, a folder each.
        #[arg(long, default_value = "target/clients")]
        out: PathBuf,
    },
    /// Run every fuzz target from its seeds (needs cargo-fuzz).
    Fuzz {
        /// How long each.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// The seeds and some thousand inputs made from them instead, the same each time: what CI runs.
        #[arg(long, conflicts_with = "seconds")]
        check: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Args::parse().task {
        Task::Tidy => tidy::report(),
        Task::Images { out } => images::make_all(&out),
        Task::Clients { out } => clients::fetch_all(&out),
        Task::Fuzz { check: true, .. } => fuzz::run_all(fuzz::How::Checked { runs: 20_000, seconds: 15 }),
        Task::Fuzz { seconds, .. } => fuzz::run_all(fuzz::How::For(seconds)),
    }
}
