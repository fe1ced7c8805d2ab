//! Paths: what can be done to each kind, from its row.
//!
//! kubectl reads from here whether the server validates fields and knows dry runs (the parameters of PATCH), and which
//! path belongs to which kind (`x-kubernetes-group-version-kind`).

use serde_json::{Map, Value, json};

use skiff_api::Resource;

use super::reviews;
use crate::catalog::Entry;
use crate::reviews::Review;

/// What travels where a kind's number of pods is.
const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const JSON: &str = "application/json";
const READ_TYPES: &[&str] = &[JSON, "application/yaml"];
const WATCH_TYPES: &[&str] = &[JSON, "application/yaml", "application/json;stream=watch"];
const PATCH_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/apply-patch+cbor",
];

/// Without the strategic one: kubectl reads here how it may patch a custom resource.
const CUSTOM_PATCH_TYPES: &[&str] = &["application/json-patch+json", "application/merge-patch+json"];

const LISTING: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
const WRITING: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const PATCHING: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
const DELETING: &[&str] = &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"];

/// Subresources besides `status`: of which kind, name, verb, the kind that travels, its group and version.
const SUBRESOURCES: &[(&str, &str, &[&str], &str)] = &[
    ("Pod", "binding", &["post"], "io.k8s.api.core.v1.Binding"),
    ("Pod", "eviction", &["post"], "io.k8s.api.policy.v1.Eviction"),
    ("Pod", "log", &["get"], ""),
    ("Pod", "exec", &["get", "post"], ""),
    ("Pod", "attach", &["get", "post"], ""),
    ("Pod", "portforward", &["get", "post"], ""),
    ("Pod", "proxy", &["get", "put", "post", "delete", "patch"], ""),
    ("Pod", "ephemeralcontainers", &["get", "put", "patch"], "io.k8s.api.core.v1.Pod"),
    ("Pod", "resize", &["get", "put", "patch"], "io.k8s.api.core.v1.Pod"),
    ("Service", "proxy", &["get", "put", "post", "delete", "patch"], ""),
    ("Node", "proxy", &["get", "put", "post", "delete", "patch"], ""),
    ("Namespace", "finalize", &["put"], "io.k8s.api.core.v1.Namespace"),
    ("ServiceAccount", "token", &["post"], "io.k8s.api.authentication.v1.TokenRequest"),
];

/// The name of a kind's definition.
pub(super) fn definition(entry: &Entry) -> String {
    let Resource { group, version, kind, .. } = &entry.resource;
    if !entry.built_in {
        return crate::crd::publish::definition(&entry.resource);
    }
    let package = match &**group {
        "" => "io.k8s.api.core".to_owned(),
        "apiextensions.k8s.io" => "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions".to_owned(),
        // The one group whose package has not its first word's name.
        "internal.apiserver.k8s.io" => "io.k8s.api.apiserverinternal".to_owned(),
        "apiregistration.k8s.io" => "io.k8s.kube-aggregator.pkg.apis.apiregistration".to_owned(),
        group => format!("io.k8s.api.{}", group.split('.').next().unwrap_or(group)),
    };
    format!("{package}.{version}.{kind}")
}

/// A path and what can be done there.
pub(super) struct Path {
    pub(super) at: String,
    operations: Vec<Operation>,
    /// `namespace`, `name`.
    variables: Vec<&'static str>,
}

struct Operation {
    method: &'static str,
    /// `x-kubernetes-action`.
    action: &'static str,
    id: String,
    description: String,
    group: String,
    version: String,
    kind: String,
    /// The definition of the body, if there is one.
    body: Option<String>,
    /// The definition of the answer; plain text without.
    answer: Option<String>,
    parameters: &'static [&'static str],
    consumes: &'static [&'static str],
    produces: &'static [&'static str],
}

