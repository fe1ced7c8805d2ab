//! A controller: what wakes it, what it may do, and what it does about one key.
//!
//! A controller is a [`Row`]; the runner follows the kinds its rows name, turns changes into keys, and hands each key
//! to one worker at a time. A reconciler sees only the key and the caches: being told twice, late, or in another order
//! must not matter.
//!
//! Freshness instead of expectations: every write made through [`Ctx`] is remembered, and the key is not worked on
//! again before the caches show those writes (or time runs out). So a reconciler never counts a pod short that it has
//! just made.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use skiff_api::Readable;

use crate::cache::{Change, Index};
use crate::feed::Topic;

mod caches;
mod ctx;
mod runner;

pub use caches::Caches;
pub use ctx::Ctx;
pub use runner::{Options, Runner};

/// What a reconciler is asked about: `namespace/name`, or a name alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// A key in a namespace, or without one.
    pub fn new(namespace: Option<&str>, name: &str) -> Self {
        Self(skiff_api::meta::key(namespace, name))
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the slash, if there is one.
    pub fn namespace(&self) -> Option<&str> {
        self.0.split_once('/').map(|(namespace, _)| namespace)
    }

    /// The part after the slash.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(_, name)| name)
    }
}

impl From<Arc<str>> for Key {
    fn from(text: Arc<str>) -> Self {
        Self(text)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a reconciler wants after success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// To be left alone until something changes.
    Rest,
    /// To be asked again when a deadline has come.
    After(Duration),
}

/// Why a reconciler gave up for now; it is asked again after a pause.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The server refused, or could not be reached.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// An object could not be put into words.
    #[error("encode")]
    Encode(#[from] serde_json::Error),
    /// Several writes were tried and some failed.
    #[error("{failed} of {tried} writes failed, the first: {first}")]
    Some {
        /// How many were tried.
        tried: usize,
        /// How many failed.
        failed: usize,
        /// Why the first one did.
        first: kube::Error,
    },
}

/// A reconciler's answer.
pub type Outcome = Result<Next, Fault>;

/// One controller. `S` is what all controllers of a table are given besides the API.
pub struct Row<S: 'static> {
    /// Its name: of its identity, its role, its metrics, on the command line.
    pub name: &'static str,
    /// As what it signs events; upstream's names.
    pub component: &'static str,
    /// Which changes wake it, and for which keys.
    pub wakes: &'static [Wake<S>],
    /// What it may do besides reading what wakes it: verbs and resources.
    pub may: &'static [(&'static str, &'static str)],
    /// How many keys it works on at once.
    pub workers: usize,
    /// Does what is to be done about one key.
    pub run: fn(Ctx<S>, Key) -> BoxFuture<'static, Outcome>,
}

/// A kind that a controller reads, and the keys it wakes.
pub struct Wake<S: 'static> {
    topic: fn() -> Topic,
    kind: (&'static str, &'static str),
    keys: fn(&Change, &Caches, &S) -> Vec<Key>,
    indexes: &'static [Index],
}

/// Changes of `K` wake the keys that `H` names.
pub const fn on<K: Readable, S, H: How<S>>() -> Wake<S> {
    Wake { topic: Topic::of::<K>, kind: (K::GROUP, K::URL_PATH_SEGMENT), keys: H::keys, indexes: &[] }
}

impl<S> Wake<S> {
    /// The reconciler looks objects of this kind up by these indexes.
    #[must_use]
    pub const fn indexed(mut self, indexes: &'static [Index]) -> Self {
        self.indexes = indexes;
        self
    }

    /// What is read.
    pub fn topic(&self) -> Topic {
        (self.topic)()
    }
}

/// From a change to the keys it wakes.
pub trait How<S> {
    /// The keys; each may be named more than once.
    fn keys(change: &Change, caches: &Caches, settings: &S) -> Vec<Key>;
}

/// The changed object's own key.
pub struct Itself;

impl<S> How<S> for Itself {
    fn keys(change: &Change, _: &Caches, _: &S) -> Vec<Key> {
        vec![change.latest().meta().key().into()]
    }
}

/// Nobody: the kind is only read.
pub struct Nobody;

impl<S> How<S> for Nobody {
    fn keys(_: &Change, _: &Caches, _: &S) -> Vec<Key> {
        Vec::new()
    }
}

/// The `K` that manages the object, before or after the change.
pub struct ManagedBy<K>(std::marker::PhantomData<K>);

impl<S, K: Readable> How<S> for ManagedBy<K> {
    fn keys(change: &Change, _: &Caches, _: &S) -> Vec<Key> {
        let manager = |object: &Arc<skiff_api::Object>| {
            let meta = object.meta();
            let owner = meta
                .controller()
                .filter(|owner| &*owner.kind == K::KIND && &*owner.api_version == K::API_VERSION)?;
            let namespace = if crate::write::namespaced::<K>() { meta.namespace.as_deref() } else { None };
            Some(Key::new(namespace, &owner.name))
        };
        change.both().filter_map(manager).collect()
    }
}
