//! A custom resource being written: metadata typed, the rest as it came.

use std::any::Any;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};
use skiff_api::apply::Owners;
use skiff_api::errors::Fault;
use skiff_api::{Errors, Object, cel};

use super::schema::Node;
use super::{defaults, rules, validate};
use crate::conversion::Converted;
use crate::kinds::{Draft, Frozen};

/// What all drafts of one version have in common.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) node: Arc<Node>,
    /// Whether the status is a subresource.
    pub(super) status: bool,
}

/// A draft.
#[derive(Clone)]
pub(super) struct Custom {
    shape: Arc<Shape>,
    meta: ObjectMeta,
    /// Apart from the metadata.
    owners: Option<Owners>,
    /// All but `apiVersion`, `kind` and `metadata`.
    rest: Map<String, Value>,
    /// The object before, if there was one; what has not changed is not judged anew.
    old: Option<Arc<Value>>,
}

impl Custom {
    /// `meta` says nothing of owners.
    pub(super) fn new(
        shape: &Arc<Shape>,
        meta: ObjectMeta,
        owners: Option<Owners>,
        mut rest: Map<String, Value>,
    ) -> Self {
        for name in ["apiVersion", "kind", "metadata"] {
            rest.remove(name);
        }
        Self { shape: Arc::clone(shape), meta, owners, rest, old: None }
    }

    fn same(other: &dyn Draft) -> &Self {
        other.as_any().downcast_ref().expect("the registry pairs drafts of one kind only")
    }

    fn whole(&self) -> Result<Value, serde_json::Error> {
        let mut map = self.rest.clone();
        map.insert("apiVersion".to_owned(), self.shape.api_version.as_str().into());
        map.insert("kind".to_owned(), self.shape.kind.as_str().into());
        let mut meta = skiff_api::decode::tree(&self.meta)?;
        if let Some(owners) = &self.owners {
            meta["managedFields"] = owners.tree()?;
        }
        map.insert("metadata".to_owned(), meta);
        Ok(map.into())
    }

    fn take_status(&mut self, old: &Self) {
        match old.rest.get("status") {
            Some(status) => self.rest.insert("status".to_owned(), status.clone()),
            None => self.rest.remove("status"),
        };
    }

    fn remember(&mut self, old: &Self) {
        self.old = old.whole().ok().map(Arc::new);
    }
}

impl Draft for Custom {
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }

    fn owners(&self) -> Option<&Owners> {
        self.owners.as_ref()
    }

    fn owners_mut(&mut self) -> &mut Option<Owners> {
        &mut self.owners
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn copy(&self) -> Box<dyn Draft> {
        Box::new(self.clone())
    }

    fn set_defaults(&mut self) {
        let mut rest = Value::Object(std::mem::take(&mut self.rest));
        defaults::fill(&self.shape.node, &mut rest);
        if let Value::Object(mut rest) = rest {
            rest.remove("metadata");
            self.rest = rest;
        }
    }

    fn prepare_create(&mut self) {
        if self.shape.status {
            self.rest.remove("status");
        }
        self.meta.generation = Some(1);
    }

    fn prepare_update(&mut self, old: &dyn Draft) {
        let old = Self::same(old);
        if self.shape.status {
            self.take_status(old);
        }
        self.remember(old);
    }

    fn prepare_status(&mut self, old: &dyn Draft) {
        let old = Self::same(old);
        let status = self.rest.remove("status");
        self.rest.clone_from(&old.rest);
        self.rest.remove("status");
        self.rest.extend(status.map(|status| ("status".to_owned(), status)));
        self.remember(old);
    }

    fn generation_changed(&self, old: &dyn Draft) -> bool {
        let old = Self::same(old);
        let counts = |name: &str| !self.shape.status || name != "status";
        let of = |rest: &Map<String, Value>| rest.iter().filter(|(name, _)| counts(name)).count();
        of(&self.rest) != of(&old.rest)
            || self.rest.iter().any(|(name, value)| counts(name) && old.rest.get(name) != Some(value))
    }

    fn validate(&self, errors: &mut Errors) {
        let Ok(whole) = self.whole() else { return };
        let (node, old) = (&self.shape.node, self.old.as_deref());
        let mut found = Errors::new();
        validate::check(node, &whole, old, &mut found);
        let found_list = found.list();
        let blocked = found_list.iter().any(|error| {
            matches!(error.fault, Fault::Required | Fault::TooLong | Fault::TooMany | Fault::TypeInvalid)
        });
        errors.append(found);
        if blocked {
            let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            errors.push_at("<nil>", Fault::Invalid, "null", why);
            return;
        }
        let mut budget = cel::PER_OBJECT;
        rules::run(node, &whole, old, true, errors, &mut budget);
    }

    fn validate_create(&self, _errors: &mut Errors) {}

    fn validate_update(&self, _old: &dyn Draft, _errors: &mut Errors) {}

    fn validate_status(&self, _old: &dyn Draft, errors: &mut Errors) {
        self.validate(errors);
    }

    fn warnings(&self, _old: Option<&dyn Draft>) -> Vec<String> {
        Vec::new()
    }

    fn grace(&self, _requested: Option<i64>) -> Option<i64> {
        None
    }

    fn begin_deletion(&mut self) {}

    fn held(&self) -> bool {
        false
    }

    fn json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&self.whole()?)
    }

    fn value(&self) -> Result<Value, serde_json::Error> {
        self.whole()
    }

    fn freeze(mut self: Box<Self>) -> Result<Box<dyn Frozen>, serde_json::Error> {
        self.meta.resource_version = Some("0".to_owned());
        let json = serde_json::to_vec(&self.whole()?)?;
        Ok(Box::new(Converted(Object::parse(json.into())?)))
    }
}
