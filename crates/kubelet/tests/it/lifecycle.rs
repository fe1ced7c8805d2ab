//! Pods from beginning to end.

use k8s_openapi::api::core::v1::{ConfigMap, PodStatus, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use skiff_kubelet::runtime::Runtime;

use crate::given::{deleted, pod};
use crate::node::TestNode;

fn condition(status: &PodStatus, kind: &str) -> String {
    let found = status.conditions.iter().flatten().find(|condition| condition.type_ == kind);
    found.map(|condition| condition.status.clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_runs_reports_and_leaves_nothing_behind() {
    let node = TestNode::start().await;
    let kubelet = node.kubelet(&[]).await;
    let data = [("greeting".to_owned(), "hello".to_owned())];
    kubelet.cluster.put_config_map(ConfigMap {
        metadata: ObjectMeta { name: Some("words".to_owned()), ..ObjectMeta::default() },
        data: Some(data.into()),
        ..ConfigMap::default()
    });
    let service =
        "{metadata: {name: kv, namespace: default}, spec: {clusterIP: 10.0.0.9, ports: [{port: 6379}]}}";
    let service: Service = serde_saphyr::from_str(service).unwrap();
    kubelet.cluster.put_service(service);
    let wanted = pod("
        metadata: {name: one, labels: {app: one}}
        spec:
          initContainers:
          - {name: before, image: 'localhost/busybox:test', command: [sh, -c, 'echo made > /shared/file']}
          containers:
          - name: main
            image: localhost/busybox:test
            command: [sh, -c, 'cat /shared/file; echo $GREETING from $(ADDRESS) to $(KV_SERVICE_HOST):$KV_SERVICE_PORT; trap \"exit 0\" TERM; while :; do sleep 1; done']
            env:
            - {name: ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
            - {name: GREETING, valueFrom: {configMapKeyRef: {name: words, key: greeting}}}
            volumeMounts: [{name: shared, mountPath: /shared}]
            resources: {limits: {memory: 64Mi, cpu: 500m}}
          volumes: [{name: shared, emptyDir: {}}]
    ".replace("command: [sh, -c, 'echo made > /shared/file']}", "command: [sh, -c, 'echo made > /shared/file'], volumeMounts: [{name: shared, mountPath: /shared}]}").as_str());
    kubelet.cluster.put(&wanted);
    let status = kubelet.cluster.status("one", |status| condition(status, "Ready") == "True").await;
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.99.0.7"));
    assert_eq!(status.qos_class.as_deref(), Some("Burstable"));
    let main = &status.container_statuses.as_ref().unwrap()[0];
    assert!(main.container_id.as_deref().unwrap().starts_with("containerd://"));
    assert_eq!((main.restart_count, main.ready, main.started), (0, true, Some(true)));
    let before = &status.init_container_statuses.as_ref().unwrap()[0];
    let ended = before.state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_deref()), (0, Some("Completed")));

    let view = kubelet.handle.pod("default", "one", None).unwrap();
    let path = view.container("main").unwrap().log_path.clone();
    let lines = || -> Vec<String> {
        let log = std::fs::read_to_string(&path).unwrap();
        log.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).map(str::to_owned).collect()
    };
    // containerd copies what a container writes when it comes to it, and tells no one.
    while lines().len() < 2 {
        tokio::task::yield_now().await;
    }
    let lines = lines();
    assert_eq!(lines, ["made", "hello from 10.99.0.7 to 10.0.0.9:6379"]);
    assert_eq!(node.pod_groups().len(), 1);

    kubelet.cluster.put(&deleted(&wanted, 30));
    let end = kubelet.cluster.until(|contents| !contents.deleted.is_empty()).await;
    assert_eq!(end.statuses["one"].phase.as_deref(), Some("Succeeded"));
    let mut changes = kubelet.handle.changes();
    changes.wait_for(|_| kubelet.handle.pods().is_empty()).await.unwrap();
    assert_eq!(node.runtime().list_sandboxes(None).await.unwrap(), []);
    assert_eq!(node.pod_groups(), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(node.home.path().join("pods")).unwrap().count(), 0);
    assert_eq!(
        end.events,
        [
            "one spec.initContainers{before} Normal Pulled: Container image \"localhost/busybox:test\" already present on machine and can be accessed by the pod",
            "one spec.initContainers{before} Normal Created: Container created",
            "one spec.initContainers{before} Normal Started: Container started",
            "one spec.containers{main} Normal Pulled: Container image \"localhost/busybox:test\" already present on machine and can be accessed by the pod",
            "one spec.containers{main} Normal Created: Container created",
            "one spec.containers{main} Normal Started: Container started",
            "one spec.containers{main} Normal Killing: Stopping container main",
        ]
    );
    kubelet.stop().await;
}

