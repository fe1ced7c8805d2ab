//! What a restart of the kubelet does to pods: nothing.

use crate::given::pod;
use crate::node::TestNode;
use skiff_kubelet::runtime::Runtime;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_pods_are_taken_up_and_orphans_taken_away() {
    let node = TestNode::start().await;
    let wanted = |name: &str| {
        pod(&format!(
            "
            metadata: {{name: {name}}}
            spec:
              terminationGracePeriodSeconds: 2
              containers: [{{name: c, image: 'localhost/busybox:test', command: [sleep, '1000']}}]
            "
        ))
    };
    let (stays, goes) = (wanted("stays"), wanted("goes"));
    let first = node.kubelet(&[stays.clone(), goes.clone()]).await;
    let running = |status: &k8s_openapi::api::core::v1::PodStatus| status.phase.as_deref() == Some("Running");
    let before = first.cluster.status("stays", running).await;
    first.cluster.status("goes", running).await;
    let mut stays = k8s_openapi::api::core::v1::Pod::clone(&stays);
    stays.status = Some(before.clone());
    first.stop().await;

    let second = node.kubelet(&[stays.into()]).await;
    let killing = |event: &String| event.starts_with("goes ") && event.contains("Killing");
    second.cluster.until(|contents| contents.events.iter().any(killing)).await;
    let mut changes = second.handle.changes();
    changes.wait_for(|_| second.handle.pod("default", "goes", None).is_none()).await.unwrap();
    let view = second.handle.pod("default", "stays", None).unwrap();
    let id = before.container_statuses.as_ref().unwrap()[0].container_id.clone().unwrap();
    assert_eq!(format!("containerd://{}", view.containers[0].id), id);
    assert_eq!(view.pod.status.as_ref().unwrap().container_statuses, before.container_statuses);
    assert_eq!(node.runtime().list_sandboxes(None).await.unwrap().len(), 1);
    // Nothing changed, so nothing was said.
    assert_eq!(second.cluster.now().history, []);
    second.stop().await;
}
