//! Which requests are told, and how much of them: the first rule that matches decides. Pure.
//!
//! Follows upstream's `apiserver/pkg/apis/audit/v1` and `apiserver/pkg/audit/policy/checker.go`.

use serde::Deserialize;
use skiff_api::decode::yaml_to_json;

use crate::request::Info;
use crate::user::User;

/// How much of a request is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) enum Level {
    /// Nothing.
    None,
    /// Who, what and when.
    Metadata,
    /// Also the request's body.
    Request,
    /// Also the answer's body.
    RequestResponse,
}

impl Level {
    /// As events name it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

/// When something is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Stage {
    /// The request has come.
    RequestReceived,
    /// A long answer has begun.
    ResponseStarted,
    /// The answer is complete.
    ResponseComplete,
    /// There is none: a fault of ours.
    Panic,
}

impl Stage {
    /// As events name it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

/// A policy, as its file says it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: serde_json::Value,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<Resources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Resources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// A policy that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It is not what such a file holds.
    #[error("read the audit policy: {0}")]
    Malformed(String),
    /// It is something else.
    #[error("the audit policy is {kind} in {api_version}, not Policy in audit.k8s.io/v1")]
    Kind {
        /// What it says it is.
        kind: String,
        /// In which version.
        api_version: String,
    },
    /// It would tell nothing.
    #[error("the audit policy has no rules")]
    Empty,
    /// A rule that can match nothing, or two things at once.
    #[error("rules[{0}]: rules cannot apply to both regular resources and non-resource URLs")]
    Both(usize),
}

/// What is told of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) level: Level,
    omitted: Vec<Stage>,
    pub(crate) omit_managed_fields: bool,
}

impl Decision {
    /// Whether a stage is told.
    pub(crate) fn tells(&self, stage: Stage) -> bool {
        self.level > Level::None && !self.omitted.contains(&stage)
    }
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        let json = yaml_to_json(text).map_err(|error| PolicyError::Malformed(error.to_string()))?;
        let policy: Self =
            serde_json::from_slice(&json).map_err(|error| PolicyError::Malformed(error.to_string()))?;
        if policy.kind != "Policy" || policy.api_version != "audit.k8s.io/v1" {
            return Err(PolicyError::Kind { kind: policy.kind, api_version: policy.api_version });
        }
        if policy.rules.is_empty() {
            return Err(PolicyError::Empty);
        }
        let both = |rule: &Rule| {
            let about_objects = !rule.resources.is_empty() || !rule.namespaces.is_empty();
            !rule.non_resource_urls.is_empty() && about_objects
        };
        match policy.rules.iter().position(both) {
            Some(at) => Err(PolicyError::Both(at)),
            None => Ok(policy),
        }
    }

    /// What is told of a request. What no rule matches is not told.
    pub(crate) fn judge(&self, user: Option<&User>, info: &Info) -> Decision {
        match self.rules.iter().find(|rule| rule.matches(user, info)) {
            Some(rule) => Decision {
                level: rule.level,
                omitted: self.omit_stages.iter().chain(&rule.omit_stages).copied().collect(),
                omit_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
            },
            None => Decision { level: Level::None, omitted: Vec::new(), omit_managed_fields: false },
        }
    }
}

impl Rule {
    fn matches(&self, user: Option<&User>, info: &Info) -> bool {
        let verb = if info.target.is_some() {
            info.verb.word().to_owned()
        } else {
            info.method.as_str().to_lowercase()
        };
        let is_user = self.users.is_empty()
            || user.is_some_and(|user| self.users.iter().any(|name| **name == *user.name));
        let in_group = self.user_groups.is_empty()
            || user.is_some_and(|user| self.user_groups.iter().any(|group| user.is_in(group)));
        is_user && in_group && (self.verbs.is_empty() || self.verbs.contains(&verb)) && self.is_about(info)
    }

