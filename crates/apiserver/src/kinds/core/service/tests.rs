//! Services in YAML and what becomes of them.

use serde_json::json;

use super::*;
use crate::kinds::testing::{created, faults, given, printed, shown, update_faults};

#[test]
fn a_small_service_is_filled_in() {
    let service = created::<Service>("{metadata: {name: a}, spec: {selector: {a: b}, ports: [{port: 80}]}}");
    let expected = json!({
        "selector": {"a": "b"}, "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}], "type": "ClusterIP",
        "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
    });
    assert_eq!(serde_json::to_value(service.spec).unwrap(), expected);
    let balanced =
        created::<Service>("{spec: {type: LoadBalancer, sessionAffinity: ClientIP, ports: [{port: 80}]}}");
    let spec = serde_json::to_value(balanced.spec).unwrap();
    assert_eq!(spec["externalTrafficPolicy"], "Cluster");
    assert_eq!(spec["allocateLoadBalancerNodePorts"], true);
    assert_eq!(spec["sessionAffinityConfig"], json!({"clientIP": {"timeoutSeconds": 10800}}));
}

#[test]
fn an_address_of_a_balancer_is_virtual_unless_it_says_otherwise() {
    let text = "{spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: [{ip: 1.2.3.4}, {hostname: h}, {ip: 1.2.3.5, ipMode: Proxy}]}}}";
    let mut service: Service = given(text);
    service.set_defaults();
    let ingress = service.status.unwrap().load_balancer.unwrap().ingress.unwrap();
    let modes: Vec<_> = ingress.iter().map(|point| point.ip_mode.as_deref()).collect();
    assert_eq!(modes, [Some("VIP"), None, Some("Proxy")]);
}

#[test]
fn faults_are_found_all_at_once() {
    for (yaml, expected) in [
        ("{spec: {}}", vec!["spec.ports: Required value"]),
        ("{spec: {clusterIP: None}}", vec![]),
        (
            "{spec: {type: Magic, sessionAffinity: X, ports: [{port: 0}, {port: 80, protocol: ICMP, name: a}, {port: 80, \
             name: a, protocol: ICMP, nodePort: 5}], externalIPs: [127.0.0.1, x]}}",
            vec![
                "spec.ports[0].name: Required value",
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ports[1].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
                "spec.ports[2].name: Duplicate value: \"a\"",
                "spec.ports[2].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
                "spec.sessionAffinity: Unsupported value: \"X\": supported values: \"ClientIP\", \"None\"",
                "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
                "spec.externalIPs[1]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                "spec.type: Unsupported value: \"Magic\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
                "spec.ports[2]: Duplicate value: {\"port\":80,\"protocol\":\"ICMP\"}",
            ],
        ),
        (
            "{spec: {type: ExternalName, clusterIP: 10.0.0.1}}",
            vec![
                "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
                "spec.externalName: Required value",
            ],
        ),
        (
            "{spec: {type: NodePort, clusterIP: None, ports: [{port: 80}]}}",
            vec![
                "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
            ],
        ),
        (
            "{spec: {ports: [{port: 80, nodePort: 30000}], ipFamilies: [IPv6], externalTrafficPolicy: Local}}",
            vec![
                "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
                "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
            ],
        ),
    ] {
        assert_eq!(faults::<Service>(yaml), expected, "{yaml}");
    }
}

