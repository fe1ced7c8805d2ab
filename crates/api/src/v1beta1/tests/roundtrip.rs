//! Properties: there and back again is where one started, whatever the object.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use serde_json::{Value, json};

use super::super::container::{Container, ContainerPort, EnvVar, VolumeMount};
use super::super::manifest::{ContainerManifest, RestartPolicy};
use super::super::probe::{Exec, HttpGet, Lifecycle, Probe, TcpSocket};
use super::super::value::{Empty, Map, Port};
use super::super::volume::{EmptyDir, HostDir, PersistentDisk, Source, Volume};
use super::super::*;

fn word() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9]{0,6}"
}

fn map() -> impl Strategy<Value = Map> {
    btree_map(word(), word(), 0..3)
}

fn port() -> impl Strategy<Value = Port> {
    prop_oneof![(1..65536i64).prop_map(Port::Number), word().prop_map(Port::Name)]
}

fn probe() -> impl Strategy<Value = Probe> {
    let seconds = 0..9i64;
    prop_oneof![
        (word(), port(), word()).prop_map(|(path, port, host)| Probe {
            http_get: Some(HttpGet { path, port, host }),
            ..Probe::default()
        }),
        port().prop_map(|port| Probe { tcp_socket: Some(TcpSocket { port }), ..Probe::default() }),
        vec(word(), 1..3).prop_map(|command| Probe { exec: Some(Exec { command }), ..Probe::default() }),
    ]
    .prop_flat_map(move |probe| {
        seconds.clone().prop_map(move |s| Probe {
            initial_delay_seconds: s,
            timeout_seconds: if s == 1 { 0 } else { s },
            ..probe.clone()
        })
    })
}

fn container() -> impl Strategy<Value = Container> {
    let ports = vec((word(), 0..9i64, 1..65536i64, prop_oneof![Just("TCP"), Just("UDP")]), 0..3);
    let words = (word(), word(), vec(word(), 0..3), vec(word(), 0..2), word());
    let env = vec((word(), word()), 0..3);
    let numbers = (0..1i64 << 40, 0..100_000i64, any::<bool>());
    let policy = prop_oneof![Just(""), Just("PullNever")];
    (words, ports, env, numbers, policy, option::of(probe()), option::of(probe())).prop_map(
        |((name, image, command, entrypoint, dir), ports, env, numbers, policy, live, ready)| Container {
            name: name.clone(),
            image,
            command,
            entrypoint,
            working_dir: dir,
            ports: ports
                .into_iter()
                .map(|(name, host_port, container_port, protocol)| ContainerPort {
                    name,
                    host_port,
                    container_port,
                    protocol: protocol.into(),
                    host_ip: String::new(),
                })
                .collect(),
            env: env.into_iter().map(|(name, value)| EnvVar { key: name.clone(), name, value }).collect(),
            memory: numbers.0,
            cpu: numbers.1,
            privileged: numbers.2,
            volume_mounts: vec![VolumeMount {
                name: "v0".into(),
                read_only: numbers.2,
                mount_path: format!("/{name}"),
                path: format!("/{name}"),
            }],
            lifecycle: live.as_ref().and_then(|probe| probe.exec.clone()).map(|exec| Lifecycle {
                post_start: None,
                pre_stop: Some(super::super::probe::Handler { exec: Some(exec), http_get: None }),
            }),
            liveness_probe: live,
            readiness_probe: ready,
            image_pull_policy: policy.into(),
            ..Container::default()
        },
    )
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        word().prop_map(|path| Source { host_dir: Some(HostDir { path }), ..Source::default() }),
        Just(Source { empty_dir: Some(EmptyDir::default()), ..Source::default() }),
        (word(), word(), any::<bool>()).prop_map(|(pd_name, fs_type, read_only)| Source {
            persistent_disk: Some(PersistentDisk { pd_name, fs_type, partition: 1, read_only }),
            ..Source::default()
        }),
    ]
}

fn manifest() -> impl Strategy<Value = ContainerManifest> {
    let policy = prop_oneof![
        Just(RestartPolicy { always: Some(Empty {}), ..RestartPolicy::default() }),
        Just(RestartPolicy { on_failure: Some(Empty {}), ..RestartPolicy::default() }),
        Just(RestartPolicy { never: Some(Empty {}), ..RestartPolicy::default() }),
    ];
    (vec(source(), 1..3), vec(container(), 1..3), policy, any::<bool>()).prop_map(
        |(sources, containers, restart_policy, host_network)| ContainerManifest {
            version: "v1beta1".into(),
            volumes: Some(
                sources
                    .into_iter()
                    .enumerate()
                    .map(|(index, source)| Volume { name: format!("v{index}"), source: Some(source) })
                    .collect(),
            ),
            // Names are unique in a pod, and the merge relies on it.
            containers: Some(
                containers
                    .into_iter()
                    .enumerate()
                    .map(|(index, container)| Container {
                        name: format!("{}{index}", container.name),
                        ..container
                    })
                    .collect(),
            ),
            restart_policy,
            host_network,
            ..ContainerManifest::default()
        },
    )
}