    fn is_about(&self, info: &Info) -> bool {
        let Some(target) = &info.target else {
            if !self.namespaces.is_empty() || !self.resources.is_empty() {
                return false;
            }
            return self.non_resource_urls.is_empty()
                || self.non_resource_urls.iter().any(|url| match url.strip_suffix('*') {
                    Some(start) => info.path.starts_with(start),
                    None => *url == info.path,
                });
        };
        if !self.non_resource_urls.is_empty() {
            return false;
        }
        if !self.namespaces.is_empty() && !self.namespaces.contains(&target.namespace) {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        let full = match target.subresource.as_str() {
            "" => target.plural.clone(),
            sub => format!("{}/{sub}", target.plural),
        };
        let named = |wanted: &String| {
            *wanted == full
                || wanted == "*"
                || wanted.strip_prefix("*/").is_some_and(|sub| !sub.is_empty() && sub == target.subresource)
                || wanted.strip_suffix("/*").is_some_and(|plural| plural == target.plural)
        };
        self.resources.iter().any(|resources| {
            resources.group == target.group
                && (resources.resources.is_empty() || resources.resources.iter().any(named))
                && (resources.resource_names.is_empty() || resources.resource_names.contains(&target.name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  nonResourceURLs: ["/healthz*", "/version"]
- level: None
  users: [system:kube-proxy]
  verbs: [watch]
  resources: [{ group: "", resources: [endpoints, services] }]
- level: Metadata
  resources: [{ group: "", resources: [secrets, "pods/*"] }, { group: "", resources: ["*/status"] }]
- level: RequestResponse
  namespaces: [kube-system]
  omitManagedFields: true
- level: Request
  resources: [{ group: apps }, { group: "", resources: [configmaps], resourceNames: [named] }]
- level: Metadata
  userGroups: [admins]
  omitStages: [ResponseStarted]
"#;

    fn level(policy: &Policy, user: &str, group: &str, method: &str, uri: &str) -> &'static str {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let info = Info::parse(&method.parse().unwrap(), path, query);
        policy.judge(Some(&User::new(user, [group])), &info).level.word()
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = Policy::parse(POLICY.as_bytes()).unwrap();
        for (user, method, uri, expected) in [
            ("x", "GET", "/healthz/etcd", "None"),
            ("x", "GET", "/version", "None"),
            ("x", "GET", "/metrics", "Metadata"),
            ("system:kube-proxy", "GET", "/api/v1/services?watch=1", "None"),
            ("x", "GET", "/api/v1/services?watch=1", "Metadata"),
            ("x", "GET", "/api/v1/namespaces/a/secrets/b", "Metadata"),
            ("x", "POST", "/api/v1/namespaces/kube-system/pods/b/exec", "Metadata"),
            ("x", "POST", "/api/v1/namespaces/kube-system/services", "RequestResponse"),
            ("x", "PUT", "/api/v1/nodes/a/status", "Metadata"),
            ("x", "POST", "/apis/apps/v1/namespaces/a/deployments", "Request"),
            ("x", "PUT", "/api/v1/namespaces/a/configmaps/named", "Request"),
        ] {
            assert_eq!(level(&policy, user, "admins", method, uri), expected, "{user} {method} {uri}");
        }
        assert_eq!(level(&policy, "x", "others", "PUT", "/api/v1/namespaces/a/configmaps/other"), "None");
    }

    #[test]
    fn stages_and_managed_fields_are_left_out_as_policy_and_rule_say() {
        let policy = Policy::parse(POLICY.as_bytes()).unwrap();
        let judge =
            |uri| policy.judge(Some(&User::new("x", ["admins"])), &Info::parse(&http::Method::GET, uri, ""));
        let metrics = judge("/metrics");
        assert!(!metrics.tells(Stage::RequestReceived) && !metrics.tells(Stage::ResponseStarted));
        assert!(metrics.tells(Stage::ResponseComplete) && !metrics.omit_managed_fields);
        let system = judge("/api/v1/namespaces/kube-system/services");
        assert!(system.tells(Stage::ResponseStarted) && system.omit_managed_fields);
        assert!(!judge("/version").tells(Stage::ResponseComplete));
    }

    #[test]
    fn policies_that_cannot_be_meant_are_refused() {
        let refused = |text: &str| Policy::parse(text.as_bytes()).unwrap_err().to_string();
        let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";
        assert_eq!(refused(head), "the audit policy has no rules");
        assert!(refused(&format!("{head}rules: [{{level: Loud}}]")).contains("Loud"));
        assert!(refused(&format!("{head}rule: []")).contains("rule"));
        assert!(refused("apiVersion: v1\nkind: Pod\nrules: [{level: None}]").contains("Pod in v1"));
        let both = "rules: [{level: None, nonResourceURLs: [/x], namespaces: [a]}]";
        assert!(refused(&format!("{head}{both}")).starts_with("rules[0]"));
    }
}
