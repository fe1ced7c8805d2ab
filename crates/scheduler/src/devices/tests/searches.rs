//! Which devices are found.

use serde_json::json;

use super::{check, claim, given, holder, refused, told, world};

const THREE: &str = "slices: [{nodeName: a, devices: [{name: g0, attributes: {model: {string: big}, numa: {int: 0}}}, \
    {name: g1, attributes: {model: {string: small}, numa: {int: 1}}}, {name: g2, attributes: {model: {string: big}, numa: {int: 1}}}]}]";

fn three(claims: &[String]) -> String {
    format!("{{{THREE}, claims: [{}]}}", claims.join(", "))
}

#[test]
fn a_claim_gets_the_first_free_device_that_it_means() {
    check(&three(&[claim("c", "")]), &["c"], "a: r=a/g0");
    check(&three(&[claim("c", ""), holder("gpu.example.com/a/g0")]), &["c"], "a: r=a/g1");
    let big = "selectors: [{cel: {expression: \"device.attributes['gpu.example.com'].model == 'big'\"}}]";
    check(&three(&[claim("c", big), holder("gpu.example.com/a/g0")]), &["c"], "a: r=a/g2");
    check(&three(&[claim("c", "count: 2"), claim("d", "")]), &["c", "d"], "a: r=a/g0 r=a/g1 r=a/g2");
    let two = format!("{big}, count: 2");
    check(&three(&[claim("c", ""), claim("d", &two)]), &["d", "c"], "a: r=a/g0 r=a/g2 r=a/g1");
    // The first solution would leave nothing for the second claim.
    check(&three(&[claim("c", ""), claim("d", &two)]), &["c", "d"], "a: r=a/g1 r=a/g0 r=a/g2");
    check(&three(&[claim("c", "count: 4")]), &["c"], &refused("cannot allocate all claims"));
}

#[test]
fn devices_of_other_nodes_and_of_other_classes_are_not_found() {
    let slices = "nodes: [{metadata: {name: a}}, {metadata: {name: b}}], slices: [{nodeName: b, devices: [{name: g0}]}]";
    check(&format!("{{{slices}, claims: [{}]}}", claim("c", "")), &["c"], "b: r=b/g0");
    let nic =
        "{metadata: {name: c}, spec: {devices: {requests: [{name: r, exactly: {deviceClassName: nic}}]}}}";
    check(&format!("{{{THREE}, claims: [{nic}]}}"), &["c"], &refused("cannot allocate all claims"));
    let none = nic.replace("nic", "fpga");
    check(
        &format!("{{{THREE}, claims: [{none}]}}"),
        &["c"],
        "0/1 nodes are available: request r: device class fpga does not exist. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
    );
}

#[test]
fn all_means_all_or_none() {
    check(&three(&[claim("c", "allocationMode: All")]), &["c"], "a: r=a/g0 r=a/g1 r=a/g2");
    let nothing = refused("cannot allocate all claims");
    check(&three(&[claim("c", "allocationMode: All"), holder("gpu.example.com/a/g1")]), &["c"], &nothing);
    let none = "allocationMode: All, selectors: [{cel: {expression: 'false'}}]";
    check(&three(&[claim("c", none)]), &["c"], &nothing);
    let half = "slices: [{nodeName: a, pool: {resourceSliceCount: 2}, devices: [{name: g0}]}]";
    let world = format!("{{{half}, claims: [{}]}}", claim("c", "allocationMode: All"));
    let why = "claim blue/c, request r: asks for all devices, but resource pool gpu.example.com/a is currently being updated";
    check(&world, &["c"], &refused(why));
}

#[test]
fn pools_count_when_they_are_complete_and_as_their_newest_generation_says() {
    let half = "{nodeName: a, pool: {resourceSliceCount: 2}, devices: [{name: g0}]}";
    let other = "{nodeName: a, pool: {resourceSliceCount: 2}, devices: [{name: g1}]}";
    let newer = "{nodeName: a, pool: {generation: 2}, devices: [{name: g7}]}";
    let twice = "{nodeName: a, pool: {resourceSliceCount: 2}, devices: [{name: g0}]}";
    for (slices, expected) in [
        (vec![half], refused("cannot allocate all claims")),
        (vec![half, other], "a: r=a/g0".to_owned()),
        (vec![half, other, newer], "a: r=a/g7".to_owned()),
        (vec![half, newer], "a: r=a/g7".to_owned()),
        (vec![half, twice], refused("invalid resource pools were encountered")),
    ] {
        let world = format!("{{slices: [{}], claims: [{}]}}", slices.join(", "), claim("c", ""));
        check(&world, &["c"], &expected);
    }
    let mut changing = world(&format!("{{slices: [{half}, {other}], claims: [{}]}}", claim("c", "")));
    changing.devices.inventory.remove("slice0");
    assert_eq!(told(&mut changing, &["c"]), refused("cannot allocate all claims"));
}

