//! Files and what they mean; expected: weights, points, the node chosen, or what is wrong.

use super::*;
use crate::cycle::{Search, choose};
use crate::plugins::tests::{cluster, pending};
use crate::points::Point;

fn file(more: &str) -> Result<Configuration, String> {
    let head = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n";
    Configuration::parse(format!("{head}{more}").as_bytes()).map_err(|error| error.to_string())
}

fn weight(configuration: &Configuration, plugin: &str) -> Option<i64> {
    let seat = configuration.profiles.0[0].seats.iter().find(|seat| seat.plugin.name() == plugin);
    seat.filter(|seat| seat.points.has(Point::Score)).map(|seat| seat.weight)
}

fn chosen(more: &str, pods: &str, pod: &str) -> String {
    let two = "[{metadata: {name: a, labels: {disk: ssd}}}, {metadata: {name: b}}]";
    let (configuration, cluster, pod) = (file(more).unwrap(), cluster(two, pods), pending(pod));
    let profile = configuration.profiles.of(&pod.pod).unwrap();
    match choose(&pod, &cluster, profile, &mut Search::default()) {
        Ok(node) => node.to_string(),
        Err(unfit) => unfit.to_string(),
    }
}

const FULLER: &str = "[{spec: {nodeName: a, containers: [{name: c, image: app, resources: {requests: {cpu: '1', memory: 2Gi}}}]}}]";
const SMALL: &str =
    "spec: {containers: [{name: c, image: app, resources: {requests: {cpu: '1', memory: 2Gi}}}]}";

#[test]
fn plugins_are_switched_and_weighed_point_by_point() {
    let plain = file("").unwrap();
    assert_eq!((weight(&plain, "TaintToleration"), weight(&plain, "PodTopologySpread")), (Some(3), Some(2)));
    let switched = file(
        "profiles: [{plugins: {multiPoint: {disabled: [{name: ImageLocality}, {name: DefaultPreemption}]},
            score: {disabled: [{name: NodeResourcesFit}], enabled: [{name: TaintToleration, weight: 7}]}}}]",
    )
    .unwrap();
    assert_eq!(weight(&switched, "TaintToleration"), Some(7));
    assert_eq!(weight(&switched, "NodeResourcesFit"), None);
    let profile = &switched.profiles.0[0];
    assert!(
        profile
            .seats
            .iter()
            .any(|seat| seat.plugin.name() == "NodeResourcesFit" && seat.points.has(Point::Filter))
    );
    assert!(!profile.seats.iter().any(|seat| seat.plugin.name() == "ImageLocality"));
    assert!(profile.preemption.is_none());
    let few =
        file("profiles: [{plugins: {score: {disabled: [{name: '*'}], enabled: [{name: NodeAffinity}]}}}]");
    let few = few.unwrap();
    assert_eq!((weight(&few, "NodeAffinity"), weight(&few, "TaintToleration")), (Some(1), None));
}

#[test]
fn a_plugin_that_is_off_by_default_is_on_where_a_profile_enables_it() {
    let has = |configuration: &Configuration| {
        let seats = &configuration.profiles.0[0].seats;
        let seat = seats.iter().find(|seat| seat.plugin.name() == "Coscheduling");
        let asked = |seat: &crate::profile::Seat| Point::ALL.map(|point| seat.points.has(point));
        (
            seat.map(|seat| asked(seat).into_iter().filter(|asked| *asked).count()),
            configuration.profiles.sort().unwrap().name(),
        )
    };
    assert_eq!(has(&file("").unwrap()), (None, "PrioritySort"));
    assert_eq!(has(&file("profiles: [{}]").unwrap()), (None, "PrioritySort"));
    let all = file(
        "profiles: [{plugins: {multiPoint: {enabled: [{name: Coscheduling}], disabled: [{name: PrioritySort}]}}}]",
    );
    assert_eq!(has(&all.unwrap()), (Some(5), "Coscheduling"));
    let each = file(
        "profiles: [{plugins: {queueSort: {enabled: [{name: Coscheduling}], disabled: [{name: '*'}]},
            preFilter: {enabled: [{name: Coscheduling}]}, permit: {enabled: [{name: Coscheduling}]}}}]",
    );
    assert_eq!(has(&each.unwrap()), (Some(3), "Coscheduling"));
    let both = file("profiles: [{plugins: {multiPoint: {enabled: [{name: Coscheduling}]}}}]").err().unwrap();
    assert!(both.contains("only one queue sort plugin required") && both.contains("but got 2"), "{both}");
}

