//! What the machine is: read once at start.

use std::path::Path;

use crate::runtime::Dns;

/// The machine, as far as the API tells of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) machine_id: String,
    pub(crate) system_uuid: String,
    pub(crate) boot_id: String,
    pub(crate) kernel: String,
    pub(crate) os_image: String,
    pub(crate) architecture: String,
    pub(crate) cpus: u64,
    /// In bytes.
    pub(crate) memory: u64,
    /// Of the file system with the data directory, in bytes.
    pub(crate) disk: u64,
}

/// Reads them; what cannot be read stays empty.
pub(crate) fn read(data_dir: &Path) -> Facts {
    let uname = rustix::system::uname();
    let word = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let release = word("/etc/os-release");
    let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    Facts {
        machine_id: word("/etc/machine-id"),
        system_uuid: word("/sys/class/dmi/id/product_uuid"),
        boot_id: word("/proc/sys/kernel/random/boot_id"),
        kernel: uname.release().to_string_lossy().into_owned(),
        os_image: pretty.unwrap_or("Linux").trim_matches('"').to_owned(),
        architecture: architecture().to_owned(),
        cpus: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
        memory: meminfo(&word("/proc/meminfo"), "MemTotal"),
        disk: disk(data_dir).map_or(0, |disk| disk.bytes.0),
    }
}

/// Go's word for it, which images and selectors use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A line of `/proc/meminfo`, in bytes.
pub(crate) fn meminfo(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// A file system: all there is, and what is free for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) bytes: (u64, u64),
    /// Nothing where the file system makes them as needed.
    pub(crate) inodes: Option<(u64, u64)>,
}

/// The file system that holds `path`.
pub(crate) fn disk(path: &Path) -> Option<Disk> {
    let usage = rustix::fs::statvfs(path).ok()?;
    Some(Disk {
        bytes: (usage.f_blocks * usage.f_frsize, usage.f_bavail * usage.f_frsize),
        inodes: (usage.f_files > 0).then_some((usage.f_files, usage.f_favail)),
    })
}

/// The machine's own way to resolve names. systemd's stub does not exist in pods, what it asks does.
pub(crate) fn dns() -> Dns {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let dns = crate::pod::hosts::parse_resolv_conf(&read("/etc/resolv.conf"));
    if dns.servers.iter().any(|server| server == "127.0.0.53") {
        return crate::pod::hosts::parse_resolv_conf(&read("/run/systemd/resolve/resolv.conf"));
    }
    dns
}
