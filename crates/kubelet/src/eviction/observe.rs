//! How much the machine has left of each thing: read from the kernel.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::assess::{Level, Levels};
use super::signal::Signal;
use crate::node::facts;

/// Where to look.
#[derive(Debug, Clone)]
pub(crate) struct Eyes {
    pub(crate) data_dir: PathBuf,
    /// Where images are, if they have a file system of their own.
    pub(crate) images: Option<PathBuf>,
}

impl Eyes {
    /// Learns where images are; they matter only if that is another file system than the kubelet's.
    pub(crate) fn learn_images(&mut self, path: &Path) {
        let device = |path: &Path| std::fs::metadata(path).map(|meta| meta.dev()).ok();
        let apart = device(path).is_some_and(|images| device(&self.data_dir) != Some(images));
        self.images = apart.then(|| path.to_owned());
    }

    /// What there is now.
    pub(crate) fn levels(&self) -> Levels {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let mut levels = Levels::new();
        let mut tell = |signal, told: Option<(u64, u64)>| {
            if let Some((capacity, available)) = told {
                levels.insert(signal, Level { available, capacity });
            }
        };
        let meminfo = text("/proc/meminfo");
        let memory = (facts::meminfo(&meminfo, "MemTotal"), facts::meminfo(&meminfo, "MemAvailable"));
        tell(Signal::MemoryAvailable, Some(memory).filter(|(total, available)| *total > 0 && *available > 0));
        let node = facts::disk(&self.data_dir);
        let images = self.images.as_deref().map_or(node, facts::disk);
        tell(Signal::NodeFsAvailable, node.map(|disk| disk.bytes));
        tell(Signal::NodeFsInodesFree, node.and_then(|disk| disk.inodes));
        tell(Signal::ImageFsAvailable, images.map(|disk| disk.bytes));
        tell(Signal::ImageFsInodesFree, images.and_then(|disk| disk.inodes));
        // The fourth word is "running/all".
        let tasks = text("/proc/loadavg");
        let tasks = tasks.split(' ').nth(3).and_then(|word| word.split_once('/')?.1.parse::<u64>().ok());
        let most = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"];
        let most = most.iter().filter_map(|path| text(path).trim().parse::<u64>().ok()).min();
        tell(Signal::PidAvailable, tasks.zip(most).map(|(tasks, most)| (most, most.saturating_sub(tasks))));
        levels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_tells_of_everything_and_one_disk_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut eyes = Eyes { data_dir: folder.path().to_owned(), images: None };
        eyes.learn_images(folder.path());
        assert_eq!(eyes.images, None);
        eyes.learn_images(Path::new("/proc"));
        assert_eq!(eyes.images.as_deref(), Some(Path::new("/proc")));
        eyes.images = None;
        let levels = eyes.levels();
        assert!(levels[&Signal::MemoryAvailable].capacity > levels[&Signal::MemoryAvailable].available);
        assert_eq!(levels[&Signal::NodeFsAvailable].capacity, levels[&Signal::ImageFsAvailable].capacity);
        assert!(levels[&Signal::PidAvailable].available > 0);
    }
}
