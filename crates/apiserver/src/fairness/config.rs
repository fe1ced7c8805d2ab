//! Levels and schemas: upstream's built-in ones, or those of the cluster's objects.

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, PolicyRulesWithSubjects, PriorityLevelConfiguration, PriorityLevelConfigurationSpec,
};

use super::classify::{self, Asked};
use super::queue::Queuing;
use crate::kinds::flowcontrol::bootstrap;

/// A priority level.
#[derive(Clone, Debug)]
pub(crate) struct LevelConfig {
    pub(crate) name: String,
    uid: Option<String>,
    /// Its part of the server's seats.
    pub(crate) shares: u32,
    /// What it may lend of them, in percent.
    pub(crate) lends: u32,
    /// What it may borrow beside them, in percent of them, if that is limited.
    pub(crate) borrows: Option<u32>,
    pub(crate) queuing: Queuing,
}

#[derive(Clone, Debug)]
struct Schema {
    name: String,
    uid: Option<String>,
    precedence: i32,
    level: usize,
    by: By,
    rules: Vec<PolicyRulesWithSubjects>,
}

/// What tells the flows of a schema apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Nothing,
    User,
    Namespace,
}

/// All levels and schemas; the latter in the order in which they are asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) levels: Vec<LevelConfig>,
    schemas: Vec<Schema>,
}

/// Where a request belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) level: usize,
    pub(crate) schema_uid: Option<String>,
    pub(crate) hash: u64,
}

impl Config {
    /// From objects; schemas whose level is not there match nothing.
    pub(crate) fn new(levels: &[PriorityLevelConfiguration], schemas: &[FlowSchema]) -> Self {
        let levels: Vec<LevelConfig> = levels
            .iter()
            .filter_map(|level| {
                let spec = &level.spec;
                Some(LevelConfig {
                    name: level.metadata.name.clone()?,
                    uid: level.metadata.uid.clone(),
                    shares: shares(spec),
                    lends: lends(spec),
                    borrows: spec
                        .limited
                        .as_ref()
                        .and_then(|limited| percent(limited.borrowing_limit_percent)),
                    queuing: queuing(spec),
                })
            })
            .collect();
        let mut schemas: Vec<Schema> = schemas
            .iter()
            .filter_map(|schema| {
                let spec = &schema.spec;
                let level =
                    levels.iter().position(|level| level.name == spec.priority_level_configuration.name)?;
                Some(Schema {
                    name: schema.metadata.name.clone()?,
                    uid: schema.metadata.uid.clone(),
                    precedence: spec.matching_precedence.unwrap_or(1000),
                    level,
                    by: match spec.distinguisher_method.as_ref().map(|method| method.type_.as_str()) {
                        Some("ByUser") => By::User,
                        Some("ByNamespace") => By::Namespace,
                        _ => By::Nothing,
                    },
                    rules: spec.rules.clone().unwrap_or_default(),
                })
            })
            .collect();
        schemas.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
        Self { levels, schemas }
    }

    /// Whether every request finds a schema.
    pub(crate) fn catches_all(&self) -> bool {
        let has = |name: &str| self.schemas.iter().any(|schema| schema.name == name);
        has("catch-all") && has("exempt")
    }

    /// The uid of a level's object.
    pub(crate) fn level_uid(&self, level: usize) -> Option<String> {
        self.levels.get(level)?.uid.clone()
    }

    /// The flow of a request.
    pub(crate) fn flow(&self, asked: &Asked<'_>) -> Option<Flow> {
        let schema = self.schemas.iter().find(|schema| classify::matches(&schema.rules, asked))?;
        let mut hasher = DefaultHasher::new();
        schema.name.hash(&mut hasher);
        match schema.by {
            By::Nothing => {}
            By::User => asked.user.name.hash(&mut hasher),
            By::Namespace => {
                asked.info.target.as_ref().map(|target| target.namespace.as_str()).hash(&mut hasher);
            }
        }
        Some(Flow { level: schema.level, schema_uid: schema.uid.clone(), hash: hasher.finish() })
    }
}

fn shares(spec: &PriorityLevelConfigurationSpec) -> u32 {
    let shares = match (&spec.limited, &spec.exempt) {
        (Some(limited), _) => limited.nominal_concurrency_shares.unwrap_or(30),
        (None, Some(exempt)) => exempt.nominal_concurrency_shares.unwrap_or(0),
        (None, None) => 0,
    };
    u32::try_from(shares).unwrap_or(0)
}

