//! WATCH: every change as a line, for as long as the client listens.
//!
//! Lines come ready from the store's events; what is ready at once leaves as one piece. A watcher that falls behind the
//! window is told 410 and lists again; it never makes the store wait.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt};
use serde_json::json;
use skiff_api::ApiError;
use skiff_store::{Event, Watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::select::Select;
use super::{Context, get, list, media, table};
use crate::authz::Authorized;
use crate::catalog::Entry;
use crate::request::Info;
use crate::request::options::ListOptions;
use crate::stored::{Change, Stored, restamped};
use crate::stream::frames::{self, Form, Handshake};
use crate::wire::{self, Body, BoxError, Response};
use skiff_api::{cbor, protobuf};

/// Watches end after a random time between this and its double, unless the client says otherwise; as upstream.
const MIN_TIMEOUT_SECONDS: u64 = 1800;
/// How often a resting watch that wants bookmarks gets one.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A piece of ready lines is sent when it has grown to this.
const PIECE: usize = 64 * 1024;

/// Answers with an endless body.
pub(crate) async fn watch(context: &Context, mut call: Authorized) -> Result<Response, ApiError> {
    let form = list::form(context, &call)?;
    if form == media::Form::Yaml {
        return Err(ApiError::not_acceptable(
            "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch, application/cbor-seq",
        ));
    }
    let options = ListOptions::parse(&call.info.query, true)?;
    let mut fields = options.fields.clone();
    if !context.target.name.is_empty() && fields.is_everything() {
        // The legacy path of a watch on one object.
        fields = skiff_api::selector::FieldSelector::equals("metadata.name", &context.target.name);
    }
    let select = Select::new(&context.entry, &context.target, options.labels.clone(), fields)?;
    let lines = Lines {
        entry: Arc::clone(&context.entry),
        told: Told::of(context, &form),
        form,
        info: call.info.clone(),
        clock: context.api.clock.clone(),
    };
    let media = lines.told.media();
    let state = begin(context, &options, select, lines).await?;
    let stream = futures::stream::unfold(state, |mut state| async move {
        let piece = state.next().await?;
        Some((Ok::<_, BoxError>(piece), state))
    });
    let body = Body::stream(stream);
    if media == wire::JSON
        && let Some(handshake) = Handshake::take(&mut call.request)
    {
        return Ok(handshake.answer(&context.api.tasks, Form::Text, frames::lines(body).boxed()));
    }
    Ok(wire::answer(200, media, body))
}

/// In what an event is told, and what is known of the objects' kind there.
enum Told {
    Json,
    Protobuf(protobuf::Kind),
    Cbor(Option<protobuf::Kind>),
}

impl Told {
    fn of(context: &Context, form: &media::Form) -> Self {
        let whole = || protobuf::Kind::find(&context.entry.api_version, &context.entry.resource.kind);
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

/// A watch under way.
struct State {
    lines: Lines,
    select: Select,
    /// Lines to send before anything else.
    first: VecDeque<Bytes>,
    watch: Watch<Stored>,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    stopping: CancellationToken,
    ended: bool,
}

/// Where the watch starts: with everything there is, or after a revision.
async fn begin(
    context: &Context,
    options: &ListOptions,
    select: Select,
    lines: Lines,
) -> Result<State, ApiError> {
    let api = &context.api;
    let entry = &context.entry;
    let revision = options.revision.unwrap_or(0);
    let initial = options.initial_events.unwrap_or(revision == 0);
    let mut first = VecDeque::new();
    let mut ended = false;
    let watch = if initial {
        get::not_older(api, revision).await?;
        let (snapshot, watch) = api.store.snapshot_and_watch(&entry.table);
        let prefix = select.prefix();
        let snapshot = match entry.conversion {
            Some(_) => entry.served_snapshot(&snapshot, &prefix).await?,
            None => snapshot,
        };
        for (_, stored) in snapshot.beginning(&prefix).filter(|(_, stored)| select.matches(entry, stored)) {
            first.push_back(lines.line(Change::Added, stored)?);
        }
        if options.initial_events == Some(true) && options.bookmarks {
            first.push_back(lines.bookmark(snapshot.revision, true));
        }
        watch
    } else {
        get::not_older(api, revision).await?;
        match api.store.watch(&entry.table, if revision == 0 { api.store.revision() } else { revision }) {
            Ok(watch) => watch,
            Err(compacted) => {
                first.push_back(lines.expired(compacted.asked, compacted.compacted));
                ended = true;
                api.store.snapshot_and_watch(&entry.table).1
            }
        }
    };
    let seconds = options
        .timeout_seconds
        .filter(|seconds| *seconds > 0)
        .unwrap_or_else(|| rand::random_range(MIN_TIMEOUT_SECONDS..2 * MIN_TIMEOUT_SECONDS));
    let now = Instant::now();
    Ok(State {
        lines,
        select,
        first,
        watch,
        bookmarks: options.bookmarks,
        next_bookmark: now + BOOKMARK_EVERY,
        deadline: now + Duration::from_secs(seconds),
        stopping: api.stopping.clone(),
        ended,
    })
}

impl State {
    /// The next piece; nothing at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.first.is_empty() {
                return Some(self.gather());
            }
            if self.ended {
                return None;
            }
            let wake = if self.bookmarks { self.next_bookmark.min(self.deadline) } else { self.deadline };
            tokio::select! {
                biased;
                event = self.watch.next() => match event {
                    Some(Ok(event)) => match self.lines.entry.served_event(event).await {
                        Ok(event) => self.take(Some(Ok(event))),
                        Err(error) => self.fail(&error),
                    },
                    other => self.take(other),
                },
                () = self.stopping.cancelled() => self.ended = true,
                () = self.lines.entry.gone.cancelled() => self.ended = true,
                () = tokio::time::sleep_until(wake) => self.timer(),
            }
        }
    }

    /// Everything that is ready, as one piece.
    fn gather(&mut self) -> Bytes {
        if self.first.len() == 1 {
            self.drain_ready();
            if self.first.len() == 1 {
                return self.first.pop_front().unwrap_or_default();
            }
        }
        let mut piece = BytesMut::new();
        while let Some(line) = self.first.pop_front() {
            piece.extend_from_slice(&line);
            if piece.len() >= PIECE {
                break;
            }
        }
        piece.freeze()
    }

    fn drain_ready(&mut self) {
        let mut size = 0;
        // What has to be converted comes one by one.
        while !self.ended && size < PIECE && self.lines.entry.conversion.is_none() {
            let Some(event) = self.watch.next().now_or_never() else { return };
            self.take(event);
            size += self.first.back().map_or(0, Bytes::len);
        }
    }

    fn take(&mut self, event: Option<Result<Event<Stored>, skiff_store::Compacted>>) {
        match event {
            None => self.ended = true,
            Some(Err(compacted)) => {
                self.first.push_back(self.lines.expired(compacted.asked, compacted.compacted));
                self.ended = true;
            }
            Some(Ok(event)) => match self.lines.event(&self.select, &event) {
                Ok(line) => self.first.extend(line),
                Err(error) => self.fail(&error),
            },
        }
    }

    fn fail(&mut self, error: &ApiError) {
        tracing::error!(%error, kind = %self.lines.entry.resource.kind, "a watch event could not be told");
        self.first.push_back(self.lines.failure(error));
        self.ended = true;
    }

    fn timer(&mut self) {
        let now = Instant::now();
        if self.bookmarks {
            self.first.push_back(self.lines.bookmark(self.watch.seen(), false));
            self.next_bookmark = now + BOOKMARK_EVERY;
        }
        self.ended |= now >= self.deadline;
    }
}

