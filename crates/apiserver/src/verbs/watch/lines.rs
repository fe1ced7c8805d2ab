//! How events become what one watcher reads: lines of JSON, frames of protobuf, a sequence of CBOR; whole objects, their
//! metadata, or rows of a table.
//!
//! Lines of JSON come ready from the store. Frames are made for the first watcher and shared with the others.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::json;
use skiff_api::{ApiError, cbor, protobuf};
use skiff_base::Clock;
use skiff_store::Event;

use crate::catalog::Entry;
use crate::recent::Recent;
use crate::request::Info;
use crate::stored::{Change, Stored, restamped};
use crate::verbs::select::Select;
use crate::verbs::{Context, media, table};
use crate::wire;

/// What a watch that is not in JSON was told of a kind lately: by the state's revision, the change and the form.
pub(crate) type Frames = Recent<(u64, Change, media::Form), OnceLock<Bytes>>;

/// In what an event is told, and what is known of the objects' kind there.
enum Told {
    Json,
    Protobuf(protobuf::Kind),
    Cbor(Option<protobuf::Kind>),
}

impl Told {
    fn of(entry: &Entry, form: &media::Form) -> Self {
        let whole = || protobuf::Kind::find(&entry.api_version, &entry.resource.kind);
        let partial =
            |version| protobuf::Kind::find(&format!("meta.k8s.io/{version}"), "PartialObjectMetadata");
        let in_protobuf = |kind: Option<protobuf::Kind>| kind.map_or(Self::Json, Self::Protobuf);
        match form {
            media::Form::Protobuf => in_protobuf(whole()),
            media::Form::PartialProtobuf(version) => in_protobuf(partial(version)),
            media::Form::Cbor => Self::Cbor(whole()),
            media::Form::PartialCbor(version) => Self::Cbor(partial(version)),
            _ => Self::Json,
        }
    }

    fn media(&self) -> &'static str {
        match self {
            Self::Json => wire::JSON,
            Self::Protobuf(_) => protobuf::WATCH,
            Self::Cbor(_) => cbor::SEQUENCE,
        }
    }
}

/// How events become lines for one watcher.
pub(super) struct Lines {
    pub(super) entry: Arc<Entry>,
    told: Told,
    form: media::Form,
    info: Info,
    clock: Clock,
}

impl Lines {
    pub(super) fn new(context: &Context, form: media::Form, info: &Info) -> Self {
        Self {
            entry: Arc::clone(&context.entry),
            told: Told::of(&context.entry, &form),
            form,
            info: info.clone(),
            clock: context.api.clock.clone(),
        }
    }