#[test]
fn addresses_and_families_go_together() {
    for (yaml, expected) in [
        (
            "clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, \"fd00::1\"], ipFamilies: [IPv4, IPv6], ipFamilyPolicy: RequireDualStack",
            vec![],
        ),
        (
            "clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, 10.0.0.2], ipFamilies: [IPv6, IPv6, IPX], ipFamilyPolicy: Any",
            vec![
                "spec.ipFamilies[1]: Duplicate value: \"IPv6\"",
                "spec.ipFamilies[2]: Unsupported value: \"IPX\": supported values: \"IPv4\", \"IPv6\"",
                "spec.ipFamilyPolicy: Unsupported value: \"Any\": supported values: \"PreferDualStack\", \"RequireDualStack\", \"SingleStack\"",
                "spec.clusterIPs: Invalid value: [\"10.0.0.1\",\"10.0.0.2\"]: may specify no more than one IP for each IP family",
                "spec.clusterIPs[0]: Invalid value: \"10.0.0.1\": expected an IPv6 value as indicated by `ipFamilies[0]`",
                "spec.clusterIPs[1]: Invalid value: \"10.0.0.2\": expected an IPv6 value as indicated by `ipFamilies[1]`",
            ],
        ),
        (
            "clusterIP: None, clusterIPs: [None, x]",
            vec![
                "spec.clusterIPs: Invalid value: [\"None\",\"x\"]: 'None' must be the first and only value",
                "spec.clusterIPs[1]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ],
        ),
    ] {
        assert_eq!(
            faults::<Service>(&format!("{{spec: {{ports: [{{port: 80}}], {yaml}}}}}")),
            expected,
            "{yaml}"
        );
    }
}

#[test]
fn the_second_address_may_come_and_go_but_not_become_another() {
    let spec = |ips: &str| {
        format!("{{spec: {{ports: [{{port: 80}}], clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1{ips}]}}}}")
    };
    let change = |old: &str, new: &str| update_faults::<Service>(&spec(old), &spec(new));
    assert_eq!(change("", ", \"fd00::1\""), Vec::<String>::new());
    assert_eq!(change(", \"fd00::1\"", ""), Vec::<String>::new());
    let moved = change(", \"fd00::1\"", ", \"fd00::2\"");
    assert_eq!(
        moved,
        ["spec.clusterIPs[1]: Invalid value: [\"10.0.0.1\",\"fd00::2\"]: may not change once set"]
    );
}

#[test]
fn what_was_given_out_stays_through_a_put_without_it() {
    let old: Service = created(
        "{spec: {type: NodePort, clusterIP: 10.0.0.9, clusterIPs: [10.0.0.9], ports: [{name: a, port: 80, nodePort: 30001}]}}",
    );
    let mut new: Service = given("{spec: {type: NodePort, ports: [{name: a, port: 81}]}}");
    new.set_defaults();
    new.prepare_update(&old);
    let spec = new.spec.clone().unwrap();
    assert_eq!(spec.cluster_ips, Some(vec!["10.0.0.9".to_owned()]));
    assert_eq!(spec.ports.unwrap()[0].node_port, Some(30001));
    let mut plain: Service =
        given("{spec: {type: ClusterIP, ports: [{name: a, port: 80, nodePort: 30001}]}}");
    plain.set_defaults();
    plain.prepare_update(&old);
    assert_eq!(plain.spec.unwrap().ports.unwrap()[0].node_port, None);
    let moved = update_faults::<Service>(
        "{spec: {clusterIP: 10.0.0.9, ports: [{port: 80}]}}",
        "{spec: {clusterIP: 10.0.0.8, ports: [{port: 80}]}}",
    );
    assert_eq!(moved, ["spec.clusterIPs[0]: Invalid value: [\"10.0.0.8\"]: may not change once set"]);
}

#[test]
fn the_table_shows_addresses_and_ports() {
    let service: Service = given(
        "{metadata: {name: a}, spec: {type: NodePort, clusterIP: 10.0.0.9, selector: {x: z, a: b}, ports: [{port: 80, \
         nodePort: 30001, protocol: TCP}, {port: 53, protocol: UDP}]}}",
    );
    assert_eq!(
        printed(&service, "2026-11-22T10:05:00Z"),
        "Type=NodePort Cluster-IP=10.0.0.9 External-IP=<none> Port(s)=80:30001/TCP,53/UDP Age=<unknown> Selector=a=b,x=z"
    );
}

#[test]
fn where_a_balancer_is_reached_is_checked_and_goes_with_the_type() {
    let faults = |text: &str| {
        let mut service: Service = given(text);
        service.set_defaults();
        shown(|errors| service.validate_status(&service, errors))
    };
    let balanced = |points: &str| {
        faults(&format!(
            "{{spec: {{type: LoadBalancer}}, status: {{loadBalancer: {{ingress: [{points}]}}}}}}"
        ))
    };
    assert!(balanced("{ip: 1.2.3.4}, {hostname: a.example, ports: []}").is_empty());
    let at = "status.loadBalancer.ingress[0]";
    assert_eq!(balanced("{ip: x}"), [format!("{at}.ip: Invalid value: \"x\": {}", check::NO_IP)]);
    assert_eq!(
        balanced("{hostname: 1.2.3.4}"),
        [format!("{at}.hostname: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address")]
    );
    assert_eq!(
        balanced("{hostname: h, ipMode: VIP}"),
        [format!("{at}.ipMode: Forbidden: may not be specified when `ip` is not set")]
    );
    assert_eq!(
        balanced("{ip: 1.2.3.4, ipMode: Magic}"),
        [format!("{at}.ipMode: Unsupported value: \"Magic\": supported values: \"Proxy\", \"VIP\"")]
    );
    assert_eq!(
        faults("{spec: {type: NodePort}, status: {loadBalancer: {ingress: [{ip: 1.2.3.4}]}}}"),
        ["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"]
    );

    let old: Service =
        given("{spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: [{ip: 1.2.3.4}]}}}");
    for (kind, stays) in [("LoadBalancer", true), ("NodePort", false)] {
        let mut new: Service = given(&format!("{{spec: {{type: {kind}}}}}"));
        new.prepare_update(&old);
        assert_eq!(new.status.unwrap().load_balancer.unwrap().ingress.is_some(), stays, "{kind}");
    }
}