#[test]
fn who_has_admin_access_takes_nothing_from_anybody() {
    let held = holder("gpu.example.com/a/g0");
    let admin = claim("c", "adminAccess: true");
    check(&three(&[admin.clone(), held]), &["c"], "a: r=a/g0");
    let two = claim("c", "adminAccess: true, count: 2");
    check(&three(&[two, claim("d", "")]), &["c", "d"], "a: r=a/g0 r=a/g1 r=a/g2");
    let mut watched = world(&three(&[admin]));
    let watching = given(&mut watched, &["c"]).unwrap().1.remove(0);
    watched.devices.usage.promise("c-uid", 1, &watching);
    assert!(!watched.devices.usage.is_used("gpu.example.com/a/g0"));
}

#[test]
fn tainted_devices_are_for_those_who_tolerate_them() {
    let slice = |effect: &str| {
        format!(
            "slices: [{{nodeName: a, devices: [{{name: g0, taints: [{{key: k, value: v, effect: {effect}}}]}}]}}]"
        )
    };
    let nothing = refused("cannot allocate all claims");
    let tolerant = claim("c", "tolerations: [{key: k, operator: Exists}]");
    for (effect, claim, expected) in [
        ("NoSchedule", claim("c", ""), nothing.as_str()),
        ("NoExecute", claim("c", ""), nothing.as_str()),
        ("None", claim("c", ""), "a: r=a/g0"),
        ("NoSchedule", tolerant.clone(), "a: r=a/g0"),
        ("NoSchedule", claim("c", "tolerations: [{key: k, operator: Equal, value: w}]"), nothing.as_str()),
    ] {
        check(&format!("{{{}, claims: [{claim}]}}", slice(effect)), &["c"], expected);
    }
    let rule = "rules: [{spec: {deviceSelector: {driver: gpu.example.com, device: g0}, taint: {key: k, effect: NoSchedule}}}]";
    check(&format!("{{{THREE}, {rule}, claims: [{}]}}", claim("c", "")), &["c"], "a: r=a/g1");
    check(&format!("{{{THREE}, {rule}, claims: [{tolerant}]}}"), &["c"], "a: r=a/g0");
}

#[test]
fn the_first_alternative_that_there_is_wins() {
    let prioritised = "{metadata: {name: c}, spec: {devices: {requests: [{name: r, firstAvailable: [\
        {name: nic, deviceClassName: nic}, {name: two, deviceClassName: gpu, count: 2}, {name: one, deviceClassName: gpu}]}]}}}";
    check(&three(&[prioritised.to_owned()]), &["c"], "a: r/two=a/g0 r/two=a/g1");
    let held = [prioritised.to_owned(), holder("gpu.example.com/a/g0"), holder("gpu.example.com/a/g1")];
    check(&three(&held), &["c"], "a: r/one=a/g2");
    // The node where a better alternative is to be had is the better node.
    let two_nodes = "nodes: [{metadata: {name: a}}, {metadata: {name: b}}], slices: [{nodeName: a, devices: [{name: g0}]}, \
        {nodeName: b, devices: [{name: g0}, {name: g1}]}]";
    check(&format!("{{{two_nodes}, claims: [{prioritised}]}}"), &["c"], "b: r/two=b/g0 r/two=b/g1");
}

#[test]
fn constraints_hold_among_the_devices_of_a_claim() {
    let constrained = |constraint: &str| {
        format!(
            "{{metadata: {{name: c}}, spec: {{devices: {{constraints: [{constraint}], requests: [{{name: r, exactly: {{deviceClassName: gpu}}}}, {{name: s, exactly: {{deviceClassName: gpu}}}}]}}}}}}"
        )
    };
    for (constraint, expected) in [
        ("{matchAttribute: gpu.example.com/model}", "a: r=a/g0 s=a/g2".to_owned()),
        ("{matchAttribute: gpu.example.com/numa}", "a: r=a/g1 s=a/g2".to_owned()),
        ("{matchAttribute: gpu.example.com/none}", refused("cannot allocate all claims")),
        ("{matchAttribute: gpu.example.com/numa, requests: [s]}", "a: r=a/g0 s=a/g1".to_owned()),
        ("{distinctAttribute: gpu.example.com/numa}", "a: r=a/g0 s=a/g1".to_owned()),
        (
            "{distinctAttribute: gpu.example.com/numa}, {matchAttribute: gpu.example.com/model}",
            "a: r=a/g0 s=a/g2".to_owned(),
        ),
    ] {
        check(&three(&[constrained(constraint)]), &["c"], &expected);
    }
}

