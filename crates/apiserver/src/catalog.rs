//! The kinds this server serves, found by path: the built-in ones, and those that come and go while it serves.
//!
//! Readers take a snapshot ([`Kinds`]) or an [`Entry`] and keep it for as long as their request lasts; who changes the
//! catalog swaps the snapshot. Several entries may share one table in the store: they are served versions of one kind,
//! and all but the stored one have a [`Conversion`].

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use skiff_api::{ApiError, Errors, Object, Resource};
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;

use crate::conversion::Conversion;
use crate::crd::scale;
use crate::kinds::{self, Dependents, Ops, Row};
use crate::openapi::Documents;
use crate::recent::Recent;
use crate::request::Target;
use crate::reviews::{self, Review};
use crate::served::RuntimeConfig;
use crate::stored::Stored;
use crate::verbs::watch::Frames;

/// Something of a built-in kind, which lives for ever, or of a dynamic one, which is counted.
pub(crate) enum Held<T: ?Sized + 'static> {
    Static(&'static T),
    Counted(Arc<T>),
}

impl<T: ?Sized> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Static(it) => it,
            Self::Counted(it) => it,
        }
    }
}

impl<T: ?Sized> Clone for Held<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Static(it) => Self::Static(it),
            Self::Counted(it) => Self::Counted(Arc::clone(it)),
        }
    }
}

/// One served version of a kind: what its row or its definition says, and what derives from that.
pub(crate) struct Entry {
    pub(crate) resource: Resource,
    /// `PodList`.
    pub(crate) list_kind: Arc<str>,
    /// `pod`.
    pub(crate) singular: Arc<str>,
    /// `po`.
    pub(crate) short: Vec<Arc<str>>,
    /// `all`.
    pub(crate) categories: Vec<Arc<str>>,
    /// False for kinds that come from a definition.
    pub(crate) built_in: bool,
    /// As in [`Row`], and so on.
    pub(crate) verbs: &'static [&'static str],
    pub(crate) computed: Option<kinds::Computed>,
    pub(crate) status: bool,
    /// Where it keeps how many there are, if it has a `scale` subresource.
    pub(crate) scale: Option<Arc<scale::Paths>>,
    pub(crate) dependents: Dependents,
    pub(crate) name_rule: fn(&str) -> Vec<String>,
    pub(crate) upsert: bool,
    pub(crate) unconditional_update: bool,
    pub(crate) answer_deleted: bool,
    pub(crate) name_first: bool,
    /// What clients of a version that is on its way out are warned with.
    pub(crate) deprecation: Option<String>,
    pub(crate) ops: Held<dyn Ops>,
    /// What OpenAPI says of a custom resource, in v3's words.
    pub(crate) published: Option<Box<RawValue>>,
    /// Whether the kind is going with its definition, so that nothing may be created.
    pub(crate) ending: bool,
    /// Cancelled when the kind is not served any more; ends its watches.
    pub(crate) gone: CancellationToken,
    /// How stored objects become objects of this version and back; nothing if they always are.
    pub(crate) conversion: Option<Held<dyn Conversion>>,
    /// States that watchers were told of, by revision, as this version has them.
    pub(crate) converted: Recent<u64, OnceCell<Arc<Stored>>>,
    /// The same as they stand in a watch that is not in JSON.
    pub(crate) frames: Frames,
    /// Its table in the store; shared by all versions of a kind.
    pub(crate) table: Arc<str>,
    /// `v1` or `apps/v1`.
    pub(crate) api_version: String,
    /// The opening of a list up to its metadata.
    pub(crate) list_head: Bytes,
    /// The fields its field selectors may name.
    pub(crate) fields: Vec<String>,
}