/// Every path of a kind.
pub(super) fn of(entry: &Entry) -> Vec<Path> {
    let Resource { group, plural, kind, namespaced, .. } = &entry.resource;
    let root = format!("/{}", entry.root());
    let (within, variables) = if *namespaced {
        (format!("{root}/namespaces/{{namespace}}/{plural}"), vec!["namespace"])
    } else {
        (format!("{root}/{plural}"), Vec::new())
    };
    let named: Vec<&str> = std::iter::once("name").chain(variables.iter().copied()).collect();
    let item = format!("{within}/{{name}}");
    let mut paths = Vec::new();
    if *namespaced {
        let list = operation(entry, "get", "list", "ForAllNamespaces");
        paths.push(Path { at: format!("{root}/{plural}"), operations: vec![list], variables: Vec::new() });
    }
    let collection = [("get", "list"), ("post", "post"), ("delete", "deletecollection")];
    let single = [("get", "get"), ("put", "put"), ("patch", "patch"), ("delete", "delete")];
    let operations = |verbs: &[(&'static str, &'static str)], suffix: &str| -> Vec<Operation> {
        let verbs = verbs.iter().filter(|(_, action)| {
            let verb = match *action {
                "post" => "create",
                "put" => "update",
                verb => verb,
            };
            entry.verbs.contains(&verb)
        });
        verbs.map(|(method, action)| operation(entry, method, action, suffix)).collect()
    };
    paths.push(Path { at: within, operations: operations(&collection, ""), variables });
    paths.push(Path { at: item.clone(), operations: operations(&single, ""), variables: named.clone() });
    if entry.status {
        let operations = operations(&single[..3], "Status");
        paths.push(Path { at: format!("{item}/status"), operations, variables: named.clone() });
    }
    if entry.scale.is_some() {
        let scale = |method: &&'static str| subresource(entry, "scale", method, SCALE);
        let operations = ["get", "put", "patch"].iter().map(scale).collect();
        paths.push(Path { at: format!("{item}/scale"), operations, variables: named.clone() });
    }
    if &*entry.table == "certificates.k8s.io/certificatesigningrequests" {
        let operations = operations(&single[..3], "Approval");
        paths.push(Path { at: format!("{item}/approval"), operations, variables: named.clone() });
    }
    let own = SUBRESOURCES.iter().filter(|(of, ..)| group.is_empty() && *of == &**kind);
    for (_, name, methods, carried) in own {
        let operations = methods.iter().map(|method| subresource(entry, name, method, carried)).collect();
        paths.push(Path { at: format!("{item}/{name}"), operations, variables: named.clone() });
    }
    paths
}

/// The path of a review: it is posted, and that is all.
pub(super) fn review(review: &Review) -> Path {
    let Review { group, version, plural, kind, namespaced, .. } = review;
    let root = reviews::root(review);
    let (at, variables, scope) = if *namespaced {
        (format!("/{root}/namespaces/{{namespace}}/{plural}"), vec!["namespace"], "Namespaced")
    } else {
        (format!("/{root}/{plural}"), Vec::new(), "")
    };
    let definition = reviews::definition(review);
    let operation = Operation {
        method: "post",
        action: "post",
        id: format!("create{}{}{scope}{kind}", shown_group(group), upper(version)),
        description: format!("create a {kind}"),
        group: (*group).to_owned(),
        version: (*version).to_owned(),
        kind: (*kind).to_owned(),
        body: Some(definition.clone()),
        answer: Some(definition),
        parameters: WRITING,
        consumes: &["*/*"],
        produces: READ_TYPES,
    };
    Path { at, operations: vec![operation], variables }
}

fn upper(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str());
    first.unwrap_or_default()
}

/// A group as names of operations have it.
fn shown_group(group: &str) -> String {
    match group {
        "" => "Core".to_owned(),
        group => upper(group.split('.').next().unwrap_or_default()),
    }
}

fn id(entry: &Entry, action: &str, suffix: &str) -> String {
    let Resource { group, version, kind, namespaced, .. } = &entry.resource;
    let group = shown_group(group);
    let verb = match action {
        "get" => "read",
        "put" => "replace",
        "post" => "create",
        "deletecollection" => "deleteCollection",
        other => other,
    };
    let scope = if *namespaced && suffix != "ForAllNamespaces" { "Namespaced" } else { "" };
    format!("{verb}{group}{}{scope}{kind}{suffix}", upper(version))
}

