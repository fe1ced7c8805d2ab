//! A node for a test: its own containerd and kubelet, and nothing of them left afterwards.

use std::ffi::CString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use skiff_base::task::{Policy, Tasks};
use skiff_kubelet::eviction::Settings;
use skiff_kubelet::runtime::Runtime;
use skiff_kubelet::runtime::cri::Cri;
use skiff_kubelet::runtime::cri::daemon::{self, Daemon};
use skiff_kubelet::{Cgroups, ClusterChoice, CustomCluster, Kubelet, Options, RuntimeChoice};
use tempfile::TempDir;

use crate::cluster::Memory;
use crate::images;

/// Gives every pod the same address and makes no link: enough to see that addresses arrive.
const CNI_PLUGIN: &str = r#"#!/bin/sh
case "$CNI_COMMAND" in
VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}';;
ADD) echo '{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"'$CNI_NETNS'"}],"ips":[{"address":"10.99.0.7/24","interface":0}]}';;
esac
"#;
const CNI_CONFIG: &str = r#"{"cniVersion":"1.0.0","name":"test","plugins":[{"type":"test"}]}"#;

/// A node with containerd up and the images there.
pub(crate) struct TestNode {
    /// Where the kubelet's files are, if not beside containerd's.
    small: Option<Small>,
    pub(crate) home: TempDir,
    pub(crate) daemon: daemon::Options,
    cgroup_root: String,
}

impl TestNode {
    pub(crate) async fn start() -> Self {
        Self::with(None).await
    }

    /// The same, with a disk of so little for the kubelet's own files.
    pub(crate) async fn start_with_small_disk(size: &str) -> Self {
        Self::with(Some(size)).await
    }

    async fn with(size: Option<&str>) -> Self {
        skiff_base::trace::start("warn");
        // Socket paths are short, so is this one.
        let home = tempfile::Builder::new().prefix("skit").tempdir_in("/tmp").unwrap();
        let mut own = daemon::Options::under(home.path());
        own.sandbox_image = images::PAUSE.to_owned();
        own.sandbox_archive = Some(images::pause(home.path()).await);
        network(&own);
        let cgroup_root = format!("/{}", home.path().file_name().unwrap().to_string_lossy());
        let small = size.map(|size| Small::new(home.path().join("small"), size));
        let node = Self { small, home, daemon: own, cgroup_root };
        drop(Daemon::start(node.daemon.clone()).await.unwrap());
        let busybox = images::busybox(node.home.path());
        let names = node.runtime().import_images(&busybox).await.unwrap();
        assert_eq!(names, [images::BUSYBOX]);
        node
    }

    pub(crate) fn runtime(&self) -> Cri {
        Cri::at(&self.daemon.socket())
    }

    /// A kubelet on this node with these pods bound to it.
    pub(crate) async fn kubelet(&self, pods: &[Arc<Pod>]) -> Running {
        // A build beside the test may fill the disk; that is not what most tests are about.
        self.kubelet_with(pods, Settings::without_thresholds()).await
    }

    /// The same with thresholds of its own.
    pub(crate) async fn kubelet_with(&self, pods: &[Arc<Pod>], eviction: Settings) -> Running {
        let (cluster, source) = Memory::new(pods);
        let custom = CustomCluster {
            cluster: Arc::clone(&cluster) as _,
            record: Arc::clone(&cluster) as _,
            source: Mutex::new(Some(source)),
        };
        let choice = ClusterChoice::Custom(Arc::new(custom));
        let runtime = RuntimeChoice::Own(Box::new(self.daemon.clone()));
        let data_dir = self.small.as_ref().map_or(self.home.path(), |small| &small.0);
        let mut options = Options::new("node", choice, runtime, data_dir);
        options.node_addresses = vec!["192.0.2.1".parse().unwrap()];
        options.cgroup_root.clone_from(&self.cgroup_root);
        options.cluster_dns = vec!["10.96.0.10".parse().unwrap()];
        options.eviction = eviction;
        let kubelet = Kubelet::build(options);
        let handle = kubelet.handle();
        let ready = kubelet.ready();
        let tasks = Tasks::new();
        tasks.spawn("kubelet", Policy::Essential, kubelet.run(tasks.clone()));
        tokio::select! {
            () = ready.opened() => {}
            () = tasks.stopped() => panic!("kubelet stopped: {:?}", tasks.failure()),
            () = tokio::time::sleep(Duration::from_secs(60)) => panic!("the kubelet did not become ready"),
        }
        Running { cluster, tasks, handle }
    }

    /// The machine's groups of this node that are left.
    pub(crate) fn pod_groups(&self) -> Vec<String> {
        let top = Path::new("/sys/fs/cgroup/memory")
            .join(self.cgroup_root.trim_start_matches('/'))
            .join("kubepods");
        let classes = [top.clone(), top.join("burstable"), top.join("besteffort")];
        let entries = classes.iter().filter_map(|class| std::fs::read_dir(class).ok()).flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("pod")).collect()
    }
}

fn network(own: &daemon::Options) {
    std::fs::create_dir_all(&own.cni_bin_dir).unwrap();
    std::fs::create_dir_all(&own.cni_conf_dir).unwrap();
    let plugin = own.cni_bin_dir.join("test");
    for name in ["test", "loopback"] {
        std::fs::write(own.cni_bin_dir.join(name), CNI_PLUGIN).unwrap();
        std::fs::set_permissions(own.cni_bin_dir.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert!(plugin.exists());
    std::fs::write(own.cni_conf_dir.join("10-test.conflist"), CNI_CONFIG).unwrap();
}

impl Drop for TestNode {
    fn drop(&mut self) {
        let (daemon, cgroups) = (self.daemon.clone(), Cgroups::detect(&self.cgroup_root));
        // A test may fail anywhere: the end gets a runtime of its own.
        let end = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            let ended = runtime.block_on(daemon::stop_for_good(&daemon));
            cgroups.remove_all();
            ended
        });
        let ended = end.join().unwrap();
        // A panic in a drop during a panic would hide what the test has to say.
        assert!(std::thread::panicking() || ended.is_ok(), "{ended:?}");
    }
}

/// A file system in memory that is full soon.
struct Small(PathBuf);

impl Small {
    fn new(place: PathBuf, size: &str) -> Self {
        std::fs::create_dir(&place).unwrap();
        let data = CString::new(format!("size={size}")).unwrap();
        mount("tmpfs", &place, "tmpfs", MountFlags::empty(), Some(data.as_c_str())).unwrap();
        Self(place)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = unmount(&self.0, UnmountFlags::DETACH);
        assert!(std::thread::panicking() || unmounted.is_ok(), "{unmounted:?}");
    }
}

/// A kubelet at work.
pub(crate) struct Running {
    pub(crate) cluster: Arc<Memory>,
    tasks: Tasks,
    pub(crate) handle: skiff_kubelet::handle::Handle,
}

impl Running {
    /// Stops it; its pods go on.
    pub(crate) async fn stop(&self) {
        assert!(self.tasks.drain(Duration::from_secs(30)).await, "the kubelet did not stop");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Or it would start containerd again while the node ends.
        self.tasks.stop();
    }
}
