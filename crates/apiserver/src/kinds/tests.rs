//! The smaller kinds in YAML and what becomes of them. Pods and services have their own files.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, ReplicationController, Secret, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy, ServiceCIDR};

use super::testing::{created, faults, given, printed, update_faults};
use super::*;

mod cbor;
mod every_field;
mod protobuf;

const NOW: &str = "2026-11-22T10:05:00Z";
const NONE: [&str; 0] = [];

#[test]
fn every_kind_is_in_the_table_once_and_has_a_column_for_its_age() {
    let mut seen = std::collections::HashSet::new();
    for row in ALL {
        assert!(seen.insert((row.group, row.version, row.plural)), "{}", row.plural);
        let headings: Vec<_> = row.ops.table().headings.into_iter().map(|heading| heading.name).collect();
        let ageless = [
            "LimitRange",
            "ComponentStatus",
            "CSIStorageCapacity",
            "ClusterRole",
            "ClusterTrustBundle",
            "CustomResourceDefinition",
            "Event",
            "IPAddress",
            "PodCertificateRequest",
            "PodTemplate",
            "Role",
            "StorageVersionMigration",
        ]
        .contains(&row.kind);
        assert_ne!(headings.iter().any(|name| name == "Age"), ageless, "{}: {headings:?}", row.kind);
    }
}

#[test]
fn namespaces_begin_active_with_their_label_and_finalizer() {
    let namespace = created::<Namespace>("{metadata: {name: blue}}");
    assert_eq!(namespace.metadata.labels.as_ref().unwrap()["kubernetes.io/metadata.name"], "blue");
    assert!(namespace.held());
    assert_eq!(printed(&namespace, NOW), "Status=Active Age=<unknown>");
    let mut leaving = namespace.clone();
    leaving.begin_deletion();
    assert_eq!(leaving.fields(), [("status.phase", "Terminating".to_owned())]);
    assert_eq!(
        faults::<Namespace>("{spec: {finalizers: [mine]}}"),
        [
            "spec.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified"
        ]
    );
}

#[test]
fn config_maps_have_keys_that_can_be_files() {
    assert_eq!(faults::<ConfigMap>("{data: {a.b: x}}"), NONE);
    let bad = faults::<ConfigMap>("{data: {'a/b': x, '..': w, c: z}, binaryData: {c: ''}}");
    assert_eq!(bad.len(), 3, "{bad:?}");
    assert_eq!(bad[0], "data[..]: Invalid value: \"..\": must not be '..'");
    assert_eq!(bad[2], "data[c]: Invalid value: \"c\": duplicate of key present in binaryData");
    let big = format!("{{data: {{a: '{}'}}}}", "x".repeat(1024 * 1024 + 1));
    assert_eq!(faults::<ConfigMap>(&big), [": Too long: may not be more than 1048576 bytes"]);
    assert_eq!(
        update_faults::<ConfigMap>("{immutable: true, data: {a: x}}", "{data: {a: z}}"),
        [
            "immutable: Forbidden: field is immutable when `immutable` is set",
            "data: Forbidden: field is immutable when `immutable` is set",
        ]
    );
}

#[test]
fn secrets_take_texts_and_check_what_their_type_needs() {
    let secret = created::<Secret>("{stringData: {a: hello}, data: {a: eA==, b: eA==}}");
    assert_eq!(secret.data.as_ref().unwrap()["a"].0, b"hello");
    assert!(secret.string_data.is_none());
    assert_eq!(printed(&secret, NOW), "Type=Opaque Data=2 Age=<unknown>");
    assert_eq!(
        faults::<Secret>("{type: kubernetes.io/tls, stringData: {tls.crt: x}}"),
        ["data[tls.key]: Required value"]
    );
    assert_eq!(
        faults::<Secret>("{type: kubernetes.io/service-account-token}"),
        ["metadata.annotations[kubernetes.io/service-account.name]: Required value"]
    );
    let wrong =
        faults::<Secret>("{type: kubernetes.io/dockerconfigjson, stringData: {.dockerconfigjson: hunter2}}");
    assert!(wrong[0].contains("<secret contents redacted>") && !wrong[0].contains("hunter2"), "{wrong:?}");
    let moved = update_faults::<Secret>("{type: a}", "{type: b}");
    assert_eq!(moved, ["type: Invalid value: \"b\": field is immutable"]);
}

#[test]
fn service_accounts_keep_the_names_of_secrets_only() {
    let account = created::<ServiceAccount>("{secrets: [{name: s, namespace: b, uid: u}]}");
    assert_eq!(serde_json::to_value(&account.secrets).unwrap(), serde_json::json!([{"name": "s"}]));
    assert_eq!(printed(&account, NOW), "Secrets=1 Age=<unknown>");
}