fn operation(entry: &Entry, method: &'static str, action: &'static str, suffix: &str) -> Operation {
    let kind = definition(entry);
    let (what, body, answer, parameters) = match action {
        "list" => ("list or watch objects of kind", None, format!("{kind}List"), LISTING),
        "get" => ("read the specified", None, kind, &[] as &[&str]),
        "post" => ("create a", Some(kind.clone()), kind, WRITING),
        "put" => ("replace the specified", Some(kind.clone()), kind, WRITING),
        "patch" => ("partially update the specified", Some(format!("{META}.Patch")), kind, PATCHING),
        "deletecollection" => (
            "delete collection of",
            Some(format!("{META}.DeleteOptions")),
            format!("{META}.Status"),
            DELETING,
        ),
        _ => ("delete a", Some(format!("{META}.DeleteOptions")), format!("{META}.Status"), DELETING),
    };
    let part = if suffix == "Status" { "status of the " } else { "" };
    Operation {
        method,
        action,
        id: id(entry, action, suffix),
        description: format!("{what} {part}{}", entry.resource.kind),
        group: entry.resource.group.to_string(),
        version: entry.resource.version.to_string(),
        kind: entry.resource.kind.to_string(),
        body,
        answer: Some(answer),
        parameters,
        consumes: match action {
            "patch" if !entry.built_in => CUSTOM_PATCH_TYPES,
            "patch" => PATCH_TYPES,
            _ => &["*/*"],
        },
        produces: if action == "list" { WATCH_TYPES } else { READ_TYPES },
    }
}

fn subresource(entry: &Entry, name: &'static str, method: &'static str, carried: &'static str) -> Operation {
    let mut parts = carried.rsplit('.');
    let kind = parts.next().filter(|kind| !kind.is_empty()).unwrap_or(&entry.resource.kind).to_owned();
    let (group, version) = match carried {
        "io.k8s.api.policy.v1.Eviction" => ("policy", "v1"),
        SCALE => ("autoscaling", "v1"),
        "io.k8s.api.authentication.v1.TokenRequest" => ("authentication.k8s.io", "v1"),
        _ => (&*entry.resource.group, &*entry.resource.version),
    };
    let streams = carried.is_empty();
    let carried = (!streams).then(|| carried.to_owned());
    let mut suffix = name.to_owned();
    suffix[..1].make_ascii_uppercase();
    Operation {
        method,
        action: if streams && name != "log" { "connect" } else { method },
        id: id(
            entry,
            if streams && name != "log" { "connect" } else { method },
            &format!("{suffix}{method}"),
        ),
        description: format!("{method} {name} of the specified {}", entry.resource.kind),
        group: group.to_owned(),
        version: version.to_owned(),
        kind,
        body: match method {
            "get" | "delete" => None,
            "patch" if !streams => Some(format!("{META}.Patch")),
            _ => carried.clone(),
        },
        answer: carried,
        parameters: match method {
            _ if streams => &[],
            "patch" => PATCHING,
            "post" | "put" => WRITING,
            _ => &[],
        },
        consumes: if method == "patch" && !streams { PATCH_TYPES } else { &["*/*"] },
        produces: if streams { &["*/*"] } else { READ_TYPES },
    }
}

/// The JSON type of a query parameter.
fn parameter_type(name: &str) -> &'static str {
    match name {
        "allowWatchBookmarks" | "force" | "orphanDependents" | "sendInitialEvents" | "watch" => "boolean",
        "gracePeriodSeconds" | "limit" | "timeoutSeconds" => "integer",
        _ => "string",
    }
}

impl Operation {
    fn tag(&self) -> String {
        match self.group.as_str() {
            "" => format!("core_{}", self.version),
            group => format!("{}_{}", group.split('.').next().unwrap_or_default(), self.version),
        }
    }

