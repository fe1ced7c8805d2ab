//! `skiff check`: what the machine lacks, and the command that mends it.

use std::process::ExitCode;

use crate::check;
use crate::progress::say;

pub(super) fn run() -> ExitCode {
    for (what, met) in check::all() {
        say(&format!("  {} {what}", if met { "ok     " } else { "missing" }));
    }
    let missing = check::missing();
    if missing.is_empty() {
        say("This machine has everything. Next: skiff up");
        return ExitCode::SUCCESS;
    }
    say("");
    for (what, vital, mend) in &missing {
        say(&format!("{what}{}: {mend}", if *vital { "" } else { " (optional)" }));
    }
    if missing.iter().any(|(_, vital, _)| *vital) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
