//! The groups of processes that a node's pods live in: `/kubepods/<class>/pod<uid>` in every v1 hierarchy.
//!
//! The runtime makes a container's group, the groups above are ours to make and to remove. Several nodes on one
//! machine share the tree, so each has its own prefix. On a machine with only the v2 tree the same names are
//! directories of that tree.

use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use skiff_api::pod::qos::{Qos, class};

use crate::pod::resources::{of_pod, shares};
use crate::pod::uid;
use crate::runtime::Resources;

/// A hierarchy and what it controls.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    controllers: Vec<String>,
}

/// The node's part of the machine's groups.
#[derive(Debug, Clone)]
pub struct Cgroups {
    prefix: String,
    hierarchies: Vec<Hierarchy>,
    unified: bool,
}

impl Cgroups {
    /// Finds the machine's hierarchies. `prefix` is this node's part of their tree, such as `/skiff/minion-1`,
    /// or empty.
    #[must_use]
    pub fn detect(prefix: &str) -> Self {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let (hierarchies, unified) = parse(&table);
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        Self { prefix, hierarchies, unified }
    }

    /// The group of a pod, as the runtime is told it.
    pub(crate) fn parent(&self, pod: &Pod) -> String {
        self.pod_path(class(pod), uid(pod))
    }

    fn pod_path(&self, class: Qos, uid: &str) -> String {
        format!("{}/pod{uid}", self.class_path(class))
    }

    fn class_path(&self, class: Qos) -> String {
        let class = match class {
            Qos::Guaranteed => "",
            Qos::Burstable => "/burstable",
            Qos::BestEffort => "/besteffort",
        };
        format!("{}/kubepods{class}", self.prefix)
    }

    fn paths<'a>(&'a self, group: &'a str) -> impl Iterator<Item = (&'a Hierarchy, PathBuf)> {
        let relative = group.trim_start_matches('/');
        self.hierarchies.iter().map(move |hierarchy| (hierarchy, hierarchy.mount.join(relative)))
    }

    /// Makes the groups of the node and its classes.
    ///
    /// # Errors
    /// When the kernel refuses a group.
    pub fn prepare(&self) -> io::Result<()> {
        for class in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
            let group = self.class_path(class);
            for (hierarchy, path) in self.paths(&group) {
                if controls(hierarchy) || self.unified {
                    make(&path)?;
                }
                if class == Qos::BestEffort && hierarchy.controllers.iter().any(|one| one == "cpu") {
                    set(&path, "cpu.shares", shares(0));
                }
            }
        }
        Ok(())
    }

    /// Makes a pod's group with the pod's limits; answers its name. Blocks for as long as the kernel takes.
    ///
    /// # Errors
    /// When the kernel refuses the group.
    pub(crate) fn create(&self, pod: &Pod) -> io::Result<String> {
        let group = self.parent(pod);
        let limits = of_pod(pod);
        for (hierarchy, path) in self.paths(&group) {
            if controls(hierarchy) || self.unified {
                make(&path)?;
                if !self.unified {
                    limit(hierarchy, &path, &limits);
                }
            }
        }
        Ok(group)
    }

    /// Changes what a pod's group may use; what is not said is not limited. Blocks for as long as the kernel takes.
    pub(crate) fn limit(&self, pod: &Pod, limits: &Resources) {
        let free = |value: i64| if value == 0 { -1 } else { value };
        let memory_limit = free(limits.memory_limit);
        for (hierarchy, path) in self.paths(&self.parent(pod)).filter(|_| !self.unified) {
            for controller in &hierarchy.controllers {
                match controller.as_str() {
                    "cpu" => {
                        set(&path, "cpu.shares", limits.cpu_shares);
                        set(&path, "cpu.cfs_quota_us", free(limits.cpu_quota));
                    }
                    "memory" => set(&path, "memory.limit_in_bytes", memory_limit),
                    _ => {}
                }
            }
        }
    }

    /// How many processes and threads are in a pod's group; none where the kernel does not count.
    pub(crate) fn processes(&self, pod: &Pod) -> u64 {
        let group = self.parent(pod);
        let counts = self.paths(&group).filter_map(|(hierarchy, path)| {
            let counted = self.unified || hierarchy.controllers.iter().any(|one| one == "pids");
            let text = counted.then(|| std::fs::read_to_string(path.join("pids.current")))?.ok()?;
            text.trim().parse::<u64>().ok()
        });
        counts.max().unwrap_or(0)
    }

    /// Removes a pod's group wherever it is, whatever class the pod had. That it is not there is fine.
    pub(crate) fn remove(&self, uid: &str) {
        for class in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
            let group = self.pod_path(class, uid);
            for (_, path) in self.paths(&group) {
                remove_tree(&path);
            }
        }
    }

    /// Removes all groups of this node.
    pub fn remove_all(&self) {
        let top = if self.prefix.is_empty() { "/kubepods".to_owned() } else { self.prefix.clone() };
        for (_, path) in self.paths(&top) {
            remove_tree(&path);
        }
    }
}