impl Entry {
    /// The entry of a built-in kind.
    pub(crate) fn built_in(row: &Row) -> Self {
        let shared = |names: &[&'static str]| names.iter().map(|name| Arc::from(*name)).collect();
        let entry = Self {
            list_kind: row.list_kind.into(),
            singular: row.kind.to_lowercase().into(),
            short: shared(row.short),
            categories: shared(row.categories),
            built_in: true,
            verbs: row.verbs,
            computed: row.computed,
            status: row.status,
            scale: row.scale.then(|| Arc::new(scale::Paths::usual())),
            dependents: row.dependents,
            name_rule: row.name_rule,
            upsert: row.upsert,
            unconditional_update: row.unconditional_update,
            answer_deleted: row.answer_deleted,
            name_first: row.name_first,
            conversion: row.converts.map(Held::Static),
            ..Self::plain(row.resource(), Held::Static(row.ops))
        };
        entry.finished()
    }

    /// An entry with the usual settings, to be changed and then [finished](Self::finished).
    pub(crate) fn plain(resource: Resource, ops: Held<dyn Ops>) -> Self {
        Self {
            list_kind: format!("{}List", resource.kind).into(),
            singular: resource.kind.to_lowercase().into(),
            short: Vec::new(),
            categories: Vec::new(),
            built_in: false,
            verbs: kinds::VERBS,
            computed: None,
            status: false,
            scale: None,
            dependents: Dependents::Go,
            name_rule: skiff_api::names::dns1123_subdomain,
            upsert: false,
            unconditional_update: true,
            answer_deleted: false,
            name_first: true,
            deprecation: None,
            ops,
            published: None,
            ending: false,
            gone: CancellationToken::new(),
            conversion: None,
            converted: Recent::default(),
            frames: Frames::default(),
            table: resource.table(),
            api_version: resource.api_version(),
            list_head: Bytes::new(),
            fields: Vec::new(),
            resource,
        }
    }

    /// Derives what follows from the rest.
    pub(crate) fn finished(mut self) -> Self {
        let (kind, version) = (&self.list_kind, &self.api_version);
        self.list_head = format!(r#"{{"kind":"{kind}","apiVersion":"{version}","metadata":"#).into();
        if let Some(table) = self.conversion.as_ref().and_then(|conversion| conversion.table()) {
            self.table = table;
        }
        self.fields.push("metadata.name".to_owned());
        if self.resource.namespaced {
            self.fields.push("metadata.namespace".to_owned());
        }
        // Every object offers the same fields, so an empty one tells their names.
        let empty = Object::parse(Bytes::from_static(br#"{"metadata":{}}"#));
        let own = empty.ok().and_then(|empty| self.ops.fields(&empty).ok()).unwrap_or_default();
        self.fields.extend(own.into_iter().map(|(name, _)| name.into_owned()));
        self
    }

    /// 422 with everything that is wrong with an object of the kind.
    pub(crate) fn invalid(&self, name: &str, errors: Errors) -> ApiError {
        ApiError::invalid(&self.resource.group, &self.resource.kind, name, errors)
    }

    /// `apps/v1` as paths and OpenAPI documents have it: `api/v1`, `apis/apps/v1`.
    pub(crate) fn root(&self) -> String {
        let prefix = if self.resource.group.is_empty() { "api" } else { "apis" };
        format!("{prefix}/{}", self.api_version)
    }
}

/// All kinds at one moment.
pub(crate) struct Kinds {
    entries: Vec<Arc<Entry>>,
    reviews: Vec<&'static Review>,
    by_path: HashMap<String, Arc<Entry>>,
    /// What OpenAPI says of them; made when asked for.
    pub(crate) documents: Documents,
}

impl Kinds {
    fn new(entries: Vec<Arc<Entry>>, reviews: Vec<&'static Review>, before: Option<&Self>) -> Self {
        let key =
            |entry: &Entry| path(&entry.resource.group, &entry.resource.version, &entry.resource.plural);
        let by_path = entries.iter().map(|entry| (key(entry), Arc::clone(entry))).collect();
        let documents = Documents::new(&entries, &reviews, before.map(|before| &before.documents));
        Self { entries, reviews, by_path, documents }
    }

    /// Every kind: the built-in ones in the table's order, then the dynamic ones.
    pub(crate) fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// What is answered and not kept.
    pub(crate) fn reviews(&self) -> &[&'static Review] {
        &self.reviews
    }

    /// Whether there is anything in a version of a group.
    pub(crate) fn has(&self, group: &str, version: &str) -> bool {
        let resource =
            |entry: &Arc<Entry>| *entry.resource.group == *group && *entry.resource.version == *version;
        let review = |review: &&Review| review.group == group && review.version == version;
        self.entries.iter().any(resource) || self.reviews.iter().any(review)
    }

    /// The kind of a group, version and plural.
    pub(crate) fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Entry>> {
        self.by_path.get(&path(group, version, plural))
    }
}

/// The kinds that are served now.
pub(crate) struct Catalog {
    now: ArcSwap<Kinds>,
    /// Changes follow one another.
    changing: Mutex<()>,
    /// Told after every change.
    changed: watch::Sender<()>,
}

impl Catalog {
    /// The built-in kinds that are served.
    pub(crate) fn built_in(config: &RuntimeConfig) -> Self {
        let rows = kinds::ALL.iter().filter(|row| config.serves(row));
        let entries = rows.map(|row| Arc::new(Entry::built_in(row))).collect();
        let reviews = reviews::ALL.iter().copied().filter(|review| config.answers(review)).collect();
        let now = ArcSwap::from_pointee(Kinds::new(entries, reviews, None));
        Self { now, changing: Mutex::default(), changed: watch::Sender::new(()) }
    }

    /// All kinds as they are now.
    pub(crate) fn kinds(&self) -> Arc<Kinds> {
        self.now.load_full()
    }

    /// The kind a path names.
    pub(crate) fn find(&self, target: &Target) -> Option<Arc<Entry>> {
        self.get(&target.group, &target.version, &target.plural)
    }

    /// The kind of a group, version and plural.
    pub(crate) fn get(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Entry>> {
        self.now.load().get(group, version, plural).cloned()
    }

    /// The kind of a group, version and plural, as soon as there is one.
    pub(crate) async fn awaited(&self, group: &str, version: &str, plural: &str) -> Arc<Entry> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if let Some(entry) = self.get(group, version, plural) {
                return entry;
            }
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The kind of a Rust type; nothing if the table does not have it.
    pub(crate) fn of<K: skiff_api::Readable>(&self) -> Option<Arc<Entry>> {
        self.get(K::GROUP, K::VERSION, K::URL_PATH_SEGMENT)
    }

    /// Puts `versions` in the place of all dynamic entries of `table`; none at all takes the kind away.
    pub(crate) fn replace(&self, table: &str, versions: Vec<Arc<Entry>>) {
        let _order = self.changing.lock();
        let before = self.now.load_full();
        let others = before.entries.iter().filter(|entry| entry.built_in || &*entry.table != table);
        let entries = others.cloned().chain(versions).collect();
        self.now.store(Arc::new(Kinds::new(entries, before.reviews.clone(), Some(&before))));
        self.changed.send_replace(());
    }
}

fn path(group: &str, version: &str, plural: &str) -> String {
    format!("{group}/{version}/{plural}")
}

#[cfg(test)]
mod tests;