#[test]
fn nodes_show_their_condition_roles_and_facts() {
    let node: Node = given(
        "{metadata: {name: m, labels: {node-role.kubernetes.io/worker: '', node-role.kubernetes.io/control-plane: ''}}, \
         spec: {unschedulable: true}, status: {conditions: [{type: Ready, status: 'True'}], addresses: [{type: InternalIP, \
         address: 10.1.0.1}], nodeInfo: {architecture: a, bootID: b, containerRuntimeVersion: containerd://1, \
         kernelVersion: '6', kubeProxyVersion: '', kubeletVersion: v1, machineID: '', operatingSystem: linux, osImage: \
         Debian, systemUUID: ''}}}",
    );
    assert_eq!(
        printed(&node, NOW),
        "Status=Ready,SchedulingDisabled Roles=control-plane,worker Age=<unknown> Version=v1 Internal-IP=10.1.0.1 \
         External-IP=<none> OS-Image=Debian Kernel-Version=6 Container-Runtime=containerd://1"
    );
    assert_eq!(
        faults::<Node>(
            "{spec: {taints: [{key: a, effect: Explode}, {key: b, effect: NoExecute}, {key: b, effect: NoExecute}]}}"
        ),
        [
            "spec.taints[0].effect: Unsupported value: \"Explode\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
            "spec.taints[2]: Duplicate value: {\"effect\":\"NoExecute\",\"key\":\"b\"}",
        ]
    );
    assert_eq!(
        update_faults::<Node>("{spec: {podCIDR: 10.0.0.0/24}}", "{spec: {podCIDR: 10.0.1.0/24}}"),
        ["spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid"]
    );
}

#[test]
fn replication_controllers_take_selector_and_labels_from_the_template() {
    let rc = created::<ReplicationController>(
        "{metadata: {name: r}, spec: {template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}",
    );
    let spec = rc.spec.as_ref().unwrap();
    assert_eq!((spec.replicas, spec.selector.as_ref().unwrap()["a"].as_str()), (Some(1), "b"));
    assert_eq!(rc.metadata.labels.as_ref().unwrap()["a"], "b");
    assert_eq!(
        printed(&rc, NOW),
        "Desired=1 Current=0 Ready=0 Age=<unknown> Containers=c Images=i Selector=a=b"
    );
    assert_eq!(
        faults::<ReplicationController>(
            "{spec: {replicas: -1, selector: {x: z}, template: {metadata: {labels: {a: b}}, spec: {restartPolicy: Never, \
             containers: [{name: c, image: i}]}}}}"
        ),
        [
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        ]
    );
    assert_eq!(
        faults::<ReplicationController>("{spec: {}}"),
        ["spec.selector: Required value", "spec.template: Required value"]
    );
    let scaled = ReplicationController { spec: None, ..rc.clone() };
    assert!(scaled.generation_changed(&rc));
}

#[test]
fn endpoints_and_slices_list_a_few_addresses() {
    let endpoints: Endpoints =
        given("{subsets: [{addresses: [{ip: 10.0.0.1}, {ip: 10.0.0.2}], ports: [{port: 80}, {port: 81}]}]}");
    assert_eq!(
        printed(&endpoints, NOW),
        "Endpoints=10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 1 more... Age=<unknown>"
    );
    assert_eq!(
        faults::<Endpoints>(
            "{subsets: [{ports: [{port: 80}, {port: 0, name: x}]}, {addresses: [{ip: 127.0.0.1}]}]}"
        ),
        [
            "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
            "subsets[0].ports[0].name: Required value",
            "subsets[0].ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "subsets[1].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ]
    );
    let slice = created::<EndpointSlice>(
        "{addressType: IPv4, endpoints: [{addresses: [10.0.0.1]}], ports: [{port: 80}, {name: x, port: 81}]}",
    );
    assert_eq!(printed(&slice, NOW), "AddressType=IPv4 Ports=80,81 Endpoints=10.0.0.1 Age=<unknown>");
    assert_eq!(
        faults::<EndpointSlice>("{addressType: IPX, endpoints: [{addresses: []}], ports: [{port: 0}, {}]}"),
        [
            "addressType: Unsupported value: \"IPX\": supported values: \"FQDN\", \"IPv4\", \"IPv6\"",
            "endpoints[0].addresses: Required value: must contain at least 1 address",
            "ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "ports[1].name: Duplicate value: \"\"",
        ]
    );
}

