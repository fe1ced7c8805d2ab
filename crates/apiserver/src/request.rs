//! What a request asks for, read from its method, path and query alone. Pure.
//!
//! Follows upstream's `k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`: the same verbs, the same special places
//! (`/api/v1/watch/...`, `/api/v1/namespaces/NAME/status`), so that authorisation sees what upstream's would.

use std::fmt;

use http::Method;

pub(crate) mod options;
pub(crate) mod query;

pub(crate) use query::Query;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
    /// A method that is no verb on resources, such as OPTIONS.
    Other,
}

impl Verb {
    /// The word roles and messages use.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Other => "",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The resource a path names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// Empty for the core group.
    pub(crate) group: String,
    pub(crate) version: String,
    /// Empty if the path names none.
    pub(crate) namespace: String,
    /// `pods`.
    pub(crate) plural: String,
    /// Empty for a collection.
    pub(crate) name: String,
    /// `status`; empty for the object itself.
    pub(crate) subresource: String,
    /// What follows the subresource, without its leading slash: the path to proxy to.
    pub(crate) rest: String,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    pub(crate) verb: Verb,
    pub(crate) method: Method,
    /// The path as it was sent.
    pub(crate) path: String,
    pub(crate) query: Query,
    /// Nothing for paths that are not resources: `/healthz`, `/apis`, `/api/v1`.
    pub(crate) target: Option<Target>,
}

impl Info {
    /// Reads a request line.
    pub(crate) fn parse(method: &Method, path: &str, query: &str) -> Self {
        let query = Query::parse(query);
        let verb = match *method {
            Method::GET | Method::HEAD => Verb::Get,
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            Method::DELETE => Verb::Delete,
            _ => Verb::Other,
        };
        let mut info = Self { verb, method: method.clone(), path: path.to_owned(), query, target: None };
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        // A slash at the end means nothing, except to whom a request is proxied.
        let parts = match parts.as_slice() {
            [before @ .., ""] if !before.contains(&"proxy") => before,
            all => all,
        };
        match parts {
            ["api", version, rest @ ..] if !rest.is_empty() => info.resource("", version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => info.resource(group, version, rest),
            _ => {}
        }
        info
    }

    fn resource(&mut self, group: &str, version: &str, parts: &[&str]) {
        let legacy_watch = parts.first() == Some(&"watch") && self.verb == Verb::Get;
        let parts = if legacy_watch { &parts[1..] } else { parts };
        let (namespace, parts) = match parts {
            [] => return,
            // Namespaces are resources too, and these are their subresources.
            ["namespaces", name, "status" | "finalize", ..] | ["namespaces", name] => (*name, parts),
            ["namespaces", name, rest @ ..] => (*name, rest),
            _ => ("", parts),
        };
        let part = |index: usize| parts.get(index).map(|text| decoded(text)).unwrap_or_default();
        let target = Target {
            group: decoded(group),
            version: decoded(version),
            namespace: decoded(namespace),
            plural: part(0),
            name: part(1),
            subresource: part(2),
            rest: parts.get(3..).map(|rest| rest.join("/")).unwrap_or_default(),
        };
        if legacy_watch {
            self.verb = Verb::Watch;
        } else if target.name.is_empty() {
            self.verb = match self.verb {
                Verb::Get if self.query.flag("watch") => Verb::Watch,
                Verb::Get => Verb::List,
                Verb::Delete => Verb::DeleteCollection,
                other => other,
            };
        }
        self.target = Some(target);
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests;
