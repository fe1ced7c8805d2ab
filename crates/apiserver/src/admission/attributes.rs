//! What policies and webhooks are told of a call, in the form of upstream's `AdmissionRequest`.
//!
//! Objects are JSON here: they are made only when somebody asks, which `dynamic` finds out first.

use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use skiff_api::{ApiError, Resource};

use super::{Attempt, Operation};
use crate::api::Api;
use crate::catalog::Entry;
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
    pub(crate) entry: &'a Arc<Entry>,
    /// The version in which it is seen.
    pub(crate) resource: Resource,
    /// What was asked for, where it is seen in another version: resource, and group, version and kind.
    asked: Option<(Resource, (String, String, String))>,
    /// The other versions of the kind; found when somebody asks.
    kin: OnceLock<Vec<Arc<Entry>>>,
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
            entry: scope.entry,
            resource: scope.entry.resource.clone(),
            asked: None,
            kin: OnceLock::new(),
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

    /// The other versions in which the object could have been asked for.
    pub(super) fn kin(&self) -> &[Arc<Entry>] {
        self.kin.get_or_init(|| {
            let kinds = self.api.catalog.kinds();
            kinds.entries().iter().filter(|other| other.is_kin_of(self.entry)).cloned().collect()
        })
    }

    /// What was asked for, in whatever version it is seen.
    pub(super) fn asked(&self) -> &Resource {
        self.asked.as_ref().map_or(&self.resource, |(resource, _)| resource)
    }

    /// The call as who knows another version of the kind sees it. What stands for a subresource stays as it is.
    ///
    /// # Errors
    /// If the objects cannot be converted.
    pub(super) fn seen_as<'b>(&'b self, other: &'b Entry) -> BoxFuture<'b, Result<Self, ApiError>> {
        Box::pin(self.seen(other))
    }

    async fn seen(&self, other: &Entry) -> Result<Self, ApiError> {
        let resource = other.resource.clone();
        let (object, old, kind) = if self.is_of_its_kind() {
            let kind = (resource.group.to_string(), resource.version.to_string(), resource.kind.to_string());
            let object = self.entry.as_version(other, &self.object).await?;
            (object, self.entry.as_version(other, &self.old).await?, kind)
        } else {
            (self.object.clone(), self.old.clone(), self.kind.clone())
        };
        Ok(Self {
            api: self.api,
            user: self.user,
            operation: self.operation,
            kind,
            entry: self.entry,
            resource,
            asked: Some((self.resource.clone(), self.kind.clone())),
            kin: OnceLock::new(),
            subresource: self.subresource,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            object,
            old,
            options: self.options.clone(),
            dry_run: self.dry_run,
            warnings: Vec::new(),
            annotations: Vec::new(),
        })
    }

    /// Takes over what became of the call as it was seen in another version.
    ///
    /// # Errors
    /// If the object cannot be converted back.
    pub(super) fn take<'b>(
        &'b mut self,
        other: &'b Entry,
        mut seen: Self,
        changed: bool,
    ) -> BoxFuture<'b, Result<(), ApiError>> {
        Box::pin(async move {
            self.warnings.append(&mut seen.warnings);
            self.annotations.append(&mut seen.annotations);
            if changed {
                self.object = if self.is_of_its_kind() {
                    other.as_version(self.entry, &seen.object).await?
                } else {
                    seen.object
                };
            }
            Ok(())
        })
    }

    /// True unless something stands for what is asked of a subresource.
    fn is_of_its_kind(&self) -> bool {
        let resource = &self.entry.resource;
        self.kind.2 == *resource.kind && self.kind.0 == *resource.group
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
        let kind =
            |kind: &(String, String, String)| json!({ "group": kind.0, "version": kind.1, "kind": kind.2 });
        let resource = |resource: &Resource| json!({ "group": resource.group, "version": resource.version, "resource": resource.plural });
        let asked_kind = self.asked.as_ref().map_or(&self.kind, |(_, kind)| kind);
        let mut request = Map::new();
        let mut set = |field: &str, value: Value| drop(request.insert(field.to_owned(), value));
        set("kind", kind(&self.kind));
        set("resource", resource(&self.resource));
        set("requestKind", kind(asked_kind));
        set("requestResource", resource(self.asked()));
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
        ApiError::forbidden(self.asked(), &self.name, why)
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
