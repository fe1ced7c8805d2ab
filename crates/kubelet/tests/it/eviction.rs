//! Pods that the node puts out: those that take more of its disk than they may, and those it needs room from.

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use skiff_kubelet::eviction::{Flags, Settings};

use crate::given::pod;
use crate::node::TestNode;

fn is(phase: &'static str) -> impl Fn(&PodStatus) -> bool {
    move |status| status.phase.as_deref() == Some(phase)
}

/// A pod whose container `main` runs a script and then sleeps; `more` is what else its spec says.
fn runs(name: &str, script: &str, limits: &str, more: &str) -> std::sync::Arc<Pod> {
    pod(&format!(
        "
        metadata: {{name: {name}}}
        spec:
          terminationGracePeriodSeconds: 30
          containers:
          - name: main
            image: localhost/busybox:test
            command: [sh, -c, '{script}; exec sleep 1000']
            resources: {{limits: {{{limits}}}}}
            volumeMounts: [{{name: data, mountPath: /data}}]
          - {{name: quiet, image: 'localhost/busybox:test', command: [sleep, '1000'], resources: {{limits: {{{limits}}}}}}}
          volumes: [{{name: data, emptyDir: {{{more}}}}}]
        "
    ))
}

fn writes(megabytes: u32, file: &str) -> String {
    format!("busybox dd if=/dev/zero of={file} bs=1M count={megabytes}")
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> Option<&'a str> {
    let found = status.conditions.iter().flatten().find(|condition| condition.type_ == kind)?;
    found.reason.as_deref()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_take_more_of_the_disk_than_they_may_are_put_out() {
    let node = TestNode::start().await;
    let kubelet = node.kubelet(&[]).await;
    let cluster = &kubelet.cluster;
    for pod in [
        runs("volume", &writes(8, "/data/file"), "", "sizeLimit: 4Mi"),
        runs("layer", &writes(8, "/tmp/file"), "ephemeral-storage: 6Mi", ""),
        runs("whole", &writes(20, "/data/file"), "ephemeral-storage: 6Mi", ""),
        runs("modest", &writes(2, "/data/file"), "ephemeral-storage: 6Mi", "sizeLimit: 4Mi"),
    ] {
        cluster.put(&pod);
    }
    for (name, why) in [
        ("volume", "Usage of EmptyDir volume \"data\" exceeds the limit \"4Mi\". "),
        ("layer", "Container main exceeded its local ephemeral storage limit \"6Mi\". "),
        ("whole", "Pod ephemeral local storage usage exceeds the total limit of containers 12Mi. "),
    ] {
        let status = cluster.status(name, is("Failed")).await;
        assert_eq!(
            (status.reason.as_deref(), status.message.as_deref()),
            (Some("Evicted"), Some(why)),
            "{name}"
        );
        // Its own doing, not a disruption.
        assert_eq!(condition(&status, "DisruptionTarget"), None);
        let ended = status.container_statuses.unwrap();
        assert!(ended.iter().all(|one| one.state.as_ref().unwrap().terminated.is_some()), "{ended:?}");
        let event = format!("{name} Warning Evicted: {why}");
        cluster.until(|contents| contents.events.contains(&event)).await;
        let mut changes = kubelet.handle.changes();
        let cleared = |name| kubelet.handle.pod("default", name, None).unwrap().cleared;
        changes.wait_for(|_| cleared(name)).await.unwrap();
    }
    let modest = cluster.status("modest", is("Running")).await;
    assert_eq!(modest.reason, None);
    kubelet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_short_of_disk_puts_the_greatest_user_out_and_refuses_others() {
    let node = TestNode::start_with_small_disk("64m").await;
    let flags = Flags { hard: Some("nodefs.available<16Mi"), ..Flags::default() };
    let kubelet = node.kubelet_with(&[], Settings::read(&flags).unwrap()).await;
    let cluster = &kubelet.cluster;
    let small = runs("small", &writes(4, "/data/file"), "", "");
    cluster.put(&small);
    cluster.status("small", is("Running")).await;
    let greedy = runs("greedy", &writes(50, "/data/file"), "", "");
    cluster.put(&greedy);
    let status = cluster.status("greedy", is("Failed")).await;
    assert_eq!(status.reason.as_deref(), Some("Evicted"));
    let why = status.message.clone().unwrap();
    let begin = "The node was low on resource: ephemeral-storage. Threshold quantity: 16Mi, available: ";
    assert!(why.starts_with(begin), "{why}");
    assert_eq!(condition(&status, "DisruptionTarget"), Some("TerminationByKubelet"));
    // The end is told when it has come, the reason for it before.
    let told: Vec<PodStatus> = cluster
        .now()
        .history
        .into_iter()
        .filter(|(name, _)| name == "greedy")
        .map(|(_, status)| status)
        .collect();
    let first = told.iter().find(|status| condition(status, "DisruptionTarget").is_some()).unwrap();
    assert_eq!((first.phase.as_deref(), first.reason.as_deref()), (Some("Running"), None));

    cluster.put(&runs("late", "true", "", ""));
    let late = cluster.status("late", is("Failed")).await;
    assert_eq!(late.message.as_deref(), Some("Pod was rejected: The node had condition: [DiskPressure]. "));
    let mut vital = Pod::clone(&runs("vital", "true", "", ""));
    vital.spec.as_mut().unwrap().priority = Some(2_000_000_000);
    cluster.put(&vital.into());
    cluster.status("vital", is("Running")).await;
    let small = cluster.status("small", is("Running")).await;
    assert_eq!(small.reason, None);
    kubelet.stop().await;
}
