//! One event of the audit log. Pure: what is known of the request goes in, a line comes out.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::policy::{Decision, Level, Stage};
use crate::request::Info;
use crate::user::User;

/// What all events of a request have in common.
#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) id: String,
    pub(crate) decision: Decision,
    pub(crate) uri: String,
    pub(crate) info: Info,
    pub(crate) user: Option<User>,
    /// In whose name it is, if not the user's own.
    pub(crate) impersonated: Option<User>,
    pub(crate) source: Vec<String>,
    pub(crate) agent: String,
    pub(crate) received: Timestamp,
    /// The request's body as JSON, if it is told.
    pub(crate) request: Option<Value>,
    /// What those who dealt with it have to say.
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What became of it.
#[derive(Clone, Default)]
pub(crate) struct Outcome {
    pub(crate) code: u16,
    /// The answer's body as JSON, if it is needed.
    pub(crate) response: Option<Value>,
}

impl Subject {
    /// The line of a stage.
    pub(crate) fn line(&self, stage: Stage, now: Timestamp, outcome: Option<&Outcome>) -> Bytes {
        let mut event = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": self.decision.level.word(),
            "auditID": self.id, "stage": stage.word(), "requestURI": self.uri, "verb": self.verb(),
            "user": self.user.as_ref().map_or_else(|| json!({}), identity),
            "requestReceivedTimestamp": format!("{:.6}", self.received),
            "stageTimestamp": format!("{now:.6}"),
        });
        if let Some(other) = &self.impersonated {
            event["impersonatedUser"] = identity(other);
        }
        if !self.source.is_empty() {
            event["sourceIPs"] = json!(self.source);
        }
        if !self.agent.is_empty() {
            event["userAgent"] = self.agent.as_str().into();
        }
        let response = outcome.and_then(|outcome| outcome.response.as_ref());
        if let Some(reference) = self.reference(response) {
            event["objectRef"] = reference;
        }
        if let Some(outcome) = outcome {
            event["responseStatus"] = status(outcome.code, response);
        }
        if self.decision.level >= Level::Request && stage != Stage::RequestReceived {
            if let Some(request) = &self.request {
                event["requestObject"] = self.shown(request);
            }
            if let (Level::RequestResponse, Some(response)) = (self.decision.level, response) {
                event["responseObject"] = self.shown(response);
            }
        }
        if !self.annotations.is_empty() {
            event["annotations"] = json!(self.annotations);
        }
        let mut line = event.to_string();
        line.push('\n');
        line.into()
    }

    fn verb(&self) -> String {
        match self.info.target {
            Some(_) => self.info.verb.word().to_owned(),
            None => self.info.method.as_str().to_lowercase(),
        }
    }

    fn reference(&self, response: Option<&Value>) -> Option<Value> {
        let target = self.info.target.as_ref()?;
        let mut reference = Map::new();
        let mut set = |name: &str, value: &str| {
            if !value.is_empty() {
                reference.insert(name.to_owned(), value.into());
            }
        };
        set("resource", &target.plural);
        set("namespace", &target.namespace);
        let meta = |object: Option<&Value>, field: &str| {
            object.and_then(|object| object["metadata"][field].as_str()).unwrap_or_default().to_owned()
        };
        let name =
            if target.name.is_empty() { meta(self.request.as_ref(), "name") } else { target.name.clone() };
        set("name", &name);
        if response.is_some_and(|response| response["kind"] != "Status") {
            set("uid", &meta(response, "uid"));
            set("resourceVersion", &meta(response, "resourceVersion"));
        }
        set("apiGroup", &target.group);
        set("apiVersion", &target.version);
        set("subresource", &target.subresource);
        Some(reference.into())
    }

    /// An object as it is told.
    fn shown(&self, object: &Value) -> Value {
        let mut object = object.clone();
        if self.decision.omit_managed_fields {
            let items = object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten();
            items.for_each(unmanaged);
            unmanaged(&mut object);
        }
        object
    }
}

fn identity(user: &User) -> Value {
    let mut told = json!({ "username": user.name, "groups": user.groups });
    if !user.uid.is_empty() {
        told["uid"] = (*user.uid).into();
    }
    if !user.extra.is_empty() {
        told["extra"] = json!(user.extra);
    }
    told
}

fn unmanaged(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

fn status(code: u16, response: Option<&Value>) -> Value {
    let mut status = json!({ "metadata": {}, "code": code });
    for field in ["status", "message", "reason", "details"] {
        let told = response.filter(|response| response["kind"] == "Status").and_then(|told| told.get(field));
        if let Some(told) = told {
            status[field] = told.clone();
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::super::policy::Policy;
    use super::*;

    #[test]
    fn an_event_tells_who_did_what_to_which_object_and_how_it_ended() {
        let policy = b"{apiVersion: audit.k8s.io/v1, kind: Policy, omitManagedFields: true, rules: [{level: RequestResponse}]}";
        let user = User::new("ada", ["staff"]);
        let info = Info::parse(&http::Method::POST, "/api/v1/namespaces/a/pods", "dryRun=All");
        let now: Timestamp = "2026-11-26T10:00:00.5Z".parse().unwrap();
        let subject = Subject {
            id: "id".to_owned(),
            decision: Policy::parse(policy).unwrap().judge(Some(&user), &info),
            uri: "/api/v1/namespaces/a/pods?dryRun=All".to_owned(),
            info,
            user: Some(user),
            impersonated: None,
            source: vec!["127.0.0.1".to_owned()],
            agent: "kubectl".to_owned(),
            received: now,
            request: Some(json!({ "kind": "Pod", "metadata": { "name": "p", "managedFields": [] } })),
            annotations: BTreeMap::from([("example.com/note".to_owned(), "seen".to_owned())]),
        };
        let told = json!({
            "kind": "Status", "status": "Failure", "reason": "AlreadyExists", "message": "no", "code": 409,
        });
        let outcome = Outcome { code: 409, response: Some(told.clone()) };
        let line = subject.line(Stage::ResponseComplete, now, Some(&outcome));
        let event: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(
            event,
            json!({
                "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "auditID": "id",
                "stage": "ResponseComplete", "requestURI": "/api/v1/namespaces/a/pods?dryRun=All", "verb": "create",
                "user": { "username": "ada", "groups": ["staff", "system:authenticated"] },
                "sourceIPs": ["127.0.0.1"], "userAgent": "kubectl",
                "objectRef": { "resource": "pods", "namespace": "a", "name": "p", "apiVersion": "v1" },
                "responseStatus": {
                    "metadata": {}, "code": 409, "status": "Failure", "reason": "AlreadyExists", "message": "no",
                },
                "requestObject": { "kind": "Pod", "metadata": { "name": "p" } }, "responseObject": told,
                "requestReceivedTimestamp": "2026-11-26T10:00:00.500000Z",
                "stageTimestamp": "2026-11-26T10:00:00.500000Z",
                "annotations": { "example.com/note": "seen" },
            })
        );
    }
}
