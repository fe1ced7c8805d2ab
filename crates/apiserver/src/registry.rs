//! The one generic life of an object: create, update, delete. Whatever the kind, whatever the door.
//!
//! Nothing here knows HTTP. A verb decodes the request into a draft and hands it over with a [`Scope`]; the registry
//! defaults, admits, validates, allocates, writes if unchanged, and answers with the stored revision.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use parking_lot::Mutex;
use skiff_api::{ApiError, Object, meta};
use skiff_store::{Expect, Key, Refused, Write};

use crate::api::Api;
use crate::catalog::Entry;
use crate::kinds::{Draft, Frozen};
use crate::stored::{Change, Stored};
use crate::user::User;
use crate::verbs::input::LIMIT;

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod fields;
pub(crate) mod rules;
pub(crate) mod update;

/// What a write is about and who asks for it.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) api: &'a Api,
    pub(crate) entry: &'a Arc<Entry>,
    pub(crate) user: &'a User,
    /// Empty for cluster-scoped kinds.
    pub(crate) namespace: &'a str,
    /// Empty for creates.
    pub(crate) name: &'a str,
    /// Empty for the object itself.
    pub(crate) subresource: &'a str,
    /// Who owns the fields that are set; nothing if that is settled already, or nobody keeps track of it.
    pub(crate) manager: Option<&'a str>,
    /// True for a name of the API of 2014, which allowed more.
    pub(crate) legacy_name: bool,
}

impl<'a> Scope<'a> {
    /// What the server does by itself, to nothing in particular yet: no namespace, no name, the whole object.
    pub(crate) fn own(api: &'a Api, entry: &'a Arc<Entry>, user: &'a User) -> Self {
        Self { api, entry, user, namespace: "", name: "", subresource: "", manager: None, legacy_name: false }
    }
}

/// An object as it now is.
pub(crate) struct Written {
    /// Its JSON.
    pub(crate) bytes: Bytes,
    /// True if it was not there before.
    pub(crate) created: bool,
    /// For the client's `Warning` headers.
    pub(crate) warnings: Vec<String>,
}

impl Scope<'_> {
    /// The key of `name` in the kind's table.
    pub(crate) fn key(&self, name: &str) -> Key {
        Key { table: Arc::clone(&self.entry.table), name: meta::key(Some(self.namespace), name) }
    }

    /// The object as it is stored, if it is there.
    pub(crate) fn stored(&self) -> Option<Arc<Object>> {
        self.api.store.get(&self.key(self.name)).map(|stored| Arc::clone(stored.object()))
    }

    /// The object, if it is there.
    ///
    /// # Errors
    /// If it cannot be converted into the version asked for.
    pub(crate) async fn current(&self) -> Result<Option<Arc<Object>>, ApiError> {
        match self.api.store.get(&self.key(self.name)) {
            Some(stored) => Ok(Some(self.served(stored).await?)),
            None => Ok(None),
        }
    }

    /// A stored object in the version asked for.
    async fn served(&self, stored: Arc<Stored>) -> Result<Arc<Object>, ApiError> {
        Ok(Arc::clone(self.entry.served_one(stored).await?.object()))
    }

    /// The object.
    ///
    /// # Errors
    /// 404.
    pub(crate) async fn existing(&self) -> Result<Arc<Object>, ApiError> {
        self.current().await?.ok_or_else(|| ApiError::not_found(&self.entry.resource, self.name))
    }

    /// A copy of a stored object, to change.
    ///
    /// # Errors
    /// 500 if the stored JSON does not fit the type.
    pub(crate) fn thaw(&self, object: &Object) -> Result<Box<dyn Draft>, ApiError> {
        self.entry.ops.thaw(object).map_err(ApiError::internal)
    }

    /// The same call on another object of the kind.
    pub(crate) fn named<'b>(&'b self, name: &'b str) -> Scope<'b> {
        Scope { name, ..*self }
    }

    fn now(&self) -> Time {
        Time(self.api.clock.now_seconds())
    }

    /// Writes an encoded object; answers with what is stored.
    pub(crate) async fn put(
        &self,
        name: &str,
        expect: Expect,
        frozen: Box<dyn Frozen>,
        change: Change,
    ) -> Result<Arc<Stored>, Refused<Stored>> {
        // The typed form lives until the answer is made, so that in-process readers, who are told first, share it.
        let typed: Arc<Mutex<Option<Arc<dyn Any + Send + Sync>>>> = Arc::default();
        let keep = Arc::clone(&typed);
        let write = Write::put(self.key(name), expect, move |revision| {
            let (stored, typed) = frozen.stamp(revision, change);
            *keep.lock() = Some(typed);
            stored
        });
        let stored = self.api.store.write(write).await?;
        self.api.recent.remember(typed.lock().take());
        Ok(stored)
    }
}

/// The most bytes of an object: what a request may bring, and as much again for who owns which field. Patches could make
/// one larger and larger otherwise.
const LARGEST: usize = 2 * LIMIT;

/// Refuses an object that is too large to be stored.
fn fits(frozen: &dyn Frozen) -> Result<(), ApiError> {
    if frozen.size() > LARGEST { Err(ApiError::too_large(LARGEST)) } else { Ok(()) }
}

/// A store that cannot write.
fn unavailable(refused: &Refused<Stored>) -> ApiError {
    match refused {
        Refused::Closed => ApiError::unavailable("the server is shutting down").retry_after(1),
        // The store has said so once.
        Refused::Full(_) => ApiError::internal(refused),
        _ => {
            tracing::error!(error = %refused, "the store refused a write");
            ApiError::internal(refused)
        }
    }
}

/// The JSON of a draft that is not stored (dry run): without a new revision.
fn unstored(draft: &dyn Draft) -> Result<Bytes, ApiError> {
    let json = draft.value().and_then(|value| serde_json::to_vec(&value));
    Ok(json.map_err(ApiError::internal)?.into())
}

/// The typed forms of the last few writes: readers in this process, told of a write a moment later, share them.
#[derive(Default)]
pub(crate) struct Recent(Mutex<std::collections::VecDeque<Arc<dyn Any + Send + Sync>>>);

impl Recent {
    /// Enough for a burst; a typed pod weighs 23 KB.
    const KEPT: usize = 64;

    fn remember(&self, typed: Option<Arc<dyn Any + Send + Sync>>) {
        let Some(typed) = typed else { return };
        let mut kept = self.0.lock();
        if kept.len() == Self::KEPT {
            kept.pop_front();
        }
        kept.push_back(typed);
    }
}