fn meta() -> impl Strategy<Value = TypeMeta> {
    (word(), 1..1_000_000u64, map()).prop_map(|(id, resource_version, annotations)| TypeMeta {
        id,
        resource_version,
        annotations,
        namespace: "default".into(),
        ..TypeMeta::default()
    })
}

fn pod() -> impl Strategy<Value = Pod> {
    (meta(), map(), manifest(), word(), map()).prop_map(|(meta, labels, manifest, host, node_selector)| {
        let mut pod = Pod { labels, node_selector, ..Pod::default() };
        pod.desired_state.manifest = ContainerManifest { id: meta.id.clone(), ..manifest };
        pod.desired_state.status = "Running".into();
        pod.desired_state.host.clone_from(&host);
        pod.current_state.host = host;
        pod.current_state.status = "Waiting".into();
        pod.meta = meta;
        pod
    })
}

fn controller() -> impl Strategy<Value = ReplicationController> {
    (meta(), map(), manifest(), 0..9i64, map()).prop_map(|(meta, labels, manifest, replicas, annotations)| {
        let mut controller = ReplicationController { meta, labels: labels.clone(), ..Default::default() };
        let desired = &mut controller.desired_state;
        desired.replicas = replicas;
        desired.replica_selector = Some(labels.clone()).filter(|labels| !labels.is_empty());
        desired.pod_template.labels = labels;
        desired.pod_template.annotations = annotations;
        desired.pod_template.desired_state.manifest = manifest;
        controller
    })
}

fn service() -> impl Strategy<Value = Service> {
    (meta(), map(), 1..65536i64, port(), any::<bool>(), vec(word(), 0..2)).prop_map(
        |(meta, labels, port, container_port, balanced, public_ips)| Service {
            meta,
            port,
            protocol: "TCP".into(),
            selector: Some(labels.clone()).filter(|labels| !labels.is_empty()),
            labels,
            create_external_load_balancer: balanced,
            public_ips,
            container_port,
            portal_ip: "10.0.0.9".into(),
            ..Service::default()
        },
    )
}

/// What only v1 knows, put wherever it can stand.
fn adorned(mut v1: Value) -> Value {
    v1["metadata"]["finalizers"] = json!(["a/b"]);
    v1["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u"}]);
    let spec = if v1["spec"].get("template").is_some() {
        &mut v1["spec"]["template"]["spec"]
    } else {
        &mut v1["spec"]
    };
    if spec.get("containers").is_some() {
        spec["tolerations"] = json!([{"operator": "Exists"}]);
        spec["terminationGracePeriodSeconds"] = json!(30);
        spec["initContainers"] = json!([{"name": "init", "image": "i"}]);
        spec["containers"][0]["terminationMessagePolicy"] = json!("File");
        spec["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "c"}}]);
        let volumes = spec["volumes"].as_array_mut().unwrap();
        volumes.insert(0, json!({"name": "cfg", "configMap": {"name": "c"}}));
        let mounts = spec["containers"][0]["volumeMounts"].as_array_mut().unwrap();
        mounts.push(json!({"name": "cfg", "mountPath": "/cfg"}));
    } else {
        spec["internalTrafficPolicy"] = json!("Cluster");
    }
    v1
}

/// There and back is the same object; a PUT of what was shown changes nothing; a PUT of one change changes one thing.
fn check<K: Kind>(given: &K) {
    let back = K::from_v1(&given.to_v1());
    assert_eq!(&back, given);
    let wire: K = body::typed(body::tree(serde_json::to_string(given).unwrap().as_bytes()).unwrap()).unwrap();
    assert_eq!(&wire, given);
    let stored = adorned(serde_json::to_value(given.to_v1()).unwrap());
    let read = (K::ROW.read)(stored.clone()).unwrap();
    let sent = K::ROW.parse(read.json().as_bytes()).unwrap();
    assert_eq!((K::ROW.update)(stored.clone(), sent.as_ref()).unwrap(), stored);
    let mut changed = K::ROW.parse(read.json().as_bytes()).unwrap();
    changed.meta_mut().annotations.insert("changed".into(), "yes".into());
    let mut expected = stored.clone();
    expected["metadata"]["annotations"]["changed"] = json!("yes");
    assert_eq!((K::ROW.update)(stored, changed.as_ref()).unwrap(), expected);
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn pods_go_there_and_back(given in pod()) {
        check(&given);
    }

    #[test]
    fn controllers_go_there_and_back(given in controller()) {
        check(&given);
    }

    #[test]
    fn services_go_there_and_back(given in service()) {
        check(&given);
    }
}