#[test]
fn an_allocation_says_how_devices_are_set_up_and_where_they_can_be_used() {
    let opaque = |who: &str| format!("opaque: {{driver: gpu.example.com, parameters: {{who: {who}}}}}");
    let class =
        format!("classes: [{{metadata: {{name: set}}, spec: {{config: [{{{}}}]}}}}]", opaque("class"));
    let claim = format!(
        "{{metadata: {{name: c}}, spec: {{devices: {{config: [{{requests: [r], {}}}, {{requests: [t], {}}}, {{{}}}], requests: [\
         {{name: r, exactly: {{deviceClassName: set}}}}, {{name: s, exactly: {{deviceClassName: set}}}}]}}}}}}",
        opaque("r"),
        opaque("t"),
        opaque("all")
    );
    let mut set = world(&format!("{{{THREE}, {class}, claims: [{claim}]}}"));
    let allocation = given(&mut set, &["c"]).unwrap().1.remove(0);
    let config = json!(allocation.devices.unwrap().config);
    let parameters = |who: &str| json!({ "driver": "gpu.example.com", "parameters": { "who": who } });
    assert_eq!(
        config,
        json!([
            { "source": "FromClass", "requests": ["r", "s"], "opaque": parameters("class") },
            { "source": "FromClaim", "requests": ["r"], "opaque": parameters("r") },
            { "source": "FromClaim", "opaque": parameters("all") },
        ])
    );
    let by_name = json!({ "nodeSelectorTerms": [{ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["a"] }] }] });
    assert_eq!(json!(allocation.node_selector), by_name);
}

#[test]
fn slices_reach_the_nodes_that_they_say() {
    let by_label =
        "nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [a]}]}]";
    let nothing = refused("cannot allocate all claims");
    let elsewhere = by_label.replace("[a]", "[b]");
    let selector = |labels: &str| format!("nodeSelector: {{{labels}}}");
    for (slice, expected, selects) in [
        ("allNodes: true, devices: [{name: g0}]".to_owned(), "a: r=pool0/g0", false),
        (format!("{}, devices: [{{name: g0}}]", selector(by_label)), "a: r=pool0/g0", true),
        (format!("{}, devices: [{{name: g0}}]", selector(&elsewhere)), nothing.as_str(), false),
        (
            format!(
                "perDeviceNodeSelection: true, devices: [{{name: g0, nodeName: b}}, {{name: g1, {}}}]",
                selector(by_label)
            ),
            "a: r=pool0/g1",
            true,
        ),
        (
            "perDeviceNodeSelection: true, devices: [{name: g0, allNodes: true}]".to_owned(),
            "a: r=pool0/g0",
            false,
        ),
    ] {
        let mut reached = world(&format!("{{slices: [{{{slice}}}], claims: [{}]}}", claim("c", "")));
        assert_eq!(told(&mut reached, &["c"]), expected, "{slice}");
        let allocation = given(&mut reached, &["c"]).ok().map(|(_, mut given)| given.remove(0));
        let terms = allocation.and_then(|given| given.node_selector);
        assert_eq!(terms.is_some(), selects, "{slice}");
    }
}

#[test]
fn a_claim_that_has_its_devices_is_used_where_they_can_be() {
    let on = |node: &str, more: &str| {
        format!(
            "{{nodes: [{{metadata: {{name: a}}}}], claims: [{{metadata: {{name: c}}, status: {{{more} allocation: {{nodeSelector: {{nodeSelectorTerms: [\
             {{matchFields: [{{key: metadata.name, operator: In, values: [{node}]}}]}}]}}}}}}}}]}}"
        )
    };
    check(&on("a", ""), &["c"], "a:");
    let why = |words: &str| {
        format!(
            "0/1 nodes are available: 1 resourceclaim not available on the node. {words}, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        )
    };
    // Nobody uses it: it may get other devices.
    check(&on("b", ""), &["c"], &why("deallocation of ResourceClaim completed"));
    check(
        &on("b", "reservedFor: [{resource: pods, name: x, uid: x}],"),
        &["c"],
        &why("still not schedulable"),
    );
}

#[test]
fn what_cannot_be_told_or_had_is_said_in_upstreams_words() {
    let selector = |expression: &str| format!("selectors: [{{cel: {{expression: \"{expression}\"}}}}]");
    let unknown = selector("device.attributes['gpu.example.com'].size > 1");
    let why = refused("claim blue/c: selector #0: CEL runtime error: no such key: size");
    check(&three(&[claim("c", &unknown)]), &["c"], &why);
    let many = "0/1 nodes are available: claim blue/c: number of requested devices 33 exceeds the claim limit of 32. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    check(&three(&[claim("c", "count: 33")]), &["c"], many);
    let mut none = world(&three(&[]));
    assert!(
        told(&mut none, &["c"]).contains("nodes are available: could not find ResourceClaim \"blue/c\".")
    );
    let mut pending = world(&three(&[claim("c", "")]));
    let own = given(&mut pending, &["c"]).unwrap().1.remove(0);
    pending.devices.usage.promise("\"c\"-uid", 1, &own);
    assert!(
        told(&mut pending, &["c"]).contains("resource claim blue/c is in the process of being allocated")
    );
}

#[test]
fn a_search_without_an_end_ends() {
    let devices: Vec<String> =
        (0..40).map(|n| format!("{{name: d{n}, attributes: {{one: {{int: {n}}}}}}}")).collect();
    let hopeless = "{metadata: {name: c}, spec: {devices: {requests: [{name: r, exactly: {deviceClassName: gpu, count: 12}}, \
        {name: s, exactly: {deviceClassName: nic}}]}}}";
    let world =
        format!("{{slices: [{{nodeName: a, devices: [{}]}}], claims: [{hopeless}]}}", devices.join(", "));
    check(&world, &["c"], &refused("timed out trying to allocate devices"));
}