    fn common(&self) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("description".to_owned(), self.description.clone().into());
        map.insert("operationId".to_owned(), self.id.clone().into());
        map.insert("tags".to_owned(), json!([self.tag()]));
        map.insert("x-kubernetes-action".to_owned(), self.action.into());
        map.insert(
            "x-kubernetes-group-version-kind".to_owned(),
            json!({ "group": self.group, "kind": self.kind, "version": self.version }),
        );
        map
    }

    fn codes(&self) -> &'static [(&'static str, &'static str)] {
        match self.action {
            "post" => &[("200", "OK"), ("201", "Created"), ("202", "Accepted"), ("401", "Unauthorized")],
            "put" | "patch" => &[("200", "OK"), ("201", "Created"), ("401", "Unauthorized")],
            "delete" => &[("200", "OK"), ("202", "Accepted"), ("401", "Unauthorized")],
            _ => &[("200", "OK"), ("401", "Unauthorized")],
        }
    }

    fn v2(&self) -> Value {
        let mut map = self.common();
        map.insert("consumes".to_owned(), json!(self.consumes));
        map.insert("produces".to_owned(), json!(self.produces));
        let mut parameters: Vec<Value> = self
            .parameters
            .iter()
            .map(|name| json!({ "in": "query", "name": name, "type": parameter_type(name), "uniqueItems": true }))
            .collect();
        if let Some(body) = &self.body {
            let schema = json!({ "$ref": format!("#/definitions/{body}") });
            let required = self.action != "delete" && self.action != "deletecollection";
            parameters.push(json!({ "in": "body", "name": "body", "required": required, "schema": schema }));
        }
        map.insert("parameters".to_owned(), parameters.into());
        let answer = |(code, text): &(&str, &str)| {
            let schema = match &self.answer {
                Some(answer) => json!({ "$ref": format!("#/definitions/{answer}") }),
                None => json!({ "type": "string" }),
            };
            let response = match *code {
                "401" => json!({ "description": text }),
                _ => json!({ "description": text, "schema": schema }),
            };
            ((*code).to_owned(), response)
        };
        map.insert("responses".to_owned(), Value::Object(self.codes().iter().map(answer).collect()));
        map.into()
    }

    fn v3(&self) -> Value {
        let mut map = self.common();
        let parameter = |name: &&str| {
            let schema = json!({ "type": parameter_type(name), "uniqueItems": true });
            json!({ "in": "query", "name": name, "schema": schema })
        };
        map.insert("parameters".to_owned(), self.parameters.iter().map(parameter).collect());
        let content = |types: &[&str], definition: Option<&String>| -> Value {
            let schema = match definition {
                Some(definition) => json!({ "$ref": format!("#/components/schemas/{definition}") }),
                None => json!({ "type": "string" }),
            };
            Value::Object(
                types.iter().map(|kind| ((*kind).to_owned(), json!({ "schema": schema }))).collect(),
            )
        };
        if let Some(body) = &self.body {
            map.insert("requestBody".to_owned(), json!({ "content": content(self.consumes, Some(body)) }));
        }
        let answer = |(code, text): &(&str, &str)| {
            let response = match *code {
                "401" => json!({ "description": text }),
                _ => json!({ "description": text, "content": content(self.produces, self.answer.as_ref()) }),
            };
            ((*code).to_owned(), response)
        };
        map.insert("responses".to_owned(), Value::Object(self.codes().iter().map(answer).collect()));
        map.into()
    }
}

impl Path {
    fn item(&self, operations: Vec<(String, Value)>, parameters: Vec<Value>) -> Value {
        let mut map: Map<String, Value> = operations.into_iter().collect();
        if !parameters.is_empty() {
            map.insert("parameters".to_owned(), parameters.into());
        }
        map.into()
    }

    fn variable(name: &str) -> &'static str {
        if name == "namespace" {
            "object name and auth scope, such as for teams and projects"
        } else {
            "name of the object"
        }
    }

    /// The path item in v2's form.
    pub(super) fn v2(&self) -> Value {
        let operations = self.operations.iter().map(|op| (op.method.to_owned(), op.v2())).collect();
        let variables = self.variables.iter().map(|name| {
            let about = Self::variable(name);
            json!({ "in": "path", "name": name, "required": true, "type": "string", "uniqueItems": true, "description": about })
        });
        self.item(operations, variables.collect())
    }

    /// The path item in v3's form.
    pub(super) fn v3(&self) -> Value {
        let operations = self.operations.iter().map(|op| (op.method.to_owned(), op.v3())).collect();
        let variables = self.variables.iter().map(|name| {
            let schema = json!({ "type": "string", "uniqueItems": true });
            json!({ "in": "path", "name": name, "required": true, "schema": schema, "description": Self::variable(name) })
        });
        self.item(operations, variables.collect())
    }
}
