//! What a run touches of its own machine.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;

use skiff_base::Clock;

use crate::glog;

/// Variables, streams, clock.
pub struct World {
    /// The environment.
    pub vars: BTreeMap<String, String>,
    /// Standard input.
    pub input: Box<dyn Read + Send>,
    /// Standard output.
    pub out: Box<dyn Write + Send>,
    /// Standard error.
    pub err: Box<dyn Write + Send>,
    /// What time it is.
    pub clock: Clock,
    /// The process, for log lines.
    pub pid: u32,
}

impl World {
    /// This process's.
    pub fn real() -> Self {
        Self {
            vars: std::env::vars().collect(),
            input: Box::new(std::io::stdin()),
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
            clock: Clock::system(),
            pid: std::process::id(),
        }
    }

    /// A variable; empty if it is not set.
    pub(crate) fn var(&self, name: &str) -> &str {
        self.vars.get(name).map(String::as_str).unwrap_or_default()
    }

    /// A path with `$HOME` filled in.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        match path.strip_prefix("$HOME/") {
            Some(rest) => PathBuf::from(self.var("HOME")).join(rest),
            None => PathBuf::from(path),
        }
    }

    /// Says something on standard output. A reader that has gone away is no fault of ours.
    pub(crate) fn say(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }

    /// Says something on standard error.
    pub(crate) fn complain(&mut self, text: &str) {
        let _ = self.err.write_all(text.as_bytes());
        let _ = self.err.flush();
    }

    /// Logs that something happens.
    #[track_caller]
    pub(crate) fn inform(&mut self, message: &str) {
        let line = glog::line('I', self, std::panic::Location::caller().line(), message);
        self.complain(&line);
    }

    /// One line of standard input without its end.
    pub(crate) fn read_line(&mut self) -> std::io::Result<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.input.read(&mut byte)? == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}
