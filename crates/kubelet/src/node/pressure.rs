//! Whether the machine runs short of memory, disk space or process ids, by upstream's default thresholds.

use std::path::Path;

use super::facts;

const LEAST_MEMORY: u64 = 100 << 20;

/// What the machine is short of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pressure {
    pub(crate) memory: bool,
    pub(crate) disk: bool,
    pub(crate) pids: bool,
}

/// Reads it from the kernel.
pub(crate) fn read(data_dir: &Path) -> Pressure {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let available = facts::meminfo(&text("/proc/meminfo"), "MemAvailable");
    let disk = facts::disk(data_dir).is_some_and(|(total, free)| free < total / 10);
    // The fourth word is "running/all".
    let tasks = text("/proc/loadavg");
    let tasks = tasks.split(' ').nth(3).and_then(|word| word.split_once('/')?.1.parse::<u64>().ok());
    let most = text("/proc/sys/kernel/pid_max").trim().parse::<u64>().ok();
    let pids = tasks.zip(most).is_some_and(|(tasks, most)| most.saturating_sub(tasks) < most / 10);
    Pressure { memory: available > 0 && available < LEAST_MEMORY, disk, pids }
}