    /// The type of what is written.
    pub(super) fn media(&self) -> &'static str {
        self.told.media()
    }

    /// The line of an event, if the watcher is concerned. An object that is no longer selected is told as deleted, in
    /// its last selected state.
    pub(super) fn event(&self, select: &Select, event: &Event<Stored>) -> Result<Option<Bytes>, ApiError> {
        let before = event.previous.as_ref().filter(|old| select.matches(&self.entry, old));
        if event.deleted {
            return before.map(|_| self.line(Change::Deleted, &event.object)).transpose();
        }
        let now = select.matches(&self.entry, &event.object);
        match (before, now) {
            (None, false) => Ok(None),
            (None, true) => self.line(Change::Added, &event.object).map(Some),
            (Some(_), true) => self.line(Change::Modified, &event.object).map(Some),
            (Some(old), false) => {
                let last = restamped(old.object(), event.revision, Change::Deleted);
                self.line(Change::Deleted, &last).map(Some)
            }
        }
    }

    /// The line of a state that the watch begins with: of those there may be many, and nobody else begins just now.
    pub(super) fn initial(&self, stored: &Stored) -> Result<Bytes, ApiError> {
        self.written(Change::Added, stored)
    }

    fn line(&self, change: Change, stored: &Stored) -> Result<Bytes, ApiError> {
        if matches!(self.form, media::Form::Json | media::Form::Yaml | media::Form::Table(_)) {
            return self.written(change, stored);
        }
        let key = (stored.object().meta().revision, change, self.form.clone());
        let slot = self.entry.frames.slot(key, stored.object().bytes().len());
        if let Some(frame) = slot.get() {
            return Ok(frame.clone());
        }
        let frame = self.written(change, stored)?;
        Ok(slot.get_or_init(|| frame).clone())
    }

    fn written(&self, change: Change, stored: &Stored) -> Result<Bytes, ApiError> {
        let object = stored.object();
        match &self.form {
            media::Form::Json | media::Form::Yaml => Ok(stored.line(change)),
            media::Form::Protobuf | media::Form::Cbor => self.framed(change, object.bytes()),
            media::Form::PartialProtobuf(version) | media::Form::PartialCbor(version) => {
                self.framed(change, &media::partial(object, version)?)
            }
            media::Form::Partial(version) => Ok(change.line(&[&media::partial(object, version)?])),
            media::Form::Table(version) => {
                let view = table::View::new(&self.entry, &self.info, version, self.clock.now())?;
                let revision = object.meta().revision.to_string();
                let head = view.head(&json!({ "resourceVersion": revision }), true)?;
                Ok(change.line(&[&head, &view.row(object)?, b"]}"]))
            }
        }
    }

    /// The frame of an event. What protobuf has no number for is left out: a watch cannot change its form under way.
    fn framed(&self, change: Change, json: &[u8]) -> Result<Bytes, ApiError> {
        match &self.told {
            Told::Json => Err(ApiError::internal("an event in JSON has no frame")),
            Told::Protobuf(kind) => {
                let object = kind.object(json, true).map_err(ApiError::internal)?;
                Ok(protobuf::frame(change.word(), &object).into())
            }
            Told::Cbor(kind) => {
                let object = cbor::object(kind.as_ref(), json).map_err(ApiError::internal)?;
                Ok(cbor::event(change.word(), &object).into())
            }
        }
    }

    /// An event about no object of the store.
    fn tell(&self, change: &str, object: &serde_json::Value) -> Bytes {
        let json = object.to_string();
        match &self.told {
            Told::Json => format!("{{\"type\":\"{change}\",\"object\":{json}}}\n").into(),
            Told::Protobuf(_) => {
                let object = protobuf::from_json(json.as_bytes());
                let object =
                    object.inspect_err(|fault| tracing::error!(%fault, "a watch event could not be told"));
                protobuf::frame(change, &object.unwrap_or_default()).into()
            }
            Told::Cbor(_) => {
                let object = cbor::from_json(json.as_bytes());
                let object =
                    object.inspect_err(|fault| tracing::error!(%fault, "a watch event could not be told"));
                cbor::event(change, &object.unwrap_or_default()).into()
            }
        }
    }

    /// What a watcher that cannot go on is told.
    pub(super) fn expired(&self, asked: u64, oldest: u64) -> Bytes {
        self.failure(&ApiError::expired(format!("too old resource version: {asked} ({oldest})")))
    }

    pub(super) fn failure(&self, error: &ApiError) -> Bytes {
        self.tell("ERROR", &serde_json::to_value(&error.status).unwrap_or_default())
    }

    /// "You have seen everything up to here."
    pub(super) fn bookmark(&self, revision: u64, initial_end: bool) -> Bytes {
        let mut metadata = json!({ "resourceVersion": revision.to_string(), "creationTimestamp": null });
        if initial_end {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let (version, kind) = match &self.form {
            media::Form::Table(version) => (format!("meta.k8s.io/{version}"), "Table"),
            media::Form::Partial(version)
            | media::Form::PartialProtobuf(version)
            | media::Form::PartialCbor(version) => {
                (format!("meta.k8s.io/{version}"), "PartialObjectMetadata")
            }
            _ => (self.entry.api_version.clone(), &*self.entry.resource.kind),
        };
        let object = json!({ "kind": kind, "apiVersion": version, "metadata": metadata });
        self.tell("BOOKMARK", &object)
    }
}
