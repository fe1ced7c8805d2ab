//! What policies and webhooks are told of a call, in the form of upstream's `AdmissionRequest`.
//!
//! Objects are JSON here: they are made only when somebody asks, which `dynamic` finds out first.

use serde_json::{Map, Value, json};
use skiff_api::{ApiError, Resource};

use super::{Attempt, Operation};
use crate::api::Api;
use crate::kinds::Draft;
use crate::registry::Scope;
use crate::user::User;

/// A call.
pub(crate) struct Attributes<'a> {
    pub(crate) api: &'a Api,
    pub(crate) user: &'a User,
    /// `CREATE`, `UPDATE`, `DELETE`, `CONNECT`.
    pub(crate) operation: &'static str,
    /// Group, version and kind of the object: not the resource's own for `scale`, `eviction` and the like.
    pub(crate) kind: (String, String, String),
    pub(crate) resource: &'a Resource,
    pub(crate) subresource: &'a str,
    /// Empty for cluster-scoped objects; a namespace's own name for a namespace.
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Null for deletions.
    pub(crate) object: Value,
    /// Null for creations.
    pub(crate) old: Value,
    pub(crate) options: Value,
    pub(crate) dry_run: bool,
    /// For the client.
    pub(crate) warnings: Vec<String>,
    /// For the audit log.
    pub(crate) annotations: Vec<(String, String)>,
}

impl<'a> Attributes<'a> {
    /// Of a write of the object itself, or of its status.
    pub(super) fn of(attempt: &Attempt<'a>, draft: Option<&dyn Draft>) -> Result<Self, ApiError> {
        let json = |draft: &dyn Draft| draft.value().map_err(ApiError::internal);
        let (operation, options) = match attempt.operation {
            Operation::Create => ("CREATE", "CreateOptions"),
            Operation::Update => ("UPDATE", "UpdateOptions"),
            Operation::Delete => ("DELETE", "DeleteOptions"),
        };
        let resource = &attempt.scope.entry.resource;
        let kind = (resource.group.to_string(), resource.version.to_string(), resource.kind.to_string());
        let mut made = Self::new(&attempt.scope, operation, kind);
        made.object = draft.map(json).transpose()?.unwrap_or_default();
        made.old = attempt.old.map(json).transpose()?.unwrap_or_default();
        made.options = named(options, &attempt.options, attempt.dry_run);
        made.dry_run = attempt.dry_run;
        // Who creates has not said the name in the path.
        if made.name.is_empty() {
            made.name = draft.and_then(|draft| draft.meta().name.clone()).unwrap_or_default();
        }
        if &*resource.plural == "namespaces" && resource.group.is_empty() {
            made.namespace.clone_from(&made.name);
        }
        Ok(made)
    }

    /// Without objects.
    pub(super) fn new(scope: &Scope<'a>, operation: &'static str, kind: (String, String, String)) -> Self {
        Self {
            api: scope.api,
            user: scope.user,
            operation,
            kind,
            resource: &scope.entry.resource,
            subresource: scope.subresource,
            namespace: scope.namespace.to_owned(),
            name: scope.name.to_owned(),
            object: Value::Null,
            old: Value::Null,
            options: Value::Null,
            dry_run: false,
            warnings: Vec::new(),
            annotations: Vec::new(),
        }
    }

    /// True for the kinds that configure this: nobody may lock everybody out of them (upstream's
    /// `IsExemptAdmissionConfigurationResource`).
    pub(super) fn exempt(&self) -> bool {
        const EXEMPT: &[&str] = &[
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicybindings",
            "mutatingwebhookconfigurations",
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            "validatingwebhookconfigurations",
        ];
        &*self.resource.group == "admissionregistration.k8s.io" && EXEMPT.contains(&&*self.resource.plural)
    }

    /// True if the object lives in a namespace; a namespace does not live in itself.
    pub(super) fn namespaced(&self) -> bool {
        !self.namespace.is_empty() && !self.is_namespace()
    }

    /// True for namespaces and what stands behind them.
    pub(super) fn is_namespace(&self) -> bool {
        self.resource.group.is_empty() && &*self.resource.plural == "namespaces"
    }

    /// The request, without the objects, which are large and which expressions see elsewhere.
    pub(super) fn request(&self) -> Value {
        let (group, version, kind) = (&self.kind.0, &self.kind.1, &self.kind.2);
        let kind = json!({ "group": group, "version": version, "kind": kind });
        let resource = json!({
            "group": self.resource.group, "version": self.resource.version, "resource": self.resource.plural,
        });
        let mut request = Map::new();
        let mut set = |field: &str, value: Value| drop(request.insert(field.to_owned(), value));
        set("kind", kind.clone());
        set("resource", resource.clone());
        set("requestKind", kind);
        set("requestResource", resource);
        for (field, text) in [
            ("subResource", self.subresource),
            ("requestSubResource", self.subresource),
            ("name", &self.name),
            ("namespace", &self.namespace),
        ] {
            if !text.is_empty() {
                set(field, text.into());
            }
        }
        set("operation", self.operation.into());
        set("userInfo", user_info(self.user));
        set("dryRun", self.dry_run.into());
        set("options", self.options.clone());
        Value::Object(request)
    }

    /// 403 in the words of `why`.
    pub(super) fn forbidden(&self, why: impl std::fmt::Display) -> ApiError {
        ApiError::forbidden(self.resource, &self.name, why)
    }
}

/// Options as an object of their kind.
fn named(kind: &str, sent: &Value, dry_run: bool) -> Value {
    let mut options = json!({ "kind": kind, "apiVersion": "meta.k8s.io/v1" });
    if let (Some(options), Some(sent)) = (options.as_object_mut(), sent.as_object()) {
        options.extend(sent.iter().map(|(field, value)| (field.clone(), value.clone())));
    }
    if dry_run {
        options["dryRun"] = json!(["All"]);
    }
    options
}

/// The user as upstream's `UserInfo`.
fn user_info(user: &User) -> Value {
    let mut info = json!({ "username": &*user.name, "groups": &*user.groups });
    if !user.uid.is_empty() {
        info["uid"] = (*user.uid).into();
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(*user.extra);
    }
    info
}