/// As the node controller does while it hears nothing of the node: within the second in which the pod became ready, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_others_call_unready_is_reported_again() {
    let node = TestNode::start().await;
    let kubelet = node.kubelet(&[]).await;
    let wanted = pod("
        metadata: {name: one}
        spec:
          terminationGracePeriodSeconds: 0
          containers: [{name: main, image: 'localhost/busybox:test', command: [sleep, '1000']}]
    ");
    kubelet.cluster.put(&wanted);
    let is_ready = |status: &PodStatus| condition(status, "Ready") == "True";
    for _ in 0..3 {
        let mut status = kubelet.cluster.status("one", is_ready).await;
        let told = kubelet.cluster.now().history.len();
        let ready = status.conditions.iter_mut().flatten().find(|condition| condition.type_ == "Ready");
        ready.unwrap().status = "False".to_owned();
        let overruled = k8s_openapi::api::core::v1::Pod { status: Some(status), ..(*wanted).clone() };
        kubelet.cluster.put(&std::sync::Arc::new(overruled));
        let again = |contents: &crate::cluster::Contents| {
            contents.history[told..].iter().any(|(_, status)| is_ready(status))
        };
        kubelet.cluster.until(again).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_end_fail_restart_and_wait_as_their_pods_say() {
    let node = TestNode::start().await;
    let kubelet = node.kubelet(&[]).await;
    for (name, policy, command) in [
        ("good", "Never", "echo -n done > /dev/termination-log"),
        ("bad", "Never", "exit 3"),
        ("again", "Always", "exit 1"),
    ] {
        kubelet.cluster.put(&pod(&format!(
            "
            metadata: {{name: {name}}}
            spec:
              restartPolicy: {policy}
              containers: [{{name: c, image: 'localhost/busybox:test', command: [sh, -c, '{command}']}}]
            "
        )));
    }
    for (name, spec) in [
        ("absent", "image: 'localhost/nothing:test', imagePullPolicy: Never"),
        ("wrong", "image: 'Not/An Image'"),
        (
            "unset",
            "image: 'localhost/busybox:test', env: [{name: A, valueFrom: {configMapKeyRef: {name: none, key: a}}}]",
        ),
        ("typo", "image: 'localhost/busybox:test', command: [no-such-program]"),
    ] {
        kubelet.cluster.put(&pod(&format!(
            "
            metadata: {{name: {name}}}
            spec: {{containers: [{{name: c, {spec}}}]}}
            "
        )));
    }
    let good = kubelet.cluster.status("good", |status| status.phase.as_deref() == Some("Succeeded")).await;
    let ended = good.container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
    assert_eq!((ended.exit_code, ended.message.as_deref()), (0, Some("done")));
    let bad = kubelet.cluster.status("bad", |status| status.phase.as_deref() == Some("Failed")).await;
    let ended = bad.container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_deref()), (3, Some("Error")));

    let waiting = |reason: &'static str| {
        move |status: &PodStatus| {
            let container = status.container_statuses.iter().flatten().next();
            let waiting = container.and_then(|container| container.state.as_ref()?.waiting.as_ref());
            waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some(reason))
        }
    };
    let again = kubelet.cluster.status("again", waiting("CrashLoopBackOff")).await;
    let container = &again.container_statuses.unwrap()[0];
    assert_eq!(container.restart_count, 1);
    assert_eq!(container.last_state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 1);
    let message = container.state.as_ref().unwrap().waiting.as_ref().unwrap().message.clone().unwrap();
    assert!(
        message.starts_with("back-off 10s restarting failed container=c pod=again_default("),
        "{message}"
    );

    kubelet.cluster.status("absent", waiting("ErrImageNeverPull")).await;
    kubelet.cluster.status("wrong", waiting("InvalidImageName")).await;
    let unset = kubelet.cluster.status("unset", waiting("CreateContainerConfigError")).await;
    let container = &unset.container_statuses.unwrap()[0];
    let message = container.state.as_ref().unwrap().waiting.as_ref().unwrap().message.clone();
    assert_eq!(message.as_deref(), Some("configmap \"none\" not found"));
    let typo = kubelet.cluster.status("typo", waiting("CrashLoopBackOff")).await;
    let container = &typo.container_statuses.unwrap()[0];
    let last = container.last_state.as_ref().unwrap().terminated.clone().unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (128, Some("StartError")));

    kubelet.cluster.put(&pod("
        metadata: {name: odd}
        spec: {runtimeClassName: no-such-handler, containers: [{name: c, image: 'localhost/busybox:test'}]}
        "));
    kubelet
        .cluster
        .until(|contents| {
            let said = |event: &String| {
                event.starts_with("odd Warning FailedCreatePodSandBox: Failed to create pod sandbox: ")
                    && event.contains("no runtime for \"no-such-handler\" is configured")
            };
            contents.events.iter().any(said)
        })
        .await;
    kubelet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_hooks_and_sidecars_do_their_part() {
    let node = TestNode::start().await;
    let kubelet = node.kubelet(&[]).await;
    let wanted = pod(
        "
        metadata: {name: probed}
        spec:
          terminationGracePeriodSeconds: 5
          initContainers:
          - name: side
            image: localhost/busybox:test
            restartPolicy: Always
            command: [sleep, '1000']
          containers:
          - name: c
            image: localhost/busybox:test
            command: [sleep, '1000']
            lifecycle: {postStart: {exec: {command: [touch, /tmp/healthy]}}}
            readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}
            livenessProbe: {exec: {command: [test, -e, /tmp/healthy]}, periodSeconds: 1, failureThreshold: 1, terminationGracePeriodSeconds: 2}
        ",
    );
    kubelet.cluster.put(&wanted);
    let container = |status: &PodStatus| status.container_statuses.iter().flatten().next().cloned();
    let up = kubelet.cluster.status("probed", |status| status.phase.as_deref() == Some("Running")).await;
    assert_eq!(condition(&up, "Ready"), "False");
    let exec = |command: &'static str| {
        let handle = kubelet.handle.clone();
        async move {
            let view = handle.pod("default", "probed", None).unwrap();
            let id = view.container("c").unwrap().id.clone();
            let command = ["sh", "-c", command].map(str::to_owned);
            handle.runtime().exec_sync(&id, &command, None).await.unwrap()
        }
    };
    exec("touch /tmp/ready").await;
    kubelet.cluster.status("probed", |status| condition(status, "Ready") == "True").await;
    exec("rm /tmp/healthy").await;
    let again = |status: &PodStatus| {
        container(status).is_some_and(|one| one.restart_count == 1 && one.state.unwrap().running.is_some())
    };
    let status = kubelet.cluster.status("probed", again).await;
    assert_eq!(status.init_container_statuses.unwrap()[0].restart_count, 0);
    let events = kubelet.cluster.now().events;
    let killing =
        "probed spec.containers{c} Normal Killing: Container c failed liveness probe, will be restarted";
    assert!(events.iter().any(|event| event == killing), "{events:#?}");
    kubelet.cluster.put(&deleted(&wanted, 2));
    let end = kubelet.cluster.until(|contents| !contents.deleted.is_empty()).await;
    let stops: Vec<&String> =
        end.events.iter().filter(|event| event.contains("Stopping container")).collect();
    assert!(
        stops[0].ends_with("Stopping container c") && stops[1].ends_with("Stopping container side"),
        "{stops:?}"
    );
    kubelet.stop().await;
}
