//! A node on another machine: here in a network namespace of its own, with a wire to the server's.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{Cluster, SKIFF, said};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: there}
spec:
  nodeName: pi
  terminationGracePeriodSeconds: 0
  containers:
  - {name: c, image: busybox:1.35, imagePullPolicy: Never, command: [sh, -c, 'echo hello from $(hostname); exec sleep 1000']}
";

/// A machine beside the cluster's, named so that a sweep finds what a killed test leaves.
struct Machine {
    dir: PathBuf,
    netns: String,
}

impl Machine {
    fn beside(cluster: &Cluster) -> Self {
        let netns = format!("{}-pi", cluster.netns());
        let dir = PathBuf::from(format!("/tmp/{netns}"));
        said(Command::new("ip").args(["netns", "add", &netns]));
        said(
            cluster
                .inside("ip")
                .args(["link", "add", "wire", "type", "veth", "peer", "name", "eth0", "netns", &netns]),
        );
        said(cluster.inside("ip").args("link set wire master e2e0 up".split(' ')));
        let machine = Self { dir, netns };
        for line in [
            "link set lo up",
            "addr add 192.0.2.2/24 dev eth0",
            "link set eth0 up",
            "route add default via 192.0.2.254",
        ] {
            said(machine.inside("ip").args(line.split(' ')));
        }
        machine
    }

    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.netns)).arg(program);
        command
    }

    /// A skiff command about what runs here.
    fn skiff(&self, args: &[&str]) -> Command {
        let mut command = self.inside(SKIFF);
        command.args(args).arg("--data-dir").arg(&self.dir);
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _down = self.skiff(&["down", "--purge"]).output();
        let _gone = Command::new("ip").args(["netns", "del", &self.netns]).output();
    }
}

#[test]
fn a_node_on_another_machine_joins_runs_pods_and_is_taken_down_there() {
    let cluster = Cluster::up(&["--node-name", "solo"]);
    let machine = Machine::beside(&cluster);
    let data_dir = cluster.dir().to_str().unwrap();
    let access =
        cluster.skiff(&["kubeconfig", "--data-dir", data_dir, "--node", "pi", "--address", "192.0.2.2"]);
    assert!(access.contains("server: https://192.0.2.1:6443"), "the address that is advertised: {access}");
    let kubeconfig = cluster.dir().join("pi.kubeconfig");
    std::fs::write(&kubeconfig, access).unwrap();
    let agent = || {
        let mut agent = machine.skiff(&["agent", "--node-name", "pi", "--node-ip", "192.0.2.2"]);
        agent.args(["--eviction-hard", "memory.available<10Mi", "--kubeconfig"]).arg(&kubeconfig);
        agent
    };
    let mut running = agent().stdout(Stdio::piped()).spawn().unwrap();
    let mut said_first = String::new();
    let mut lines = std::io::BufReader::new(running.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut said_first).unwrap();
    assert_eq!(said_first, "Node pi runs; the server is https://192.0.2.1:6443.\n");
    cluster
        .watch_until(&["nodes", "--no-headers"], |line| line.starts_with("pi ") && line.contains(" Ready "));

    let images = format!("{}/../../target/images/busybox.tar", env!("CARGO_MANIFEST_DIR"));
    said(&mut machine.skiff(&["image", "import", &images]));
    cluster.kubectl_with(&["apply", "-f", "-"], POD);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/there", "--timeout=120s"]);
    assert_eq!(cluster.kubectl(&["logs", "there"]), "hello from there\n");
    assert_eq!(cluster.kubectl(&["exec", "there", "--", "cat", "/etc/hostname"]), "there\n");

    let status = said(&mut machine.skiff(&["status"]));
    assert!(status.contains("agent of https://192.0.2.1:6443") && status.contains("pi "), "{status}");
    let second = agent().output().unwrap();
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && words.contains("pi runs already"), "{words}");

    said(&mut machine.skiff(&["down", "--purge"]));
    assert!(running.wait().unwrap().success(), "it was asked to end");
    assert!(!machine.dir.exists());
}
