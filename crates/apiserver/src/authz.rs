//! Whether a user may do what is asked. The answer is a value: verbs take an [`Authorized`] call and nothing else.
//!
//! Several authorisers are asked in turn, as upstream's `--authorization-mode=Node,RBAC` does; the first that has an
//! opinion decides. `system:masters` is not asked about. What an authoriser knows lives in memory and follows the store, so that
//! a decision waits for nobody but a webhook.

use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use skiff_api::{ApiError, Resource};

use crate::api::Api;
use crate::audit;
use crate::outbound::AccessError;
use crate::request::{Info, Verb};
use crate::user::{MASTERS, User};
use crate::wire::Request;

pub(crate) mod follow;
pub(crate) mod graph;
pub(crate) mod node;
pub(crate) mod rbac;
pub(crate) mod rules;
pub(crate) mod webhook;

use webhook::AccessWebhook;
pub use webhook::AccessWebhookOptions;

/// A request that may be carried out.
pub(crate) struct Authorized {
    pub(crate) info: Info,
    pub(crate) user: User,
    pub(crate) request: Request,
    /// Only this module makes one.
    _proof: (),
}

/// What is to be done, and by whom: all that an authoriser looks at. Without a path it is about a resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) user: &'a User,
    /// `get`, `escalate`; for paths the method in lower case.
    pub(crate) verb: &'a str,
    /// Empty for the core group.
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    /// `pods`; empty for paths.
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    /// Empty for what is in none, and for all at once.
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// `/metrics`; empty for resources.
    pub(crate) path: &'a str,
    /// The field selector of a list or watch.
    pub(crate) fields: &'a str,
}

/// Who can be asked what somebody may, by upstream's names.
#[derive(Clone, Debug)]
pub enum Authorizer {
    /// Says yes to everything.
    AlwaysAllow,
    /// Says no to everything.
    AlwaysDeny,
    /// Knows what nodes may.
    Node,
    /// Knows roles and bindings.
    Rbac,
    /// A server elsewhere.
    Webhook(Box<AccessWebhookOptions>),
}

impl Authorizer {
    /// The one of a name, for those that need to be told nothing.
    pub fn plain(name: &str) -> Option<Self> {
        match name {
            "AlwaysAllow" => Some(Self::AlwaysAllow),
            "AlwaysDeny" => Some(Self::AlwaysDeny),
            "Node" => Some(Self::Node),
            "RBAC" => Some(Self::Rbac),
            _ => None,
        }
    }
}

/// An authoriser that can be asked.
pub(crate) enum Voice {
    AlwaysAllow,
    AlwaysDeny,
    Node,
    Rbac,
    Webhook(Box<AccessWebhook>),
}

impl Voice {
    /// # Errors
    /// If a webhook cannot be used.
    pub(crate) fn new(authorizer: &Authorizer) -> Result<Self, AccessError> {
        Ok(match authorizer {
            Authorizer::AlwaysAllow => Self::AlwaysAllow,
            Authorizer::AlwaysDeny => Self::AlwaysDeny,
            Authorizer::Node => Self::Node,
            Authorizer::Rbac => Self::Rbac,
            Authorizer::Webhook(options) => Self::Webhook(Box::new(AccessWebhook::new(options)?)),
        })
    }

    async fn judge(&self, api: &Api, ask: &Ask<'_>) -> Verdict {
        match self {
            Self::AlwaysAllow => Verdict::Allow(String::new()),
            Self::AlwaysDeny => Verdict::NoOpinion("Everything is forbidden.".to_owned()),
            Self::Node => node::judge(api, ask),
            Self::Rbac => api.rbac.judge(&api.store, ask),
            Self::Webhook(webhook) => webhook.judge(api, ask).await,
        }
    }
}

/// An authoriser's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Yes, and why.
    Allow(String),
    /// No, whatever the others think.
    Deny(String),
    /// Not by this one.
    NoOpinion(String),
}

impl Verdict {
    pub(crate) fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }
}

/// Decides about a request.
///
/// # Errors
/// 403 in upstream's words.
pub(crate) async fn decide(
    api: &Api,
    info: Info,
    user: User,
    request: Request,
) -> Result<Authorized, ApiError> {
    if user.is_in(MASTERS) || (info.verb == Verb::Get && is_public(&info.path)) {
        told("allow", "");
        return Ok(Authorized { info, user, request, _proof: () });
    }
    let method = info.method.as_str().to_lowercase();
    let ask = Ask::of(&info, &user, &method);
    match judge(api, &ask).await {
        Verdict::Allow(why) => {
            told("allow", &why);
            Ok(Authorized { info, user, request, _proof: () })
        }
        Verdict::Deny(why) | Verdict::NoOpinion(why) => {
            told("forbid", &why);
            Err(ask.refusal(&why))
        }
    }
}

/// Tells the audit log what was decided.
fn told(decision: &str, why: &str) {
    audit::annotate("authorization.k8s.io/decision", decision);
    audit::annotate("authorization.k8s.io/reason", why);
}

/// Asks the authorisers one after the other.
pub(crate) async fn judge(api: &Api, ask: &Ask<'_>) -> Verdict {
    if ask.user.is_in(MASTERS) {
        return Verdict::Allow(String::new());
    }
    let verdict = in_turn(api, ask).await;
    if let Some(witness) = &api.settings.witness {
        (witness.0)(&Asked::of(ask, &verdict));
    }
    verdict
}

async fn in_turn(api: &Api, ask: &Ask<'_>) -> Verdict {
    let mut reasons = Vec::new();
    for authorizer in &api.authorizers {
        match authorizer.judge(api, ask).await {
            Verdict::NoOpinion(why) => reasons.push(why),
            decided => return decided,
        }
    }
    reasons.retain(|why| !why.is_empty());
    Verdict::NoOpinion(reasons.join("\n"))
}