fn percent(number: Option<i32>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}

fn lends(spec: &PriorityLevelConfigurationSpec) -> u32 {
    let lends = match (&spec.limited, &spec.exempt) {
        (Some(limited), _) => limited.lendable_percent,
        (None, Some(exempt)) => exempt.lendable_percent,
        (None, None) => None,
    };
    percent(lends).unwrap_or(0)
}

fn queuing(spec: &PriorityLevelConfigurationSpec) -> Queuing {
    if spec.type_ == "Exempt" {
        return Queuing::Exempt;
    }
    let response = spec.limited.as_ref().map(|limited| &limited.limit_response);
    let Some(response) = response.filter(|response| response.type_ == "Queue") else {
        return Queuing::Reject;
    };
    let queuing = response.queuing.as_ref();
    let number =
        |found: Option<i32>, usual: usize| found.and_then(|n| usize::try_from(n).ok()).unwrap_or(usual);
    Queuing::Queue {
        queues: number(queuing.and_then(|own| own.queues), 64),
        hand: number(queuing.and_then(|own| own.hand_size), 8),
        length: number(queuing.and_then(|own| own.queue_length_limit), 50),
    }
}

/// The configuration that every cluster begins with.
pub(crate) fn built_in() -> Config {
    let levels: Vec<PriorityLevelConfiguration> = bootstrap::levels().collect();
    let schemas: Vec<FlowSchema> = bootstrap::schemas().collect();
    Config::new(&levels, &schemas)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Info;
    use crate::user::User;

    fn found(user: &User, method: &str, uri: &str) -> String {
        let config = built_in();
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let info = Info::parse(&method.parse().unwrap(), path, query);
        let asked = Asked { user, info: &info };
        let schema = config.schemas.iter().find(|schema| classify::matches(&schema.rules, &asked)).unwrap();
        format!("{} {}", schema.name, config.levels[schema.level].name)
    }

    #[test]
    fn requests_find_upstreams_schemas_and_levels() {
        assert_eq!((built_in().levels.len(), built_in().schemas.len()), (8, 13));
        let user = |name: &str, groups: &[&str]| User::new(name, groups.iter().copied());
        let pods = "/api/v1/namespaces/a/pods";
        let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x";
        for (user, method, uri, expected) in [
            (user("root", &["system:masters"]), "GET", pods, "exempt exempt"),
            (user("x", &[]), "GET", "/readyz", "probes exempt"),
            (user("x", &[]), "GET", pods, "global-default global-default"),
            (user("x", &[]), "GET", "/version", "global-default global-default"),
            (
                user("system:node:n", &["system:nodes"]),
                "PATCH",
                "/api/v1/nodes/n/status",
                "system-node-high node-high",
            ),
            (user("system:node:n", &["system:nodes"]), "GET", pods, "system-nodes system"),
            (user("system:kube-scheduler", &[]), "PUT", lease, "system-leader-election leader-election"),
            (user("system:kube-scheduler", &[]), "GET", pods, "kube-scheduler workload-high"),
            (
                user("system:serviceaccount:kube-system:gc", &["system:serviceaccounts"]),
                "GET",
                pods,
                "kube-system-service-accounts workload-high",
            ),
            (
                user("system:serviceaccount:a:b", &["system:serviceaccounts"]),
                "GET",
                pods,
                "service-accounts workload-low",
            ),
        ] {
            assert_eq!(found(&user, method, uri), expected, "{} {method} {uri}", user.name);
        }
    }

    #[test]
    fn flows_are_told_apart_as_their_schema_says() {
        let config = built_in();
        let flow = |name: &str, uri: &str| {
            let info = Info::parse(&http::Method::GET, uri, "");
            config.flow(&Asked { user: &User::new(name, Vec::<String>::new()), info: &info }).unwrap()
        };
        assert_ne!(flow("a", "/api/v1/pods").hash, flow("b", "/api/v1/pods").hash);
        assert_eq!(flow("a", "/api/v1/pods"), flow("a", "/api/v1/nodes"));
        let scheduler = "system:kube-scheduler";
        assert_ne!(
            flow(scheduler, "/api/v1/namespaces/a/pods").hash,
            flow(scheduler, "/api/v1/namespaces/b/pods").hash
        );
    }
}
