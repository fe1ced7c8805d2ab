//! An object on its way into the store: typed inside, one trait outside.
//!
//! `Typed<K>` is the only code that knows both the Rust type and the erased face. A dynamic kind (custom resources)
//! will be a second implementation of the same two traits.

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, Time};
use parking_lot::Mutex;
use skiff_api::apply::{self, Owners};
use skiff_api::decode::{DecodeFault, decode};
use skiff_api::object::DecodeError;
use skiff_api::patch::strategic;
use skiff_api::{Decoded, Errors, Meta, Object, Strictness};

use super::{Kind, Table};
use crate::stored::{Change, Stored};
use crate::user::User;

/// Stands for the revision in encoded JSON until the store has numbered the write. A random text, so that no client
/// can put it into an object.
static UNNUMBERED: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().to_string());

/// Stands in the same way for the owner of fields: owners are text already, and are not encoded with the rest.
static UNOWNED: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().to_string());

/// How [`UNOWNED`] looks when it is encoded.
static UNOWNED_TEXT: LazyLock<String> = LazyLock::new(|| format!(r#"[{{"manager":"{}"}}]"#, *UNOWNED));

/// The erased functions of a kind.
pub trait Ops: Send + Sync {
    /// A draft from a request's JSON.
    ///
    /// # Errors
    /// If the JSON is not of the kind; the text is fit for the client.
    fn decode(&self, json: &[u8], strictness: Strictness) -> Result<Decoded<Box<dyn Draft>>, DecodeFault>;
    /// A draft that is a copy of a stored object.
    ///
    /// # Errors
    /// If the stored JSON does not fit the type any more.
    fn thaw(&self, object: &Object) -> Result<Box<dyn Draft>, DecodeError>;
    /// Its table; made once for many objects.
    fn table(&self) -> Table;
    /// As [`Kind::known_field`].
    fn known_field<'a>(&self, _object: &'a Object, _name: &str) -> Option<&'a str> {
        None
    }
    /// Selectable fields besides `metadata.name` and `metadata.namespace`.
    ///
    /// # Errors
    /// If the stored JSON does not fit the type any more.
    fn fields(&self, object: &Object) -> Result<Vec<(Cow<'static, str>, String)>, DecodeError>;
    /// Adds the type's schema (and those it refers to) to a generator.
    fn schema(&self, generator: &mut schemars::SchemaGenerator) -> schemars::Schema;
    /// How the kind's fields merge under a strategic merge patch; made once.
    fn patch_schema(&self) -> Arc<strategic::Schema>;
    /// How configurations are applied to the kind, and what its fields are called in ownership.
    fn apply_schema(&self) -> apply::Schema;
}

/// One object being written. `old` drafts are always of the same kind.
pub trait Draft: Send + Sync {
    /// Its metadata, which never says who owns which field.
    fn meta(&self) -> &ObjectMeta;
    /// Its metadata, to change.
    fn meta_mut(&mut self) -> &mut ObjectMeta;
    /// Who owns which field.
    fn owners(&self) -> Option<&Owners>;
    /// Who owns which field, to change.
    fn owners_mut(&mut self) -> &mut Option<Owners>;
    /// The typed object, for code that is about one kind (admission plugins, allocators).
    fn as_any(&self) -> &dyn Any;
    /// The typed object, to change.
    fn as_any_mut(&mut self) -> &mut dyn Any;
    /// A copy.
    fn copy(&self) -> Box<dyn Draft>;
    /// As [`Kind::set_defaults`].
    fn set_defaults(&mut self);
    /// As [`Kind::prepare_create`].
    fn prepare_create(&mut self);
    /// As [`Kind::requested_by`].
    fn requested_by(&mut self, _user: &User) {}
    /// As [`Kind::prepare_update`].
    fn prepare_update(&mut self, old: &dyn Draft);
    /// As [`Kind::prepare_status`].
    fn prepare_status(&mut self, old: &dyn Draft);
    /// As [`Kind::prepare_approval`].
    fn prepare_approval(&mut self, _old: &dyn Draft) {}
    /// As [`Kind::date`].
    fn date(&mut self, _old: &dyn Draft, _now: &Time) {}
    /// As [`Kind::generation_changed`].
    fn generation_changed(&self, old: &dyn Draft) -> bool;
    /// As [`Kind::validate`].
    fn validate(&self, errors: &mut Errors);
    /// As [`Kind::validate_create`].
    fn validate_create(&self, errors: &mut Errors);
    /// As [`Kind::validate_update`].
    fn validate_update(&self, old: &dyn Draft, errors: &mut Errors);
    /// As [`Kind::validate_status`].
    fn validate_status(&self, old: &dyn Draft, errors: &mut Errors);
    /// As [`Kind::validate_approval`].
    fn validate_approval(&self, _old: &dyn Draft, _errors: &mut Errors) {}
    /// As [`Kind::warnings`].
    fn warnings(&self, old: Option<&dyn Draft>) -> Vec<String>;
    /// As [`Kind::grace`].
    fn grace(&self, requested: Option<i64>) -> Option<i64>;
    /// As [`Kind::begin_deletion`].
    fn begin_deletion(&mut self);
    /// As [`Kind::held`].
    fn held(&self) -> bool;
    /// Its JSON without owners.
    ///
    /// # Errors
    /// If the type cannot be encoded, which would be a fault of the type.
    fn json(&self) -> Result<Vec<u8>, serde_json::Error>;
    /// Its JSON as a value, owners included.
    ///
    /// # Errors
    /// If the type cannot be encoded, which would be a fault of the type.
    fn value(&self) -> Result<serde_json::Value, serde_json::Error>;
    /// Encodes it, once, leaving a gap for the revision.
    ///
    /// # Errors
    /// If the type cannot be encoded, which would be a fault of the type.
    fn freeze(self: Box<Self>) -> Result<Box<dyn Frozen>, serde_json::Error>;
}

/// An encoded object that only lacks its revision.
pub trait Frozen: Send {
    /// True if nothing but the revision would differ from `stored`: a write that changes nothing is not a write.
    fn same_as(&self, stored: &Object) -> bool;
    /// How many bytes it is, but for the revision.
    fn size(&self) -> usize;
    /// The finished object as the outcome of `change`, and something that keeps its typed form alive while held.
    fn stamp(self: Box<Self>, revision: u64, change: Change) -> (Stored, Arc<dyn Any + Send + Sync>);
}

/// The link between a Rust type and the erased face.
pub(super) struct Typed<K>(PhantomData<fn() -> K>);

impl<K> Typed<K> {
    pub(super) const NEW: Self = Self(PhantomData);
}

impl<K: Kind> Ops for Typed<K> {
    fn decode(&self, json: &[u8], strictness: Strictness) -> Result<Decoded<Box<dyn Draft>>, DecodeFault> {
        let decoded = decode::<K>(json, strictness)?;
        Ok(Decoded { object: Box::new(Whole::sent(decoded.object)), warnings: decoded.warnings })
    }

    fn thaw(&self, object: &Object) -> Result<Box<dyn Draft>, DecodeError> {
        let owners = object.owners().map_err(|source| DecodeError::of(K::KIND, object, source))?;
        Ok(Box::new(Whole { object: object.decode::<K>()?, owners }))
    }

    fn table(&self) -> Table {
        K::table()
    }

    fn known_field<'a>(&self, object: &'a Object, name: &str) -> Option<&'a str> {
        K::known_field(object, name)
    }

    fn fields(&self, object: &Object) -> Result<Vec<(Cow<'static, str>, String)>, DecodeError> {
        Ok(object.decode::<K>()?.fields().into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    fn schema(&self, generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<K>()
    }

    fn patch_schema(&self) -> Arc<strategic::Schema> {
        static MADE: LazyLock<Mutex<HashMap<TypeId, Arc<strategic::Schema>>>> = LazyLock::new(Mutex::default);
        let mut made = MADE.lock();
        let schema = made.entry(TypeId::of::<K>()).or_insert_with(|| Arc::new(strategic::Schema::of::<K>()));
        Arc::clone(schema)
    }

    fn apply_schema(&self) -> apply::Schema {
        super::schemas::of(&K::schema_name())
    }
}

/// A typed draft.
struct Whole<K> {
    /// Shared with whoever else holds the object, and with copies, until one of them is changed.
    object: Arc<K>,
    /// Apart from the object.
    owners: Option<Owners>,
}

impl<K: Kind> Whole<K> {
    /// What a request brought.
    fn sent(mut object: K) -> Self {
        let owners = Owners::sent(object.metadata_mut().managed_fields.take());
        Self { object: Arc::new(object), owners }
    }

    fn own(&mut self) -> &mut K {
        Arc::make_mut(&mut self.object)
    }

    fn same(other: &dyn Draft) -> &K {
        other.as_any().downcast_ref().expect("the registry pairs drafts of one kind only")
    }
}

impl<K: Kind> Draft for Whole<K> {
    fn meta(&self) -> &ObjectMeta {
        self.object.metadata()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.own().metadata_mut()
    }

    fn owners(&self) -> Option<&Owners> {
        self.owners.as_ref()
    }

    fn owners_mut(&mut self) -> &mut Option<Owners> {
        &mut self.owners
    }

    fn as_any(&self) -> &dyn Any {
        &*self.object
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self.own()
    }

    fn copy(&self) -> Box<dyn Draft> {
        Box::new(Self { object: Arc::clone(&self.object), owners: self.owners.clone() })
    }

    fn set_defaults(&mut self) {
        self.own().set_defaults();
    }

    fn prepare_create(&mut self) {
        self.own().prepare_create();
    }

    fn requested_by(&mut self, user: &User) {
        self.own().requested_by(user);
    }

    fn prepare_update(&mut self, old: &dyn Draft) {
        self.own().prepare_update(Self::same(old));
    }

    fn prepare_status(&mut self, old: &dyn Draft) {
        self.own().prepare_status(Self::same(old));
    }

    fn prepare_approval(&mut self, old: &dyn Draft) {
        self.own().prepare_approval(Self::same(old));
    }

    fn date(&mut self, old: &dyn Draft, now: &Time) {
        self.own().date(Self::same(old), now);
    }

    fn generation_changed(&self, old: &dyn Draft) -> bool {
        self.object.generation_changed(Self::same(old))
    }

    fn validate(&self, errors: &mut Errors) {
        self.object.validate(errors);
    }

    fn validate_create(&self, errors: &mut Errors) {
        self.object.validate_create(errors);
    }

    fn validate_update(&self, old: &dyn Draft, errors: &mut Errors) {
        self.object.validate_update(Self::same(old), errors);
    }

    fn validate_status(&self, old: &dyn Draft, errors: &mut Errors) {
        self.object.validate_status(Self::same(old), errors);
    }

    fn validate_approval(&self, old: &dyn Draft, errors: &mut Errors) {
        self.object.validate_approval(Self::same(old), errors);
    }

    fn warnings(&self, old: Option<&dyn Draft>) -> Vec<String> {
        self.object.warnings(old.map(Self::same))
    }

    fn grace(&self, requested: Option<i64>) -> Option<i64> {
        self.object.grace(requested)
    }

    fn begin_deletion(&mut self) {
        self.own().begin_deletion();
    }

    fn held(&self) -> bool {
        self.object.held()
    }

    fn json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&*self.object)
    }

    fn value(&self) -> Result<serde_json::Value, serde_json::Error> {
        let mut tree = skiff_api::decode::tree(&*self.object)?;
        if let Some(owners) = &self.owners {
            tree["metadata"]["managedFields"] = owners.tree()?;
        }
        Ok(tree)
    }

    fn freeze(mut self: Box<Self>) -> Result<Box<dyn Frozen>, serde_json::Error> {
        let owners = self.owners.take();
        let unowned = ManagedFieldsEntry { manager: Some(UNOWNED.clone()), ..ManagedFieldsEntry::default() };
        let meta = self.own().metadata_mut();
        meta.resource_version = Some(UNNUMBERED.clone());
        meta.managed_fields = owners.is_some().then(|| vec![unowned]);
        let json = serde_json::to_string(&*self.object)?;
        self.own().metadata_mut().managed_fields = None;
        // What is found first is the metadata's, since nobody else knows these texts; owners stand before the revision.
        let found = |text: &str, from: usize| {
            let begin =
                from + json[from..].find(text).expect("metadata is encoded with what was put into it");
            begin..begin + text.len()
        };
        let unowned = if owners.is_some() { found(&UNOWNED_TEXT, 0) } else { 0..0 };
        let unnumbered = found(&UNNUMBERED, unowned.end);
        let meta = Meta::of(self.object.metadata());
        Ok(Box::new(Unfinished { meta, typed: self.object, owners, json, gaps: [unowned, unnumbered] }))
    }
}