/// As [`judge`], for those who cannot wait: what a webhook would have to be asked about now is not allowed.
pub(crate) fn judge_now(api: &Api, ask: &Ask<'_>) -> Verdict {
    judge(api, ask).now_or_never().unwrap_or_else(|| Verdict::NoOpinion(String::new()))
}

/// A question that was put to the authorisers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// Who wants to do it.
    pub user: String,
    /// `get`; for paths the method in lower case.
    pub verb: String,
    /// Empty for the core group.
    pub group: String,
    /// `pods/status`; empty for paths.
    pub resource: String,
    /// What they answered.
    pub allowed: bool,
}

impl Asked {
    fn of(ask: &Ask<'_>, verdict: &Verdict) -> Self {
        Self {
            allowed: verdict.is_allowed(),
            user: ask.user.name.to_string(),
            verb: ask.verb.to_owned(),
            group: ask.group.to_owned(),
            resource: ask.qualified(),
        }
    }
}

/// Is told of every question that the authorisers are asked, those of `system:masters` excepted: how a test learns which
/// rights a component uses.
#[derive(Clone)]
pub struct Witness(pub Arc<dyn Fn(&Asked) + Send + Sync>);

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness")
    }
}

/// The one object that a field selector leaves over: rights to it are rights to list and watch it.
pub(crate) fn selected_name(fields: &str) -> &str {
    let names = fields.split(',').find_map(|field| field.trim().strip_prefix("metadata.name="));
    names.map(|name| name.trim_start_matches('=')).unwrap_or_default()
}

/// Paths that are answered to everybody, known or not.
const PUBLIC: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];

/// True for paths that are answered to everybody.
pub(crate) fn is_public(path: &str) -> bool {
    let below =
        |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    PUBLIC.iter().any(|root| below(root))
}

impl<'a> Ask<'a> {
    /// What a request asks for; `method` is its method in lower case.
    pub(crate) fn of(info: &'a Info, user: &'a User, method: &'a str) -> Self {
        match &info.target {
            Some(target) => {
                let fields = match info.verb {
                    Verb::List | Verb::Watch | Verb::DeleteCollection => info.query.get("fieldSelector"),
                    _ => None,
                };
                let fields = fields.unwrap_or_default();
                Self {
                    user,
                    verb: info.verb.word(),
                    group: &target.group,
                    version: &target.version,
                    resource: &target.plural,
                    subresource: &target.subresource,
                    namespace: &target.namespace,
                    name: if target.name.is_empty() { selected_name(fields) } else { &target.name },
                    path: "",
                    fields,
                }
            }
            None => Self { verb: method, path: &info.path, ..Self::nothing(user) },
        }
    }

    /// To be filled in.
    pub(crate) fn nothing(user: &'a User) -> Self {
        Self {
            user,
            verb: "",
            group: "",
            version: "",
            resource: "",
            subresource: "",
            namespace: "",
            name: "",
            path: "",
            fields: "",
        }
    }

    /// `pods/status`: how rules name it.
    pub(crate) fn qualified(&self) -> String {
        match self.subresource {
            "" => self.resource.to_owned(),
            sub => format!("{}/{sub}", self.resource),
        }
    }

    /// 403 in upstream's words.
    pub(crate) fn refusal(&self, why: &str) -> ApiError {
        let name = &self.user.name;
        let reason = if why.is_empty() { String::new() } else { format!(": {why}") };
        let verb = self.verb;
        if self.resource.is_empty() {
            let path = self.path;
            let message = format!("forbidden: User \"{name}\" cannot {verb} path \"{path}\"{reason}");
            return ApiError::new(403, "Forbidden", message);
        }
        let scope = match self.namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        let (resource, group) = (self.qualified(), self.group);
        let why = format!(
            "User \"{name}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {scope}{reason}"
        );
        let about = Resource {
            group: group.into(),
            version: self.version.into(),
            plural: self.resource.into(),
            kind: "".into(),
            namespaced: !self.namespace.is_empty(),
        };
        ApiError::forbidden(&about, self.name, why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(user: &str, method: &str, uri: &str) -> String {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let info = Info::parse(&method.parse().unwrap(), path, query);
        let user = User::new(user, Vec::<String>::new());
        Ask::of(&info, &user, &method.to_lowercase()).refusal("").to_string()
    }

    #[test]
    fn refusals_read_as_upstreams() {
        assert_eq!(
            refused("system:node:one", "PATCH", "/api/v1/nodes/two/status"),
            "nodes \"two\" is forbidden: User \"system:node:one\" cannot patch resource \"nodes/status\" in API group \"\" at the cluster scope"
        );
        assert_eq!(refused("x", "GET", "/metrics"), "forbidden: User \"x\" cannot get path \"/metrics\"");
        assert_eq!(
            refused("x", "GET", "/api/v1/namespaces/default/pods"),
            "pods is forbidden: User \"x\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
        );
        assert_eq!(
            refused("x", "GET", "/api/v1/namespaces/a"),
            "namespaces \"a\" is forbidden: User \"x\" cannot get resource \"namespaces\" in API group \"\" in the namespace \"a\""
        );
    }

    #[test]
    fn health_and_version_are_for_everybody() {
        for (path, public) in [
            ("/healthz", true),
            ("/readyz/etcd", true),
            ("/version", true),
            ("/healthzz", false),
            ("/api", false),
        ] {
            assert_eq!(is_public(path), public, "{path}");
        }
    }
}
