//! What the machine lacks, and the command that mends it: one table.

use std::path::Path;

/// One thing a node needs.
struct Need {
    what: &'static str,
    /// Without it nothing starts; otherwise something is missing only.
    vital: bool,
    met: fn() -> bool,
    mend: &'static str,
}

const NEEDS: &[Need] = &[
    Need {
        what: "root rights",
        vital: true,
        met: || rustix::process::geteuid().is_root(),
        mend: "sudo skiff up",
    },
    Need {
        what: "containerd",
        vital: true,
        met: || program("containerd"),
        mend: "apt-get install containerd",
    },
    Need { what: "runc", vital: true, met: || program("runc"), mend: "apt-get install runc" },
    Need {
        what: "nftables in the kernel",
        vital: true,
        met: nftables,
        mend: "modprobe nf_tables nft_nat nft_masq",
    },
    Need {
        what: "bridges and veth pairs",
        vital: true,
        met: || Path::new("/sys/module/bridge").exists() || kernel_has("bridge"),
        mend: "modprobe bridge veth",
    },
    Need {
        what: "overlayfs",
        vital: true,
        met: || listed("/proc/filesystems", "overlay"),
        mend: "modprobe overlay",
    },
    Need {
        what: "cgroups",
        vital: true,
        met: || {
            Path::new("/sys/fs/cgroup/memory").exists()
                || Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
        },
        mend: "mount -t cgroup2 none /sys/fs/cgroup",
    },
    Need {
        // containerd copies it for every pod.
        what: "/etc/hosts",
        vital: true,
        met: || Path::new("/etc/hosts").exists(),
        mend: "echo '127.0.0.1 localhost' > /etc/hosts",
    },
    Need {
        what: "kubectl",
        vital: false,
        met: || program("kubectl"),
        mend: "apt-get install kubernetes-client",
    },
    Need {
        what: "nft, to look at the rules",
        vital: false,
        met: || program("nft"),
        mend: "apt-get install nftables",
    },
];

/// What is missing: what it is, whether nothing starts without it, and how to mend it.
pub(crate) fn missing() -> Vec<(&'static str, bool, &'static str)> {
    NEEDS.iter().filter(|need| !(need.met)()).map(|need| (need.what, need.vital, need.mend)).collect()
}

/// Every need and whether it is met.
pub(crate) fn all() -> Vec<(&'static str, bool)> {
    NEEDS.iter().map(|need| (need.what, (need.met)())).collect()
}

/// Whether a program lies in the PATH, or where root's programs lie.
fn program(name: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/local/sbin", "/usr/sbin", "/sbin"]);
    folders.filter(|folder| !folder.is_empty()).any(|folder| Path::new(folder).join(name).exists())
}

fn listed(file: &str, word: &str) -> bool {
    std::fs::read_to_string(file).is_ok_and(|text| text.split_whitespace().any(|found| found == word))
}

/// The kernel answers for nf_tables by a netfilter netlink socket.
fn nftables() -> bool {
    Path::new("/proc/net/netfilter").exists() || Path::new("/sys/module/nf_tables").exists()
}

/// Built into the kernel: `modules.builtin` names it, or there are no modules at all.
fn kernel_has(module: &str) -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    match std::fs::read_to_string(format!("/lib/modules/{release}/modules.builtin")) {
        Ok(builtin) => builtin.lines().any(|line| line.ends_with(&format!("/{module}.ko"))),
        Err(_) => !Path::new("/proc/modules").exists(),
    }
}
