//! CPU and memory of processes, as the kernel tells them in `/proc`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;

/// What one line of `/proc/PID/stat` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) name: String,
    pub(crate) parent: u32,
    /// User and system time of the process's own threads, in clock ticks.
    pub(crate) ticks: u64,
}

/// Reads a line of `/proc/PID/stat`.
pub(crate) fn parse_stat(line: &str) -> Option<Stat> {
    // The name stands in parentheses and may hold blanks and parentheses.
    let (head, rest) = line.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Stat { name: name.to_owned(), parent: fields.get(1)?.parse().ok()?, ticks })
}

/// The busy ticks in the first line of `/proc/stat`: everything but idle and waiting for the disk.
fn parse_busy(text: &str) -> Option<u64> {
    let fields: Vec<u64> =
        text.lines().next()?.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guests are in user already.
    Some(
        fields
            .iter()
            .enumerate()
            .take(8)
            .filter(|(place, _)| !matches!(place, 3 | 4))
            .map(|(_, ticks)| ticks)
            .sum(),
    )
}

/// A field in kB of `/proc/PID/status` or `smaps_rollup`, in bytes.
fn parse_kilobytes(text: &str, field: &str) -> Option<u64> {
    let line =
        text.lines().find(|line| line.strip_prefix(field).is_some_and(|rest| rest.starts_with(':')))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn duration(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn stat(pid: u32) -> anyhow::Result<Stat> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    parse_stat(&text).with_context(|| format!("{path} reads strangely"))
}

/// CPU time that these processes took so far.
pub(crate) fn cpu(pids: &[u32]) -> anyhow::Result<Duration> {
    pids.iter().map(|pid| Ok(duration(stat(*pid)?.ticks))).sum()
}

/// CPU time that the whole machine took so far.
pub(crate) fn machine() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    parse_busy(&text).map(duration).context("/proc/stat reads strangely")
}

/// The machine's load averages.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// CPU time from now on.
pub(crate) struct Meter {
    pids: Vec<u32>,
    begin: Duration,
}

impl Meter {
    pub(crate) fn start(pids: &[u32]) -> anyhow::Result<Self> {
        Ok(Self { pids: pids.to_vec(), begin: cpu(pids)? })
    }

    pub(crate) fn spent(&self) -> anyhow::Result<Duration> {
        Ok(cpu(&self.pids)?.saturating_sub(self.begin))
    }
}

/// Memory of one process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident.
    pub(crate) resident: u64,
    /// Resident, with what is shared counted in parts.
    pub(crate) share: u64,
}

pub(crate) fn memory(pids: &[u32]) -> anyhow::Result<Memory> {
    let mut sum = Memory::default();
    for pid in pids {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            std::fs::read_to_string(&path).with_context(|| format!("read {path}"))
        };
        sum.resident += parse_kilobytes(&read("status")?, "VmRSS").context("no VmRSS")?;
        sum.share += parse_kilobytes(&read("smaps_rollup")?, "Pss").context("no Pss")?;
    }
    Ok(sum)
}

/// How often the threads of a process went to sleep and were woken again.
pub(crate) fn wakeups(pids: &[u32]) -> u64 {
    let mut sum = 0;
    for pid in pids {
        for thread in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            sum += line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0);
        }
    }
    sum
}

/// A process and its descendants, in two: those that are containerd or below it, and the others.
pub(crate) fn tree(root: u32) -> anyhow::Result<(Vec<u32>, Vec<u32>)> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").context("read /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process may end while we look.
        if let Ok(stat) = stat(pid) {
            all.insert(pid, stat);
        }
    }
    Ok(split(root, &all))
}

fn split(root: u32, all: &BTreeMap<u32, Stat>) -> (Vec<u32>, Vec<u32>) {
    let (mut own, mut runtime) = (Vec::new(), Vec::new());
    let mut waiting = vec![(root, false)];
    while let Some((pid, below)) = waiting.pop() {
        let below = below || all.get(&pid).is_some_and(|stat| stat.name.starts_with("containerd"));
        if below {
            runtime.push(pid)
        } else {
            own.push(pid)
        }
        waiting.extend(all.iter().filter(|(_, stat)| stat.parent == pid).map(|(child, _)| (*child, below)));
    }
    (own, runtime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let line = "42 (a (b) c) S 7 42 42 0 -1 4194560 10 0 0 0 250 50 9 9 20 0 4 0 123 1 1";
        assert_eq!(parse_stat(line), Some(Stat { name: "a (b) c".into(), parent: 7, ticks: 300 }));
        assert_eq!(parse_stat("42 (short) S 7"), None);
    }

    #[test]
    fn waiting_for_the_disk_is_idleness() {
        assert_eq!(parse_busy("cpu  1 2 4 1000 2000 8 16 32 64 128\ncpu0 9 9"), Some(63));
    }

    #[test]
    fn a_field_is_not_taken_for_a_longer_one() {
        let text = "Pss_Anon:  9 kB\nPss:   12 kB\nVmRSSx: 1 kB\n";
        assert_eq!(parse_kilobytes(text, "Pss"), Some(12 * 1024));
        assert_eq!(parse_kilobytes(text, "VmRSS"), None);
    }

    #[test]
    fn what_containerd_started_is_its_own() {
        let process = |name: &str, parent| Stat { name: name.into(), parent, ticks: 0 };
        let all = BTreeMap::from([
            (1, process("init", 0)),
            (10, process("skiff", 1)),
            (11, process("skiff", 10)),
            (12, process("containerd", 10)),
            (13, process("runc", 12)),
            (20, process("other", 1)),
        ]);
        let (mut own, mut runtime) = split(10, &all);
        own.sort_unstable();
        runtime.sort_unstable();
        assert_eq!((own, runtime), (vec![10, 11], vec![12, 13]));
    }

    #[test]
    fn our_own_figures_can_be_read() {
        let own = [std::process::id()];
        assert!(memory(&own).unwrap().resident > 0);
        cpu(&own).unwrap();
        assert!(machine().unwrap() > Duration::ZERO);
        assert!(tree(own[0]).unwrap().0.contains(&own[0]));
    }
}
