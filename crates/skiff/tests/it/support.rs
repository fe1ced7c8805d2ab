//! A cluster for one test: brought up by the binary under test, taken down without a trace, also when the test fails.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The program under test.
pub(crate) const SKIFF: &str = env!("CARGO_BIN_EXE_skiff");

/// Tells several clusters of one test process apart.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A running cluster in its own network namespace.
pub(crate) struct Cluster {
    dir: PathBuf,
    /// The small disk that it is on, if it is.
    disk: Option<PathBuf>,
    netns: String,
    args: Vec<String>,
}

impl Cluster {
    /// `skiff up` with these arguments, detached; waits until it says that it is ready.
    pub(crate) fn up(args: &[&str]) -> Self {
        Self::up_in(None, args)
    }

    /// The same on a disk (in memory) of this size.
    pub(crate) fn up_on(size: &str, args: &[&str]) -> Self {
        Self::up_in(Some(size), args)
    }

    fn up_in(size: Option<&str>, args: &[&str]) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number}", std::process::id());
        let netns = format!("skiff-e2e-{id}");
        let dir = PathBuf::from(format!("/tmp/skiff-e2e-{id}"));
        std::fs::create_dir_all(&dir).unwrap();
        let (disk, dir) = match size {
            Some(size) => {
                let size = format!("size={size}");
                said(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&dir));
                (Some(dir.clone()), dir.join("d"))
            }
            None => (None, dir),
        };
        std::fs::create_dir_all(&dir).unwrap();
        let cluster = Self { dir, disk, netns, args: args.iter().map(|arg| (*arg).to_owned()).collect() };
        said(Command::new("ip").args(["netns", "add", &cluster.netns]));
        for line in [
            "link set lo up",
            "link add e2e0 type bridge",
            "addr add 192.0.2.1/24 dev e2e0",
            "link set e2e0 up",
            "route add default via 192.0.2.254",
        ] {
            said(cluster.inside("ip").args(line.split(' ')));
        }
        cluster.start();
        cluster
    }

    /// `skiff up` again on the same data directory.
    pub(crate) fn start(&self) {
        let own = self.args.iter().any(|arg| arg == "--eviction-hard");
        let spared = (!own).then_some(["--eviction-hard", "memory.available<10Mi"]);
        let output = self
            .inside(SKIFF)
            .args(["up", "--detach", "--no-kubeconfig", "--data-dir"])
            .arg(&self.dir)
            // Named network namespaces are seen by the whole machine, where a demo may be up as well.
            .args(["--name", &format!("e{}", std::process::id())])
            // A build beside the test may fill the disk; that is not what most tests are about.
            .args(spared.iter().flatten())
            .args(&self.args)
            .output()
            .unwrap();
        if !output.status.success() {
            let log = std::fs::read_to_string(self.dir.join("skiff.log")).unwrap_or_default();
            panic!("skiff up failed: {}\nlog:\n{log}", words(&output));
        }
    }

    /// Ends Skiff itself as SIGTERM does, leaving its pods; waits until it is gone.
    pub(crate) fn stop_skiff(&self) {
        self.end_skiff("TERM");
    }

    /// The same without a chance to put anything in order.
    pub(crate) fn kill_skiff(&self) {
        self.end_skiff("KILL");
    }

    fn end_skiff(&self, signal: &str) {
        let state: serde_json::Value =
            serde_json::from_slice(&std::fs::read(self.dir.join("skiff.json")).unwrap()).unwrap();
        let pid = state["pid"].to_string();
        // tail ends when the process does: no polling here.
        let mut wait = Command::new("tail").args(["--pid", &pid, "-f", "/dev/null"]).spawn().unwrap();
        said(Command::new("kill").args(["-s", signal, &pid]));
        assert!(wait.wait().unwrap().success());
    }

    /// The network namespace that it runs in.
    pub(crate) fn netns(&self) -> &str {
        &self.netns
    }

    /// The cluster's data directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Imports the images of the demo on all nodes.
    pub(crate) fn import_images(&self) {
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/images");
        for name in ["busybox", "redis", "redis-slave"] {
            let archive = images.join(format!("{name}.tar"));
            assert!(archive.exists(), "{} is missing: cargo xtask images", archive.display());
            self.skiff(&[
                "image",
                "import",
                "--data-dir",
                self.dir.to_str().unwrap(),
                archive.to_str().unwrap(),
            ]);
        }
    }

    /// What a skiff command prints; it must succeed.
    pub(crate) fn skiff(&self, args: &[&str]) -> String {
        said(self.inside(SKIFF).args(args))
    }

    /// What kubectl prints; it must succeed.
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        said(self.kubectl_command().args(args))
    }

    /// kubectl with a manifest on standard input; it must succeed.
    pub(crate) fn kubectl_with(&self, args: &[&str], manifest: &str) -> String {
        let output = self.try_kubectl_with(args, manifest);
        assert!(output.status.success(), "kubectl {args:?}: {}", words(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// kubectl with a manifest on standard input, however it ends.
    pub(crate) fn try_kubectl_with(&self, args: &[&str], manifest: &str) -> Output {
        let mut child = self
            .kubectl_command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), manifest.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// How kubectl ends, and its words.
    pub(crate) fn try_kubectl(&self, args: &[&str]) -> Output {
        self.kubectl_command().args(args).output().unwrap()
    }

    /// kubectl, pointed at this cluster.
    pub(crate) fn kubectl_command(&self) -> Command {
        let mut command = self.inside("kubectl");
        command.env("KUBECONFIG", self.dir.join("kubeconfig")).env("HOME", &self.dir);
        command
    }

    /// What kubecfg prints; it must succeed.
    pub(crate) fn kubecfg(&self, args: &[&str]) -> String {
        said(self.kubecfg_command().args(args))
    }

    /// kubecfg, pointed at this cluster by its kubeconfig.
    pub(crate) fn kubecfg_command(&self) -> Command {
        let mut command = self.inside(SKIFF);
        command.arg("kubecfg").env("KUBECONFIG", self.dir.join("kubeconfig")).env("HOME", &self.dir);
        command
    }

    /// A program in the cluster's network namespace.
    pub(crate) fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.netns)).arg(program).env_remove("KUBERNETES_MASTER");
        command
    }

    /// A file of the example.
    pub(crate) fn example(name: &str) -> String {
        format!("{}/../../examples/guestbook/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    /// Waits until `kubectl get ARGS` prints something that `enough` accepts: reads the watch, line by line.
    pub(crate) fn watch_until(&self, args: &[&str], mut enough: impl FnMut(&str) -> bool) -> String {
        let mut child = self
            .kubectl_command()
            .args(["get", "--watch", "--request-timeout=180s"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut seen = Vec::new();
        let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        for line in lines {
            let line = line.unwrap();
            let done = enough(&line);
            seen.push(line.clone());
            if done {
                child.kill().unwrap();
                child.wait().unwrap();
                return line;
            }
        }
        let _ended = child.kill();
        let output = child.wait_with_output().unwrap();
        panic!("the watch of {args:?} ended: {}\nseen:\n{}", words(&output), seen.join("\n"));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for args in [["describe", "nodes"].as_slice(), &["get", "pods,events", "-A", "-o", "wide"]] {
                eprintln!("--- kubectl {}\n{}", args.join(" "), words(&self.try_kubectl(args)));
            }
            let tell = |path: PathBuf| {
                let log = std::fs::read_to_string(&path).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(60).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                eprintln!("--- the end of {}\n{}", path.display(), tail.join("\n"));
            };
            tell(self.dir.join("skiff.log"));
            for node in std::fs::read_dir(self.dir.join("nodes")).into_iter().flatten().flatten() {
                tell(node.path().join("agent.log"));
            }
        }
        let down = self.inside(SKIFF).args(["down", "--purge", "--data-dir"]).arg(&self.dir).output();
        let unmounted = self.disk.as_ref().map(|disk| {
            let unmounted = Command::new("umount").arg(disk).output();
            unmounted.and_then(|_| std::fs::remove_dir(disk))
        });
        let removed = Command::new("ip").args(["netns", "del", &self.netns]).output();
        if !std::thread::panicking() {
            let down = down.unwrap();
            assert!(down.status.success(), "skiff down: {}", words(&down));
            assert!(removed.unwrap().status.success());
            unmounted.into_iter().for_each(Result::unwrap);
            assert!(!self.dir.exists(), "{} is still there", self.dir.display());
        }
    }
}

/// A Deployment (or a DaemonSet, and so on) of pods that sleep; `spec` and `pod` are what else its spec and its pods' say.
pub(crate) fn sleepers(kind: &str, name: &str, spec: &str, pod: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}}}
spec:
  {spec}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      {pod}
      terminationGracePeriodSeconds: 0
      containers: [{{name: c, image: busybox, imagePullPolicy: Never, command: [sleep, '1000']}}]
"
    )
}

/// What a command prints; it must succeed.
pub(crate) fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", words(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How a command ended and what it said.
pub(crate) fn words(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