/// How events become lines for one watcher.
struct Lines {
    entry: Arc<Entry>,
    told: Told,
    form: media::Form,
    info: Info,
    clock: skiff_base::Clock,
}

impl Lines {
    /// The line of an event, if the watcher is concerned. An object that is no longer selected is told as deleted, in
    /// its last selected state.
    fn event(&self, select: &Select, event: &Event<Stored>) -> Result<Option<Bytes>, ApiError> {
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

    fn line(&self, change: Change, stored: &Stored) -> Result<Bytes, ApiError> {
        match &self.form {
            media::Form::Json | media::Form::Yaml => Ok(stored.line(change)),
            media::Form::Protobuf | media::Form::Cbor => self.framed(change.word(), stored.object().bytes()),
            media::Form::PartialProtobuf(version) | media::Form::PartialCbor(version) => {
                self.framed(change.word(), &media::partial(stored.object(), version)?)
            }
            media::Form::Partial(version) => Ok(change.line(&[&media::partial(stored.object(), version)?])),
            media::Form::Table(version) => {
                let view = table::View::new(&self.entry, &self.info, version, self.clock.now())?;
                let revision = stored.object().meta().revision.to_string();
                let head = view.head(&json!({ "resourceVersion": revision }), true)?;
                Ok(change.line(&[&head, &view.row(stored.object())?, b"]}"]))
            }
        }
    }

    /// The frame of an event. What protobuf has no number for is left out: a watch cannot change its form under way.
    fn framed(&self, change: &str, json: &[u8]) -> Result<Bytes, ApiError> {
        match &self.told {
            Told::Json => Err(ApiError::internal("an event in JSON has no frame")),
            Told::Protobuf(kind) => {
                let object = kind.object(json, true).map_err(ApiError::internal)?;
                Ok(protobuf::frame(change, &object).into())
            }
            Told::Cbor(kind) => {
                let object = cbor::object(kind.as_ref(), json).map_err(ApiError::internal)?;
                Ok(cbor::event(change, &object).into())
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
    fn expired(&self, asked: u64, oldest: u64) -> Bytes {
        self.failure(&ApiError::expired(format!("too old resource version: {asked} ({oldest})")))
    }

    fn failure(&self, error: &ApiError) -> Bytes {
        self.tell("ERROR", &serde_json::to_value(&error.status).unwrap_or_default())
    }

    /// "You have seen everything up to here."
    fn bookmark(&self, revision: u64, initial_end: bool) -> Bytes {
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
