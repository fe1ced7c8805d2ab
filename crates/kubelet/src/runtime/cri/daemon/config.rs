//! containerd's configuration file; pure.

use super::Options;

/// Without the devices and file systems that this file does not ask for, containerd boots faster and logs less.
const UNUSED: [&str; 7] = [
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.internal.v1.tracing",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.internal.v1.restart",
];

/// Version 2 of the format: containerd 1.6 knows no newer one, and 2.x still reads it.
pub(super) fn render(options: &Options) -> String {
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let path = |path: &std::path::Path| quote(&path.to_string_lossy());
    let unused: Vec<String> = UNUSED.iter().map(|plugin| quote(plugin)).collect();
    // `restrict_oom_score_adj`: where CAP_SYS_RESOURCE is out of reach every sandbox would fail without it.
    format!(
        r#"version = 2
root = {root}
state = {state}
disabled_plugins = [{unused}]

[grpc]
  address = {socket}

[plugins."io.containerd.internal.v1.opt"]
  path = {opt}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {sandbox_image}
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {cni_bin}
    conf_dir = {cni_conf}

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = {registry}

  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"#,
        root = path(&options.root),
        state = path(&options.state),
        unused = unused.join(", "),
        socket = path(&options.socket()),
        opt = path(&options.root.join("opt")),
        sandbox_image = quote(&options.sandbox_image),
        cni_bin = path(&options.cni_bin_dir),
        cni_conf = path(&options.cni_conf_dir),
        registry = path(&options.registry_dir),
    )
}