#[test]
fn arguments_change_what_plugins_say() {
    assert_eq!(chosen("", FULLER, SMALL), "b");
    let packed = "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: MostAllocated}}}]}]";
    assert_eq!(chosen(packed, FULLER, SMALL), "a");
    let added = "profiles: [{pluginConfig: [{name: NodeAffinity, args: {addedAffinity:
        {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions:
        [{key: disk, operator: In, values: [ssd]}]}]}}}}]}]";
    assert_eq!(chosen(added, FULLER, SMALL), "a");
    let nowhere = added.replace("ssd", "tape");
    assert!(chosen(&nowhere, "[]", "{}").contains("2 node(s) didn't match scheduler-enforced node affinity"));
}

#[test]
fn a_pod_is_placed_by_the_profile_it_asks_for() {
    let two = "profiles: [{schedulerName: default-scheduler}, {schedulerName: packing, pluginConfig:
        [{name: NodeResourcesFit, args: {scoringStrategy: {type: MostAllocated}}}]}]";
    assert_eq!(chosen(two, FULLER, SMALL), "b");
    assert_eq!(chosen(two, FULLER, &SMALL.replace("spec: {", "spec: {schedulerName: packing, ")), "a");
    let configuration = file(two).unwrap();
    assert!(configuration.profiles.of(&pending("spec: {schedulerName: other}").pod).is_none());
}

#[test]
fn resources_that_an_extender_looks_after_altogether_are_not_counted() {
    let more =
        "extenders: [{urlPrefix: 'http://x', managedResources: [{name: a.b/c, ignoredByScheduler: true}]}]";
    let pod = "spec: {containers: [{name: c, image: app, resources: {requests: {a.b/c: '1'}}}]}";
    assert!(chosen("", "[]", pod).contains("2 Insufficient a.b/c"));
    assert!(["a", "b"].contains(&chosen(more, "[]", pod).as_str()));
    let counted = more.replace(", ignoredByScheduler: true", "");
    assert!(chosen(&counted, "[]", pod).contains("2 Insufficient a.b/c"));
}

