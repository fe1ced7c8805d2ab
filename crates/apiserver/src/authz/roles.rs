//! The roles of this cluster's own components, as upstream's bootstrap policy gives them; one table.

use crate::request::{Info, Target, Verb};
use crate::user::User;

/// Whom a role is given to.
enum Subject {
    User(&'static str),
    Group(&'static str),
}

/// Verbs on resources of groups.
struct Rule {
    verbs: &'static [&'static str],
    groups: &'static [&'static str],
    /// `pods`, `pods/status`, `*`.
    resources: &'static [&'static str],
    /// Only the node of the user's own name.
    own: bool,
}

struct Role {
    subject: Subject,
    rules: &'static [Rule],
}

const fn rule(
    verbs: &'static [&'static str],
    groups: &'static [&'static str],
    resources: &'static [&'static str],
) -> Rule {
    Rule { verbs, groups, resources, own: false }
}

const fn own(verbs: &'static [&'static str], resources: &'static [&'static str]) -> Rule {
    Rule { verbs, groups: &[""], resources, own: true }
}

const ALL: &[&str] = &["*"];
const READ: &[&str] = &["get", "list", "watch"];
const EVENTS: Rule = rule(&["create", "patch", "update"], &["", "events.k8s.io"], &["events"]);
const LEASES: Rule = rule(
    &["get", "list", "watch", "create", "update", "patch", "delete"],
    &["coordination.k8s.io"],
    &["leases"],
);

/// The prefix of a node's user name.
const NODE_USER: &str = "system:node:";

static ROLES: &[Role] = &[
    Role {
        // Its controllers act as one identity for now; each gets its own with RBAC.
        subject: Subject::User("system:kube-controller-manager"),
        rules: &[rule(ALL, ALL, ALL)],
    },
    Role {
        subject: Subject::User("system:kube-scheduler"),
        rules: &[
            rule(READ, ALL, ALL),
            rule(&["create"], &[""], &["bindings", "pods/binding"]),
            rule(&["patch", "update"], &[""], &["pods/status"]),
            rule(&["delete"], &[""], &["pods"]),
            EVENTS,
            LEASES,
        ],
    },
    Role {
        subject: Subject::User("system:kube-proxy"),
        rules: &[
            rule(READ, &["", "discovery.k8s.io"], &["services", "endpoints", "endpointslices", "nodes"]),
            EVENTS,
        ],
    },
    Role {
        subject: Subject::Group("system:nodes"),
        rules: &[
            rule(
                READ,
                &["", "discovery.k8s.io"],
                &["services", "endpoints", "endpointslices", "nodes", "namespaces"],
            ),
            rule(READ, &[""], &["pods", "configmaps", "secrets", "serviceaccounts"]),
            rule(&["create", "delete"], &[""], &["pods"]),
            rule(&["patch", "update"], &[""], &["pods/status"]),
            rule(&["create"], &[""], &["pods/eviction", "serviceaccounts/token"]),
            rule(&["create"], &[""], &["nodes"]),
            own(&["patch", "update", "delete"], &["nodes", "nodes/status"]),
            rule(READ, &["storage.k8s.io", "node.k8s.io"], ALL),
            EVENTS,
            LEASES,
        ],
    },
];

/// Paths that every authenticated user may read: discovery, and what is public anyhow.
const READABLE: [&str; 4] = ["/api", "/apis", "/openapi", "/version"];

/// Paths that are answered to everybody, known or not.
pub(super) const PUBLIC: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];

/// True if `path` is `root` or below it.
pub(super) fn below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether one of the user's roles allows it.
pub(super) fn allow(user: &User, verb: Verb, target: &Target) -> bool {
    let mine = ROLES.iter().filter(|role| match role.subject {
        Subject::User(name) => &*user.name == name,
        Subject::Group(name) => user.is_in(name),
    });
    mine.flat_map(|role| role.rules).any(|rule| rule.allows(user, verb, target))
}

/// Whether any authenticated user may read the path.
pub(super) fn allow_path(info: &Info) -> bool {
    let public = READABLE.iter().chain(&PUBLIC).any(|root| below(&info.path, root));
    info.verb == Verb::Get && (public || info.path == "/")
}

impl Rule {
    fn allows(&self, user: &User, verb: Verb, target: &Target) -> bool {
        let has = |list: &[&str], word: &str| list.iter().any(|own| *own == word || *own == "*");
        let resource = match target.subresource.as_str() {
            "" => target.plural.clone(),
            sub => format!("{}/{sub}", target.plural),
        };
        has(self.verbs, verb.word())
            && has(self.groups, &target.group)
            && has(self.resources, &resource)
            && (!self.own || user.name.strip_prefix(NODE_USER) == Some(&target.name))
    }
}