/// An encoded object with gaps, for its owners and for its revision.
struct Unfinished<K> {
    meta: Meta,
    typed: Arc<K>,
    owners: Option<Owners>,
    json: String,
    gaps: [Range<usize>; 2],
}

impl<K> Unfinished<K> {
    /// The JSON as pieces between which nothing is missing.
    fn parts<'a>(&'a self, revision: &'a str) -> [&'a [u8]; 5] {
        let (json, [first, second]) = (self.json.as_bytes(), &self.gaps);
        let owners = self.owners.as_ref().map(Owners::text).unwrap_or_default();
        let between = &json[first.end..second.start];
        [&json[..first.start], owners, between, revision.as_bytes(), &json[second.end..]]
    }
}

impl<K: Kind> Frozen for Unfinished<K> {
    fn same_as(&self, stored: &Object) -> bool {
        let number = stored.meta().revision.to_string();
        let mut parts = self.parts(&number).into_iter();
        let rest = parts.try_fold(&**stored.bytes(), |rest, part| rest.strip_prefix(part));
        rest.is_some_and(<[u8]>::is_empty)
    }

    fn size(&self) -> usize {
        self.parts("").iter().map(|part| part.len()).sum()
    }

    fn stamp(self: Box<Self>, revision: u64, change: Change) -> (Stored, Arc<dyn Any + Send + Sync>) {
        let number = revision.to_string();
        let line = change.line(&self.parts(&number));
        let Self { mut meta, mut typed, .. } = *self;
        meta.revision = revision;
        Arc::make_mut(&mut typed).metadata_mut().resource_version = Some(number);
        let object = Object::with_typed(meta, change.object_in(&line), &typed);
        (Stored::new(object, change, line), typed)
    }
}