#[test]
fn what_is_wrong_is_told_with_its_path() {
    for (more, expected) in [
        ("profilse: []", "unknown field \"profilse\""),
        ("profiles: [{plugins: {scores: {}}}]", "unknown field \"profiles[0].plugins.scores\""),
        (
            "profiles: [{plugins: {filter: {enabled: [{name: Mine}]}}}]",
            "profiles[0].plugins.filter.enabled[0].name: Unsupported value: \"Mine\"",
        ),
        (
            "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: Tight}}}]}]",
            "profiles[0].pluginConfig[0].args.scoringStrategy.type: Unsupported value: \"Tight\"",
        ),
        (
            "profiles: [{pluginConfig: [{name: InterPodAffinity, args: {hardPodAffinityWeight: 101}}]}]",
            "profiles[0].pluginConfig[0].args.hardPodAffinityWeight: Invalid value: 101: not in valid range [0, 100]",
        ),
        (
            "profiles: [{pluginConfig: [{name: PodTopologySpread, args: {defaultConstraint: []}}]}]",
            "profiles[0].pluginConfig[0].args: Invalid value: ",
        ),
        (
            "profiles: [{schedulerName: a}, {schedulerName: a}]",
            "profiles[1].schedulerName: Duplicate value: \"a\"",
        ),
        ("profiles: [{}, {schedulerName: a}]", "profiles[0].schedulerName: Required value"),
        ("percentageOfNodesToScore: 101", "percentageOfNodesToScore: Invalid value: 101"),
        ("podMaxBackoffSeconds: 0", "podMaxBackoffSeconds: Invalid value: 0"),
        (
            "extenders: [{urlPrefix: x}]",
            "extenders[0].urlPrefix: Invalid value: \"x\": must be a URL of http or https",
        ),
        (
            "extenders: [{urlPrefix: 'http://x', prioritizeVerb: p}]",
            "extenders[0].weight: Invalid value: 0: must have a positive weight applied to it",
        ),
        (
            "extenders: [{urlPrefix: 'http://x', managedResources: [{name: cpu}, {name: 'a.b/c'}, {name: 'a.b/c'}]}]",
            "extenders[0].managedResources[0].name: Invalid value: \"cpu\": is an invalid extended resource name; extenders[0].managedResources[2].name: Invalid value: \"a.b/c\": duplicate extender managed resource name",
        ),
        (
            "extenders: [{urlPrefix: 'http://x', bindVerb: b}, {urlPrefix: 'http://y', bindVerb: b}]",
            "extenders: Invalid value: \"found 2 extenders implementing bind\": only one extender can implement bind",
        ),
        (
            "extenders: [{urlPrefix: 'http://x', httpTimeout: soon}]",
            "extenders[0].httpTimeout: Invalid value: \"soon\"",
        ),
        (
            "extenders: [{urlPrefix: 'https://x', tlsConfig: {caData: '!'}}]",
            "extenders[0].tlsConfig.caData: Invalid value",
        ),
        (
            "profiles: [{plugins: {bind: {disabled: [{name: DefaultBinder}]}}}]",
            "profiles[0].plugins.bind: Invalid value: 0: at least one bind plugin is needed for profile with scheduler name \"default-scheduler\"",
        ),
        (
            "profiles: [{plugins: {queueSort: {disabled: [{name: '*'}]}}}]",
            "profiles[0].plugins.queueSort: Invalid value: 0: only one queue sort plugin required for profile with scheduler name \"default-scheduler\", but got 0",
        ),
        (
            "profiles: [{schedulerName: a}, {schedulerName: b, plugins: {queueSort: {enabled: [{name: PrioritySort}]}}}]",
            "profiles[1].plugins.queueSort: Invalid value: {\"disabled\":[],\"enabled\":[{\"name\":\"PrioritySort\"}]}: must be the same for all profiles",
        ),
        (
            "profiles: [{plugins: {score: {enabled: [{name: NodeName}]}}}]",
            "profiles[0].plugins.score.enabled[0].name: Invalid value: \"NodeName\": plugin \"NodeName\" does not extend ScorePlugin plugin",
        ),
        (
            "profiles: [{plugins: {permit: {enabled: [{name: DefaultBinder}]}}}]",
            "plugin \"DefaultBinder\" does not extend PermitPlugin plugin",
        ),
        (
            "profiles: [{plugins: {bind: {enabled: [{name: DefaultBinder}, {name: DefaultBinder}]}}}]",
            "profiles[0].plugins.bind.enabled[1].name: Invalid value: \"DefaultBinder\": plugin \"DefaultBinder\" already registered as \"BindPlugin\"",
        ),
        (
            "profiles: [{plugins: {preEnqueue: {disabled: [{name: SchedulingGates}]}}}]",
            "profiles[0].plugins.preEnqueue.disabled[0].name: Forbidden: SchedulingGates cannot be disabled",
        ),
    ] {
        let fault = file(more).err().unwrap_or_default();
        assert!(fault.contains(expected), "{more}: {fault}");
    }
    assert!(Configuration::parse(b"kind: Other").is_err());
}
