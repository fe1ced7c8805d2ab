//! Pod groups and workloads in YAML and what becomes of them.

use k8s_openapi::api::scheduling::v1beta1::{PodGroup, Workload};

use crate::kinds::testing::{created, faults, update_faults};

const NONE: [&str; 0] = [];

fn gang(count: i32) -> String {
    format!("{{spec: {{schedulingPolicy: {{gang: {{minCount: {count}}}}}}}}}")
}

#[test]
fn a_group_is_disrupted_pod_by_pod_unless_it_says_otherwise() {
    let group = created::<PodGroup>(&gang(3));
    let mode = group.spec.disruption_mode.unwrap();
    assert!(mode.single.is_some() && mode.all.is_none());
    assert_eq!(group.metadata.generation, Some(1));
}

#[test]
fn what_other_gates_bring_is_dropped() {
    let group = created::<PodGroup>(
        "{spec: {parentCompositePodGroupName: up, preemptionPolicy: Never, schedulingPolicy: {basic: {}}, \
         schedulingConstraints: {topology: [{key: rack}]}, resourceClaims: [{name: c, resourceClaimName: c}]}}",
    );
    let spec = group.spec;
    assert_eq!((spec.parent_composite_pod_group_name, spec.preemption_policy), (None, None));
    assert_eq!((spec.scheduling_constraints, spec.resource_claims), (None, None));
}

#[test]
fn a_group_has_exactly_one_policy() {
    assert_eq!(faults::<PodGroup>(&gang(1)), NONE);
    assert_eq!(faults::<PodGroup>("{spec: {schedulingPolicy: {basic: {}}}}"), NONE);
    assert_eq!(
        faults::<PodGroup>("{spec: {schedulingPolicy: {}}}"),
        ["spec.schedulingPolicy: Invalid value: \"\": must specify one of: `basic`, `gang`"]
    );
    assert_eq!(
        faults::<PodGroup>("{spec: {schedulingPolicy: {basic: {}, gang: {minCount: 1}}}}"),
        [
            "spec.schedulingPolicy: Invalid value: \"{`basic`, `gang`}\": exactly one of `basic`, `gang` is required, but multiple fields are set"
        ]
    );
    assert_eq!(faults::<PodGroup>(&gang(0)), ["spec.schedulingPolicy.gang.minCount: Required value"]);
    assert_eq!(
        faults::<PodGroup>(&gang(-1)),
        ["spec.schedulingPolicy.gang.minCount: Invalid value: -1: must be greater than or equal to 1"]
    );
    assert_eq!(
        faults::<PodGroup>(
            "{spec: {schedulingPolicy: {basic: {}}, workloadRef: {workloadName: '', templateName: A}, priority: 1000000001}}"
        ),
        [
            "spec.workloadRef.workloadName: Required value",
            "spec.workloadRef.templateName: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            "spec.priority: Invalid value: 1000000001: must be less than or equal to 1000000000",
        ]
    );
}

#[test]
fn of_a_group_only_how_many_must_go_may_change() {
    assert_eq!(update_faults::<PodGroup>(&gang(3), &gang(2)), NONE);
    assert_eq!(
        update_faults::<PodGroup>(&gang(3), "{spec: {schedulingPolicy: {basic: {}}, priority: 7}}"),
        [
            "spec.schedulingPolicy.basic: Invalid value: {}: field is immutable",
            "spec.schedulingPolicy.gang: Invalid value: null: field cannot be cleared once set",
            "spec.priority: Invalid value: 7: field is immutable",
        ]
    );
}

#[test]
fn a_workload_has_one_to_eight_templates_of_different_names() {
    let of = |templates: &str| format!("{{spec: {{podGroupTemplates: [{templates}]}}}}");
    let template = |name: &str| format!("{{name: {name}, schedulingPolicy: {{gang: {{minCount: 2}}}}}}");
    assert_eq!(faults::<Workload>(&of(&template("a"))), NONE);
    assert_eq!(
        faults::<Workload>(&of("")),
        ["spec.podGroupTemplates: Required value: must have at least one item"]
    );
    let many: Vec<String> = (0..9).map(|n| template(&format!("t{n}"))).collect();
    assert_eq!(
        faults::<Workload>(&of(&many.join(", "))),
        ["spec.podGroupTemplates: Too many: 9: must have at most 8 items"]
    );
    assert_eq!(
        faults::<Workload>(&of(&format!("{}, {}", template("a"), template("a")))),
        ["spec.podGroupTemplates[1].name: Duplicate value: \"a\""]
    );
    assert_eq!(
        update_faults::<Workload>(&of(&template("a")), &of(&template("b"))),
        [
            "spec.podGroupTemplates[0]: Forbidden: cannot add new items",
            "spec.podGroupTemplates: Forbidden: cannot remove existing items",
        ]
    );
}
