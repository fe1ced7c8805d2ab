//! The priority levels and flow schemas that every cluster has; two of each are fixed, the others a good start.
//!
//! The values are those of upstream's `apiserver/pkg/apis/flowcontrol/bootstrap`, as tables.

use k8s_openapi::api::flowcontrol::v1::{
    ExemptPriorityLevelConfiguration, FlowDistinguisherMethod, FlowSchema, FlowSchemaSpec, GroupSubject,
    LimitResponse, LimitedPriorityLevelConfiguration, NonResourcePolicyRule, PolicyRulesWithSubjects,
    PriorityLevelConfiguration, PriorityLevelConfigurationReference, PriorityLevelConfigurationSpec,
    QueuingConfiguration, ResourcePolicyRule, ServiceAccountSubject, Subject, UserSubject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Marks an object that the server keeps at its present value.
const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// A row of [`LEVELS`].
type Level = (&'static str, i32, i32, Option<(i32, i32)>);

/// Limited levels: their name, shares, what they lend in percent, their queues and how many of them a flow has.
const LEVELS: &[Level] = &[
    ("catch-all", 5, 0, None),
    ("system", 30, 33, Some((64, 6))),
    ("node-high", 40, 25, Some((64, 6))),
    ("leader-election", 10, 0, Some((16, 4))),
    ("workload-high", 40, 50, Some((128, 6))),
    ("workload-low", 100, 90, Some((128, 6))),
    ("global-default", 20, 50, Some((128, 6))),
];

enum Who {
    User(&'static str),
    Group(&'static str),
    /// In `kube-system`.
    Account(&'static str),
}

/// What a schema is about: verbs, group, resources, whether also of the cluster.
enum What {
    Everything,
    Paths(&'static [&'static str]),
    Resources(&'static [(&'static [&'static str], &'static str, &'static [&'static str], bool)]),
}

struct Schema {
    name: &'static str,
    level: &'static str,
    precedence: i32,
    flows: Option<&'static str>,
    who: &'static [Who],
    what: What,
}

const BY_USER: Option<&str> = Some("ByUser");
const BY_NAMESPACE: Option<&str> = Some("ByNamespace");
const ALL: &[&str] = &["*"];
const LOCK: &[&str] = &["get", "create", "update"];
const EVERYBODY: &[Who] = &[Who::Group("system:unauthenticated"), Who::Group("system:authenticated")];
const MANAGER: &str = "system:kube-controller-manager";
const SCHEDULER: &str = "system:kube-scheduler";
const NODES: &[Who] = &[Who::Group("system:nodes")];
const LEASES: What = What::Resources(&[(LOCK, "coordination.k8s.io", &["leases"], false)]);

const fn all(
    name: &'static str,
    level: &'static str,
    precedence: i32,
    flows: Option<&'static str>,
    who: &'static [Who],
) -> Schema {
    Schema { name, level, precedence, flows, who, what: What::Everything }
}

const SCHEMAS: &[Schema] = &[
    all("exempt", "exempt", 1, None, &[Who::Group("system:masters")]),
    Schema {
        what: What::Paths(&["/healthz", "/readyz", "/livez"]),
        ..all("probes", "exempt", 2, None, EVERYBODY)
    },
    Schema {
        what: LEASES,
        ..all(
            "system-leader-election",
            "leader-election",
            100,
            BY_USER,
            &[Who::User(MANAGER), Who::User(SCHEDULER), Who::Account("*")],
        )
    },
    Schema {
        what: What::Resources(&[(LOCK, "", &["endpoints"], false)]),
        ..all(
            "endpoint-controller",
            "workload-high",
            150,
            BY_USER,
            &[
                Who::User(MANAGER),
                Who::Account("endpoint-controller"),
                Who::Account("endpointslicemirroring-controller"),
            ],
        )
    },
    Schema {
        what: LEASES,
        ..all("workload-leader-election", "leader-election", 200, BY_USER, &[Who::Account("*")])
    },
    Schema {
        what: What::Resources(&[
            (ALL, "", &["nodes", "nodes/status"], true),
            (ALL, "coordination.k8s.io", &["leases"], false),
        ]),
        ..all("system-node-high", "node-high", 400, BY_USER, NODES)
    },
    all("system-nodes", "system", 500, BY_USER, NODES),
    all("kube-controller-manager", "workload-high", 800, BY_NAMESPACE, &[Who::User(MANAGER)]),
    all("kube-scheduler", "workload-high", 800, BY_NAMESPACE, &[Who::User(SCHEDULER)]),
    all("kube-system-service-accounts", "workload-high", 900, BY_NAMESPACE, &[Who::Account("*")]),
    all("service-accounts", "workload-low", 9000, BY_USER, &[Who::Group("system:serviceaccounts")]),
    all("global-default", "global-default", 9900, BY_USER, EVERYBODY),
    all("catch-all", "catch-all", 10_000, BY_USER, EVERYBODY),
];

fn meta(name: &str) -> ObjectMeta {
    let annotations = Some([(AUTO_UPDATE.to_owned(), "true".to_owned())].into());
    ObjectMeta { name: Some(name.to_owned()), annotations, ..ObjectMeta::default() }
}

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn subject(who: &Who) -> Subject {
    match who {
        Who::User(name) => Subject {
            kind: "User".to_owned(),
            user: Some(UserSubject { name: (*name).to_owned() }),
            ..Subject::default()
        },
        Who::Group(name) => Subject {
            kind: "Group".to_owned(),
            group: Some(GroupSubject { name: (*name).to_owned() }),
            ..Subject::default()
        },
        Who::Account(name) => Subject {
            kind: "ServiceAccount".to_owned(),
            service_account: Some(ServiceAccountSubject {
                name: (*name).to_owned(),
                namespace: "kube-system".to_owned(),
            }),
            ..Subject::default()
        },
    }
}

fn resources(verbs: &[&str], group: &str, resources: &[&str], cluster: bool) -> ResourcePolicyRule {
    ResourcePolicyRule {
        verbs: owned(verbs),
        api_groups: vec![group.to_owned()],
        resources: owned(resources),
        namespaces: Some(owned(ALL)),
        cluster_scope: cluster.then_some(true),
    }
}

fn schema(schema: &Schema) -> FlowSchema {
    let paths = |verbs: &[&str], urls: &[&str]| {
        vec![NonResourcePolicyRule { verbs: owned(verbs), non_resource_urls: owned(urls) }]
    };
    let (resource_rules, non_resource_rules) = match &schema.what {
        What::Everything => (Some(vec![resources(ALL, "*", ALL, true)]), Some(paths(ALL, ALL))),
        What::Paths(urls) => (None, Some(paths(&["get"], urls))),
        What::Resources(list) => {
            let rules =
                list.iter().map(|(verbs, group, names, cluster)| resources(verbs, group, names, *cluster));
            (Some(rules.collect()), None)
        }
    };
    let rule = PolicyRulesWithSubjects {
        subjects: schema.who.iter().map(subject).collect(),
        resource_rules,
        non_resource_rules,
    };
    let spec = FlowSchemaSpec {
        priority_level_configuration: PriorityLevelConfigurationReference { name: schema.level.to_owned() },
        matching_precedence: Some(schema.precedence),
        distinguisher_method: schema.flows.map(|flows| FlowDistinguisherMethod { type_: flows.to_owned() }),
        rules: Some(vec![rule]),
    };
    FlowSchema { metadata: meta(schema.name), spec, status: None }
}

/// Every schema that is always there.
pub(crate) fn schemas() -> impl Iterator<Item = FlowSchema> {
    SCHEMAS.iter().map(schema)
}

fn level(name: &str) -> Option<PriorityLevelConfiguration> {
    let spec = if name == "exempt" {
        let exempt = ExemptPriorityLevelConfiguration {
            nominal_concurrency_shares: Some(0),
            lendable_percent: Some(0),
        };
        PriorityLevelConfigurationSpec {
            type_: "Exempt".to_owned(),
            exempt: Some(exempt),
            ..PriorityLevelConfigurationSpec::default()
        }
    } else {
        let (_, shares, lendable, queues) = LEVELS.iter().find(|(own, ..)| *own == name)?;
        let queuing = queues.map(|(queues, hand)| QueuingConfiguration {
            queues: Some(queues),
            hand_size: Some(hand),
            queue_length_limit: Some(50),
        });
        let type_ = if queuing.is_some() { "Queue" } else { "Reject" };
        PriorityLevelConfigurationSpec {
            type_: "Limited".to_owned(),
            limited: Some(LimitedPriorityLevelConfiguration {
                nominal_concurrency_shares: Some(*shares),
                lendable_percent: Some(*lendable),
                limit_response: LimitResponse { type_: type_.to_owned(), queuing },
                ..LimitedPriorityLevelConfiguration::default()
            }),
            ..PriorityLevelConfigurationSpec::default()
        }
    };
    Some(PriorityLevelConfiguration { metadata: meta(name), spec, status: None })
}

/// Every level that is always there.
pub(crate) fn levels() -> impl Iterator<Item = PriorityLevelConfiguration> {
    std::iter::once("exempt").chain(LEVELS.iter().map(|(name, ..)| *name)).filter_map(level)
}

/// The schema of a name whose value nobody may change.
pub(super) fn fixed_schema(name: &str) -> Option<FlowSchema> {
    let fixed = ["exempt", "catch-all"].contains(&name);
    SCHEMAS.iter().filter(|_| fixed).find(|schema| schema.name == name).map(schema)
}

/// The level of a name whose value nobody may change.
pub(super) fn fixed_level(name: &str) -> Option<PriorityLevelConfiguration> {
    if ["exempt", "catch-all"].contains(&name) { level(name) } else { None }
}
