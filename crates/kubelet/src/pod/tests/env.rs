//! What a container's environment becomes, by table.

use k8s_openapi::api::core::v1::{ConfigMap, Service};

use super::super::env::{Facts, Sources, expand, resolve};
use super::pod;

const SERVICES: &str = "
- {metadata: {name: redis-master, namespace: default}, spec: {clusterIP: 10.0.0.9, ports: [{name: db, port: 6379}]}}
- {metadata: {name: other, namespace: elsewhere}, spec: {clusterIP: 10.0.0.8, ports: [{port: 1}]}}
- {metadata: {name: kubernetes, namespace: default}, spec: {clusterIP: 10.0.0.1, ports: [{name: https, port: 443}]}}
- {metadata: {name: headless, namespace: default}, spec: {clusterIP: None, ports: [{port: 2}]}}
";

fn resolved(spec: &str, services: &str) -> Result<Vec<String>, String> {
    let pod = pod(&format!(
        "{{metadata: {{name: p, labels: {{app: web}}}}, spec: {{nodeName: n, enableServiceLinks: true, containers: [{{name: c, {spec}}}]}}}}"
    ));
    let map: ConfigMap =
        serde_saphyr::from_str("{metadata: {name: m}, data: {key: value, 'b.c': d}}").unwrap();
    let services: Vec<Service> = serde_saphyr::from_str(services).unwrap();
    let sources = Sources { config_maps: [("m".to_owned(), map)].into(), services, ..Sources::default() };
    let facts = Facts {
        pod_ips: vec!["10.1.0.2".to_owned()],
        host_ips: vec!["192.0.2.1".to_owned()],
        node_cpu_milli: 2000,
        node_memory: 1 << 30,
    };
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let env = resolve(&pod, container, &sources, &facts).map_err(|error| error.to_string())?;
    Ok(env.into_iter().map(|(key, value)| format!("{key}={value}")).collect())
}

#[track_caller]
fn check(spec: &str, expected: &[&str]) {
    assert_eq!(resolved(spec, "[]").unwrap(), expected, "given {spec}");
}

#[test]
fn values_see_what_came_before_them() {
    check("env: [{name: A, value: x}, {name: B, value: '$(A)-$(C)-$$(A)-$A'}]", &["A=x", "B=x-$(C)-$(A)-$A"]);
    check("env: [{name: A, value: x}, {name: A, value: y}]", &["A=y"]);
    check("env: [{name: A}]", &["A="]);
}

#[test]
fn references_are_resolved() {
    check(
        "env: [{name: A, valueFrom: {configMapKeyRef: {name: m, key: key}}}, {name: B, valueFrom: {configMapKeyRef: {name: no, key: x, optional: true}}}]",
        &["A=value"],
    );
    check("envFrom: [{prefix: P_, configMapRef: {name: m}}]", &["P_b.c=d", "P_key=value"]);
    for (path, expected) in [
        ("metadata.name", "p"),
        ("metadata.labels['app']", "web"),
        ("spec.nodeName", "n"),
        ("status.podIP", "10.1.0.2"),
        ("status.hostIP", "192.0.2.1"),
    ] {
        let spec = format!("env: [{{name: A, valueFrom: {{fieldRef: {{fieldPath: \"{path}\"}}}}}}]");
        check(&spec, &[&format!("A={expected}")]);
    }
    let resource = |name: &str, divisor: &str| {
        format!(
            "resources: {{limits: {{cpu: 1500m}}, requests: {{memory: 64Mi}}}}, \
             env: [{{name: A, valueFrom: {{resourceFieldRef: {{resource: {name}, divisor: {divisor}}}}}}}]"
        )
    };
    check(&resource("limits.cpu", "'0'"), &["A=2"]);
    check(&resource("limits.cpu", "1m"), &["A=1500"]);
    check(&resource("requests.memory", "1Mi"), &["A=64"]);
    check(&resource("limits.memory", "1Mi"), &["A=1024"]);
}

#[test]
fn what_is_missing_is_named() {
    for (spec, expected) in [
        ("env: [{name: A, valueFrom: {configMapKeyRef: {name: no, key: x}}}]", "configmap \"no\" not found"),
        (
            "env: [{name: A, valueFrom: {configMapKeyRef: {name: m, key: no}}}]",
            "couldn't find key no in ConfigMap default/m",
        ),
        ("envFrom: [{secretRef: {name: no}}]", "secret \"no\" not found"),
    ] {
        assert_eq!(resolved(spec, "[]").unwrap_err(), expected);
    }
}

#[test]
fn services_of_the_namespace_are_offered_and_never_override() {
    let env = resolved(
        "env: [{name: REDIS_MASTER_PORT, value: mine}, {name: A, value: $(KUBERNETES_SERVICE_HOST)}]",
        SERVICES,
    );
    let env = env.unwrap();
    for expected in [
        "REDIS_MASTER_PORT=mine",
        "A=10.0.0.1",
        "KUBERNETES_SERVICE_PORT_HTTPS=443",
        "REDIS_MASTER_SERVICE_HOST=10.0.0.9",
        "REDIS_MASTER_SERVICE_PORT=6379",
        "REDIS_MASTER_SERVICE_PORT_DB=6379",
        "REDIS_MASTER_PORT_6379_TCP=tcp://10.0.0.9:6379",
        "REDIS_MASTER_PORT_6379_TCP_PROTO=tcp",
        "REDIS_MASTER_PORT_6379_TCP_PORT=6379",
        "REDIS_MASTER_PORT_6379_TCP_ADDR=10.0.0.9",
    ] {
        assert!(env.iter().any(|line| line == expected), "{expected} in {env:#?}");
    }
    assert!(!env.iter().any(|line| line.starts_with("OTHER_") || line.starts_with("HEADLESS_")));
}

#[test]
fn dollars_that_open_nothing_stay() {
    let lookup = |name: &str| (name == "A").then(|| "x".to_owned());
    for (given, expected) in
        [("$", "$"), ("a$(A", "a$(A"), ("$$$(A)", "$x"), ("$()", "$()"), ("100%$", "100%$")]
    {
        assert_eq!(expand(given, lookup), expected);
    }
}
