//! Slices for services and pods given as JSON.

use serde_json::{Value, json};

use super::*;
use crate::shared::seen::Seen;

fn service(spec: Value) -> Service {
    serde_json::from_value(
        json!({"metadata": {"name": "web", "namespace": "blue", "uid": "s"}, "spec": spec}),
    )
    .unwrap()
}

fn pods(names: std::ops::Range<usize>) -> Vec<Seen> {
    names.map(|n| pod(n, json!({}))).collect()
}

fn pod(n: usize, change: Value) -> Seen {
    let mut pod = json!({"metadata": {"name": format!("p{n}"), "namespace": "blue", "uid": format!("u{n:04}")},
        "spec": {"nodeName": "one", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": format!("10.0.{}.{}", n / 200, n % 200),
            "conditions": [{"type": "Ready", "status": "True"}]}});
    json_patch::merge(&mut pod, &change);
    Seen::of(&serde_json::from_value(pod).unwrap())
}

/// Plans, and plays the server: the slices that there are afterwards.
struct World {
    slices: Vec<Arc<EndpointSlice>>,
    made: usize,
}

impl World {
    fn new() -> Self {
        Self { slices: Vec::new(), made: 0 }
    }

    /// How many slices were created, updated, deleted, and how full they are now.
    fn step(&mut self, service: &Service, pods: &[Seen]) -> (usize, usize, usize, Vec<usize>) {
        let zone = |_: &str| Some("z".to_owned());
        let plan = plan::plan(&frame(service), desired::groups(service, pods, &zone), self.slices.clone());
        let counts = (plan.create.len(), plan.update.len(), plan.delete.len());
        let gone: Vec<_> = plan.delete.iter().chain([]).map(|s| s.metadata.name.clone()).collect();
        self.slices.retain(|slice| !gone.contains(&slice.metadata.name));
        for written in plan.update {
            self.slices.retain(|slice| slice.metadata.name != written.metadata.name);
            self.slices.push(Arc::new(written));
        }
        for mut fresh in plan.create {
            self.made += 1;
            fresh.metadata.name = Some(format!("web-{}", self.made));
            self.slices.push(Arc::new(fresh));
        }
        self.slices.sort_by_key(|slice| slice.metadata.name.clone());
        let sizes = self.slices.iter().map(|s| s.endpoints.as_ref().map_or(0, Vec::len)).collect();
        (counts.0, counts.1, counts.2, sizes)
    }
}

#[test]
fn a_service_without_pods_has_one_empty_slice() {
    let mut world = World::new();
    let service = service(json!({"ports": [{"port": 80}]}));
    assert_eq!(world.step(&service, &[]), (1, 0, 0, vec![0]));
    assert_eq!(world.step(&service, &[]), (0, 0, 0, vec![0]));
    // Its ports are not known before the first pod; then the same slice is used.
    assert_eq!(world.step(&service, &pods(0..1)), (0, 1, 0, vec![1]));
    assert_eq!(world.step(&service, &[]), (0, 1, 0, vec![0]));
}

#[test]
fn slices_fill_up_to_a_hundred_and_a_change_writes_one() {
    let mut world = World::new();
    let service = service(json!({"ports": [{"port": 80}]}));
    assert_eq!(world.step(&service, &pods(0..250)), (3, 0, 0, vec![100, 100, 50]));
    assert_eq!(world.step(&service, &pods(0..250)), (0, 0, 0, vec![100, 100, 50]));
    assert_eq!(world.step(&service, &pods(0..251)), (0, 1, 0, vec![100, 100, 51]));
    // The place of the one that went is taken by the one that came.
    let mut others = pods(1..251);
    others.push(pod(300, json!({})));
    assert_eq!(world.step(&service, &others), (0, 1, 0, vec![100, 100, 51]));
    let mut unready = others.clone();
    unready[0] = pod(1, json!({"status": {"conditions": []}}));
    assert_eq!(world.step(&service, &unready), (0, 1, 0, vec![100, 100, 51]));
}

#[test]
fn conditions_say_ready_serving_terminating() {
    let conditions = |service: &Service, change: Value| {
        let groups = desired::groups(service, &[pod(1, change)], &|_| None);
        let c = groups[0].endpoints[0].conditions.clone().unwrap();
        (c.ready.unwrap(), c.serving.unwrap(), c.terminating.unwrap())
    };
    let ending = json!({"metadata": {"deletionTimestamp": "2026-11-22T10:00:00Z"}});
    let plain = service(json!({"ports": [{"port": 80}]}));
    assert_eq!(conditions(&plain, json!({})), (true, true, false));
    assert_eq!(conditions(&plain, ending.clone()), (false, true, true));
    assert_eq!(conditions(&plain, json!({"status": {"conditions": []}})), (false, false, false));
    let eager = service(json!({"ports": [{"port": 80}], "publishNotReadyAddresses": true}));
    assert_eq!(conditions(&eager, ending), (true, true, true));
}

#[test]
fn hints_keep_traffic_near_where_the_service_wants_it() {
    let hinted = |distribution: Value, change: Value| {
        let service = service(json!({"ports": [{"port": 80}], "trafficDistribution": distribution}));
        let groups = desired::groups(&service, &[pod(1, change)], &|_| Some("z".to_owned()));
        serde_json::to_value(&groups[0].endpoints[0].hints).unwrap()
    };
    assert_eq!(hinted(json!(null), json!({})), json!(null));
    assert_eq!(hinted(json!("PreferClose"), json!({})), json!({"forZones": [{"name": "z"}]}));
    assert_eq!(
        hinted(json!("PreferSameNode"), json!({})),
        json!({"forNodes": [{"name": "one"}], "forZones": [{"name": "z"}]})
    );
    assert_eq!(hinted(json!("PreferClose"), json!({"status": {"conditions": []}})), json!(null));
}

#[test]
fn pods_with_other_numbers_for_a_named_port_get_slices_of_their_own() {
    let mut world = World::new();
    let service = service(json!({"ports": [{"name": "web", "port": 80, "targetPort": "http"}]}));
    let other = pod(
        7,
        json!({"spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 9090}]}]}}),
    );
    assert_eq!(world.step(&service, &[pod(1, json!({})), other]), (2, 0, 0, vec![1, 1]));
    let ports: Vec<_> = world.slices.iter().map(|s| s.ports.as_ref().unwrap()[0].port.unwrap()).collect();
    assert_eq!(ports, [8080, 9090]);
    let slice = &world.slices[0];
    assert_eq!(slice.metadata.owner_references.as_ref().unwrap()[0].kind, "Service");
    let endpoint = &slice.endpoints.as_ref().unwrap()[0];
    assert_eq!((endpoint.zone.as_deref(), endpoint.node_name.as_deref()), (Some("z"), Some("one")));
}