fn controls(hierarchy: &Hierarchy) -> bool {
    hierarchy.controllers.iter().any(|one| matches!(one.as_str(), "cpu" | "memory" | "pids"))
}

/// The hierarchies of `/proc/self/mountinfo`, and whether only the unified one is of use.
fn parse(table: &str) -> (Vec<Hierarchy>, bool) {
    let mut v1 = Vec::new();
    let mut v2 = Vec::new();
    for line in table.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let Some(mount) = left.split(' ').nth(4) else { continue };
        let mut right = right.split(' ');
        let (kind, _, options) = (right.next(), right.next(), right.next().unwrap_or_default());
        let hierarchy = Hierarchy {
            mount: PathBuf::from(mount),
            controllers: options.split(',').map(str::to_owned).collect(),
        };
        match kind {
            Some("cgroup") => v1.push(hierarchy),
            Some("cgroup2") => v2.push(hierarchy),
            _ => {}
        }
    }
    if v1.iter().any(controls) {
        // In the hybrid layout containers are in the v2 tree too, though nothing is limited there.
        v1.extend(v2);
        (v1, false)
    } else {
        (v2, true)
    }
}

fn make(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

fn limit(hierarchy: &Hierarchy, path: &Path, limits: &Resources) {
    for controller in &hierarchy.controllers {
        match controller.as_str() {
            "cpu" => {
                set(path, "cpu.shares", limits.cpu_shares);
                if limits.cpu_quota > 0 {
                    set(path, "cpu.cfs_period_us", limits.cpu_period);
                    set(path, "cpu.cfs_quota_us", limits.cpu_quota);
                }
            }
            "memory" if limits.memory_limit > 0 => set(path, "memory.limit_in_bytes", limits.memory_limit),
            _ => {}
        }
    }
}

/// A limit the kernel refuses is said and left: the container's own limits still hold.
fn set(path: &Path, file: &str, value: i64) {
    let file = path.join(file);
    if let Err(error) = std::fs::write(&file, value.to_string()) {
        tracing::warn!(file = %file.display(), value, %error, "cgroup limit not set");
    }
}

/// The kernel's files in a group cannot be removed, only the groups, the deepest first.
fn remove_tree(path: &Path) {
    let Ok(entries) = std::fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    if let Err(error) = std::fs::remove_dir(path) {
        tracing::debug!(path = %path.display(), %error, "cgroup stays");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_layout_uses_the_first_version_and_knows_the_second() {
        let table = "30 25 0:26 / /sys/fs/cgroup/memory rw shared:1 - cgroup cgroup rw,memory\n\
                     31 25 0:27 / /sys/fs/cgroup/cpu rw shared:2 - cgroup cgroup rw,cpu,cpuacct\n\
                     32 25 0:28 / /sys/fs/cgroup/unified rw shared:3 - cgroup2 cgroup2 rw\n\
                     33 25 0:29 / / rw - ext4 /dev/vda rw\n";
        let (hierarchies, unified) = parse(table);
        assert!(!unified);
        let mounts: Vec<_> = hierarchies.iter().map(|one| one.mount.to_str().unwrap()).collect();
        assert_eq!(mounts, ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"]);
    }
}