#[test]
fn events_belong_to_the_namespace_of_their_object() {
    let event: Event = given(
        "{metadata: {name: e, namespace: b}, involvedObject: {kind: Pod, name: p, namespace: b, fieldPath: 'spec.containers{c}'}, \
         reason: Started, type: Normal, message: ' hi ', count: 3, firstTimestamp: '2026-11-22T10:00:00Z', lastTimestamp: \
         '2026-11-22T10:04:55Z', source: {component: kubelet, host: m}}",
    );
    assert_eq!(
        printed(&event, NOW),
        "Last Seen=5s Type=Normal Reason=Started Object=pod/p Subobject=spec.containers{c} Source=kubelet, m Message=hi \
         First Seen=5m Count=3 Name=e"
    );
    assert_eq!(
        faults::<Event>("{metadata: {namespace: b}, involvedObject: {namespace: c}}"),
        ["involvedObject.namespace: Invalid value: \"c\": does not match event.namespace"]
    );
    assert_eq!(
        faults::<Event>(
            "{metadata: {namespace: default}, involvedObject: {}, eventTime: '2026-11-22T10:00:00.000000Z'}"
        )
        .len(),
        4
    );
}

#[test]
fn leases_last_and_count() {
    let lease: Lease = given("{spec: {holderIdentity: me}}");
    assert_eq!(printed(&lease, NOW), "Holder=me Age=<unknown>");
    assert_eq!(
        faults::<Lease>("{spec: {leaseDurationSeconds: 0, leaseTransitions: -1}}"),
        [
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
        ]
    );
}

#[test]
fn ingresses_name_hosts_paths_and_one_backend_each() {
    let ingress = created::<Ingress>(
        "{spec: {ingressClassName: skiff, tls: [{hosts: [a.b]}], rules: [{host: a.b}, {host: c.d}, {host: e.f}, {host: g.h}]}}",
    );
    assert_eq!(
        printed(&ingress, NOW),
        "Class=skiff Hosts=a.b,c.d,e.f + 1 more... Address= Ports=80, 443 Age=<unknown>"
    );
    assert_eq!(
        faults::<Ingress>("{spec: {}}"),
        ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]
    );
    let bad = "{spec: {rules: [{host: 1.2.3.4, http: {paths: [{pathType: Prefix, path: 'a//b', backend: {}}, \
               {pathType: Exact, path: /, backend: {service: {name: s, port: {name: x, number: 1}}}}]}}]}}";
    assert_eq!(
        faults::<Ingress>(bad),
        [
            "spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address",
            "spec.rules[0].http.paths[0].path: Invalid value: \"a//b\": must be an absolute path",
            "spec.rules[0].http.paths[0].path: Invalid value: \"a//b\": must not contain '//'",
            "spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend is required",
            "spec.rules[0].http.paths[1].backend: Invalid value: \"\": cannot set both port name & port number",
        ]
    );
}

#[test]
fn network_policies_default_to_what_their_rules_imply() {
    let policy = created::<NetworkPolicy>("{spec: {egress: [{ports: [{port: 80}]}]}}");
    let spec = policy.spec.unwrap();
    assert_eq!(spec.policy_types.unwrap(), ["Ingress", "Egress"]);
    assert_eq!(spec.egress.unwrap()[0].ports.as_ref().unwrap()[0].protocol.as_deref(), Some("TCP"));
    let bad = "{spec: {ingress: [{ports: [{port: http, endPort: 9}], from: [{}, {ipBlock: {cidr: 10.0.0.1/8, \
               except: [11.0.0.0/16]}}]}]}}";
    assert_eq!(
        faults::<NetworkPolicy>(bad),
        [
            "spec.ingress[0].ports[0].endPort: Invalid value: 9: may not be specified when `port` is non-numeric",
            "spec.ingress[0].from[0]: Required value: must specify a peer",
            "spec.ingress[0].from[1].ipBlock.cidr: Invalid value: \"10.0.0.1/8\": must not have bits set beyond the \
             prefix length",
            "spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of \
             `cidr`",
        ]
    );
}

#[test]
fn service_ranges_may_become_dual_stack_and_nothing_else() {
    let one = "{spec: {cidrs: [10.0.0.0/16]}}";
    assert_eq!(update_faults::<ServiceCIDR>(one, "{spec: {cidrs: [10.0.0.0/16, '2001:db8::/64']}}"), NONE);
    assert_eq!(
        update_faults::<ServiceCIDR>(one, "{spec: {cidrs: [10.1.0.0/16]}}"),
        ["spec.cidrs[0]: Invalid value: \"10.1.0.0/16\": field is immutable"]
    );
    assert_eq!(check::canonical_ip("2001:DB8::1"), ["must be in canonical form (\"2001:db8::1\")"]);
}
