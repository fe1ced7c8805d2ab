//! Whether the machine runs short of memory, disk space or process ids, by thresholds written as upstream's
//! `--eviction-hard` (`memory.available<100Mi,nodefs.available<5%`).
//!
//! The defaults are upstream's but for disk space: a tenth of a big disk is tens of gigabytes, and a node on a laptop
//! or a CI machine would refuse pods with all of that free.

use std::path::Path;
use std::str::FromStr;

use skiff_api::quantity::Quantity;

use super::facts;

/// What the machine is short of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pressure {
    pub(crate) memory: bool,
    pub(crate) disk: bool,
    pub(crate) pids: bool,
}

/// What must stay free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Least {
    /// In the signal's own unit: bytes, or a count.
    Amount(u64),
    /// Of all there is.
    Percent(u64),
    /// The smaller of a share of all there is and an amount.
    Smaller { percent: u64, amount: u64 },
}

impl Least {
    fn of(self, total: u64) -> u64 {
        let share = |percent: u64| total / 100 * percent;
        match self {
            Self::Amount(amount) => amount,
            Self::Percent(percent) => share(percent),
            Self::Smaller { percent, amount } => share(percent).min(amount),
        }
    }
}

/// When a node is under pressure; upstream's `evictionHard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    memory: Option<Least>,
    disk: Option<Least>,
    inodes: Option<Least>,
    pids: Option<Least>,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            memory: Some(Least::Amount(100 << 20)),
            disk: Some(Least::Smaller { percent: 5, amount: 1 << 30 }),
            inodes: Some(Least::Percent(5)),
            pids: Some(Least::Percent(10)),
        }
    }
}

/// A list of thresholds that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// An entry without a comparison.
    #[error("\"{0}\" is not of the form SIGNAL<VALUE, such as nodefs.available<5%")]
    Shape(String),
    /// A signal that this kubelet does not know.
    #[error(
        "unknown signal \"{0}\": known are memory.available, nodefs.available, nodefs.inodesFree, pid.available"
    )]
    Signal(String),
    /// A value that is neither a quantity nor a percentage.
    #[error("\"{0}\" is neither a quantity, such as 1Gi, nor a percentage, such as 5%")]
    Value(String),
}

impl FromStr for Thresholds {
    type Err = ThresholdError;

    /// Signals that are not named have no threshold, as upstream has it.
    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let mut thresholds = Self { memory: None, disk: None, inodes: None, pids: None };
        for entry in text.split(',').filter(|entry| !entry.is_empty()) {
            let (signal, value) =
                entry.split_once('<').ok_or_else(|| ThresholdError::Shape(entry.to_owned()))?;
            let least = least(value).ok_or_else(|| ThresholdError::Value(value.to_owned()))?;
            let place = match signal {
                "memory.available" => &mut thresholds.memory,
                "nodefs.available" | "imagefs.available" => &mut thresholds.disk,
                "nodefs.inodesFree" | "imagefs.inodesFree" => &mut thresholds.inodes,
                "pid.available" => &mut thresholds.pids,
                other => return Err(ThresholdError::Signal(other.to_owned())),
            };
            *place = Some(least);
        }
        Ok(thresholds)
    }
}

fn least(value: &str) -> Option<Least> {
    if let Some(percent) = value.strip_suffix('%') {
        return percent.parse().ok().filter(|percent| *percent <= 100).map(Least::Percent);
    }
    let amount = Quantity::parse(value).ok()?.value();
    u64::try_from(amount).ok().map(Least::Amount)
}

/// True if less is available than must be; machines that do not tell are not under pressure.
fn short(least: Option<Least>, measured: Option<(u64, u64)>) -> bool {
    least.zip(measured).is_some_and(|(least, (total, available))| available < least.of(total))
}

/// Reads it from the kernel.
pub(crate) fn read(data_dir: &Path, thresholds: &Thresholds) -> Pressure {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let meminfo = text("/proc/meminfo");
    let memory = Some((facts::meminfo(&meminfo, "MemTotal"), facts::meminfo(&meminfo, "MemAvailable")))
        .filter(|(total, available)| *total > 0 && *available > 0);
    let disk = facts::disk(data_dir);
    // The fourth word is "running/all".
    let tasks = text("/proc/loadavg");
    let tasks = tasks.split(' ').nth(3).and_then(|word| word.split_once('/')?.1.parse::<u64>().ok());
    let most = text("/proc/sys/kernel/pid_max").trim().parse::<u64>().ok();
    let pids = tasks.zip(most).map(|(tasks, most)| (most, most.saturating_sub(tasks)));
    Pressure {
        memory: short(thresholds.memory, memory),
        disk: short(thresholds.disk, disk.map(|disk| disk.bytes))
            || short(thresholds.inodes, disk.and_then(|disk| disk.inodes)),
        pids: short(thresholds.pids, pids),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_big_disk_may_be_nearly_full_and_a_small_one_may_not_be_full() {
        let disk = Thresholds::default().disk;
        assert!(!short(disk, Some((250 << 30, 2 << 30))));
        assert!(short(disk, Some((250 << 30, 1 << 29))));
        assert!(!short(disk, Some((8 << 30, 500 << 20))));
        assert!(short(disk, Some((8 << 30, 300 << 20))));
        assert!(!short(disk, None));
    }

    #[test]
    fn thresholds_are_read_as_upstream_writes_them() {
        let read: Thresholds = "memory.available<200Mi,nodefs.available<7%".parse().unwrap();
        assert_eq!(read.memory, Some(Least::Amount(200 << 20)));
        assert_eq!(read.disk, Some(Least::Percent(7)));
        assert_eq!(read.pids, None);
        let fault = |text: &str| text.parse::<Thresholds>().unwrap_err().to_string();
        assert!(fault("memory").contains("SIGNAL<VALUE"));
        assert!(fault("cpu<1").contains("unknown signal \"cpu\""));
        assert!(fault("nodefs.available<lots").contains("neither a quantity"));
    }
}
